"""The command line: ``yolo-subbatch COMMAND key=value ...``.

Help and nearly every check come before torch is imported, so that a mistake is answered at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_subbatch import __version__
from yolo_subbatch.errors import SettingsError, YoloSubbatchError

if TYPE_CHECKING:
    from yolo_subbatch.run.commands import InfoSettings
    from yolo_subbatch.run.folder import RunFolder
    from yolo_subbatch.run.progress import TerminalProgress
    from yolo_subbatch.run.settings import TrainSettings

PROGRAM = "yolo-subbatch"
DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
MOST_LINES = 4  # of a message about the user's input
FIRST_LOOK = 10  # epochs on the built-in data set


@dataclass(frozen=True)
class Command:
    """A command: its settings as ``module:class``, what it does, how it is called and how it is run."""

    settings: str
    summary: str
    examples: tuple[str, ...]
    run: Callable[[Any], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 done, 2 the user's input is at fault, 1 else, 130 interrupted."""
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
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


def _short(text: str) -> str:
    """Keep a message to a few lines, saying how many faults were left out."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more"]
    return "\n".join([f"{PROGRAM}: {lines[0] if lines else 'the input is not usable'}", *lines[1:]])


def _dispatch(arguments: list[str]) -> int:
    first, *rest = arguments or ["help"]
    if first in {"help", "-h", "--help"} and not rest:
        print(_overview())
    elif first in {"-V", "--version", "version"}:
        print(f"{PROGRAM} {__version__}")
    elif first == "help":
        print(_help(rest[0]))
    elif {"-h", "--help"} & set(rest):
        print(_help(first))
    else:
        return _execute(first, rest)
    return DONE


def _execute(name: str, pairs: list[str]) -> int:
    command = _command(name)
    from yolo_subbatch.run.values import make, parse_pairs

    given = parse_pairs(pairs)
    settings = make(_load(command.settings), given)
    if getattr(settings, "resume", None) is not None:
        _load("run.resume:refuse_given")(given)
    return command.run(settings)


def _command(name: str) -> Command:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
        raise SettingsError(f"{name}: unknown command; {advice}")
    return COMMANDS[name]


def _load(place: str) -> Any:
    """Import ``module:name`` of this package."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"yolo_subbatch.{module}"), name)


def _overview() -> str:
    from yolo_subbatch.run.help import overview

    summaries = {name: command.summary for name, command in COMMANDS.items()}
    return overview(f"{PROGRAM} {__version__}", PROGRAM, summaries, ["demo", COMMANDS["train"].examples[0]])


def _help(name: str) -> str:
    command = _command(name)
    from yolo_subbatch.run.help import describe_command

    return describe_command(f"{PROGRAM} {name}", PROGRAM, command.summary, command.examples, _load(command.settings))


def _train(settings: TrainSettings) -> int:
    from yolo_subbatch.run.folder import RunFolder
    from yolo_subbatch.run.progress import TerminalProgress

    if int(os.environ.get("RANK", -1)) > 0:
        return _run_beside(settings)
    progress = TerminalProgress(sys.stdout)
    if settings.resume is not None:
        return _go_on(settings, progress)
    if settings.run_dir is None:
        ready = _checked(settings, progress)
        folder = RunFolder.create(settings.project, settings.name)
        folder.write_settings(settings)
        if folder.path.name != settings.name:
            print(f"{settings.name} exists already; this run goes to {_shown(folder.path)}")
        return _in_folder(folder, lambda: _run(ready, folder, progress), keep=False)
    others = [key for key in settings.changed() if key != "run_dir"]
    if others:
        found = f"run_dir={settings.run_dir}: {others[0]} is given too"
        raise SettingsError(f"{found}; the settings are in its settings.json, leave the other keys out")
    prepared = RunFolder.prepared(settings.run_dir)
    return _in_folder(
        prepared, lambda: _run(_checked(prepared.read_settings(), progress), prepared, progress), keep=True
    )


