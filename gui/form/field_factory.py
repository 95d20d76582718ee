"""Fields made from what the fields of a settings dataclass declare of themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from yolo_subbatch.settings.conversion import show

from ..toolkit.language import setting_text
from .device_box import DeviceBox
from .fields import CheckField, ChoiceBox, KeysBox, TextField, text_of
from .number_box import NumberBox, Step, by_last_digit, by_one
from .path_field import PathField

Field = NumberBox | TextField | ChoiceBox | CheckField | PathField | DeviceBox | KeysBox
NUMBERS = {"int": by_one, "float": by_last_digit}


def label_of(declared: dataclasses.Field[Any]) -> str:
    """Return the name of a setting in the window's language."""
    return setting_text(declared.metadata["label"])


def tip_of(declared: dataclasses.Field[Any]) -> str:
    """Return what a setting means, and its key on the command line."""
    return f"{setting_text(declared.metadata['tip'])}\n{declared.name}="


def make_field(
    declared: dataclasses.Field[Any], steps: Mapping[str, Step], names: Sequence[str] = (), new: bool = False
) -> Field:
    """Return the field that suits a setting.

    Args:
        declared: The setting.
        steps: How the arrows of a number's field step, where neither by one nor by its last digit.
        names: Words that a path's field understands as well.
        new: A path's field names a file to write.
    """
    rule, hint = declared.metadata, str(declared.type)
    kind = hint.split()[0]
    if rule.get("choices"):
        return ChoiceBox(map(show, rule["choices"]), text_of(declared.default))
    if rule.get("kind"):
        return PathField(setting_text(rule.get("filter", "")), names, new)
    if hint == "bool":
        return CheckField(bool(declared.default))
    return NumberBox(steps.get(declared.name, NUMBERS[kind]), rule) if kind in NUMBERS else TextField()


def dress(field: Field, declared: dataclasses.Field[Any]) -> None:
    """Give a field the name, the tool tip and the accessible name of its setting."""
    field.setObjectName(declared.name)
    field.setAccessibleName(label_of(declared))
    field.setToolTip(tip_of(declared))
