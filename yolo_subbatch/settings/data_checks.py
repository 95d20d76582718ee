"""Checks of a data description and of everything that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from yolo_subbatch.darknet.datafile import DataFile, check_labels, read_data, read_data_names, read_image_list
from yolo_subbatch.darknet.pictures import check_pictures, is_picture
from yolo_subbatch.darknet.regular_files import has_content
from yolo_subbatch.errors import DataError, LabelsError, SettingsError
from yolo_subbatch.settings.checks import Problem, attempt, error, warning
from yolo_subbatch.settings.find import YAML, find_data
from yolo_subbatch.settings.host_files import datasets_folder
from yolo_subbatch.settings.label_lists import MissingLabels, labelled, with_list
from yolo_subbatch.settings.safe_reading import MOST_DESCRIBED, read_small
from yolo_subbatch.settings.trust import current, download_fault

#: Endings of the pictures and videos that Ultralytics reads.
IMAGES = frozenset({
    ".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp",
})  # fmt: skip
VIDEOS = frozenset({
    ".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv",
})  # fmt: skip
#: Endings of what stands beside pictures and is none.
LISTS = frozenset({".txt", ".list"})  # of images, as a source
OTHERS = frozenset({".txt", ".json", ".xml", ".csv", ".yaml", ".yml", ".npy", ".cache", ".data", ".names", ".md"})
OF_DETECTOR = frozenset({"backup", "eval", "results"})  # keys of a .data file that Darknet's own commands use
MOST_NUMBERS = 8  # of classes in a message
MOST_CLASSES = 1_000_000
KEYS = {"train": "train", "val": "valid", "test": "test"}  # a split's key in a .data file


def check_data(
    data: str | None, splits: Sequence[str] = ("train", "val"), labels: bool = True,
    missing: MissingLabels | None = None, training: bool = False,
) -> list[Problem]:  # fmt: skip
    """Check the images and labels of some splits.

    Args:
        data: As the user gives it; the built-in data set has no problems.
        splits: ``train``, ``val``, ``test``.
        labels: Read the label files too, which takes about a second for ten thousand images.
        missing: What an image without a label file is; an error with a ``.data`` file, otherwise background.
        training: The images of ``train`` are learnt from; those of any other split are measured on.
    """
    problems: list[Problem] = []
    path = attempt("data", problems, lambda: find_data(data))
    if path is None:
        return problems
    wrong: list[LabelsError] = []
    check = _check_yaml if path.suffix in YAML else _check_darknet
    look = LabelCheck(missing or usual_missing(path), labels, training)

    def check_split(split: str) -> None:
        try:
            check(path, split, look)
        except LabelsError as faults:
            wrong.append(faults)

    attempt("data", problems, lambda: _check_description(path, problems))
    if any(problem.level == "error" for problem in problems):
        return problems
    for split in splits:
        if split not in KEYS:
            problems.append(error("split", f"split={split}: unknown; use one of {', '.join(KEYS)}"))
            continue
        attempt("data", problems, partial(check_split, split))
    if wrong:
        problems.append(error("data", str(with_list(wrong))))
    return problems


@dataclass(frozen=True)
class LabelCheck:
    """How labels are looked at; see :func:`check_data`."""

    missing: MissingLabels
    content: bool
    training: bool

    def __call__(self, images: Sequence[Path], split: str, classes: int, source: Path) -> None:
        """Check that label files are there and what they hold."""
        if self.content:
            found = labelled(images, self.missing, measuring=not self.training or split != "train")
            check_labels(found.labels, classes, str(source))


def usual_missing(path: Path) -> MissingLabels:
    """Return what images without labels are where nothing but the data description is known."""
    return MissingLabels("background" if path.suffix in YAML else None)


def _check_description(path: Path, problems: list[Problem]) -> None:
    if path.suffix in YAML:
        document = read_yaml(path)
        check_kinds(path, document)
        class_count(path, document)
        return
    file = read_data(path, needed=())
    problems += [warning("data", text) for text in file.warnings]
    unused = [key for key in file.unused if key not in OF_DETECTOR]
    if unused:
        problems.append(warning("data", f"{path}: not used: {', '.join(unused)}"))


def _check_darknet(path: Path, split: str, look: LabelCheck) -> None:
    file = read_data(path, needed=(KEYS[split],))
    source = _list_of(file, KEYS[split])
    images = read_image_list(source)
    check_pictures(images, source)
    look(images, split, len(file.names), path)


def _check_yaml(path: Path, split: str, look: LabelCheck) -> None:
    document = read_yaml(path)
    images = yaml_images(path, document, split)
    if images:
        look(images, split, class_count(path, document), path)


def split_images(path: Path, split: str) -> list[Path]:
    """Return the images of a split; none where only Ultralytics knows where they are.

    Raises:
        DataError: If the split or something that it names is missing.
    """
    if path.suffix in YAML:
        return yaml_images(path, read_yaml(path), split)
    return read_image_list(_list_of(read_data(path, needed=(KEYS[split],)), KEYS[split]))


def data_names(path: Path) -> list[str]:
    """Return the class names of a data description.

    Raises:
        YoloSubbatchError: If it has none, or cannot be read.
    """
    if path.suffix not in YAML:
        return list(read_data_names(path))
    document = read_yaml(path)
    count, names = class_count(path, document), document.get("names")
    found = names if isinstance(names, dict) else dict(enumerate(names or ()))
    return [str(found.get(index, f"class{index}")) for index in range(count)]


def _list_of(file: DataFile, key: str) -> Path:
    source: Path | None = getattr(file, key)
    if source is None:
        raise DataError(f"{file.path}: no '{key}' list; add a line {key} = {key}.txt")
    return source


def read_yaml(path: Path) -> dict[str, Any]:
    """Read an Ultralytics data description.

    Raises:
        SettingsError: If it is no YAML with keys.
    """
    if path.is_file() and not has_content(path):
        raise SettingsError(f"{path}: the file is empty; give train, val and names")
    try:
        document = yaml.safe_load(read_small(path, MOST_DESCRIBED).decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as fault:
        line = getattr(getattr(fault, "problem_mark", None), "line", None)
        place = path if line is None else f"{path}:{line + 1}"
        raise SettingsError(f"{place}: not valid YAML; correct the file") from fault
    except OSError as fault:
        raise SettingsError(f"{path}: cannot be read ({fault.strerror}); check the path of the data") from fault
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: no keys in it; give train, val and names")
    return document


def check_kinds(path: Path, document: Mapping[str, Any]) -> None:
    """Refuse values of an Ultralytics data description that are neither texts nor lists where it takes these alone.

    Raises:
        SettingsError: With all of them.
    """
    wanted = {"path": (str,), **dict.fromkeys((*KEYS, "validation"), (str, list)), "names": (list, dict)}
    words = {str: "a text", list: "a list", dict: "names by their numbers"}
    faults = [
        f"{path}: {key}: {document[key]}: not of the right kind; give {' or '.join(words[kind] for kind in kinds)}"
        for key, kinds in wanted.items()
        if document.get(key) is not None and not isinstance(document[key], kinds)
    ]
    if faults:
        raise SettingsError("\n".join(faults))


def class_count(path: Path, document: Mapping[str, Any]) -> int:
    """Return the number of classes of an Ultralytics data description.

    Raises:
        SettingsError: If it has neither names nor their number, or the two disagree.
    """
    names, count = document.get("names"), document.get("nc")
    if isinstance(names, (list, dict)) and names:
        if isinstance(count, int) and count != len(names):
            raise SettingsError(f"{path}: {len(names)} names for nc: {count}; correct one of them")
        if isinstance(names, dict) and {str(key) for key in names} != set(map(str, range(len(names)))):
            found = f"names: numbered {', '.join(map(str, list(names)[:MOST_NUMBERS]))}"
            raise SettingsError(f"{path}: {found}; number the {len(names)} classes from 0 to {len(names) - 1}")
        return len(names)
    if isinstance(count, int) and count > MOST_CLASSES:  # what no file of names holds, but would be a list in memory
        raise SettingsError(f"{path}: nc: {str(count)[:20]}: more than a million; correct the number")
    if isinstance(count, int) and count > 0 and not isinstance(count, bool):
        return count
    raise SettingsError(f"{path}: no class names; add names: with one name a class")


def yaml_images(path: Path, document: Mapping[str, Any], split: str) -> list[Path]:
    """Return the images of a split; none where Ultralytics would look elsewhere or download them.

    Raises:
        DataError: If the split or something that it names is missing.
    """
    if not (document.get(split) or (split == "val" and document.get("validation"))):
        raise DataError(f"{path}: no '{split}' images; add {split}: with a folder or a list of images")
    places = split_places(path, document, split)
    if document.get("download") and not all(place.exists() for place in places):
        fault = download_fault(path, document)
        if fault is not None and current() is not False:
            raise fault
        return []
    return [image for place in places for image in _images_of(path, split, place)]


def split_places(path: Path, document: Mapping[str, Any], split: str) -> list[Path]:
    """Return the folders and lists that a split names; none where only Ultralytics knows where they are.

    Raises:
        DataError: If there is no folder that they are in.
    """
    given = document.get(split) or (document.get("validation") if split == "val" else None)
    base = images_base(path, document) if given else None
    entries = given if isinstance(given, list) else [given]
    return [] if base is None else [_place(base, str(each)) for each in entries]


def images_base(path: Path, document: Mapping[str, Any]) -> Path | None:
    """Return the folder that the images of an Ultralytics data description are in; None where only Ultralytics knows.

    Raises:
        DataError: If there is no such folder.
    """
    base = Path(str(document["path"])) if document.get("path") else path.parent
    if base.exists() or base.is_absolute():
        return base
    theirs = datasets_folder()  # where Ultralytics looks then
    if theirs is None:
        return None
    if not (theirs / base).exists() and not document.get("download"):
        found = f"path: {document['path']}: no such folder, neither here nor in {theirs}"
        raise DataError(f"{path}: {found}; correct it, or leave it out for paths relative to the file")
    return theirs / base


def _place(base: Path, entry: str) -> Path:
    place = base / entry
    # Ultralytics' own leniency: descriptions written for a neighbouring folder.
    return base / entry[3:] if not place.exists() and entry.startswith("../") else place


def _images_of(path: Path, split: str, place: Path) -> list[Path]:
    if place.is_file():
        return read_image_list(place)
    if not place.is_dir():
        raise DataError(f"{path}: {split}: {place} does not exist; correct the path")
    images = pictures_in(place, deep=True)
    if not images:
        raise DataError(f"{path}: {split}: no image in {place}; correct the path")
    return images


def is_camera(source: str) -> bool:
    """Tell whether a source is the number of a camera."""
    return source.isascii() and source.isdecimal()


def pictures_in(folder: Path, deep: bool = False, also: frozenset[str] = frozenset()) -> list[Path]:
    """Return the pictures in a folder, sorted: files whose name says so, and others whose content does.

    Args:
        folder: The folder; names that begin with a dot are left out.
        deep: Folders in it too.
        also: Endings of other files that are wanted.
    """
    files = folder.rglob("*") if deep else folder.iterdir()
    return sorted(file for file in files if _is_wanted(file, folder, also))


def _is_wanted(file: Path, folder: Path, also: frozenset[str]) -> bool:
    ending = file.suffix.lower()
    if any(part.startswith(".") for part in file.relative_to(folder).parts) or ending in OTHERS:
        return False
    return (ending in IMAGES | also or is_picture(file)) and file.is_file()
