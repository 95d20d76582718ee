"""The version in a weights file stays what it was; a network of ours gets that of its own Darknet."""

from __future__ import annotations

import io

import numpy as np
import pytest

from yolo_subbatch.darknet import Network, load_weights, parse_cfg, save_weights
from yolo_subbatch.darknet.weights_header import Header, read_header, with_seen, written_header
from yolo_subbatch.errors import WeightsError

CFG = parse_cfg(
    "[net]\nwidth=4\nheight=4\nchannels=2\n[convolutional]\nfilters=3\nbatch_normalize=1\n[connected]\noutput=5\n"
)
VALUES = np.arange(3 * 4 + 6 + 5 + 48 * 5, dtype="<f4").tobytes()
VERSIONS = [(0, 1, 0), (0, 1, 7), (0, 2, 0), (0, 2, 5), (0, 2, 9), (1, 4, 2), (2000, 0, 0), (0, 2000, 3)]


def saved(network: Network, seen: int, stop: int | None = None) -> bytes:
    file = io.BytesIO()
    save_weights(network, file, seen, stop)
    return file.getvalue()


@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_read_is_written_again_to_the_bit(version: tuple[int, int, int], flavour: str) -> None:
    data = Header(*version, 123_456).to_bytes() + VALUES
    network = Network(CFG, flavour)
    header = load_weights(network, io.BytesIO(data))
    assert (header.version, header.seen) == (version, 123_456)
    assert saved(network, header.seen) == data
    part = saved(network, 0, stop=1)
    assert part == Header(*version, 0).to_bytes() + data[header.size : header.size + 4 * (3 * 4 + 6)]
    other = Network(CFG, flavour)
    load_weights(other, io.BytesIO(part), partial=True)
    assert read_header(saved(other, 5)).version == version


@pytest.mark.parametrize(("flavour", "revision"), [("pjreddie", 0), ("alexeyab", 5)])
def test_new_weights_have_the_version_of_their_darknet(flavour: str, revision: int) -> None:
    assert read_header(saved(Network(CFG, flavour), 9)) == Header(0, 2, revision, 9)


@pytest.mark.parametrize("version", VERSIONS)
def test_images_that_32_bits_cannot_count_take_64(version: tuple[int, int, int]) -> None:
    few, many = 2**31 - 1, 2**31
    assert written_header(version, few) == Header(*version, few)
    later = written_header(version, many)
    assert later.seen == many
    assert read_header(later.to_bytes()) == later
    assert later.version == (version if Header(*version, 0).size == 20 else (0, 2, version[2]))
    network = Network(CFG)
    load_weights(network, io.BytesIO(Header(*version, 0).to_bytes() + VALUES))
    again = Network(CFG)
    assert load_weights(again, io.BytesIO(saved(network, many))).seen == many
    for one, two in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert (one == two).all(), "matrices are turned as their version has them"


def test_another_count_leaves_the_rest_as_it_is() -> None:
    for version in VERSIONS:
        data = Header(*version, 7).to_bytes() + VALUES
        assert with_seen(data, 70) == Header(*version, 70).to_bytes() + VALUES
    assert with_seen(Header(0, 1, 3, 7).to_bytes() + VALUES, 2**31) == Header(0, 2, 3, 2**31).to_bytes() + VALUES
    with pytest.raises(WeightsError, match=r"version 2000\.0 cannot count 2147483648 images"):
        with_seen(Header(2000, 0, 0, 7).to_bytes() + VALUES, 2**31)
