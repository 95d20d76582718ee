"""Darknet's ``.cfg`` text to :class:`~yolo_subbatch.darknet.sections.Cfg`.

Reads what Darknet reads (blanks anywhere, ``#`` and ``;`` comments at the start of a line, the first of duplicate keys)
and refuses what Darknet would silently misread: a mistyped key, a wrong type, an unknown section or activation.

Source: darknet ``read_cfg`` and ``parse_network_cfg`` in src/parser.c, ``option_find`` in src/option_list.c.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from yolo_subbatch.darknet.explicit import ALWAYS_WRITTEN, explicit
from yolo_subbatch.darknet.limits import FILES, NUMBER, WHOLE
from yolo_subbatch.darknet.regular_files import open_regular, size_of
from yolo_subbatch.darknet.section_checks import (
    Block,
    Report,
    check_net,
    check_section,
    with_whole_anchors,
)
from yolo_subbatch.darknet.sections import (
    ALEXEYAB_KEYS,
    ALEXEYAB_SECTIONS,
    NOT_BUILT,
    SECTION_TYPES,
    SHORT_NAMES,
    Cfg,
    HeadSection,
    Net,
    Section,
    keys_of,
    once_per_cfg,
)
from yolo_subbatch.darknet.textfile import BLANKS, decoded, lines_of, refuse_wide, shorten
from yolo_subbatch.errors import CfgError

LARGEST_FILE = 16 * 2**20  # bytes; the longest published cfg has 30 thousand
MOST_WARNINGS = 1000  # a text with more faults that Darknet would pass over is no cfg
UNKNOWN = ""  # title of a section that there is none of
INDEX = re.compile(r"\b[0-9]{1,4}\b")
NO_BLANKS = str.maketrans("", "", BLANKS)
#: What stands behind a number: a comment, or words after a blank.
BEHIND = re.compile(r"(?:#|//|[ \t];|;(?![0-9.+-])).*|(?<=[0-9.])[ \t]+[A-Za-z(].*")
SPACED = re.compile(r"[0-9.]\s+[0-9.]")
CLOSE = 0.8  # difflib ratio from which an unknown key counts as a typing mistake
HINTS = {title: get_type_hints(kind) for title, kind in SECTION_TYPES.items()}  # evaluated once: it is slow


def read_cfg(path: str | Path) -> Cfg:
    """Read a Darknet cfg file.

    Raises:
        CfgError: If the file cannot be read, is no text, or :func:`parse_cfg` refuses it.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise CfgError(f"{file}: this is a folder; give the .cfg file inside it")
        with open_regular(file) as stream:
            size = size_of(stream)
            data = b"\0" if size > LARGEST_FILE else stream.read(size)
    except (OSError, ValueError) as error:  # ValueError: no possible name of a file
        reason = getattr(error, "strerror", error)
        raise CfgError(f"{shorten(str(file), 300)}: cannot be read ({reason}); check the path of the cfg") from error
    refuse_wide(data, file, CfgError)
    if b"\0" in data:
        raise CfgError(f"{file}: this is a binary file, not a Darknet cfg; give the .cfg, weights go to weights=")
    return _parsed(decoded(data), str(path))  # comments of old cfgs hold all sorts of bytes


@lru_cache(maxsize=4)  # one command asks for its cfg in several places, and always gets the same one
def _parsed(text: str, path: str) -> Cfg:
    return parse_cfg(text, path)


def parse_cfg(text: str, path: str = "<string>") -> Cfg:
    """Parse the text of a Darknet cfg.

    Args:
        text: The file's content, any line ending.
        path: Stands at the start of every message.

    Returns:
        The sections with every value checked for its type; ``warnings`` holds what Darknet would have printed.

    Raises:
        CfgError: ``path:line: what was found; what to do``, a line for each fault.
    """
    parser = _Parser(path)
    blocks = list(parser.blocks(text))
    if not parser.faults:
        _check_order(blocks, parser)
    blocks = [block for block in blocks if block.title != UNKNOWN]
    masks = (block.entries["mask"][0] for block in blocks if "mask" in block.entries)
    parser.masked = max((int(each) for mask in masks for each in INDEX.findall(mask)), default=-1)
    found = [parser.checked(block) for block in blocks]
    net, sections = next(iter(found), None), [each for each in found[1:] if each is not None]
    if isinstance(net, Net):
        with parser.collecting():
            check_net(net, parser)
    parser.raise_faults()
    assert isinstance(net, Net)
    if parser.ignored:
        parser.warn(0, "accepted without effect: " + ", ".join(sorted(parser.ignored)))
    told = tuple(sorted(parser.alexeyab))
    return Cfg(net, tuple(sections), path, tuple(parser.warnings), bool(told), told)


