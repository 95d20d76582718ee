"""The built-in data set: what is drawn, what is labelled, and what happens to the folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from yolo_subbatch.built_in_data import NAMES, Numbers, default_numbers, draw_image, write_shapes
from yolo_subbatch.darknet.datafile import check_labels, find_labels, read_data, read_image_list
from yolo_subbatch.errors import DataError

NUMBERS = Numbers(train=12, val=5, size=64, seed=3)
TINY = Numbers(train=2, val=1, size=32)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a small data set; no test changes it."""
    folder = tmp_path_factory.mktemp("shapes") / "deep" / "shapes"
    assert write_shapes(folder, NUMBERS) == folder / "shapes.data"
    return folder


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, list[int]]]:
    """Boxes and classes of images of the default data set."""
    numbers = default_numbers()
    return [draw_image(numbers.seed + index, numbers.size)[1:] for index in range(150)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def images_of(folder: Path, split: str) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in read_image_list(folder / f"{split}.txt")]


def corners_of(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)


def overlaps(boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every two boxes, none of a box with itself."""
    corners = corners_of(boxes)
    low = np.maximum(corners[:, None, :2], corners[None, :, :2])
    high = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    area = boxes[:, 2:].prod(1)
    return shared / (area[:, None] + area[None] - shared) * (1 - np.eye(len(boxes)))


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_description_is_a_good_one(place):
    data = read_data(place / "shapes.data")
    assert (data.classes, data.names, data.unused, data.test) == (3, NAMES, (), None)
    for split, path, count in (("train", data.train, NUMBERS.train), ("val", data.valid, NUMBERS.val)):
        images = read_image_list(path)
        assert [image.relative_to(place) for image in images] == [
            Path(f"images/{split}/{index:05d}.jpg") for index in range(count)
        ]
        labels = find_labels(images)
        assert [label.relative_to(place) for label in labels] == [
            Path(f"labels/{split}/{index:05d}.txt") for index in range(count)
        ]
        check_labels(labels, 3, "shapes.data")
        assert all(cv2.imread(str(image)).shape == (NUMBERS.size, NUMBERS.size, 3) for image in images)


def test_the_yaml_says_the_same(place):
    document = yaml.safe_load((place / "shapes.yaml").read_text())
    data = read_data(place / "shapes.data")
    assert document["names"] == dict(enumerate(data.names))
    for key, path in (("train", data.train), ("val", data.valid)):
        assert sorted((place / document[key]).iterdir()) == read_image_list(path)
    assert "path" not in document, "relative to the file, wherever the folder is moved"


def test_labels_are_what_was_drawn(place):
    for index in range(NUMBERS.train):
        _, boxes, classes = draw_image(NUMBERS.seed + index, NUMBERS.size)
        rows = np.loadtxt(place / f"labels/train/{index:05d}.txt", ndmin=2)
        assert rows[:, 0].tolist() == classes
        assert np.allclose(rows[:, 1:], boxes, atol=1e-6)


def test_pictures_are_what_was_drawn(place):
    images = np.array(images_of(place, "train"), float)
    wanted = np.array([draw_image(NUMBERS.seed + index, NUMBERS.size)[0] for index in range(NUMBERS.train)], float)
    differences = np.abs(images[:, None] - wanted[None]).mean((2, 3, 4))  # of every two
    assert differences.diagonal().max() < 12, "but for the compression"
    assert (differences + 100 * np.eye(NUMBERS.train)).min() > 20


def test_no_picture_is_in_both_splits(place):
    train, val = images_of(place, "train"), images_of(place, "val")
    assert len({image.tobytes() for image in (*train, *val)}) == NUMBERS.train + NUMBERS.val
    labels = [path.read_text() for path in place.glob("labels/*/*.txt")]
    assert len(set(labels)) == len(labels)


def test_every_folder_gets_the_same_files(place, tmp_path):
    write_shapes(tmp_path / "again", NUMBERS)
    assert contents(tmp_path / "again") == contents(place)


def test_another_seed_gives_other_pictures(place, tmp_path):
    write_shapes(tmp_path / "other", Numbers(1, 1, NUMBERS.size, NUMBERS.seed + 100))
    assert not {image.tobytes() for image in images_of(tmp_path / "other", "train")} & {
        image.tobytes() for image in images_of(place, "train")
    }


# --- pictures -------------------------------------------------------------------------------------------------------


def test_an_image_depends_on_its_seed_alone():
    first, second, other = draw_image(5, 64), draw_image(5, 64), draw_image(6, 64)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[2] == second[2]
    assert not np.array_equal(first[0], other[0])
    assert first[0].dtype == np.uint8
    assert first[0].shape == (64, 64, 3)


def test_boxes_lie_inside_and_have_their_sizes(drawn):
    for boxes, classes in drawn:
        assert len(boxes) == len(classes) >= 1
        assert set(classes) <= {0, 1, 2}
        corners = corners_of(boxes)
        assert corners.min() >= 0
        assert corners.max() <= 1
        assert boxes[:, 2:].min() >= 1 / 16 - 1e-9
        assert boxes[:, 2:].max() <= 1 / 2 + 1e-9


def test_the_range_of_sizes_is_used(drawn):
    sides = np.concatenate([boxes[:, 2:].max(1) for boxes, _ in drawn])
    assert np.quantile(sides, 0.1) < 0.13
    assert np.quantile(sides, 0.95) > 0.35


def test_a_fifth_of_the_boxes_overlap_another(drawn):
    touched = np.concatenate([overlaps(boxes).max(1) >= 0.2 for boxes, _ in drawn])
    assert 0.15 <= touched.mean() <= 0.27
    assert max(overlaps(boxes).max() for boxes, _ in drawn) <= 0.5 + 1e-9, "none hides another"


def test_classes_and_numbers_are_spread(drawn):
    counts = np.bincount([kind for _, classes in drawn for kind in classes])
    assert (counts / counts.sum() > 0.25).all()
    assert {len(classes) for _, classes in drawn} >= {1, 2, 3, 4, 5}


def test_colour_and_shade_tell_nothing_about_the_class():
    """The mean colour in the middle of an object is spread alike for every class."""
    colours: dict[int, list[np.ndarray]] = {0: [], 1: [], 2: []}
    for seed in range(200):
        image, boxes, classes = draw_image(seed, 64)
        for (x, y), kind in zip(boxes[:, :2] * 64, classes, strict=True):
            colours[kind].append(image[int(y), int(x)].astype(float))
    means = np.array([np.mean(each, 0) for each in colours.values()])
    spreads = np.array([np.std(each, 0) for each in colours.values()])
    assert np.ptp(means, 0).max() < 25
    assert spreads.min() > 40


def test_an_object_stands_out_where_its_label_says():
    """Something is drawn at the edge of each box: the picture changes there more than between random places."""
    at_edges, elsewhere = [], []
    rng = np.random.default_rng(0)
    for seed in range(60):
        image, boxes, _ = draw_image(seed, 160)
        grey = image.astype(float)
        for x1, y1, _, y2 in corners_of(boxes) * 160:
            band = grey[int(y1) : int(y2) + 1, max(0, int(x1) - 4) : int(x1) + 5]
            at_edges.append(np.abs(np.diff(band, axis=1)).max())
            x, y = rng.integers(4, 150, 2)
            band = grey[y : y + int(y2 - y1) + 1, x - 4 : x + 5]
            elsewhere.append(np.abs(np.diff(band, axis=1)).max())
    assert np.median(at_edges) > 1.3 * np.median(elsewhere)


def test_the_default_numbers_are_those_of_the_description():
    numbers = default_numbers()
    assert min(numbers.train, numbers.val, numbers.size) > 0
    assert numbers.size % 32 == 0
    assert numbers.train < 1_000_000, "the seeds of the splits are that far apart"


# --- the folder -----------------------------------------------------------------------------------------------------


def test_a_second_call_draws_nothing_anew(tmp_path):
    folder = tmp_path / "shapes"
    write_shapes(folder, TINY)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}
    assert write_shapes(folder, TINY) == folder / "shapes.data"
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")} == before
    assert [each.name for each in tmp_path.iterdir()] == ["shapes"]


def test_other_numbers_are_drawn_anew(tmp_path):
    folder = tmp_path / "shapes"
    write_shapes(folder, TINY)
    write_shapes(folder, Numbers(1, 2, 32))
    assert len(list(folder.glob("images/train/*"))) == 1
    assert len(list(folder.glob("images/val/*"))) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["shapes"]


@pytest.mark.parametrize("name", ["notes.txt", "images/train/mine.jpg", "shapes.data"])
def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path, name):
    folder = tmp_path / "shapes"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(DataError, match="holds something else") as error:
        write_shapes(folder, TINY)
    assert str(error.value).startswith(str(folder))
    assert contents(folder) == {name: b"mine"}
    assert [each.name for each in tmp_path.iterdir()] == ["shapes"]


def test_a_file_in_its_place_is_refused_and_left_alone(tmp_path):
    (tmp_path / "shapes").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        write_shapes(tmp_path / "shapes", TINY)
    assert (tmp_path / "shapes").read_text() == "mine"


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "shapes").mkdir()
    path = write_shapes(tmp_path / "shapes", TINY)
    assert len(read_image_list(read_data(path).train)) == 2


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written .*YOLO_SUBBATCH_CACHE"):
        write_shapes(tmp_path / "file" / "deep" / "shapes", TINY)


@pytest.mark.parametrize(("module", "name"), [(os, "rename"), (Path, "write_text"), (Path, "mkdir")])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, module, name):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, name, full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        write_shapes(tmp_path / "shapes", TINY)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_old_data_set(tmp_path, monkeypatch):
    folder = tmp_path / "shapes"
    write_shapes(folder, TINY)
    before = contents(folder)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError):
        write_shapes(folder, Numbers(1, 1, 32))
    monkeypatch.undo()
    assert contents(folder) == before
