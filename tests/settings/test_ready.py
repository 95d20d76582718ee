"""What a form shows beside the settings."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from tests.settings.sample import write_cfg, write_checkpoint, write_data, write_yaml
from yolo_subbatch.darknet.geometry import with_classes
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.darknet.report import training_bytes
from yolo_subbatch.errors import CfgError, SettingsError
from yolo_subbatch.settings.ready import CfgFacts, DataFacts, bundled_cfgs, check_ready, read_layers
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import make

DATA = {
    "number.yaml": "path: 3\ntrain: x\nval: y\nnames: [a]\n",
    "long.yaml": f"train: {'x' * 300}\nval: images/val\nnames: [cat, dog]\n",
    "nested.yaml": "train: {a: 1}\nval: [1, 2]\nnames: {0: cat, 1: dog}\n",
    "zero.yaml": 'train: "a\\0b"\nval: images/val\nnames: [cat, dog]\n',
    "list.yaml": "train: long.txt\nval: long.txt\nnames: [cat, dog]\n",
    "long.data": f"classes=2\ntrain={'x' * 300}\nvalid=val.txt\nnames=obj.names\n",
    "list.data": "classes=2\ntrain=long.txt\nvalid=val.txt\nnames=obj.names\n",
    "binary.data": "\0",
    "empty.yaml": "",
}


@pytest.fixture(scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ready")
    write_cfg(place)
    write_cfg(place, ("filters=14", "filters=13"), name="filters.cfg")
    write_cfg(place, ("subdivisions=2", "subdivisions=4"), ("batch=8", "batch=24"), name="parts.cfg")
    write_cfg(place, ("max_batches=20", ""), name="endless.cfg")
    write_cfg(place, ("num=2", "num=2\nrandom=1\njitter=.3\nignore_thresh=.7"), name="head.cfg")
    write_cfg(place, ("width=64", "width=96"), name="wide.cfg")
    (place / "binary.cfg").write_bytes(b"[net]\0")
    (place / "folder.cfg").mkdir()
    write_data(place, images=20)
    write_yaml(place)
    write_checkpoint(place / "best.pt")
    (place / "text.pt").write_text("hello")
    (place / "long.txt").write_text("x" * 300 + ".jpg\n")
    for name, text in DATA.items():
        (place / name).write_text(text)
    return place


@pytest.fixture
def place(_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with cfgs and data sets, usable and not."""
    monkeypatch.chdir(_place)
    return _place


def small(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"cfg": "small.cfg", "data": "obj.data", **changes})


def test_settings_that_can_start(place: Path) -> None:
    found = check_ready(small())
    assert found.ready
    assert found.problems == ()
    # weights: 8 x 3 x 3 x 3 and 8, 14 x 8 and 14; operations: two per multiplication, and four per maximum
    bflops = (2 * 27 * 8 * 32 * 32 + 4 * 8 * 16 * 16 + 2 * 8 * 14 * 16 * 16) / 1e9
    assert found.cfg == CfgFacts(4, 1, 2, 216 + 8 + 112 + 14, pytest.approx(bflops), 64, 64)
    assert found.data == DataFacts(2, 20, 20)
    assert (found.batch, found.subdivisions, found.sub_batch) == (8, 2, 4.0)
    assert (found.iterations, found.epochs) == (20, 7), "three updates an epoch"
    assert found.memory == training_bytes(read_cfg("small.cfg"), 4)


def test_what_holds_where_nothing_is_given(place: Path) -> None:
    found = check_ready(small(cfg="head.cfg", learning_rate=0.5, random=0.0)).effective
    assert found["learning_rate"] == 0.01, "the cfg's, whatever is given"
    assert (found["batch"], found["subdivisions"], found["max_batches"]) == (8, 2, 20)
    assert (found["policy"], found["steps"], found["scales"]) == ("steps", (10,), (0.1,))
    assert (found["random"], found["jitter"], found["ignore_thresh"]) == (1, 0.3, 0.7)
    assert found["imgsz"] == 64
    assert check_ready(small(cfg="wide.cfg")).effective["imgsz"] == (64, 96)
    assert "max_batches" not in check_ready(small(cfg="endless.cfg", epochs=1)).effective


@pytest.mark.parametrize(
    ("batch", "parts", "wanted"),
    [
        (None, None, (24, 4, 6.0)),
        (24, None, (24, 4, 6.0)),
        (6, None, (6, 2, 3.0)),
        (7, None, (7, 1, 7.0)),
        (None, 8, (24, 8, 3.0)),
        (64, 16, (64, 16, 4.0)),
        (8, "auto", (8, None, None)),
    ],
)
def test_the_parts_are_those_of_the_engine(place: Path, batch: int | None, parts: Any, wanted: tuple[Any, ...]) -> None:
    """Where only the batch is given, the cfg's parts are kept as far as they divide it."""
    found = check_ready(small(cfg="parts.cfg", batch=batch, subdivisions=parts))
    assert found.ready
    assert (found.batch, found.subdivisions, found.sub_batch) == wanted
    assert (found.memory is None) == (parts == "auto")


