"""A run that ends at whatever moment and is taken up again is the run that never ended."""

from __future__ import annotations

import csv
import dataclasses
import errno
import gc
import itertools
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils.callbacks import get_default_callbacks

from tests.engine.conftest import V8_YAML
from yolo_subbatch import Darknet, DarknetTrainer, SubbatchTrainer, subbatch
from yolo_subbatch.darknet.optimizer import darknet_sgd
from yolo_subbatch.engine import checkpoint, state
from yolo_subbatch.engine import darknet_trainer as engine_trainer
from yolo_subbatch.engine.training_run import trainer_class
from yolo_subbatch.errors import MachineError, SettingsError, TrainingError
from yolo_subbatch.folder.events import Checkpoint, RunFinished, RunStarted, Step, Val, read_events
from yolo_subbatch.folder.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread", "frozen_garbage")

QUIET = {"plots": False, "device": "cpu"}
SAME = 1e-7  # the largest difference of what is the same
MOMENTS = (
    "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_val_start",
    "on_val_batch_end", "on_model_save", "on_fit_epoch_end", "on_train_end",
)  # fmt: skip


@pytest.fixture
def frozen_garbage() -> Iterator[None]:
    """Keep what is loaded out of the search for garbage, which Ultralytics asks for several times a run."""
    gc.freeze()
    yield
    gc.unfreeze()


class Ended(BaseException):
    """Ends a run; nothing catches it."""


@dataclass
class Run:
    """What a run did, and its folder as it was at some moments."""

    moments: dict[str, Path] = field(default_factory=dict)
    rates: dict[int, list[Any]] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    trainer: Any = None

    @property
    def folder(self) -> Path:
        return Path(self.trainer.save_dir)

    @property
    def weights(self) -> Path:
        return self.folder / "weights"


def end(run: Run) -> None:
    """Leave the run where it is."""
    raise Ended


def interrupt(run: Run) -> None:
    raise KeyboardInterrupt


def ask_to_stop(run: Run) -> None:
    RunFolder(run.folder).request_stop()


class Watch:
    """Follows a run by its callbacks: copies its folder at some moments, or does something at them.

    A moment is a callback, or an event that was just written, with a number from 1: ``step 4``. What a copy holds is
    what the disk holds if the power goes then; and it lies at another place.
    """

    def __init__(self, copies: Path | None = None, *moments: str, **acts: Callable[[Run], None]) -> None:
        self.run, self.counts = Run(), Counter[str]()
        self.copies, self.moments = copies, moments
        self.acts = {name[::-1].replace("_", " ", 1)[::-1]: act for name, act in acts.items()}

    def attach(self, add: Callable[[str, Any], None]) -> Run:
        add("on_pretrain_routine_start", self.begin)
        add("on_optimizer_step", self.rate)
        add("on_event", lambda event: self.at(name_of(event)))
        for name in MOMENTS:
            add(name, lambda _, name=name: self.at(name))
        add("on_train_end", self.finish)
        return self.run

    def begin(self, trainer: Any) -> None:
        self.run.trainer = trainer

    def rate(self, trainer: Any) -> None:
        groups = trainer.optimizer.param_groups
        self.run.rates[trainer.update_index] = [
            (group["lr"], group.get("momentum"), group.get("betas"), group["weight_decay"]) for group in groups
        ]

    def at(self, kind: str) -> None:
        self.counts[kind] += 1
        name = f"{kind} {self.counts[kind]}"
        if name in self.moments:
            assert self.copies is not None
            self.run.moments[name] = self.copies / name.replace(" ", "_")
            shutil.copytree(self.run.folder, self.run.moments[name])
        if name in self.acts:
            self.acts[name](self.run)

    def finish(self, trainer: Any) -> None:
        criterion = getattr(trainer.plain_model, "criterion", None)
        self.run.end = deepcopy({
            "model": trainer.plain_model.state_dict(), "ema": trainer.ema.ema.state_dict(),
            "ema_updates": trainer.ema.updates, "optimizer": trainer.optimizer.state_dict(),
            "scaler": trainer.scaler.state_dict(), "best_fitness": trainer.best_fitness, "fitness": trainer.fitness,
            "stopper": [trainer.stopper.best_fitness, trainer.stopper.best_epoch], "epoch": trainer.epoch,
            "iteration": trainer.update_index, "seen": trainer.seen, "skipped": trainer.skipped,
            "criterion": [getattr(criterion, key, None) for key in ("updates", "o2m", "o2o")],
        })  # fmt: skip
        for group in self.run.end["optimizer"]["param_groups"]:
            group.pop("fused", None)  # the device decides


def name_of(event: Any) -> str:
    return f"saved_{event.kind}" if isinstance(event, Checkpoint) else event.type


