"""Nothing depends on the number of sub-batches or of loading processes: whole trainings with everything turned on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.nn.tasks import load_checkpoint

from tests.engine.conftest import cfg_text
from tests.engine.test_shortage import Trap, distance, events, table, told, train
from tests.program import program
from yolo_subbatch import SubbatchTrainer, subbatch
from yolo_subbatch.cli import main
from yolo_subbatch.darknet.cross_norm import CrossBatchNorm2d
from yolo_subbatch.engine.api import Darknet
from yolo_subbatch.engine.darknet_data import DarknetDataset
from yolo_subbatch.folder.events import RunStarted, Step, Val, read_events

COLOURS = ((40, 40, 230), (40, 230, 40), (230, 40, 40))
#: Heights and widths; validation forms groups of similar shapes, each in its own smallest rectangle.
FORMATS = [(64, 64), (32, 64), (64, 32), (48, 64), (64, 48), (24, 64), (64, 64), (64, 24), (40, 64), (64, 56)]


def draw(folder, split, formats, seed):
    """Draw coloured rectangles on noise: learnt in a few epochs, so that the figures of validation say something."""
    rng = np.random.default_rng(seed)
    for part in ("images", "labels"):
        (folder / part / split).mkdir(parents=True)
    for index, (height, width) in enumerate(formats):
        image = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
        kind, w, h = int(rng.integers(3)), int(rng.integers(14, 22)), int(rng.integers(14, 22))
        x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
        image[y : y + h, x : x + w] = COLOURS[kind]
        cv2.imwrite(str(folder / "images" / split / f"{index:02}.png"), image)
        box = (x + w / 2) / width, (y + h / 2) / height, w / width, h / height
        text = f"{kind} " + " ".join(f"{each:.6f}" for each in box)
        (folder / "labels" / split / f"{index:02}.txt").write_text(text + "\n")
    names = [f"images/{split}/{index:02}.png\n" for index in range(len(formats))]
    (folder / f"{split}.txt").write_text("".join(names))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The .data file of 10 training images and 10 of several formats for validation; there is a .yaml beside it."""
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, "train", [(64, 64)] * 10, 1)
    draw(folder, "val", FORMATS, 2)
    (folder / "colours.names").write_text("red\ngreen\nblue\n")
    (folder / "colours.yaml").write_text("train: images/train\nval: images/val\nnames: {0: red, 1: green, 2: blue}\n")
    data = folder / "colours.data"
    data.write_text("classes = 3\ntrain = train.txt\nvalid = val.txt\nnames = colours.names\n")
    return data


def same_steps(found, wanted, share=1e-4):
    """Compare everything that is reported of every update."""
    steps, others = events(found, Step), events(wanted, Step)
    assert [told(step) for step in steps] == [told(step) for step in others]
    for step, other in zip(steps, others, strict=True):
        assert step.loss == pytest.approx(other.loss, rel=share, abs=1e-5)
        assert step.darknet_loss == (other.darknet_loss and pytest.approx(other.darknet_loss, rel=share))
        assert step.gnorm == pytest.approx(other.gnorm, rel=share)
        assert step.lr == other.lr


def same_table(found, wanted, share=1e-4, but=()):
    """Compare results.csv."""
    mine, other = table(found), table(wanted)
    assert mine.keys() == other.keys()
    for key in other:
        if not key.startswith(but):
            assert mine[key] == pytest.approx(other[key], rel=share, abs=2e-5), key


# --- a Darknet network ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def darknet(pictures, tmp_path_factory):
    """Return runs of the tiny network without batch normalisation; the input size is drawn anew every ten updates."""
    folder, made = tmp_path_factory.mktemp("darknet"), {}
    (folder / "tiny.cfg").write_text(cfg_text())

    def run(subdivisions=1, workers=0):
        key = subdivisions, workers
        if key not in made:
            made[key] = train(
                folder / "tiny.cfg", pictures, folder, subdivisions=subdivisions, workers=workers, epochs=8, val=True,
                random=2, learning_rate=0.005, burn_in=5,
            )  # fmt: skip
        return made[key]

    return run


