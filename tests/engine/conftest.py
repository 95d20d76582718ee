"""A tiny network and a tiny data set, so that whole trainings take a second."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from yolo_subbatch import engine
from yolo_subbatch.built_in_data import Numbers, write_shapes

HEAD = """
[net]
batch=4
subdivisions=1
width=64
height=64
channels=3
momentum=0.9
decay=0.0005
learning_rate=0.001
burn_in=2
max_batches=100
policy=steps
steps=80,90
scales=.1,.1
hue=.1
saturation=1.5
exposure=1.5
"""
LAYERS = """
[convolutional]
{bn}filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
{bn}filters=16
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
{bn}filters=24
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=16
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=1,2
anchors=8,8, 16,16, 28,28
classes=3
num=3
jitter=.2
ignore_thresh=.7
truth_thresh=1
random=0

[route]
layers=2

[convolutional]
filters=8
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0
anchors=8,8, 16,16, 28,28
classes=3
num=3
jitter=.2
ignore_thresh=.7
truth_thresh=1
random=0
"""


#: A network of Ultralytics that is cut down, so that a training takes a second.
V8_YAML = """
nc: 3
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [[2, 3], 1, Detect, [nc]]
"""


def cfg_text(bn: bool = False) -> str:
    return HEAD + LAYERS.format(bn="batch_normalize=1\n" if bn else "")


@pytest.fixture(scope="module", autouse=True)
def without_waiting():
    """Leave out what takes most of the time of so small a training.

    That is one thread waiting for another, and Ultralytics' collecting of garbage among everything that was imported.
    """
    before = torch.get_num_threads()
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CPU_THREADS", 1)
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)
    gc.unfreeze()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """The .data file of 10 training and 4 validation images of 64 pixels."""
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", Numbers(10, 4, 64, 7))


@pytest.fixture
def cfg(tmp_path) -> Path:
    """A cfg without batch normalisation: the same weights for any number of sub-batches."""
    path = tmp_path / "tiny.cfg"
    path.write_text(cfg_text())
    return path


@pytest.fixture
def cfg_bn(tmp_path) -> Path:
    path = tmp_path / "tiny_bn.cfg"
    path.write_text(cfg_text(bn=True))
    return path
