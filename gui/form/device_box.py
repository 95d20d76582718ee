"""The choice of the device, with the graphics cards of this computer."""

from __future__ import annotations

from PySide6.QtCore import QProcess, QStandardPaths, Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QLineEdit, QWidget

QUERY = ["--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]


class DeviceBox(QComboBox):
    """An editable list of devices; ``nvidia-smi`` is asked for the cards, beside the window."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._edit = QLineEdit()
        self.setLineEdit(self._edit)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)
        self.addItem("cpu", "cpu")
        self.setCurrentIndex(-1)
        self.editTextChanged.connect(self.changed)
        self._process = QProcess(self)
        self._process.finished.connect(self._list_cards)
        program = QStandardPaths.findExecutable("nvidia-smi")
        if program:
            self._process.start(program, QUERY)

    def given(self) -> str:
        """Return the device as the command line takes it."""
        text = self.currentText()
        index = self.findText(text, Qt.MatchFlag.MatchExactly)
        return text if index < 0 else str(self.itemData(index))

    def give(self, text: str) -> None:
        """Set the device; a card of this computer is shown with its name."""
        index = self.findData(text)
        self.setCurrentIndex(index)
        self.setEditText(text if index < 0 else self.itemText(index))
        self._edit.setCursorPosition(0)

    def show_effective(self, text: str) -> None:
        """Show, dimly, what holds while no device is given."""
        self._edit.setPlaceholderText(text)

    def offer(self, cards: dict[str, str]) -> None:
        """Add cards, by their number and what to show for it; what was given stays given."""
        before = self.given()
        for number, title in cards.items():
            self.addItem(title, number)
        self.give(before)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Leave the wheel to the form while another field is in use."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _list_cards(self) -> None:
        self.offer(read_cards(self._process.readAllStandardOutput().toStdString()))


def read_cards(answer: str) -> dict[str, str]:
    """Return the cards that ``nvidia-smi`` lists: ``{"0": "0 · RTX 4090 24 GB"}``."""
    cards: dict[str, str] = {}
    for line in answer.splitlines():
        number, *words = (part.strip() for part in line.split(","))
        if number.isdecimal() and len(words) == 2 and words[1].isdecimal():
            name = words[0].removeprefix("NVIDIA ").removeprefix("GeForce ")
            cards[number] = f"{number} · {name} {round(int(words[1]) / 1024)} GB"
    return cards
