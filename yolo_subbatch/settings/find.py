"""Names that a user gives to files: a path, or the name of something bundled."""

from __future__ import annotations

import difflib
import re
from importlib.resources import files
from pathlib import Path

from yolo_subbatch.darknet.regular_files import NOT_REGULAR, has_content
from yolo_subbatch.darknet.textfile import in_utf8, is_name
from yolo_subbatch.errors import CfgError, DataError, WeightsError, YoloSubbatchError
from yolo_subbatch.settings.host_files import OLD_PICKLE, find_dataset, nearest

BUILT_IN_DATA = "shapes"
YAML = frozenset({".yaml", ".yml"})
CHECKPOINT = ".pt"
LIKE = 0.75  # difflib ratio from which the name of a file is offered instead of one that is not there
CHECKPOINT_BYTES = (b"PK\x03\x04", OLD_PICKLE)  # how it begins: an archive, and a pickle of old releases of torch
#: Networks that Ultralytics publishes under names of the Darknet family, with a letter u behind them: other networks.
LOOKALIKE = re.compile(r"(yolov3(-tiny|-spp)?)\.pt", re.IGNORECASE)


def bundled_cfgs() -> list[str]:
    """Return the names of the bundled cfgs, such as ``yolov3.cfg``."""
    return sorted(entry.name for entry in files("yolo_subbatch.cfg").iterdir() if entry.name.endswith(".cfg"))


def find_cfg(name: str | Path | None) -> Path:
    """Return the path of a cfg: a file, or a bundled one by its name with or without ``.cfg``.

    Raises:
        CfgError: If there is no such file.
    """
    if not name:
        raise CfgError("cfg: not given; give a Darknet cfg, for example cfg=yolov3-tiny.cfg")
    path = Path(_possible(name, CfgError))
    if path.is_file():
        return path
    wanted = path.name if path.suffix == ".cfg" else f"{path.name}.cfg"
    if path.parent == Path() and wanted in bundled_cfgs():
        return Path(str(files("yolo_subbatch.cfg") / wanted))
    if path.exists():
        kind = "this is a folder" if path.is_dir() else NOT_REGULAR
        raise CfgError(f"cfg={name}: {kind}; give {'the .cfg file inside it' if path.is_dir() else 'a .cfg file'}")
    if path.suffix.lower() == CHECKPOINT:
        raise CfgError(f"cfg={name}: no such file{beside(path)}; a checkpoint is given as model=")
    near = nearest(wanted.removesuffix(".cfg"), [each.removesuffix(".cfg") for each in bundled_cfgs()])
    advice = f"; did you mean the bundled {near}.cfg?" if near else beside(path)
    bundled = f"; give a file, or one of {', '.join(bundled_cfgs())}"
    raise CfgError(f"cfg={name}: no such file{advice or bundled}")


def beside(path: Path) -> str:
    """Return words that offer the file in the same folder whose name is nearest, or nothing."""
    try:
        names = [each.name for each in path.parent.iterdir() if each.is_file()]
    except OSError:
        return ""
    # A letter in the wrong case, or an ending that was forgotten, is nearer than what looks alike.
    same = [name for name in names if path.name.lower() in {name.lower(), Path(name).stem.lower()}]
    near = next(iter(sorted(same) or difflib.get_close_matches(path.name, names, 1, LIKE)), None)
    return f"; did you mean {path.parent / near}?" if near else ""


def _possible(name: str | Path, kind: type[YoloSubbatchError]) -> str:
    """Return a name that a file can have, before every look for it would fail in its own way.

    Raises:
        YoloSubbatchError: Of that kind, if none can have it.
    """
    if not is_name(name):
        raise kind(f"{str(name)[:60]}...: not a path that a file can have; check what was pasted")
    return str(name)


def is_checkpoint(name: str | Path) -> bool:
    """Tell whether a name is that of a checkpoint: by what the file holds, or by its ending."""
    return Path(name).suffix.strip().lower() == CHECKPOINT or holds_checkpoint(name)


def holds_checkpoint(name: str | Path) -> bool:
    """Tell whether a file begins as a checkpoint does."""
    if not has_content(name):
        return False
    try:
        with Path(name).open("rb") as opened:
            return opened.read(4).startswith(CHECKPOINT_BYTES)
    except (OSError, ValueError):
        return False


def find_checkpoint(name: str | Path, key: str = "") -> Path:
    """Return the path of a checkpoint: the file that is there, whatever it is called.

    Args:
        name: As the user gives it; blanks around it are left out where no file has them.
        key: Stands before the name in the message.

    Raises:
        WeightsError: If there is no such file, naming the nearest one that is there.
    """
    given = _possible(name, WeightsError)
    for text in (given, given.strip()):
        path = Path(text).expanduser() if text.startswith("~") and not Path(text).exists() else Path(text)
        if text and path.is_file():
            return path
    if path.is_dir():
        raise WeightsError(f"{key}{given}: this is a folder; give the .pt file inside it")
    near = beside(path)
    if LOOKALIKE.fullmatch(path.name) and not near:
        near = f"; Ultralytics' network of a similar name is {path.stem}u.pt"
    raise WeightsError(f"{key}{given}: no such file{near or '; give the checkpoint of a run, such as weights/best.pt'}")


def is_built_in(data: str | Path | None) -> bool:
    """Tell whether a data description is the built-in data set, by name or because none is given."""
    names = {BUILT_IN_DATA, f"{BUILT_IN_DATA}.data", f"{BUILT_IN_DATA}.yaml"}
    return not data or (str(data) in names and not Path(data).is_file())


def find_data(name: str | Path | None) -> Path | None:
    """Return the path of a data description, or None for the built-in data set.

    Raises:
        DataError: If there is no such file.
    """
    if not name or is_built_in(name):
        return None
    path = Path(_possible(name, DataError))
    if not in_utf8(path.absolute()):
        raise DataError(
            f"data={name}: a path that is not in UTF-8, with which Ultralytics' data sets cannot deal; rename it"
        )
    if path.suffix not in YAML and path.suffix.lower() in YAML:
        raise DataError(f"data={name}: its name ends in {path.suffix}; rename it to {path.stem}{path.suffix.lower()}")
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"data={name}: this is a folder; give the .data or .yaml file inside it")
    bundled = find_dataset(str(name)) if path.suffix in YAML else None
    if bundled is None:
        usual = f"; give a Darknet .data, an Ultralytics .yaml, or {BUILT_IN_DATA}"
        raise DataError(f"data={name}: no such file{beside(path) or usual}")
    return bundled


def short_path(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
