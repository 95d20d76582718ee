"""What ``predict`` looks at: the same files, addresses and streams as ``infer``, in the form that Ultralytics takes.

Ultralytics itself chooses files by a list of endings, stores what addresses hold in the working directory, and knows no
addresses in lists.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from ultralytics.data.loaders import LoadImagesAndVideos, SourceTypes

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.picture_reading import fault_of, max_pixels
from yolo_subbatch.errors import DataError

#: The script that reads pictures without torch; it stands outside this folder, where type checkers do not find it.
infer: Any = import_module("yolo_subbatch.export.infer")

DOWNLOADS = 8  # at the same time
SCREEN = re.compile(r"screen( .*)?", re.IGNORECASE)


class Sources(LoadImagesAndVideos):
    """Gives Ultralytics' predictor pictures and videos that were chosen before.

    Args:
        pictures: Files.
        videos: Files or addresses.
        batch: Pictures at a time.
        vid_stride: Every how many frames of a video are looked at.
        channels: Of the network's input.

    Attributes:
        unread: Pictures that could not be read, with the reason.
        origin: Where a picture comes from that was fetched or linked to, by its file here.
    """

    source_type = SourceTypes()
    cap: Any

    def __init__(
        self, pictures: list[str], videos: list[str], batch: int = 1, vid_stride: int = 1, channels: int = 3
    ) -> None:
        self.unread: dict[str, str] = {}
        self.origin: dict[str, str] = {}
        self.fetched = TemporaryDirectory(prefix="yolo-subbatch-")
        addresses = [each for each in pictures if infer.is_address(each)]
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            files = dict(zip(addresses, pool.map(self._fetch, addresses, itertools.count()), strict=False))
        here = [files[each] if each in files else self._readable(each) for each in pictures]
        videos = [each if infer.is_address(each) else self._readable(each) for each in videos]
        self.files = [each for each in here if each is not None] + videos
        self.nf, self.ni = len(self.files), len(self.files) - len(videos)
        self.video_flag = [False] * self.ni + [True] * len(videos)
        self.mode = "image" if self.ni else "video"
        self.video: str | None = None  # that is open
        self.frame = 0  # of it
        self.bs, self.vid_stride, self.cap, self.count = batch, vid_stride, None, 0
        self.cv2_flag = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)

    def _readable(self, name: str) -> str:
        """Return the path of a file; one that is not in UTF-8, at which OpenCV ends the program, by way of a link."""
        path = os.path.abspath(name)
        data = os.fsencode(path)
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            folder = Path(self.fetched.name) / f"link{len(self.origin)}"
            folder.mkdir()
            link = folder / os.path.basename(data).decode("latin-1")
            link.symlink_to(path)
            self.origin[str(link)] = path
            return str(link)
        return path

    def _fetch(self, address: str, number: int) -> str | None:
        """Store what an address holds, under its own name; None where it does not answer."""
        try:
            data = infer.fetch(address)
        except infer.InferError as error:
            self.unread[address] = str(error)
            LOGGER.warning(f"warning: {error}")
            return None
        folder = Path(self.fetched.name) / str(number)
        folder.mkdir()
        name = Path(infer.plain_name(address)).stem[:100] or "image"
        ending = infer.ending_of(address)
        file = folder / f"{name}{ending if ending in infer.IMAGES else '.jpg'}"
        file.write_bytes(data)
        self.origin[str(file)] = address
        return str(file)

    def _append_image(
        self, paths: list[str], imgs: list[np.ndarray], info: list[str], path: str, im0: np.ndarray | None, idx: int
    ) -> None:
        """Take a picture ``(H, W, C)`` into the batch, or name it."""
        if im0 is not None:
            super()._append_image(paths, imgs, info, path, im0, idx)
            return
        name = self.origin.get(path, path)
        self._tell(name, "an image", name != path or Path(path).exists(), fault_of(path))

    def _tell(self, name: str, kind: str, there: bool, fault: str | None = None) -> None:
        found = (fault or f"cannot be read as {kind}") if there else "no such file"
        self.unread[name] = f"{name}: {found}"
        LOGGER.warning(f"warning: {self.unread[name]}")

    def __next__(self) -> tuple[list[str], list[np.ndarray], list[str]]:
        """Return the next batch of images with their paths and what is said of them."""
        try:
            found: tuple[list[str], list[np.ndarray], list[str]] = super().__next__()
        except StopIteration:
            self._end_video()
            raise
        return found

    def _end_video(self) -> None:
        """Name a video that gave no frame at all."""
        if self.video is not None and not self.frame:
            self._tell(self.origin.get(self.video, self.video), "a video", True)
        self.video = None

    def _new_video(self, path: str) -> None:
        """Open a video, or name it and go on."""
        self._end_video()
        self.frames = 0
        address = infer.is_address(path)
        try:
            if not address and not os.path.isfile(path):  # a pipe would be waited for
                raise FileNotFoundError(path)
            with infer.captured_log():  # OpenCV tells there how each of its libraries fails
                super()._new_video(path)
        except FileNotFoundError:
            self.cap = cv2.VideoCapture()  # none, which gives no frame
            self._tell(self.origin.get(path, path), "a video", address or Path(path).exists())
            return
        self.video = path
        pixels = self.cap.get(cv2.CAP_PROP_FRAME_WIDTH) * self.cap.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if pixels > max_pixels():
            self.cap.release()
            self.video = None
            fault = f"has frames of {pixels:.0f} pixels, more than max_pixels={max_pixels()}"
            self._tell(self.origin.get(path, path), "a video", True, fault)

    def close(self) -> None:
        """Release the video and remove what was fetched."""
        super().close()
        self.fetched.cleanup()


def sources_of(source: str, batch: int = 1, vid_stride: int = 1, channels: int = 3) -> Iterator[Any]:
    """Yield what Ultralytics' predictor is to go through, one after the other: pictures with videos, then streams.

    Raises:
        DataError: If there is nothing, or the one address that is named does not answer.
    """
    if SCREEN.fullmatch(source) and not Path(source).exists():
        yield source  # Ultralytics takes pictures of the screen
        return
    try:
        infer.check_source(source)
        names = [each for name in infer.find_files(source) for each in _expanded(name)]
        kinds = {name: _kind(name, len(names)) for name in names}
    except infer.InferError as error:
        raise DataError(str(error)) from error
    live = [name for name in names if kinds[name] == "live"]
    pictures, videos = ([name for name in names if kinds[name] == kind] for kind in ("picture", "video"))
    if pictures or videos:
        yield Sources(pictures, videos, batch, vid_stride, channels)
    if live == [source]:
        yield source
    elif live:
        with TemporaryDirectory(prefix="yolo-subbatch-") as folder:
            listed = Path(folder) / "all.streams"
            listed.write_text("\n".join(live), encoding="utf-8")
            yield str(listed)


def _expanded(name: str) -> list[str]:
    """Return the files of a folder or a pattern that a list names, as Ultralytics' lists may."""
    if "://" not in name and (Path(name).is_dir() or ("*" in name and glob.glob(name, recursive=True))):
        return list(infer.find_files(name))
    return [name]


def _kind(name: str, count: int) -> str:
    try:
        return str(infer.kind_of(name))
    except infer.InferError:
        if count == 1:
            raise
        return "picture"  # which is then named as one that cannot be read


def only_source(source: Any, batch: int, vid_stride: int, channels: int) -> Any:
    """Return what a call from Python names in the same way; streams, and what is no name, as it is.

    Raises:
        DataError: If there is nothing, or streams in a list where Ultralytics looks for none.
    """
    if not isinstance(source, (str, Path)):
        return source
    name = str(source)
    every = sources_of(name, batch, vid_stride, channels)
    first = next(every)
    if isinstance(first, Sources) and next(every, None) is None:
        return first
    if isinstance(first, Sources) or (first != name and not name.lower().endswith(".streams")):
        raise DataError(
            f"source={name}: names cameras or streams, which predict() takes from a .streams file of nothing else; "
            "give them in one, and pictures and videos in another list"
        )
    return source
