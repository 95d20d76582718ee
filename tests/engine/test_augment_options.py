"""AlexeyAB's options of training: the same for any cut, loader and end of a run, from the cfg or from a key."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.utils import DEFAULT_CFG

from tests.engine.conftest import cfg_text
from tests.engine.test_invariance import same_steps
from tests.engine.test_resume import Watch, all_compared
from tests.engine.test_resume import train as train_run
from tests.engine.test_shortage import distance, events, tensors, train
from tests.engine.test_windows import DESCRIPTION, digest, same
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.darknet.augment import Augmentation
from yolo_subbatch.darknet.parser import parse_cfg
from yolo_subbatch.engine.darknet_data import DarknetDataset
from yolo_subbatch.engine.image_order import EpochOrder, KeyedImages
from yolo_subbatch.engine.keys import with_keys
from yolo_subbatch.folder.events import Step

IMAGES = 12
OPTIONS = "mosaic=1\nletter_box=1\nblur=3\ngaussian_noise=8\nmosaic_bound=1\nema_alpha=.9\nresize_step=32\ndynamic_minibatch=1\n"


def with_options(net: str = OPTIONS, head: str = "resize=1.5\n", bn: bool = False) -> str:
    text = cfg_text(bn).replace("hue=.1\n", f"hue=.1\n{net}")
    return text.replace("random=0\n", f"random=0\n{head}")


@pytest.fixture
def cfg_options(tmp_path):
    (tmp_path / "options.cfg").write_text(with_options())
    return tmp_path / "options.cfg"


# --- whole runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Return runs with everything on, of which each is made once."""
    folder, made = tmp_path_factory.mktemp("options"), {}
    (folder / "options.cfg").write_text(with_options())

    def run(subdivisions=1, workers=0, **keywords):
        key = subdivisions, workers, *keywords.items()
        if key not in made:
            given = {"epochs": 8, "random": 2, "learning_rate": 0.005, "burn_in": 5, "val": False, **keywords}
            made[key] = train(folder / "options.cfg", data, folder, subdivisions=subdivisions, workers=workers, **given)
        return made[key]

    return run


def test_everything_is_on(runs):
    run = runs()
    given = run.augmentation()
    assert given == Augmentation(
        jitter=0.2, hue=0.1, saturation=1.5, exposure=1.5, flip=True, flavour="alexeyab", maximum=200, resize=1.5,
        letter_box=True, blur=3, gaussian_noise=8, mixing="mosaic", mosaic_bound=True,
    )  # fmt: skip
    assert run.train_loader.dataset.images.augmentation == given
    assert len({tuple(step.imgsz) for step in events(run, Step)}) > 1
    assert {step.images for step in events(run, Step)} == {4, 2}


@pytest.mark.parametrize(("subdivisions", "workers"), [(2, 0), (4, 0), (1, 2), (4, 2)])
def test_neither_the_cut_nor_the_loader_changes_anything(runs, subdivisions, workers):
    found, wanted = runs(subdivisions, workers), runs()
    assert found.train_loader.num_workers == workers
    assert distance(found, wanted) < 1e-5
    same_steps(found, wanted)


def test_the_start_says_what_is_special(runs):
    lines = runs(4).start_line().splitlines()
    assert sum(line.startswith("dynamic_minibatch: ") and "an update is 4 images" in line for line in lines) == 1
    assert sum(line.startswith("ema_alpha 0.9: the weights are averaged from iteration 12 on") for line in lines) == 1
    assert {step.images for step in events(runs(4), Step)} == {4, 2}, "the batch never changes"


