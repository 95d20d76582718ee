"""A training from Python takes the values that the command line takes, and answers in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.engine.arguments import SUBBATCH_DEFAULTS, read_keywords
from yolo_subbatch.engine.darknet_trainer import DarknetTrainer
from yolo_subbatch.engine.keys import DARKNET_DEFAULTS, canonical
from yolo_subbatch.errors import SettingsError

TWICE = ["2", 2.0, np.int64(2), np.float32(2), np.array(2), torch.tensor(2), torch.tensor([2.0]), " 2 "]
SPELT = {
    "batch": np.int64(4), "subdivisions": "2", "max_norm": None, "norm_type": "inf", "epochs": np.array(1),
    "imgsz": np.array([64, 64]), "workers": 0.0, "seed": torch.tensor(3), "bn": "Sub-Batch", "exact_norm": "no",
    "plots": np.bool_(False), "val": 0, "device": "cpu", "grad_reduction": "SUM", "save_iterations": "1000",
}  # fmt: skip


@pytest.mark.parametrize("value", TWICE, ids=repr)
@pytest.mark.parametrize("darknet", [True, False])
def test_a_number_of_any_kind_is_the_number(value: Any, darknet: bool) -> None:
    found = read_keywords({"subdivisions": value, "save_iterations": value, "max_norm": value}, darknet)
    assert found == {"subdivisions": 2, "save_iterations": 2, "max_norm": 2.0}
    assert [type(each) for each in found.values()] == [int, int, float]


@pytest.mark.parametrize("darknet", [True, False])
def test_none_is_the_default_of_every_key_of_ours(darknet: bool) -> None:
    keys = (set(DARKNET_DEFAULTS) if darknet else set(SUBBATCH_DEFAULTS)) - {"given", "complete"}
    assert read_keywords(dict.fromkeys(keys), darknet) == {}


def test_every_key_of_ours_is_read_and_answered() -> None:
    for key in set(DARKNET_DEFAULTS) - {"given", "complete", "weights", "memory"}:
        with pytest.raises(SettingsError, match=f"^{key}=.*; (give|use) "):
            read_keywords({key: "nonsense at all"}, True)
    for key in set(SUBBATCH_DEFAULTS) - {"complete", "memory"}:
        with pytest.raises(SettingsError, match=f"^{key}=.*; (give|use) "):
            read_keywords({key: "nonsense at all"}, False)


def test_what_belongs_to_ultralytics_is_left_alone() -> None:
    network, augmentations = torch.nn.Identity(), [object()]
    given = {"model": network, "augmentations": augmentations, "time": None, "resume": False, "scale": 0.5}
    assert read_keywords(given, False) == given
    complete = {"complete": True, "subdivisions": "2"}
    assert read_keywords(complete, False) == complete


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = {"subdivisions": "x", "max_norm": -1, "flip": 3, "mosaic": 2, "epochs": True, "bathc": 4}
    with pytest.raises(SettingsError) as error:
        canonical(wrong)
    assert {line.split("=")[0].split(":")[0] for line in str(error.value).splitlines()} == set(wrong)


@pytest.mark.parametrize("make", ["train", "trainer"])
def test_a_darknet_network_trains_with_them(cfg: Path, data: Path, tmp_path: Path, make: str) -> None:
    more = {"flip": True, "steps": np.array([2]), "scales": (0.1,), "random": False, "max_batches": "2", "hue": "0.1"}
    given = {**SPELT, **more, "data": data, "project": tmp_path, "name": np.str_("t"), "schedule": "Exact"}
    given.pop("epochs")
    if make == "train":
        model = Darknet(cfg)
        model.train(**given)
        trainer = model.trainer
    else:
        trainer = DarknetTrainer(overrides={**given, "model": cfg})
    args = trainer.args
    assert (args.batch, args.subdivisions, args.max_norm, args.norm_type) == (4, 2, 20.0, float("inf"))
    assert trainer.source.net.steps == (2,)
    assert trainer.source.net.flip == 1
    assert args.grad_reduction == "sum"
    if make == "train":
        assert trainer.update_index == 2


@pytest.mark.parametrize("make", ["train", "trainer"])
def test_a_network_of_ultralytics_trains_with_them(data: Path, tmp_path: Path, make: str) -> None:
    path = tmp_path / "v8.yaml"
    path.write_text(V8_YAML)
    given = {**SPELT, "data": data, "project": tmp_path, "name": "t", "mosaic": "0", "optimizer": "SGD", "imgsz": "64"}
    if make == "train":
        model = YOLO(path)
        model.train(trainer=SubbatchTrainer, **given)
        trainer = model.trainer
        assert trainer.update_index == 3
    else:
        trainer = SubbatchTrainer(overrides={**given, "model": str(path)})
    args = trainer.args
    assert (args.batch, args.subdivisions, args.max_norm, args.norm_type) == (4, 2, 20.0, float("inf"))
    assert (args.seed, args.save_iterations, args.exact_norm) == (3, 1000, False)
    with pytest.raises(SettingsError, match=r"(?s)subdivisions=x: .*max_norm=-1: "):
        YOLO(path).train(trainer=SubbatchTrainer, data=data, subdivisions="x", max_norm=-1)


def test_a_budget_of_memory_is_checked_at_once(cfg: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="memory=much: not a size; write for example memory=8GB"):
        DarknetTrainer(overrides={"model": cfg, "data": data, "project": tmp_path, "memory": "much"})
