"""The start of Darknet's ``.weights`` files.

Three 32-bit integers, the version of the format, and the count of images seen: 64 bits from version 0.2 on, 32 before.

Source: darknet ``load_weights_upto`` and ``save_weights_upto`` in src/parser.c.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from yolo_subbatch.darknet.weights_kinds import foreign_file
from yolo_subbatch.errors import WeightsError

LONGEST_HEADER = 20  # bytes
MOST_SEEN = 2**31  # images from which Darknet's count of 32 bits is none: it has a sign there

Version = tuple[int, int, int]
#: What each Darknet writes.
WRITTEN: dict[str, Version] = {"pjreddie": (0, 2, 0), "alexeyab": (0, 2, 5)}


@dataclass(frozen=True)
class Header:
    """The start of a weights file; ``seen`` counts the images trained on.

    ``layers`` is the number of sections that the file covers: fewer than the network's for a backbone.
    """

    major: int
    minor: int
    revision: int
    seen: int
    layers: int = 0

    @property
    def version(self) -> Version:
        """The version of the format: major, minor, revision."""
        return self.major, self.minor, self.revision

    @property
    def size(self) -> int:
        """Bytes of the header: ``seen`` has 64 bits from version 0.2 on."""
        wide = self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000
        return 20 if wide else 16

    @property
    def transposed(self) -> bool:
        """Whether ``[connected]`` weights stand input by input, as the first Darknets wrote them."""
        return self.major > 1000 or self.minor > 1000

    def to_bytes(self) -> bytes:
        """Return it as it stands in a file."""
        return struct.pack("<3i" + ("Q" if self.size == 20 else "I"), *self.version, self.seen)


def read_header(data: bytes, name: str = "weights") -> Header:
    """Read the header from the first bytes of a file.

    Raises:
        WeightsError: If there are too few bytes, or they cannot be a Darknet header.
    """
    if not data:
        raise WeightsError(f"{name}: the file is empty; give a Darknet .weights file")
    known = foreign_file(data) if len(data) < 16 else None
    if known:
        raise WeightsError(f"{name}: this is {known}")
    if len(data) < 16:
        raise WeightsError(f"{name}: only {len(data)} bytes, less than a header; the file is cut off")
    major, minor, revision = struct.unpack("<3i", data[:12])
    header = Header(major, minor, revision, seen=0)
    if min(header.major, header.minor, header.revision) < 0 or header.major > 100_000 or header.minor > 100_000:
        known = foreign_file(data)
        found = f"this is {known}" if known else "does not start with a Darknet version; give a Darknet .weights file"
        raise WeightsError(f"{name}: {found}")
    if len(data) < header.size:
        raise WeightsError(f"{name}: only {len(data)} bytes, less than a header; the file is cut off")
    (seen,) = struct.unpack("<Q" if header.size == 20 else "<I", data[12 : header.size])
    return Header(header.major, header.minor, header.revision, seen)


def written_header(version: Version, seen: int) -> Header:
    """Return the header for a file of a version: of the first later one where its 32 bits cannot count ``seen``."""
    header = Header(*version, seen)
    if header.size == LONGEST_HEADER or seen < MOST_SEEN:
        return header
    return Header(0, 2, header.revision, seen)


def with_seen(data: bytes, seen: int) -> bytes:
    """Return the bytes of a weights file with another number of images seen; the version is kept if it can count them.

    Raises:
        WeightsError: If ``data`` does not start with a header, or has matrices whose order belongs to its version.
    """
    before = read_header(data)
    after = written_header(before.version, seen)
    if after.transposed != before.transposed:
        raise WeightsError(f"weights of version {before.major}.{before.minor} cannot count {seen} images")
    return after.to_bytes() + data[before.size :]
