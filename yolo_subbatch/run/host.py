"""What Ultralytics knows, read from its files: importing the package would take seconds.

Its training keys with their defaults, its model descriptions, and what kind of network a checkpoint holds.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

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
PUBLISHED = re.compile(r"(yolo|rtdetr|sam|mobile_sam|FastSAM)[\w.-]*\.pt", re.IGNORECASE)
#: Endings of a model's name whose labels hold more than boxes.
OTHER_TASKS = ("-seg", "-pose", "-obb", "-cls", "-depth", "-sem")
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
        with zipfile.ZipFile(file) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return any(b"yolo_subbatch.engine.model" in archive.read(name) for name in pickles)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}); check the path of the checkpoint") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        with file.open("rb") as opened:
            if opened.read(2) == OLD_PICKLE:
                return False
        raise WeightsError(f"{file}: no checkpoint, or a damaged one; give the .pt of a training") from error
