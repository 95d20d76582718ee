"""What an exported file says of itself: Ultralytics' keys, which its predictor reads, and our own."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from onnx import ModelProto, helper

from yolo_subbatch import __version__
from yolo_subbatch.darknet.channels import COLOUR, KINDS
from yolo_subbatch.darknet.network import Head, Network
from yolo_subbatch.darknet.parser import write_cfg
from yolo_subbatch.settings.commands import ExportSettings

PREFIX = "ysb."


def describe(
    network: Network, names: dict[int, str], stride: int, size: tuple[int, int], settings: ExportSettings
) -> dict[str, str]:
    """Return the metadata of a file that is about to be written, the parity figures excepted.

    Args:
        network: The network with its weights.
        names: Class names.
        stride: Pixels of which the input's sides are multiples.
        size: Width and height of the input.
        settings: What was asked.
    """
    cfg = write_cfg(network.cfg)
    layout = "raw" if settings.raw else "nms" if settings.nms else "v8"
    asked = {name: getattr(settings, name) for name in ("dynamic", "half", "int8", "nms", "opset", "simplify", "batch")}
    theirs: dict[str, Any] = {
        "description": f"Darknet network {Path(network.cfg.path).name}, exported by yolo-subbatch {__version__}",
        "author": "yolo-subbatch",
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "version": version("ultralytics"),
        "license": "AGPL-3.0-or-later",
        "docs": "https://docs.ultralytics.com",
        "stride": stride,
        "task": "detect",
        "head": "YoloHead",
        "batch": settings.batch,
        "imgsz": [size[1], size[0]],
        "names": names,
        "args": asked,
        "channels": network.cfg.net.channels,
        "end2end": False,
    }
    ours: dict[str, Any] = {
        "version": __version__,
        "layout": layout,
        "precision": precision_of(settings),
        "preprocess": _preprocess(network.cfg.net.channels, settings.preprocess),
        "letterbox": "ultralytics",
        "cfg": cfg,
        "cfg_sha256": hashlib.sha256(cfg.encode()).hexdigest(),
        "weights_sha256": weights_hash(network),
        "heads": json.dumps([describe_head(head) for head in network.heads]),
        "torch": torch.__version__,
        "opset": settings.opset,
    }
    if settings.nms:
        ours["nms"] = json.dumps({name: getattr(settings, name) for name in ("conf", "iou", "max_det", "agnostic_nms")})
    every = {**theirs, **{PREFIX + key: value for key, value in ours.items()}}
    # A file's name may hold bytes that are no text, metadata may not.
    return {name: str(value).encode("utf-8", "replace").decode() for name, value in every.items()}


def _preprocess(channels: int, takes_bytes: bool) -> str:
    """Return type and order of the input, and of its channels: three with red first unless they are bytes."""
    kind = KINDS.get(channels, f"{channels} bands")
    if takes_bytes:
        return f"uint8 nhwc {kind}"
    return f"float32 nchw {'rgb' if channels == COLOUR else kind} 0-1"


def describe_head(head: Head) -> dict[str, Any]:
    """Return what decoding one raw map needs: see :func:`yolo_subbatch.darknet.decode.decode_map`.

    ``kind`` is the section's name; only a ``[yolo]`` head is decoded from raw maps.
    """
    section = head.section
    return {
        "kind": section.title, "anchors": head.anchors.tolist(), "cell": list(head.cell), "classes": head.classes,
        "scale_x_y": getattr(section, "scale_x_y", 1.0), "new_coords": bool(getattr(section, "new_coords", 0)),
    }  # fmt: skip


def precision_of(settings: ExportSettings) -> str:
    """Return ``fp32``, ``fp16`` or ``int8``."""
    return "int8" if settings.int8 else "fp16" if settings.half else "fp32"


def weights_hash(network: Network) -> str:
    """Return a hash of every weight and statistic, in the order of the layers."""
    found = hashlib.sha256()
    for tensor in network.state_dict().values():
        found.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def write(model: ModelProto, values: dict[str, str]) -> None:
    """Put metadata into a model; last of all, since tools that change a graph drop it."""
    helper.set_model_props(model, values)
    model.producer_name, model.producer_version = "yolo-subbatch", __version__
