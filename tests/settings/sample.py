"""A small cfg and a small data set on disk, for tests that check input."""

from __future__ import annotations

import zipfile
from pathlib import Path

JPEG_HEAD = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
CFG = """
[net]
batch=8
subdivisions=2
width=64
height=64
channels=3
learning_rate=0.01
max_batches=20
policy=steps
steps=10
scales=.1

[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=10,14, 23,27
classes=2
num=2
"""


def write_cfg(folder: Path, *changes: tuple[str, str], name: str = "small.cfg") -> Path:
    """Write the sample cfg with some of its text replaced."""
    text = CFG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


def write_data(folder: Path, *, images: int = 3, labels: str = "0 .5 .5 .2 .2\n1 .3 .3 .1 .1\n") -> Path:
    """Write a Darknet data set of images, which only begin as such, with labels; return its .data file."""
    for split in ("train", "val"):
        place = folder / "images" / split
        place.mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(images):
            (place / f"{index}.jpg").write_bytes(JPEG_HEAD)
            (folder / "labels" / split / f"{index}.txt").write_text(labels)
        (folder / f"{split}.txt").write_text("".join(f"images/{split}/{index}.jpg\n" for index in range(images)))
    (folder / "obj.names").write_text("cat\ndog\n")
    path = folder / "obj.data"
    path.write_text("classes = 2\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\n")
    return path


def write_yaml(folder: Path) -> Path:
    """Write the same data set's Ultralytics description, after :func:`write_data`."""
    path = folder / "obj.yaml"
    path.write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return path


def write_checkpoint(path: Path, module: str = "yolo_subbatch.engine.model") -> Path:
    """Write something that looks like a checkpoint from outside."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", f"\x80\x02}}q\x00c{module}\nDarknetModel\n")
    return path
