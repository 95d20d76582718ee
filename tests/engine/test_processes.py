"""Several processes make the updates of one: torchrun on one machine and on two, and Ultralytics' own launcher.

Real processes on gloo. Starting one costs seconds, so torchrun starts one session of them and Ultralytics' launcher
one; the others are forked (see ``forked.py``). Each session does many trainings (see ``several.py``), and every test
looks at what these have left.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

from tests.engine.conftest import V8_YAML, cfg_text
from tests.engine.forked import ranks
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.folder.events import Checkpoint, Event, Log, RunFinished, RunStarted, Step, Val, Warned, read_events
from yolo_subbatch.folder.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
LONGEST = 300  # seconds of one session
CLOSE = 1e-6
ONE, TWO, THREE = 1, 2, 3
#: Of a .data file with 10 images: windows of 6 and 4, at two input sizes.
TINY = [
    "cfg=tiny.cfg", "data=ten/shapes.data", "batch=6", "max_batches=12", "learning_rate=0.01", "random=1", "seed=4", "device=cpu",
    "plots=False", "val=False",
]  # fmt: skip
#: Of 7 images: windows of 6 and 1.
V8 = [
    "model=tiny8.yaml", "data=seven/shapes.yaml", "batch=6", "epochs=2", "lr0=0.002", "imgsz=64", "device=cpu",
    "plots=False", "val=False", "optimizer=SGD", "warmup_epochs=0", "mosaic=1", "close_mosaic=1", "bn=frozen", "exact_norm=True",
]  # fmt: skip


def given(arguments: list[str], name: str, *changes: str) -> list[str]:
    """Return arguments with some replaced or added."""
    pairs = dict(each.split("=", 1) for each in [*arguments, *changes, f"name={name}"])
    return [f"{key}={value}" for key, value in pairs.items()]


def training(name: str, processes: int, arguments: list[str], *changes: str, **details: Any) -> dict[str, Any]:
    return {"name": name, "processes": processes, "arguments": given(arguments, name, *changes), **details}


WITH_TWO = [
    {"name": "unit", "processes": TWO},
    training("two-parts", TWO, TINY, "subdivisions=3"),
    training("two-recompute", TWO, TINY, "subdivisions=3", "recompute=True"),
    training("two-seven", TWO, TINY, "data=seven/shapes.data", "max_batches=6", "subdivisions=auto"),
    training("two-other", TWO, TINY, "max_batches=6", fault="other weights"),
    training("two-nan", TWO, TINY, "max_batches=6", fault="nan"),
    training("two-fitness", TWO, TINY, "val=True", "max_batches=6", fault="fitness"),
    training("stopped", TWO, TINY, "batch=3", "learning_rate=0.005", "batch_per_gpu=True", fault="stop"),
    {"ended": "runs/stopped", "copy": "runs/alone"},
    {"name": "again", "processes": TWO, "arguments": ["resume=runs/stopped"]},
    training("short", TWO, TINY, "max_batches=3"),
    {"name": "longer", "processes": TWO, "arguments": ["resume=runs/short", "max_batches=5"]},
    training("refused", TWO, TINY, "batch=5"),
    training("v8-two", TWO, V8, "batch=3", "lr0=0.001", "batch_per_gpu=True"),
    training("v8-two-parts", TWO, V8, "subdivisions=3"),
    training("v8-two-background", TWO, V8, "data=background/shapes.yaml"),
]
BY_TORCHRUN = [
    training("two", TWO, TINY, "val=True"),
    training("interrupted", TWO, TINY, fault="wait"),
]
WITH_THREE = [
    training("three", THREE, TINY, "val=True"),
    training("three-seven", THREE, TINY, "data=seven/shapes.data", "max_batches=6"),
    training("three-short", THREE, TINY, "max_batches=6", fault="short"),
    training("three-time", THREE, TINY, "max_batches=6", "subdivisions=2", "time=1"),
]
WITH_ONE = [
    training("one", ONE, TINY, "val=True"),
    training("one-six", ONE, TINY, "max_batches=6"),
    training("one-seven", ONE, TINY, "data=seven/shapes.data", "max_batches=6"),
    training("one-nan", ONE, TINY, "max_batches=6", fault="nan"),
    training("one-fitness", ONE, TINY, "val=True", "max_batches=6", fault="fitness"),
    training("v8-one", ONE, V8),
    training("v8-one-background", ONE, V8, "data=background/shapes.yaml"),
    {"name": "alone", "arguments": ["resume=runs/alone"]},
    {"name": "recovered", "arguments": ["resume=runs/interrupted"]},
    training(
        "launched", ONE, TINY, "batch=3", "learning_rate=0.005", "batch_per_gpu=True", "save_iterations=2", fault="spread",
        environment={"BREAK_AT": "7"},
    ),
    {"ended": "runs/launched"},
    {"name": "launched-again", "arguments": ["resume=runs/launched"], "fault": "spread by forks"},
]  # fmt: skip
BEGUN = {
    each["name"]
    for each in [*WITH_ONE, *WITH_TWO, *WITH_THREE, *BY_TORCHRUN]
    if any(pair.startswith("name=") for pair in each.get("arguments", ()))
} - {"refused"} | {"alone"}  # fmt: skip


@dataclass
class Seen:
    """What one training has left."""

    events: list[Event]
    notes: list[dict[str, Any]]  # of every process
    weights: list[np.ndarray]  # of every process

    @property
    def steps(self) -> list[Step]:
        return [event for event in self.events if isinstance(event, Step)]

    @property
    def codes(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Warned)]

    @property
    def line(self) -> str:
        """The start-up line."""
        return next(event.text for event in self.events if isinstance(event, Log))


class Place:
    """A working directory in which sessions of processes train."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("tmp", "notes", "config"):
            (path / name).mkdir()
        for name, images in (("ten", 10), ("seven", 7), ("background", 10)):
            write_shapes(path / name, Numbers(images, 2, 64, 7))
        labels = sorted((path / "background" / "labels" / "train").glob("*.txt"))
        for each in labels[1:]:
            each.write_text("")  # in every window, all but one process have nothing to find
        (path / "tiny.cfg").write_text(cfg_text())
        (path / "tiny8.yaml").write_text(V8_YAML)
        self.own = {each.name for each in path.iterdir()}

    def start(self, name: str, *command: str, **pipes: Any) -> subprocess.Popen[str]:
        settings = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.path / "tmp"), "YOLO_CONFIG_DIR": str(self.path / "config"), "YOLO_VERBOSE": "false",
            "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        with (self.path / "notes" / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], cwd=self.path, env={**os.environ, **settings}, text=True,
                start_new_session=True, **{"stdout": log, "stderr": log, **pipes},
            )  # fmt: skip

    def plan(self, name: str, plan: list[dict[str, Any]]) -> str:
        """Write a plan and return its place."""
        file = self.path / "notes" / f"{name}.plan"
        file.write_text(json.dumps(plan))
        return str(file)

    def log(self, name: str) -> str:
        return (self.path / "notes" / f"{name}.log").read_text(errors="replace")

    def folder(self, name: str) -> RunFolder:
        return RunFolder(self.path / "runs" / name)

    def seen(self, name: str, processes: int, run: str = "") -> Seen:
        notes = [self.path / "notes" / f"{name}.{rank}.json" for rank in range(processes)]
        if not all(each.is_file() for each in notes):
            pytest.fail("\n".join(each.read_text(errors="replace")[-3000:] for each in notes[0].parent.glob("*.log")))
        return Seen(
            list(read_events(self.folder(run or name).events)),
            [json.loads(each.read_text()) for each in notes],
            [np.load(each.with_suffix(".npy")) for each in notes],
        )

    def last_weights(self, name: str) -> np.ndarray:
        """Return the weights that a run has left for Darknet, without the header."""
        return np.frombuffer((self.folder(name).weights / "last.weights").read_bytes()[20:], np.float32)


