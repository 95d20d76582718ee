"""The files that commands write: nothing that is there is lost.

Every command hands all files that it is going to write to :func:`check_outputs` before it begins, and writes them with
:func:`write_output`, or marks what another library has written with :func:`.marks.mark`. A result replaces a regular
file that this program wrote before, see :mod:`.marks`; any other file only with ``overwrite=True``; a file that the
command reads, a device, a pipe or a socket never.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yolo_subbatch.darknet.datafile import label_path, read_image_list, read_options
from yolo_subbatch.darknet.textfile import find_file
from yolo_subbatch.errors import MachineError, YoloSubbatchError
from yolo_subbatch.settings.checks import Problem, error
from yolo_subbatch.settings.data_checks import KEYS, LISTS, VIDEOS, pictures_in, read_yaml, split_images, split_places
from yolo_subbatch.settings.file_marks import is_ours
from yolo_subbatch.settings.find import YAML, find_cfg, find_data
from yolo_subbatch.settings.whole_files import write_whole

SPECIAL = (
    (stat.S_ISDIR, "this is a folder; give the name of a file"),
    (stat.S_ISCHR, "this is a device, to which no result is written; give the name of a file"),
    (stat.S_ISBLK, "this is a device, to which no result is written; give the name of a file"),
    (stat.S_ISFIFO, "this is a pipe, to which no result is written; give the name of a file"),
    (stat.S_ISSOCK, "this is a socket, to which no result is written; give the name of a file"),
)
PICTURES = ("picture", "video")  # kinds of results that may be among the images of a next command


@dataclass(frozen=True)
class Output:
    """A file that is going to be written.

    ``key`` names the setting or the flag, ``kind`` says what it will hold, a key of ``marks.KNOWN``. ``shown`` stands
    before a message: ``json=a.json``, or what the user typed otherwise.
    """

    key: str
    file: Path
    kind: str
    shown: str = ""

    @property
    def place(self) -> str:
        """How a message about it begins."""
        return self.shown or f"{self.key}={self.file}"


@dataclass(frozen=True)
class Input:
    """A file that is going to be read, and what the user knows it as: ``model=best.pt``."""

    file: Path
    shown: str


def check_outputs(
    settings: Any, more: Sequence[Output] = (), also_read: Iterable[Input] = (), without: Sequence[str] = ()
) -> Iterator[Problem]:
    """Check every file that a command writes, before anything is written.

    Args:
        settings: Its settings; their fields say which of them name files that are written, and which are read.
        more: Files that are written besides.
        also_read: Files that are read besides.
        without: Fields of the settings that are among ``more`` under another name.
    """
    outputs = [each for each in outputs_of(settings) if each.key not in without]
    outputs += [each for each in more if each not in outputs]
    read, overwrite = _Read(settings, also_read), bool(getattr(settings, "overwrite", False))
    first: dict[object, Output] = {}  # at each place; a video may have many thousand frames
    for output in outputs:
        twin = first.setdefault(identity(output.file), output)
        if twin is not output:
            yield error(output.key, f"{output.place}: the same file as {twin.place}; give another name")
            continue
        fault = place_fault(output.file)
        if fault is None and output.file.exists():
            fault = _lost(output, read, overwrite)
        if fault is not None:
            yield error(output.key, f"{output.place}: {fault}")


def outputs_of(settings: Any) -> list[Output]:
    """Return the files that the fields of a settings dataclass name as written."""
    return [
        Output(each.name, Path(getattr(settings, each.name)), each.metadata["output"])
        for each in dataclasses.fields(settings)
        if each.metadata.get("output") and getattr(settings, each.name)
    ]


def place_fault(file: Path) -> str | None:
    """Return why no regular file can be written at a place, and what to do; None if it can."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as fault:  # a folder that may not be looked into, a file in place of a folder, links in a circle
        return f"cannot be written ({fault.strerror}); give another place"
    if mode is not None:
        special = next((text for is_kind, text in SPECIAL if is_kind(mode)), None)
        if special is not None:
            return special
        if not os.access(file, os.W_OK):
            return "the file is write-protected; give another name"
    parent = Path(os.path.realpath(file)).parent
    if not parent.is_dir():
        return f"the folder {file.parent} does not exist; make it first"
    return None if os.access(parent, os.W_OK | os.X_OK) else f"nothing can be written in {parent}; give another place"


def identity(file: Path) -> object:
    """Return what two names of one file have in common: a path, a link to it, or another name of it."""
    try:
        state = os.stat(file)
    except (OSError, ValueError):
        return os.path.normcase(os.path.realpath(file))
    return state.st_dev, state.st_ino


