"""The input sizes of multi-scale training: one for ten iterations, drawn from seed and iteration alone.

Source: darknet ``train_detector`` in examples/detector.c, AlexeyAB's in src/detector.c.
"""

from __future__ import annotations

import math
import random

REDRAW = 10  # iterations between two sizes
LAST_STRETCH = {"pjreddie": 200, "alexeyab": 100}  # final iterations at the largest size


def step_of(stride: int, resize_step: int, flavour: str) -> int:
    """Return the pixels of which every drawn size is a multiple: ``resize_step`` too, with AlexeyAB's flavour."""
    return math.lcm(stride, resize_step) if flavour == "alexeyab" else stride


def factor_or_inverse(largest: float, draw: float, up: float) -> float:
    """Return a factor of at most ``largest``, or its inverse with even chances."""
    value = 1 + (largest - 1) * draw
    return value if up < 0.5 else 1 / value


def random_size(
    iteration: int, base: tuple[int, int], stride: int, factor: float = 1.4, seed: int = 0
) -> tuple[int, int]:
    """Return the input size of one iteration: a new one every ten, one for all sub-batches of an update.

    Args:
        iteration: Number of the update, from 1.
        base: Width and height in pixels.
        stride: The result is a multiple of it.
        factor: The size is multiplied by at most this, or divided; ``random=1`` in a cfg means 1.4.
        seed: Of the run.
    """
    draw = _random_factor(factor, _generator(seed, iteration))
    width, height = (max(stride, round(side * draw / stride) * stride) for side in base)
    return width, height


def _generator(seed: int, iteration: int) -> random.Random:
    """Return the generator of the ten iterations to which this one belongs."""
    return random.Random(f"{seed} {_updates_before(iteration) // REDRAW}")


def _updates_before(iteration: int) -> int:
    """Return how many updates were done when the size of this iteration was drawn."""
    return (max(1, iteration) - 1) // REDRAW * REDRAW


def _random_factor(factor: float, draw: random.Random) -> float:
    """Multiply or divide with even chances by up to ``factor``; 1, which means "on", stands for 1.4."""
    return factor_or_inverse(1.4 if factor == 1 else factor, draw.random(), draw.random())


def exact_random_size(
    iteration: int, max_batches: int, base: tuple[int, int], stride: int, factor: float = 1.4, seed: int = 0,
    flavour: str = "pjreddie",
) -> tuple[int, int]:  # fmt: skip
    """Return the input size of one iteration as the Darknets draw it.

    pjreddie: squares from 320 to 608, 608 in the last 200 iterations. AlexeyAB: the cfg's size times or divided by up
    to ``factor`` and one stride more, the largest at the start and in the last 100 iterations.
    """
    done, draw = _updates_before(iteration), _generator(seed, iteration)
    final = done + LAST_STRETCH[flavour] > max_batches
    if flavour == "pjreddie":
        side = 608 if final else (draw.randrange(10) + 10) * 32
        return side, side
    largest = 1.4 if factor == 1 else factor
    drawn = largest if done == 0 or final else _random_factor(largest, draw)
    width, height = (max(stride, int(drawn * side / stride + 1.5) * stride) for side in base)
    return base if drawn < 1 and (width > base[0] or height > base[1]) else (width, height)


def largest_random_size(
    base: tuple[int, int], stride: int, factor: float = 1.4, exact: bool = False, flavour: str = "pjreddie"
) -> tuple[int, int]:
    """Return the largest size that :func:`random_size` draws, or with ``exact`` :func:`exact_random_size`."""
    largest = 1.4 if factor == 1 else factor
    if exact and flavour == "pjreddie":
        return 608, 608
    more = 1.5 if exact else 0.5
    width, height = (max(stride, int(side * largest / stride + more) * stride) for side in base)
    return width, height
