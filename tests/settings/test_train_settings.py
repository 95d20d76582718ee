from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.commands import DemoSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.conversion import convert_like
from yolo_subbatch.settings.host_files import training_keys
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import check_path, make, parse_pairs

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_three_ways_of_writing_a_pair_are_one() -> None:
    arguments = ["cfg=a=b.cfg", "--run-dir", "x y", "--max-norm=5", "weights=", "--data", "-odd.data"]
    assert parse_pairs(arguments) == {
        "cfg": "a=b.cfg", "run_dir": "x y", "max_norm": "5", "weights": "", "data": "-odd.data",
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [["yolov3.cfg"], ["batch=1", "batch=2"], ["--batch"], ["=3"], ["-b"], ["--"]])
def test_what_is_no_pair_is_named(arguments: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"; (write|give)"):
        parse_pairs(arguments)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("imgsz=416", "imgsz", 416),
        ("imgsz=352,608", "imgsz", (352, 608)),
        ("imgsz=[352, 608]", "imgsz", (352, 608)),
        ("steps=100,200", "steps", (100, 200)),
        ("steps=100", "steps", (100,)),
        ("scales=.1,.1", "scales", (0.1, 0.1)),
        ("max_norm=inf", "max_norm", math.inf),
        ("norm_type=inf", "norm_type", math.inf),
        ("epochs=1e2", "epochs", 100),
        ("batch=None", "batch", None),
        ("weights=", "weights", None),
        ("amp=bf16", "amp", "bf16"),
        ("amp=false", "amp", False),
        ("device=0,1", "device", "0,1"),
        ("lr0=0.1", "learning_rate", 0.1),
        ("weight_decay=1e-4", "decay", 0.0001),
    ],
)
def test_texts_become_values(text: str, name: str, value: object) -> None:
    found = getattr(make(TrainSettings, parse_pairs([text])), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch=many", "a whole number"),
        ("batch=1.5", "a whole number"),
        ("batch=inf", "a whole number"),
        ("momentum=much", "a number"),
        ("imgsz=352,608,3", "a whole number or numbers with commas"),
        ("steps=1,,2", "numbers with commas"),
        ("subdivision=4", "did you mean subdivisions"),
        ("learning_rat=4", "did you mean learning_rate"),
        ("patient=4", "did you mean patience"),
        ("qqqqqqqq=4", "see -h"),
        ("nbs=64", "batch="),
        ("nbs=64", "batch of one update"),
        ("width=416", "imgsz="),
        ("source=images", "unknown key"),
        ("cos_lr=maybe", "cos_lr"),
        ("mosaic=nan", "not finite"),
    ],
)
def test_wrong_pairs_are_answered_with_what_to_do(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        make(TrainSettings, parse_pairs([text]))
    assert "\n" not in str(error.value)


def test_one_setting_under_two_names_is_refused() -> None:
    with pytest.raises(SettingsError, match="lr0, learning_rate"):
        make(TrainSettings, {"lr0": "1", "learning_rate": "1"})


def test_only_train_takes_keys_of_ultralytics() -> None:
    assert make(TrainSettings, {"patience": "5", "cache": "ram"}).extra == {"cache": "ram"}
    with pytest.raises(SettingsError, match="unknown key"):
        make(ValSettings, {"cache": "ram"})


def test_every_default_of_ultralytics_is_accepted_as_it_stands() -> None:
    for key, value in training_keys().items():
        assert convert_like(key, str(value), value) == value
        if value is not None:
            assert type(convert_like(key, str(value), value)) is type(value)


def test_a_refused_key_that_asks_for_nothing_is_no_mistake() -> None:
    assert make(TrainSettings, {"resume": "False", "exist_ok": "false"}) == TrainSettings()


def can_be_a_path(text: str) -> bool:
    """Tell whether a file can have this name; what none can have is refused (tested below)."""
    try:
        check_path("cfg", text)
    except SettingsError:
        return False
    return True


VALUES = {
    "cfg": st.none() | st.text().filter(can_be_a_path),
    "imgsz": st.none() | st.integers() | st.tuples(st.integers(), st.integers()),
    "batch": st.none() | st.integers(),
    "max_norm": FINITE | st.just(math.inf),
    "steps": st.none() | st.lists(st.integers(), min_size=1).map(tuple),
    "scales": st.none() | st.lists(FINITE, min_size=1).map(tuple),
    "amp": st.sampled_from([None, True, False, "bf16"]),
    "extra": st.fixed_dictionaries(
        {},
        optional={
            "cache": st.booleans() | st.sampled_from(["ram", "disk"]),
            "mosaic": FINITE,
            "classes": st.none() | st.lists(st.integers()) | st.lists(st.integers()).map(tuple),
            "optimizer": st.text().filter(lambda text: text.lower() != "none"),
            "save_period": st.integers(-(2**40), 2**40),
        },
    ),
}


@given(st.fixed_dictionaries(VALUES))
def test_settings_survive_their_file(values: dict[str, object]) -> None:
    if isinstance(values["cfg"], str) and values["cfg"].strip().lower() in {"", "none", "null"}:
        values["cfg"] = None  # these words mean nothing everywhere
    settings = TrainSettings(**values)  # type: ignore[arg-type]
    assert TrainSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"extra": 3}', '{"bathc": 3}', '{"batch": [1, 2]}', '{"cfg": {}}'])
