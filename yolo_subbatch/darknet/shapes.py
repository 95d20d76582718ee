"""What each layer reads and gives, worked out from the cfg alone.

The builder, ``info``, the validation and the window's layer table all ask here, so that a wrong index or a wrong
number of filters is found, with its line, before torch is even imported.

Source: darknet ``parse_network_cfg_custom`` and the ``make_*_layer`` functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import singledispatch
from typing import NamedTuple

from yolo_subbatch.darknet.sections import (
    Avgpool,
    Cfg,
    Convolutional,
    Maxpool,
    Reorg,
    Route,
    Section,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)
from yolo_subbatch.errors import CfgError


class Shape(NamedTuple):
    """Channels, height and width of a feature map of one image."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class LayerShape:
    """One layer: the outputs that it reads (``-1`` is the network's input) and the sizes.

    ``stride`` is input pixels per grid cell, ``None`` where the layer keeps no grid (after ``[avgpool]``).
    """

    index: int
    section: Section
    sources: tuple[int, ...]
    in_shape: Shape
    out_shape: Shape
    stride: Fraction | None
    cell: tuple[float, float] = (1.0, 1.0)  # the input's width and height over the output's

    @property
    def title(self) -> str:
        """The section's name."""
        return self.section.title


class MisfitError(Exception):
    """A section that does not fit its neighbours; ``layer_table`` adds the place."""

    def __init__(self, found: str, advice: str, section: Section | None = None) -> None:
        super().__init__(f"{found}; {advice}")
        self.section = section


def layer_table(cfg: Cfg, width: int | None = None, height: int | None = None) -> list[LayerShape]:
    """Work out every layer of a network.

    Args:
        cfg: The parsed cfg.
        width: Width of the network's input in pixels; the cfg's own by default.
        height: Its height.

    Raises:
        CfgError: If an index points outside the layers so far, or sizes, channels or filters do not fit.
    """
    image = Shape(cfg.net.channels, height or cfg.net.height, width or cfg.net.width)
    table = [LayerShape(-1, cfg.net, (), image, image, Fraction(1))]  # shifted by one: table[i + 1] is layer i
    for index, section in enumerate(cfg.sections):
        try:
            sources = sources_of(section, index)
            inputs = [table[source + 1] for source in sources]
            shape = output_shape(section, [each.out_shape for each in inputs])
            if min(shape) < 1:
                raise MisfitError(
                    f"[{section.title}] would give a map of {shape.width} x {shape.height}",
                    "its input is too small; enlarge width and height or remove the layer",
                )
            _check_filters(section, table[-1])
        except MisfitError as misfit:
            line = (misfit.section or section).line
            place = f"{cfg.path}:{line}" if line else f"{cfg.path}: layer {index}"
            raise CfgError(f"{place}: {misfit}") from None
        stride = None if isinstance(section, Avgpool) else _stride(section, inputs[0].stride)
        cell = image.width / shape.width, image.height / shape.height
        table.append(LayerShape(index, section, sources, inputs[0].out_shape, shape, stride, cell))
    return table[1:]


def largest_stride(cfg: Cfg) -> int:
    """Return the number of pixels of which the network's width and height must be a multiple."""
    strides = [layer.stride for layer in layer_table(cfg) if layer.stride is not None]
    return math.lcm(*(stride.numerator for stride in strides if stride.denominator == 1))


def check_detector(cfg: Cfg) -> None:
    """Raise CfgError unless the network has a detection head and takes colour images, as the data sets give them."""
    if not cfg.heads:
        raise CfgError(f"{cfg.path}: the network has no [yolo] section; detection needs at least one")
    if cfg.net.channels != 3:
        found = f"{cfg.path}:{cfg.net.line}: channels={cfg.net.channels}"
        raise CfgError(f"{found}; images are read as RGB, so channels=3 is needed")


def with_classes(cfg: Cfg, classes: int) -> Cfg:
    """Return the cfg with every head, and the filters before it, for another number of classes.

    Raises:
        CfgError: If a head does not stand right after a convolution.
    """
    sections = list(cfg.sections)
    for index, section in enumerate(sections):
        if not isinstance(section, Yolo):
            continue
        before = sections[index - 1] if index else None
        if not isinstance(before, Convolutional):
            raise CfgError(
                f"{cfg.path}:{section.line}: [yolo] does not follow a convolution; its classes cannot change"
            )
        sections[index - 1] = replace(before, filters=len(section.selected) * (5 + classes))
        sections[index] = replace(section, classes=classes)
    return replace(cfg, sections=tuple(sections))


@singledispatch
def sources_of(section: Section, index: int) -> tuple[int, ...]:
    """Return the indices of the outputs that layer ``index`` reads; most read the one before."""
    return (index - 1,)


@sources_of.register
def _(section: Route, index: int) -> tuple[int, ...]:
    if not section.layers:
        raise MisfitError("[route] without layers", "give layers=, for example layers=-1,61")
    return tuple(_absolute(each, index, "layers") for each in section.layers)


@sources_of.register
def _(section: Shortcut, index: int) -> tuple[int, ...]:
    if len(section.from_) != 1:
        raise MisfitError(f"[shortcut] with {len(section.from_)} layers in from", "give one index")
    return (index - 1, _absolute(section.from_[0], index, "from"))


def _absolute(reference: int, index: int, key: str) -> int:
    """Resolve a relative (negative) or absolute layer index."""
    resolved = index + reference if reference < 0 else reference
    if index == 0:
        raise MisfitError(f"{key}={reference} of the first layer", "there is no layer before it to read")
    if not 0 <= resolved < index:
        raise MisfitError(
            f"{key}={reference} points outside the {index} layers before it", f"use -{index} to -1 or 0 to {index - 1}"
        )
    return resolved


