"""The lines of a text file as Darknet reads them: by bytes.

A line ends at a line feed or a carriage return and nowhere else, and blanks are the ASCII ones. Python's own
``splitlines`` and ``strip`` know more of both, which would cut names and paths that hold such a character.

Source: darknet ``fgetl`` and ``strip`` in src/utils.c.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from yolo_subbatch.darknet.regular_files import open_regular, size_of
from yolo_subbatch.errors import DataError, YoloSubbatchError

BLANKS = " \t\r\n"
LINE_END = re.compile(r"\r\n|\r|\n")
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16 and UTF-32
QUOTES = "\"'"
MOST_BYTES = 2**26  # of a text that is read as a whole
MOST_LIST = 2**30  # bytes of a list of files
LONGEST_LINE = 2**16  # bytes of a line of it
LONGEST_SHOWN = 300  # letters of a path in a message
LONGEST_NAME = 255  # bytes, on every usual file system
LONGEST_PATH = 4095  # bytes, on Linux
#: Where a comment begins that stands behind a value; behind a number it needs no blank, which a name may end in.
COMMENT = re.compile(r"[ \t]+(?:#|;|//)|(?<=[0-9])(?:#|//|;(?![0-9]))")
COMMENT_BEHIND_NAME = re.compile(r"[ \t]+(?:#|;|//)")


def is_folder(path: str | Path) -> bool:
    """Tell whether there is a folder of that name; of what no file can be called, there is none."""
    try:
        return os.path.isdir(path)
    except ValueError:
        return False


def is_name(path: object) -> bool:
    """Tell whether a file can be called so: not too long as a whole or in a part, and without a zero byte."""
    name = str(path).encode("utf-8", "replace").replace(b"\\", b"/")
    return (
        len(name) <= LONGEST_PATH and b"\0" not in name and all(len(part) <= LONGEST_NAME for part in name.split(b"/"))
    )


def in_utf8(path: object) -> bool:
    """Tell whether a path can be written as text; OpenCV ends the program at one that cannot."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_text(file: Path, what: str, paths: bool = False, kind: type[YoloSubbatchError] = DataError) -> str:
    """Read a text file.

    Args:
        file: The file.
        what: What it holds, for messages.
        paths: It names files: bytes that are not UTF-8 become what ``os.fsdecode`` makes of them, so that the files are
            found. Otherwise such a text is taken as Latin-1.
        kind: Of the error.

    Raises:
        YoloSubbatchError: If it cannot be read, is UTF-16 or no text.
    """
    with _opened(file, what, kind) as (stream, size):
        if size > MOST_BYTES:
            raise kind(f"{file}: {size} bytes are more than {what} can have ({MOST_BYTES}); give the text file")
        data = stream.read(size)
    refuse_wide(data, file, kind)
    if b"\0" in data:
        raise kind(f"{file}: this is a binary file; give the text file of {what}")
    return decoded(data, paths)


def read_lines(file: Path, what: str) -> Iterator[str]:
    """Yield the lines of a long text file that names files, reading a part of it after the other.

    Args:
        file: The file.
        what: What it holds, for messages.

    Raises:
        DataError: As :func:`read_text`; also for a line that is too long for the name of a file.
    """
    with _opened(file, what, DataError) as (stream, size):
        rest, first = b"", True
        while size and (data := stream.read(LONGEST_LINE)):
            data += stream.read(1) if data.endswith(b"\r") else b""  # a line feed behind it ends no other line
            if first:
                refuse_wide(data, file, DataError)
            if b"\0" in data:
                raise DataError(f"{file}: this is a binary file; give the text file of {what}")
            if size > MOST_LIST:
                raise DataError(f"{file}: {size} bytes are more than {what} can have ({MOST_LIST}); divide it")
            *lines, rest = re.split(rb"\r\n|\r|\n", rest + data)
            if len(rest) > LONGEST_LINE:
                raise DataError(f"{file}: a line of more than {LONGEST_LINE} bytes; give {what}, one name a line")
            for line in lines:
                yield decoded(line, paths=True) if first else line.decode("utf-8", "surrogateescape")
                first = False
        if rest:
            yield decoded(rest, paths=True) if first else rest.decode("utf-8", "surrogateescape")


