"""What Ultralytics knows, read from its files: importing the package would take seconds.

Its training keys with their defaults, its model descriptions, and what kind of network a checkpoint holds.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from yolo_subbatch.darknet.regular_files import has_content
from yolo_subbatch.errors import SettingsError, WeightsError

#: The oldest release that the tests pass with, and the first that they say nothing about; pyproject.toml has the same.
OLDEST, BEYOND = (8, 4, 14), (8, 5)
REQUIREMENT = "ultralytics>=8.4.14,<8.5"
INSTALL = f'pip install "{REQUIREMENT}"'
#: Ultralytics' own rule: keys that are a share or a probability, from 0 to 1.
FRACTIONS = frozenset({
    "bgr", "cls_pw", "conf", "copy_paste", "cutmix", "dlam", "dropout", "erasing", "fliplr", "flipud", "hsv_h", "hsv_s",
    "hsv_v", "iou", "lr0", "lrf", "mixup", "momentum", "mosaic", "multi_scale", "perspective", "translate",
    "warmup_bias_lr", "warmup_momentum", "weight_decay",
})  # fmt: skip
#: Its least value of keys that count something.
LEAST = {"patience": 0, "max_det": 1, "mask_ratio": 1, "vid_stride": 1, "warmup_epochs": 0, "close_mosaic": 0}
ABOVE_ZERO = frozenset({"fraction", "time"})
#: Headings of the file with Ultralytics' keys, and those whose keys have no part in training.
HEADING = re.compile(r"^# (\w[^\n]*?) -{5,}$", re.MULTILINE)
NOT_TRAINING = frozenset({
    "Predict settings", "Visualize settings", "Export settings", "Tracker settings", "Custom config.yaml",
})  # fmt: skip
#: Keys under those headings that validation during a training uses.
USED_ALL_THE_SAME = frozenset({"agnostic_nms", "augment", "classes", "save_conf", "save_txt", "visualize"})
#: Published checkpoints, which Ultralytics downloads by name.
PUBLISHED = re.compile(
    r"(yolov3(-spp|-tiny)?u|yolov5[nsmlx]6?u?|yolov8[nsmlx](-[\w-]+)?|yolov9[tsmce](-seg)?|yolov10[nsmblx]"
    r"|yolo\d\d[nsmlx](-[\w-]+)?|yoloe-\w+(-[\w-]+)?|yolo_nas_[sml]|rtdetr-[lx]|sam[\d.]*_[blst]|mobile_sam"
    r"|FastSAM-[sx])\.pt",
    re.IGNORECASE,
)
#: Class of the network in a checkpoint, and what such a network is for.
MODELS = {
    "DetectionModel": "detect", "RTDETRDetectionModel": "detect", "WorldModel": "detect", "YOLOEModel": "detect",
    "SegmentationModel": "segment", "YOLOESegModel": "segment", "PoseModel": "pose", "OBBModel": "obb",
    "ClassificationModel": "classify", "SemanticSegmentationModel": "semantic", "DepthModel": "depth",
}  # fmt: skip
IN_PICKLE = re.compile(rb"ultralytics\.nn\.tasks\W+(\w+)")
#: Parts of the name of a description's last layer, and the task that such a head is for.
HEAD_NAMES = (
    ("classify", "classify"), ("semanticsegment", "semantic"), ("segment", "segment"), ("pose", "pose"), ("obb", "obb"),
    ("depth", "depth"),
)  # fmt: skip
TASK_ENDINGS = {
    "-seg": "segment", "-pose": "pose", "-obb": "obb", "-cls": "classify", "-depth": "depth", "-sem": "semantic",
}  # fmt: skip
CLOSE = 0.6  # difflib ratio from which a known word is offered instead of an unknown one
OLD_PICKLE = b"\x80\x02"  # how checkpoints of old releases of torch begin


@cache
def folder() -> Path:
    """Return where Ultralytics is installed.

    Raises:
        SettingsError: If it is not.
    """
    found = importlib.util.find_spec("ultralytics")
    if found is None or not found.submodule_search_locations:
        raise SettingsError(f"ultralytics: not installed; {INSTALL}")
    return Path(found.submodule_search_locations[0])


@cache
def release() -> str:
    """Return the number of the installed release as it is written, such as ``8.4.190``."""
    found = re.search(r"""^__version__ = ["']([^"']+)""", (folder() / "__init__.py").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "0"


def version() -> tuple[int, ...]:
    """Return the number of the installed release, to be compared."""
    return tuple(int(each) for each in re.findall(r"\d+", release())[:3])


def check_version() -> str | None:
    """Look whether the installed release is one that this program works with.

    Returns:
        A warning where it is newer than those that were tried, else None.

    Raises:
        SettingsError: If it is missing or too old.
    """
    if version() < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise SettingsError(f"ultralytics {release()}: too old, {oldest} is the oldest that works; {INSTALL}")
    if version() < BEYOND:
        return None
    return f"ultralytics {release()}: newer than what this program was tried with; if something fails, {INSTALL}"


@cache
def training_keys() -> dict[str, Any]:
    """Return every training key of Ultralytics with its default; do not change the dictionary."""
    import yaml  # here, because most help texts do without it

    text = (folder() / "cfg" / "default.yaml").read_text(encoding="utf-8")
    parts = HEADING.split(text)  # what stands before the first heading, then heading and keys in turn
    headed = zip(parts[1::2], parts[2::2], strict=True)
    others = {key for heading, keys in headed if heading in NOT_TRAINING for key in yaml.safe_load(keys)}
    return {key: value for key, value in yaml.safe_load(text).items() if key not in others - USED_ALL_THE_SAME}


def limits(key: str) -> dict[str, float]:
    """Return the bounds that Ultralytics sets to a number: ``min``, ``max``, ``above``."""
    if key in ABOVE_ZERO:
        return {"above": 0}
    if key in LEAST:
        return {"min": LEAST[key]}
    return {"min": 0, "max": 1} if key in FRACTIONS else {}


def find_model(name: str) -> Path | None:
    """Return a model description that Ultralytics brings along; ``yolo26n.yaml`` is size n of ``yolo26.yaml``."""
    wanted = {name, re.sub(r"(\d+)[nslmx](.*)$", r"\1\2", name)}
    return next((path for path in (folder() / "cfg" / "models").rglob("*.yaml") if path.name in wanted), None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(known), 1, CLOSE)), None)