def _run_beside(settings: TrainSettings) -> int:
    """Train in one of several processes that torchrun started; the first one keeps the folder and tells the user."""
    from yolo_subbatch.run.checks import raise_errors
    from yolo_subbatch.run.folder import RunFolder
    from yolo_subbatch.run.resume import check_resume, has_state, with_changes
    from yolo_subbatch.run.validate import validate

    if settings.run_dir is not None:
        settings = RunFolder(Path(settings.run_dir)).read_settings()
    what: Any = settings
    entry = "run_training"
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        if settings.resume is not None:
            run, changes = check_resume(settings, first=False)
            what = with_changes(run.read_settings(), changes) if not has_state(run) else changes
            entry, folder = ("continue_training", run) if has_state(run) else (entry, folder)
        if entry == "run_training":
            raise_errors(validate(what))
            what = with_built_in_data(what)
        prepare_host(quiet=True)
        status: int = _load(f"engine.train:{entry}")(what, folder, [])
    return status


def _go_on(settings: TrainSettings, progress: TerminalProgress) -> int:
    """Go on with a run; one that was ended before its first state begins again, in the same folder."""
    from yolo_subbatch.run.resume import check_resume, has_state, with_changes

    folder, changes = check_resume(settings)
    check_device(settings.device)
    if has_state(folder):
        if "RANK" in os.environ:  # torchrun's processes leave a request alone that comes from now on
            folder.clear_request()
        return _in_folder(folder, lambda: _run_in(folder, progress, "continue_training", changes), keep=True)
    ready = _checked(with_changes(folder.read_settings(), changes), progress)
    folder.begin_again(0)
    return _in_folder(folder, lambda: _run(ready, folder, progress), keep=True)


def _checked(settings: TrainSettings, progress: TerminalProgress) -> TrainSettings:
    """Report everything that is wrong at once; return the settings with the built-in data set filled in."""
    from yolo_subbatch.run.checks import raise_errors
    from yolo_subbatch.run.validate import validate

    for text in raise_errors(validate(settings)):
        progress.say(f"warning: {text}")
    check_device(settings.device)
    ready: TrainSettings = with_built_in_data(settings)
    return ready


def _in_folder(folder: RunFolder, work: Callable[[], int], keep: bool) -> int:
    """Run a training; one that never began leaves no trace, unless a launcher owns the folder (``keep``)."""
    folder.write_process()
    try:
        return work()
    except BaseException as error:
        if keep or folder.events.exists():
            folder.record_failure(error)
        elif isinstance(error, (YoloSubbatchError, KeyboardInterrupt)):
            folder.discard()
        raise


def _run(settings: TrainSettings, folder: RunFolder, progress: TerminalProgress) -> int:
    return _run_in(folder, progress, "run_training", settings)


def _run_in(folder: RunFolder, progress: TerminalProgress, entry: str, what: Any) -> int:
    """Hand a training to the engine, whose functions take settings or changes, the folder and the listeners."""
    from yolo_subbatch.run.progress import route_messages

    prepare_host(quiet=True)
    work = _load(f"engine.train:{entry}")
    route_messages(progress)
    try:
        status: int = work(what, folder, [progress])
    finally:
        progress.close()
    if status == DONE:
        print(f"results are in {_shown(folder.path)}")
    return status


