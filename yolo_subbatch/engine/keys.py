"""The keys of a Darknet training: what a user gives, what the cfg says, and the arguments that come of both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_subbatch.darknet.parser import parse_cfg, read_cfg
from yolo_subbatch.darknet.sections import ALEXEYAB_KEYS, Cfg, HeadSection, Section
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.arguments import AUTO, SUBBATCH_DEFAULTS, read_keywords
from yolo_subbatch.engine.inference import size_of
from yolo_subbatch.engine.model import DarknetModel, image_size
from yolo_subbatch.engine.opening import load_network
from yolo_subbatch.engine.tuning import carried
from yolo_subbatch.errors import SettingsError, WeightsError
from yolo_subbatch.settings.args_file import DARKNET_HOST_DEFAULTS
from yolo_subbatch.settings.find import YAML, find_checkpoint, is_built_in, is_checkpoint
from yolo_subbatch.settings.host_files import nearest
from yolo_subbatch.settings.values import ALIASES

#: Keys of [net] that a user's key replaces; ``None`` keeps the cfg's value.
NET_KEYS = (
    "learning_rate", "learning_rate_min", "decay", "burn_in", "power", "policy", "step", "gamma", "steps", "scales",
    "hue", "saturation", "exposure", "flip", "angle",
    "letter_box", "mosaic_bound", "blur", "gaussian_noise", "resize_step", "ema_alpha",
)  # fmt: skip
#: Keys of [net] that Ultralytics has too; for Darknet's augmentation they are on or off, as in the cfg.
MIXING_KEYS = ("mosaic", "mixup", "cutmix")
#: Keys of every [yolo] section that a user's key replaces.
HEAD_KEYS = ("random", "jitter", "resize", "ignore_thresh", "truth_thresh")
DARKNET_DEFAULTS: dict[str, Any] = {
    **SUBBATCH_DEFAULTS,
    "grad_reduction": "mean",
    **dict.fromkeys((*NET_KEYS, *HEAD_KEYS)),
    "step_scale": None,  # [net] scale; Ultralytics has another key of that name
    "weights": None,
    "flavour": "auto",
    "max_batches": None,
    "schedule": "scaled",  # exact: keep the cfg's own numbers
    "seen": "reset",  # keep: go on at the iteration that the weights file has reached
    "augmentation": "darknet",  # ultralytics: its own transforms
    "letterbox": "ultralytics",
    "given": (),  # the keys that the user gave himself
}
#: Keys that are only read with AlexeyAB's flavour: who gives one asks for it.
TELLING = ALEXEYAB_KEYS & {*NET_KEYS, *HEAD_KEYS, *MIXING_KEYS} - {"learning_rate_min"}
KNOWN = frozenset({*DARKNET_DEFAULTS, *DEFAULT_CFG_DICT, "save_dir", "augmentations", "session"})


def prepare_keywords(keywords: dict[str, Any]) -> dict[str, Any]:
    """Complete the keywords of ``Darknet.train``: the data set, and a run folder below the working directory."""
    made = dict(keywords)
    if is_built_in(made.get("data")):
        from yolo_subbatch.built_in_data import shapes_data

        said = "" if made.get("data") else "no data given: "
        made["data"] = str(shapes_data())
        LOGGER.info(f"{said}training on the built-in data set shapes ({made['data']})")
        if not any(made.get(key) for key in ("epochs", "max_batches")):
            made["epochs"] = 10
            LOGGER.info("no length given: training for 10 epochs; epochs= or max_batches= changes that")
    # Ultralytics would put a relative project below its own runs folder and the task's name.
    made["project"] = str(Path(made.get("project") or "runs").absolute())
    made.setdefault("name", "train")
    return made


def with_data(keywords: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the keywords of ``Darknet.val`` with the built-in data set, if it is asked for or none is known.

    Args:
        keywords: As they were given.
        own: What the model has been used with before.
    """
    if not is_built_in(keywords.get("data") or own.get("data")):
        return keywords
    from yolo_subbatch.built_in_data import shapes_data

    made = {**keywords, "data": str(shapes_data())}
    if not keywords.get("data"):
        LOGGER.info(f"no data given: measuring on the built-in data set shapes ({made['data']})")
    return made


def canonical(given: dict[str, Any]) -> dict[str, Any]:
    """Give every setting its Darknet name; None is as good as not given, complete arguments are that already."""
    if given.get("complete"):
        return given
    given = {key: value for key, value in given.items() if value is not None}
    faults = [f"{key}: unknown key; {_meant(key)}" for key in given if key not in KNOWN]
    try:
        given = read_keywords(given, darknet=True)
    except SettingsError as error:
        faults.append(str(error))
    if faults:
        raise SettingsError("\n".join(faults))
    for theirs, ours in ALIASES.items():
        if theirs in given:
            if ours in given:
                raise SettingsError(f"{theirs}, {ours}: one setting under two names; give one of them")
            given[ours] = given.pop(theirs)
    if "scale" in given:  # for a Darknet network the cfg's meaning holds: the factor of policy=step
        given["step_scale"] = given.pop("scale")
    return given