MANY = pytest.mark.parametrize(("subdivisions", "workers"), [(2, 0), (4, 0), (1, 2), (4, 2)])


def test_the_run_that_all_are_compared_with_shows_something(darknet):
    """Equal nothings would prove nothing."""
    run = darknet()
    assert run.train_loader.dataset.images.transforms.transforms[0].settings.jitter > 0
    steps = events(run, Step)
    assert [step.images for step in steps] == [4, 4, 2] * 8, "there are short windows"
    assert len({tuple(step.imgsz) for step in steps}) > 1, "the input size changes"
    assert len({step.clipped for step in steps}) == 2, "some gradients are clipped"
    figures = events(run, Val)
    assert max(each.map50 for each in figures) > 0.01
    assert [each.epoch for each in figures if each.best][-1] not in (1, 8)


@MANY
def test_the_weights_are_the_same(darknet, subdivisions, workers):
    found, wanted = darknet(subdivisions, workers), darknet()
    assert found.train_loader.num_workers == workers
    assert distance(found, wanted) < 1e-5


@MANY
def test_losses_and_gradient_norms_are_the_same(darknet, subdivisions, workers):
    same_steps(darknet(subdivisions, workers), darknet())


def test_the_table_has_the_means_over_the_images(darknet):
    """A short window counts as what it is."""
    steps, results = events(darknet(), Step), table(darknet())
    for epoch in range(8):
        own = [step for step in steps if step.epoch == epoch + 1]
        for name in ("box", "obj", "cls"):
            mean = sum(step.loss[name] * step.images for step in own) / sum(step.images for step in own)
            assert results[f"train/{name}_loss"][epoch] == pytest.approx(mean, rel=1e-4)


@MANY
def test_the_table_of_results_is_the_same(darknet, subdivisions, workers):
    """Losses of training and of validation, figures and rates of every epoch."""
    same_table(darknet(subdivisions, workers), darknet())


