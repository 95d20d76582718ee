"""Names that a user's trainer gives to something of his own, and that the sub-batches need themselves.

Ultralytics documents its attributes; a user can know of those and of no others. What is called as one of ours would
replace it, or be replaced, so it is refused before anything is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from yolo_subbatch.engine.overrides import HOOKS, Seam, is_known, owner_of
from yolo_subbatch.errors import SettingsError


def own_names(ours: type) -> set[str]:
    """Return the names that the mixin's classes have, but for those that a user may have too."""
    names = {name for each in ours.__mro__ if each is not object for name in vars(each)}
    return {name for name in names - HOOKS if not name.startswith("__")}


def refuse_taken_names(kind: type, ours: type) -> None:
    """Refuse a trainer class, written without us, that calls something as the mixin does.

    Raises:
        SettingsError: With all such names.
    """
    hosts = {name for each in kind.__mro__ if each.__module__.startswith("ultralytics") for name in vars(each)}
    inside = own_names(ours) - hosts
    _refuse(
        f"{each.__name__}.{name}" for each in kind.__mro__ if not is_known(each) for name in vars(each).keys() & inside
    )


@contextmanager
def setting_own(trainer: Any) -> Iterator[None]:
    """Note what this block puts on a trainer, and that a user's class has put nothing of these names there.

    Raises:
        SettingsError: If it has, with all the names.
    """
    before = _plain(trainer)
    for name in before:
        del trainer.__dict__[name]
    yield
    values = _plain(trainer)
    trainer.__dict__.update(before)
    _refuse(
        f"{(owner_of(type(trainer), name) or _shown(trainer)).__name__}.{name}"
        for name in values
        if name in before or owner_of(type(trainer), name)
    )
    trainer.own_values = values


def refuse_replaced(trainer: Any, ours: type) -> None:
    """Refuse what a user's ``__init__`` has put in the place of something of ours.

    Raises:
        SettingsError: With all the names.
    """
    hosts = {name for each in type(trainer).__mro__ if each.__module__.startswith("ultralytics") for name in vars(each)}
    values, own = _plain(trainer), trainer.own_values
    methods = {name for name in own_names(ours) - hosts if callable(getattr(ours, name)) or is_read_only(ours, name)}
    changed = {name for name in own if name not in values or values[name] is not own[name]}
    _refuse(f"{_shown(trainer).__name__}.{name}" for name in changed | (values.keys() & methods))


def is_read_only(kind: type, name: str) -> bool:
    """Tell whether a class has a property of this name that nobody can set."""
    found = getattr(kind, name, None)
    return isinstance(found, property) and found.fset is None


def _plain(trainer: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(trainer).items() if not isinstance(value, Seam)}


def _shown(trainer: Any) -> type:
    """Return the class that a user knows: what :func:`subbatch` was given."""
    kind = type(trainer)
    found: type = vars(kind).get("made_from", kind)
    return found


def _refuse(names: Iterable[str]) -> None:
    found = sorted(set(names))
    if found:
        raise SettingsError(f"{', '.join(found)}: sub-batches use this name themselves; give it another name")
