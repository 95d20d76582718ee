"""Darknet's ``detector demo``: what a network finds in a video or a camera's pictures, shown live or written.

Source: darknet ``demo`` in src/demo.c (AlexeyAB).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolo_subbatch.darknet.textfile import in_utf8
from yolo_subbatch.engine.darknet_detections import Detector
from yolo_subbatch.engine.detector_commands import drawn, frame, lines, names_for
from yolo_subbatch.engine.result_files import write_picture
from yolo_subbatch.engine.sources import infer
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings.commands import PredictSettings
from yolo_subbatch.settings.file_marks import mark
from yolo_subbatch.settings.output_checks import place_fault, write_json
from yolo_subbatch.settings.result_names import VIDEO, frames_name, has_screen

WINDOW = "Demo"
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v"}  # others get Motion JPEG
USUAL_RATE = 25.0  # frames per second, of a camera that does not say
ESCAPE = 27


@dataclass(frozen=True)
class Show:
    """What becomes of the frames: ``out`` and ``prefix`` name files, ``live`` is a window where there is a screen."""

    live: bool = True
    out: str | None = None
    prefix: str | None = None
    boxes: bool = True
    ext_output: bool = False
    seconds: float | None = None


def run_video(settings: PredictSettings, data: str, show: Show) -> int:
    """Find objects in every frame of a video or a camera, print them, and show or write the frames.

    Ctrl+C keeps what was written until then, and is the usual end of a camera.

    Returns:
        The number of frames.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    source = settings.source or "0"
    for name in (source, show.out, show.prefix):
        if name is not None and not in_utf8(name):
            raise DataError(f"{name}: a name that is not in UTF-8, with which OpenCV cannot deal; rename it")
    detector = Detector(settings)
    names = names_for(detector, data)
    live = show.live and has_screen()
    out = show.out or (None if live or show.prefix else VIDEO)
    found_in: list[dict[str, Any]] = []
    writer: _Writer | None = None
    begin, count, interrupted = time.monotonic(), 0, False
    try:
        for count, (image, rate) in enumerate(_frames(source), 1):
            found = detector.suppress(detector.look(image, settings.conf), settings.iou)
            print(f"\nFPS:{count / max(1e-9, time.monotonic() - begin):.1f}\nObjects:\n")
            print("".join(lines(found, names, settings.conf, show.ext_output)), end="", flush=True)
            picture = drawn(replace(found, image=image), names) if show.boxes else image
            if settings.json:
                found_in.append(frame(found, names, count))
            if show.prefix:
                write_picture(frames_name(show.prefix, count - 1), picture)
            if live:
                live = _shown(picture)
                out = out if live or show.prefix else out or VIDEO
            if out:
                writer = writer or _Writer(Path(out), picture, rate)
                writer.write(picture)
            if (show.seconds and time.monotonic() - begin >= show.seconds) or _ended(live):
                break
    except KeyboardInterrupt:
        interrupted = True  # a camera ends in no other way
    finally:
        if writer:
            writer.close()
        if settings.json and count:
            write_json(settings.json, found_in)
    if interrupted and not infer.is_live(source):
        raise KeyboardInterrupt
    if not count and not interrupted:
        raise DataError(f"{source}: no frame can be read; give a video, or the number of a camera")
    return count


def _shown(picture: np.ndarray) -> bool:
    """Show a frame; False where OpenCV was built without windows."""
    try:
        cv2.imshow(WINDOW, picture)
    except cv2.error:
        return False
    return True


def _ended(live: bool) -> bool:
    """Tell whether the user ends it with the escape key."""
    return live and cv2.waitKey(1) & 0xFF == ESCAPE


def _frames(source: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield each frame ``(H, W, 3)``, blue first, with the frames per second."""
    capture = cv2.VideoCapture(int(source) if infer.is_camera(source) else source)
    try:
        if not capture.isOpened():
            what = f"camera {source}" if infer.is_camera(source) else source
            raise DataError(f"{what}: cannot be opened; give a video, or the number of a camera with -c")
        rate = capture.get(cv2.CAP_PROP_FPS)
        while True:
            there, image = capture.read()
            if not there:
                return
            yield image, rate if 0 < rate < 1000 else USUAL_RATE
    finally:
        capture.release()


class _Writer:
    """Writes a video; the one of before is replaced."""

    def __init__(self, file: Path, picture: np.ndarray, rate: float) -> None:
        self.file, self.replaced = file, file.is_file()
        fault = place_fault(file)
        if fault is not None:
            raise DataError(f"{file}: {fault}")
        code = cv2.VideoWriter.fourcc(*CODECS.get(file.suffix.lower(), "MJPG"))
        self.writer = cv2.VideoWriter(str(file), code, rate, picture.shape[1::-1])
        if not self.writer.isOpened():
            raise DataError(f"{file}: cannot be written as a video; give a name that ends in .avi or .mp4")

    def write(self, picture: np.ndarray) -> None:
        self.writer.write(picture)

    def close(self) -> None:
        self.writer.release()
        mark(self.file)
        print(f"{self.file} {'replaced' if self.replaced else 'written'}")
