"""What the window keeps of itself, over a restart and over a change of its language."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pytestqt.qtbot import QtBot

from tests.gui.opened import SOON, open_window, press_start, wait_for
from tests.gui.run_files import finished_run
from yolo_subbatch.gui.main_window import MainWindow


def test_settings_of_the_window_are_kept(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    finished_run(place / "elsewhere")
    window.program.use_theme("dark")
    window.launcher.watch(place / "elsewhere")
    window.launcher.watch(place / "gone")
    window.resize(790, 700)
    splitter = window.splitters["right"]
    above, below = splitter.sizes()
    splitter.setSizes([above - 30, below + 30])
    sizes = splitter.sizes()
    window.program.use_language("zh_CN")
    window.program.window.close()
    again = open_window(place)
    assert again.theme.name == "dark"
    assert again.actions_.languages["zh_CN"].isChecked()
    assert again.height() == 700
    assert again.splitters["right"].sizes() == sizes != [above, below]
    assert again.launcher.projects == [place / "runs", place / "elsewhere"]
    assert [row.name for row in again.runs_model.rows] == ["done"]


def test_how_a_run_ends_is_known_in_another_language_too(window: MainWindow, options: list[str], qtbot: QtBot) -> None:
    options += ["--steps", "100000", "--rate", "200"]
    folder = press_start(window, qtbot)
    wait_for(window, qtbot, "running")
    window.program.use_language("zh_CN")
    chinese = window.program.window
    assert chinese is not window
    assert chinese.reader.folder == folder
    os.kill(folder.process().pid, signal.SIGABRT)
    wait_for(chinese, qtbot, "failed")
    qtbot.waitUntil(chinese.failure.isVisible, timeout=SOON)
    assert chinese.failure.failure.signal == "SIGABRT"