def finish(process: subprocess.Popen[str], wait: float = LONGEST) -> int:
    """Wait for the end of a session; what hangs is ended."""
    try:
        return process.wait(wait)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)  # torchrun ends its processes, which are in sessions of their own
            process.wait(60)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("several"))


class Forks:
    """Sessions of processes that are forked, one session after the other."""

    def __init__(self, place: Place) -> None:
        self.place = place
        #: Where processes meet, as torchrun's agent has it.
        self.store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.process = place.start("forks", "tests.engine.forked", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def begin(self, name: str, plan: list[dict[str, Any]], *environments: dict[str, str]) -> None:
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.store.port)}
        notes = self.place.path / "notes"
        request = {
            "plan": self.place.plan(name, plan), "log": str(notes / f"{name}.log"),
            "environments": [{**meet, **each} for each in environments],
        }  # fmt: skip
        assert self.process.stdin is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)

    def end(self) -> list[int]:
        """Wait for the end of the session that was begun and return the exit statuses."""
        assert self.process.stdout is not None
        late = threading.Timer(LONGEST, os.killpg, (self.process.pid, signal.SIGTERM))
        late.start()
        try:
            return json.loads(self.process.stdout.readline() or "[]")
        finally:
            late.cancel()


@pytest.fixture(scope="module")
def forks(place) -> Iterator[Forks]:
    found = Forks(place)
    yield found
    found.process.communicate()


