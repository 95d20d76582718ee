"""Checks of what a training is asked to do, before any work starts: the command line and a form say the same words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from yolo_subbatch.darknet.geometry import largest_stride, layer_table
from yolo_subbatch.darknet.sections import Cfg, Connected, Convolutional
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.cfg_advice import cfg_advice
from yolo_subbatch.settings.channel_checks import check_channels
from yolo_subbatch.settings.checks import (
    Problem,
    attempt,
    check_either,
    check_memory,
    check_place,
    check_ranges,
    check_recompute,
    check_text,
    check_weights,
    error,
    size_fault,
    warning,
)
from yolo_subbatch.settings.conversion import ON_OR_OFF, range_fault
from yolo_subbatch.settings.find import YAML, find_checkpoint, is_checkpoint
from yolo_subbatch.settings.host_keys import refused
from yolo_subbatch.settings.network_checks import usable_cfg
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_data_checks import check_training_data
from yolo_subbatch.settings.trust import faults_of_description

#: Settings that mean something for a Darknet network only.
DARKNET_ONLY = (
    "weights", "flavour", "max_batches", "schedule", "seen", "burn_in", "power", "policy", "steps", "scales", "step",
    "gamma", "learning_rate_min", "augmentation", "jitter", "hue", "saturation", "exposure", "flip", "random",
    "ignore_thresh", "truth_thresh", "letterbox", "resize", "letter_box", "mosaic_bound", "blur", "gaussian_noise",
    "resize_step", "ema_alpha",
)  # fmt: skip
#: Ultralytics' keys without effect on a Darknet network: its [net] and its own loss say these things.
NOT_FOR_DARKNET = (
    "lrf", "cos_lr", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "box", "cls", "dfl", "multi_scale",
    "overlap_mask", "mask_ratio", "pose", "kobj", "rle", "dropout", "cls_pw", "cls_remap", "dlog", "dgrad", "dlam",
    "nms", "augment",
)  # fmt: skip
#: Ultralytics' augmentation, which Darknet's replaces.
HOST_AUGMENTATION = (
    "hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "shear", "perspective", "flipud", "fliplr", "bgr",
    "copy_paste", "copy_paste_mode", "auto_augment", "erasing",
)  # fmt: skip
OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")
REACH = 1000  # how far from a number of subdivisions better ones are looked for
DEFAULT_BATCH = 16  # of a model that no cfg describes, as in Ultralytics


def validate(settings: TrainSettings, labels: bool = True) -> list[Problem]:
    """Return everything that is wrong with the settings of a run, and what its user should know.

    Args:
        settings: The settings.
        labels: Read every label file too; a form that checks while one types may leave that to the run.
    """
    problems: list[Problem] = []
    attempt("model", problems, host_files.check_version)
    problems += check_text(settings)
    if problems:
        return problems
    problems += [*check_ranges(settings), *check_either(settings), *check_weights(settings), *check_place(settings)]
    darknet = not settings.model
    cfg: Cfg | None = None
    if settings.cfg:
        cfg = attempt("cfg", problems, lambda: usable_cfg(settings.cfg))
    elif settings.model:
        darknet = attempt("model", problems, lambda: _is_darknet(Path(settings.model or ""), problems)) is not False
    problems += [*_check_schedule(settings, cfg), *_check_extra(settings, darknet), *check_memory(settings)]
    problems += check_recompute(settings)
    if settings.exact_norm and darknet:
        text = "exact_norm: has no effect on a Darknet network, whose loss is a sum over images"
        problems.append(warning("exact_norm", text))
    if cfg is not None:
        problems += [*_check_network(settings, cfg), *_check_batch(settings, cfg, cfg.net.batch, cfg.net.subdivisions)]
    elif not darknet:
        problems += [*_check_host_model(settings), *_check_batch(settings, None, DEFAULT_BATCH, 1)]
    elif settings.batch is not None:  # the batch that a checkpoint's cfg holds is not known here
        problems += _check_batch(settings, None, settings.batch, 1)
    task = None if darknet else host_files.task_of(settings.model or "")
    problems += check_training_data(settings, cfg, darknet, task, labels)
    if cfg is not None:
        problems += check_channels(settings.cfg, settings.data)
    return problems


def _is_darknet(path: Path, problems: list[Problem]) -> bool:
    """Tell whether ``model=`` is a Darknet network; what it is otherwise is checked on the way."""
    if path.suffix in YAML and not is_checkpoint(path):
        if not path.is_file() and host_files.find_model(path.name) is None:
            near = host_files.nearest(path.name, host_files.model_names())
            advice = f"did you mean {near}?" if near else "give a file, or a name such as yolo26n.yaml"
            problems.append(error("model", f"model={path}: no such file and no model of Ultralytics; {advice}"))
        elif path.is_file():
            problems += [error("model", str(fault)) for fault in faults_of_description(path)]
        return False
    if path.is_file() and is_checkpoint(path):
        return host_files.is_darknet_checkpoint(path)
    if path.parent == Path() and host_files.PUBLISHED.fullmatch(path.name):
        problems.append(warning("model", f"model={path}: not in this folder; Ultralytics will download it"))
        return False
    if path.suffix == ".cfg":
        problems.append(error("model", f"model={path}: a Darknet cfg; give it as cfg={path}"))
    elif path.is_file():
        text = f"model={path}: neither a checkpoint nor .yaml; give the .pt of a run or a model of Ultralytics"
        problems.append(error("model", text))
    else:
        found = attempt("model", problems, lambda: find_checkpoint(path, "model="))
        return found is None or host_files.is_darknet_checkpoint(found)
    return True


def _check_host_model(settings: TrainSettings) -> Iterator[Problem]:
    """Check what a model that is not Darknet's cannot use."""
    usual = {each.name: each.default for each in dataclasses.fields(settings)}
    for name in DARKNET_ONLY:
        if name != "weights" and getattr(settings, name) != usual[name]:
            text = f"{name}: has no meaning for {settings.model}; leave it out, or give a Darknet network with cfg="
            yield error(name, text)


