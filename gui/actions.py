"""The menus of the window and their shortcuts."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QObject, Signal, SignalInstance
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu, QMenuBar

from .form.setup_pane import SetupPane
from .plots.plot_pane import PlotPane
from .runs.reader import ENDED, LIVE
from .toolkit.language import LANGUAGES

translate = QCoreApplication.translate


class Actions(QObject):
    """Everything that the window's menus offer; the window enables it, and does what its signals ask for.

    Args:
        window: Gets the menus.
        setup: The form, whose own actions are offered too.
        plots: The plots, whose own actions are offered too.
    """

    theme_wanted = Signal(str)
    language_wanted = Signal(str)

    def __init__(self, window: QMainWindow, setup: SetupPane, plots: PlotPane) -> None:
        super().__init__(window)
        self._setup, self._plots = setup, plots
        self.open_run = self._action(translate("Actions", "Open a run's folder ..."), "Ctrl+O")
        self.open_project = self._action(translate("Actions", "List the runs of another project ..."))
        self.quit = self._action(translate("Actions", "Close the window"), "Ctrl+Q")
        self.stop = self._action(translate("Actions", "Stop after this update"), "Ctrl+.")
        self.kill = self._action(translate("Actions", "Stop now"), "Ctrl+Shift+.")
        self.resume = self._action(translate("Actions", "Resume"), "Ctrl+R")
        self.duplicate = self._action(translate("Actions", "Use its settings in the form"), "Ctrl+D")
        self.open_folder = self._action(translate("Actions", "Open its folder"), "Ctrl+Shift+O")
        self.delete = self._action(translate("Actions", "Delete ..."))
        self.export = self._action(translate("Actions", "Export ONNX ..."), "Ctrl+Shift+X")
        self.shortcuts = self._action(translate("Actions", "Keyboard shortcuts"), "F1")
        self.about = self._action(translate("Actions", "About"))
        self._add_shortcuts_of_panes()
        self._add_menus(window.menuBar())

    def _action(self, text: str, keys: str = "") -> QAction:
        action = QAction(text, self)
        action.setAutoRepeat(False)
        if keys:
            action.setShortcut(QKeySequence(keys))
        return action

    def _add_shortcuts_of_panes(self) -> None:
        """Give the panes' own actions their keys; a letter goes to a field that is being typed into first."""
        setup, plots = self._setup, self._plots
        for action, keys in (
            (setup.start_action, "Ctrl+Return"),
            (setup.save_preset_action, "Ctrl+S"),
            (plots.log_action, "L"),
            (plots.follow_action, "F"),
            (plots.pause_action, "P"),
            (plots.reset_action, "Home"),
            (plots.png_action, "Ctrl+E"),
            (plots.csv_action, "Ctrl+Shift+E"),
        ):
            action.setShortcut(QKeySequence(keys))
            action.setAutoRepeat(False)  # a key held down does not start run after run

    def _add_menus(self, bar: QMenuBar) -> None:
        setup, plots = self._setup, self._plots
        file = bar.addMenu(translate("Actions", "&File"))
        run = bar.addMenu(translate("Actions", "&Run"))
        view = bar.addMenu(translate("Actions", "&View"))
        help_ = bar.addMenu(translate("Actions", "&Help"))
        self.menus: list[QMenu] = [file, run, view, help_]
        fill(file, [self.open_run, self.open_project, None, setup.save_preset_action, None])
        fill(file, [plots.png_action, plots.csv_action, None, self.quit])
        fill(run, [setup.start_action, self.stop, self.kill, None, *self.of_a_run()])
        fill(view, [plots.log_action, plots.follow_action, plots.pause_action, plots.reset_action, None])
        themes = {
            "system": translate("Actions", "As the desktop"),
            "light": translate("Actions", "Light"),
            "dark": translate("Actions", "Dark"),
        }
        self.themes = self._choice(view.addMenu(translate("Actions", "Theme")), themes, self.theme_wanted)
        languages = {"system": translate("Actions", "As the system"), **LANGUAGES}
        self.languages = self._choice(view.addMenu(translate("Actions", "Language")), languages, self.language_wanted)
        fill(help_, [self.shortcuts, self.about])

    def enable_for(self, state: str, resumable: bool) -> None:
        """Enable what can be done with a run in some state; an empty one is that of no run."""
        self.stop.setEnabled(state in (*LIVE, "queued"))
        self.kill.setEnabled(state in LIVE)
        self.resume.setEnabled(resumable and state in ENDED)
        self.duplicate.setEnabled(bool(state))
        self.open_folder.setEnabled(bool(state))
        self.delete.setEnabled(bool(state) and state not in LIVE)

    def of_a_run(self) -> list[QAction | None]:
        """Return what can be done with the run that is marked in the list."""
        return [self.resume, self.duplicate, self.export, self.open_folder, None, self.delete]

    def _choice(self, menu: QMenu, texts: dict[str, str], chosen: SignalInstance) -> dict[str, QAction]:
        group = QActionGroup(self)
        actions = {}
        for name, text in texts.items():
            action = QAction(text, self, checkable=True)
            action.triggered.connect(lambda checked, name=name: chosen.emit(name))
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