def model_names() -> list[str]:
    """Return the names of the model descriptions that Ultralytics brings along."""
    return sorted(path.name for path in (folder() / "cfg" / "models").rglob("*.yaml"))


def datasets_folder() -> Path | None:
    """Return the folder in which Ultralytics looks for data sets by name; None where it has kept no settings yet."""
    homes = {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}
    usual = Path.home() / homes[sys.platform] if sys.platform in homes else None
    usual = usual or Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    config = Path(os.environ.get("YOLO_CONFIG_DIR") or usual).expanduser()
    try:
        found = json.loads((config / "Ultralytics" / "settings.json").read_text(encoding="utf-8"))["datasets_dir"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return Path(found) if isinstance(found, str) and found else None


def find_dataset(name: str) -> Path | None:
    """Return a data description that Ultralytics brings along, such as ``coco8.yaml``."""
    path = folder() / "cfg" / "datasets" / name
    return path if path.name == name and path.is_file() else None


def is_darknet_checkpoint(path: str | Path) -> bool:
    """Tell whether a ``.pt`` holds a network of this package, without loading it.

    Raises:
        WeightsError: If it is no checkpoint at all.
    """
    file = Path(path)
    try:
        return b"yolo_subbatch.engine.model" in _pickled(file)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}); check the path of the checkpoint") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        if has_content(file):
            with file.open("rb") as opened:
                if opened.read(2) == OLD_PICKLE:
                    return False
        raise WeightsError(f"{file}: no checkpoint, or a damaged one; give the .pt of a training") from error


def _pickled(file: Path) -> bytes:
    """Return what stands in a checkpoint besides the numbers: the names of its classes are in it."""
    if not has_content(file):
        raise zipfile.BadZipFile(f"{file}: empty")
    with zipfile.ZipFile(file) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def task_of(model: str | Path) -> str | None:
    """Return what a network of Ultralytics is for: ``detect``, ``segment``, ``pose``, ``obb``, ``classify`` ...

    Args:
        model: A checkpoint, a description, or the name of either that Ultralytics knows.

    Returns:
        Its task; None where that is not known before the network is loaded.
    """
    path = Path(model)
    if path.suffix in {".yaml", ".yml"}:
        return _described(path if path.is_file() else find_model(path.name), path.stem)
    if path.is_file():
        try:
            named = IN_PICKLE.findall(_pickled(path))
        except (OSError, zipfile.BadZipFile):
            return None
        return next((MODELS[each.decode()] for each in named if each.decode() in MODELS), None)
    return _named(path.stem)


def _named(stem: str) -> str:
    return next((task for ending, task in TASK_ENDINGS.items() if ending in stem), "detect")


def _described(path: Path | None, stem: str) -> str | None:
    import yaml

    if path is None:
        return _named(stem)
    try:
        head = str(yaml.safe_load(path.read_text(encoding="utf-8"))["head"][-1][-2]).lower()
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, KeyError, IndexError, TypeError):
        return None  # Ultralytics says what is wrong with it
    return next((task for name, task in HEAD_NAMES if name in head), "detect")
