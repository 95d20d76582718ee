"""A tiny network of Darknet with weights and data, in a folder in which the test works; the window without a screen."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from pathlib import Path

import pytest
import torch

from tests.engine.conftest import cfg_text
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.darknet import Network, read_cfg, save_weights


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``tiny.cfg``, ``tiny.weights`` and ``shapes``, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("tiny.cfg").write_text(cfg_text())
    torch.manual_seed(0)
    save_weights(Network(read_cfg("tiny.cfg")), Path("tiny.weights"))
    write_shapes(tmp_path / "shapes", Numbers(4, 2, 64, 7))
    return tmp_path
