"""A run on disk: its folder, its process, its state."""

from __future__ import annotations

import shutil
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import EventWriter, RunFinished, last_event
from yolo_subbatch.folder.process import RunProcess
from yolo_subbatch.settings.safe_reading import open_to_append, read_small
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.whole_files import clear_drafts, write_whole

PATHS = ("cfg", "model", "weights", "data", "project")  # settings that may be paths


@dataclass(frozen=True)
class RunFolder(RunProcess):
    """The folder of one run; the files in it have fixed names.

    ``settings.json`` what was asked, ``run.json`` which process, ``events.jsonl`` what happened, ``console.log`` what a
    launched process printed, ``control/stop`` a request to stop, ``weights/`` the results.
    """

    new_project: bool = field(default=False, compare=False)  # the folder that holds it was made for it

    @classmethod
    def create(cls, project: str | Path, name: str) -> RunFolder:
        """Make a new folder ``project/name``; a taken name gets the next free number: ``name2``, ``name3``.

        Raises:
            SettingsError: If the folder cannot be made.
        """
        parent = Path(project).absolute()
        new_project = not parent.exists()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            return cls(next(path for path in _candidates(parent, name) if _made(path)), new_project)
        except FileExistsError:
            raise SettingsError(f"project={project}: {parent} is a file; give a folder") from None
        except OSError as error:
            fault = f"project={project}: no folder can be made there ({error.strerror}); give one you may write to"
            raise SettingsError(fault) from error

    @classmethod
    def prepared(cls, path: str | Path) -> RunFolder:
        """Return the folder that a launcher prepared.

        Raises:
            SettingsError: If it has no settings, or was used already.
        """
        folder = cls(Path(path).absolute())
        if not folder.path.is_dir():
            raise SettingsError(f"run_dir={path}: no such folder; make it and write a settings.json into it")
        if folder.events.exists():
            raise SettingsError(f"run_dir={path}: holds the events of a run already; prepare a new folder")
        if not folder.settings.is_file():
            raise SettingsError(f"run_dir={path}: no settings.json in it; write the settings first")
        folder.refuse_links(f"run_dir={path}")
        return folder

    @classmethod
    def attach(cls, path: str | Path) -> RunFolder:
        """Return the folder of a run that someone started, running or not.

        Raises:
            SettingsError: If it is no run folder.
        """
        folder = cls(Path(path).absolute())
        if not any(file.is_file() for file in (folder.began, folder.events, folder.settings)):
            raise SettingsError(f"{path}: not the folder of a run, it holds no run.json; give a run's folder")
        return folder

    def refuse_links(self, shown: str) -> None:
        """Refuse to write through links that somebody else has put into the folder: what they lead to would be gone.

        Args:
            shown: What the user gave, for the message.

        Raises:
            SettingsError: If there is one, and this user did not begin the run here.
        """
        if self.is_own_record():
            return
        places = [place for place in (self.path, self.weights) if place.is_dir()]
        for link in (each for place in places for each in place.iterdir() if each.is_symlink()):
            if link != self.settings:  # which is only read
                found = f"{link} is a link to {link.readlink()}, to which would be written, in a run that is not yours"
                raise SettingsError(f"{shown}: {found}; put the file or the folder itself in its place")

    def discard(self) -> None:
        """Remove a folder whose run never began; one that holds events or weights stays."""
        if not self.events.exists() and not (self.weights.is_dir() and any(self.weights.iterdir())):
            shutil.rmtree(self.path, ignore_errors=True)
            if self.new_project:
                with suppress(OSError):  # another run may have begun in it
                    self.path.parent.rmdir()

    def write_settings(self, settings: TrainSettings) -> None:
        """Keep what was asked."""
        write_whole(self.settings, settings.to_json())

    def read_settings(self) -> TrainSettings:
        """Return what was asked.

        Raises:
            SettingsError: If the file is missing or damaged.
        """
        try:
            text = read_small(self.settings).decode("utf-8")
        except OSError as error:
            raise SettingsError(f"{self.settings}: cannot be read ({error.strerror}); is this a run folder?") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{self.settings}: not UTF-8 text; write the settings again") from error
        return TrainSettings.from_json(text, str(self.settings))

    def usable_settings(self) -> TrainSettings:
        """Return what was asked, with paths that hold from here: they were given where this user started the run.

        Raises:
            SettingsError: If the file is missing or damaged.
        """
        settings, began_in = self.read_settings(), self.began_in()
        if not began_in or Path(began_in) == Path.cwd():
            return settings
        for name in PATHS:
            place = Path(began_in) / (getattr(settings, name) or "")
            if getattr(settings, name) and place.exists():
                settings = replace(settings, **{name: str(place)})  # type: ignore[arg-type]
        return settings

    def status(self) -> str:
        """Return ``prepared``, ``queued``, ``running``, ``completed``, ``stopped`` or ``failed``.

        A run whose process is gone without a last event has failed. The events are read after looking at the process,
        so that a run that ends in between is not called dead.
        """
        alive = self.alive()
        if not alive and self.waiting.exists():
            return "queued"
        last = last_event(self.events)
        if isinstance(last, RunFinished) and not (alive and self.begins_after(last.t)):
            return last.ending
        if alive:
            return "running"
        return "failed" if self.events.exists() or self.process_record() else "prepared"

    def changed(self) -> float:
        """Return when a file or folder was last made in this folder, in Unix seconds."""
        with suppress(OSError):
            return self.path.stat().st_mtime
        return 0.0

    def record_failure(self, error: BaseException) -> None:
        """Write the last event of a run that failed, unless its newest process has written one itself.

        One that was finished, and was only to become longer, is as finished as before.
        """
        last = last_event(self.events)
        if isinstance(last, RunFinished) and (last.ending == "completed" or not self.begins_after(last.t)):
            return
        stopped = isinstance(error, KeyboardInterrupt)
        trace = "".join(traceback.format_exception(error))
        details = {"type": type(error).__name__, "message": str(error), "traceback": trace}
        status, reason = "stopped" if stopped else "failed", str(error)
        with suppress(OSError), closing(EventWriter(self.events)) as writer:  # the disk may be what has failed
            writer.write(RunFinished(status=status, reason=reason, error=None if stopped else details))

    def begin_again(self, size: int, clear: bool = True) -> None:
        """Prepare the folder of a run that goes on: events after its state are taken back.

        Args:
            size: The size of the events file in bytes when the state was kept.
            clear: Take back a request to stop too; not where old ones are gone, and one that is there is new.
        """
        self.cut_events(size)
        if clear:
            self.clear_request()
        self.clear_halves()

    def clear_halves(self) -> None:
        """Remove what was being written when the process of this run died."""
        for half in self.weights.glob(".*.????????"):
            if half.is_file():
                half.unlink()
        for file in (self.began, self.settings):
            clear_drafts(file)

    def clear_finished(self, state: bool) -> None:
        """Remove what a run that has come to its end has no use for, where it was killed before it did so itself.

        Args:
            state: Its exact state too, which was not to be kept.
        """
        self.clear_halves()
        for name in ("best.pt.whole", *(["state.pt"] if state else [])):
            (self.weights / name).unlink(missing_ok=True)

    def cut_events(self, size: int) -> None:
        """Cut the events file to its first bytes; one that is shorter stays as it is."""
        with suppress(FileNotFoundError):
            if self.events.stat().st_size > size:
                with open_to_append(self.events) as file:
                    file.truncate(size)


def launch(settings: TrainSettings) -> tuple[RunFolder, subprocess.Popen[bytes]]:
    """Start a training in the background, in a new run folder.

    Raises:
        SettingsError: If the folder cannot be made.
    """
    folder = RunFolder.create(settings.project, settings.name)
    folder.write_settings(settings)
    return folder, folder.launch()


def _candidates(parent: Path, name: str) -> Iterator[Path]:
    yield parent / name
    for number in count(2):
        yield parent / f"{name}{number}"


def _made(path: Path) -> bool:
    """Make a folder, unless it exists, whoever made it: no folder is ever used twice."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
