"""Eight-bit files: calibrated on training images, and kept only if mAP on the validation images holds.

Only convolutions are quantised, each output channel on its own scale, and not those right before a detection head:
there one scale serves centres, sizes and class scores alike, and rounding costs five times what all others together do
(yolov3-tiny on blood cells: mAP50-95 0.495 in float32, 0.417 with them, 0.493 without).
Both weights and activations are signed and symmetric, which is what TensorRT takes.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from yolo_subbatch.darknet.channels import COLOUR
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.engine.evaluate import measure_file
from yolo_subbatch.engine.image_channels import check_network_data
from yolo_subbatch.errors import DataError, ExportError
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.data_checks import data_names, split_images

from . import metadata
from .candidate import Array, rgb
from .graph import INPUT
from .infer import fit_image, read_image

MOST_LOST = 0.02  # of mAP50-95: what published eight-bit detectors lose


def quantized(
    full: Path, about: dict[str, str], settings: ExportSettings, network: Network, size: tuple[int, int],
    say: Callable[[str], None],
) -> tuple[ModelProto, str]:  # fmt: skip
    """Quantise a file.

    Args:
        full: The float32 file, decoded, without suppression.
        about: The metadata of the result.
        settings: What is asked: ``data``, ``calibration``, ``batch``.
        network: The network of the file.
        size: Width and height of the input in pixels.
        say: Called with each line of progress.

    Returns:
        The quantised graph, and the two mAPs as text.

    Raises:
        ExportError: If mAP50-95 falls by more than two points, or is 0 already.
        DataError: If no training image can be read.
    """
    data = Path(settings.data or "")
    classes, known = len(data_names(data)), network.heads[0].classes
    if classes != known:
        raise DataError(f"{data}: {classes} classes, the network has {known}; give the data it was trained for")
    channels = network.cfg.net.channels
    check_network_data(channels, settings.model or network.cfg.path, data)
    images = spread(split_images(data, "train"), settings.calibration)
    say(f"int8: calibrating on {len(images)} training images")
    small = full.with_name("int8.onnx")
    inputs = calibration_inputs(images, size, settings.batch, data, channels)
    _calibrate(full, small, inputs, head_convolutions(full, network))
    model = onnx.load(small)
    metadata.write(model, about)
    onnx.save(model, str(small))
    say("int8: measuring mAP on the validation images, in float32 and in 8 bits")
    as_written = full.with_name("int8-as-written.onnx")
    onnx.save(without_byte_kernels(model), str(as_written))
    before, after = (measure_file(str(file), str(data), size, channels)[1] for file in (full, as_written))
    text = f"mAP50-95 {after:.4f}, of {before:.4f} in float32, on {data.name}"
    if before == 0:
        raise ExportError(f"int8=True: mAP50-95 is 0 in float32 already on {data}; give the data it was trained for")
    if before - after > MOST_LOST:
        raise ExportError(
            f"int8=True: not kept; {text}: more than {MOST_LOST:g} is lost; calibrate on more images, or use half=True"
        )
    say(f"int8: {text}")
    return model, text


def without_byte_kernels(model: ModelProto) -> ModelProto:
    """Return a graph that gives the same numbers and has its weights, scaled, in float32.

    onnxruntime's kernels for eight bits add up in 16 on processors without VNNI, which overflows: mAP measured with
    them would be this machine's, not the file's. Where weights are float32 it takes none of them.
    """
    found = ModelProto()
    found.CopyFrom(model)
    tensors = {each.name: each for each in found.graph.initializer}
    for node in list(found.graph.node):
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            values, scale, zero = (numpy_helper.to_array(tensors[name]) for name in node.input)
            axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
            shape = [-1 if place == axis else 1 for place in range(values.ndim)] if scale.ndim else ()
            exact = (values.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
            found.graph.initializer.append(numpy_helper.from_array(exact.astype(np.float32), node.output[0]))
            found.graph.node.remove(node)
    return found


def spread(images: list[Path], count: int) -> list[Path]:
    """Choose some of many, evenly: neighbours in a list often come from one scene."""
    return [images[index * len(images) // count] for index in range(count)] if len(images) > count else images


def calibration_inputs(
    images: list[Path], size: tuple[int, int], batch: int, data: Path, channels: int = COLOUR
) -> Iterator[Array]:
    """Give images as the network takes them, ``(batch, channels, H, W)``, letterboxed to its full size.

    Raises:
        DataError: If none of them can be read.
    """
    waiting: list[Array] = []
    given = False
    for path in images:
        image = read_image(str(path), channels)
        if image is None:
            continue
        waiting.append(fit_image(image, size, "ultralytics", 0)[0])
        if len(waiting) == batch:
            yield rgb(np.stack(waiting))
            waiting, given = [], True
    if waiting:  # fewer than a batch: filled up with themselves
        yield rgb(np.stack([waiting[index % len(waiting)] for index in range(batch)]))
        given = True
    if not given:
        raise DataError(f"{data}: none of its training images can be read; check the paths")


def head_convolutions(full: Path, network: Network) -> list[str]:
    """Return the nodes of the convolutions whose output a detection head reads."""
    places = tuple(f"/network/layers.{index}/" for index in network.head_indices)
    graph = onnx.load(full, load_external_data=False).graph
    found = [node.name for node in graph.node if node.op_type == "Conv" and node.name.startswith(places)]
    if len(found) < len(network.heads):
        raise ExportError("int8=True: the convolutions before the detection heads are not found; use half=True")
    return found


def _calibrate(full: Path, small: Path, inputs: Iterator[Array], kept: list[str]) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            images = next(inputs, None)
            return None if images is None else {INPUT: images}

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that pre-processing is recommended, which fails on graphs of free size
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                str(full), str(small), Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
                nodes_to_exclude=kept, per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
            )  # fmt: skip
    finally:
        logging.disable(before)
