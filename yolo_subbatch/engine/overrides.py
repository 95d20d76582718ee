"""What a user's own trainer class may replace: its methods are called with the meaning that Ultralytics gives them.

For some methods, Ultralytics' loop must meet something of ours first. That never stands in a class, where a user's
method could hide it or be hidden by it, but on the trainer itself: a :class:`Seam` for each method ``around_NAME`` of
the mixin. It calls the user's method, or Ultralytics' where the user has none, as often and with the meaning that the
table says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from yolo_subbatch.errors import SettingsError

PREFIX = "around_"
#: Packages whose classes are nobody's own.
KNOWN = ("ultralytics", "yolo_subbatch")
#: Read an earlier run in Ultralytics' way, from half-precision averages of the weights.
READ_CHECKPOINTS = ("check_resume", "resume_training", "_load_checkpoint_state")
#: What a trainer class may have for us.
HOOKS = frozenset({"extra_state", "load_extra_state", "set_rates"})


class Rule(NamedTuple):
    """When a method is called, and what is done beside it."""

    when: str
    beside: str = ""


AS_IS = Rule("as by Ultralytics")
BY_ITS_OWN = Rule("by Ultralytics' own methods, as ever")
AT_RESUME = Rule(
    "in a new run as by Ultralytics", "with `resume=` refused: override `extra_state` and `load_extra_state`"
)
#: Every method of Ultralytics' ``BaseTrainer`` and ``DetectionTrainer``.
METHODS: dict[str, Rule] = {
    "__init__": Rule("once", "it must call `super().__init__(cfg, overrides, _callbacks)`"),
    "add_callback": AS_IS,
    "set_callback": AS_IS,
    "run_callbacks": Rule("for every event", "`on_sub_batch_end`, `on_optimizer_step` and others come to it too"),
    "train": Rule("once", "it must come to `super().train()` or `_do_train()`"),
    "_do_train": Rule("once", "it must call `super()._do_train()`: a loop of its own is refused at its first step"),
    "_setup_ddp": Rule("once in every process", "`super()` joins processes on a CPU as well"),
    "_setup_train": Rule("once", "the state of a run that goes on is put back after it"),
    "_build_train_pipeline": Rule("once", "a loader that it makes is cut into windows"),
    "_setup_scheduler": Rule(
        "once, and in every epoch with `time=`", "of a Darknet network: refused, `[net]` has the rate"
    ),
    "_get_warmup_iterations": Rule("as by Ultralytics", "a pass is an update; of a Darknet network: refused"),
    "setup_model": Rule("once"),
    "get_model": Rule("once", "the random numbers before it depend on `seed` alone"),
    "set_model_attributes": AS_IS,
    "set_model_names_for_load": BY_ITS_OWN,
    "set_class_weights": AS_IS,
    "get_class_counts": BY_ITS_OWN,
    "compute_class_weights": BY_ITS_OWN,
    "get_dataset": Rule("once", "`data=` is a YAML for it, also where a `.data` file was given"),
    "build_dataset": Rule("once a split", "`batch` is that of an update, not of a sub-batch"),
    "get_dataloader": Rule("once a split", "its sampler's order is kept, its batches are cut anew; see below"),
    "auto_batch": Rule("never: `batch` is fixed", "`subdivisions=auto` looks at the memory instead"),
    "build_optimizer": Rule("once", "`decay` is `weight_decay`; its groups, rates and decay stay"),
    "preprocess_batch": Rule("for every sub-batch"),
    "_model_train": Rule("once an epoch", "`bn=frozen` is applied after it"),
    "optimizer_step": Rule(
        "once per update", "with the gradient of all images of the update, unscaled and not clipped"
    ),
    "progress_string": AS_IS,
    "label_loss_items": AS_IS,
    "get_validator": Rule("once", "the keys of this package are not in `args` meanwhile"),
    "validate": Rule("once after an epoch", "again with fewer images where memory is short"),
    "final_eval": Rule("once", "not after a stop by Ctrl+C"),
    "save_model": AS_IS,
    "save_metrics": AS_IS,
    "read_results_csv": BY_ITS_OWN,
    "plot_training_samples": Rule("as by Ultralytics", "with the first sub-batch of an update"),
    "plot_training_labels": AS_IS,
    "plot_metrics": AS_IS,
    "on_plot": AS_IS,
    "_close_dataloader_mosaic": AS_IS,
    "_get_memory": BY_ITS_OWN,
    "_clear_memory": AS_IS,
    "check_resume": AT_RESUME,
    "resume_training": AT_RESUME,
    "_load_checkpoint_state": AT_RESUME,
    "_handle_nan_recovery": Rule("once after an epoch", "an epoch that it takes back begins at its first iteration"),
}


class Seam:
    """Stands on a trainer for one of its methods: ``around_NAME`` is called first, and gets the user's.

    What is put on the trainer under that name later (``trainer.validate = mine``) takes the place of the user's method;
    where it calls what stood there before, it reaches that.
    """

    def __init__(self, trainer: Any, name: str) -> None:
        self.trainer, self.name = trainer, name
        self.patches: list[Callable[..., Any]] = []  # the newest first
        self.levels: dict[Any, int] = {}  # how deep a call has come among those, by event for callbacks
        self.__name__, self.__self__ = name, trainer

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Do our part around the user's, or answer the user's method that calls the one before it."""
        key = args[0] if self.name == "run_callbacks" and args else None
        if key in self.levels:
            return self._call(key, self.levels[key] + 1, *args, **keywords)
        return getattr(self.trainer, PREFIX + self.name)(partial(self._call, key, 0), *args, **keywords)

    def _call(self, key: Any, level: int, *args: Any, **keywords: Any) -> Any:
        before = self.levels.get(key)
        self.levels[key] = level
        try:
            own = self.patches[level] if level < len(self.patches) else self.of_class()
            return own(*args, **keywords)
        finally:
            if before is None:
                del self.levels[key]
            else:
                self.levels[key] = before

    def of_class(self) -> Callable[..., Any]:
        """Return the method that the trainer's class has."""
        kind = type(self.trainer)
        found = inspect.getattr_static(kind, self.name)
        bound: Callable[..., Any] = found.__get__(self.trainer, kind)
        return bound

    def replace(self, method: Any) -> None:
        """Put a method in the place of the one before it; with the seam itself, all as it was."""
        self.patches = [] if method is self else [method, *self.patches]


