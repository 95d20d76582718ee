"""Plants faults in the sources, one at a time, runs the tests that should find each, and prints those that live.

    python -m tests.mutation                 all of them, two at a time
    python -m tests.mutation resume nms      those with one of these words in their name or file
    python -m tests.mutation --jobs 1 --list

A fault that lives would reach a user: it is a test that is missing. The faults are chosen by hand where one would hurt:
what an update is, where a run goes on, what is in a weights file, which boxes are kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import yaml

ROOT = Path(__file__).parents[1]
COPIED = ("yolo_subbatch", "gui", "cfg", "export", "tests", "pyproject.toml", "README.md", "docs", "CHANGELOG.md")
LONGEST = 900  # seconds


@dataclass(frozen=True)
class Fault:
    """A change of one place in the sources.

    Attributes:
        name: What goes wrong for a user.
        file: Where, from the root of the project.
        old: The text there, which stands in the file once.
        new: What takes its place.
        tests: The arguments of pytest that should find it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = [Fault(**each) for each in yaml.safe_load(Path(__file__).with_name("mutations.yaml").read_text("utf-8"))]


def sources() -> Path:
    """Return a copy of the project."""
    folder = Path(tempfile.mkdtemp(prefix="mutation-"))
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
        else:
            shutil.copy(place, folder / name)
    return folder


def lives(fault: Fault, folder: Path) -> str:
    """Plant a fault, and return how its tests end: ``died``, ``lives`` or why it could not be tried."""
    file = folder / fault.file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        return f"stands {text.count(fault.old)} times in {fault.file}"
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    pytest = f"-m pytest -x -q -p no:cacheprovider --no-header {fault.tests}"
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "YOLO_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *pytest.split()],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "took too long"
    finally:
        file.write_text(text, encoding="utf-8")
    if done.returncode == 0:
        return "lives"
    return "died" if done.returncode == 1 else f"pytest ended with {done.returncode}: {done.stdout[-300:]}"


def main() -> int:
    """Try the faults, and return how many do not die."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print the faults, and check that each has its place")
    asked = parser.parse_args()
    chosen = [
        each for each in FAULTS if not asked.words or any(word in f"{each.name} {each.file}" for word in asked.words)
    ]
    if asked.list:
        wrong = [each for each in chosen if (ROOT / each.file).read_text(encoding="utf-8").count(each.old) != 1]
        for each in chosen:
            print(f"{'?' if each in wrong else ' '} {each.name} ({each.file})")
        return len(wrong)
    folders: SimpleQueue[Path] = SimpleQueue()
    for _ in range(asked.jobs):
        folders.put(sources())

    def tried(fault: Fault) -> tuple[Fault, str, float]:
        folder, begin = folders.get(), time.monotonic()
        try:
            return fault, lives(fault, folder), time.monotonic() - begin
        finally:
            folders.put(folder)

    bad = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for fault, end, seconds in pool.map(tried, chosen):
            bad += end != "died"
            print(f"{end:8} {seconds:6.1f} s  {fault.name} ({fault.file})", flush=True)
    while not folders.empty():
        shutil.rmtree(folders.get())
    print(f"{len(chosen) - bad} of {len(chosen)} faults were found")
    return bad


if __name__ == "__main__":
    sys.exit(min(1, main()))
