"""The command line: ``yolo-subbatch COMMAND key=value ...``.

Help and every check come before torch is imported, so that a mistake is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_subbatch import __version__
from yolo_subbatch.errors import SettingsError, YoloSubbatchError

PROGRAM = "yolo-subbatch"
DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Command:
    """A command: its settings as ``module:class``, what it does, an example, and how it is run."""

    settings: str
    summary: str
    example: str
    run: Callable[[Any], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 done, 2 the user's input is at fault, 1 else, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except YoloSubbatchError as error:
        print(f"{PROGRAM}: {_short(str(error))}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read the output has gone; a second complaint at exit is of no use to anyone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        traceback.print_exc()
        print(f"{PROGRAM}: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def _short(text: str, lines: int = 4) -> str:
    """Keep a message to a few lines, saying how many faults were left out."""
    every = text.splitlines()
    return text if len(every) <= lines else "\n".join([*every[: lines - 1], f"and {len(every) - lines + 1} more"])


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"} and len(arguments) == 1:
        print(_overview())
        return DONE
    if arguments[0] in {"-V", "--version", "version"}:
        print(f"{PROGRAM} {__version__}")
        return DONE
    name, *rest = arguments[1:] if arguments[0] == "help" else arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
        raise SettingsError(f"{name}: unknown command; {advice}")
    command = COMMANDS[name]
    if arguments[0] == "help" or {"-h", "--help"} & set(rest):
        print(_help(name, command))
        return DONE
    from yolo_subbatch.run.settings import make, parse_pairs

    settings = make(_settings_type(command), parse_pairs(rest), extra=name == "train")
    return command.run(settings)


def _settings_type(command: Command) -> Any:
    module, _, name = command.settings.partition(":")
    return getattr(importlib.import_module(f"yolo_subbatch.{module}"), name)


# --- help -----------------------------------------------------------------------------------------------------------


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([
        f"{PROGRAM} {__version__}: Darknet's batch and subdivisions, exactly, inside Ultralytics",
        "",
        f"usage: {PROGRAM} COMMAND key=value ...      ({PROGRAM} COMMAND -h lists the keys)",
        "",
        *lines,
        "",
        "for example:",
        f"  {PROGRAM} demo",
        f"  {PROGRAM} train cfg=yolov3.cfg data=obj.data weights=darknet53.conv.74 batch=64 subdivisions=16",
    ])  # fmt: skip


def _help(name: str, command: Command) -> str:
    groups: dict[str, list[str]] = {}
    for each in dataclasses.fields(_settings_type(command)):
        if each.name != "extra":
            groups.setdefault(each.metadata["group"], []).append(_help_line(each))
    lines = [f"{PROGRAM} {name}: {command.summary}", "", f"usage: {PROGRAM} {name} key=value ...", ""]
    for group, entries in groups.items():
        lines += [f"{group}:", *entries, ""]
    if name == "train":
        lines += ["Every training key of Ultralytics works too (cache, save_period, plots, ...).", ""]
    return "\n".join([*lines, "for example:", *(f"  {PROGRAM} {line}" for line in command.example.split("\n"))])


def _help_line(each: dataclasses.Field[Any]) -> str:
    rule = each.metadata
    tip = rule["tip"]
    if rule.get("choices"):
        tip += f" ({', '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in rule['choices'])})"
    default = "" if each.default is None else f" [{each.default}]"
    return f"  {each.name + '=':16} {tip}{default}"


# --- commands -------------------------------------------------------------------------------------------------------


def _prepare_host() -> None:
    """Keep Ultralytics from asking the network and from installing packages, unless the user wants it to."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "0")
    os.environ.setdefault("YOLO_OFFLINE", "1")


def _train(settings: Any) -> int:
    from yolo_subbatch.run.folder import RunFolder
    from yolo_subbatch.run.validate import raise_errors, validate

    prepared = settings.run_dir is not None
    folder = RunFolder.prepared(settings.run_dir) if prepared else None
    if folder is not None:
        settings = folder.read_settings()
    settings = with_built_in_data(settings)
    for warning in raise_errors(validate(settings)):
        print(f"warning: {warning}")
    _prepare_host()
    check_device(settings.device)
    if folder is None:
        folder = RunFolder.create(settings.project, settings.name)
        folder.write_settings(settings)
        if folder.path.name != settings.name:
            print(f"{settings.name} exists; this run is {os.path.relpath(folder.path)}")
    folder.write_process()
    quiet_host()
    from yolo_subbatch.engine.train import run_training
    from yolo_subbatch.run.progress import TerminalProgress

    return run_training(settings, folder, [TerminalProgress(sys.stdout)])


