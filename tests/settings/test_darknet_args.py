"""Darknet's command line, read as settings of our own commands."""

from __future__ import annotations

import random
import shlex
from pathlib import Path
from typing import Any

import pytest

from yolo_subbatch import cli
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.commands import AnchorsSettings, MapSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.darknet_args import OWN, Call, describe_detector, parse_detector
from yolo_subbatch.settings.darknet_flags import ALL, FLAGS
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import make, parse_pairs

NET = "obj.data x.cfg x.weights"
SHORT = {"train": NET, "test": NET, "valid": NET, "map": NET, "recall": NET, "demo": NET,
         "calc_anchors": "obj.data -width 416 -height 416"}  # fmt: skip


def parse(line: str) -> Call:
    return parse_detector(shlex.split(line))


# --- what becomes of them ---------------------------------------------------------------------------------------------


def test_training_does_what_darknet_does() -> None:
    call = parse("train obj.data yolov4-tiny.cfg yolov4-tiny.conv.29 -map")
    assert call.settings == TrainSettings(
        cfg="yolov4-tiny.cfg", data="obj.data", weights="yolov4-tiny.conv.29", seen="keep", schedule="exact",
        max_norm=0.0, letterbox="stretch",
    )  # fmt: skip
    assert (call.command, call.data, call.notes) == ("train", "obj.data", ())


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("train obj.data x.cfg x.weights -map -clear", {"weights": "x.weights"}),
        ("train obj.data x.cfg x.weights -map", {"weights": "x.weights", "seen": "keep"}),
        ("train obj.data x.cfg -map", {}),
        ("train obj.data x.cfg", {"extra": {"val": False}}),
        ("train obj.data x.cfg -map -letter_box", {"letterbox": "darknet"}),
        ("train obj.data x.cfg -map -i 2", {"device": "2"}),
        ("train obj.data x.cfg -map -i -1", {"device": "cpu"}),
        ("train obj.data x.cfg -map -nogpu", {"device": "cpu"}),
        ("train obj.data x.cfg -map -gpus 3", {"device": "3"}),
        ("train obj.data x.cfg -map -gpus 0,1 -i 5", {"device": "0,1", "batch_per_gpu": True}),
        ("train obj.data x.cfg -map max_norm=20 name=mine --epochs=3 device=cpu",
         {"max_norm": 20.0, "name": "mine", "epochs": 3, "device": "cpu"}),
        ("train x.cfg obj.data -map", {}),
    ],
)  # fmt: skip
def test_flags_of_training(line: str, changes: dict[str, Any]) -> None:
    usual = {"cfg": "x.cfg", "data": "obj.data", "schedule": "exact", "max_norm": 0.0, "letterbox": "stretch"}
    assert parse(line).settings == TrainSettings(**{**usual, **changes})


def test_the_other_commands() -> None:
    network = {"cfg": "x.cfg", "weights": "x.weights"}
    common = {**network, "letterbox": "stretch"}
    assert parse(f"test {NET} dog.jpg").settings == PredictSettings(**common, source="dog.jpg", conf=0.25, iou=0.45)
    assert parse(f"test {NET} -thresh .5 -out r.json -letter_box -ext_output").settings == PredictSettings(
        **network, letterbox="darknet", conf=0.5, iou=0.45, json="r.json"
    )
    assert parse(f"valid {NET} -out x_").settings == ValSettings(**common, data="obj.data")
    assert parse(f"recall {NET} -nogpu").settings == ValSettings(**common, data="obj.data", device="cpu")
    assert parse(f"map {NET}").settings == MapSettings(**network, data="obj.data")
    assert parse(f"map {NET} -thresh .3 -iou_thresh .75 -points 101 -letter_box").settings == MapSettings(
        **network, data="obj.data", thresh=0.3, iou_thresh=0.75, points=101, letterbox="darknet"
    )
    assert parse("calc_anchors obj.data -num_of_clusters 9 -width 416 -height 320 -show").settings == AnchorsSettings(
        data="obj.data", num=9, imgsz=(320, 416), to="anchors.txt", picture="cloud.png"
    )
    settings = parse(f"calc_anchors {SHORT['calc_anchors']}").settings
    assert isinstance(settings, AnchorsSettings)
    assert settings.num == 5, "Darknet's default"


