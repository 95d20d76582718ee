"""The card with the plots of one run, live, and of those that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from PySide6.QtCore import QElapsedTimer, QSettings, Qt, QTimer
from PySide6.QtGui import QAction, QShowEvent
from PySide6.QtWidgets import QApplication, QFrame, QStackedWidget, QVBoxLayout, QWidget

from ..runs.history import Averages, History
from ..runs.reader import ENDED, RunReader
from ..toolkit.message_boxes import complain
from ..toolkit.save_dialog import choose_file
from ..toolkit.text_labels import Label
from ..toolkit.theme import Theme
from .legend import ComparedLegend, Legend
from .lines import Overlay, Shown
from .picture import write_png
from .plot_tools import PlotTools
from .stacked_plots import Plots
from .viewport import Extent, Viewport

REFRESH = 40  # ms between two drawings at least


class PlotPane(QFrame):
    """Shows a run's history while it grows.

    New events are drawn 25 times a second at most, and not at all while the pane is hidden or paused.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.theme = theme
        self.reader: RunReader | None = None
        self.run: Averages | None = None
        self.compared: dict[str, tuple[RunReader, Averages, int]] = {}  # reader, averages, number of the colour
        self.viewport = Viewport()
        self._make_actions()
        self.legend, self.compared_legend = Legend(theme), ComparedLegend()
        checks = {self.tr("Log"): self.log_action, self.tr("Follow"): self.follow_action}
        self.tools = PlotTools(self.legend, checks, [self.png_action, self.csv_action])
        self.plots = Plots(theme)
        self.empty = Label()
        self._arrange()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._due)
        self._since = QElapsedTimer()
        self._dirty = False
        self._connect()
        self.show_run(None)

    def _make_actions(self) -> None:
        self.log_action = self._action(self.tr("Logarithmic loss"), checked=True)
        self.log_action.setToolTip(self.tr("Draw the loss on a logarithmic axis"))
        self.follow_action = self._action(self.tr("Follow the newest iteration"), checked=True)
        self.follow_action.setToolTip(
            self.tr("Keep the newest iteration in view; drag and wheel move and zoom, a double click shows everything")
        )
        self.pause_action = self._action(self.tr("Pause drawing"), checked=False)
        self.reset_action = self._action(self.tr("Show everything"), self.show_everything)
        self.png_action = self._action(self.tr("Plots as PNG ..."), self._choose_png)
        self.csv_action = self._action(self.tr("Numbers as CSV ..."), self._choose_csv)

    def _action(self, text: str, work: Callable[[], None] | None = None, checked: bool = False) -> QAction:
        action = QAction(text, self)
        if work is not None:
            action.triggered.connect(lambda: work())
        else:
            action.setCheckable(True)
            action.setChecked(checked)
        return action

    def _arrange(self) -> None:
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.empty.setTextFormat(Qt.TextFormat.RichText)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.plots)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 6)
        layout.setSpacing(4)
        layout.addWidget(self.tools)
        layout.addWidget(self.compared_legend)
        layout.addWidget(self.stack, 1)

    def _connect(self) -> None:
        self.log_action.toggled.connect(self._schedule)
        self.follow_action.toggled.connect(self._follow)
        self.pause_action.toggled.connect(self._new_data)
        self.tools.smoothing_changed.connect(self._schedule)
        self.legend.changed.connect(self._schedule)
        self.plots.zoomed.connect(self._zoom)
        self.plots.everything_wanted.connect(self.show_everything)
        self.plots.resized.connect(self._schedule)

    # What is shown

    def show_run(self, reader: RunReader | None) -> None:
        """Show another run, or none."""
        if self.reader is not None:
            self._listen(self.reader, False)
            self.reader.state_changed.disconnect(self._schedule)
        self.reader = reader
        self.run = Averages(reader.history) if reader is not None else None
        if reader is not None:
            self._listen(reader, True)
            reader.state_changed.connect(self._schedule)
        self.viewport.show_everything()
        self._schedule()

    def compare(self, readers: Mapping[str, RunReader]) -> None:
        """Lay other runs over the shown one: their smoothed loss and what their validations found.

        Args:
            readers: The runs by the names that the legend gives them; a run keeps its colour while it is compared.
        """
        before, self.compared = self.compared, {}
        for reader, _, _ in before.values():
            self._listen(reader, False)
        kept = {number for name, (reader, _, number) in before.items() if readers.get(name) is reader}
        free = (number for number in count() if number not in kept)
        for name, reader in readers.items():
            known = before.get(name)
            if known is None or known[0] is not reader:
                known = (reader, Averages(reader.history), next(free))
            self.compared[name] = known
            self._listen(reader, True)
        self.compared_legend.show_runs({overlay.name: overlay.colour for overlay in self._overlays()})
        self._schedule()

    def _listen(self, reader: RunReader, on: bool) -> None:
        for signal in (reader.received, reader.restarted, reader.caught_up):
            if on:
                signal.connect(self._new_data)
            else:
                signal.disconnect(self._new_data)

    def _overlays(self) -> list[Overlay]:
        colours = self.theme.compared
        return [Overlay(name, run, colours[number % len(colours)]) for name, (_, run, number) in self.compared.items()]

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.theme = theme
        self.legend.apply_theme(theme)
        self.compared_legend.show_runs({overlay.name: overlay.colour for overlay in self._overlays()})
        self.plots.apply_theme(theme)
        self._schedule()

    # When it is drawn

    def _new_data(self) -> None:
        self._dirty = True
        if not self.pause_action.isChecked():
            self._schedule()

    def _schedule(self) -> None:
        """Draw soon; what comes until then is drawn with it."""
        self._dirty = True
        if self._seen() and not self._timer.isActive():
            waited = self._since.elapsed() if self._since.isValid() else REFRESH
            self._timer.start(max(0, REFRESH - waited))

    def _seen(self) -> bool:
        return self.isVisible() and not self.window().isMinimized()

    def _due(self) -> None:
        if self._dirty and self._seen():
            self.refresh()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Draw what came while the pane was hidden."""
        super().showEvent(event)
        if self._dirty:
            self._schedule()

    def refresh(self) -> None:
        """Draw everything anew, at once."""
        self._dirty = False
        self._since.start()
        history = self.run.history if self.run is not None else History()
        self.legend.show_parts(history.parts)
        there = bool(len(history) or history.validations or self.compared)
        self.stack.setCurrentWidget(self.plots if there else self.empty)
        if not there:
            self.empty.setText(self._what_to_do())
            return
        shown = Shown(
            self.theme,
            self.run,
            self._overlays(),
            self.tools.keep,
            self.log_action.isChecked(),
            frozenset(self.legend.hidden),
        )
        self.plots.draw(shown, *self.viewport.edges(self._extent()))

    def _what_to_do(self) -> str:
        """Return what stands in place of plots that have nothing to show."""
        if self.reader is not None and self.reader.state in ENDED:
            return self.tr("This run ended before its first iteration.")
        if self.reader is not None:
            return self.tr("The curves begin with the first iteration.")
        steps = (
            self.tr("Choose a cfg and a data set on the left"),
            self.tr("Check that the lines above Start are green (✓)"),
            self.tr("Press Start"),
        )
        lines = "".join(f"<p>{number}.&nbsp; {text}</p>" for number, text in enumerate(steps, 1))
        title = self.tr("The loss, mAP, gradient and learning rate of a run appear here, live")
        colour = self.theme.dim
        return f'<p><b>{title}</b></p><div style="color:{colour}">{lines}</div>'

    # What of it is in view

    def _extent(self) -> Extent:
        """Return the iterations that there are to see."""
        shown = self.run.history if self.run is not None else History()
        others = [run.history.steps.values for _, run, _ in self.compared.values() if len(run.history)]
        steps = [shown.steps.values] if len(shown) else others
        first = min((column[0] for column in steps), default=1.0)
        newest = max((column[-1] for column in steps), default=1.0)
        total = max((column[-1] for column in others), default=newest)
        planned = shown.started.steps_total if shown.started is not None else 0
        return Extent(max(0.0, first - 1), newest, max(total, planned))

    def _zoom(self, left: float, right: float) -> None:
        self.viewport.zoom_to(left, right, self._extent())
        self.follow_action.setChecked(False)
        self._schedule()

    def _follow(self, on: bool) -> None:
        self.viewport.set_follow(on, self._extent())
        self._schedule()

    def show_everything(self) -> None:
        """Have the whole run in view again, or with Follow all of it that there is."""
        self.viewport.show_everything()
        self._schedule()

    # What leaves the window

    def save_png(self, path: Path) -> None:
        """Write the plots as a picture; what goes wrong is said in a message."""
        self.refresh()
        self.plots.crosshair.hide()
        colours = {part: self.theme.colour_of(part) for part in self.plots.shown.parts}
        colours |= {overlay.name: overlay.colour for overlay in self._overlays()}
        self._write(path, lambda: write_png(path, self.plots, self._name(), list(colours.items()), self.theme))

    def save_csv(self, path: Path) -> None:
        """Write every number of the run as a table; what goes wrong is said in a message."""
        history = self.run.history if self.run is not None else History()
        self._write(path, lambda: history.write_csv(path))

    def _write(self, path: Path, work: Callable[[], None]) -> None:
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            work()
        except OSError as error:
            text = self.tr("{file} cannot be written: {reason}. Choose another place.")
            complain(self, text.format(file=path, reason=error.strerror or error))
        finally:
            QApplication.restoreOverrideCursor()

    def _name(self) -> str:
        return self.reader.folder.path.name if self.reader is not None else ""

    def _choose_png(self) -> None:
        path = self._choose(self.tr("Save the plots"), "png", self.tr("Pictures (*.png)"))
        if path is not None:
            self.save_png(path)

    def _choose_csv(self) -> None:
        path = self._choose(self.tr("Save the numbers"), "csv", self.tr("Tables (*.csv)"))
        if path is not None:
            self.save_csv(path)

    def _choose(self, title: str, suffix: str, kind: str) -> Path | None:
        folder = self.reader.folder.path if self.reader is not None else Path.cwd()
        return choose_file(self, title, folder / f"{self._name() or 'plots'}.{suffix}", kind)

    # What is kept

    def save(self, settings: QSettings) -> None:
        """Keep how the user wants to see plots."""
        settings.setValue("plots/smoothing", self.tools.keep)
        settings.setValue("plots/log", self.log_action.isChecked())
        settings.setValue("plots/follow", self.follow_action.isChecked())
        settings.setValue("plots/hidden", ",".join(sorted(self.legend.hidden)))

    def restore(self, settings: QSettings) -> None:
        """Show plots as they were kept."""
        self.tools.set_keep(_number(settings.value("plots/smoothing"), self.tools.keep))
        self.log_action.setChecked(bool(settings.value("plots/log", True, type=bool)))
        self.follow_action.setChecked(bool(settings.value("plots/follow", True, type=bool)))
        hidden = str(settings.value("plots/hidden", ""))
        self.legend.set_hidden(set(filter(None, hidden.split(","))))


def _number(value: object, otherwise: float) -> float:
    try:
        return float(str(value))
    except ValueError:
        return otherwise