def _shown(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def prepare_host(quiet: bool) -> None:
    """Keep Ultralytics from telling others what is trained and from installing packages, unless the user wants it to.

    It reads these variables when it is imported; ``quiet`` turns its progress bars off, where our own are shown.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    if quiet:
        os.environ.setdefault("YOLO_VERBOSE", "false")


def with_built_in_data(settings: Any) -> Any:
    """Fill in the built-in data set where it is asked for, and say so where nothing was."""
    from yolo_subbatch.run.find import is_built_in

    if not is_built_in(settings.data):
        return settings
    path = _load("shapes:shapes_data")()
    if settings.data is None:
        print(f"no data= given: using the built-in data set shapes ({path})")
        if getattr(settings, "epochs", 1) is None and settings.max_batches is None:
            print(f"neither epochs= nor max_batches= given: the run is {FIRST_LOOK} epochs")
            settings = dataclasses.replace(settings, epochs=FIRST_LOOK)
    return dataclasses.replace(settings, data=str(path))


def check_device(device: str | None) -> None:
    """Refuse a device that is not there; only torch knows, so this comes last of the checks.

    Raises:
        SettingsError: If the device does not exist on this machine.
    """
    if device is None or device == "cpu":
        return
    import torch

    if device == "mps":
        if not torch.backends.mps.is_available():
            raise SettingsError("device=mps: not on this machine; use device=cpu")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = [int(each.removeprefix("cuda:")) for each in device.split(",") if each != "cuda"]
    if not count or any(each >= count for each in wanted):
        have = f"this machine has {count} (0 to {count - 1})" if count else "torch sees no CUDA device here"
        raise SettingsError(f"device={device}: {have}; use device={'0' if count else 'cpu'}")


def _with_engine(check: str, entry: str) -> Callable[[Any], int]:
    """Return a command that checks its settings and hands them to the engine, both given as ``module:function``."""

    def run(settings: Any) -> int:
        settings = _load(check)(settings)
        check_device(getattr(settings, "device", None))
        if hasattr(settings, "data"):
            settings = with_built_in_data(settings)
        prepare_host(quiet=entry.startswith("demo"))
        status = _load(entry)(settings)
        return status if isinstance(status, int) else DONE

    return run


def _info(settings: InfoSettings) -> int:
    from yolo_subbatch.darknet.parser import read_cfg
    from yolo_subbatch.run.inputs import check_info

    settings = check_info(settings)
    cfg = read_cfg(settings.cfg or "")
    for text in cfg.warnings:
        print(f"warning: {text}")
    size = settings.imgsz
    height, width = size if isinstance(size, tuple) else (size, size)
    print(_load("darknet.report:layer_report")(cfg, width, height, settings.batch, settings.subdivisions))
    return DONE


COMMANDS: dict[str, Command] = {
    "train": Command(
        "run.settings:TrainSettings", "train a network", (
            "train cfg=yolov3.cfg data=obj.data weights=darknet53.conv.74 batch=64 subdivisions=16",
            "train cfg=yolov3-tiny.cfg data=obj.data epochs=100 learning_rate=0.001 imgsz=352,608",
            "train model=yolo26n.yaml data=coco8.yaml batch=64 subdivisions=16",
        ), _train,
    ),
    "val": Command(
        "run.commands:ValSettings", "measure precision, recall and mAP of a trained network", (
            "val model=runs/train/weights/best.pt data=obj.data split=test",
            "val cfg=yolov3.cfg weights=yolov3.weights data=coco.data letterbox=darknet",
        ), _with_engine("run.inputs:check_val", "engine.evaluate:run_validation"),
    ),
    "predict": Command(
        "run.commands:PredictSettings", "find objects in images, folders or videos", (
            "predict model=runs/train/weights/best.pt source=images/ json=boxes.json",
            "predict cfg=yolov3.cfg weights=yolov3.weights source=dog.jpg conf=0.5",
        ), _with_engine("run.inputs:check_predict", "engine.predict:run_prediction"),
    ),
    "info": Command(
        "run.commands:InfoSettings", "show the layers of a cfg, and what they cost", (
            "info cfg=yolov3.cfg", "info cfg=yolov3-tiny.cfg imgsz=608 batch=64 subdivisions=16",
        ), _info,
    ),
    "convert": Command(
        "run.commands:ConvertSettings", "turn a checkpoint into Darknet weights, or the other way round", (
            "convert model=runs/train/weights/best.pt to=best.weights",
            "convert cfg=yolov3.cfg weights=yolov3.weights to=yolov3.pt",
        ), _with_engine("run.inputs:check_convert", "engine.convert:run_conversion"),
    ),
    "demo": Command(
        "run.commands:DemoSettings", "train a small network on the built-in data set and show what it finds",
        ("demo",), _with_engine("run.inputs:check_demo", "demo:run_demo"),
    ),
}  # fmt: skip
