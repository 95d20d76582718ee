from __future__ import annotations

import pkgutil
import subprocess
import sys

import yolo_subbatch.folder
import yolo_subbatch.settings

MODULES = sorted(
    each.name
    for room in (yolo_subbatch.settings, yolo_subbatch.folder)
    for each in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
)
BLOCKED = ("torch", "numpy", "cv2", "PySide6", "pyqtgraph")


def test_a_run_on_disk_needs_neither_torch_nor_ultralytics() -> None:
    assert "yolo_subbatch.settings.training_checks" in MODULES
    code = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # importing it raises
for name in {[*MODULES, "yolo_subbatch.cli"]!r}:
    __import__(name)
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate
assert not [each for each in validate(TrainSettings(cfg="yolov3", extra={{"mosaic": .5}})) if each.level == "error"]
assert "ultralytics" not in sys.modules  # its files are read all the same
"""
    subprocess.run([sys.executable, "-c", code], check=True)
