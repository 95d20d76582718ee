"""Darknet's update as ``torch.optim.SGD``.

Darknet keeps ``momentum * sum of gradients`` and multiplies by ``rate / batch`` when it updates; with the gradient as a
mean over the batch and the rate outside the buffer that is SGD without dampening and without Nesterov.

Source: darknet ``update_convolutional_layer`` in src/convolutional_layer.c.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from yolo_subbatch.darknet.layers import ConnectedLayer, ConvolutionalLayer
from yolo_subbatch.darknet.layers_alexeyab import WeightedAdd
from yolo_subbatch.darknet.network import Network


def darknet_sgd(network: Network, fused: bool = True) -> torch.optim.SGD:
    """Return the optimizer of a network, at the rate, momentum and decay of its ``[net]``.

    The weights of convolutions, of ``[connected]`` and of ``[shortcut]`` decay; biases and batch-norm scales do not. A
    section's own ``learning_rate`` is kept in its parameter group as ``rate_factor``, which :func:`set_rate` honours.

    Args:
        network: Whose weights are trained, on the device where that is done.
        fused: Take one pass over every weight instead of four, where torch can; rounding differs.
    """
    net = network.cfg.net
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    frozen: list[nn.Parameter] = []
    for index, (section, layer) in enumerate(zip(network.cfg.sections, network.layers, strict=True)):
        for parameter in layer.parameters():
            weight = parameter is _weight(layer)
            groups[section.learning_rate, weight].append(parameter)
            if weight and index < network.frozen:
                frozen.append(parameter)
    made: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": net.decay if weight else 0.0,
            "rate_factor": factor,
            "lr": net.learning_rate * factor,
            "param_group": "weight" if weight else "bias",
        }
        for (factor, weight), parameters in groups.items()
    ]
    how: dict[str, Any] = {"lr": net.learning_rate, "momentum": net.momentum}
    try:
        optimizer = torch.optim.SGD(made, **how, fused=fused)
    except RuntimeError:  # this torch has no such step for the device
        optimizer = torch.optim.SGD(made, **how)
    if frozen and network.flavour == "pjreddie":
        # pjreddie's Darknet goes on decaying the weights of frozen layers; AlexeyAB's leaves them alone.
        optimizer.register_step_pre_hook(_ZeroGradients(frozen))
    return optimizer


def _weight(layer: nn.Module) -> Tensor | None:
    """Return the parameter of a layer that decays."""
    if isinstance(layer, ConvolutionalLayer):
        return layer.conv.weight
    if isinstance(layer, ConnectedLayer):
        return layer.linear.weight
    return layer.weight if isinstance(layer, WeightedAdd) else None


class _ZeroGradients:
    """Before a step, give parameters that got no gradient a zero one, so that they decay."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters

    def __call__(self, *_: Any) -> None:
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
