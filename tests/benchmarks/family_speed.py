"""Images per second of the family at 416, in training and in inference, as shares of a bare loop.

Not a test: run it by hand, ``python tests/benchmarks/family_speed.py``. Everything is taken in turn, round by round, in
one process on the CPU, and only the ratios within a network mean anything: nothing here says how fast a GPU is.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_VERBOSE", "false")

import torch
from torch import Tensor, nn

from yolo_subbatch import Darknet
from yolo_subbatch.built_in_data import NAMES, Numbers, write_shapes
from yolo_subbatch.darknet import Network, darknet_sgd, read_cfg, train_batch
from yolo_subbatch.darknet.geometry import layer_table, with_classes
from yolo_subbatch.darknet.parser import with_net
from yolo_subbatch.darknet.sections import Cfg, Convolutional, Maxpool, Route, Section, Shortcut, Upsample
from yolo_subbatch.engine import use_all_cores
from yolo_subbatch.export.infer import OnnxYolo
from yolo_subbatch.export.parity import rgb, sample_images
from yolo_subbatch.settings.find import find_cfg

SIZE = 416
NETWORKS = ("yolov3-tiny", "yolov4-tiny", "yolov7-tiny", "yolov4")
LARGE = frozenset({"yolov4", "yolov2", "yolov3", "yolov3-spp"})  # get half the images and fewer rounds
PARTS = 2  # sub-batches of an update inside the engine
LAST = torch.channels_last


class Plain(nn.Module):
    """A network of torch's own layers only, with the layers and sizes of a cfg; it returns the maps of the heads."""

    def __init__(self, cfg: Cfg) -> None:
        super().__init__()
        self.table = layer_table(cfg)
        self.layers = nn.ModuleList(plain(each.section, each.in_shape.channels) for each in self.table)
        self.heads = [index - 1 for index, each in enumerate(self.table) if each.section in cfg.heads]

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        for shape, layer in zip(self.table, self.layers, strict=True):
            inputs = [x if index < 0 else outputs[index] for index in shape.sources]
            if isinstance(shape.section, Shortcut):
                outputs.append(inputs[0] + inputs[1])
            elif isinstance(shape.section, Route):
                groups, wanted = shape.section.groups, shape.section.group_id
                parts = [each.chunk(groups, 1)[wanted] for each in inputs]
                outputs.append(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
            else:
                outputs.append(layer(inputs[0]))
        return [outputs[index] for index in self.heads]


def plain(section: Section, channels: int) -> nn.Module:
    """Return torch's own layer for a section that has one of its own."""
    if isinstance(section, Convolutional):
        bn = bool(section.batch_normalize)
        act = {"leaky": nn.LeakyReLU(0.1, True), "mish": nn.Mish(True), "logistic": nn.Sigmoid()}
        return nn.Sequential(
            nn.Conv2d(channels, section.filters, section.size, section.stride, section.size // 2, bias=not bn),
            nn.BatchNorm2d(section.filters) if bn else nn.Identity(),
            act.get(section.activation, nn.Identity()),
        )
    if isinstance(section, Maxpool):
        size = section.size or section.stride
        if size % 2 == 0 and section.stride == 1:
            return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(size, 1))
        return nn.MaxPool2d(size, section.stride, size // 2 if size % 2 else 0)
    return nn.Upsample(scale_factor=section.stride) if isinstance(section, Upsample) else nn.Identity()


def bare(network: nn.Module, images: Tensor) -> Callable[[], None]:
    """Forward, a sum, backward, an SGD step: what any training costs at least."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9, weight_decay=0.0005)

    def step() -> None:
        optimizer.zero_grad()
        sum(each.square().mean() for each in network(images)).backward()
        optimizer.step()

    return step


def in_turn(ways: dict[str, Callable[[], object]], rounds: int, warm: int = 1, rest: float = 0.0) -> dict[str, float]:
    """Return the median seconds of each way, one counted call of each a round; the first rounds warm up.

    With ``rest`` each has so many seconds and a call before it is counted: onnxruntime's threads still wait busily for
    a while after their work, and would slow down whoever comes next.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + warm):
        for name, way in ways.items():
            if rest:
                time.sleep(rest)
                way()
            begin = time.perf_counter()
            way()
            if number >= warm:
                taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in taken.items()}


def training(cfg: Cfg, images: int, rounds: int) -> dict[str, float]:
    """Return seconds of an update of so many images, without any loading."""
    pixels = torch.rand(images, 3, SIZE, SIZE).contiguous(memory_format=LAST)
    boxes = torch.tensor([[0, 0.5, 0.5, 0.3, 0.4], [1, 0.2, 0.3, 0.1, 0.1], [2, 0.7, 0.6, 0.2, 0.5]])
    truths = [boxes.clone() for _ in range(images)]
    trained, same = (Network(cfg).to(memory_format=LAST) for _ in range(2))
    own = Plain(cfg).to(memory_format=LAST)
    optimizer = darknet_sgd(trained)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # numbers stay in range, however many rounds
    return in_turn({
        "bare loop": bare(same, pixels), "bare loop, torch's own layers": bare(own, pixels),
        "train_batch": lambda: train_batch(trained, optimizer, pixels, truths),
    }, rounds)  # fmt: skip


