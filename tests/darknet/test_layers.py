"""The layers against plain loops and formulas written from what Darknet's C code computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import relative
from yolo_subbatch.darknet import Network, darknet_sgd, parse_cfg, train_batch
from yolo_subbatch.darknet.geometry import pool_window
from yolo_subbatch.darknet.layers import (
    Add,
    Concat,
    CropLayer,
    GlobalAveragePool,
    L2Norm,
    MaxPool,
    ReorgLayer,
    SoftmaxLayer,
    UpsampleLayer,
    activation,
)
from yolo_subbatch.darknet.network import plan
from yolo_subbatch.darknet.sections import ACTIVATIONS, Maxpool

LAYOUTS = [torch.contiguous_format, torch.channels_last]


pytestmark = pytest.mark.usefixtures("one_thread")


def layout_name(layout: torch.memory_format) -> str:
    return str(layout).removeprefix("torch.")


@pytest.fixture(params=LAYOUTS, ids=layout_name)
def layout(request):
    return request.param


def some(*shape: int, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    """Return normal numbers, the same for the same arguments, in float64."""
    return torch.from_numpy(np.random.default_rng((seed, *shape)).normal(0, scale, shape))


# Activations: value and derivative, as activations.h and activations.c have them


def logistic(x):
    return 1 / (1 + np.exp(-x))


def stair(x):
    n = np.floor(x)
    return np.where(n % 2 == 0, np.floor(x / 2), x - n + np.floor(x / 2))


def softplus(x):
    return np.where(x > 20, x, np.where(x < -20, np.exp(x), np.log(np.exp(np.minimum(x, 20)) + 1)))


VALUES = {
    "linear": lambda x: x,
    "logistic": logistic,
    "loggy": lambda x: 2 / (1 + np.exp(-x)) - 1,
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "elu": lambda x: (x >= 0) * x + (x < 0) * (np.exp(x) - 1),
    "selu": lambda x: (x >= 0) * 1.0507 * x + (x < 0) * 1.0507 * 1.6732 * (np.exp(x) - 1),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3)),
    "relie": lambda x: np.where(x > 0, x, 0.01 * x),
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "revleaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "tanh": lambda x: 2 / (1 + np.exp(-2 * x)) - 1,
    "plse": lambda x: np.where(x < -4, 0.01 * (x + 4), np.where(x > 4, 0.01 * (x - 4) + 1, 0.125 * x + 0.5)),
    "stair": stair,
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": lambda x: np.where(x < 0, 0.001 * x, np.where(x > 1, 0.001 * (x - 1) + 1, x)),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "swish": lambda x: x * logistic(x),
    "hard_mish": lambda x: np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0)),
}


def mish_slope(x):
    plus = softplus(x)
    return x * (1 - np.tanh(plus) ** 2) * (1 - np.exp(-plus)) + np.tanh(plus)


# Darknet takes the derivative from the output y where it can. gelu is left out: there Darknet puts the output in the
# place of the input, which is no derivative of anything.
SLOPES = {
    "linear": lambda x, y: np.ones_like(x),
    "logistic": lambda x, y: (1 - y) * y,
    "loggy": lambda x, y: 2 * (1 - (y + 1) / 2) * (y + 1) / 2,
    "relu": lambda x, y: (y > 0) * 1.0,
    "relu6": lambda x, y: ((y > 0) & (y < 6)) * 1.0,
    "elu": lambda x, y: (y >= 0) + (y < 0) * (y + 1),
    "selu": lambda x, y: (y >= 0) * 1.0507 + (y < 0) * (y + 1.0507 * 1.6732),
    "relie": lambda x, y: np.where(y > 0, 1, 0.01),
    "ramp": lambda x, y: (y > 0) + 0.1,
    "leaky": lambda x, y: np.where(y > 0, 1, 0.1),
    "revleaky": lambda x, y: np.where(y > 0, 1, 0.1),
    "tanh": lambda x, y: 1 - y * y,
    "plse": lambda x, y: np.where((y < 0) | (y > 1), 0.01, 0.125),
    "stair": lambda x, y: np.where(np.floor(y) == y, 0, 1),
    "hardtan": lambda x, y: ((y > -1) & (y < 1)) * 1.0,
    "lhtan": lambda x, y: np.where((y > 0) & (y < 1), 1, 0.001),
    "mish": lambda x, y: mish_slope(x),
    "swish": lambda x, y: y + logistic(x) * (1 - y),
    "hard_mish": lambda x, y: np.where(x > 0, 1, np.where(x > -2, x + 1, 0)),
}
CHANNELWISE = {"normalize_channels", "normalize_channels_softmax", "normalize_channels_softmax_maxval"}
SMOOTH = np.linspace(-7.97, 7.93, 601)  # off the whole numbers, where some have a kink
EVERY = np.concatenate([SMOOTH, np.arange(-25.0, 26), np.arange(-24.5, 25)])


def test_every_activation_is_tested():
    assert VALUES.keys() | CHANNELWISE == ACTIVATIONS
    assert VALUES.keys() - SLOPES.keys() == {"gelu"}


@pytest.mark.parametrize("name", VALUES)
def test_activation(name):
    with torch.no_grad():
        found = activation(name)(torch.from_numpy(EVERY.copy()).reshape(1, 1, 1, -1)).flatten().numpy()
    limit = 1e-5 if name == "gelu" else 1e-12  # Darknet's constants for gelu have six digits
    assert np.abs(found - VALUES[name](EVERY)).max() < limit


@pytest.mark.parametrize("name", SLOPES)
def test_gradient_of_an_activation(name):
    x = torch.from_numpy(SMOOTH.copy()).requires_grad_()
    incoming = torch.from_numpy(np.cos(np.arange(len(SMOOTH))))
    activation(name)(x * 1).backward(incoming)  # * 1: some work in place, which a leaf does not allow
    wanted = SLOPES[name](SMOOTH, VALUES[name](SMOOTH)) * incoming.numpy()
    assert np.abs(x.grad.numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize(
    ("name", "slope"),
    [("leaky", 0.1), ("relu", 0), ("relu6", 0), ("relie", 0.01), ("ramp", 0.1), ("lhtan", 0.001), ("elu", 1), ("selu", 1.0507),
     ("hardtan", 1), ("plse", 0.125), ("mish", 0.6), ("swish", 0.5), ("hard_mish", 1)],
)  # fmt: skip
def test_gradient_at_zero(name, slope):
    """Zeros are frequent in real maps, after a rectifier for instance."""
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    activation(name)(x * 1).sum().backward()
    assert x.grad.numpy() == pytest.approx(slope)


@pytest.mark.parametrize("name", ["leaky", "mish", "swish"])
def test_activations_of_large_numbers_stay_finite(name):
    x = torch.tensor([-1e4, -100.0, -50.0, 50.0, 100.0, 1e4], requires_grad=True)
    y = activation(name)(x * 1)
    y.sum().backward()
    negative = 0.1 if name == "leaky" else 0
    assert y.detach().numpy() == pytest.approx(
        np.array([-1e4 * negative, -100 * negative, -50 * negative, 50, 100, 1e4]), abs=1e-6
    )
    assert x.grad.numpy() == pytest.approx(np.array([negative] * 3 + [1.0] * 3), abs=1e-6)


@pytest.mark.parametrize("name", sorted(CHANNELWISE))
def test_activations_across_channels(name):
    x = some(2, 5, 3, 4)
    if name == "normalize_channels":
        kept = np.maximum(x.numpy(), 0)
    else:
        largest = x.numpy().max(1, keepdims=True) if name.endswith("maxval") else 0
        kept = np.exp(x.numpy() - largest)
    wanted = kept / (kept.sum(1, keepdims=True) + 1e-4)
    assert relative(activation(name)(x), wanted) < 1e-12


# Max-pool


def pool(x: np.ndarray, size: int, strides: tuple[int, int], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Darknet's maxima and, for the gradient, how often each place of ``x`` is the first of the largest."""
    batch, channels, height, width = x.shape
    down, across = strides
    out_height, out_width = (height + padding - size) // down + 1, (width + padding - size) // across + 1
    start = -(padding // 2)
    out = np.empty((batch, channels, out_height, out_width))
    chosen = np.zeros_like(x)
    for b, k, i, j in np.ndindex(out.shape):
        best, place = -np.inf, None
        for row in range(start + i * down, start + i * down + size):
            for column in range(start + j * across, start + j * across + size):
                if 0 <= row < height and 0 <= column < width and x[b, k, row, column] > best:
                    best, place = x[b, k, row, column], (b, k, row, column)
        out[b, k, i, j] = best
        chosen[place] += 1
    return out, chosen


SIDES = [(6, 6), (7, 5), (5, 8), (4, 3), (9, 2)]
WINDOWS = [
    (size, (stride, stride), padding)
    for size in (1, 2, 3, 4, 5)
    for stride in (1, 2, 3)
    for padding in sorted({0, 1, size // 2, size - 1, size})
    if padding - padding // 2 < size  # every window sees the map, as in any network that makes sense
] + [(2, (1, 2), 1), (2, (2, 1), 1), (3, (2, 1), 2), (3, (1, 3), 2), (9, (1, 1), 8), (13, (1, 1), 12)]


@pytest.mark.parametrize(("size", "strides", "padding"), WINDOWS)
def test_maxpool_equals_a_plain_loop(size, strides, padding, layout):
    fitting = [sides for sides in SIDES if min(sides) + padding >= size]
    assert len(fitting) > 2
    for height, width in fitting:
        x = -1 - some(2, 3, height, width).abs()  # all below zero: padding with zeros would win
        wanted, _ = pool(x.numpy(), size, strides, padding)
        found = MaxPool(size, strides, padding)(x.contiguous(memory_format=layout))
        assert np.array_equal(found.numpy(), wanted)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (2, 1), (3, 2), (3, 1), (4, 2), (5, 1)])
def test_the_first_of_equals_gets_the_gradient(size, stride, layout):
    for height, width in SIDES:
        x = some(1, 3, height, width, scale=0.7).round()  # many ties
        wanted, chosen = pool(x.numpy(), size, (stride, stride), size - 1)
        leaf = x.contiguous(memory_format=layout).requires_grad_()
        found = MaxPool(size, (stride, stride), size - 1)(leaf)
        found.sum().backward()
        assert np.array_equal(found.detach().numpy(), wanted)
        assert np.array_equal(leaf.grad.numpy(), chosen)


@pytest.mark.parametrize(
    ("section", "window"),
    [(Maxpool(), (1, 0)), (Maxpool(stride=2), (2, 1)), (Maxpool(size=3), (3, 2)), (Maxpool(size=3, padding=0), (3, 0)),
     (Maxpool(size=5, stride=2, padding=3), (5, 3))],
)  # fmt: skip
def test_window_and_padding_of_a_maxpool(section, window):
    assert pool_window(section) == window


# Shortcut


def shortcut(own: np.ndarray, other: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Darknet's ``shortcut_cpu`` into a copy of ``own``."""
    out = own.copy()
    _, c1, h1, w1 = other.shape
    batch, c2, h2, w2 = own.shape
    stride, sample = w1 // w2, w2 // w1
    assert (stride, sample) == (h1 // h2, h2 // h1)
    stride, sample = max(stride, 1), max(sample, 1)
    for b, k, j, i in np.ndindex(batch, min(c1, c2), min(h1, h2), min(w1, w2)):
        place = b, k, j * sample, i * sample
        out[place] = alpha * out[place] + beta * other[b, k, j * stride, i * stride]
    return out


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ((4, 6, 6), (4, 6, 6)), ((4, 6, 6), (2, 6, 6)), ((2, 6, 6), (4, 6, 6)),  # channels
        ((4, 3, 5), (4, 6, 10)), ((4, 2, 3), (4, 6, 9)), ((4, 6, 10), (4, 3, 5)), ((4, 8, 4), (4, 2, 1)),  # sizes
        ((4, 3, 5), (2, 6, 10)), ((2, 3, 5), (4, 6, 10)), ((4, 6, 10), (2, 3, 5)), ((2, 6, 10), (4, 3, 5)),  # both
    ],
)  # fmt: skip
@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (0.5, 1), (1, -2), (0.3, 0.7)])
def test_shortcut_equals_a_plain_loop(own, other, alpha, beta, layout):
    x, y = some(2, *own), some(2, *other, seed=1)
    kept = x.clone()
    found = Add(alpha, beta, nn.Identity())(x.contiguous(memory_format=layout), y.contiguous(memory_format=layout))
    assert np.abs(found.numpy() - shortcut(x.numpy(), y.numpy(), alpha, beta)).max() < 1e-14
    assert torch.equal(x, kept), "an input that another layer may read must not change"


