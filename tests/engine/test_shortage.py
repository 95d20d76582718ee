"""When memory runs out, whatever was being done: the batch stays, and the run ends as if nothing had happened."""

from __future__ import annotations

import csv
import gc
import math
import re
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.utils.torch_utils import ModelEMA

from yolo_subbatch import Darknet, DarknetTrainer, SubbatchTrainer
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.engine import base, state, update
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.engine.shortage import Snapshot, Watch, finer, is_shortage
from yolo_subbatch.errors import SettingsError, TrainingError
from yolo_subbatch.folder.events import RunFinished, Step, Val, Warned, read_events
from yolo_subbatch.settings.values import memory_bytes

# --- what counts as a shortage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("whatever"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_shortages(error):
    assert is_shortage(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("out of memory"),
        KeyboardInterrupt(),
        SettingsError("memory is short: out of memory"),
    ],
)
def test_what_is_no_shortage(error):
    assert not is_shortage(error)


def test_a_real_failed_allocation_is_one():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**48)
    assert is_shortage(caught.value)


@pytest.mark.parametrize(
    ("batch", "processes", "steps"),
    [
        (64, 1, [1, 2, 4, 8, 16, 32, 64]),
        (12, 1, [1, 2, 4, 12]),
        (12, 1, [3, 6, 12]),
        (10, 1, [1, 2, 5, 10]),
        (7, 1, [1, 7]),
        (64, 4, [1, 2, 4, 8, 16]),
        (12, 2, [1, 2, 6]),
        (12, 3, [1, 2, 4]),
    ],
)
def test_finer_at_least_halves_a_sub_batch_where_it_can(batch, processes, steps):
    for number, after in pairwise(steps):
        assert finer(batch, number, processes) == after
    with pytest.raises(SettingsError, match=rf"subdivisions={steps[-1]}: .*one image at a time; use a smaller imgsz"):
        finer(batch, steps[-1], processes)


class Owner:
    def work(self, *args, **keywords):
        return "class", args, keywords


def test_a_snapshot_puts_every_buffer_back():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False))
    snapshot = Snapshot(model)
    for _ in range(2):  # it may be taken as often as one likes
        model(torch.rand(2, 3, 5, 5))
        before = {name: each.clone() for name, each in model.named_buffers()}
        snapshot.take()
        model(torch.rand(2, 3, 5, 5) * 9)
        weights = model[0].weight.clone()
        assert not torch.equal(model[1].running_mean, before["1.running_mean"])
        snapshot.put_back()
        assert all(torch.equal(each, before[name]) for name, each in model.named_buffers())
        assert torch.equal(model[0].weight, weights)
    assert int(model[1].num_batches_tracked) == 2
    empty = Snapshot(nn.Linear(1, 1))
    empty.take()
    empty.put_back()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_it_is_seen_whether_a_step_has_begun(kind, fused):
    model = nn.Linear(3, 2)
    extra = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(model.parameters(), lr=0.1, fused=fused, **extra)
    for _ in range(2):
        model(torch.rand(4, 3)).sum().backward()
        with Watch(optimizer) as watch:
            for each in model.parameters():
                each.grad.mul_(2)  # as clipping does
            assert not watch.has_changed()
            optimizer.step()
        assert watch.has_changed()
        optimizer.zero_grad()
    optimizer.step()
    assert not Watch(optimizer).has_changed(), "the steps before are not this one's"
    watch = Watch(optimizer)
    next(iter(optimizer.state[model.bias].values())).add_(1)
    assert watch.has_changed(), "the optimizer's memory counts too"


class PastTheCounting(torch.optim.SGD):
    def step(self, closure=None):
        for weight in self.param_groups[0]["params"]:
            weight.data.add_(1.0)


class Around(torch.optim.Optimizer):
    """Has another one inside, as many do: without what torch's own class prepares."""

    def __init__(self, inner):
        self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state

    def step(self, closure=None):
        self.inner.step()


def test_a_users_optimizer_is_not_trusted_in_the_middle_of_a_step():
    model = nn.Linear(3, 2)
    past = PastTheCounting(model.parameters(), lr=0.1)
    with Watch(past) as watch:
        assert not watch.has_changed()
        past.step()
        assert watch.has_changed()
    around = Around(torch.optim.SGD(model.parameters(), lr=0.1))
    with Watch(around) as watch:
        around.step()
    assert watch.has_changed()


# --- whole trainings ------------------------------------------------------------------------------------------------