def engine(name: str, images: int, updates: int) -> dict[str, float]:
    """Return seconds of a sub-batch inside Ultralytics' loop, and of a bare step taken after each, on as many classes.

    The loop reads and augments images, and computes loss, updates and events.
    """
    cfg = with_net(with_classes(read_cfg(find_cfg(name)), len(NAMES)), width=SIZE, height=SIZE)
    step = bare(Network(cfg).to(memory_format=LAST), torch.rand(images, 3, SIZE, SIZE).contiguous(memory_format=LAST))
    loop: list[float] = []
    steps: list[float] = []
    begin = 0.0

    def take_turns(trainer: object) -> None:
        nonlocal begin
        reached = time.perf_counter()
        step()
        steps.append(time.perf_counter() - reached)
        loop.append(reached - begin)
        begin = time.perf_counter()

    model = Darknet(f"{name}.cfg")
    model.add_callback("on_sub_batch_end", take_turns)
    with tempfile.TemporaryDirectory() as folder:
        data = write_shapes(Path(folder) / "shapes", Numbers(images * PARTS * (updates + 1), 2, SIZE, 3))
        model.train(
            data=str(data), imgsz=SIZE, batch=images * PARTS, subdivisions=PARTS, epochs=1, random=0, val=False,
            plots=False, project=str(Path(folder) / "runs"), device="cpu",
        )  # fmt: skip
    return {"bare loop": _by_update(steps), "the whole engine": _by_update(loop)}


def _by_update(times: list[float]) -> float:
    """Return the median over the updates but the first, which warms up, of the mean seconds of a sub-batch."""
    return statistics.median(statistics.mean(times[at : at + PARTS]) for at in range(PARTS, len(times), PARTS))


@torch.no_grad()
def settle(network: Network, boxes: int = 30) -> None:
    """Give an untrained network statistics like a trained one's, and about so many boxes of a confidence of 0.25."""
    images = torch.from_numpy(rgb(sample_images(4, SIZE, SIZE)))
    image = images[:1]
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    for each in norms:
        each.momentum = 1.0  # the statistics of these very images
    network.train()(images)
    for each in norms:
        each.momentum = 0.01
    network.eval()
    for raw, index in zip(network(image), network.head_indices, strict=True):
        network.layers[index].conv.weight /= 2 * raw.std()  # as a trained network's: no box is endless
    for _ in range(40):
        if (network.predictions(network(image))[:, 4:].amax(1) > 0.25).sum() <= boxes:
            return
        for head, index in zip(network.heads, network.head_indices, strict=True):
            network.layers[index].conv.bias.view(len(head.anchors), -1)[:, 4] -= 0.5


def inference(name: str, rounds: int) -> dict[str, float]:
    """Return seconds of one image, from pixels in memory; a bare forward pass has neither boxes nor suppression."""
    from ultralytics.utils.nms import non_max_suppression  # after our engine, which notes OMP_NUM_THREADS

    model = Darknet(f"{name}.cfg")
    settle(model.network)
    cfg = with_net(model.network.cfg, width=SIZE, height=SIZE)
    same, own = copy.deepcopy(model.network).to(memory_format=LAST), Plain(cfg).eval().to(memory_format=LAST)
    pictures = sample_images(1, SIZE, SIZE)
    pixels = torch.from_numpy(rgb(pictures)).contiguous(memory_format=LAST)
    with tempfile.TemporaryDirectory() as folder:
        file = OnnxYolo(model.export(to=str(Path(folder) / f"{name}.onnx"), imgsz=SIZE), "cpu", streams=1)
        fused = copy.deepcopy(model.model).eval().fuse().to(memory_format=LAST)
        with torch.inference_mode():
            use_all_cores(torch.device("cpu"))
            return in_turn({
                "bare forward": lambda: same(pixels), "bare forward, torch's own layers": lambda: own(pixels),
                "network, boxes, suppression": lambda: non_max_suppression(fused(pixels)[0], 0.25, 0.7),
                "Darknet.predict": lambda: model.predict(pictures[0], imgsz=SIZE, verbose=False, device="cpu"),
                "the exported file, with infer": lambda: file.detect([pictures[0]]),
            }, rounds, rest=0.2)  # fmt: skip


def show(title: str, images: int, seconds: dict[str, float]) -> None:
    """Print one table; the first way is the bare loop."""
    base = next(iter(seconds.values()))
    print(f"\n{title}, {images} image{'s' * (images > 1)} at a time")
    for way, each in seconds.items():
        print(f"  {way:34} {images / each:7.2f} images/s  {base / each:6.3f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--parts", nargs="+", default=["training", "engine", "inference"])
    given = parser.parse_args()
    use_all_cores(torch.device("cpu"))
    torch.manual_seed(0)
    for name in given.networks:
        share = 2 if name in LARGE else 1
        images, rounds = max(1, given.images // share), max(2, given.rounds // share)
        cfg = with_net(read_cfg(find_cfg(name)), width=SIZE, height=SIZE)
        if "training" in given.parts:
            show(f"{name}: training", images, training(cfg, images, rounds))
        if "engine" in given.parts:
            show(f"{name}: training inside Ultralytics' loop", images, engine(name, images, rounds))
        if "inference" in given.parts:
            show(f"{name}: inference", 1, inference(name, 3 * rounds))


if __name__ == "__main__":
    main()
