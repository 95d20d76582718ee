"""``yolo-subbatch convert``: between Ultralytics' checkpoints and Darknet's weights."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from ultralytics import __version__

from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.api import Darknet
from yolo_subbatch.engine.evaluate import name_classes
from yolo_subbatch.engine.model import image_size, load_darknet_weights
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.commands import ConvertSettings
from yolo_subbatch.settings.find import find_cfg
from yolo_subbatch.settings.output_checks import write_output


def run_conversion(settings: ConvertSettings) -> None:
    """Convert as the settings say: to ``.weights`` with its cfg beside it, or to ``.pt``.

    Raises:
        YoloSubbatchError: If a file is missing or does not fit.
    """
    target = Path(settings.to or "")
    if target.suffix == ".weights":
        network = Darknet(settings.model) if settings.model else Darknet(settings.cfg or "", settings.weights)
        network.save_weights(target, seen=network.model.seen)
        LOGGER.info(f"saved {target} and {target.with_suffix('.cfg')}")
    elif target.suffix == ".pt":
        cfg = read_cfg(find_cfg(settings.cfg))
        model = load_darknet_weights(cfg, settings.weights or "", settings.flavour)
        name_classes(model, settings.data)
        # Ultralytics' own save would round the weights to half precision.
        document = {"model": model, "ema": None, "version": __version__, "train_args": {"imgsz": image_size(cfg)}}
        buffer = io.BytesIO()
        torch.save(document, buffer)
        write_output(target, buffer.getvalue(), "to")
        LOGGER.info(f"saved {target}")
    else:
        raise SettingsError(f"to={target}: unknown format; give a name that ends in .weights or .pt")
