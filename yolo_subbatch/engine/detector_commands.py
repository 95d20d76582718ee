"""Darknet's ``detector test``, ``valid`` and ``recall``: the same thresholds, texts and files.

Source: darknet ``test_detector``, ``validate_detector``, ``validate_detector_recall`` in src/detector.c (AlexeyAB),
``draw_detections_v3`` in src/image.c, ``detection_to_json`` in src/network.c.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert
from ultralytics.engine.results import Results

from yolo_subbatch.darknet.boxes import box_iou
from yolo_subbatch.darknet.datafile import (
    read_data,
    read_data_names,
    read_image_list,
    read_options,
)
from yolo_subbatch.darknet.hierarchy import TREE_THRESH
from yolo_subbatch.darknet.labels import read_boxes
from yolo_subbatch.darknet.region import RegionHead
from yolo_subbatch.darknet.textfile import bare, find_file, without_comment
from yolo_subbatch.engine.darknet_detections import Detector, Found, suppress_by_objectness
from yolo_subbatch.engine.describe_data import labelled_to_measure
from yolo_subbatch.engine.result_files import write_picture, writer_of
from yolo_subbatch.errors import DataError, SettingsError
from yolo_subbatch.settings.class_names import class_names
from yolo_subbatch.settings.command_checks import is_list
from yolo_subbatch.settings.commands import PredictSettings, ValSettings
from yolo_subbatch.settings.file_marks import is_ours
from yolo_subbatch.settings.output_checks import write_json, write_output
from yolo_subbatch.settings.result_names import PICTURE, label_fault, label_place, moved_name, results_folder

SUPPRESS = 0.45  # overlap
VALID = 0.005  # threshold of `valid`
RECALL, RECALL_SUPPRESS, RECALL_IOU = 0.001, 0.4, 0.5
HIDDEN = "dont_show"  # how a class's name begins that is found but not told


def run_test(
    settings: PredictSettings,
    data: str,
    ext_output: bool = False,
    save_labels: bool = False,
    hier: float = TREE_THRESH,
) -> None:
    """Find objects as ``detector test``: texts on the terminal, predictions.jpg, and JSON with ``json``.

    Args:
        settings: Network, threshold; without ``source``, names of images are read from standard input.
        data: The ``.data`` file.
        ext_output: Print the boxes too.
        save_labels: Write what is found as the image's label file.
        hier: How sure a class of a hierarchy must be for its subclasses to be asked.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    detector = Detector(settings)
    names = names_for(detector, data)
    for head in detector.model.network.heads:
        if isinstance(head, RegionHead):
            head.tree_threshold = hier
    replaced = Path(PICTURE).is_file()
    frames: list[dict[str, Any]] = []
    interrupted = False
    try:
        for found in _found(detector, settings):
            print("".join(lines(found, names, settings.conf, ext_output)), end="", flush=True)
            _draw(found, names)
            frames.append(frame(found, names, len(frames) + 1))
            if save_labels:
                _write_labels(found)
    except KeyboardInterrupt:
        interrupted = True  # many end their typing so: what was found is kept
    if frames:
        print(f"{PICTURE} {'replaced' if replaced else 'written'}")
    if settings.json and (frames or not interrupted):
        there = Path(settings.json).is_file()
        write_json(settings.json, frames)
        print(f"{settings.json} {'replaced' if there else 'written'}")
    if interrupted:
        raise KeyboardInterrupt


def _found(detector: Detector, settings: PredictSettings) -> Iterator[Found]:
    """Yield what is found in each image; one of several that cannot be read is named and passed over."""
    single = settings.source and not is_list(settings.source)
    for path in _images(settings.source):
        begin = time.monotonic()
        try:
            (found,) = detector.find([path], settings.conf)
        except DataError as error:
            if single:
                raise
            print(error, file=sys.stderr)
            continue
        found = detector.suppress(found, settings.iou)
        print(f"{path}: Predicted in {(time.monotonic() - begin) * 1000:f} milli-seconds.")
        yield found


