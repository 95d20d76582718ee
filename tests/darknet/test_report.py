"""The layer table and the totals against numbers counted by hand, and against published ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo_subbatch.darknet import Network, parse_cfg, read_cfg
from yolo_subbatch.darknet.geometry import layer_table
from yolo_subbatch.darknet.parser import with_net
from yolo_subbatch.darknet.report import (
    LayerRow,
    flops,
    layer_report,
    layer_rows,
    parameter_count,
    training_bytes,
    weights_bytes,
)
from yolo_subbatch.errors import CfgError

FOLDER = Path(__file__).parents[2] / "cfg"

# One of each kind of layer; the comments give width x height x channels of the output.
SMALL = """\
[net]
width=320
height=160
channels=3
batch=64
subdivisions=16
[convolutional]
# 320 x 160 x 16
batch_normalize=1
filters=16
size=3
pad=1
[maxpool]
# 160 x 80 x 16
size=2
stride=2
[convolutional]
# 160 x 80 x 32
filters=32
size=3
pad=1
groups=4
[convolutional]
# 160 x 80 x 32
filters=32
[shortcut]
# 160 x 80 x 32
from=-2
[route]
# 160 x 80 x 24
layers=-1,1
groups=2
[convolutional]
# 80 x 40 x 8
filters=8
stride=2
[reorg]
# 40 x 20 x 32
stride=2
[upsample]
# 80 x 40 x 32
[upsample]
# 40 x 20 x 32
stride=-2
[convolutional]
# 20 x 10 x 14
filters=14
size=2
stride=2
[yolo]
# 20 x 10 x 14
mask=0,2
num=3
anchors=10,14, 23,27, 37.5,58
classes=2
[avgpool]
# 1 x 1 x 14
"""
CONVOLUTIONS = {  # operations of one image: two per multiplication
    0: 2 * (3 * 3 * 3) * 16 * 320 * 160,
    2: 2 * (3 * 3 * 16 // 4) * 32 * 160 * 80,
    3: 2 * 32 * 32 * 160 * 80,
    6: 2 * 24 * 8 * 80 * 40,
    10: 2 * (2 * 2 * 32) * 14 * 20 * 10,
}
OTHERS = {1: 2 * 2 * 16 * 160 * 80, 4: 32 * 160 * 80}  # comparisons of the max-pool, additions of the shortcut
TOTAL = 44_236_800 + 819_200 + 29_491_200 + 26_214_400 + 409_600 + 1_228_800 + 716_800


@pytest.fixture(scope="module")
def small():
    return parse_cfg(SMALL, "small.cfg")


def rows(text: str) -> list[str]:
    """Return the lines of the layer table, without its header."""
    return text.split("\n\n")[0].splitlines()[1:]


def test_the_columns(small):
    header, *table = layer_report(small).split("\n\n")[0].splitlines()
    assert header.split() == ["layer", "kind", "filters", "size/strd", "input", "output", "BFLOPs"]
    assert len(table) == len(small.sections)
    assert [line.split() for line in table] == [
        line.split()
        for line in (
            "0 conv 16 3 x 3 / 1 320 x 160 x 3 320 x 160 x 16 0.044",
            "1 max 2 x 2 / 2 320 x 160 x 16 160 x 80 x 16 0.001",
            "2 conv 32 3 x 3 / 1 160 x 80 x 16 160 x 80 x 32 0.029",
            "3 conv 32 1 x 1 / 1 160 x 80 x 32 160 x 80 x 32 0.026",
            "4 shortcut + 2 160 x 80 x 32",
            "5 route 4 1 1/2 160 x 80 x 24",
            "6 conv 8 1 x 1 / 2 160 x 80 x 24 80 x 40 x 8 0.001",
            "7 reorg / 2 80 x 40 x 8 40 x 20 x 32",
            "8 upsample 2x 40 x 20 x 32 80 x 40 x 32",
            "9 upsample 1/2x 80 x 40 x 32 40 x 20 x 32",
            "10 conv 14 2 x 2 / 2 40 x 20 x 32 20 x 10 x 14 0.001",
            "11 yolo 20 x 10 x 14 20 x 10 x 14",
            "12 avg 20 x 10 x 14 1 x 1 x 14",
        )
    ]


def test_the_columns_stand_under_their_names(small):
    header, *table = layer_report(small).split("\n\n")[0].splitlines()
    for line in table:
        assert line[header.index("kind") - 1] == " "
        assert line[header.index("kind")] != " "
        assert line[header.index("output") - 1] == " "
        assert " x" in line[header.index("output") :]
        assert line == line.rstrip()


def test_the_operations_of_each_layer(small):
    table = layer_table(small)
    counted = {layer.index: flops([layer]) for layer in table}
    assert {index: count for index, count in counted.items() if count} == {**CONVOLUTIONS, **OTHERS}
    assert flops(table) == sum(CONVOLUTIONS.values()) + sum(OTHERS.values()) == TOTAL


def test_the_totals(small):
    # convolution weights, and a bias each; the first also has scales, and in its file a mean and a variance
    trained = (3 * 9 * 16 + 32) + (4 * 9 * 32 + 32) + (32 * 32 + 32) + (24 * 8 + 8) + (32 * 4 * 14 + 14)
    assert trained == 4_710
    assert layer_report(small).split("\n\n")[1].splitlines() == [
        "head 11: 2 classes, stride 16, anchors 10,14  37.5,58",
        "parameters: 4,710",
        "BFLOPs per image: 0.103",
        f"weights file: {20 + 4 * (4_710 + 32):,} bytes",
        "batch 64 / subdivisions 16 = 4 images per sub-batch",
    ]
    assert parameter_count(small) == trained
    assert weights_bytes(small) == 20 + 4 * (trained + 32)


def test_the_rows_are_the_lines(small):
    found = layer_rows(small)
    assert found[0] == LayerRow(0, "conv", "16", "3 x 3 / 1", " 320 x 160 x   3", " 320 x 160 x  16", 0.0442368, 464)
    assert found[5] == LayerRow(5, "route", "", "", "4 1 1/2", " 160 x  80 x  24", 0.0, 0)
    assert [row.parameters for row in found] == [464, 0, 1_184, 1_056, 0, 0, 200, 0, 0, 0, 1_806, 0, 0]
    for row, line in zip(found, rows(layer_report(small)), strict=True):
        cells = (row.index, row.kind, row.filters, row.kernel, row.source, row.output)
        told = " ".join(map(str, cells)).split()
        assert line.split()[: len(told)] == told
    assert layer_rows(small, width=160, height=320) == layer_rows(with_net(small, width=160, height=320))


# Numbers of one image that the backward pass needs, layer by layer.
KEPT = (
    2 * 16 * 320 * 160,  # before and after batch normalisation
    3 * 16 * 160 * 80,  # the output, and a place in 64 bits for each
    32 * 160 * 80,
    32 * 160 * 80,
    32 * 160 * 80,
    24 * 160 * 80,
    8 * 80 * 40,
    32 * 40 * 20,
    32 * 80 * 40,
    32 * 40 * 20,
    14 * 20 * 10,
    0,  # the head
    14,
)


def test_the_memory_of_a_training(small):
    weights = 3 * 4_710  # with gradient and momentum
    assert sum(KEPT) == 3_970_814
    assert training_bytes(small, 1) == 4 * (weights + 3_970_814)
    assert training_bytes(small, 4) == 4 * (weights + 4 * 3_970_814)
    assert training_bytes(small, 0) == 4 * weights
    per_image = training_bytes(small, 1) - 4 * weights
    average = 4 * KEPT[-1]  # as large for any input
    larger = training_bytes(small, 1, width=640, height=320) - 4 * weights
    assert larger - average == 4 * (per_image - average)


def test_the_memory_of_a_network_that_does_not_fit(small):
    with pytest.raises(CfgError, match=r"^small\.cfg:\d+: "):
        training_bytes(small, 1, width=330)


def test_the_parameters_are_the_networks(small):
    assert parameter_count(small) == sum(each.numel() for each in Network(small).parameters())


@pytest.mark.parametrize(
    ("batch", "subdivisions", "line"),
    [
        (None, None, "batch 64 / subdivisions 16 = 4 images per sub-batch"),
        (None, 64, "batch 64 / subdivisions 64 = 1 image per sub-batch"),
        (8, 1, "batch 8 / subdivisions 1 = 8 images per sub-batch"),
        (10, 4, "batch 10 / subdivisions 4 = 2.5 images per sub-batch"),
    ],
)
def test_the_images_of_a_sub_batch(small, batch, subdivisions, line):
    assert layer_report(small, batch=batch, subdivisions=subdivisions).splitlines()[-1] == line


def test_another_input_size(small):
    changed = layer_report(small, width=160, height=320)
    assert changed == layer_report(with_net(small, width=160, height=320))
    assert rows(changed)[0].split()[8:] == "160 x 320 x 3 160 x 320 x 16 0.044".split()
    assert "weights file: 18,988 bytes" in changed


@pytest.mark.parametrize(("title", "name"), [("conv", "1 x 1 / 2x1"), ("maxpool", "1 x 1 / 2x1")])
def test_strides_that_differ(title, name):
    """Across before down, as the sizes are."""
    text = layer_report(parse_cfg(f"[net]\nwidth=32\nheight=16\nchannels=3\n[{title}]\nstride_x=2\nsize=1\n"))
    assert name in rows(text)[0]
    assert "16 x  16 x" in rows(text)[0]


def test_a_network_without_a_head():
    text = layer_report(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\n[dropout]\n[softmax]\n"))
    assert [line.split()[1] for line in rows(text)] == ["conv", "dropout", "softmax"]
    assert "head" not in text
    assert "parameters: 4\n" in text


def test_a_network_that_does_not_fit_is_refused(small):
    with pytest.raises(CfgError, match=r"^small\.cfg:\d+: "):
        layer_report(small, width=330)


@pytest.mark.parametrize(
    ("name", "published"),
    [("yolov3", 65.86), ("yolov3-tiny", 5.57)],
)
def test_the_operations_that_darknets_author_published(name, published):
    cfg = read_cfg(FOLDER / f"{name}.cfg")
    total = flops(layer_table(cfg, width=416, height=416)) / 1e9
    assert total == pytest.approx(published, abs=0.05)
    assert f"BFLOPs per image: {total:.3f}" in layer_report(cfg, width=416, height=416)


@pytest.mark.parametrize(
    ("index", "count"), [(0, 0.299), (1, 1.595), (2, 0.177), (3, 1.595), (5, 1.595), (81, 0.088), (105, 0.353)]
)
def test_convolutions_of_yolov3_cost_what_darknet_prints(index, count):
    table = layer_table(read_cfg(FOLDER / "yolov3.cfg"), width=416, height=416)
    assert round(flops([table[index]]) / 1e9, 3) == count


@pytest.mark.parametrize(
    ("name", "heads", "parameters"),
    [
        ("yolov3", ["head 82: 80 classes, stride 32, anchors 116,90  156,198  373,326",
                    "head 94: 80 classes, stride 16, anchors 30,61  62,45  59,119",
                    "head 106: 80 classes, stride 8, anchors 10,13  16,30  33,23"], 61_949_149),
        ("yolov3-tiny", ["head 16: 80 classes, stride 32, anchors 81,82  135,169  344,319",
                         "head 23: 80 classes, stride 16, anchors 10,14  23,27  37,58"], 8_852_366),
    ],
)  # fmt: skip
def test_heads_and_parameters_of_the_bundled_networks(name, heads, parameters):
    text = layer_report(read_cfg(FOLDER / f"{name}.cfg"), width=416, height=416)
    assert [line for line in text.splitlines() if line.startswith("head ")] == heads
    assert f"parameters: {parameters:,}" in text


@pytest.mark.parametrize("size", [(None, None), (640, 320)])
def test_the_rows_are_what_is_printed(small, size):
    printed = rows(layer_report(small, *size))
    found = layer_rows(small, *size)
    assert len(found) == len(printed)
    for row, line in zip(found, printed, strict=True):
        cost = f"{row.bflops:.3f}" if row.bflops >= 0.0005 else ""
        parts = [str(row.index), row.kind, row.filters, row.kernel, row.source, row.output, cost]
        assert " ".join(parts).split() == line.split()
    assert sum(row.bflops for row in found) == pytest.approx(flops(layer_table(small, *size)) / 1e9)
    assert sum(row.parameters for row in found) == parameter_count(small)


TINY = """\
[net]
width=8
height=8
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
[maxpool]
size=2
stride=2
[convolutional]
filters=6
[yolo]
mask=0
anchors=1,1
num=1
classes=1
"""
# the weights and biases, and of the first convolution the scales too; each with its gradient and momentum
TINY_WEIGHTS = 3 * ((3 * 3 * 3 * 4 + 4 + 4) + (4 * 6 + 6))
# the batch norm keeps its input too, the max-pool the places of its maxima in 64 bits; the head keeps nothing
TINY_MAPS = 2 * (4 * 8 * 8) + 3 * (4 * 4 * 4) + 6 * 4 * 4


@pytest.mark.parametrize("images", [0, 1, 2, 7, 64])
def test_the_memory_of_a_training_grows_with_the_images(images):
    assert training_bytes(parse_cfg(TINY, "tiny.cfg"), images) == 4 * (TINY_WEIGHTS + images * TINY_MAPS)


def test_the_memory_of_a_training_grows_with_the_area(small):
    tiny = parse_cfg(TINY, "tiny.cfg")
    assert training_bytes(tiny, 3, 16, 24) == 4 * (TINY_WEIGHTS + 3 * 6 * TINY_MAPS)
    plain = parse_cfg(TINY.replace("batch_normalize=1\n", ""), "tiny.cfg")
    assert training_bytes(tiny, 5) - training_bytes(plain, 5) == 4 * (3 * 4 + 5 * 4 * 8 * 8)
    # every kind of layer but the head keeps its output, the batch norm and the max-pool more
    maps = 2 * 819_200 + 3 * 204_800 + 3 * 409_600 + 307_200 + 25_600 + 25_600 + 102_400 + 25_600 + 2_800 + 14
    assert training_bytes(small, 2) - training_bytes(small, 1) == 4 * maps


def test_the_memory_of_layers_that_do_not_fit_is_not_counted(small):
    with pytest.raises(CfgError):
        training_bytes(small, 1, width=1, height=1)


FAMILY = """\
[net]
width=16
height=16
channels=3
[convolutional]
# 8 x 8 x 4, computed at 16 x 16
filters=4
size=3
pad=1
stride=2
antialiasing=1
[convolutional]
filters=4
[shortcut]
from=-2
weights_type=per_channel
[avgpool]
[convolutional]
filters=4
[scale_channels]
from=-3
[sam]
from=0
[local_avgpool]
size=3
stride=1
[connected]
output=5
[activation]
activation=elu
"""


def test_what_other_layers_cost_and_how_they_are_listed():
    cfg = parse_cfg(FAMILY)
    costs = [round(row.bflops * 1e9) for row in layer_rows(cfg)]
    map_size = 4 * 8 * 8
    assert costs == [
        2 * 27 * 4 * 16 * 16, 2 * 4 * map_size, map_size, 0, 2 * 4 * 4, map_size, map_size, 9 * map_size,
        2 * map_size * 5, 0,
    ]  # fmt: skip
    assert [row.parameters for row in layer_rows(cfg)] == [112, 20, 8, 0, 20, 0, 0, 0, 5 * 256 + 5, 0]
    assert [(row.kind, row.source.split()) for row in layer_rows(cfg)[2:7:2]] == [
        ("shortcut", ["+", "0"]), ("conv", ["1", "x", "1", "x", "4"]), ("sam", ["x", "0"]),
    ]  # fmt: skip
    assert parameter_count(cfg) == sum(each.numel() for each in Network(cfg).parameters())


def test_the_anchors_of_a_region_are_in_cells():
    cfg = parse_cfg(f"{FAMILY.split('[conv')[0]}[conv]\nfilters=6\n[region]\nclasses=1\nanchors=1.5,2\n")
    assert "head 1: 1 classes, stride 1, anchors in cells 1.5,2" in layer_report(cfg)
