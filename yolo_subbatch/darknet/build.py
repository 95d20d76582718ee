"""One torch module for each section of a cfg.

Source: darknet ``parse_network_cfg`` in src/parser.c and the ``make_*_layer`` functions of pjreddie/darknet and
AlexeyAB/darknet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

from torch import nn

from yolo_subbatch.darknet.gaussian import GaussianHead
from yolo_subbatch.darknet.geometry import LayerShape
from yolo_subbatch.darknet.layers import (
    Add,
    Concat,
    ConnectedLayer,
    ConvolutionalLayer,
    CropLayer,
    GlobalAveragePool,
    L2Norm,
    MaxPool,
    ReorgLayer,
    SoftmaxLayer,
    UpsampleLayer,
    activation,
)
from yolo_subbatch.darknet.layers_alexeyab import (
    Blur,
    DepthMaxPool,
    DropBlock,
    LocalAveragePool,
    Multiply,
    Reorg3dLayer,
    SharedConvolutionalLayer,
    WeightedAdd,
)
from yolo_subbatch.darknet.loss import YoloHead
from yolo_subbatch.darknet.loss_alexeyab import AlexeyabHead
from yolo_subbatch.darknet.norm import PointBatchNorm, UntrainedBatchNorm
from yolo_subbatch.darknet.region import RegionHead
from yolo_subbatch.darknet.sections import (
    Activation,
    Avgpool,
    Batchnorm,
    Connected,
    Convolutional,
    Crop,
    Dropout,
    Empty,
    GaussianYolo,
    L2norm,
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
    Softmax,
    Upsample,
    Yolo,
)
from yolo_subbatch.darknet.shape_rules import (
    blur_window,
    conv_padding,
    dilation_of,
    inner_strides,
    pool_window,
    strides_of,
)

DROPOUT = {"pjreddie": 0.5, "alexeyab": 0.2}  # probability, where the cfg has none


def build_layers(table: Sequence[LayerShape], flavour: str) -> nn.ModuleList:
    """Return the module of every layer; ``flavour`` is ``pjreddie`` or ``alexeyab``."""
    layers: list[nn.Module] = []
    for shape in table:
        layers.append(_shared(shape, layers) if shape.shares else build(shape.section, shape, flavour))
    return nn.ModuleList(layers)


@singledispatch
def build(section: Section, shape: LayerShape, flavour: str) -> nn.Module:
    """Return the module of one section; ``shape`` tells what comes in and goes out."""
    raise TypeError(f"no layer for [{section.title}]")


def batch_norm(shape: LayerShape, kind: type[nn.BatchNorm2d] = nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Return the batch normalisation of cuDNN, on which Darknet's networks are trained, of a layer's output."""
    # The running variance starts at torch's 1, not Darknet's 0, which makes an untrained network's output infinite.
    channels, height, width = shape.out_shape
    if kind is nn.BatchNorm2d and height * width == 1:
        kind = PointBatchNorm
    return kind(channels, eps=1e-5, momentum=0.01)


