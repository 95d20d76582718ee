"""Where the names of a network's classes come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.sample import write_cfg, write_data, write_yaml
from yolo_subbatch import cli
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.class_names import class_names, is_unnamed


def test_names_are_the_datas(tmp_path: Path) -> None:
    for data in (write_data(tmp_path), write_yaml(tmp_path)):
        assert class_names(str(data), 2).names == ("cat", "dog")
        with pytest.raises(SettingsError, match="2 classes, but the network has 80; give the data it was trained for"):
            class_names(str(data), 80)


@pytest.mark.parametrize(("classes", "known", "number", "name"), [(80, "COCO", 75, "vase"), (20, "VOC", 14, "person")])
def test_published_networks_have_well_known_names(classes: int, known: str, number: int, name: str) -> None:
    found = class_names(None, classes)
    assert (len(found.names), found.names[number]) == (classes, name)
    assert known in found.note


def test_others_are_numbered() -> None:
    found = class_names(None, 3)
    assert (found.names, found.note) == (("class0", "class1", "class2"), "")
    assert is_unnamed(dict(enumerate(found.names)))
    assert not is_unnamed({0: "class1"})


def test_info_compares_the_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    write_cfg(tmp_path)
    assert cli.main(["info", "cfg=small.cfg", "data=obj.data"]) == 0
    assert "classes of obj.data: 0 cat, 1 dog\n" in capsys.readouterr().out
    assert cli.main(["info", "cfg=yolov3-tiny", "data=obj.data"]) == 0
    assert "the heads have 80 classes; training rebuilds them for 2" in capsys.readouterr().out
    assert cli.main(["info", "cfg=small.cfg", "data=none.data"]) == 2
