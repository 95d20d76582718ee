from __future__ import annotations

import math
from pathlib import Path

import pytest

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.gui.form.presets import DEMO, Presets, bundled_titles, preset_folder, with_bundled
from yolo_subbatch.settings.find import bundled_cfgs
from yolo_subbatch.settings.train_settings import TrainSettings


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "config" / "presets")


def test_a_preset_comes_back_as_it_was_saved(presets: Presets) -> None:
    settings = TrainSettings(
        cfg="yolov3.cfg", imgsz=(416, 608), max_norm=math.inf, subdivisions="auto", extra={"freeze": [0, 1]}
    )
    assert presets.names() == []
    presets.save("Masks, 中文", settings)
    assert presets.names() == ["Masks, 中文"]
    assert presets.load("Masks, 中文") == settings


def test_names_are_sorted_and_a_preset_can_be_replaced_and_deleted(presets: Presets) -> None:
    for name in ("b", "C", "a"):
        presets.save(name, TrainSettings(batch=1))
    presets.save("a", TrainSettings(batch=2))
    assert presets.names() == ["a", "b", "C"]
    assert presets.load("a").batch == 2
    presets.delete("a")
    presets.delete("a")
    assert presets.names() == ["b", "C"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a:b", " "])
def test_a_name_that_is_no_file_name_is_refused(presets: Presets, name: str) -> None:
    with pytest.raises(SettingsError, match="not a name for a preset"):
        presets.save(name, TrainSettings())
    assert presets.names() == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"no_such_key": 1}', b'{"batch": "many"}', b"\xff\xfe"])
def test_a_damaged_file_is_told_with_its_name(presets: Presets, content: bytes) -> None:
    presets.save("mine", TrainSettings())
    (presets.folder / "mine.json").write_bytes(content)
    with pytest.raises(SettingsError, match=r"mine\.json: "):
        presets.load("mine")


def test_a_missing_file_and_a_folder_that_cannot_be_written_are_told(presets: Presets, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        presets.load("gone")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        Presets(tmp_path / "file" / "presets").save("mine", TrainSettings())


def test_every_bundled_cfg_is_offered_once() -> None:
    titles = bundled_titles()
    assert sorted(titles) == bundled_cfgs()
    assert len(set(titles.values())) == len(titles)
    assert list(titles)[-1] == DEMO


def test_another_network_keeps_data_and_device_alone() -> None:
    current = TrainSettings(model="a.pt", data="mask.data", device="1", project="p", workers=2, batch=8, name="x")
    wanted = TrainSettings(cfg="yolov3.cfg", data="mask.data", device="1", project="p", workers=2)
    assert with_bundled("yolov3.cfg", current) == wanted
    assert with_bundled(DEMO, current).data == "shapes"


def test_the_users_presets_have_a_folder_of_their_own() -> None:
    assert preset_folder().name == "presets"
    assert preset_folder().is_absolute()