#: 10 images: updates of 4, 4 and 2 images, three to an epoch.
PLAIN = {"epochs": 2, "batch": 4, "learning_rate": 0.01, "plots": False, "val": False, "device": "cpu"}
ERRORS = (
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB (simulated)\nsecond line"),
    torch.OutOfMemoryError("CUDA out of memory (simulated)"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory (simulated)"),
    MemoryError(),
)


class Trap:
    """Says that memory has run out: in one update, counted from 0, and one of its sub-batches, where that is asked."""

    def __init__(self, update, part=None, error=ERRORS[0], times=1):
        self.update, self.part, self.error, self.left, self.trainer = update, part, error, times, None

    @property
    def armed(self):
        trainer = self.trainer
        if trainer is None or not self.left or trainer.update_index != self.update:
            return False
        return self.part in (None, trainer.train_loader.part.index)

    def spring(self, *_):
        if self.armed:
            self.left -= 1
            raise self.error


def after(patch, owner, name, trap, when=lambda *_: True):
    """Have a method do its work and then run out of memory."""
    original = getattr(owner, name)

    def call(*args, **keywords):
        result = original(*args, **keywords)
        if when(*args):
            trap.spring()
        return result

    patch.setattr(owner, name, call)


def training(module, *_):
    return module.training and torch.is_grad_enabled()


def in_preprocessing(trap, patch, trainer):
    after(patch, type(trainer), "preprocess_batch", trap)


def in_forward(trap, patch, trainer):
    after(patch, Network, "forward", trap, training)


def in_loss(trap, patch, trainer):
    after(patch, Network, "loss", trap, lambda *_: torch.is_grad_enabled())


def in_backward(trap, patch, trainer):
    """Behind the first layer: all later ones have their gradients by then."""

    def watch(module, inputs, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: trap.spring())

    trainer.plain_model.model[0].register_forward_hook(watch)


def in_clipping(trap, patch, trainer):
    after(patch, update, "total_norm", trap)


def before_step(trap, patch, trainer):
    trainer.optimizer.register_step_pre_hook(trap.spring)


def in_step(trap, patch, trainer):
    """With one weight changed already."""

    def half(*_):
        if trap.armed:
            with torch.no_grad():
                next(trainer.plain_model.parameters()).add_(0.5)
        trap.spring()

    trainer.optimizer.register_step_pre_hook(half)


def after_step(trap, patch, trainer):
    trainer.optimizer.register_step_post_hook(trap.spring)


def in_average(trap, patch, trainer):
    trap.update += 1
    after(patch, ModelEMA, "update", trap)


def in_saving(trap, patch, trainer):
    trap.update += 1
    after(patch, state, "capture", trap)


def train(cfg, data, folder, place=None, trap=None, patch=None, trainer=DarknetTrainer, **keywords):
    """Train the tiny network; memory runs out where the trap is laid."""
    model, kept = Darknet(cfg), []

    def begin(trainer):
        trap.trainer = trainer
        place(trap, patch, trainer)

    if place is not None:
        model.add_callback("on_train_start", begin)
    model.add_callback("on_train_end", kept.append)
    model.train(trainer=trainer, data=str(data), project=str(folder), **{**PLAIN, **keywords})
    if trap is not None:
        assert not trap.left, "memory has run out"
    return kept[0]


def events(trainer, kind):
    return [each for each in read_events(Path(trainer.save_dir) / "events.jsonl") if isinstance(each, kind)]


def tensors(trainer):
    """Return everything that an update moves: weights and statistics, their averages, the optimizer's memory."""
    parts = {
        "weights": trainer.plain_model.state_dict(),
        "averages": trainer.ema.ema.state_dict(),
        "momentum": {
            f"{number} {name}": value
            for number, each in trainer.optimizer.state_dict()["state"].items()
            for name, value in each.items()
        },
    }
    return {f"{part} {name}": value.clone() for part, found in parts.items() for name, value in found.items()}


def distance(one, other):
    """Return the largest difference; that of the optimizer's memory, whose numbers are large, as a share."""
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    apart = {name: float((one[name].double() - other[name].double()).abs().max()) for name in one}
    largest = max(float(value.abs().max()) for name, value in other.items() if name.startswith("momentum"))
    return max(value / max(1.0, largest) if name.startswith("momentum") else value for name, value in apart.items())


def table(trainer):
    """Return results.csv by column, without the times."""
    with trainer.csv.open() as file:
        rows = list(csv.DictReader(file))
    return {key.strip(): [float(row[key]) for row in rows] for key in rows[0] if key.strip() != "time"}


def told(step):
    return step.step, step.epoch, step.images, step.seen, tuple(step.imgsz), step.clipped, step.skipped


def check(found, wanted, exact=False):
    """Compare a run in which memory ran out with one in which it did not."""
    if exact:
        assert distance(found, wanted) == 0
    else:
        assert distance(found, wanted) < 1e-6
    assert found.args.batch == wanted.args.batch == 4
    assert (found.seen, found.update_index, found.ema.updates) == (wanted.seen, wanted.update_index, wanted.ema.updates)
    steps, others = events(found, Step), events(wanted, Step)
    assert [told(step) for step in steps] == [told(step) for step in others]
    assert [step.step for step in steps] == list(range(1, wanted.update_index + 1))
    for step, other in zip(steps, others, strict=True):
        assert step.loss == pytest.approx(other.loss, rel=1e-4)
        assert step.darknet_loss == pytest.approx(other.darknet_loss, rel=1e-4)
        assert (step.gnorm, step.lr) == pytest.approx((other.gnorm, other.lr), rel=1e-4)
    for key, column in table(wanted).items():
        assert table(found)[key] == pytest.approx(column, rel=1e-4, abs=1e-6), key
    everything = list(read_events(Path(found.save_dir) / "events.jsonl"))
    assert [event.seq for event in everything] == list(range(len(everything)))
    assert [(event.step, event.epoch) for event in everything if isinstance(event, Val)] == [(wanted.update_index, 2)]
    assert isinstance(everything[-1], RunFinished)
    assert everything[-1].status == "completed"


@pytest.fixture(scope="module")
def cfgs(tmp_path_factory):
    from tests.engine.conftest import cfg_text

    folder = tmp_path_factory.mktemp("cfgs")
    for name, bn in (("plain", False), ("bn", True)):
        (folder / f"{name}.cfg").write_text(cfg_text(bn))
    return lambda name: folder / f"{name}.cfg"


@pytest.fixture(scope="module")
def undisturbed(cfgs, data, tmp_path_factory):
    """Return the run in which memory was never short."""
    made = {}

    def run(name="plain", **keywords):
        key = (name, *sorted(keywords.items()))
        if key not in made:
            made[key] = train(cfgs(name), data, tmp_path_factory.mktemp("undisturbed"), **keywords)
            gc.collect()
            gc.freeze()  # it stays, and so does what the first training imports
        return made[key]

    return run


CASES = [
    (in_preprocessing, 0, 0), (in_preprocessing, 4, 1), (in_preprocessing, 5, 0),
    (in_forward, 1, 1), (in_forward, 3, 0),
    (in_loss, 2, 0), (in_loss, 4, 1),
    (in_backward, 0, 1), (in_backward, 5, 0),
    (in_clipping, 1, None), (in_clipping, 5, None),
    (before_step, 0, None), (before_step, 5, None),
    (in_step, 1, None), (in_step, 3, None),
    (after_step, 0, None), (after_step, 2, None), (after_step, 4, None), (after_step, 5, None),
    (in_average, 1, None), (in_average, 5, None),
]  # fmt: skip


@pytest.mark.parametrize(("number", "place", "index", "part"), [(number, *each) for number, each in enumerate(CASES)])
def test_a_shortage_costs_nothing_but_time(cfgs, data, tmp_path, monkeypatch, undisturbed, number, place, index, part):
    """Update 2 and 5 are the short ones at the end of an epoch; all but these have two sub-batches."""
    wanted = undisturbed(subdivisions=2)
    trap = Trap(index, part, ERRORS[number % len(ERRORS)])
    found = train(cfgs("plain"), data, tmp_path, place, trap, monkeypatch, subdivisions=2)
    check(found, wanted)
    assert (wanted.args.subdivisions, found.args.subdivisions, found.train_loader.size) == (2, 4, 1)
    (warning,) = events(found, Warned)
    assert warning.code == "oom_retry"
    words = r"batch 4 stays, subdivisions=4 from now on \(1 images at a time\); iteration (\d) is done again \[.+\]$"
    again = int(re.search(words, warning.text)[1])
    assert "normalisation" not in warning.text
    # What cannot be undone is done again from the last state that was kept: here, the beginning of the epoch.
    cannot = place in (in_step, after_step, in_average)
    assert again == 1 + (index - index % 3 if cannot else index)


def test_what_these_are_compared_with_moves(cfgs, data, tmp_path, undisturbed):
    """1e-6 would say nothing if nothing moved, or if it did not matter how a run got there."""
    wanted = undisturbed(subdivisions=2)
    for other in ({"epochs": 1}, {"seed": 1}, {"batch": 2}):
        assert distance(train(cfgs("plain"), data, tmp_path, subdivisions=2, **other), wanted) > 1e-3, other


@pytest.mark.parametrize("place", [in_backward, after_step])
def test_two_shortages_in_one_window(cfgs, data, tmp_path, monkeypatch, undisturbed, place):
    wanted = undisturbed(subdivisions=2)
    trap = Trap(4, None, times=2)
    found = train(cfgs("plain"), data, tmp_path, place, trap, monkeypatch)  # from one sub-batch to four
    check(found, wanted)
    numbers = [re.search(r"subdivisions=(\d)", each.text)[1] for each in events(found, Warned)]
    # Who goes back to the last state takes back the events since; those of the first attempt were among them.
    assert numbers == (["2", "4"] if place is in_backward else ["4"])


def test_a_shortage_while_the_state_is_written(cfgs, data, tmp_path, monkeypatch, undisturbed):
    found = train(
        cfgs("plain"), data, tmp_path, in_saving, Trap(4), monkeypatch, subdivisions=2, save_iterations=1
    )  # fmt: skip
    check(found, undisturbed(subdivisions=2))
    (warning,) = events(found, Warned)
    assert "iteration 5 is done again" in warning.text, "the state after iteration 4 was whole"


@pytest.mark.parametrize("place", [in_forward, in_loss])
def test_compiled_networks_lose_nothing_either(cfgs, data, tmp_path, monkeypatch, undisturbed, place):
    """Network and loss are two calls then; the compiler itself is left out, which takes longer than all of these."""
    monkeypatch.setattr("ultralytics.engine.trainer.attempt_compile", lambda model, **_: model)
    wanted = undisturbed(subdivisions=2, compile=True)
    found = train(cfgs("plain"), data, tmp_path, place, Trap(3, 1), monkeypatch, subdivisions=2, compile=True)
    check(found, wanted)
    assert found.args.subdivisions == 4


def test_a_shortage_after_an_update_that_was_left_out(cfgs, data, tmp_path, monkeypatch):
    """It counts as an iteration, though no weight shows it."""

    class NotFinite(DarknetTrainer):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            batch["img"] = batch["img"] * (math.nan if self.update_index == 3 else 1)
            return batch

    given = {"trainer": NotFinite, "subdivisions": 2, "save_iterations": 1}
    wanted = train(cfgs("plain"), data, tmp_path, **given)
    found = train(cfgs("plain"), data, tmp_path, in_saving, Trap(3), monkeypatch, **given)
    assert distance(found, wanted) < 1e-6
    assert (found.seen, found.update_index, found.skipped, wanted.skipped) == (20, 6, 1, 1)
    assert [told(step) for step in events(found, Step)] == [told(step) for step in events(wanted, Step)]
    assert [event.code for event in events(found, Warned)] == ["oom_retry", "nan_loss"]


def test_loading_processes_load_the_window_again(cfgs, data, tmp_path, monkeypatch, undisturbed):
    trap = Trap(4, 1)
    found = train(cfgs("plain"), data, tmp_path, in_loss, trap, monkeypatch, subdivisions=2, workers=2)
    assert found.train_loader.num_workers == 2
    check(found, undisturbed(subdivisions=2))


@pytest.mark.parametrize(("optimizer", "place"), [("AdamW", in_backward), ("MuSGD", in_step)])
def test_other_optimizers_lose_nothing_either(cfgs, data, tmp_path, monkeypatch, undisturbed, optimizer, place):
    """They divide by what may be tiny, so the window is cut as before."""
    given = {"subdivisions": 2, "optimizer": optimizer, "epochs": 1}
    monkeypatch.setattr(base, "finer", lambda batch, parts, processes: parts)
    found = train(cfgs("plain"), data, tmp_path, place, Trap(1), monkeypatch, **given)
    assert distance(found, undisturbed(**given)) == 0


def test_without_a_kept_state_the_error_is_told(cfgs, data, tmp_path, monkeypatch, undisturbed):
    """save=False keeps none: a window can still be done again, half an update cannot be undone."""
    wanted = undisturbed(subdivisions=2)
    found = train(cfgs("plain"), data, tmp_path, in_clipping, Trap(4), monkeypatch, subdivisions=2, save=False)
    assert distance(found, wanted) < 1e-6
    with pytest.raises(TrainingError, match=r"^iteration 5: memory ran out in the middle of an update \(CUDA out of"):
        train(cfgs("plain"), data, tmp_path, after_step, Trap(4), monkeypatch, subdivisions=2, save=False)


# --- batch normalisation --------------------------------------------------------------------------------------------


def test_frozen_normalisation_is_equal_too(cfgs, data, tmp_path, monkeypatch, undisturbed):
    wanted = undisturbed("bn", subdivisions=2, bn="frozen")
    found = train(cfgs("bn"), data, tmp_path, in_backward, Trap(4, 1), monkeypatch, subdivisions=2, bn="frozen")
    check(found, wanted)
    assert "normalisation" not in events(found, Warned)[0].text


def test_smaller_groups_of_normalisation_are_told(cfgs, data, tmp_path, monkeypatch):
    found = train(cfgs("bn"), data, tmp_path, in_backward, Trap(4, 0), monkeypatch)
    (warning,) = events(found, Warned)
    assert "batch normalisation now averages over 2 images" in warning.text


@pytest.mark.parametrize(
    ("place", "index", "part", "bn"),
    [
        (in_preprocessing, 4, 1, "sub-batch"),
        (in_forward, 4, 1, "sub-batch"),
        (in_forward, 4, 1, "cross"),
        (in_loss, 0, 0, "sub-batch"),
        (in_backward, 5, 0, "sub-batch"),
        (in_backward, 1, 1, "cross"),
        (in_clipping, 2, None, "sub-batch"),
        (in_step, 4, None, "sub-batch"),
        (in_average, 1, None, "cross"),
    ],
)
def test_a_failed_attempt_leaves_no_trace(cfgs, data, tmp_path, monkeypatch, undisturbed, place, index, part, bn):
    """Cut as before, the window gives the same bits, running statistics and averages included."""
    wanted = undisturbed("bn", subdivisions=2, bn=bn)
    monkeypatch.setattr(base, "finer", lambda batch, parts, processes: parts)
    found = train(cfgs("bn"), data, tmp_path, place, Trap(index, part), monkeypatch, subdivisions=2, bn=bn)
    check(found, wanted, exact=True)
    assert len(events(found, Warned)) == 1
    assert any("running_mean" in name for name in tensors(found))


# --- an Ultralytics model -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny26(tmp_path_factory):
    """A network with two criteria: exact_norm goes through every window twice."""
    path = tmp_path_factory.mktemp("tiny26") / "tiny26.yaml"
    path.write_text(
        "nc: 3\nend2end: True\nreg_max: 1\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n"
        "  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\nhead:\n  - [[2, 3], 1, Detect, [nc]]\n"
    )
    return path


def train_26(path, data, folder, place=None, trap=None, patch=None):
    model, kept = YOLO(path), []

    def begin(trainer):
        trap.trainer = trainer
        place(trap, patch, trainer)

    if place is not None:
        model.add_callback("on_train_start", begin)
    model.add_callback("on_train_end", kept.append)
    model.train(
        trainer=SubbatchTrainer, data=str(data.with_suffix(".yaml")), project=str(folder), epochs=2, batch=4,
        subdivisions=2, imgsz=64, optimizer="SGD", lr0=0.01, exact_norm=True, plots=False, val=False, device="cpu",
        close_mosaic=1, mixup=0.5, warmup_epochs=1,
    )  # fmt: skip
    if trap is not None:
        assert not trap.left
    return kept[0]


@pytest.fixture(scope="module")
def undisturbed_26(tiny26, data, tmp_path_factory):
    return train_26(tiny26, data, tmp_path_factory.mktemp("undisturbed"))


def in_measuring(trap, patch, trainer):
    after(patch, type(trainer.plain_model), "loss", trap, lambda module, *_: not torch.is_grad_enabled())


@pytest.mark.parametrize(("place", "index"), [(in_measuring, 0), (in_measuring, 4), (in_backward, 4), (after_step, 4)])
def test_nor_does_one_of_exact_norm(tiny26, data, tmp_path, monkeypatch, undisturbed_26, place, index):
    """With two passes, mosaics that draw from other images, and those closed in the second epoch."""
    wanted = undisturbed_26
    assert wanted.exact.two_pass
    monkeypatch.setattr(base, "finer", lambda batch, parts, processes: parts)
    found = train_26(tiny26, data, tmp_path, place, Trap(index), monkeypatch)
    assert distance(found, wanted) == 0
    assert [told(step) for step in events(found, Step)] == [told(step) for step in events(wanted, Step)]
    assert [step.loss for step in events(found, Step)] == [step.loss for step in events(wanted, Step)]


# --- validation -----------------------------------------------------------------------------------------------------


def in_validation(epoch, call, final=False):
    """Lay the trap into one batch of the validation after an epoch, or into that of the best weights."""

    def place(trap, patch, trainer):
        original, trap.calls = DarknetModel._predict_once, []
        calls = trap.calls

        def predict(self, images, *args, **keywords):
            found = original(self, images, *args, **keywords)
            if not self.training and trainer.epoch == epoch and trainer.finishing == final:
                calls.append(len(images))
                if len(calls) >= call and trap.left:
                    trap.left -= 1
                    raise trap.error
            return found

        patch.setattr(DarknetModel, "_predict_once", predict)

    return place


@pytest.mark.parametrize(("epoch", "call", "parts"), [(0, 1, 2), (1, 1, 2), (1, 2, 4), (0, 2, 4)])
def test_a_validation_goes_on_with_fewer_images(
    cfgs, data, tmp_path, monkeypatch, undisturbed, epoch, call, parts
):  # fmt: skip
    wanted = undisturbed(subdivisions=parts, val=True)
    trap = Trap(None, error=ERRORS[epoch])
    place = in_validation(epoch, call)
    found = train(cfgs("plain"), data, tmp_path, place, trap, monkeypatch, subdivisions=parts, val=True)
    assert distance(found, wanted) == 0, "the training is not touched"
    assert found.args.subdivisions == parts
    before, now = wanted.test_loader.batch_size, found.test_loader.batch_size
    assert (before, now) == ((4, 2) if parts == 2 else (2, 1))
    (warning,) = events(found, Warned)
    assert warning.code == "oom_validation"
    assert f"{now} images at a time" in warning.text
    assert trap.calls == [before] * call + [now] * (4 // now), "the second attempt is made with fewer"
    figures = [[(each.step, each.epoch, each.best) for each in events(run, Val)] for run in (found, wanted)]
    assert figures[0] == figures[1] == [(3, 1, figures[1][0][2]), (6, 2, figures[1][1][2])]
    for one, other in zip(events(found, Val), events(wanted, Val), strict=True):
        numbers = [(each.map50, each.map, each.precision, each.recall) for each in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-4)
    for key, column in table(wanted).items():
        assert table(found)[key] == pytest.approx(column, rel=1e-4, abs=1e-6), key


def test_the_number_of_images_that_is_told_is_true(cfgs, data, tmp_path, monkeypatch):
    """Four images do not become two: those of one shape come in groups of the batch, here of nine."""
    trap, place = Trap(None), in_validation(0, 1)
    found = train(cfgs("plain"), data, tmp_path, place, trap, monkeypatch, batch=9, epochs=1)
    assert f" {found.test_loader.batch_size} images at a time" in events(found, Warned)[0].text


def test_a_shortage_while_the_best_weights_are_validated(cfgs, data, tmp_path, monkeypatch, undisturbed):
    """The last thing that a run does; all its updates are made by then."""
    wanted = undisturbed(subdivisions=2)
    place = in_validation(1, 1, final=True)
    found = train(cfgs("plain"), data, tmp_path, place, Trap(None), monkeypatch, subdivisions=2)
    check(found, wanted, exact=True)
    assert [event.code for event in events(found, Warned)] == ["oom_validation"]
    assert found.metrics == pytest.approx(wanted.metrics, abs=1e-4)


def test_a_validation_that_never_fits_is_refused(cfgs, data, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"validation.*one image.*imgsz"):
        train(cfgs("plain"), data, tmp_path, in_validation(0, 1), Trap(None, times=99), monkeypatch, val=True)


# --- the end --------------------------------------------------------------------------------------------------------


def test_a_shortage_that_never_ends_is_refused(cfgs, data, tmp_path, monkeypatch, undisturbed):
    trap = Trap(4, times=99)
    with pytest.raises(SettingsError) as refused, monkeypatch.context() as patch:
        train(cfgs("plain"), data, tmp_path, in_loss, trap, patch, name="refused")
    assert str(refused.value).startswith("subdivisions=4: memory is short even for one image at a time; use a smaller")
    assert "resume=" in str(refused.value)
    assert trap.left == 99 - 4
    found = list(read_events(tmp_path / "refused" / "events.jsonl"))
    told = [event.text for event in found if isinstance(event, Warned) and event.code == "oom_retry"]
    assert [re.search(r"(subdivisions|recompute)=\w+", text)[0] for text in told] == [
        "subdivisions=2", "subdivisions=4", "recompute=True",
    ]  # fmt: skip
    assert (found[-1].status, found[-1].error["type"]) == ("failed", "SettingsError")
    # And that advice can be followed.
    again = DarknetTrainer(overrides={"resume": str(tmp_path / "refused"), "subdivisions": 2, "recompute": False})
    again.train()
    assert distance(again, undisturbed(subdivisions=2)) < 1e-6
    assert [step.step for step in events(again, Step)] == list(range(1, 7))


def test_what_is_no_shortage_ends_the_run(cfgs, data, tmp_path, monkeypatch):
    trap = Trap(4, error=RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(cfgs("plain"), data, tmp_path, in_forward, trap, monkeypatch)


class Unsummed:
    """A loss that has not been summed up yet."""

    def __init__(self, loss, trap):
        self.loss, self.trap = loss, trap

    def sum(self):
        self.trap.spring()
        return self.loss.sum()


def in_the_sum(trap, patch, trainer):
    """Between the forward and the backward pass, the loss is summed up."""
    original = DarknetModel.loss

    def loss(self, *rest):
        total, parts = original(self, *rest)
        return Unsummed(total, trap) if torch.is_grad_enabled() else total, parts

    patch.setattr(DarknetModel, "loss", loss)


@pytest.mark.parametrize(("index", "part"), [(0, 0), (1, 1), (2, 0)])
def test_a_shortage_between_forward_and_backward(cfgs, data, tmp_path, monkeypatch, undisturbed, index, part):
    """Ultralytics would halve the batch, build its loaders anew and begin the epoch again."""
    found = train(cfgs("plain"), data, tmp_path, in_the_sum, Trap(index, part), monkeypatch, subdivisions=2)
    check(found, undisturbed(subdivisions=2))
    assert (found.args.subdivisions, found.skipped) == (4, 0)


# --- subdivisions=auto ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 2**30), ("8G", 8 * 2**30), ("8GiB", 8 * 2**30), ("512MB", 512 * 2**20), ("1.5 GiB", 3 * 2**29),
        (" 64 kb ", 2**16), ("2t", 2**41), (".5G", 2**29), ("0.0001TB", int(0.0001 * 2**40)),
    ],
)  # fmt: skip
def test_sizes_of_memory(text, size):
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "8", "GB", "0GB", "-1GB", "1.2.3GB", ".GB", "8 GB 2", "8XB", "8GBB", "1e3MB", "nanGB", "9" * 400 + "TB"],
)
def test_what_is_no_size_of_memory(text):
    with pytest.raises(SettingsError, match=r"not a size; write for example memory=8GB$"):
        memory_bytes(text)