def test_a_damaged_settings_file_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^here/settings\.json: "):
        TrainSettings.from_json(text, "here/settings.json")


def test_only_what_was_asked_is_written_and_passed_on() -> None:
    settings = make(TrainSettings, {"cfg": "a.cfg", "lr0": "0.1", "steps": "5,6", "mosaic": "0.5", "max_norm": "20"})
    assert json.loads(settings.to_json()) == {
        "cfg": "a.cfg", "learning_rate": 0.1, "steps": [5, 6], "extra": {"mosaic": 0.5},
    }  # fmt: skip
    assert settings.keywords() == {"learning_rate": 0.1, "steps": [5, 6], "mosaic": 0.5}


def test_other_models_get_ultralytics_names() -> None:
    settings = make(TrainSettings, {"model": "yolo26n.yaml", "learning_rate": "0.1", "decay": "0", "momentum": "0.8"})
    assert settings.keywords() == {"lr0": 0.1, "weight_decay": 0.0, "momentum": 0.8}


@pytest.mark.parametrize("kind", [TrainSettings, ValSettings, PredictSettings, DemoSettings])
def test_every_setting_says_what_it_is(kind: type) -> None:
    for each in dataclasses.fields(kind):
        assert set(each.metadata) >= {"group", "label", "tip"}
        assert each.metadata["tip"].endswith(".")
        assert each.metadata["tip"].count(". ") == 0, "one sentence"


@pytest.mark.parametrize("value", ["a" * 256, f"folder/{'b' * 300}/x.cfg", "zero\0byte", "c/" * 3000])
@pytest.mark.parametrize("key", ["cfg", "data", "weights", "project"])
def test_what_no_file_can_be_called_is_refused_at_once(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{key}=.*not a path that a file can have"):
        make(TrainSettings, {key: value})
    assert getattr(make(TrainSettings, {key: "a" * 255}), key) == "a" * 255


@pytest.mark.parametrize(
    "path",
    ["x" * 300, f"a/{'x' * 256}/b.cfg", f"a\\{'x' * 256}", "ä" * 128, "a\0b", "\0", f"a/{'x' * 300}\0", "a/" * 3000],
)
def test_what_no_file_can_be_called_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match=r"^data=.*not a path that a file can have") as found:
        check_path("data", path)
    assert len(str(found.value)) < 150, "what was pasted is not said in full"
    for key in ("cfg", "data", "weights", "model", "project", "resume", "run_dir"):
        with pytest.raises(SettingsError, match=f"^{key}="):
            make(TrainSettings, {key: path})


@pytest.mark.parametrize(
    "path", [None, "", "a.cfg", "x" * 255, "ä" * 127, f"{'x' * 255}/" * 15, "C:\\data\\a b.cfg", "/"]
)
def test_what_a_file_can_be_called_is_left_alone(path: str | None) -> None:
    check_path("data", path)


@given(st.text(max_size=300))
def test_a_path_that_passes_can_be_looked_up(path: str) -> None:
    try:
        check_path("data", path)
    except SettingsError:
        return
    assert not Path("/nowhere", path.lstrip("/\\")).is_file()


def test_a_folder_that_is_made_has_no_backslash_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert make(TrainSettings, {"project": "out\\runs"}).project == "out/runs"
    Path("is\\there").mkdir()
    assert make(TrainSettings, {"project": "is\\there"}).project == "is\\there"
