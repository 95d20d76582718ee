"""Where to cut a network whose forward pass keeps only the maps at the cuts, so that it takes the least memory.

A border lies before a layer. The maps that are read behind it and were made before it are kept from the forward pass
on. What the layers between two borders, a segment, need for their backward pass exists only while it goes through
them. The peak of a segment is what was kept for it and for all earlier ones, plus its own inside, plus the gradients
that are on the way in it. Early layers of a detector have large maps and late ones many, so that neither equal numbers
of layers nor equal shares of the memory come near the smallest peak; it is found by dynamic programming.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", for the idea of segments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

PRECISION = 256  # the search ends when the peak is known up to this part of it


@dataclass(frozen=True)
class Costs:
    """What the layers of a network take, measured; bytes. Maps are outputs of layers, each with a key of its own.

    Attributes:
        maps: The bytes of every map by its key.
        live: The maps that are read behind a border and made before it, for the ``n + 1`` places before, between and
            behind n layers. The first has the input, the last what the network returns.
        saved: The maps that a layer keeps for its backward pass, of its own and of others, for n layers.
        inside: What it keeps besides, for n layers.
        largest: The largest tensor that it makes or keeps, or weight, whose gradient is on its way, for n layers.
        possible: Whether a border may lie at a place, for ``n + 1`` places; the first and the last may.
    """

    maps: dict[int, int]
    live: list[frozenset[int]]
    saved: list[frozenset[int]]
    inside: list[int]
    largest: list[int]
    possible: list[bool]

    def bytes_of(self, maps: Iterable[int]) -> int:
        """Return how many bytes some maps take together."""
        return sum(self.maps[each] for each in maps)


@dataclass(frozen=True)
class Borders:
    """Borders as places among n layers, from 0 to n, and the bytes that a training pass takes with them at most."""

    places: tuple[int, ...]
    peak: int


def place_borders(costs: Costs) -> Borders:
    """Return the borders with the smallest peak, up to the :data:`PRECISION`; only 0 and n where none is of use."""
    peaks = _peaks_of_segments(costs)
    count = len(costs.inside)
    best = Borders((0, count), costs.bytes_of(costs.live[0]) + peaks[0][count])
    low, high = 0, best.peak
    while high - low > high / PRECISION:
        middle = (low + high) // 2
        found = _within(costs, peaks, middle)
        if found is None:
            low = middle
        else:
            best, high = found, found.peak
    return best


def _peaks_of_segments(costs: Costs) -> list[dict[int, int]]:
    """Return for every two places what the segment between them takes beside what is kept at borders up to it."""
    places = [place for place, possible in enumerate(costs.possible) if possible]
    after = [costs.bytes_of(each) for each in costs.live]
    found: list[dict[int, int]] = [{} for _ in costs.live]
    for start in places:
        there, inside, largest = set(costs.live[start]), 0, 0
        for layer in range(start, len(costs.inside)):
            new = costs.saved[layer] - there
            there |= new
            inside += costs.inside[layer] + costs.bytes_of(new)
            largest = max(largest, costs.largest[layer])
            if costs.possible[layer + 1]:
                found[start][layer + 1] = inside + after[layer + 1] + largest
    return found


def _within(costs: Costs, peaks: list[dict[int, int]], limit: int) -> Borders | None:
    """Return the borders that keep the least, where no segment may take more than a limit; None if that cannot be.

    Whatever lies behind a border, it is best to have kept the least up to there, which is a term of every later peak.
    """
    count = len(costs.inside)
    kept, before, highest = {0: costs.bytes_of(costs.live[0])}, {0: 0}, {0: 0}
    for start, ends in enumerate(peaks):
        if start not in kept:
            continue
        for end, peak in ends.items():
            total = kept[start] + costs.bytes_of(costs.live[end] - costs.live[start])
            if kept[start] + peak <= limit and total < kept.get(end, math.inf):
                kept[end], before[end] = total, start
                highest[end] = max(highest[start], kept[start] + peak)
    if count not in kept:
        return None
    places = [count]
    while places[-1]:
        places.append(before[places[-1]])
    return Borders(tuple(reversed(places)), highest[count])
