"""The window: it builds the panes, and tells each what another has to say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PySide6.QtCore import QSettings, QTimer, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices
from PySide6.QtWidgets import QApplication, QFileDialog, QMainWindow, QSplitter, QTabWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.find import short_path
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.listing import summarise
from yolo_subbatch.run.resume import run_of
from yolo_subbatch.run.settings import TrainSettings

from .actions import Actions
from .export.export_desk import ExportDesk
from .form.setup_pane import SetupPane
from .layout import arrange
from .panes.config_pane import ConfigPane
from .panes.console import Console
from .panes.failure_card import FailureCard
from .panes.predictions import Predictions
from .panes.runs_model import RunsModel
from .panes.runs_pane import RunsPane
from .panes.status_card import StatusCard, done_share
from .plots.plot_pane import PlotPane
from .runs.comparison import Comparison
from .runs.console_text import console_tail
from .runs.failure import explain
from .runs.launcher import Launcher
from .runs.reader import ENDED, LIVE, RunReader
from .toolkit import message_boxes
from .toolkit.labels import shown
from .toolkit.theme import Theme
from .window_settings import read_bytes, read_texts

REFRESH_RUNS = 2000  # ms between two looks at the run folders
SAY = 10_000  # ms that a message stays in the status bar
MOST_PROJECTS = 20  # remembered


class MainWindow(QMainWindow):
    """Everything in one window.

    Closing it ends nothing: runs are processes of their own, and the next window finds them again.

    Args:
        store: Where the window's own settings are kept.
        theme: Its colours.
    """

    theme_wanted = Signal(str)
    language_wanted = Signal(str)

    def __init__(self, store: QSettings, theme: Theme) -> None:
        super().__init__()
        self.store, self.theme = store, theme
        self.launcher = Launcher(self)
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
        self.splitters: dict[str, QSplitter] = arrange(self)
        self.actions_ = Actions(self)
        self.runs.set_menu(self.actions_.of_a_run())
        self._connect()
        self._restore()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_RUNS)
        self._timer.timeout.connect(self.refresh_runs)
        self._timer.start()
        self.refresh_runs()

    def _connect(self) -> None:
        self.setup.start_requested.connect(self.start)
        self.setup.readiness_changed.connect(self._form_changed)
        self.status.stop_wanted.connect(self.ask_to_stop)
        self.status.kill_wanted.connect(self.stop_at_once)
        self.status.export_wanted.connect(self.desk.ask)
        self.failure.console_wanted.connect(lambda: self.tabs.setCurrentWidget(self.console))
        self.failure.settings_wanted.connect(self.duplicate)
        self.failure.resume_wanted.connect(self.resume)
        self.launcher.started.connect(self._run_started)
        self.launcher.failed.connect(self.complain)
        self.launcher.changed.connect(self.refresh_runs)
        self.runs.chosen.connect(self.show_run)
        self.runs_model.compared_changed.connect(self._compare)

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
        for pane in (self.status, self.plots, self.console, self.predictions):
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
        self.desk.update_now()
        self._compare()

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
        if state in ENDED and reader.up_to_date and not self.isActiveWindow():
            QApplication.alert(self)
        where = short_path(reader.folder.path)
        if state in LIVE:
            text = self.tr("{folder}: it is safe to close this window, training keeps going")
        elif state == "queued":
            text = self.tr("{folder}: waits until the device is free and a window is open")
        else:
            text = "{folder}"
        self.statusBar().showMessage(shown(text.format(folder=where)))

    def _caught_up(self) -> None:
        self._explain_failure()
        self._show_title()

    def _explain_failure(self) -> None:
        reader = self.reader
        if reader is None or reader.state != "failed" or not reader.up_to_date:
            self.failure.show_failure(None)
            return
        failure = explain(
            reader.history, self.settings_of(reader.folder, quietly=True), reader.exit_status,
            console_tail(reader.folder.console),
        )  # fmt: skip
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
        self.actions_.stop.setEnabled(state in (*LIVE, "queued"))
        self.actions_.kill.setEnabled(state in LIVE)
        self.actions_.resume.setEnabled(run is not None and run.resumable and state in ENDED)
        self.actions_.duplicate.setEnabled(run is not None)
        self.actions_.open_folder.setEnabled(run is not None)
        self.actions_.delete.setEnabled(run is not None and state not in LIVE)
        self.desk.update_now()

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
        if folder.path.name != settings.name:
            text = self.tr("{name} exists already; this run goes to {folder}")
            self.statusBar().showMessage(shown(text.format(name=settings.name, folder=short_path(folder.path))), SAY)
        self.show_run(folder)
        self.tabs.setCurrentWidget(self.console)

    def _run_started(self, folder: RunFolder) -> None:
        """Follow the process of a run that is shown already; tell of one that came from the queue."""
        process = self.launcher.process_of(folder)
        if self.reader is not None and self.reader.folder == folder and process is not None:
            self.reader.launched(process)
        elif self.reader is None:
            self.show_run(folder)
        else:
            self.statusBar().showMessage(shown(self.tr("{name} has started").format(name=folder.path.name)), SAY)

    def ask_to_stop(self) -> None:
        """Have the shown run stop after its current update."""
        if self.reader is not None:
            waiting = self.reader.state == "queued"
            self.launcher.ask_to_stop(self.reader.folder)
            if waiting and not self.reader.folder.path.exists():
                self.show_run(None)
            elif not waiting:
                self.status.stop_asked()

    def stop_at_once(self) -> None:
        """End the shown run's processes."""
        if self.reader is not None:
            self.launcher.stop_at_once(self.reader.folder)

    def resume(self) -> None:
        """Go on with the shown run."""
        if self.reader is not None and summarise(self.reader.folder).resumable:
            self.launcher.resume(self.reader.folder)

    def duplicate(self, subdivisions: int | None = None) -> None:
        """Put the shown run's settings into the form, with another number of subdivisions if one is given."""
        settings = self.settings_of(self.reader.folder) if self.reader is not None else None
        if settings is None:
            return
        if subdivisions is not None:
            settings = dataclasses.replace(settings, subdivisions=subdivisions)
        self.setup.set_settings(settings)
        self.setup.check_now()
        self.statusBar().showMessage(self.tr("The settings are in the form; Start begins a new run with them"), SAY)

    def settings_of(self, folder: RunFolder, quietly: bool = False) -> TrainSettings | None:
        """Return the settings of a run; None, and a complaint unless quietly, where they cannot be read."""
        try:
            return folder.usable_settings()
        except SettingsError as error:
            if not quietly:
                self.complain(str(error))
            return None

    def open_folder(self) -> None:
        """Open the shown run's folder in the system's file manager."""
        if self.reader is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.reader.folder.path)))

    def delete(self) -> None:
        """Delete the shown run's folder, after asking."""
        if self.reader is None:
            return
        folder = self.reader.folder
        if message_boxes.ask_to_delete(self, folder):
            self.desk.forget()
            self.show_run(None)
            self.launcher.delete(folder)

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

    def show_shortcuts(self) -> None:
        """List the keyboard shortcuts."""
        message_boxes.show_shortcuts(self, self.actions_.described())

    def show_about(self) -> None:
        """Say what this is."""
        message_boxes.show_about(self)

    # What is kept

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.theme = self.runs_model.theme = theme
        self.plots.apply_theme(theme)
        self.status.apply_theme(theme)
        self.refresh_runs()

    def _restore(self) -> None:
        self.resize(1280, 800)
        self.restoreGeometry(read_bytes(self.store, "geometry"))
        for name, splitter in self.splitters.items():
            splitter.restoreState(read_bytes(self.store, f"splitter/{name}"))
        self.setup.restore(self.store)
        self.plots.restore(self.store)
        self.launcher.watch(TrainSettings().project)
        for project in read_texts(self.store, "projects"):
            if Path(project).is_dir():
                self.launcher.watch(project)

    def save(self) -> None:
        """Keep the window's own settings."""
        self.store.setValue("geometry", self.saveGeometry())
        for name, splitter in self.splitters.items():
            self.store.setValue(f"splitter/{name}", splitter.saveState())
        self.setup.save(self.store)
        self.plots.save(self.store)
        self.store.setValue("projects", [str(path) for path in self.launcher.projects[-MOST_PROJECTS:]])
        self.store.sync()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Keep the settings; what runs goes on."""
        self.save()
        super().closeEvent(event)
