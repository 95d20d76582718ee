"""Which run is to go on, and whether it can: decided from its files, before anything of it is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import EventWriter, Log, RunFinished, Step, read_events
from yolo_subbatch.folder.resume import check_resume, has_state, run_of, with_changes
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings

STEP = Step(step=1, epoch=1, loss={"total": 1.0}, lr=0.1, gnorm=1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that was killed after it had kept a state."""
    folder = RunFolder.create(tmp_path / "runs", "train")
    folder.write_settings(TrainSettings(cfg="a.cfg", batch=4, max_norm=15.0))
    folder.weights.mkdir()
    for name in ("state.pt", "last.pt", "last.weights"):
        (folder.weights / name).write_bytes(b"x")
    write(folder, STEP)
    record_dead(folder)
    return folder


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    yield process
    process.kill()
    process.wait()


def write(folder: RunFolder, *events: Any) -> None:
    writer = EventWriter(folder.events)
    for event in events:
        writer.write(event)
    writer.close()


def record_dead(folder: RunFolder) -> None:
    """Record a process that is gone: this one, as if its number had been used before."""
    folder.write_process()
    record = folder.process_record()
    (folder.path / "run.json").write_text(json.dumps({**record, "started": record["started"] - 100}))


def check(run: RunFolder, first: bool = True, **changes: Any) -> tuple[RunFolder, dict[str, Any]]:
    return check_resume(TrainSettings(resume=str(run.path), **changes), first)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


# --- which run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "weights", "weights/last.pt", "weights/last.weights", "weights/state.pt"])
def test_a_run_is_named_by_its_folder_or_what_is_in_it(run: RunFolder, place: str) -> None:
    assert run_of(run.path / place) == run
    assert run_of(str(run.path / place)) == run


def test_a_run_is_named_from_the_working_directory(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent)
    assert run_of("train") == run
    monkeypatch.chdir(run.path)
    assert run_of(".") == run
    assert run_of("weights/last.pt") == run


