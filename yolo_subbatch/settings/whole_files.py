"""Files that are written whole: a reader sees the old one or the new one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from yolo_subbatch.darknet.regular_files import drafts_of, write_atomically


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    clear_drafts(path)
    write_atomically(path, content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def clear_drafts(path: Path) -> None:
    """Remove what processes that are gone have left of a file that they were writing whole."""
    for draft, number in drafts_of(path):
        if not psutil.pid_exists(number):
            with suppress(OSError):
                draft.unlink()
