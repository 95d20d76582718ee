"""What a weights file is that does not fit its cfg: told from its size, or from its first bytes.

Source: the published files of pjreddie.com and AlexeyAB's releases; darknet ``partial`` in examples/darknet.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from yolo_subbatch.darknet.geometry import with_classes
from yolo_subbatch.darknet.report import HEADER_BYTES, weights_bytes
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.errors import CfgError

MOST_CLASSES = 100_000
CHANNELS = (1, 3, 4)  # others are so rare that a file cut off is likelier
AGAIN = "download it again"
#: How files begin that are none of Darknet's weights, and what to do.
BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of git-lfs, not the file itself", "fetch it with git lfs pull"),
    (b"<", "a web page that was saved in place of the weights", AGAIN),
    (b"{", "a text in JSON, as a server's answer", AGAIN),
    (b"PK\x03\x04", "a checkpoint of torch, or a ZIP archive", "give a .pt as model= instead of cfg=, or unpack it"),
    (b"\x80\x02", "an old checkpoint of torch", "give it as model= with the ending .pt"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it with unxz"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"[net]", "a cfg", "give it as cfg="),
    (b"\x89PNG", "a picture", "give the weights"),
    (b"\xff\xd8\xff", "a picture", "give the weights"),
)
#: Sizes in bytes of published weights, with the 64-bit count of images seen.
PUBLISHED = {
    248007048: "yolov3.weights", 252209544: "yolov3-spp.weights", 35434956: "yolov3-tiny.weights",
    257717640: "yolov4.weights", 24251276: "yolov4-tiny.weights", 203934264: "yolov2.weights",
    44948600: "yolov2-tiny.weights", 24967560: "yolov7-tiny.weights",
}  # fmt: skip
BACKBONES = {
    162482580: "darknet53.conv.74, the backbone of yolov3", 30973396: "yolov3-tiny.conv.15",
    6303188: "yolov3-tiny.conv.11", 170038676: "yolov4.conv.137", 19789716: "yolov4-tiny.conv.29",
    17843092: "yolov7-tiny.conv.87", 79327124: "darknet19_448.conv.23, the backbone of yolov2",
}  # fmt: skip


def foreign_file(data: bytes) -> str | None:
    """Return what a file is that begins like no weights of Darknet, and what to do; None where that is not known."""
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((f"{what}; {advice}" for begin, what, advice in BEGINNINGS if start.startswith(begin)), None)


def explain_size(cfg: Cfg, held: int) -> str | None:
    """Return what weights of another size than the cfg's are, and what to do; None where that is not known.

    Args:
        cfg: The network that was to get them.
        held: How many bytes the file holds behind its header.
    """
    if held % 4:
        return None
    size = HEADER_BYTES + held
    classes = _classes_of(cfg, size)
    if classes is not None:
        return _other_classes(cfg, classes)
    channels = explain_channels(cfg, held)
    if channels is not None:
        return channels
    if size in PUBLISHED:
        name = PUBLISHED[size]
        return f"has the size of the published {name}; give the cfg of that network, such as cfg={Path(name).stem}"
    if size in BACKBONES:
        found = f"has the size of {BACKBONES[size]}"
        return f"{found}, but {cfg.path} begins with other layers; give the backbone of its kind"
    return None


def explain_channels(cfg: Cfg, held: int) -> str | None:
    """Return that weights belong to the cfg with other channels, and what to do; None where they do not.

    Args:
        cfg: The network that was to get them.
        held: How many bytes the file holds behind its header.
    """
    size = HEADER_BYTES + held
    if size == weights_bytes(cfg) or _classes_of(cfg, size) is not None:
        return None
    channels = next((each for each in CHANNELS if each != cfg.net.channels and _with_channels(cfg, each) == size), None)
    if channels is not None:
        found = f"weights of a network for images of {channels} channel{'s' if channels > 1 else ''}"
        return f"{found}, but {cfg.path} has channels={cfg.net.channels}; give the cfg that belongs to them"
    return None


def _classes_of(cfg: Cfg, size: int) -> int | None:
    """Return the number of classes with which the cfg's weights would have a size."""
    try:
        one, two = (weights_bytes(with_classes(cfg, classes)) for classes in (1, 2))
    except CfgError:
        return None
    each = two - one
    if each <= 0 or size < one or (size - one) % each:
        return None
    classes = 1 + (size - one) // each
    own = {head.classes for head in cfg.heads}
    return classes if classes <= MOST_CLASSES and own != {classes} else None


def _other_classes(cfg: Cfg, classes: int) -> str:
    own = ", ".join(map(str, dict.fromkeys(head.classes for head in cfg.heads)))
    layers = next(_heads(cfg)) - 1  # up to the convolution before the first head
    name = f"{Path(cfg.path).stem}.conv.{layers}"
    partial = f"yolo-subbatch partial cfg={cfg.path} weights=FILE to={name} layers={layers}"
    return (
        f"weights of {classes} classes, but {cfg.path} has {own}; for a new head train from a backbone ({partial} "
        f"cuts one), or give the cfg with classes={classes} that belongs to them: heads are then rebuilt for the data"
    )


def _heads(cfg: Cfg) -> Iterator[int]:
    return (index for index, section in enumerate(cfg.sections) if section in cfg.heads)


def _with_channels(cfg: Cfg, channels: int) -> int:
    try:
        return weights_bytes(replace(cfg, net=replace(cfg.net, channels=channels)))
    except CfgError:
        return 0
