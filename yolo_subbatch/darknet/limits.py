"""Which values the keys of a cfg take. Standard library only."""

from __future__ import annotations

import re

from yolo_subbatch.darknet.sections import IOU_LOSSES, NMS_KINDS, WEIGHTS_NORMALIZATIONS, WEIGHTS_TYPES

LEAST: dict[str, float] = {
    "batch": 1, "subdivisions": 1, "width": 1, "height": 1, "channels": 1, "filters": 1, "size": 1, "groups": 1,
    "stride_x": 1, "stride_y": 1, "dilation": 1, "pad": 0, "padding": 0, "group_id": 0, "classes": 1, "num": 1,
    "max": 1, "jitter": 0, "random": 0, "burn_in": 0, "max_batches": 0, "learning_rate": 0, "decay": 0,
    "momentum": 0, "step": 1, "power": 0, "probability": 0, "temperature": 1e-12, "ignore_thresh": 0,
    "truth_thresh": 0, "scale_x_y": 1e-6, "saturation": 1e-6, "exposure": 1e-6, "gamma": 0, "learning_rate_min": 0,
    "sgdr_cycle": 0, "sgdr_mult": 1, "numload": 0, "iou_normalizer": 0, "obj_normalizer": 0, "cls_normalizer": 0,
    "delta_normalizer": 0, "output": 1, "crop_height": 1, "crop_width": 1, "out_channels": 1, "antialiasing": 0,
    "dropblock_size_abs": 0, "dropblock_size_rel": 0, "uc_normalizer": 0, "thresh": 0, "coord_scale": 0,
    "object_scale": 0, "noobject_scale": 0, "class_scale": 0, "max_delta": 0, "label_smooth_eps": 0, "beta_nms": 0,
    "resize": 0.1, "blur": 0, "gaussian_noise": 0, "resize_step": 1, "ema_alpha": 0,
}  # fmt: skip
MOST: dict[str, float] = {
    "probability": 1, "antialiasing": 2, "dropblock_size_rel": 1, "label_smooth_eps": 1, "ema_alpha": 1,
    "resize_step": 1024,
}  # fmt: skip
#: Keys that take one of some words; Darknet takes another one for a word of its own choice.
NAMES = {
    "iou_loss": IOU_LOSSES, "iou_thresh_kind": IOU_LOSSES, "nms_kind": NMS_KINDS, "weights_type": WEIGHTS_TYPES,
    "weights_normalization": WEIGHTS_NORMALIZATIONS,
}  # fmt: skip
#: Keys that name a file; a relative one starts at the cfg's folder, the one above it (Darknet's own files are in data/,
#: beside cfg/) or the working directory.
FILES = ("tree", "map")
WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
