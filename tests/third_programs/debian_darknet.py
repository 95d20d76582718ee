"""Darknet itself: pjreddie's, as Debian and Ubuntu build it (package ``darknet``)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = shutil.which("darknet")

needs_darknet = pytest.mark.skipif(PROGRAM is None, reason="Darknet is not installed (Debian's package darknet)")


def darknet(folder: Path, *words: str) -> str:
    """Run Darknet in a folder, and return what it prints."""
    assert PROGRAM
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [PROGRAM, *words], cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def found(folder: Path) -> dict[tuple[str, str], list[tuple[float, ...]]]:
    """Return what ``detector valid`` has written: by class and image, each box's score, x1, y1, x2 and y2 by score."""
    boxes: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for file in sorted(folder.glob("comp4_det_test_*.txt")):
        for line in file.read_text().splitlines():
            image, *numbers = line.split()
            boxes.setdefault((file.stem, image), []).append(tuple(map(float, numbers)))
    return {key: sorted(rows, reverse=True) for key, rows in boxes.items()}
