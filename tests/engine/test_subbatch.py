"""Sub-batches through Ultralytics' real training loop."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from tests.engine.conftest import V8_YAML
from yolo_subbatch import Darknet, DarknetTrainer, SubbatchTrainer, subbatch
from yolo_subbatch.darknet import darknet_sgd, learning_rate, set_rate, train_batch
from yolo_subbatch.engine.arguments import numbers_of_parts
from yolo_subbatch.errors import SettingsError, TrainingError
from yolo_subbatch.folder.events import RunFinished, Step, Val, Warned, read_events

QUIET = {"plots": False, "val": False, "device": "cpu"}


class Recording(DarknetTrainer):
    """Keeps what a run saw and did."""

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        if not hasattr(self, "sub_batches_seen"):
            self.sub_batches_seen, self.updates = [], []
            self.first = deepcopy(self.plain_model.network)
        self.sub_batches_seen.append((batch["img"].clone(), batch["truths"].clone()))
        return batch

    def run_callbacks(self, event):
        super().run_callbacks(event)
        if event == "on_optimizer_step":
            self.updates.append((self.update_images, self.grad_norm, dict(self.update_losses), self.clipped))


def train(cfg, data, tmp_path, trainer=Recording, **keywords):
    model = Darknet(cfg)
    kept = []
    model.add_callback("on_train_end", kept.append)
    settings = {**QUIET, "data": str(data), "project": str(tmp_path / "runs"), "epochs": 2, "batch": 4, **keywords}
    model.train(trainer=trainer, **settings)
    return kept[0]


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("subdivisions", [1, 2, 4])
def test_the_loop_equals_train_batch(cfg, data, tmp_path, subdivisions):
    trainer = train(cfg, data, tmp_path, subdivisions=subdivisions, max_norm=5.0)
    network, net = trainer.first.train(), trainer.plan.net
    optimizer = darknet_sgd(network)
    waiting = list(trainer.sub_batches_seen)
    for number, (images, norm, losses, _) in enumerate(trainer.updates):
        taken = []
        while sum(len(each[0]) for each in taken) < images:
            taken.append(waiting.pop(0))
        truths = [row[row[:, 0] >= 0] for each in taken for row in each[1]]
        set_rate(optimizer, learning_rate(net, number + 1))
        found = train_batch(
            network, optimizer, torch.cat([each[0] for each in taken]), truths, len(taken), max_norm=5.0
        )
        assert losses["darknet_loss"] == pytest.approx(float(found.cost), rel=1e-4)
        assert math.isfinite(norm)
    assert not waiting
    difference = (weights(network) - weights(trainer.plain_model.network)).abs().max()
    assert difference < 1e-6


def test_any_number_of_sub_batches_gives_the_same_weights(cfg, data, tmp_path):
    runs = [train(cfg, data, tmp_path, subdivisions=s, name=f"s{s}", random=1.4, epochs=12) for s in (1, 2, 4)]
    first = weights(runs[0].plain_model.network)
    moved = (first - weights(runs[0].first)).abs().max()
    assert {tuple(image.shape[2:]) for image, _ in runs[0].sub_batches_seen} > {(64, 64)}, "random= draws other sizes"
    for run in runs[1:]:
        assert (weights(run.plain_model.network) - first).abs().max() < 1e-4 * moved
        for (images, norm, losses, clipped), (images_1, norm_1, losses_1, clipped_1) in zip(
            run.updates, runs[0].updates, strict=True
        ):
            assert (images, clipped) == (images_1, clipped_1)
            assert norm == pytest.approx(norm_1, rel=1e-3)
            assert losses["obj_loss"] == pytest.approx(losses_1["obj_loss"], rel=1e-3)


def test_a_short_last_window_is_a_smaller_batch(cfg, data, tmp_path):
    trainer = train(cfg, data, tmp_path, subdivisions=4)
    assert [images for images, *_ in trainer.updates] == [4, 4, 2, 4, 4, 2]
    assert trainer.seen == 20
    assert trainer.updates_per_epoch == 3


@pytest.mark.parametrize("max_norm", [0, math.inf])
def test_clipping_can_be_turned_off(cfg, data, tmp_path, max_norm):
    trainer = train(cfg, data, tmp_path, max_norm=max_norm, epochs=1)
    assert not any(clipped for *_, clipped in trainer.updates)


def test_clipping_bounds_the_step(cfg, data, tmp_path):
    trainer = train(cfg, data, tmp_path, max_norm=1e-3, epochs=1, momentum=0.0, decay=0.0, burn_in=0, learning_rate=1.0)
    assert all(clipped and norm > 1e-3 for _, norm, _, clipped in trainer.updates)
    moved = (weights(trainer.plain_model.network) - weights(trainer.first)).norm()
    assert moved <= 3 * 1e-3 * 1.001


def test_events_come_in_order(cfg, data, tmp_path):
    model, seen = Darknet(cfg), []
    names = [
        "on_train_batch_start",
        "on_sub_batch_end",
        "optimizer_step",
        "on_before_zero_grad",
        "on_optimizer_step",
        "on_train_batch_end",
    ]
    for name in names:
        model.add_callback(name, lambda trainer, name=name: seen.append(name))
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"), epochs=1, batch=4, subdivisions=2)
    update = ["optimizer_step", "on_before_zero_grad", "on_optimizer_step", "on_train_batch_end"]
    whole = ["on_train_batch_start", "on_sub_batch_end", "on_sub_batch_end", *update]
    assert seen == [*whole, *whole, "on_train_batch_start", "on_sub_batch_end", *update], "the last window has 2 images"


def test_max_batches_ends_the_run_at_the_update(cfg, data, tmp_path):
    trainer = train(cfg, data, tmp_path, epochs=None, max_batches=5)
    assert trainer.update_index == 5
    assert trainer.epochs == 2


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"batch": 4, "subdivisions": 3}, "use one of"),
        ({"batch": 0.5}, "give a whole number"),
        ({"grad_reduction": "median"}, "mean, sum"),
        ({"norm_type": 3}, "2, inf"),
        ({"imgsz": 72}, "use 64 or 80"),
        ({"learning_rate": 0.1, "lr0": 0.1}, "one setting under two names"),
        ({"subdivison": 2}, "did you mean subdivisions"),
        ({"max_norm": -1}, "at least 0"),
    ],
)
def test_impossible_settings_are_refused(cfg, data, tmp_path, keywords, words):
    with pytest.raises(SettingsError, match=words):
        train(cfg, data, tmp_path, **keywords)


class Watching(Recording):
    """Notes how the first convolution computes."""

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        if not hasattr(self, "outputs"):
            self.outputs = []
            note = lambda module, inputs, output: self.outputs.append(output.detach())  # noqa: E731
            self.plain_model.model[0].conv.register_forward_hook(note)
        return batch


@pytest.mark.parametrize(("amp", "kind"), [(False, torch.float32), ("bf16", torch.bfloat16)])
def test_half_precision_and_channels_last_on_the_cpu(cfg, data, tmp_path, amp, kind):
    trainer = train(cfg, data, tmp_path, trainer=Watching, amp=amp, epochs=1)
    assert trainer.outputs[0].dtype == kind
    assert not torch.is_autocast_enabled("cpu")
    assert trainer.outputs[0].is_contiguous(memory_format=torch.channels_last)
    assert next(trainer.plain_model.parameters()).dtype == torch.float32
    assert torch.isfinite(weights(trainer.plain_model.network)).all()
    assert (weights(trainer.plain_model.network) - weights(trainer.first)).abs().max() > 0


def test_time_does_not_undo_max_batches(cfg, data, tmp_path):
    trainer = train(cfg, data, tmp_path, epochs=None, max_batches=4, time=0.05)
    assert trainer.update_index == 4


class NotFinite(Recording):
    """Gives a loss that is no number once, in the second epoch."""

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        if self.epoch == 1 and not hasattr(self, "broken"):
            self.broken = True
            batch["img"] = batch["img"] * math.nan
        return batch


def test_an_update_without_finite_numbers_is_left_out(cfg, data, tmp_path):
    rates, before_and_after = [], []

    class Watched(NotFinite):
        def run_callbacks(self, event):
            if event == "optimizer_step":
                self.before = weights(self.plain_model.network).clone()
            super().run_callbacks(event)
            if event == "on_optimizer_step":
                rates.append((self.update_index, self.optimizer.param_groups[0]["lr"]))
                moved = not torch.equal(self.before, weights(self.plain_model.network))
                before_and_after.append((self.in_a_row, moved))

    trainer = train(cfg, data, tmp_path, trainer=Watched, epochs=3)
    assert trainer.update_index == 9
    assert trainer.skipped == 1
    assert before_and_after == [(0, True)] * 3 + [(1, False)] + [(0, True)] * 5
    assert rates == [(index, pytest.approx(learning_rate(trainer.plan.net, index))) for index in range(1, 10)]
    events = list(read_events(Path(trainer.save_dir) / "events.jsonl"))
    assert [event.code for event in events if isinstance(event, Warned)] == ["nan_loss"]
    assert [event.step for event in events if isinstance(event, Step) and event.skipped] == [4]
    losses = (Path(trainer.save_dir) / "results.csv").read_text()
    assert "nan" not in losses


class NeverFinite(Recording):
    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"] * math.nan
        return batch


def test_too_many_of_them_end_the_run(cfg, data, tmp_path):
    with pytest.raises(TrainingError, match=r"4 updates in a row.*learning rate"):
        train(cfg, data, tmp_path, trainer=NeverFinite, epochs=3, max_skipped=4)
    folder = next((tmp_path / "runs").iterdir())
    last = list(read_events(folder / "events.jsonl"))[-1]
    assert isinstance(last, RunFinished)
    assert last.status == "failed"


def test_another_process_gets_the_same_settings(cfg, data, tmp_path):
    """As the processes of a run on several devices do: from the complete arguments of the first."""
    first = train(cfg, data, tmp_path, learning_rate=0.02, epochs=1)
    again = DarknetTrainer(overrides={**vars(first.args), "model": str(cfg), "save_dir": str(tmp_path / "again")})
    assert again.args.given == first.args.given
    assert again.args.step_scale is None
    assert again.source.net.learning_rate == 0.02


def test_a_stop_leaves_the_best_weights_alone(cfg, data, tmp_path):
    """Weights that were not validated are not the best."""
    model, kept = Darknet(cfg), {}

    def stop(trainer):
        folder = Path(trainer.save_dir) / "weights"
        if trainer.update_index == 4 and not kept:
            kept["best"] = (folder / "best.weights").read_bytes()
            trainer.recorder.interrupted = True

    model.add_callback("on_optimizer_step", stop)
    model.train(data=str(data), project=str(tmp_path / "runs"), epochs=3, batch=4, **{**QUIET, "val": True})
    folder = Path(model.trainer.save_dir) / "weights"
    assert (folder / "best.weights").read_bytes() == kept["best"]
    assert (folder / "last.weights").read_bytes() != kept["best"]


def test_no_validation_is_reported_where_there_was_none(cfg, data, tmp_path):
    trainer = train(cfg, data, tmp_path, epochs=2)
    events = list(read_events(Path(trainer.save_dir) / "events.jsonl"))
    assert [event.epoch for event in events if isinstance(event, Val)] == [2], "the last epoch is always validated"
    trainer = train(cfg, data, tmp_path, epochs=2, val=True, name="validated")
    events = list(read_events(Path(trainer.save_dir) / "events.jsonl"))
    assert [event.epoch for event in events if isinstance(event, Val)] == [1, 2]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].best == max(event.map for event in events if isinstance(event, Val))


@pytest.mark.parametrize("optimizer", ["Adam", "MuSGD", "auto"])
def test_other_optimizers_make_the_same_updates(cfg, data, tmp_path, optimizer):
    runs = [train(cfg, data, tmp_path, optimizer=optimizer, subdivisions=s, name=f"s{s}") for s in (1, 2)]
    first, second = (weights(run.plain_model.network) for run in runs)
    moved = (first - weights(runs[0].first)).abs().max()
    assert moved > 0
    assert (first - second).abs().max() < 1e-3 * moved


class Short(Recording):
    """Runs out of memory once, in the second sub-batch."""

    short = False

    def preprocess_batch(self, batch):
        batch = super().preprocess_batch(batch)
        if len(self.sub_batches_seen) == 2 and not self.short:
            self.short = True
            raise RuntimeError("CUDA out of memory (simulated)")
        return batch


def test_memory_shortage_keeps_the_batch(cfg, data, tmp_path):
    trainer = train(cfg, data, tmp_path, trainer=Short, subdivisions=2)
    assert trainer.args.batch == 4
    assert trainer.args.subdivisions == 4
    assert [images for images, *_ in trainer.updates] == [4, 4, 2, 4, 4, 2]


def test_memory_shortage_is_told(cfg, data, tmp_path, capsys):
    train(cfg, data, tmp_path, trainer=Short, subdivisions=2)
    assert "batch 4 stays, subdivisions=4 from now on" in capsys.readouterr().out


@pytest.fixture(scope="module")
def v8(tmp_path_factory):
    """A small v8 network: its description is cut down so that the test takes seconds."""
    path = tmp_path_factory.mktemp("v8") / "tiny8.yaml"
    path.write_text(V8_YAML)
    return path


def run_v8(path, data, tmp_path, trainer, **keywords):
    model, kept = YOLO(path), []
    model.add_callback("on_train_end", lambda trainer: kept.append(deepcopy(trainer.model)))
    settings = {"epochs": 2, "batch": 4, "optimizer": "SGD", "imgsz": 64, "mosaic": 0.0, "warmup_epochs": 1, **QUIET}
    model.train(
        trainer=trainer, data=str(data.with_suffix(".yaml")), project=str(tmp_path / "v8"), **{**settings, **keywords}
    )
    return weights(kept[0])


#: Ultralytics draws augmentation from one stream, here it is drawn per image: only without it are the images the same.
PLAIN = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "fliplr": 0.0, "scale": 0.0, "translate": 0.0}


def test_one_sub_batch_equals_ultralytics_own_trainer(v8, data, tmp_path):
    """The same order of images in every epoch, the same updates."""
    stock = run_v8(v8, data, tmp_path, DetectionTrainer, nbs=4, epochs=4, **PLAIN)
    ours = run_v8(v8, data, tmp_path, SubbatchTrainer, max_norm=10.0, epochs=4, **PLAIN)
    assert (stock - ours).abs().max() < 1e-6


def test_ultralytics_models_train_in_sub_batches(v8, data, tmp_path):
    whole = run_v8(v8, data, tmp_path, SubbatchTrainer)
    parts = run_v8(v8, data, tmp_path, SubbatchTrainer, subdivisions=2)
    assert whole.shape == parts.shape
    assert torch.isfinite(parts).all()
    assert (whole - parts).abs().max() > 0


def test_a_mean_loss_counts_images(tmp_path):
    """A classifier's loss is a mean over the images of the pass; its gradient must not grow with the passes."""
    from ultralytics.models.yolo.classify import ClassificationTrainer

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("dark", "light"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
            for index in range(4):
                picture = rng.integers(0, 120, (32, 32, 3), np.uint8) + (120 if kind == "light" else 0)
                cv2.imwrite(str(tmp_path / "data" / split / kind / f"{index}.png"), picture.astype(np.uint8))
    (tmp_path / "tiny-cls.yaml").write_text(
        "nc: 2\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\nhead:\n  - [-1, 1, Classify, [nc]]\n"
    )
    norms = []
    for parts in (1, 4):
        model = YOLO(tmp_path / "tiny-cls.yaml")
        for each in model.model.modules():
            if isinstance(each, torch.nn.Dropout):
                each.p = 0.0
        model.add_callback("on_optimizer_step", lambda trainer: norms.append(trainer.grad_norm))
        model.train(
            trainer=subbatch(ClassificationTrainer), data=str(tmp_path / "data"), project=str(tmp_path / "runs"), imgsz=32,
            epochs=1, batch=8, subdivisions=parts, optimizer="SGD", max_norm=0, auto_augment=None, erasing=0.0, fliplr=0.0,
            scale=0.0, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0, warmup_epochs=0, **QUIET,
        )  # fmt: skip
    whole, parts = norms
    assert parts == pytest.approx(whole, rel=0.3), "what is left is batch normalisation, not the number of passes"


def test_subbatch_wraps_any_trainer():
    from ultralytics.models.yolo.segment import SegmentationTrainer

    made = subbatch(SegmentationTrainer)
    assert made is subbatch(SegmentationTrainer)
    assert issubclass(made, SegmentationTrainer)
    assert subbatch(made) is made
    assert "Trainer" in made.__name__


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 12, 17, 36, 64, 97, 360])
def test_every_number_of_parts_is_found(batch, devices):
    assert numbers_of_parts(batch, devices) == [each for each in range(1, batch + 1) if batch % (each * devices) == 0]
