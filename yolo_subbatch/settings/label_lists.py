"""Images without a label file, and label files that are wrong: what becomes of them, and the lists that name them.

Source: AlexeyAB/darknet ``read_boxes`` and ``fill_truth_detection`` in src/data.c, which note them in ``bad.list`` and
``bad_label.list``; pjreddie's ``read_boxes`` ends the program where a label file is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_subbatch.darknet.datafile import find_labels
from yolo_subbatch.darknet.textfile import lines_of, read_text
from yolo_subbatch.errors import DataError, LabelsError
from yolo_subbatch.settings.find import short_path

LIST = "bad_labels.list"
MARK = "# written by yolo-subbatch"  # the first line of a list in the working directory
WHAT = {"background": "count as images without objects", "skip": "are left out"}


@dataclass(frozen=True)
class MissingLabels:
    """What an image without a label file is: as the user asked, or as the Darknet of the flavour has it.

    ``flavour`` is None where it is not known yet; nothing is refused then.
    """

    asked: str | None = None
    flavour: str | None = "pjreddie"

    def action(self, measuring: bool) -> str:
        """Return ``error``, ``background`` or ``skip``.

        With flavour alexeyab such an image is left out of what is learnt, where his Darknet names it and takes it for
        one without objects: more often than not its label is lost. Measuring, every box in it is wrong, as there.
        """
        if self.asked is not None:
            return self.asked
        if self.flavour == "pjreddie":
            return "error"
        return "background" if measuring else "skip"

    @property
    def reason(self) -> str:
        """Why it is that."""
        return f"missing_labels={self.asked}" if self.asked else f"flavour {self.flavour}; missing_labels= changes that"


@dataclass(frozen=True)
class Labelled:
    """Images that are used and their label files; ``absent`` are the images without one."""

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    absent: tuple[Path, ...] = ()

    def line(self, where: str, missing: MissingLabels, measuring: bool) -> str:
        """Say how many images have no label file, and what becomes of them."""
        action = missing.action(measuring)
        total = len(self.images) + (len(self.absent) if action == "skip" else 0)
        return f"{where}: {len(self.absent)} of {total} images have no label file and {WHAT[action]} ({missing.reason})"


def labelled(images: Sequence[Path], missing: MissingLabels, measuring: bool) -> Labelled:
    """Find the labels of images.

    Raises:
        DataError: If label files are missing that must be there.
    """
    action = missing.action(measuring)
    labels = find_labels(images, action)
    pairs = list(zip(images, labels, strict=True))
    absent = tuple(image for image, label in pairs if not label.is_file())
    if absent and action == "skip":
        pairs = [(image, label) for image, label in pairs if label.is_file()]
    return Labelled(tuple(image for image, _ in pairs), tuple(label for _, label in pairs), absent)


def write_names(place: Path, images: Iterable[Path]) -> str:
    """Add the names of images without label files to the list in a run's folder; return what to say of it."""
    file = place / LIST
    before = set(lines_of(read_text(file, "the missing labels", paths=True))) if file.is_file() else set()
    with file.open("ab") as stream:
        stream.writelines(os.fsencode(image) + b"\n" for image in images if str(image) not in before)
    return f"their names are in {short_path(file)}"


def write_list(lines: Sequence[str]) -> str:
    """Write a list into the working directory, where Darknet has its own; return what to say of it.

    One of before that this program wrote is replaced; any other file of that name is left alone.
    """
    number = 1
    while not _ours(file := Path(LIST if number == 1 else LIST.replace(".", f"{number}."))):
        number += 1
    replaced = file.is_file()
    try:
        file.write_bytes("\n".join([MARK, *lines, ""]).encode(errors="surrogateescape"))
    except OSError as error:
        return f"{file} cannot be written here ({error.strerror})"
    return f"all are in {file}" + (", which is replaced" if replaced else "")


def _ours(file: Path) -> bool:
    """Tell whether a name is free, or that of an older list."""
    if not file.exists():
        return True
    try:
        with file.open("rb") as stream:
            return stream.readline().rstrip() == MARK.encode()
    except OSError:  # a folder, or one that may not be read
        return False


def with_list(errors: Sequence[LabelsError]) -> DataError:
    """Return one error for the faults of several sets of label files, whose every line is written to a list."""
    faults = tuple(dict.fromkeys(fault for error in errors for fault in error.faults))
    lines = list(dict.fromkeys(line for error in errors for line in str(error).splitlines()))
    if len(faults) == 1:
        return DataError(lines[0])
    return DataError("\n".join([*lines[:2], f"{len(faults)} faults in the labels; {write_list(faults)}"]))