@pytest.fixture(scope="module")
def several(place, forks) -> Place:
    """Trainings of three processes, as on two machines, and of the first two of them.

    Those that torchrun starts are as on one machine; the last one is interrupted, as from its keyboard.
    """
    machine = place.start(
        "torchrun", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}", "-m",
        "tests.engine.several", place.plan("torchrun", BY_TORCHRUN),
    )  # fmt: skip
    forks.begin("forked", [*WITH_THREE, *WITH_TWO], *ranks(2, 1))
    try:
        if updates(place.folder("interrupted"), 3, machine):
            machine.send_signal(signal.SIGINT)
    finally:
        finish(machine)
    assert forks.end() == [0, 0, 0], place.log("forked")
    return place


@pytest.fixture(scope="module")
def one(several, forks) -> Place:
    """Trainings of one process, among them two that others have begun, and two that start others."""
    forks.begin("alone", WITH_ONE, {})
    assert forks.end() == [0], several.log("alone")
    return several


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def updates(folder: RunFolder, wanted: int, process: subprocess.Popen[str]) -> bool:
    """Wait until a run has made its first updates, or until its process has ended."""
    deadline = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < deadline:
        if sum(isinstance(event, Step) for event in read_events(folder.events)) >= wanted:
            return True
        time.sleep(0.1)
    return False


def assert_same(found: Seen, wanted: Seen) -> None:
    """Assert that two runs made the same updates and ended with the same weights in all processes."""
    assert_same_steps(found.steps, wanted.steps)
    assert np.abs(found.weights[0] - wanted.weights[0]).max() < CLOSE
    for each in found.weights[1:]:
        assert np.array_equal(each, found.weights[0]), "no process drifts away from the others"


def assert_same_steps(found: list[Step], wanted: list[Step]) -> None:
    exactly = ("step", "epoch", "images", "seen", "imgsz", "clipped", "skipped")
    assert [[getattr(each, name) for name in exactly] for each in found] == [
        [getattr(each, name) for name in exactly] for each in wanted
    ]
    for ours, theirs in zip(found, wanted, strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-4)


def numbers(step: Step) -> dict[str, float]:
    """Return the losses, norm and rate of an update, but for those that are no number."""
    found = {**step.loss, "cost": step.darknet_loss, "norm": step.gnorm, "rate": step.lr}
    return {name: value for name, value in found.items() if value is not None}


def in_loop(calls: list[str]) -> list[list[str]]:
    """Return the collectives of every update: since the start of the epoch or the update before."""
    found: list[list[str]] = []
    begin = None
    for index, call in enumerate(calls):
        if call == "on_optimizer_step" and begin is not None:
            found.append(calls[begin:index])
        if call in {"on_train_epoch_start", "on_optimizer_step"}:
            begin = index + 1
        elif call == "on_train_epoch_end":
            assert begin == index, "nothing between the last update of an epoch and its end"
    return found


# --- the same updates -------------------------------------------------------------------------------------------------


def test_the_reference_is_worth_comparing_with(one):
    """Both sizes of input, short last windows, and weights that move by much more than the tolerance."""
    reference = one.seen("one", ONE)
    assert [step.images for step in reference.steps] == [6, 4] * 6
    assert len({tuple(step.imgsz) for step in reference.steps}) == 2
    assert [step.images for step in one.seen("one-seven", ONE).steps] == [6, 1] * 3
    assert np.abs(one.last_weights("one") - one.last_weights("one-seven")).max() > 1e4 * CLOSE


@pytest.mark.parametrize("name", ["two", "two-parts"])
def test_two_processes_equal_one(one, name):
    assert_same(one.seen(name, TWO), one.seen("one", ONE))
    assert np.abs(one.last_weights(name) - one.last_weights("one")).max() < CLOSE


