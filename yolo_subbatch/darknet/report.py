"""What a cfg costs, and its layers as Darknet lists them. No torch needed.

Source: darknet ``make_convolutional_layer`` in src/convolutional_layer.c (the printed line and its BFLOPs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from yolo_subbatch.darknet.geometry import LayerShape, layer_table
from yolo_subbatch.darknet.sections import (
    Activation,
    Batchnorm,
    Cfg,
    Connected,
    Convolutional,
    HeadSection,
    LocalAvgpool,
    Maxpool,
    Region,
    Reorg,
    Reorg3d,
    Route,
    Sam,
    ScaleChannels,
    Section,
    Shortcut,
    Upsample,
)
from yolo_subbatch.darknet.shape_rules import Shape, output_shape, pool_window, strides_of
from yolo_subbatch.errors import CfgError

HEADER_BYTES = 20
BATCH_NORM_ARRAYS = 4  # biases, scales, running means, running variances
BLUR = 9  # numbers that the filter of antialiasing takes for a channel
MOST_NUMBERS = 2**30  # weights of a network, 4 GiB; the largest published one has a quarter of them
KEPT_PER_WEIGHT = 3  # the weight, its gradient, its momentum
NAMES = {
    "convolutional": "conv", "maxpool": "max", "avgpool": "avg", "local_avgpool": "local_avg",
    "Gaussian_yolo": "g_yolo", "scale_channels": "scale", "connected": "conn",
}  # fmt: skip


@dataclass(frozen=True)
class LayerRow:
    """One line of the layer table; ``source`` is the input's size, or the layers that are read."""

    index: int
    kind: str
    filters: str
    kernel: str
    source: str
    output: str
    bflops: float
    parameters: int


def layer_report(
    cfg: Cfg,
    width: int | None = None,
    height: int | None = None,
    batch: int | None = None,
    subdivisions: int | None = None,
) -> str:
    """Return the layer table of a cfg and its totals as text.

    Args:
        cfg: The parsed cfg.
        width: Width of the input in pixels; the cfg's own by default.
        height: Its height.
        batch: Images per weight update; the cfg's own by default.
        subdivisions: Parts of a batch; the cfg's own by default.

    Raises:
        CfgError: If the layers do not fit one another.
    """
    table = layer_table(cfg, width, height)
    lines = ["layer   kind           filters  size/strd  input              output             BFLOPs"]
    lines += [_line(row) for row in map(_row, table)]
    lines += ["", *_totals(cfg, table, batch or cfg.net.batch, subdivisions or cfg.net.subdivisions)]
    return "\n".join(lines)


def layer_rows(cfg: Cfg, width: int | None = None, height: int | None = None) -> list[LayerRow]:
    """Return the layer table of a cfg, see :func:`layer_report`.

    Raises:
        CfgError: If the layers do not fit one another.
    """
    return [_row(layer) for layer in layer_table(cfg, width, height)]


def training_bytes(cfg: Cfg, images: int, width: int | None = None, height: int | None = None) -> int:
    """Return about how many bytes of memory training takes with so many images at a time, in float32.

    Counted are the weights with gradient and momentum, and the feature maps that the backward pass needs. Within a
    tenth of what was measured on a CPU; a GPU's libraries take more for themselves.

    Raises:
        CfgError: If the layers do not fit one another.
    """
    table = layer_table(cfg, width, height)
    weights = KEPT_PER_WEIGHT * sum(_arrays(layer)[0] for layer in table)
    return 4 * (weights + images * sum(map(_kept, table)))


def _kept(layer: LayerShape) -> int:
    """Return how many numbers of one image's feature maps a layer keeps for its backward pass."""
    section, out = layer.section, layer.out_shape
    size = out.channels * out.height * out.width
    if isinstance(section, (Convolutional, Connected)):
        return 2 * size if section.batch_normalize else size
    if isinstance(section, Maxpool):
        return 3 * size  # its output, and where the largest values were, in 64 bits
    return 0 if isinstance(section, HeadSection) else size


def parameter_count(cfg: Cfg) -> int:
    """Return the number of trained parameters; running statistics are not trained."""
    return sum(_arrays(layer)[0] for layer in layer_table(cfg))


def check_buildable(cfg: Cfg, table: Sequence[LayerShape]) -> None:
    """Refuse a network whose layers would hold more numbers than any machine has use for, before they are made.

    Raises:
        CfgError: With the line of the largest layer.
    """
    held = [sum(_arrays(layer)) + (BLUR if getattr(layer.section, "antialiasing", 0) else 0) * layer.out_shape.channels
            for layer in table]  # fmt: skip
    if sum(held) > MOST_NUMBERS:
        section = table[held.index(max(held))].section
        raise CfgError(
            f"{cfg.path}:{section.line}: the network would have {sum(held):,} weights, most of them in this "
            f"[{section.title}]; lessen its size, filters or output, at most {MOST_NUMBERS:,} are built"
        )


def weights_bytes(cfg: Cfg) -> int:
    """Return the size of the network's ``.weights`` file in bytes."""
    saved = [layer for layer in layer_table(cfg) if not layer.section.dontsave]
    # pjreddie's Darknet does not save the biases of a [batchnorm]
    unsaved = sum(layer.out_shape.channels for layer in saved if isinstance(layer.section, Batchnorm))
    return HEADER_BYTES + 4 * (sum(sum(_arrays(layer)) for layer in saved) - (0 if cfg.alexeyab else unsaved))