class _Read:
    """The files that a command reads; they are looked at where something lies in the way of a result, and only once.

    Args:
        settings: Of the command.
        more: Files that are read besides.
    """

    def __init__(self, settings: Any, more: Iterable[Input]) -> None:
        self.settings, self.more = settings, tuple(more)

    @cached_property
    def named(self) -> dict[object, str]:
        """What the user knows those files as that the settings name."""
        return {identity(each.file): each.shown for each in (*self.more, *_named(self.settings))}

    @cached_property
    def images(self) -> dict[object, str]:
        """The same of images and labels, which may be many."""
        return {identity(each.file): each.shown for each in _images_of(self.settings)}


def _lost(output: Output, read: _Read, overwrite: bool) -> str | None:
    """Return what would be lost with the file that is there, and what to do; None if it may be replaced."""
    ours, place = is_ours(output.file, output.kind), identity(output.file)
    shown = read.named.get(place)
    if shown is None and (not ours or output.kind in PICTURES):  # no image is a JSON file of ours
        shown = read.images.get(place)
    if shown is not None:
        return f"this is the file that is read as {shown}; give another name"
    if overwrite or ours:
        return None
    if output.kind == "weights":  # nothing in them tells who wrote them
        return f"{output.file} exists and is not overwritten; choose another name, or give overwrite=True"
    return (
        f"{output.file} exists and was not written by this program; it is not overwritten, give another name, or "
        "overwrite=True"
    )


def _named(settings: Any) -> Iterator[Input]:
    """Yield the files that the fields of settings name, and those that the data description names."""
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if not isinstance(value, str) or not value or each.metadata.get("output") or "://" in value:
            continue
        if each.name == "source" or each.metadata.get("kind") == "file":
            shown = f"{each.name}={value}"
            yield Input(Path(value), shown)
            with suppress(YoloSubbatchError, OSError):
                if each.name == "cfg":
                    yield Input(find_cfg(value), shown)
                elif each.name == "data":
                    yield from _of_data(find_data(value), shown)


def _of_data(data: Path | None, shown: str) -> Iterator[Input]:
    if data is None:
        return
    if data.suffix in YAML:
        document = read_yaml(data)
        for split in KEYS:
            yield from (Input(place, f"{split} of {shown}") for place in split_places(data, document, split))
        return
    options = read_options(data)
    for key in ("names", *KEYS.values()):
        path = find_file(options[key], data.parent) if options.get(key) else None
        if path is not None:
            yield Input(path, f"{key} of {shown}")


def _images_of(settings: Any) -> Iterator[Input]:
    """Yield the images and labels that a command reads; the checks of the inputs tell what cannot be read."""
    source, data = getattr(settings, "source", None), getattr(settings, "data", None)
    with suppress(YoloSubbatchError, OSError):
        for image in images_of_source(source):
            yield Input(image, f"an image of source={source}")
    for image in _images_of_data(data):
        yield Input(image, f"an image of data={data}")
        with suppress(YoloSubbatchError, OSError):
            yield Input(label_path(image), f"a label of data={data}")


def images_of_source(source: str | None) -> list[Path]:
    """Return the images of a source that is a folder or a list."""
    if not source or "://" in source:
        return []
    path = Path(source)
    if path.is_dir():
        return pictures_in(path, also=VIDEOS)
    return read_image_list(path) if path.suffix.lower() in LISTS and path.is_file() else []


def _images_of_data(data: str | None) -> Iterator[Path]:
    for split in KEYS:
        with suppress(YoloSubbatchError, OSError):
            path = find_data(data)
            yield from split_images(path, split) if path is not None else ()


def write_output(file: str | Path, data: bytes, key: str = "") -> None:
    """Write a result, whole or not at all; a link goes on to point at it.

    Raises:
        MachineError: If it cannot be written.
    """
    path = Path(os.path.realpath(file))
    shown = f"{key}={file}" if key else str(file)
    try:
        if os.path.lexists(path) and not path.is_file():
            raise MachineError(f"{shown}: no regular file any more; nothing was written, give another name")
        write_whole(path, data)
    except OSError as fault:
        raise MachineError(f"{shown}: cannot be written ({fault.strerror or fault}); give another place") from fault


def write_json(path: str | Path, document: Any, key: str = "", escaped: bool = False) -> None:
    """Write a JSON file in which names keep their bytes, as Darknet's do, or are ``escaped`` to ASCII.

    Raises:
        MachineError: If it cannot be written.
    """
    text = json.dumps(document, indent=1, ensure_ascii=escaped) + "\n"
    write_output(path, text.encode("utf-8", "surrogateescape"), key)