def test_parts_that_do_not_divide_are_shown_and_refused(place: Path) -> None:
    found = check_ready(small(subdivisions=3))
    assert [each.field for each in found.errors] == ["subdivisions"]
    assert (found.batch, found.subdivisions) == (8, 3)
    assert found.sub_batch == pytest.approx(8 / 3)
    assert found.memory == training_bytes(read_cfg("small.cfg"), 3), "the largest part counts"


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 0}, {"batch": -8}, {"batch": 10**40}, {"subdivisions": 0}, {"subdivisions": -2},
        {"subdivisions": "many"}, {"epochs": 0}, {"epochs": -1}, {"epochs": 10**300}, {"max_batches": -5},
        {"max_batches": 10**300}, {"imgsz": -64}, {"imgsz": 10**9}, {"imgsz": (64, -64)},
    ],
)  # fmt: skip
def test_a_number_out_of_bounds_is_not_counted_with(place: Path, changes: dict[str, Any]) -> None:
    found, without = check_ready(small(**changes)), check_ready(small())
    assert {each.field for each in found.errors} == set(changes)
    for name in ("cfg", "batch", "subdivisions", "sub_batch", "memory", "iterations", "epochs"):
        assert getattr(found, name) == getattr(without, name)


def test_the_length_of_the_run(place: Path) -> None:
    assert (found := check_ready(small(epochs=4))).iterations == 12
    assert found.epochs == 4
    assert check_ready(small(max_batches=7)).epochs == 3
    assert check_ready(small(epochs=4, max_batches=7)).iterations == 7
    assert check_ready(small(batch=20)).epochs == 20
    assert check_ready(small(cfg="endless.cfg")).iterations is None


@pytest.mark.parametrize(("size", "height", "width"), [(32, 32, 32), ((32, 96), 32, 96)])
def test_another_input_size_costs_something_else(place: Path, size: Any, height: int, width: int) -> None:
    found = check_ready(small(imgsz=size))
    assert found.cfg is not None
    assert (found.cfg.height, found.cfg.width) == (height, width)
    assert found.memory == training_bytes(read_cfg("small.cfg"), 4, width, height)
    assert found.effective["imgsz"] == 64, "what holds without one"


def test_the_built_in_data_set_is_known_without_drawing_it(place: Path) -> None:
    for data in (None, "shapes", "shapes.yaml"):
        found = check_ready(small(data=data))
        assert found.data == DataFacts(3, 1600, 200, built_in=True)
        assert found.cfg is not None
        assert found.cfg.classes == 3, "the heads are made for the classes of the data"
        assert found.memory == training_bytes(with_classes(read_cfg("small.cfg"), 3), 4)


def test_a_yaml_is_counted_too(place: Path) -> None:
    found = check_ready(small(data="obj.yaml"))
    assert found.ready
    assert found.data == DataFacts(2, 20, 20)


@pytest.mark.parametrize("data", ["none.data", "none.yaml", "images", *DATA])
def test_data_that_cannot_be_used(place: Path, data: str) -> None:
    found = check_ready(small(data=data))
    if data != "number.yaml":  # Ultralytics would look for that folder elsewhere
        assert {each.field for each in found.errors} == {"data"}
        assert found.data is None
    assert (found.iterations, found.epochs) == (None, None)
    assert (found.batch, found.subdivisions) == (8, 2), "the cfg is known all the same"


@pytest.mark.parametrize("cfg", ["none.cfg", "binary.cfg", "folder.cfg", "none", "obj.data"])
def test_a_cfg_that_cannot_be_read(place: Path, cfg: str) -> None:
    found = check_ready(small(cfg=cfg))
    assert {each.field for each in found.errors} == {"cfg"}
    assert (found.cfg, found.memory) == (None, None)
    assert found.data == DataFacts(2, 20, 20)


def test_a_cfg_whose_head_does_not_fit(place: Path) -> None:
    found = check_ready(small(cfg="filters.cfg"))
    assert [each.field for each in found.errors] == ["cfg"]
    assert "filters=14" in found.errors[0].text


def test_nothing_is_not_ready(place: Path) -> None:
    found = check_ready(TrainSettings())
    assert not found.ready
    assert [each.field for each in found.errors] == ["cfg"]


