"""Cfgs and weights files with mistakes of every kind, each drawn from a number alone."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.conftest import GOLDEN_FOLDERS
from yolo_subbatch.darknet.sections import SECTION_TYPES, keys_of

CFGS = Path(__file__).parents[2] / "cfg"

#: One of every section, some keys each.
ZOO = """
[net]
batch=8
subdivisions=2
width=32
height=32
channels=3
policy=steps
steps=100,200
scales=.1,.1
burn_in=10
max_batches=500

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
activation=leaky

[convolutional]
filters=8
size=3
pad=1
dilation=2
groups=2
antialiasing=1
stride=2
activation=mish

[shortcut]
from=-2
activation=linear

[maxpool]
size=2
stride=2

[local_avgpool]
size=3
stride=1

[batchnorm]

[activation]
activation=swish

[l2norm]

[dropout]
probability=.3

[reorg]
stride=2

[reorg3d]
stride=2
reverse=1

[upsample]
stride=2

[route]
layers=-1,-1
groups=2
group_id=1

[empty]

[avgpool]

[scale_channels]
from=-2

[sam]
from=-1

[shortcut]
from=-1,-2
weights_type=per_channel
weights_normalization=relu

[crop]
crop_height=4
crop_width=4

[convolutional]
filters=14
activation=linear

[yolo]
mask=0,1
anchors=4,6, 10,12
classes=2
num=2
ignore_thresh=.6
iou_loss=ciou
counters_per_class=10,20

[convolutional]
filters=22
activation=linear

[Gaussian_yolo]
anchors=4,6, 10,12
classes=2
num=2

[convolutional]
filters=14
activation=linear

[region]
anchors=1,1, 2,3
classes=2
num=2
softmax=1

[connected]
output=10
activation=relu

