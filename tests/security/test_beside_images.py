"""Files of others that have the names under which Ultralytics keeps decoded images and caches of labels."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ultralytics.data import YOLODataset
from ultralytics.data.utils import save_dataset_cache_file

from tests.engine.conftest import data  # noqa: F401
from yolo_subbatch import engine  # noqa: F401


@pytest.fixture
def own(data, tmp_path):  # noqa: F811
    shutil.copytree(data.parent, tmp_path / "shapes")
    return tmp_path / "shapes/images/train"


def dataset(folder, **keywords) -> YOLODataset:
    described = {"names": {0: "a", 1: "b", 2: "c"}, "nc": 3, "channels": 3}
    return YOLODataset(str(folder), imgsz=64, data=described, augment=False, **keywords)


def test_arrays_beside_images_are_left_alone(own) -> None:
    (own / "00000.npy").write_bytes(b"features of mine")
    np.save(own / "00001.npy", np.arange(5))
    np.save(own / "00002.npy", np.zeros((64, 64), np.uint8))  # a mask
    files = {file: file.read_bytes() for file in own.glob("*.npy")}
    usual = [each["img"] for each in map(dataset(own).get_image_and_label, range(4))]
    for cache in (False, "disk", "disk"):
        found = dataset(own, cache=cache)
        for i, image in enumerate(usual):
            assert np.array_equal(found.get_image_and_label(i)["img"], image)
        assert {file: file.read_bytes() for file in files} == files
    assert (own / "00000.jpg.npy").is_file()
    assert (own / "00003.npy").is_file(), "where nothing is in the way, the name is the usual one"


def test_what_is_no_cache_of_labels_stays(own, tmp_path) -> None:
    kept, target = own.parents[1] / "labels/train.cache", tmp_path / "target"
    kept.unlink(missing_ok=True)
    kept.write_text("mine")
    dataset(own)
    assert kept.read_text() == "mine"
    target.write_text("mine")
    kept.unlink()
    kept.symlink_to(target)
    save_dataset_cache_file("", kept, {}, "1")
    assert kept.is_symlink()
    assert target.read_text() == "mine"
