"""Keys that a user gives to ``train()`` and that would be dropped in silence: named, or refused before work starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.host_keys import refused, without_effect
from yolo_subbatch.settings.training_checks import HOST_AUGMENTATION, NOT_FOR_DARKNET

_checked: ContextVar[bool] = ContextVar("checked", default=False)  # the command line has said what is to be said


@contextmanager
def checked_already() -> Iterator[None]:
    """Say nothing of a Darknet network's keys in this block: they were checked as settings."""
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def keys_without_effect(given: Mapping[str, Any], darknet: bool) -> dict[str, str]:
    """Return the keys that a user gave in vain, with what to say of each.

    Args:
        given: The arguments of a trainer, by Ultralytics' names.
        darknet: It trains a Darknet network.

    Raises:
        SettingsError: If there is one that cannot be passed over.
    """
    texts = refused(given)
    if texts:
        raise SettingsError("\n".join(texts.values()))
    found = without_effect(given, DEFAULT_CFG_DICT, str(given.get("task") or "detect"))
    if not darknet:
        return found
    if _checked.get():
        return {}
    own = given.get("augmentation", "darknet") == "darknet"
    for key, value in given.items():
        if value in (None, DEFAULT_CFG_DICT.get(key)):
            continue
        if key in NOT_FOR_DARKNET:
            found[key] = f"{key}: has no effect on a Darknet network, which has its own loss and schedule"
        elif own and key in HOST_AUGMENTATION:
            found[key] = f"{key}: has no effect on Darknet's augmentation; augmentation=ultralytics uses it"
        elif key == "rect":
            found[key] = "rect: has no effect on the training of a Darknet network; validation does so anyway"
    found.pop("angle", None)  # a key of [net] here
    return found
