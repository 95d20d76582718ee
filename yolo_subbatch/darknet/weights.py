"""Darknet's ``.weights`` files.

A header, see ``weights_header``, then float32 arrays layer by layer, little endian.

Source: darknet ``load_weights_upto``, ``save_weights_upto``, ``load_convolutional_weights``,
``load_connected_weights`` and ``load_batchnorm_weights`` in src/parser.c, AlexeyAB/darknet ``load_shortcut_weights``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from yolo_subbatch.darknet.layers import ConnectedLayer, ConvolutionalLayer
from yolo_subbatch.darknet.layers_alexeyab import WeightedAdd
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.regular_files import open_regular, size_of, write_atomically
from yolo_subbatch.darknet.sections import Convolutional
from yolo_subbatch.darknet.textfile import shorten
from yolo_subbatch.darknet.weights_header import LONGEST_HEADER, WRITTEN, read_header, written_header
from yolo_subbatch.darknet.weights_header import Header as Header
from yolo_subbatch.darknet.weights_kinds import explain_size
from yolo_subbatch.errors import WeightsError

WeightsFile = str | Path | BinaryIO


def darknet_order(network: Network, loading: bool = True) -> Iterator[tuple[int, list[Tensor]]]:
    """Yield each layer that has weights, as its index and its arrays in the order of the file.

    Args:
        network: Its tensors are yielded themselves: writing to them changes the network.
        loading: Leave out what ``dontload`` and ``dontloadscales`` exclude; otherwise what ``dontsave`` excludes.
    """
    for index, (section, layer) in enumerate(zip(network.cfg.sections, network.layers, strict=True)):
        if section.dontload if loading else section.dontsave:
            continue
        arrays = _arrays(layer, network.flavour, scales=not (loading and section.dontloadscales))
        if isinstance(section, Convolutional) and loading and section.numload:
            arrays = [each[: section.numload] for each in arrays]
        if arrays:
            yield index, arrays


def _arrays(layer: nn.Module, flavour: str, scales: bool) -> list[Tensor]:
    """Return the arrays of one layer as its file has them; none where there is nothing to save."""
    if isinstance(layer, ConvolutionalLayer):
        bias, norm = _norm(layer.bn, layer.conv.bias, scales)
        return [bias, *norm, layer.conv.weight.data]
    if isinstance(layer, ConnectedLayer):
        bias, norm = _norm(layer.norm, layer.linear.bias, scales)
        return [bias, layer.linear.weight.data, *norm]
    if isinstance(layer, WeightedAdd) and layer.weight is not None:
        return [layer.weight.data.view(-1)]
    if isinstance(layer, nn.BatchNorm2d):
        bias, norm = _norm(layer, None, scales=True)
        return norm if flavour == "pjreddie" else [bias, *norm]  # pjreddie's Darknet forgets the biases
    return []


def _norm(bn: nn.Module, bias: Tensor | None, scales: bool) -> tuple[Tensor, list[Tensor]]:
    """Return the biases, and scales, means and variances where a layer is normalised."""
    if not isinstance(bn, nn.BatchNorm2d):
        assert bias is not None
        return bias.data, []
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return bn.bias.data, [bn.weight.data, bn.running_mean, bn.running_var] if scales else []


def load_weights(network: Network, file: WeightsFile, partial: bool = False) -> Header:
    """Load a weights file into a network; nothing is changed unless all of it fits.

    Args:
        network: The network that the file belongs to.
        file: A path or a binary file object.
        partial: Accept a backbone such as ``darknet53.conv.74``: a file that ends exactly after a whole layer.

    Raises:
        WeightsError: If the file cannot be read, is shorter or longer than the network, or ends inside a layer.
    """
    needed = sum(array.numel() for _, arrays in darknet_order(network) for array in arrays)
    name, data, size = _read(file, LONGEST_HEADER + 4 * needed)
    header = read_header(data, name)
    floats = np.frombuffer(data, "<f4", (len(data) - header.size) // 4, header.size)
    fitting: list[tuple[Tensor, Tensor]] = []
    position = covered = 0
    for index, arrays in darknet_order(network):
        needed = sum(array.numel() for array in arrays)
        found = len(floats) - position
        if found < needed:
            whole = found == 0 and (len(data) - header.size) % 4 == 0 and position > 0
            if partial and whole:
                break
            known = None if whole else explain_size(network.cfg, len(data) - header.size)
            text = f"{name}: {known}" if known else _too_short(network, name, index, found, needed, whole)
            raise WeightsError(text)
        for array in arrays:
            part = torch.from_numpy(floats[position : position + array.numel()].copy())
            transposed = header.transposed and array.dim() == 2  # only [connected] has matrices
            shape = array.shape[::-1] if transposed else array.shape
            fitting.append((array, part.reshape(shape).T if transposed else part.reshape(shape)))
            position += array.numel()
        covered = index + 1
    else:
        covered = len(network.layers)
        if header.size + 4 * position != size:
            known = explain_size(network.cfg, size - header.size)
            raise WeightsError(
                f"{name}: {known}"
                if known
                else f"{name}: {size} bytes, but {network.cfg.path} describes {header.size + 4 * position}; "
                "give the cfg that the weights were trained with (check classes and filters)"
            )
    with torch.no_grad():
        for array, part in fitting:
            array.copy_(part)
    network.weights_version = header.version
    return Header(header.major, header.minor, header.revision, header.seen, covered)


def _too_short(network: Network, name: str, index: int, found: int, needed: int, whole: bool) -> str:
    section = network.cfg.sections[index]
    place = f"layer {index} ([{section.title}], line {section.line} of {network.cfg.path})"
    if whole:
        return (
            f"{name}: ends before {place}; it is a backbone, which only training can start from, "
            "or belongs to another cfg"
        )
    return (
        f"{name}: ends inside {place}, {max(found, 0)} of its {needed} numbers are there; "
        "the file is cut off or belongs to another cfg"
    )


def save_weights(network: Network, file: WeightsFile, seen: int = 0, stop: int | None = None) -> None:
    """Write a network's weights as Darknet does.

    The header has the version of the file that was loaded into the network, or that of the flavour's own Darknet.
    A path is written beside its place first and then renamed, so that a crash leaves the old file whole.

    Args:
        network: What to write, as float32.
        file: A path or a binary file object.
        seen: Number of images trained on, kept in the header.
        stop: Write only the layers before this index: a backbone.

    Raises:
        WeightsError: If the file cannot be written.
    """
    header = written_header(network.weights_version or WRITTEN[network.flavour], seen)
    parts = [header.to_bytes()]
    for index, arrays in darknet_order(network, loading=False):
        if stop is None or index < stop:
            ordered = [array.T if header.transposed and array.dim() == 2 else array for array in arrays]
            parts += [array.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes() for array in ordered]
    if not isinstance(file, (str, Path)):
        file.write(b"".join(parts))
        return
    try:
        write_atomically(Path(file), b"".join(parts))
    except OSError as error:
        raise WeightsError(f"{file}: cannot be written ({error.strerror}); check the folder") from error


def _read(file: WeightsFile, most: int) -> tuple[str, bytes, int]:
    """Return a file's name, its content and its size; of a path no more than the network can use and one byte."""
    if not isinstance(file, (str, Path)):
        data = file.read()
        return str(getattr(file, "name", "weights")), data, len(data)
    path = Path(file)
    try:
        if path.is_dir():
            raise WeightsError(f"{path}: this is a folder; give the .weights file inside it")
        with open_regular(path) as stream:
            size = size_of(stream)
            return str(path), stream.read(min(most + 1, size)), size
    except (OSError, ValueError) as error:  # ValueError: no possible name of a file
        place = f"{shorten(str(path), 300)}: cannot be read ({getattr(error, 'strerror', error)})"
        raise WeightsError(f"{place}; check the path of the weights") from error
