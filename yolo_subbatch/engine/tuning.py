"""Ultralytics' search for hyperparameters, over a Darknet network.

Its tuner trains by ``yolo train model=FILE``, with every key of its own and none of ours. What was asked for besides
travels in the network that it writes into FILE.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ultralytics.engine.model import Model
from ultralytics.models.yolo.model import YOLO
from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.engine.arguments import SUBBATCH_DEFAULTS
from yolo_subbatch.engine.unused_keys import keys_without_effect
from yolo_subbatch.errors import SettingsError

#: What is tried for a Darknet network unless ``space=`` says otherwise: least, largest, and how far a step goes.
SPACE = {"lr0": (1e-5, 1e-2), "momentum": (0.7, 0.98, 0.3), "weight_decay": (0.0, 0.001)}
OF_THE_TUNER = frozenset({"space", "use_ray", "iterations", "mongodb_uri", "mongodb_db", "mongodb_collection"})
NOT_GIVEN = frozenset({"mode", "task", "model", "data", "device", "batch", "imgsz", "pretrained", "project", "name"})


def prepare_tuning(cfg: Cfg, keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the keywords of ``Darknet.tune``.

    Args:
        cfg: The network's, whose values are the first that are tried.
        keywords: As the user gave them.

    Returns:
        What the tuner gets, and what the network carries for :func:`carried`.

    Raises:
        SettingsError: If something is to be tried that the tuner cannot vary, or that changes nothing.
    """
    theirs = {key: value for key, value in keywords.items() if key in DEFAULT_CFG_DICT or key in OF_THE_TUNER}
    own = {key: value for key, value in keywords.items() if key not in theirs}
    theirs.setdefault("space", dict(SPACE))
    unknown = [key for key in theirs["space"] if key not in DEFAULT_CFG_DICT]
    if unknown:
        raise SettingsError(
            f"space: {', '.join(unknown)}: Ultralytics' tuner varies its own keys alone; use some of "
            f"{', '.join(SPACE)}, or mosaic, mixup and so on"
        )
    tried = {**own, **dict.fromkeys(theirs["space"], math.nan)}  # any value but the default
    idle = keys_without_effect({key: tried[key] for key in {*theirs["space"], "augmentation"} & tried.keys()}, True)
    if idle:
        raise SettingsError("\n".join(f"space: {text}; leave it out" for text in idle.values()))
    usual = {"lr0": min(1.0, cfg.net.learning_rate), "momentum": cfg.net.momentum, "weight_decay": cfg.net.decay}
    theirs = {**usual, "optimizer": "SGD", "batch": cfg.net.batch, **theirs}
    if theirs["batch"] != cfg.net.batch or "subdivisions" in own:
        own.setdefault("subdivisions", 1)
    return theirs, {"given": sorted({*theirs, *theirs["space"]} & DEFAULT_CFG_DICT.keys()), "keys": own}


def carried(given: Mapping[str, Any], wish: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a training was given, for a network that carries the wish of a tuner; see :func:`prepare_tuning`."""
    if not wish:
        return dict(given)
    asked = {*wish["given"], *NOT_GIVEN}
    left = {
        key: value
        for key, value in given.items()
        if key in asked or key not in DEFAULT_CFG_DICT or value != DEFAULT_CFG_DICT[key]
    }
    return {**wish["keys"], **left}


def tune_darknet(model: Model, use_ray: bool, iterations: int, *arguments: Any, **keywords: Any) -> Any:
    """Search for hyperparameters of a Darknet network with Ultralytics' tuner.

    Raises:
        SettingsError: If something is to be tried that it cannot vary.
    """
    if use_ray:
        raise SettingsError("use_ray=True: Ray's search knows no Darknet network; leave it out")
    network: Any = model.model
    theirs, network.wish = prepare_tuning(network.cfg, keywords)
    try:
        return Model.tune(model, use_ray, iterations, *arguments, **theirs)
    finally:
        network.wish = None


def tune_yolo(self: YOLO, use_ray: bool = False, iterations: int = 300, *arguments: Any, **keywords: Any) -> Any:
    """Search for hyperparameters, as ``YOLO.tune``, with a plain answer to keys that its tuner cannot hand on.

    Raises:
        SettingsError: If there is one.
    """
    if hasattr(self.model, "wish"):  # a Darknet network
        return tune_darknet(self, use_ray, iterations, *arguments, **keywords)
    lost = [key for key in keywords if key == "trainer" or key in SUBBATCH_DEFAULTS]
    if lost:
        raise SettingsError(
            f"tune: {', '.join(lost)}: Ultralytics' tuner trains every try with its own trainer, without sub-batches; "
            "leave it out, and give what it finds to train(trainer=SubbatchTrainer, cfg='best_hyperparameters.yaml')"
        )
    return Model.tune(self, use_ray, iterations, *arguments, **keywords)
