"""A box with everything that a process printed."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QVBoxLayout, QWidget

from yolo_subbatch.settings.safe_reading import open_regular

from ..runs.console_text import FIRST_BYTES, first_place, terminal_line
from ..toolkit.text_labels import shown
from ..toolkit.theme import console_font

SIZE = (760, 420)  # pixels at first


class OutputDialog(QDialog):
    """Shows a file as it is now, or the end of a long one.

    Args:
        title: What the window is called.
        file: What the process printed.
    """

    def __init__(self, title: str, file: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(shown(title))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(*SIZE)
        self.text = QPlainTextEdit(printed(file))
        self.text.setReadOnly(True)
        self.text.setFont(console_font())
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self.text.setAccessibleName(title)
        self.text.setPlaceholderText(self.tr("Nothing was printed."))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)


def printed(file: Path) -> str:
    """Return what a terminal shows of a file's end; nothing where it cannot be read."""
    try:
        with open_regular(file) as opened:
            opened.seek(first_place(file))
            text = opened.read(2 * FIRST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(map(terminal_line, text.split("\n"))).strip()
