"""Where the releases of Ultralytics differ that this plug-in works with, in one place.

The rest of this package is written for the newest release. A difference is known by the number of the release that
brought it, or by the name that came with it; ``tests/hosts.sh`` runs the oldest, the newest and those around a change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from ultralytics.data import dataset, utils
from ultralytics.engine.trainer import BaseTrainer

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.host_files import INSTALL, release, version

NAMED_LOSSES = (8, 4, 104)  # from here on, a loss gives its parts by name; before, as one tensor without names
#: Methods of Ultralytics' trainer without whose calls updates would be wrong.
HOOKS = ("_build_train_pipeline", "_setup_train", "_do_train", "_model_train", "optimizer_step", "preprocess_batch")
_LABELS = threading.Lock()  # data sets that are built in several threads would read one another's labels
#: What a loss gives for the log: its parts by name or, before ``NAMED_LOSSES``, a tensor ``(parts,)``.
Items = Any


def check_hooks() -> None:
    """Make sure that the installed release has the methods that the trainer stands in for.

    Raises:
        SettingsError: If one has another name there.
    """
    missing = [name for name in HOOKS if not hasattr(BaseTrainer, name)]
    if missing:
        raise SettingsError(
            f"ultralytics {release()}: its trainer has no {', '.join(missing)}, so updates would be wrong; {INSTALL}"
        )


def losses_have_names() -> bool:
    """Tell whether Ultralytics hands the parts of a loss on by name."""
    return version() >= NAMED_LOSSES


def by_name(items: Items, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the parts of a loss by name, whichever way Ultralytics gives them."""
    if isinstance(items, Mapping):
        return dict(items)
    return dict(zip(names, items.reshape(-1).unbind(), strict=True))


def as_host_wants(items: Mapping[str, Tensor | float]) -> Items:
    """Return the parts of a loss in the form that the installed release expects."""
    if losses_have_names():
        return dict(items)
    values = [each if isinstance(each, Tensor) else torch.tensor(each) for each in items.values()]
    return values[0] if len(values) == 1 else torch.stack(values) if values else torch.zeros(0)


def with_values(items: Items, values: Tensor) -> Items:
    """Return the parts of a loss with other values ``(parts,)``, in their own form."""
    return dict(zip(items, values.unbind(), strict=True)) if isinstance(items, Mapping) else values.reshape(items.shape)


def scaled(items: Items, factor: Any) -> Items:
    """Return the parts of a loss, each times a factor."""
    return {name: each * factor for name, each in items.items()} if isinstance(items, Mapping) else items * factor


def zeros(names: Sequence[str], device: torch.device) -> Items:
    """Return parts of a loss that are all zero, in the form that the installed release expects."""
    return as_host_wants({name: torch.zeros((), device=device) for name in names})


def fraction_of(fraction: Any, split: str) -> float | int:
    """Return the share of a split's images, or how many, that ``fraction=`` asks for; older releases know one share."""
    found = getattr(utils, "get_split_fraction", None)
    if found is not None:
        asked: float | int = found(fraction, split)
        return asked
    return float(fraction) if split == "train" else 1.0


def warmup_of_loop(trainer: Any) -> int:
    """Return the passes of the loop's warm-up in releases before 8.4.103; later ones ask a method of the trainer."""
    epochs = trainer.args.warmup_epochs
    if hasattr(BaseTrainer, "_get_warmup_iterations") or epochs <= 0:
        return 0
    return max(round(epochs * len(trainer.train_loader)), 100)


def warmup_of(trainer: Any, updates: int) -> int:
    """Return the passes of a training's warm-up, in any release.

    Args:
        trainer: Whose loaders are there.
        updates: Of an epoch.
    """
    if hasattr(BaseTrainer, "_get_warmup_iterations"):
        return int(trainer._get_warmup_iterations(updates))
    return warmup_of_loop(trainer)


@contextmanager
def labels_from(files: Callable[[], list[str]]) -> Iterator[None]:
    """Have a data set read its labels from these files: releases before 8.4.105 ask no method of it which they are."""
    if hasattr(dataset.YOLODataset, "get_label_files"):
        yield
        return
    with _LABELS, patch.object(dataset, "img2label_paths", lambda _: files()):
        yield