@pytest.mark.parametrize("seed", range(8))
def test_flags_may_stand_anywhere(seed: int) -> None:
    flags = [["-thresh", ".3"], ["-iou_thresh", ".75"], ["-points", "11"], ["-dont_show"], ["-i", "0"]]
    arguments = [["map"], ["obj.data"], ["x.cfg"], ["x.weights"]]
    rng = random.Random(seed)
    rng.shuffle(flags)
    for flag in flags:
        arguments.insert(rng.randint(0, len(arguments)), flag)
    # The arguments without a dash keep their order; those of flags stay with them.
    call = parse_detector([word for part in arguments for word in part])
    assert call.settings == MapSettings(
        cfg="x.cfg", weights="x.weights", data="obj.data", thresh=0.3, iou_thresh=0.75, points=11, device="0"
    )


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("command", ALL)
def test_every_flag_works_or_is_named_with_its_reason(command: str, name: str) -> None:
    flag = FLAGS[name]
    value = [{int: "3", float: ".3", str: "0,1" if flag.value == "0,1" else "x"}[flag.kind]] if flag.value else []
    words = SHORT[command].split()
    call = parse_detector([command, *words, *([] if name in words else [name, *value])])
    notes = [note for note in call.notes if note.startswith(f"{name}: has no effect")]
    assert len(notes) == (command not in flag.acts)
    assert all(note.endswith(flag.why) and flag.why for note in notes)
    assert flag.tip or not flag.acts


@pytest.mark.parametrize("line", ["train {} -clear 1 -dont_show 1 -map 0.1", "train -dont_show 0 {} -clear true -map"])
def test_numbers_behind_flags_that_take_none_are_passed_over_and_named(line: str) -> None:
    call = parse(line.format(NET))
    assert call.settings == parse(f"train {NET} -clear -dont_show -map").settings
    named = [note.partition(":")[0] for note in call.notes]
    words = shlex.split(line)
    pairs = [f"{flag} {value}" for flag, value in zip(words, words[1:], strict=False) if flag[0] == "-"]
    assert named == [pair for pair in pairs if pair[-1] in "01e"]


def test_a_file_behind_a_flag_is_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1").touch()
    assert parse(f"test {NET} -dont_show 1").settings.source == "1"  # type: ignore[union-attr]


def test_hyphens_inside_a_flag_are_underscores() -> None:
    assert parse(f"test {NET} -dont-show -ext-output").given == {"-dont_show": True, "-ext_output": True}


@pytest.mark.parametrize("command", ["test", "demo"])
def test_commands_that_need_the_names_alone_do_without_data(command: str) -> None:
    call = parse(f"{command} x.cfg x.weights dog.jpg -thresh .4")
    assert (call.data, call.settings) == ("", parse(f"{command} obj.data x.cfg x.weights dog.jpg -thresh .4").settings)
    assert parse(f"{command} x.cfg obj.data x.weights dog.jpg").data == "obj.data", "in the order of hank-ai's Darknet"


def test_a_demo_looks_at_a_video_or_a_camera() -> None:
    assert parse(f"demo {NET} v.mp4 -thresh .4 -json_file_output r.json").settings == PredictSettings(
        cfg="x.cfg", weights="x.weights", letterbox="stretch", conf=0.4, iou=0.45, source="v.mp4", json="r.json",
        save=False,
    )  # fmt: skip
    for line, camera in ((f"demo {NET}", "0"), (f"demo {NET} -c 2", "2")):
        settings = parse(line).settings
        assert isinstance(settings, PredictSettings)
        assert settings.source == camera


