"""From a network to an ONNX graph: what is traced, and the names and shapes of its inputs and outputs."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx import OnnxExporterError

from yolo_subbatch.darknet.channels import COLOUR, OPACITY, network_order
from yolo_subbatch.darknet.geometry import largest_stride, layer_table
from yolo_subbatch.darknet.layers import Elementwise, MaxPool, mish
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.errors import ExportError

IR_VERSION = 9  # what opset 20 came with; older runtimes refuse a later one, whatever the operators
INPUT = "images"
OUTPUT = "output0"


@dataclass(frozen=True)
class Layout:
    """What a graph takes and gives.

    Attributes:
        batch: Images at a time, of the traced example where that is dynamic.
        height: Pixels.
        width: Pixels.
        dynamic: Batch, height and width are free.
        raw: The outputs are the maps before the heads, not boxes.
        half: The network computes in half precision; inputs, outputs and boxes stay float32.
        channels: Of the images.
    """

    batch: int
    height: int
    width: int
    dynamic: bool = False
    raw: bool = False
    half: bool = False
    channels: int = COLOUR

    @property
    def example(self) -> Tensor:
        """An input of the right shape."""
        return torch.zeros(self.batch, self.channels, self.height, self.width)


class FixedMaxPool(nn.Module):
    """A max-pool that does not look at the size of its map, so that its trace holds for every size.

    The padding is a node of its own: CUDA's pooling knows symmetric padding only.
    """

    def __init__(self, pool: MaxPool, padded: bool) -> None:
        super().__init__()
        self.size, self.stride = pool.size, pool.stride
        self.inside = pool.pads[0] if pool.symmetric else 0
        self.outside = pool.pads * 2 if padded and not pool.symmetric else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        if self.outside is not None:
            x = F.pad(x, self.outside, value=-math.inf)
        return F.max_pool2d(x, self.size, self.stride, self.inside)


class SigmoidMish(nn.Module):
    """Mish from the logistic function alone, ``x q / (2 - q)`` with ``q = s (2 - s)`` and ``s = sigmoid(x)``.

    The usual form has a Softplus, on which onnxruntime spends half of the time that YOLOv4 takes on a CPU. This one is
    as exact: no two numbers that are nearly equal are subtracted.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map numbers of any shape."""
        s = x.sigmoid()
        q = s * (2 - s)
        return x * (q / (2 - q))


class TracedNetwork(nn.Module):
    """What is exported: the network, and boxes or raw maps.

    Args:
        network: The network; it is copied.
        layout: What goes in and comes out.
    """

    def __init__(self, network: Network, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.network = copy.deepcopy(network).float().cpu().eval().requires_grad_(False)
        fold(self.network)
        fix_pools(self.network, layout)
        rewrite_mish(self.network)
        if layout.half:
            self.network.half()
        self.eval()  # as a whole: torch's exporter puts back the mode that it found here

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Return ``(B, 4 + classes, N)`` boxes and confidences, or the raw maps, float32."""
        ordered = network_order(images) if self.layout.channels == OPACITY else images
        maps = [raw.float() for raw in self.network(ordered.half() if self.layout.half else ordered)]
        return maps if self.layout.raw else self.network.predictions(maps)


def fold(network: Network) -> None:
    """Fold the batch normalisation into the convolutions: half precision then rounds the product only."""
    for layer in network.layers:
        bn = getattr(layer, "bn", None)
        if isinstance(bn, nn.BatchNorm2d):
            layer.conv, layer.bn = nn.utils.fuse_conv_bn_eval(layer.conv, bn), nn.Identity()  # type: ignore[type-var]


def fix_pools(network: Network, layout: Layout) -> None:
    """Decide for every max-pool whether its window can reach the padding, which its forward pass asks the map."""
    cfg = network.cfg
    if layout.dynamic:
        # Every size is a multiple of the stride; whatever reaches the padding does so in one of these.
        step = largest_stride(cfg)
        tables = [layer_table(cfg, step * count, step * count) for count in (4, 5, 6, 7)]
    else:
        tables = [layer_table(cfg, layout.width, layout.height)]
    for index, layer in enumerate(network.layers):
        if isinstance(layer, MaxPool):
            shapes = [table[index].in_shape for table in tables]
            padded = any(reaches(layer, shape.height) or reaches(layer, shape.width) for shape in shapes)
            network.layers[index] = FixedMaxPool(layer, padded)


