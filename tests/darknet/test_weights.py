"""Weights files: Darknet's headers and order, round trips, backbones, and files that do not fit."""

from __future__ import annotations

import errno
import io
import os
import struct

import numpy as np
import pytest
import torch

from tests.conftest import golden
from yolo_subbatch.darknet import Header, Network, load_weights, parse_cfg, save_weights
from yolo_subbatch.darknet.report import weights_bytes
from yolo_subbatch.darknet.weights_header import read_header
from yolo_subbatch.errors import WeightsError

NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"
BN = """
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky
"""
POOL = "\n[maxpool]\nsize=2\nstride=2\n"
GROUPED = """
[convolutional]
batch_normalize=1
filters=6
size=3
groups=2
activation=leaky
"""
PLAIN = """
[convolutional]
filters=5
size=1
activation=linear
"""
MIXED = NET + BN + POOL + GROUPED + PLAIN
NO_BATCH_NORM = NET + PLAIN + POOL + PLAIN
SIZES = (4 * 4 + 4 * 3 * 9, 4 * 6 + 6 * 2 * 9, 5 + 5 * 6)  # floats of the three layers of MIXED

ACCEPTED = ["v020_seen64", "v010_seen32", "v025_seen64", "v100_seen64", "v000_seen32", "major1001_seen32"]
REFUSED = {
    "truncated_mid_conv2": r"ends inside layer 2 \(\[convolutional\]",
    "truncated_mid_float": r"ends inside layer 2 \(\[convolutional\]",
    "header_only": r"layer 0 \(\[convolutional\].*, 0 of its 93 numbers",
    "half_header": "less than a header",
    "empty": "empty",
    "trailing_extra": "1052 bytes, but .* describes 988",
}


def build(text: str = MIXED, seed: int = 0, **keywords) -> Network:
    """Return a network whose every number is random and no default."""
    network = Network(parse_cfg(text, "small.cfg"), **keywords)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return network


def saved(network: Network, **keywords) -> bytes:
    file = io.BytesIO()
    save_weights(network, file, **keywords)
    return file.getvalue()


def floats(network: Network) -> np.ndarray:
    data = saved(network)
    return np.frombuffer(data, "<f4", offset=read_header(data).size)


def file_of(values: np.ndarray, header: bytes | None = None) -> io.BytesIO:
    return io.BytesIO((header or struct.pack("<3iQ", 0, 2, 0, 0)) + values.astype("<f4").tobytes())


def golden_network(g: dict, name: str) -> Network:
    """Return the golden network with the numbers that Darknet had drawn before it read the file."""
    network = Network(parse_cfg(str(g["cfg"])))
    load_weights(network, file_of(g[f"{name}_init"]))
    return network


# --- Darknet's own files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ACCEPTED, "backbone_conv0_only"])
def test_what_darknet_reads_is_read(name):
    g = golden("weights_header.npz")
    network = golden_network(g, name)
    header = load_weights(network, io.BytesIO(g[f"{name}_file"].tobytes()), partial="backbone" in name)
    assert header.seen == int(g[f"{name}_seen"])
    assert floats(network).tobytes() == g[f"{name}_loaded"].tobytes()
    assert header.layers == (1 if "backbone" in name else 4)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(("name", "words"), REFUSED.items())
def test_what_darknet_misreads_in_silence_is_refused(name, words, partial):
    g = golden("weights_header.npz")
    network = golden_network(g, name)
    with pytest.raises(WeightsError, match=words):
        load_weights(network, io.BytesIO(g[f"{name}_file"].tobytes()), partial=partial)
    assert floats(network).tobytes() == g[f"{name}_init"].tobytes(), "a refused file changes nothing"


def test_a_short_file_names_the_line_of_its_layer():
    g = golden("weights_header.npz")
    text = str(g["cfg"])
    line = [number for number, each in enumerate(text.splitlines(), 1) if each == "[convolutional]"][1]
    with pytest.raises(WeightsError, match=rf"layer 2 \(\[convolutional\], line {line} of tiny.cfg\)"):
        load_weights(
            Network(parse_cfg(text, "tiny.cfg")), io.BytesIO(g["truncated_mid_conv2_file"].tobytes()), partial=True
        )


