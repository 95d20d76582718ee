from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.settings.sample import write_cfg, write_checkpoint, write_data, write_yaml
from yolo_subbatch.errors import YoloSubbatchError
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.window_checks import check_gui
from yolo_subbatch.settings.command_checks import (
    check_convert,
    check_info,
    check_map,
    check_predict,
    check_val,
)
from yolo_subbatch.settings.commands import (
    ConvertSettings,
    GuiSettings,
    InfoSettings,
    MapSettings,
    PredictSettings,
    ValSettings,
)
from yolo_subbatch.settings.train_settings import TrainSettings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a cfg, weights, a checkpoint, data and images."""
    write_cfg(tmp_path)
    write_checkpoint(tmp_path / "best.pt")
    (tmp_path / "small.weights").write_bytes(b"1234")
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CFG = {"cfg": "small.cfg", "weights": "small.weights"}


def test_good_input_comes_back_with_its_files(place: Path) -> None:
    assert check_val(ValSettings(model="best.pt", data="obj.data", imgsz=64)).data == "obj.data"
    assert check_val(ValSettings(**CFG, data="shapes")).data is None  # type: ignore[arg-type]
    assert check_predict(PredictSettings(**CFG, source="images/val")).source == "images/val"  # type: ignore[arg-type]
    for source in ("0", "rtsp://camera/1", "images/val/0.jpg", "images/*/*.jpg"):
        check_predict(PredictSettings(model="best.pt", source=source))
    assert check_convert(ConvertSettings(model="best.pt", to="best.weights")).to == "best.weights"
    found = check_val(ValSettings(cfg="yolov3", weights="small.weights"))
    assert found.cfg is not None
    assert Path(found.cfg).is_file()
    info = check_info(InfoSettings(cfg="small.cfg"))
    assert (info.imgsz, info.batch, info.subdivisions) == ((64, 64), 8, 2)


@pytest.mark.parametrize(
    ("check", "settings", "words"),
    [
        (check_val, ValSettings(), "not given"),
        (check_val, ValSettings(cfg="small.cfg"), "needs its trained weights"),
        (check_val, ValSettings(model="best.pt", **CFG), "give one of the two"),  # type: ignore[arg-type]
        (check_val, ValSettings(model="images"), "folder"),
        (check_val, ValSettings(model="none.pt"), "no such file"),
        (check_val, ValSettings(model="obj.data"), "no checkpoint"),
        (check_val, ValSettings(model="small.cfg"), "cfg="),
        (check_val, ValSettings(model="best.pt", data="obj.data", split="test"), "no 'test' list"),
        (check_val, ValSettings(model="best.pt", split="test"), "built-in"),
        (check_val, ValSettings(model="best.pt", split="valid"), "train, val, test"),
        (check_val, ValSettings(model="best.pt", json="none/x.json"), "does not exist"),
        (check_val, ValSettings(model="best.pt", json="images"), "folder"),
        (check_val, ValSettings(model="best.pt", conf=float("nan")), "finite"),
        (check_val, ValSettings(model="best.pt", iou=1.5), "at most 1"),
        (check_val, ValSettings(model="best.pt", batch=0), "at least 1"),
        (check_val, ValSettings(model="best.pt", device="gpu"), "cpu, 0"),
        (check_predict, PredictSettings(model="best.pt"), "source: not given"),
        (check_predict, PredictSettings(model="best.pt", source="none"), "no such file"),
        (check_predict, PredictSettings(model="best.pt", source="labels/val"), "no image or video"),
        (check_predict, PredictSettings(model="best.pt", source="none/*.jpg"), "no such file"),
        (check_convert, ConvertSettings(model="best.pt"), "to: not given"),
        (check_convert, ConvertSettings(model="best.pt", to="x.pt"), "a checkpoint already"),
        (check_convert, ConvertSettings(model="best.pt", to="x.onnx"), "unknown format"),
        (check_convert, ConvertSettings(model="best.pt", to="small.weights"), "not overwritten"),
        (check_convert, ConvertSettings(model="best.pt", to="none/x.weights"), "does not exist"),
        (check_info, InfoSettings(), "not given"),
        (check_info, InfoSettings(cfg="small.cfg", imgsz=-1), "at least 8"),
        (check_info, InfoSettings(cfg="small.cfg", subdivisions=3), "does not divide"),
    ],
)
def test_bad_input_is_named(place: Path, check: Callable[[Any], Any], settings: object, words: str) -> None:
    with pytest.raises(YoloSubbatchError, match=words):
        check(settings)


@pytest.mark.parametrize(("split", "key"), [("val", "train"), ("test", "val")])
def test_a_description_needs_what_ultralytics_wants_of_each(place: Path, split: str, key: str) -> None:
    data = write_yaml(place)
    lines = [f"{name}: images/val" for name in ("train", "val", "test") if name != key]
    data.write_text("\n".join([*lines, "names: [cat, dog]", ""]))
    for check, kind in ((check_val, ValSettings), (check_map, MapSettings)):
        with pytest.raises(YoloSubbatchError, match=f"no '{key}:', which Ultralytics wants"):
            check(kind(**CFG, data=str(data), split=split))  # type: ignore[operator]


def test_a_cfg_is_not_overwritten_beside_new_weights(place: Path) -> None:
    (place / "new.cfg").touch()
    with pytest.raises(YoloSubbatchError, match=r"new\.cfg exists"):
        check_convert(ConvertSettings(model="best.pt", to="new.weights"))


def test_all_problems_come_at_once(place: Path) -> None:
    with pytest.raises(YoloSubbatchError) as error:
        check_predict(PredictSettings(model="none.pt", source="none", json="none/x.json", conf=7))
    assert len(str(error.value).splitlines()) == 4


@pytest.fixture
def run(place: Path) -> RunFolder:
    """A run in the folder ``runs`` of the place."""
    folder = RunFolder.create("runs", "train")
    folder.write_settings(TrainSettings(cfg="small.cfg"))
    folder.weights.mkdir()
    (folder.weights / "last.pt").touch()
    return folder


@pytest.mark.parametrize("given", ["runs/train", "runs/train/weights", "runs/train/weights/last.pt"])
def test_the_window_gets_the_whole_path_of_its_run(run: RunFolder, given: str) -> None:
    asked = GuiSettings(run=given, screenshot="window.PNG", theme="dark", language="zh_CN")
    assert check_gui(asked) == GuiSettings(run=str(run.path), screenshot="window.PNG", theme="dark", language="zh_CN")


def test_a_window_needs_nothing(place: Path) -> None:
    assert check_gui(GuiSettings()) == GuiSettings()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (GuiSettings(run="none"), "run=none: no such folder or file"),
        (GuiSettings(run="images"), "run=images: not the folder of a run"),
        (GuiSettings(run=""), "run=: not the folder of a run"),
        (GuiSettings(screenshot="window.jpg"), "only PNG is written"),
        (GuiSettings(screenshot="window"), "only PNG is written"),
        (GuiSettings(screenshot="images"), "this is a folder"),
        (GuiSettings(screenshot="none/window.png"), "folder none does not exist"),
        (GuiSettings(theme="blue"), "use one of light, dark, system"),
        (GuiSettings(language="de"), "use one of en, zh_CN, system"),
    ],
)
def test_a_window_that_cannot_be_shown_is_refused(place: Path, settings: GuiSettings, words: str) -> None:
    with pytest.raises(YoloSubbatchError, match=words):
        check_gui(settings)
