"""How a file that this program wrote is known again: by a mark in it, or by a form that nothing else has.

Pictures and videos get a mark where their format keeps room for remarks, so that every program still opens them. JSON,
anchors and boxes are known by their form. Weights have neither: one that exists may always be somebody's only copy.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from yolo_subbatch.darknet.weights_kinds import foreign_file

MARK = b"yolo-subbatch"
HEAD = 1 << 16  # bytes of a file that are looked at
PNG, PNG_HEAD = b"\x89PNG\r\n\x1a\n", 33  # up to the end of the chunk with its size
JPEG, COMMENT = b"\xff\xd8", b"\xff\xfe"
SCRIPT_TITLE = b"YOLO inference from an ONNX file"  # of export's inference script
TEXT = rb'"(?:[^"\\]|\\.)*"'
#: How the JSON files begin that the commands write: boxes, figures, frames of Darknet's -out, COCO's results.
JSON_BEGINS = re.compile(
    rb'\s*(?:\[\s*\]\s*\Z'
    rb'|\[\s*\{\s*"image":\s*' + TEXT + rb',\s*"width":\s*\d+,\s*"height":\s*\d+,'
    rb'|\[\s*\{\s*"frame_id":\s*\d+,\s*"filename":\s*' + TEXT + rb',\s*"objects":'
    rb'|\[\s*\{\s*"image_id":\s*\d+,\s*"category_id":\s*\d+,\s*"bbox":\s*\[[^\]]*\],\s*"score":'
    rb'|\{\s*"provider":\s*' + TEXT + rb',\s*"batch":\s*\d+,\s*"imgsz":)'
)  # fmt: skip
#: Keys that only figures have.
FIGURES = ((b'"task":', b'"split":', b'"data":', b'"classes":'), (b'"map":', b'"iou_thresh":', b'"points":'))
ANCHORS = re.compile(rb"\s*\d+(?:\.\d+)?\s*,\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)*\s*\Z")
COUNTERS = re.compile(rb"counters_per_class = [\d, ]*\s*\Z")
LABELS = re.compile(rb"(?:\d+(?: \d\.\d{4}){4}\n)*\Z")  # as -save_labels writes them
BOXES = re.compile(rb"(?:[^\n]+ \d+\.\d{6}(?: -?\d+\.\d{6}){4}\n)+\Z")


def is_ours(file: Path, kind: str) -> bool:
    """Tell whether this program wrote a file, as far as its content tells; one that cannot be read is none of ours.

    Args:
        file: A regular file; nothing is lost with an empty one.
        kind: What is going to be written there, a key of ``KNOWN``.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            stream.seek(max(0, size - 64))
            tail = stream.read(64)
    except OSError:
        return False
    return (size == 0 and kind != "weights") or KNOWN[kind](head, tail, size)


def _is_json(head: bytes, tail: bytes, size: int) -> bool:
    figures = head.lstrip().startswith(b"{") and any(all(key in head + tail for key in keys) for keys in FIGURES)
    return figures or JSON_BEGINS.match(head) is not None


def _is_boxes(head: bytes, tail: bytes, size: int) -> bool:
    whole = head[: head.rfind(b"\n") + 1] if size > len(head) else head
    return BOXES.match(whole) is not None


def _is_marked(head: bytes, tail: bytes, size: int) -> bool:
    """Tell whether a picture or a video holds the mark where :func:`marked` puts it."""
    if head.startswith(PNG):
        return head[PNG_HEAD:].startswith(_png_chunk()) or b"tEXtSoftware\0" + MARK in head
    if head.startswith(JPEG):
        return _jpeg_comment() in head[:HEAD]
    return tail.endswith(MARK)


def _is_weights(head: bytes, tail: bytes, size: int) -> bool:
    """Tell whether a file can be Darknet weights at all, as those in its backup folder are."""
    return size >= 16 and foreign_file(head[:64]) is None and struct.unpack("<i", head[:4])[0] in range(3)


#: By what is written: whether its first and last bytes and its size are those of a file of ours.
KNOWN: Mapping[str, Callable[[bytes, bytes, int], bool]] = {
    "json": _is_json,
    "onnx": lambda head, tail, size: MARK in head[:64],
    "anchors": lambda head, tail, size: size <= HEAD and ANCHORS.match(head) is not None,
    "counters": lambda head, tail, size: size <= HEAD and COUNTERS.match(head) is not None,
    "boxes": _is_boxes,
    "picture": _is_marked,
    "video": _is_marked,
    "script": lambda head, tail, size: SCRIPT_TITLE in head[:200],
    "labels": lambda head, tail, size: LABELS.match(head) is not None and size <= HEAD,
    "weights": lambda head, tail, size: False,
    "backup": _is_weights,
}


def mark(file: str | Path) -> None:
    """Put the mark into a picture or at the end of a video that has just been written.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(file)
    with path.open("r+b") as stream:
        begin = stream.read(16)
        if begin.startswith((PNG, JPEG)):
            data = marked(begin + stream.read())
            stream.seek(0)
            stream.write(data)
        elif begin:
            stream.seek(0, os.SEEK_END)
            stream.write(_end_of_video(begin))


def marked(picture: bytes) -> bytes:
    """Return an encoded PNG or JPEG with the mark in it."""
    if picture.startswith(PNG):
        return picture[:PNG_HEAD] + _png_chunk() + picture[PNG_HEAD:]
    place = len(JPEG)
    if picture[place : place + 2] == b"\xff\xe0":  # what names the format comes first
        place += 2 + int.from_bytes(picture[place + 2 : place + 4], "big")
    return picture[:place] + _jpeg_comment() + picture[place:]


def _png_chunk() -> bytes:
    content = b"tEXt" + b"Software\0" + MARK
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def _jpeg_comment() -> bytes:
    return COMMENT + struct.pack(">H", len(MARK) + 2) + MARK


def _end_of_video(begin: bytes) -> bytes:
    """Return what players pass over at the end of a file: a chunk of junk in AVI, a free box in MP4."""
    if begin.startswith(b"RIFF"):
        content = b" " + MARK  # of an even length
        return b"JUNK" + struct.pack("<I", len(content)) + content
    return struct.pack(">I", 8 + len(MARK)) + b"free" + MARK