def test_a_backbone_is_refused_where_it_is_not_asked_for():
    g = golden("weights_header.npz")
    network = golden_network(g, "backbone_conv0_only")
    with pytest.raises(WeightsError, match=r"ends before layer 2 .* backbone"):
        load_weights(network, io.BytesIO(g["backbone_conv0_only_file"].tobytes()))
    assert floats(network).tobytes() == g["backbone_conv0_only_init"].tobytes()


def test_a_saved_backbone_equals_darknets():
    g = golden("weights_header.npz")
    network = Network(parse_cfg(str(g["cfg"])), "pjreddie")
    load_weights(network, file_of(g["full_floats"]))
    part = saved(network, stop=2, seen=640)
    assert part == g["save_upto_2"].tobytes()
    other = golden_network(g, "header_only")
    assert load_weights(other, io.BytesIO(part), partial=True).layers == 1
    count = (len(part) - 20) // 4
    assert np.array_equal(floats(other)[:count], g["full_floats"][:count])
    assert np.array_equal(floats(other)[count:], g["header_only_init"][count:])


# --- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [MIXED, NO_BATCH_NORM])
@pytest.mark.parametrize("by", ["path", "text", "stream", "open file"])
def test_a_round_trip_keeps_every_bit(tmp_path, text, by):
    network, path = build(text, 1), tmp_path / "net.weights"
    if by == "stream":
        file = io.BytesIO()
        save_weights(network, file, seen=2**40)
        data = file.getvalue()
        other = build(text, 2)
        header = load_weights(other, io.BytesIO(data))
    elif by == "open file":
        with path.open("wb") as file:
            save_weights(network, file, seen=2**40)
        other = build(text, 2)
        with path.open("rb") as file:
            header = load_weights(other, file)
        data = path.read_bytes()
    else:
        place = str(path) if by == "text" else path
        save_weights(network, place, seen=2**40)
        other = build(text, 2)
        header = load_weights(other, place)
        data = path.read_bytes()
    assert header == Header(0, 2, 0, 2**40, len(network.layers))
    wanted, found = network.state_dict(), other.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert saved(other, seen=2**40) == data
    assert len(data) == weights_bytes(network.cfg)


def test_bits_that_arithmetic_would_change_are_kept():
    """Numbers of every kind: not a number with a payload, infinite, denormal, minus zero."""
    network = build()
    bits = np.random.default_rng(0).integers(0, 2**32, sum(SIZES), dtype=np.uint64).astype("<u4")
    bits[:5] = 0x7FC12345, 0xFF800000, 0x00000001, 0x80000000, 0x7F800000
    data = struct.pack("<3iQ", 0, 2, 0, 7) + bits.tobytes()
    load_weights(network, io.BytesIO(data))
    assert saved(network, seen=7) == data


def test_the_order_is_darknets():
    """Biases, scales, means and variances, then weights as output, input, row, column."""
    network = build()
    values = np.arange(sum(SIZES), dtype=np.float32)
    load_weights(network, file_of(values))
    first, grouped, plain = (network.layers[index] for index in (0, 2, 3))
    assert first.bn.bias.tolist() == [0, 1, 2, 3]
    assert first.bn.weight.tolist() == [4, 5, 6, 7]
    assert first.bn.running_mean.tolist() == [8, 9, 10, 11]
    assert first.bn.running_var.tolist() == [12, 13, 14, 15]
    assert first.conv.weight[1, 2, 0, 1].item() == 16 + (1 * 3 + 2) * 9 + 1
    start = SIZES[0]
    assert grouped.bn.bias.tolist() == list(range(start, start + 6))
    assert grouped.conv.weight.shape == (6, 2, 3, 3)
    assert grouped.conv.weight.flatten().tolist() == list(range(start + 24, start + SIZES[1]))
    start += SIZES[1]
    assert plain.conv.bias.tolist() == list(range(start, start + 5))
    assert plain.conv.weight.flatten().tolist() == list(range(start + 5, start + SIZES[2]))


def test_float64_networks_are_written_as_float32():
    network = build()
    wanted = saved(network)
    assert saved(network.double()) == wanted
    other = build(seed=3).double()
    load_weights(other, io.BytesIO(wanted))
    assert other.layers[0].conv.weight.dtype == torch.float64
    assert saved(other) == wanted


@pytest.mark.parametrize(("flavour", "revision"), [("pjreddie", 0), ("alexeyab", 5)])
def test_the_header_is_the_flavours(flavour, revision):
    data = saved(build(flavour=flavour), seen=123456789012)
    assert data[:20] == struct.pack("<3iQ", 0, 2, revision, 123456789012)