def train(cfg: Any, data: Path, project: Path, watch: Watch | None = None, trainer: Any = None, **keywords: Any) -> Run:
    model = Darknet(cfg, keywords.pop("weights", None))
    run = (watch or Watch()).attach(model.add_callback)
    settings = {**QUIET, "data": str(data), "project": str(project), "epochs": 3, "batch": 4, **keywords}
    with suppress(Ended, KeyboardInterrupt):
        model.train(trainer=trainer, **settings)
    return run


def resume(place: Path, watch: Watch | None = None, trainer: Any = DarknetTrainer, **changes: Any) -> Run:
    """Go on as the command line does, which needs no more than the folder."""
    callbacks = get_default_callbacks()
    run = (watch or Watch()).attach(lambda name, function: callbacks[name].append(function))
    run.trainer = trainer(overrides={"resume": str(place), **changes}, _callbacks=callbacks)
    with suppress(Ended, KeyboardInterrupt):
        run.trainer.train()
    return run


# --- how two runs are compared ----------------------------------------------------------------------------------------


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every tensor and every plain value of nested dictionaries and lists under its name."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from flat(each, f"{name}.{index}")
    else:
        yield name, value


def differences(found: Any, wanted: Any, same: float = SAME) -> dict[str, Any]:
    """Return what differs, by name: by how much, or the two values."""
    found, wanted = dict(flat(found)), dict(flat(wanted))
    wrong: dict[str, Any] = dict.fromkeys(found.keys() ^ wanted.keys(), "on one side only")
    for name in found.keys() & wanted.keys():
        a, b = found[name], wanted[name]
        if isinstance(b, torch.Tensor):
            apart = float((a.double() - b.double()).abs().max()) if b.numel() else 0.0
            if a.dtype != b.dtype or not apart <= same:
                wrong[name] = apart
        elif isinstance(b, float) and isinstance(a, float):
            if not abs(a - b) <= same * max(1.0, abs(b)):
                wrong[name] = (a, b)
        elif a != b:
            wrong[name] = "other bytes" if isinstance(b, bytes) else (a, b)
    return wrong


def told(folder: Path) -> dict[str, Any]:
    """Return what the events tell, without times and numbers of lines."""
    passing = {"seq", "t", "ips", "mem_mb"}
    events = list(read_events(folder / "events.jsonl"))
    assert [event.seq for event in events] == list(range(len(events))), "the events are numbered without a gap"
    assert (folder / "events.jsonl").read_bytes().count(b"\n") == len(events), "no line is torn"
    plain = [
        (event, {key: value for key, value in dataclasses.asdict(event).items() if key not in passing})
        for event in events
    ]
    return {
        "steps": [values for event, values in plain if isinstance(event, Step)],
        "vals": [values for event, values in plain if isinstance(event, Val)],
        "saved": [values for event, values in plain if isinstance(event, Checkpoint) and event.kind != "resume"],
        "ends": [values for event, values in plain if isinstance(event, RunFinished)],
        "last": type(events[-1]).__name__,
    }


def steps_of(folder: Path) -> list[int]:
    return [event.step for event in read_events(folder / "events.jsonl") if isinstance(event, Step)]


def table(folder: Path) -> list[dict[str, float]]:
    """Return the rows of results.csv without the time, which nobody can have again."""
    with (folder / "results.csv").open(encoding="utf-8") as file:
        heads, *rows = csv.reader(file)
    assert {len(row) for row in rows} == {len(heads)}, "every row has a value for every heading"
    named = [dict(zip(map(str.strip, heads), map(float, row), strict=True)) for row in rows]
    return [{head: value for head, value in row.items() if head != "time"} for row in named]


def kept(folder: Path) -> dict[str, Any]:
    """Return what the files of a run hold."""
    weights = folder / "weights"
    found: dict[str, Any] = {"files": sorted(path.name for path in weights.iterdir())}
    for name in ("best", "last"):
        found[name] = load_checkpoint(weights / f"{name}.pt")[0].state_dict()
    for name in ("best.weights", "last.weights"):
        if (weights / name).is_file():
            data = (weights / name).read_bytes()
            found[name] = {"head": data[:20], "weights": torch.frombuffer(bytearray(data[20:]), dtype=torch.float32)}
    if (weights / "model.cfg").is_file():
        found["cfg"] = (weights / "model.cfg").read_text()
    return found


def compared(found: Run, wanted: Run, same: float = SAME) -> dict[str, Any]:
    """Return everything in which a run differs from the one that never ended."""
    assert found.end, "the run came to its end"
    steps, first = steps_of(found.folder), steps_of(wanted.folder)[0]
    assert steps == list(range(first, wanted.end["iteration"] + 1)), "every update is told once"
    wrong = differences(found.end, wanted.end, same)
    wrong |= differences(found.rates, {key: wanted.rates[key] for key in found.rates}, same)
    wrong |= differences(told(found.folder), told(wanted.folder), same)
    wrong |= differences(table(found.folder), table(wanted.folder), same)
    return wrong | differences(kept(found.folder), kept(wanted.folder), same)


