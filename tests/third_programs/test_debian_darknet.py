"""Darknet itself opens what we write, finds in images what we find, and its weights come back to us."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.test_every_cfg import settled
from tests.third_programs.debian_darknet import darknet, found, needs_darknet
from yolo_subbatch import cli
from yolo_subbatch.darknet import Network, parse_cfg, read_cfg, save_weights
from yolo_subbatch.darknet.parser import with_net, write_cfg
from yolo_subbatch.settings.find import find_cfg

pytestmark = [pytest.mark.usefixtures("one_thread"), needs_darknet]

V2 = """
[net]
width=96
height=96
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[maxpool]
stride=2
[convolutional]
filters=16
size=3
pad=1
activation=leaky
[convolutional]
filters=16
activation=leaky
[shortcut]
from=-2
activation=leaky
[route]
layers=-1
[reorg]
stride=2
[upsample]
[maxpool]
size=2
[route]
layers=-1,1
[convolutional]
filters=16
size=3
stride=3
pad=1
[convolutional]
filters=16
activation=linear
[region]
anchors=1,1, 2,3
classes=3
num=2
softmax=1
"""
NAMES = ("circle", "square", "triangle")
HEIGHTS = (96, 120, 205, 211, 446)  # of 211 and 446 Darknet loses the last row on the way to 96
CLOSE = (1e-3, 0.5, 0.5, 0.5, 0.5)  # score, pixels


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with images and a data file."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for height in HEIGHTS:
        small = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        picture = cv2.resize(small, (160, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(f"{height}.png", picture)
    Path("list.txt").write_text("".join(f"{tmp_path / str(height)}.png\n" for height in HEIGHTS))
    Path("x.names").write_text("\n".join(NAMES) + "\n")
    Path("x.data").write_text("classes=3\nvalid=list.txt\nnames=x.names\nresults=theirs\n")
    Path("ours.data").write_text("classes=3\nvalid=list.txt\nnames=x.names\nresults=ours\n")
    Path("theirs").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["shapes", "v2"])
def test_darknet_finds_the_same(place: Path, name: str) -> None:
    cfg = with_net(read_cfg(find_cfg("shapes")), width=96, height=96) if name == "shapes" else parse_cfg(V2)
    torch.manual_seed(0)
    network = Network(cfg)
    settled(network, torch.rand(2, 3, 96, 96))
    Path("net.cfg").write_text(write_cfg(network.cfg))
    save_weights(network, "net.weights", seen=77)
    darknet(place, "detector", "valid", "x.data", "net.cfg", "net.weights")
    assert cli.main("detector valid ours.data net.cfg net.weights -letter_box".split()) == 0
    theirs, ours = found(place / "theirs"), found(place / "ours")
    count = sum(map(len, theirs.values()))
    assert count > 50
    assert abs(sum(map(len, ours.values())) - count) <= count // 50, "rounding may decide what suppresses what"
    far = 0
    for key, rows in theirs.items():
        apart = np.abs(np.array(rows)[:, None] - np.array(ours[key])[None]) / CLOSE  # (theirs, ours, 5)
        far += int((apart.max(2).min(1) > 1).sum())
    assert far <= count // 50
