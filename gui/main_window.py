"""The window: it builds the panes, and tells each what another has to say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtGui import QAction, QCloseEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QMainWindow, QSplitter, QTabWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.listing import summarise
from yolo_subbatch.folder.resume import run_of
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.find import short_path
from yolo_subbatch.settings.train_settings import TrainSettings

from .actions import Actions
from .export.export_desk import ExportDesk
from .form.setup_pane import SetupPane
from .layout import CentralWidget
from .panes.config_pane import ConfigPane
from .panes.console import Console
from .panes.failure_card import FailureCard
from .panes.predictions import Predictions
from .panes.runs_model import RunsModel
from .panes.runs_pane import RunsPane
from .panes.status_card import StatusCard, done_share
from .plots.plot_pane import PlotPane
from .run_control import RunControl
from .runs.comparison import Comparison
from .runs.console_text import console_tail
from .runs.failure import explain
from .runs.launcher import Launcher
from .runs.reader import ENDED, LIVE, RunReader
from .toolkit import message_boxes
from .toolkit.text_labels import shown
from .toolkit.theme import Theme
from .window_settings import restore_place, restored_projects, save_place, save_projects

REFRESH_RUNS = 2000  # ms between two looks at the run folders
SAY = 10_000  # ms that a message stays in the status bar


class MainWindow(QMainWindow):
    """Everything in one window.

    Closing it ends nothing: runs are processes of their own, and the next window finds them again.

    Args:
        store: Where the window's own settings are kept.
        theme: Its colours.
    """

    def __init__(self, store: QSettings, theme: Theme) -> None:
        super().__init__()
        self.store, self.theme = store, theme
        self.launcher = Launcher(self)
        self.control = RunControl(self.launcher, self)
        self.reader: RunReader | None = None
        self.comparison = Comparison(self)
        self.runs_model = RunsModel(theme, self)
        self.setup = SetupPane()
        self.status = StatusCard(theme)
        self.failure = FailureCard()
        self.desk = ExportDesk(self)
        self.plots = PlotPane(theme)
        self.console, self.predictions, self.config = Console(), Predictions(), ConfigPane()
        self.tabs = QTabWidget()
        self.runs = RunsPane(self.runs_model)
        self.splitters = self._arrange()
        self.actions_ = Actions(self, self.setup, self.plots)
        self.runs.set_menu(self.actions_.of_a_run())
        self._connect()
        self._connect_actions()
        self._restore()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_RUNS)
        self._timer.timeout.connect(self.refresh_runs)
        self._timer.start()
        self.refresh_runs()

    def _arrange(self) -> Mapping[str, QSplitter]:
        """Put the panes into the window, and return what the user can move."""
        self.tabs.addTab(self.console, self.tr("Console"))
        self.tabs.addTab(self.predictions, self.tr("Predictions"))
        self.tabs.addTab(self.config, self.tr("Config"))
        cards = (self.status, self.failure, self.desk.card)
        central = CentralWidget(self.setup, cards, self.plots, self.tabs, self.runs)
        self.setCentralWidget(central)
        return central.splitters

    def _connect(self) -> None:
        self.setup.start_requested.connect(self.start)
        self.setup.readiness_changed.connect(self._form_changed)
        self.status.stop_wanted.connect(self.control.ask_to_stop)
        self.status.kill_wanted.connect(self.control.stop_at_once)
        self.status.export_wanted.connect(self.desk.ask)
        self.desk.offered.connect(self._offer_export)
        self.desk.ended.connect(self._call_for_attention)
        self.desk.told.connect(self._say)
        self.desk.failed.connect(self.complain)
        self.failure.console_wanted.connect(lambda: self.tabs.setCurrentWidget(self.console))
        self.failure.settings_wanted.connect(self.duplicate)
        self.failure.resume_wanted.connect(self.control.resume)
        self.control.stop_asked.connect(self.status.stop_asked)
        self.control.left.connect(self._leave_run)
        self.launcher.started.connect(self._run_started)
        self.launcher.failed.connect(self.complain)
        self.launcher.changed.connect(self.refresh_runs)
        self.runs.chosen.connect(self.show_run)
        self.runs_model.compared_changed.connect(self._compare)

    def _connect_actions(self) -> None:
        actions = self.actions_
        works: dict[QAction, Callable[[], object]] = {
            actions.open_run: self.open_run,
            actions.open_project: self.open_project,
            actions.quit: self.close,
            actions.stop: self.control.ask_to_stop,
            actions.kill: self.control.stop_at_once,
            actions.resume: self.control.resume,
            actions.duplicate: self.duplicate,
            actions.open_folder: self.control.open_folder,
            actions.delete: self.control.delete,
            actions.export: self.desk.ask,
            actions.shortcuts: lambda: message_boxes.show_shortcuts(self, actions.described()),
            actions.about: lambda: message_boxes.show_about(self),
        }
        for action, work in works.items():
            action.triggered.connect(lambda checked, work=work: work())

    # What is shown

    def show_run(self, folder: RunFolder | None) -> None:
        """Show a run, running or not; None for the empty window."""
        if self.reader is not None and folder is not None and self.reader.folder == folder:
            return
        before, self.reader = self.reader, None
        if folder is not None:
            self.reader = RunReader(folder, self.launcher.process_of(folder), self)
            self.reader.state_changed.connect(self._state_changed)
            self.reader.caught_up.connect(self._caught_up)
            self.reader.received.connect(self._show_title)
        for pane in (self.status, self.plots, self.console, self.predictions, self.desk, self.control):
            pane.show_run(self.reader)
        self.config.show_run(folder)
        if before is not None:
            before.stop()
            before.deleteLater()
        self.failure.show_failure(None)
        if self.reader is not None:
            self.reader.start()
            self._state_changed(self.reader.state)
        self.runs.select(folder)
        self._compare()

    def _leave_run(self) -> None:
        self.desk.forget()
        self.show_run(None)

    def show_what_runs(self) -> None:
        """Show the newest run that is running, if there is one: the window may have been away meanwhile."""
        running = (row.folder for row in self.runs_model.rows if row.status == "running")
        self.show_run(next(running, None))

    def _state_changed(self, state: str) -> None:
        """Show what a run's new state changes: its failure, what can be done, the list."""
        self.refresh_runs()
        self._explain_failure()
        reader = self.reader
        if reader is None:
            return
        if state in ENDED and reader.up_to_date:
            self._call_for_attention()
        where = short_path(reader.folder.path)
        if state in LIVE:
            text = self.tr("{folder}: it is safe to close this window, training keeps going")
        elif state == "queued":
            text = self.tr("{folder}: waits until the device is free and a window is open")
        else:
            text = "{folder}"
        self.statusBar().showMessage(shown(text.format(folder=where)))

    def _call_for_attention(self) -> None:
        if not self.isActiveWindow():
            QApplication.alert(self)

    def _say(self, text: str) -> None:
        """Show a message in the status bar for some seconds."""
        self.statusBar().showMessage(shown(text), SAY)

    def _caught_up(self) -> None:
        self._explain_failure()
        self._show_title()

    def _explain_failure(self) -> None:
        reader = self.reader
        if reader is None or reader.state != "failed" or not reader.up_to_date:
            self.failure.show_failure(None)
            return
        settings, console = self.settings_of(reader.folder, quietly=True), console_tail(reader.folder.console)
        failure = explain(reader.history, settings, reader.exit_status, console)
        self.failure.show_failure(failure, summarise(reader.folder).resumable)

    def _show_title(self) -> None:
        title = "yolo-subbatch"
        if self.reader is not None:
            share = f"{100 * done_share(self.reader.history):.0f} % " if self.reader.state in LIVE else ""
            title = f"{share}{self.reader.folder.path.name} - {title}"
        if shown(title) != self.windowTitle():
            self.setWindowTitle(shown(title))

    def refresh_runs(self) -> None:
        """Look which runs there are, and which of them keep the device of the form busy."""
        self.runs_model.show(self.launcher.runs())
        self.runs.select(self.reader.folder if self.reader is not None else None)
        running = [row.folder for row in self.runs_model.rows if row.status == "running"]
        self.setup.set_busy([folder.path.name for folder in self.launcher.busy(self.setup.device, running)])
        self._show_title()
        self._enable_actions()

    def _enable_actions(self) -> None:
        run = summarise(self.reader.folder) if self.reader is not None else None
        state = self.reader.state if self.reader is not None else ""
        self.actions_.enable_for(state, run is not None and run.resumable)
        self.desk.update_now()

    def _offer_export(self, possible: bool) -> None:
        self.actions_.export.setEnabled(possible)
        self.status.offer_export(possible)
        if self.desk.working:
            self.actions_.delete.setEnabled(False)

    def _compare(self) -> None:
        """Lay the runs that are checked in the list over the one that is shown."""
        shown = {self.reader.folder.path} if self.reader is not None else set()
        self.plots.compare(self.comparison.choose(self.runs_model.compared - shown))

    def _form_changed(self) -> None:
        try:
            self.config.show_settings(self.setup.settings())
        except SettingsError:
            self.config.show_settings(None)

    # What the user asks for

    def start(self, settings: TrainSettings) -> None:
        """Start a run with the settings of the form, or queue it, and show it."""
        folder = self.launcher.start(settings)
        if folder is None:
            return
        self.show_run(folder)
        self.tabs.setCurrentWidget(self.console)
        if folder.path.name != settings.name:
            text = self.tr("{name} exists already; this run goes to {folder}")
            self._say(text.format(name=settings.name, folder=short_path(folder.path)))

    def _run_started(self, folder: RunFolder) -> None:
        """Follow the process of a run that is shown already; tell of one that came from the queue."""
        process = self.launcher.process_of(folder)
        if self.reader is not None and self.reader.folder == folder and process is not None:
            self.reader.launched(process)
        elif self.reader is None:
            self.show_run(folder)
        else:
            self._say(self.tr("{name} has started").format(name=folder.path.name))

    def duplicate(self, subdivisions: int | None = None) -> None:
        """Put the shown run's settings into the form, with another number of subdivisions if one is given."""
        settings = self.settings_of(self.reader.folder) if self.reader is not None else None
        if settings is None:
            return
        if subdivisions is not None:
            settings = dataclasses.replace(settings, subdivisions=subdivisions)
        self.setup.set_settings(settings)
        self.setup.check_now()
        self._say(self.tr("The settings are in the form; Start begins a new run with them"))

    def settings_of(self, folder: RunFolder, quietly: bool = False) -> TrainSettings | None:
        """Return the settings of a run; None, and a complaint unless quietly, where they cannot be read."""
        try:
            return folder.usable_settings()
        except SettingsError as error:
            if not quietly:
                self.complain(str(error))
            return None

    def open_run(self) -> None:
        """Show a run from anywhere on the disk."""
        start = str(self.reader.folder.path.parent if self.reader is not None else Path.cwd())
        chosen = QFileDialog.getExistingDirectory(self, self.tr("Open a run's folder"), start)
        if chosen:
            self.open_run_at(chosen)

    def open_run_at(self, place: str | Path) -> None:
        """Show the run in a folder, and list its neighbours from now on."""
        try:
            folder = run_of(place, "run")
        except SettingsError as error:
            self.complain(str(error))
            return
        self.launcher.watch(folder.path.parent)
        self.show_run(folder)

    def open_project(self) -> None:
        """List the runs of another project folder."""
        chosen = QFileDialog.getExistingDirectory(self, self.tr("List the runs of another project"), str(Path.cwd()))
        if chosen:
            self.launcher.watch(chosen)

    def complain(self, text: str) -> None:
        """Tell the user in words what could not be done."""
        message_boxes.complain(self, text)

    # What is kept

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.theme = self.runs_model.theme = theme
        self.plots.apply_theme(theme)
        self.status.apply_theme(theme)
        self.refresh_runs()

    def _restore(self) -> None:
        restore_place(self.store, self, self.splitters)
        self.setup.restore(self.store)
        self.plots.restore(self.store)
        self.launcher.watch(TrainSettings().project)
        for project in restored_projects(self.store):
            self.launcher.watch(project)

    def save(self) -> None:
        """Keep the window's own settings."""
        save_place(self.store, self, self.splitters)
        self.setup.save(self.store)
        self.plots.save(self.store)
        save_projects(self.store, self.launcher.projects)
        self.store.sync()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Keep the settings; runs are not ended."""
        self.save()
        super().closeEvent(event)