def test_a_model_of_ultralytics(place: Path) -> None:
    found = check_ready(TrainSettings(model="yolo26n.yaml", data="obj.yaml"))
    assert found.ready
    assert found.effective == {"batch": 16, "subdivisions": 1, "epochs": 100}
    assert (found.batch, found.subdivisions, found.sub_batch, found.memory) == (16, 1, 16.0, None)
    found = check_ready(TrainSettings(model="yolo26n.yaml", data="obj.yaml", batch=8, subdivisions=4))
    assert (found.batch, found.subdivisions, found.sub_batch) == (8, 4, 2.0)
    found = check_ready(TrainSettings(model="yolo26n.yaml", data="obj.yaml", batch=8, subdivisions="auto"))
    assert (found.ready, found.batch, found.subdivisions, found.sub_batch) == (True, 8, None, None)


def test_a_checkpoint_keeps_its_batch_to_itself(place: Path) -> None:
    found = check_ready(TrainSettings(model="best.pt", data="obj.data"))
    assert found.ready
    assert (found.effective, found.batch, found.subdivisions) == ({}, None, None)
    found = check_ready(TrainSettings(model="best.pt", data="obj.data", subdivisions=2))
    assert (found.batch, found.subdivisions, found.sub_batch) == (None, 2, None)
    for model in ("x.pt", "text.pt", "images"):
        assert [each.field for each in check_ready(TrainSettings(model=model)).errors] == ["model"]


def test_a_problem_is_said_once(place: Path) -> None:
    found = check_ready(small(batch=9, subdivisions=2, imgsz=65))
    assert len(found.problems) == len(set(found.problems)) == 2


@pytest.mark.parametrize("name", bundled_cfgs())
def test_every_bundled_cfg_is_ready(place: Path, name: str) -> None:
    found = check_ready(TrainSettings(cfg=name))
    assert found.ready
    assert found.memory is not None
    assert found.memory > 1e6


def test_the_layers_of_a_cfg(place: Path) -> None:
    assert [row.kind for row in read_layers("small.cfg")] == ["conv", "max", "conv", "yolo"]
    assert read_layers("small.cfg", (32, 96))[0].output.split() == ["48", "x", "16", "x", "8"]
    assert len(read_layers("yolov3-tiny")) == 24
    with pytest.raises(CfgError):
        read_layers("none.cfg")


WHOLE = st.none() | st.integers(-3, 70) | st.integers()
VALUES = {
    "cfg": st.sampled_from([None, "small.cfg", "parts.cfg", "binary.cfg", "filters.cfg", "none", "."]) | st.text(),
    "model": st.none() | st.none() | st.sampled_from(["yolo26n.yaml", "best.pt", "text.pt", "small.cfg"]) | st.text(),
    "data": st.sampled_from([None, "obj.data", "obj.yaml", "shapes", "none.data", ".", *DATA]) | st.text(),
    "weights": st.none() | st.text(),
    "imgsz": WHOLE | st.tuples(st.integers(-8, 128), st.integers(-8, 128)),
    "batch": WHOLE,
    "subdivisions": WHOLE | st.sampled_from(["auto", "many"]),
    "memory": st.none() | st.text(),
    "epochs": WHOLE,
    "max_batches": WHOLE,
    "learning_rate": st.none() | st.floats(),
    "momentum": st.none() | st.floats(),
    "steps": st.none() | st.lists(st.integers()).map(tuple),
    "scales": st.none() | st.lists(st.floats()).map(tuple),
    "device": st.none() | st.text(),
    "name": st.text(),
    "project": st.just("runs") | st.text(),
    "extra": st.fixed_dictionaries({}, optional={
        "freeze": st.integers() | st.lists(st.integers() | st.text() | st.lists(st.integers())) | st.text(),
        "mosaic": st.floats(), "optimizer": st.text(), "split": st.text(), "rect": st.booleans(),
    }),
}  # fmt: skip


@example_settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.fixed_dictionaries({}, optional=VALUES))
def test_no_settings_are_an_accident(place: Path, values: dict[str, Any]) -> None:
    extra = values.pop("extra", {})
    try:
        settings = make(TrainSettings, {**extra, **values})
    except SettingsError:
        return
    found = check_ready(settings)
    assert found.ready == (not any(each.level == "error" for each in found.problems))
    assert all(each.text and each.level in {"error", "warning"} for each in found.problems)
    for number in (found.batch, found.subdivisions, found.sub_batch, found.memory, found.iterations, found.epochs):
        assert number is None or (number > 0 and math.isfinite(number))
    if found.sub_batch is not None:
        assert found.batch is not None
        assert found.sub_batch * (found.subdivisions or 0) == pytest.approx(found.batch)


def test_the_checks_need_no_torch(place: Path) -> None:
    code = """
import sys
from yolo_subbatch.settings.ready import check_ready
from yolo_subbatch.settings.train_settings import TrainSettings
assert check_ready(TrainSettings(cfg="small.cfg", data="obj.data")).ready
assert not {"torch", "ultralytics", "cv2"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
