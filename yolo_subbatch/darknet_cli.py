"""Darknet's own commands, ``detector``, ``anchors`` and ``partial``: read, said in our words, and handed on."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from yolo_subbatch.errors import DataError, SettingsError, YoloSubbatchError
from yolo_subbatch.folder.backup_folder import Backup
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.command_checks import (
    check_anchors,
    check_map,
    check_test,
    check_val,
    check_video,
    missing_of_anchors,
)
from yolo_subbatch.settings.commands import AnchorsSettings, MapSettings, PartialSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.darknet_args import Call, parse_detector
from yolo_subbatch.settings.darknet_flags import ANCHORS, DEMO, MAP, TEST, TRAIN, VALID
from yolo_subbatch.settings.data_checks import data_names, split_images
from yolo_subbatch.settings.file_marks import mark
from yolo_subbatch.settings.find import find_cfg
from yolo_subbatch.settings.host_files import check_version
from yolo_subbatch.settings.label_lists import labelled, write_list
from yolo_subbatch.settings.output_checks import write_output
from yolo_subbatch.settings.result_names import COUNTERS, outputs_of_valid
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_data_checks import has_val

DONE = 0


def run_detector(arguments: Sequence[str]) -> int:
    """Do what Darknet's ``detector`` does, and return the exit status.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    call = parse_detector(arguments)
    own = call.own_line()
    if own is not None:
        print(f"= {own}")
    for note in call.notes:
        print(f"note: {note}")
    if call.command == TRAIN:
        return _train(call)
    if call.command == ANCHORS:
        return _calc_anchors(call)
    return _use(call)


def _train(call: Call) -> int:
    settings = cast(TrainSettings, call.settings)
    there = Path(call.data).is_file()  # otherwise it is named together with whatever else is wrong
    backup = Backup.of(call.data, _cfg_path(settings.cfg), best="-map" in call.given) if there else None
    if there and backup is None:
        print(f"note: {call.data} names no backup folder; the weights stay in the run's own")
    for file in backup.existing() if backup is not None else ():
        print(f"note: {file} is going to be replaced")
    if "-map" in call.given and there and not has_val(Path(call.data)):
        text = "no 'valid' list, on which -map measures; add a line valid = valid.txt, or leave -map out"
        raise DataError(f"{call.data}: {text}")
    try:
        with in_darknets_words(call.given):
            status: int = load("train_command:train")(settings, backup)
    except SettingsError as error:
        if settings.seen != "keep" or not str(error).startswith("seen=keep"):
            raise
        reason = str(error).partition(": ")[2].partition(";")[0]
        raise SettingsError(f"{settings.weights}: {reason}; add -clear to start at iteration 0") from error
    return status


def _cfg_path(name: str | None) -> str:
    """Return where a cfg is; one that is not there is named together with whatever else is wrong."""
    try:
        return str(find_cfg(name))
    except YoloSubbatchError:
        return name or ""


def _use(call: Call) -> int:
    """Run a command that needs a trained network."""
    from yolo_subbatch.train_command import check_device, prepare_host

    check_version()
    settings: Any = call.settings
    if call.command == TEST:
        settings = check_test(cast(PredictSettings, settings), call.data, "-save_labels" in call.given)
    elif call.command == DEMO:
        settings = check_video(cast(PredictSettings, settings), call.data, call.given)
    elif call.command == MAP:
        settings = check_map(cast(MapSettings, settings))
    else:
        valid = call.command == VALID
        problems = outputs_of_valid(cast(ValSettings, settings), call.given.get("-out")) if valid else ()
        settings = check_val(cast(ValSettings, settings), labels=not valid, problems=problems)
    with in_darknets_words(call.given):
        check_device(settings.device)
    prepare_host(quiet=True)
    if call.command == DEMO:
        load("engine.video:run_video")(settings, call.data, _shown(call.given))
    elif call.command == TEST:
        of_test = ("-ext_output", "-save_labels", "-hier")
        flags = {flag.lstrip("-"): call.given[flag] for flag in of_test if flag in call.given}
        load("engine.detector_commands:run_test")(settings, call.data, **flags)
    elif call.command == MAP:
        load("engine.darknet_map:run_map")(settings)
    elif call.command == VALID:
        load("engine.detector_commands:run_valid")(settings, call.given.get("-out"))
    else:
        load("engine.detector_commands:run_recall")(settings)
    return DONE


def _shown(given: Mapping[str, Any]) -> Any:
    return load("engine.video:Show")(
        live="-dont_show" not in given, out=given.get("-out_filename"), prefix=given.get("-prefix"),
        boxes="-dontdraw_bbox" not in given, ext_output="-ext_output" in given, seconds=given.get("-time_limit_sec"),
    )  # fmt: skip


