from __future__ import annotations

import pkgutil
import subprocess
import sys

import yolo_subbatch.run

MODULES = sorted(each.name for each in pkgutil.iter_modules(yolo_subbatch.run.__path__, "yolo_subbatch.run."))
BLOCKED = ("torch", "numpy", "cv2", "PySide6", "pyqtgraph")


def test_a_run_on_disk_needs_neither_torch_nor_ultralytics() -> None:
    assert "yolo_subbatch.run.validate" in MODULES
    code = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # importing it raises
for name in {[*MODULES, "yolo_subbatch.cli"]!r}:
    __import__(name)
from yolo_subbatch.run.settings import TrainSettings
from yolo_subbatch.run.validate import validate
assert not [each for each in validate(TrainSettings(cfg="yolov3", extra={{"mosaic": .5}})) if each.level == "error"]
assert "ultralytics" not in sys.modules  # its files are read all the same
"""
    subprocess.run([sys.executable, "-c", code], check=True)
