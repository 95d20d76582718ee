"""A number that may also be left out, or be a word or several numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QLineEdit, QWidget

from yolo_subbatch.settings.conversion import number_fault

Step = Callable[[Decimal, int], Decimal]
STRIDE = 32  # of the networks that are trained here
DIGITS = 15  # of larger and smaller numbers a step would be lost, or take for ever


def by_one(number: Decimal, sign: int) -> Decimal:
    """Step to the next whole number."""
    return Decimal(int(number) + sign)


def by_doubling(number: Decimal, sign: int) -> Decimal:
    """Double or halve a whole number."""
    return Decimal(int(number) * 2 if sign > 0 else int(number) // 2)


def by_stride(number: Decimal, sign: int) -> Decimal:
    """Step to the next input size that a network takes."""
    return Decimal((int(number) // STRIDE + 1 if sign > 0 else -(-int(number) // STRIDE) - 1) * STRIDE)


def by_last_digit(number: Decimal, sign: int) -> Decimal:
    """Step by one in the last digit that is written."""
    return number + sign * Decimal(1).scaleb(_exponent(number))


class NumberBox(QAbstractSpinBox):
    """A spin box over free text, so that it can be empty, ``auto``, ``inf`` or ``416,608``.

    Nothing is refused while one types; what the text means is for its reader to say. Arrows start from what holds
    without a text, and never leave the range of ``rule`` (keys as in ``checks.number_fault``).
    """

    changed = Signal()

    def __init__(self, step: Step, rule: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._step, self._rule = step, rule
        self._arrows: tuple[tuple[str, str], QAbstractSpinBox.StepEnabledFlag] | None = None  # for which texts, which
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumHeight(QLineEdit().sizeHint().height())  # rows of one height
        self.lineEdit().textChanged.connect(self.changed)

    def given(self) -> str:
        """Return the text, empty if none is given."""
        return self.lineEdit().text()

    def give(self, text: str) -> None:
        """Set the text."""
        self.lineEdit().setText(text)

    def show_effective(self, text: str) -> None:
        """Show, dimly, what holds while the box is empty."""
        self.lineEdit().setPlaceholderText(text)

    def stepBy(self, steps: int) -> None:  # noqa: N802
        """Step every number of the text up or down."""
        for _ in range(abs(steps)):
            text = self._stepped(1 if steps > 0 else -1)
            if text is not None:
                self.give(text)
        self.selectAll()

    def stepEnabled(self) -> QAbstractSpinBox.StepEnabledFlag:  # noqa: N802
        """Return the arrows that lead anywhere; Qt asks with every paint, so they are kept while the texts stay."""
        texts = self.given(), self.lineEdit().placeholderText()
        if self._arrows is None or self._arrows[0] != texts:
            self._arrows = texts, self._leading_anywhere()
        return self._arrows[1]

    def _leading_anywhere(self) -> QAbstractSpinBox.StepEnabledFlag:
        flags = QAbstractSpinBox.StepEnabledFlag.StepNone
        if self._stepped(1) is not None:
            flags |= QAbstractSpinBox.StepEnabledFlag.StepUpEnabled
        if self._stepped(-1) is not None:
            flags |= QAbstractSpinBox.StepEnabledFlag.StepDownEnabled
        return flags

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Leave the wheel to the form while another field is in use."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _stepped(self, sign: int) -> str | None:
        start = _numbers(self.given()) or _numbers(self.lineEdit().placeholderText()) or [self._least()]
        stepped = [self._allowed(number, sign) for number in start]
        texts = [f"{number:f}" for number in stepped if number is not None]
        return ",".join(texts) if len(texts) == len(start) else None

    def _allowed(self, number: Decimal, sign: int) -> Decimal | None:
        """Return the next number in that direction; near a bound in finer steps, if there are any."""
        finer = number + Decimal(0).scaleb(_exponent(number) - 1)
        tries = (self._step(number, sign), self._step(finer, sign))
        good = (other for other in tries if other != number and number_fault(float(other), self._rule) is None)
        return next(good, None)

    def _least(self) -> Decimal:
        return Decimal(str(self._rule.get("min", 0)))


def _numbers(text: str) -> list[Decimal]:
    """Return the numbers of usual size that a text lists, or none if anything else is in it."""
    try:
        numbers = [Decimal(part.strip()) for part in text.strip("[]() ").split(",")]
    except InvalidOperation:
        return []
    return numbers if all(number.is_finite() and abs(number.adjusted()) < DIGITS for number in numbers) else []


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)
