"""The command line: ``yolo-subbatch COMMAND key=value ...``.

Help and nearly every check come before torch is imported, so that a mistake is answered at once.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yolo_subbatch import __version__
from yolo_subbatch.errors import MachineError, ParityError, SettingsError, YoloSubbatchError
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.plain_text import log_plainly, plain_output

if TYPE_CHECKING:
    from yolo_subbatch.settings.commands import (
        AnchorsSettings,
        GuiSettings,
        InfoSettings,
        PartialSettings,
        TritonSettings,
    )
    from yolo_subbatch.settings.train_settings import TrainSettings

PROGRAM = "yolo-subbatch"
DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
DETECTOR, DETECT = "detector", "detect"  # Darknet's own command line, and its short form of detector test
HELP = frozenset({"-h", "--help", "-help"})
MOST_LINES = 4  # of a message about the user's input


@dataclass(frozen=True)
class Command:
    """A command: its settings as ``module:class``, what it does, how it is called and how it is run.

    ``positional`` names the keys whose values may be given alone, in this order, as Darknet takes them.
    """

    settings: str
    summary: str
    examples: tuple[str, ...]
    run: Callable[[Any], int]
    positional: tuple[str, ...] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 done, 2 the user's input is at fault, 1 else, 130 interrupted."""
    log_plainly("ultralytics")
    with plain_output():
        return _answered(argv)


