"""The desktop program ``yolo-subbatch-gui``, also ``yolo-subbatch gui``."""

from __future__ import annotations

import os
import sys
from importlib import metadata

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from yolo_subbatch.errors import SettingsError, YoloSubbatchError
from yolo_subbatch.folder.window_checks import check_gui
from yolo_subbatch.settings.commands import GuiSettings
from yolo_subbatch.settings.file_marks import mark
from yolo_subbatch.settings.plain_text import plain_output
from yolo_subbatch.settings.values import make, parse_pairs

from .main_window import MainWindow
from .runs.reader import RunReader
from .toolkit.language import chosen_language, install_language
from .toolkit.theme import apply_theme, chosen_theme, interface_font

SYSTEM = "system"
PICTURE = (1280, 800)  # pixels of a screenshot
SETTLE = 400  # ms after a run is read in which plots and layout come to rest before a screenshot
BROKEN_QT = "6.12.0"  # drops a reference to None in every void call under Python 3.11 and older, and aborts


def main() -> int:
    """Open the window with the command line's ``key=value`` arguments; return the exit status."""
    with plain_output():
        try:
            return run_window(make(GuiSettings, parse_pairs(sys.argv[1:])))
        except YoloSubbatchError as error:
            print(f"yolo-subbatch-gui: {error}", file=sys.stderr)
            return 2


def run_window(settings: GuiSettings) -> int:
    """Open the window, or save a picture of it.

    Raises:
        YoloSubbatchError: If something that the user gave is not usable, or there is no screen.
    """
    settings = check_gui(settings)
    refuse_broken_qt(metadata.version("PySide6-Essentials"), sys.version_info[:2])
    find_screen(settings.screenshot is not None)
    program = Program(settings)
    if settings.screenshot is not None:
        return program.screenshot(settings.screenshot)
    program.window.show()
    return program.app.exec()


def refuse_broken_qt(version: str, python: tuple[int, ...]) -> None:
    """Refuse the one version of PySide6 that ends the whole program after some seconds.

    Raises:
        SettingsError: If it is that one.
    """
    if version == BROKEN_QT and python < (3, 12):
        found = f"PySide6 {version} aborts on Python {python[0]}.{python[1]}"
        raise SettingsError(f"gui: {found}; pip install 'PySide6-Essentials>=6.8,<6.12'")


def find_screen(unseen: bool) -> None:
    """Make sure that there is a screen; Qt would end the process otherwise.

    Args:
        unseen: None is needed.

    Raises:
        SettingsError: If there is none.
    """
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    if not unseen:
        raise SettingsError(
            "gui: no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set); start it in a desktop or over ssh -X, "
            "or give screenshot=FILE.png"
        )
    os.environ["QT_QPA_PLATFORM"] = "offscreen"


class Program:
    """The application and its one window, which is made anew when the language changes."""

    def __init__(self, settings: GuiSettings, store: QSettings | None = None) -> None:
        found = QApplication.instance()
        self.app = found if isinstance(found, QApplication) else QApplication(["yolo-subbatch"])
        self.app.setApplicationName("yolo-subbatch")
        self.app.setDesktopFileName("yolo-subbatch")
        self.app.setFont(interface_font())
        self.store = store or QSettings(
            QSettings.Format.IniFormat, QSettings.Scope.UserScope, "yolo-subbatch", "window"
        )
        self.theme_name = settings.theme or str(self.store.value("theme", SYSTEM))
        self.language_name = settings.language or str(self.store.value("language", SYSTEM))
        apply_theme(self.app, chosen_theme(self.theme_name))
        self.window = self._window()
        self.app.styleHints().colorSchemeChanged.connect(self._desktop_changed)
        if settings.run is not None:
            self.window.open_run_at(settings.run)
        else:
            self.window.show_what_runs()

    def _window(self) -> MainWindow:
        install_language(self.app, chosen_language(self.language_name))
        window = MainWindow(self.store, chosen_theme(self.theme_name))
        window.actions_.themes[self.theme_name].setChecked(True)
        window.actions_.languages[self.language_name].setChecked(True)
        window.actions_.theme_wanted.connect(self.use_theme)
        window.actions_.language_wanted.connect(self.use_language)
        return window

    def use_theme(self, name: str) -> None:
        """Give the window other colours: ``light``, ``dark`` or ``system``."""
        self.theme_name = name
        self.store.setValue("theme", name)
        theme = chosen_theme(name)
        apply_theme(self.app, theme)
        self.window.apply_theme(theme)

    def _desktop_changed(self) -> None:
        if self.theme_name == SYSTEM:
            self.use_theme(SYSTEM)

    def use_language(self, name: str) -> None:
        """Make the window anew in another language: ``en``, ``zh_CN`` or ``system``; it shows the same run."""
        self.language_name = name
        self.store.setValue("language", name)
        old = self.window
        shown = old.reader.folder if old.reader is not None else None
        visible = old.isVisible()
        old.save()
        self.window = self._window()
        self.window.launcher.processes = old.launcher.processes  # their exit statuses are known to this program alone
        self.window.desk.exports.take_over(old.desk.exports)
        self.window.show_run(shown)
        self.window.setVisible(visible)
        old.close()
        old.deleteLater()

    def screenshot(self, file: str) -> int:
        """Save a picture of the window once the run is read, and return the exit status.

        Raises:
            SettingsError: If the file cannot be written.
        """
        window = self.window
        window.launcher.only_look()
        window.resize(*PICTURE)
        window.show()
        reader: RunReader | None = window.reader

        def when_read() -> None:
            QTimer.singleShot(SETTLE, self.app.quit)

        if reader is None or reader.up_to_date:
            when_read()
        else:
            reader.caught_up.connect(when_read)
        self.app.exec()
        if not window.grab().save(file, "PNG"):
            raise SettingsError(f"screenshot={file}: cannot be written; give a file in a folder you may write to")
        mark(file)  # so that the next one may replace it
        return 0


if __name__ == "__main__":
    sys.exit(main())
