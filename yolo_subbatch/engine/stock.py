"""What Ultralytics' own ``YOLO`` and trainers do when they meet a Darknet network.

``YOLO("best.pt")`` opens the checkpoint of a Darknet network, and by that imports this package. ``YOLO`` then asks its
task map who trains, validates and predicts, and finds a trainer that would build one of Ultralytics' own networks.
"""

from __future__ import annotations

from typing import Any

from ultralytics.engine.exporter import export_formats
from ultralytics.models.yolo.model import YOLO
from ultralytics.nn.tasks import DetectionModel

from yolo_subbatch.errors import SettingsError, WeightsError


class DarknetDescription(dict[str, Any]):
    """What stands in ``model.yaml`` of a Darknet network, which has no ``backbone`` and no ``head``.

    Ultralytics' own trainers build a network from those; who asks for them is told what to do instead.
    """

    def __missing__(self, key: str) -> Any:
        if key not in {"backbone", "head"}:
            raise KeyError(key)
        raise WeightsError(
            f"{self.get('yaml_file') or 'model'}: a Darknet network, which Ultralytics' own trainers cannot build; "
            "leave trainer= out, or give a subclass of yolo_subbatch.DarknetTrainer"
        )


def check_format(name: str) -> None:
    """Refuse a format of exported files that Ultralytics does not write.

    Raises:
        SettingsError: If it does not know it.
    """
    known = [each for each in export_formats()["Argument"] if each != "-"]
    if name not in known:
        raise SettingsError(f"format={name}: unknown; use one of {', '.join(known)}")


def share_with_yolo(kind: type[DetectionModel], own: Any) -> None:
    """Have ``YOLO`` use other classes for networks of one kind.

    Args:
        kind: The class of these networks.
        own: Returns the task map for them.
    """
    original = YOLO.task_map.fget

    def task_map(self: YOLO) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = own() if isinstance(getattr(self, "model", None), kind) else original(self)
        return found

    YOLO.task_map = property(task_map, doc=YOLO.task_map.__doc__)
