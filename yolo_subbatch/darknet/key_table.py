"""The table of every cfg key, made from the dataclasses of the sections, for docs/from-darknet.md.

``python -m yolo_subbatch.darknet.key_table docs/from-darknet.md`` rewrites the part between two marks. Standard library
only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TypeVar

from yolo_subbatch.darknet.key_texts import (
    ALEXEYAB_ALONE,
    DEFAULTS,
    NEITHER,
    OTHER_ALEXEYAB_SECTIONS,
    PJREDDIE_ALONE,
    PJREDDIE_SECTIONS,
    REFUSED,
    TEXTS,
    WITHOUT_EFFECT,
)
from yolo_subbatch.darknet.sections import (
    ALEXEYAB_KEYS,
    ALEXEYAB_SECTIONS,
    SECTION_TYPES,
    SHORT_NAMES,
    GaussianYolo,
    Net,
    Section,
    Yolo,
    keys_of,
)

BEGIN, END = "<!-- key table: made by `make docs`, do not edit -->", "<!-- end of the key table -->"
COLUMNS = "| key | default | read by | here |\n|---|---|---|---|\n"
Value = TypeVar("Value")


def looked_up(table: Mapping[str, Value], title: str, key: str) -> Value | None:
    """Return what a table has under ``section.key``, or else under ``key``."""
    return table.get(f"{title}.{key}", table.get(key))


def reasons() -> dict[str, str]:
    """Return why each key without a field does nothing."""
    return {key: text for text, keys in WITHOUT_EFFECT for key in keys.split()}


def readers(title: str, key: str) -> str:
    """Say whose Darknet reads a key: pjreddie's, AlexeyAB's, both or neither."""
    names = {key, f"{title}.{key}"}
    if title in ALEXEYAB_SECTIONS | OTHER_ALEXEYAB_SECTIONS or names & (ALEXEYAB_KEYS | ALEXEYAB_ALONE):
        return "neither" if key in NEITHER else "AlexeyAB"
    if title in PJREDDIE_SECTIONS or names & PJREDDIE_ALONE:
        return "pjreddie"
    return "neither" if key in NEITHER else "both"


def own_fields(kind: type[Section]) -> dict[str, str]:
    """Return the keys that act, with their defaults as text; those of every section only for ``Section`` itself."""
    shared = {} if kind is Section else {each.name: each.default for each in fields(Section)}
    inherited = {each.name for each in fields(Yolo)} if kind is GaussianYolo else set()
    found = {}
    for key, name in keys_of(kind).items():
        default = next(each.default for each in fields(kind) if each.name == name)
        if name in inherited and f"{kind.title}.{key}" not in TEXTS:
            continue  # one line says that they are those of [yolo]
        if name not in shared or shared[name] != default:
            found[key] = looked_up(DEFAULTS, kind.title, key) or shown(default)
    return found


def shown(default: object) -> str:
    """Return a default as it is written in a cfg."""
    if default is None or default is MISSING or default in ((), ""):
        raise ValueError("a default that needs words: add it to DEFAULTS")
    return f"{default:g}" if isinstance(default, float) else str(default)


def rows(kind: type[Section]) -> Iterator[str]:
    """Yield the lines of a section's table, without its head."""
    title = kind.title
    for key, default in own_fields(kind).items():
        text = looked_up(TEXTS, title, key)
        if text is None:
            raise ValueError(f"[{title}] {key}: has no text in key_texts.py")
        yield f"| `{key}` | {default} | {readers(title, key)} | {text} |"
    shared = frozenset[str]() if kind is Section else Section.ignored
    if kind is GaussianYolo:
        shared |= Yolo.ignored
    grouped: dict[tuple[str, str], list[str]] = {}
    for key in sorted(kind.ignored - shared - set(kind.unsupported), key=str.lower):
        reason = looked_up(reasons(), title, key)
        if reason is None:
            raise ValueError(f"[{title}] {key}: no reason in key_texts.py")
        grouped.setdefault((reason, readers(title, key)), []).append(f"`{key}`")
    for (reason, who), keys in grouped.items():
        yield f"| {', '.join(keys)} | | {who} | no effect: {reason} |"
    for key, value in kind.unsupported.items():
        if kind is Net or key not in REFUSED:
            raise ValueError(f"[{title}] {key}: no reason in key_texts.py")
        yield f"| `{key}` | {value or 'none'} | {readers(title, key)} | refused otherwise: {REFUSED[key]} |"


def tables() -> str:
    """Return the tables of all sections as Markdown."""
    parts = ["### Every layer\n\n" + COLUMNS + "\n".join(rows(Section)) + "\n"]
    for title, kind in SECTION_TYPES.items():
        other = [f"`[{short}]`" for short, long in SHORT_NAMES.items() if long == title]
        head = f"### `[{title}]`" + (f", also {', '.join(other)}" if other else "") + "\n\n"
        lines = list(rows(kind))
        if kind is GaussianYolo:
            head += "The keys of `[yolo]`, and:\n\n"
        parts.append(head + (COLUMNS + "\n".join(lines) if lines else "No keys of its own.") + "\n")
    return "\n".join(parts)


def with_tables(text: str) -> str:
    """Return the text of a page with the part between the marks made anew.

    Raises:
        ValueError: If the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no part from {BEGIN} to {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Rewrite the tables of the pages that are named."""
    for name in arguments:
        page = Path(name)
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
