"""Milliseconds an image of exported files at 416: ours beside torch, and beside Ultralytics on the same file.

Not a test: run it by hand, ``python tests/benchmarks/onnx_latency.py``. Everything is taken in turn, round by round, in
one process on the CPU, and only the ratios mean anything: nothing here says how fast a GPU is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_VERBOSE", "false")

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics import ASSETS, YOLO

from yolo_subbatch import Darknet
from yolo_subbatch.darknet import Network
from yolo_subbatch.engine import use_all_cores
from yolo_subbatch.export.candidate import rgb
from yolo_subbatch.export.infer import OnnxYolo, items_of
from yolo_subbatch.export.parity import sample_images

SIZE = 416


def settle(network: Network) -> None:
    """Give an untrained network statistics like a trained one's, so that its numbers stay in range."""
    torch.manual_seed(0)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    images = torch.from_numpy(rgb(sample_images(4, SIZE, SIZE)))
    with torch.no_grad():
        for _ in range(6):
            network(images)
    network.eval()
    quiet(network, images)


@torch.no_grad()
def quiet(network: Network, images: torch.Tensor, boxes: int = 30) -> None:
    """Lower the objectness until about so many boxes an image reach a confidence of 0.25, as of a trained network."""
    for _ in range(60):
        found = network.predictions(network(images))[:, 4:].amax(1)
        if (found > 0.25).sum() <= boxes * len(images):
            return
        for head, index in zip(network.heads, network.head_indices, strict=True):
            network.layers[index].conv.bias.view(len(head.anchors), -1)[:, 4] -= 0.5


def write_photos(folder: Path, count: int) -> None:
    """Write JPEG files of 1280 x 720."""
    photos = [cv2.imread(str(path)) for path in sorted(Path(ASSETS).glob("*.jpg"))]
    for index in range(count):
        image = cv2.resize(photos[index % len(photos)], (1280, 720))
        cv2.imwrite(str(folder / f"{index:03}.jpg"), np.roll(image, index * 8, 1))


def measured(
    ways: dict[str, Callable[[], object]], images: int, rounds: int, calls: int = 1, uncounted: int = 0
) -> dict[str, tuple[float, float]]:
    """Return least and median milliseconds an image of each way, taken in turn.

    The threads of the way before may still wait busily: where a call is short, the first ones are not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            for call in range(calls + uncounted):
                begin = time.perf_counter()
                way()
                if turn and call >= uncounted:  # the first round warms up
                    times[name].append((time.perf_counter() - begin) * 1000 / images)
    return {name: (min(each), statistics.median(each)) for name, each in times.items()}


def show(title: str, figures: dict[str, tuple[float, float]], ours: str) -> None:
    """Print a table; the ratio says how many times as long as ours, of the medians."""
    print(f"\n{title}\n{'':34}{'least':>9}{'median':>9}{'times ours':>12}")
    for name, (least, median) in figures.items():
        print(f"{name:34}{least:9.1f}{median:9.1f}{median / figures[ours][1]:12.2f}")


def compare(cfg: str, photos: Path, count: int, rounds: int, folder: Path) -> None:
    """Measure one network."""
    model = Darknet(cfg)
    settle(model.network)
    file = model.export(to=str(folder / f"{Path(cfg).stem}.onnx"), imgsz=SIZE, dynamic=True)
    one = OnnxYolo(file, "cpu", streams=1)
    batch = rgb(sample_images(1, SIZE, SIZE))
    tensor = torch.from_numpy(batch)
    network = model.network
    last = Darknet(cfg).network.eval()
    last.load_state_dict(network.state_dict())
    last.to(memory_format=torch.channels_last)
    use_all_cores(torch.device("cpu"))
    runner = one.runners.get()
    with torch.inference_mode():
        figures = measured(
            {
                "torch eager": lambda: network.predictions(network(tensor)),
                "torch eager, channels_last": lambda: last.predictions(
                    last(tensor.contiguous(memory_format=torch.channels_last))
                ),
                "this file in onnxruntime": lambda: runner.run(batch),
            },
            1,
            rounds,
            calls=5,
            uncounted=15,
        )
    show(f"{cfg}: the model alone", figures, "this file in onnxruntime")
    several, host = OnnxYolo(file, "cpu"), YOLO(file, task="detect")

    def ours(yolo: OnnxYolo) -> None:
        assert sum(1 for _ in yolo.stream(items_of(str(photos)))) == count

    def theirs() -> None:
        found = host.predict(str(photos), imgsz=SIZE, stream=True, verbose=False, device="cpu")
        assert sum(1 for _ in found) == count

    one.runners.put(runner)
    figures = measured({
        "YOLO('x.onnx').predict()": theirs, "infer streams=1": lambda: ours(one), "infer": lambda: ours(several),
    }, count, rounds)  # fmt: skip
    show(f"{cfg}: from JPEG files of 1280 x 720 to boxes", figures, "infer")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfgs", nargs="+", default=["yolov3-tiny.cfg", "yolov3.cfg"])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        write_photos(photos, given.images)
        for cfg in given.cfgs:
            compare(cfg, photos, given.images, given.rounds, Path(folder))


if __name__ == "__main__":
    main()
