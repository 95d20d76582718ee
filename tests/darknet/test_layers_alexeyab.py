"""AlexeyAB's layers against plain loops written from what Darknet computes, and small networks that use them."""

from __future__ import annotations

import io
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from yolo_subbatch.darknet import Network, darknet_sgd, parse_cfg, train_batch
from yolo_subbatch.darknet.geometry import layer_table
from yolo_subbatch.darknet.layers import MaxPool, activation
from yolo_subbatch.darknet.layers_alexeyab import (
    Blur,
    DepthMaxPool,
    DropBlock,
    LocalAveragePool,
    Multiply,
    Reorg3dLayer,
    WeightedAdd,
)
from yolo_subbatch.darknet.report import parameter_count, weights_bytes
from yolo_subbatch.darknet.weights import load_weights, save_weights
from yolo_subbatch.errors import CfgError

LAYOUTS = [torch.contiguous_format, torch.channels_last]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=LAYOUTS, ids=["contiguous", "channels_last"])
def layout(request):
    return request.param


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return normal numbers, the same for the same arguments, in float64."""
    return torch.from_numpy(np.random.default_rng((seed, *shape)).normal(0, 2, shape))


def outputs_of(body: str, height: int = 8, width: int = 12, channels: int = 4, seed: int = 0) -> list[torch.Tensor]:
    """Run a small network in float64 and check its sizes against the table."""
    cfg = parse_cfg(f"[net]\nwidth={width}\nheight={height}\nchannels={channels}\n{body}")
    torch.manual_seed(seed)
    network = Network(cfg).double().eval()
    with torch.no_grad():
        found = network.layer_outputs(some(2, channels, height, width))
    assert [tuple(each.shape[1:]) for each in found] == [tuple(layer.out_shape) for layer in layer_table(cfg)]
    return found


# Blur


def blurred(x: np.ndarray, size: int, strides: tuple[int, int]) -> np.ndarray:
    """Filter every channel by itself; 3 x 3 with a border of zeros, 2 x 2 without."""
    row = np.array([1, 2, 1] if size == 3 else [1, 1], float)
    kernel = np.outer(row, row) / row.sum() ** 2
    if size == 3:
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    down, across = strides
    shape = (*x.shape[:2], (x.shape[2] - size) // down + 1, (x.shape[3] - size) // across + 1)
    out = np.zeros(shape)
    for b, k, i, j in np.ndindex(shape):
        out[b, k, i, j] = (x[b, k, i * down : i * down + size, j * across : j * across + size] * kernel).sum()
    return out


@pytest.mark.parametrize("size", [3, 2])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1), (1, 3)])
def test_blur_equals_a_plain_loop(size, strides, layout):
    x = some(2, 3, 6, 7)
    found = Blur(3, size, strides).double()(x.contiguous(memory_format=layout))
    assert np.abs(found.numpy() - blurred(x.numpy(), size, strides)).max() < 1e-12


@pytest.mark.parametrize(("antialiasing", "size"), [(1, 3), (2, 2)])
def test_antialiasing_blurs_what_a_layer_of_stride_1_gives(antialiasing, size):
    conv = f"[conv]\nfilters=5\nsize=3\npad=1\nstride=2\nactivation=leaky\nantialiasing={antialiasing}\n"
    pool = f"[maxpool]\nsize=2\nstride=2\nantialiasing={antialiasing}\n"
    found = outputs_of(conv + pool)
    plain = outputs_of("[conv]\nfilters=5\nsize=3\npad=1\nactivation=leaky\n")
    assert np.abs(found[0].numpy() - blurred(plain[0].numpy(), size, (2, 2))).max() < 1e-6
    pooled = MaxPool(2, (1, 1), 1)(found[0])
    assert np.abs(found[1].numpy() - blurred(pooled.numpy(), size, (2, 2))).max() < 1e-6


def test_a_blur_has_no_weights():
    network = Network(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\nantialiasing=1\nstride=2\n"))
    assert sorted(network.state_dict()) == ["layers.0.conv.bias", "layers.0.conv.weight"]


# Pools


@pytest.mark.parametrize(("channels", "kept"), [(6, 2), (6, 6), (6, 1), (7, 3), (5, 4)])
def test_a_maximum_over_channels(channels, kept, layout):
    x = some(2, channels, 3, 4)
    wanted = np.stack([x.numpy()[:, start::kept].max(1) for start in range(kept)], 1)
    assert np.array_equal(DepthMaxPool(kept)(x.contiguous(memory_format=layout)).numpy(), wanted)


def test_maxpool_depth_in_a_network():
    found = outputs_of(
        "[conv]\nfilters=6\nactivation=linear\n[maxpool]\nmaxpool_depth=1\nout_channels=4\nsize=1\nstride=1\n"
    )
    first = found[0].numpy()
    assert np.array_equal(found[1][:, 1].numpy(), np.maximum(first[:, 1], first[:, 5]))
    assert np.array_equal(found[1][:, 2].numpy(), first[:, 2])


def local_mean(x: np.ndarray, size: int, strides: tuple[int, int], padding: int) -> np.ndarray:
    down, across = strides
    shape = (*x.shape[:2], (x.shape[2] + padding - size) // down + 1, (x.shape[3] + padding - size) // across + 1)
    start, out = -(padding // 2), np.empty(shape)
    for b, k, i, j in np.ndindex(shape):
        rows = [row for row in range(start + i * down, start + i * down + size) if 0 <= row < x.shape[2]]
        columns = [
            column for column in range(start + j * across, start + j * across + size) if 0 <= column < x.shape[3]
        ]
        out[b, k, i, j] = x[b, k][np.ix_(rows, columns)].mean()
    return out


@pytest.mark.parametrize(
    ("size", "strides"), [(2, (2, 2)), (3, (1, 1)), (3, (2, 2)), (2, (1, 1)), (4, (2, 1)), (1, (1, 1))]
)
@pytest.mark.parametrize("padding", [None, 0, 1])
def test_local_means_count_only_the_map(size, strides, padding, layout):
    x = some(2, 3, 7, 6)
    pads = size - 1 if padding is None else min(padding, size - 1)
    found = LocalAveragePool(size, strides, pads)(x.contiguous(memory_format=layout))
    assert np.abs(found.numpy() - local_mean(x.numpy(), size, strides, pads)).max() < 1e-12


def test_a_local_avgpool_in_a_network():
    found = outputs_of("[conv]\nfilters=3\n[local_avgpool]\nsize=3\nstride=2\n[local_avg]\nstride=2\n")
    assert np.abs(found[1].numpy() - local_mean(found[0].numpy(), 3, (2, 2), 2)).max() < 1e-12
    assert np.abs(found[2].numpy() - local_mean(found[1].numpy(), 2, (2, 2), 1)).max() < 1e-12


# Shortcut with several sources and weights


def weighted(maps: list[np.ndarray], weights: np.ndarray | None, normalization: str) -> np.ndarray:
    """Darknet's sum, value by value; ``weights`` is ``(maps, channels or 1)``."""
    out = np.zeros_like(maps[0])
    for b, k, i, j in np.ndindex(out.shape):
        if weights is None:
            factors = np.ones(len(maps))
        else:
            factors = weights[:, min(k, weights.shape[1] - 1)].copy()
            if normalization == "softmax":
                factors = np.exp(factors - factors.max())
            if normalization == "relu":
                factors = np.maximum(factors, 0)
            if normalization != "none":
                factors /= factors.sum() + 1e-4
        out[b, k, i, j] = sum(f * m[b, k, i, j] for f, m in zip(factors, maps, strict=True) if k < m.shape[1])
    return out


