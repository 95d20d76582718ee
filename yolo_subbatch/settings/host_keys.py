"""What each key of Ultralytics does in a training in sub-batches: every one has its effect, or is named or refused.

``validate`` holds the keys that a Darknet network's own cfg and loss replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Keys that do in sub-batches what they do in Ultralytics, for its own models and for Darknet networks.
EFFECTIVE = frozenset({
    "agnostic_nms", "amp", "batch", "cache", "cfg", "channels_last", "classes", "close_mosaic", "compile", "conf",
    "cutmix", "data", "deterministic", "device", "epochs", "exist_ok", "fraction", "freeze", "imgsz", "iou", "lr0",
    "max_det", "mixup", "mode", "model", "momentum", "mosaic", "name", "optimizer", "patience", "plots",
    "pretrained", "profile", "project", "resume", "save", "save_conf", "save_json", "save_period", "save_txt",
    "scale", "seed", "single_cls", "split", "task", "time", "val", "verbose", "visualize", "weight_decay",
    "workers",
})  # fmt: skip
#: Keys that do so for Ultralytics' own models alone.
EFFECTIVE_FOR_HOST = frozenset({
    "augment", "bgr", "box", "cls", "cls_pw", "cls_remap", "copy_paste", "copy_paste_mode", "cos_lr", "degrees",
    "dfl", "fliplr", "flipud", "hsv_h", "hsv_s", "hsv_v", "lrf", "multi_scale", "nms", "perspective", "rect",
    "shear", "translate", "warmup_bias_lr", "warmup_epochs", "warmup_momentum",
})  # fmt: skip
#: Keys of the losses and data sets of some tasks.
OF_TASKS = {
    **dict.fromkeys(("pose", "kobj", "rle"), "pose"), "angle": "obb",
    **dict.fromkeys(("dlog", "dgrad", "dlam"), "depth"), **dict.fromkeys(("overlap_mask", "mask_ratio"), "segment"),
    **dict.fromkeys(("dropout", "auto_augment", "erasing"), "classify"),
}  # fmt: skip
#: Keys of predict, export and track, that no training reads.
OF_OTHER_COMMANDS = frozenset({
    "dnn", "dynamic", "embed", "format", "line_width", "optimize", "opset", "retina_masks", "save_crop",
    "save_frames", "show", "show_boxes", "show_conf", "show_labels", "simplify", "source", "stream_buffer",
    "tracker", "vid_stride", "workspace",
})  # fmt: skip
#: Keys that are said to have no effect for a reason of their own.
NAMED = frozenset({"nbs", "dis"})
REFUSED = frozenset({"distill_model", "quantize"})


def refused(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that a training in sub-batches cannot follow, with what to say of each."""
    texts = {}
    if given.get("distill_model"):
        texts["distill_model"] = "distill_model: sub-batches know no distillation; leave it out, or train without them"
    if str(given.get("quantize")).lower() in {"8", "int8"}:
        texts["quantize"] = (
            f"quantize={given['quantize']}: sub-batches know no training for 8 bits; leave it out, "
            "and export with int8=True"
        )
    return texts


def without_effect(given: Mapping[str, Any], usual: Mapping[str, Any], task: str) -> dict[str, str]:
    """Return the keys that have no effect in sub-batches, whatever the network, with what to say of each.

    Args:
        given: What the user gave.
        usual: Ultralytics' defaults: who gives one of them asks for nothing else.
        task: What the model is for.
    """
    texts = {}
    for key in sorted(key for key in given if key in usual and given[key] not in (None, usual[key])):
        if key in OF_OTHER_COMMANDS:
            texts[key] = f"{key}: has no effect on a training; give it to predict, track or export"
        elif OF_TASKS.get(key, task) != task:
            texts[key] = f"{key}: has no effect on a model for {task}; it is a key of {OF_TASKS[key]} models"
    if given.get("nbs") not in (None, given.get("batch"), usual.get("nbs")):
        texts["nbs"] = (
            f"nbs={given['nbs']}: has no effect in sub-batches, where an update is as many images as batch= says; "
            "give the number as batch="
        )
    if given.get("dis") not in (None, usual.get("dis")):
        texts["dis"] = "dis: has no effect without distill_model"
    return texts
