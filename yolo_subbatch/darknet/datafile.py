"""Darknet's ``.data``, ``.names``, image lists and label files.

Source: darknet ``read_data_cfg`` in src/option_list.c, ``get_paths`` and ``fill_truth_detection`` in src/data.c.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_subbatch.darknet.textfile import (
    bare,
    columns_of,
    find_file,
    lines_of,
    number_of,
    read_text,
    without_comment,
)
from yolo_subbatch.errors import DataError

KNOWN_KEYS = ("classes", "train", "valid", "test", "names")
OTHER_KEYS = ("backup", "eval", "results", "labels", "map", "tree", "top", "difficult", "leaves", "map_points")
CLOSE = 0.8  # difflib ratio from which an unknown key counts as a typing mistake
_CHECKED: set[tuple[Path, int, int, int]] = set()  # label files found good, so that none is read twice
TOLERANCE = 1e-3  # labels written with few digits may pass 1 by a little


@dataclass(frozen=True)
class DataFile:
    """A parsed ``.data`` file, its paths resolved."""

    path: Path
    classes: int | None
    train: Path | None
    valid: Path | None
    test: Path | None
    names: tuple[str, ...]
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_data(path: str | Path) -> DataFile:
    """Read a Darknet ``.data`` file.

    Paths inside it are relative to the file, then to the working directory.

    Raises:
        DataError: If it or a file it names is missing or malformed.
    """
    file = Path(path)
    entries = _entries(file)
    unused = tuple(key for key in entries if key not in KNOWN_KEYS)
    for key in unused:
        near = difflib.get_close_matches(key.lower(), (*KNOWN_KEYS, *OTHER_KEYS), 1, CLOSE)
        if near and key not in OTHER_KEYS:
            raise DataError(f"{file}:{entries[key][1]}: unknown key {key}; did you mean {near[0]}?")
    warnings: list[str] = []
    classes = _classes(file, entries, warnings)
    lists = {key: _existing(file, key, entries, warnings) for key in ("train", "valid", "test")}
    names = _names(file, entries, classes, warnings)
    return DataFile(file, classes, lists["train"], lists["valid"], lists["test"], names, unused, tuple(warnings))


def read_options(path: str | Path) -> dict[str, str]:
    """Return every key of a ``.data`` file with its text; the files that it names need not be there.

    Raises:
        DataError: If it cannot be read or is malformed.
    """
    return {key: value for key, (value, _) in _entries(Path(path)).items()}


def read_data_names(path: str | Path) -> tuple[str, ...]:
    """Return the class names of a ``.data`` file, whose image lists need not be there.

    Raises:
        DataError: If it or the names are missing or malformed.
    """
    file, unsaid = Path(path), list[str]()
    entries = _entries(file)
    return _names(file, entries, _classes(file, entries, unsaid), unsaid)


def _entries(file: Path) -> dict[str, tuple[str, int]]:
    """Return each key with its value and line; the first of duplicates counts, as in Darknet."""
    entries: dict[str, tuple[str, int]] = {}
    for number, raw in enumerate(lines_of(read_text(file, "the data file", paths=True)), 1):
        line = bare(raw)
        if not line or line[0] in "#;":
            continue
        key, equals, value = (bare(part) for part in line.partition("="))
        if not equals or not key:
            raise DataError(
                f"{file}:{number}: '{line[:60]}' is no key = value line; write for example train = train.txt"
            )
        entries.setdefault(key, (value, number))
    return entries


def _classes(file: Path, entries: dict[str, tuple[str, int]], warnings: list[str]) -> int | None:
    if "classes" not in entries:
        return None
    given, line = entries["classes"]
    value = without_comment(given)
    if value != given:
        warnings.append(f"{file}:{line}: classes={given}: read as {value}; comments have lines of their own in Darknet")
    if not (value.isascii() and value.isdigit()) or int(value) < 1:
        raise DataError(f"{file}:{line}: classes={value}; give a whole number of at least 1")
    if len(value) > 6:  # what no file of names holds, but would be a list in memory
        raise DataError(f"{file}:{line}: classes={value[:20]}: more than a million; correct the number")
    return int(value)


def _existing(file: Path, key: str, entries: dict[str, tuple[str, int]], warnings: list[str]) -> Path | None:
    """Return the file that a key names, or None without the key."""
    if key not in entries:
        return None
    value, line = entries[key]
    found, name = find_file(value, file.parent), without_comment(value)
    if found is None and name not in ("", value):
        found = find_file(name, file.parent)
        if found is not None:
            warnings.append(f"{file}:{line}: {key}={value}: read as {name}; Darknet takes the comment for a name")
    if found is not None:
        return found
    tried = " and ".join(dict.fromkeys(map(str, (file.parent / value, Path(value)))))
    raise DataError(f"{file}:{line}: {key}={value}: no such file (tried {tried}); correct the path")


def _names(
    file: Path, entries: dict[str, tuple[str, int]], classes: int | None, warnings: list[str]
) -> tuple[str, ...]:
    source = _existing(file, "names", entries, warnings)
    if source is None:
        if classes is None:
            raise DataError(f"{file}: neither names nor classes; add a line names = obj.names")
        return tuple(f"class{index}" for index in range(classes))
    names = read_names(source)
    if classes is None:
        return names
    if len(names) < classes:
        raise DataError(f"{source}: {len(names)} names for classes={classes} of {file}; add the missing names")
    return names[:classes]


def read_names(path: str | Path) -> tuple[str, ...]:
    """Read class names, one a line; blank lines at the end do not count.

    Raises:
        DataError: If the file cannot be read or holds no name.
    """
    lines = [bare(line) for line in lines_of(read_text(Path(path), "the class names"))]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path}: no class names in it; write one name a line")
    return tuple(lines)


def read_image_list(path: str | Path) -> list[Path]:
    """Read a list of images, one path a line, relative to the list's folder, then to the working directory.

    Raises:
        DataError: If the list cannot be read, is empty, or names images that do not exist.
    """
    file = Path(path)
    images: list[Path] = []
    missing: list[tuple[int, str]] = []
    for number, raw in enumerate(lines_of(read_text(file, "the image list", paths=True)), 1):
        if not bare(raw):
            continue
        found = find_file(raw, file.parent)
        if found is None:
            missing.append((number, bare(raw)))
        else:
            images.append(found)
    if missing:
        number, entry = missing[0]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{file}:{number}: image {entry}{more} not found; "
            f"paths are relative to {file.parent} or the working directory"
        )
    if not images:
        raise DataError(f"{file}: the list is empty; write one image path a line")
    return images


def label_places(image: Path) -> list[Path]:
    """Return where the label file of an image may be: Ultralytics' place, pjreddie's, beside the image."""
    text = str(image)
    places = []
    if "/images/" in text:
        places.append(Path("/labels/".join(text.rsplit("/images/", 1))).with_suffix(".txt"))
    theirs = text
    for folder in ("images", "JPEGImages", "raw"):
        theirs = theirs.replace(folder, "labels", 1)
    places += [Path(theirs).with_suffix(".txt"), image.with_suffix(".txt")]
    return list(dict.fromkeys(places))


def label_path(image: Path) -> Path:
    """Return the label file of an image: the first place that exists, otherwise the first place."""
    places = label_places(image)
    return next((place for place in places if place.is_file()), places[0])


def find_labels(images: Sequence[Path], missing: str = "error") -> list[Path]:
    """Return the label file of every image.

    Args:
        images: The images.
        missing: ``error``: every image needs a label file, as in Darknet; ``background``: one without is background, as
            in Ultralytics, but at least one image needs one.

    Raises:
        DataError: If labels are missing that must be there.
    """
    labels = [label_path(image) for image in images]
    absent = [image for image, label in zip(images, labels, strict=True) if not label.is_file()]
    if absent and (missing == "error" or len(absent) == len(images)):
        tried = ", ".join(map(str, label_places(absent[0])))
        more = f" and {len(absent) - 1} other images" if len(absent) > 1 else ""
        raise DataError(
            f"{absent[0]}{more}: no label file (tried {tried}); write one, empty for an image without objects"
        )
    return labels


def check_labels(labels: Iterable[Path], classes: int, names_source: str) -> None:
    """Check the content of label files.

    Raises:
        DataError: ``file:line`` for the first line that is no label or names a class that does not exist.
    """
    for label in labels:
        if not label.is_file():
            continue
        state = label.stat()
        mark = (label.absolute(), state.st_mtime_ns, state.st_size, classes)
        if mark in _CHECKED:
            continue
        for number, line in enumerate(lines_of(read_text(label, "the labels")), 1):
            if bare(line):
                fault = _label_fault(columns_of(line), classes, names_source)
                if fault:
                    raise DataError(f"{label}:{number}: {fault}")
        _CHECKED.add(mark)


def _label_fault(columns: list[str], classes: int, names_source: str) -> str | None:
    polygon = len(columns) >= 7 and len(columns) % 2 == 1
    if len(columns) != 5 and not polygon:
        return f"{len(columns)} columns; write class, centre x, centre y, width, height"
    try:
        values = [number_of(column) for column in columns]
    except ValueError:
        return f"'{' '.join(columns)[:60]}' is not all numbers; write class, centre x, centre y, width, height"
    if not values[0].is_integer() or not 0 <= values[0] < classes:
        known = f"{names_source} has {classes} classes (0 to {classes - 1})"
        return f"class {columns[0]}, but {known}; correct the label or the names"
    if not all(math.isfinite(value) and 0 <= value <= 1 + TOLERANCE for value in values[1:]):
        return f"coordinates {' '.join(columns[1:])[:60]}; give them as fractions of the image, from 0 to 1"
    return None
