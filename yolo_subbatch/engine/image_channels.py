"""Images of other than three channels for Ultralytics' engine: its data sets, its validator and its predictor.

Ultralytics itself reads grey images, and files whose number of bands is the network's. What it does not do: give
opacity to images that have none, keep that of a PIL image, and say which image has another number of bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from yolo_subbatch.darknet.channels import COLOUR, GREY, KINDS, OPACITY, ChannelsError, read_flag, with_channels
from yolo_subbatch.darknet.sections import Net
from yolo_subbatch.engine.picture_reading import imread
from yolo_subbatch.errors import DataError, SettingsError
from yolo_subbatch.settings.channel_checks import channels_fault

JPEG = b"\xff\xd8"  # how its files begin
MOST_NAMED = 5  # images in a message
READERS = 8  # threads


def read_image(path: str | Path, channels: int = COLOUR) -> np.ndarray | None:
    """Read an image as a network of so many channels takes it, ``(H, W, channels)``; None if it cannot be read.

    Raises:
        DataError: If its channels cannot become those.
    """
    image = imread(str(path), flags=flag_of(path, channels))
    return None if image is None else brought_to(image, channels, str(path))


def flag_of(path: str | Path, channels: int) -> int:
    """Return how OpenCV has to read a file: a JPEG has no opacity, but is to be turned as its camera says."""
    if channels == OPACITY and _is_jpeg(path):
        return cv2.IMREAD_COLOR
    return read_flag(channels)


def _is_jpeg(path: str | Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(JPEG)) == JPEG
    except (OSError, ValueError):
        return False


def brought_to(image: np.ndarray, channels: int, path: str) -> np.ndarray:
    """Bring an image ``(H, W, C)`` to a number of channels.

    Raises:
        DataError: If that cannot be.
    """
    try:
        return with_channels(image, channels)
    except ChannelsError as error:
        raise DataError(f"{path}: {error}; give images of {channels} channels, or change channels= of [net]") from error


def upright(image: np.ndarray, path: str, channels: int) -> np.ndarray:
    """Bring an image that Ultralytics has read to a number of channels, turned as its camera says.

    Raises:
        DataError: If that cannot be.
    """
    if image.shape[2] == channels:
        return image
    again = read_image(path, channels) if channels == OPACITY and _is_jpeg(path) else None
    return brought_to(image, channels, path) if again is None else again


def check_bands(images: Sequence[str], channels: int, data: str) -> None:
    """Make sure that files have the bands of a network for which no image can be changed; their headers are read.

    Raises:
        DataError: Naming the images that do not.
    """
    if channels in KINDS:
        return
    with ThreadPoolExecutor(READERS) as pool:
        counts = list(pool.map(_bands, images))
    others = [f"{path} ({count})" for path, count in zip(images, counts, strict=True) if count not in {None, channels}]
    if others:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        raise DataError(
            f"{data}: {len(others)} of {len(images)} images have not {channels} channels, as the network takes: "
            f"{', '.join(others[:MOST_NAMED])}{more}; give TIFF files with so many bands or pages"
        )


def _bands(path: str) -> int | None:
    """Return the bands of a file, pages of grey counting as such; None where only OpenCV knows."""
    try:
        with Image.open(path) as image:
            return len(image.getbands()) if len(image.getbands()) > 1 else int(getattr(image, "n_frames", 1))
    except (OSError, ValueError):
        return None


def check_network_data(channels: int, network: str, data: str | Path | None) -> None:
    """Refuse a data set that says it is of other channels than the network.

    Raises:
        SettingsError: Naming both files.
    """
    fault = channels_fault(channels, network, data)
    if fault:
        raise SettingsError(fault)


def of_data(data: dict[str, Any], channels: int, network: str) -> dict[str, Any]:
    """Return Ultralytics' description of a data set for a network of so many channels.

    Raises:
        SettingsError: If its file says another number.
    """
    file = data.get("yaml_file")
    if file is not None:
        check_network_data(channels, network, file)
    return {**data, "channels": channels}


def colour_note(net: Net, given: Sequence[str]) -> str:
    """Return the line that says which keys of the augmentation are without effect, because there are no colours."""
    if net.channels in {COLOUR, OPACITY}:
        return ""
    usual = {"hue": 0, "saturation": 1}
    keys = [key for key, value in usual.items() if key in given or getattr(net, key) != value]
    kind = "grey images" if net.channels == GREY else f"images of {net.channels} bands"
    return f"not applied: {', '.join(keys)} (channels={net.channels}: {kind} have none)" if keys else ""


class Named(np.ndarray):
    """An image that knows its file, as PIL's do."""

    filename: str


def own_source(source: Any, channels: int) -> Any:
    """Return a source of predictions in whose images nothing is lost: opacity, or what the files' own reader makes.

    Ultralytics opens a list of files with PIL, a folder of them with OpenCV; here both are read alike.
    """
    if channels == COLOUR:
        return source
    if isinstance(source, (list, tuple)):
        return [_own_image(each, channels) for each in source]
    return _own_image(source, channels) if isinstance(source, (Image.Image, np.ndarray)) else source


def _own_image(image: Any, channels: int) -> Any:
    if isinstance(image, (str, Path)) and Path(image).is_file():
        read = read_image(image, channels)
        if read is None:
            raise DataError(f"{image}: cannot be read as an image; give a picture file")
        named = read.view(Named)
        named.filename = str(image)
        return named
    if isinstance(image, Image.Image) and channels == OPACITY:
        upright = ImageOps.exif_transpose(image)
        named = cv2.cvtColor(np.asarray(upright.convert("RGBA")), cv2.COLOR_RGBA2BGRA).view(Named)
        named.filename = getattr(image, "filename", "")
        return named
    if isinstance(image, np.ndarray) and channels == OPACITY and image.ndim in (2, 3):
        return with_channels((image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image, channels)
    return image
