"""The dialogue that asks for a file to write."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget


def choose_file(parent: QWidget, title: str, proposed: Path, kind: str) -> Path | None:
    """Ask for a file to write; None if there is to be none.

    The dialog asks again before a file that exists is replaced, also one whose suffix it has added itself.
    """
    dialog = QFileDialog(parent, title, str(proposed.parent), kind)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(proposed.suffix.removeprefix("."))
    dialog.selectFile(proposed.name)
    return Path(dialog.selectedFiles()[0]) if dialog.exec() else None