@pytest.mark.parametrize("other", [(4, 6, 6), (2, 6, 6), (4, 12, 12)])
def test_shortcut_activates_its_sum(other):
    x, y = some(1, 4, 6, 6), some(1, *other, seed=1)
    found = Add(1, 1, activation("leaky"))(x.clone(), y)
    assert np.abs(found.numpy() - VALUES["leaky"](shortcut(x.numpy(), y.numpy(), 1, 1))).max() < 1e-14


def test_both_inputs_of_a_shortcut_get_their_gradient():
    x, y = some(1, 3, 4, 4).requires_grad_(), some(1, 5, 8, 8, seed=1).requires_grad_()
    Add(1, 2, nn.Identity())(x, y).sum().backward()
    wanted = np.zeros((1, 5, 8, 8))
    wanted[:, :3, ::2, ::2] = 2
    assert np.array_equal(x.grad.numpy(), np.ones((1, 3, 4, 4)))
    assert np.array_equal(y.grad.numpy(), wanted)


# Route, upsample, reorg, softmax, avgpool, dropout


@pytest.mark.parametrize(
    ("groups", "group_id", "wanted"),
    [
        (1, 0, [("a", range(4)), ("b", range(6))]),
        (2, 0, [("a", range(2)), ("b", range(3))]),
        (2, 1, [("a", range(2, 4)), ("b", range(3, 6))]),
    ],
)
def test_concat(groups, group_id, wanted, layout):
    maps = {"a": some(2, 4, 3, 5), "b": some(2, 6, 3, 5)}
    channels = [maps[name][:, channel] for name, part in wanted for channel in part]
    found = Concat(groups, group_id)(*(each.contiguous(memory_format=layout) for each in maps.values()))
    assert torch.equal(found, torch.stack(channels, 1))