def test_small_inputs_make_large_sub_batches(runs):
    """``dynamic_minibatch``; that the weights are the same is seen where cuts are compared."""
    run = runs(4)
    loader, largest = run.train_loader, math.prod(run.largest_size())
    steps = events(run, Step)
    cuts = [loader.parts(number % loader.windows, number // loader.windows) for number in range(len(steps))]
    for step, parts in zip(steps, cuts, strict=True):
        most = max(part.images for part in parts)
        assert most == 1 or most * math.prod(step.imgsz) <= 0.8 * largest
        assert sum(part.images for part in parts) == step.images
        assert most - parts[-1].images <= 1, "about the same number in each"
    assert len({len(parts) for parts in cuts if sum(part.images for part in parts) == 4}) > 1, "inputs differ"
    assert len(loader) == loader.windows == 3
    assert run.recorder.passes == sum(map(len, cuts)), "so many were really computed"


def test_mosaics_end_with_close_mosaic(runs):
    """Until then, they are the same."""
    usual, closed = (runs(epochs=3, **more) for more in ({}, {"close_mosaic": 1}))
    first, second = ([step.loss for step in events(run, Step)] for run in (usual, closed))
    assert first[:6] == second[:6]
    assert first[6:] != second[6:]
    assert closed.train_loader.dataset.images.augmentation.mixing == ""


MOMENTS = ("step 2", "step 7", "on_train_batch_start 9", "on_fit_epoch_end 2", "step 11")


def test_it_may_end_at_any_moment(cfg_options, data, tmp_path):
    keywords = {"save_iterations": 2, "subdivisions": 2, "random": 1.4, "epochs": 4, "workers": 0}
    whole = train_run(cfg_options, data, tmp_path / "runs", Watch(tmp_path / "copies", *MOMENTS), **keywords)
    assert set(whole.moments) == set(MOMENTS)
    assert not all_compared(whole)


@pytest.mark.parametrize("moment", ["step 5", "step 10"])
def test_a_run_with_an_average_that_is_taken_over_may_end_too(data, tmp_path, moment):
    """Before and after: the schedule of 2100 iterations is fitted to 12, so iteration 6 begins and 6 + 0.3 ends it."""
    (tmp_path / "average.cfg").write_text(
        with_options("ema_alpha=.5\n", bn=True).replace("max_batches=100", "max_batches=4000")
    )
    whole = train_run(
        tmp_path / "average.cfg",
        data,
        tmp_path / "runs",
        Watch(tmp_path / "copies", moment),
        epochs=4,
        save_iterations=1,
    )
    average = whole.trainer.average
    assert (average.start, average.taken_over) == (6, 9)
    assert not all_compared(whole)


# --- the average ----------------------------------------------------------------------------------------------------


def test_the_average_follows_darknets_rule(data, tmp_path):
    (tmp_path / "average.cfg").write_text(with_options("ema_alpha=.5\n").replace("max_batches=100", "max_batches=4000"))
    found = {}

    def note(trap, patch, trainer):
        def after_update(_):
            parts = tensors(trainer)
            found[trainer.update_index] = (
                {name[8:]: value for name, value in parts.items() if name.startswith("weights ")},
                {name[9:]: value for name, value in parts.items() if name.startswith("averages ")},
            )

        trainer.callbacks["on_optimizer_step"].append(after_update)

    class Untrapped:
        left = 0

    run = train(tmp_path / "average.cfg", data, tmp_path, note, Untrapped(), epochs=4, val=False)
    assert (run.average.start, run.average.taken_over, len(found)) == (6, 9, 12)
    for iteration, (weights, averages) in found.items():
        for name, weight in weights.items():
            if (
                iteration <= 6 or iteration >= 9
            ):  # at 9 the weights are the average, after it the average is the weights
                assert torch.equal(averages[name], weight), (iteration, name)
            else:
                wanted = 0.5 * found[iteration - 1][1][name] + 0.5 * weight
                assert torch.allclose(averages[name], wanted, atol=1e-7)
    assert all(torch.equal(found[9][0][name], value) for name, value in found[8][1].items())


# --- from the cfg or from a key -------------------------------------------------------------------------------------


def keyed_cfg(**given):
    return with_keys(parse_cfg(cfg_text()), {"model": "x.cfg", **given})


@pytest.mark.parametrize(("key", "value", "line"), [
    ("mosaic", 1.0, "mosaic=1"), ("mixup", 1.0, "mixup=1"), ("cutmix", 0.5, "cutmix=1"), ("letter_box", 1, "letter_box=1"),
    ("gaussian_noise", 9, "gaussian_noise=9"), ("ema_alpha", 0.998, "ema_alpha=.998"), ("resize_step", 64, "resize_step=64"),
    ("blur", 2, "blur=2"), ("mosaic_bound", 1, "mosaic_bound=1"),
])  # fmt: skip
def test_a_key_is_the_line_in_the_cfg(key, value, line):
    by_key, by_line = keyed_cfg(**{key: value}), parse_cfg(cfg_text().replace("hue=.1\n", f"hue=.1\n{line}\n"))
    assert getattr(by_key.net, key) == getattr(by_line.net, key)
    assert by_key.flavour() == by_line.flavour() == "alexeyab", "it is AlexeyAB's to read"
    assert by_key.flavour_line() == by_line.flavour_line()


def test_resize_is_a_key_of_every_head():
    cfg = keyed_cfg(resize=1.5)
    assert [head.resize for head in cfg.heads] == [1.5, 1.5]
    assert cfg.flavour() == "alexeyab"


@pytest.mark.parametrize("given", [
    {"mosaic": 0.0}, {"mixup": 0}, {"resize": 1.0}, {"letter_box": 0}, {"blur": 0}, {"ema_alpha": 0.0},
    {"mosaic": 1.0, "augmentation": "ultralytics"}, {"learning_rate_min": 0.1}, {"random": 1.2},
], ids=str)  # fmt: skip
def test_what_turns_nothing_on_tells_no_flavour(given):
    cfg = keyed_cfg(**given)
    assert cfg.flavour() == "pjreddie"
    assert cfg.net.mixing == ""


def test_complete_arguments_hold_ultralytics_own_values():
    """Those of a process of several, or of a run that goes on: mosaic is 0 there whatever the cfg says."""
    cfg = parse_cfg(with_options())
    assert with_keys(cfg, {"complete": True, "given": [], "mosaic": 0.0, "mixup": 0.0, "cutmix": 0.0}).net == cfg.net
    asked = with_keys(cfg, {"complete": True, "given": ["mosaic"], "mosaic": 0.0, "mixup": 0.0, "cutmix": 0.0})
    assert asked.net.mosaic == 0


def test_pjreddies_flavour_leaves_all_of_it_out(cfg_options, cfg, data, tmp_path):
    given = {"epochs": 1, "flavour": "pjreddie", "val": False}
    run, plain = (train(each, data, tmp_path, **given) for each in (cfg_options, cfg))
    assert run.augmentation() == plain.augmentation() == Augmentation(
        jitter=0.2, hue=0.1, saturation=1.5, exposure=1.5, flip=True, flavour="pjreddie", maximum=90
    )  # fmt: skip
    assert run.average is None
    assert distance(run, plain) == 0
    assert "flavour: pjreddie (as asked, without blur, dynamic_minibatch, ema_alpha, ...)" in run.start_line()


# --- single items ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("mixed") / "shapes", Numbers(IMAGES, 2, 64, 3)).parent


def images_of(folder, cache=None, **given):
    return DarknetDataset(
        img_path=str(folder / "images" / "train"), imgsz=64, batch_size=1, augment=True, hyp=get_cfg(DEFAULT_CFG),
        data=DESCRIPTION, task="detect", size=(96, 64), cache=cache,
        augmentation=Augmentation(jitter=0.3, hue=0.1, flavour="alexeyab", maximum=200, **given),
    )  # fmt: skip


def keyed(folder, cache=None, **given):
    images = images_of(folder, cache, **given)
    return KeyedImages(images, EpochOrder(len(images), 11))


@pytest.mark.parametrize("cache", [None, "ram"])
@pytest.mark.parametrize("mixing", ["mosaic", "mixup", "cutmix"])
def test_a_mixed_item_depends_on_its_key_alone(pictures, mixing, cache):
    fresh, images = (keyed(pictures, cache, mixing=mixing, blur=3, gaussian_noise=9) for _ in range(2))
    wanted = [digest(copy.deepcopy(fresh)[key]) for key in range(2 * IMAGES)]
    for key in random.Random(1).choices(range(2 * IMAGES), k=3 * IMAGES):
        assert same(digest(images[key]), wanted[key]), key
    loader = torch.utils.data.DataLoader(images, None, sampler=[9, 21, 3], num_workers=2, collate_fn=copy.copy)
    assert all(same(digest(item), wanted[key]) for key, item in zip((9, 21, 3), loader, strict=True))


@pytest.mark.parametrize("mixing", ["mosaic", "mixup"])
def test_half_of_the_items_are_mixed_with_any_others(pictures, mixing, monkeypatch):
    images, loaded, counts = keyed(pictures, mixing=mixing), [], []
    original = DarknetDataset.load_image
    monkeypatch.setattr(
        DarknetDataset, "load_image", lambda self, i, *rest: loaded.append(i) or original(self, i, *rest)
    )
    partners = set()
    for key in range(12 * IMAGES):
        loaded.clear()
        images[key]
        counts.append(len(loaded))
        partners.update(loaded[1:])
    assert set(counts) == {1, 4 if mixing == "mosaic" else 2}
    assert 0.35 < np.mean(np.array(counts) > 1) < 0.65
    assert partners == set(range(IMAGES)), "not only of the images before"


def test_other_images_come_from_ultralytics_cache(pictures, monkeypatch):
    images = keyed(pictures, "ram", mixing="mosaic")

    def fail(*_, **__):
        raise AssertionError("read from the disk")

    monkeypatch.setattr("yolo_subbatch.engine.darknet_data.read_image", fail)
    monkeypatch.setattr("ultralytics.data.base.imread", fail)
    before = [each.copy() for each in images.ims]
    assert all(images[key]["img"].shape == (3, 64, 96) for key in range(2 * IMAGES))
    assert all(np.array_equal(one, other) for one, other in zip(images.ims, before, strict=True)), "none is changed"


def test_cutmix_pastes_a_part_of_another_image_with_its_boxes(pictures):
    """Ultralytics' own: where the rectangle covers none of the image's boxes."""
    plain, mixed = (keyed(pictures, mixing=mixing) for mixing in ("", "cutmix"))
    more = 0
    for key in range(20 * IMAGES):
        one, other = plain[key], mixed[key]
        count = len(one["cls"])
        assert torch.equal(other["cls"][:count], one["cls"])
        assert torch.allclose(other["bboxes"][:count], one["bboxes"], atol=1e-5)
        apart = (one["img"] != other["img"]).any(0)
        added = len(other["cls"]) - count
        assert (added > 0) == bool(apart.any())
        if added:
            more += 1
            rows, columns = apart.nonzero().T
            centres = other["bboxes"][count:, :2] * torch.tensor([96, 64])
            assert ((centres >= torch.stack((columns.min(), rows.min())) - 1)
                    & (centres <= torch.stack((columns.max(), rows.max())) + 2)).all()  # fmt: skip
    assert more > 5
