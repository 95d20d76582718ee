"""Where the golden files are, and small things that many tests need."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

# A busy machine is no failure, and what a change did not touch shall not turn its build red: new examples are sought
# where somebody can look at them, not in continuous integration.
hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("suite")

#: Where the program keeps what belongs to its user: nothing of a test is to be found there later.
DATA = tempfile.mkdtemp(prefix="yolo-subbatch-tests-")
atexit.register(shutil.rmtree, DATA, ignore_errors=True)
os.environ["YOLO_SUBBATCH_DATA"] = DATA
os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_AUTOINSTALL", "0")

HERE = Path(__file__).parent
GOLDEN_FOLDERS = (HERE / "golden", HERE.parent.parent / "shared" / "golden")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch use one thread: on small maps, waiting for a second one takes longer than the work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def without_figures() -> Iterator[None]:
    """Have Ultralytics' curves and tables not drawn, which takes seconds a run; pictures of images are."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        for name in ("savefig", "tight_layout"):
            patch.setattr(Figure, name, lambda *_, **__: None)
        yield


@pytest.fixture(autouse=True)
def _same_loggers() -> Iterator[None]:
    """Put back where messages go: a command that ran in this process has sent them to its own progress display."""
    loggers = [logging.getLogger(name) for name in ("yolo_subbatch", "ultralytics")]
    before = [(list(each.handlers), each.level, each.propagate) for each in loggers]
    yield
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.propagate = propagate
        if handlers:  # none: it was imported by this very test
            each.handlers, each.level = handlers, level


def golden_path(name: str) -> Path:
    """Return a golden file, or skip the test where only the larger collection has it."""
    for folder in GOLDEN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"golden file {name} is not part of the repository and not beside it")


def golden(name: str) -> dict[str, Any]:
    """Load a golden npz as a dictionary."""
    with np.load(golden_path(name), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def relative(found: Any, wanted: Any) -> float:
    """Return the largest difference as a share of the largest wanted value."""
    wanted = np.asarray(wanted, np.float64)
    found = np.asarray(found, np.float64).reshape(wanted.shape)
    return float(np.abs(found - wanted).max() / max(1e-12, np.abs(wanted).max()))
