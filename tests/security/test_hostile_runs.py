"""Run folders from anywhere: whatever their files hold, or are, a window opens, shows them and stays quick."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.security import hostile_runs as hostile
from yolo_subbatch.engine.state import find_state
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.event_values import LARGEST, LAST_MOMENT
from yolo_subbatch.folder.events import EventTail, EventWriter, Log, Step, last_event, parse_event
from yolo_subbatch.folder.listing import best_map50, list_runs, summarise
from yolo_subbatch.folder.resume import check_resume
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.args_file import expanded
from yolo_subbatch.settings.safe_reading import LONGEST_LINE, parse_json
from yolo_subbatch.settings.train_settings import TrainSettings

WAIT = 120  # seconds

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")

#: Opens every run of a folder one after the other, and says how many updates it shows of each.
OPEN_ALL = """
import sys
from PySide6.QtCore import QSettings
from PySide6.QtTest import QTest
from yolo_subbatch.gui.app import Program
from yolo_subbatch.settings.commands import GuiSettings
program = Program(GuiSettings(run=sys.argv[1] + "/good"), QSettings("window.ini", QSettings.Format.IniFormat))
window = program.window
window.show()
widest = 0
for row in list(window.runs_model.rows):
    window.show_run(row.folder)
    while not window.reader.up_to_date:
        QTest.qWait(5)
    for logarithmic in (True, False):
        window.plots.log_action.setChecked(logarithmic)
        window.plots.refresh()
    window.grab()
    window.plots.plots.crosshair.move_to(window.plots.plots.loss.box.sceneBoundingRect().center())
    print(len(window.reader.history), window.reader.state, row.name, sep="\\t")
    widest = max(widest, window.minimumSizeHint().width())
