"""Names that a user gives to files: a path, or the name of something bundled."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from yolo_subbatch.errors import CfgError, DataError
from yolo_subbatch.run.host import find_dataset, nearest

BUILT_IN_DATA = "shapes"
YAML = frozenset({".yaml", ".yml"})


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
    path = Path(name)
    if path.is_file():
        return path
    wanted = path.name if path.suffix == ".cfg" else f"{path.name}.cfg"
    if path.parent == Path() and wanted in bundled_cfgs():
        return Path(str(files("yolo_subbatch.cfg") / wanted))
    if path.exists():
        raise CfgError(f"cfg={name}: this is a folder; give the .cfg file inside it")
    near = nearest(wanted.removesuffix(".cfg"), [each.removesuffix(".cfg") for each in bundled_cfgs()])
    advice = f"did you mean the bundled {near}.cfg?" if near else f"give a file, or one of {', '.join(bundled_cfgs())}"
    raise CfgError(f"cfg={name}: no such file; {advice}")


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
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"data={name}: this is a folder; give the .data or .yaml file inside it")
    bundled = find_dataset(str(name)) if path.suffix in YAML else None
    if bundled is None:
        raise DataError(f"data={name}: no such file; give a Darknet .data, an Ultralytics .yaml, or {BUILT_IN_DATA}")
    return bundled


def short_path(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