def flops(table: Sequence[LayerShape]) -> float:
    """Return the floating-point operations of one image, counted as Darknet does: two per multiplication."""
    return float(sum(_flops(layer) for layer in table))


def _arrays(layer: LayerShape) -> tuple[int, int]:
    """Return how many numbers of a layer are trained, and how many more its file holds."""
    section, channels = layer.section, layer.out_shape.channels
    if layer.shares:
        return 0, 0
    if isinstance(section, Shortcut) and section.weights_type != "none":
        return len(layer.sources) * (channels if section.weights_type == "per_channel" else 1), 0
    if isinstance(section, Batchnorm):
        return 2 * channels, (BATCH_NORM_ARRAYS - 2) * channels
    if not isinstance(section, (Convolutional, Connected)):
        return 0, 0
    weights = _products(section, layer.in_shape) * channels
    if section.batch_normalize:
        return weights + 2 * channels, (BATCH_NORM_ARRAYS - 2) * channels
    return weights + channels, 0


def _products(section: Convolutional | Connected, inputs: Shape) -> int:
    """Return how many products make one output."""
    if isinstance(section, Connected):
        return math.prod(inputs)
    return inputs.channels // section.groups * section.size**2


def _flops(layer: LayerShape) -> float:
    section, outputs = layer.section, math.prod(layer.out_shape)
    if isinstance(section, (Convolutional, Connected)):
        if isinstance(section, Convolutional) and section.antialiasing:
            outputs = section.filters * math.prod(_before_blur(section, layer))
        return float(2 * _products(section, layer.in_shape) * outputs)
    if isinstance(section, (Maxpool, LocalAvgpool)):
        return float(pool_window(section)[0] ** 2 * outputs)
    if isinstance(section, Shortcut):
        return float((len(layer.sources) - 1) * outputs)
    return float(outputs) if isinstance(section, (ScaleChannels, Sam)) else 0.0


def _before_blur(section: Convolutional, layer: LayerShape) -> tuple[int, int]:
    """Return height and width of a convolution's own output, of stride 1, before ``antialiasing`` thins it."""
    inner = output_shape(replace(section, antialiasing=0, stride=1, stride_x=1, stride_y=1), [layer.in_shape])
    return inner.height, inner.width


def _row(layer: LayerShape) -> LayerRow:
    name = NAMES.get(layer.title, layer.title)
    filters = str(layer.out_shape.channels) if isinstance(layer.section, (Convolutional, Connected)) else ""
    return LayerRow(
        layer.index, name, filters, _kernel(layer.section), _source(layer), _shape(layer.out_shape),
        _flops(layer) / 1e9, _arrays(layer)[0],
    )  # fmt: skip


def _line(row: LayerRow) -> str:
    cost = f"{row.bflops:7.3f}" if row.bflops >= 0.0005 else ""
    columns = f"{row.filters:>7}  {row.kernel:9}  {row.source:17}  {row.output:17}  {cost}"
    return f"{row.index:5}   {row.kind:13}  {columns}".rstrip()


def _kernel(section: Section) -> str:
    if isinstance(section, (Convolutional, Maxpool, LocalAvgpool)):
        size = section.size if isinstance(section, Convolutional) else pool_window(section)[0]
        down, across = strides_of(section)
        stride = str(across) if down == across else f"{across}x{down}"
        return f"{size} x {size} / {stride}"
    if isinstance(section, Upsample):
        return f"{abs(section.stride)}x" if section.stride > 0 else f"1/{-section.stride}x"
    if isinstance(section, Activation):
        return section.activation
    return f"/ {section.stride}" if isinstance(section, (Reorg, Reorg3d)) else ""


def _source(layer: LayerShape) -> str:
    if isinstance(layer.section, Route):
        part = f" {layer.section.group_id + 1}/{layer.section.groups}" if layer.section.groups > 1 else ""
        return " ".join(map(str, layer.sources)) + part
    if isinstance(layer.section, Shortcut):
        return "+ " + " ".join(map(str, layer.sources[1:]))
    if isinstance(layer.section, (ScaleChannels, Sam)):
        return f"x {layer.sources[1]}"
    return _shape(layer.in_shape)


def _shape(shape: Shape) -> str:
    return f"{shape.width:4} x{shape.height:4} x{shape.channels:4}"


def _totals(cfg: Cfg, table: Sequence[LayerShape], batch: int, subdivisions: int) -> list[str]:
    heads = [
        f"head {layer.index}: {layer.section.classes} classes, stride {layer.stride}, anchors"
        + (" in cells " if isinstance(layer.section, Region) else " ")
        + "  ".join(f"{w:g},{h:g}" for w, h in (layer.section.anchor_pairs[index] for index in layer.section.selected))
        for layer in table
        if isinstance(layer.section, HeadSection)
    ]
    images = f"{batch // subdivisions}" if batch % subdivisions == 0 else f"{batch / subdivisions:.1f}"
    return [
        *heads,
        f"parameters: {parameter_count(cfg):,}",
        f"BFLOPs per image: {flops(table) / 1e9:.3f}",
        f"weights file: {weights_bytes(cfg):,} bytes",
        f"batch {batch} / subdivisions {subdivisions} = {images} image{'' if images == '1' else 's'} per sub-batch",
    ]
