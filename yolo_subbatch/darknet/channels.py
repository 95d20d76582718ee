"""Images of other than three channels: how a file becomes what a network with ``channels=1`` or ``4`` takes.

One channel is read as OpenCV reads a file in grey, which is what AlexeyAB's Darknet does; four are colours and opacity,
255 where a file has none. Other numbers are the bands of the file itself.

Source: AlexeyAB/darknet ``load_image_mat`` in src/image_opencv.cpp and ``load_image_stb`` in src/image.c. pjreddie's
detector opens every file in colour, whatever the cfg says, so that there is nothing to follow.
"""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

GREY, COLOUR, OPACITY = 1, 3, 4  # numbers of channels that every image can be brought to
OPAQUE = 255
FLAGS = {GREY: cv2.IMREAD_GRAYSCALE, COLOUR: cv2.IMREAD_COLOR}
KINDS = {GREY: "grey", COLOUR: "bgr", OPACITY: "bgra"}  # the order in which OpenCV has them


class ChannelsError(ValueError):
    """An image has another number of channels than the network, and cannot be brought to it."""


def read_flag(channels: int) -> int:
    """Return how OpenCV has to read a file for a network of so many channels."""
    return FLAGS.get(channels, cv2.IMREAD_UNCHANGED)


def with_planes(image: np.ndarray) -> np.ndarray:
    """Return an image as ``(H, W, C)``: OpenCV drops the last axis where there is one channel."""
    return image if image.ndim == 3 else image[..., None]


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Bring an image to a number of channels.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, blue first.
        channels: Of the network.

    Returns:
        ``(H, W, channels)``.

    Raises:
        ChannelsError: If there is no way to: only grey, colours and colours with opacity become one another.
    """
    image = with_planes(image)
    found = image.shape[2]
    if found == channels:
        return image
    if found == 2 and channels in KINDS:  # grey and opacity
        opacity = image[..., 1:]
        made = with_channels(image[..., :1], channels)
        return np.concatenate((made[..., :3], opacity), 2) if channels == OPACITY else made
    if found not in KINDS or channels not in KINDS:
        raise ChannelsError(f"an image of {found} channels, the network takes {channels}")
    if found == GREY:
        colours = np.repeat(image, COLOUR, axis=2)
        return colours if channels == COLOUR else _opaque(colours)
    if channels == GREY:
        return with_planes(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_BGR2GRAY))
    return np.ascontiguousarray(image[..., :3]) if channels == COLOUR else _opaque(image)


def _opaque(colours: np.ndarray) -> np.ndarray:
    opacity = np.full((*colours.shape[:2], 1), OPAQUE, colours.dtype)
    return np.concatenate((colours, opacity), 2)


def network_planes(image: np.ndarray) -> np.ndarray:
    """Return an image ``(H, W, C)``, blue first, with the channels in a network's order: red first, opacity last."""
    if image.shape[2] == COLOUR:
        return image[..., ::-1]
    return image[..., [2, 1, 0, 3]] if image.shape[2] == OPACITY else image


def network_order(images: Tensor) -> Tensor:
    """Return a batch as Ultralytics has it, ``(B, C, H, W)``, in a network's order.

    Ultralytics puts red first where there are three channels, and leaves four as OpenCV has read them.
    """
    return images[:, [2, 1, 0, 3]] if images.shape[1] == OPACITY else images
