"""The keys that sub-batches add to Ultralytics' own: defaults, checks, and how they are said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.checks import WITH_COMPILE
from yolo_subbatch.settings.train_settings import MISSING_LABELS, TrainSettings, setting
from yolo_subbatch.settings.values import memory_bytes, read_given

AUTO = "auto"
NORMS = ("sub-batch", "frozen", "cross")
#: With their defaults.
SUBBATCH_DEFAULTS: dict[str, Any] = {
    "subdivisions": 1,  # auto: as few as fit into memory
    "memory": None,  # what subdivisions=auto may use, such as 8GB
    "recompute": False,  # keep activations at a few borders alone, and compute the rest again in the backward pass
    "max_norm": 20.0,  # 0 or inf: no clipping
    "norm_type": 2.0,  # 2 or inf
    # mean: divide by the images of the update; sum: as Ultralytics, whose default rates are tuned for it
    "grad_reduction": "sum",
    "bn": "sub-batch",  # where batch normalisation takes its statistics: one of NORMS
    "exact_norm": False,  # make Ultralytics' own losses independent of the sub-batches
    "batch_per_gpu": False,  # Darknet's way: the batch of one GPU, and its rate, are multiplied by the GPUs
    "save_iterations": 1000,  # keep the exact state every so many iterations, besides after each epoch; 0: not
    "keep_state": True,  # also when the run is finished: it can be trained longer then
    "max_skipped": 10,  # updates in a row that are not finite numbers before the run ends; 0: never
    "missing_labels": None,  # what an image without a label file is: error, skip or background
    "max_pixels": None,  # of an image; None: 2**28, or what was said before in this process
    "trust": False,  # code that stands in files may run
    "bf16_on_cpu": False,  # what amp=bf16 becomes on a CPU
    "complete": False,  # these are all arguments of a run, none is to be filled in again
}


@dataclass(frozen=True)
class Keywords(TrainSettings):
    """What a Python caller can set: the settings of ``train``, and a few keys of the trainer alone."""

    grad_reduction: str = setting(
        "sum", "Batch", "Reduction", "Divide by the images of an update, or not.", choices=("mean", "sum")
    )
    step_scale: float | None = setting(None, "Optimizer", "Scale", "The scale of a cfg.", min=0)
    bf16_on_cpu: bool = setting(False, "Run", "Half precision", "What amp=bf16 becomes on a CPU.")


#: Keys that Ultralytics reads too, and that are of one kind for both.
SHARED = frozenset({"imgsz", "batch", "epochs", "patience", "workers", "seed", "amp", "momentum", "name", "project"})
#: Those of them whose bounds Ultralytics, or a message of its own, knows better.
HOSTS_BOUNDS = frozenset({"batch", "momentum"})
#: Keys that name something which may be an object of Ultralytics' own.
LEFT_ALONE = frozenset({"model", "resume", "cfg", "extra", "run_dir", "device"})


def read_keywords(given: Mapping[str, Any], darknet: bool) -> dict[str, Any]:
    """Return the arguments of a training as the command line would read them.

    Texts, numbers of numpy and torch, arrays and paths become values of the right kind; None is as good as not given.

    Args:
        given: The arguments; complete ones of a run are left as they are.
        darknet: The network is one of Darknet, whose cfg decides what a key means.

    Raises:
        SettingsError: With everything that is wrong.
    """
    if given.get("complete"):
        return dict(given)
    names = {each.name for each in fields(Keywords)} - LEFT_ALONE
    own = names if darknet else names & (SHARED | set(SUBBATCH_DEFAULTS))
    to_read = {key: value for key, value in given.items() if key not in LEFT_ALONE}
    read = read_given(Keywords, to_read, own, lambda key: darknet or key in own - HOSTS_BOUNDS)
    return read | {key: value for key, value in given.items() if key in LEFT_ALONE}


def check_arguments(args: Any) -> None:
    """Check the values of our keys, but for how the batch is cut.

    Raises:
        SettingsError: If one has no such value.
    """
    if args.grad_reduction not in {"mean", "sum"}:
        raise SettingsError(f"grad_reduction={args.grad_reduction}: unknown; use mean or sum")
    if args.norm_type not in {2, math.inf}:
        raise SettingsError(f"norm_type={args.norm_type}: unknown; use 2 or inf")
    if not args.max_norm >= 0:
        raise SettingsError(f"max_norm={args.max_norm}: too small; give at least 0, which is no clipping")
    if args.memory is not None:
        memory_bytes(args.memory)
    if args.bn not in NORMS:
        raise SettingsError(f"bn={args.bn}: unknown; use one of {', '.join(NORMS)}")
    check_recompute(args)
    check_missing_labels(args.missing_labels)
    if args.max_pixels is not None and (not isinstance(args.max_pixels, int) or args.max_pixels < 1):
        raise SettingsError(f"max_pixels={args.max_pixels}: give a whole number from 1")
    for key in ("save_iterations", "max_skipped"):
        value = getattr(args, key)
        if not isinstance(value, int) or value < 0:
            raise SettingsError(f"{key}={value}: give a whole number from 0, which turns it off")


def check_recompute(args: Any) -> None:
    """Check whether activations are to be computed again; the state of an older run says nothing of it.

    Raises:
        SettingsError: If that is no truth, or the network is compiled.
    """
    recompute = getattr(args, "recompute", False)
    if not isinstance(recompute, bool):
        raise SettingsError(f"recompute={recompute}: unknown; use True or False")
    if recompute and getattr(args, "compile", False):
        raise SettingsError(WITH_COMPILE)


def check_missing_labels(value: Any) -> None:
    """Check what an image without a label file is to be.

    Raises:
        SettingsError: If there is no such word.
    """
    if value not in {None, *MISSING_LABELS}:
        raise SettingsError(f"missing_labels={value}: unknown; use one of {', '.join(MISSING_LABELS)}")


def numbers_of_parts(batch: int, devices: int = 1) -> list[int]:
    """Return every number of subdivisions into which a batch can be cut, on so many devices."""
    small = [each for each in range(1, math.isqrt(batch) + 1) if batch % each == 0]
    return [parts for parts in sorted({*small, *(batch // each for each in small)}) if batch % (parts * devices) == 0]


def sub_batch_size(args: Any, devices: int) -> int:
    """Return the images of a sub-batch, over all devices together.

    Args:
        args: The arguments of a trainer; with ``subdivisions=auto`` the smallest sub-batch is returned.
        devices: How many devices share a sub-batch.

    Raises:
        SettingsError: If the batch cannot be cut like that.
    """
    batch, parts = args.batch, args.subdivisions
    if not isinstance(batch, int) or batch < 1:
        raise SettingsError(f"batch={batch}: a batch of fixed size is needed; give a whole number of images")
    if parts == AUTO and batch % devices == 0:
        return devices
    if not isinstance(parts, int) or parts < 1 or batch % (parts * devices):
        fitting = numbers_of_parts(batch, devices)
        near = sorted(fitting, key=lambda each: abs(each - parts))[:4] if isinstance(parts, int) else fitting
        raise SettingsError(
            f"subdivisions={parts}: does not divide batch={batch}"
            + (f" on {devices} devices" if devices > 1 else "")
            + "; use "
            + (f"one of {', '.join(map(str, sorted(near)))}" if near else "a batch that is a multiple of the devices")
        )
    return batch // parts


def describe_batch(args: Any, devices: int = 1) -> str:
    """Say how the batch is cut."""
    parts = args.subdivisions
    where = ""
    if devices > 1:
        each = f"{args.batch // devices} on each of {devices} devices"
        where = f" ({each}: batch_per_gpu, so the rate is multiplied too)" if args.batch_per_gpu else f" ({each})"
    return f"batch {args.batch}{where} = {parts} sub-batch{'es' if parts > 1 else ''} of {args.batch // parts} images"


def describe_clip(args: Any) -> str:
    """Say at which norm gradients are clipped."""
    return f"clip {args.max_norm:g}" if 0 < args.max_norm < math.inf else "no clipping"
