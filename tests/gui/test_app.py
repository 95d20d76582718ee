"""The program around the window: what it refuses, and that it starts without what a training needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from tests.gui.run_files import finished_run
from yolo_subbatch import cli
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.gui import app
from yolo_subbatch.gui.app import PICTURE, find_screen, refuse_broken_qt
from yolo_subbatch.settings.commands import GuiSettings

COMMAND = "import sys; from yolo_subbatch.cli import main; sys.exit(main(sys.argv[1:]))"
HEAVY = {"torch", "ultralytics", "cv2", "onnx", "onnxruntime", "scipy", "OpenGL", "pyqtgraph.opengl"}


def python(code: str, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with other variables in its environment; None removes one."""
    environment = {key: value for key, value in {**os.environ, **variables}.items() if value is not None}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def test_qt_leaves_none_alone() -> None:
    """PySide6 6.12.0 drops a reference to None in every void call under Python 3.11, and aborts after some thousand."""
    before = sys.getrefcount(None)
    box = QRectF()
    for _ in range(100):
        box.setLeft(1)
    assert sys.getrefcount(None) > before - 50


def test_the_broken_version_is_refused() -> None:
    for version, python in (("6.12.0", (3, 12)), ("6.11.3", (3, 11))):
        refuse_broken_qt(version, python)
    for python in ((3, 11), (3, 10)):
        with pytest.raises(
            SettingsError, match=r"6.12.0 aborts on Python 3.1\d; pip install 'PySide6-Essentials>=6.8,<6.12'"
        ):
            refuse_broken_qt("6.12.0", python)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there always is a screen")
def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["gui"]) == 2
    assert capsys.readouterr().err.startswith("yolo-subbatch: gui: no screen here")
    find_screen(unseen=True)
    assert os.environ["QT_QPA_PLATFORM"] == "offscreen"


@pytest.fixture
def no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a window that opens after all fail the test, in place of waiting for a user."""

    def opens(settings: GuiSettings) -> None:
        pytest.fail(f"a window opens with {settings}")

    monkeypatch.setattr(app, "Program", opens)


REFUSED = {
    "run=nowhere": "run=nowhere: no such folder or file; give the folder of a run",
    "run=.": "run=.: not the folder of a run",
    "screenshot=x.jpg": "screenshot=x.jpg: only PNG is written",
    "screenshot=no/where/x.png": "the folder no/where does not exist",
    "theme=blue": "theme=blue: unknown; use one of light, dark, system",
    "langauge=en": "langauge: unknown key; did you mean language?",
}


@pytest.mark.usefixtures("no_window")
def test_what_the_user_gives_is_checked(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argument, said in REFUSED.items():
        assert cli.main(["gui", argument]) == 2
        errors = capsys.readouterr().err
        assert said in errors
        assert "Traceback" not in errors
    assert list(workplace.iterdir()) == []


@pytest.mark.usefixtures("no_window")
def test_the_program_of_its_own_name_refuses_too(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["yolo-subbatch-gui", "screenshot=own.gif"])
    assert app.main() == 2
    assert capsys.readouterr().err.startswith("yolo-subbatch-gui: screenshot=own.gif: only PNG")
    assert list(workplace.iterdir()) == []


def assert_shows_the_run(picture: QImage, theme: str, scale: float) -> None:
    assert (picture.width(), picture.height()) == tuple(side * scale for side in PICTURE)
    corner = picture.pixelColor(2, picture.height() // 2).lightness()
    assert corner > 200 if theme == "light" else corner < 60
    across, down = range(int(440 * scale), int(1240 * scale), 2), range(int(180 * scale), int(600 * scale))
    colours = {picture.pixelColor(x, y).name() for x in across for y in down}
    assert {"#2563eb" if theme == "light" else "#4c8dff"} <= colours, "the curve of the box loss"


def test_a_picture_of_a_run(workplace: Path) -> None:
    """No torch in the window's process, and no screen."""
    run = finished_run(workplace / "elsewhere")
    shows = (
        f"{COMMAND.replace('sys.exit', 'status = int')}; print(sorted(set(sys.modules) & {HEAVY})); sys.exit(status)"
    )
    given = ("gui", f"run={run.path}", "screenshot=run.png", "theme=dark", "language=en")
    done = python(shows, *given, QT_QPA_PLATFORM=None, DISPLAY=None, WAYLAND_DISPLAY=None, QT_SCALE_FACTOR="1.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")
    assert_shows_the_run(QImage("run.png"), "dark", 1.5)


def test_a_picture_by_the_program_of_its_own_name(
    workplace: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(workplace / "elsewhere")
    ended: list[bool] = []  # a program that was quit takes no more events
    monkeypatch.setattr(QApplication, "quit", lambda *_: ended.append(True))
    monkeypatch.setattr(QApplication, "exec", lambda *_: qtbot.waitUntil(lambda: bool(ended), timeout=60_000))
    given = [f"run={run.path}", "screenshot=own.png", "theme=light", "language=en"]
    monkeypatch.setattr(sys, "argv", ["yolo-subbatch-gui", *given])
    assert app.main() == 0
    assert_shows_the_run(QImage("own.png"), "light", 1)


def test_help_names_the_keys_without_qt() -> None:
    for arguments, status in ((["gui", "-h"], 0), (["gui"], 2)):
        done = python(f"import sys; sys.modules['PySide6'] = None; {COMMAND}", *arguments)
        assert done.returncode == status, done.stderr
        if status == 0:
            assert "screenshot=" in done.stdout
    assert "pip install 'yolo-subbatch[gui]'" in done.stderr