def apart(found: Run, wanted: Run) -> float:
    """Return the largest difference of weights, averages and momentum."""
    pairs = zip(flat(found.end), flat(wanted.end), strict=True)
    return max(float((a - b).abs().max()) for (_, a), (_, b) in pairs if isinstance(b, torch.Tensor) and b.numel())


def all_compared(whole: Run, same: float = SAME, **keywords: Any) -> dict[str, Any]:
    """Go on from every moment of a run; return those from which another run came out, and in what."""
    wrong = {}
    for moment, place in whole.moments.items():
        again = resume(place, **keywords)
        print(f"{moment}: from iteration {again.trainer.resumed['iteration']}, apart {apart(again, whole):g}")
        wrong[moment] = compared(again, whole, same)
        shutil.rmtree(place)
    return {moment: found for moment, found in wrong.items() if found}


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a folder, to see whether something touched it."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


# --- ended anywhere -----------------------------------------------------------------------------------------------------

#: Keys of runs, and moments at which they end. The state is written after ``step N``, in iterations that are a multiple
#: of save_iterations and after each epoch's ``on_fit_epoch_end``; the last ``on_val_start`` is that of the best weights.
RUNS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "every update": (
        {"bn": True, "save_iterations": 2, "subdivisions": 2, "random": 1.4, "seed": 5}, (
            "on_train_epoch_start 1", *(f"step {number}" for number in range(1, 10)), "on_train_batch_start 5",
            "on_val_batch_end 1", "on_train_epoch_start 2", "on_fit_epoch_end 2",
            "on_val_start 4", "on_train_end 1",
        ),
    ),
    "each kept": (
        {"save_iterations": 1, "val": False, "momentum": 0.8, "amp": "bf16"},
        (*(f"on_train_batch_end {number}" for number in (1, 3, 5, 9)), "val 1", "on_val_start 2"),
    ),
    "epochs kept": (
        {"bn": True, "save_iterations": 0, "subdivisions": 4, "norm": "cross"},
        ("step 2", "on_train_epoch_end 1", "on_train_batch_start 7", "saved_best 1"),
    ),
    "ends in an epoch": (
        {"epochs": None, "max_batches": 5, "save_iterations": 2}, ("step 4", "step 5", "on_model_save 2"),
    ),
    "other optimizer": (
        {"bn": True, "optimizer": "MuSGD", "lr0": 0.01, "save_iterations": 2, "augmentation": "ultralytics",
         "mosaic": 1.0, "close_mosaic": 1},
        ("step 3", "on_train_batch_start 6", "step 9"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_it_may_end_at_any_moment(name, data, tmp_path, request):
    keywords, moments = dict(RUNS[name][0]), RUNS[name][1]
    cfg = request.getfixturevalue("cfg_bn" if keywords.pop("bn", False) else "cfg")
    if "norm" in keywords:
        keywords["bn"] = keywords.pop("norm")
    whole = train(cfg, data, tmp_path / "runs", Watch(tmp_path / "copies", *moments), **keywords)
    assert set(whole.moments) == set(moments), "every moment came"
    cfg.write_text("[net]\n")  # the run has its own copy
    assert not all_compared(whole)


def test_it_may_end_again_and_again(cfg_bn, data, tmp_path):
    """In one folder, by whatever raises, and last while the best weights are validated."""
    whole = train(cfg_bn, data, tmp_path / "whole")
    first = train(cfg_bn, data, tmp_path / "runs", Watch(step_2=end))
    for act in ({"step_4": end}, {"step_1": end}, {"on_val_batch_end_2": interrupt}, {"on_val_start_2": end}):
        again = resume(first.folder, Watch(**act))
        assert not again.end
        assert (first.weights / "state.pt").is_file()
    again = resume(first.folder)
    assert again.folder == first.folder
    assert again.trainer.resumed["iteration"] == 9
    assert not compared(again, whole)


def test_what_computes_it_may_change(cfg, data, tmp_path):
    whole = train(cfg, data, tmp_path / "runs", Watch(tmp_path, "step 5"), save_iterations=2, subdivisions=1)
    changes = {"subdivisions": 4, "workers": 2, "save_iterations": 1, "cache": "ram", "device": "cpu", "verbose": False}
    again = resume(whole.moments["step 5"], Watch(step_3=end), **changes)
    assert again.trainer.train_loader.num_workers == 2
    assert again.trainer.train_loader.size == 1
    last = resume(again.folder, workers=0)
    assert last.trainer.resumed["iteration"] == 6
    assert last.trainer.args.subdivisions == 4, "what was changed stays"
    wrong = compared(last, whole, same=1e-4)
    assert set(wrong) == {".cfg"}, "which names the subdivisions"
    assert apart(last, whole) < 1e-5


def test_early_stopping_counts_on(cfg, data, tmp_path):
    whole = train(
        cfg, data, tmp_path / "runs",
        Watch(tmp_path, "on_train_epoch_start 3", "step 11", "on_fit_epoch_end 3", "saved_last 2", "on_val_start 5"),
        Judged, patience=2, epochs=8, save_iterations=2,
    )  # fmt: skip
    assert whole.end["epoch"] == 3, "the second epoch was the best, and two more did not help"
    assert whole.end["stopper"] == [0.5, 2]
    assert len(whole.moments) == 5
    assert not all_compared(whole, trainer=Judged)


def test_a_state_may_be_older_than_the_epoch(cfg_bn, data, tmp_path, monkeypatch):
    """Where keeping it takes long beside an epoch, it is not kept after each: several epochs are done again."""
    monkeypatch.setattr(checkpoint, "SHORT", -1.0)
    monkeypatch.setattr(checkpoint, "WORTH", 1e9)
    watch = Watch(tmp_path, "on_train_epoch_start 3", "step 11", "on_fit_epoch_end 3")
    whole = train(
        cfg_bn,
        data,
        tmp_path / "runs",
        watch,
        Judged,
        epochs=4,
        save_iterations=4,
        augmentation="ultralytics",
        mosaic=1.0,
    )
    for moment, iteration in {"on_train_epoch_start 3": 4, "on_fit_epoch_end 3": 8, "step 11": 8}.items():
        assert state.load(whole.moments[moment] / "weights" / "state.pt", peek=True)["iteration"] == iteration
    assert not all_compared(whole, trainer=Judged)


class Scaled(DarknetTrainer):
    """Scales its loss as half precision does on a GPU, by twice as much after every fourth update."""

    def _build_train_pipeline(self):
        super()._build_train_pipeline()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=4)


def test_the_scale_of_half_precision_grows_on(cfg, data, tmp_path):
    whole = train(cfg, data, tmp_path / "runs", Watch(tmp_path, "step 4", "step 8"), Scaled, save_iterations=3)
    assert whole.end["scaler"]["scale"] == 4096.0
    assert whole.end["scaler"]["_growth_tracker"] == 1
    assert not all_compared(whole, trainer=Scaled)


class Short(DarknetTrainer):
    """Runs out of memory once, in iteration 2."""

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        if self.update_index == 1 and self.args.subdivisions == 2:
            raise RuntimeError("CUDA out of memory (simulated)")
        return batch


def test_sub_batches_that_became_smaller_stay_so(cfg_bn, data, tmp_path):
    """Batch normalisation is over them."""
    whole = train(cfg_bn, data, tmp_path / "runs", Watch(tmp_path, "step 5"), Short, subdivisions=2, save_iterations=2)
    assert whole.trainer.args.subdivisions == 4
    wrong = all_compared(whole, same=1e-5, trainer=Short)  # validation is rounded: its sub-batches are other ones
    assert set(wrong.get("step 5", {})) <= {".cfg"}


class Judged(DarknetTrainer):
    """Has known figures, which those of a network that has learnt nothing are not."""

    def validate(self):
        before = self.best_fitness
        metrics, fitness = super().validate()
        if fitness is not None:
            fitness = (0.2, 0.5, 0.4, 0.3, 0.6, 0.7, 0.8, 0.9)[self.epoch]
            self.best_fitness = fitness if before is None else max(before, fitness)
        return metrics, fitness


class NotFinite(DarknetTrainer):
    """Has no finite loss in the iterations 4 to 6."""

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        if 3 <= self.update_index <= 5:
            batch["img"] = batch["img"] * float("nan")
        return batch


def test_updates_that_were_left_out_are_counted_on(cfg, data, tmp_path):
    watch = Watch(tmp_path, "on_train_batch_start 6")
    with pytest.raises(TrainingError, match="iteration 6: 3 updates in a row"):
        train(cfg, data, tmp_path / "runs", watch, NotFinite, max_skipped=3, save_iterations=1)
    with pytest.raises(TrainingError, match="iteration 6: 3 updates in a row"):
        resume(watch.run.moments["on_train_batch_start 6"], trainer=NotFinite)


def test_weights_and_their_place_in_the_schedule_are_kept(cfg, data, tmp_path):
    """With seen=keep, and without the file that the run began from."""
    earlier = train(cfg, data, tmp_path / "earlier", epochs=None, max_batches=4, schedule="exact")
    file = earlier.weights / "last.weights"
    file.write_bytes(struct.pack("<3i", 0, 2, 9) + file.read_bytes()[12:])  # of another version than ours
    whole = train(
        cfg, data, tmp_path / "runs", Watch(tmp_path, "on_train_epoch_start 1", "step 3", "on_val_start 3"),
        weights=file, seen="keep", epochs=None, max_batches=9, schedule="exact", save_iterations=2,
    )  # fmt: skip
    assert steps_of(whole.folder) == [5, 6, 7, 8, 9]
    assert (whole.weights / "last.weights").read_bytes()[:12] == struct.pack("<3i", 0, 2, 9)
    shutil.rmtree(earlier.folder)
    assert not all_compared(whole)


# --- a stop that was asked for ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    """A run that never ended, of the network without batch normalisation."""
    from tests.engine.conftest import cfg_text

    place = tmp_path_factory.mktemp("whole")
    (place / "tiny.cfg").write_text(cfg_text())
    copies = "on_train_epoch_start 2", "step 5"
    return train(place / "tiny.cfg", data, place / "runs", Watch(place, *copies), save_iterations=2, name="run")


@pytest.fixture
def broken(whole_run, tmp_path) -> Path:
    """The folder of a run that ended in its second epoch, with a state of iteration 4."""
    return Path(shutil.copytree(whole_run.moments["step 5"], tmp_path / "broken"))


@pytest.mark.parametrize(
    ("moment", "act", "done"),
    [
        ("step_3", ask_to_stop, 4),
        ("on_train_batch_start_6", ask_to_stop, 6),  # the last of its epoch
        ("on_val_start_1", ask_to_stop, 4),
        ("step_4", interrupt, 3),
        ("on_val_batch_end_2", interrupt, 6),
    ],
)
def test_a_stop_loses_nothing(moment, act, done, cfg, data, tmp_path, whole_run):
    run = train(cfg, data, tmp_path / "runs", Watch(**{moment: act}), name="run", save_iterations=2)
    assert RunFolder(run.folder).status() == "stopped"
    assert state.load(run.weights / "state.pt")["iteration"] == done
    again = resume(run.folder)
    assert not compared(again, whole_run)
    assert RunFolder(run.folder).status() == "completed"


def test_a_stop_at_the_last_update_completes_the_run(cfg, data, tmp_path, whole_run):
    run = train(cfg, data, tmp_path / "runs", Watch(on_train_batch_start_9=ask_to_stop), name="run")
    assert RunFolder(run.folder).status() == "completed"
    assert not compared(run, whole_run)


def test_a_stop_in_the_first_epoch_leaves_no_best(cfg, data, tmp_path, whole_run):
    """Its figures are those of no validation; the resumed run finds the best itself."""
    run = train(cfg, data, tmp_path / "runs", Watch(step_1=ask_to_stop), name="run", save_iterations=0)
    assert steps_of(run.folder) == [1, 2]
    assert not compared(resume(run.folder), whole_run)


# --- the file -----------------------------------------------------------------------------------------------------------


def on_a_full_disk(save_state):
    """Find the disk full when the state of iteration 4 is kept: the file is cut in its middle."""

    def save(trainer):
        if trainer.update_index != 4:
            save_state(trainer)
            return
        half = trainer.state_file.stat().st_size // 2
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, before[1]))
        try:
            save_state(trainer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return save


def is_state(file: Any) -> bool:
    return "state.pt" in str(file)


@pytest.mark.parametrize("fault", ["write", "sync", "rename"])
def test_a_state_that_cannot_be_written_leaves_the_old_one(fault, cfg, data, tmp_path, whole_run, monkeypatch):
    calls, real = Counter[str](), {"fsync": os.fsync, "replace": os.replace}

    def failing(name, file, *arguments):
        target = arguments[0] if arguments else os.readlink(f"/proc/self/fd/{file}")
        calls[name] += is_state(target)
        if calls[name] == 4 and is_state(target):  # those of iterations 0, 2 and 3 are written
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real[name](file, *arguments)

    with monkeypatch.context() as patch:
        if fault == "write":
            patch.setattr(DarknetTrainer, "save_state", on_a_full_disk(DarknetTrainer.save_state))
        else:
            name = {"sync": "fsync", "rename": "replace"}[fault]
            patch.setattr(os, name, lambda *arguments: failing(name, *arguments))
        with pytest.raises(MachineError, match="File too large" if fault == "write" else "Input/output error"):
            train(cfg, data, tmp_path, save_iterations=2, name="run")
    weights = tmp_path / "run" / "weights"
    assert state.load(weights / "state.pt")["iteration"] == 3
    assert not [path.name for path in weights.iterdir() if path.name.startswith(".")], "no half of a file is left"
    assert not compared(resume(tmp_path / "run"), whole_run)


def test_it_may_end_while_the_best_weights_are_written(cfg, data, tmp_path):
    """At the end, when Ultralytics takes the optimizer out of them: no other epoch writes them again."""
    whole = train(cfg, data, tmp_path / "runs", Watch(tmp_path, "on_val_start 4"), Judged)
    best = whole.moments["on_val_start 4"] / "weights" / "best.pt"
    best.write_bytes(best.read_bytes()[:2000])
    assert not all_compared(whole, trainer=Judged)


def test_it_may_end_while_the_state_is_written(cfg, data, tmp_path, whole_run, monkeypatch):
    """Between writing the file and giving it its name; what was written is not left behind for good."""
    real, seen = os.replace, []

    def replace(source, target):
        if is_state(target):
            seen.append(target)
            if len(seen) == 3:
                shutil.copytree(Path(target).parents[1], tmp_path / "copy")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        train(cfg, data, tmp_path / "runs", Watch(step_4=end), save_iterations=2)
    assert len(list((tmp_path / "copy" / "weights").glob(".state.pt.*"))) == 1
    assert not compared(resume(tmp_path / "copy"), whole_run)


class Harmful:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


def garbage(kind: str, file: Path) -> None:
    whole = file.read_bytes()
    if kind == "version":
        torch.save({**state.load(file), "version": 99}, file)
    elif kind == "other":
        torch.save({"epoch": 3}, file)
    else:
        file.write_bytes({
            "empty": b"", "noise": os.urandom(1000), "half": whole[: len(whole) // 2], "text": b"state\n",
            "code": pickle.dumps({"version": 1, "harm": Harmful()}),
        }[kind])  # fmt: skip


@pytest.mark.parametrize("kind", ["empty", "noise", "half", "text", "code", "other", "version"])
def test_a_damaged_state_is_refused(kind, cfg, broken, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    garbage(kind, broken / "weights" / "state.pt")
    before = listing(broken)
    with pytest.raises(SettingsError) as found:
        Darknet(cfg).train(resume=str(broken))
    assert str(broken / "weights" / "state.pt") in str(found.value)
    assert ("version" if kind == "version" else "not a state to go on from") in str(found.value)
    assert str(found.value).count("\n") == 0
    assert not (tmp_path / "harm").exists()
    assert listing(broken) == before


# --- a run that was begun by an earlier version -------------------------------------------------------------------------


def test_a_run_of_an_earlier_version_goes_on_exactly(cfg, data, tmp_path, monkeypatch):
    """Its arguments lack the keys that are younger than it, and its optimizer's step was not the fused one."""
    with monkeypatch.context() as patch:
        patch.setattr(engine_trainer, "darknet_sgd", lambda network, _: darknet_sgd(network, fused=False))
        whole = train(cfg, data, tmp_path, name="whole")
        begun = train(cfg, data, tmp_path, Watch(step_5=end), name="begun", save_iterations=1)
    file = begun.weights / "state.pt"
    kept = state.load(file)
    assert not any(group["fused"] for group in kept["optimizer"]["param_groups"])
    for key in ("max_pixels", "memory", "blur", "exact_norm"):
        del kept["args"][key]
    state.save(file, kept)
    found = resume(begun.folder)
    assert not differences(found.end, whole.end, same=0.0)
    assert not any(group["fused"] for group in found.trainer.optimizer.param_groups), "whose rounding differs"


# --- what is refused ----------------------------------------------------------------------------------------------------

OTHER = {
    "batch": 8, "learning_rate": 0.5, "lr0": 0.5, "seed": 1, "imgsz": 96, "max_norm": 5.0,
    "norm_type": float("inf"), "optimizer": "Adam", "momentum": 0.5, "decay": 0.1, "weight_decay": 0.1, "bn": "frozen",
    "random": 1.4, "jitter": 0.3, "hue": 0.2, "burn_in": 7, "steps": [1, 2], "policy": "constant", "schedule": "exact",
    "augmentation": "ultralytics", "mosaic": 1.0, "patience": 5, "val": False, "amp": True, "letterbox": "stretch",
    "freeze": 2, "fraction": 0.5, "exact_norm": True, "grad_reduction": "sum", "rect": True, "flavour": "alexeyab",
    "max_skipped": 3, "seen": "keep", "batch_per_gpu": True, "multi_scale": 0.5, "time": 1.0,
}  # fmt: skip


def test_what_would_be_another_training_is_refused(cfg, broken):
    before, let_through = listing(broken), []
    for key, value in OTHER.items():
        try:
            Darknet(cfg).train(resume=str(broken), **{key: value})
            let_through.append(key)
        except SettingsError as error:
            where = {"lr0": "learning_rate", "weight_decay": "decay"}.get(key, key)
            assert str(error).startswith(f"{where}={value}: cannot change when a run goes on")  # noqa: PT017
        assert listing(broken) == before
    assert not let_through


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subdivisions": 3}, "subdivisions=3: does not divide batch=4"),
        ({"save_iterations": -1}, "save_iterations=-1: too small; give at least 0"),
        ({"subdivison": 2}, "did you mean subdivisions"),
    ],
)
def test_an_impossible_change_leaves_the_folder_alone(changes, words, cfg, broken):
    before = listing(broken)
    with pytest.raises(SettingsError, match=words):
        Darknet(cfg).train(resume=str(broken), **changes)
    assert listing(broken) == before


def test_what_is_the_same_may_be_given(cfg, broken, whole_run):
    model = Darknet(cfg)
    run = Watch().attach(model.add_callback)
    model.train(resume=str(broken), batch=4, epochs=3, data=str(whole_run.trainer.args.data), seed=0, device="cpu")
    assert not compared(run, whole_run)


@pytest.mark.parametrize("change", ["renamed", "removed", "added", "shortened"])
def test_another_data_set_is_refused(change, cfg, data, tmp_path, whole_run):
    own = shutil.copytree(data.parent, tmp_path / "own")
    shutil.rmtree(own / "labels")
    shutil.copytree(data.parent / "labels", own / "labels", ignore=shutil.ignore_patterns("*.cache"))
    source = own / ("shapes.data" if change == "removed" else "shapes.yaml")
    run = train(cfg, source, tmp_path / "runs", Watch(step_5=end), name="run", save_iterations=2)
    image, label = own / "images/train/00003.jpg", own / "labels/train/00003.txt"
    if change == "renamed":
        image.rename(image.with_name("other.jpg"))
        label.rename(label.with_name("other.txt"))
    elif change == "removed":
        image.rename(tmp_path / "away.jpg")
    elif change == "added":
        shutil.copy(image, image.with_name("00099.jpg"))
        shutil.copy(label, label.with_name("00099.txt"))
    else:
        (own / "some.txt").write_text("".join(f"./images/train/{number:05}.jpg\n" for number in range(8)))
        source.write_text(source.read_text().replace("train: images/train", "train: some.txt"))
    before = {**listing(run.folder), "args.yaml": None}  # Ultralytics writes it before it looks at the data
    with pytest.raises(SettingsError) as found:
        Darknet(cfg).train(resume=str(run.folder))
    what = {"renamed": "other training images", "removed": "00003.jpg not found", "added": "11 training images, 10",
            "shortened": "8 training images, 10"}[change]  # fmt: skip
    assert what in str(found.value)
    assert "put the data set back" in str(found.value)
    assert {**listing(run.folder), "args.yaml": None} == before


def test_a_run_that_still_runs_is_refused(cfg, broken):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        RunFolder(broken).write_process(sleeper.pid)
        before = listing(broken)
        with pytest.raises(SettingsError, match="still running; stop it first"):
            Darknet(cfg).train(resume=str(broken))
        assert listing(broken) == before
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_finished_run_is_refused(whole_run, cfg):
    before = listing(whole_run.folder)
    with pytest.raises(SettingsError, match=r"this run is finished, .* train it longer with resume=.* epochs=N"):
        Darknet(cfg).train(resume=str(whole_run.folder))
    assert listing(whole_run.folder) == before


# --- places -------------------------------------------------------------------------------------------------------------


def test_a_run_may_be_moved_away_from_a_data_set_beside_it(cfg, data, tmp_path, whole_run):
    """Whose name begins like the run's."""
    yaml = tmp_path / "runs" / "run-data.yaml"
    yaml.parent.mkdir()
    yaml.write_text(f"path: {data.parent}\n" + data.with_suffix(".yaml").read_text())
    run = train(cfg, yaml, tmp_path / "runs", Watch(step_5=end), name="run", save_iterations=2)
    moved = run.folder.rename(tmp_path / "elsewhere")
    again = resume(moved)
    assert again.folder == moved
    assert not compared(again, whole_run)
    assert not run.folder.exists(), "nothing is written to the old place"


def test_the_working_directory_may_be_another(cfg, data, tmp_path, whole_run, monkeypatch):
    """Data set, cfg and project were given relative to the first one."""
    monkeypatch.chdir(shutil.copytree(data.parent, tmp_path / "first"))
    shutil.copy(cfg, "tiny.cfg")
    run = train("tiny.cfg", Path("shapes.yaml"), Path("runs"), Watch(step_5=end), name="run", save_iterations=2)
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "second")
    again = resume(tmp_path / "first" / "runs" / "run")
    assert again.folder == run.folder == tmp_path / "first" / "runs" / "run"
    assert not compared(again, whole_run)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("place", ["folder", "weights", "weights/last.pt", "weights/state.pt"])