@MANY
def test_validation_and_the_best_epoch_are_the_same(darknet, subdivisions, workers):
    found, wanted = events(darknet(subdivisions, workers), Val), events(darknet(), Val)
    assert [(each.step, each.epoch, each.best) for each in found] == [
        (each.step, each.epoch, each.best) for each in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        numbers = [(each.map50, each.map, each.precision, each.recall) for each in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-4)
    best = [read_weights(run.wdir / "best.weights") for run in (darknet(subdivisions, workers), darknet())]
    assert np.abs(best[0] - best[1]).max() < 1e-5


def shapes(trainer):
    """Return the height and width in which each image is validated."""
    found = {}
    for batch in trainer.test_loader:
        found.update({Path(file).name: tuple(batch["img"].shape[2:]) for file in batch["im_file"]})
    return found


def test_the_shapes_of_validation_do_not_depend_on_it(darknet):
    assert [darknet(each).test_loader.batch_size for each in (1, 4)] == [4, 2], "the number of images at a time does"
    wanted = shapes(darknet(1))
    assert len(wanted) == len(FORMATS)
    assert len(set(wanted.values())) > 1
    assert shapes(darknet(2)) == shapes(darknet(4)) == wanted


def read_weights(path):
    """Return all numbers of a weights file, whose header has 20 bytes."""
    return np.frombuffer(path.read_bytes()[20:], np.float32)


def test_ultralytics_own_augmentation_of_a_darknet_network(darknet, pictures, tmp_path):
    (tmp_path / "tiny.cfg").write_text(cfg_text())
    runs = [
        train(
            tmp_path / "tiny.cfg", pictures, tmp_path, subdivisions=parts, workers=workers, epochs=3,
            augmentation="ultralytics", mosaic=1.0, mixup=0.5, close_mosaic=1, imgsz=96, multi_scale=0.25,
        )
        for parts, workers in ((1, 0), (4, 0), (2, 2))
    ]  # fmt: skip
    assert isinstance(runs[0].train_loader.dataset.images, DarknetDataset)
    for run in runs[1:]:
        assert distance(run, runs[0]) < 1e-5
        same_steps(run, runs[0])
        same_table(run, runs[0])


def test_a_compiled_network_sees_the_same_images(pictures, tmp_path, monkeypatch):
    """Ultralytics leaves out a smaller last sub-batch then, for which it would compile again.

    The compiler itself is left out, which takes longer than all of these tests.
    """
    monkeypatch.setattr("ultralytics.engine.trainer.attempt_compile", lambda model, **_: model)
    (tmp_path / "tiny.cfg").write_text(cfg_text())
    whole, *parts = (
        train(tmp_path / "tiny.cfg", pictures, tmp_path, subdivisions=each, compile=True) for each in (1, 2, 4)
    )
    for run in parts:
        assert [step.images for step in events(run, Step)] == [step.images for step in events(whole, Step)]
        assert distance(run, whole) < 1e-5


# --- Ultralytics' models --------------------------------------------------------------------------------------------

#: With one criterion, and with two: exact_norm then goes through every window twice.
BODY = (
    "backbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n"
    "  - [-1, 1, Conv, [16, 3, 2]]\nhead:\n  - [[2, 3], 1, Detect, [nc]]\n"
)
MODELS = {"tiny8": "nc: 3\n" + BODY, "tiny26": "nc: 3\nend2end: True\nreg_max: 1\n" + BODY}


def train_yolo(path, pictures, folder, **keywords):
    """Train one of Ultralytics' models with everything that it draws at random."""
    model, kept = YOLO(path), []
    model.add_callback("on_train_end", kept.append)
    given = {
        "epochs": 3, "batch": 4, "imgsz": 96, "optimizer": "SGD", "lr0": 0.01, "lrf": 1.0, "warmup_epochs": 1, "mosaic": 1.0,
        "mixup": 0.5, "multi_scale": 0.25, "close_mosaic": 1, "degrees": 10.0, "bn": "frozen", "exact_norm": True,
        "plots": False, "val": False, "device": "cpu",
    }  # fmt: skip
    model.train(
        trainer=SubbatchTrainer, data=str(pictures.with_suffix(".yaml")), project=str(folder), **{**given, **keywords}
    )
    return kept[0]


@pytest.fixture(scope="module")
def yolo(pictures, tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("yolo"), {}
    for name, text in MODELS.items():
        (folder / f"{name}.yaml").write_text(text)

    def run(name, subdivisions=1, workers=0, **keywords):
        key = name, subdivisions, workers, *keywords.items()
        if key not in made:
            made[key] = train_yolo(
                folder / f"{name}.yaml", pictures, folder, subdivisions=subdivisions, workers=workers, **keywords
            )
        return made[key]

    return run


@pytest.mark.parametrize(
    ("name", "subdivisions", "workers"),
    [("tiny8", 2, 0), ("tiny8", 4, 0), ("tiny8", 1, 2), ("tiny8", 4, 2), ("tiny26", 2, 0), ("tiny26", 4, 2)],
)
def test_so_are_those_of_ultralytics_models(yolo, name, subdivisions, workers):
    found, wanted = yolo(name, subdivisions, workers), yolo(name)
    assert found.train_loader.num_workers == workers
    assert found.exact.two_pass == (name == "tiny26")
    assert distance(found, wanted) < 1e-5
    same_steps(found, wanted, 1e-3)
    # The losses of validation are Ultralytics' own means over what the images of a pass are assigned.
    same_table(found, wanted, 1e-3, but=("val/",))


def test_these_draw_at_random_what_there_is(yolo):
    run = yolo("tiny8")
    assert len({tuple(step.imgsz) for step in events(run, Step)}) == 3
    other = yolo("tiny8", epochs=2, close_mosaic=0)  # the first two epochs of both have mosaics
    assert [step.loss for step in events(other, Step)][:6] == [step.loss for step in events(run, Step)][:6]
    closed = yolo("tiny8", mosaic=0.0, mixup=0.0)
    assert events(closed, Step)[0].loss != events(run, Step)[0].loss
    loose = yolo("tiny8", subdivisions=4, exact_norm=False)
    assert distance(loose, run) > 1e-3, "without exact_norm, Ultralytics' losses do not add up"


def test_a_classifier_is_the_same_too(tmp_path):
    """Its loss is a mean over the images of a pass, its augmentation torchvision's."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("dark", "light"):
            folder = tmp_path / "data" / split / kind
            folder.mkdir(parents=True)
            for index in range(5):
                picture = rng.integers(0, 120, (64, 64, 3), np.uint8) + (120 if kind == "light" else 0)
                cv2.imwrite(str(folder / f"{index}.png"), picture.astype(np.uint8))
    (tmp_path / "tiny-cls.yaml").write_text(
        "nc: 2\nbackbone:\n  - [-1, 1, Conv, [8, 3, 4]]\n  - [-1, 1, Conv, [8, 3, 4]]\nhead:\n"
        "  - [-1, 1, Classify, [nc]]\n"
    )
    runs = []
    for parts, workers in ((1, 0), (2, 0), (4, 2)):
        model = YOLO(tmp_path / "tiny-cls.yaml")
        model.add_callback("on_train_end", runs.append)
        model.train(
            trainer=subbatch(ClassificationTrainer), data=str(tmp_path / "data"), project=str(tmp_path / "runs"), imgsz=64,
            epochs=3, batch=4, subdivisions=parts, workers=workers, optimizer="SGD", lr0=0.1, bn="frozen", plots=False,
            device="cpu", erasing=0.5,
        )  # fmt: skip
    assert [step.images for step in events(runs[0], Step)] == [4, 4, 2] * 3
    for run in runs[1:]:
        assert distance(run, runs[0]) < 1e-5
        same_steps(run, runs[0])
        same_table(run, runs[0])


# --- batch normalisation --------------------------------------------------------------------------------------------


def statistics(model):
    return {name: each.clone() for name, each in model.state_dict().items() if "running" in name or "tracked" in name}


def untouched(found):
    return all(torch.equal(each, torch.full_like(each, "var" in name)) for name, each in found.items())


@pytest.fixture(scope="module")
def normalised(pictures, tmp_path_factory):
    """Return runs of the tiny network with batch normalisation."""
    folder, made = tmp_path_factory.mktemp("normalised"), {}
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))

    def run(bn, subdivisions=1):
        if (bn, subdivisions) not in made:
            made[bn, subdivisions] = train(
                folder / "tiny.cfg", pictures, folder, bn=bn, subdivisions=subdivisions, learning_rate=0.005
            )
        return made[bn, subdivisions]

    return run


def test_frozen_statistics_stay_and_nothing_depends_on_the_cut(normalised, yolo):
    whole, parts = normalised("frozen"), normalised("frozen", 4)
    assert distance(whole, parts) < 1e-5
    same_steps(parts, whole)
    for run in (whole, parts, yolo("tiny8"), yolo("tiny26", 4, 2)):
        for model in (run.plain_model, run.ema.ema):
            found = statistics(model)
            assert len(found) >= 9
            assert untouched(found)
    fresh = Darknet(whole.args.model).model.state_dict()
    scales = [name for name in fresh if name.endswith("bn.weight")]
    assert scales
    moved = [not torch.equal(whole.plain_model.state_dict()[name], torch.ones_like(fresh[name])) for name in scales]
    assert all(moved), "scales and shifts are learnt all the same"


def test_statistics_over_the_sub_batches_of_one_are_the_usual_ones(normalised):
    cross, usual = normalised("cross"), normalised("sub-batch")
    assert distance(cross, usual) == 0
    assert [step.loss for step in events(cross, Step)] == [step.loss for step in events(usual, Step)]
    assert not untouched(statistics(usual.plain_model))


def test_statistics_over_the_sub_batches_move_and_are_saved_plainly(normalised):
    run = normalised("cross", 4)
    found = statistics(run.plain_model)
    assert int(next(each for name, each in found.items() if "tracked" in name)) == 20, "with every sub-batch"
    assert not untouched({name: each for name, each in found.items() if "tracked" not in name})
    assert {type(each) for each in run.plain_model.modules() if isinstance(each, torch.nn.BatchNorm2d)} == {
        CrossBatchNorm2d
    }
    for name in ("last.pt", "best.pt"):
        model, _ = load_checkpoint(run.wdir / name)
        kinds = {type(each) for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)}
        assert kinds == {torch.nn.BatchNorm2d}
        assert not untouched(statistics(model))
    assert distance(run, normalised("sub-batch", 4)) > 1e-3


def test_the_statistics_of_a_batch_end_with_it(pictures, tmp_path):
    """Each window begins without those of the one before, a short one too."""
    (tmp_path / "tiny.cfg").write_text(cfg_text(bn=True))
    seen = []

    def watch(trap, patch, trainer):
        def note(layer, inputs):
            if layer.training:
                earlier = layer._earlier
                seen.append((trainer.train_loader.part.index, 0 if earlier is None else earlier.number))

        trainer.plain_model.model[0].bn.register_forward_pre_hook(note)

    train(tmp_path / "tiny.cfg", pictures, tmp_path, watch, Trap(0, times=0), bn="cross", subdivisions=2, epochs=1)
    values = 2 * 32 * 32  # of a sub-batch of two images
    assert seen == [(0, 0), (1, values), (0, 0), (1, values), (0, 0)]


@pytest.mark.parametrize("bn", [None, "frozen"])
def test_a_single_image_of_the_smallest_size_is_enough_where_nothing_is_normalised_over_it(pictures, tmp_path, bn):
    """Ultralytics refuses what would leave batch normalisation a single value: here there is none, or it is frozen."""
    (tmp_path / "tiny.cfg").write_text(cfg_text(bn=bn is not None))
    given = {"imgsz": 32, "epochs": 1, **({"bn": bn} if bn else {})}
    whole, parts = (train(tmp_path / "tiny.cfg", pictures, tmp_path, subdivisions=each, **given) for each in (1, 4))
    assert distance(parts, whole) < 1e-5


# --- the command line -----------------------------------------------------------------------------------------------


def test_from_the_command_line(pictures, tmp_path, monkeypatch, capsys):
    """One run in a process of its own, the other one here."""
    (tmp_path / "tiny.cfg").write_text(cfg_text())
    common = [
        "train", "cfg=tiny.cfg", f"data={pictures}", "epochs=3", "batch=4", "learning_rate=0.005", "random=2", "val=False",
        "plots=False", "device=cpu",
    ]  # fmt: skip
    other = program(tmp_path, *common, "subdivisions=4", "workers=2", "name=parts")
    assert other.returncode == 0, other.stdout + other.stderr
    monkeypatch.chdir(tmp_path)
    assert main([*common, "subdivisions=1", "workers=0", "name=whole"]) == 0, capsys.readouterr()
    paths = [tmp_path / "runs" / name for name in ("whole", "parts")]
    files = [path / "weights" / "last.weights" for path in paths]
    assert files[0].read_bytes()[:20] == files[1].read_bytes()[:20], (
        "the same version and the same number of images seen"
    )
    whole, parts = (read_weights(file) for file in files)
    assert len(whole) > 1000
    assert np.abs(whole - parts).max() < 1e-5
    steps = [[each for each in read_events(path / "events.jsonl") if isinstance(each, Step)] for path in paths]
    assert [told(step) for step in steps[0]] == [told(step) for step in steps[1]]
    assert len(steps[0]) == 9
    started = [
        next(each for each in read_events(path / "events.jsonl") if isinstance(each, RunStarted)) for path in paths
    ]
    assert [each.subdivisions for each in started] == [1, 4]
