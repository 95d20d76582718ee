from __future__ import annotations

import random
from itertools import combinations, pairwise

from yolo_subbatch.darknet.borders import PRECISION, Costs, place_borders


def peak_of(costs: Costs, places: tuple[int, ...]) -> int:
    """Return what a pass takes at most, by its definition."""
    kept: set[int] = set()
    peaks = []
    for start, stop in pairwise(places):
        kept |= costs.live[start]
        saved = frozenset().union(*costs.saved[start:stop]) - costs.live[start]
        largest = max(costs.largest[start:stop])
        inside = sum(costs.inside[start:stop]) + costs.bytes_of(saved)
        peaks.append(costs.bytes_of(kept) + inside + costs.bytes_of(costs.live[stop]) + largest)
    return max(peaks)


def some_costs(rng: random.Random, layers: int) -> Costs:
    """Return those of a network whose layers each make a map, and read the one before and perhaps an earlier one."""
    maps = {key: rng.randrange(1, 1000) // (1 + key // 3) + 1 for key in range(layers + 1)}
    read = [{place, *([rng.randrange(place + 1)] if rng.random() < 0.3 else [])} for place in range(layers)]
    last = {key: max((place for place in range(layers) if key in read[place]), default=layers) for key in maps}
    live = [frozenset(key for key in maps if key <= place <= last[key]) for place in range(layers + 1)]
    saved = [frozenset(key for key in (*read[place], place + 1) if rng.random() < 0.7) for place in range(layers)]
    largest = [max(maps[place], maps[place + 1]) for place in range(layers)]
    possible = [True, *(rng.random() < 0.8 for _ in range(layers - 1)), True]
    return Costs(maps, live, saved, [rng.randrange(500) for _ in range(layers)], largest, possible)


def test_no_other_borders_take_less() -> None:
    rng, gains = random.Random(1), 0
    for _ in range(60):
        layers = rng.randrange(1, 9)
        costs = some_costs(rng, layers)
        found = place_borders(costs)
        assert found.places[0] == 0
        assert found.places[-1] == layers
        assert all(costs.possible[place] for place in found.places)
        assert found.peak == peak_of(costs, found.places)
        inner = [place for place in range(1, layers) if costs.possible[place]]
        peaks = [
            peak_of(costs, (0, *chosen, layers)) for number in range(layers) for chosen in combinations(inner, number)
        ]
        assert found.peak <= min(peaks) * (1 + 2 / PRECISION) + 1
        gains += found.peak < 0.8 * peaks[0]
    assert gains > 10, "borders are of use"


def test_bytes_decide_and_not_the_number_of_layers() -> None:
    """The border in the middle of eight layers would save nothing: the bytes are in the first two."""
    maps = {0: 10, 1: 900, 2: 400} | dict.fromkeys(range(3, 9), 1)
    live = [frozenset({place}) for place in range(9)]
    saved = [frozenset({place, place + 1}) for place in range(8)]
    largest = [max(maps[place], maps[place + 1]) for place in range(8)]
    costs = Costs(maps, live, saved, [900, 900, *[1] * 6], largest, [True] * 9)
    found = place_borders(costs)
    assert found.places[1] <= 2
    assert found.peak < 0.9 * peak_of(costs, (0, 4, 8))
    assert peak_of(costs, (0, 4, 8)) > 0.99 * peak_of(costs, (0, 8))
