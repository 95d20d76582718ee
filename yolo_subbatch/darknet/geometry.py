"""What each layer reads and gives, worked out from the cfg alone.

The builder, ``info``, the validation and the window's layer table all ask here, so that a wrong index or a wrong
number of filters is found, with its line, before torch is even imported.

Source: darknet ``parse_network_cfg_custom`` and the ``make_*_layer`` functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from yolo_subbatch.darknet.sections import (
    Avgpool,
    Cfg,
    Connected,
    Convolutional,
    HeadSection,
    LocalAvgpool,
    Maxpool,
    Region,
    Reorg,
    Reorg3d,
    ScaleChannels,
    Section,
    Upsample,
    once_per_cfg,
)
from yolo_subbatch.darknet.shape_rules import MisfitError as MisfitError
from yolo_subbatch.darknet.shape_rules import Shape as Shape
from yolo_subbatch.darknet.shape_rules import conv_padding as conv_padding
from yolo_subbatch.darknet.shape_rules import output_shape, owner_of, sources_of
from yolo_subbatch.darknet.shape_rules import pool_window as pool_window
from yolo_subbatch.darknet.shape_rules import strides_of as strides_of
from yolo_subbatch.errors import CfgError

LARGEST = 2**31 - 1  # numbers of one map


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
    owner: int = -1  # the layer whose weights it computes with: this one, but for ``share_index``

    @property
    def title(self) -> str:
        """The section's name."""
        return self.section.title

    @property
    def shares(self) -> bool:
        """Whether it computes with the weights of another layer."""
        return self.owner != self.index


@once_per_cfg
def layer_table(cfg: Cfg, width: int | None = None, height: int | None = None) -> tuple[LayerShape, ...]:
    """Work out every layer of a network.

    Args:
        cfg: The parsed cfg.
        width: Width of the network's input in pixels; the cfg's own by default.
        height: Its height.

    Raises:
        CfgError: If an index points outside the layers so far, or sizes, channels or filters do not fit.
    """
    image = Shape(cfg.net.channels, height or cfg.net.height, width or cfg.net.width)
    if math.prod(image) > LARGEST:
        found = f"{cfg.path}:{cfg.net.line}: an input of {image.width} x {image.height} x {image.channels}"
        raise CfgError(f"{found} is more than Darknet can count; lessen width, height or channels")
    table = [LayerShape(-1, cfg.net, (), image, image, Fraction(1))]  # shifted by one: table[i + 1] is layer i
    wrong_filters = [_placed(cfg, misfit, head) for head, misfit in _wrong_filters(cfg)]
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
            grid = inputs[1] if isinstance(section, ScaleChannels) else inputs[0]  # the other has one place alone
            stride = _stride(section, grid.stride)
            _check_size(section, shape, stride)
            _check_filters(section, table[-1].section, table[-1].out_shape.channels)
            owner = owner_of(cfg.sections, index)
            if owner != index and table[owner + 1].in_shape.channels != inputs[0].out_shape.channels:
                raise MisfitError(
                    f"share_index={getattr(section, 'share_index', '')}: layer {owner} reads "
                    f"{table[owner + 1].in_shape.channels} channels, this one {inputs[0].out_shape.channels}",
                    "share the weights of a layer with as many",
                )
        except MisfitError as misfit:
            text = _placed(cfg, misfit, index)
            raise CfgError("\n".join(wrong_filters if text in wrong_filters else [text])) from None
        cell = image.width / shape.width, image.height / shape.height
        table.append(LayerShape(index, section, sources, inputs[0].out_shape, shape, stride, cell, owner))
    return tuple(table[1:])


def _placed(cfg: Cfg, misfit: MisfitError, index: int) -> str:
    """Return what does not fit, with its place."""
    line = (misfit.section or cfg.sections[index]).line
    return f"{cfg.path}:{line}: {misfit}" if line else f"{cfg.path}: layer {index}: {misfit}"


def _wrong_filters(cfg: Cfg) -> Iterator[tuple[int, MisfitError]]:
    """Yield the heads right after a convolution whose filters do not fit them: what is wrong with one is with all."""
    for index, section in enumerate(cfg.sections[1:], 1):
        before = cfg.sections[index - 1]
        if isinstance(section, HeadSection) and isinstance(before, Convolutional):
            try:
                _check_filters(section, before, before.filters)
            except MisfitError as misfit:
                yield index, misfit