def test_a_run_is_named_by_its_folder_or_a_checkpoint(place, broken):
    assert state.find_state(broken if place == "folder" else broken / place) == broken / "weights" / "state.pt"


def test_results_that_were_lost_come_back(broken, whole_run):
    """results.csv is in the state."""
    (broken / "results.csv").unlink()
    assert not compared(resume(broken), whole_run)


def test_a_torn_last_event_is_cut_away(broken, whole_run):
    with (broken / "events.jsonl").open("ab") as file:
        file.write(b'{"v":1,"type":"step","st')
    assert not compared(resume(broken), whole_run)


def test_the_events_tell_that_it_went_on(broken):
    run = resume(broken)
    starts = [event for event in read_events(run.folder / "events.jsonl") if isinstance(event, RunStarted)]
    assert [start.start_step for start in starts] == [0, 4]
    assert [start.steps_total for start in starts] == [9, 9]
    assert not (broken / "control" / "stop").exists()


# --- Python's doors -----------------------------------------------------------------------------------------------------


def test_a_model_goes_on_with_its_run(cfg, data, tmp_path):
    """The size of the run holds, which is not that of the cfg."""
    moments = "step 4", "on_val_start 3"
    whole = train(cfg, data, tmp_path / "runs", Watch(tmp_path, *moments), imgsz=96, epochs=2, save_iterations=4)
    for door, moment in enumerate(moments):
        place = whole.moments[moment]
        model = Darknet(place / "weights" / "last.pt" if door else cfg)
        run = Watch().attach(model.add_callback)
        model.train(resume=True if door else str(place))
        assert run.folder == place
        assert not compared(run, whole), moment
        assert model.overrides["imgsz"] == 96


