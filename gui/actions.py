"""The menus of the window and their shortcuts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMenu

from .toolkit.language import LANGUAGES

if TYPE_CHECKING:
    from .main_window import MainWindow


translate = QCoreApplication.translate


class Actions:
    """Everything that the window's menus offer; the attributes are enabled and disabled by the window."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.open_run = self._action(translate("Actions", "Open a run's folder ..."), window.open_run, "Ctrl+O")
        self.open_project = self._action(
            translate("Actions", "List the runs of another project ..."), window.open_project
        )
        self.quit = self._action(translate("Actions", "Close the window"), window.close, "Ctrl+Q")
        self.stop = self._action(translate("Actions", "Stop after this update"), window.ask_to_stop, "Ctrl+.")
        self.kill = self._action(translate("Actions", "Stop now"), window.stop_at_once, "Ctrl+Shift+.")
        self.resume = self._action(translate("Actions", "Resume"), window.resume, "Ctrl+R")
        self.duplicate = self._action(translate("Actions", "Use its settings in the form"), window.duplicate, "Ctrl+D")
        self.open_folder = self._action(translate("Actions", "Open its folder"), window.open_folder, "Ctrl+Shift+O")
        self.delete = self._action(translate("Actions", "Delete ..."), window.delete)
        self.export = self._action(translate("Actions", "Export ONNX ..."), window.desk.ask, "Ctrl+Shift+X")
        self.shortcuts = self._action(translate("Actions", "Keyboard shortcuts"), window.show_shortcuts, "F1")
        self.about = self._action(translate("Actions", "About"), window.show_about)
        self._with_shortcuts()
        self._menus()

    def _action(self, text: str, work: Callable[[], object], keys: str = "") -> QAction:
        action = QAction(text, self.window)
        action.setAutoRepeat(False)
        action.triggered.connect(lambda: work())
        if keys:
            action.setShortcut(QKeySequence(keys))
        return action

    def _with_shortcuts(self) -> None:
        """Give the panes' own actions their keys; a letter goes to a field that is being typed into first."""
        plots, setup = self.window.plots, self.window.setup
        for action, keys in (
            (setup.start_action, "Ctrl+Return"), (setup.save_preset_action, "Ctrl+S"), (plots.log_action, "L"),
            (plots.follow_action, "F"), (plots.pause_action, "P"), (plots.reset_action, "Home"),
            (plots.png_action, "Ctrl+E"), (plots.csv_action, "Ctrl+Shift+E"),
        ):  # fmt: skip
            action.setShortcut(QKeySequence(keys))
            action.setAutoRepeat(False)  # a key held down does not start run after run

    def _menus(self) -> None:
        window, bar = self.window, self.window.menuBar()
        plots, setup = self.window.plots, self.window.setup
        titles = (
            translate("Actions", "&File"), translate("Actions", "&Run"), translate("Actions", "&View"),
            translate("Actions", "&Help"),
        )  # fmt: skip
        file, run, view, help_ = map(bar.addMenu, titles)
        self.menus: list[QMenu] = [file, run, view, help_]
        fill(file, [
            self.open_run, self.open_project, None, setup.save_preset_action, None, plots.png_action, plots.csv_action,
            None, self.quit,
        ])  # fmt: skip
        fill(run, [setup.start_action, self.stop, self.kill, None, *self.of_a_run()])
        fill(view, [plots.log_action, plots.follow_action, plots.pause_action, plots.reset_action, None])
        themes = {
            "system": translate("Actions", "As the desktop"),
            "light": translate("Actions", "Light"),
            "dark": translate("Actions", "Dark"),
        }
        self.themes = self._choice(view.addMenu(translate("Actions", "Theme")), themes, window.theme_wanted.emit)
        languages = {"system": translate("Actions", "As the system"), **LANGUAGES}
        self.languages = self._choice(
            view.addMenu(translate("Actions", "Language")), languages, window.language_wanted.emit
        )
        fill(help_, [self.shortcuts, self.about])

    def of_a_run(self) -> list[QAction | None]:
        """Return what can be done with the run that is marked in the list."""
        return [self.resume, self.duplicate, self.export, self.open_folder, None, self.delete]

    def _choice(self, menu: QMenu, texts: dict[str, str], chosen: Callable[[str], object]) -> dict[str, QAction]:
        group = QActionGroup(self.window)
        actions = {}
        for name, text in texts.items():
            action = QAction(text, self.window, checkable=True)
            action.triggered.connect(lambda checked, name=name: chosen(name))
            group.addAction(action)
            menu.addAction(action)
            actions[name] = action
        return actions

    def described(self) -> list[tuple[str, str]]:
        """Return every shortcut with what it does."""
        found = [action for menu in self.menus for action in menu.actions()]
        native = QKeySequence.SequenceFormat.NativeText
        return [
            (action.shortcut().toString(native), action.text().replace("&", ""))
            for action in found
            if not action.shortcut().isEmpty()
        ]


def fill(menu: QMenu, actions: list[QAction | None]) -> None:
    """Put actions into a menu; None is a line between two of them."""
    for action in actions:
        if action is None:
            menu.addSeparator()
        else:
            menu.addAction(action)