@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "settings.json"])
def test_one_file_tells_a_run(tmp_path: Path, name: str) -> None:
    """Whichever of them was there when the process was killed; the settings are written first."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).touch()
    assert run_of(tmp_path / "run").path == tmp_path / "run"


def test_a_run_with_nothing_but_a_state_is_one(tmp_path: Path) -> None:
    (tmp_path / "run" / "weights").mkdir(parents=True)
    (tmp_path / "run" / "weights" / "state.pt").touch()
    assert run_of(tmp_path / "run").path == tmp_path / "run"
    assert has_state(RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("place", ["none", "none/weights/last.pt", ""])
def test_nothing_is_no_run(tmp_path: Path, place: str) -> None:
    with pytest.raises(SettingsError) as found:
        run_of(tmp_path / place)
    assert str(found.value).startswith(f"resume={tmp_path / place}: ")
    what = "no such folder or file; give" if place else "not the folder of a run; give"
    assert what in str(found.value)


def test_a_file_outside_of_a_run_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "yolo.pt").touch()
    with pytest.raises(SettingsError, match="not the folder of a run"):
        run_of(tmp_path / "models" / "yolo.pt")


# --- whether it can go on -----------------------------------------------------------------------------------------------


def test_a_killed_run_can_go_on(run: RunFolder) -> None:
    before = listing(run.path)
    assert run.status() == "failed"
    assert check(run) == (run, {})
    assert listing(run.path) == before


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_a_run_that_ended_before_its_time_can_go_on(run: RunFolder, status: str) -> None:
    write(run, RunFinished(status=status))
    assert check(run) == (run, {})


def test_what_may_change_is_handed_on(run: RunFolder) -> None:
    changes = {"subdivisions": 4, "memory": "8GB", "device": "0,1", "workers": 0, "save_iterations": 0}
    changes |= {"keep_state": False, "recompute": False}
    more = {"cache": "ram", "plots": False, "save_period": 3, "verbose": True}
    assert check(run, **changes, extra=more) == (run, changes | more)
    assert check(run, subdivisions="auto") == (run, {"subdivisions": "auto"})


@pytest.mark.parametrize(
    "changes",
    [
        {"cfg": "other.cfg"}, {"model": "other.yaml"}, {"weights": "other.weights"}, {"data": "other.data"},
        {"batch": 8}, {"batch": 4}, {"learning_rate": 0.1}, {"seed": 1},
        {"imgsz": 96}, {"bn": "frozen"}, {"schedule": "exact"}, {"seen": "keep"}, {"amp": True}, {"random": 1.0},
        {"project": "other"}, {"name": "other"}, {"run_dir": "other"},
        {"extra": {"mosaic": 1.0}}, {"extra": {"patience": 3}}, {"extra": {"val": False}},
    ],
)  # fmt: skip
def test_what_would_be_another_training_is_refused(run: RunFolder, changes: dict[str, Any]) -> None:
    before = listing(run.path)
    with pytest.raises(SettingsError) as found:
        check(run, **changes)
    ((key, value),) = (changes.get("extra") or changes).items()
    assert str(found.value).startswith(f"{key}={value}: cannot be given with resume=")
    keys = "subdivisions, memory, recompute, device, workers, save_iterations, keep_state"
    assert f"{keys} may change" in str(found.value)
    assert listing(run.path) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subdivisions": 0}, "subdivisions=0: too small"),
        ({"subdivisions": "many"}, "subdivisions=many: unknown; give a whole number or auto"),
        ({"workers": -1}, "workers=-1: too small"),
        ({"save_iterations": -1}, "save_iterations=-1: too small"),
        ({"device": "gpu"}, "device=gpu: unknown; give cpu, 0 or 0,1"),
        ({"memory": "much"}, "memory=much: not a size"),
    ],
)
def test_values_are_checked_as_for_a_new_run(run: RunFolder, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check(run, **changes)


def test_a_running_run_is_refused(run: RunFolder, sleeper: subprocess.Popen[bytes]) -> None:
    run.write_process(sleeper.pid)
    with pytest.raises(SettingsError, match=f"resume={run.path}: this run is still running; stop it first"):
        check(run)
    assert check(run, first=False) == (run, {}), "the first of several processes is the one that runs"
    sleeper.kill()
    sleeper.wait()
    assert check(run) == (run, {})


def test_a_run_on_another_machine_is_refused_while_it_writes(run: RunFolder) -> None:
    (run.path / "run.json").write_text(json.dumps({**run.process_record(), "host": "elsewhere"}))
    with pytest.raises(SettingsError, match="still running"):
        check(run)


def test_a_finished_run_is_refused(run: RunFolder) -> None:
    """With the way to train it longer, if there is one."""
    write(run, RunFinished(status="completed"))
    with pytest.raises(SettingsError, match=f"this run is finished.*train it longer with resume={run.path} epochs=N"):
        check(run)
    (run.weights / "state.pt").unlink()
    for length in ({}, {"epochs": 9}):
        with pytest.raises(SettingsError, match=r"is finished.*its exact state was not kept.*a new one with weights="):
            check(run, **length)


def test_a_run_that_never_began_begins_again(tmp_path: Path) -> None:
    """Killed while it got ready, or before its first state was on the disk."""
    folder = RunFolder.create(tmp_path, "train")
    folder.write_settings(TrainSettings(cfg="a.cfg"))
    record_dead(folder)
    assert check(folder, workers=2) == (folder, {"workers": 2})
    assert not has_state(folder)
    write(folder, Log(level="info", text="begins"))
    folder.weights.mkdir()
    (folder.weights / ".state.pt.x1y2z3").write_bytes(b"half of it")
    assert check(folder) == (folder, {})


def test_without_a_state_and_settings_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "train")
    write(folder, Log(level="info", text="x"))
    with pytest.raises(SettingsError, match="neither a state nor settings in it; start a new run"):
        check(folder)


@pytest.mark.parametrize("left", ["updates", "weights", "both"])
def test_a_run_whose_state_is_gone_is_not_begun_again_over_its_results(run: RunFolder, left: str) -> None:
    """Deleted, never kept because of save=False, or of a version that kept none: its weights would be overwritten."""
    (run.weights / "state.pt").unlink()
    if left == "weights":
        run.events.unlink()
    elif left == "updates":
        for path in run.weights.iterdir():
            path.unlink()
    before = listing(run.path)
    with pytest.raises(SettingsError, match=f"resume={run.path}: "):
        check(run)
    assert listing(run.path) == before


def test_a_new_length_takes_the_place_of_the_old_one() -> None:
    settings = TrainSettings(cfg="a.cfg", max_batches=5, extra={"cache": True})
    for changes, found in (({"epochs": 7}, (7, None)), ({"workers": 1}, (None, 5)), ({"max_batches": 9}, (None, 9))):
        again = with_changes(settings, changes)
        assert (again.epochs, again.max_batches, again.extra) == (*found, {"cache": True})


# --- making ready -------------------------------------------------------------------------------------------------------


def test_events_are_cut_where_the_state_was_kept(run: RunFolder) -> None:
    size = run.events.stat().st_size
    write(run, Log(level="info", text="later"), RunFinished(status="failed"))
    with run.events.open("ab") as file:
        file.write(b'{"v":1,"type":"st')
    run.request_stop()
    run.begin_again(size)
    assert run.events.stat().st_size == size
    assert not run.stop_requested(), "an old request to stop does not stop the run that goes on"
    write(run, Log(level="info", text="on"))
    assert [event.seq for event in read_events(run.events)] == [0, 1]


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_events_that_are_no_longer_there_are_not_made_up(run: RunFolder, more: int) -> None:
    before = run.events.read_bytes()
    run.cut_events(len(before) + more)
    assert run.events.read_bytes() == before


def test_a_run_without_events_begins_with_none(run: RunFolder) -> None:
    run.begin_again(0)
    assert run.events.read_bytes() == b""
    run.events.unlink()
    run.begin_again(100)
    assert not run.events.exists()
    assert check(run) == (run, {})


def test_the_checks_need_no_torch(run: RunFolder) -> None:
    code = f"""
import sys
for name in ("torch", "ultralytics", "numpy", "cv2"):
    sys.modules[name] = None  # importing it raises
from yolo_subbatch.cli import main
from yolo_subbatch.folder.resume import check_resume, has_state
from yolo_subbatch.settings.train_settings import TrainSettings
folder, changes = check_resume(TrainSettings(resume={str(run.path)!r}, workers=1))
assert has_state(folder) and changes == {{"workers": 1}}
sys.exit(main(["train", "resume=" + {str(run.path)!r}, "batch=8"]))
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("yolo-subbatch: batch=8: cannot be given with resume=")
