"""Every key of Ultralytics has its effect in a training in sub-batches, or is named, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ultralytics import YOLO
from ultralytics.data import utils
from ultralytics.utils import DEFAULT_CFG_DICT

from tests.engine.conftest import V8_YAML
from yolo_subbatch import Darknet, SubbatchTrainer, cli
from yolo_subbatch.engine.unused_keys import keys_without_effect
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings import host_keys
from yolo_subbatch.settings.training_checks import HOST_AUGMENTATION, NOT_FOR_DARKNET

QUIET = {"epochs": 1, "batch": 4, "imgsz": 64, "plots": False, "val": False, "device": "cpu"}
#: A value of each key that is not its default.
OTHER = {
    "angle": 0.5, "augment": True, "auto_augment": "augmix", "cls_remap": False, "copy_paste_mode": "mixup", "cos_lr": True,
    "dnn": True, "dynamic": True, "embed": [1], "format": "onnx", "line_width": 2, "mask_ratio": 2, "nbs": 16, "nms": True,
    "opset": 12, "overlap_mask": False, "rect": True, "simplify": False, "source": "x.jpg", "tracker": "botsort.yaml",
    "vid_stride": 2, "workspace": 2.0,
}  # fmt: skip


def other(key):
    """Return a value that is not the default."""
    usual = DEFAULT_CFG_DICT[key]
    if key in OTHER:
        return OTHER[key]
    return not usual if isinstance(usual, bool) else (usual or 0) + 0.25


@pytest.mark.parametrize("darknet", [False, True])
def test_every_key_is_in_one_list(darknet):
    """A key that a new release adds has to be tried and put into one of them."""
    common = [host_keys.EFFECTIVE, host_keys.OF_OTHER_COMMANDS, host_keys.NAMED, host_keys.REFUSED]
    host = [host_keys.EFFECTIVE_FOR_HOST, set(host_keys.OF_TASKS)]
    own = [{*NOT_FOR_DARKNET, *HOST_AUGMENTATION, "rect"}, {"angle"}]
    lists = [*common, *(own if darknet else host)]
    assert {key: sum(key in each for each in lists) for key in DEFAULT_CFG_DICT} == dict.fromkeys(DEFAULT_CFG_DICT, 1)


@pytest.mark.parametrize("darknet", [False, True])
def test_what_has_no_effect_is_named_and_nothing_else(darknet):
    silent = {*host_keys.EFFECTIVE, *({"angle"} if darknet else host_keys.EFFECTIVE_FOR_HOST), *host_keys.REFUSED}
    given = {key: other(key) for key in DEFAULT_CFG_DICT if key not in silent} | {"task": "detect"}
    found = keys_without_effect(given, darknet)
    assert set(found) == given.keys() - {"task"}
    assert all(
        text.startswith((f"{key}: has no effect", f"{key}={given[key]}: ", "dis: ")) for key, text in found.items()
    )
    assert not keys_without_effect({key: DEFAULT_CFG_DICT[key] for key in given}, darknet), "who gives a default"


@pytest.mark.parametrize(
    ("task", "key"), [("pose", "kobj"), ("obb", "angle"), ("segment", "mask_ratio"), ("classify", "dropout")]
)
def test_a_key_of_a_task_is_named_for_the_others(task, key):
    assert keys_without_effect({key: other(key), "task": task}, False) == {}
    assert f"a key of {task} models" in keys_without_effect({key: other(key), "task": "detect"}, False)[key]


def test_augmentation_of_ultralytics_has_its_effect_where_it_is_asked_for():
    given = {"hsv_h": 0.5, "fliplr": 0.1}
    assert set(keys_without_effect(given, True)) == {"hsv_h", "fliplr"}
    assert not keys_without_effect({**given, "augmentation": "ultralytics"}, True)


@pytest.mark.parametrize("kind", ["host", "darknet"])
def test_python_says_it(kind, cfg, data, tmp_path, capsys):
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    model = Darknet(cfg) if kind == "darknet" else YOLO(tmp_path / "v8.yaml")
    trainer = None if kind == "darknet" else SubbatchTrainer
    yaml = str(data.with_suffix(".yaml"))
    model.train(
        trainer=trainer,
        data=yaml,
        project=str(tmp_path),
        nbs=16,
        lrf=0.5,
        pose=1.0,
        fraction=0.5,
        close_mosaic=1,
        **QUIET,
    )
    out = capsys.readouterr().out
    assert "nbs=16: has no effect in sub-batches" in out
    assert "pose: has no effect on a" in out
    assert out.count("lrf: has no effect") == (kind == "darknet"), "once, and only where it is so"
    assert "fraction: " not in out
    assert "warmup_epochs: " not in out, "nobody gave it"
    assert len(model.trainer.train_loader.dataset) == 5, "fraction has its effect"


@pytest.mark.skipif(not hasattr(utils, "get_split_fraction"), reason="older releases know one share alone")
@pytest.mark.parametrize("kind", ["host", "darknet"])
def test_a_fraction_may_be_a_count_and_one_for_each_split(kind, cfg, data, tmp_path):
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    model = Darknet(cfg) if kind == "darknet" else YOLO(tmp_path / "v8.yaml")
    trainer = None if kind == "darknet" else SubbatchTrainer
    for fraction, images in (("3", (3, 4)), ([5, 0.5], (5, 2))):
        model.train(trainer=trainer, data=str(data), project=str(tmp_path), fraction=fraction, **QUIET)
        assert (model.trainer.train_loader.images, len(model.trainer.test_loader.dataset)) == images


@pytest.mark.parametrize(("key", "value"), [("distill_model", "teacher.pt"), ("quantize", 8)])
@pytest.mark.parametrize("kind", ["host", "darknet"])
def test_what_cannot_be_followed_is_refused(kind, key, value, cfg, data, tmp_path):
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    model = Darknet(cfg) if kind == "darknet" else YOLO(tmp_path / "v8.yaml")
    trainer = None if kind == "darknet" else SubbatchTrainer
    yaml = str(data.with_suffix(".yaml"))
    with pytest.raises(SettingsError, match=rf"{key}.*: sub-batches know no .*; leave it out"):
        model.train(trainer=trainer, data=yaml, project=str(tmp_path / "runs"), **{key: value}, **QUIET)
    assert not (tmp_path / "runs").exists()


def test_the_command_line_says_and_refuses_the_same_once(cfg, data, tmp_path, capsys):
    words = [
        "train",
        f"cfg={cfg}",
        f"data={data}",
        f"project={tmp_path / 'runs'}",
        "device=cpu",
        "epochs=1",
        "val=False",
    ]
    assert cli.main([*words, "distill_model=x.pt"]) == 2
    assert "distill_model: sub-batches know no distillation" in capsys.readouterr().err
    assert not Path(tmp_path / "runs").exists()
    assert cli.main([*words, "lrf=0.5", "plots=False"]) == 0
    assert capsys.readouterr().out.count("lrf: has no effect") == 1
