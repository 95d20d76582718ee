"""Help texts, made from what the settings declare of themselves."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.conversion import show
from yolo_subbatch.settings.values import ALIASES, REFUSED

KEY_WIDTH = 20
WIDEST = 110


def overview(title: str, program: str, summaries: Mapping[str, str], examples: Iterable[str]) -> str:
    """Return the list of commands.

    Args:
        title: The program's name and version.
        program: Its name alone.
        summaries: What each command does.
        examples: Command lines without the program's name.
    """
    width = max(map(len, summaries))
    commands = "\n".join(f"  {name:{width}}  {summary}" for name, summary in summaries.items())
    return "\n\n".join([
        f"{title}: Darknet's batch and subdivisions, exactly, inside Ultralytics",
        f"Usage: {program} COMMAND key=value ...      ({program} COMMAND -h lists the keys)",
        commands,
        _listed(program, examples),
    ])  # fmt: skip


def describe_command(title: str, program: str, summary: str, examples: Iterable[str], kind: type) -> str:
    """Return the help of one command, whose settings are the dataclass ``kind``; see :func:`overview`."""
    blocks = [
        f"{title}: {summary}",
        f"Usage: {title} key=value ...      (--key value and --key=value work too)",
        _listed(program, examples),
        describe_settings(kind),
    ]
    if any(each.name == "extra" for each in dataclasses.fields(kind)):
        blocks.append(describe_host_keys(kind))
    return "\n\n".join(blocks)


def _listed(program: str, examples: Iterable[str]) -> str:
    return "\n".join(["For example:", *(f"  {program} {line}" for line in examples)])


def describe_settings(kind: type) -> str:
    """Return the keys of a settings dataclass under their headings, rarely needed ones last."""
    fields = [each for each in dataclasses.fields(kind) if each.name != "extra"]
    usual = [each for each in fields if not each.metadata.get("advanced")]
    rare = [each for each in fields if each.metadata.get("advanced")]
    blocks: dict[str, list[str]] = {}
    for each in usual:
        blocks.setdefault(each.metadata["group"], []).extend(_entry(each))
    for each in rare:
        blocks.setdefault("Rarely needed", []).extend(_entry(each))
    return "\n\n".join("\n".join([f"{heading}:", *lines]) for heading, lines in blocks.items())


def describe_host_keys(kind: type) -> str:
    """Return the names of Ultralytics' training keys that are not settings of their own."""
    own = {each.name for each in dataclasses.fields(kind)} | set(ALIASES) | set(REFUSED)
    names = ", ".join(sorted(set(host_files.training_keys()) - own))
    return "\n".join(["Every other training key of Ultralytics:", *_wrapped(names, "  ")])


def _entry(each: dataclasses.Field[Any]) -> Iterator[str]:
    rule = each.metadata
    notes = [", ".join(map(show, rule["choices"]))] if rule.get("choices") else []
    if each.default is not None:
        notes.append(f"default {show(each.default)}")
    text = rule["tip"] + (f" [{'; '.join(notes)}]" if notes else "")
    yield from _wrapped(text, " " * (KEY_WIDTH + 2), f"  {each.name + '=':{KEY_WIDTH}}")


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    width = min(WIDEST, shutil.get_terminal_size((100, 24)).columns)
    return textwrap.wrap(
        text, max(width, 60), initial_indent=indent if first is None else first, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