def _answered(argv: Sequence[str] | None) -> int:
    """Run the program; what ends it is told in words."""
    try:
        return _dispatch([_as_here(each) for each in (sys.argv[1:] if argv is None else argv)])
    except (MachineError, ParityError) as error:
        print(_short(str(error)), file=sys.stderr)
        return FAILED
    except YoloSubbatchError as error:
        print(_short(str(error)), file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; Python's complaint at exit is of no use to anyone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        traceback.print_exc()
        print(f"{PROGRAM}: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def _as_here(argument: str) -> str:
    """Return an argument with a path of Windows in it, alone or behind ``key=``, as that path is written here."""
    return load("darknet.textfile:as_here")(argument) if "\\" in argument else argument


def _short(text: str) -> str:
    """Keep a message to a few lines, saying of further faults only where they are."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > MOST_LINES:
        left = lines[MOST_LINES - 1 :]
        places = ", ".join(dict.fromkeys(line.partition(": ")[0] for line in left))
        lines = [*lines[: MOST_LINES - 1], f"and {len(left)} more: {places}"]
    return "\n".join([f"{PROGRAM}: {lines[0] if lines else 'the input is not usable'}", *lines[1:]])


def _dispatch(arguments: list[str]) -> int:
    if DETECTOR in arguments and arguments[0].startswith("-"):
        place = arguments.index(DETECTOR)  # as in darknet -i 1 detector train
        arguments = [DETECTOR, *arguments[:place], *arguments[place + 1 :]]
    if arguments[:1] == ["help"] and DETECT in arguments[1:2]:
        arguments = [DETECT, "-h"]
    if arguments[:1] == [DETECT]:
        arguments = [DETECTOR, "test", *arguments[1:]]
    first, *rest = arguments or ["help"]
    if first in {"help", *HELP} and not rest:
        print(_overview())
    elif first in {"-V", "--version", "version"}:
        print(f"{PROGRAM} {__version__}")
    elif first == "help":
        print(_help(*rest))
    elif HELP & set(rest) or (first == DETECTOR and rest[:1] == ["help"]):
        print(_help(first, *(each for each in rest if each != "help")))
    elif first == DETECTOR:
        with load("settings.trust:guarded")(everywhere=True):
            status: int = load("darknet_cli:run_detector")(rest)
        return status
    else:
        return _execute(first, rest)
    return DONE


def _execute(name: str, pairs: list[str]) -> int:
    command = _command(name, pairs)
    from yolo_subbatch.settings.values import make, parse_pairs

    given = _named(name, command.positional, pairs) or parse_pairs(pairs)
    if name == "train" and "resume" not in given:
        given = load("settings.args_file:expanded")(given)
    settings = make(load(command.settings), given)
    if getattr(settings, "resume", None) is not None:
        load("folder.resume:refuse_given")(given)
    with load("settings.trust:guarded")(getattr(settings, "trust", False), everywhere=True):
        return command.run(settings)


def _named(name: str, keys: tuple[str, ...], values: list[str]) -> dict[str, str] | None:
    """Return values that stand alone under the keys that they belong to, or None where keys are given."""
    if not keys or not values or any("=" in value or value.startswith("--") for value in values):
        return None
    if len(values) != len(keys):
        usage = " ".join(key.upper() for key in keys)
        raise SettingsError(f"{name}: {len(values)} arguments; write {PROGRAM} {name} {usage}")
    return dict(zip(keys, values, strict=True))


def _command(name: str, arguments: Sequence[str] = ()) -> Command:
    if name not in COMMANDS:
        load("settings.darknet_commands:refuse_darknet_command")(name, arguments)
        near = difflib.get_close_matches(name, COMMANDS, 1)
        advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
        raise SettingsError(f"{name}: unknown command; {advice}")
    return COMMANDS[name]


def _overview() -> str:
    from yolo_subbatch.settings.help import overview

    summaries = {name: command.summary for name, command in COMMANDS.items()}
    return overview(f"{PROGRAM} {__version__}", PROGRAM, summaries, ["demo", COMMANDS["train"].examples[0]])


def _help(name: str, *rest: str) -> str:
    command = _command(name)
    if name == DETECTOR:
        text: str = load("settings.darknet_args:describe_detector")(rest)
        return text
    from yolo_subbatch.settings.help import describe_command

    return describe_command(f"{PROGRAM} {name}", PROGRAM, command.summary, command.examples, load(command.settings))


def _train(settings: TrainSettings) -> int:
    status: int = load("train_command:train")(settings)
    return status


def _with_engine(check: str, entry: str, named: bool = False) -> Callable[[Any], int]:
    """Return a command that checks its settings and hands them to the engine, both given as ``module:function``.

    With ``named``, data gives the classes their names and is not needed otherwise.
    """

    def run(settings: Any) -> int:
        from yolo_subbatch.train_command import check_device, prepare_host, with_built_in_data

        load("settings.host_files:check_version")()
        settings = load(check)(settings)
        check_device(getattr(settings, "device", None))
        if hasattr(settings, "data") and not named and getattr(settings, "int8", True):
            settings = with_built_in_data(settings)
        prepare_host(quiet=entry.startswith(("demo", "export")))
        status = load(entry)(settings)
        return status if isinstance(status, int) else DONE

    return run


def _info(settings: InfoSettings) -> int:
    from yolo_subbatch.darknet.parser import read_cfg
    from yolo_subbatch.settings.command_checks import check_info

    settings = check_info(settings)
    cfg = read_cfg(settings.cfg or "")
    for text in cfg.warnings:
        print(f"warning: {text}")
    size = settings.imgsz
    height, width = size if isinstance(size, tuple) else (size, size)
    print(load("darknet.report:layer_report")(cfg, width, height, settings.batch, settings.subdivisions))
    if settings.data:
        print(load("settings.class_names:describe_classes")(settings.data, cfg))
    return DONE


def _anchors(settings: AnchorsSettings) -> int:
    load("darknet_cli:run_anchors")(load("settings.command_checks:check_anchors")(settings))
    return DONE


def _partial(settings: PartialSettings) -> int:
    load("darknet_cli:run_partial")(load("settings.command_checks:check_partial")(settings))
    return DONE


def _gui(settings: GuiSettings) -> int:
    try:
        run = load("gui.app:run_window")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"PySide6", "shiboken6", "pyqtgraph"}:
            raise
        raise SettingsError(f"gui: {error.name} is not installed; pip install 'yolo-subbatch[gui]'") from error
    status: int = run(settings)
    return status


def _infer(settings: Any) -> int:
    try:
        status: int = load("export.infer:run")(settings)
    except load("export.infer:InferError") as error:
        raise SettingsError(str(error)) from error
    return status


def _triton(settings: TritonSettings) -> int:
    try:
        run = load("export.triton:run_triton")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise SettingsError("triton: onnx is not installed; pip install 'yolo-subbatch[export]'") from error
    status: int = run(settings)
    return status


COMMANDS: dict[str, Command] = {
    "train": Command(
        "settings.train_settings:TrainSettings", "train a network", (
            "train cfg=yolov3.cfg data=obj.data weights=darknet53.conv.74 batch=64 subdivisions=16",
            "train cfg=yolov3-tiny.cfg data=obj.data epochs=100 learning_rate=0.001 imgsz=352,608",
            "train model=yolo26n.yaml data=coco8.yaml batch=64 subdivisions=16",
        ), _train,
    ),
    "val": Command(
        "settings.commands:ValSettings", "measure precision, recall and mAP of a trained network", (
            "val model=runs/train/weights/best.pt data=obj.data split=test",
            "val cfg=yolov3.cfg weights=yolov3.weights data=coco.data letterbox=darknet",
        ), _with_engine("settings.command_checks:check_val", "engine.evaluate:run_validation"),
    ),
    "map": Command(
        "settings.commands:MapSettings", "measure mAP in Darknet's method, and in COCO's beside it", (
            "map cfg=yolov4.cfg weights=yolov4.weights data=coco.data",
            "map model=runs/train/weights/best.pt data=obj.data points=101 iou_thresh=0.75",
        ), _with_engine("settings.command_checks:check_map", "engine.darknet_map:run_map"),
    ),
    "predict": Command(
        "settings.commands:PredictSettings", "find objects in images, folders or videos", (
            "predict model=runs/train/weights/best.pt source=images/ json=boxes.json",
            "predict cfg=yolov3.cfg weights=yolov3.weights source=dog.jpg conf=0.5",
        ), _with_engine("settings.command_checks:check_predict", "engine.predict:run_prediction", named=True),
    ),
    "export": Command(
        "settings.commands:ExportSettings", "write an ONNX file, checked against the network before it is kept", (
            "export model=runs/train/weights/best.pt dynamic=True nms=True",
            "export cfg=yolov3.cfg weights=yolov3.weights half=True imgsz=608",
            "export model=best.pt int8=True data=obj.data",
        ), _with_engine("settings.export_checks:check_export", "export.command:run_export"),
    ),
    "infer": Command(
        "export.infer:InferSettings", "find objects with an ONNX file, without torch; on a GPU or not at all", (
            "infer model=best.onnx source=images/ json=boxes.json",
            "infer model=best.onnx source=video.mp4 save=True provider=cuda",
            "infer model=best.onnx source=images/ benchmark=True",
        ), _infer,
    ),
    "triton": Command(
        "settings.commands:TritonSettings", "make a model repository for NVIDIA's Triton server", (
            "triton model=best.onnx out=models/ gpus=0,1 instances=2",
        ), _triton,
    ),
    "info": Command(
        "settings.commands:InfoSettings", "show the layers of a cfg, and what they cost", (
            "info cfg=yolov3.cfg", "info cfg=yolov3-tiny.cfg imgsz=608 batch=64 subdivisions=16",
        ), _info,
    ),
    "convert": Command(
        "settings.commands:ConvertSettings", "turn a checkpoint into Darknet weights, or the other way round", (
            "convert model=runs/train/weights/best.pt to=best.weights",
            "convert cfg=yolov3.cfg weights=yolov3.weights to=yolov3.pt",
        ), _with_engine("settings.command_checks:check_convert", "engine.convert:run_conversion", named=True),
    ),
    "partial": Command(
        "settings.commands:PartialSettings", "cut the first layers off a network's weights, to train from them", (
            "partial cfg=yolov4.cfg weights=yolov4.weights to=yolov4.conv.137 layers=137",
            "partial yolov4.cfg yolov4.weights yolov4.conv.137 137",
        ), _partial, ("cfg", "weights", "to", "layers"),
    ),
    "anchors": Command(
        "settings.commands:AnchorsSettings", "compute anchors for a data set, as lines to paste into a cfg", (
            "anchors data=obj.data num=9 imgsz=416", "anchors data=obj.data num=6 imgsz=352,608 picture=anchors.png",
        ), _anchors,
    ),
    DETECTOR: Command(
        "", "Darknet's own command line: train, test, demo, valid, map, recall, calc_anchors", (
            "detector train obj.data yolov4-tiny.cfg yolov4-tiny.conv.29 -map",
        ), load,  # it reads its arguments itself
    ),
    "gui": Command(
        "settings.commands:GuiSettings", "open the window: set up runs, start them, watch them live", (
            "gui", "gui run=runs/train", "gui run=runs/train screenshot=train.png",
        ), _gui,
    ),
    "demo": Command(
        "settings.commands:DemoSettings", "train a small network on the built-in data set and show what it finds",
        ("demo",), _with_engine("settings.command_checks:check_demo", "demo:run_demo"),
    ),
}  # fmt: skip
