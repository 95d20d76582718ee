"""Darknet's own command line, ``detector COMMAND DATA CFG WEIGHTS -flags``, as settings of our commands.

Source: darknet ``find_arg``, ``find_int_arg`` and their like in src/utils.c; ``run_detector`` in src/detector.c.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.commands import AnchorsSettings, MapSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.conversion import convert
from yolo_subbatch.settings.darknet_flags import ALL, ANCHORS, DEMO, FLAGS, MAP, RECALL, TEST, TRAIN, VALID, Flag
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import defaults, make, parse_pairs

Settings = TrainSettings | PredictSettings | ValSettings | MapSettings | AnchorsSettings
PROGRAM = "yolo-subbatch"
#: What the arguments without a dash are, and how many of them must be there.
ARGUMENTS = {
    TRAIN: (("DATA", "CFG", "WEIGHTS"), 2), TEST: (("DATA", "CFG", "WEIGHTS", "IMAGE"), 3),
    VALID: (("DATA", "CFG", "WEIGHTS"), 3), MAP: (("DATA", "CFG", "WEIGHTS"), 3),
    RECALL: (("DATA", "CFG", "WEIGHTS"), 3), ANCHORS: (("DATA",), 1),
    DEMO: (("DATA", "CFG", "WEIGHTS", "VIDEO"), 3),
}  # fmt: skip
SUMMARIES = {
    TRAIN: "train a network; its weights go to the backup folder that DATA names",
    TEST: "find objects in an image or a list of images, or in those whose names are typed or piped in",
    DEMO: "find objects in a video or in what a camera sees",
    VALID: "write what is found in the validation images for VOC's, COCO's or ImageNet's tools",
    MAP: "measure mean average precision in Darknet's method, and in COCO's beside it",
    RECALL: "count the objects that some box overlaps",
    ANCHORS: "compute anchors for a data set",
}
#: The command of our own that does the same; the others have none that writes the same.
OWN = {TRAIN: "train", TEST: "predict", MAP: "map", ANCHORS: "anchors"}
KINDS: dict[str, type] = {
    TRAIN: TrainSettings, TEST: PredictSettings, VALID: ValSettings, MAP: MapSettings, RECALL: ValSettings,
    ANCHORS: AnchorsSettings, DEMO: PredictSettings,
}  # fmt: skip
#: Keys of our own that are used where Darknet's command is not just another name of ours.
USED = {
    TEST: ("imgsz", "flavour", "device", "iou", "overwrite"),
    VALID: ("imgsz", "flavour", "device", "batch", "overwrite"),
    DEMO: ("imgsz", "flavour", "device", "iou", "overwrite"),
    RECALL: ("imgsz", "flavour", "device", "batch", "missing_labels"),
}  # fmt: skip
ELSEWHERE = {
    "valid2": "its averaging with the mirrored image is not here; use detector valid",
    "calcanchors": "Darknet calls it calc_anchors",
    "draw": "changing an image by its gradient is not here",
    "directory": "use yolo-subbatch predict source=FOLDER",
    "run": "use yolo-subbatch predict source=FOLDER",
    "extract": "use yolo-subbatch predict source=video.mp4",
    "censor": "use yolo-subbatch predict source=video.mp4",
}
WITHOUT_DATA = (TEST, DEMO)  # commands for which the data only names the classes
NO_DATA = ""
HYPHENS = re.compile(r"-[a-z]+(-[a-z]+)+", re.IGNORECASE)  # -dont-show, as hank-ai's Darknet takes it too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)|true|false", re.IGNORECASE | re.ASCII)
OWN_KEY = re.compile(r"(--)?[A-Za-z]\w*=.*", re.DOTALL)
PICTURE = "cloud.png"  # of calc_anchors -show


@dataclass(frozen=True)
class Call:
    """What is to be done.

    ``settings`` are those of our command; ``given`` holds the flags by name; ``notes`` say what has no effect.
    """

    command: str
    data: str
    settings: Settings
    given: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def own_line(self) -> str | None:
        """Return our own command line that does the same, or None where there is none."""
        if self.command not in OWN:
            return None
        usual = defaults(type(self.settings))
        pairs = {key: getattr(self.settings, key) for key in usual if key != "extra"}
        pairs = {key: value for key, value in pairs.items() if value != usual[key]}
        pairs |= getattr(self.settings, "extra", {})
        words = [f"{key}={_typed(value)}" for key, value in pairs.items()]
        return shlex.join([PROGRAM, OWN[self.command], *words])


def _typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def parse_detector(arguments: Sequence[str]) -> Call:
    """Read the arguments after ``detector``.

    Flags may stand anywhere; a flag with a value takes the argument after it, whatever that is. Keys of our own
    command, ``key=value``, may stand among them and overrule what the flags say.

    Raises:
        SettingsError: If a command, a flag or an argument is unknown, missing or of the wrong kind.
    """
    plain, given, own, passed_over = _sorted(arguments)
    command = _command(plain[0] if plain else None)
    names, least = ARGUMENTS[command]
    values = plain[1:]
    first = values[0] if values else ".cfg"
    if command in WITHOUT_DATA and first.endswith(".cfg") and not any(map(_is_data, values[1:])):
        values.insert(0, NO_DATA)  # as with darknet detect, or where it was forgotten
    if len(values) < least:
        missing = names[len(values)]
        raise SettingsError(f"detector {command}: {missing} is missing; write {usage(command)}")
    if len(values) > len(names):
        raise SettingsError(f"{values[len(names)]}: one argument too many; write {usage(command)}")
    if len(values) > 1 and values[0] and values[0].endswith(".cfg") and not values[1].endswith(".cfg"):
        values[:2] = values[1::-1]  # as hank-ai's Darknet takes them
    arguments_of = dict(zip(names, values, strict=False))
    made = _MAKERS[command](arguments_of, given)
    made.update({key: value for key, value in _device(given, command).items() if key not in made})
    if "resume" in own or "run_dir" in own:
        raise SettingsError(f"detector {command}: goes on with no run; use {PROGRAM} train resume=FOLDER")
    settings: Settings = make(KINDS[command], {**made, **own})
    for key in own:
        if key not in USED.get(command, own):
            raise SettingsError(
                f"{key}={own[key]}: not used by detector {command}, only {', '.join(USED[command])} are"
            )
    return Call(command, arguments_of["DATA"], settings, given, (*passed_over, *_notes(given, command)))


def _sorted(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any], dict[str, str], list[str]]:
    """Return what stands without a dash, the flags with their values, our own keys, and values that are passed over."""
    plain: list[str] = []
    given: dict[str, Any] = {}
    own: list[str] = []
    waiting = _Words(arguments)
    for argument in waiting:
        if argument in FLAGS:
            value = _value(FLAGS[argument], waiting)
            if given.get(argument, value) != value:
                raise SettingsError(f"{argument} {value}: given twice, {argument} {given[argument]} too; give one")
            given[argument] = value
        elif OWN_KEY.fullmatch(argument) and not Path(argument).exists():
            own.append(argument)
        elif argument.startswith("-") and len(argument) > 1:
            near = difflib.get_close_matches("-" + argument.lstrip("-"), FLAGS, 1)
            advice = f"did you mean {near[0]}?" if near else f"{PROGRAM} detector -h lists the flags"
            raise SettingsError(f"{argument}: unknown flag; {advice}")
        elif argument:
            plain.append(argument)
    return plain, given, parse_pairs(own), waiting.passed_over


class _Words(Iterator[str]):
    """The arguments one after the other; ``passed_over`` says which were given to flags that take no value."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.left = [each.rstrip("\r") for each in arguments]
        self.passed_over: list[str] = []

    def __next__(self) -> str:
        if not self.left:
            raise StopIteration
        word = self.left.pop(0)
        return word.replace("-", "_").replace("_", "-", 1) if HYPHENS.fullmatch(word) else word

    def pass_over_value(self, flag: str) -> None:
        """Leave out a number behind a flag that takes none, as in ``-clear 1``; Darknet does not look at it."""
        if self.left and NUMBER.fullmatch(self.left[0]) and not Path(self.left[0]).exists():
            value = self.left.pop(0)
            self.passed_over.append(
                f"{flag} {value}: {flag} takes no value; it is on, and {value} passed over, as in Darknet"
            )


