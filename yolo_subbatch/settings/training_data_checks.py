"""What a training needs of its data: labels for what it learns from, and a split to measure on where that is wanted."""

from __future__ import annotations

from pathlib import Path

from yolo_subbatch.darknet.datafile import read_options
from yolo_subbatch.darknet.sections import ALEXEYAB_KEYS, Cfg
from yolo_subbatch.settings.checks import Problem, attempt
from yolo_subbatch.settings.data_checks import check_data, read_yaml
from yolo_subbatch.settings.find import YAML, find_data
from yolo_subbatch.settings.host_data_checks import check_host_data
from yolo_subbatch.settings.label_lists import MissingLabels
from yolo_subbatch.settings.train_settings import TrainSettings


def check_training_data(
    settings: TrainSettings, cfg: Cfg | None, darknet: bool, task: str | None, labels: bool
) -> list[Problem]:
    """Check the data of a run.

    Args:
        settings: As the user gave them.
        cfg: The network, where a cfg describes it.
        darknet: It is a network of Darknet.
        task: What another network does, in Ultralytics' words, where that is known.
        labels: Read the label files too.
    """
    splits = ["train"]
    ignored: list[Problem] = []  # check_data finds the same
    path = attempt("data", ignored, lambda: find_data(settings.data))
    split = str(settings.extra.get("split", "val"))
    measured = settings.extra.get("val")
    asked = measured or settings.patience or split != "val"
    if measured is not False and (path is None or asked or attempt("data", ignored, lambda: has_val(path))):
        splits.append(split)
    missing = missing_labels(settings, cfg, darknet, path)
    if not darknet:
        return check_host_data(settings.data, task, splits, labels, training=True, missing=missing)
    return check_data(settings.data, splits, labels, missing, training=True)


def has_val(path: Path) -> bool:
    """Tell whether a data description names validation images at all, there or not.

    Raises:
        YoloSubbatchError: If it cannot be read.
    """
    if path.suffix in YAML:
        document = read_yaml(path)
        return bool(document.get("val") or document.get("validation"))
    return bool(read_options(path).get("valid"))


def missing_labels(settings: TrainSettings, cfg: Cfg | None, darknet: bool, path: Path | None) -> MissingLabels:
    """Return what an image without a label file is for a run; the engine alone knows the flavour of a checkpoint."""
    if settings.missing_labels is not None:
        return MissingLabels(settings.missing_labels)
    if path is not None and path.suffix in YAML:
        return MissingLabels("background")
    if not darknet:
        return MissingLabels()
    if cfg is None:
        return MissingLabels(flavour=None if settings.flavour == "auto" else settings.flavour)
    flavour = cfg.flavour(settings.flavour)
    telling = ALEXEYAB_KEYS & {*settings.changed(), *settings.extra}  # what one of these says hangs on its value
    return MissingLabels(flavour=None if settings.flavour == "auto" and telling else flavour)
