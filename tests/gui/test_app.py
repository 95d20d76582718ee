"""The program around the window: what it refuses, and that it starts without what a training needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage

from yolo_subbatch import cli
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.gui import app
from yolo_subbatch.gui.app import PICTURE, find_screen, refuse_broken_qt
from yolo_subbatch.run.commands import GuiSettings
from yolo_subbatch.run.events import EventWriter, RunFinished, RunStarted, Step, Val
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.settings import TrainSettings

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; from yolo_subbatch.cli import main; sys.exit(main(sys.argv[1:]))"
HEAVY = {"torch", "ultralytics", "cv2", "onnx", "onnxruntime"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def python(code: str, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with other variables in its environment; None removes one."""
    environment = {key: value for key, value in {**os.environ, **variables}.items() if value is not None}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def finished_run(project: Path) -> RunFolder:
    folder = RunFolder.create(project, "done")
    folder.write_settings(TrainSettings(cfg="yolov3-tiny", batch=8, subdivisions=4))
    writer = EventWriter(folder.events)
    writer.write(RunStarted(pid=1, steps_total=40, clip=20.0, burn_in=10, device="cpu"))
    for number in range(1, 41):
        losses = {"total": 9 / number, "box": 4 / number, "obj": 3 / number, "cls": 2 / number}
        writer.write(Step(step=number, epoch=1, loss=losses, lr=0.001, gnorm=40 / number, ips=12.0))
    writer.write(Val(step=40, epoch=1, map50=0.7, map=0.4, best=True))
    writer.write(RunFinished(status="completed", step=40, best=0.4))
    writer.close()
    return folder


def test_qt_leaves_none_alone() -> None:
    """PySide6 6.12.0 drops a reference to None in every void call under Python 3.11, and aborts after some thousand."""
    before = sys.getrefcount(None)
    box = QRectF()
    for _ in range(100):
        box.setLeft(1)
    assert sys.getrefcount(None) > before - 50


@pytest.mark.parametrize(
    ("version", "python", "refused"),
    [("6.12.0", (3, 11), True), ("6.12.0", (3, 10), True), ("6.12.0", (3, 12), False), ("6.11.3", (3, 11), False)],
)
def test_the_broken_version_is_refused(version: str, python: tuple[int, int], refused: bool) -> None:
    if not refused:
        refuse_broken_qt(version, python)
        return
    with pytest.raises(
        SettingsError, match=r"6.12.0 aborts on Python 3.1\d; pip install 'PySide6-Essentials>=6.8,<6.12'"
    ):
        refuse_broken_qt(version, python)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there always is a screen")
def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="no screen here"):
        find_screen(unseen=False)
    find_screen(unseen=True)
    assert os.environ["QT_QPA_PLATFORM"] == "offscreen"
    done = python(COMMAND, "gui", QT_QPA_PLATFORM=None, DISPLAY=None, WAYLAND_DISPLAY=None)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("yolo-subbatch: gui: no screen here")


@pytest.fixture
def no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a window that opens after all fail the test, in place of waiting for a user."""

    def opens(settings: GuiSettings) -> None:
        pytest.fail(f"a window opens with {settings}")

    monkeypatch.setattr(app, "Program", opens)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("run=nowhere", "run=nowhere: no such folder or file; give the folder of a run"),
        ("run=.", "run=.: not the folder of a run"),
        ("screenshot=x.jpg", "screenshot=x.jpg: only PNG is written"),
        ("screenshot=no/where/x.png", "the folder no/where does not exist"),
        ("theme=blue", "theme=blue: unknown; use one of light, dark, system"),
        ("langauge=en", "langauge: unknown key; did you mean language?"),
    ],
)
@pytest.mark.usefixtures("no_window")
def test_what_the_user_gives_is_checked(
    place: Path, argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["gui", argument]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("no_window")
def test_the_program_of_its_own_name_refuses_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["yolo-subbatch-gui", "screenshot=own.gif"])
    assert app.main() == 2
    assert capsys.readouterr().err.startswith("yolo-subbatch-gui: screenshot=own.gif: only PNG")
    assert list(place.iterdir()) == []


def assert_shows_the_run(picture: QImage, theme: str, scale: float) -> None:
    assert (picture.width(), picture.height()) == tuple(side * scale for side in PICTURE)
    corner = picture.pixelColor(2, picture.height() // 2).lightness()
    assert corner > 200 if theme == "light" else corner < 60
    across, down = range(int(440 * scale), int(1240 * scale), 2), range(int(180 * scale), int(600 * scale))
    colours = {picture.pixelColor(x, y).name() for x in across for y in down}
    assert {"#2563eb" if theme == "light" else "#4c8dff"} <= colours, "the curve of the box loss"


def test_a_picture_of_a_run(place: Path) -> None:
    """No torch in the window's process, and no screen."""
    run = finished_run(place / "elsewhere")
    shows = (
        f"{COMMAND.replace('sys.exit', 'status = int')}; print(sorted(set(sys.modules) & {HEAVY})); sys.exit(status)"
    )
    done = python(
        shows, "gui", f"run={run.path}", "screenshot=run.png", "theme=light", "language=en",
        QT_QPA_PLATFORM=None, DISPLAY=None, WAYLAND_DISPLAY=None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")
    assert_shows_the_run(QImage("run.png"), "light", 1)


def test_a_picture_by_the_program_of_its_own_name_in_other_colours_and_at_another_scale(place: Path) -> None:
    run = finished_run(place / "elsewhere")
    code = "import sys; from yolo_subbatch.gui.app import main; sys.exit(main())"
    done = python(code, f"run={run.path}", "screenshot=own.png", "theme=dark", "language=en", QT_SCALE_FACTOR="1.5")
    assert done.returncode == 0, done.stderr
    assert_shows_the_run(QImage("own.png"), "dark", 1.5)


def test_help_names_the_keys_without_qt() -> None:
    for arguments, status in ((["gui", "-h"], 0), (["gui"], 2)):
        done = python(f"import sys; sys.modules['PySide6'] = None; {COMMAND}", *arguments)
        assert done.returncode == status, done.stderr
        if status == 0:
            assert "screenshot=" in done.stdout
    assert "pip install 'yolo-subbatch[gui]'" in done.stderr
