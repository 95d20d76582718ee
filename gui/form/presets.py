"""Settings kept under a name: the bundled cfgs, and what the user has saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QStandardPaths

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.checks import NOT_IN_NAMES
from yolo_subbatch.settings.find import BUILT_IN_DATA, bundled_cfgs
from yolo_subbatch.settings.train_settings import TrainSettings

DEMO = "shapes.cfg"
TITLES = {"yolov3.cfg": "YOLOv3 (608)", "yolov3-tiny.cfg": "YOLOv3-tiny (416)", "yolov3-spp.cfg": "YOLOv3-SPP (608)"}
#: What belongs to the user's data and computer, and stays when another network is chosen.
NOT_OF_THE_NETWORK = ("data", "device", "project", "workers")


def bundled_titles() -> dict[str, str]:
    """Return the titles of the bundled cfgs by their names, the best known first and the demonstration last."""
    known = [name for name in TITLES if name in bundled_cfgs()]
    others = [name for name in bundled_cfgs() if name not in TITLES and name != DEMO]
    titles = {name: TITLES.get(name, name.removesuffix(".cfg")) for name in (*known, *others)}
    return {**titles, DEMO: QCoreApplication.translate("Presets", "Shapes demo (160)")}


def with_bundled(cfg: str, current: TrainSettings) -> TrainSettings:
    """Return the settings of a bundled cfg; data and device stay as they are, but for the demonstration's own data."""
    kept = {name: getattr(current, name) for name in NOT_OF_THE_NETWORK}
    chosen = TrainSettings(cfg=cfg, **kept)
    return replace(chosen, data=BUILT_IN_DATA) if cfg == DEMO else chosen


def preset_folder() -> Path:
    """Return where this user's presets are."""
    return Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppConfigLocation)) / "presets"


class Presets:
    """A folder with a JSON file of settings for each preset."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or preset_folder()

    def names(self) -> list[str]:
        """Return the names, in alphabetical order."""
        return sorted((path.stem for path in self.folder.glob("*.json")), key=str.casefold)

    def load(self, name: str) -> TrainSettings:
        """Read a preset.

        Raises:
            SettingsError: If its file cannot be read or is damaged.
        """
        path = self._path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            text = QCoreApplication.translate("Presets", "{path}: cannot be read ({reason}); save the preset again")
            raise SettingsError(text.format(path=path, reason=_reason(error))) from error
        return TrainSettings.from_json(text, str(path))

    def save(self, name: str, settings: TrainSettings) -> None:
        """Write a preset, over one of the same name.

        Raises:
            SettingsError: If the name suits no file, or the file cannot be written.
        """
        if not name.strip(". ") or NOT_IN_NAMES.search(name):
            text = QCoreApplication.translate("Presets", "{name}: not a name for a preset; give a plain one")
            raise SettingsError(text.format(name=name))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path(name).write_text(settings.to_json(), encoding="utf-8")
        except OSError as error:
            text = QCoreApplication.translate("Presets", "{path}: cannot be written ({reason})")
            raise SettingsError(text.format(path=self._path(name), reason=_reason(error))) from error

    def delete(self, name: str) -> None:
        """Remove a preset; one that is gone already is no fault."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else error.reason
