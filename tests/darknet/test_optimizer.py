"""Darknet's update: what decays, what is frozen, and the numbers of two updates by hand."""

from __future__ import annotations

import pytest
import torch

from yolo_subbatch.darknet import Network, darknet_sgd, parse_cfg, set_rate, train_batch

RATE, MOMENTUM, DECAY = 0.1, 0.8, 0.05
CFG = f"""
[net]
batch=6
subdivisions=2
width=16
height=16
channels=3
learning_rate={RATE}
momentum={MOMENTUM}
decay={DECAY}

[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=5
size=1
activation=leaky
FIRST

[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky
SECOND

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=4,4, 9,9
classes=2
num=2
"""


def build(first: str = "", second: str = "", flavour: str = "pjreddie") -> Network:
    """Return the network in double precision with every number random, its keys put into two of the layers."""
    network = Network(parse_cfg(CFG.replace("FIRST", first).replace("SECOND", second)), flavour).double().train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3)
    return network


def batch(seed: int, count: int = 6) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 16, 16, generator=generator, dtype=torch.float64)
    rows = torch.rand(count, 2, 5, generator=generator, dtype=torch.float64) * 0.6 + 0.2
    rows[..., 0] = (rows[..., 0] > 0.5).double()
    return images, list(rows)


def kinds(network: Network) -> dict[str, list[torch.nn.Parameter]]:
    """Return the parameters by kind."""
    convolutions = [layer for layer in network.layers if hasattr(layer, "conv")]
    normal = [layer.bn for layer in convolutions if isinstance(layer.bn, torch.nn.BatchNorm2d)]
    return {
        "weights": [layer.conv.weight for layer in convolutions],
        "biases": [layer.conv.bias for layer in convolutions if layer.conv.bias is not None]
        + [each.bias for each in normal],
        "scales": [each.weight for each in normal],
    }


def group_of(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> dict:
    (group,) = [group for group in optimizer.param_groups if any(each is parameter for each in group["params"])]
    return group


# --- groups ---------------------------------------------------------------------------------------------------------


def test_the_optimizer_is_plain_sgd_over_every_parameter_once():
    network = build()
    optimizer = darknet_sgd(network)
    assert type(optimizer) is torch.optim.SGD
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())
    for group in optimizer.param_groups:
        assert not group["nesterov"]
        assert (group["momentum"], group["dampening"], group["lr"]) == (MOMENTUM, 0, RATE)
        assert not group["maximize"]


@pytest.mark.parametrize(("kind", "decay"), [("weights", DECAY), ("biases", 0), ("scales", 0)])
def test_only_the_weights_of_convolutions_decay(kind, decay):
    network = build()
    optimizer = darknet_sgd(network)
    parameters = kinds(network)[kind]
    assert parameters
    for parameter in parameters:
        group = group_of(optimizer, parameter)
        assert group["weight_decay"] == decay
        assert group["param_group"] == ("weight" if kind == "weights" else "bias")


def test_a_sections_own_rate_is_a_factor():
    network = build(first="learning_rate=.25", second="learning_rate=0")
    optimizer = darknet_sgd(network)
    for layer, factor in zip((0, 1, 2, 3), (1, 0.25, 0, 1), strict=True):
        for parameter in network.layers[layer].parameters():
            group = group_of(optimizer, parameter)
            assert group["rate_factor"] == factor
            assert group["lr"] == RATE * factor
    set_rate(optimizer, 0.008)
    set_rate(optimizer, 0.004)
    for layer, rate in zip((0, 1, 2, 3), (0.004, 0.001, 0, 0.004), strict=True):
        assert {group_of(optimizer, each)["lr"] for each in network.layers[layer].parameters()} == {rate}


def test_the_rate_of_an_optimizer_without_factors_is_set_as_it_is():
    optimizer = torch.optim.SGD(build().parameters(), lr=1)
    set_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5]


# --- the numbers of an update ---------------------------------------------------------------------------------------