@pytest.mark.parametrize(("groups", "group_id"), [(1, 0), (2, 0), (2, 1), (4, 2)])
def test_concat_of_one_map(groups, group_id):
    x = some(2, 8, 2, 3)
    part = 8 // groups
    assert torch.equal(Concat(groups, group_id)(x), x[:, group_id * part : (group_id + 1) * part])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_upsample(stride, scale, layout):
    x = some(2, 3, 4, 5)
    wanted = np.empty((2, 3, 4 * stride, 5 * stride))
    for b, k, j, i in np.ndindex(wanted.shape):
        wanted[b, k, j, i] = scale * x[b, k, j // stride, i // stride]
    assert np.array_equal(UpsampleLayer(stride, scale)(x.contiguous(memory_format=layout)).numpy(), wanted)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_negative_stride_sums_each_window(stride, scale, layout):
    x = some(2, 3, 2 * stride, 4 * stride)
    wanted = np.zeros((2, 3, 2, 4))
    for b, k, j, i in np.ndindex(tuple(x.shape)):
        wanted[b, k, j // stride, i // stride] += scale * x[b, k, j, i]
    found = UpsampleLayer(-stride, scale)(x.contiguous(memory_format=layout))
    assert np.abs(found.numpy() - wanted).max() < 1e-13


def reorg(x: np.ndarray, s: int, forward: bool) -> np.ndarray:
    """Darknet's ``reorg_cpu`` on one flat image of ``c, h, w``."""
    c, h, w = x.shape
    flat, out = x.ravel(), np.zeros(x.size)
    depth = c // (s * s)
    for k, j, i in np.ndindex(c, h, w):
        near = i + w * (j + h * k)
        column, row = i * s + k // depth % s, j * s + k // depth // s
        far = column + w * s * (row + h * s * (k % depth))
        if forward:
            out[far] = flat[near]
        else:
            out[near] = flat[far]
    return out


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (4, 2), (8, 2), (64, 2), (9, 3), (18, 3), (16, 4)])
@pytest.mark.parametrize("reverse", [False, True])
def test_reorg(channels, stride, reverse, layout):
    height, width = (3, 5) if reverse else (3 * stride, 2 * stride)
    x = some(2, channels, height, width)
    found = ReorgLayer(stride, reverse)(x.contiguous(memory_format=layout))
    area = stride**2
    if reverse:
        assert found.shape == (2, channels // area, height * stride, width * stride)
    else:
        assert found.shape == (2, channels * area, height // stride, width // stride)
    for image, wanted in zip(found.numpy(), x.numpy(), strict=True):
        assert np.array_equal(image.ravel(), reorg(wanted, stride, reverse))


@pytest.mark.parametrize("groups", [1, 2, 4, 12])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_softmax(groups, temperature, layout):
    x = some(2, 4, 3, 5)
    runs = x.numpy().reshape(2, groups, -1)
    powers = np.exp(runs / temperature - runs.max(2, keepdims=True) / temperature)
    wanted = (powers / powers.sum(2, keepdims=True)).reshape(x.shape)
    found = SoftmaxLayer(groups, temperature)(x.contiguous(memory_format=layout))
    assert found.shape == x.shape
    assert np.abs(found.numpy() - wanted).max() < 1e-14


def test_softmax_of_large_numbers():
    found = SoftmaxLayer(1, 1.0)(torch.tensor([1e4, 1e4, -1e4]).reshape(1, 3, 1, 1))
    assert found.flatten().tolist() == [0.5, 0.5, 0]


def test_average_pool(layout):
    x = some(2, 3, 4, 5)
    found = GlobalAveragePool()(x.contiguous(memory_format=layout))
    assert found.shape == (2, 3, 1, 1)
    assert np.abs(found.numpy().ravel() - x.numpy().reshape(6, 20).mean(1)).max() < 1e-14


def network_of(body: str, channels: int = 3, height: int = 8, width: int = 8) -> Network:
    torch.manual_seed(0)
    return Network(parse_cfg(f"[net]\nwidth={width}\nheight={height}\nchannels={channels}\n{body}")).double()


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5])
def test_dropout_is_off_outside_of_training_and_scaled_in_it(probability):
    network = network_of(f"[dropout]\nprobability={probability}\n", channels=16, height=32, width=32)
    x = some(1, 16, 32, 32).abs() + 1
    assert torch.equal(network.eval()(x)[0], x)
    dropped = network.train()(x)[0]
    gone = dropped == 0
    assert torch.allclose(dropped[~gone], x[~gone] / (1 - probability), rtol=1e-12)
    assert gone.double().mean().item() == pytest.approx(probability, abs=5 * math.sqrt(0.25 / x.numel()))


