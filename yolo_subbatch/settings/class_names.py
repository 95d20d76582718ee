"""The names of a network's classes: those of the data, or the well-known ones where nobody gives any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.data_checks import data_names
from yolo_subbatch.settings.find import find_data
from yolo_subbatch.settings.host_files import find_dataset

#: Data sets that published weights are of, by the number of their classes, in the order of their numbers.
PUBLISHED = {80: ("COCO", "coco.yaml"), 20: ("PASCAL VOC", "VOC.yaml")}


@dataclass(frozen=True)
class ClassNames:
    """Names, one a class; ``note`` says where they come from if nobody gave them."""

    names: tuple[str, ...]
    note: str = ""


def class_names(data: str | None, classes: int) -> ClassNames:
    """Return the names of a network's classes.

    Args:
        data: A data description, or None where none is given.
        classes: How many the network has.

    Raises:
        YoloSubbatchError: If the description cannot be read.
        SettingsError: If it has another number of classes.
    """
    if not data:
        return _usual(classes)
    names = tuple(data_names(find_data(data) or Path(data)))
    if len(names) != classes:
        raise SettingsError(
            f"{data}: {len(names)} classes, but the network has {classes}; give the data it was trained for"
        )
    return ClassNames(names)


def _usual(classes: int) -> ClassNames:
    known, file = PUBLISHED.get(classes, ("", ""))
    path = find_dataset(file) if file else None
    if path is None:
        return ClassNames(tuple(f"class{index}" for index in range(classes)))
    return ClassNames(tuple(data_names(path)), f"no data= given: the {classes} classes are called as those of {known}")


def describe_classes(data: str, cfg: Cfg) -> str:
    """Say which classes a data description has, and whether the heads of a cfg have as many.

    Raises:
        YoloSubbatchError: If the description cannot be read.
    """
    names = data_names(find_data(data) or Path(data))
    own = sorted({head.classes for head in cfg.heads})
    line = f"classes of {data}: {', '.join(f'{index} {name}' for index, name in enumerate(names))}"
    if own == [len(names)]:
        return line
    if len(own) > 1:
        return f"{line}\nthe heads have {', '.join(map(str, own))} classes; give all of them the same number"
    return f"{line}\nthe heads have {own[0]} classes; training rebuilds them for {len(names)}"


def is_unnamed(names: dict[int, str]) -> bool:
    """Tell whether classes have no names but their numbers."""
    return all(name == f"class{index}" for index, name in names.items())