def test_a_model_that_is_no_checkpoint_has_no_run(cfg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="resume="):
        Darknet(cfg).train(resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.cfg"]


def test_a_run_goes_on_with_a_trainer_of_its_kind(cfg, data, tmp_path, broken):
    (tmp_path / "tiny.yaml").write_text(V8_YAML)
    before = listing(broken)
    with pytest.raises(SettingsError, match=f"resume={broken}: "):
        YOLO(tmp_path / "tiny.yaml").train(trainer=SubbatchTrainer, resume=str(broken))
    assert listing(broken) == before
    model = YOLO(tmp_path / "tiny.yaml")
    other = Watch(on_train_epoch_start_1=end).attach(model.add_callback)
    with suppress(Ended):
        model.train(
            trainer=SubbatchTrainer, data=str(data.with_suffix(".yaml")), project=str(tmp_path / "runs"), epochs=1, batch=4,
            imgsz=64, **QUIET,
        )  # fmt: skip
    before = listing(other.folder)
    with pytest.raises(SettingsError, match=f"resume={other.folder}: "):
        Darknet(cfg).train(resume=str(other.folder))
    assert listing(other.folder) == before


def test_a_classifier_goes_on(tmp_path):
    """Images in folders, a loss that is a mean, and layers that draw at random; found by the name of its trainer."""
    rng = np.random.default_rng(0)
    for split, kind in itertools.product(("train", "val"), ("dark", "light")):
        (tmp_path / "data" / split / kind).mkdir(parents=True)
        for index in range(5):
            picture = rng.integers(0, 120, (32, 32, 3), np.uint8) + (120 if kind == "light" else 0)
            cv2.imwrite(str(tmp_path / "data" / split / kind / f"{index}.png"), picture.astype(np.uint8))
    (tmp_path / "tiny-cls.yaml").write_text(
        "nc: 2\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\nhead:\n  - [-1, 1, Classify, [nc]]\n"
    )
    model = YOLO(tmp_path / "tiny-cls.yaml")
    whole = Watch(tmp_path, "step 5", "on_val_start 3").attach(model.add_callback)
    model.train(
        trainer=subbatch(ClassificationTrainer), data=str(tmp_path / "data"), project=str(tmp_path / "runs"), imgsz=32,
        epochs=3, batch=4, subdivisions=2, save_iterations=2, dropout=0.5, optimizer="SGD", **QUIET,
    )  # fmt: skip
    kind = trainer_class(state.load(whole.moments["step 5"] / "weights" / "state.pt")["host"])
    assert kind is subbatch(ClassificationTrainer)
    assert not all_compared(whole, trainer=kind)


HEADS = {
    # AdamW in a warm-up of two epochs; the loss of two heads, whose weights change with every epoch
    "two heads": (
        "end2end: True\nreg_max: 1\n",
        {"optimizer": "AdamW", "lr0": 0.001, "warmup_epochs": 2, "cos_lr": True, "mosaic": 1.0, "close_mosaic": 1},
        ("on_train_epoch_start 2", "step 5", "on_train_epoch_end 3"),
    ),
    # a warm-up that ends within an epoch, random sizes, and losses that are made to add up
    "one head": (
        "", {"optimizer": "SGD", "warmup_epochs": 1.5, "multi_scale": 0.5, "exact_norm": True, "mosaic": 0.0},
        ("step 1", "step 6", "on_val_batch_end 3"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_a_model_of_ultralytics_goes_on(name, data, tmp_path):
    head, keywords, moments = HEADS[name]
    file = tmp_path / "tiny.yaml"
    file.write_text(head + V8_YAML)
    model = YOLO(file)
    whole = Watch(tmp_path / "copies", *moments).attach(model.add_callback)
    model.train(
        trainer=SubbatchTrainer, data=str(data.with_suffix(".yaml")), project=str(tmp_path / "runs"), epochs=3, batch=4,
        subdivisions=2, imgsz=64, save_iterations=2, **QUIET, **keywords,
    )  # fmt: skip
    assert set(whole.moments) == set(moments)
    assert (whole.end["criterion"][0] == 3) == bool(head)
    rates = {values[0][0] for values in whole.rates.values()}
    assert len(rates) > 3, "the rate warms up"
    wrong = {}
    for moment, place in whole.moments.items():
        model = YOLO(file)
        run = Watch().attach(model.add_callback)
        model.train(trainer=SubbatchTrainer, resume=str(place))
        print(f"{name}, {moment}: from iteration {run.trainer.resumed['iteration']}, apart {apart(run, whole):g}")
        wrong[moment] = compared(run, whole)
    assert not {moment: found for moment, found in wrong.items() if found}
