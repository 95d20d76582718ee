"""Checkpoints, opened by Ultralytics under the very names that they have.

Ultralytics takes blanks and quotes out of a name, puts a u into those of YOLOv3 and YOLOv5, and goes by the ending;
what it does not find under the name that it has made, it tries to download. Here a file that is there is the one that
is opened. Every command and ``Darknet()`` come through here, and no code in a file runs unless the user trusts it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils import downloads

from yolo_subbatch.engine import doors as doors  # which are watched from its import on
from yolo_subbatch.errors import TrustError, WeightsError
from yolo_subbatch.settings.trust import guarded

UNTOUCHED = re.compile(r"(?!.*yolov[35])[\w./\\:-]+\.pt", re.ASCII)  # names that Ultralytics leaves as they are


@contextmanager
def under_plain_name(file: Path) -> Iterator[str]:
    """Give a name of a file that Ultralytics leaves as it is, for as long as the file is being opened."""
    if UNTOUCHED.fullmatch(str(file)):
        yield str(file)
        return
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / "model.pt"
        _make_known(file.absolute(), name)
        yield str(name)


def _make_known(file: Path, name: Path) -> None:
    """Let a file be found under another name too: Windows has symbolic links for few, and hard ones on one drive."""
    for link in (os.symlink, os.link):
        try:
            link(file, name)
        except OSError:
            continue
        return
    shutil.copyfile(file, name)


@contextmanager
def told(what: Path | str, kind: str = "checkpoint") -> Iterator[None]:
    """Turn whatever loading ends in into one sentence.

    Raises:
        WeightsError: If it ends in an error, under the name that the user gave.
        TrustError: If the file holds code.
    """
    try:
        with guarded():
            yield
    except TrustError as fault:
        if str(fault.where).endswith(".pt"):  # the name of it, not the one under which Ultralytics opens it
            raise TrustError(what, fault.found, fault.advice) from None
        raise
    except WeightsError as fault:
        raise WeightsError(f"{what}: {str(fault).partition(': ')[2]}") from None
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(f"{what}: not a {kind} that can be loaded ({reason}); give a .pt of a training") from error


@contextmanager
def opened(file: Path) -> Iterator[str]:
    """Give the name under which Ultralytics opens a checkpoint that is there, and say what it cannot open.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    with told(file), under_plain_name(file) as name:
        yield name


class NamesLeftAlone:
    """Lets Ultralytics open what is there, in whatever folder: it takes quotes out of a path, and knows its downloads.

    Trainings in several threads share it, whichever of them ends first: the last one puts Ultralytics' function back.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.original = threading.Lock(), 0, downloads.attempt_download_asset

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Leave names alone in this block."""
        with self.lock:
            if not self.users:
                self.original, downloads.attempt_download_asset = downloads.attempt_download_asset, self._find
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if not self.users:
                    downloads.attempt_download_asset = self.original

    def _find(self, file: Any, *arguments: Any, **keywords: Any) -> str:
        return str(file) if Path(file).is_file() else str(self.original(file, *arguments, **keywords))


names_left_alone = NamesLeftAlone()


def load_network(file: Path) -> Any:
    """Return the network of a checkpoint that is there.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    with opened(file) as name:
        network: Any = load_checkpoint(name)[0]
    network.pt_path = str(file)
    return network


def open_as_host(file: Path) -> Model:
    """Return the ``ultralytics.YOLO`` of a checkpoint that is there.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    with opened(file) as name:
        model = YOLO(name)
    rename(model, file)
    return model


def rename(model: Model, file: Path) -> None:
    """Have a model know the file by the name that its user gave."""
    model.ckpt_path = model.model_name = model.overrides["model"] = str(file)
    network: Any = model.model
    if isinstance(network, nn.Module):
        network.__dict__["pt_path"] = str(file)