def _check_order(blocks: Sequence[Block], parser: _Parser) -> None:
    """Make sure that ``[net]`` comes first, once, with layers behind it."""
    path = parser.path
    if not blocks:
        raise CfgError(f"{path}: no [section] found; a Darknet cfg starts with [net]")
    if blocks[0].title != "net":
        raise parser.error(blocks[0].line, f"the first section is [{blocks[0].title}]", "begin the cfg with [net]")
    if len(blocks) == 1:
        raise parser.error(blocks[0].line, "no layer after [net]", "add the sections of the network")
    for block in blocks[1:]:
        if block.title == "net":
            raise parser.error(block.line, "a second [net] section", "keep one, at the start")


class _Parser(Report):
    """One run over one text; collects the warnings."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.ignored: set[str] = set()
        self.masked = -1  # the largest index in any mask
        self.alexeyab: set[str] = set()  # the keys present that only that Darknet reads

    def blocks(self, text: str) -> Iterator[Block]:
        """Cut the text into sections; Darknet drops every blank inside a line, and so do we."""
        block: Block | None = None
        for number, raw in enumerate(lines_of(text), 1):
            line = raw.translate(NO_BLANKS)
            if not line or line[0] in "#;":
                continue
            if line[0] == "[":
                if block is not None:
                    yield block
                block = Block(UNKNOWN, number)
                with self.collecting():
                    block.title = self.title(line, number)
            elif block is None:
                raise self.error(number, f"'{shorten(line)}' stands before any section", "begin the cfg with [net]")
            else:
                with self.collecting():
                    self.entry(block, line, number, raw)
                if SPACED.search(raw):
                    block.spaced.add(line.partition("=")[0])
        if block is not None:
            yield block

    def title(self, line: str, number: int) -> str:
        name = line.removeprefix("[").split("]")[0]
        if "]" not in line:
            raise self.error(number, f"'{shorten(line)}' has no closing bracket", "write the section as [name]")
        name = SHORT_NAMES.get(name, name)
        if name not in SECTION_TYPES:
            candidates = [*SECTION_TYPES, *(short for short, long in SHORT_NAMES.items() if long in SECTION_TYPES)]
            near = [] if name in NOT_BUILT else difflib.get_close_matches(name.lower(), candidates, 1)
            advice = f"did you mean [{near[0]}]?" if near else "this kind of layer is not built"
            raise self.error(number, f"unknown section [{shorten(name)}]", advice)
        return name

    def entry(self, block: Block, line: str, number: int, raw: str) -> None:
        key, equals, value = line.partition("=")
        if not equals or not key:
            raise self.error(
                number, f"'{shorten(line)}' is no key=value line", "write key=value, or # before a comment"
            )
        if key in block.entries:
            kept, first = block.entries[key]
            self.warn(number, f"{key} was already given at line {first}; Darknet uses the first, {key}={shorten(kept)}")
        else:
            block.entries[key] = value, number
            block.numbers[key] = BEHIND.sub("", raw.partition("=")[2]).translate(NO_BLANKS)

    def checked(self, block: Block) -> Section | None:
        """Return a section, or None where something in it is wrong."""
        with self.collecting():
            return self.section(block)
        return None

    def section(self, block: Block) -> Section | None:
        kind = SECTION_TYPES[block.title]
        known, hints = keys_of(kind), HINTS[block.title]
        values: dict[str, Any] = {"line": block.line}
        before = len(self.faults)
        if block.title in ALEXEYAB_SECTIONS:
            self.alexeyab.add(f"[{block.title}]")
        for key, (text, number) in block.entries.items():
            if key in ALEXEYAB_KEYS:
                self.alexeyab.add(key)
            with self.collecting():
                if key in known:
                    values[known[key]] = self.value(key, text, hints[known[key]], number, block.numbers[key])
                else:
                    self.other_key(kind, key, text, number)
        if len(self.faults) > before:
            return None
        values |= {key: self.beside(key, *block.entries[key]) for key in FILES if key in known and key in values}
        section = kind(**values)
        if isinstance(section, HeadSection):
            section = with_whole_anchors(section, block, self, self.masked)
        check_section(section, block, self)
        return section

    def beside(self, key: str, name: str, line: int) -> str:
        """Return the path of a file that the cfg names; where it is found, whole, so that a copied cfg finds it too."""
        folder = Path(self.path).parent
        tried = (folder / name, folder.resolve().parent / name, Path(name))
        with suppress(OSError, ValueError):  # too long for a name, or with characters that none has
            if name.isprintable():
                return next((str(file.resolve()) for file in tried if file.is_file()), name)
        raise self.error(line, f"{key}={shorten(name)}", "give the name of a file")

    def other_key(self, kind: type[Section], key: str, text: str, line: int) -> None:
        """Deal with a key that has no field: AlexeyAB's without effect, a typing mistake, or unknown."""
        if key in kind.unsupported:
            if text != kind.unsupported[key]:
                raise self.error(
                    line, f"{key}={shorten(text)} is not built here", f"remove it or use {key}=" + kind.unsupported[key]
                )
            return
        if key in kind.ignored:
            self.ignored.add(key)
            return
        found = f"unknown key {shorten(key)} in [{kind.title}]"
        if len(self.warnings) >= MOST_WARNINGS:
            raise self.error(line, found, "one of very many; give a Darknet cfg")
        near = difflib.get_close_matches(key.lower(), [*keys_of(kind), *kind.ignored, *kind.unsupported], 1, CLOSE)
        if near and not any(key in keys_of(each) for each in SECTION_TYPES.values()):
            raise self.error(line, found, f"did you mean {near[0]}?")
        self.warn(line, f"{found} is not used")

    def value(self, key: str, text: str, hint: Any, line: int, before_comment: str) -> Any:
        """Convert one value to the type of its field; of a number, C reads what stands before anything else."""
        if get_origin(hint) in (Union, types.UnionType):
            hint = next(each for each in get_args(hint) if each is not types.NoneType)
        if hint is not str and text != before_comment:
            self.warn(line, f"{key}={shorten(text)}: read as {key}={shorten(before_comment)}, as Darknet does")
            text = before_comment
        if get_origin(hint) is tuple:
            item = get_args(hint)[0]
            # Darknet's lists may end in a comma or hold blanks; an empty item in the middle is a mistake.
            parts = text.rstrip(",").split(",")
            return tuple(self.scalar(key, part, item, line) for part in parts)
        return self.scalar(key, text, hint, line)

    def scalar(self, key: str, text: str, kind: type, line: int) -> int | float | str:
        if kind is str:
            return text
        # Python reads more spellings than C: digits of other scripts, 1_000, and 1e3 where atoi stops at the e
        number = float(text) if (WHOLE if kind is int else NUMBER).fullmatch(text) else math.nan
        if not math.isfinite(number) or (kind is int and abs(number) >= 2**31):
            wanted = "a whole number" if kind is int else "a number"
            raise self.error(line, f"{key}={shorten(text)}", f"{key} takes {wanted}")
        return int(number) if kind is int else number


