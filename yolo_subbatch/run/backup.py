"""Where Darknet leaves the weights of a run: ``NAME_last``, ``NAME_best``, ``NAME_1000`` and so on, in one folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from yolo_subbatch.darknet.datafile import read_options
from yolo_subbatch.errors import SettingsError


@dataclass(frozen=True)
class Backup:
    """The folder that the ``.data`` file calls ``backup``, and the name of the cfg.

    ``best`` tells whether mAP is measured, so that some weights are the best; ``written`` what this run has written.
    """

    folder: Path
    name: str
    best: bool
    written: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def of(cls, data: str, cfg: str, best: bool) -> Backup | None:
        """Return where the weights of a run go, or None where the data names no folder.

        Raises:
            YoloSubbatchError: If nothing could be written there.
        """
        given = read_options(data).get("backup")
        if not given:
            return None
        folder = backup_folder(data, given)
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir():
            raise SettingsError(f"{data}: backup={given}: {there} is not a folder; correct the path")
        if not os.access(there, os.W_OK | os.X_OK):
            raise SettingsError(f"{data}: backup={given}: {there} cannot be written to; choose another folder")
        return cls(folder, Path(cfg).name.partition(".")[0], best)

    def place(self, ending: str | int) -> Path:
        """Return a weights file that is going to be written in the folder, which is made if it is not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.written.add(str(ending))
        return self.folder / f"{self.name}_{ending}.weights"

    def finish(self, weights: Path, whole: bool) -> None:
        """Copy what a run has left, and say so.

        Args:
            weights: The run's folder of weights.
            whole: It has come to its end, so that its last weights are the final ones.

        Raises:
            SettingsError: If they cannot be written.
        """
        made = {"last": "last", **({"best": "best"} if self.best else {}), **({"final": "last"} if whole else {})}
        try:
            for ending, source in made.items():
                file = weights / f"{source}.weights"
                if file.is_file():
                    own = ending in self.written
                    place = self.place(ending)
                    replaced = copy_weights(file, place) and not own
                    print(f"{place} {'replaced' if replaced else 'written'}")
        except OSError as error:
            raise SettingsError(
                f"backup={self.folder}: cannot be written ({error.strerror}); the weights are in {weights}"
            ) from error


def backup_folder(data: str, backup: str) -> Path:
    """Return the backup folder of a ``.data`` file: where Darknet looks, from here, or beside the file if it is there.

    A folder that is nowhere yet is made here, where Darknet would fail.
    """
    beside = Path(data).parent / backup
    return beside if not Path(backup).is_dir() and beside.is_dir() else Path(backup)


def copy_weights(file: Path, place: Path) -> bool:
    """Copy a weights file, whole or not at all; tell whether another one was there.

    A link would save the room, but Darknet writes into a file that is there, and so into the run's.
    """
    replaced = place.is_file()
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        shutil.copyfile(file, draft)
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)
    return replaced
