"""Text that came from files and arguments, on its way to a terminal or a window: nothing in it is a command.

A terminal obeys what it is shown: ESC and its relatives move the cursor, rename the window and fill the clipboard.
Names, labels and messages that were read somewhere are therefore escaped where they leave the program, and only there.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

#: What a terminal obeys (C0 and C1), what ends a line for some programs and not for others, and what turns the order of
#: letters around, so that a name reads as another one.
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINE_ANEW = "\r\x1b[2K", "\r\x1b[K", "\r"  # how a progress bar begins to paint its line
#: A word in colour before a message, as Ultralytics begins some.
COLOURED_LABEL = re.compile(r"^(?:\x1b\[[0-9;]*m)+([\w .:-]*)\x1b\[0m")


def plain(text: str) -> str:
    r"""Return a text with every control character as Python writes it: ``\x1b``; line ends and tabs stay."""
    return COMMANDS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class PlainOutput:
    """A stream in whose place it stands: everything that is written comes out as :func:`plain` has it.

    Args:
        stream: Where it goes; ``unguarded`` is for who paints on a terminal and escapes what it shows itself.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)

    def write(self, text: str) -> int:
        """Write a text; what a progress bar begins with reaches a terminal as it is."""
        begin = next((each for each in LINE_ANEW if text.startswith(each)), "")
        rest = text[len(begin) :]
        self.unguarded.write((begin if self.unguarded.isatty() else "") + plain(COLOURED_LABEL.sub(r"\1", rest)))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)


@contextmanager
def plain_output() -> Iterator[None]:
    """Escape what this process prints on its standard output and its standard error."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may hold bytes that are no letters
    if None not in before and not isinstance(sys.stdout, PlainOutput):  # no output: a window's program on Windows
        sys.stdout, sys.stderr = (cast(TextIO, PlainOutput(each)) for each in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream behind a :class:`PlainOutput`, for who escapes what it shows itself."""
    return stream.unguarded if isinstance(stream, PlainOutput) else stream


class PlainRecords(logging.Filter):
    """Escapes what a library logs; its colours go, which a name could have had too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, in plain text."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        record.msg, record.args = plain(COLOUR.sub("", text)), ()
        return True


def log_plainly(name: str) -> None:
    """Have a library's messages escaped from now on."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, PlainRecords) for each in logger.filters):
        logger.addFilter(PlainRecords())
