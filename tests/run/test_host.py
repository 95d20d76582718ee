from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.sample import write_checkpoint
from yolo_subbatch.errors import WeightsError
from yolo_subbatch.run import host


def test_the_rules_are_those_of_ultralytics() -> None:
    from ultralytics.cfg import CFG_FRACTION_KEYS, CFG_INT_MIN
    from ultralytics.data.utils import IMG_FORMATS, VID_FORMATS

    from yolo_subbatch.run.data import IMAGES, VIDEOS

    assert CFG_FRACTION_KEYS - {"fraction"} == host.FRACTIONS
    assert all(CFG_INT_MIN[key] == least for key, least in host.LEAST.items() if key in CFG_INT_MIN)
    assert {f".{each}" for each in IMG_FORMATS} == IMAGES
    assert {f".{each}" for each in VID_FORMATS} == VIDEOS


def test_training_keys_leave_out_what_has_no_part_in_training() -> None:
    keys = host.training_keys()
    assert keys["mosaic"] == 1.0
    assert keys["patience"] == 100
    assert {"classes", "optimizer", "cache", "iou"} <= set(keys)
    assert not {"source", "format", "tracker", "show", "cfg"} & set(keys)


def test_models_and_data_sets_are_found_by_name() -> None:
    found = host.find_model("yolo26n.yaml")
    assert found is not None
    assert found.name == "yolo26.yaml"
    assert host.find_model("yolo26x-seg.yaml") is not None
    assert host.find_model("yolo25n.yaml") is None
    assert host.find_dataset("coco8.yaml") is not None
    assert host.find_dataset("../default.yaml") is None


def test_checkpoints_are_told_apart_without_loading_them(tmp_path: Path) -> None:
    ours = write_checkpoint(tmp_path / "ours.pt")
    theirs = write_checkpoint(tmp_path / "theirs.pt", "ultralytics.nn.tasks")
    old = tmp_path / "old.pt"
    old.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF")
    assert host.is_darknet_checkpoint(ours)
    assert not host.is_darknet_checkpoint(theirs)
    assert not host.is_darknet_checkpoint(old)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 torn"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pt: no checkpoint"):
        host.is_darknet_checkpoint(tmp_path / "x.pt")
