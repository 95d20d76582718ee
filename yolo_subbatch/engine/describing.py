"""What a training says about itself before it begins."""

from __future__ import annotations

from yolo_subbatch.engine.arguments import describe_clip
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.loading import describe_order


def described_step(trainer: TrainerBase) -> str:
    """Say at which norm gradients are clipped, or whose step that is."""
    own = trainer.own_method("optimizer_step")
    return describe_clip(trainer.args) if own is None else f"{own} once per update"


def described_norm(trainer: TrainerBase) -> list[str]:
    """Say what depends on the sub-batches or is kept from it, and what becomes of their activations."""
    each = trainer.train_loader.size // trainer.processes
    said = []
    if trainer.normalises():
        ways = {
            "sub-batch": f"per sub-batch of {each} images" if each > 1 else "per image",
            "cross": "over the sub-batches so far of each batch", "frozen": "frozen",
        }  # fmt: skip
        said.append(f"batch normalisation {ways[trainer.args.bn]}")
    if trainer.recompute is not None:
        said.append("activations computed again in the backward pass (recompute)")
    if trainer.exact is not None:
        said.append(f"exact_norm in {'two passes' if trainer.exact.two_pass else 'one pass'}")
    return said


def described(trainer: TrainerBase) -> list[str]:
    """Say whose step it is, what hangs on the sub-batches, and whose order of images."""
    return [described_step(trainer), *described_norm(trainer), *describe_order(trainer.train_loader)]
