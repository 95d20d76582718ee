"""Mutated cfgs and weights files: only our own errors come out, soon, and in memory that fits the file.

Every input is drawn from its number alone: ``run_cfg(4711)`` repeats a failure.
"""

from __future__ import annotations

import io
import signal
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.darknet.mutations import WEIGHED, mutated_cfg, mutated_weights
from yolo_subbatch.darknet import Network, learning_rate, load_weights, parse_cfg, read_cfg
from yolo_subbatch.darknet.explicit import explicit
from yolo_subbatch.darknet.geometry import LayerShape, check_detector, largest_stride, layer_table
from yolo_subbatch.darknet.parser import write_cfg
from yolo_subbatch.darknet.report import flops, layer_report, parameter_count, training_bytes, weights_bytes
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.darknet.weights import darknet_order
from yolo_subbatch.errors import CfgError, WeightsError

SECONDS = 30  # for one input; a guard against hanging, not a measurement
CONSTANT, FACTOR = 2**20, 100  # bytes of memory that parsing may take: beside the text, and for each byte of it
FEW = 20_000  # parameters up to which a network is built


@contextmanager
def bounded(where: str, most: int, traced: bool) -> Iterator[None]:
    """Fail, instead of hanging, where the system has an alarm; and where Python takes more memory than that."""

    def ring(*_: object) -> None:
        raise AssertionError(f"{where}: not done after {SECONDS} s")

    alarm = hasattr(signal, "setitimer")
    before = signal.signal(signal.SIGALRM, ring) if alarm else None
    if alarm:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
    if traced:
        tracemalloc.start()
    try:
        yield
        taken = tracemalloc.get_traced_memory()[1] if traced else 0
    finally:
        tracemalloc.stop()
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert taken <= most, f"{where}: {taken} bytes of memory"


def examine(cfg: Cfg) -> None:
    """Do with a cfg what can be done without computing an image."""
    for iteration in (0, 1, 2, 1000, 10**6):
        assert isinstance(learning_rate(cfg.net, iteration), float)
    again = parse_cfg(write_cfg(cfg), "again")
    assert (again.net, again.sections, again.alexeyab) == (cfg.net, explicit(cfg).sections, cfg.alexeyab)
    table = layer_table(cfg)
    assert len(table) == len(cfg.sections)
    assert all(min(layer.out_shape) >= 1 for layer in table)
    assert 0 <= flops(table) < float("inf")
    assert layer_report(cfg).count("\n") >= len(table)
    parameters = parameter_count(cfg)
    assert training_bytes(cfg, cfg.net.batch) >= 4 * parameters
    assert largest_stride(cfg) >= 1
    if parameters <= FEW and len(table) < 200:
        network = Network(cfg)
        assert sum(each.numel() for each in network.parameters()) == parameters
        assert weights_bytes(network.cfg) <= 20 + 8 * parameters
        everything = [*network.parameters(), *network.buffers()]
        assert sum(each.numel() for each in everything) <= 16 * (parameters + sum(map(channels_of, table)))
    with suppress(CfgError):
        check_detector(cfg)


def channels_of(layer: LayerShape) -> int:
    return max(layer.in_shape.channels, layer.out_shape.channels)


def run_cfg(index: int, folder: Path | None = None, traced: bool = True) -> bool:
    """Put one mutated cfg through; return whether all of it was accepted."""
    data = mutated_cfg(index)
    text = data.decode("utf-8", "replace") if index % 2 else data.decode("latin-1")
    with bounded(f"cfg {index}", CONSTANT + FACTOR * len(data), traced):
        try:
            if folder is not None and index % 8 == 0:
                (folder / "mutated.cfg").write_bytes(data)
                cfg = read_cfg(folder / "mutated.cfg")
            else:
                cfg = parse_cfg(text, "mutated.cfg")
            examine(cfg)
        except CfgError as error:
            check_message(str(error))
            return False
    return True


def check_message(message: str) -> None:
    """A message is some short printable lines, a fault each, that say what to do."""
    for line in message.splitlines():
        assert line.isprintable(), ascii(line)
        assert "; " in line or line.endswith("?"), line
        assert len(line) < 1000, line


def run_weights(index: int, network: Network, whole: bytes, folder: Path | None = None, traced: bool = True) -> bool:
    """Load one mutated file; return whether it was accepted. A refused one must change nothing."""
    data = mutated_weights(index, whole)
    partial = index % 3 == 0
    accepted = False
    with bounded(f"weights {index}", 2**20 + 8 * len(data), traced):
        try:
            if folder is not None and index % 8 == 0:
                (folder / "mutated.weights").write_bytes(data)
                header = load_weights(network, folder / "mutated.weights", partial)
            else:
                header = load_weights(network, io.BytesIO(data), partial)
            accepted = True
            assert 0 <= header.seen < 2**64
            assert header.layers <= len(network.layers)
        except WeightsError as error:
            check_message(str(error))
    if not accepted:
        assert written(network) == whole, f"weights {index}: refused, but the network changed"
    elif written(network) != whole:
        load_weights(network, io.BytesIO(whole))
    return accepted


