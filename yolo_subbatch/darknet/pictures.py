"""What a picture is: a file that begins as the formats that OpenCV reads do, whatever its name ends in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from yolo_subbatch.darknet.regular_files import has_content
from yolo_subbatch.errors import DataError

HEAD = 16  # bytes that tell
SIGNATURES = (
    b"\xff\xd8\xff",  # JPEG, also .jfif and .mpo
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a", b"GIF89a",
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",  # TIFF, also .dng
    b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51",  # JPEG 2000
    b"\x59\xa6\x6a\x95",  # Sun raster
    b"#?RADIANCE", b"#?RGBE",
    b"\x76\x2f\x31\x01",  # OpenEXR
)  # fmt: skip
PORTABLE = frozenset(f"P{letter}".encode() for letter in "1234567Ff")  # PBM, PGM, PPM, PAM, PFM
BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heif", b"mif1", b"msf1")  # of a box file with a picture in it
MOST_NAMED = 8  # files in one message
_CHECKED: set[tuple[str, int, int]] = set()  # pictures found good, so that none is opened twice


def begins_as_picture(head: bytes) -> bool:
    """Tell from its first bytes, 16 at least, whether a file is a picture."""
    portable = head[:2] in PORTABLE and head[2:3].isspace()
    bitmap = head[:2] == b"BM" and head[15:16] == b"\0"  # the size of its header, of less than 256 bytes
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    boxed = head[4:8] == b"ftyp" and head[8:12] in BRANDS
    return portable or bitmap or webp or boxed or head.startswith(SIGNATURES)


def is_picture(file: str | Path) -> bool:
    """Tell whether a file is a picture; one that cannot be read is none."""
    try:
        if not has_content(file):
            return False
        with open(file, "rb") as stream:
            return begins_as_picture(stream.read(HEAD))
    except (OSError, ValueError):
        return False


def check_pictures(images: Iterable[Path], source: str | Path) -> None:
    """Refuse files that are no pictures.

    Args:
        images: Files that exist.
        source: What names them, for the message.

    Raises:
        DataError: With all of them.
    """
    refuse_pictures([image for image in images if not _is_known(image) and not _is_good(image)], source)


def refuse_pictures(strange: list[Path], source: str | Path) -> None:
    """Raise a DataError for files that cannot be read as pictures; nothing without any."""
    if strange:
        named = ", ".join(map(str, strange[:MOST_NAMED]))
        more = f" and {len(strange) - MOST_NAMED} more" if len(strange) > MOST_NAMED else ""
        what = "this is no picture" if len(strange) == 1 else f"these {len(strange)} are no pictures"
        raise DataError(f"{source}: {what} that can be read: {named}{more}; replace them or take them off the list")


def _mark(image: Path) -> tuple[str, int, int]:
    state = os.stat(image)
    return os.path.abspath(image), state.st_mtime_ns, state.st_size


def _is_known(image: Path) -> bool:
    return _mark(image) in _CHECKED


def _is_good(image: Path) -> bool:
    good = is_picture(image)
    if good:
        _CHECKED.add(_mark(image))
    return good
