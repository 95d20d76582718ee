"""Random small networks of every kind of layer: sizes by counting windows, files, round trips, one update."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from yolo_subbatch.darknet import Network, darknet_sgd, load_weights, parse_cfg, save_weights, set_rate, train_batch
from yolo_subbatch.darknet.explicit import explicit
from yolo_subbatch.darknet.geometry import layer_table
from yolo_subbatch.darknet.parser import write_cfg
from yolo_subbatch.darknet.report import parameter_count, weights_bytes
from yolo_subbatch.darknet.sections import LAYER_SECTIONS, SECTION_TYPES, Net

pytestmark = pytest.mark.usefixtures("one_thread")

MOST_CHANNELS, MOST_SIDE = 32, 40
ACTIVATIONS = (
    "elu", "gelu", "hard_mish", "hardtan", "leaky", "lhtan", "linear", "loggy", "logistic", "mish", "normalize_channels",
    "normalize_channels_softmax", "normalize_channels_softmax_maxval", "plse", "ramp", "relie", "relu", "relu6", "revleaky",
    "selu", "stair", "swish", "tanh",
)  # fmt: skip
Shape = tuple[int, int, int]  # channels, height, width


def positions(side: int, before: int, after: int, window: int, step: int) -> int:
    """Count where a window may stand on a row of pixels with padding on both sides."""
    return len(range(-before, side + after - window + 1, step))


@dataclass
class Made:
    """A cfg that grows: ``shapes[-1]`` is the last layer's output; ``floats`` and ``trained`` count its file."""

    image: Shape
    draw: Callable[[st.SearchStrategy], int]
    lines: list[str] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    floats: int = 0
    trained: int = 0

    @property
    def now(self) -> Shape:
        return self.shapes[-1] if self.shapes else self.image

    def whole(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def one(self, *choices: object):
        return self.draw(st.sampled_from(choices))

    def earlier(self, fits: Callable[[Shape], bool]) -> int | None:
        """Return the index of an earlier layer, or None where none fits; counted from the end, or from the start."""
        found = [index for index, shape in enumerate(self.shapes) if fits(shape)]
        if not found:
            return None
        index = self.one(*found)
        return index if self.one(True, False) else index - len(self.shapes)

    def add(self, title: str, shape: Shape, trained: int = 0, running: int = 0, **keys: object) -> None:
        self.lines += [f"[{title}]", *(f"{key.rstrip('_')}={value}" for key, value in keys.items()), ""]
        self.shapes.append(shape)
        self.trained += trained
        self.floats += trained + running


def convolutional(made: Made, filters: int | None = None, **fixed: object) -> None:
    channels, height, width = made.now
    groups = made.one(*(each for each in (1, 2, 3) if channels % each == 0)) if filters is None else 1
    filters = filters or groups * made.whole(1, 8 // groups)
    size, dilation = made.whole(1, 4), made.one(1, 1, 2)
    pad, padding = made.one(0, 1, 1, 1), made.whole(0, 2)
    down, across = made.one((1, 1), (1, 1), (2, 2), (2, 1), (1, 3))
    blur = made.one(0, 0, 0, 1, 2)
    if fixed:
        size, dilation, pad, padding, (down, across), blur = 1, 1, 0, 0, (1, 1), 0
    normalized = fixed.get("batch_normalize", made.one(0, 1))
    spread = dilation if size > 1 else 1
    border, window = (size // 2 if pad else padding) * spread, spread * (size - 1) + 1
    sides = []
    for side, step in ((height, down), (width, across)):
        out = positions(side, border, border, window, 1 if blur else step)
        sides.append(positions(out, int(blur == 1), int(blur == 1), 4 - blur, step) if blur else out)
    if min(sides) < 1 or max(sides) > MOST_SIDE:
        return
    keys = {"size": size, "pad": pad, "padding": padding, "dilation": dilation, "groups": groups, "antialiasing": blur}
    keys |= {"stride": down} if down == across else {"stride_y": down, "stride_x": across}
    activation = fixed.get("activation") or made.one(*ACTIVATIONS)
    weights = filters * channels // groups * size**2
    made.add(
        "convolutional", (filters, *sides), weights + filters * (1 + normalized), 2 * filters * normalized,
        filters=filters, batch_normalize=normalized, activation=activation, **keys,
    )  # fmt: skip


def pooling(made: Made, title: str, blur: int) -> None:
    channels, height, width = made.now
    size, down, across = made.whole(1, 5), made.whole(1, 3), made.whole(1, 3)
    padding = made.one(None, *range(size))
    total = size - 1 if padding is None else padding
    sides = []
    for side, step in ((height, down), (width, across)):
        out = positions(side, total // 2, total - total // 2, size, 1 if blur else step)
        sides.append(positions(out, int(blur == 1), int(blur == 1), 4 - blur, step) if blur else out)
    if min(sides) < 1:
        return
    keys = {"antialiasing": blur} if blur else {}
    keys |= {} if padding is None else {"padding": padding}
    made.add(title, (channels, *sides), size=size, stride_x=across, stride_y=down, **keys)


def maxpool(made: Made) -> None:
    channels, height, width = made.now
    if made.one(False, False, True):
        out = made.whole(1, channels)
        made.add("maxpool", (out, height, width), maxpool_depth=1, out_channels=out)
    else:
        pooling(made, "maxpool", made.one(0, 0, 1, 2))


def local_avgpool(made: Made) -> None:
    pooling(made, "local_avgpool", 0)


def route(made: Made) -> None:
    first = made.earlier(lambda shape: True)
    if first is None:
        return
    height, width = made.shapes[first][1:]
    others = [made.earlier(lambda shape: shape[1:] == (height, width)) for _ in range(made.whole(0, 2))]
    layers = [first, *others]
    channels = [made.shapes[index][0] for index in layers]
    groups = made.one(*(each for each in (1, 1, 2, 3) if all(count % each == 0 for count in channels)))
    if sum(channels) // groups > MOST_CHANNELS:
        return
    made.add(
        "route", (sum(channels) // groups, height, width),
        layers=",".join(map(str, layers)), groups=groups, group_id=made.whole(0, groups - 1),
    )  # fmt: skip


def shortcut(made: Made) -> None:
    channels, height, width = made.now
    if made.one(True, False):
        factor = made.one(1, 1, 2)
        sizes = {(height * factor, width * factor), (height // factor, width // factor)}
        sizes = {size for size in sizes if factor == 1 or size[0] > height or (height % 2 == 0 and width % 2 == 0)}
        source = made.earlier(lambda shape: shape[1:] in sizes)
        keys = {"from_": source, "alpha": made.one(1, 0.5), "beta": made.one(1, -2)}
        weights = 0
    else:
        sources = [made.earlier(lambda shape: shape[1:] == (height, width)) for _ in range(made.whole(1, 3))]
        source = sources[0]
        kind = made.one("none", "per_feature", "per_channel", "per_layer")
        keys = {"from_": ",".join(map(str, sources)), "weights_type": kind}
        keys["weights_normalization"] = made.one("none", "relu", "avg_relu", "softmax")
        weights = (len(sources) + 1) * {"none": 0, "per_channel": channels}.get(kind, 1)
    if source is not None:
        made.add("shortcut", made.now, weights, activation=made.one(*ACTIVATIONS), **keys)


def scale_channels(made: Made) -> None:
    """With what gives one number a channel, or a place, before it."""
    whole = made.now
    if not made.shapes:
        return
    if made.one(True, False):
        made.add("avgpool", (whole[0], 1, 1))
        made.add("scale_channels", whole, from_=-2, activation=made.one(*ACTIVATIONS))
    else:
        convolutional(made, 1, activation="logistic")
        made.add("scale_channels", whole, from_=-2, scale_wh=1)


def sam(made: Made) -> None:
    source = made.earlier(lambda shape: shape == made.now)
    if source is not None:
        made.add("sam", made.now, from_=source, activation=made.one("linear", "logistic", "tanh"))


def upsample(made: Made) -> None:
    channels, height, width = made.now
    fitting = [each for each in (2, 3, -2, -3) if 1 <= size_after(each, height, width) <= MOST_SIDE]
    stride = made.one(*fitting or [1])
    sides = (height * stride, width * stride) if stride > 0 else (height // -stride, width // -stride)
    made.add("upsample", (channels, *sides), stride=stride, scale=made.one(1, 0.5))


def size_after(stride: int, height: int, width: int) -> int:
    return max(height, width) * stride if stride > 0 else min(height, width) // -stride


def reorg(made: Made) -> None:
    channels, height, width = made.now
    title = made.one("reorg", "reorg3d")
    if made.one(True, False) and channels % 4 == 0 and max(height, width) * 2 <= MOST_SIDE:
        made.add(title, (channels // 4, height * 2, width * 2), stride=2, reverse=1)
    elif height % 2 == width % 2 == 0 and channels * 4 <= MOST_CHANNELS:
        made.add(title, (channels * 4, height // 2, width // 2), stride=2)


def connected(made: Made) -> None:
    inputs, output, normalized = made.now[0] * made.now[1] * made.now[2], made.whole(1, 12), made.one(0, 1)
    if inputs <= 2000:
        made.add(
            "connected", (output, 1, 1), inputs * output + output * (1 + normalized), 2 * output * normalized,
            output=output, batch_normalize=normalized, activation=made.one(*ACTIVATIONS),
        )  # fmt: skip


def crop(made: Made) -> None:
    channels, height, width = made.now
    sides = made.whole(max(1, height - 3), height), made.whole(max(1, width - 3), width)
    made.add("crop", (channels, *sides), crop_height=sides[0], crop_width=sides[1], noadjust=made.one(0, 1))


def batchnorm(made: Made) -> None:
    made.add("batchnorm", made.now, 2 * made.now[0], 2 * made.now[0])


def softmax(made: Made) -> None:
    made.add("softmax", made.now, groups=made.one(1, made.now[0]), temperature=made.one(1, 0.5))


def dropout(made: Made) -> None:
    made.add(
        "dropout", made.now, probability=made.one(0, 0.3), dropblock=made.one(0, 1), dropblock_size_abs=made.whole(1, 7)
    )


def avgpool(made: Made) -> None:
    made.add("avgpool", (made.now[0], 1, 1))


def l2norm(made: Made) -> None:
    """After a logistic: of a vector of zeros Darknet's result is no number."""
    convolutional(made, made.whole(1, 6), activation="logistic", batch_normalize=0)
    made.add("l2norm", made.now)


def plain(made: Made) -> None:
    if made.one(True, False):
        made.add("activation", made.now, activation=made.one(*ACTIVATIONS))
    else:
        made.add(made.one("empty", "cost"), made.now)


def head(made: Made) -> None:
    """A detection head after its convolution; what follows reads an earlier layer, as in published networks."""
    title, classes, num = made.one("yolo", "yolo", "Gaussian_yolo", "region"), made.whole(1, 3), made.whole(1, 3)
    keys: dict[str, object] = {"classes": classes, "num": num}
    used = num
    if title == "region":
        keys |= {"softmax": made.one(0, 1), "rescore": made.one(0, 1), "bias_match": made.one(0, 1)}
        keys["anchors"] = ", ".join(f"{1 + index},{2.5 - index / 2}" for index in range(num))
    else:
        used = made.whole(1, num)
        keys["anchors"] = ", ".join(f"{4 + 5 * index},{6 + 4 * index}" for index in range(num))
        keys |= {"mask": ",".join(map(str, range(num - used, num)))} if used < num or made.one(True, False) else {}
        keys |= made.one({}, {"scale_x_y": 1.05}, {"iou_loss": made.one("iou", "giou", "diou", "ciou"), "max_delta": 2})
        keys |= made.one({}, {"ignore_thresh": 0.7, "truth_thresh": 0.6}, {"counters_per_class": "3," * classes})
    convolutional(
        made, used * (classes + (9 if title == "Gaussian_yolo" else 5)), activation="linear", batch_normalize=0
    )
    made.add(title, made.now, **keys)


LAYERS = (
    convolutional, convolutional, convolutional, maxpool, local_avgpool, route, route, shortcut, shortcut, scale_channels,
    sam, upsample, reorg, connected, crop, batchnorm, softmax, dropout, avgpool, l2norm, plain,
)  # fmt: skip


@st.composite
def cfgs(draw: Callable[[st.SearchStrategy], int]) -> Made:
    """A valid network with one to three heads."""
    made = Made((draw(st.integers(1, 4)), draw(st.integers(4, 20)), draw(st.integers(4, 20))), draw)
    channels, height, width = made.image
    made.lines += ["[net]", f"width={width}", f"height={height}", f"channels={channels}", "batch=2", ""]
    for part in range(made.one(1, 1, 2, 3)):
        if part:
            source = made.earlier(lambda shape: True)
            made.add("route", made.shapes[source], layers=source)
        for _ in range(made.whole(0, 7)):
            made.one(*LAYERS)(made)
        head(made)
    return made


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made=cfgs(), seed=st.integers(0, 100))
def test_random_networks(made, seed):
    text = "\n".join(made.lines)
    cfg = parse_cfg(text, "random.cfg")
    for section in cfg.sections:
        event(section.title)
    assert not cfg.warnings
    assert [tuple(layer.out_shape) for layer in layer_table(cfg)] == made.shapes
    assert parameter_count(cfg) == made.trained

    torch.manual_seed(seed)
    network = Network(cfg)
    images = torch.rand(2, *made.image)
    with torch.no_grad():
        outputs = network.eval().layer_outputs(images)
        maps = network(images)
    assert [tuple(each.shape) for each in outputs] == [(2, *shape) for shape in made.shapes]
    check_nothing_is_overwritten(network, images, outputs)
    assert [tuple(each.shape[1:]) for each in maps] == [
        made.shapes[index] for index, section in enumerate(cfg.sections) if section in cfg.heads
    ]

    again = parse_cfg(write_cfg(cfg), "again.cfg")
    assert (again.net, again.sections, again.flavour()) == (cfg.net, explicit(cfg).sections, cfg.flavour())
    update(network, images, seed)
    check_file(network, Network(again), made, images)


def check_nothing_is_overwritten(network: Network, images: torch.Tensor, outputs: list[torch.Tensor]) -> None:
    """Every layer gives again what it gave, from what the others hold at the end."""
    held = [*outputs, images]  # -1 is the image
    with torch.no_grad():
        for index, (layer, sources) in enumerate(zip(network.layers, network.sources, strict=True)):
            again = layer(*(held[source] for source in sources))
            assert torch.equal(again, outputs[index]), f"layer {index} [{network.cfg.sections[index].title}]"


def check_file(network: Network, other: Network, made: Made, images: torch.Tensor) -> None:
    """What one network writes another reads: the same bytes and, where all is in the file, the same outputs."""
    file = io.BytesIO()
    save_weights(network, file, seen=12_345_678_901)
    unsaved = [section.title for section in network.cfg.sections].count("batchnorm") and network.flavour == "pjreddie"
    size = len(file.getvalue())
    assert size == weights_bytes(network.cfg)
    if not unsaved:  # pjreddie's Darknet does not write the biases of [batchnorm]
        assert size == 20 + 4 * made.floats
    assert load_weights(other, io.BytesIO(file.getvalue())).seen == 12_345_678_901
    second = io.BytesIO()
    save_weights(other, second, seen=12_345_678_901)
    assert second.getvalue() == file.getvalue()
    if not unsaved:
        with torch.no_grad():
            for one, two in zip(network.eval()(images), other.eval()(images), strict=True):
                assert torch.equal(one, two)


def update(network: Network, images: torch.Tensor, seed: int) -> None:
    """Make one update, and ask for finite weights."""
    classes = min(head.classes for head in network.cfg.heads)
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(len(images), 2, 4, generator=generator) * 0.5 + 0.2
    truths = [torch.cat((torch.randint(classes, (2, 1), generator=generator), each), 1) for each in places]
    optimizer = darknet_sgd(network.train())
    set_rate(optimizer, 1e-6)
    losses = train_batch(network, optimizer, images, truths, subdivisions=1)
    assert torch.isfinite(losses.total), losses
    assert all(torch.isfinite(each).all() for each in network.parameters())


def test_no_kind_of_layer_is_left_out():
    """A new section needs a line in ``LAYERS``."""
    built = {
        "convolutional", "maxpool", "local_avgpool", "avgpool", "dropout", "softmax", "route", "shortcut", "scale_channels",
        "sam", "upsample", "reorg", "reorg3d", "connected", "crop", "batchnorm", "activation", "l2norm", "empty", "cost", "yolo",
        "Gaussian_yolo", "region",
    }  # fmt: skip
    assert built == set(SECTION_TYPES) - {Net.title}
    assert {kind.title for kind in LAYER_SECTIONS} <= built
