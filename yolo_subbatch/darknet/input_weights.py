"""Weights of a network whose images had other channels: what its first convolution becomes.

A grey image is a colour image whose channels are alike: the sum of the weights over red, green and blue computes the
same from it. With opacity, colours keep their weights and the opacity starts without any.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yolo_subbatch.darknet.channels import COLOUR, GREY, OPACITY
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.sections import Convolutional
from yolo_subbatch.darknet.weights import darknet_order, load_weights
from yolo_subbatch.darknet.weights_header import LONGEST_HEADER, Header, read_header
from yolo_subbatch.errors import WeightsError

USUAL = (COLOUR, GREY, OPACITY)  # channels that a file may have been trained with
HOW = {
    GREY: "they are summed for channels=1, which computes the same from grey images",
    OPACITY: "red, green and blue keep them, the weights of the opacity start at 0",
}


def for_channels(weight: Tensor, channels: int) -> Tensor | None:
    """Return the weights of a first convolution for images of other channels.

    Args:
        weight: ``(filters, C, size, size)``.
        channels: What the images have.

    Returns:
        ``(filters, channels, size, size)``; None where nothing sensible can be made: only colours become grey, or get
        opacity.
    """
    if weight.shape[1] != COLOUR or channels not in HOW:
        return None
    return weight.sum(1, keepdim=True) if channels == GREY else torch.cat((weight, torch.zeros_like(weight[:, :1])), 1)


def load_other_channels(network: Network, file: str | Path, partial: bool) -> tuple[Header, str] | None:
    """Load a file that was trained with other channels than the network has.

    Args:
        network: What the file does not fit as it is.
        file: Its path.
        partial: A training starts from it; otherwise a network is wanted as it was trained.

    Returns:
        The header, and how the first layer was changed, for people; None if the file fits with no number of channels.

    Raises:
        WeightsError: If the file is one of other channels that cannot be used here.
    """
    section, own = network.cfg.sections[0], network.cfg.net.channels
    if not isinstance(section, Convolutional) or section.groups > 1 or section.dontload or section.numload:
        return None
    for channels in USUAL:
        if channels == own:
            continue
        try:
            content, made = _content_for(network, Path(file), channels)
            header = load_weights(network, io.BytesIO(content), partial=True)
        except (OSError, ValueError, WeightsError):
            continue
        if made and partial:
            return header, f"its first layer reads {channels} channels; {HOW[own]}"
        raise WeightsError(_refusal(network, file, channels, made))
    return None


def _refusal(network: Network, file: str | Path, channels: int, made: bool) -> str:
    net = network.cfg.net
    found = f"{file}: weights of a network with channels={channels}, {network.cfg.path}:{net.line} has {net.channels}"
    more = ", or train from them with weights= of train" if made else ""
    return f"{found}; give the cfg that the weights were trained with{more}"


def _content_for(network: Network, file: Path, channels: int) -> tuple[bytes, bool]:
    """Return the file as the network would have it, had it been trained with ``channels``.

    The second value tells whether its first layer makes sense then; where it does not, it holds zeros.

    Raises:
        WeightsError: If the file is too short.
    """
    arrays = next(arrays for _, arrays in darknet_order(network))
    weight = arrays[-1]
    before = sum(array.numel() for array in arrays[:-1])
    needed = sum(array.numel() for _, each in darknet_order(network) for array in each)
    shape = (weight.shape[0], channels, *weight.shape[2:])
    count = int(np.prod(shape))
    with file.open("rb") as stream:
        data = stream.read(LONGEST_HEADER + 4 * (needed - weight.numel() + count) + 1)
    start = read_header(data, str(file)).size + 4 * before
    end = start + 4 * count
    if len(data) < end:
        raise WeightsError(f"{file}: ends in its first layer; give another file")
    theirs = torch.from_numpy(np.frombuffer(data, "<f4", count, start).copy()).view(shape)
    made = for_channels(theirs, weight.shape[1])
    first = torch.zeros_like(weight) if made is None else made
    return data[:start] + first.cpu().numpy().astype("<f4").tobytes() + data[end:], made is not None