def written(network: Network) -> bytes:
    """Return a file that the network reads; with numload and its like it is not what it writes."""
    arrays = (each for _, arrays in darknet_order(network) for each in arrays)
    return struct.pack("<3iQ", 0, 2, 0, 7) + b"".join(each.numpy().tobytes() for each in arrays)


def run_cfgs(numbers: range, folder: Path, traced: int = 1) -> int:
    """Put many cfgs through, every ``traced``-th with a look at its memory, which makes it slow."""
    return sum(run_cfg(index, folder, index % traced == 0) for index in numbers)


def run_weights_files(numbers: range, folder: Path, traced: int = 1) -> int:
    network = Network(parse_cfg(WEIGHED, "small.cfg"))
    whole = written(network)
    return sum(run_weights(index, network, whole, folder, index % traced == 0) for index in numbers)


def test_mutated_cfgs_give_our_own_errors_alone(tmp_path):
    accepted = run_cfgs(range(600), tmp_path, traced=10)
    assert 60 < accepted < 540  # neither is everything refused at the door, nor are the mutations too tame


def test_mutated_weights_give_our_own_errors_alone(tmp_path):
    accepted = run_weights_files(range(600), tmp_path, traced=10)
    assert 60 < accepted < 540


@pytest.mark.slow
@pytest.mark.parametrize("part", range(40))
def test_many_mutated_files(part, tmp_path):
    """100 000 inputs: 80 000 cfgs and 20 000 weights files."""
    assert run_cfgs(range(2000 * part, 2000 * (part + 1)), tmp_path)
    assert run_weights_files(range(500 * part, 500 * (part + 1)), tmp_path)


def cfg_of(body: str, net: str = "") -> str:
    return f"[net]\nwidth=32\nheight=32\nchannels=3\n{net}\n{body}"


TREE = "[convolutional]\nfilters=6\n[region]\nanchors=1,1\nclasses=1\ntree="


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (cfg_of("[maxpool]\nsize=1\nstride=1000000\n" * 2000), "makes the strides so far multiply"),
        (cfg_of("[upsample]\nstride=2\n" * 2000), "more than Darknet can count"),
        (cfg_of("[upsample]\nstride=2147483647\n"), "more than Darknet can count"),
        (cfg_of("[convolutional]\npadding=1000000000\n"), "more than Darknet can count"),
        (cfg_of("[convolutional]\n", "width=1\n").replace("width=32", "width=2147483647"), "an input of"),
        (cfg_of("[convolutional]\n" + "".join(f"z{index}=1\n" for index in range(20_000))), "one of very many"),
        (cfg_of("[convolutional]\nfilters=100000\n[convolutional]\nfilters=100000\nsize=3\n"), "would have 90,000"),
        (cfg_of("[connected]\noutput=1000000000\n"), "would have 3,073,000"),
        (cfg_of("[convolutional]\nfilters=1\n[reorg]\nstride=32\n[connected]\noutput=2000000\n"), "would have"),
        (cfg_of(TREE + "a" * 5000), "give the name of a file"),
        (cfg_of(TREE + "a\0b"), "give the name of a file"),
        (cfg_of(TREE + "\ud800"), "give the name of a file"),
        (cfg_of(TREE + "/dev/zero"), "no ordinary file"),
        ("[" * 100_000 + "]" * 100_000, "unknown section"),
    ],
)  # fmt: skip
def test_what_would_take_for_ever_is_refused(text, message):
    with bounded(message, 2**21 + FACTOR * len(text), traced=True), pytest.raises(CfgError, match=message):
        build(text)


def build(text: str) -> None:
    cfg = parse_cfg(text, "bomb.cfg")
    examine(cfg)
    Network(cfg)


@pytest.mark.skipif(not Path("/dev/zero").is_char_device(), reason="the system has no endless file")
def test_an_endless_file_is_read_no_further_than_it_can_be_of_use():
    network = Network(parse_cfg(WEIGHED, "small.cfg"))
    with bounded("/dev/zero", 2**21, traced=True):
        with pytest.raises(CfgError, match="not a regular file"):
            read_cfg("/dev/zero")
        with pytest.raises(WeightsError, match="not a regular file"):
            load_weights(network, "/dev/zero")


def test_names_that_no_file_can_have():
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(CfgError, match="cannot be read"):
            read_cfg(name)
        with pytest.raises(WeightsError, match="cannot be read"):
            load_weights(Network(parse_cfg(WEIGHED)), name)


@pytest.mark.parametrize(
    "net", ["policy=poly\nmax_batches=2\npower=1000001\n", "policy=sgdr\nsgdr_cycle=1\nsgdr_mult=1\n"]
)
def test_no_schedule_fails_or_counts_for_ever(net):
    cfg = parse_cfg(cfg_of("[convolutional]\n", net))
    with bounded(net, 2**20, traced=False):
        assert isinstance(learning_rate(cfg.net, 2**31 - 1), float)
