"""Files that others may have written, read so that none of them holds a program up or ends it.

A run's folder may come from anywhere. What lies in it under a known name can be a pipe that nobody writes to, a device,
a file of any size, or JSON nested so deep that reading it ends the process.
"""

from __future__ import annotations

import errno
import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

from yolo_subbatch.darknet.regular_files import open_regular as open_regular
from yolo_subbatch.darknet.regular_files import open_to_append as open_to_append
from yolo_subbatch.darknet.regular_files import size_of

MOST_BYTES = 1 << 24  # of a file that is read whole
MOST_RECORD = 1 << 20  # of what the program notes for itself, which a window looks at again and again
MOST_DESCRIBED = 1 << 26  # of a description, in which a million classes have names
LONGEST_LINE = 1 << 22  # bytes of one event; ten thousand names of classes are a tenth of it
DEEPEST = 100  # brackets around a value in JSON
STRING = re.compile(r'"[^"]*(?:"|\Z)')
STEPS = [(each in b"[{") - (each in b"]}") for each in range(256)]
NO_BRACKETS = bytes(each for each in range(256) if not STEPS[each])


def read_small(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a whole file.

    Raises:
        OSError: If it cannot be read, is no regular file, or is larger than anything this program writes there.
    """
    with open_regular(path) as file:
        size = size_of(file)
        if size > most:
            raise OSError(errno.EINVAL, f"more than {most >> 20} MB", str(path))
        return file.read(size)


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: If it is none, or nested deeper than anything this program writes.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} brackets inside one another")
    return json.loads(text)


def _depth(text: str) -> int:
    """Return how deep the brackets of a JSON text are nested, outside of its strings."""
    escaped = text.replace("\\\\", "").replace('\\"', "")  # what is left of quotes begins or ends a string
    brackets = STRING.sub("", escaped).encode("utf-8", "surrogatepass").translate(None, NO_BRACKETS)
    return max(accumulate(map(STEPS.__getitem__, brackets)), default=0)
