"""Darknet's learning rate as a pure function of the iteration.

Source: darknet ``get_current_rate`` in src/network.c.
"""

from __future__ import annotations

import itertools
import math
import random
import struct

from yolo_subbatch.darknet.sections import Net


def learning_rate(net: Net, iteration: int) -> float:
    """Return the rate of one weight update.

    During burn-in the rate rises as ``(iteration / burn_in) ** power``, whatever the policy.

    Args:
        net: The ``[net]`` section.
        iteration: Number of the update; the first is 1. Only ``random`` is not the same at every call for one
            iteration in Darknet; here it depends on the iteration alone.
    """
    if iteration < net.burn_in:
        return net.learning_rate * float((iteration / net.burn_in) ** net.power)
    return net.learning_rate * _FACTORS.get(net.policy, _constant)(net, iteration)


def _constant(net: Net, iteration: int) -> float:
    return 1.0


def _step(net: Net, iteration: int) -> float:
    return _power(net.scale, iteration // net.step)


def _power(base: float, exponent: float) -> float:
    """Return ``base ** exponent``, infinite where it overflows, as C's pow has it."""
    try:
        return float(base**exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 else math.inf


def _steps(net: Net, iteration: int) -> float:
    # Up to the first step that is not reached: where they are not in order, those behind it do not count.
    reached = itertools.takewhile(lambda pair: pair[0] <= iteration, zip(net.steps, net.scales, strict=True))
    return math.prod(scale for _, scale in reached)


def _exp(net: Net, iteration: int) -> float:
    return _power(net.gamma, iteration)


def _poly(net: Net, iteration: int) -> float:
    if not net.max_batches:
        return 1.0
    remaining = 1 - _float32(iteration / net.max_batches)
    # Past max_batches Darknet raises a negative number to the power, as C's pow does for a whole one.
    return _power(remaining, net.power) if remaining >= 0 or float(net.power).is_integer() else math.nan


def _float32(value: float) -> float:
    """Round to C's float: near max_batches the difference from 1 keeps few digits, and they are Darknet's."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _sigmoid(net: Net, iteration: int) -> float:
    exponent = net.gamma * (iteration - net.step)
    return 1 / (1 + math.exp(exponent)) if exponent < 700 else 0.0


def _random(net: Net, iteration: int) -> float:
    return float(random.Random(iteration).random() ** net.power)


def _sgdr(net: Net, iteration: int) -> float:
    """Cosine annealing with warm restarts, each cycle ``sgdr_mult`` times as long as the one before."""
    cycle = length = net.sgdr_cycle or max(1, net.max_batches)
    start = 0
    if net.sgdr_mult <= 1:  # cycles of one length need not be counted one by one
        start = max(0, iteration - 1) // length * length
        cycle = start + length
    while cycle < iteration:
        length *= max(1, net.sgdr_mult)
        start, cycle = cycle, cycle + length
    least = net.learning_rate_min
    rate = least + 0.5 * (net.learning_rate - least) * (1 + math.cos(math.pi * (iteration - start) / (cycle - start)))
    return rate / net.learning_rate if net.learning_rate else 0.0


_FACTORS = {
    "step": _step,
    "steps": _steps,
    "exp": _exp,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "random": _random,
    "sgdr": _sgdr,
}