@pytest.mark.parametrize("channels", [0, 1, 4])
@pytest.mark.parametrize("normalization", ["none", "relu", "softmax"])
@pytest.mark.parametrize("others", [(4,), (4, 4), (2, 6, 4)])
def test_a_weighted_sum_equals_a_plain_loop(channels, normalization, others, layout):
    maps = [some(2, count, 3, 5, seed=seed) for seed, count in enumerate((4, *others))]
    layer = WeightedAdd(len(maps), channels, normalization, nn.Identity()).double()
    weights = None
    if layer.weight is not None:
        weights = np.random.default_rng(1).normal(0.5, 1, layer.weight.shape)
        layer.weight.data = torch.from_numpy(weights)
    found = layer(*(each.contiguous(memory_format=layout) for each in maps))
    wanted = weighted([each.numpy() for each in maps], weights, normalization)
    assert np.abs(found.detach().numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize("normalization", ["none", "relu", "softmax"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_a_weighted_sum_are_darknets(channels, normalization):
    """The weights learn as if they were not normalised: what arrives times the map, summed."""
    maps = [some(2, 3, 4, 4, seed=seed).requires_grad_() for seed in range(3)]
    layer = WeightedAdd(3, channels, normalization, nn.Identity()).double()
    layer.weight.data = torch.from_numpy(np.random.default_rng(2).normal(0.4, 1, (3, channels)))
    arriving = some(2, 3, 4, 4, seed=9)
    layer(*maps).backward(arriving)
    products = torch.stack([(arriving * each.detach()).sum((0, 2, 3)) for each in maps])  # (3, C)
    wanted = products if channels == 3 else products.sum(1, keepdim=True)
    assert torch.allclose(layer.weight.grad, wanted)
    ones = [torch.zeros(1, 3, 1, 1, dtype=torch.float64) for _ in maps]
    for index, each in enumerate(maps):
        factor = layer(*ones[:index], ones[index] + 1, *ones[index + 1 :]).detach()  # the map's own weight
        assert torch.allclose(each.grad, arriving * factor)


@pytest.mark.parametrize("kind", ["per_feature", "per_layer", "per_channel"])
def test_weights_start_at_one(kind):
    body = "[conv]\nfilters=3\nactivation=linear\n[conv]\nfilters=3\nactivation=linear\n[conv]\nfilters=3\nactivation=linear\n"
    plain = outputs_of(f"{body}[shortcut]\nfrom=-2,-3\nactivation=mish\n")
    found = outputs_of(f"{body}[shortcut]\nfrom=-2,-3\nactivation=mish\nweights_type={kind}\n")
    softened = outputs_of(f"{body}[shortcut]\nfrom=-2,-3\nweights_type={kind}\nweights_normalization=softmax\n")
    assert torch.equal(found[3], plain[3])
    assert torch.allclose(found[3], activation("mish")(found[0] + found[1] + found[2]))
    assert torch.allclose(softened[3], (found[0] + found[1] + found[2]) / (3 + 1e-4), atol=1e-6)


def test_the_weights_of_a_shortcut_decay_and_train():
    cfg = parse_cfg(
        "[net]\nwidth=8\nheight=8\nchannels=3\ndecay=0.5\nlearning_rate=0.1\nmomentum=0\n[conv]\nfilters=6\n[conv]\n"
        "filters=6\n[shortcut]\nfrom=-2\nweights_type=per_channel\nweights_normalization=relu\n[yolo]\nclasses=1\nanchors=3,3\n"
    )
    network = Network(cfg)
    optimizer = darknet_sgd(network)
    decaying = [each for group in optimizer.param_groups if group["weight_decay"] for each in group["params"]]
    weight = network.layers[2].weight
    assert any(each is weight for each in decaying)
    train_batch(network, optimizer, torch.rand(2, 3, 8, 8), [torch.tensor([[0, 0.5, 0.5, 0.4, 0.4]])] * 2)
    assert not torch.equal(weight, torch.ones(2, 6))


# Products


@pytest.mark.parametrize("factor", [(2, 3, 1, 1), (2, 1, 4, 5), (2, 3, 4, 5)])
def test_a_product_of_maps(factor, layout):
    x, other = some(*factor), some(2, 3, 4, 5, seed=1).contiguous(memory_format=layout)
    wanted = np.maximum(x.numpy() * other.numpy(), 0)
    assert np.array_equal(Multiply(activation("relu"))(x, other).numpy(), wanted)


SQUEEZE = "[conv]\nfilters=6\nactivation=linear\n[avgpool]\n[conv]\nfilters=6\nactivation=logistic\n[scale_channels]\nfrom=0\n"


def test_scale_channels_goes_on_with_the_grid_of_its_source():
    body = f"{SQUEEZE}[conv]\nfilters=7\nstride=2\n[yolo]\nclasses=2\nanchors=3,3\n"
    found = outputs_of(body)
    assert torch.equal(found[3], found[0] * found[2])
    table = layer_table(parse_cfg(f"[net]\nwidth=12\nheight=8\nchannels=4\n{body}"))
    assert [layer.stride for layer in table] == [1, None, None, 1, 2, 2]


def test_scale_wh_multiplies_places():
    found = outputs_of(
        "[conv]\nfilters=6\n[conv]\nfilters=1\n[scale_channels]\nfrom=-2\nscale_wh=1\nactivation=leaky\n"
    )
    assert torch.equal(found[2], activation("leaky")(found[0] * found[1]))


def test_sam():
    found = outputs_of("[conv]\nfilters=6\n[conv]\nfilters=6\n[sam]\nfrom=-2\n")
    assert torch.equal(found[2], found[0] * found[1])


# Reorg3d


@pytest.mark.parametrize(("channels", "stride"), [(3, 2), (4, 1), (2, 3)])
def test_reorg3d_equals_a_plain_loop(channels, stride, layout):
    x = some(2, channels, 2 * stride, 3 * stride)
    out = Reorg3dLayer(stride, reverse=False)(x.contiguous(memory_format=layout))
    assert out.shape == (2, channels * stride**2, 2, 3)
    for b, k, i, j in np.ndindex(tuple(out.shape)):
        offset, c = divmod(k, channels)
        assert out[b, k, i, j] == x[b, c, i * stride + offset // stride, j * stride + offset % stride]
    back = Reorg3dLayer(stride, reverse=True)(out.contiguous(memory_format=layout))
    assert torch.equal(back, x)


def test_reorg3d_in_a_network():
    found = outputs_of("[reorg3d]\nstride=2\n[reorg3d]\nstride=2\nreverse=1\n")
    assert torch.equal(found[1], some(2, 4, 8, 12))


# Dropblock


SHARED = """[net]
width=32
height=32
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky
[route]
layers=-2
[convolutional]
share_index={share}
batch_normalize=1
filters=4
size=3
stride=1
pad=1
dilation=2
activation=mish
[route]
layers=-1,-3
[convolutional]
filters=18
activation=linear
[yolo]
mask=0,1,2
anchors=4,4,8,8,16,16
num=3
classes=1
"""


@pytest.fixture
def sharing() -> Network:
    torch.manual_seed(0)
    return Network(parse_cfg(SHARED.format(share=-2)))


def test_a_layer_computes_with_the_weights_of_another(sharing):
    """Its kernel and normalisation are the owner's, its dilation and activation its own."""
    owner, image = sharing.layers[1], torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        owner.bn.running_mean.uniform_(-1, 1)
        owner.bn.weight.uniform_(0.5, 2)
        outputs = sharing.eval().layer_outputs(image)
        mapped = nn.functional.conv2d(outputs[2], owner.conv.weight, padding=2, dilation=2)
        assert torch.allclose(outputs[3], nn.functional.mish(owner.bn(mapped)), atol=1e-6)
    again = Network(parse_cfg(SHARED.format(share=1))).eval()
    again.load_state_dict(sharing.state_dict())
    assert torch.equal(again(image)[0], sharing(image)[0])


def test_shared_weights_count_once(sharing):
    assert not list(sharing.layers[3].parameters())
    file = io.BytesIO()
    save_weights(sharing, file)
    assert len(file.getvalue()) == weights_bytes(sharing.cfg) == 20 + 4 * (3 * 36 + 16 + 4 * 36 + 16 + 18 * 8 + 18)
    assert parameter_count(sharing.cfg) == sum(each.numel() for each in sharing.parameters())
    file.seek(0)
    copy = Network(sharing.cfg)
    load_weights(copy, file)
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(copy.eval()(image)[0], sharing.eval()(image)[0])


def test_a_copy_shares_its_own_weights(sharing):
    for twin in (deepcopy(sharing), pickle.loads(pickle.dumps(sharing))):
        image = torch.rand(1, 3, 32, 32)
        before = sharing.eval()(image)[0]
        with torch.no_grad():
            twin.layers[1].conv.weight.zero_()
        assert torch.equal(sharing(image)[0], before)
        assert twin.eval().layer_outputs(image)[3].abs().max() == 0


def test_both_layers_teach_shared_weights(sharing):
    """The gradient is that of the layers together: the sum over two copies of the weights."""
    image, truths = torch.rand(2, 3, 32, 32), [torch.tensor([[0, 0.4, 0.6, 0.3, 0.5]])] * 2
    sharing.loss(sharing.eval()(image), truths).total.backward()
    separate = Network(parse_cfg(SHARED.format(share=-2).replace("share_index=-2\n", ""))).eval()
    separate.load_state_dict(sharing.state_dict(), strict=False)
    separate.layers[3].load_state_dict(sharing.layers[1].state_dict(), strict=False)
    separate.loss(separate(image), truths).total.backward()
    both = separate.layers[1].conv.weight.grad + separate.layers[3].conv.weight.grad
    assert torch.allclose(sharing.layers[1].conv.weight.grad, both, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("share", "change", "found"), [
    ("-1", "", r"share_index=-1 is a \[route\]"), ("9", "", "share_index=9 points outside"),
    ("-2", "filters=4", "share_index=-2: filters=8 here and 4 there"), ("0", "", "share_index=0: layer 0 reads 3 channels, this one 4"),
])  # fmt: skip
def test_what_cannot_be_shared_is_refused(share, change, found):
    text = SHARED.format(share=share)
    if change:
        head, _, tail = text.rpartition(change)
        text = f"{head}filters=8{tail}"
    with pytest.raises(CfgError, match=rf":20: {found}"):
        layer_table(parse_cfg(text))


def test_a_cost_at_the_end_of_a_classifier_passes_on():
    """So that resnet101.cfg and darknet9000.cfg load, for ``partial``."""
    body = "[avgpool]\n[softmax]\n"
    plain, costly = (outputs_of(text) for text in (body, f"{body}[cost]\ntype=sse\n"))
    assert torch.equal(plain[-1], costly[-1])
    assert len(costly) == len(plain) + 1


def test_dropblock_drops_squares_in_training_alone():
    torch.manual_seed(0)
    layer, x = DropBlock(0.2, 3, 0), torch.rand(4, 50, 8, 6) + 1
    assert torch.equal(layer.eval()(x), x)
    y = layer.train()(x)
    dropped = y == 0
    counts = dropped.sum((2, 3)).flatten().tolist()
    assert set(counts) == {0, 9}, "a channel loses one whole square or nothing"
    one = dropped[dropped.sum((2, 3)) == 9][0].nonzero()
    assert (one.amax(0) - one.amin(0)).tolist() == [2, 2]
    lost = dropped.flatten(1).double().mean(1)
    ratio = (y / x)[~dropped].double()
    assert ratio.unique().numel() <= 4 * 4
    assert torch.allclose((y / x).amax((1, 2, 3)).double(), 1 / (1 - lost), atol=1e-5)


@pytest.mark.parametrize(
    ("size_abs", "size_rel", "grown", "side"),
    [(7, 0, 1, 6), (4, 0, 0.5, 2), (0, 0.5, 1, 3), (0, 0, 1, 6), (3, 0, 0, 1)],
)
def test_the_square_of_dropblock_grows(size_abs, size_rel, grown, side):
    layer = DropBlock(1.0, size_abs, size_rel)
    layer.grown = grown
    assert layer._side(8, 6) == side


def test_a_network_tells_dropblock_how_far_the_training_is():
    network = Network(parse_cfg(
        "[net]\nwidth=8\nheight=8\nchannels=3\nbatch=10\nmax_batches=100\n[conv]\nfilters=4\n"
        "[dropout]\ndropblock=1\nprobability=.1\ndropblock_size_abs=7\n[conv]\n"
    ))  # fmt: skip
    grown = []
    for seen in (0, 425, 850, 2000):
        network.set_seen(seen)
        grown.append(network.layers[1].grown)
    assert grown == [0, 0.5, 1, 1]


@pytest.mark.parametrize(("flavour", "probability"), [("pjreddie", 0.5), ("alexeyab", 0.2)])
def test_the_usual_probability_of_a_dropout(flavour, probability):
    network = Network(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\n[dropout]\n"), flavour)
    assert network.layers[1].p == probability


# All of them at once: whoever changes one must not break tracing, training or memory formats

EVERYTHING = """
[net]
width=32
height=32
channels=3
batch=4
learning_rate=0.01
[convolutional]
filters=8
size=3
pad=1
stride=2
antialiasing=1
batch_normalize=1
activation=mish
[convolutional]
filters=8
size=3
pad=1
batch_normalize=1
activation=swish
[convolutional]
filters=8
size=1
activation=hard_mish
[shortcut]
from=-2,-3
weights_type=per_channel
weights_normalization=softmax
activation=leaky
[avgpool]
[convolutional]
filters=8
activation=logistic
[scale_channels]
from=-3
[convolutional]
filters=8
activation=gelu
[sam]
from=-2
[local_avgpool]
size=3
stride=1
[maxpool]
size=3
stride=2
antialiasing=2
[dropout]
dropblock=1
probability=.1
dropblock_size_abs=2
[maxpool]
maxpool_depth=1
out_channels=4
[reorg3d]
stride=2
[convolutional]
filters=8
activation=relu6
[route]
layers=-1
groups=2
group_id=1
[upsample]
[convolutional]
filters=7
activation=linear
[yolo]
classes=2
anchors=9,9
"""


@pytest.fixture
def everything() -> Network:
    torch.manual_seed(0)
    return Network(parse_cfg(EVERYTHING))


def test_a_network_of_all_layers_gives_the_sizes_of_the_table(everything):
    with torch.no_grad():
        found = everything.eval().layer_outputs(torch.rand(2, 3, 32, 32))
    assert [tuple(each.shape[1:]) for each in found] == [
        tuple(layer.out_shape) for layer in layer_table(everything.cfg)
    ]


def test_a_network_of_all_layers_is_the_same_in_every_memory_format(everything):
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        (wanted,) = everything.eval()(image)
        (found,) = everything.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_network_of_all_layers_trains(everything):
    optimizer = darknet_sgd(everything.train())
    truths = [torch.tensor([[1, 0.4, 0.6, 0.3, 0.5]])] * 4
    before = [each.detach().clone() for each in everything.parameters()]
    for seen in range(3):
        everything.set_seen(4 * seen)
        losses = train_batch(everything, optimizer, torch.rand(4, 3, 32, 32), truths, subdivisions=2)
        assert losses.total.isfinite()
    assert all(not torch.equal(old, new) for old, new in zip(before, everything.parameters(), strict=True))
