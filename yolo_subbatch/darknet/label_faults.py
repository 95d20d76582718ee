"""What can be wrong with a line of a label file, in the words of who wrote it.

Source: darknet ``read_boxes`` in src/data.c, which reads five numbers between blanks; AlexeyAB's
``fill_truth_detection`` names values out of range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from yolo_subbatch.darknet.textfile import columns_of, number_of, shorten

TOLERANCE = 1e-3  # labels written with few digits may pass 1 by a little
A_LITTLE = 2.0  # where all values are above this, they are in another unit
COLUMNS = "write class, centre x, centre y, width, height"
FRACTIONS = "give them as fractions of the image, from 0 to 1"
DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+")


def label_fault(line: str, classes: int, names_source: str) -> tuple[str, str] | None:
    """Return what was found in a line that is no label and what to do about it; None where nothing is wrong.

    Args:
        line: Class, then centre x, centre y, width and height as fractions of the image, or an outline's points.
        classes: How many there are.
        names_source: What says so.
    """
    columns = columns_of(line)
    if not columns:
        return None
    shown = f"'{shorten(' '.join(columns))}'"
    if "," in line or ";" in line:
        decimal = len(columns) == 5 and all(DECIMAL_COMMA.fullmatch(each) for each in columns[1:])
        if decimal:
            return f"{shown} has decimal commas", "write points, as in 0 0.5 0.5 0.1 0.2"
        return f"{shown} has commas", "put blanks between the numbers, as in 0 0.5 0.5 0.1 0.2"
    if len(columns) == 6:
        return "6 columns", f"{COLUMNS}, and nothing behind them, such as a confidence"
    if len(columns) != 5 and not (len(columns) >= 7 and len(columns) % 2 == 1):
        return f"{len(columns)} columns", COLUMNS
    return _number_fault(columns, shown, classes, names_source)


def _number_fault(columns: Sequence[str], shown: str, classes: int, names_source: str) -> tuple[str, str] | None:
    try:
        number, *values = map(number_of, columns)
    except ValueError:
        named = not _is_number(columns[0]) and all(map(_is_number, columns[1:]))
        advice = f"give the number of the class instead of its name, from 0 to {classes - 1}" if named else COLUMNS
        return f"{shown} is not all numbers", advice
    if not (math.isfinite(number) and number.is_integer() and 0 <= number < classes):
        known = f"{names_source} has {classes} classes (0 to {classes - 1})"
        return f"class {columns[0]}, but {known}", "correct the label or the names"
    found = f"coordinates {shorten(' '.join(columns[1:]))}"
    if all(0 <= value <= 1 + TOLERANCE for value in values):
        return None
    if all(A_LITTLE < value < math.inf for value in values):
        return found, f"{FRACTIONS}: pixels divided by its width and height, percentages by 100"
    return found, FRACTIONS


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(number_of(text))
    except ValueError:
        return False


def summary(faults: Sequence[tuple[str, str, str]]) -> str:
    """Return the first fault of each kind (place, what was found, what to do), with how many of it there are."""
    kinds: dict[str, list[tuple[str, str, str]]] = {}
    for fault in faults:
        kinds.setdefault(fault[2], []).append(fault)
    lines = []
    for alike in kinds.values():
        place, found, advice = alike[0]
        files = len({each[0].rpartition(":")[0] for each in alike})
        more = f" ({len(alike)} such lines in {files} label file{'s' if files > 1 else ''})" if len(alike) > 1 else ""
        lines.append(f"{place}: {found}; {advice}{more}")
    return "\n".join(lines)
