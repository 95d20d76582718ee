"""Files as they are read and written with care: regular ones alone, and written whole or not at all.

What lies under a name may be a pipe that nobody writes to, a device without an end, or something that the system makes
up while it is read. Whoever opens such a thing waits; whoever puts a file in its place destroys it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

NOT_REGULAR = "not a regular file but a pipe or a device"
NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
LONGEST_STEM = 50  # letters of a name that are in that of its draft
DRAFT_BYTES = 4  # random ones in the name of a draft


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read it.

    Raises:
        OSError: If it cannot be read, or is a pipe, a device or a folder; nothing is waited for.
        ValueError: If no file can have that name.
    """
    return _opened(path, "rb", os.O_RDONLY | NO_WAITING)


def open_to_append(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to write at its end, making it if it is not there; never one that a link leads to.

    Raises:
        OSError: If it cannot be written, or is a link, a pipe, a device or a folder.
        ValueError: If no file can have that name.
    """
    return _opened(path, "ab", os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_WAITING | NO_LINKS)


def _opened(path: str | os.PathLike[str], mode: str, flags: int) -> BinaryIO:
    # A folder is refused by Python itself.
    file = cast(BinaryIO, open(path, mode, opener=lambda name, _: os.open(name, flags, 0o666)))  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, NOT_REGULAR, str(path))


def size_of(file: BinaryIO) -> int:
    """Return how many bytes an open file has; 0 of what the system makes up, which may wait or have no end."""
    return os.fstat(file.fileno()).st_size


def has_content(path: str | os.PathLike[str]) -> bool:
    """Tell whether a name is that of a regular file with something in it, which alone is safe to open.

    Of what the system makes up, it says that it is empty.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size > 0


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old or the new one, whole, whatever happens.

    The draft that becomes the file has a name that nobody can know beforehand, so that no link waits there. The file
    keeps who may read it.

    Raises:
        OSError: If it cannot be written, or a device, a pipe or a folder is in its place: that would be gone.
    """
    mode = 0o666
    if path.exists():
        if not path.is_file():
            raise OSError(errno.EINVAL, "no regular file is in its place", str(path))
        mode = stat.S_IMODE(path.stat().st_mode) & 0o666
    draft = path.with_name(f".{path.name[:LONGEST_STEM]}.{os.getpid()}.{secrets.token_hex(DRAFT_BYTES)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINKS | getattr(os, "O_BINARY", 0)
    try:
        with open(draft, "wb", opener=lambda name, _: os.open(name, flags, mode)) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # what the user knows, and not its draft
        raise


def drafts_of(path: Path) -> list[tuple[Path, int]]:
    """Return what was left of a file that was being written, each with the number of the process that wrote it."""
    form = re.compile(rf"\.{re.escape(path.name[:LONGEST_STEM])}\.([0-9]{{1,9}})\.[0-9a-f]{{{2 * DRAFT_BYTES}}}")
    with suppress(OSError):
        named = [(file, form.fullmatch(file.name)) for file in path.parent.iterdir()]
        return [(file, int(found[1])) for file, found in named if found]
    return []
