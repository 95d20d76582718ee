"""Darknet's ``.data``, ``.names``, image lists and label files.

Source: darknet ``read_data_cfg`` in src/option_list.c, ``get_paths`` and ``fill_truth_detection`` in src/data.c.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_subbatch.darknet.label_faults import label_fault, summary
from yolo_subbatch.darknet.textfile import (
    LONGEST_SHOWN,
    bare,
    find_file,
    find_folder,
    is_folder,
    lines_of,
    read_lines,
    read_text,
    shorten,
    without_comment,
)
from yolo_subbatch.errors import DataError, LabelsError

KNOWN_KEYS = ("classes", "train", "valid", "test", "names")
OTHER_KEYS = ("backup", "eval", "results", "labels", "map", "tree", "top", "difficult", "leaves", "map_points")
CLOSE = 0.8  # difflib ratio from which an unknown key counts as a typing mistake
_CHECKED: set[tuple[Path, int, int, int]] = set()  # label files found good, so that none is read twice
LISTS = ("train", "valid", "test")


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


def read_data(path: str | Path, needed: Sequence[str] = LISTS) -> DataFile:
    """Read a Darknet ``.data`` file.

    Paths inside it are relative to the file, then to the working directory.

    Args:
        path: The file.
        needed: The image lists that must be there if they are named; another is None where it is not.

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
    lists = {key: _existing(file, key, entries, warnings, key in needed) for key in LISTS}
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


def _existing(
    file: Path, key: str, entries: dict[str, tuple[str, int]], warnings: list[str], needed: bool = True
) -> Path | None:
    """Return the file that a key names, or None without the key."""
    if key not in entries:
        return None
    value, line = entries[key]
    found, name = find_file(value, file.parent), without_comment(value, name=True)
    if found is None and name not in ("", value):
        found = find_file(name, file.parent)
        if found is not None:
            warnings.append(f"{file}:{line}: {key}={value}: read as {name}; Darknet takes the comment for a name")
    if found is not None or not needed:
        return found
    if not value:
        raise DataError(f"{file}:{line}: {key}= names no file; write one behind it, or leave the line out")
    if is_folder(find_folder(value, file.parent, Path())):
        entry = "class name" if key == "names" else "image path"
        raise DataError(f"{file}:{line}: {key}={value}: this is a folder; give a text file with one {entry} a line")
    value = shorten(value, LONGEST_SHOWN)
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
    if len(names) > classes:
        warnings.append(
            f"{source}: {len(names)} names, but classes={classes} in {file}: those behind them are not used"
        )
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
    for number, raw in enumerate(read_lines(file, "the image list"), 1):
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
    """Return the label file of every image, or where it would be.

    Args:
        images: The images.
        missing: What an image without one is: an ``error``, as in pjreddie's Darknet, ``background``, as in
            Ultralytics, or one to ``skip``. At least one image needs a label file anyway.

    Raises:
        DataError: If labels are missing that must be there, or would be there if their names ended in small letters.
    """
    labels = [label_path(image) for image in images]
    absent = [image for image, label in zip(images, labels, strict=True) if not label.is_file()]
    _refuse_capitals(absent)
    if not absent or (missing != "error" and len(absent) < len(images)):
        return labels
    tried = ", ".join(map(str, label_places(absent[0])))
    more = f" and {len(absent) - 1} other image{'s' if len(absent) > 2 else ''}" if len(absent) > 1 else ""
    found = f"{absent[0]}{more}: no label file (tried {tried})"
    if len(absent) == len(images):
        raise DataError(f"{found}; not one image has one: put the folder of the labels there")
    advice = "write one, empty for an image without objects, or give missing_labels=skip or background"
    raise DataError(f"{found}; {advice}")


def _refuse_capitals(absent: Sequence[Path]) -> None:
    """Refuse labels that end in ``.TXT``: where a file system tells it from ``.txt``, no Darknet finds them."""
    capitals = (place.with_suffix(".TXT") for image in absent for place in label_places(image))
    found = [place for place in dict.fromkeys(capitals) if place.is_file()]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}: label files end in .txt, in small letters; rename them")


def check_labels(labels: Iterable[Path], classes: int, names_source: str) -> None:
    """Check the content of label files.

    Raises:
        LabelsError: With every line that is no label or names a class that does not exist; its text has the first of
            each kind.
    """
    faults: list[tuple[str, str, str]] = []  # place, what was found, what to do
    for label in dict.fromkeys(labels):
        if not label.is_file():
            continue
        state = label.stat()
        mark = (label.absolute(), state.st_mtime_ns, state.st_size, classes)
        if mark in _CHECKED:
            continue
        before = len(faults)
        for number, line in enumerate(lines_of(read_text(label, "the labels")), 1):
            fault = label_fault(line, classes, names_source)
            if fault is not None:
                faults.append((f"{label}:{number}", *fault))
        if len(faults) == before:
            _CHECKED.add(mark)
    if faults:
        raise LabelsError(summary(faults), tuple(f"{place}: {found}; {advice}" for place, found, advice in faults))
