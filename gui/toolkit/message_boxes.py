"""What the window says in boxes of their own."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from yolo_subbatch import __version__
from yolo_subbatch.folder.run_folder import RunFolder

from .text_labels import Box

TITLE = "yolo-subbatch"


def complain(parent: QWidget, text: str) -> None:
    """Tell the user in words what could not be done; the window does not wait for an answer."""
    _open(Box(QMessageBox.Icon.Warning, TITLE, text, parent, QMessageBox.StandardButton.Ok))


def ask_to_delete(parent: QWidget, folder: RunFolder) -> bool:
    """Ask whether a run's folder is to be deleted, and wait for the answer."""
    translate = QCoreApplication.translate
    text = translate("Messages", "Delete {name} with its weights, plots and events for good?")
    asked = Box(
        QMessageBox.Icon.Warning,
        translate("Messages", "Delete a run"),
        text.format(name=folder.path.name),
        parent,
        details=str(folder.path),
    )
    yes = asked.addButton(translate("Messages", "Delete"), QMessageBox.ButtonRole.DestructiveRole)
    asked.setDefaultButton(asked.addButton(QMessageBox.StandardButton.Cancel))
    asked.exec()
    return asked.clickedButton() is yes


def agrees(parent: QWidget, title: str, question: str) -> bool:
    """Ask whether something is to be done, and wait for the answer."""
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    return Box(QMessageBox.Icon.Question, title, question, parent, yes | no).exec() == yes


def show_shortcuts(parent: QWidget, shortcuts: Iterable[tuple[str, str]]) -> None:
    """List keys and what they do."""
    rows = "".join(f"<tr><td><b>{keys}</b>&nbsp;&nbsp;</td><td>{text}</td></tr>" for keys, text in shortcuts)
    title = QCoreApplication.translate("Messages", "Keyboard shortcuts")
    _say(parent, title, f"<table>{rows}</table>")


def show_about(parent: QWidget) -> None:
    """Say what this program is."""
    text = QCoreApplication.translate(
        "Messages", "Darknet's batch and subdivisions, exactly, inside Ultralytics. Version {version}, AGPL-3.0."
    )
    _say(parent, TITLE, text.format(version=__version__))


def _say(parent: QWidget, title: str, text: str) -> None:
    _open(QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Ok, parent))


def _open(box: QMessageBox) -> None:
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.open()
