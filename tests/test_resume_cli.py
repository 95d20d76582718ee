"""Runs that are killed for good, by the command line and in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.conftest import cfg_text
from tests.program import Launched, background, program
from yolo_subbatch import cli
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.folder.events import RunFinished, RunStarted, Step, Val, read_events
from yolo_subbatch.folder.run_folder import RunFolder

ARGUMENTS = [
    "cfg=tiny.cfg", "data=shapes/shapes.data", "epochs=20", "batch=4", "subdivisions=2", "save_iterations=4", "random=1.4",
    "max_norm=15", "patience=0", "device=cpu", "plots=False",
]  # fmt: skip
UPDATES = 60
WAIT = 120.0  # seconds for another process to come to something
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "COLUMNS": "100"}


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "yolo_subbatch", "train", *arguments], cwd=place, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def command(place: Path, *arguments: str) -> tuple[int, str, str]:
    done = program(place, "train", *arguments)
    return done.returncode, done.stdout, done.stderr


def kill_when(process: subprocess.Popen[str] | Launched, condition: Any) -> None:
    """End a process as a cut of the power would."""
    deadline = time.monotonic() + WAIT
    try:
        while not condition():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def events(run: Path, kind: type) -> list[Any]:
    return [event for event in read_events(run / "events.jsonl") if isinstance(event, kind)]


def floats(run: Path) -> np.ndarray:
    return np.frombuffer((run / "weights" / "last.weights").read_bytes()[20:], np.float32)


def rows(run: Path) -> list[list[str]]:
    """Return results.csv without its column of times."""
    return [[*line.split(",")[:1], *line.split(",")[2:]] for line in (run / "results.csv").read_text().splitlines()]


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with runs: ``whole`` never ended, ``killed`` was, and ``early`` before it had begun.

    ``kept`` is the folder of ``killed`` as its end left it.
    """
    folder = tmp_path_factory.mktemp("work")
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    whole = background(folder, "train", *ARGUMENTS, "name=whole")
    runs = folder / "runs"
    try:
        kill_when(start(folder, *ARGUMENTS, "name=killed"), lambda: (runs / "killed" / "run.json").exists())
        shutil.copytree(runs / "killed", runs / "early")
        again = background(folder, "train", "resume=runs/killed")
        kill_when(again, lambda: any(step.step >= 14 for step in events(runs / "killed", Step)))
        shutil.copytree(runs / "killed", runs / "kept")
        output, _ = whole.communicate(timeout=WAIT)
        assert whole.returncode == 0, output
        yield folder
    finally:
        whole.kill()


def test_it_goes_on_as_if_it_had_never_been_killed(place):
    """First while it got ready, which begins again in the same folder, then in the middle."""
    runs = place / "runs"
    assert not (runs / "early" / "events.jsonl").exists()
    assert RunFolder(runs / "kept").status() == "failed"
    assert 14 <= events(runs / "kept", Step)[-1].step < UPDATES
    status, output, errors = command(place, "resume=runs/killed/weights/state.pt")
    assert status == 0, output + errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in runs.iterdir()) == ["early", "kept", "killed", "whole"]
    assert np.abs(floats(runs / "killed") - floats(runs / "whole")).max() <= 1e-7
    found, wanted = events(runs / "killed", Step), events(runs / "whole", Step)
    assert [step.step for step in found] == list(range(1, UPDATES + 1))
    for one, other in zip(found, wanted, strict=True):
        assert (one.lr, one.seen, one.images, one.imgsz) == (other.lr, other.seen, other.images, other.imgsz)
        assert one.loss == pytest.approx(other.loss, rel=1e-6)
    every = list(read_events(runs / "killed" / "events.jsonl"))
    assert [event.seq for event in every] == list(range(len(every)))
    starts = events(runs / "killed", RunStarted)
    assert starts[0].start_step == 0
    assert starts[1].start_step in {12, 15, 16} or starts[1].start_step > 16, "the last state that was kept"
    assert [(val.step, val.map50, val.best) for val in events(runs / "killed", Val)] == [
        (val.step, val.map50, val.best) for val in events(runs / "whole", Val)
    ]
    assert [end.status for end in events(runs / "killed", RunFinished)] == ["completed"]
    assert rows(runs / "killed") == rows(runs / "whole")
    left = [sorted(path.name for path in (runs / name / "weights").iterdir()) for name in ("killed", "whole")]
    assert left[0] == left[1]


