"""The program around the window: what it refuses, and that it starts without what a training needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.gui.app import PICTURE, find_screen, refuse_broken_qt
from yolo_subbatch.run.events import EventWriter, RunFinished, RunStarted, Step, Val
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.settings import TrainSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def gui(*arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in {**os.environ, **variables}.items() if value is not None}
    command = [sys.executable, "-m", "yolo_subbatch", "gui", *arguments]
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
    done = gui(QT_QPA_PLATFORM=None, DISPLAY=None, WAYLAND_DISPLAY=None)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("yolo-subbatch: gui: no screen here")


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
def test_what_the_user_gives_is_checked(place: Path, argument: str, said: str) -> None:
    done = gui(argument)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_of_a_run(place: Path, theme: str) -> None:
    run = finished_run(place / "elsewhere")
    done = gui(
        f"run={run.path}", "screenshot=run.png", f"theme={theme}", "language=en", QT_QPA_PLATFORM=None, DISPLAY=None
    )
    assert done.returncode == 0, done.stderr
    picture = QImage("run.png")
    assert (picture.width(), picture.height()) == PICTURE
    corner = picture.pixelColor(2, picture.height() // 2).lightness()
    assert corner > 200 if theme == "light" else corner < 60
    colours = {picture.pixelColor(x, y).name() for x in range(440, 1240, 2) for y in range(180, 600)}
    assert {"#2563eb" if theme == "light" else "#4c8dff"} <= colours, "the curve of the box loss"


def test_a_picture_at_another_scale(place: Path) -> None:
    done = gui("screenshot=large.png", QT_SCALE_FACTOR="1.5")
    assert done.returncode == 0, done.stderr
    assert QImage("large.png").width() == PICTURE[0] * 3 // 2


def test_the_program_of_its_own_name(place: Path) -> None:
    code = "import sys; from yolo_subbatch.gui.app import main; sys.argv = ['gui', *sys.argv[1:]]; sys.exit(main())"
    for argument, status in (("screenshot=own.png", 0), ("screenshot=own.gif", 2)):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
    assert (place / "own.png").is_file()
    assert done.stderr.startswith("yolo-subbatch-gui: screenshot=own.gif: only PNG")


def test_help_names_the_keys_without_qt() -> None:
    code = (
        "import sys; sys.modules['PySide6'] = None; from yolo_subbatch.cli import main;"
        "sys.exit(main(sys.argv[1:]))"
    )  # fmt: skip
    for arguments, status in ((["gui", "-h"], 0), (["gui"], 2)):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
        if status == 0:
            assert "screenshot=" in done.stdout
    assert "pip install 'yolo-subbatch[gui]'" in done.stderr
