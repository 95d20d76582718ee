"""Images per second of yolov3-tiny at 416: ``train_batch`` and the whole engine beside bare loops.

Not a test: run it by hand, ``python tests/benchmarks/training_speed.py``. Everything is taken in turn, round by round, in
one process, and only the ratios mean anything.
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

import torch
from torch import nn

from yolo_subbatch import Darknet
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.darknet import Network, darknet_sgd, read_cfg, train_batch
from yolo_subbatch.engine import use_all_cores
from yolo_subbatch.settings.find import find_cfg

SIZE, IMAGES = 416, 4
PARTS = 4  # sub-batches of an update inside the engine


class PlainTiny(nn.Module):
    """yolov3-tiny written with torch's own layers only."""

    def __init__(self, outputs: int = 255) -> None:
        super().__init__()

        def conv(before: int, after: int, size: int = 3) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(before, after, size, padding=size // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.1, True),
            )

        self.first = nn.Sequential(
            conv(3, 16), nn.MaxPool2d(2), conv(16, 32), nn.MaxPool2d(2), conv(32, 64), nn.MaxPool2d(2), conv(64, 128),
            nn.MaxPool2d(2), conv(128, 256),
        )  # fmt: skip
        self.second = nn.Sequential(
            nn.MaxPool2d(2),
            conv(256, 512),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.MaxPool2d(2, 1),
            conv(512, 1024),
            conv(1024, 256, 1),
        )
        self.large = nn.Sequential(conv(256, 512), nn.Conv2d(512, outputs, 1))
        self.turn = nn.Sequential(conv(256, 128, 1), nn.Upsample(scale_factor=2))
        self.small = nn.Sequential(conv(384, 256), nn.Conv2d(256, outputs, 1))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        middle = self.first(x)
        deep = self.second(middle)
        return [self.large(deep), self.small(torch.cat((self.turn(deep), middle), 1))]


def bare(network: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """Forward, a sum, backward, an SGD step: what any training costs at least."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9, weight_decay=0.0005)

    def step() -> None:
        optimizer.zero_grad()
        sum(each.square().mean() for each in network(images)).backward()
        optimizer.step()

    return step


def in_turn(folder: Path, updates: int, step: Callable[[], None]) -> tuple[float, float]:
    """Train inside Ultralytics' loop, with a bare step after every sub-batch.

    Returns:
        Images per second of the loop (reading, augmentation, loss, updates and events included) and of the bare steps.
    """
    data = write_shapes(folder / "shapes", Numbers(IMAGES * PARTS * (updates + 1), 2, SIZE, 3))
    model, loop, steps, begin = Darknet("yolov3-tiny.cfg"), [], [], 0.0

    def take_turns(trainer: object) -> None:
        nonlocal begin
        reached = time.perf_counter()
        step()
        steps.append(time.perf_counter() - reached)
        loop.append(reached - begin)
        begin = time.perf_counter()

    model.add_callback("on_sub_batch_end", take_turns)
    model.train(
        data=str(data), imgsz=SIZE, batch=IMAGES * PARTS, subdivisions=PARTS, epochs=1, random=0, val=False, plots=False,
        project=str(folder / "runs"), device="cpu",
    )  # fmt: skip
    return speed(by_update(loop)), speed(by_update(steps))


def by_update(times: list[float]) -> list[float]:
    """Return the mean seconds of a sub-batch for each update but the first, which warms up."""
    return [statistics.mean(times[start : start + PARTS]) for start in range(PARTS, len(times), PARTS)]


def speed(times: list[float]) -> float:
    """Return images per second."""
    return IMAGES / statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    use_all_cores(torch.device("cpu"))
    fast = torch.channels_last
    images = torch.rand(IMAGES, 3, SIZE, SIZE).contiguous(memory_format=fast)
    box = torch.tensor([[0, 0.5, 0.5, 0.3, 0.4], [1, 0.2, 0.3, 0.1, 0.1], [2, 0.7, 0.6, 0.2, 0.5]])
    truths = [box.clone() for _ in range(IMAGES)]
    cfg = read_cfg(find_cfg("yolov3-tiny.cfg"))
    trained, same = (Network(cfg).to(memory_format=fast) for _ in range(2))
    plain = PlainTiny().to(memory_format=fast)
    optimizer = darknet_sgd(trained)
    steps = {
        "bare loop, same network": bare(same, images),
        "bare loop, torch's own layers": bare(plain, images),
        "train_batch": lambda: train_batch(trained, optimizer, images, truths),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            if number >= 2:
                taken[name].append(time.perf_counter() - begin)
    base = speed(taken["bare loop, same network"])
    for name, times in taken.items():
        print(f"{name:32} {speed(times):6.2f} images/s  {speed(times) / base:.3f}")
    with tempfile.TemporaryDirectory() as folder:
        whole, beside = in_turn(Path(folder), rounds, steps["bare loop, same network"])
    print(f"{'bare loop, beside the engine':32} {beside:6.2f} images/s  1.000")
    print(f"{'the whole engine':32} {whole:6.2f} images/s  {whole / beside:.3f}")


if __name__ == "__main__":
    main()