# --- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("major", "minor", "size"),
    [
        (0, 0, 16),
        (0, 1, 16),
        (0, 2, 20),
        (0, 5, 20),
        (1, 0, 20),
        (2, 999, 20),
        (999, 0, 20),
        (1000, 0, 16),
        (0, 1000, 16),
    ],
)
def test_seen_has_64_bits_from_version_02_on(major, minor, size):
    seen = 3_000_000_000 if size == 20 else 30_000_000
    head = struct.pack("<3i", major, minor, 4) + struct.pack("<Q" if size == 20 else "<I", seen)
    header = read_header(head + bytes(8))
    assert (header.size, header.seen, header.major, header.minor, header.revision) == (size, seen, major, minor, 4)
    network, values = build(), np.arange(sum(SIZES), dtype=np.float32)
    assert load_weights(network, file_of(values, head)).seen == seen
    assert np.array_equal(floats(network), values)


@pytest.mark.parametrize("count", [1, 11, 12, 15, 16, 19])
def test_a_file_that_ends_in_the_header_says_so(count):
    with pytest.raises(WeightsError, match=f"only {count} bytes, less than a header"):
        load_weights(build(), io.BytesIO(struct.pack("<3iQ", 0, 2, 5, 1)[:count]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[net]\nbatch=64\nsubdivisions=16\nwidth=416\n", "this is a cfg"),
        (b"PK\x03\x04" + bytes(60), "this is a checkpoint of torch"),
        (struct.pack("<3iQ", 0, -2, 0, 0) + bytes(600), "does not start with a Darknet version"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(600), "this is a picture"),
        (bytes([9] * 600), "does not start with a Darknet version"),
    ],
    ids=["cfg", "zip", "negative version", "jpeg", "anything"],
)
def test_other_files_are_no_weights(tmp_path, data, words):
    path = tmp_path / "other.weights"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=rf"other\.weights: {words}"):
        load_weights(build(), path)


# --- files that do not fit ------------------------------------------------------------------------------------------


def cut_points() -> list[tuple[int, int]]:
    """Return byte counts after the header that end inside a layer, each with that layer's index."""
    ends = np.cumsum([0, *SIZES]) * 4
    places = []
    for index, start, end in zip((0, 2, 3), ends[:-1], ends[1:], strict=True):
        inside = [int(start) + 4, int(start) + 2, int(end) - 4, int(end) - 1]
        places += [(place, index) for place in inside]
    return places


@pytest.mark.parametrize(("count", "index"), cut_points())
@pytest.mark.parametrize("partial", [False, True])
def test_a_file_cut_inside_a_layer_is_refused_and_changes_nothing(count, index, partial):
    network, whole = build(seed=1), saved(build(seed=2))
    before = saved(network)
    with pytest.raises(WeightsError, match=rf"layer {index} \(\[convolutional\].*cut off"):
        load_weights(network, io.BytesIO(whole[: 20 + count]), partial=partial)
    assert saved(network) == before


@pytest.mark.parametrize(("whole", "covered"), [(1, 2 - 1), (2, 3)])
def test_a_backbone_ends_after_a_whole_layer(whole, covered):
    network, other = build(seed=1), build(seed=2)
    count = sum(SIZES[:whole])
    header = load_weights(network, io.BytesIO(saved(other)[: 20 + 4 * count]), partial=True)
    assert header.layers == covered
    assert np.array_equal(floats(network)[:count], floats(other)[:count])
    assert np.array_equal(floats(network)[count:], floats(build(seed=1))[count:])


@pytest.mark.parametrize(("stop", "whole"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (99, 3)])
def test_stop_leaves_the_later_layers_out(stop, whole):
    network = build()
    assert saved(network, stop=stop) == saved(network)[: 20 + 4 * sum(SIZES[:whole])]


def test_a_whole_file_is_also_a_partial_one():
    assert load_weights(build(seed=1), io.BytesIO(saved(build())), partial=True).layers == 4


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("extra", [1, 3, 4, 400])
def test_bytes_after_the_last_layer_are_refused(extra, partial):
    network, data = build(seed=1), saved(build(seed=2))
    before = saved(network)
    with pytest.raises(
        WeightsError, match=rf"{len(data) + extra} bytes, but small.cfg describes {len(data)};.*classes"
    ):
        load_weights(network, io.BytesIO(data + bytes(extra)), partial=partial)
    assert saved(network) == before