window.runs_model.compared.update(row.folder.path for row in window.runs_model.rows)
window.runs_model.compared_changed.emit()
QTest.qWait(50)
window.plots.refresh()
window.grab()
print(widest)
"""


def test_the_window_opens_and_shows_every_one_of_them(tmp_path: Path) -> None:
    """In a process of its own: what goes wrong here ends one."""
    hostile.make_all(tmp_path / "runs")
    (tmp_path / "open.py").write_text(OPEN_ALL)
    done = subprocess.run(
        [sys.executable, "open.py", "runs"], cwd=tmp_path, timeout=WAIT, text=True, capture_output=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *rows, width = [line.split("\t") for line in done.stdout.splitlines()]
    shown = {name: (int(updates), state) for updates, state, name in rows}
    assert set(shown) == {path.name for path in (tmp_path / "runs").iterdir()}
    assert shown["good"] == (1, "completed")
    assert shown["long"] == (2, "failed"), "what stands behind a line without end is read"
    assert shown["huge"] == (8, "failed")
    assert shown["deep"] == (1, "failed")
    assert shown["pipe"] == (1, "failed")
    assert int(width[0]) <= 1280, "the window stays as wide as a screen"
    assert "Traceback" not in done.stderr


def test_they_are_listed_and_summed_up(tmp_path: Path) -> None:
    good = hostile.make_all(tmp_path)
    states = {each.path.name: summarise(each).status for each in list_runs(tmp_path)}
    assert set(states) == {path.name for path in tmp_path.iterdir()}
    assert states.pop(good.name) == "completed"
    assert states.pop("times") == "stopped"
    assert set(states.values()) == {"failed"}
    for kind in ("pipe", "folder", "endless"):
        assert best_map50(RunFolder(tmp_path / kind)) is None
        with pytest.raises(SettingsError, match=r"settings\.json: cannot be read"):
            RunFolder(tmp_path / kind).read_settings()
        assert last_event(tmp_path / f"{kind} of events" / "events.jsonl") is None


def test_nothing_is_written_through_a_link_or_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept\n")
    for number, make in enumerate((lambda at: os.symlink(tmp_path / "mine", at), os.mkfifo)):
        for name in ("events.jsonl", "console.log"):
            run = RunFolder(hostile.make_run(tmp_path / f"{number} {name}", hostile.start()))
            (run.path / name).unlink(missing_ok=True)
            make(run.path / name)
            with pytest.raises(OSError, match=r"regular file|symbolic link|No such device"):
                run.launch() if name == "console.log" else EventWriter(run.events)
            if name == "events.jsonl" and number == 0:
                with pytest.raises(OSError, match="symbolic link"):
                    run.cut_events(0)
    assert (tmp_path / "mine").read_text() == "kept\n"


def test_a_run_of_somebody_else_is_not_written_elsewhere(tmp_path: Path) -> None:
    """Ultralytics writes its files in place; a link in one's own run is one's own wish."""
    (tmp_path / "mine").mkdir()
    run = RunFolder(hostile.make_run(tmp_path / "one", hostile.start()))
    run.weights.mkdir(exist_ok=True)
    (run.weights / "state.pt").touch()
    for link in (run.weights / "last.pt", run.path / "args.yaml", run.path / "control"):
        link.symlink_to(tmp_path / "mine")
        for refused in (lambda: check_resume(TrainSettings(resume=str(run.path))), lambda: find_state(run.path)):
            with pytest.raises(SettingsError, match=rf"^resume=.*{link.name} is a link to .*; put the file"):
                refused()
        link.unlink()
    (run.weights / "last.pt").symlink_to(tmp_path / "mine")
    run.write_process()
    assert check_resume(TrainSettings(resume=str(run.path)))[0] == run
    fresh = RunFolder.create(tmp_path, "fresh")
    fresh.write_settings(TrainSettings())
    (fresh.path / "args.yaml").symlink_to(tmp_path / "mine")
    with pytest.raises(SettingsError, match=r"^run_dir=.*args\.yaml is a link"):
        RunFolder.prepared(fresh.path)


def test_numbers_are_cut_to_what_can_be_drawn() -> None:
    found = parse_event(hostile.step(3, loss={"total": 1e308, "box": float("-inf")}, lr=10**400).encode())
    assert isinstance(found, Step)
    assert (found.loss, found.lr) == ({"total": LARGEST, "box": -LARGEST}, LARGEST)
    usual = parse_event(hostile.step(3, lr=float("nan")).encode())
    assert isinstance(usual, Step)
    assert math.isnan(usual.lr or 0.0)
    assert parse_event(hostile.step(3).replace('"t": ', '"t": 1e400, "u": ').encode()).t == LAST_MOMENT  # type: ignore[union-attr]
    assert time.localtime(LAST_MOMENT)
    for line in (hostile.step(10**300), hostile.start(lr_steps=["a"]), hostile.step(1, loss={"a" * 200: 1.0})):
        assert parse_event(line.encode()) is None


def test_a_line_that_is_too_long_is_passed_over_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    writer = EventWriter(file)
    writer.write(Log(level="info", text="before"))
    with file.open("ab") as raw:
        raw.write(b"[" * (3 * LONGEST_LINE))
    tail, texts, longest, before = EventTail(file), [], 0, -1
    while tail.offset != before:
        before = tail.offset
        texts += [each.text for each in tail.read(1000) if isinstance(each, Log)]
        longest = max(longest, tail.offset - before)
    assert texts == ["before"]
    assert longest <= LONGEST_LINE + 1000
    EventWriter(file).write(Log(level="info", text="behind"))
    assert [each.text for each in tail.read() if isinstance(each, Log)] == ["behind"]
    assert [each.text for each in EventTail(file).read() if isinstance(each, Log)] == ["before", "behind"]


def test_brackets_in_a_text_do_not_count() -> None:
    assert parse_json(json.dumps({"a": "[" * 1000 + '"\\' + "{" * 1000})) == {"a": "[" * 1000 + '"\\' + "{" * 1000}
    assert parse_json("[" + "[],".join([""] * 1000) + "[]]") == [[]] * 1000
    for text in (
        "[" * hostile.DEEP,
        '{"a":' * hostile.DEEP,
        '"' + '\\"' * 10**6 + "[" * 200,
        '["\\' + "[" * 200 + "\\",
    ):
        with pytest.raises(ValueError, match=r".") as caught:
            parse_json(text)
        assert not isinstance(caught.value, RecursionError)
    with pytest.raises(SettingsError, match="not valid JSON"):
        TrainSettings.from_json("[" * hostile.DEEP)


def test_settings_that_are_given_as_a_file_are_read_with_bounds(tmp_path: Path) -> None:
    for name, text in (("settings.json", "[" * hostile.DEEP), ("args.yaml", "[" * 10_000)):
        (tmp_path / name).write_text(text)
        with pytest.raises(SettingsError, match=rf"^cfg=.*{name}: not "):
            expanded({"cfg": str(tmp_path / name)})