def _check_schedule(settings: TrainSettings, cfg: Cfg | None) -> Iterator[Problem]:
    if settings.seen == "keep" and not settings.weights and not settings.model:
        yield error("seen", "seen=keep: there is no weights file that has seen images; give weights=")
    steps = settings.steps if settings.steps is not None or cfg is None else cfg.net.steps
    scales = settings.scales if settings.scales is not None or cfg is None else cfg.net.scales
    if steps is not None and scales is not None and len(steps) != len(scales):
        yield error("scales", f"scales: {len(scales)} of them for {len(steps)} steps; give one scale a step")
    if steps and list(steps) != sorted(steps):
        yield error("steps", f"steps={','.join(map(str, steps))}: not in rising order; sort them")
    if settings.policy == "steps" and steps is not None and not steps:
        yield error("policy", "policy=steps: no steps; give steps= and scales=")


def _check_batch(settings: TrainSettings, cfg: Cfg | None, batch: int, parts: int) -> Iterator[Problem]:
    """Check that the batch can be divided, given what holds without the user's keys."""
    if cfg and settings.batch is None and batch == 1:
        found = f"{cfg.path}: batch=1, Darknet's lines for testing; every image will be an update"
        yield warning("batch", f"{found}: give batch=64 subdivisions=16")
    if settings.batch is not None:
        batch, parts = settings.batch, 1  # where only the batch is given, the engine chooses parts that fit
    parts = settings.subdivisions if isinstance(settings.subdivisions, int) else parts
    if batch < 1 or parts < 1 or batch % parts == 0:
        return
    # Not all the divisors of a batch that someone has mistyped by many digits.
    tried = {1, batch, *range(max(1, parts - REACH), min(batch, parts + REACH) + 1)}
    near = sorted((each for each in tried if batch % each == 0), key=lambda each: abs(each - parts))[:3]
    where = "" if settings.subdivisions else f"{cfg.path if cfg else ''}: "
    advice = f"use one of {', '.join(map(str, sorted(near)))}"
    yield error("subdivisions", f"{where}subdivisions={parts}: does not divide batch={batch}; {advice}")


