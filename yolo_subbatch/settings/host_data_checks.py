"""Checks of the data of networks of Ultralytics: a description, or a folder of a classifier, and what is in them.

What only Ultralytics can find (its own data sets, archives, addresses) is left to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from yolo_subbatch.darknet.textfile import read_text
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings.checks import Problem, attempt, error, warning
from yolo_subbatch.settings.data_checks import check_data, check_kinds, class_count, pictures_in, read_yaml, yaml_images
from yolo_subbatch.settings.find import YAML, beside, find_data, is_built_in
from yolo_subbatch.settings.label_lists import MissingLabels, labelled

#: Folders of a classifier's data, the first that is there; Ultralytics knows three names for the validation.
SPLITS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}
ELSEWHERE = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".txz", ".tbz2", ".ndjson")  # Ultralytics unpacks them
BOXES = frozenset({"detect", "segment", "pose", "obb"})  # tasks whose labels are lines of numbers
TOLERANCE = 0.01  # by which Ultralytics lets a coordinate leave the image


def check_host_data(
    data: str | None, task: str | None, splits: Sequence[str], labels: bool = True, training: bool = False,
    missing: MissingLabels | None = None,
) -> list[Problem]:  # fmt: skip
    """Check the images and labels of some splits.

    Args:
        data: As the user gives it.
        task: Ultralytics' name of what the network does; None where that is not known.
        splits: ``train``, ``val``, ``test``.
        labels: Read the label files too.
        training: Ultralytics may divide a classifier's images itself.
        missing: What an image without a label file is.
    """
    problems: list[Problem] = []
    if task is None:
        return problems
    if is_built_in(data):
        if task != "detect":
            text = f"data: a network for {task} needs more than the boxes of the built-in data set; give data="
            problems.append(error("data", text))
    elif task == "classify":
        attempt("data", problems, lambda: _check_folder(str(data), splits, training))
    elif not _left_to_host(str(data)):
        path = attempt("data", problems, lambda: find_data(data))
        if path is not None and path.suffix in YAML:
            attempt("data", problems, lambda: _check_yaml(path, task, splits, labels, problems, missing))
        elif path is not None and task in {"detect", "segment"}:
            problems += check_data(data, splits, labels, missing, training)
        elif path is not None:
            text = f"data={data}: says nothing of what a network for {task} learns; give a .yaml of Ultralytics"
            problems.append(error("data", text))
    return problems


def _left_to_host(data: str) -> bool:
    return "://" in data or data.lower().endswith(ELSEWHERE)


def _check_folder(data: str, splits: Sequence[str], training: bool) -> None:
    """Check the folder of a classifier: a folder a split, and in it a folder with images a class."""
    path = Path(data)
    if path.is_file() and not _left_to_host(data):
        raise DataError(
            f"data={data}: a classifier's data is a folder, with train/ and val/, each with a folder a class"
        )
    if not path.is_dir():
        if path.parent == Path() and not beside(path) and not path.suffix:
            return  # the name of a data set that Ultralytics downloads
        if not _left_to_host(data):
            raise DataError(f"data={data}: no such folder; give the one that holds train/ and val/")
        return
    if training and not (path / "train").is_dir():
        return
    for split in splits:
        place = next((path / name for name in SPLITS.get(split, ()) if (path / name).is_dir()), None)
        if place is None:
            there = ", ".join(name for name in SPLITS if any((path / each).is_dir() for each in SPLITS[name]))
            raise DataError(
                f"data={data}: no folder {split} in it; add it, or give one of {there or 'another data set'}"
            )
        kinds = [each for each in place.iterdir() if each.is_dir()]
        if not any(pictures_in(kind, deep=True) for kind in kinds):
            raise DataError(f"data={data}: no image in a folder of a class in {place}; put a class's images into one")


def _check_yaml(
    path: Path, task: str, splits: Sequence[str], labels: bool, problems: list[Problem], missing: MissingLabels | None
) -> None:
    document = read_yaml(path)
    check_kinds(path, document)
    classes = class_count(path, document)
    columns = _keypoint_columns(path, document) if task == "pose" else (0, 0)
    for split in splits:
        images = attempt("data", problems, partial(yaml_images, path, document, split))
        if images and labels and task in BOXES:
            found = partial(labelled, images, missing or MissingLabels("background"), split != "train")
            there = attempt("data", problems, found)
            if there is None:
                continue
            check = partial(_check_labels, there.labels, split, task, classes, columns, problems)
            attempt("data", problems, check)


def _keypoint_columns(path: Path, document: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many keypoints an object has, and how many numbers each of them."""
    shape = document.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape):
        count, each = shape
        if count > 0 and each in {2, 3}:
            return count, each
    found = "no kpt_shape" if shape is None else f"kpt_shape: {shape}"
    raise DataError(f"{path}: {found}; give the number of keypoints and of their numbers, such as kpt_shape: [17, 3]")