@pytest.mark.parametrize(("name", "reference"), [("three", "one"), ("three-time", "one-six")])
def test_three_processes_equal_one(one, name, reference):
    assert_same(one.seen(name, THREE), one.seen(reference, ONE))
    assert np.abs(one.last_weights(name) - one.last_weights(reference)).max() < CLOSE


def test_processes_without_an_image_join_the_update(one):
    """In windows of a single image, all but the first of them."""
    reference = one.seen("one-seven", ONE)
    assert_same(one.seen("two-seven", TWO), reference)
    assert_same(one.seen("three-seven", THREE), reference)


def test_validation_is_that_of_one_process(one):
    def figures(seen: Seen) -> list[tuple[Any, ...]]:
        return [(val.epoch, val.map50, val.map, val.best) for val in seen.events if isinstance(val, Val)]

    reference = figures(one.seen("one", ONE))
    assert len(reference) == 6
    assert figures(one.seen("two", TWO)) == [pytest.approx(each, abs=1e-6) for each in reference]
    assert figures(one.seen("three", THREE)) == [pytest.approx(each, abs=1e-6) for each in reference]


def test_the_best_weights_are_there_for_the_last_validation(one):
    """On GPUs, Ultralytics has all processes take part in it: without the file, the first would wait for the others."""
    for name, processes in (("two", TWO), ("three", THREE)):
        assert [notes["facts"]["best"] for notes in one.seen(name, processes).notes] == [True] * processes


def test_recomputation_changes_no_bit(several):
    found, wanted = several.seen("two-recompute", TWO), several.seen("two-parts", TWO)
    assert "activations computed again" in found.line
    for mine, other in zip(found.weights, wanted.weights, strict=True):
        assert np.array_equal(mine, other)


def test_all_begin_with_the_weights_of_the_first(one):
    assert_same(one.seen("two-other", TWO), one.seen("one-six", ONE))


def test_a_model_of_ultralytics_with_exact_norm(one):
    reference = one.seen("v8-one", ONE)
    assert [step.images for step in reference.steps] == [6, 1, 6, 1]
    assert_same(one.seen("v8-two", TWO), reference)
    assert_same(one.seen("v8-two-parts", TWO), reference)


def test_a_process_with_background_alone_takes_part_in_every_weight(one):
    """Without an object in its images, the weights of the boxes have a gradient of zero there, or none."""
    assert_same(one.seen("v8-two-background", TWO), one.seen("v8-one-background", ONE))


# --- one exchange -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two", "two-parts", "two-seven", "two-nan", "v8-two", "v8-two-parts"])
def test_gradients_are_reduced_once_per_update(several, name):
    for notes in several.seen(name, TWO).notes:
        updates = in_loop(notes["calls"])
        assert updates == [["all_reduce"]] * notes["facts"]["update_index"]
        assert not notes["facts"]["wrapped"], "Ultralytics' wrapper would reduce in every pass, unseen here"


@pytest.mark.parametrize("name", ["three", "three-seven"])
def test_gradients_of_three_are_reduced_once_per_update(several, name):
    for notes in several.seen(name, THREE).notes:
        assert in_loop(notes["calls"]) == [["all_reduce"]] * notes["facts"]["update_index"]


def test_with_a_time_ultralytics_looks_at_the_clock_once_an_update_besides(several):
    for notes in several.seen("three-time", THREE).notes:
        begin, end = (notes["calls"].index(name) for name in ("on_train_epoch_start", "on_train_epoch_end"))
        epoch = [call for call in notes["calls"][begin:end] if not call.startswith("on_")]
        updates = notes["calls"][begin:end].count("on_optimizer_step")
        assert Counter(epoch) == {"all_reduce": updates, "broadcast_object_list": updates}


def test_all_gradients_are_summed_in_one_exchange(several):
    """Also such of other memory formats, and such that one process lacks or all do."""
    notes = several.seen("unit", TWO, run="none").notes
    for each in notes:
        assert each["sums"] == [3.0, 20.0]
        assert each["summed"]["nowhere"] is None
        assert each["kept"], "the gradient stays in channels-last memory"
        assert each["largest"] == 5
        assert each["told"] == {"rank": 0}
        for name in ("plain", "scalar", "channels_last"):
            total = sum(np.array(theirs["own"][name]) for theirs in notes)
            assert np.abs(np.array(each["summed"][name]) - total).max() < CLOSE, name


