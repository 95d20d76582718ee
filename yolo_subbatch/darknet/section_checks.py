"""What a section of a cfg, or ``[net]``, can be checked for by itself; what needs its neighbours is in ``shapes``.

Source: darknet ``parse_yolo`` and ``parse_net_options`` in src/parser.c.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from yolo_subbatch.darknet.limits import LEAST, MOST, NAMES
from yolo_subbatch.darknet.sections import (
    ACTIVATIONS,
    POLICIES,
    GaussianYolo,
    HeadSection,
    Net,
    Region,
    Section,
    Yolo,
)
from yolo_subbatch.darknet.textfile import shorten
from yolo_subbatch.errors import CfgError

MOST_FAULTS = 20  # that are told of one text
UNSET_ANCHOR = 0.5  # what Darknet's anchors are before they are read


@dataclass
class Block:
    """The raw lines of one section: where it starts, and each key's value and line."""

    title: str
    line: int
    entries: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)  # each value up to a comment behind it
    spaced: set[str] = field(default_factory=set)  # keys whose value has numbers with nothing but blanks between them


class Report:
    """What was found in one text: warnings are collected, and errors as far as one can go on after them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.faults: list[str] = []

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep an error of some part and go on after it."""
        try:
            yield
        except CfgError as error:
            self.faults.append(str(error))

    def raise_faults(self) -> None:
        """Raise one CfgError with every error so far, a line each; nothing without any."""
        if self.faults:
            more = [f"{self.path}: {len(self.faults) - MOST_FAULTS} more faults; give a Darknet cfg"]
            raise CfgError("\n".join(self.faults[:MOST_FAULTS] + (more if len(self.faults) > MOST_FAULTS else [])))

    def where(self, line: int) -> str:
        """Return the place of a line."""
        return f"{self.path}:{line}" if line else self.path

    def error(self, line: int, found: str, advice: str) -> CfgError:
        """Return an error, to be raised."""
        return CfgError(f"{self.where(line)}: {found}; {advice}")

    def warn(self, line: int, text: str) -> None:
        """Add a warning."""
        self.warnings.append(f"{self.where(line)}: {text}")


def with_whole_anchors(head: HeadSection, block: Block, report: Report, masked: int) -> HeadSection:
    """Return a head with two values for each of ``num`` anchors, in two cases where Darknet makes up or finds some.

    Published cfgs have both. What is just miscounted stays as it is, and is refused later.

    Args:
        head: As it is written.
        block: Its lines.
        report: Gets the warning.
        masked: The largest index in any mask of the cfg.
    """
    listed, wanted = len(head.anchors), 2 * head.num
    line, found = block.entries.get("anchors", ("", 0))[1], f"{listed} anchor values for num={head.num}"
    if listed == wanted - 1 and "anchors" in block.spaced:
        report.warn(line, f"{found}; a comma is missing: Darknet reads two as one, and {UNSET_ANCHOR} for the last")
        return replace(head, anchors=(*head.anchors, UNSET_ANCHOR))
    if listed > wanted and listed % 2 == 0 and 1 <= head.num <= masked < listed // 2:
        # Darknet reads on behind its list, where it has just written them.
        report.warn(line, f"{found}, and a mask selects later ones; taken as num={listed // 2}")
        return replace(head, num=listed // 2)
    return head


def check_section(section: Section, block: Block, report: Report) -> None:
    """Check what a section can know by itself; what needs its neighbours is checked in ``shapes``."""
    for name in block.entries:
        number = getattr(section, name, None)
        if number is not None and number < LEAST.get(name, number):
            raise report.error(block.entries[name][1], f"{name}={number}", f"{name} is at least {LEAST[name]:g}")
        if number is not None and number > MOST.get(name, number):
            raise report.error(block.entries[name][1], f"{name}={number}", f"{name} is at most {MOST[name]:g}")
    if isinstance(section, Net):
        for name in ("scale", "scales"):
            value = getattr(section, name)
            if min(value if isinstance(value, tuple) else (value,), default=0) < 0:
                text, line = block.entries[name]
                raise report.error(line, f"{name}={shorten(text)}", "give factors that are not negative")
    activation = getattr(section, "activation", "linear")
    if activation not in ACTIVATIONS:
        near = difflib.get_close_matches(activation.lower(), ACTIVATIONS, 1)
        advice = f"did you mean {near[0]}?" if near else "use one of " + ", ".join(sorted(ACTIVATIONS))
        line = block.entries["activation"][1]
        raise report.error(line, f"unknown activation {shorten(activation)}", advice)
    if section.stopbackward > 1:  # AlexeyAB's GPU code alone reads it as a number of iterations
        report.warn(block.entries["stopbackward"][1], "the layers up to here are frozen for the whole run")
    for key, known in NAMES.items():
        name = getattr(section, key, known[0])
        if name not in known:
            raise report.error(
                block.entries[key][1], f"unknown {key}={shorten(name)}", "use one of " + ", ".join(known)
            )
    if isinstance(section, HeadSection):
        _check_anchors(section, block, report)
    if isinstance(section, Yolo):
        _check_yolo(section, block, report)


def _check_anchors(head: HeadSection, block: Block, report: Report) -> None:
    line = block.entries.get("anchors", block.entries.get("num", ("", block.line)))[1]
    if len(head.anchors) != 2 * head.num:
        raise report.error(
            line, f"{len(head.anchors)} anchor values for num={head.num}", "give num pairs of width,height"
        )
    if any(value <= 0 for value in head.anchors):
        unit = "cells" if isinstance(head, Region) else "input pixels"
        raise report.error(line, "an anchor is not positive", f"give widths and heights in {unit}")


def _check_yolo(head: Yolo, block: Block, report: Report) -> None:
    if isinstance(head, GaussianYolo) and head.objectness_smooth:
        line = block.entries["objectness_smooth"][1]
        raise report.error(line, "objectness_smooth=1 is not built for this head", "remove it")
    bad = [index for index in head.selected if not 0 <= index < head.num]
    if bad or not head.selected or len(set(head.selected)) < len(head.selected):
        found = f"mask={','.join(map(str, head.selected))} for num={head.num}"
        raise report.error(block.entries["mask"][1], found, f"use different indices from 0 to {head.num - 1}")
    if len(head.counters_per_class) not in (0, head.classes):
        line = block.entries["counters_per_class"][1]
        found = f"{len(head.counters_per_class)} counters_per_class for classes={head.classes}"
        raise report.error(line, found, "give one number a class")


def check_net(net: Net, report: Report) -> None:
    """Check ``[net]``."""
    if net.time_steps != 1:
        advice = "only recurrent networks have time steps, and they are not built; remove the line"
        raise report.error(net.line, f"time_steps={net.time_steps}", advice)
    for name in ("width", "height", "channels"):
        if getattr(net, name) < 1:
            example = 3 if name == "channels" else 416
            raise report.error(net.line, f"[net] has no {name}", f"give {name}=, for example {name}={example}")
    if net.policy == "steps" and len(net.steps) != len(net.scales):
        raise report.error(net.line, f"{len(net.steps)} steps and {len(net.scales)} scales", "give one scale a step")
    if net.policy == "steps" and not net.steps:
        raise report.error(net.line, "policy=steps without steps", "give steps= and scales=")
    if net.policy not in POLICIES:
        report.warn(net.line, f"unknown policy {shorten(net.policy)}; the rate is constant, as in Darknet")