@once_per_cfg
def largest_stride(cfg: Cfg) -> int:
    """Return the number of pixels of which the network's width and height must be a multiple.

    A square network with a ``[connected]`` layer, whose weights belong to one size, has its whole side as a stride: so
    whoever pads images no further than needed pads them to that size.
    """
    if cfg.net.width == cfg.net.height and any(isinstance(section, Connected) for section in cfg.sections):
        return cfg.net.width
    strides = [layer.stride for layer in layer_table(cfg) if layer.stride is not None]
    return math.lcm(*(stride.numerator for stride in strides if stride.denominator == 1))


def check_detector(cfg: Cfg) -> None:
    """Raise CfgError unless the network has a detection head, and all of its heads the same classes."""
    if not cfg.heads:
        raise CfgError(f"{cfg.path}: the network has no [yolo] or [region] section; detection needs at least one")
    if len({head.classes for head in cfg.heads}) > 1:
        found = ", ".join(f"{head.classes} in line {head.line}" for head in cfg.heads)
        advice = "give all of them the same number, and each the filters= before it that fit"
        raise CfgError(f"{cfg.path}:{cfg.heads[-1].line}: the heads have different classes= ({found}); {advice}")


def with_classes(cfg: Cfg, classes: int) -> Cfg:
    """Return the cfg with every head, and the filters before it, for another number of classes.

    Raises:
        CfgError: If a head does not stand right after a convolution.
    """
    sections = list(cfg.sections)
    for index, section in enumerate(sections):
        if not isinstance(section, HeadSection):
            continue
        before = sections[index - 1] if index else None
        if not isinstance(before, Convolutional):
            raise CfgError(
                f"{cfg.path}:{section.line}: [{section.title}] does not follow a convolution; its classes cannot change"
            )
        changed = _head_with_classes(section, classes)
        sections[index - 1] = replace(before, filters=len(changed.selected) * changed.values)
        sections[index] = changed
    return replace(cfg, sections=tuple(sections))


def _head_with_classes(section: HeadSection, classes: int) -> HeadSection:
    """Return a head for other classes; what told of the old ones, a hierarchy or counters, goes."""
    if classes == section.classes:
        return section
    if isinstance(section, Region):
        return replace(section, classes=classes, tree="", map="")
    return replace(section, classes=classes, counters_per_class=())


def _check_size(section: Section, shape: Shape, stride: Fraction | None) -> None:
    """Refuse a map whose numbers, or a grid whose pixels, Darknet's 32 bits cannot count: nobody could compute it."""
    if math.prod(shape) > LARGEST:
        text = f"[{section.title}] would give a map of {shape.width} x {shape.height} x {shape.channels}"
        raise MisfitError(text, "it is more than Darknet can count; lessen it")
    if stride is not None and max(stride.numerator, stride.denominator) > LARGEST:
        raise MisfitError(f"[{section.title}] makes the strides so far multiply to over {LARGEST}", "lessen them")


def _check_filters(section: Section, before: Section, found: int) -> None:
    """A ``[yolo]`` head needs ``anchors * (5 + classes)`` channels, the number every beginner gets wrong."""
    if not isinstance(section, HeadSection):
        return
    wanted = len(section.selected) * section.values
    if found == wanted:
        return
    if not isinstance(before, Convolutional):
        text = f"[{section.title}] reads {found} channels, its classes and {_anchors_of(section)} need {wanted}"
        raise MisfitError(text, f"put a [convolutional] with filters={wanted} before it")
    raise MisfitError(
        f"filters={found} before [{section.title}] do not fit classes={section.classes} and "
        f"{len(section.selected)} anchors in {_anchors_of(section)}",
        f"set filters={wanted} here",
        before,
    )


def _anchors_of(section: HeadSection) -> str:
    """Return the key that says how many anchors a head has."""
    return "num" if isinstance(section, Region) else "mask"


def _stride(section: Section, stride: Fraction | None) -> Fraction | None:
    if stride is None or isinstance(section, (Avgpool, Connected)):
        return None
    if isinstance(section, (Convolutional, Maxpool, LocalAvgpool)):
        if isinstance(section, Maxpool) and section.maxpool_depth:
            return stride
        return stride * max(strides_of(section))
    if isinstance(section, Upsample):
        return stride / section.stride if section.stride > 0 else stride * -section.stride
    if isinstance(section, (Reorg, Reorg3d)):
        return stride / section.stride if section.reverse else stride * section.stride
    return stride