@contextmanager
def _opened(file: Path, what: str, kind: type[YoloSubbatchError]) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file for reading, and say how many bytes it has.

    Raises:
        YoloSubbatchError: If it is no regular file: a pipe or a device may have no end, or wait for somebody.
    """
    if is_folder(file):
        raise kind(f"{file}: this is a folder; give the file of {what}")
    try:
        with open_regular(file) as stream:
            yield stream, size_of(stream)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        place = shorten(str(file), LONGEST_SHOWN)
        raise kind(f"{place}: cannot be read ({reason}); check the path of {what}") from error


def shorten(text: str, limit: int = 60) -> str:
    """Return ``text`` fit for a one-line message: printable, at most ``limit`` characters."""
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def decoded(data: bytes, paths: bool = False) -> str:
    """Return bytes as text; see :func:`read_text`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("utf-8-sig", "surrogateescape") if paths else data.decode("latin-1")


def refuse_wide(data: bytes, file: Path | str, kind: type[YoloSubbatchError]) -> None:
    """Refuse what Windows calls Unicode: two bytes or more a letter.

    Raises:
        YoloSubbatchError: Of that kind.
    """
    beginning = data[:200]
    # Without a mark, every other byte of a text in a European language is zero.
    halves = (beginning[::2], beginning[1::2]) if len(beginning) > 3 else ()
    unmarked = any(half.count(0) == len(half) for half in halves) and beginning.count(0) <= len(beginning) // 2 + 1
    if (data.startswith(WIDE_MARKS) and b"\0" in data) or unmarked:
        raise kind(f"{file}: is UTF-16: save it as UTF-8")


def lines_of(text: str) -> list[str]:
    """Return the lines of a text; a line end at its end begins no further one."""
    lines = LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def bare(line: str) -> str:
    """Return a line without the blanks around it."""
    return line.strip(BLANKS)


def columns_of(line: str) -> list[str]:
    """Return what stands between the blanks of a line."""
    return [column for column in re.split(f"[{BLANKS}]+", line) if column]


def number_of(text: str) -> float:
    """Return a number as C reads one; Python's own ``float`` takes ``1_0`` and the digits of other scripts too.

    Raises:
        ValueError: If it is none.
    """
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text)


def without_comment(value: str, name: bool = False) -> str:
    """Return a value without a comment behind it; ``name``: it is that of a file or folder, not a number."""
    return bare((COMMENT_BEHIND_NAME if name else COMMENT).split(value, 1)[0])


def spellings(typed: str) -> Iterator[str]:
    """Yield what a path in a text file may mean, the likeliest first: as it is typed, or as Windows writes it."""
    yield typed
    name = bare(typed)
    yield name
    if len(name) > 1 and name[0] == name[-1] and name[0] in QUOTES:
        name = name[1:-1]
        yield name
    if "\\" in name:
        name = with_slashes(name)
        yield name
    yield re.sub(r"[ \t]+", "", name)  # Darknet drops blanks inside too


def with_slashes(path: str) -> str:
    """Return a path as it is written outside Windows."""
    return re.sub(r"[\\/]+", "/", path) if "\\" in path else path


def new_folder(path: str) -> str:
    """Return the name of a folder that is made where it is not there: not one with a backslash of Windows in it."""
    return path if os.sep == "\\" or os.path.lexists(path) else with_slashes(path)


def as_here(argument: str) -> str:
    """Return an argument of a command line in which a path of Windows, alone or behind ``key=``, is one of this system.

    It is one where nothing has the name as it is typed, and where something is, or could be made, at the other.
    """
    before, equals, path = argument.partition("=") if re.match(r"(--)?[A-Za-z]\w*=", argument) else ("", "", argument)
    other = Path(with_slashes(path))
    if os.sep == "\\" or "://" in path or os.path.lexists(path) or not other.parent.is_dir():
        return argument
    return f"{before}{equals}{with_slashes(path)}"


def find_file(typed: str, folder: Path) -> Path | None:
    """Return the file that a text file in ``folder`` names, there or in the working directory; None without one."""
    for name in dict.fromkeys(spellings(typed)):
        for place in (folder / name, Path(name)):
            if _is_file(place):
                return place
    return None


def _is_file(place: Path) -> bool:
    try:
        return os.path.isfile(place)
    except ValueError:  # no possible name of a file
        return False


def find_folder(typed: str, *bases: Path) -> Path:
    """Return the folder that a text file names, in the first of some places that has it; where none has, a new one."""
    named = without_comment(typed, name=True)
    for name in dict.fromkeys((*spellings(typed), named)):
        for base in bases:
            if name and is_folder(base / name):
                return base / name
    return Path(with_slashes(named.strip(QUOTES)))
