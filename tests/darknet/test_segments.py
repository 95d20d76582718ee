"""A network that is computed in segments learns the same, bit for bit, and keeps less."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from yolo_subbatch.darknet import Network, parse_cfg
from yolo_subbatch.darknet.borders import Borders
from yolo_subbatch.darknet.cross_norm import begin_batch, gather_over_batch
from yolo_subbatch.darknet.segments import Layers, Segments, measured

CONV = "[convolutional]\nbatch_normalize={bn}\nfilters={filters}\nsize=3\nstride=1\npad=1\nactivation={act}\n"
#: Whatever draws, counts, reads far back, shares weights or changes its input in place.
CFG = "".join([
    "[net]\nbatch=4\nwidth=16\nheight=16\nchannels=3\nmax_batches=10\n",
    CONV.format(bn=1, filters=4, act="leaky"),  # 0
    "[dropout]\nprobability=.5\n",
    CONV.format(bn=1, filters=4, act="mish"),  # 2
    "[shortcut]\nfrom=-3\nactivation=leaky\n",
    "[dropout]\ndropblock=1\nprobability=.5\ndropblock_size_abs=3\n",
    "[convolutional]\nshare_index=2\nbatch_normalize=1\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=relu\n",  # 5
    "[maxpool]\nsize=2\nstride=2\n",
    CONV.format(bn=1, filters=6, act="swish"),
    "[batchnorm]\n",
    "[upsample]\nstride=2\n",
    "[route]\nlayers=-1,0\n",
    "[activation]\nactivation=leaky\n",
    CONV.format(bn=0, filters=8, act="linear"),
])  # fmt: skip
Pass = Callable[[Tensor], list[Any]]


def network(bn: str = "sub-batch") -> Network:
    torch.manual_seed(1)
    made = Network(parse_cfg(CFG, "odd.cfg"))
    made.set_seen(10)
    if bn == "cross":
        gather_over_batch(made)
    if bn == "frozen":
        for each in made.modules():
            if isinstance(each, nn.BatchNorm2d):
                each.eval()
    return made


def learn(model: nn.Module, forward: Pass, amp: bool = False, last: bool = False) -> list[Tensor]:
    """Run a batch of two sub-batches; return gradients, statistics and the next random number."""
    begin_batch(model)
    for part in range(2):
        torch.manual_seed(part)
        images = torch.rand(2, 3, 16, 16)
        if last:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            total = sum(each.float().square().sum() for each in forward(images))
        assert isinstance(total, Tensor)
        total.backward()
    gradients = [torch.zeros(()) if each.grad is None else each.grad for each in model.parameters()]
    return [*gradients, *model.buffers(), torch.rand(1)]


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("details", [
    {"bn": "sub-batch"}, {"bn": "cross"}, {"bn": "frozen"}, {"bn": "cross", "amp": True}, {"bn": "sub-batch", "last": True},
])  # fmt: skip
def test_any_borders_give_the_same_bits(details: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    bn, details = details["bn"], {key: value for key, value in details.items() if key != "bn"}
    plain = network(bn)
    layers = len(plain.as_layers().numbers)
    copies = [deepcopy(plain) for _ in range(9)]
    wanted = learn(plain, plain, **details)
    assert any(name.endswith("num_batches_tracked") for name, _ in plain.named_buffers())
    for index, copy in enumerate(copies):
        segments = Segments(copy.as_layers())
        every = list(combinations(segments_allowed(copy), index + 1))
        chosen = every[len(every) // 2]
        segments.borders = Borders((0, *chosen, layers), 0)
        assert same(learn(copy, segments, **details), wanted), chosen
    if bn == "sub-batch":  # with "cross", torch itself notices that something differs, and refuses
        monkeypatch.setattr("yolo_subbatch.darknet.segments.AsNow", lambda _: nullcontext())
        other = network(bn)
        segments = Segments(other.as_layers())
        segments.borders = Borders((0, *segments_allowed(other), layers), 0)
        assert not same(learn(other, segments, **details), wanted), "torch alone moves the statistics twice"


def segments_allowed(model: Network) -> list[int]:
    possible = measured(model.as_layers(), torch.rand(2, 3, 16, 16)).possible
    return [place for place, each in enumerate(possible) if each][1:-1]


def kept(forward: Pass, images: Tensor) -> int:
    """Return how many bytes the graph of a pass holds."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = forward(images)
    del outputs
    return sum(found.values())


