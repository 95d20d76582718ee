"""Checks that several commands share: ranges of values, devices, files to read and to write."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from yolo_subbatch.darknet.textfile import in_utf8
from yolo_subbatch.darknet.weights_kinds import foreign_file
from yolo_subbatch.errors import SettingsError, YoloSubbatchError
from yolo_subbatch.settings.conversion import range_fault, shown
from yolo_subbatch.settings.find import beside, holds_checkpoint
from yolo_subbatch.settings.values import memory_bytes

Found = TypeVar("Found")
DEVICE = re.compile(r"cpu|mps|cuda|(cuda:)?\d+(,(cuda:)?\d+)*", re.ASCII)
WITH_COMPILE = (
    "recompute=True: with compile=, the compiler decides what is kept for the backward pass; leave one of the two out"
)
NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\0-\x1f]')  # of a folder, on any system


@dataclass(frozen=True)
class Problem:
    """Something about a setting: ``level`` is error or warning, ``text`` reads ``where: what; what to do``."""

    field: str
    level: str
    text: str


def error(field: str, text: str) -> Problem:
    """Return a problem that prevents the work."""
    return Problem(field, "error", text)


def warning(field: str, text: str) -> Problem:
    """Return a problem that the user should know of."""
    return Problem(field, "warning", text)


def attempt(field: str, problems: list[Problem], check: Callable[[], Found]) -> Found | None:
    """Run a check that raises; an error of this package, or of a path, joins the problems, and None is returned."""
    try:
        return check()
    except YoloSubbatchError as fault:
        problems.append(error(field, str(fault)))
    except OSError as fault:  # a name that is too long, a folder that may not be looked into
        problems.append(error(field, f"{field}: {str(fault.filename)[:60]}: {fault.strerror}; check the path"))
    return None


def raise_errors(problems: Iterable[Problem]) -> list[str]:
    """Raise one SettingsError with every error, a line each; without errors return the warnings' texts."""
    found = list(problems)
    errors = [problem.text for problem in found if problem.level == "error"]
    if errors:
        raise SettingsError("\n".join(dict.fromkeys(errors)))
    return list(dict.fromkeys(problem.text for problem in found))


def check_ranges(settings: Any) -> Iterator[Problem]:
    """Compare every value of a settings dataclass with the bounds that its field declares."""
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        fault = None if value is None else range_fault(value, each.metadata)
        if fault:
            yield error(each.name, f"{each.name}={shown(value)}: {fault}")


def size_fault(width: int, height: int, stride: int) -> str | None:
    """Return what is wrong with an input size in pixels for a network of that stride, or None."""
    odd = next((side for side in (height, width) if side % stride or side < stride), None)
    if odd is None:
        return None
    shown = str(width) if width == height else f"{height},{width}"
    below = odd // stride * stride
    near = sorted({max(stride, below), max(stride, below + stride)})
    advice = f"use {' or '.join(map(str, near))}" + ("" if width == height else f" instead of {odd}")
    return f"imgsz={shown}: not a multiple of the network's stride {stride}; {advice}"


def check_place(settings: Any) -> Iterator[Problem]:
    """Check the folder and the name under which results are kept, and the form of the device."""
    name = settings.name
    if not name or set(name) <= {".", " "} or NOT_IN_NAMES.search(name) or len(name) > 200:
        yield error("name", f"name={name}: not the name of a folder; give a plain name, without a path")
    project = Path(settings.project)
    if not in_utf8(project.absolute() / name):
        text = f"project={project}: {project.absolute() / name} is not in UTF-8, and pictures cannot be written there"
        yield error("project", f"{text}; give another folder")
    fault = folder_fault(project)
    if fault is not None:
        yield error("project", f"project={settings.project}: {fault}")
    if settings.device is not None and not DEVICE.fullmatch(settings.device):
        yield error("device", f"device={settings.device}: unknown; give cpu, 0 or 0,1")


def check_text(settings: Any) -> Iterator[Problem]:
    """Refuse values that are not in UTF-8: a run keeps its settings as text."""
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, str) and not in_utf8(value):
            yield error(each.name, f"{each.name}={shown(value)}: not in UTF-8, in which a run keeps it; rename it")


def folder_fault(folder: Path) -> str | None:
    """Return why a folder can neither be written to nor made, and what to do; None if it can."""
    try:
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(each))
        if not there.is_dir():
            what = "this" if there == folder.absolute() else str(there)
            return f"{what} is a file; give a folder"
    except OSError as fault:  # a folder that may not be looked into, links in a circle
        return f"cannot be used ({fault.strerror}); give another folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"nothing can be written in {there}; give a folder that you may write to"
    return None


def check_recompute(settings: Any) -> Iterator[Problem]:
    """Check that one of two decides what is kept for the backward pass."""
    if settings.recompute and settings.extra.get("compile"):
        yield error("recompute", WITH_COMPILE)


def check_memory(settings: Any) -> Iterator[Problem]:
    """Check the budget of memory, which ``subdivisions=auto`` alone uses."""
    if settings.memory is None:
        return
    problems: list[Problem] = []
    attempt("memory", problems, lambda: memory_bytes(settings.memory))
    yield from problems
    if settings.subdivisions != "auto":
        yield warning("memory", f"memory={settings.memory}: has no effect without subdivisions=auto")


def check_weights(settings: Any) -> Iterator[Problem]:
    """Check that a weights file, if one is given, is a file with something in it, and goes with a cfg."""
    if settings.weights is None:
        return
    path = Path(settings.weights)
    if settings.model:
        yield error("weights", f"weights={path}: model={settings.model} has no use for them; give weights= with cfg=")
    elif path.is_dir():
        yield error("weights", f"weights={path}: this is a folder; give the .weights file inside it")
    elif not path.is_file():
        yield error("weights", f"weights={path}: no such file{beside(path) or '; check the path of the weights'}")
    elif holds_checkpoint(path):
        yield error("weights", f"weights={path}: a checkpoint, not Darknet weights; give it as model= instead of cfg=")
    elif path.stat().st_size == 0:
        yield error("weights", f"weights={path}: the file is empty; give the weights of a Darknet network")
    else:
        with path.open("rb") as stream:
            known = foreign_file(stream.read(64))
        if known:
            yield error("weights", f"weights={path}: this is {known}")


def check_either(settings: Any) -> Iterator[Problem]:
    """Check that a network is given, and only one."""
    if settings.cfg and settings.model:
        yield error("model", f"model={settings.model}: cfg={settings.cfg} is given too; give one of the two")
    if not settings.cfg and not settings.model:
        yield error("cfg", "cfg: not given; give a Darknet cfg, for example cfg=yolov3-tiny.cfg, or model= with a .pt")
