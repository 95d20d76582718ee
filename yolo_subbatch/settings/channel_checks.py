"""Whether a data set and a network mean images of the same number of channels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.errors import SettingsError, YoloSubbatchError
from yolo_subbatch.settings.checks import Problem, error
from yolo_subbatch.settings.data_checks import read_yaml
from yolo_subbatch.settings.find import YAML, find_cfg, find_data

NAMES = {1: "grey images", 3: "colour images", 4: "colour images with opacity"}


def declared_channels(data: str | Path | None) -> int | None:
    """Return ``channels`` of an Ultralytics data description; None where it, or a ``.data`` file, does not say.

    Raises:
        SettingsError: If it is no number of channels.
    """
    path = find_data(data)
    if path is None or path.suffix not in YAML:
        return None
    found = read_yaml(path).get("channels")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise SettingsError(f"{path}: channels: {found}; give a whole number, for example channels: 1 for grey images")
    return found


def channels_fault(channels: int, network: str, data: str | Path | None) -> str | None:
    """Return what is wrong with the channels of a data set for a network, or None.

    Args:
        channels: Of the network.
        network: Its file, for the message.
        data: The data set; one that does not say its channels is read as the network needs it.
    """
    found = declared_channels(data)
    if found is None or found == channels:
        return None
    return (
        f"{data}: channels: {found} ({NAMES.get(found, f'images of {found} bands')}), but the network of {network} has "
        f"channels={channels} in [net]; make them the same, or leave channels: out of the data"
    )


def check_channels(cfg: str | None, data: str | None) -> Iterator[Problem]:
    """Compare the channels of a cfg and of a data set; what is wrong with either of them is said elsewhere."""
    try:
        channels = read_cfg(find_cfg(cfg)).net.channels
        find_data(data)
    except YoloSubbatchError:
        return
    try:
        fault = channels_fault(channels, str(cfg), data)
    except SettingsError as wrong:
        fault = str(wrong)
    if fault:
        yield error("data", fault)