class ReachedError(Exception):
    """The run would begin now."""


def fitted(cfg, data, folder, budget, **keywords):
    """Return the subdivisions that are chosen, without training; the network is as if nothing was tried."""
    model, chosen = Darknet(cfg), []

    def stop(trainer):
        chosen.append((trainer.args.subdivisions, trainer.train_loader.size, trainer.test_loader.batch_size))
        for name, each in trainer.plain_model.named_buffers():
            if "running" not in name and "tracked" not in name:
                continue
            untouched = torch.ones_like(each) if "var" in name else torch.zeros_like(each)
            assert torch.equal(each, untouched), name
        assert all(each.grad is None or not each.grad.any() for each in trainer.plain_model.parameters())
        assert trainer.update_index == trainer.seen == 0
        raise ReachedError

    model.add_callback("on_train_start", stop)
    memory = f"{(psutil.Process().memory_info().rss + budget * 2**20) / 2**20:.0f}MB"
    given = {**PLAIN, "batch": 64, "imgsz": 640, "subdivisions": "auto", "memory": memory, **keywords}
    with pytest.raises(ReachedError):
        model.train(data=str(data), project=str(folder), **given)
    assert chosen[0][1] == given["batch"] // chosen[0][0]
    return chosen[0][0]


def test_smaller_budgets_give_more_subdivisions(cfgs, data, tmp_path):
    """An image of 640 pixels takes some 20 MiB here; what the process holds already counts too."""
    found = [fitted(cfgs("bn"), data, tmp_path, budget) for budget in (8000, 1000, 300)]
    assert found[0] == 1
    assert found == sorted(found)
    assert len(set(found)) == 3
    larger = fitted(cfgs("bn"), data, tmp_path, 1000, random=1.4)
    assert larger > found[1], "the largest size that may be drawn must fit"