@singledispatch
def output_shape(section: Section, inputs: Sequence[Shape]) -> Shape:
    """Return the size of a layer's output; most keep their input's."""
    return inputs[0]


@output_shape.register
def _(section: Convolutional, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    for name, count in (("input channels", channels), ("filters", section.filters)):
        if count % section.groups:
            raise MisfitError(f"groups={section.groups} does not divide {count} {name}", "change groups or filters")
    stride_y, stride_x = strides_of(section)
    reach = section.dilation * (section.size - 1) + 1
    pad = 2 * conv_padding(section)
    return Shape(section.filters, (height + pad - reach) // stride_y + 1, (width + pad - reach) // stride_x + 1)


@output_shape.register
def _(section: Maxpool, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    stride_y, stride_x = strides_of(section)
    size, padding = pool_window(section)
    if padding - padding // 2 >= size:
        raise MisfitError(f"padding={padding} with size={size}", "a window would hold nothing but padding; lessen it")
    return Shape(channels, (height + padding - size) // stride_y + 1, (width + padding - size) // stride_x + 1)


@output_shape.register
def _(section: Avgpool, inputs: Sequence[Shape]) -> Shape:
    return Shape(inputs[0].channels, 1, 1)


@output_shape.register
def _(section: Route, inputs: Sequence[Shape]) -> Shape:
    first = inputs[0]
    for each in inputs:
        if each[1:] != first[1:]:
            raise MisfitError(
                f"[route] joins maps of {first.width} x {first.height} and {each.width} x {each.height}",
                "route layers of one size, or choose a width and height that divide evenly",
            )
        if each.channels % section.groups or section.group_id >= section.groups:
            raise MisfitError(
                f"group_id={section.group_id} of groups={section.groups} in {each.channels} channels",
                "groups must divide the channels and group_id be smaller than groups",
            )
    return Shape(sum(each.channels // section.groups for each in inputs), first.height, first.width)


@output_shape.register
def _(section: Shortcut, inputs: Sequence[Shape]) -> Shape:
    own, other = inputs
    stride, sample = other.width // own.width, own.width // other.width
    fits = max(stride, sample) >= 1 and all(
        b in ((a * stride,) if stride else (a // sample,)) and (not sample or a % b == 0)
        for a, b in zip(own[1:], other[1:], strict=True)
    )
    if not fits:
        raise MisfitError(
            f"[shortcut] adds a map of {other.width} x {other.height} to {own.width} x {own.height}",
            "one size must be a whole multiple of the other",
        )
    return own


@output_shape.register
def _(section: Upsample, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    if section.stride == 0:
        raise MisfitError("stride=0", "give the factor by which the map grows, or a negative one by which it shrinks")
    if section.stride < 0:
        return Shape(channels, height // -section.stride, width // -section.stride)
    return Shape(channels, height * section.stride, width * section.stride)


@output_shape.register
def _(section: Reorg, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    if section.stride < 1:
        raise MisfitError(f"stride={section.stride}", "the stride is at least 1")
    area = section.stride**2
    if section.reverse:
        if channels % area:
            raise MisfitError(f"[reorg] of {channels} channels", f"they must be a multiple of {area}")
        return Shape(channels // area, height * section.stride, width * section.stride)
    if height % section.stride or width % section.stride:
        raise MisfitError(
            f"[reorg] stride={section.stride} of a map of {width} x {height}",
            f"height and width must be multiples of {section.stride}",
        )
    return Shape(channels * area, height // section.stride, width // section.stride)


@output_shape.register
def _(section: Softmax, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    values = channels * height * width
    if values % section.groups:
        raise MisfitError(f"groups={section.groups} does not divide the {values} values of a map", "change groups")
    return inputs[0]


@output_shape.register
def _(section: Yolo, inputs: Sequence[Shape]) -> Shape:
    return inputs[0]


def strides_of(section: Convolutional | Maxpool) -> tuple[int, int]:
    """Return the vertical and the horizontal stride."""
    strides = (section.stride_y or section.stride, section.stride_x or section.stride)
    if min(strides) < 1:
        raise MisfitError(f"stride={min(strides)}", "the stride is at least 1")
    return strides


def conv_padding(section: Convolutional) -> int:
    """Return the pixels added on each side: ``pad=1`` means half the kernel."""
    return (section.size // 2 if section.pad else section.padding) * section.dilation


def pool_window(section: Maxpool) -> tuple[int, int]:
    """Return the window's size and Darknet's total padding, both sides together."""
    size = section.stride if section.size is None else section.size
    return size, size - 1 if section.padding is None else section.padding


def _check_filters(section: Section, before: LayerShape) -> None:
    """A head needs ``anchors * (5 + classes)`` channels, the number every beginner gets wrong."""
    if not isinstance(section, Yolo):
        return
    wanted, found = len(section.selected) * (5 + section.classes), before.out_shape.channels
    if found == wanted:
        return
    if not isinstance(before.section, Convolutional):
        text = f"[yolo] reads {found} channels, its classes and mask need {wanted}"
        raise MisfitError(text, f"put a [convolutional] with filters={wanted} before it")
    raise MisfitError(
        f"filters={found} before [yolo] do not fit classes={section.classes} and "
        f"{len(section.selected)} anchors in mask",
        f"set filters={wanted} here",
        before.section,
    )


def _stride(section: Section, stride: Fraction | None) -> Fraction | None:
    if stride is None:
        return None
    if isinstance(section, (Convolutional, Maxpool)):
        return stride * max(strides_of(section))
    if isinstance(section, Upsample):
        return stride / section.stride if section.stride > 0 else stride * -section.stride
    if isinstance(section, Reorg):
        return stride / section.stride if section.reverse else stride * section.stride
    return stride
