from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.settings.sample import write_cfg, write_checkpoint, write_data, write_yaml
from yolo_subbatch.darknet.geometry import largest_stride
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.checks import Problem, raise_errors
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate


@pytest.fixture
def good(tmp_path: Path) -> dict[str, object]:
    return {"cfg": str(write_cfg(tmp_path)), "data": str(write_data(tmp_path)), "project": str(tmp_path / "runs")}


def problems(values: dict[str, object], **more: object) -> dict[str, str]:
    found = validate(TrainSettings(**{**values, **more}))  # type: ignore[arg-type]
    return {problem.field: f"{problem.level} {problem.text}" for problem in found}


def test_good_settings_have_no_problems(good: dict[str, object]) -> None:
    assert problems(good) == {}
    assert problems(good, imgsz=(64, 128), steps=(3,), scales=(0.5,), device="cuda:0", max_norm=math.inf) == {}


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"batch": 10, "subdivisions": 4}, "subdivisions", "use one of 1, 2, 5"),
        ({"subdivisions": 3}, "subdivisions", "does not divide batch=8; use one of 1, 2, 4"),
        ({"batch": 0}, "batch", "at least 1"),
        ({"epochs": 0}, "epochs", "at least 1"),
        ({"learning_rate": 0.0}, "learning_rate", "more than 0"),
        ({"learning_rate": math.nan}, "learning_rate", "not a finite number"),
        ({"decay": math.inf}, "decay", "not a finite number"),
        ({"max_norm": math.nan}, "max_norm", "not a finite number"),
        ({"max_norm": -1.0}, "max_norm", "at least 0"),
        ({"momentum": 1.0}, "momentum", "less than 1"),
        ({"saturation": 0.0}, "saturation", "more than 0"),
        ({"scales": (0.1, -1.0), "steps": (1, 2)}, "scales", "more than 0"),
        ({"flip": 2}, "flip", "use one of 0, 1"),
        ({"norm_type": 3.0}, "norm_type", "use one of 2, inf"),
        ({"schedule": "exakt"}, "schedule", "scaled, exact"),
        ({"policy": "linear"}, "policy", "constant"),
        ({"amp": "half"}, "amp", "bf16"),
        ({"imgsz": 66}, "imgsz", "stride 4; use 64 or 68"),
        ({"imgsz": (64, 66)}, "imgsz", "imgsz=64,66: .*use 64 or 68 instead of 66"),
        ({"imgsz": 100000}, "imgsz", "at most 8192"),
        ({"steps": (1, 2)}, "scales", "1 of them for 2 steps"),
        ({"steps": (9, 2), "scales": (0.1, 0.1)}, "steps", "rising"),
        ({"device": "gpu"}, "device", "cpu, 0 or 0,1"),
        ({"device": "-1"}, "device", "cpu, 0 or 0,1"),
        ({"name": "a/b"}, "name", "plain name"),
        ({"name": ".."}, "name", "plain name"),
        ({"name": ""}, "name", "plain name"),
        ({"weights": "none.weights"}, "weights", "no such file"),
        ({"weights": "."}, "weights", "folder"),
        ({"seen": "keep"}, "seen", "give weights="),
        ({"model": "best.pt"}, "model", "give one of the two"),
        ({"data": "none.data"}, "data", "no such file"),
        ({"data": "."}, "data", "folder"),
        ({"cfg": "yolov3-tyni"}, "cfg", "did you mean the bundled yolov3-tiny.cfg"),
        ({"cfg": "."}, "cfg", "folder"),
        ({"cfg": None}, "cfg", "not given"),
        ({"extra": {"mosaic": 2.0}}, "mosaic", "at most 1"),
        ({"extra": {"lrf": -1.0}}, "lrf", "at least 0"),
        ({"extra": {"optimizer": "Adma"}}, "optimizer", "AdamW"),
    ],
)
def test_bad_values_are_errors(good: dict[str, object], values: dict[str, object], field: str, words: str) -> None:
    found = [problem for problem in validate(TrainSettings(**{**good, **values})) if problem.field == field]  # type: ignore[arg-type]
    assert found, f"nothing said of {field}"
    with pytest.raises(SettingsError, match=words) as error:
        raise_errors(found[:1])
    assert "\n" not in str(error.value)
    assert ": " in str(error.value)
    assert "; " in str(error.value)


