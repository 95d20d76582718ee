"""The bundled networks of the family against numbers that are public: what Darknet prints, bytes of published weights.

Darknet prints ``Total BFLOPS`` and ``avg_outputs``, the mean size of the layers' outputs, when it opens a cfg. The
numbers are from logs that users published with their questions and notes.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import pytest
import torch

from yolo_subbatch.cli import main
from yolo_subbatch.darknet import Network, load_weights, read_cfg, save_weights
from yolo_subbatch.darknet.geometry import layer_table, with_classes
from yolo_subbatch.darknet.parser import with_net
from yolo_subbatch.darknet.report import flops, layer_rows, parameter_count, weights_bytes
from yolo_subbatch.darknet.sections import Cfg, Region
from yolo_subbatch.settings.find import bundled_cfgs, find_cfg

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Known:
    """What is known of a network; ``heads`` are index and stride, ``bflops`` by the side of the input."""

    layers: int
    file_bytes: int
    flavour: str
    size: int
    heads: tuple[tuple[int, int], ...]
    bflops: dict[int, float]


FAMILY = {
    "yolov2-tiny": Known(16, 44_948_600, "pjreddie", 416, ((15, 32),), {}),
    # The published file has the older header of 16 bytes, 203,934,260 in all.
    "yolov2": Known(32, 203_934_264, "pjreddie", 608, ((31, 32),), {416: 29.475}),
    "yolov4-tiny": Known(38, 24_251_276, "alexeyab", 416, ((30, 32), (37, 16)), {416: 6.910}),
    "yolov4": Known(
        162, 257_717_640, "alexeyab", 608, ((139, 8), (150, 16), (161, 32)),
        {416: 60.1, 512: 91.1, 608: 128.459},
    ),
    "yolov7-tiny": Known(99, 24_967_560, "alexeyab", 416, ((90, 8), (94, 16), (98, 32)), {416: 5.8}),
}  # fmt: skip


def cfg_of(name: str) -> Cfg:
    return read_cfg(find_cfg(name))


def mean_output(cfg: Cfg, size: int) -> int:
    """Return Darknet's ``avg_outputs``."""
    sizes = [math.prod(layer.out_shape) for layer in layer_table(cfg, size, size)]
    return sum(sizes) // len(sizes)


@pytest.fixture(params=FAMILY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_layers_bytes_and_flavour(name: str) -> None:
    cfg, known = cfg_of(name), FAMILY[name]
    assert len(layer_table(cfg)) == known.layers
    assert weights_bytes(cfg) == known.file_bytes
    assert cfg.flavour() == known.flavour
    assert (cfg.net.width, cfg.net.height, cfg.net.channels) == (known.size, known.size, 3)


def test_bflops_as_darknet_prints_them(name: str) -> None:
    for size, wanted in FAMILY[name].bflops.items():
        digits = len(str(wanted).partition(".")[2])
        assert round(flops(layer_table(cfg_of(name), size, size)) / 1e9, digits) == wanted


@pytest.mark.parametrize(("name", "size", "wanted"), [("yolov2", 608, 62.94), ("yolov2-tiny", 416, 5.41)])
def test_bflops_of_the_convolutions_alone(name: str, size: int, wanted: float) -> None:
    """The numbers of YOLOv2's own page leave the other layers out."""
    rows = layer_rows(cfg_of(name), size, size)
    assert round(sum(row.bflops for row in rows if row.kind == "conv"), 2) == wanted


@pytest.mark.parametrize(("name", "size", "wanted"), [("yolov4-tiny", 416, 310_203), ("yolov4", 608, 1_068_395)])
def test_every_output_has_the_size_that_darknet_counts(name: str, size: int, wanted: int) -> None:
    assert mean_output(cfg_of(name), size) == wanted


def test_yolov7_tiny_with_four_classes() -> None:
    """The one published log that gives this network's sums is of a user's own four classes."""
    cfg = with_classes(cfg_of("yolov7-tiny"), 4)
    assert mean_output(cfg, 416) == 166_033
    assert round(flops(layer_table(cfg, 416, 416)) / 1e9, 3) == 5.525


def test_yolov4_has_the_parameters_that_are_published() -> None:
    assert parameter_count(cfg_of("yolov4")) == 64_363_101


def test_heads(name: str) -> None:
    cfg, known = cfg_of(name), FAMILY[name]
    heads = [layer for layer in layer_table(cfg, 416, 416) if layer.section in cfg.heads]
    assert [(layer.index, layer.stride) for layer in heads] == list(known.heads)
    assert all(layer.section.classes == 80 for layer in heads if hasattr(layer.section, "classes"))
    channels = 425 if isinstance(cfg.heads[0], Region) else 255
    assert [tuple(layer.out_shape) for layer in heads] == [(channels, 416 // s, 416 // s) for _, s in known.heads]


@pytest.mark.parametrize(("name", "used"), [("yolov2", 5), ("yolov4", 9), ("yolov4-tiny", 5), ("yolov7-tiny", 9)])
def test_every_anchor_has_a_head_but_one(name: str, used: int) -> None:
    """yolov4-tiny's smallest anchor is used by no head, in the published weights too."""
    selected = [index for head in cfg_of(name).heads for index in head.selected]
    assert len(set(selected)) == used
    assert (0 in selected) == (name != "yolov4-tiny")


def test_the_network_gives_the_sizes_of_the_table(name: str) -> None:
    cfg = with_net(cfg_of(name), width=96, height=64)
    with torch.device("meta"), torch.no_grad():  # sizes without numbers
        network = Network(cfg).eval()
        outputs = network.layer_outputs(torch.zeros(1, 3, 64, 96))
    assert [tuple(output.shape[1:]) for output in outputs] == [tuple(layer.out_shape) for layer in layer_table(cfg)]


@pytest.mark.parametrize("name", ["yolov2-tiny", "yolov4-tiny", "yolov7-tiny"])
def test_a_small_one_learns_and_its_weights_come_back(name: str) -> None:
    torch.manual_seed(0)
    cfg = with_net(cfg_of(name), width=64, height=64)
    network = Network(cfg)
    images = torch.rand(2, 3, 64, 64)
    losses = network.loss(network(images), [torch.tensor([[3, 0.5, 0.5, 0.4, 0.3]]), torch.zeros(0, 5)])
    losses.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    file = io.BytesIO()
    save_weights(network, file)
    assert len(file.getvalue()) == FAMILY[name].file_bytes
    again = Network(cfg)
    load_weights(again, io.BytesIO(file.getvalue()))
    with torch.no_grad():
        found, wanted = again.eval()(images), network.eval()(images)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("file", bundled_cfgs())
def test_every_bundled_cfg_is_found_by_name(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    stem = file.removesuffix(".cfg")
    assert find_cfg(stem) == find_cfg(file)
    assert main(["info", f"cfg={stem}"]) == 0
    cfg = cfg_of(stem)
    output = capsys.readouterr().out
    assert f"weights file: {weights_bytes(cfg):,} bytes" in output
    assert f"\n{len(cfg.sections) - 1:5}   " in output


def test_info_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "cfg=none-of-them"]) == 2
    message = capsys.readouterr().err
    assert all(f"{file}" in message for file in bundled_cfgs())
    assert {f"{each}.cfg" for each in FAMILY} <= set(bundled_cfgs())
