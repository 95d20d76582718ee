"""What this user did with this program, as opposed to what a folder says that came from somebody else.

The user's own data folder holds a key that nobody else can read. What the program leaves in a run's folder for itself
carries a mark made with it; without one it is only shown, and nothing is done because of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from yolo_subbatch.settings.safe_reading import read_small

PRIVATE, OTHERS_WRITE = 0o700, 0o022
KEY_BYTES = 32
MARK = "mark"  # the entry of a document that holds the mark of all others


def data_folder() -> Path:
    """Return the user's own folder: ``YOLO_SUBBATCH_DATA``, or ``yolo-subbatch`` in the system's place for data."""
    given = os.environ.get("YOLO_SUBBATCH_DATA")
    if given:
        return Path(given).absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base).absolute() / "yolo-subbatch"


def private_folder(name: str = "") -> Path:
    """Return the user's own folder, or one in it; where it is missing it is made so that nobody else may look into it.

    Raises:
        OSError: If it cannot be made, or belongs to somebody else.
    """
    top = data_folder()
    top.parent.mkdir(parents=True, exist_ok=True)
    for place in (top, top / name):
        place.mkdir(mode=PRIVATE, exist_ok=True)
        refuse_others(place)
    return top / name


def refuse_others(place: Path) -> None:
    """Make sure that a folder is this user's own, and that nobody else may write into it.

    Raises:
        OSError: If it is not.
    """
    found = place.stat()
    if not hasattr(os, "getuid"):
        return
    if found.st_uid != os.getuid():
        raise PermissionError(1, "belongs to another user", str(place))
    if found.st_mode & OTHERS_WRITE:  # who may look in stays as it is: YOLO_SUBBATCH_DATA may be a folder of before
        place.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS_WRITE)


def place_key(path: Path) -> str:
    """Return a name for a folder's place on this machine, the same through whatever links it is reached."""
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()


def marked(document: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Return a document with this user's mark on it, which holds in one place alone; without one if none can be made.

    Args:
        document: What JSON can hold.
        place: The file that it is written to.
    """
    unmarked = {key: value for key, value in document.items() if key != MARK}
    with suppress(OSError):
        return {**unmarked, MARK: _mark(unmarked, place, _key())}
    return unmarked


def is_own(document: Mapping[str, Any], place: Path) -> bool:
    """Tell whether this user's program wrote a document that was found in this place, as it stands there."""
    given = document.get(MARK)
    if not isinstance(given, str) or not given.isascii():
        return False
    with suppress(OSError, ValueError):
        unmarked = {key: value for key, value in document.items() if key != MARK}
        return hmac.compare_digest(given, _mark(unmarked, place, _key()))
    return False


def _mark(document: Mapping[str, Any], place: Path, key: bytes) -> str:
    text = json.dumps([place_key(place.parent), place.name, document], sort_keys=True)
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def _key() -> bytes:
    """Return the user's key, drawn on first use; of two programs that draw one at once, the first one's counts."""
    file = private_folder() / "key"
    if not file.exists():
        part = file.with_name(f"key.{secrets.token_hex(8)}")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(secrets.token_bytes(KEY_BYTES))
            with suppress(FileExistsError):
                _name_unless_taken(part, file)
        finally:
            part.unlink(missing_ok=True)
    key = read_small(file)
    if len(key) != KEY_BYTES:
        raise OSError(0, "no key", str(file))
    return key


def _name_unless_taken(part: Path, file: Path) -> None:
    try:
        os.link(part, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.rename(part, file)