def test_empty_folder_and_missing(tmp_path):
    (tmp_path / "empty.weights").touch()
    for place, words in (("empty.weights", "empty"), ("none.weights", "No such file"), (".", "folder")):
        with pytest.raises(WeightsError, match=words) as error:
            load_weights(build(), tmp_path / place)
        assert str(error.value).startswith(str(tmp_path / place))


# --- what a section says about its weights --------------------------------------------------------------------------


def with_key(key: str) -> Network:
    """Return MIXED with a key in its second convolution."""
    return build(NET + BN + POOL + GROUPED + f"{key}=1\n" + PLAIN, seed=1)


def test_dontload_skips_a_layer_that_the_file_does_not_hold():
    network, before = with_key("dontload"), build(seed=1)
    values = np.arange(SIZES[0] + SIZES[2], dtype=np.float32)
    load_weights(network, file_of(values))
    found = np.split(floats(network), np.cumsum(SIZES)[:2])
    assert np.array_equal(np.concatenate((found[0], found[2])), values)
    assert np.array_equal(found[1], np.split(floats(before), np.cumsum(SIZES)[:2])[1])


def test_dontloadscales_reads_biases_and_weights_only():
    network, before = with_key("dontloadscales"), build(seed=1)
    values = np.arange(sum(SIZES) - 18, dtype=np.float32)
    load_weights(network, file_of(values))
    layer, old = network.layers[2], before.layers[2]
    for name in ("weight", "running_mean", "running_var"):
        assert torch.equal(getattr(layer.bn, name), getattr(old.bn, name)), name
    start = SIZES[0]
    assert layer.bn.bias.tolist() == list(range(start, start + 6))
    assert layer.conv.weight.flatten().tolist() == list(range(start + 6, start + 6 + 108))
    assert network.layers[3].conv.bias.tolist() == list(range(start + 114, start + 119))
    assert len(saved(network)) == 20 + 4 * sum(SIZES), "they are saved all the same"


def test_numload_reads_the_first_filters_only():
    text = NET + BN + POOL + GROUPED + "numload=4\n" + PLAIN
    network, before = build(text, seed=1), build(seed=1)
    taken = 4 * 4 + 4 * 2 * 9
    values = np.arange(SIZES[0] + taken + SIZES[2], dtype=np.float32)
    load_weights(network, file_of(values))
    layer, old, start = network.layers[2], before.layers[2], SIZES[0]
    for number, name in enumerate(("bias", "weight", "running_mean", "running_var")):
        found = getattr(layer.bn, name)
        assert found[:4].tolist() == list(range(start + 4 * number, start + 4 * number + 4)), name
        assert torch.equal(found[4:], getattr(old.bn, name)[4:]), name
    assert layer.conv.weight[:4].flatten().tolist() == list(range(start + 16, start + taken))
    assert torch.equal(layer.conv.weight[4:], old.conv.weight[4:])
    assert network.layers[3].conv.bias.tolist() == list(range(start + taken, start + taken + 5))
    assert len(saved(network)) == 20 + 4 * sum(SIZES), "all of them are saved"


def test_dontsave_leaves_a_layer_out_of_the_file():
    network = with_key("dontsave")
    whole = floats(build(seed=1))
    wanted = np.concatenate((whole[: SIZES[0]], whole[-SIZES[2] :]))
    assert np.array_equal(floats(network), wanted)
    assert weights_bytes(network.cfg) == 20 + wanted.nbytes


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsync", "replace", "open"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, name):
    path = tmp_path / "net.weights"
    save_weights(build(seed=1), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, full)
    with pytest.raises(WeightsError, match=r"net\.weights: cannot be written \(No space left on device\)"):
        save_weights(build(seed=2), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["net.weights"], "nothing half-written stays"


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.weights"
    save_weights(build(seed=1), path)
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_weights(build(seed=2), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("place", "words"), [("none/net.weights", "No such file"), ("folder", "no regular file")])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place, words):
    (tmp_path / "folder").mkdir()
    with pytest.raises(WeightsError, match=words) as error:
        save_weights(build(), tmp_path / place)
    assert str(error.value).startswith(str(tmp_path / place))
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_saved_file_has_the_usual_mode(tmp_path):
    before = os.umask(0o027)
    try:
        save_weights(build(), tmp_path / "net.weights")
    finally:
        os.umask(before)
    assert (tmp_path / "net.weights").stat().st_mode & 0o777 == 0o640


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "net.weights"
    path.write_bytes(bytes(10_000))
    network = build()
    save_weights(network, path)
    assert path.read_bytes() == saved(network)