class Seamed:
    """A trainer whose methods ``around_NAME`` stand around those that are called NAME."""

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        """Put the seams on the new trainer, before any ``__init__`` runs."""
        trainer = super().__new__(cls)
        for name in dir(cls):
            if name.startswith(PREFIX) and hasattr(cls, name.removeprefix(PREFIX)):
                trainer.__dict__[name.removeprefix(PREFIX)] = Seam(trainer, name.removeprefix(PREFIX))
        return trainer

    if not TYPE_CHECKING:  # else any attribute would be one to a checker of types

        def __setattr__(self, name: str, value: Any) -> None:
            seam = self.__dict__.get(name)
            if isinstance(seam, Seam):
                seam.replace(value)
            else:
                super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        seam = self.__dict__.get(name)
        if isinstance(seam, Seam):
            seam.replace(seam)
        else:
            super().__delattr__(name)

    def own_method(self, name: str) -> str | None:
        """Return how a user calls his own method of that name, ``Mine.validate``, or None where he has none."""
        seam = self.__dict__.get(name)
        if isinstance(seam, Seam) and seam.patches:
            return f"trainer.{name}"
        owner = owner_of(type(self), name)
        return None if owner is None else f"{owner.__name__}.{name}"

    def refuse_own(self, names: tuple[str, ...], why: str) -> None:
        """Refuse methods of a user's that would have no effect.

        Raises:
            SettingsError: With all of them.
        """
        found = [said for said in map(self.own_method, names) if said is not None]
        if found:
            raise SettingsError(f"{', '.join(found)}: {why}")


def owner_of(kind: type, name: str) -> type | None:
    """Return the class of a user's that gives a trainer class this method, None if Ultralytics or this package does.

    A class that stands behind this package's own in the order of inheritance counts as well.
    """
    for each in kind.__mro__:
        if name in vars(each):
            if not is_known(each):
                return each
            if each.__module__.startswith("ultralytics"):
                return None
    return None


def is_known(kind: type) -> bool:
    """Tell whether a class is Ultralytics', this package's or Python's own."""
    return kind is object or kind.__module__.partition(".")[0] in KNOWN
