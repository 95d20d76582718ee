"""What a form shows beside the settings: whether a run can start, what it will use, what holds where nothing is given.

The same checks as the command line's, and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from yolo_subbatch.darknet.datafile import read_data, read_image_list
from yolo_subbatch.darknet.geometry import layer_table, with_classes
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.darknet.plan import plan_run
from yolo_subbatch.darknet.report import LayerRow, flops, layer_rows, parameter_count, training_bytes
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.errors import YoloSubbatchError
from yolo_subbatch.settings.checks import Problem, check_ranges
from yolo_subbatch.settings.data_checks import KEYS, class_count, read_yaml, yaml_images
from yolo_subbatch.settings.find import YAML, bundled_cfgs, find_cfg, find_data
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import DEFAULT_BATCH, validate
from yolo_subbatch.settings.training_data_checks import missing_labels
from yolo_subbatch.settings.values import defaults

__all__ = ["CfgFacts", "DataFacts", "LayerRow", "Readiness", "bundled_cfgs", "cfg_facts", "check_ready", "read_layers"]

Found = TypeVar("Found")
#: Settings for which the cfg's [net] holds where nothing is given.
OF_THE_CFG = (
    "batch", "subdivisions", "max_batches", "learning_rate", "momentum", "decay", "burn_in", "power", "policy", "steps",
    "scales", "step", "scale", "gamma", "learning_rate_min", "hue", "saturation", "exposure", "flip", "angle",
    "letter_box", "mosaic_bound", "blur", "gaussian_noise", "resize_step", "ema_alpha",
)  # fmt: skip
HOST_EPOCHS = 100  # of a model that no cfg describes, as in Ultralytics
OF_ITS_HEADS = ("random", "jitter", "resize", "ignore_thresh", "truth_thresh")


@dataclass(frozen=True)
class CfgFacts:
    """What a cfg is: the number of its layers and heads, its classes, weights and cost of one image."""

    layers: int
    heads: int
    classes: int
    parameters: int
    bflops: float
    width: int
    height: int


@dataclass(frozen=True)
class DataFacts:
    """What a data set holds; None where it cannot be counted without reading or downloading it."""

    classes: int | None = None
    train: int | None = None
    val: int | None = None
    built_in: bool = False


@dataclass(frozen=True)
class Readiness:
    """Whether a run can start.

    ``effective`` tells, for settings without a value, the one that will hold. ``sub_batch`` is the number of images at
    a time, ``memory`` about how many bytes they take, ``iterations`` the length of the run; None where it is not known
    before torch and the data are loaded.
    """

    problems: tuple[Problem, ...] = ()
    cfg: CfgFacts | None = None
    data: DataFacts | None = None
    effective: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None
    subdivisions: int | None = None
    sub_batch: float | None = None
    memory: int | None = None
    iterations: int | None = None
    epochs: int | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What prevents the run."""
        return tuple(each for each in self.problems if each.level == "error")

    @property
    def ready(self) -> bool:
        """Whether the run can start."""
        return not self.errors


