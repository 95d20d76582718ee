"""The dialogue that asks how the network of a run is to be exported."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from yolo_subbatch.folder.run_export import problems_of
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.checks import Problem
from yolo_subbatch.settings.commands import ExportSettings

from ..form.checker import Checker
from ..toolkit.text_labels import Label, shown, tip
from .export_form import ExportForm

SIZE = (760, 520)  # pixels at first
QUIET = 200  # milliseconds without a change before the settings are checked


class ExportDialog(QDialog):
    """A form that is checked while one types; ``wanted`` carries settings without errors.

    Args:
        run: The run whose checkpoint is exported.
        data: The data set to propose for int8.
    """

    wanted = Signal(object)

    def __init__(self, run: RunFolder, data: str | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export {name} as ONNX").format(name=shown(run.path.name)))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(*SIZE)
        self.run = run
        self.form = ExportForm(run, data)
        self.button = QPushButton(self.tr("Export"))
        self.button.setProperty("role", "primary")
        self._scroll = QScrollArea()
        self._faults: list[Problem] = []
        self._checker = Checker(self, lambda settings: _problems(run, settings))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET)
        self._arrange()
        self.form.changed.connect(self._timer.start)
        self._timer.timeout.connect(self._check)
        self._checker.checked.connect(self._receive)
        self.check_now()

    def _arrange(self) -> None:
        about = Label(
            self.tr("The file is compared with the network before it is kept. That takes up to a minute, on the CPU.")
        )
        about.setProperty("role", "dim")
        about.setWordWrap(True)
        self._scroll.setWidget(self.form)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        buttons.addButton(self.button, QDialogButtonBox.ButtonRole.AcceptRole)
        self.button.setDefault(True)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 12)
        layout.setSpacing(8)
        for widget in (about, self._scroll, buttons):
            layout.addWidget(widget)

    def check_now(self) -> list[Problem]:
        """Check the settings, show the result and return the errors."""
        self._timer.stop()
        settings, self._faults = self.form.read()
        return self._receive(self._checker.check_at_once(settings))

    def _check(self) -> None:
        settings, self._faults = self.form.read()
        self._checker.check(settings)

    def _receive(self, problems: list[Problem] | None) -> list[Problem]:
        found = [*self._faults, *(problems or ())]
        self.form.show_problems(found)
        errors = [problem for problem in found if problem.level == "error"]
        self.button.setEnabled(not errors)
        self.button.setToolTip(tip("\n".join(problem.text for problem in errors)))
        return errors

    def _accept(self) -> None:
        errors = self.check_now()
        if errors:
            self._scroll.ensureWidgetVisible(self.form.reveal(errors[0]))
            return
        self.wanted.emit(self.form.read()[0])
        self.accept()


def _problems(run: RunFolder, settings: ExportSettings) -> list[Problem]:
    try:
        return problems_of(run, settings)
    except (OSError, OverflowError, MemoryError, RecursionError) as error:
        return [Problem("model", "error", f"not to be checked: {error}; correct the last change")]
