"""OpenCV 4.10 in a place of its own: the last major version that reads Darknet's files, beside the newer one in use."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from yolo_subbatch.darknet import Network
from yolo_subbatch.darknet.sections import Region

RELEASE = "opencv-python-headless==4.10.*"
FOLDER = Path(sys.prefix) / "opencv4"  # where `make test` installs it

PROGRAM = """
import sys
import cv2, numpy
assert cv2.__version__.startswith("4.10."), cv2.__version__
for cfg, weights, images, found in zip(*[iter(sys.argv[1:])] * 4):
    net = cv2.dnn.readNetFromDarknet(cfg, weights)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setInput(numpy.load(images))
    names = [each for each in net.getLayerNames() if net.getLayer(each).type == "Region"]
    outputs = net.forward(names or net.getUnconnectedOutLayersNames())
    numpy.savez(found, *outputs)
"""


def folder() -> Path:
    """Return where it is installed; installs it, and skips the test only where the package index is out of reach."""
    if not (FOLDER / "cv2").is_dir():
        with tempfile.TemporaryDirectory(dir=FOLDER.parent) as made:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            done = subprocess.run([*pip, "--target", f"{made}/opencv4", RELEASE], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"OpenCV 4.10 cannot be installed: {done.stderr.strip()[-200:]}")
            Path(made, "opencv4").rename(FOLDER)
    return FOLDER


def run(*nets: tuple[Path, Path, np.ndarray]) -> list[list[np.ndarray]]:
    """Open each cfg with its weights, and return what its heads (without one, its last layers) give for an image.

    Args:
        nets: A cfg, its weights, and the image as ``(1, channels, height, width)``.

    Returns:
        For each net an array a head: a detection head's is ``(boxes, 5 + classes)``, centre x, centre y, width and
        height as shares of the image, objectness, and each class's score times objectness where that is above 0.2.
    """
    with tempfile.TemporaryDirectory() as made:
        words: list[str] = []
        for index, (cfg, weights, image) in enumerate(nets):
            np.save(f"{made}/{index}.npy", image.astype(np.float32))
            words += [str(cfg), str(weights), f"{made}/{index}.npy", f"{made}/{index}.npz"]
        environment = {**os.environ, "PYTHONPATH": str(folder())}
        done = subprocess.run([sys.executable, "-c", PROGRAM, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        found = []
        for index in range(len(nets)):
            with np.load(f"{made}/{index}.npz") as file:
                found.append([file[name] for name in file.files])
    return found


def assert_same(network: Network, image: torch.Tensor, outputs: list[np.ndarray]) -> None:
    """Compare what OpenCV gives for an image with what the network does."""
    with torch.no_grad():
        maps = network.eval()(image)
    if not network.cfg.heads:
        assert outputs[0].size == maps[0].numel()
        assert np.abs(outputs[0].ravel() - maps[0].numpy().ravel()).max() < 1e-3 * maps[0].abs().max()
        return
    assert len(outputs) == len(network.heads)
    height, width = image.shape[2:]
    for section, head, raw, found in zip(network.cfg.heads, network.heads, maps, outputs, strict=True):
        wanted = head.decode(raw)[0].numpy()
        assert found.shape == wanted.shape
        least = 0.2
        if isinstance(section, Region):  # OpenCV takes the threshold of the training for its own
            least = section.thresh if section.thresh != 0.5 else 0.001
            wanted = wanted.reshape(section.num, -1, section.values).swapaxes(0, 1).reshape(wanted.shape)
        scores = wanted[:, 5:] * wanted[:, 4:5]
        sure = np.abs(scores - least) > 2e-3  # at the threshold, rounding decides
        boxes = wanted[:, :4] / (width, height, width, height)
        assert np.abs(found[:, :2] - boxes[:, :2]).max() < 2e-3
        assert np.abs(found[:, 2:4] / boxes[:, 2:] - 1).max() < 0.02
        assert np.abs(found[:, 4] - wanted[:, 4]).max() < 2e-3
        if isinstance(section, Region):  # and it suppresses boxes here
            sure &= found[:, 5:] > 0
            assert (found[:, 5:] > 0).any() == (scores > least).any()
        assert np.abs(found[:, 5:] - np.where(scores > least, scores, 0))[sure].max(initial=0) < 2e-3