# Convolution


def convolution(x, weight, stride, pad, dilation, groups):
    """A plain loop over images, filters and places."""
    batch, _, height, width = x.shape
    filters, depth, size, _ = weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    reach = dilation * (size - 1) + 1
    out = np.empty(
        (batch, filters, (height + 2 * pad - reach) // stride[0] + 1, (width + 2 * pad - reach) // stride[1] + 1)
    )
    for b, n, i, j in np.ndindex(out.shape):
        first = n // (filters // groups) * depth
        top, left = i * stride[0], j * stride[1]
        part = padded[b, first : first + depth, top : top + reach : dilation, left : left + reach : dilation]
        out[b, n, i, j] = (part * weight[n]).sum()
    return out


@pytest.mark.parametrize(
    ("keys", "stride", "pad", "dilation", "groups"),
    [
        ("size=3 pad=1", (1, 1), 1, 1, 1),
        ("size=3 stride=2 pad=1 groups=2", (2, 2), 1, 1, 2),
        ("size=2 pad=1", (1, 1), 1, 1, 1),
        ("size=5 padding=1 groups=4", (1, 1), 1, 1, 4),
        ("size=1 stride=2", (2, 2), 0, 1, 1),
        ("size=3 pad=1 dilation=2", (1, 1), 2, 2, 1),
        ("size=3 pad=1 stride_x=3 stride_y=2", (2, 3), 1, 1, 1),
    ],
)
@pytest.mark.parametrize("normalized", [0, 1])
def test_convolutional_layer(keys, stride, pad, dilation, groups, normalized, layout):
    """Convolution, then normalisation with the stored statistics, scale and bias, then activation."""
    keys = keys.replace(" ", "\n")
    network = network_of(f"[conv]\nfilters=8\nbatch_normalize={normalized}\nactivation=leaky\n{keys}\n", 4, 7, 9).eval()
    conv, bn = network.layers[0].conv, network.layers[0].bn
    x = some(2, 4, 7, 9)
    wanted = convolution(x.numpy(), conv.weight.detach().numpy(), stride, pad, dilation, groups)
    bias = some(8, seed=1)
    if normalized:
        scale, mean, variance = some(8, seed=2), some(8, seed=3), some(8, seed=4).abs() + 0.1
        with torch.no_grad():
            for held, value in (
                (bn.bias, bias),
                (bn.weight, scale),
                (bn.running_mean, mean),
                (bn.running_var, variance),
            ):
                held.copy_(value)
        centred = wanted - mean.numpy()[:, None, None]
        wanted = centred / np.sqrt(variance.numpy()[:, None, None] + 1e-5) * scale.numpy()[:, None, None]
    else:
        with torch.no_grad():
            conv.bias.copy_(bias)
    wanted = VALUES["leaky"](wanted + bias.numpy()[:, None, None])
    found = network.to(memory_format=layout)(x.contiguous(memory_format=layout))[0]
    assert relative(found.detach(), wanted) < 1e-12


def test_a_new_convolution_has_darknets_spread():
    network = network_of(
        "[conv]\nfilters=64\nsize=3\ngroups=2\n[conv]\nfilters=64\nsize=3\nbatch_normalize=1\n", channels=32
    )
    plain, normalized = network.layers
    assert plain.conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 16)), rel=0.05)
    assert normalized.conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.05)
    assert not plain.conv.bias.any()
    assert normalized.conv.bias is None
    assert (normalized.bn.eps, normalized.bn.momentum) == (1e-5, 0.01)
    assert type(normalized.bn) is nn.BatchNorm2d