def rewrite_mish(network: nn.Module) -> None:
    """Give every mish the form in which onnxruntime computes it fast."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Elementwise) and child.function is mish:
                setattr(parent, name, SigmoidMish())


def reaches(pool: MaxPool, side: int) -> bool:
    """Tell whether leaving the padding out would change the result for a map of that side."""
    return pool.pads[0] > 0 or any(
        (side - pool.size) // step != (side + sum(pool.pads) - pool.size) // step for step in pool.stride
    )


def trace(network: Network, layout: Layout, opset: int) -> ModelProto:
    """Export a network.

    torch's exporter by tracing is used: the other one needs another package, takes five times as long, and computes
    the same numbers.

    Args:
        network: In any state; it is not changed.
        layout: What goes in and comes out.
        opset: Version of the ONNX operators.

    Returns:
        The model, its outputs named ``output0``, and so on with raw maps, with their full shapes.
    """
    traced = TracedNetwork(network, layout)
    heads = len(network.head_indices) if layout.raw else 1
    outputs = [f"output{index}" for index in range(heads)]
    axes = {INPUT: {0: "batch", 2: "height", 3: "width"}}
    for index, name in enumerate(outputs):
        axes[name] = {0: "batch", 2: f"rows{index}", 3: f"columns{index}"} if layout.raw else {0: "batch", 2: "boxes"}
    file = io.BytesIO()
    # Not shown: that this exporter is the older one, that a trace follows no branches (whose results the parity check
    # compares for several sizes), and, on an error, the whole graph.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                traced, (layout.example,), file,  # type: ignore[arg-type]
                input_names=[INPUT], output_names=outputs, opset_version=opset,
                dynamic_axes=axes if layout.dynamic else None, dynamo=False,
            )  # fmt: skip
        except (OnnxExporterError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ExportError(f"{network.cfg.path}: has no form in ONNX opset {opset} ({reason})") from error
    model = onnx.load_model_from_string(file.getvalue())
    model.ir_version = min(model.ir_version, IR_VERSION)
    _name_dimensions(model, traced, axes if layout.dynamic else {})
    return model


def _name_dimensions(model: ModelProto, traced: TracedNetwork, axes: dict[str, dict[int, str]]) -> None:
    """Write the outputs' shapes in full: the exporter forgets sizes that do not depend on the input's."""
    with torch.no_grad():
        found = traced(traced.layout.example)
    for value, tensor in zip(model.graph.output, [found] if isinstance(found, Tensor) else found, strict=True):
        names = axes.get(value.name, {})
        shape = [names.get(axis, size) for axis, size in enumerate(tensor.shape)]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))


def prepend_preprocessing(model: ModelProto) -> None:
    """Let a graph take images as OpenCV has them: ``images`` becomes ``(B, H, W, C)``, bytes, blue first.

    Bytes are a quarter of what float32 takes on the way to a GPU. Fitting to the size stays outside: how an image is
    padded depends on its shape, and onnxruntime does not resize as OpenCV does.
    """
    old = model.graph.input[0]
    batch, channels, height, width = (each.dim_param or each.dim_value for each in old.type.tensor_type.shape.dim)
    for node in model.graph.node:
        node.input[:] = ["images_rgb" if name == INPUT else name for name in node.input]
    order, most = np.array([2, 1, 0], np.int64), np.array(255, np.float32)
    constants = [onnx.numpy_helper.from_array(most, "largest_byte")]
    node = onnx.helper.make_node
    nodes = [node("Transpose", [INPUT], ["images_nchw"], "preprocess/nchw", perm=[0, 3, 1, 2])]
    if channels == COLOUR:
        constants.append(onnx.numpy_helper.from_array(order, "rgb_from_bgr"))
        nodes.append(node("Gather", ["images_nchw", "rgb_from_bgr"], ["images_bytes"], "preprocess/rgb", axis=1))
    model.graph.initializer.extend(constants)
    nodes += [
        node("Cast", [nodes[-1].output[0]], ["images_255"], "preprocess/float", to=onnx.TensorProto.FLOAT),
        node("Div", ["images_255", "largest_byte"], ["images_rgb"], "preprocess/scale"),
    ]
    later = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *later])
    shape = [batch, height, width, channels]
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, shape))
