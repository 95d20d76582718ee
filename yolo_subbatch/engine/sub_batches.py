"""The network as Ultralytics' loop sees it: a batch of any size goes in at once, and is computed in sub-batches.

Ultralytics has to take a wrapper with a ``module`` for the network itself, as it does for one that is shared among
several GPUs. This wrapper gets a whole window, the images of one update, and runs forward and backward over its
sub-batches; the loss that it returns asks for nothing more.
"""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from ultralytics.utils.torch_utils import autocast, unwrap_model

from yolo_subbatch.darknet.cross_norm import begin_batch
from yolo_subbatch.darknet.transfer import CopyStream
from yolo_subbatch.engine import host
from yolo_subbatch.engine.exact_norm import ExactNorm
from yolo_subbatch.engine.recompute import Recompute, active
from yolo_subbatch.engine.shortage import Snapshot, is_shortage, reason_of
from yolo_subbatch.engine.windows import Part, Window
from yolo_subbatch.errors import TrainingError
from yolo_subbatch.settings.host_files import INSTALL, release


@dataclass
class Sums:
    """What the sub-batches of a window add up to, beside the gradients.

    Attributes:
        losses: The parts of the loss by name, summed over images, on the device.
        total: The loss itself, on the device.
        images: How many images that are, in all processes.
        parts: Sub-batches so far, in this process.
        factor: What gradients and losses are still to be multiplied by (``exact_norm``).
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    total: Any = 0.0
    images: int = 0
    parts: int = 0
    factor: Any = 1.0

    def add(self, part: Part, total: Tensor, losses: dict[str, Tensor]) -> None:
        """Add a sub-batch; a borrowed image counts for nothing."""
        self.parts += 1
        if not part.images:
            losses = {name: torch.zeros_like(value) for name, value in losses.items()}
            total = torch.zeros_like(total)
        self.images += part.images
        self.total = self.total + total
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value.detach() * part.images


class Training(Protocol):
    """What the sub-batches need of the trainer."""

    args: Any
    device: torch.device
    scaler: Any
    optimizer: Any
    loss_names: Any
    processes: int
    recompute: Recompute | None

    def check_pass(self) -> None:
        """Refuse a loop of the user's."""

    def own_method(self, name: str) -> str | None:
        """Return where the user's own class has a method, or None."""

    def precise(self) -> AbstractContextManager[Any]:
        """Return the context in which the network computes."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a sub-batch to the device."""

    def loss_weight(self, part: Part) -> float:
        """Return the factor on a sub-batch's loss that makes plain sums right."""

    def seed_sub_batch(self, index: int) -> None:
        """Seed what is drawn at random in a sub-batch."""

    def sub_batch_is_done(self) -> None:
        """Take note of a sub-batch."""

    def agree(self, sums: Sums, short: bool) -> bool:
        """Add up what all processes have, and return whether memory is short in one of them."""

    def sum_over_processes(self, values: Tensor) -> Tensor:
        """Return sums over all processes."""

    def cut_finer(self, reason: str) -> None:
        """Have smaller sub-batches from now on."""

    def _clear_memory(self) -> None: ...


