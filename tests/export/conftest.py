"""Small networks that find something, and the bundled ones with fewer filters."""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

os.environ.setdefault("YOLO_VERBOSE", "false")

from yolo_subbatch.darknet import Network, darknet_sgd, parse_cfg, read_cfg, save_weights, train_batch
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.export.candidate import rgb
from yolo_subbatch.export.parity import sample_images
from yolo_subbatch.settings.find import find_cfg

SQUARES = """
[net]
batch=16
width=64
height=64
channels=3
momentum=0.9
decay=0.0005
learning_rate=0.01

[convolutional]
batch_normalize=1
filters=12
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=24
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=1

[convolutional]
batch_normalize=1
filters=32
size=3
stride=1
pad=1
activation=leaky

[convolutional]
filters=14
size=1
stride=1
activation=linear

[yolo]
mask=0,1
anchors=14,14, 22,22
classes=2
num=2
"""


def slim(name: str, parts: int = 8, classes: int = 3) -> str:
    """Return a bundled cfg with a fraction of its filters, for other classes."""
    text = find_cfg(name).read_text()
    heads = re.sub(r"filters\s*=\s*255", "filters=HEAD", text)
    small = re.sub(r"filters\s*=\s*(\d+)", lambda found: f"filters={max(4, int(found[1]) // parts)}", heads)
    return re.sub(r"classes\s*=\s*80", f"classes={classes}", small.replace("HEAD", str(3 * (5 + classes))))


def settled(network: Network, size: int = 96) -> Network:
    """Give an untrained network batch statistics that keep its numbers in range, and weights that are not alike."""
    torch.manual_seed(0)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    images = torch.from_numpy(rgb(np.concatenate((sample_images(4, size, size), blocks(4, size, size)))))
    with torch.no_grad():
        for _ in range(8):
            network(images)
        network.eval()
        for raw, index in zip(network(images), network.head_indices, strict=True):
            network.layers[index].conv.weight /= 2 * raw.std()  # logits as a trained network has them
    return network


def blocks(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return bytes ``(B, H, W, 3)`` that differ from image to image, in squares of 8 pixels."""
    rng = np.random.default_rng([seed, batch, height, width])
    coarse = rng.integers(0, 256, (batch, -(-height // 8), -(-width // 8), 3))
    return coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width].astype(np.uint8)


@pytest.fixture(scope="session")
def networks() -> dict[str, Network]:
    """The bundled networks with few filters."""
    names = ("yolov3-tiny.cfg", "yolov3.cfg", "yolov3-spp.cfg")
    return {name: settled(Network(parse_cfg(slim(name), name))) for name in names}


def draw_squares(folder: Path, count: int, seed: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Draw bright squares of two colours, with their labels; return images ``(B, 3, 64, 64)`` and truths."""
    rng = np.random.default_rng(seed)
    images, truths = [], []
    folder.mkdir(parents=True)
    for index in range(count):
        image = rng.integers(0, 60, (64, 64, 3)).astype(np.uint8)
        rows = []
        for _ in range(int(rng.integers(1, 3))):
            kind, side = int(rng.integers(0, 2)), int(rng.integers(12, 25))
            x, y = (int(each) for each in rng.integers(0, 64 - side, 2))
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), ((240, 60, 40), (40, 220, 240))[kind], -1)
            rows.append([kind, (x + side / 2) / 64, (y + side / 2) / 64, side / 64, side / 64])
        cv2.imwrite(str(folder / f"{index:03}.png"), image)
        lines = (" ".join(f"{value:g}" for value in row) for row in rows)
        (folder / f"{index:03}.txt").write_text("".join(f"{line}\n" for line in lines))
        images.append(image)
        truths.append(torch.tensor(rows))
    return torch.from_numpy(rgb(np.stack(images))), truths


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``squares.cfg``, trained ``squares.weights`` and ``squares.data``."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "squares.cfg").write_text(SQUARES)
    images, truths = draw_squares(folder / "train", 96, 1)
    draw_squares(folder / "val", 32, 2)
    for split in ("train", "val"):
        (folder / f"{split}.txt").write_text(
            "".join(f"{split}/{each.name}\n" for each in sorted((folder / split).glob("*.png")))
        )
    (folder / "squares.names").write_text("blue\nyellow\n")
    (folder / "squares.data").write_text("classes=2\ntrain=train.txt\nvalid=val.txt\nnames=squares.names\n")
    torch.manual_seed(0)
    network = Network(read_cfg(folder / "squares.cfg"))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.1  # Darknet's 0.01 is for longer trainings
    optimizer = darknet_sgd(network)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(25):
        order = torch.randperm(len(images))
        for part in order.split(16):
            train_batch(network, optimizer, images[part], [truths[index] for index in part], max_norm=20.0)
    torch.set_num_threads(before)
    with (folder / "squares.weights").open("wb") as file:
        save_weights(network, file)
    return folder


@pytest.fixture
def trained(squares: Path) -> DarknetModel:
    """The trained network as Ultralytics takes it."""
    from yolo_subbatch.engine.model import load_darknet_weights

    model = load_darknet_weights(read_cfg(squares / "squares.cfg"), squares / "squares.weights")
    model.names = {0: "blue", 1: "yellow"}
    return model.eval()
