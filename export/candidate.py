"""A written file while it is compared: run by onnxruntime, with more outputs or other thresholds than it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from yolo_subbatch.darknet.channels import COLOUR

from .graph import INPUT, OUTPUT
from .nms import COUNT, DECODED, THRESHOLDS

Array = NDArray[Any]


def rgb(images: Array) -> Array:
    """Return what a graph without pre-processing takes: ``(B, C, H, W)``, float32, in [0, 1].

    Three channels come with red first; others stay as OpenCV has them, as Ultralytics gives them to a network.
    """
    ordered = images[..., ::-1] if images.shape[3] == COLOUR else images
    return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2)).astype(np.float32) / 255


class Candidate:
    """A written file, run by onnxruntime on the CPU.

    Args:
        path: The file.
        heads: Turns raw maps into boxes, for a file whose outputs are raw.
    """

    def __init__(self, path: Path, heads: Callable[[list[Array]], Array] | None = None) -> None:
        self.path, self.heads = path, heads
        self.boxes = 0  # that an image has before suppression, known after the first run
        self.model = onnx.load(path)
        self.suppresses = any(output.name == COUNT for output in self.model.graph.output)
        taken = self.model.graph.input[0].type.tensor_type
        self.takes_bytes = taken.elem_type == TensorProto.UINT8
        self.channels = int(taken.shape.dim[3 if self.takes_bytes else 1].dim_value)
        if self.suppresses:
            self.model.graph.output.append(helper.make_tensor_value_info(DECODED, TensorProto.FLOAT, None))
        self.session = open_session(self.model)

    def run(self, images: Array, session: Any = None) -> dict[str, Array]:
        """Return every output, and as ``decoded`` the boxes before suppression."""
        session = session or self.session
        names = [each.name for each in session.get_outputs()]
        found = session.run(names, {INPUT: images if self.takes_bytes else rgb(images)})
        outputs: dict[str, Array] = dict(zip(names, found, strict=True))
        if not self.suppresses:
            outputs[DECODED] = self.heads(list(found)) if self.heads else outputs[OUTPUT]
        return outputs

    def as_written(self, images: Array) -> Array:
        """Return the boxes before suppression, node by node as other runtimes read the graph.

        onnxruntime's optimisations can hide a fault: it takes a padding with zeros before a max-pool for the right one.
        """
        return self.run(images, open_session(self.model, optimised=False))[DECODED]

    def with_thresholds(self, conf: float, iou: float) -> Candidate:
        """Return the same graph with other thresholds."""
        other = Candidate.__new__(Candidate)
        other.path, other.heads, other.suppresses, other.takes_bytes = self.path, None, True, self.takes_bytes
        other.channels = self.channels
        other.model = ModelProto()
        other.model.CopyFrom(self.model)
        for tensor in other.model.graph.initializer:
            if tensor.name in THRESHOLDS:
                value = np.array([conf if tensor.name == THRESHOLDS[0] else iou], np.float32)
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        other.session = open_session(other.model)
        return other


def open_session(model: ModelProto, optimised: bool = True) -> Any:
    """Open a graph on the CPU, as it is written where it is not to be optimised."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")  # sums of 8 bits overflow on older processors
    options.log_severity_level = 3  # its notes on shapes that it cannot know beforehand are no news
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