def test_more_images_need_more_subdivisions(cfgs, data, tmp_path):
    assert fitted(cfgs("bn"), data, tmp_path, 1000, batch=16) < fitted(cfgs("bn"), data, tmp_path, 1000, batch=64)


def test_a_budget_that_nothing_fits_is_refused(cfgs, data, tmp_path):
    with pytest.raises(SettingsError, match=r"subdivisions=auto: one image at a time needs about \d+ MiB, 0 MiB are f"):
        fitted(cfgs("bn"), data, tmp_path, -200)
    with pytest.raises(SettingsError, match="not a size"):
        fitted(cfgs("bn"), data, tmp_path, 0, memory="much")


def test_a_fitted_run_is_the_run_with_that_number(cfgs, data, tmp_path, undisturbed):
    """Nothing of the search is left in the weights, the statistics or what is drawn at random."""
    found = train(cfgs("bn"), data, tmp_path, subdivisions="auto", memory="64GB", bn="sub-batch")
    assert found.args.subdivisions == 1
    check(found, undisturbed("bn", subdivisions=1, bn="sub-batch"), exact=True)


def test_a_fitted_run_can_run_short_as_well(cfgs, data, tmp_path, monkeypatch, undisturbed):
    found = train(cfgs("plain"), data, tmp_path, in_backward, Trap(0, 0), monkeypatch, subdivisions="auto")
    assert found.args.subdivisions == 2
    check(found, undisturbed(subdivisions=2))


