"""Where Darknet leaves the weights of a run: ``NAME_last``, ``NAME_best``, ``NAME_1000`` and so on, in one folder.

The header of a weights file counts images, and Darknet divides them by the batch to learn the iteration. Where epochs
end in smaller updates that would be too few, so the files here get the iteration times the batch, as AlexeyAB's Darknet
writes it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from yolo_subbatch.darknet.datafile import read_options
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.darknet.textfile import find_folder
from yolo_subbatch.darknet.weights_header import with_seen
from yolo_subbatch.errors import SettingsError, YoloSubbatchError
from yolo_subbatch.folder.events import RunFinished, RunStarted, Step, last_event
from yolo_subbatch.folder.own import is_own, marked
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.checks import folder_fault
from yolo_subbatch.settings.file_marks import is_ours
from yolo_subbatch.settings.output_checks import place_fault
from yolo_subbatch.settings.safe_reading import MOST_RECORD, parse_json, read_small
from yolo_subbatch.settings.whole_files import write_whole

NOTE = "backup.json"  # in the folder of a run, so that it still has its backup when it is taken up


@dataclass(frozen=True)
class Backup:
    """The folder that the ``.data`` file calls ``backup``, and the name of the cfg.

    ``best`` tells whether mAP is measured, so that some weights are the best.
    """

    folder: Path
    cfg: Path
    best: bool

    @property
    def name(self) -> str:
        """How the files' names begin."""
        return self.cfg.name.partition(".")[0]

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
        fault = folder_fault(folder)
        if fault is not None:
            raise SettingsError(f"{data}: backup={given}: {fault}")
        backup = cls(folder, Path(cfg), best)
        backup.check()
        return backup

    def check(self) -> None:
        """Make sure that what a run replaces, as Darknet does, are weights: a run may have begun with them.

        Raises:
            SettingsError: If something else is in their place.
        """
        endings = [*self._endings(), *(each.name[len(self.name) + 1 : -len(".weights")] for each in self._numbered())]
        for file in map(self.file, endings):
            fault = place_fault(file) if os.path.lexists(file) else None
            if fault is None and file.is_file() and not is_ours(file, "backup"):
                fault = "holds no weights of Darknet, and is not overwritten; move it"
            if fault is not None:
                raise SettingsError(f"{file}: {fault}")

    def _numbered(self) -> list[Path]:
        """Return the files in the folder that are named after an iteration."""
        numbered = re.compile(re.escape(self.name) + r"_\d+")
        return [each for each in self.folder.glob("*.weights") if numbered.fullmatch(each.stem)]

    def _endings(self) -> tuple[str, ...]:
        return ("last", *(["best"] if self.best else []), "final")

    @classmethod
    def noted(cls, run: RunFolder) -> Backup | None:
        """Return what this user's :meth:`note` has left in a run's folder; None for a run without.

        Files are replaced in the folder that it names, so that of a stranger does not count.
        """
        try:
            given = parse_json(read_small(run.path / NOTE, MOST_RECORD))
            if not is_own(given, run.path / NOTE):
                return None
            return cls(Path(given["folder"]), Path(given["cfg"]), bool(given["best"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def note(self, run: RunFolder) -> None:
        """Leave a note in a run's folder."""
        given = {"folder": str(self.folder.absolute()), "cfg": str(self.cfg.absolute()), "best": self.best}
        write_whole(run.path / NOTE, json.dumps(marked(given, run.path / NOTE)))

    def file(self, ending: str | int) -> Path:
        """Return a weights file in the folder."""
        return self.folder / f"{self.name}_{ending}.weights"

    def existing(self) -> list[Path]:
        """Return the weights of before that a run will replace, as Darknet does."""
        return [file for file in map(self.file, self._endings()) if file.is_file()]

    def place(self, ending: str | int) -> Path:
        """Return a weights file in the folder, which is made if it is not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.file(ending)

    def finish(self, run: RunFolder) -> None:
        """Copy the last weights that a run has left, which are the final ones if it has come to its end; say so.

        Raises:
            SettingsError: If they cannot be written.
        """
        file, step = run.weights / "last.weights", last_event(run.events, Step)
        started, finished = last_event(run.events, RunStarted), last_event(run.events, RunFinished)
        if not file.is_file() or step is None or started is None:
            return  # it ended before its first weights
        whole = finished is not None and finished.status == "completed"
        try:
            for ending in ("last", *(["final"] if whole else [])):
                place = self.place(ending)
                copy_weights(file, place, step.step * started.batch)
                print(f"{place} written")
            rebuilt = self._rebuilt(run.weights / "model.cfg")
        except OSError as error:
            raise SettingsError(
                f"backup={self.folder}: cannot be written ({error.strerror}); the weights are in {run.weights}"
            ) from error
        best = self.file("best")
        if self.best and best.is_file():
            print(f"{best} written")
        if rebuilt is not None:
            print(f"{rebuilt} written: the cfg that fits these weights, with heads for the classes of the data")

    def _rebuilt(self, trained: Path) -> Path | None:
        """Copy the cfg of a run whose heads were rebuilt, which the one that the user gave does not fit."""
        try:
            own, other = (read_cfg(each).heads for each in (self.cfg, trained))
        except YoloSubbatchError:  # it was moved meanwhile
            return None
        if [head.classes for head in own] == [head.classes for head in other]:
            return None
        place = self.folder / f"{self.name}_rebuilt.cfg"
        write_whole(place, trained.read_bytes())
        return place


def backup_folder(data: str, backup: str) -> Path:
    """Return the backup folder of a ``.data`` file: where Darknet looks, from here, or beside the file if it is there.

    A folder that is nowhere yet is made here, where Darknet would fail.
    """
    return find_folder(backup, Path(), Path(data).parent)


def copy_weights(file: Path, place: Path, seen: int) -> None:
    """Copy a weights file, whole or not at all, with another number of images seen.

    A link would save the room, but Darknet writes into a file that is there, and so into the run's.
    """
    write_whole(place, with_seen(file.read_bytes(), seen))