# --- other layers ---------------------------------------------------------------------------------------------------

OTHERS = (
    NET
    + """
[convolutional]
filters=4
size=3
antialiasing=1
[convolutional]
filters=4
[shortcut]
from=-2
weights_type={kind}
[batchnorm]
[connected]
output=3
batch_normalize=1
[connected]
output=2
"""
)
KINDS = {"none": 0, "per_feature": 2, "per_channel": 8}
INPUTS = 4 * 14 * 14


def count_of(flavour: str, kind: str) -> list[int]:
    """Return the numbers of each layer in its file."""
    norm = 3 * 4 if flavour == "pjreddie" else 4 * 4
    return [4 + 4 * 3 * 9, 4 + 4 * 4, KINDS[kind], norm, 4 * 3 + 3 * INPUTS, 2 + 2 * 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
def test_other_layers_make_the_round_trip(flavour, kind):
    network = build(OTHERS.format(kind=kind), flavour=flavour)
    data = saved(network)
    assert len(data) == 20 + 4 * sum(count_of(flavour, kind)) == weights_bytes(network.cfg)
    other = build(OTHERS.format(kind=kind), seed=1, flavour=flavour)
    load_weights(other, io.BytesIO(data))
    assert saved(other) == data


def test_the_order_of_other_layers():
    """Shortcuts: the input's weights, then each source's. Connected: biases, weights, scales, means, variances."""
    network = build(OTHERS.format(kind="per_channel"), flavour="alexeyab")
    counts = count_of("alexeyab", "per_channel")
    load_weights(network, file_of(np.arange(sum(counts))))
    first = np.cumsum([0, *counts])
    assert network.layers[2].weight.tolist() == (first[2] + np.arange(8).reshape(2, 4)).tolist()
    norm = network.layers[3]
    parts = [norm.bias, norm.weight, norm.running_mean, norm.running_var]
    assert torch.stack(parts).flatten().tolist() == list(range(first[3], first[3] + 16))
    layer = network.layers[4]
    start = first[4]
    assert layer.norm.bias.tolist() == [start, start + 1, start + 2]
    assert layer.linear.weight.flatten().tolist() == list(range(start + 3, start + 3 + 3 * INPUTS))
    rest = torch.stack([layer.norm.weight, layer.norm.running_mean, layer.norm.running_var])
    assert rest.flatten().tolist() == list(range(start + 3 + 3 * INPUTS, start + 12 + 3 * INPUTS))


def test_a_batchnorm_of_pjreddies_darknet_keeps_its_biases_out():
    network = build(NET + "[batchnorm]\n", flavour="pjreddie")
    before = network.layers[0].bias.tolist()
    load_weights(network, file_of(np.arange(9)))
    assert network.layers[0].bias.tolist() == before
    assert network.layers[0].running_var.tolist() == [6, 7, 8]


@pytest.mark.parametrize(("major", "transposed"), [(0, False), (1001, True)])
def test_old_files_hold_connected_weights_transposed(major, transposed):
    network = build(NET + "[avgpool]\n[connected]\noutput=2\n")
    header = struct.pack("<3iI", major, 0, 0, 0) if transposed else None
    load_weights(network, file_of(np.arange(8), header))
    wanted = [[2, 4, 6], [3, 5, 7]] if transposed else [[2, 3, 4], [5, 6, 7]]
    assert network.layers[1].linear.weight.tolist() == wanted


@pytest.mark.parametrize("key", ["dontload", "dontsave"])
def test_a_shortcut_can_be_left_out(key):
    text = OTHERS.format(kind="per_channel").replace("weights_type", f"{key}=1\nweights_type")
    network = build(text)
    before = network.layers[2].weight.tolist()
    counts = count_of(network.flavour, "none")
    if key == "dontload":
        load_weights(network, file_of(np.arange(sum(counts))))
        assert network.layers[2].weight.tolist() == before
    else:
        assert len(floats(network)) == sum(counts)
