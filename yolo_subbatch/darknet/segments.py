"""Recomputation: a forward pass that keeps the maps at a few borders, and computes the rest again for the backward.

torch's own activation checkpointing does it, for one segment after the other. Two things it leaves to its user:

* A layer that changes its own state in the forward pass, such as the running statistics of batch normalisation, would
  do so twice, and a layer that depends on it would compute something else. So the second time it has the state that it
  had the first time, and what becomes of that is forgotten.
* Where the borders lie. They are chosen by bytes (see :mod:`~yolo_subbatch.darknet.borders`), which are measured in
  one pass over the first images: layer by layer, so that it takes less memory than what it is to save.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from yolo_subbatch.darknet.borders import Borders, Costs, place_borders
from yolo_subbatch.darknet.cross_norm import CrossBatchNorm2d

INPUT = -1  # the number of the input among the outputs of layers


@dataclass(frozen=True)
class Layers:
    """A network as a sequence of layers, each of which reads outputs of earlier ones.

    Attributes:
        numbers: Of the layers, in the order in which they are computed.
        sources: For each of them the numbers of the outputs that it reads; -1 is the input of the network.
        wanted: The numbers of the outputs that are the network's.
        modules: For each of them what it consists of.
        compute: Returns the output of a layer by its number, given outputs by their numbers.
    """

    numbers: Sequence[int]
    sources: Sequence[Sequence[int]]
    wanted: Sequence[int]
    modules: Sequence[Sequence[nn.Module]]
    compute: Callable[[int, dict[int, Any]], Any]

    def last_places(self) -> dict[int, int]:
        """Return for every output the place of the layer that reads it last; behind all of them for those wanted."""
        found = {INPUT: 0}
        for place, number in enumerate(self.numbers):
            found[number] = place
            found.update(dict.fromkeys(self.sources[place], place))
        return found | dict.fromkeys(self.wanted, len(self.numbers))


class Segments:
    """A network that is computed in segments.

    Args:
        layers: The network.

    Attributes:
        borders: Where they are; None before the first pass, which measures them.
    """

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.borders: Borders | None = None
        self._last = layers.last_places()

    def measure(self, images: Tensor) -> Borders:
        """Choose the borders for images like these, ``(B, C, H, W)``; nothing of the network changes."""
        self.borders = place_borders(measured(self.layers, images))
        return self.borders

    def __call__(self, images: Tensor) -> list[Any]:
        """Return the outputs that are wanted of ``(B, C, H, W)``."""
        borders = self.borders or self.measure(images)
        outputs: dict[int, Any] = {INPUT: images}
        for start, stop in pairwise(borders.places):
            if stop == borders.places[-1]:  # its backward pass comes first: it would be computed twice for nothing
                self._compute(start, stop, outputs)
            else:
                self._recomputed(start, stop, outputs)
        return [outputs[number] for number in self.layers.wanted]

    def _compute(self, start: int, stop: int, outputs: dict[int, Any]) -> None:
        """Compute some layers, and let go of what no later one reads."""
        for place in range(start, stop):
            number = self.layers.numbers[place]
            outputs[number] = self.layers.compute(number, outputs)
            for each in {number, *self.layers.sources[place]}:
                if self._last[each] <= place:
                    outputs.pop(each, None)

    def _recomputed(self, start: int, stop: int, outputs: dict[int, Any]) -> None:
        """Compute some layers of which nothing but their input is kept."""
        numbers = self.layers.numbers[start:stop]
        read = {each for sources in self.layers.sources[start:stop] for each in sources}
        given = sorted(read - set(numbers))
        made = [number for number in numbers if self._last[number] >= stop]

        def compute(*maps: Tensor) -> tuple[Tensor, ...]:
            inner: dict[int, Any] = dict(zip(given, maps, strict=True))
            self._compute(start, stop, inner)
            return tuple(inner[number] for number in made)

        def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
            return nullcontext(), AsNow(each for parts in self.layers.modules[start:stop] for each in parts)

        found = checkpoint(compute, *(outputs[each] for each in given), use_reentrant=False, context_fn=contexts)
        outputs.update(zip(made, found, strict=True))
        for each in given:
            if self._last[each] < stop:
                del outputs[each]


class AsNow:
    """A context in which modules have the state of the moment when it was made; what becomes of it there is forgotten.

    The state is their buffers, what an earlier sub-batch left to ``bn=cross``, and what Python and numpy draw, which a
    hook or a layer of a user's may ask. It may be entered more than once: so often as gradients are asked for.

    Args:
        modules: Whose state is kept.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        every = list(dict.fromkeys(modules))
        self._places = [(module, name) for module in every for name, _ in module.named_buffers(recurse=False)]
        self._crossed = [module for module in every if isinstance(module, CrossBatchNorm2d)]
        self._then = self._state(_copies)
        self._before: list[_State] = []

    def __enter__(self) -> None:
        self._before.append(self._state(list))
        self._set(self._then, _copies)

    def __exit__(self, *_: object) -> None:
        self._set(self._before.pop(), list)

    def _state(self, taken: Callable[[list[Tensor]], list[Tensor]]) -> _State:
        buffers = [getattr(module, name) for module, name in self._places]
        earlier = [module.earlier for module in self._crossed]
        return _State(taken(buffers), earlier, random.getstate(), np.random.get_state())

    def _set(self, state: _State, taken: Callable[[list[Tensor]], list[Tensor]]) -> None:
        for (module, name), buffer in zip(self._places, taken(state.buffers), strict=True):
            setattr(module, name, buffer)
        for layer, earlier in zip(self._crossed, state.earlier, strict=True):
            layer.earlier = earlier
        random.setstate(state.python)
        np.random.set_state(state.numpy)