def test_windows_line_ends_are_no_part_of_a_name() -> None:
    settings = parse_detector(["map", "obj.data", "x.cfg", "x.weights\r"]).settings
    assert isinstance(settings, MapSettings)
    assert settings.weights == "x.weights"


def test_a_file_may_be_called_like_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1.cfg").touch()
    settings = parse("map obj.data lr=1.cfg x.weights").settings
    assert isinstance(settings, MapSettings)
    assert settings.cfg == "lr=1.cfg"


# --- the own command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "train obj.data 'my net.cfg' x.weights -gpus 0,1 epochs=3 learning_rate=.01 steps=1,2", "train obj.data x.cfg",
        f"test {NET} dog.jpg -thresh .3", f"map {NET} -points 11 -i 0", f"calc_anchors {SHORT['calc_anchors']}",
    ],
)  # fmt: skip
def test_the_own_line_says_the_same(line: str) -> None:
    call = parse(line)
    own = call.own_line()
    assert own is not None
    program, command, *pairs = shlex.split(own)
    assert (program, command) == ("yolo-subbatch", OWN[call.command])
    assert make(load(cli.COMMANDS[command].settings), parse_pairs(pairs)) == call.settings


def test_commands_without_an_own_one_have_no_line() -> None:
    assert parse(f"valid {NET}").own_line() is None
    assert parse(f"recall {NET}").own_line() is None


# --- mistakes ---------------------------------------------------------------------------------------------------------

BAD = {
    "": "no command; use one of train",
    "trian obj.data x.cfg": "did you mean train",
    "xyz": "use one of train",
    "demo obj.data x.cfg": "WEIGHTS is missing",
    "map x.cfg x.weights": "WEIGHTS is missing",
    "calcanchors obj.data": "calc_anchors",
    "train": "DATA is missing",
    "train obj.data": "CFG is missing",
    "test": "CFG is missing; write yolo-subbatch detector test [DATA] CFG WEIGHTS [IMAGE]",
    "test obj.data x.cfg": "WEIGHTS is missing",
    f"train {NET} more": "more: one argument too many",
    "calc_anchors obj.data x.cfg -width 4 -height 4": "x.cfg: one argument too many",
    "calc_anchors obj.data -width 416": "-height is missing",
    f"train {NET} -maps": "did you mean -map",
    f"train {NET} --clear": "did you mean -clear",
    f"train {NET} -zzzzz": "detector -h lists",
    f"map {NET} -thresh": "has no value",
    f"map {NET} -thresh much": "give a number",
    f"map {NET} -points 1.5": "give a whole number",
    f"map {NET} -thresh .1 -thresh .2": "given twice",
    f"train {NET} -gpus all": "numbers of GPUs",
    f"train {NET} -nogpu -gpus 0": "a GPU is given too",
    f"train {NET} -nogpu -i 0": "a GPU is given too",
    f"train {NET} bach=3": "did you mean batch",
    f"train {NET} batch=x": "whole number",
    f"test {NET} max_det=3": "max_det=3: not used by detector test, only imgsz",
    f"valid {NET} conf=.1": "not used by detector valid",
    f"train {NET} resume=runs/train": "goes on with no run",
}


@pytest.mark.parametrize("line", BAD)
def test_mistakes_are_named(line: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(line)
    assert BAD[line] in str(error.value)
    assert "\n" not in str(error.value)


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_every_flag() -> None:
    assert all(command in describe_detector() for command in ALL)
    for command in ALL:
        text = describe_detector([command, "-h"])
        assert all(name in text for name in FLAGS)
    assert "yolo-subbatch detect CFG WEIGHTS [IMAGE]" in describe_detector(["test"])
    with pytest.raises(SettingsError, match="did you mean train"):
        describe_detector(["trian"])


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_number_is_finite(text: str) -> None:
    for flag in ("-thresh", "-iou_thresh"):
        with pytest.raises(SettingsError, match=rf"{flag} {text}: give a number, as in {flag}"):
            parse_detector(["map", "x.data", "x.cfg", "x.weights", flag, text])
