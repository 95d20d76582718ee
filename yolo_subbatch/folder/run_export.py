"""The export of a run's network: what can be exported, what is wrong with its settings, and its process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from yolo_subbatch.darknet.geometry import largest_stride
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.errors import YoloSubbatchError
from yolo_subbatch.folder.process import OF_ITS_OWN, RunFiles, RunProcess, environment, module_command
from yolo_subbatch.settings.checks import Problem, error, size_fault
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.export_checks import export_problems
from yolo_subbatch.settings.safe_reading import open_to_append
from yolo_subbatch.settings.values import defaults

Found = TypeVar("Found")
CHECKPOINTS = ("best.pt", "last.pt")  # that a run leaves, the better one first
HALF_DONE = ".export-{pid}-*"  # folders beside the target, in which a process makes a file before it gets its name


def checkpoints(run: RunFiles) -> list[Path]:
    """Return the checkpoints of a run that can be exported, the best first."""
    with suppress(OSError):  # a folder that may not be looked into
        return [path for path in (run.weights / name for name in CHECKPOINTS) if path.is_file()]
    return []


def network_size(run: RunFiles) -> int | tuple[int, int] | None:
    """Return the input size of a run's network as ``imgsz`` has it; None where it has left no cfg."""
    net = _quietly(lambda: read_cfg(run.weights / "model.cfg").net)
    if net is None:
        return None
    return net.width if net.width == net.height else (net.height, net.width)


def problems_of(run: RunFiles, settings: ExportSettings) -> list[Problem]:
    """Return everything that is wrong with the export of a run's checkpoint, as far as is known without torch.

    Args:
        run: The run that has left the checkpoint ``settings.model``.
        settings: What is asked.
    """
    found = export_problems(settings)
    wrong = {each.field for each in found}
    size = settings.imgsz
    if size is not None and "imgsz" not in wrong:
        height, width = size if isinstance(size, tuple) else (size, size)
        fault = _quietly(lambda: size_fault(width, height, largest_stride(read_cfg(run.weights / "model.cfg"))))
        found += [error("imgsz", fault)] if fault else []
    return found


def pairs(settings: ExportSettings) -> list[str]:
    """Return settings as the command line takes them; what is left at its default is left out."""
    given = {name: getattr(settings, name) for name in defaults(ExportSettings)}
    changed = {name: value for name, value in given.items() if value != defaults(ExportSettings)[name]}
    texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in changed.items()}
    return [f"{name}={text}" for name, text in texts.items()]


@dataclass(frozen=True)
class ExportProcess(RunProcess):
    """The process that exports, or exported, the network of the run in a folder; it outlives who started it."""

    @property
    def began(self) -> Path:
        """The file that tells which process exports, or exported, here."""
        return self.path / "export.json"

    @property
    def console(self) -> Path:
        """What the newest export printed."""
        return self.path / "export.log"

    def begin(self, settings: ExportSettings) -> subprocess.Popen[bytes]:
        """Start to export, with the command line's own command.

        Raises:
            OSError: If the process cannot be started, or the run's folder cannot be written to.
        """
        self.console.unlink(missing_ok=True)
        with open_to_append(self.console) as console:
            process = subprocess.Popen(
                self.command(settings), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env=environment(), **OF_ITS_OWN,
            )  # fmt: skip
        try:
            self.write_process(process.pid, self.command(settings))
        except psutil.Error:
            pass  # it has ended already
        except OSError:
            process.kill()  # nobody would find it again
            process.wait()
            raise
        return process

    @staticmethod
    def command(settings: ExportSettings) -> list[str]:
        """Return the command line of an export."""
        return module_command("yolo_subbatch", "export", *pairs(settings))

    @property
    def target(self) -> Path | None:
        """The file that the newest export of this user writes, or wrote."""
        record = self.process_record() if self.is_own_record() else {}
        given = [str(each) for each in record.get("argv", ()) if str(each).startswith("to=")]
        return Path(record.get("folder", "")) / given[-1].removeprefix("to=") if given else None

    def interrupt(self) -> bool:
        """Ask the process to end and to remove what is half done; False where it can only be killed."""
        process = self.process() if self.is_own_record() else None
        if process is None:
            return True
        if os.name == "nt":
            return False  # an interrupt would reach every process of the same console
        with suppress(psutil.Error):
            process.send_signal(signal.SIGINT)
        return True

    def kill_and_clear(self) -> None:
        """End the process at once, and remove what it leaves half done beside its target."""
        if self.kill():
            self.clear()

    def clear(self) -> None:
        """Remove what a process that is gone has left half done beside its target."""
        target, pid = self.target, self.process_record().get("pid")
        if target is None or not isinstance(pid, int) or self.process() is not None:
            return
        for folder in target.parent.glob(HALF_DONE.format(pid=pid)):
            shutil.rmtree(folder, ignore_errors=True)

    def has_written(self) -> bool:
        """Tell whether the target is newer than the process: what nobody knows who did not start it."""
        target = self.target
        with suppress(OSError):
            return target is not None and target.stat().st_mtime >= self.when_it_began()
        return False

    def seconds(self) -> float:
        """Return how long ago the newest export began."""
        return max(0.0, time.time() - self.when_it_began())


def _quietly(work: Callable[[], Found]) -> Found | None:
    """Return what can be found out, or None."""
    try:
        return work()
    except (YoloSubbatchError, OSError):
        return None