def _images(source: str | None) -> Iterable[Path]:
    if source is None:
        return _asked()
    return read_image_list(source) if is_list(source) else [Path(source)]


def names_for(detector: Detector, data: str) -> tuple[str, ...]:
    """Return the class names: those of the data, if any is given, or the network's own.

    Raises:
        SettingsError: If the data has another number of classes than the network.
    """
    return class_names(data, detector.classes).names if data else tuple(detector.model.names.values())


def _asked() -> Iterator[Path]:
    """Yield the images whose names are typed or piped in."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a name may hold any byte
    while True:
        print("Enter Image Path: ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            print()
            return
        if bare(line):
            yield find_file(line.rstrip("\r\n"), Path()) or Path(bare(line))


def lines(found: Found, names: Sequence[str], threshold: float, ext_output: bool) -> Iterator[str]:
    """Yield what Darknet prints of an image: boxes from left to right, of each its best class first."""
    height, width = found.image.shape[:2]
    corners = box_convert(found.boxes, "cxcywh", "xywh") * found.boxes.new_tensor([width, height] * 2)
    shown = _shown(found.scores, names)
    for index in corners[:, 0].argsort(stable=True).tolist():
        scores = shown[index]
        best = int(scores.argmax())
        others = [each for each in (scores > threshold).nonzero()[:, 0].tolist() if each != best]
        if scores[best] <= threshold:
            continue
        x, y, w, h = corners[index].round().tolist()
        place = f"\t(left_x: {x:4.0f}   top_y: {y:4.0f}   width: {w:4.0f}   height: {h:4.0f})" if ext_output else ""
        yield from (f"{names[each]}: {scores[each] * 100:.0f}%{place}\n" for each in (best, *others))


def _shown(scores: Tensor, names: Sequence[str]) -> Tensor:
    """Return scores ``(n, C)`` without the classes that are not to be told."""
    hidden = torch.tensor([name.startswith(HIDDEN) for name in names])
    return scores.masked_fill(hidden, 0)


def frame(found: Found, names: Sequence[str], number: int) -> dict[str, Any]:
    """Return an image's detections in the form of AlexeyAB's ``-out``; boxes as fractions of the image."""
    shown = _shown(found.scores, names)
    keys = ("center_x", "center_y", "width", "height")
    return {
        "frame_id": number,
        "filename": str(found.path),
        "objects": [
            {
                "class_id": index, "name": names[index],
                "relative_coordinates": dict(zip(keys, _rounded(found.boxes[box]), strict=True)),
                "confidence": round(float(shown[box, index]), 6),
            }
            for box, index in shown.nonzero().tolist()
        ],
    }  # fmt: skip


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def _draw(found: Found, names: Sequence[str]) -> None:
    write_picture(PICTURE, drawn(found, names))


def drawn(found: Found, names: Sequence[str]) -> np.ndarray:
    """Return the image ``(H, W, 3)``, blue first, with the boxes that are told."""
    height, width = found.image.shape[:2]
    shown = _shown(found.scores, names)
    box, index = shown.nonzero(as_tuple=True)
    corners = box_convert(found.boxes[box], "cxcywh", "xyxy").clamp(0, 1) * found.boxes.new_tensor([width, height] * 2)
    rows = torch.cat((corners, shown[box, index][:, None], index[:, None].float()), 1)
    picture: np.ndarray = Results(found.image, str(found.path), dict(enumerate(names)), boxes=rows).plot()
    return picture


def _write_labels(found: Found) -> None:
    """Write each box, as far as it lies in the image, with its best class where the image's label is looked for.

    A label file of before, unless it was written here too, gets another name and is never lost.
    """
    label = label_place(found.path)
    fault = label_fault(label)
    if fault is not None:
        raise DataError(f"{label}: {fault}")
    corners = box_convert(found.boxes, "cxcywh", "xyxy").clamp(0, 1)
    found = replace(found, boxes=box_convert(corners, "xyxy", "cxcywh"))
    scores, classes = found.scores.max(1) if len(found.scores) else (found.scores.sum(1), found.scores.sum(1).long())
    rows = zip(classes.tolist(), found.boxes.tolist(), (scores > 0).tolist(), strict=True)
    text = "".join(f"{index} " + " ".join(f"{each:.4f}" for each in box) + "\n" for index, box, kept in rows if kept)
    note = ""
    if label.is_file() and not is_ours(label, "labels"):
        kept = moved_name(label)
        try:
            label.rename(kept)
        except OSError as error:
            raise DataError(f"{label}: cannot be written ({error.strerror}); leave -save_labels out") from error
        note = f"; the one of before is {kept.name}"
    write_output(label, text.encode())
    print(f"{label} written{note}")


def run_valid(settings: ValSettings, out: str | None = None) -> list[Path]:
    """Write what is found in the validation images for VOC's, COCO's or ImageNet's tools, as the data's ``eval`` says.

    Args:
        settings: Network and data.
        out: Name of the files without their ending.

    Returns:
        The files.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    data = settings.data or ""
    options, names = read_options(data), read_data_names(data)
    detector, images = Detector(settings), _valid_images(data)
    form, folder = without_comment(options.get("eval", "voc")), results_folder(data)
    class_names(data, detector.classes)
    write = writer_of(form, len(names), data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{data}: results={folder}: no folder can be made there ({error.strerror})") from error
    begin = time.monotonic()
    found = (detector.suppress(each, SUPPRESS) for each in detector.find(images, VALID, settings.batch))
    files = write(_counted(found, len(images)), names, folder, out)
    print(f"Total Detection Time: {time.monotonic() - begin:f} Seconds", file=sys.stderr)
    print("\n".join(f"written: {file}" for file in files))
    return files


def _valid_images(data: str) -> list[Path]:
    source = read_data(data, needed=("valid",)).valid
    if source is None:
        raise DataError(f"{data}: no 'valid' list; add a line valid = valid.txt")
    return read_image_list(source)


def _counted(found: Iterable[Found], count: int) -> Iterator[Found]:
    for index, each in enumerate(found, 1):
        if index % 100 == 0 or index == count:
            print(f"{index} of {count}", file=sys.stderr, flush=True)
        yield each


def run_recall(settings: ValSettings, say: Callable[[str], None] | None = None) -> tuple[int, int]:
    """Count the truths that some box overlaps by more than a half, whatever its class, as ``detector recall``.

    Args:
        settings: Network and data.
        say: Gets a line per image; standard error by default.

    Returns:
        How many truths are found, and how many there are.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    detector, data = Detector(settings), settings.data or ""
    to_errors = partial(print, file=sys.stderr)
    known = labelled_to_measure(_valid_images(data), data, settings.missing_labels, detector.flavour, to_errors)
    say = say or to_errors
    proposals = correct = total = 0
    overlap = 0.0
    every = zip(detector.find(known.images, RECALL, settings.batch), known.labels, strict=True)
    for number, (found, label) in enumerate(every):
        found = suppress_by_objectness(found, RECALL_SUPPRESS)
        truths = torch.from_numpy(read_boxes(label))[:, 1:]
        best = torch.zeros(len(truths))
        if len(found.boxes):
            best = box_iou(truths[:, None], found.boxes[None].double()).amax(1)
        proposals += len(found.boxes)
        total, correct = total + len(truths), correct + int((best > RECALL_IOU).sum())
        overlap += float(best.sum())
        mean, share = (100 * overlap / total, 100 * correct / total) if total else (0.0, 0.0)
        say(
            f"{number:5d} {correct:5d} {total:5d}\tRPs/Img: {proposals / (number + 1):.2f}\t"
            f"IOU: {mean:.2f}%\tRecall:{share:.2f}%"
        )
    return correct, total