def test_all_problems_come_at_once(good: dict[str, object]) -> None:
    found = problems(good, batch=10, subdivisions=4, imgsz=65, data="none.data", momentum=2.0)
    assert set(found) == {"subdivisions", "imgsz", "data", "momentum"}


def test_a_mistake_in_the_cfg_is_named_with_its_line(tmp_path: Path, good: dict[str, object]) -> None:
    bad = {
        "misspelt": (("subdivisions=2", "subdivision=2"), "did you mean subdivisions"),
        "type": (("filters=8", "filters=eight"), "whole number"),
        "mask": (("mask=0,1", "mask=0,2"), "mask=0,2"),
        "filters": (("filters=14", "filters=13"), "filters=14"),
        "headless": (("[yolo]\nmask=0,1\nanchors=10,14, 23,27\nclasses=2\nnum=2", ""), "no .yolo. or .region. section"),
    }
    for name, (change, words) in bad.items():
        path = write_cfg(tmp_path, change, name=f"{name}.cfg")
        with pytest.raises(SettingsError, match=words) as error:
            raise_errors(validate(TrainSettings(**{**good, "cfg": str(path)})))  # type: ignore[arg-type]
        assert str(error.value).startswith(str(path))
    binary = tmp_path / "binary.cfg"
    binary.write_bytes(b"[net]\0\0")
    assert "binary file" in problems(good, cfg=str(binary))["cfg"]


def test_darknets_lines_for_testing_are_a_warning(tmp_path: Path, good: dict[str, object]) -> None:
    path = write_cfg(tmp_path, ("batch=8", "batch=1"), ("subdivisions=2", "subdivisions=1"), name="test.cfg")
    assert problems(good, cfg=str(path))["batch"].startswith("warning ")
    assert problems(good, cfg=str(path), batch=8) == {}


def test_a_cfg_whose_own_parts_do_not_fit_is_named(tmp_path: Path, good: dict[str, object]) -> None:
    path = write_cfg(tmp_path, ("subdivisions=2", "subdivisions=3"), name="odd.cfg")
    assert f"{path}: subdivisions=3" in problems(good, cfg=str(path))["subdivisions"]
    assert problems(good, cfg=str(path), batch=16) == {}, "the engine chooses parts that fit"


def test_the_bundled_names_and_the_built_in_data_are_found(good: dict[str, object]) -> None:
    for cfg in ("yolov3", "yolov3.cfg", "yolov3-tiny"):
        for data in (None, "shapes"):
            assert not [each for each in validate(TrainSettings(cfg=cfg, data=data)) if each.level == "error"]


def test_keys_without_effect_are_named(good: dict[str, object]) -> None:
    found = problems(good, extra={"degrees": 1.0, "lrf": 0.1, "cache": "ram", "mosaic": 1.0})
    assert set(found) == {"degrees", "lrf"}
    assert all(text.startswith("warning ") for text in found.values())
    assert set(problems(good, extra={"mosaic": 1.0}, augmentation="ultralytics")) == set()


def test_mixing_is_on_or_off_for_darknets_augmentation(good: dict[str, object]) -> None:
    for key in ("mosaic", "mixup", "cutmix"):
        for value in (0.0, 1.0):
            assert problems(good, extra={key: value}) == {}
        assert "every second image" in problems(good, extra={key: 0.5})[key]
        assert problems(good, extra={key: 0.5}, augmentation="ultralytics") == {}