# The network as a whole

BRANCHED = """\
[conv]
filters=8
size=3
pad=1
batch_normalize=1
activation=mish
[conv]
filters=8
size=3
pad=1
activation=leaky
[shortcut]
from=-2
activation=leaky
[maxpool]
stride=2
[conv]
filters=4
size=3
pad=1
activation=relu
[upsample]
[route]
layers=-1,0
[route]
layers=-1
groups=2
group_id=1
[reorg]
stride=2
[conv]
filters=7
activation=linear
[yolo]
classes=2
anchors=4,4
[route]
layers=-5
[conv]
filters=4
stride=2
activation=leaky
[shortcut]
from=4
[dropout]
[softmax]
[conv]
filters=7
activation=linear
[yolo]
classes=2
anchors=2,2
"""


def test_a_network_gives_the_same_in_both_layouts():
    network = network_of(BRANCHED).eval()
    x = some(2, 3, 8, 8)
    with torch.no_grad():
        wanted = network.layer_outputs(x)
        network.to(memory_format=torch.channels_last)
        found = network.layer_outputs(x.contiguous(memory_format=torch.channels_last))
        maps = network(x.contiguous(memory_format=torch.channels_last))
    for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12), index
    for raw, index in zip(maps, network.head_indices, strict=True):
        assert torch.allclose(raw, wanted[index], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_an_activation_gives_the_same_in_both_layouts(name):
    x = some(2, 5, 3, 4).float()
    with torch.no_grad():
        one = activation(name)(x.clone())
        other = activation(name)(x.clone().contiguous(memory_format=torch.channels_last))
    assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)