[softmax]
groups=2
"""
WORDS = (
    "-1", "0", "1", "2", "3", "-7", "63", "1000000000", "2147483647", "2147483648", "-2147483648", "99999999999999999999",
    "1e308", "1e309", "-1e5", "nan", "inf", "-inf", "0x10", "1_000", "٣", "\uff11\uff12", "½", "1.5", "1e-320", "-0", "+4", "",
    ",", "1,,2", "1," * 300, "[", "]", "[[net]]", "=", "==", "#", ";", "\0", "\ufeff", "é", "\ud800", "\U0001d7db", "a" * 5000,
    "9" * 5000, "0." + "0" * 5000 + "1", "leaky", "mish", "../../x", "%n%s", "{}", "\x85", "\u2028", "\x0b", "\x1c",
)  # fmt: skip
KEYS = tuple(
    sorted({key for kind in SECTION_TYPES.values() for key in (*keys_of(kind), *kind.ignored, *kind.unsupported)})
)


def texts() -> list[str]:
    """Return the cfgs that are mutated: the small ones of here and of the golden data, the bundled ones."""
    found = [ZOO]
    for folder in GOLDEN_FOLDERS[:1]:  # those that every checkout has, so that a number means one input everywhere
        for file in sorted(folder.glob("*.npz")):
            with np.load(file, allow_pickle=False) as data:
                found += [str(data["cfg"])] if "cfg" in data.files else []
    unique = list(dict.fromkeys(found))
    return unique * 2 + [ZOO] * len(unique) + [file.read_text() for file in sorted(CFGS.glob("*.cfg"))]


TEXTS = texts()


def number(rng: random.Random) -> str:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(WORDS)
    if kind == 1:
        return str(rng.choice((1, -1)) * int(10 ** rng.uniform(0, 12)))
    if kind == 2:
        return repr(rng.uniform(-2, 2))
    if kind == 3:
        return ",".join(number(rng) for _ in range(rng.randrange(1, 5)))
    return str(rng.randint(-3, 4) if kind == 4 else rng.choice((0, 1, 1, 2, 3, 4, 8, 16, 64)))


def change_value(rng: random.Random, lines: list[str]) -> None:
    """Replace what a key has; mostly by something that C reads as a number."""
    index = rng.randrange(len(lines))
    for _ in range(20):
        if "=" in lines[index]:
            break
        index = rng.randrange(len(lines))
    lines[index] = lines[index].partition("=")[0] + "=" + number(rng)


def add_key(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines) + 1), f"{rng.choice(KEYS)}={number(rng)}")


def rename(rng: random.Random, lines: list[str]) -> None:
    heads = [index for index, line in enumerate(lines) if line.startswith("[")] or [0]
    titles = [*SECTION_TYPES, "conv", "lstm", "NET", "net ", "", "[net", "convolutiona1", "x" * 3000]
    lines[rng.choice(heads)] = f"[{rng.choice(titles)}]"


def drop(rng: random.Random, lines: list[str]) -> None:
    start = rng.randrange(len(lines))
    del lines[start : start + rng.choice((1, 1, 2, 8, 50))]


def double(rng: random.Random, lines: list[str]) -> None:
    start = rng.randrange(len(lines))
    part = lines[start : start + rng.choice((1, 5, 20))]
    lines[rng.randrange(len(lines) + 1) : 0] = part * rng.choice((1, 1, 1, 2, 3, 20))


def swap(rng: random.Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def insert_word(rng: random.Random, lines: list[str]) -> None:
    index = rng.randrange(len(lines))
    place = rng.randrange(len(lines[index]) + 1)
    lines[index] = lines[index][:place] + rng.choice(WORDS) + lines[index][place:]


def cut_off(rng: random.Random, lines: list[str]) -> None:
    index = rng.randrange(len(lines))
    del lines[index + 1 :]
    lines[index] = lines[index][: rng.randrange(len(lines[index]) + 1)]


def grow(rng: random.Random, lines: list[str]) -> None:
    """Append thousands of the same section."""
    bodies = (
        ["[maxpool]", "stride=1"], ["[upsample]", "stride=2"], ["[convolutional]", f"stride={number(rng)}"], ["[empty]"],
        ["[route]", "layers=-1,-1"], ["[maxpool]", "size=1", "stride=1000000"], ["[net]"], ["[yolo]"], ["[batchnorm]"],
        ["[reorg3d]", "stride=1"], ["[shortcut]", "from=-1"], [f"x{number(rng)}=1"], ["[upsample]", "stride=-1"],
        ["[reorg3d]", "stride=2", "reverse=1"], ["[convolutional]", "filters=2147483647"],
    )  # fmt: skip
    lines += rng.choice(bodies) * rng.choice((3, 40, 1000))


LINE_MUTATIONS: tuple[Callable[[random.Random, list[str]], None], ...] = (
    *(change_value,) * 8, *(add_key,) * 4, rename, drop, drop, double, swap, insert_word, cut_off,
)  # fmt: skip


def flip_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 30))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def mutated_cfg(index: int) -> bytes:
    """Return the cfg of one number, as the bytes of its file."""
    rng = random.Random(f"cfg {index}")
    lines = rng.choice(TEXTS).splitlines()
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(LINE_MUTATIONS)(rng, lines)
        lines = lines or [""]
    if rng.random() < 0.02:
        grow(rng, lines)
    ending = rng.choices(("\n", "\r\n", "\r", "\n\r", "\x85"), (20, 2, 2, 1, 1))[0]
    start = rng.choices(("", "\ufeff", "\0", "\n" * 50), (30, 1, 1, 1))[0]
    data = (start + ending.join(lines)).encode("utf-8", "surrogatepass")
    return flip_bytes(rng, data) if rng.random() < 0.2 else data


WEIGHED = """
[net]
width=16
height=16
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky

[convolutional]
filters=5
numload=3
activation=linear

[shortcut]
from=-1,-1
weights_type=per_feature

[batchnorm]

[connected]
batch_normalize=1
output=3

[convolutional]
batch_normalize=1
dontloadscales=1
filters=2

[convolutional]
filters=2
dontsave=1

[convolutional]
filters=2
dontload=1
"""
HEADER_NUMBERS = (0, 1, 2, 5, 10, 999, 1000, 1001, 100_000, 100_001, 2**31 - 1, -1, -(2**31))


def mutated_weights(index: int, whole: bytes) -> bytes:
    """Return the weights file of one number: another header, cut off, grown, changed, or no such file at all."""
    rng = random.Random(f"weights {index}")
    data = whole
    if rng.random() < 0.5:
        version = struct.pack("<3i", *(rng.choice(HEADER_NUMBERS) for _ in range(3)))
        seen = rng.choice((b"", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, struct.pack("<Q", rng.getrandbits(64))))
        data = version + seen + data[20:]
    kind = rng.randrange(7)
    if kind == 0:
        data = data[: rng.randrange(len(data) + 1)]
    elif kind == 1:
        data += rng.randbytes(rng.choice((1, 3, 4, 100, 5000)))
    elif kind == 2:
        data = flip_bytes(rng, data)
    elif kind == 3:
        data = rng.randbytes(rng.randrange(2000))
    elif kind == 4:
        start = rng.randrange(len(data))
        data = data[:start] + data[start + rng.choice((1, 4, 400)) :]
    elif kind == 5:
        data = data[:20] + struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38))) * ((len(data) - 20) // 4)
    return data
