"""Sub-batches: the same update for any number of them, and what the well-known wrong loops do instead."""

from __future__ import annotations

import copy
import io
import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from tests.conftest import golden
from tests.darknet.test_training import truth_list
from yolo_subbatch.darknet import Network, darknet_sgd, learning_rate, load_weights, parse_cfg, set_rate, train_batch
from yolo_subbatch.darknet.iteration import split
from yolo_subbatch.darknet.parser import with_net
from yolo_subbatch.errors import SettingsError

BATCH, PARTS, IMAGES, EPOCHS = 8, 4, 14, 2  # each epoch ends with an update of 6 images
DOCUMENT = Path(__file__).parents[2] / "docs" / "sub-batches.md"

Problem = tuple[Network, torch.Tensor, list[torch.Tensor]]


@pytest.fixture(scope="module")
def problem() -> Problem:
    """A network without batch normalisation and 16 images with boxes, in float64."""
    g = golden("train_nobn_b8s4.npz")
    network = Network(with_net(parse_cfg(str(g["cfg"])), burn_in=6, batch=BATCH, subdivisions=PARTS), "pjreddie")
    load_weights(network, io.BytesIO(g["weights0"].tobytes()))
    images = torch.from_numpy(g["images_u8"]).double() / 255
    return network.double().train(), images, [truth_list(rows).double() for rows in g["truths"]]


def flat(network: Network) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in network.parameters()])


def trained(problem: Problem, count: int, subdivisions: int, max_norm: float | None = None) -> torch.Tensor:
    """Return the weights after three iterations on the first ``count`` images."""
    network, images, truths = copy.deepcopy(problem[0]), problem[1][:count], problem[2][:count]
    optimizer = darknet_sgd(network)
    for _ in range(3):
        train_batch(network, optimizer, images, truths, subdivisions, max_norm)
    return flat(network)


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("subdivisions", [2, 4, 8])
def test_any_number_of_sub_batches_gives_the_same_weights(problem, subdivisions, max_norm):
    whole = trained(problem, 8, 1, max_norm)
    assert (whole - flat(problem[0])).abs().max() > 1e-6, "the weights must move"
    assert (trained(problem, 8, subdivisions, max_norm) - whole).abs().max() < 1e-12


@pytest.mark.parametrize("subdivisions", [2, 3, 4, 7, 11])
def test_a_batch_that_does_not_divide_is_the_same_batch(problem, subdivisions):
    assert (trained(problem, 11, subdivisions) - trained(problem, 11, 1)).abs().max() < 1e-12


def test_parts_differ_by_at_most_one_image():
    for count in range(1, 20):
        for parts in range(1, count + 1):
            sizes = [each.stop - each.start for each in split(count, parts)]
            assert sum(sizes) == count
            assert len(sizes) == parts
            assert max(sizes) - min(sizes) <= 1


def test_losses_are_means_over_the_whole_batch(problem):
    network, images, truths = problem
    found = [
        train_batch(copied := copy.deepcopy(network), darknet_sgd(copied), images, truths, parts) for parts in (1, 4)
    ]
    wanted = (network.loss(network(images), truths) / len(images)).detach()
    for losses in found:
        for name in ("box", "objectness", "classes", "cost", "total"):
            assert float(getattr(losses, name)) == pytest.approx(float(getattr(wanted, name)), rel=1e-12)


def test_the_norm_of_the_whole_gradient_is_clipped(problem):
    """Without momentum and decay the step is the rate times the clipped norm."""
    network = copy.deepcopy(problem[0])
    start = flat(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.25)
    train_batch(network, optimizer, problem[1], problem[2], PARTS, max_norm=0.5)
    assert float((flat(network) - start).norm()) == pytest.approx(0.25 * 0.5, rel=1e-5)


@pytest.mark.parametrize(("subdivisions", "words"), [(0, "use 1 to 16"), (17, "use 1 to 16")])
def test_more_parts_than_images_are_refused(problem, subdivisions, words):
    network = copy.deepcopy(problem[0])
    with pytest.raises(SettingsError, match=words):
        train_batch(network, darknet_sgd(network), problem[1], problem[2], subdivisions)
    with pytest.raises(SettingsError, match="15 for 16 images"):
        train_batch(network, darknet_sgd(network), problem[1], problem[2][1:])


# --- the usual mistakes ---------------------------------------------------------------------------------------------

RIGHT = "none"
#: Each wrong loop by the name under which docs/sub-batches.md lists it.
MISTAKES = (
    "update when i % n == 0", "clip every partial sum", "divide a short window by n", "leave a window open",
    "never divide by n", "count warm-up in sub-batches",
)  # fmt: skip


def loop(problem: Problem, mistake: str = RIGHT, max_norm: float | None = None) -> Network:
    """Train as accumulation loops usually do, right or with one mistake; return the network.

    ``seen`` images of the open window have been accumulated; ``size`` is how many it will hold.
    """
    network = copy.deepcopy(problem[0])
    optimizer, net = darknet_sgd(network), network.cfg.net
    sub, passes, updates, seen = BATCH // PARTS, 0, 0, 0
    for _ in range(EPOCHS):
        for start in range(0, IMAGES, sub):
            part = slice(start, min(start + sub, IMAGES))
            size = min(BATCH, IMAGES - start // BATCH * BATCH)
            if mistake in {"divide a short window by n", "leave a window open", "update when i % n == 0"}:
                size = BATCH
            elif mistake == "never divide by n":
                size = sub
            (network.loss(network(problem[1][part]), problem[2][part]).total / size).backward()
            seen += part.stop - part.start
            if mistake == "clip every partial sum":
                clip_grad_norm_(network.parameters(), max_norm or math.inf)
            due = seen == BATCH or (part.stop == IMAGES and mistake != "leave a window open")
            if mistake == "update when i % n == 0":
                due = passes % PARTS == 0
            passes += 1
            if due:
                counted = passes if mistake == "count warm-up in sub-batches" else updates + 1
                set_rate(optimizer, learning_rate(net, counted))
                clip_grad_norm_(network.parameters(), max_norm or math.inf)
                optimizer.step()
                optimizer.zero_grad()
                updates, seen = updates + 1, 0
    return network


def right(problem: Problem, max_norm: float | None = None) -> Network:
    """Train the same images by ``train_batch``."""
    network = copy.deepcopy(problem[0])
    optimizer, updates = darknet_sgd(network), 0
    for _ in range(EPOCHS):
        for start in range(0, IMAGES, BATCH):
            part, updates = slice(start, min(start + BATCH, IMAGES)), updates + 1
            set_rate(optimizer, learning_rate(network.cfg.net, updates))
            parts = (part.stop - part.start) * PARTS // BATCH
            train_batch(network, optimizer, problem[1][part], problem[2][part], parts, max_norm)
    return network


def departure(problem: Problem, mistake: str) -> float:
    """Return how far a mistake leads from the right weights, as a share of the way that training went."""
    max_norm = 1.0 if "clip" in mistake else None
    goal = flat(right(problem, max_norm))
    return float((flat(loop(problem, mistake, max_norm)) - goal).norm() / (goal - flat(problem[0])).norm())


@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_an_honest_loop_equals_train_batch(problem, max_norm):
    assert (flat(loop(problem, max_norm=max_norm)) - flat(right(problem, max_norm))).abs().max() < 1e-12


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_and_the_document_says_how_large(problem, mistake):
    found = departure(problem, mistake)
    assert found > 0.02
    row = next(line for line in DOCUMENT.read_text().splitlines() if f"`{mistake}`" in line)
    (stated,) = re.findall(r"(\d+) %", row)
    assert round(100 * found) == int(stated)
