"""Trainer classes of users' own: whose methods are called when, which model they train, and that two stay two."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from collections import Counter
from inspect import isfunction
from pathlib import Path

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, WeightedRandomSampler
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils import YAML
from ultralytics.utils.dist import ddp_cleanup, generate_ddp_file
from ultralytics.utils.torch_utils import unwrap_model

from tests.engine.conftest import V8_YAML
from yolo_subbatch import Darknet, DarknetTrainer, SubbatchMixin, SubbatchTrainer, subbatch
from yolo_subbatch.engine import state
from yolo_subbatch.engine.overrides import METHODS
from yolo_subbatch.errors import SettingsError, TrainingError

ROOT = Path(__file__).parents[2]
#: 10 images: updates of 4, 4 and 2.
SETTINGS = {
    "epochs": 2, "batch": 4, "imgsz": 64, "optimizer": "SGD", "lr0": 0.005, "warmup_epochs": 0, "device": "cpu", "plots": False,
    "val": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def v8(tmp_path_factory):
    path = tmp_path_factory.mktemp("v8") / "tiny8.yaml"
    path.write_text(V8_YAML)
    return path


def train(v8, data, folder, trainer, callbacks=None, **keywords):
    model = YOLO(v8)
    for name, function in (callbacks or {}).items():
        model.add_callback(name, function)
    model.train(
        trainer=trainer, data=str(data.with_suffix(".yaml")), project=str(folder / "runs"), **{**SETTINGS, **keywords}
    )
    return model.trainer


# --- every method ------------------------------------------------------------------------------------------------------


def test_every_method_of_ultralytics_has_its_rule():
    """A method that a later release adds is decided on before it can be forgotten."""
    found = {name for host in (BaseTrainer, DetectionTrainer) for name, each in vars(host).items() if isfunction(each)}
    assert found == set(METHODS)
    page = (ROOT / "docs" / "every-condition.md").read_text(encoding="utf-8")
    missing = [name for name in METHODS if f"`{name}`" not in page]
    assert not missing


#: Called for each sub-batch, or with more events than in Ultralytics.
PER_PASS = {"preprocess_batch", "run_callbacks"}
#: Not called in an ordinary training.
ELSEWHERE = {
    "add_callback",
    "auto_batch",
    "_setup_ddp",
    "_load_checkpoint_state",
    "set_callback",
    "on_plot",
    "__init__",
}
#: What the user's class does by itself here.
ANSWERS = {
    "validate": lambda self: ({"metrics/mine": 0.5}, 0.5), "final_eval": lambda self: None, "plot_metrics": lambda self: None,
    "plot_training_labels": lambda self: None, "plot_training_samples": lambda self, batch, ni: None,
}  # fmt: skip


def counting(base, counts):
    """Return a class that counts the calls of every method, and goes on to the one it stands before."""

    def counted(name):
        def method(self, *args, **keywords):
            counts[name] += 1
            if name == "run_callbacks":
                counts["event", args[0]] += 1
            if name in ANSWERS:
                return ANSWERS[name](self, *args, **keywords)
            return getattr(super(made, self), name)(*args, **keywords)

        return method

    made = type("Counting", (base,), {name: counted(name) for name in METHODS if name != "__init__"})
    return made


@pytest.fixture(scope="module")
def calls_of_stock(v8, data, tmp_path_factory):
    counts = Counter()
    folder = tmp_path_factory.mktemp("stock")
    train(v8, data, folder, counting(DetectionTrainer, counts), nbs=4, plots=True, val=True, cls_pw=0.5, close_mosaic=1)
    return counts


@pytest.mark.parametrize("place", ["behind", "before", "mixed"])
def test_a_users_methods_are_called_as_ultralytics_calls_them(v8, data, tmp_path, calls_of_stock, place):
    counts = Counter()
    if place == "behind":
        kind = subbatch(counting(DetectionTrainer, counts))
    elif place == "before":
        kind = counting(SubbatchTrainer, counts)
    else:
        kind = type("Mixed", (SubbatchMixin, counting(DetectionTrainer, counts)), {})
    trainer = train(v8, data, tmp_path, kind, subdivisions=2, plots=True, val=True, cls_pw=0.5, close_mosaic=1)
    compared = set(METHODS) - PER_PASS - ELSEWHERE
    assert {name: counts[name] for name in compared} == {name: calls_of_stock[name] for name in compared}
    assert [name for name in compared if not counts[name]] == []
    assert (counts["optimizer_step"], counts["preprocess_batch"]) == (6, 10)
    assert counts["plot_training_samples"] == calls_of_stock["plot_training_samples"] == 6
    events = (
        "on_train_start",
        "on_train_epoch_start",
        "on_train_epoch_end",
        "on_fit_epoch_end",
        "on_model_save",
        "on_train_end",
    )
    assert [counts["event", name] for name in events] == [calls_of_stock["event", name] for name in events]
    assert (counts["event", "on_train_batch_end"], counts["event", "on_optimizer_step"]) == (6, 6)
    assert trainer.best_fitness is None, "validate() was the user's alone"
    trainer.on_plot("picture.jpg")
    assert counts["on_plot"] == 1


def test_what_callbacks_put_on_the_trainer_counts_too(v8, data, tmp_path):
    """Each calls what stood there before, as people write it."""
    calls = []

    def patch(trainer):
        for name in ("optimizer_step", "preprocess_batch", "validate", "save_model", "run_callbacks"):
            for number in (1, 2):
                before = getattr(trainer, name)

                def method(*args, name=name, number=number, before=before):
                    calls.append((name, number))
                    return before(*args)

                setattr(trainer, name, method)

    trainer = train(v8, data, tmp_path, SubbatchTrainer, {"on_train_start": patch}, subdivisions=2, epochs=1)
    counts = Counter(calls)
    assert counts["optimizer_step", 1] == counts["optimizer_step", 2] == trainer.update_index == 3
    assert counts["preprocess_batch", 1] == counts["preprocess_batch", 2] == 5
    assert counts["validate", 1] == counts["save_model", 2] == 1
    assert counts["run_callbacks", 1] == counts["run_callbacks", 2] > 20


# --- the step -----------------------------------------------------------------------------------------------------------


class OwnStep(DetectionTrainer):
    """As Ultralytics writes it, but for the norm; every line of it counts."""

    def optimizer_step(self):
        self.scaler.unscale_(self.optimizer)
        parameters = [each for each in self.model.parameters() if each.grad is not None]
        self.norms = [*getattr(self, "norms", []), float(torch.nn.utils.clip_grad_norm_(parameters, max_norm=0.5))]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.ema.update(self.model)


class ScaledStep(OwnStep):
    """With the scaler of half precision, which works on a CPU too."""

    def _setup_train(self):
        super()._setup_train()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=4)


@pytest.mark.parametrize("kind", [OwnStep, ScaledStep])
def test_an_own_step_gets_the_gradient_of_the_whole_update(v8, data, tmp_path, kind, capsys):
    seen = []
    callbacks = {
        "on_optimizer_step": lambda trainer: seen.append((trainer.update_index, trainer.grad_norm, trainer.clipped))
    }
    trainer = train(v8, data, tmp_path, subbatch(kind), callbacks, subdivisions=4, bn="frozen", max_norm=7)
    assert [index for index, *_ in seen] == [1, 2, 3, 4, 5, 6]
    assert trainer.norms == pytest.approx([norm for _, norm, _ in seen], rel=1e-5), "unscaled, summed, not clipped"
    assert not any(clipped for *_, clipped in seen)
    assert trainer.ema.updates == 6
    if kind is ScaledStep:
        assert trainer.scaler.get_scale() == 2048.0
    said = capsys.readouterr().out
    assert f"{'OwnStep'}.optimizer_step does not call super().optimizer_step()" in said
    assert "max_norm=7 has no effect" in said


def test_an_own_step_that_goes_on_to_ours_is_clipped_there(v8, data, tmp_path, capsys):
    class Doubled(DetectionTrainer):
        def optimizer_step(self):
            for each in self.model.parameters():
                if each.grad is not None:
                    each.grad.mul_(2)
            super().optimizer_step()

    clipped = []
    train(
        v8, data, tmp_path, subbatch(Doubled), {"on_optimizer_step": lambda trainer: clipped.append(trainer.clipped)},
        subdivisions=2, max_norm=1e-3, epochs=1,
    )  # fmt: skip
    assert clipped == [True, True, True]
    assert "has no effect" not in capsys.readouterr().out


def test_groups_and_decay_of_an_own_optimizer_stay(v8, data, tmp_path):
    class Mine(DetectionTrainer):
        def build_optimizer(self, model, name="auto", lr=0.001, momentum=0.9, decay=1e-5, iterations=1e5):
            optimizer = super().build_optimizer(model, name, lr, momentum, 0.05, iterations)
            optimizer.param_groups[0]["lr"] = 0.5 * lr
            return optimizer

    trainer = train(v8, data, tmp_path, subbatch(Mine), subdivisions=2, epochs=1, lrf=1.0)
    assert sorted(group["weight_decay"] for group in trainer.optimizer.param_groups) == [0.0, 0.0, 0.05]
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.0025, 0.005, 0.005])


def test_an_own_warm_up_counts_updates(v8, data, tmp_path):
    class Short(DetectionTrainer):
        def _get_warmup_iterations(self, num_batches):
            assert num_batches == 3
            return 2

    rates = []
    note = {"on_optimizer_step": lambda trainer: rates.append(trainer.optimizer.param_groups[0]["lr"])}
    train(v8, data, tmp_path, subbatch(Short), note, subdivisions=2, epochs=1, lrf=1.0)
    assert rates == pytest.approx([0.0, 0.0025, 0.005])


# --- the loader ---------------------------------------------------------------------------------------------------------


def weighted():
    return WeightedRandomSampler([1.0] * 5 + [5.0] * 5, 7, generator=torch.Generator().manual_seed(3))


class Weighted(DetectionTrainer):
    """Draws 7 of 10 images, some more often."""

    files: list[str]

    def get_dataloader(self, dataset_path, batch_size=16, rank=0, mode="train"):
        if mode != "train":
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        self.files, self.drawn = list(dataset.im_files), []
        return DataLoader(dataset, batch_size, sampler=weighted(), collate_fn=dataset.collate_fn)

    def preprocess_batch(self, batch):
        self.drawn += [self.files.index(each) for each in batch["im_file"]]
        return super().preprocess_batch(batch)


class BrokenOffError(Exception):
    pass


def test_the_order_of_an_own_sampler_is_kept(v8, data, tmp_path, capsys):
    sampler = weighted()
    wanted = [index for _ in range(3) for index in sampler]

    def break_off(trainer):
        if trainer.epoch == 1 and trainer.windows_done == 1:
            trainer.save_state()
            raise BrokenOffError

    kept = []
    with pytest.raises(BrokenOffError):
        train(
            v8, data, tmp_path, subbatch(Weighted), {"on_train_start": kept.append, "on_train_batch_end": break_off},
            subdivisions=2, epochs=3, mosaic=0.0,
        )  # fmt: skip
    (first,) = kept
    assert (first.updates_per_epoch, len(first.train_loader.dataset)) == (2, 10)
    assert first.drawn == wanted[:11]
    assert "Weighted.get_dataloader: WeightedRandomSampler, 7 images an epoch" in capsys.readouterr().out
    again = subbatch(Weighted)(overrides={"resume": str(first.save_dir), "subdivisions": 4})
    again.train()
    assert again.drawn == wanted[11:]


class Numbers(IterableDataset):
    def __iter__(self):
        yield from range(3)


class Batches(BatchSampler):
    pass


class Wrapped(DataLoader):
    def __iter__(self):
        yield from super().__iter__()


class Endless(SequentialSampler):
    def __len__(self):
        return 12


LOADERS = {
    "list": (lambda dataset: [dataset], "is no DataLoader"),
    "stream": (lambda dataset: DataLoader(Numbers(), 2), "an IterableDataset has no numbered images"),
    "batches": (
        lambda dataset: DataLoader(dataset, batch_sampler=Batches(SequentialSampler(dataset), 2, False)),
        "a batch_sampler of its own, Batches",
    ),
    "iter": (lambda dataset: Wrapped(dataset, 2), r"Wrapped makes its batches itself \(__iter__\)"),
    "single": (lambda dataset: DataLoader(dataset, batch_size=None), "has no batches"),
    "short": (
        lambda dataset: DataLoader(dataset, 2, sampler=Endless(dataset), collate_fn=dataset.collate_fn),
        "says that it has 12 images and gives 10",
    ),
    "strange": (
        lambda dataset: DataLoader(dataset, 2, sampler=[0, 99], collate_fn=dataset.collate_fn),
        "gives image 99 of 10",
    ),
    "none": (lambda dataset: DataLoader(dataset, 2, sampler=[]), "gives no image"),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_loader_that_cannot_be_cut_is_refused(v8, data, tmp_path, kind):
    make, words = LOADERS[kind]

    class Mine(DetectionTrainer):
        def get_dataloader(self, dataset_path, batch_size=16, rank=0, mode="train"):
            return make(self.build_dataset(dataset_path, mode, batch_size))

    with pytest.raises(SettingsError, match=rf"Mine\.get_dataloader: .*{words}"):
        train(v8, data, tmp_path, subbatch(Mine), subdivisions=2)


def test_a_loader_from_a_callback_is_cut_as_well(v8, data, tmp_path):
    drawn = []

    def replace(trainer):
        dataset = trainer.train_loader.dataset.images
        trainer.train_loader = DataLoader(dataset, 3, sampler=[1, 5, 2, 0, 9], collate_fn=dataset.collate_fn)

    note = lambda trainer: drawn.append(trainer.train_loader.part.images)  # noqa: E731
    callbacks = {"on_pretrain_routine_end": replace, "on_sub_batch_end": note}
    trainer = train(v8, data, tmp_path, SubbatchTrainer, callbacks, subdivisions=2, epochs=1)
    assert drawn == [2, 2, 1]
    assert (trainer.update_index, trainer.updates_per_epoch) == (2, 2)


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_a_loop_of_its_own_is_refused_at_its_first_step(v8, data, tmp_path):
    class Loop(DetectionTrainer):
        def _do_train(self):
            self._setup_train()
            for batch in self.train_loader:
                loss, _ = self.model(self.preprocess_batch(batch))
                loss.sum().backward()
                self.optimizer_step()

    with pytest.raises(TrainingError, match=r"Loop\._do_train: a loop of its own.*super\(\)\._do_train\(\)"):
        train(v8, data, tmp_path, subbatch(Loop), subdivisions=2)

    class Nothing(DetectionTrainer):
        def train(self):
            pass

    with pytest.raises(TrainingError, match=r"Nothing\.train: a loop of its own"):
        train(v8, data, tmp_path, subbatch(Nothing), subdivisions=2)


def test_a_class_that_passes_the_mixin_by_is_refused(v8, data, tmp_path):
    class Past(DetectionTrainer):
        def __init__(self, cfg=None, overrides=None, _callbacks=None):
            BaseTrainer.__init__(self, overrides=overrides, _callbacks=_callbacks)

    with pytest.raises(SettingsError, match=r"Past\.__init__: passes the sub-batches by.*super\(\)\.__init__"):
        train(v8, data, tmp_path, subbatch(Past))


def test_names_that_sub_batches_use_are_refused():
    class Taken(DetectionTrainer):
        def cut_finer(self):
            """Something else."""

    with pytest.raises(SettingsError, match=r"Taken\.cut_finer: sub-batches use this name"):
        subbatch(Taken)


def test_attributes_that_sub_batches_use_are_refused(v8, data, tmp_path):
    class OnClass(DetectionTrainer):
        seen = 3

    class Before(DetectionTrainer):
        def __init__(self, **given):
            self.progress, self.mine = 2, 1
            super().__init__(**given)

    class After(DetectionTrainer):
        def __init__(self, **given):
            super().__init__(**given)
            self.mine, self.update_losses, self.precise = 1, [], "a model"

    for kind, names in ((OnClass, "seen"), (Before, "progress"), (After, r"precise, After\.update_losses")):
        with pytest.raises(SettingsError, match=rf"^{kind.__name__}\.{names}: sub-batches use this name themselves"):
            train(v8, data, tmp_path, subbatch(kind))


def test_other_attributes_and_what_is_put_on_the_validator_stay_the_users(v8, data, tmp_path):
    class Mine(DetectionTrainer):
        def __init__(self, **given):
            super().__init__(**given)
            self.size, self.plan = 3, "mine"

    epochs = []

    def patch(trainer):
        before = trainer.validator.update_metrics
        trainer.validator.update_metrics = lambda *args: (epochs.append(trainer.epoch), before(*args))

    events = {
        "on_train_start": patch,
        "on_train_epoch_end": lambda trainer: setattr(trainer.args, "plots", True),  # the picture of a validation alone
        "on_fit_epoch_end": lambda trainer: setattr(trainer.args, "plots", False),
    }
    trainer = train(v8, data, tmp_path, subbatch(Mine), events, val=True)
    assert (trainer.size, trainer.plan) == (3, "mine")
    assert epochs == [0, 1, 1], "after each epoch, and with the best weights"


@pytest.mark.parametrize("kind", [int, "DetectionTrainer", None, Darknet])
def test_what_is_no_trainer_class_is_refused(kind):
    with pytest.raises(SettingsError, match=r"^subbatch\(.*\): no class of trainers; give one of Ultralytics'"):
        subbatch(kind)


def test_the_sub_batches_alone_train_nothing(v8, data, tmp_path):
    with pytest.raises(SettingsError, match=r"trainer=SubbatchMixin: trains nothing by itself; give SubbatchTrainer"):
        train(v8, data, tmp_path, SubbatchMixin)


def test_an_optimizer_put_on_the_trainer_is_used_and_not_resumed_as_another(v8, data, tmp_path):
    def put(trainer):
        trainer.optimizer = trainer.mine = torch.optim.SGD(trainer.model.parameters(), lr=0.004)

    def fail(trainer):
        raise RuntimeError("power cut")

    callbacks = {"on_train_start": put, "on_train_epoch_end": fail}
    with pytest.raises(RuntimeError, match="power cut"):
        train(v8, data, tmp_path, SubbatchTrainer, callbacks, subdivisions=2, warmup_epochs=1, save_iterations=1)
    with pytest.raises(SettingsError, match=r"resume: the optimizer of this run has .* make the same one"):
        YOLO(v8).train(trainer=SubbatchTrainer, resume=str(tmp_path / "runs" / "train"))
    trainer = train(
        v8, data, tmp_path, SubbatchTrainer, {"on_train_start": put}, subdivisions=2, warmup_epochs=1, epochs=2
    )
    assert trainer.optimizer is trainer.mine
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.004 * trainer.lf(1))


@pytest.mark.parametrize("name", ["check_resume", "resume_training", "_load_checkpoint_state"])
def test_a_run_does_not_go_on_past_a_users_own_reading(v8, data, tmp_path, name):
    kind = type("Reads", (DetectionTrainer,), {name: lambda self, checkpoint: None})
    kept = []

    def break_off(trainer):
        kept.append(trainer.save_dir)
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        train(v8, data, tmp_path, subbatch(kind), {"on_train_epoch_start": break_off})
    with pytest.raises(SettingsError, match=rf"Reads\.{name}: .*extra_state\(\)"):
        subbatch(kind)(overrides={"resume": str(kept[0])})


@pytest.mark.parametrize("name", ["_setup_scheduler", "_get_warmup_iterations"])
def test_a_darknet_networks_rate_is_the_cfgs(cfg, data, name):
    kind = type("Mine", (DarknetTrainer,), {name: lambda self, *rest: None})
    with pytest.raises(SettingsError, match=rf"Mine\.{name}: has no effect.*set_rates"):
        Darknet(cfg).train(trainer=kind, data=str(data))


# --- the task -------------------------------------------------------------------------------------------------------------


def polygons(data, folder):
    """Write the data set with a polygon around each box."""
    import shutil

    shutil.copytree(data.parent, folder / "polygons")
    for file in (folder / "polygons" / "labels").rglob("*.txt"):
        lines = []
        for line in file.read_text().splitlines():
            kind, *numbers = line.split()
            x, y, w, h = map(float, numbers)
            corners = [(x - w / 2, y - h / 2), (x + w / 2, y - h / 2), (x + w / 2, y + h / 2), (x - w / 2, y + h / 2)]
            lines.append(" ".join([kind, *(f"{min(1, max(0, each)):.4f}" for corner in corners for each in corner)]))
        file.write_text("\n".join(lines))
    found = folder / "polygons" / data.with_suffix(".yaml").name
    found.write_text(found.read_text().replace(str(data.parent), str(found.parent)))
    return found


def test_the_trainer_becomes_that_of_the_models_task(data, tmp_path, capsys):
    path = tmp_path / "tiny8-seg.yaml"
    path.write_text(V8_YAML.replace("Detect, [nc]", "Segment, [nc, 8, 16]"))
    model = YOLO(path)
    assert model.task == "segment"
    given = {**SETTINGS, "epochs": 1, "data": str(polygons(data, tmp_path)), "project": str(tmp_path / "runs")}
    model.train(trainer=SubbatchTrainer, subdivisions=2, **given)
    assert type(model.trainer) is subbatch(SegmentationTrainer)
    assert (model.trainer.update_index, model.trainer.loss_names[1]) == (3, "seg_loss")
    assert type(model.model).__name__ == "SegmentationModel"
    lines = [line for line in capsys.readouterr().out.splitlines() if "SegmentationTrainer in sub-batches" in line]
    assert len(lines) == 1
    assert "task segment" in lines[0]
    # a .pt of it says so by itself
    best = str(model.trainer.best)
    again = SubbatchTrainer(overrides={**given, "model": best})
    assert type(again) is subbatch(SegmentationTrainer)
    with pytest.raises(SettingsError, match=r"task=pose: .* is a model for the task segment"):
        SubbatchTrainer(overrides={**given, "model": best, "task": "pose"})
    with pytest.raises(
        SettingsError, match=r"model for Ultralytics' SegmentationTrainer \(task segment\), but SubbatchPose"
    ):
        subbatch(PoseTrainer)(overrides={**given, "model": best})


TRAINERS = {
    "yolov8n.yaml": "SubbatchTrainer", "yolov8n-pose.yaml": "SubbatchPoseTrainer", "yolov8n-obb.yaml": "SubbatchOBBTrainer",
    "rtdetr-l.yaml": "SubbatchRTDETRTrainer", "yolov8s-world.yaml": "SubbatchWorldTrainer", "yoloe-11s.yaml": "SubbatchYOLOETrainer",
    "yoloe-11s-seg.yaml": "SubbatchYOLOESegTrainer",
}  # fmt: skip


def test_every_kind_of_model_has_its_trainer(data, tmp_path):
    description = tmp_path / "points.yaml"
    own = YAML.load(data.with_suffix(".yaml"))
    YAML.save(description, {**own, "path": str(data.parent), "kpt_shape": [4, 2]})
    given = {"data": str(description), "project": str(tmp_path / "runs"), "device": "cpu"}
    made = {model: SubbatchTrainer(overrides={"model": model, **given}) for model in TRAINERS}
    assert {model: type(trainer).__name__ for model, trainer in made.items()} == TRAINERS
    assert all(isinstance(trainer, SubbatchMixin) for trainer in made.values())
    assert type(SubbatchTrainer(overrides={"model": "unknown.yaml", "task": "pose", **given})) is subbatch(PoseTrainer)


def test_a_subclass_given_another_task_is_refused(data, tmp_path):
    class Mine(SubbatchTrainer):
        pass

    given = {"data": str(data.with_suffix(".yaml")), "project": str(tmp_path), "device": "cpu"}
    for model, needed in (("yolov8n-pose.yaml", "PoseTrainer"), ("rtdetr-l.yaml", "RTDETRTrainer")):
        with pytest.raises(
            SettingsError, match=rf"{model}: .*{needed}.* but Mine is a DetectionTrainer.*subbatch\({needed}\)"
        ):
            Mine(overrides={"model": model, **given})
    assert not list(tmp_path.iterdir())

    class Builds(SubbatchTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            """Knows what it does."""

    assert type(Builds(overrides={"model": "yolov8n-pose.yaml", **given})) is Builds


# --- two classes are two ------------------------------------------------------------------------------------------------------


def named(name, mark):
    return type(name, (DetectionTrainer,), {"mark": mark, "__doc__": f"Of {mark}."})


def test_classes_of_one_name_stay_apart():
    one, two = named("C", 1), named("C", 2)
    first, second = subbatch(one), subbatch(two)
    assert (first.mark, second.mark) == (1, 2)
    assert first is subbatch(one)
    assert first is not second
    assert (first.__name__, first.__doc__) == ("SubbatchCTrainer", "Of 1.")
    trainer = named("Trainer", 3)
    assert subbatch(trainer) is not SubbatchTrainer
    assert issubclass(subbatch(trainer), trainer)
    assert subbatch(DetectionTrainer) is SubbatchTrainer


def test_a_class_that_can_be_imported_is_pickled_by_name():
    for kind in (SegmentationTrainer, ClassificationTrainer, Weighted, DetectionTrainer):
        made = subbatch(kind)
        assert pickle.loads(pickle.dumps(made)) is made


CHILD = """
import sys
from ultralytics.utils.patches import torch_load
for path in sys.argv[1:]:
    kind = torch_load(path, map_location="cpu")["trainer"]
    print(kind.__name__, getattr(kind, "mark", None), [each.__name__ for each in kind.__mro__][:3], kind.optimizer_step.__module__)