class Darknet:
    """Follow ``update_convolutional_layer`` for every parameter of a network, with gradients computed apart."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.values = [parameter.detach().clone() for parameter in network.parameters()]
        self.updates = [torch.zeros_like(value) for value in self.values]  # already multiplied by the momentum
        weights = {id(parameter) for parameter in kinds(network)["weights"]}
        self.decays = [DECAY if id(parameter) in weights else 0.0 for parameter in network.parameters()]
        pairs = zip(network.cfg.sections, network.layers, strict=True)
        self.factors = [section.learning_rate for section, layer in pairs for _ in layer.parameters()]

    def update(self, deltas: list[torch.Tensor], rate: float, images: int) -> None:
        """Take one step; ``deltas`` are minus the gradients of the sum over the images."""
        for index, delta in enumerate(deltas):
            self.updates[index] += delta
            self.updates[index] += -self.decays[index] * images * self.values[index]
            self.values[index] += rate * self.factors[index] / images * self.updates[index]
            self.updates[index] *= MOMENTUM


@pytest.mark.parametrize("keys", [("", ""), ("learning_rate=.25", ""), ("learning_rate=3", "learning_rate=.5")])
def test_two_updates_equal_the_formula(keys):
    network = build(*keys)
    optimizer, formula = darknet_sgd(network), Darknet(network)
    generator = torch.Generator().manual_seed(1)
    for rate in (RATE, 0.03):
        set_rate(optimizer, rate)
        deltas = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in network.parameters()]
        for parameter, delta in zip(network.parameters(), deltas, strict=True):
            parameter.grad = -delta / 6  # the mean's gradient, as train_batch makes it
        optimizer.step()
        formula.update(deltas, rate, 6)
        for found, wanted in zip(network.parameters(), formula.values, strict=True):
            assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("subdivisions", [1, 2, 3])
def test_train_batch_takes_the_formulas_steps(subdivisions):
    network, twin = build("learning_rate=.5"), build("learning_rate=.5")
    optimizer, formula = darknet_sgd(network), Darknet(twin)
    for seed, rate in enumerate((0.05, 0.02)):
        images, truths = batch(seed)
        set_rate(optimizer, rate)
        train_batch(network, optimizer, images, truths, subdivisions)
        with torch.no_grad():
            for parameter, value in zip(twin.parameters(), formula.values, strict=True):
                parameter.copy_(value)
        twin.zero_grad()
        per = 6 // subdivisions
        for start in range(0, 6, per):  # deltas of all sub-batches add up
            part = slice(start, start + per)
            twin.loss(twin(images[part]), truths[part]).total.backward()
        formula.update([-parameter.grad for parameter in twin.parameters()], rate, 6)
        for found, wanted in zip(network.parameters(), formula.values, strict=True):
            assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_momentum_buffer_is_darknets_in_other_units():
    network = build()
    optimizer, formula = darknet_sgd(network), Darknet(network)
    for seed in range(2):
        images, truths = batch(seed)
        train_batch(network, optimizer, images, truths)
        formula.update([-6 * parameter.grad for parameter in network.parameters()], RATE, 6)
    for parameter, wanted in zip(network.parameters(), formula.updates, strict=True):
        buffer = optimizer.state[parameter]["momentum_buffer"]
        assert torch.allclose(-buffer * 6 * MOMENTUM, wanted, rtol=1e-9, atol=1e-12)


# --- frozen layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "frozen"),
    [
        (("", ""), 0),
        (("stopbackward=1", ""), 2),
        (("", "stopbackward=1"), 3),
        (("stopbackward=1", "stopbackward=1"), 3),
    ],
)
@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
def test_frozen_layers_decay_with_pjreddie_alone(keys, frozen, flavour):
    network = build(*keys, flavour=flavour)
    optimizer = darknet_sgd(network)
    before = [[parameter.detach().clone() for parameter in layer.parameters()] for layer in network.layers]
    buffers = [torch.zeros_like(layer.conv.weight) for layer in network.layers if hasattr(layer, "conv")]
    weights = [layer.conv.weight.detach().clone() for layer in network.layers if hasattr(layer, "conv")]
    for seed in range(2):
        train_batch(network, optimizer, *batch(seed))
        for weight, buffer in zip(weights, buffers, strict=True):
            buffer.mul_(MOMENTUM).add_(DECAY * weight)
            weight.sub_(RATE * buffer)
    for index, layer in enumerate(network.layers[:4]):
        for found, old in zip(layer.parameters(), before[index], strict=True):
            if index >= frozen:
                assert not torch.equal(found, old), "trained"
                assert found is not layer.conv.weight or not torch.allclose(found, weights[index]), "by more than decay"
            elif found is layer.conv.weight and flavour == "pjreddie":
                assert torch.allclose(found, weights[index], rtol=1e-12)
            else:
                assert torch.equal(found, old), "untouched"


@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
def test_batch_statistics_move_in_frozen_layers_too(flavour):
    network = build("stopbackward=1", flavour=flavour)
    before = network.layers[0].bn.running_mean.clone()
    train_batch(network, darknet_sgd(network), *batch(0), subdivisions=3)
    assert not torch.equal(network.layers[0].bn.running_mean, before)
    assert int(network.layers[0].bn.num_batches_tracked) == 3


def test_clipping_does_not_shrink_the_decay_of_frozen_layers():
    """The norm is that of the gradient; decay is added afterwards, as in Darknet's update."""
    free, clipped = build("stopbackward=1"), build("stopbackward=1")
    for network, max_norm in ((free, None), (clipped, 1e-3)):
        train_batch(network, darknet_sgd(network), *batch(0), max_norm=max_norm)
    assert torch.equal(free.layers[1].conv.weight, clipped.layers[1].conv.weight)
    assert not torch.equal(free.layers[3].conv.weight, clipped.layers[3].conv.weight)