def test_a_gradient_that_one_process_lacks_reaches_it(several):
    """Else only the others would update this weight, and the processes would drift apart."""
    notes = several.seen("unit", TWO, run="none").notes
    for each in notes:
        assert each["summed"]["in_one"] == notes[0]["own"]["in_one"]


# --- the folder -------------------------------------------------------------------------------------------------------


def test_the_first_process_alone_writes(one):
    assert {each.name for each in (one.path / "runs").iterdir()} == BEGUN, "no second folder of any run"
    assert {each.name for each in one.path.iterdir()} == one.own | {"runs"}
    left = [each.name for each in (one.path / "tmp").iterdir()]
    assert [each for each in left if not each.startswith(("torchelastic_", "torchinductor_"))] == [], "but torch's own"
    for name in ("two", "three"):
        events = list(read_events(one.folder(name).events))
        assert [event.seq for event in events] == list(range(len(events)))
        assert [event.world_size for event in events if isinstance(event, RunStarted)] == [3 if name == "three" else 2]
        assert isinstance(events[-1], RunFinished)
        assert events[-1].status == "completed"


def test_the_first_process_alone_speaks(one):
    for name in ("two", "two-nan", "stopped"):
        assert one.seen(name, TWO).notes[1]["out"] == ""
    assert one.seen("three-short", THREE).notes[1]["out"] == ""


def test_the_start_names_the_shares(one):
    assert "batch 6 (3 on each of 2 devices) = 3 sub-batches of 2 images" in one.seen("two-parts", TWO).line
    assert "batch 6 (2 on each of 3 devices) = 1 sub-batch of 6 images" in one.seen("three", THREE).line


# --- batch per GPU ----------------------------------------------------------------------------------------------------


def test_batch_and_rate_of_one_gpu_are_multiplied(one):
    """As Darknet does; of a Darknet network and of one of Ultralytics."""
    for name, rate in (("stopped", 0.01), ("v8-two", 0.002)):
        seen = one.seen(name, TWO)
        for notes in seen.notes:
            assert (notes["facts"]["batch"], notes["facts"]["lr0"]) == (6, rate)
        assert "batch 6 (3 on each of 2 devices: batch_per_gpu, so the rate is multiplied too)" in seen.line
    assert "learning rate 0.01 " in one.seen("stopped", TWO).line


def test_a_batch_that_cannot_be_shared_is_refused(several):
    for notes in several.seen("refused", TWO).notes:
        assert notes["status"] == 2
        assert "batch=5 on 2 devices" in notes["err"]
        assert "; use a batch that is a multiple of" in notes["err"], "there are no subdivisions to use one of"
        assert len(notes["err"].splitlines()) == 1
    assert not several.folder("refused").path.exists()


# --- ends, and going on -----------------------------------------------------------------------------------------------


def test_a_stop_ends_all_processes_after_the_update(one):
    seen = one.seen("stopped", TWO)
    assert [notes["status"] for notes in seen.notes] == [0, 0]
    assert [notes["facts"]["update_index"] for notes in seen.notes] == [5, 5]
    told = seen.notes[0]["told"]
    assert [each["step"] for each in told if each["type"] == "step"] == [1, 2, 3, 4, 5]
    assert [each["status"] for each in told if each["type"] == "run_finished"] == ["stopped"]


@pytest.mark.parametrize(("name", "run", "processes"), [("again", "stopped", TWO), ("alone", "alone", ONE)])
def test_a_stopped_run_goes_on_in_any_number_of_processes(one, name, run, processes):
    seen = one.seen(name, processes, run)
    assert {notes["status"] for notes in seen.notes} == {0}
    assert_same(seen, one.seen("one", ONE))
    assert np.abs(one.last_weights(run) - one.last_weights("one")).max() < CLOSE
    assert [event.start_step for event in seen.events if isinstance(event, RunStarted)] == [0, 5]


def test_an_interrupt_stops_all_processes_after_the_update(one):
    """Torchrun passes Ctrl+C on to all of them."""
    seen = one.seen("interrupted", TWO)
    assert [notes["status"] for notes in seen.notes] == [130, 130], seen.notes[0]["err"]
    assert [notes["facts"]["update_index"] for notes in seen.notes] == [4, 4]
    assert seen.notes[0]["told"][-1]["status"] == "stopped"
    assert "go on with" in seen.notes[0]["out"]


