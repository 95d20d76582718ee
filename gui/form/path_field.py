"""The path of a file or a folder, typed, chosen in a dialogue or dropped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QCompleter, QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget

from ..toolkit.save_dialog import choose_file


class PathField(QWidget):
    """A line for a path and a button that opens a dialogue.

    Args:
        pattern: The filter of the file dialogue; without one a folder is chosen.
        names: Words that are understood as well, such as the bundled cfgs; offered while one types.
        new: It names a file to write, which need not exist.
    """

    changed = Signal()

    def __init__(
        self, pattern: str, names: Iterable[str] = (), new: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._pattern, self._new = pattern, new
        self.folder = ""  #: where the dialogue opens while the field names no place itself
        self.edit = QLineEdit()
        self.edit.setAcceptDrops(False)  # it would insert the text of an address
        self.edit.textChanged.connect(self.changed)
        completer = QCompleter(list(names), self.edit)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.edit.setCompleter(completer)
        self.button = QToolButton()
        self.button.setText("…")
        self.button.setToolTip(self.tr("Choose a file …") if pattern else self.tr("Choose a folder …"))
        self.button.setAccessibleName(self.button.toolTip())
        self.button.setFixedHeight(self.edit.sizeHint().height())
        self.button.clicked.connect(self.choose)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.edit, 1)
        row.addWidget(self.button)
        self.setFocusProxy(self.edit)
        self.setAcceptDrops(True)

    def given(self) -> str:
        """Return the path as it is written."""
        return self.edit.text()

    def give(self, text: str) -> None:
        """Set the path."""
        self.edit.setText(text)

    def show_effective(self, text: str) -> None:
        """Show, dimly, what holds while there is no path."""
        self.edit.setPlaceholderText(text)

    def choose(self) -> None:
        """Let the user pick a file or folder, beginning where the last one was."""
        place = Path(self.given()).parent if Path(self.given()).exists() and self.given() else Path(self.folder)
        if self._new:
            proposed = Path(self.given()) if self.given() else place
            chosen = choose_file(self, self.button.toolTip(), proposed, self._pattern)
            found = str(chosen) if chosen is not None else ""
        elif self._pattern:
            patterns = ";;".join((self._pattern, self.tr("All files (*)")))
            found, _ = QFileDialog.getOpenFileName(self, self.button.toolTip(), str(place), patterns)
        else:
            found = QFileDialog.getExistingDirectory(self, self.button.toolTip(), str(place))
        if found:
            self._take(found)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Accept one file of this computer."""
        urls = event.mimeData().urls()
        if len(urls) == 1 and urls[0].isLocalFile():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Take the dropped file."""
        self._take(event.mimeData().urls()[0].toLocalFile())
        event.acceptProposedAction()

    def _take(self, found: str) -> None:
        path = Path(found)
        self.folder = str(path.parent)
        inside = path.is_relative_to(Path.cwd())
        self.give(str(path.relative_to(Path.cwd()) if inside else path))