@contextmanager
def in_darknets_words(given: Mapping[str, Any]) -> Iterator[None]:
    """Name the flag that asked for a GPU which is not there."""
    try:
        yield
    except SettingsError as error:
        flag = next((each for each in ("-gpus", "-i") if each in given), None)
        place, _, rest = str(error).partition(": ")
        if flag is None or not place.startswith("device="):
            raise
        reason = rest.partition("; ")[0]
        raise SettingsError(f"{flag} {given[flag]}: {reason}; give -nogpu instead, which uses the CPU") from error


def _calc_anchors(call: Call) -> int:
    counters = run_anchors(check_anchors(cast(AnchorsSettings, call.settings), counters=True))
    replaced = Path(COUNTERS).is_file()
    write_output(COUNTERS, (counters + "\n").encode())
    print(f"{COUNTERS} {'replaced' if replaced else 'written'}")
    return DONE


def run_anchors(settings: AnchorsSettings) -> str:
    """Compute anchors and print the lines to paste into a cfg.

    Returns:
        The line with the number of boxes of each class.

    Raises:
        DataError: If the data has too few boxes.
    """
    import numpy as np

    from yolo_subbatch.darknet.anchors import draw_anchors, find_anchors
    from yolo_subbatch.darknet.labels import read_all_boxes

    data = Path(settings.data or load("built_in_data:shapes_data")())
    if settings.data is None:
        print(f"no data= given: using the built-in data set shapes ({data})")
    size = settings.imgsz
    height, width = size if isinstance(size, tuple) else (size, size)
    images = split_images(data, settings.split)
    if not images:
        raise DataError(f"{data}: its images are where only Ultralytics looks; give a Darknet .data")
    print(f"\n num_of_clusters = {settings.num}, width = {width}, height = {height} ")
    print(f" read labels from {len(images)} image{'' if len(images) == 1 else 's'} ", flush=True)
    missing = missing_of_anchors(settings, data)
    found = labelled(images, missing, measuring=False)
    boxes = read_all_boxes(found.labels)
    counts = np.bincount(boxes[:, 0].astype(int), minlength=len(data_names(data)))
    if found.absent:
        line = found.line(str(data), missing, measuring=False)
        print(f" {line}; {write_list(list(map(str, found.absent)))}")
    sizes = boxes[:, 3:] * (width, height)
    whole = sizes.min(1) > 0
    print(f" loaded \t box: {len(boxes)}" + ("" if whole.all() else f", {(~whole).sum()} of them without area"))
    if not whole.any():
        raise DataError(f"{data}: no boxes in its {settings.split} images; label some")
    begin = time.monotonic()
    anchors = find_anchors(sizes[whole], settings.num, settings.seed)
    print(f"\n k-means took {time.monotonic() - begin:.1f} s")
    counters = f"counters_per_class = {', '.join(map(str, counts))}"
    text = anchors.text(width)
    print(f"\n avg IoU = {anchors.mean_iou * 100:2.2f} % \n")
    print(f"num = {settings.num}\nanchors = {text}\n{counters}")
    if settings.to:
        replaced = Path(settings.to).is_file()
        write_output(settings.to, text.encode(), "to")
        print(f"{settings.to} {'replaced' if replaced else 'written'}")
    if settings.picture:
        replaced = Path(settings.picture).is_file()
        draw_anchors(sizes[whole], anchors, (width, height), Path(settings.picture))
        mark(settings.picture)
        print(f"{settings.picture} {'replaced' if replaced else 'written'}")
    return counters


def run_partial(settings: PartialSettings) -> None:
    """Write the weights of the first layers of a network, as Darknet's ``partial``: a backbone to train from.

    What the cfg says of later layers, and what the weights file holds of them, is not looked at.

    Raises:
        YoloSubbatchError: If the files do not fit, or the weights end before that layer.
    """
    from yolo_subbatch.darknet.network import Network
    from yolo_subbatch.darknet.parser import read_cfg
    from yolo_subbatch.darknet.weights import darknet_order, load_weights, save_weights
    from yolo_subbatch.darknet.weights_header import read_header
    from yolo_subbatch.darknet.weights_kinds import explain_channels

    stop, target = settings.layers or 0, settings.to or ""
    network = Network(read_cfg(settings.cfg or ""))
    numbers = sum(array.numel() for index, arrays in darknet_order(network) if index < stop for array in arrays)
    if not numbers:
        raise SettingsError(f"layers={stop}: no layer before it has weights; give a larger number")
    file = Path(settings.weights or "")
    data = file.read_bytes()
    begin = read_header(data, str(file)).size
    end = begin + 4 * numbers
    of_others = explain_channels(network.cfg, len(data) - begin)
    if of_others is not None:
        raise SettingsError(f"{file}: {of_others}")
    if len(data) < end:
        raise SettingsError(
            f"{file}: {len(data)} bytes, but {settings.cfg} has {end} up to layer {stop}; give fewer layers, or the "
            "cfg that the weights were trained with"
        )
    load_weights(network, io.BytesIO(data[:end]), partial=True)
    save_weights(network, target, seen=0, stop=stop)
    print(f"{target} written: the weights of layers 0 to {stop - 1} of {len(network.layers)}")
