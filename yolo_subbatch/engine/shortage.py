"""What to do when memory runs out: nothing may be lost but time."""

from __future__ import annotations

import torch

from yolo_subbatch.engine.arguments import numbers_of_parts
from yolo_subbatch.errors import SettingsError

#: What the messages of torch, CUDA and its libraries have in common when an allocation failed.
SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed",
    "cudnn_status_internal_error", "unable to find an engine", "std::bad_alloc", "could not create a primitive",
    "could not create a memory",
)  # fmt: skip
COUNTING = ("torch.optim.", "ultralytics.optim.")  # whose optimizers have torch count what they change
NO_SIGN = "could not create a primitive descriptor"  # of oneDNN, which has no such computation on this processor


def is_shortage(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and NO_SIGN not in text and any(sign in text for sign in SIGNS)


def finer(batch: int, subdivisions: int, processes: int = 1) -> int:
    """Return the next number of subdivisions, about twice as many.

    Raises:
        SettingsError: If every sub-batch is one image a process already.
    """
    fitting = [parts for parts in numbers_of_parts(batch, processes) if parts > subdivisions]
    if not fitting:
        raise SettingsError(
            f"subdivisions={subdivisions}: memory is short even for one image at a time; "
            "use a smaller imgsz or network, or free some memory, and go on with resume="
        )
    return next((each for each in fitting if each >= 2 * subdivisions), fitting[-1])


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class Snapshot:
    """The running statistics of a network before a window, to be put back if it is given up.

    Args:
        model: The network; all its buffers of floating point or whole numbers are kept.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.live = [each for each in model.buffers() if each.numel()]
        self.kept = [torch.empty_like(each) for each in self.live]

    def take(self) -> None:
        """Copy the buffers."""
        _copy(self.kept, self.live)

    def put_back(self) -> None:
        """Undo every change since :meth:`take`."""
        _copy(self.live, self.kept)


def _copy(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    if targets:
        with torch.no_grad():
            torch._foreach_copy_(targets, sources)


class Watch:
    """Watches whether an optimizer has changed weights or its own state, while this is entered.

    Args:
        optimizer: Whose step is awaited.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.before, self.begun = optimizer, _versions(optimizer), False

    def __enter__(self) -> Watch:
        self.hook = None
        try:
            self.hook = self.optimizer.register_step_pre_hook(self._begin)
        except AttributeError:  # one that is around another has not all that torch's own have
            self.begun = True
        return self

    def __exit__(self, *_: object) -> None:
        if self.hook is not None:
            self.hook.remove()

    def _begin(self, *_: object) -> None:
        self.begun = True

    def has_changed(self) -> bool:
        """Tell whether anything may be changed.

        Fused steps do not count what they change, and a user's own may go past the counting, by ``weight.data``.
        """
        fused = any(group.get("fused") for group in self.optimizer.param_groups)
        own = not type(self.optimizer).__module__.startswith(COUNTING)
        return (self.begun and (fused or own)) or _versions(self.optimizer) != self.before


def _versions(optimizer: torch.optim.Optimizer) -> list[int]:
    """Return how often every weight and every tensor of the optimizer's state was changed in place."""
    tensors = [weight for group in optimizer.param_groups for weight in group["params"]]
    tensors += [each for state in optimizer.state.values() for each in state.values() if isinstance(each, torch.Tensor)]
    return [each._version for each in tensors]