def deep(layers: int = 12) -> Network:
    text = "[net]\nwidth=64\nheight=64\nchannels=3\n" + CONV.format(bn=1, filters=8, act="leaky") * layers
    return Network(parse_cfg(text, "deep.cfg"))


def test_less_is_kept() -> None:
    model, images = deep(), torch.rand(1, 3, 64, 64)
    segments = Segments(model.as_layers())
    whole, peak = kept(model, images), segments.measure(images).peak
    assert len(segments.borders.places) > 3 if segments.borders else False
    assert kept(segments, images) < peak < 0.5 * whole


def test_measuring_changes_nothing_and_counts_what_is_kept() -> None:
    for bn in ("sub-batch", "cross"):
        model, images = network(bn), torch.rand(2, 3, 16, 16)
        state = torch.get_rng_state()
        before = [each.clone() for each in (*model.parameters(), *model.buffers())]
        costs = measured(model.as_layers(), images)
        assert torch.equal(torch.get_rng_state(), state)
        assert same([*model.parameters(), *model.buffers()], before)
        assert all(getattr(each, "earlier", None) is None for each in model.modules())
        total = sum(costs.inside) + costs.bytes_of(frozenset().union(*costs.saved))
        own = sum(each.nbytes for each in model.state_dict().values())
        assert 0.8 * total < kept(model, images) < total + 2 * own


def test_what_is_frozen_costs_nothing() -> None:
    model, images = deep(), torch.rand(1, 3, 64, 64)
    for layer in list(model.layers)[:6]:
        layer.requires_grad_(False)
    costs = measured(model.as_layers(), images)
    assert not any(costs.inside[:6])
    assert not any(costs.saved[:6])
    segments = Segments(model.as_layers())
    torch.manual_seed(0)
    copy = deepcopy(model)
    assert same(learn_once(model, segments, images), learn_once(copy, copy, images))


def learn_once(model: nn.Module, forward: Pass, images: Tensor) -> list[Tensor]:
    sum(each.square().sum() for each in forward(images)).backward()  # type: ignore[union-attr]
    return [each.grad for each in model.parameters() if each.grad is not None] + list(model.buffers())


def test_no_border_before_a_layer_that_changes_its_input_in_place() -> None:
    """What lies there would be another map by the time that it is computed again."""
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3))
    layers = Layers(
        range(4), [[-1], [0], [1], [2]], [3], [list(each.modules()) for each in chain],
        lambda number, outputs: chain[number](outputs[number - 1]),
    )  # fmt: skip
    assert measured(layers, torch.rand(1, 3, 16, 16)).possible == [True, True, False, True, True]
    chain[1] = nn.ReLU(inplace=True)
    chain[0] = nn.Identity()  # so that the images themselves are changed
    chain[2] = nn.Conv2d(3, 4, 3)
    assert measured(layers, torch.rand(1, 3, 16, 16)).possible == [True, False, False, False, True]


def test_state_of_a_users_own_layer_is_what_it_was() -> None:
    """One that scales by how often it was called, which it counts in a buffer, and by what is drawn without torch.

    Also where the gradient is asked for twice.
    """

    class Counting(nn.Module):
        calls: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.ones(()))
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            drawn = random.random() + np.random.rand()
            found: Tensor = self.conv(x).tanh() * self.calls * drawn
            return found

    def learn_twice(model: nn.Module, forward: Pass) -> list[Any]:
        random.seed(1)
        np.random.seed(1)
        total = sum(each.square().sum() for each in forward(images))
        first = next(model.parameters())
        penalty = torch.autograd.grad(total, first, retain_graph=True)[0].sum()
        (total * (1 + penalty)).backward()
        numbers = torch.tensor([random.random(), np.random.rand()])
        return [each.grad for each in model.parameters()] + [*model.buffers(), numbers]

    torch.manual_seed(0)
    plain = nn.Sequential(*(Counting() for _ in range(3)))
    copy = deepcopy(plain)
    layers = Layers(
        range(3), [[-1], [0], [1]], [2], [list(each.modules()) for each in copy],
        lambda number, outputs: copy[number](outputs[number - 1]),
    )  # fmt: skip
    segments, images = Segments(layers), torch.rand(1, 3, 8, 8)
    random.seed(2)
    next_drawn = random.Random(2).random()
    segments.measure(images)
    assert random.random() == next_drawn
    segments.borders = Borders((0, 1, 2, 3), 0)
    assert same(learn_twice(copy, segments), learn_twice(plain, lambda x: [plain(x)]))
    assert [int(each.calls) for each in copy.modules() if isinstance(each, Counting)] == [2, 2, 2]