def with_net(cfg: Cfg, **values: Any) -> Cfg:
    """Return ``cfg`` with some keys of ``[net]`` replaced, for example ``width=416``."""
    return replace(cfg, net=replace(cfg.net, **values))


@once_per_cfg
def write_cfg(cfg: Cfg) -> str:
    """Return the cfg as text that Darknet, and what else reads cfgs, takes for the same network.

    Other keys at their default than :data:`~yolo_subbatch.darknet.explicit.ALWAYS_WRITTEN` are left out, and so are
    keys without a field here (AlexeyAB's without effect).
    """
    cfg = explicit(cfg)
    text = "\n".join(_section_text(section) for section in (cfg.net, *cfg.sections))
    if cfg.alexeyab and ALEXEYAB_KEYS.isdisjoint(line.partition("=")[0] for line in lines_of(text)):
        # The keys that told the flavour are gone; this one keeps it and has no effect at its default.
        return text.replace("\n", "\nlearning_rate_min=" + _text(cfg.net.learning_rate_min) + "\n", 1)
    return text


def _section_text(section: Section) -> str:
    lines, always = [f"[{section.title}]"], ALWAYS_WRITTEN.get(section.title, frozenset())
    for key, name in keys_of(type(section)).items():
        value = getattr(section, name)
        if key == "batch_normalize" and value:
            value = 1  # 2 is told by cbn
        if value != type(section).__dataclass_fields__[name].default or (key in always and value not in (None, ())):
            lines.append(f"{key}={_text(value)}")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(each) for each in value)
    if not isinstance(value, float):
        return str(value)
    short = f"{value:.9g}"
    return short if float(short) == value else repr(value)
