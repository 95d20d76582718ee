"""The runs that are laid over the one that is shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QObject

from yolo_subbatch.folder.run_folder import RunFolder

from .reader import RunReader


class Comparison(QObject):
    """Keeps a reader for every run that is compared, for as long as it is."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._readers: dict[Path, RunReader] = {}

    def choose(self, paths: Iterable[Path]) -> dict[str, RunReader]:
        """Read these runs and no others; return them by name, with the project's where two have the same."""
        wanted = set(paths)
        for path in self._readers.keys() - wanted:
            reader = self._readers.pop(path)
            reader.stop()
            reader.deleteLater()
        for path in wanted - self._readers.keys():
            self._readers[path] = RunReader(RunFolder(path), parent=self)
            self._readers[path].start()
        names = [path.name for path in self._readers]
        return {
            path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}": self._readers[path]
            for path in sorted(self._readers)
        }