def _check_network(settings: TrainSettings, cfg: Cfg) -> Iterator[Problem]:
    """Check the input size against the network, and pass its warnings on."""
    yield from (warning("cfg", text) for text in cfg.warnings)
    yield from cfg_advice(settings, cfg)
    yield from _check_freeze(settings.extra.get("freeze"), cfg)
    size = settings.imgsz
    height, width = size if isinstance(size, tuple) else (size, size) if size else (cfg.net.height, cfg.net.width)
    fault = size_fault(width, height, largest_stride(cfg))
    if fault:
        yield error("imgsz", fault)
        return
    yield from _check_one_size(settings, cfg, (width, height))
    found: list[Problem] = []
    table = attempt("imgsz", found, lambda: layer_table(cfg, width, height)) or ()
    yield from found
    shared = next((layer for layer in table if layer.shares), None)
    if shared is not None and settings.bn == "cross":
        place = f"{cfg.path}:{shared.section.line}: share_index"
        yield error("bn", f"bn=cross: {place}: the layers that share a normalisation would mix; use bn=sub-batch")


def _check_one_size(settings: TrainSettings, cfg: Cfg, size: tuple[int, int]) -> Iterator[Problem]:
    """Check that a network with a ``[connected]`` layer, whose weights belong to one size, gets that one."""
    connected = next((each for each in cfg.sections if isinstance(each, Connected)), None)
    if connected is None:
        return
    place, (width, height) = f"{cfg.path}:{connected.line}", (cfg.net.width, cfg.net.height)
    if size != (width, height):
        found = f"imgsz={size[0]}x{size[1]}: the [connected] layer of {place} takes inputs of {width}x{height} alone"
        yield error("imgsz", f"{found}; leave imgsz out")
    if settings.random if settings.random is not None else cfg.heads and cfg.heads[-1].random:
        yield error("random", f"random: {place}: a [connected] layer cannot be resized; give random=0")


def _check_freeze(freeze: object, cfg: Cfg) -> Iterator[Problem]:
    if freeze is None:
        return
    if not isinstance(freeze, (int, list)):
        yield error("freeze", f"freeze={freeze}: give the number of layers, or their numbers with commas")
        return
    frozen = range(freeze) if isinstance(freeze, int) else freeze
    if all(index in frozen for index, each in enumerate(cfg.sections) if isinstance(each, Convolutional)):
        yield error("freeze", f"freeze={freeze}: freezes all {len(cfg.sections)} layers; leave some to be trained")


def _check_extra(settings: TrainSettings, darknet: bool) -> Iterator[Problem]:
    """Check Ultralytics' keys: their ranges, and whether they mean anything here."""
    for key, value in settings.extra.items():
        fault = None if value is None else range_fault(value, host_files.limits(key))
        if fault:
            yield error(key, f"{key}={value}: {fault}")
        if darknet and key in NOT_FOR_DARKNET:
            yield warning(key, f"{key}: has no effect on a Darknet network, which has its own loss and schedule")
        if darknet and key in HOST_AUGMENTATION and settings.augmentation == "darknet":
            yield warning(key, f"{key}: has no effect on Darknet's augmentation; augmentation=ultralytics uses it")
        if darknet and key in ON_OR_OFF and settings.augmentation == "darknet" and value not in (0, 1):
            found = f"{key}: {value} is on in Darknet's augmentation, and every second image is mixed"
            yield warning(key, f"{found}; give 0 or 1, or augmentation=ultralytics, which takes shares")
        if darknet and key == "rect" and value:
            yield warning(key, "rect: has no effect on the training of a Darknet network; validation does so anyway")
    yield from (error(key, text) for key, text in refused(settings.extra).items())
    optimizer = str(settings.extra.get("optimizer", "auto"))
    if optimizer.lower() not in {each.lower() for each in OPTIMIZERS}:
        yield error("optimizer", f"optimizer={optimizer}: unknown; use one of {', '.join(OPTIMIZERS)}")
