"""What the machine does to a training in the middle of it, in one line: the disk, its loaders, its memory.

Whoever meets such a fault gets an error of Python or of torch, from somewhere in the work; what he needs is which file
or process it was, why, and how to go on.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yolo_subbatch.errors import MachineError, YoloSubbatchError
from yolo_subbatch.settings.find import short_path

STATE = Path("weights") / "state.pt"
FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, getattr(errno, "ESTALE", errno.ENOENT)})
LOADER = re.compile(r"DataLoader worker \(pid\(?s?\)? ?\(?([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited unexp)")
SHARED = ("/torch_", "shm", "shared memory")
WRITING = ("PytorchStreamWriter", "inline_container", "unexpected pos", "iostream error", "basic_ios")


def explained(error: BaseException, folder: Path) -> MachineError | None:
    """Return what the machine has done, where that is why a training ends; None for any other reason.

    Args:
        error: What the training met.
        folder: Of the run.
    """
    if isinstance(error, MachineError) or not isinstance(error, Exception):
        return None
    text = next(filter(None, (_fault(each, folder) for each in _chain(error))), None)
    if text is None and not isinstance(error, YoloSubbatchError):  # which says already what is wrong
        text = _unusable(folder)
    return None if text is None else MachineError(text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _fault(error: BaseException, folder: Path) -> str | None:
    if isinstance(error, OSError):
        return _of_a_file(error, folder)
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    loader = LOADER.search(text)
    if loader:
        return _of_a_loader(loader[1], loader[2], "shared memory" in text, folder)
    if any(each in text for each in WRITING):  # of torch, which does not say why
        return f"{short_path(folder)}: a file of it cannot be written; {_advice('free some space', folder)}"
    if os.strerror(errno.ENOSPC) in text and any(each in text for each in SHARED):
        advice = "give workers=0, or make /dev/shm larger"
        return f"workers: shared memory is full, through which loaders pass images; {_advice(advice, folder)}"
    return None


def _of_a_file(error: OSError, folder: Path) -> str | None:
    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    within = file is None or Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))
    place, reason = short_path(file if file is not None else folder), error.strerror or str(error)
    if error.errno in FULL:
        return f"{place}: cannot be written ({reason}); {_advice('free some space', folder)}"
    if error.errno == errno.EMFILE:
        return f"{place}: {reason}; {_advice('raise ulimit -n, or give fewer workers=', folder)}"
    if error.errno == errno.ENOMEM:
        return f"memory: {reason}; {_advice('free some memory, or give fewer workers=', folder)}"
    if not within:
        return None
    if error.errno in GONE and file is not None:
        return _gone(folder, place)
    if error.errno in REFUSED and file is not None:
        return f"{place}: cannot be written ({reason}); {_advice('make the folder writable again', folder)}"
    if error.errno == errno.EIO:
        return f"{place}: {reason}; {_advice('look at the disk', folder)}"
    return None


def _of_a_loader(processes: str, signal: str | None, shared: bool, folder: Path) -> str:
    number = processes.strip()
    if shared:
        advice = "give workers=0, or make /dev/shm larger"
        return (
            f"workers: shared memory is full, through which process {number} passes images; {_advice(advice, folder)}"
        )
    how = f"by the signal {signal.strip()}" if signal else "by the system"
    advice = "where memory is short, free some or give fewer workers="
    return f"workers: process {number}, which loads images, was ended {how}; {_advice(advice, folder)}"


def _unusable(folder: Path) -> str | None:
    """Return why nothing can be written into a run's folder any more; None if something can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        error.filename = str(folder)
        return _of_a_file(error, folder) or f"{short_path(folder)}: cannot be written ({error.strerror})"
    return None


def _gone(folder: Path, file: str) -> str:
    if folder.is_dir():
        return f"{file}: this file of the run is gone; put the folder back and go on with resume=, or start a new run"
    return (
        f"{short_path(folder)}: the folder of this run is gone; put it back and go on with resume=, or start a new run"
    )


def _advice(first: str, folder: Path) -> str:
    """Return what to do: mend it, then go on with the run, or begin it again where no state was kept."""
    if (folder / STATE).is_file() or (folder / "settings.json").is_file():
        return f"{first}, and go on with: {again_with(folder)}"
    return f"{first}, and start it again"


def again_with(folder: Path) -> str:
    """Return the command that goes on with a run."""
    return f"yolo-subbatch train {shlex.join([f'resume={short_path(folder)}'])}"
