"""The files that Darknet's commands leave for other programs: boxes for VOC's, COCO's and ImageNet's tools, and JSON.

Source: darknet ``print_detector_detections``, ``print_cocos`` and ``print_imagenet_detections`` in src/detector.c.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import torch
from torchvision.ops import box_convert

from yolo_subbatch.engine.darknet_detections import Found
from yolo_subbatch.errors import MachineError, SettingsError
from yolo_subbatch.settings.file_marks import marked
from yolo_subbatch.settings.output_checks import write_output

#: Numbers of the 80 trained classes among COCO's 91.
COCO_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
IMAGENET = 200  # classes of its detection task
#: Gets what is found, the names of the classes, the folder and the name of the files; returns the files.
Writer = Callable[[Iterable[Found], Sequence[str], Path, "str | None"], list[Path]]


def writer_of(form: str, classes: int, data: str) -> Writer:
    """Return what writes the form that the data's ``eval`` asks for; as in Darknet, any other word is VOC's.

    Raises:
        SettingsError: If that form has not so many classes.
    """
    if form == "coco" and classes > len(COCO_IDS):
        raise SettingsError(f"{data}: eval=coco has {len(COCO_IDS)} classes, not {classes}; use eval=voc")
    if form == "imagenet" and classes > IMAGENET:
        raise SettingsError(f"{data}: eval=imagenet has {IMAGENET} classes, not {classes}; use eval=voc")
    return {"coco": write_coco, "imagenet": write_imagenet}.get(form, write_voc)


def _rows(found: Found, first: int) -> Iterator[tuple[int, float, list[float]]]:
    """Yield class, score and corners of each box in pixels of the image, which are counted from ``first``."""
    height, width = found.image.shape[:2]
    corners = box_convert(found.boxes, "cxcywh", "xyxy") * found.boxes.new_tensor([width, height] * 2) + first
    corners[:, :2].clamp_(min=first)
    corners[:, 2:] = torch.minimum(corners[:, 2:], corners.new_tensor([width, height]))
    box, index = found.scores.nonzero(as_tuple=True)
    yield from zip(index.tolist(), found.scores[box, index].tolist(), corners[box].tolist(), strict=True)


def write_voc(found: Iterable[Found], names: Sequence[str], folder: Path, out: str | None) -> list[Path]:
    """Write a file for every class, with a line for each box: image, score and corners in pixels from 1."""
    prefix = "comp4_det_test_" if out is None else out
    files = [folder / f"{prefix}{name}.txt" for name in names]
    with ExitStack() as stack:
        streams = [stack.enter_context(_written(file)) for file in files]
        for each in found:
            image = each.path.name.partition(".")[0]
            for index, score, corners in _rows(each, 1):
                streams[index].write(f"{image} {score:f} " + " ".join(f"{x:f}" for x in corners) + "\n")
    return files


def write_coco(found: Iterable[Found], names: Sequence[str], folder: Path, out: str | None) -> list[Path]:
    """Write the list of boxes that COCO's tools read; an image's number is that behind the last _ of its name."""
    file = folder / f"{out or 'coco_results'}.json"
    with _written(file) as stream:
        stream.write("[\n")
        between = ""
        for each in found:
            number = re.match(r"[0-9]+", each.path.name.rpartition("_")[2])
            for index, score, (x1, y1, x2, y2) in _rows(each, 0):
                stream.write(
                    f'{between}{{"image_id":{int(number[0]) if number else 0}, "category_id":{COCO_IDS[index]}, '
                    f'"bbox":[{x1:f}, {y1:f}, {x2 - x1:f}, {y2 - y1:f}], "score":{score:f}}}'
                )
                between = ",\n"
        stream.write("\n]\n")
    return [file]


def write_imagenet(found: Iterable[Found], names: Sequence[str], folder: Path, out: str | None) -> list[Path]:
    """Write one file for all classes; images and classes are counted from 1."""
    file = folder / f"{out or 'imagenet-detection'}.txt"
    with _written(file) as stream:
        for number, each in enumerate(found, 1):
            for index, score, corners in _rows(each, 0):
                stream.write(f"{number} {index + 1} {score:f} " + " ".join(f"{x:f}" for x in corners) + "\n")
    return [file]


@contextmanager
def _written(file: Path) -> Iterator[IO[str]]:
    """Open a result for writing, beside its place: the one of before is replaced when the new one is whole."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", errors="surrogateescape") as stream:
            yield stream
        if file.is_file():
            print(f"{file} is replaced")
        draft.replace(file)
    except OSError as error:
        raise MachineError(f"{file}: cannot be written ({error.strerror}); choose another results folder") from error
    finally:
        draft.unlink(missing_ok=True)


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture ``(H, W, 3)``, blue first, in the format of its name, with the mark of this program in it.

    Raises:
        MachineError: If it cannot be written.
    """
    there, data = cv2.imencode(Path(path).suffix, picture)
    assert there, "the names of pictures are checked before"
    write_output(path, marked(data.tobytes()))