# --- half precision's scaler ----------------------------------------------------------------------------------------


class Scaled(DarknetTrainer):
    """With the scaler that float16 needs, which works on a CPU too."""

    def _setup_train(self):
        super()._setup_train()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)


@pytest.mark.parametrize(
    ("place", "index", "part"), [(in_forward, 0, 0), (in_backward, 3, 1), (in_clipping, 1, None), (after_step, 4, None)]
)
def test_a_shortage_with_a_scaler(cfgs, data, tmp_path, monkeypatch, undisturbed, place, index, part):
    """In the very first pass, too, before anything was scaled; and after gradients were unscaled."""
    wanted = undisturbed(subdivisions=2)
    found = train(cfgs("plain"), data, tmp_path, place, Trap(index, part), monkeypatch, Scaled, subdivisions=2)
    check(found, wanted)
    assert found.scaler.get_scale() == 1024.0


class Overflowing(Scaled):
    """A gradient that half precision cannot hold, until the scale is an eighth."""

    def loss_weight(self, part):
        if self.update_index == 3 and self.scaler.get_scale() > 128:
            return math.inf
        return super().loss_weight(part)


def test_a_gradient_that_overflows_is_computed_again(cfgs, data, tmp_path, undisturbed):
    wanted = undisturbed(subdivisions=2)
    found = train(cfgs("plain"), data, tmp_path, trainer=Overflowing, subdivisions=2)
    check(found, wanted)
    assert (found.scaler.get_scale(), found.skipped, found.args.subdivisions) == (128.0, 0, 2)


class FiniteGradient(Scaled):
    """A loss that is no number, with a gradient that is one."""

    def around_optimizer_step(self, theirs):
        if self.update_index == 3:
            sums = self.sub_batches.sums
            sums.losses = {name: value * math.nan for name, value in sums.losses.items()}
        super().around_optimizer_step(theirs)


def test_an_update_that_is_left_out_moves_nothing(cfgs, data, tmp_path):
    moved = []

    class Watched(FiniteGradient):
        def around_optimizer_step(self, theirs):
            before = [each.detach().clone() for each in self.plain_model.parameters()]
            super().around_optimizer_step(theirs)
            moved.append(any(not torch.equal(a, b) for a, b in zip(before, self.plain_model.parameters(), strict=True)))

    found = train(cfgs("plain"), data, tmp_path, trainer=Watched, subdivisions=2)
    assert moved == [True, True, True, False, True, True]
    assert found.skipped == 1