def test_forward_equals_the_outputs_layer_by_layer():
    """An activation that works in place must not reach a map that a later layer still reads."""
    network = network_of(BRANCHED).eval()
    x = some(2, 3, 8, 8)
    kept = x.clone()
    with torch.no_grad():
        maps, outputs = network(x), network.layer_outputs(x)
        one_by_one = {-1: x}
        for index, (layer, sources) in enumerate(zip(network.layers, network.sources, strict=True)):
            one_by_one[index] = layer(*(one_by_one[source].clone() for source in sources)).clone()
    assert torch.equal(x, kept)
    assert network.head_indices == [9, 16]
    assert [torch.equal(raw, outputs[index]) for raw, index in zip(maps, network.head_indices, strict=True)] == [
        True,
        True,
    ]
    assert all(torch.equal(output, one_by_one[index]) for index, output in enumerate(outputs))


def test_a_network_without_a_head_gives_its_last_layer():
    network = network_of("[conv]\nfilters=2\n[maxpool]\nstride=2\n").eval()
    x = some(1, 3, 8, 8)
    with torch.no_grad():
        (found,) = network(x)
        assert torch.equal(found, network.layer_outputs(x)[-1])


def random_sources(seed: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [
        tuple(int(each) for each in rng.integers(-1, index, rng.integers(1, 4))) for index in range(rng.integers(1, 25))
    ]


@pytest.mark.parametrize("seed", range(40))
def test_outputs_are_freed_after_their_last_reader(seed):
    sources = random_sources(seed)
    rng = np.random.default_rng(1000 + seed)
    wanted = sorted({int(each) for each in rng.integers(0, len(sources), 2)})
    held, ran = {-1}, []
    for index, unused in plan(sources, wanted):
        assert set(sources[index]) <= held, "a source was freed too early, or never computed"
        held.add(index)
        ran.append(index)
        assert set(unused) <= held
        held -= set(unused)
        readers = {source for later in range(index + 1, len(sources)) for source in sources[later]}
        assert held <= readers | set(wanted) | {index, -1}, "a map that nobody reads is kept"
    assert held - {-1} == set(wanted)
    assert ran == sorted(set(ran))


def test_layers_that_lead_to_no_head_are_left_out():
    assert [index for index, _ in plan([(-1,), (0,), (0,), (2,)], [3])] == [0, 2, 3]
    assert [index for index, _ in network_of(BRANCHED).plan] == [*range(10), *range(11, 17)]


def test_the_image_is_freed_after_its_last_reader():
    steps = plan([(-1,), (0,), (1, -1), (2,)], [3])
    assert [(index, set(unused)) for index, unused in steps] == [(0, set()), (1, {0}), (2, {1, -1}), (3, {2})]


# Heads

HEAD = "filters=12\n[yolo]\nclasses=1\nnum=3\nmask=0,2\nanchors=4,5,6,7,8,9\n"


@pytest.mark.parametrize(
    ("conv", "height", "width"),
    [("size=4\nstride=4", 6, 4), ("stride=2\nstride_y=4", 6, 8), ("size=3\nstride=2", 11, 7), ("size=5", 20, 12)],
)
def test_boxes_are_placed_by_the_grid(conv, height, width):
    """Darknet divides by the cells of the grid, whatever pixels the convolutions left out at the borders."""
    network = network_of(f"[conv]\nactivation=linear\n{conv}\n{HEAD}", height=24, width=16).eval()
    with torch.no_grad():
        maps = network(some(2, 3, 24, 16, scale=0.3))
        found = network.detections(maps).numpy()
    raw = maps[0].numpy().reshape(2, 2, 6, height, width)
    wanted = []
    for j, i, n in np.ndindex(height, width, 2):  # cells outer, anchors inner
        x, y, w, h, objectness, score = raw[:, n, :, j, i].T
        anchor = ((4, 5), (8, 9))[n]
        box = (
            (i + logistic(x)) / width * 16,
            (j + logistic(y)) / height * 24,
            np.exp(w) * anchor[0],
            np.exp(h) * anchor[1],
        )
        wanted.append(np.stack([*box, logistic(objectness), logistic(score)], 1))
    assert found.shape == (2, 2 * height * width, 6)
    assert np.abs(found - np.stack(wanted, 1)).max() < 1e-4


def test_a_head_gives_the_logistic_of_all_but_width_and_height(layout):
    network = network_of(f"[conv]\nactivation=linear\n{HEAD}scale_x_y=1.2\n").eval().to(memory_format=layout)
    with torch.no_grad():
        logits, output = network.layer_outputs(some(2, 3, 8, 8).contiguous(memory_format=layout))
    raw = logits.numpy().reshape(2, 2, 6, 8, 8)
    wanted = logistic(raw)
    wanted[:, :, :2] = wanted[:, :, :2] * 1.2 - 0.1
    wanted[:, :, 2:4] = raw[:, :, 2:4]
    assert np.abs(output.numpy().reshape(raw.shape) - wanted).max() < 1e-12


# stopbackward

FROZEN = "".join(
    f"[conv]\nfilters={filters}\nsize=3\npad=1\nbatch_normalize={normalized}\nactivation=leaky\n{{{index}}}"
    for index, (filters, normalized) in enumerate([(4, 1), (4, 0), (6, 1), (5, 0)])
)


@pytest.mark.parametrize("at", [None, 0, 1, 2, 3])
def test_nothing_up_to_a_stopbackward_is_trained(at):
    marks = ["stopbackward=1\n" if index == at else "" for index in range(4)]
    network = network_of(FROZEN.format(*marks)).train()
    x = some(2, 3, 8, 8)
    (out,) = network(x)
    if at == 3:
        assert not out.requires_grad
    else:
        out.square().sum().backward()
    trained = [
        index for index, layer in enumerate(network.layers) if any(p.grad is not None for p in layer.parameters())
    ]
    assert trained == list(range(0 if at is None else at + 1, 4))
    for index in trained:
        assert all(parameter.grad.abs().max() > 0 for parameter in network.layers[index].parameters())


def test_the_last_of_several_stopbackwards_counts():
    network = network_of(FROZEN.format("stopbackward=1\n", "", "stopbackward=1\n", "")).train()
    network(some(2, 3, 8, 8))[0].sum().backward()
    assert [any(p.grad is not None for p in layer.parameters()) for layer in network.layers] == [
        False,
        False,
        False,
        True,
    ]


def test_a_shortcut_does_not_lead_around_a_stopbackward():
    body = "[conv]\nfilters=4\n[conv]\nfilters=4\nstopbackward=1\n[conv]\nfilters=4\n[shortcut]\nfrom=0\n[conv]\nfilters=2\n"
    network = network_of(body).train()
    network(some(2, 3, 8, 8))[0].sum().backward()
    assert [layer.conv.weight.grad is not None for layer in network.layers if hasattr(layer, "conv")] == [
        False,
        False,
        True,
        True,
    ]


def test_a_stopbackward_changes_no_output_and_statistics_still_move():
    plain, frozen = network_of(FROZEN.format("", "", "", "")), network_of(FROZEN.format("", "", "stopbackward=1\n", ""))
    x = some(2, 3, 8, 8)
    assert torch.equal(plain.train()(x)[0], frozen.train()(x)[0])
    for one, other in zip(plain.buffers(), frozen.buffers(), strict=True):
        assert torch.equal(one, other)
    assert frozen.layers[0].bn.running_mean.abs().max() > 0


# Connected, crop, l2norm, batchnorm, activation, empty


@pytest.mark.parametrize("norm", [0, 1])
def test_connected_reads_every_value_in_darknets_order(norm, layout):
    network = network_of(f"[connected]\noutput=4\nactivation=leaky\nbatch_normalize={norm}\n[conn]\noutput=2\n").eval()
    layer, x = network.layers[0], some(2, 3, 8, 8)
    if norm:
        layer.norm.running_mean += 0.5
        layer.norm.running_var *= 3
    with torch.no_grad():
        found = network.layer_outputs(x.contiguous(memory_format=layout))
    summed = x.numpy().reshape(2, -1) @ layer.linear.weight.detach().numpy().T  # channels outside, then rows
    wanted = (summed - 0.5) / np.sqrt(3 + 1e-5) if norm else summed + layer.linear.bias.detach().numpy()
    assert np.abs(found[0].numpy().reshape(2, 4) - VALUES["leaky"](wanted)).max() < 1e-12
    assert found[1].shape == (2, 2, 1, 1)


@pytest.mark.parametrize("noadjust", [0, 1])
def test_crop_takes_the_middle(noadjust, layout):
    x = some(2, 3, 7, 9)
    found = CropLayer(4, 5, not noadjust)(x.contiguous(memory_format=layout))
    middle = x[:, :, 1:5, 2:7]
    assert torch.equal(found, middle if noadjust else middle * 2 - 1)


def test_l2norm_gives_places_of_length_one(layout):
    x = some(2, 5, 3, 4)
    found = L2Norm()(x.contiguous(memory_format=layout))
    assert torch.allclose(found.square().sum(1), torch.ones(2, 3, 4, dtype=torch.float64))
    assert torch.allclose(found * x.norm(dim=1, keepdim=True), x)


def test_layers_of_their_own():
    network = network_of(
        "[batchnorm]\n[activation]\nactivation=elu\n[empty]\n[crop]\ncrop_height=2\ncrop_width=4\n[l2norm]\n"
    ).eval()
    network.layers[0].running_mean += 1
    x = some(2, 3, 8, 8)
    with torch.no_grad():
        found = network.layer_outputs(x)
    assert isinstance(network.layers[0], nn.BatchNorm2d)
    assert torch.allclose(found[0], (x - 1) / math.sqrt(1 + 1e-5))
    assert torch.allclose(found[1], torch.nn.functional.elu(found[0]))
    assert torch.equal(found[2], found[1])
    assert [tuple(each.shape[1:]) for each in found[3:]] == [(3, 2, 4)] * 2


def test_a_window_of_one_pixel_has_no_dilation():
    """Darknet leaves it out, so that ``padding`` is not multiplied by it."""
    with torch.no_grad():
        (found,) = network_of("[conv]\nsize=1\npadding=1\ndilation=3\n").layer_outputs(some(1, 3, 8, 8))
    assert found.shape == (1, 1, 10, 10)


def test_a_single_number_is_normalised_to_the_bias():
    """One image and one place a channel, which torch refuses; with more the layer is torch's own."""
    body = "[avgpool]\n[convolutional]\nbatch_normalize=1\nfilters=3\nactivation=linear\n"
    network = Network(parse_cfg(f"[net]\nwidth=8\nheight=8\nchannels=3\n{body}")).train()
    bn, image = network.layers[1].bn, torch.rand(1, 3, 8, 8)
    torch.nn.init.normal_(bn.bias)
    (found,) = network(image)
    assert torch.equal(found[0, :, 0, 0], bn.bias)
    found.sum().backward()
    assert torch.equal(bn.bias.grad, torch.ones(3))
    mean = network.layers[1].conv(network.layers[0](image)).flatten()
    assert torch.allclose(bn.running_mean, 0.01 * mean)
    assert torch.equal(bn.running_var, torch.ones(3))
    twice = torch.cat((image, image.flip(0) * 0.5))
    own = torch.nn.BatchNorm2d(3, eps=1e-5, momentum=0.01)
    own.load_state_dict(bn.state_dict())
    x = torch.randn(2, 3, 1, 1)
    assert torch.equal(bn(x), own(x))
    assert network(twice)[0].shape == (2, 3, 1, 1)


@pytest.mark.parametrize(("flavour", "trained"), [("pjreddie", False), ("alexeyab", True)])
def test_pjreddies_darknet_trains_no_batchnorm_of_its_own(flavour, trained):
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=6\nactivation=linear\n[batchnorm]\n"
    network = Network(parse_cfg(f"{text}[yolo]\nclasses=1\nanchors=4,4\nmask=0\n"), flavour)
    before = {name: value.clone() for name, value in network.layers[1].state_dict().items()}
    optimizer = darknet_sgd(network)
    train_batch(network, optimizer, torch.rand(2, 3, 8, 8), [torch.tensor([[0, 0.4, 0.6, 0.3, 0.5]])] * 2)
    after = network.layers[1].state_dict()
    for name in ("weight", "bias"):
        assert torch.equal(before[name], after[name]) != trained
    assert not torch.equal(before["running_mean"], after["running_mean"]), "its statistics move"