def test_a_finished_run_becomes_longer(place):
    """And a failure before it begins leaves it as finished as it was."""
    run = RunFolder(Path(shutil.copytree(place / "runs" / "whole", place / "runs" / "longer")))
    shutil.move(place / "shapes", place / "away")
    status, _, errors = command(place, "resume=runs/longer", "epochs=21")
    shutil.move(place / "away", place / "shapes")
    assert status == 2, errors
    assert run.status() == "completed"
    status, output, errors = command(place, "resume=runs/longer", "epochs=21")
    assert status == 0, output + errors
    assert "60 -> 63 iterations, after iteration 60" in output
    assert [step.step for step in events(run.path, Step)] == list(range(1, 64))
    assert [row[0] for row in rows(run.path)[1:]] == [str(number) for number in range(1, 22)]
    assert run.read_settings().epochs == 21
    assert run.status() == "completed"


def test_a_run_that_was_killed_early_may_change_when_it_begins(place):
    """What Ultralytics knows by a name of its own too."""
    run = shutil.copytree(place / "runs" / "early", place / "runs" / "early2")
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps({**settings, "epochs": 1}))
    status, output, errors = command(place, "resume=runs/early2", "subdivisions=4", "plots=False", "verbose=False")
    assert status == 0, output + errors
    assert [step.step for step in events(run, Step)] == [1, 2, 3]
    assert events(run, RunStarted)[0].subdivisions == 4


REFUSALS = [
    ("nowhere", (), "resume=nowhere: no such folder or file; give the folder of a run"),
    ("shapes", (), "resume=shapes: not the folder of a run; give"),
    (
        "runs/whole",
        (),
        "resume=runs/whole: this run is finished, nothing is left to train; train it longer with resume=",
    ),
    (
        "runs/whole",
        ("epochs=3",),
        "epochs=3: shorter than what is done, 60 iterations (20 epochs); give more than that",
    ),
    ("runs/whole", ("max_batches=60",), "max_batches=60: 60 iterations (20 epochs) are done, nothing is left to train"),
    ("runs/whole", ("epochs=21", "batch=8"), "batch=8: cannot be given with resume="),
    ("runs/whole", ("epochs=0",), "epochs=0: too small; give at least 1"),
    (
        "runs/copy",
        ("batch=8",),
        "batch=8: cannot be given with resume=, the training would be another one; leave it out",
    ),
    ("runs/copy", ("mosaic=1.0",), "mosaic=1.0: cannot be given with resume="),
    ("runs/copy", ("name=other",), "name=other: cannot be given with resume="),
    # the defaults, of which the run's own values differ
    ("runs/copy", ("max_norm=20",), "max_norm=20"),
    ("runs/copy", ("project=runs",), "project=runs"),
    ("runs/copy", ("subdivisions=0",), "subdivisions=0: too small; give at least 1"),
    ("runs/copy", ("device=gpu",), "device=gpu: unknown; give cpu, 0 or 0,1"),
    ("runs/copy", ("subdivison=2",), "subdivison: unknown key; did you mean subdivisions?"),
]


@pytest.mark.parametrize(("run", "more", "words"), REFUSALS)
def test_a_refusal_is_one_line_and_touches_nothing(place, run, more, words, monkeypatch, capsys):
    monkeypatch.chdir(place)
    shutil.rmtree(place / "runs" / "copy", ignore_errors=True)
    shutil.copytree(place / "runs" / "kept", place / "runs" / "copy")
    before = listing(place / "runs")
    status = cli.main(["train", f"resume={run}", *more])
    output, errors = capsys.readouterr()
    assert (status, output) == (2, ""), errors
    assert errors.startswith(f"yolo-subbatch: {words}")
    assert len(errors.splitlines()) == 1
    assert listing(place / "runs") == before


def test_a_running_run_is_refused(place):
    run = Path(shutil.copytree(place / "runs" / "kept", place / "runs" / "running"))
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        RunFolder(run).write_process(sleeper.pid)
        before = listing(run)
        status, _, errors = command(place, "resume=runs/running")
        assert (status, errors) == (2, "yolo-subbatch: resume=runs/running: this run is still running; stop it first\n")
        assert listing(run) == before
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_damaged_state_is_refused_and_nothing_is_lost(place):
    run = Path(shutil.copytree(place / "runs" / "kept", place / "runs" / "damaged"))
    state = run / "weights" / "state.pt"
    state.write_bytes(state.read_bytes()[:5000])
    told, before = (run / "events.jsonl").read_bytes(), listing(run)
    status, _, errors = command(place, "resume=runs/damaged")
    assert status == 2
    assert errors.startswith(f"yolo-subbatch: {state}: not a state to go on from")
    assert "start a new run with weights=" in errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1
    assert (run / "events.jsonl").read_bytes().startswith(told)
    after = listing(run)
    assert {name: after[name] for name in before if name not in {".", "events.jsonl", "run.json"}} == {
        name: value for name, value in before.items() if name not in {".", "events.jsonl", "run.json"}
    }
