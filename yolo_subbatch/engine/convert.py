"""``yolo-subbatch convert``: between Ultralytics' checkpoints and Darknet's weights."""

from __future__ import annotations

from pathlib import Path


from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.model import Darknet, load_darknet_weights
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.commands import ConvertSettings
from yolo_subbatch.run.find import find_cfg


def run_conversion(settings: ConvertSettings) -> None:
    """Convert as the settings say: to ``.weights`` with its cfg beside it, or to ``.pt``.

    Raises:
        YoloSubbatchError: If a file is missing or does not fit.
    """
    target = Path(settings.to)
    if target.suffix == ".weights":
        model = Darknet(settings.model) if settings.model else Darknet(settings.cfg, settings.weights)
        model.save_weights(target, seen=model.model.seen)
        LOGGER.info(f"saved {target} and {target.with_suffix('.cfg')}")
    elif target.suffix == ".pt":
        cfg = find_cfg(settings.cfg)
        model = Darknet(str(cfg))
        from yolo_subbatch.darknet.parser import read_cfg

        model.model = load_darknet_weights(read_cfg(cfg), settings.weights, settings.flavour)
        model.save(target)
        LOGGER.info(f"saved {target}")
    else:
        raise SettingsError(f"to={target}: unknown format; give a name that ends in .weights or .pt")