@build.register
def _(section: Convolutional, shape: LayerShape, flavour: str) -> nn.Module:
    channels = shape.in_shape.channels
    conv = nn.Conv2d(
        channels, section.filters, section.size, inner_strides(section), conv_padding(section), dilation_of(section),
        section.groups, bias=not section.batch_normalize,
    )  # fmt: skip
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (section.size**2 * channels // section.groups)))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    bn = batch_norm(shape) if section.batch_normalize else nn.Identity()
    act = _blurred(section, activation(section.activation), section.filters)
    return ConvolutionalLayer(conv, bn, act)


def _shared(shape: LayerShape, layers: Sequence[nn.Module]) -> SharedConvolutionalLayer:
    """Return a convolution with the weights of an earlier one."""
    section, owner = shape.section, layers[shape.owner]
    assert isinstance(section, Convolutional)
    assert isinstance(owner, ConvolutionalLayer)
    act = _blurred(section, activation(section.activation), section.filters)
    return SharedConvolutionalLayer(owner, inner_strides(section), conv_padding(section), dilation_of(section), act)


@build.register
def _(section: Maxpool, shape: LayerShape, flavour: str) -> nn.Module:
    if section.maxpool_depth:
        return DepthMaxPool(section.out_channels)
    size, padding = pool_window(section)
    return _blurred(section, MaxPool(size, inner_strides(section), padding), shape.in_shape.channels)


def _blurred(section: Convolutional | Maxpool, layer: nn.Module, channels: int) -> nn.Module:
    """Return the layer with the blur of ``antialiasing`` after it, where the section asks for it."""
    if not section.antialiasing:
        return layer
    return nn.Sequential(layer, Blur(channels, blur_window(section)[0], strides_of(section)))


@build.register
def _(section: LocalAvgpool, shape: LayerShape, flavour: str) -> nn.Module:
    size, padding = pool_window(section)
    return LocalAveragePool(size, strides_of(section), padding)


@build.register
def _(section: Avgpool, shape: LayerShape, flavour: str) -> nn.Module:
    return GlobalAveragePool()


@build.register
def _(section: Dropout, shape: LayerShape, flavour: str) -> nn.Module:
    probability = DROPOUT[flavour] if section.probability is None else section.probability
    if section.dropblock:
        return DropBlock(probability, section.dropblock_size_abs, section.dropblock_size_rel)
    return nn.Dropout(probability)


@build.register
def _(section: Softmax, shape: LayerShape, flavour: str) -> nn.Module:
    return SoftmaxLayer(section.groups, section.temperature)


@build.register
def _(section: Route, shape: LayerShape, flavour: str) -> nn.Module:
    return Concat(section.groups, section.group_id)


@build.register
def _(section: Shortcut, shape: LayerShape, flavour: str) -> nn.Module:
    act = activation(section.activation)
    if len(shape.sources) == 2 and section.weights_type == "none":
        return Add(section.alpha, section.beta, act)
    channels = {"none": 0, "per_channel": shape.out_shape.channels}.get(section.weights_type, 1)
    return WeightedAdd(len(shape.sources), channels, section.weights_normalization, act)


@build.register(ScaleChannels)
@build.register(Sam)
def _(section: ScaleChannels | Sam, shape: LayerShape, flavour: str) -> nn.Module:
    return Multiply(activation(section.activation))


@build.register
def _(section: Upsample, shape: LayerShape, flavour: str) -> nn.Module:
    return UpsampleLayer(section.stride, section.scale)


@build.register
def _(section: Reorg, shape: LayerShape, flavour: str) -> nn.Module:
    return ReorgLayer(section.stride, bool(section.reverse))


@build.register
def _(section: Reorg3d, shape: LayerShape, flavour: str) -> nn.Module:
    return Reorg3dLayer(section.stride, bool(section.reverse))


@build.register
def _(section: Connected, shape: LayerShape, flavour: str) -> nn.Module:
    inputs = math.prod(shape.in_shape)
    linear = nn.Linear(inputs, section.output, bias=not section.batch_normalize)
    nn.init.uniform_(linear.weight, -math.sqrt(2 / inputs), math.sqrt(2 / inputs))
    if not section.batch_normalize:
        nn.init.zeros_(linear.bias)
    bn = batch_norm(shape) if section.batch_normalize else nn.Identity()
    return ConnectedLayer(linear, bn, activation(section.activation))


@build.register
def _(section: Crop, shape: LayerShape, flavour: str) -> nn.Module:
    return CropLayer(section.crop_height, section.crop_width, not section.noadjust)


@build.register
def _(section: Batchnorm, shape: LayerShape, flavour: str) -> nn.Module:
    return batch_norm(shape, UntrainedBatchNorm if flavour == "pjreddie" else nn.BatchNorm2d)


@build.register
def _(section: Activation, shape: LayerShape, flavour: str) -> nn.Module:
    act = activation(section.activation)
    if isinstance(act, (nn.LeakyReLU, nn.ReLU, nn.ReLU6)):
        act.inplace = False  # other layers may read what this one reads
    return act


@build.register
def _(section: L2norm, shape: LayerShape, flavour: str) -> nn.Module:
    return L2Norm()


@build.register
def _(section: Empty, shape: LayerShape, flavour: str) -> nn.Module:
    return nn.Identity()


@build.register
def _(section: Yolo, shape: LayerShape, flavour: str) -> nn.Module:
    head = AlexeyabHead if flavour == "alexeyab" else YoloHead
    return head(section, shape.cell)


@build.register
def _(section: GaussianYolo, shape: LayerShape, flavour: str) -> nn.Module:
    return GaussianHead(section, shape.cell)


@build.register
def _(section: Region, shape: LayerShape, flavour: str) -> nn.Module:
    return RegionHead(section, shape.cell, flavour)
