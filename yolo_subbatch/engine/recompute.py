"""``recompute=True``: activations are kept at a few borders alone, and computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import BaseModel

from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.segments import Layers, Segments
from yolo_subbatch.errors import SettingsError

ONLY = "recompute=True: only a plain sequence of layers can be cut"
LEFT_OUT = "leave it out, and give more subdivisions"
COST = "up to a third more computation"  # one forward pass more beside a forward and a backward one, which are three


class Recompute:
    """Have the training passes of a model keep less, in exchange for computing most of it twice.

    It acts inside of :meth:`active`, on passes with gradients: a validation, or a copy of the model, knows nothing of
    it. Weights and statistics are the same, bit for bit, as without it.

    Args:
        model: A Darknet network as a model, or one of Ultralytics that is a plain sequence of layers; no wrappers.

    Attributes:
        segments: The network as it is computed then.

    Raises:
        SettingsError: If the model's forward pass is another one.
    """

    def __init__(self, model: nn.Module) -> None:
        network = getattr(model, "network", None)
        if isinstance(network, Network):
            if type(network).forward is not Network.forward or "forward" in vars(network):
                raise SettingsError(f"{ONLY}, the forward() of {type(network).__name__} is one of its own; {LEFT_OUT}")
            self._owner: nn.Module = network
            self._name, self._many, layers = "forward", True, network.as_layers()
        else:
            self._owner, self._name, self._many, layers = model, "_predict_once", False, layers_of(model)
        self.segments = Segments(layers)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute the passes inside in segments."""
        plain = getattr(self._owner, self._name)

        def forward(images: Tensor, *given: Any, **keywords: Any) -> Any:
            if not torch.is_grad_enabled() or any(given) or any(keywords.values()):
                return plain(images, *given, **keywords)
            outputs = self.segments(images)
            return outputs if self._many else outputs[0]

        # On the object, not on its class, and only for this time: a copy of the model has none of it.
        setattr(self._owner, self._name, forward)
        try:
            yield
        finally:
            delattr(self._owner, self._name)


def is_possible(model: nn.Module) -> bool:
    """Tell whether a model can be computed so."""
    try:
        Recompute(model)
    except SettingsError:
        return False
    return True


def active(recompute: Recompute | None) -> AbstractContextManager[None]:
    """Return the context for a pass with or without recomputation."""
    return nullcontext() if recompute is None else recompute.active()


def layers_of(model: nn.Module) -> Layers:
    """Return what the forward pass of one of Ultralytics' models consists of.

    Raises:
        SettingsError: If it is no plain sequence of layers.
    """
    kind, found = type(model), getattr(model, "model", None)
    own = next((name for name in ("forward", "predict", "_predict_once") if _is_own(model, name)), None)
    if own is not None or not isinstance(found, nn.Sequential):
        what = f"the {own}() of {kind.__name__} is one of its own" if own else f"{kind.__name__} is none"
        raise SettingsError(f"{ONLY}, {what}; {LEFT_OUT}")
    if not all(hasattr(layer, "f") and getattr(layer, "i", None) == index for index, layer in enumerate(found)):
        raise SettingsError(
            f"recompute=True: the layers of {kind.__name__} do not tell what they read (i and f); {LEFT_OUT}"
        )
    numbers = range(len(found))
    given: list[Any] = [layer.f for layer in found]
    sources = [_numbers(index, read) for index, read in enumerate(given)]

    def compute(index: int, outputs: dict[int, Any]) -> Any:
        maps = [outputs[each] for each in sources[index]]
        return found[index](maps[0] if isinstance(given[index], int) else maps)

    modules = [list(layer.modules()) for layer in found]
    return Layers(numbers, sources, [len(found) - 1], modules, compute)


def _numbers(index: int, read: int | Iterable[int]) -> list[int]:
    """Return which outputs a layer reads, of which Ultralytics counts some back from the layer."""
    return [each if each >= 0 else index + each for each in ([read] if isinstance(read, int) else read)]


def _is_own(model: nn.Module, name: str) -> bool:
    """Tell whether a method that the forward pass goes through is not that of Ultralytics' base class."""
    return name in vars(model) or getattr(type(model), name, None) is not getattr(BaseModel, name)