def _check_labels(
    every: Sequence[Path], split: str, task: str, classes: int, columns: tuple[int, int], problems: list[Problem]
) -> None:
    """Check the labels of a split; where some are unusable the user shall know that Ultralytics leaves images out.

    Raises:
        DataError: If there are none, or all of them are unusable.
    """
    labels = [label for label in every if label.is_file()]
    faults = [fault for label in labels if (fault := _first_fault(label, task, classes, columns))]
    if faults and len(faults) == len(labels):
        more = f" (and so in all {len(faults)} label files of {split})" if len(faults) > 1 else ""
        raise DataError(faults[0] + more)
    if faults:
        found = f"{faults[0]}: {len(faults)} of {len(labels)} label files of {split} are unusable"
        problems.append(warning("data", f"{found}, and Ultralytics leaves their images out"))


def _first_fault(label: Path, task: str, classes: int, keypoints: tuple[int, int]) -> str | None:
    try:
        lines = read_text(label, "the labels").replace("\r", "\n").split("\n")
    except DataError as error:
        return str(error)
    for number, line in enumerate(lines, 1):
        fault = task_label_fault(line.split(), task, classes, keypoints) if line.strip() else None
        if fault:
            return f"{label}:{number}: {fault}"
    return None


def task_label_fault(values: Sequence[str], task: str, classes: int, keypoints: tuple[int, int] = (0, 0)) -> str | None:
    """Return what Ultralytics finds wrong with a line of a label file for one of its tasks, or None.

    ``darknet.label_faults`` judges the labels of Darknet networks, more strictly: Darknet reads boxes alone, and trains
    on what Ultralytics leaves out.

    Args:
        values: Its columns.
        task: ``detect``, ``segment``, ``pose`` or ``obb``.
        classes: How many classes there are.
        keypoints: How many an object has, and how many numbers each of them: two, or three with how visible it is.
    """
    wanted, what = _columns(task, keypoints)
    outline = task in {"detect", "segment"} and len(values) >= 7 and len(values) % 2 == 1
    if len(values) != wanted and not outline:
        return f"{len(values)} columns; write {what}"
    try:
        numbers = [float(each) for each in values]
    except ValueError:
        return f"'{' '.join(values)[:60]}' is not all numbers; write {what}"
    if not numbers[0].is_integer() or not 0 <= numbers[0] < classes:
        return (
            f"class {values[0]}, but there are {classes} classes (0 to {classes - 1}); correct the label or the names"
        )
    places = numbers[1:]
    if task == "pose":
        places = numbers[1:5] + [number for index, number in enumerate(numbers[5:]) if index % keypoints[1] < 2]
    if not all(-TOLERANCE <= number <= 1 + TOLERANCE for number in places):
        return f"coordinates {' '.join(values[1:])[:60]}; give them as fractions of the image, from 0 to 1"
    return None


def _columns(task: str, keypoints: tuple[int, int]) -> tuple[int, str]:
    """Return how many columns a label has, and what they are."""
    box = "class, centre x, centre y, width, height"
    if task == "pose":
        count, each = keypoints
        return 5 + count * each, f"{box}, and {'x, y, visible' if each == 3 else 'x, y'} of {count} keypoints"
    if task == "obb":
        return 9, "class, and x, y of four corners"
    return 5, "class, and x, y of an outline" if task == "segment" else box
