"""Whatever is typed: no traceback, exit status 0, 1 or 2, and no file changed that the command does not say it writes."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.security.hostile_onnx import detector
from tests.security.invocations import contents, drawn, written
from yolo_subbatch import cli

#: What commands leave besides: results, lists in the working directory as Darknet has them, and caches of labels.
OWN = ("runs", "results", "bad_labels", "counters_per_class.txt", "anchors.txt", "predictions.jpg", "chart", "models")
CACHES = (".cache", ".onnx")  # an export lies beside its model


@pytest.fixture
def full(place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a file of every kind that commands take."""
    assert cli.main(["convert", "cfg=tiny.cfg", "weights=tiny.weights", "to=tiny.pt"]) == 0
    (place / "tiny.onnx").write_bytes(detector().SerializeToString())
    (place / "odd name.txt").write_text("shapes/images/val/00000.jpg\n")
    (place / "text.txt").write_text("no list\n")
    (place / "folder").mkdir()
    capsys.readouterr()
    return place


def check(
    seed: int, cheap: bool, full: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run one call in a copy of the folder."""
    arguments = drawn(seed, cheap)
    work = full.parent / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(full, work)
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = contents(work)
    status = cli.main(arguments)
    said = capsys.readouterr()
    what = ascii((seed, arguments, status, said.err[-2000:]))
    assert status in {0, 1, 2}, what
    assert "Traceback" not in said.err, what
    after, asked = contents(work), set(written(arguments))
    changed = {name for name in before if after.get(name) != before[name] and not name.endswith(CACHES)}
    assert changed <= asked, f"{changed} {what}"
    new = {name for name in set(after) - set(before) if not name.startswith(OWN) and not name.endswith(CACHES)}
    stems = {os.path.splitext(name)[0] for name in asked} | asked
    assert all(any(name.startswith(stem) for stem in stems) for name in new), f"{new} {what}"


def test_a_few_calls(full: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        check(seed, True, full, capsys, monkeypatch)


@pytest.mark.slow
def test_many_calls(full: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fault_of(seed: int) -> str | None:
        try:
            check(seed, False, full, capsys, monkeypatch)
        except AssertionError as error:
            return str(error).split("\nassert")[0]
        return None

    faults = [fault for seed in range(int(os.environ.get("CALLS", "2000"))) if (fault := fault_of(seed))]
    assert not faults, "\n".join([f"{len(faults)} of them", *faults[:20]])
