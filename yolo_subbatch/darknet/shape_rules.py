"""What each kind of layer reads, and the size of what it gives.

Source: darknet ``parse_*`` and ``make_*_layer`` functions of pjreddie/darknet and AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import NamedTuple

from yolo_subbatch.darknet.sections import (
    NOT_SHARED,
    Avgpool,
    Connected,
    Convolutional,
    Crop,
    LocalAvgpool,
    Maxpool,
    Reorg,
    Reorg3d,
    Route,
    Sam,
    ScaleChannels,
    Section,
    Shortcut,
    Softmax,
    Upsample,
)


class Shape(NamedTuple):
    """Channels, height and width of a feature map of one image."""

    channels: int
    height: int
    width: int


class MisfitError(Exception):
    """A section that does not fit its neighbours; ``layer_table`` adds the place."""

    def __init__(self, found: str, advice: str, section: Section | None = None) -> None:
        super().__init__(f"{found}; {advice}")
        self.section = section


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
    if not section.from_:
        raise MisfitError("[shortcut] without from", "give from=, for example from=-3")
    return (index - 1, *(_absolute(each, index, "from") for each in section.from_))


@sources_of.register(ScaleChannels)
@sources_of.register(Sam)
def _(section: ScaleChannels | Sam, index: int) -> tuple[int, ...]:
    if section.from_ is None:
        raise MisfitError(f"[{section.title}] without from", "give from=, for example from=-4")
    return (index - 1, _absolute(section.from_, index, "from"))


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


def owner_of(sections: Sequence[Section], index: int) -> int:
    """Return the layer whose weights layer ``index`` computes with: its own index, unless it has ``share_index``."""
    section = sections[index]
    if not isinstance(section, Convolutional) or section.share_index == NOT_SHARED:
        return index
    found = _absolute(section.share_index, index, "share_index")
    owner = sections[found]
    if not isinstance(owner, Convolutional):
        raise MisfitError(f"share_index={section.share_index} is a [{owner.title}]", "share those of a [convolutional]")
    for key in ("filters", "size", "groups", "batch_normalize"):
        own, other = getattr(section, key), getattr(owner, key)
        if own != other and (key != "batch_normalize" or not own or not other):
            raise MisfitError(
                f"share_index={section.share_index}: {key}={own} here and {other} there", "make them equal"
            )
    return owner_of(sections, found)


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
    reach = dilation_of(section) * (section.size - 1) + 1
    grown = 2 * conv_padding(section) - reach
    steps = inner_strides(section)
    height, width = ((side + grown) // step + 1 for side, step in zip((height, width), steps, strict=True))
    return Shape(section.filters, *_blurred(section, height, width))


@output_shape.register
def _(section: Maxpool, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    if section.maxpool_depth:
        if channels < section.out_channels:
            raise MisfitError(f"out_channels={section.out_channels} of {channels} channels", "lessen out_channels")
        return Shape(section.out_channels, height, width)
    return Shape(channels, *_blurred(section, *_pooled(section, inputs[0])))


@output_shape.register
def _(section: LocalAvgpool, inputs: Sequence[Shape]) -> Shape:
    return Shape(inputs[0].channels, *_pooled(section, inputs[0]))


def _pooled(section: Maxpool | LocalAvgpool, shape: Shape) -> tuple[int, int]:
    """Return height and width after a pooling window."""
    stride_y, stride_x = inner_strides(section)
    size, padding = pool_window(section)
    if padding - padding // 2 >= size:
        raise MisfitError(f"padding={padding} with size={size}", "a window would hold nothing but padding; lessen it")
    return (shape.height + padding - size) // stride_y + 1, (shape.width + padding - size) // stride_x + 1


def _blurred(section: Convolutional | Maxpool, height: int, width: int) -> tuple[int, int]:
    """Return height and width after the blur of ``antialiasing``, where there is one."""
    if not section.antialiasing:
        return height, width
    size, padding = blur_window(section)
    stride_y, stride_x = strides_of(section)
    return (height + 2 * padding - size) // stride_y + 1, (width + 2 * padding - size) // stride_x + 1


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
    own, other = inputs[:2]
    if len(inputs) > 2 or section.weights_type != "none":
        for each in inputs[1:]:
            if each[1:] != own[1:]:
                raise MisfitError(
                    f"[shortcut] adds a map of {each.width} x {each.height} to {own.width} x {own.height}",
                    "with several layers or with weights the sizes must be equal",
                )
        return own
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


@output_shape.register(Reorg)
@output_shape.register(Reorg3d)
def _(section: Reorg | Reorg3d, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    if section.stride < 1:
        raise MisfitError(f"stride={section.stride}", "the stride is at least 1")
    area = section.stride**2
    if section.reverse:
        if channels % area:
            raise MisfitError(f"[{section.title}] of {channels} channels", f"they must be a multiple of {area}")
        return Shape(channels // area, height * section.stride, width * section.stride)
    if height % section.stride or width % section.stride:
        raise MisfitError(
            f"[{section.title}] stride={section.stride} of a map of {width} x {height}",
            f"height and width must be multiples of {section.stride}",
        )
    return Shape(channels * area, height // section.stride, width // section.stride)


@output_shape.register
def _(section: ScaleChannels, inputs: Sequence[Shape]) -> Shape:
    factor, scaled = inputs
    fits = factor == Shape(1, *scaled[1:]) if section.scale_wh else factor == Shape(scaled.channels, 1, 1)
    if not fits:
        wanted = f"{scaled.width} x {scaled.height} x 1" if section.scale_wh else f"1 x 1 x {scaled.channels}"
        raise MisfitError(
            f"[scale_channels] multiplies by a map of {factor.width} x {factor.height} x {factor.channels}",
            f"its input must be {wanted} (scale_wh={section.scale_wh})",
        )
    return scaled


@output_shape.register
def _(section: Sam, inputs: Sequence[Shape]) -> Shape:
    own, other = inputs
    if own != other:
        raise MisfitError(
            f"[sam] multiplies {own.width} x {own.height} x {own.channels} by "
            f"{other.width} x {other.height} x {other.channels}",
            "both maps must have one size",
        )
    return own


@output_shape.register
def _(section: Connected, inputs: Sequence[Shape]) -> Shape:
    return Shape(section.output, 1, 1)


@output_shape.register
def _(section: Crop, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    if section.crop_height > height or section.crop_width > width:
        raise MisfitError(
            f"[crop] of {section.crop_width} x {section.crop_height} in {width} x {height}",
            "crop no more than there is",
        )
    return Shape(channels, section.crop_height, section.crop_width)


@output_shape.register
def _(section: Softmax, inputs: Sequence[Shape]) -> Shape:
    channels, height, width = inputs[0]
    values = channels * height * width
    if values % section.groups:
        raise MisfitError(f"groups={section.groups} does not divide the {values} values of a map", "change groups")
    return inputs[0]


def strides_of(section: Convolutional | Maxpool | LocalAvgpool) -> tuple[int, int]:
    """Return the vertical and the horizontal stride."""
    strides = (section.stride_y or section.stride, section.stride_x or section.stride)
    if min(strides) < 1:
        raise MisfitError(f"stride={min(strides)}", "the stride is at least 1")
    return strides


def inner_strides(section: Convolutional | Maxpool | LocalAvgpool) -> tuple[int, int]:
    """Return the strides of the convolution or the window itself: with ``antialiasing`` the blur takes them."""
    blurs = not isinstance(section, LocalAvgpool) and section.antialiasing
    strides = strides_of(section)
    return (1, 1) if blurs else strides


def blur_window(section: Convolutional | Maxpool) -> tuple[int, int]:
    """Return size and padding on each side of the blur of ``antialiasing``."""
    return (2, 0) if section.antialiasing == 2 else (3, 1)


def dilation_of(section: Convolutional) -> int:
    """Return the dilation; a window of one pixel has none."""
    return section.dilation if section.size > 1 else 1


def conv_padding(section: Convolutional) -> int:
    """Return the pixels added on each side: ``pad=1`` means half the kernel."""
    return (section.size // 2 if section.pad else section.padding) * dilation_of(section)


def pool_window(section: Maxpool | LocalAvgpool) -> tuple[int, int]:
    """Return the window's size and Darknet's total padding, both sides together."""
    size = section.stride if section.size is None else section.size
    return size, size - 1 if section.padding is None else section.padding
