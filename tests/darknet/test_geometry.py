"""Sizes, strides and sources of the layers against numbers worked out by hand from Darknet's make_*_layer."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from yolo_subbatch.darknet import Network, parse_cfg, read_cfg
from yolo_subbatch.darknet.geometry import LayerShape, check_detector, largest_stride, layer_table, with_classes
from yolo_subbatch.darknet.parser import with_net
from yolo_subbatch.darknet.report import weights_bytes
from yolo_subbatch.darknet.sections import Convolutional, Yolo
from yolo_subbatch.darknet.weights import save_weights
from yolo_subbatch.errors import CfgError

FOLDER = Path(__file__).parents[2] / "cfg"
BUNDLED = ["shapes", "yolov3", "yolov3-spp", "yolov3-tiny"]


pytestmark = pytest.mark.usefixtures("one_thread")


def table_of(body: str, channels: int = 4, height: int = 32, width: int = 32) -> list[LayerShape]:
    return layer_table(parse_cfg(f"[net]\nwidth={width}\nheight={height}\nchannels={channels}\n{body}", "x.cfg"))


def last(
    body: str, channels: int = 4, height: int = 32, width: int = 32
) -> tuple[tuple[int, int, int], Fraction | None]:
    layer = table_of(body, channels, height, width)[-1]
    return tuple(layer.out_shape), layer.stride


def refusal(body: str, line: int, **size: int) -> str:
    """Return the message for a network that does not fit, after a look at the place it names."""
    with pytest.raises(CfgError) as caught:
        table_of(body, **size)
    message = str(caught.value)
    assert re.match(rf"x\.cfg:{line}: [^\n]+; [^\n]+$", message), message
    return message


@pytest.fixture(scope="module", params=BUNDLED)
def bundled(request):
    return read_cfg(FOLDER / f"{request.param}.cfg")


# One layer at a time, on a map 50 wide and 38 high


@pytest.mark.parametrize(
    ("keys", "height", "width", "stride"),
    [
        ("", 38, 50, 1),
        ("size=3", 36, 48, 1),
        ("size=3 pad=1", 38, 50, 1),
        ("size=3 padding=1", 38, 50, 1),
        ("size=3 pad=1 padding=7", 38, 50, 1),  # pad=1 means half the kernel, whatever padding says
        ("size=3 stride=2 pad=1", 19, 25, 2),
        ("size=3 stride=2", 18, 24, 2),
        ("size=5 stride=3 padding=2", 13, 17, 3),
        ("size=7 stride=2 pad=1", 19, 25, 2),
        ("size=2 stride=2 pad=1", 20, 26, 2),
        ("size=2 stride=2", 19, 25, 2),
        ("size=1 stride=2", 19, 25, 2),
        ("size=1 padding=1", 40, 52, 1),
        ("size=3 pad=1 dilation=2", 38, 50, 1),
        ("size=3 pad=1 dilation=4 stride=2", 19, 25, 2),
        ("size=3 dilation=2", 34, 46, 1),
        ("size=3 pad=1 stride_x=2 stride_y=1", 38, 25, 2),
        ("size=3 pad=1 stride=2 stride_y=1", 38, 25, 2),
        ("size=3 pad=1 stride=9 stride_x=1 stride_y=3", 13, 50, 3),
        ("size=38", 1, 13, 1),
    ],
)
def test_convolutional(keys, height, width, stride):
    body = "[convolutional]\nfilters=6\n" + keys.replace(" ", "\n")
    assert last(body, height=38, width=50) == ((6, height, width), stride)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_do_not_change_the_size(groups):
    assert last(f"[convolutional]\nfilters=8\nsize=3\npad=1\ngroups={groups}") == ((8, 32, 32), 1)


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        # for maps of 13 x 12, 7 x 1 and 2 x 5 (width x height): the width and height that come out
        ("size=2 stride=2", [(7, 6), (4, 1), (1, 3)]),
        ("stride=2", [(7, 6), (4, 1), (1, 3)]),
        ("size=2 stride=1", [(13, 12), (7, 1), (2, 5)]),
        ("size=2", [(13, 12), (7, 1), (2, 5)]),
        ("size=3 stride=2", [(7, 6), (4, 1), (1, 3)]),
        ("size=3 stride=1", [(13, 12), (7, 1), (2, 5)]),
        ("size=5 stride=1", [(13, 12), (7, 1), (2, 5)]),
        ("size=13 stride=1", [(13, 12), (7, 1), (2, 5)]),
        ("size=3 stride=3", [(5, 4), (3, 1), (1, 2)]),
        ("size=2 stride=3", [(5, 4), (3, 1), (1, 2)]),
        ("size=1 stride=4", [(4, 3), (2, 1), (1, 2)]),
        ("size=2 stride=2 padding=2", [(7, 7), (4, 1), (2, 3)]),
        ("size=2 stride=2 stride_x=1", [(13, 6), (7, 1), (2, 3)]),
        ("", [(13, 12), (7, 1), (2, 5)]),
    ],
)
def test_maxpool(keys, sizes):
    body = "[maxpool]\n" + keys.replace(" ", "\n")
    for (in_width, in_height), (width, height) in zip([(13, 12), (7, 1), (2, 5)], sizes, strict=True):
        assert last(body, height=in_height, width=in_width)[0] == (4, height, width)


@pytest.mark.parametrize(
    ("keys", "height", "width"), [("size=2\nstride=2\npadding=0", 6, 7), ("size=3\nstride=1\npadding=0", 10, 13)]
)
def test_maxpool_without_padding(keys, height, width):
    assert last(f"[maxpool]\n{keys}", height=12, width=15)[0] == (4, height, width)


@pytest.mark.parametrize(
    ("body", "shape", "stride"),
    [
        ("[upsample]", (4, 64, 64), Fraction(1, 2)),
        ("[upsample]\nstride=4\nscale=2", (4, 128, 128), Fraction(1, 4)),
        ("[upsample]\nstride=1", (4, 32, 32), 1),
        ("[upsample]\nstride=-2", (4, 16, 16), 2),
        ("[reorg]", (4, 32, 32), 1),
        ("[reorg]\nstride=2", (16, 16, 16), 2),
        ("[reorg]\nstride=4", (64, 8, 8), 4),
        ("[reorg]\nstride=2\nreverse=1", (1, 64, 64), Fraction(1, 2)),
        ("[avgpool]", (4, 1, 1), None),
        ("[dropout]", (4, 32, 32), 1),
        ("[softmax]\ngroups=4", (4, 32, 32), 1),
        ("[avgpool]\n[softmax]", (4, 1, 1), None),
    ],
)
def test_other_layers(body, shape, stride):
    assert last(body) == (shape, stride)


def test_a_head_keeps_its_input():
    body = "[conv]\nfilters=21\nsize=4\nstride=4\n[yolo]\nnum=3\nclasses=2\nanchors=1,2,3,4,5,6\n"
    assert last(body) == ((21, 8, 8), 4)


# Sources

CHAIN = "[conv]\nfilters=8\n[conv]\nfilters=6\n[conv]\nfilters=4\n"  # layers 0, 1, 2, lines 5 to 10


@pytest.mark.parametrize(
    ("layers", "sources", "channels"),
    [("-1", (2,), 4), ("-3", (0,), 8), ("0", (0,), 8), ("2", (2,), 4), ("-1,-2", (2, 1), 10), ("0,-1,1", (0, 2, 1), 18),
     ("-1,-1", (2, 2), 8), ("-1, 0", (2, 0), 12)],
)  # fmt: skip
def test_route_joins_relative_and_absolute_layers(layers, sources, channels):
    layer = table_of(f"{CHAIN}[route]\nlayers={layers}")[-1]
    assert layer.sources == sources
    assert tuple(layer.out_shape) == (channels, 32, 32)


@pytest.mark.parametrize(
    ("layers", "groups", "group_id", "channels"), [("-1", 2, 0, 2), ("-1", 4, 3, 1), ("0,1", 2, 1, 7)]
)
def test_route_takes_one_of_the_groups(layers, groups, group_id, channels):
    body = f"{CHAIN}[route]\nlayers={layers}\ngroups={groups}\ngroup_id={group_id}"
    assert last(body)[0] == (channels, 32, 32)


def test_route_has_the_stride_of_what_it_reads():
    down = "[conv]\nfilters=8\n[maxpool]\nstride=2\n[maxpool]\nstride=4\n[route]\nlayers="
    assert last(down + "1") == ((8, 16, 16), 2)
    assert last(down + "0") == ((8, 32, 32), 1)


@pytest.mark.parametrize(("reference", "source"), [("-2", 1), ("-3", 0), ("0", 0), ("1", 1), ("-1", 2), ("2", 2)])
def test_shortcut_adds_to_the_layer_before(reference, source):
    layer = table_of(f"{CHAIN}[shortcut]\nfrom={reference}")[-1]
    assert layer.sources == (2, source)
    assert tuple(layer.out_shape) == (4, 32, 32)  # its own, whatever the channels of the other


@pytest.mark.parametrize(
    ("other", "own"),
    [("stride=1", "stride=2"), ("stride=1", "stride=4"), ("stride=2", "stride=1"), ("stride=4", "stride=1"),
     ("stride=2", "stride=4")],
)  # fmt: skip
def test_shortcut_between_sizes(other, own):
    body = f"[maxpool]\n{other}\n[route]\nlayers=0\n[avgpool]\n[route]\nlayers=1\n"
    own_stride = int(own[-1])
    layers = table_of(body + f"[conv]\nfilters=6\n{own}\n[shortcut]\nfrom=0")
    side = 32 // int(other[-1]) // own_stride
    assert tuple(layers[-1].out_shape) == (6, side, side)
    assert layers[-1].stride == int(other[-1]) * own_stride


def test_shortcut_to_a_smaller_map():
    body = "[maxpool]\nstride=4\n[upsample]\nstride=4\n[shortcut]\nfrom=0"
    assert last(body) == ((4, 32, 32), 1)


def test_other_layers_read_the_one_before():
    body = f"{CHAIN}[maxpool]\n[upsample]\n[reorg]\nstride=2\n[dropout]\n[avgpool]\n[softmax]\n"
    assert [layer.sources for layer in table_of(body)] == [(index - 1,) for index in range(9)]
    assert [layer.index for layer in table_of(body)] == list(range(9))


# The bundled networks


def test_yolov3_tiny():
    """The table that Darknet prints for the cfg at 416."""
    table = layer_table(read_cfg(FOLDER / "yolov3-tiny.cfg"))
    sizes = [(16, 416), (16, 208), (32, 208), (32, 104), (64, 104), (64, 52), (128, 52), (128, 26), (256, 26), (256, 13),
             (512, 13), (512, 13), (1024, 13), (256, 13), (512, 13), (255, 13), (255, 13), (256, 13), (128, 13), (128, 26),
             (384, 26), (256, 26), (255, 26), (255, 26)]  # fmt: skip
    assert [tuple(layer.out_shape) for layer in table] == [(channels, side, side) for channels, side in sizes]
    assert [table[index].sources for index in (17, 20)] == [(13,), (19, 8)]
    assert [(layer.index, layer.stride) for layer in table if layer.title == "yolo"] == [(16, 32), (23, 16)]


def test_yolov3():
    table = layer_table(read_cfg(FOLDER / "yolov3.cfg"), width=416, height=416)
    assert len(table) == 107
    assert {layer.index: layer.sources for layer in table if layer.title == "route"} == {
        83: (79,), 86: (85, 61), 95: (91,), 98: (97, 36),
    }  # fmt: skip
    assert [(layer.index, layer.stride, tuple(layer.out_shape)) for layer in table if layer.title == "yolo"] == [
        (82, 32, (255, 13, 13)), (94, 16, (255, 26, 26)), (106, 8, (255, 52, 52)),
    ]  # fmt: skip
    shortcuts = [layer for layer in table if layer.title == "shortcut"]
    assert len(shortcuts) == 23
    assert all(layer.sources == (layer.index - 1, layer.index - 3) for layer in shortcuts)
    assert tuple(table[74].out_shape) == (1024, 13, 13)
    assert tuple(table[98].out_shape) == (384, 52, 52)


def test_yolov3_spp_joins_four_maps():
    table = layer_table(read_cfg(FOLDER / "yolov3-spp.cfg"), width=416, height=416)
    joined = next(layer for layer in table if len(layer.sources) == 4)
    assert tuple(joined.out_shape) == (2048, 13, 13)
    assert [table[source].title for source in joined.sources].count("maxpool") == 3


def saved_bytes(network: Network) -> int:
    file = io.BytesIO()
    save_weights(network, file)
    return len(file.getvalue())


@pytest.mark.parametrize(
    ("name", "size"), [("yolov3", 248_007_048), ("yolov3-spp", 252_209_544), ("yolov3-tiny", 35_434_956)]
)
def test_the_bytes_of_published_weights(name, size):
    assert weights_bytes(read_cfg(FOLDER / f"{name}.cfg")) == size


def test_network_and_cfg_agree_on_the_bytes():
    cfg = read_cfg(FOLDER / "yolov3-tiny.cfg")
    assert saved_bytes(Network(cfg)) == weights_bytes(cfg) == 35_434_956


def test_layers_that_are_not_saved_need_no_bytes():
    cfg = parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\ndontsave=1\n[conv]\nfilters=5\nsize=3\n")
    assert saved_bytes(Network(cfg)) == 20 + 4 * (5 + 5 * 4 * 9)
    assert weights_bytes(cfg) == 20 + 4 * (5 + 5 * 4 * 9)


def test_another_input_size():
    cfg = read_cfg(FOLDER / "yolov3-tiny.cfg")
    table = layer_table(cfg, width=608, height=352)
    assert [tuple(layer.out_shape) for layer in table if layer.title == "yolo"] == [(255, 11, 19), (255, 22, 38)]
    assert table == layer_table(with_net(cfg, width=608, height=352))


@pytest.mark.parametrize("name", ["shapes", "yolov3-tiny"])
def test_the_network_gives_the_sizes_of_the_table(name):
    cfg = with_net(read_cfg(FOLDER / f"{name}.cfg"), width=64, height=96)
    with torch.no_grad():
        outputs = Network(cfg).eval().layer_outputs(torch.zeros(1, 3, 96, 64))
    assert [tuple(output.shape[1:]) for output in outputs] == [tuple(layer.out_shape) for layer in layer_table(cfg)]


@pytest.mark.parametrize(("name", "stride"), [("shapes", 16), ("yolov3", 32), ("yolov3-spp", 32), ("yolov3-tiny", 32)])
def test_the_largest_stride(name, stride):
    assert largest_stride(read_cfg(FOLDER / f"{name}.cfg")) == stride


@pytest.mark.parametrize(
    ("body", "stride"),
    [("[conv]", 1), ("[maxpool]\nstride=2\n[upsample]", 2), ("[upsample]", 1), ("[conv]\nstride_x=2\n", 2),
     ("[maxpool]\nstride=4\n[avgpool]\n[softmax]\n", 4)],
)  # fmt: skip
def test_the_largest_stride_of_small_networks(body, stride):
    assert largest_stride(parse_cfg(f"[net]\nwidth=32\nheight=32\nchannels=4\n{body}")) == stride


# Heads


@pytest.mark.parametrize("classes", [1, 3, 80])
def test_another_number_of_classes(bundled, classes):
    changed = with_classes(bundled, classes)
    assert [head.classes for head in changed.heads] == [classes] * len(bundled.heads)
    for index, (before, after) in enumerate(zip(bundled.sections, changed.sections, strict=True)):
        following = bundled.sections[index + 1] if index + 1 < len(bundled.sections) else None
        if isinstance(following, Yolo):
            assert isinstance(after, Convolutional)
            assert after.filters == 3 * (5 + classes)
        elif not isinstance(before, Yolo):
            assert after == before
    assert layer_table(changed)[-1].out_shape.channels == 3 * (5 + classes)
    assert with_classes(changed, bundled.heads[0].classes) == bundled


def test_classes_of_a_head_with_its_own_mask():
    cfg = parse_cfg(
        "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=14\n[yolo]\nclasses=2\nnum=3\nmask=0,2\nanchors=1,2,3,4,5,6\n"
    )
    assert with_classes(cfg, 4).sections[0].filters == 2 * 9


@pytest.mark.parametrize("before", ["[maxpool]\n", "[route]\nlayers=0\n", "[dropout]\n", ""])
def test_classes_cannot_change_without_a_convolution_before(before):
    conv = "[conv]\nfilters=6\n" if before else ""
    text = f"[net]\nwidth=8\nheight=8\nchannels=6\n{conv}{before}"
    cfg = parse_cfg(f"{text}[yolo]\nclasses=1\nanchors=1,2\n", "x.cfg")
    with pytest.raises(CfgError, match=rf"^x\.cfg:{text.count(chr(10)) + 1}: .*convolution"):
        with_classes(cfg, 2)


def test_a_network_without_a_head_is_refused_where_one_is_needed(bundled):
    check_detector(bundled)
    with pytest.raises(CfgError, match=r"^x\.cfg: .*\[yolo\]"):
        check_detector(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\n", "x.cfg"))
    check_detector(replace(bundled, net=replace(bundled.net, channels=1)))


def test_heads_of_different_classes_are_refused_with_their_lines():
    head = "[conv]\nfilters={}\n[yolo]\nclasses={}\nanchors=1,2\n"
    net = "[net]\nwidth=8\nheight=8\nchannels=3\n"
    cfg = parse_cfg(net + head.format(7, 2) + head.format(8, 3), "x.cfg")
    with pytest.raises(CfgError, match=r"^x\.cfg:12: .*\(2 in line 7, 3 in line 12\); give all of them the same"):
        check_detector(cfg)
    check_detector(parse_cfg(net + head.format(7, 2) + head.format(7, 2), "x.cfg"))


def test_wrong_filters_are_told_of_every_head():
    head = "[conv]\nfilters=255\n[yolo]\nmask={}\nanchors=1,2,3,4\nnum=2\nclasses=1\n"
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n" + head.format("0,1") + head.format("0") + head.format("1")
    with pytest.raises(CfgError) as error:
        layer_table(parse_cfg(text, "x.cfg"))
    told = [line.rpartition("; ")[2] for line in str(error.value).splitlines()]
    assert told == ["set filters=12 here", "set filters=6 here", "set filters=6 here"]


@pytest.mark.parametrize(
    ("filters", "classes", "mask", "wanted"),
    [(255, 3, "0,1,2", 24), (18, 80, "0,1,2", 255), (24, 3, "0,1", 16), (1, 1, "2", 6)],
)
def test_filters_before_a_head_name_the_right_number_and_the_line_of_the_convolution(filters, classes, mask, wanted):
    head = f"[yolo]\nclasses={classes}\nnum=3\nanchors=1,2,3,4,5,6\nmask={mask}\n"
    message = refusal(f"[maxpool]\n\n[convolutional]\n# the last one\nfilters={filters}\n{head}", 7)
    assert f"filters={filters}" in message
    assert f"classes={classes}" in message
    assert f"filters={wanted}" in message


@pytest.mark.parametrize("before", ["", "[conv]\n[upsample]\n", "[conv]\n[route]\nlayers=0\n", "[avgpool]\n"])
def test_a_head_after_something_else_names_the_right_number(before):
    with pytest.raises(CfgError, match=r"^x\.cfg:\d+: .*filters=6\b"):
        table_of(f"{before}[yolo]\nclasses=1\nanchors=1,2\n")


# What does not fit


@pytest.mark.parametrize("key", ["layers", "from"])
@pytest.mark.parametrize("reference", ["-4", "3", "4", "-2147483647", "2147483647"])
def test_an_index_outside_the_layers_before_is_refused(key, reference):
    title = "route" if key == "layers" else "shortcut"
    message = refusal(f"{CHAIN}[{title}]\n{key}={reference}", 11)
    assert f"{key}={reference}" in message
    assert "-3 to -1 or 0 to 2" in message


def test_one_bad_index_of_several_is_named():
    assert "layers=7 " in refusal(f"{CHAIN}[route]\nlayers=-1,7,0", 11)


@pytest.mark.parametrize(
    "body", ["[route]\nlayers=-1", "[route]\nlayers=0", "[shortcut]\nfrom=-1", "[shortcut]\nfrom=0"]
)
def test_the_first_layer_has_nothing_before_it(body):
    assert "no layer before it" in refusal(body, 5)


def test_lists_that_are_needed():
    assert "layers" in refusal(f"{CHAIN}[route]\n", 11)
    assert "from" in refusal(f"{CHAIN}[shortcut]\n", 11)
    assert "from" in refusal(f"{CHAIN}[scale_channels]\n", 11)
    assert "from" in refusal(f"{CHAIN}[sam]\n", 11)


@pytest.mark.parametrize(
    ("filters", "groups", "count"), [(6, 4, "6 filters"), (6, 3, "4 input channels"), (9, 2, "9 filters")]
)
def test_groups_that_do_not_divide_are_refused(filters, groups, count):
    message = refusal(f"[conv]\nfilters={filters}\ngroups={groups}\n", 5)
    assert f"groups={groups}" in message
    assert count in message


@pytest.mark.parametrize(("groups", "group_id"), [(3, 0), (2, 2), (4, 9), (5, 0)])
def test_groups_of_a_route_that_do_not_fit_are_refused(groups, group_id):
    message = refusal(f"[conv]\nfilters=4\n[route]\nlayers=-1\ngroups={groups}\ngroup_id={group_id}\n", 7)
    assert f"groups={groups}" in message


@pytest.mark.parametrize("groups", [3, 7, 8192])
def test_groups_of_a_softmax_that_do_not_fit_are_refused(groups):
    assert f"groups={groups}" in refusal(f"[softmax]\ngroups={groups}\n", 5)


@pytest.mark.parametrize(
    "body",
    ["[conv]\nsize=9", "[conv]\nsize=5\ndilation=3", "[conv]\nsize=11\npadding=1", "[maxpool]\nsize=9\npadding=0",
     "[upsample]\nstride=-9"],
)  # fmt: skip
def test_a_map_that_vanishes_is_refused(body):
    assert "would give a map of" in refusal(body, 5, height=8, width=8)


def test_an_upsampling_by_nothing_is_refused():
    assert "stride=0" in refusal("[upsample]\nstride=0", 5)


@pytest.mark.parametrize(("size", "padding"), [(2, 3), (2, 9), (3, 5), (1, 1)])
def test_a_pooling_window_of_padding_alone_is_refused(size, padding):
    assert f"padding={padding} with size={size}" in refusal(f"[maxpool]\nsize={size}\npadding={padding}", 5)


def test_a_head_needs_a_convolution_before_it():
    message = refusal("[maxpool]\nsize=2\nstride=2\n[yolo]\nanchors=8,8\nclasses=2\n", 8)
    assert "put a [convolutional] with filters=7 before it" in message


def test_sides_are_multiples_of_every_stride():
    cfg = parse_cfg(
        "[net]\nwidth=12\nheight=12\nchannels=3\n[conv]\nstride=2\nsize=3\npad=1\n[route]\nlayers=-1\n"
        "[maxpool]\nsize=3\nstride=3\n"
    )
    assert largest_stride(cfg) == 6


def test_a_map_that_vanishes_on_one_side_is_refused():
    assert "10 x 0" in refusal("[conv]\nsize=5", 5, height=4, width=14)


@pytest.mark.parametrize(("height", "width"), [(32, 33), (33, 32), (32, 31)])
def test_maps_of_different_size_cannot_be_joined(height, width):
    """Halved and doubled again, an odd side does not come back."""
    body = "[maxpool]\nstride=2\n[upsample]\n[route]\nlayers=-1,0\n"
    assert "[route] joins maps" in refusal(body, 8, height=height, width=width)


def test_a_size_that_is_no_multiple_of_the_stride_is_refused_for_a_bundled_network():
    cfg = read_cfg(FOLDER / "yolov3-tiny.cfg")
    with pytest.raises(CfgError, match=r"yolov3-tiny\.cfg:\d+: \[route\] joins maps of 26 x 26 and 25 x 26"):
        layer_table(cfg, width=400, height=416)


@pytest.mark.parametrize("stride", [3, 5])
def test_a_shortcut_between_sizes_that_do_not_divide_is_refused(stride):
    message = refusal(f"[conv]\n[maxpool]\nstride={stride}\nsize=1\n[shortcut]\nfrom=0\n", 9)
    assert "[shortcut] adds a map" in message


def test_a_shortcut_between_maps_of_another_shape_is_refused():
    assert "[shortcut]" in refusal("[conv]\n[conv]\nstride_x=2\n[shortcut]\nfrom=0\n", 8)


@pytest.mark.parametrize("stride", [3, 5, 64])
def test_a_reorg_that_does_not_divide_is_refused(stride):
    assert f"stride={stride}" in refusal(f"[reorg]\nstride={stride}\n", 5)


@pytest.mark.parametrize(("stride", "area"), [(3, 9), (4, 16)])
def test_a_reversed_reorg_needs_enough_channels(stride, area):
    assert f"multiple of {area}" in refusal(f"[reorg]\nreverse=1\nstride={stride}\n", 5)


@pytest.mark.parametrize("stride", [0, -1, -2])
@pytest.mark.parametrize("body", ["[conv]", "[maxpool]", "[reorg]", "[reorg]\nreverse=1"])
def test_a_stride_below_one_is_refused(body, stride):
    refusal(f"{body}\nstride={stride}\n", 5)


def test_without_a_line_the_layer_is_named():
    cfg = parse_cfg(f"[net]\nwidth=8\nheight=8\nchannels=3\n{CHAIN}", "x.cfg")
    broken = type(cfg)(cfg.net, (*cfg.sections, Convolutional(filters=7, groups=2)), "x.cfg")
    with pytest.raises(CfgError, match=r"^x\.cfg: layer 3: groups=2"):
        layer_table(broken)


# AlexeyAB's sections, and YOLOv2's head


@pytest.mark.parametrize(("body", "line", "part"), [
    ("[conv]\nfilters=4\n[avgpool]\n[conv]\nfilters=5\n[scale_channels]\nfrom=0\n", 10, "must be 1 x 1 x 4"),
    ("[conv]\nfilters=4\n[conv]\nfilters=2\n[scale_channels]\nfrom=0\nscale_wh=1\n", 9, "must be 8 x 8 x 1"),
    ("[conv]\nfilters=4\n[conv]\nfilters=5\n[sam]\nfrom=0\n", 9, "[sam] multiplies 8 x 8 x 5 by 8 x 8 x 4"),
    ("[conv]\n[conv]\nstride=2\n[conv]\n[shortcut]\nfrom=-2,0\n", 9, "with several layers or with weights"),
    ("[conv]\n[conv]\nstride=2\n[shortcut]\nfrom=0\nweights_type=per_feature\n", 8, "with several layers or with weights"),
    ("[maxpool]\nmaxpool_depth=1\nout_channels=5\n", 5, "out_channels=5 of 4 channels"),
    ("[reorg3d]\nstride=3\n", 5, "[reorg3d] stride=3"), ("[reorg3d]\nstride=3\nreverse=1\n", 5, "[reorg3d] of 4 channels"),
    ("[crop]\ncrop_height=9\ncrop_width=4\n", 5, "[crop] of 4 x 9 in 8 x 8"),
    ("[local_avgpool]\nsize=2\npadding=3\n", 5, "padding=3 with size=2"),
    ("[conv]\nsize=8\nantialiasing=2\n", 5, "would give a map of 0 x 0"),
    ("[conv]\nfilters=8\n[region]\nanchors=1,1\nclasses=4\n", 5, "set filters=9 here"),
    ("[conv]\nfilters=9\n[Gaussian_yolo]\nanchors=1,1\nclasses=4\n", 5, "set filters=13 here"),
    ("[maxpool]\n[region]\nanchors=1,1\nclasses=4\n", 6, "put a [convolutional] with filters=9 before it"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(body, line, part):
    assert part in refusal(body, line, height=8, width=8)


@pytest.mark.parametrize(
    ("body", "stride"),
    [("[conv]\nstride=2\nantialiasing=1\nsize=3\npad=1\n", 2), ("[local_avgpool]\nstride=2\n", 2), ("[reorg3d]\nstride=2\n", 2),
     ("[maxpool]\nmaxpool_depth=1\nout_channels=2\nstride=2\n", 1), ("[connected]\n", 32),
     ("[conv]\nstride=4\n[avgpool]\n[conv]\n[scale_channels]\nfrom=0\n[conv]\nstride=2\n", 8)],
)  # fmt: skip
def test_the_largest_stride_of_alexeyabs_layers(body, stride):
    assert largest_stride(parse_cfg(f"[net]\nwidth=32\nheight=32\nchannels=4\n{body}")) == stride


@pytest.mark.parametrize("side", [8, 9, 15])
@pytest.mark.parametrize("antialiasing", [1, 2])
@pytest.mark.parametrize("layer", ["[conv]\nsize=3\npad=1\nstride=2\n", "[maxpool]\nsize=3\nstride=2\n"])
def test_sizes_with_antialiasing_are_those_of_the_network(side, antialiasing, layer):
    cfg = parse_cfg(f"[net]\nwidth={side}\nheight={side + 2}\nchannels=3\n{layer}antialiasing={antialiasing}\n")
    (found,) = Network(cfg).layer_outputs(torch.zeros(1, 3, side + 2, side))
    assert tuple(found.shape[1:]) == tuple(layer_table(cfg)[0].out_shape)


@pytest.mark.parametrize(("title", "extra"), [("region", 5), ("Gaussian_yolo", 9)])
def test_another_number_of_classes_for_other_heads(title, extra):
    cfg = parse_cfg(
        f"[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters={2 * (extra + 3)}\n[{title}]\nclasses=3\nnum=2\nanchors=1,2,3,4\n"
    )
    assert [head.title for head in cfg.heads] == [title]
    check_detector(cfg)
    changed = with_classes(cfg, 7)
    assert (changed.sections[0].filters, changed.heads[0].classes) == (2 * (extra + 7), 7)
    layer_table(changed)
    assert with_classes(changed, 3) == cfg


def test_other_classes_have_no_hierarchy():
    cfg = parse_cfg(
        "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=8\n[region]\nclasses=3\nanchors=1,2\ntree=x.tree\nmap=x.map\n"
    )
    head = with_classes(cfg, 4).heads[0]
    assert (head.tree, head.map) == ("", "")
    assert with_classes(cfg, 3) == cfg