def test_weights_are_not_checkpoints(tmp_path: Path, good: dict[str, object]) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt")
    (tmp_path / "empty.weights").touch()
    assert "model=" in problems(good, weights=str(checkpoint))["weights"]
    assert "empty" in problems(good, weights=str(tmp_path / "empty.weights"))["weights"]


def test_models_of_ultralytics_take_their_own_keys_only(tmp_path: Path) -> None:
    data = str(write_yaml(write_data(tmp_path).parent))
    model: dict[str, object] = {"model": "yolo26n.yaml", "data": data}
    assert problems(model, batch=16, subdivisions=4, learning_rate=0.1, extra={"mosaic": 1.0, "lrf": 0.1}) == {}
    assert "no meaning" in problems(model, burn_in=5)["burn_in"]
    assert "does not divide batch=16" in problems(model, subdivisions=5)["subdivisions"]
    assert "did you mean" in problems({"model": "yolo26n-sge.yaml", "data": data})["model"]
    assert "more than the boxes" in problems({"model": "yolo26n-seg.yaml"})["data"]


def test_checkpoints_are_looked_into(tmp_path: Path, good: dict[str, object]) -> None:
    place = {"data": good["data"]}
    ours = write_checkpoint(tmp_path / "ours.pt")
    theirs = write_checkpoint(tmp_path / "theirs.pt", "ultralytics.nn.tasks")
    (tmp_path / "text.pt").write_text("hello")
    # The batch of its cfg is not known here.
    assert problems({**place, "model": str(ours)}, subdivisions=32, burn_in=3) == {}
    assert "burn_in" in problems({**place, "model": str(theirs)}, burn_in=3)
    assert "no checkpoint" in problems({**place, "model": str(tmp_path / "text.pt")})["model"]
    assert "no such file" in problems({**place, "model": "none.pt"})["model"]
    assert "warning" in problems({**place, "model": "yolo26n.pt"})["model"]
    assert "cfg=" in problems({**place, "model": "yolov3.cfg"})["model"]
    assert "folder" in problems({**place, "model": str(tmp_path)})["model"]


def test_errors_are_raised_together_and_warnings_returned() -> None:
    found = [Problem("a", "warning", "w"), Problem("b", "error", "x"), Problem("c", "error", "y")]
    with pytest.raises(SettingsError, match=r"^x\ny$"):
        raise_errors(found)
    assert raise_errors(found[:1]) == ["w"]


CONNECTED = """[net]
width=64
height=64
channels=3
[convolutional]
filters=2
size=8
stride=8
activation=leaky
[connected]
output=384
activation=linear
[convolutional]
filters=6
activation=linear
[yolo]
classes=1
anchors=9,9
"""


def test_a_connected_layer_takes_one_size(good: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "x.cfg").write_text(CONNECTED)
    given = {**good, "cfg": str(tmp_path / "x.cfg")}
    assert "imgsz" not in problems(given)
    assert "takes inputs of 64x64 alone" in problems(given, imgsz=128)["imgsz"]
    assert "cannot be resized; give random=0" in problems(given, random=1.4)["random"]
    assert largest_stride(read_cfg(tmp_path / "x.cfg")) == 64, "so that validation pads to the whole size"


@pytest.mark.parametrize(("batch", "parts", "near"), [
    (64, 5, "2, 4, 8"), (64, 100, "16, 32, 64"), (10**18, 7, "4, 5, 8"), (7 * 10**17, 10**17 - 1, "1, .*"),
    (2**60 + 7, 2**59, "1, "),
])  # fmt: skip
def test_better_subdivisions_are_found_at_once(good: dict[str, object], batch: int, parts: int, near: str) -> None:
    """Also for a number that someone has mistyped by many digits."""
    assert re.search(rf"does not divide batch={batch}; use one of {near}", problems(
        {**good, "batch": batch, "subdivisions": parts}
    )["subdivisions"])  # fmt: skip
