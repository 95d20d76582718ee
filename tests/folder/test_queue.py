"""Runs that wait: whose turn it is, and that nobody's turn comes twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yolo_subbatch.folder.queue import enqueue, in_order, place_of, share_a_device, take
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings


def waiting(project: Path, name: str) -> RunFolder:
    folder = RunFolder.create(project, name)
    folder.write_settings(TrainSettings(cfg="a.cfg"))
    enqueue(folder)
    return folder


def test_who_came_first_is_first(tmp_path: Path) -> None:
    folders = [waiting(tmp_path, name) for name in ("c", "a", "b")]
    not_waiting = RunFolder.create(tmp_path, "d")
    assert in_order([not_waiting, *reversed(folders)]) == folders
    enqueue(folders[0])
    assert in_order(folders) == [*folders[1:], folders[0]], "who is put there again is last"


def test_a_run_is_taken_once(tmp_path: Path) -> None:
    folder = waiting(tmp_path, "train")
    assert folder.status() == "queued"
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: take(folder), range(40))) == [False] * 39 + [True]
    assert folder.status() == "prepared"
    assert in_order([folder]) == []


@pytest.mark.parametrize("content", [b"", b"soon", b"\xff\xfe"])
def test_a_damaged_file_waits_all_the_same(tmp_path: Path, content: bytes) -> None:
    damaged, other = RunFolder.create(tmp_path, "damaged"), waiting(tmp_path, "other")
    enqueue(damaged)
    damaged.waiting.write_bytes(content)
    assert in_order([other, damaged]) == [damaged, other]
    assert place_of(damaged) is None
    assert take(damaged)


def test_the_place_is_kept_in_which_the_settings_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "mit Umlaut ä"
    place.mkdir()
    monkeypatch.chdir(place)
    folder = waiting(Path("runs"), "train")
    monkeypatch.chdir(tmp_path)
    assert place_of(folder) == str(place)
    take(folder)
    assert place_of(folder) is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("0", "0", True),
        ("0", "1", False),
        ("0,1", "1,2", True),
        ("0,1", "2,3", False),
        ("cuda:1", "1", True),
        ("cuda:0,cuda:1", "1", True),
        ("cuda", "0", True),
        ("cuda", "cuda:0", True),
        ("cuda", "1", False),
        ("cpu", "cpu", True),
        ("cpu", "0", False),
        ("mps", "cpu", False),
        ("1", "10", False),
        (None, "0", True),
        (None, "cpu", True),
        (None, None, True),
    ],
)
def test_two_runs_on_one_device(first: str | None, second: str | None, same: bool) -> None:
    assert share_a_device(first, second) is same
    assert share_a_device(second, first) is same