"""


def test_ultralytics_launcher_hands_every_class_to_its_processes(data, tmp_path):
    """By what it writes for them, read in another process."""
    given = {"data": str(data.with_suffix(".yaml")), "project": str(tmp_path), "device": "cpu", "model": "yolov8n.yaml"}
    kinds = (subbatch(named("C", 1)), subbatch(named("C", 2)), subbatch(Weighted), SubbatchTrainer)
    trainers = [kind(overrides=given) for kind in kinds]
    for trainer in trainers:
        trainer.callbacks = {}
    files = [generate_ddp_file(trainer) for trainer in trainers]
    try:
        found = subprocess.run(
            [sys.executable, "-c", CHILD, *(str(Path(file).with_suffix(".pt")) for file in files)],
            capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    finally:
        for trainer, file in zip(trainers, files, strict=True):
            ddp_cleanup(trainer, file)
    lines = found.stdout.splitlines()
    assert [line.split(" [")[0] for line in lines] == [
        "SubbatchCTrainer 1", "SubbatchCTrainer 2", "SubbatchWeightedTrainer None", "SubbatchTrainer None",
    ]  # fmt: skip
    assert "['SubbatchWeightedTrainer', 'Weighted', 'SubbatchTrainer']" in lines[2]


# --- attributes that users touch ------------------------------------------------------------------------------------------------

NAMES = (
    "accumulate", "amp", "args", "batch_size", "best", "best_fitness", "csv", "data", "ddp", "device", "ema", "epoch", "epoch_time",
    "epochs", "fitness", "last", "lf", "loss", "loss_items", "loss_names", "lr", "metrics", "model", "optimizer", "plot_idx",
    "plots", "resume", "save_dir", "save_period", "scaler", "scheduler", "start_epoch", "stop", "stopper", "stride", "tloss",
    "train_time_start", "validator", "wdir", "world_size",
)  # fmt: skip


def kinds_of(value):
    if isinstance(value, dict):
        return {key: kinds_of(each) for key, each in value.items()} if value else {}
    if isinstance(value, torch.nn.Module):
        value = unwrap_model(value)  # as one that is shared among GPUs
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.dim(), str(value.device))
    return type(value)


def test_attributes_are_of_ultralytics_types(v8, data, tmp_path):
    seen = {}

    def note(trainer):
        place = seen.setdefault(isinstance(trainer, SubbatchMixin), {})
        for name in NAMES:
            place.setdefault(name, kinds_of(getattr(trainer, name, None)))

    def at_the_end(trainer):
        note(trainer)
        place = seen[isinstance(trainer, SubbatchMixin)]
        place["epoch's"] = [
            kinds_of(getattr(trainer, name)) for name in ("fitness", "best_fitness", "metrics", "lr", "tloss")
        ]
        place["labelled"] = kinds_of(trainer.label_loss_items(trainer.tloss))
        place["lengths"] = type(len(trainer.train_loader)), type(trainer.train_loader.batch_size)
        place["images"] = len(trainer.train_loader.dataset), len(trainer.train_loader.dataset.labels)

    callbacks = {"on_train_batch_end": note, "on_fit_epoch_end": at_the_end}
    train(v8, data, tmp_path, DetectionTrainer, callbacks, nbs=4, epochs=1, val=True)
    train(v8, data, tmp_path, SubbatchTrainer, callbacks, subdivisions=2, epochs=1, val=True)
    assert seen[True] == seen[False]


def test_losses_are_means_over_what_was_seen(v8, data, tmp_path):
    """From the first update on, and for whoever computes with them."""
    sums, images, wrong, bars = Counter(), 0, [], []

    def compare(trainer):
        nonlocal images
        images += trainer.update_images
        for name, value in trainer.loss_items.items():
            sums[name] += value.item() * trainer.update_images
        wanted = {name: total / images for name, total in sums.items()}
        found = {name: value.item() for name, value in trainer.tloss.items()}
        if found != pytest.approx(wanted, rel=1e-5):
            wrong.append((found, wanted))
        assert f"{trainer.tloss['box_loss']:.3f}" == f"{found['box_loss']:.3f}"
        assert float(sum(trainer.tloss.values())) == pytest.approx(sum(wanted.values()), rel=1e-5)
        assert trainer.batch_size * trainer.accumulate == trainer.args.batch

    def read_bar(trainer):
        bars.append(list(trainer.tloss.values()) if trainer.tloss else None)

    class Shown(SubbatchTrainer):
        def _get_memory(self, fraction=False):
            if not fraction:
                read_bar(self)  # while the progress bar is written
            return super()._get_memory(fraction)

    train(v8, data, tmp_path, Shown, {"on_train_batch_end": compare}, subdivisions=4, epochs=1)
    assert not wrong
    assert len(bars) == 3
    assert all(math.isfinite(value) for bar in bars for value in bar)


def test_accumulate_that_is_set_is_answered(v8, data, tmp_path, capsys):
    def choose(trainer):
        trainer.accumulate = 8

    trainer = train(v8, data, tmp_path, SubbatchTrainer, {"on_train_start": choose}, subdivisions=2, epochs=1)
    assert (trainer.accumulate, trainer.update_index) == (1, 3)
    assert "accumulate=8: has no effect" in capsys.readouterr().out


# --- ends from callbacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", ["on_train_batch_end", "on_sub_batch_end", "on_train_batch_start", "on_before_zero_grad"]
)
def test_a_stop_from_a_callback_finishes_the_update(v8, data, tmp_path, event):
    """And then does what Ultralytics does: validate, save, end."""
    calls = Counter()

    def stop(trainer):
        calls[event] += 1
        if calls[event] == (3 if event == "on_sub_batch_end" else 1):
            trainer.stop = True

    def validated(trainer):
        calls["validated"] += 1

    callbacks = {event: stop, "on_val_end": validated}
    trainer = train(v8, data, tmp_path, SubbatchTrainer, callbacks, subdivisions=4)
    assert (trainer.update_index, trainer.seen, trainer.epoch) == (1, 4, 0)
    assert calls["validated"] == 2, "the epoch and the best weights"
    rows = trainer.csv.read_text().splitlines()
    assert len(rows) == 2
    assert "nan" not in rows[1]
    assert trainer.best.is_file()
    assert state.load(trainer.state_file)["iteration"] == 1, "from which it can be trained longer"


def test_an_end_by_an_error_leaves_the_model_usable(v8, data, tmp_path):
    kept = []

    def break_off(trainer):
        kept.append(trainer)
        raise BrokenOffError

    for event in ("on_train_batch_start", "on_sub_batch_end"):
        with pytest.raises(BrokenOffError):
            train(v8, data, tmp_path, SubbatchTrainer, {event: break_off}, subdivisions=2)
    assert not any("forward" in vars(trainer.model) or "loss" in vars(trainer.model) for trainer in kept)


def test_epochs_and_time_may_be_changed_from_a_callback(v8, data, tmp_path):
    def fewer(trainer):
        trainer.epochs = 2

    trainer = train(v8, data, tmp_path, SubbatchTrainer, {"on_sub_batch_end": fewer}, subdivisions=2, epochs=5)
    assert (trainer.epoch, trainer.update_index) == (1, 6)

    def hurry(trainer):
        assert trainer.args.time in (None, 1e-9)
        trainer.args.time = 1e-9

    trainer = train(v8, data, tmp_path, SubbatchTrainer, {"on_sub_batch_end": hurry}, subdivisions=2, epochs=5)
    assert trainer.update_index == 1