def with_built_in_data(settings: Any) -> Any:
    """Complete settings without ``data=``: the built-in data set, and a length fit for a first look."""
    if settings.data not in {None, "shapes"}:
        return settings
    from yolo_subbatch.shapes import shapes_data

    path = shapes_data()
    if settings.data is None:
        print(f"no data= given: training on the built-in data set shapes ({path})")
        if settings.epochs is None and settings.max_batches is None:
            print("no epochs= or max_batches= given: the run is 10 epochs")
            settings = dataclasses.replace(settings, epochs=10)
    return dataclasses.replace(settings, data=str(path))


def check_device(device: str | None) -> None:
    """Refuse a GPU that is not there; torch knows, so this comes last of the checks.

    Raises:
        SettingsError: If the device does not exist on this machine.
    """
    if device in {None, "cpu", ""}:
        return
    import torch

    assert device is not None
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise SettingsError("device=mps: not available on this machine; use device=cpu")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = [int(each) for each in device.removeprefix("cuda:").split(",")]
    if any(each >= count for each in wanted):
        have = f"this machine has {count} CUDA devices (0 to {count - 1})" if count else "this machine has no CUDA device"
        raise SettingsError(f"device={device}: {have}; use device=" + ("0" if count else "cpu"))


def quiet_host() -> None:
    """Turn Ultralytics' own progress off: the run's events are shown instead."""
    import logging

    from ultralytics.utils import LOGGER

    LOGGER.setLevel(logging.WARNING)


def _with_engine(entry: str, check: str) -> Callable[[Any], int]:
    """Return a command that checks its settings and calls an entry point of the engine, ``module:function``."""

    def run(settings: Any) -> int:
        from yolo_subbatch.run import commands

        settings = getattr(commands, check)(settings)
        _prepare_host()
        check_device(getattr(settings, "device", None))
        module, _, name = entry.partition(":")
        getattr(importlib.import_module(f"yolo_subbatch.{module}"), name)(settings)
        return DONE

    return run


def _info(settings: Any) -> int:
    from yolo_subbatch.darknet.parser import read_cfg
    from yolo_subbatch.darknet.report import layer_report
    from yolo_subbatch.run.commands import check_info

    settings = check_info(settings)
    cfg = read_cfg(settings.cfg)
    for warning in cfg.warnings:
        print(f"warning: {warning}")
    size = settings.imgsz if isinstance(settings.imgsz, tuple) else (settings.imgsz, settings.imgsz)
    print(layer_report(cfg, size[1], size[0], settings.batch, settings.subdivisions))
    return DONE


COMMANDS: dict[str, Command] = {
    "train": Command(
        "run.settings:TrainSettings", "train a network", (
            "train cfg=yolov3-tiny.cfg data=obj.data batch=64 subdivisions=16\n"
            "train cfg=yolov3.cfg data=obj.data weights=darknet53.conv.74 epochs=100 learning_rate=0.001\n"
            "train model=yolo26n.yaml data=coco8.yaml batch=64 subdivisions=16"
        ), _train,
    ),
    "val": Command(
        "run.commands:ValSettings", "measure precision, recall and mAP of a trained network",
        "val model=runs/train/weights/best.pt data=obj.data split=test",
        _with_engine("engine.evaluate:run_validation", "check_val"),
    ),
    "predict": Command(
        "run.commands:PredictSettings", "find objects in images, folders or videos",
        "predict model=runs/train/weights/best.pt source=images/ json=boxes.json",
        _with_engine("engine.predict:run_prediction", "check_predict"),
    ),
    "info": Command("run.commands:InfoSettings", "show the layers of a cfg", "info cfg=yolov3.cfg", _info),
    "convert": Command(
        "run.commands:ConvertSettings", "turn a checkpoint into Darknet weights, or the other way round", (
            "convert model=runs/train/weights/best.pt to=best.weights\n"
            "convert cfg=yolov3.cfg weights=yolov3.weights to=yolov3.pt"
        ), _with_engine("engine.convert:run_conversion", "check_convert"),
    ),
    "demo": Command(
        "run.commands:DemoSettings", "train a small network on the built-in data set and show what it finds",
        "demo", _with_engine("demo:run_demo", "check_demo"),
    ),
}  # fmt: skip