def _value(flag: Flag, rest: _Words) -> Any:
    if not flag.value:
        rest.pass_over_value(flag.name)
        return True
    text = next(rest, None)
    if text is None:
        raise SettingsError(f"{flag.name}: has no value; write {flag.name} {flag.value}")
    try:
        value: Any = text if flag.kind is str else convert(flag.name, text, flag.kind)
        if value is None or (flag.kind is float and not math.isfinite(value)):
            raise SettingsError(f"{flag.name} {text}: not a finite number")
        return value
    except SettingsError as error:
        wanted = "a whole number" if flag.kind is int else "a number"
        raise SettingsError(f"{flag.name} {text}: give {wanted}, as in {flag.name} {flag.value}") from error


def _command(name: str | None) -> str:
    if name in ALL:
        return str(name)
    if name is None:
        raise SettingsError(f"detector: no command; use one of {', '.join(ALL)}")
    if name in ELSEWHERE:
        raise SettingsError(f"detector {name}: not a command here; {ELSEWHERE[name]}")
    near = difflib.get_close_matches(name, ALL, 1)
    advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(ALL)}"
    raise SettingsError(f"detector {name}: unknown command; {advice}")


def _device(given: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the device; ``-gpus`` counts before ``-i``, as in Darknet."""
    if command == ANCHORS:
        return {}
    if "-nogpu" in given and ("-gpus" in given or given.get("-i", -1) >= 0):
        raise SettingsError("-nogpu: a GPU is given too; give one of the two")
    if "-gpus" in given:
        gpus = given["-gpus"].strip(",").split(",")
        if not all(each.isascii() and each.isdecimal() for each in gpus):
            raise SettingsError(f"-gpus {given['-gpus']}: give the numbers of GPUs with commas, as in -gpus 0,1")
        if command != TRAIN:
            return {"device": gpus[0]}
        return {"device": ",".join(gpus), **({"batch_per_gpu": True} if len(gpus) > 1 else {})}
    if "-nogpu" in given or given.get("-i", 0) < 0:
        return {"device": "cpu"}
    return {"device": str(given["-i"])} if "-i" in given else {}


def _notes(given: Mapping[str, Any], command: str) -> Iterator[str]:
    for name in given:
        if command not in FLAGS[name].acts:
            yield f"{name}: has no effect on detector {command}: {FLAGS[name].why}"
    if command != TRAIN and command != ANCHORS and "," in str(given.get("-gpus", "")).strip(","):
        yield f"-gpus {given['-gpus']}: detector {command} uses the first of them"


def _fit(given: Mapping[str, Any]) -> str:
    """Return how images get to the network's size: squashed, as AlexeyAB's Darknet does, or with their proportions."""
    return "darknet" if "-letter_box" in given else "stretch"


def _network(arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"cfg": arguments["CFG"], **({"weights": arguments["WEIGHTS"]} if "WEIGHTS" in arguments else {})}


def _train(arguments: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    made = {**_network(arguments), "data": arguments["DATA"], "letterbox": _fit(given)}
    # What Darknet does without being asked: the cfg's exact schedule, and no clipping of gradients.
    made |= {"schedule": "exact", "max_norm": 0.0}
    if "WEIGHTS" in arguments and "-clear" not in given:
        made["seen"] = "keep"
    return made if "-map" in given else {**made, "val": False}


def _test(arguments: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    made = {**_network(arguments), "letterbox": _fit(given), "conf": given.get("-thresh", 0.25), "iou": 0.45}
    made |= {"source": arguments["IMAGE"]} if "IMAGE" in arguments else {}
    return {**made, **({"json": given["-out"]} if "-out" in given else {})}


def _valid(arguments: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    return {**_network(arguments), "data": arguments["DATA"], "letterbox": _fit(given)}


def _map(arguments: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    keys = {"-thresh": "thresh", "-iou_thresh": "iou_thresh", "-points": "points"}
    return {**_valid(arguments, given), **{key: given[flag] for flag, key in keys.items() if flag in given}}


def _anchors(arguments: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    if "-width" not in given or "-height" not in given:
        missing = "-height" if "-width" in given else "-width"
        raise SettingsError(f"detector calc_anchors: {missing} is missing; write -width 416 -height 416")
    made = {"data": arguments["DATA"], "num": given.get("-num_of_clusters", 5), "to": "anchors.txt"}
    made["imgsz"] = (given["-height"], given["-width"])
    return {**made, **({"picture": PICTURE} if "-show" in given else {})}


def _demo(arguments: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    source = arguments.get("VIDEO") or str(given.get("-c", 0))
    return {
        **_network(arguments), "letterbox": _fit(given), "conf": given.get("-thresh", 0.25), "iou": 0.45,
        "source": source, "save": False,
        **({"json": given["-json_file_output"]} if "-json_file_output" in given else {}),
    }  # fmt: skip


def _is_data(name: str) -> bool:
    return name.endswith(".data")


_MAKERS = {DEMO: _demo, TRAIN: _train, TEST: _test, VALID: _valid, MAP: _map, RECALL: _valid, ANCHORS: _anchors}


def usage(command: str) -> str:
    """Return how a command is written."""
    names, least = ARGUMENTS[command]
    needed = names[1 if command in WITHOUT_DATA else 0 : least]
    words = [name if name in needed else f"[{name}]" for name in names]
    more = " -width 416 -height 416" if command == ANCHORS else ""
    return f"{PROGRAM} detector {command} {' '.join(words)}{more}"


def describe_detector(arguments: Sequence[str] = ()) -> str:
    """Return the help of ``detector``, or of the one of its commands that is named first.

    Raises:
        SettingsError: If that is no command of it.
    """
    plain = [each for each in arguments if not each.startswith("-")]
    if not plain:
        width = max(map(len, ALL))
        listed = "\n".join(f"  {name:{width}}  {SUMMARIES[name]}" for name in ALL)
        return "\n\n".join([
            f"{PROGRAM} detector: Darknet's own command line, on our commands",
            f"Usage: {PROGRAM} detector COMMAND DATA CFG WEIGHTS -flags      (anywhere, as in Darknet)",
            listed,
            f"For example:\n  {PROGRAM} detector train obj.data yolov4-tiny.cfg yolov4-tiny.conv.29 -map\n"
            f"  {PROGRAM} detector test obj.data yolov4-tiny.cfg best.weights dog.jpg -thresh .4 -ext_output",
            f"{PROGRAM} detector COMMAND -h lists the flags.",
        ])  # fmt: skip
    command = _command(plain[0])
    acting = [f"  {f'{flag.name} {flag.value}':22}{flag.tip}" for flag in FLAGS.values() if command in flag.acts]
    idle: dict[str, list[str]] = {}
    for flag in FLAGS.values():
        if command not in flag.acts:
            idle.setdefault(flag.why, []).append(flag.name)
    others = [f"  {', '.join(names)}: {why}" for why, names in idle.items()]
    keys = ", ".join(USED[command]) if command in USED else f"keys of {PROGRAM} {OWN[command]}"
    short = f"\n       {PROGRAM} detect CFG WEIGHTS [IMAGE] -flags" if command == TEST else ""
    return "\n\n".join([
        f"{PROGRAM} detector {command}: {SUMMARIES[command]}",
        f"Usage: {usage(command)} -flags      ({keys}, key=value, work too){short}",
        "\n".join(["Flags:", *acting]),
        "\n".join(["Flags of Darknet that have no effect here, and why:", *others]),
    ])  # fmt: skip