class _State(NamedTuple):
    """What :class:`AsNow` keeps."""

    buffers: list[Tensor]
    earlier: list[Any]
    python: Any
    numpy: Any


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    copies = [torch.empty_like(each) for each in tensors]
    if copies:
        with torch.no_grad():
            torch._foreach_copy_(copies, tensors)
    return copies


# --- measuring ------------------------------------------------------------------------------------------------------


def measured(layers: Layers, images: Tensor) -> Costs:
    """Return what the layers take in a training pass over images ``(B, C, H, W)``; nothing of the network changes."""
    devices = [] if images.device.type == "cpu" else [images.device]
    modules = [each for parts in layers.modules for each in parts]
    with AsNow(modules), torch.random.fork_rng(devices, device_type=images.device.type), torch.enable_grad():
        return _Measuring(layers, modules).run(images)


class _Measuring:
    """One forward pass whose graph keeps nothing: what it would have kept is counted, and let go after each layer."""

    def __init__(self, layers: Layers, modules: Sequence[nn.Module]) -> None:
        self.layers = layers
        owned = [tensor for each in modules for tensor in (*each.parameters(False), *each.buffers(False))]
        self.owned = {_place_of(tensor) for tensor in owned}
        self.weights = {tensor.shape for tensor in owned}
        self.costs = Costs({}, [], [], [], [], [True] * (len(layers.numbers) + 1))
        self.keys: dict[int, int] = {}  # of the maps that are there, by their place in memory
        self.made: dict[int, int] = {}  # the border behind the layer that made a map, by its key

    def run(self, images: Tensor) -> Costs:
        """Return the costs of all layers."""
        last, outputs = self.layers.last_places(), {INPUT: images}
        self._name(outputs, 0)
        for place, number in enumerate(self.layers.numbers):
            versions = self._versions(outputs)
            self.saved: list[Tensor] = []  # held until the layer is done, so that no two have the same place in memory
            with torch.autograd.graph.saved_tensors_hooks(self._note, _never):
                outputs[number] = self.layers.compute(number, outputs)
            self._refuse_borders_before(place, versions, self._versions(outputs))
            self._name(outputs, place + 1)
            self._count(self.layers.modules[place])
            for each in {number, *self.layers.sources[place]}:
                if last[each] <= place:
                    outputs.pop(each, None)
            self._name(outputs, place + 1)
            if not all(isinstance(each, Tensor) for each in outputs.values()):
                self.costs.possible[place + 1] = place + 1 == len(self.layers.numbers)
        return self.costs

    def _note(self, tensor: Tensor) -> None:
        self.saved.append(tensor)

    def _name(self, outputs: dict[int, Any], place: int) -> None:
        """Give a key to the maps that are new, and note which are live at a place."""
        tensors = [tensor for each in outputs.values() for tensor in _tensors(each)]
        known, self.keys = self.keys, {}
        for tensor in tensors:
            where = _place_of(tensor)
            key = known.get(where, self.keys.get(where))
            if key is None:
                key = len(self.costs.maps)
                self.costs.maps[key], self.made[key] = tensor.untyped_storage().nbytes(), place
            self.keys[where] = key
        del self.costs.live[place:]
        self.costs.live.append(frozenset(self.keys.values()))

    def _count(self, modules: Sequence[nn.Module]) -> None:
        """Count what a layer of some modules has kept; weights are there anyway, and so are their casts."""
        maps, others = set(), {}
        for tensor in self.saved:
            where, storage = _place_of(tensor), tensor.untyped_storage()
            if where in self.keys:
                maps.add(self.keys[where])
            elif where not in self.owned and tensor.shape not in self.weights:
                others[where] = storage.nbytes()
        self.saved = []
        new = self.costs.live[-1] - self.costs.live[-2]
        weights = [each.nbytes for module in modules for each in module.parameters(False) if each.requires_grad]
        self.costs.saved.append(frozenset(maps))
        self.costs.inside.append(sum(others.values()))
        self.costs.largest.append(max([0, *weights, *others.values(), *(self.costs.maps[each] for each in maps | new)]))

    def _versions(self, outputs: dict[int, Any]) -> dict[int, int]:
        tensors = [tensor for each in outputs.values() for tensor in _tensors(each)]
        return {_place_of(tensor): tensor._version for tensor in tensors}

    def _refuse_borders_before(self, place: int, before: dict[int, int], after: dict[int, int]) -> None:
        """Allow no border between the making of a map and a layer that changes it in place: it could not be redone.

        Before the input there is a border, so that where it is changed, no segment may be computed again.
        """
        for where, version in before.items():
            if after.get(where, version) != version:
                made = self.made[self.keys[where]]
                for border in range(max(1, made), place + 1 if made else len(self.layers.numbers)):
                    self.costs.possible[border] = False


def _never(_: Any) -> Tensor:
    raise RuntimeError("a pass that measures has no backward pass")


def _place_of(tensor: Tensor) -> int:
    """Return where in memory the storage of a tensor lies: views of one share it."""
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> Iterator[Tensor]:
    """Return the tensors in what a layer returns, such as a list of maps."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