def _meant(key: str) -> str:
    near = nearest(key, KNOWN)
    return f"did you mean {near}?" if near else "see Ultralytics for its keys"


def read_source(given: dict[str, Any], raw: Mapping[str, Any]) -> Cfg:
    """Read the cfg of ``model``, a ``.cfg`` or a checkpoint, and put the user's values into it.

    A checkpoint's flavour is put into ``given`` where the user did not say one, and what a search for hyperparameters
    asks: ``raw`` are the arguments as Ultralytics gave them.
    """
    path = str(given.get("model"))
    if is_checkpoint(path):
        model = load_network(find_checkpoint(path))
        if not isinstance(model, DarknetModel):
            raise WeightsError(f"{path}: holds no Darknet network; train it with SubbatchTrainer")
        if model.wish:
            asked = canonical(carried(raw, model.wish))
            given.clear()
            given.update(asked)
        cfg = parse_cfg(model.yaml["darknet"], path)
        if given.get("flavour", AUTO) == AUTO:
            given["flavour"] = model.yaml["flavour"]
    elif Path(path).suffix in YAML:
        found = f"model={path}: a model of Ultralytics, not a Darknet network"
        raise SettingsError(f"{found}; give trainer=SubbatchTrainer")
    else:
        cfg = read_cfg(path)
    for warning in cfg.warnings:
        LOGGER.warning(warning)
    return with_keys(cfg, given)


def with_keys(cfg: Cfg, given: dict[str, Any]) -> Cfg:
    """Return the cfg with the values that a user gave for keys of ``[net]`` and ``[yolo]``."""
    names = {**{key: key for key in (*NET_KEYS, "batch", "subdivisions", "momentum")}, "step_scale": "scale"}
    # Complete arguments hold Ultralytics' own values of keys that mean something else there.
    foreign = {"angle", *MIXING_KEYS} - set(given["given"]) if given.get("complete") else set()
    net = {
        names[key]: _tupled(given[key]) for key in names if given.get(key) not in (None, AUTO) and key not in foreign
    }
    if given.get("augmentation", "darknet") == "darknet":
        net |= {key: int(given[key] > 0) for key in MIXING_KEYS if given.get(key) is not None and key not in foreign}
    head = {key: given[key] for key in HEAD_KEYS if given.get(key) is not None}
    if given.get("imgsz") is not None:
        net["width"], net["height"] = size_of(given["imgsz"])
    sections = tuple(_with_head_keys(each, head) if isinstance(each, HeadSection) else each for each in cfg.sections)
    told = {*_only_alexeyabs(cfg.net, net), *(key for each in cfg.heads for key in _only_alexeyabs(each, head))}
    return replace(
        cfg, net=replace(cfg.net, **net), sections=sections, alexeyab=cfg.alexeyab or bool(told),
        alexeyab_keys=tuple(sorted({*cfg.alexeyab_keys, *told})),
    )  # fmt: skip


def _only_alexeyabs(section: Section, given: dict[str, Any]) -> set[str]:
    """Return the given keys that tell AlexeyAB's Darknet as they would in the cfg: those that turn something on."""
    usual = {each.name: each.default for each in fields(section)}
    return {key for key, value in given.items() if key in TELLING and key in usual and value != usual[key]}


def _with_head_keys(section: HeadSection, given: dict[str, Any]) -> HeadSection:
    """Return a head with the values of the keys that it has: a ``[region]`` head has fewer."""
    return replace(section, **{key: value for key, value in given.items() if hasattr(section, key)})


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def with_defaults(given: dict[str, Any], cfg: Cfg) -> dict[str, Any]:
    """Fill in what the cfg says and what differs from Ultralytics for a Darknet network."""
    if cfg.net.batch == 1 and "batch" not in given:
        LOGGER.warning(
            f"{cfg.path}: batch=1, Darknet's lines for testing; every image will be an update: "
            "give batch=64 subdivisions=16"
        )
    made = {**DARKNET_HOST_DEFAULTS, **given}
    made["given"] = sorted(key for key, value in given.items() if value is not None and key != "given")
    made["batch"] = cfg.net.batch
    made["subdivisions"] = AUTO if given.get("subdivisions") == AUTO else cfg.net.subdivisions
    if "batch" in given and "subdivisions" not in given and isinstance(made["batch"], int):
        made["subdivisions"] = math.gcd(made["batch"], made["subdivisions"])  # the cfg's own, as far as it divides
    made["imgsz"] = image_size(cfg)
    made["momentum"], made["weight_decay"] = cfg.net.momentum, cfg.net.decay
    made["lr0"] = min(1.0, cfg.net.learning_rate)  # Ultralytics refuses more; every update sets the rate anyway
    return made
