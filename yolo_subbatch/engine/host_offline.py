"""Ultralytics without a network: what it fetches or tells although nobody gave an address.

:func:`yolo_subbatch.settings.offline.stay_offline` says so before Ultralytics is imported. What that does not reach is
here: fonts, a network that it compares half precision with, and everything where a script imported Ultralytics first.
With ``YOLO_OFFLINE=false`` of the user's own, Ultralytics is left as it is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from ultralytics.utils import USER_CONFIG_DIR, checks, downloads

from yolo_subbatch.settings.offline import wants_network

Function = TypeVar("Function", bound=Callable[..., Any])
FONT = "fonts/ttf/DejaVuSans.ttf"  # comes with matplotlib, which Ultralytics needs
#: Parts of the names of fonts that have the letters of Chinese, Japanese and Korean; DejaVu has none of them.
WIDE = ("NotoSansCJK", "SourceHanSans", "wqy-", "DroidSansFallback", "msyh", "PingFang", "unifont")
UNICODE = "Unicode"  # in the name of the font that Ultralytics wants for such letters
#: Modules of Ultralytics that hold its function for fonts, and for half precision, under their own names.
FOR_FONTS = ("ultralytics.utils.checks", "ultralytics.utils.plotting", "ultralytics.data.utils")
FOR_HALF = "ultralytics.engine.trainer"


@functools.cache
def installed_font(font: str = "Arial.ttf") -> str:
    """Return the file of a font that is installed: the one that is asked for, or one that stands in for it."""
    from matplotlib import font_manager, get_data_path  # slow to import

    kept = Path(USER_CONFIG_DIR) / Path(font).name
    if kept.is_file():
        return str(kept)
    there = [each.fname for each in font_manager.fontManager.ttflist if Path(each.fname).is_file()]
    wanted = [font, *(WIDE if UNICODE in font else ())]
    found = (name for part in wanted for name in there if part in name)
    return next(found, str(Path(get_data_path()) / FONT))


def without_fetching(compare: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return Ultralytics' check of half precision, which goes without the network that it would download."""

    @functools.wraps(compare)
    def check(model: Any) -> bool:
        with _FETCHING, patch.object(downloads, "attempt_download_asset", _here):
            return bool(compare(model))

    return check


_FETCHING = threading.Lock()


def _here(file: Any, *_: Any, **__: Any) -> str:
    if not Path(file).is_file():
        raise ConnectionError(f"{file}: not here")  # for which Ultralytics has an answer
    return str(file)


def no_look() -> bool:
    """Stand in for Ultralytics' look for a newer release, which this plug-in may not work with."""
    return False


class OwnCalls:
    """Keeps Ultralytics from telling of what this plug-in does, in a process where it may tell of other work.

    Trainings in several threads share it, whichever of them ends first.
    """

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.before: list[tuple[Any, str, Any]] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Tell nothing in this block."""
        if wants_network():
            yield
            return
        with self.lock:
            self.users += 1
            if self.users == 1:
                places = [(checks, "ONLINE"), *_analytics()]
                self.before = [(place, name, getattr(place, name)) for place, name in places]
                for place, name in places:
                    setattr(place, name, False)
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if not self.users:
                    for place, name, value in self.before:
                        setattr(place, name, value)


def _analytics() -> list[tuple[Any, str]]:
    try:
        return [(import_module("ultralytics.utils.events").events, "enabled")]
    except (ImportError, AttributeError):  # a release that keeps it elsewhere; ONLINE was false when it was made
        return []


own_calls = OwnCalls()


def offline(method: Function) -> Function:
    """Have a method of this plug-in tell nothing; see :class:`OwnCalls`."""

    @functools.wraps(method)
    def quiet(*arguments: Any, **keywords: Any) -> Any:
        with own_calls():
            return method(*arguments, **keywords)

    return quiet  # type: ignore[return-value]


def replace_fetches() -> None:
    """Have Ultralytics use what is installed, for good: it draws in threads that outlive the call that began them."""
    if wants_network():
        return
    for name in FOR_FONTS:
        vars(import_module(name))["check_font"] = installed_font
    half = vars(import_module(FOR_HALF))
    half["check_amp"] = without_fetching(half["check_amp"])
    checks.check_pip_update_available = no_look
