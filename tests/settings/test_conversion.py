"""Every key takes every spelling of its value, from wherever it comes, and answers what it cannot take."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from export.infer import InferSettings
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings import commands
from yolo_subbatch.settings.conversion import ON_OR_OFF, convert_like, plain
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import defaults, make, parse_pairs, read_setting

KINDS = [
    TrainSettings, InferSettings,
    *(each for each in vars(commands).values() if isinstance(each, type) and each.__name__.endswith("Settings")
      and each is not TrainSettings),
]  # fmt: skip
FIELDS = [
    pytest.param(kind, each, id=f"{kind.__name__}.{each.name}")
    for kind in KINDS for each in dataclasses.fields(kind) if each.name != "extra"
]  # fmt: skip


def types_of(kind: type, name: str) -> tuple[Any, ...]:
    hint = get_type_hints(kind)[name]
    return tuple(each for each in (get_args(hint) if get_origin(hint) is not tuple else (hint,)) or (hint,)
                 if each is not NoneType)  # fmt: skip


def good_number(rule: Any) -> int:
    """Return a whole number within the bounds of a setting."""
    numbers = [each for each in rule.get("choices") or () if isinstance(each, (int, float)) and math.isfinite(each)]
    if numbers:
        return int(numbers[-1])
    least = rule.get("min", rule.get("above", 0))
    return next(each for each in (2, 1, 0, 16, 64) if each >= least and each < rule.get("below", math.inf)
                and each <= rule.get("max", math.inf) and each > rule.get("above", -math.inf))  # fmt: skip


def whole_numbers(number: int) -> list[Any]:
    return [
        number, str(number), f" {number} ", float(number), f"{number}.0", f"{number}e0", f"+{number}",
        np.int64(number), np.int32(number), np.float32(number), np.float64(number), np.array(number),
        np.array([number]), [number], (number,),
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "each"), FIELDS)
def test_every_key_takes_every_spelling(kind: type, each: dataclasses.Field[Any]) -> None:
    types, rule = types_of(kind, each.name), each.metadata
    number = good_number(rule)
    spellings: list[tuple[Any, list[Any]]] = []
    if int in types:
        spellings.append((number, whole_numbers(number)))
    if float in types:
        spellings.append((float(number), [value for value in whole_numbers(number) if not isinstance(value, bool)]))
        if rule.get("infinite"):
            spellings.append((math.inf, ["inf", "Inf", " INF ", math.inf, np.float32("inf"), np.array(np.inf)]))
    if bool in types:
        spellings.append(
            (True, [True, "True", "true", " TRUE ", "yes", "on", "1", 1, 1.0, np.bool_(True), np.array(True)])
        )
        spellings.append((False, [False, "False", "no", "off", "0", 0, np.bool_(False), np.int64(0)]))
    if rule.get("choices") == (0, 1) or rule.get("switch"):
        spellings.append((types[0](1), [True, "True", "yes", np.bool_(True)]))
    for listed in (each for each in types if get_origin(each) is tuple):
        item, pair = get_args(listed)[0], (number, 2 * number or 1)
        wanted = tuple(item(value) for value in pair)
        text = ",".join(map(str, pair))
        spellings.append((wanted, [pair, list(pair), text, f"[{text}]", f"({text})", f"{pair[0]}, {pair[1]}",
                                   np.array(pair), np.array(pair, np.float32), [str(value) for value in pair]]))  # fmt: skip
        if Ellipsis in get_args(listed):
            spellings.append(((item(number),), [number, str(number), [number], (number,), np.array([number])]))
    words = [word for word in (*(rule.get("choices") or ()), *rule.get("words", ())) if isinstance(word, str)]
    spellings += [(word, [word, word.upper(), word.title(), f" {word} ", np.str_(word)]) for word in words]
    if rule.get("kind"):
        spellings.append(("a b/c.d", ["a b/c.d", Path("a b/c.d"), b"a b/c.d", np.str_("a b/c.d")]))
    if types == (str,) and not rule.get("choices"):
        spellings.append(("8", ["8", 8, 8.0, np.int64(8), np.array(8)]))
    assert spellings, "nothing is known to be right for this key"
    usual = defaults(kind)[each.name]
    for wanted, given in [*spellings, (usual, [None, "None", "none", "null", ""])]:
        for value in given:
            found = read_setting(kind, each.name, value)
            assert (found, type(found)) == (wanted, type(wanted)), f"{each.name}={value!r}"
            assert getattr(make(kind, {each.name: value}), each.name) == wanted


@pytest.mark.parametrize(("kind", "each"), FIELDS)
def test_every_key_answers_what_it_cannot_take(kind: type, each: dataclasses.Field[Any]) -> None:
    types = types_of(kind, each.name)
    wrong: list[Any] = [{"a": 1}, object()]
    if str not in types:
        wrong += ["many", "1,x", "0x10", "1 2", ["x"], "1_0", "\uff11\uff12", "\u0661"]
    if {int, float} & set(types) and not each.metadata.get("switch") and each.metadata.get("choices") != (0, 1):
        wrong += [True, "True", np.bool_(True)]
    if int in types and bool not in types:
        wrong += [2.5, "2.5", math.nan, math.inf, "inf"]
    if types == (bool,):
        wrong += [2, "2", "maybe"]
    if get_origin(types[-1]) is tuple and Ellipsis in get_args(types[-1]):
        wrong = [value for value in wrong if not isinstance(value, (bool, np.bool_))] + ["1,,2"]
    if str in types and each.metadata.get("words"):
        wrong = wrong[:2]  # any text may be one of its words; the bounds tell
    for value in wrong:
        with pytest.raises(SettingsError, match=f"^{each.name}=.*; (give|use)") as error:
            make(kind, {each.name: value})
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300


def test_the_command_line_a_file_and_python_read_alike() -> None:
    given = {"subdivisions": "2", "norm_type": "INF", "flip": "true", "steps": "400,450", "bn": "Frozen", "mosaic": "1"}
    typed = make(TrainSettings, parse_pairs(f"{key}={value}" for key, value in given.items()))
    assert TrainSettings.from_json(json.dumps(given)) == typed == make(TrainSettings, given)
    numbers = {"subdivisions": np.int64(2), "norm_type": np.inf, "flip": True, "steps": np.array([400, 450])}
    assert make(TrainSettings, {**given, **numbers}) == typed
    assert TrainSettings.from_json(typed.to_json()) == typed


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = {
        "batch": "many",
        "epochs": "0",
        "bathc": "4",
        "momentum": "x",
        "source": "y",
        "nbs": "3",
        "cos_lr": "maybe",
    }
    with pytest.raises(SettingsError) as error:
        make(TrainSettings, wrong)
    lines = str(error.value).splitlines()
    assert {line.split("=")[0].split(":")[0] for line in lines} == set(wrong)
    assert all("; " in line for line in lines)
    with pytest.raises(SettingsError) as error:
        TrainSettings.from_json(json.dumps(wrong), "here/settings.json")
    assert all(line.startswith("here/settings.json: ") for line in str(error.value).splitlines())


@pytest.mark.parametrize("key", ON_OR_OFF)
def test_what_is_on_or_off_in_darknet_takes_a_truth(key: str) -> None:
    assert [convert_like(key, value, 0.0) for value in (True, "False", "0.5", np.float64(0.25))] == [
        1.0,
        0.0,
        0.5,
        0.25,
    ]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert make(TrainSettings, {"cfg": "~/x.cfg"}).cfg == str(tmp_path / "x.cfg")
    Path("~").mkdir()
    Path("~/x.cfg").touch()
    assert make(TrainSettings, {"cfg": "~/x.cfg"}).cfg == "~/x.cfg", "that file is there"


def test_plain_values_are_pythons_own() -> None:
    given = [np.int64(1), np.float32(0.5), np.bool_(True), np.array([1, 2]), Path("a"), b"b", (1, range(2)), None, "c"]
    found = plain(given)
    assert found == [1, 0.5, True, [1, 2], "a", "b", [1, [0, 1]], None, "c"]
    assert [type(each) for each in found] == [int, float, bool, list, str, str, list, NoneType, str]