def check_ready(settings: TrainSettings) -> Readiness:
    """Check settings while one types; labels are left to the run itself, since reading them takes long."""
    problems = tuple(dict.fromkeys(validate(settings, labels=False)))
    settings = _in_range(settings)
    given = _quietly(lambda: read_cfg(find_cfg(settings.cfg))) if settings.cfg else None
    data = _quietly(lambda: data_facts(settings.data))
    if given is None:
        return replace(_of_a_model(settings), problems=problems, data=data)
    classes = data.classes if data else None
    cfg = _quietly(lambda: with_classes(given, classes)) if classes else None
    cfg = cfg or given
    height, width = _size(settings, cfg)
    facts = _quietly(lambda: cfg_facts(cfg, width, height))
    batch, parts = _parts(settings, cfg)
    sub_batch = batch / parts if parts else None
    known = sub_batch is not None and facts is not None and not settings.recompute  # which is measured by the run
    memory = _quietly(lambda: training_bytes(cfg, -int(-(sub_batch or 1) // 1), width, height)) if known else None
    length = _length(settings, cfg, batch, data)
    effective = _effective(cfg, facts) | ({"subdivisions": parts} if parts else {})
    effective |= {"missing_labels": _missing_labels(settings, cfg)}
    return Readiness(
        problems, facts, data, effective, batch, parts, sub_batch, memory, *(length or (None, None)),
    )  # fmt: skip


def _missing_labels(settings: TrainSettings, cfg: Cfg) -> str:
    """Return what an image without a label file will be."""
    path = _quietly(lambda: find_data(settings.data))
    return missing_labels(settings, cfg, darknet=True, path=path).action(measuring=False)


def _in_range(settings: TrainSettings) -> TrainSettings:
    """Return the settings to count with: a value out of its bounds, which is a problem already, is not given."""
    usual = defaults(TrainSettings)
    return replace(settings, **{problem.field: usual[problem.field] for problem in check_ranges(settings)})


def _of_a_model(settings: TrainSettings) -> Readiness:
    """Return what is known of a run without a cfg: a checkpoint's own batch is not, before torch has loaded it."""
    usual = {"batch": DEFAULT_BATCH, "subdivisions": 1, "epochs": HOST_EPOCHS}
    effective = usual if Path(settings.model or "").suffix in YAML else {}
    batch = settings.batch or effective.get("batch")
    parts = effective.get("subdivisions") if settings.subdivisions is None else settings.subdivisions
    if not isinstance(parts, int):
        return Readiness(effective=effective, batch=batch)
    sub_batch = batch / parts if batch else None
    return Readiness(effective=effective, batch=batch, subdivisions=parts, sub_batch=sub_batch)


def _effective(cfg: Cfg, facts: CfgFacts | None) -> dict[str, Any]:
    """Return what the cfg says for settings that are not given."""
    found = {name: getattr(cfg.net, name) for name in OF_THE_CFG}
    for head in cfg.heads:
        found |= {name: getattr(head, name) for name in OF_ITS_HEADS if hasattr(head, name)}
    if facts is not None:
        found["imgsz"] = cfg.net.width if cfg.net.width == cfg.net.height else (cfg.net.height, cfg.net.width)
    return {name: value for name, value in found.items() if value not in ((), 0) or name in {"hue", "flip", "random"}}


def _size(settings: TrainSettings, cfg: Cfg) -> tuple[int, int]:
    size = settings.imgsz
    if isinstance(size, tuple):
        return size
    return (size, size) if size else (cfg.net.height, cfg.net.width)


def _parts(settings: TrainSettings, cfg: Cfg) -> tuple[int, int | None]:
    """Return the batch and its parts; None where the run will find out how many fit."""
    batch = settings.batch or cfg.net.batch
    if isinstance(settings.subdivisions, int):
        return batch, settings.subdivisions
    if settings.subdivisions is not None:
        return batch, None
    # As the engine does: the cfg's own parts, as far as they divide another batch.
    return batch, math.gcd(batch, cfg.net.subdivisions) if settings.batch else cfg.net.subdivisions


def _length(settings: TrainSettings, cfg: Cfg, batch: int, data: DataFacts | None) -> tuple[int, int] | None:
    if data is None or not data.train:
        return None
    net = replace(cfg.net, batch=batch)
    plan = _quietly(lambda: plan_run(net, data.train or 1, settings.epochs, settings.max_batches))
    return (plan.iterations, plan.epochs) if plan else None


def cfg_facts(cfg: Cfg, width: int | None = None, height: int | None = None) -> CfgFacts:
    """Count what a cfg holds, for an input of that size in pixels.

    Raises:
        CfgError: If its layers do not fit one another.
    """
    table = layer_table(cfg, width, height)
    classes = [head.classes for head in cfg.heads]
    image = width or cfg.net.width, height or cfg.net.height
    return CfgFacts(
        len(table), len(cfg.heads), max(classes, default=0), parameter_count(cfg), flops(table) / 1e9, *image
    )


def data_facts(data: str | None) -> DataFacts:
    """Count the images and classes of a data set.

    Raises:
        YoloSubbatchError: If it cannot be read; ``validate`` says the same with its field.
    """
    path = find_data(data)
    if path is None:
        built_in = read_yaml(Path(str(files("yolo_subbatch.cfg") / "shapes.yaml")))
        return DataFacts(len(built_in["names"]), built_in["train"], built_in["val"], built_in=True)
    if path.suffix not in YAML:
        file = read_data(path, needed=("train",))
        lists = {split: getattr(file, key) for split, key in KEYS.items()}
        train, val = (len(read_image_list(lists[split])) if lists[split] else None for split in ("train", "val"))
        return DataFacts(len(file.names), train, val)
    document = read_yaml(path)
    train, val = (len(yaml_images(path, document, split)) or None for split in ("train", "val"))
    return DataFacts(class_count(path, document), train, val)


def read_layers(cfg: str | Path, size: tuple[int, int] | None = None) -> list[LayerRow]:
    """Return the layer table of a cfg file or a bundled name; ``size`` is the input's height and width in pixels.

    Raises:
        CfgError: If it cannot be read, or its layers do not fit one another.
    """
    height, width = size or (None, None)
    return layer_rows(read_cfg(find_cfg(cfg)), width, height)


def _quietly(work: Callable[[], Found]) -> Found | None:
    """Return what some work gives, or None where the input is at fault, which :func:`validate` reports."""
    try:
        return work()
    except (YoloSubbatchError, OSError):
        return None
