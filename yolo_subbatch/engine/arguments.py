"""The keys that sub-batches add to Ultralytics' own: defaults, checks, and how they are said."""

from __future__ import annotations

import math
from typing import Any

from yolo_subbatch.errors import SettingsError

#: With their defaults.
SUBBATCH_DEFAULTS: dict[str, Any] = {
    "subdivisions": 1,
    "max_norm": 20.0,  # 0 or inf: no clipping
    "norm_type": 2.0,  # 2 or inf
    # mean: divide by the images of the update; sum: as Ultralytics, whose default rates are tuned for it
    "grad_reduction": "sum",
    "bf16_on_cpu": False,  # what amp=bf16 becomes on a CPU
}


def sub_batch_size(args: Any, devices: int) -> int:
    """Return the images of a sub-batch, over all devices together.

    Args:
        args: The arguments of a trainer.
        devices: How many devices share a sub-batch.

    Raises:
        SettingsError: If the batch cannot be cut like that, or another key of ours has no such value.
    """
    batch, parts = args.batch, args.subdivisions
    if not isinstance(batch, int) or batch < 1:
        raise SettingsError(f"batch={batch}: a batch of fixed size is needed; give a whole number of images")
    if not isinstance(parts, int) or parts < 1 or batch % (parts * devices):
        fitting = [each for each in range(1, batch + 1) if batch % (each * devices) == 0]
        near = sorted(fitting, key=lambda each: abs(each - parts))[:4] if isinstance(parts, int) else fitting
        raise SettingsError(
            f"subdivisions={parts}: does not divide batch={batch}"
            + (f" on {devices} devices" if devices > 1 else "")
            + f"; use one of {', '.join(map(str, sorted(near))) or 'a larger batch'}"
        )
    if args.grad_reduction not in {"mean", "sum"}:
        raise SettingsError(f"grad_reduction={args.grad_reduction}: unknown; use mean or sum")
    if args.norm_type not in {2, math.inf}:
        raise SettingsError(f"norm_type={args.norm_type}: unknown; use 2 or inf")
    if not args.max_norm >= 0:
        raise SettingsError(f"max_norm={args.max_norm}: too small; give at least 0, which is no clipping")
    return batch // parts


def describe_batch(args: Any) -> str:
    """Say how the batch is cut."""
    parts = args.subdivisions
    return f"batch {args.batch} = {parts} sub-batch{'es' if parts > 1 else ''} of {args.batch // parts} images"


def describe_clip(args: Any) -> str:
    """Say at which norm gradients are clipped."""
    return f"clip {args.max_norm:g}" if 0 < args.max_norm < math.inf else "no clipping"