class SubBatches(nn.Module):
    """Compute loss and gradient of a whole window in sub-batches.

    Args:
        module: The network, compiled or not.
        trainer: Whose network it is.
        exact: Has Ultralytics' own losses add up, if asked for.

    Attributes:
        window: The one whose update has not come yet; None between updates.
        sums: What its sub-batches add up to so far.

    Anything else than a window is handed to the network, and so are all attributes; a copy is one of the network.
    """

    def __init__(self, module: nn.Module, trainer: Training, exact: ExactNorm | None = None) -> None:
        super().__init__()
        self.module = module
        self.trainer = trainer
        self.exact = exact
        self.snapshot = Snapshot(self.plain)
        # A preprocess_batch of the user's may want the images on the CPU.
        beside = trainer.device.type == "cuda" and trainer.own_method("preprocess_batch") is None
        self.copies = CopyStream(trainer.device) if beside else None
        self.window: Window | None = None
        self.sums = Sums()

    @property
    def plain(self) -> Any:
        """The network without wrappers."""
        return unwrap_model(self.module)

    if not TYPE_CHECKING:  # else any attribute would be one to a checker of types

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name == "module" or name.startswith("_"):
                    raise
                return getattr(super().__getattr__("module"), name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return deepcopy(self.module, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return deepcopy, (self.module,)

    # --- a window ---------------------------------------------------------------------------------------------------

    def forward(self, batch: Any, *args: Any, **keywords: Any) -> Any:
        """Compute a window, or hand anything else to the network.

        Returns:
            The loss of the window, a leaf without a graph, and its parts as means per image.

        Raises:
            TrainingError: If the update of the window before never came.
        """
        if not isinstance(batch, Window):
            return self.module(batch, *args, **keywords)
        self.trainer.check_pass()
        if self.window is not None:
            raise TrainingError(
                f"ultralytics {release()}: its training loop goes on to the next batch without optimizer_step, so "
                f"updates would be wrong; {INSTALL}"
            )
        self.take(batch)
        found = self._loss()
        if self.trainer.args.compile:
            self._answer_next_loss(found)
        return found

    def take(self, window: Window) -> None:
        """Begin a window, and compute its gradient."""
        self.window = window
        self.compute()

    def compute(self) -> None:
        """Add up the gradient of the open window; where memory is short, again in smaller sub-batches."""
        assert self.window is not None
        while True:
            self._begin()
            shortage = self._over_all_parts(self.window)
            if not self.trainer.agree(self.sums, shortage is not None):
                return
            self.compute_finer(shortage or "")

    def compute_finer(self, reason: str) -> None:
        """Put back what the open window has moved, and cut it into smaller sub-batches."""
        assert self.window is not None
        self.put_back()
        self.trainer.cut_finer(reason)
        self.window.cut_again()

    def put_back(self) -> None:
        """Undo what the open window has moved, and let go of what it holds in memory."""
        self.trainer.optimizer.zero_grad()
        if self.window is not None:
            self.window.clear()
        self.sums = Sums()
        self.snapshot.put_back()
        gc.collect()
        self.trainer._clear_memory()

    def close(self) -> None:
        """Forget the window, whose update is done."""
        self.window = None

    def _begin(self) -> None:
        """Note what the window may move and would have to be put back."""
        self.trainer.optimizer.zero_grad()
        self.snapshot.take()
        self.sums = Sums()
        begin_batch(self.plain)

    def _over_all_parts(self, window: Window) -> str | None:
        """Compute sub-batch after sub-batch; return what memory ran out for, or None.

        They share the weights that autocast has cast, which it forgets at the end of its outermost block: here, or in
        Ultralytics' loop.
        """
        with self.trainer.precise():
            return self._over_each_part(window)

    def _over_each_part(self, window: Window) -> str | None:
        shortage = self._begin_exact(window)
        if shortage is not None:
            return shortage
        for part, batch in window.parts():
            self.trainer.seed_sub_batch(part.index)
            shortage = self._over(part, batch, window)
            if shortage is not None:
                return shortage
            self.trainer.sub_batch_is_done()
        if self.exact is not None and self.exact.is_open and self.trainer.processes == 1:
            self.sums.factor = self.exact.gradient_factor(self.exact.totals, self.sums.images)
        return None

    def _over(self, part: Part, batch: dict[str, Any], window: Window) -> str | None:
        """Compute one sub-batch, forward and backward; return what memory ran out for, or None."""
        try:
            batch = self._on_device(batch)
            loss, items = self._loss_of(batch)
            total = loss.sum()
            with torch.autocast(self.trainer.device.type, enabled=False):
                self.trainer.scaler.scale(total * self.trainer.loss_weight(part)).backward()
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            return reason_of(error)
        self.sums.add(part, total.detach(), host.by_name(items, self.trainer.loss_names))
        if not window:
            window.update(batch)  # what Ultralytics shows of a batch
        return None

    def _on_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a sub-batch to the device; on a GPU its images come while the one before is still computed."""
        if self.copies is not None:
            batch["img"] = self.copies.to_device(batch["img"])
        return self.trainer.preprocess_batch(batch)

    def _loss_of(self, batch: dict[str, Any]) -> Any:
        if self.trainer.args.compile:
            return self.plain.loss(batch, self.module(batch["img"]))
        with active(self.trainer.recompute):
            return self.module(batch)

    def _loss(self) -> tuple[Tensor, host.Items]:
        """Return loss and means of the window, in the form that Ultralytics' loop expects."""
        sums = self.sums
        total = (torch.as_tensor(sums.total, device=self.trainer.device).float() * sums.factor).requires_grad_()
        each = sums.factor / sums.images
        return total, host.as_host_wants({name: value * each for name, value in sums.losses.items()})

    def _answer_next_loss(self, found: Any) -> None:
        """Answer the network's next ``loss``, which Ultralytics asks for apart where the network is compiled."""

        def loss(*_: Any) -> Any:
            del self.plain.loss
            return found

        self.plain.loss = loss

    # --- exact_norm -------------------------------------------------------------------------------------------------

    def _begin_exact(self, window: Window) -> str | None:
        """Have the losses of the sub-batches add up to that of the whole window; return what memory ran out for."""
        exact = self.exact
        if exact is None:
            return None
        exact.end()
        if self.trainer.processes == 1 and len(window.cut) == 1:
            return None  # a single sub-batch is the whole window
        exact.begin()
        if exact.two_pass:
            shortage = self._measure(exact, window)
            begin_batch(self.plain)
            return shortage
        if not window.cut[0].images:
            exact.end()  # a borrowed image adds nothing to the sums
        return None

    def _measure(self, exact: ExactNorm, window: Window) -> str | None:
        """Run all sub-batches without gradients, for the sums that the losses are divided by."""
        shortage = None
        for part, batch in window.parts():
            if not part.images or shortage is not None:
                continue
            self.trainer.seed_sub_batch(part.index)
            try:
                with exact.measuring():
                    self._loss_of(self._on_device(batch))
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                shortage = reason_of(error)
        torch.clear_autocast_cache()  # older releases of torch keep casts that pass no gradient on
        totals = exact.totals
        images = totals.new_tensor([float(sum(part.images for part in window.cut))])
        found = self.trainer.sum_over_processes(torch.cat((totals, images)))
        exact.use(found[:-1], round(float(found[-1])) if self.trainer.processes > 1 else int(images))
        return shortage


def precise(device: torch.device, precision: Any) -> AbstractContextManager[Any]:
    """Return the context in which a network computes.

    Args:
        device: Where.
        precision: ``torch.bfloat16``, or whether to use half precision.
    """
    if precision is torch.bfloat16:  # on a CPU as well, where Ultralytics raises
        return torch.autocast(device.type, torch.bfloat16)
    context: AbstractContextManager[Any] = autocast(precision, device=device.type)
    return context