def test_an_interrupted_run_goes_on(one):
    seen = one.seen("recovered", ONE, "interrupted")
    assert_same(seen, one.seen("one", ONE))
    assert seen.events[-1].status == "completed"


def test_a_finished_run_becomes_longer_in_several_processes(one):
    seen = one.seen("longer", TWO, "short")
    assert [notes["status"] for notes in seen.notes] == [0, 0]
    assert [step.step for step in seen.steps] == [1, 2, 3, 4, 5]
    starts = [event for event in seen.events if isinstance(event, RunStarted)]
    assert [(event.start_step, event.steps_total, event.world_size) for event in starts] == [(0, 3, 2), (3, 5, 2)]
    lines = [event.text for event in seen.events if isinstance(event, Log) and event.text.startswith("another length")]
    assert len(lines) == 1
    assert "3 -> 5 iterations" in lines[0]
    assert seen.events[-1].status == "completed"
    assert np.array_equal(*seen.weights), "no process drifts away from the other"


# --- what goes wrong in one of them -----------------------------------------------------------------------------------


def test_memory_that_is_short_in_one_process_cuts_the_window_in_all(one):
    seen = one.seen("three-short", THREE)
    assert_same(seen, one.seen("one-six", ONE))
    assert seen.codes == ["oom_retry"]
    assert [notes["facts"]["subdivisions"] for notes in seen.notes] == [2, 2, 2]
    for notes in seen.notes:
        assert [len(each) for each in in_loop(notes["calls"])] == [1, 1, 2, 1, 1, 1]


def test_an_image_that_is_no_number_leaves_out_the_update_in_all(one):
    seen = one.seen("two-nan", TWO)
    assert_same(seen, one.seen("one-nan", ONE))
    assert [step.step for step in seen.steps if step.skipped] == [4]
    assert seen.codes == ["nan_loss"]
    assert [notes["facts"]["skipped"] for notes in seen.notes] == [1, 1]


def test_all_go_back_to_the_last_checkpoint(one):
    """Which the first process alone has written."""
    seen = one.seen("two-fitness", TWO)
    assert_same(seen, one.seen("one-fitness", ONE))
    assert seen.codes == ["nan_recovery"]
    assert [step.step for step in seen.steps] == [1, 2, 3, 4, 3, 4, 5, 6]


# --- Ultralytics' own launcher ----------------------------------------------------------------------------------------


def test_a_launched_process_that_fails_tells_why(one):
    """The one that fails is not the one that writes."""
    [notes] = one.seen("launched", ONE).notes
    assert notes["status"] == 2
    assert "broken on purpose" in notes["err"]
    ends = [each for each in notes["told"] if each["type"] == "run_finished"]
    assert [each["status"] for each in ends] == ["failed"]
    assert "broken on purpose" in ends[0]["reason"]


def test_a_launched_run_goes_on_and_equals_one(one):
    seen = one.seen("launched-again", ONE, "launched")
    assert seen.notes[0]["status"] == 0, one.log("alone")
    assert_same_steps(seen.steps, one.seen("one", ONE).steps)
    assert np.abs(one.last_weights("launched") - one.last_weights("one")).max() < CLOSE
    starts = [event for event in seen.events if isinstance(event, RunStarted)]
    assert [(event.start_step, event.world_size, event.batch) for event in starts] == [(0, 2, 6), (6, 2, 6)]
    assert "batch_per_gpu" in seen.line


@pytest.mark.parametrize(("name", "first", "last"), [("launched", 1, 7), ("launched-again", 7, 12)])
def test_listeners_get_every_event_of_the_processes_once(one, name, first, last):
    """A terminal, which cannot be pickled, listens in the process that launched them."""
    told = one.seen(name, ONE, "launched").notes[0]["told"]
    assert [each["step"] for each in told if each["type"] == "step"] == list(range(first, last + 1))
    for before, after in pairwise(told):
        assert after["seq"] == before["seq"] + 1


def test_the_launch_leaves_nothing_and_removes_nothing(one):
    folder = one.folder("launched")
    assert folder.read_settings().batch_per_gpu
    assert {"settings.json", "run.json", "events.jsonl"} <= {each.name for each in folder.path.iterdir()}
    assert not list((one.path / "config").rglob("_temp_*"))
    assert any(isinstance(event, Checkpoint) for event in read_events(folder.events))
