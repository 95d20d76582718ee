"""Numbers and durations as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from yolo_subbatch.settings.number_texts import (
    GIB,
    KIB,
    MIB,
    brief,
    countdown,
    duration,
    file_size,
    grouped,
    memory_size,
    percent,
    shortest,
    significant,
)

NAN, INF = math.nan, math.inf


def check(text: Callable[[Any], str], cases: dict[Any, str]) -> None:
    assert {value: text(value) for value in cases} == cases


def test_durations() -> None:
    check(duration, {
        0: "0 s", 0.4: "0 s", 59.4: "59 s", 59.6: "1 min", 60: "1 min", 89: "1 min", 2460: "41 min", 3599: "1 h 0 min",
        3600: "1 h 0 min", 11_100: "3 h 5 min", 172_700: "47 h 58 min", 172_799: "2 d 0 h", 187_200: "2 d 4 h",
    })  # fmt: skip
    assert duration(11_100, ("{seconds}s", "{minutes}m", "{hours}h{minutes}", "{days}d{hours}")) == "3h5"


def test_what_counts_down() -> None:
    check(countdown, {5: "0:05", 65: "1:05", 65.9: "1:05", 3725: "1:02:05", 172_799: "47:59:59", 200_000: "2 d 7 h"})


def test_brief_numbers() -> None:
    check(brief, {
        None: "-", NAN: "-", INF: "-", 0.0: "0", 0.00123: "0.001", 0.5: "0.500", -0.5: "-0.500", 1.0: "1.00",
        8.314: "8.31", 99.99: "99.99", 112.4: "112", 99_999.0: "99999", 100_000.0: "1.0e5", 0.000261: "2.6e-4",
        1e-12: "1.0e-12", -1e20: "-1.0e20",
    })  # fmt: skip


def test_significant_digits() -> None:
    check(significant, {None: "-", NAN: "nan", 0.000123456: "0.0001235", 12345.6: "12346", 1e9: "1e+09"})
    assert significant(21.357, 3) == "21.4"


def test_the_shortest_number() -> None:
    check(shortest, {
        0: "0", 10: "10", 0.1: "0.1", 0.30000000000000004: "0.3", 1e-3: "1e-3", 5e-4: "5e-4", 2.5e-5: "2.5e-5",
        99999: "99999", 1e5: "1e5", -20: "-20",
    })  # fmt: skip


def test_groups_of_digits() -> None:
    check(grouped, {0: "0", 999: "999", 1000: "1\u202f000", 1_234_567: "1\u202f234\u202f567"})


def test_shares() -> None:
    check(percent, {0.0: "0.0", 0.7184: "71.8", 1.0: "100.0", 1.5: "150", 1e30: "1.0e32"})


def test_sizes() -> None:
    check(memory_size, {
        None: "-", NAN: "-", 0.0: "0 MiB", 640.4 * MIB: "640 MiB", 1023.4 * MIB: "1023 MiB", 1023.6 * MIB: "1.0 GiB",
        GIB: "1.0 GiB", 5325 * MIB: "5.2 GiB", 1e300: "9.3e290 GiB",
    })  # fmt: skip
    check(file_size, {0: "0 KiB", 640 * KIB: "640 KiB", MIB: "1.0 MiB", 61.5 * MIB: "61.5 MiB"})
