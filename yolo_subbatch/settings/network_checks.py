"""Checks of the trained network that a command works on, and of what goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from yolo_subbatch.darknet.geometry import check_detector, layer_table
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.errors import CfgError, YoloSubbatchError
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.channel_checks import check_channels
from yolo_subbatch.settings.checks import (
    Problem,
    attempt,
    check_either,
    check_ranges,
    check_weights,
    error,
    raise_errors,
)
from yolo_subbatch.settings.commands import MapSettings, PredictSettings, Source, ValSettings
from yolo_subbatch.settings.data_checks import data_names
from yolo_subbatch.settings.find import find_cfg, find_checkpoint, find_data, is_checkpoint

Named = TypeVar("Named", bound=Source)


def check_names(data: str | None) -> list[Problem]:
    """Check a data description of which the class names alone are wanted."""
    problems: list[Problem] = []
    if data is not None:
        attempt("data", problems, lambda: data_names(find_data(data) or Path(data)))
    return problems


def report(problems: list[Problem]) -> None:
    """Print the warnings, or raise one SettingsError with every error."""
    for text in raise_errors(problems):
        print(f"warning: {text}")


def check_network(settings: Source) -> list[Problem]:
    """Check the network that a command works on, and every value's range."""
    problems = [*check_ranges(settings), *check_either(settings), *check_weights(settings)]
    if settings.cfg:
        attempt("cfg", problems, lambda: usable_cfg(settings.cfg))
        if not settings.weights and not settings.model:
            problems.append(error("weights", f"weights: not given; cfg={settings.cfg} needs its trained weights"))
    elif settings.model:
        may_come = isinstance(settings, (ValSettings, PredictSettings))
        attempt("model", problems, lambda: _check_checkpoint(settings.model or "", may_come))
    return problems


def is_darknet(settings: Source) -> bool:
    """Tell whether the network is one of Darknet; what is no checkpoint at all is a problem already."""
    path = Path(settings.model or "")
    if not path.is_file():
        return not settings.model or not host_files.PUBLISHED.fullmatch(path.name)
    try:
        return host_files.is_darknet_checkpoint(path)
    except YoloSubbatchError:
        return True


def check_letterbox(settings: ValSettings | PredictSettings) -> Iterator[Problem]:
    """Check that images are fitted in a way that the network knows."""
    if settings.letterbox != "ultralytics" and not is_darknet(settings):
        text = f"letterbox={settings.letterbox}: {settings.model} is a network of Ultralytics, which has its own"
        yield error("letterbox", f"{text}; leave letterbox out")


def usable_cfg(name: str | None) -> Cfg:
    """Return a cfg whose layers fit one another and find objects.

    Raises:
        CfgError: If there is no such file, or it describes no such network.
    """
    cfg = read_cfg(find_cfg(name))
    check_detector(cfg)
    layer_table(cfg)
    return cfg


def check_channels_of(settings: ValSettings | MapSettings) -> Iterator[Problem]:
    """Compare the channels of a network and of its data."""
    if settings.cfg:  # what a checkpoint takes is known when it is loaded
        yield from check_channels(settings.cfg, settings.data)


def _check_checkpoint(name: str, may_come: bool) -> None:
    """Check a checkpoint; ``may_come``: Ultralytics may download it, where it publishes a network of that name."""
    path = Path(name)
    if path.suffix == ".cfg" and not is_checkpoint(path):
        raise CfgError(f"model={name}: a Darknet cfg; give it as cfg= with weights=")
    if may_come and not path.exists() and path.parent == Path() and host_files.PUBLISHED.fullmatch(path.name):
        return
    host_files.is_darknet_checkpoint(find_checkpoint(name, "model="))


def with_files(settings: Named) -> Named:
    """Return settings with the path of their cfg, and of their checkpoint where there is one."""
    if settings.cfg:
        return replace(settings, cfg=str(find_cfg(settings.cfg)))
    may_come = isinstance(settings, (ValSettings, PredictSettings)) and not Path(settings.model or "").exists()
    return settings if may_come else replace(settings, model=str(find_checkpoint(settings.model or "", "model=")))
