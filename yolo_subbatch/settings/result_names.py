"""The files that Darknet's own commands write, under names that Darknet has chosen."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_subbatch.darknet.datafile import label_path, read_options
from yolo_subbatch.darknet.textfile import find_folder, without_comment
from yolo_subbatch.errors import DataError, YoloSubbatchError
from yolo_subbatch.settings.checks import Problem, attempt, error, folder_fault
from yolo_subbatch.settings.commands import AnchorsSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.data_checks import data_names
from yolo_subbatch.settings.output_checks import Input, Output, check_outputs, identity, images_of_source, place_fault

PICTURE = "predictions.jpg"  # of detector test
VIDEO = "predictions.avi"  # of detector demo, where there is no screen and no other name is given
COUNTERS = "counters_per_class.txt"  # of calc_anchors, beside anchors.txt
FRAME = "{prefix}_{number:08d}.jpg"  # of detector demo with -prefix
USED_FRAMES = "_????????.jpg"


def outputs_of_test(settings: PredictSettings, labels: bool) -> list[Problem]:
    """Check what ``detector test`` writes: its picture, JSON with ``-out``, label files with ``-save_labels``."""
    more = [Output(PICTURE, Path(PICTURE), "picture", PICTURE), *_json(settings, "-out")]
    problems = list(check_outputs(settings, more, without=("json",)))
    if not labels or not settings.source:
        return problems
    read = [Input(Path(each), str(each)) for each in (settings.source, settings.weights, settings.cfg) if each]
    try:
        images = images_of_source(settings.source) or [Path(settings.source)]
    except (YoloSubbatchError, OSError):  # said elsewhere
        return problems
    for image in images:
        fault = label_fault(label_place(image), read)
        if fault:
            problems.append(error("-save_labels", f"-save_labels: {label_place(image)}: {fault}"))
    return problems


def label_place(image: Path) -> Path:
    """Return where the label file of an image is written: where it is looked for, if there is such a folder."""
    label = label_path(image)
    return label if label.parent.is_dir() else image.with_suffix(".txt")


def label_fault(label: Path, read: Sequence[Input] = ()) -> str | None:
    """Return why a label file cannot be written, and what to do; None if it can."""
    fault = place_fault(label)
    if fault is not None:
        return f"{fault.partition(';')[0]}; leave -save_labels out"
    same = next((each for each in read if label.exists() and identity(each.file) == identity(label)), None)
    return None if same is None else f"this is the file that is read as {same.shown}; leave -save_labels out"


def has_screen() -> bool:
    """Tell whether a window can be opened."""
    return sys.platform in {"win32", "darwin"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def outputs_of_demo(settings: PredictSettings, given: Mapping[str, Any]) -> list[Problem]:
    """Check what ``detector demo`` writes with some flags: a video, frames, JSON."""
    more = _json(settings, "-json_file_output")
    out, prefix = given.get("-out_filename"), given.get("-prefix")
    live = "-dont_show" not in given and has_screen()
    video = out or (None if prefix or live else VIDEO)
    if video:
        more.append(Output("-out_filename", Path(video), "video", f"-out_filename {video}" if out else VIDEO))
    if prefix:
        more += frames_of(prefix)
    return list(check_outputs(settings, more, without=("json",)))


def frames_of(prefix: str) -> list[Output]:
    """Return the first frame that is written, and those of before."""
    first = Path(FRAME.format(prefix=prefix, number=0))
    there = [each for each in first.parent.glob("*" + USED_FRAMES) if each.name[:-13] == Path(f"{prefix}_").name[:-1]]
    return [Output("-prefix", each, "picture", f"-prefix {prefix}") for each in (first, *sorted(set(there) - {first}))]


def outputs_of_anchors(settings: AnchorsSettings, counters: bool) -> list[Problem]:
    """Check what ``anchors`` writes, or ``calc_anchors``, which writes ``counters`` besides."""
    return list(check_outputs(settings, [Output(COUNTERS, Path(COUNTERS), "counters", COUNTERS)] if counters else []))


def outputs_of_valid(settings: ValSettings, out: str | None) -> list[Problem]:
    """Check the files that ``detector valid`` writes into the results folder; nothing is made yet."""
    problems: list[Problem] = []
    data = settings.data or ""
    files = attempt("data", problems, lambda: result_files(data, out))
    if files is None:
        return problems
    folder = results_folder(data)
    fault = folder_fault(folder)
    if fault is not None:
        return [error("results", f"{data}: results={folder}: {fault}")]
    for file in files:
        if file.parent != folder and not file.parent.is_dir():
            text = f"-out {out}: the folder {file.parent} does not exist; make it first"
            return [error("-out", text)]
    if folder.is_dir():
        more = [Output("-out", file, "boxes" if file.suffix == ".txt" else "json", str(file)) for file in files]
        problems += check_outputs(settings, more, without=("json",))
    return problems


def results_folder(data: str) -> Path:
    """Return the folder that a ``.data`` file calls ``results``, or Darknet's own."""
    return find_folder(read_options(data).get("results", "results"), Path())


def result_files(data: str, out: str | None) -> list[Path]:
    """Return the files that ``detector valid`` writes for a ``.data`` file, as its ``eval`` says.

    Raises:
        DataError: If a class has a name that no file can have.
    """
    form, folder = without_comment(read_options(data).get("eval", "voc")), results_folder(data)
    if form == "coco":
        return [folder / f"{out or 'coco_results'}.json"]
    if form == "imagenet":
        return [folder / f"{out or 'imagenet-detection'}.txt"]
    names = data_names(Path(data))
    wrong = next((name for name in names if "/" in name or "\0" in name or len(name.encode()) > 200), None)
    if wrong is not None:
        found = f"{data}: the class {wrong[:60]!r} gives its file of boxes a name that no file can have"
        raise DataError(f"{found}; rename the class, or use eval=coco")
    prefix = "comp4_det_test_" if out is None else out
    return [folder / f"{prefix}{name}.txt" for name in names]


def _json(settings: PredictSettings, flag: str) -> list[Output]:
    """Return the JSON file under the name of Darknet's flag."""
    return [Output(flag, Path(settings.json), "json", f"{flag} {settings.json}")] if settings.json else []


def moved_name(label: Path) -> Path:
    """Return the name under which a label file of before is kept: the first that is free."""
    kept, number = label.with_name(f"{label.name}.before"), 2
    while kept.exists():
        kept, number = label.with_name(f"{label.name}.before{number}"), number + 1
    return kept


def frames_name(prefix: str, number: int) -> Path:
    """Return the file of a frame, counted from 0."""
    return Path(FRAME.format(prefix=prefix, number=number))
