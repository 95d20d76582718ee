"""Batch and subdivisions side by side, with the number of images that this makes at a time."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from yolo_subbatch.settings.number_texts import memory_size
from yolo_subbatch.settings.ready import Readiness

from ..toolkit.section import small
from ..toolkit.text_labels import Label
from .number_box import NumberBox


class BatchRow(QWidget):
    """``64 ÷ 16 = 4``; ``meaning``, to be put below, tells what that means for the memory."""

    def __init__(self, batch: NumberBox, subdivisions: NumberBox) -> None:
        super().__init__()
        self._subdivisions = subdivisions
        self.result = Label()
        self.result.setObjectName("sub_batch")
        self.meaning = Label()
        self.meaning.setObjectName("sub_batch_meaning")
        self.meaning.setProperty("role", "dim")
        self.meaning.setFont(small(self.meaning.font()))
        self.meaning.setWordWrap(True)
        self.meaning.setAlignment(Qt.AlignmentFlag.AlignRight)
        sign = Label("÷")
        sign.setProperty("role", "dim")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(5)
        for widget, stretch in ((batch, 1), (sign, 0), (subdivisions, 1), (self.result, 0)):
            row.addWidget(widget, stretch)
        self.result.setMinimumWidth(self.fontMetrics().horizontalAdvance("= 64"))
        self.setFocusProxy(batch)

    def show_readiness(self, ready: Readiness) -> None:
        """Tell how many images are computed at a time."""
        images = ready.sub_batch
        whole = int(images) if images is not None and images >= 1 and images == int(images) else None
        self.result.setText("" if whole is None else f"= {whole}")
        self.meaning.setText(self._meaning(ready, whole))
        self.meaning.setVisible(bool(self.meaning.text()))

    def _meaning(self, ready: Readiness, images: int | None) -> str:
        if images is None:
            return self.tr("as few parts as fit into memory") if self._subdivisions.given().strip() == "auto" else ""
        if ready.memory is None:
            return self.tr("1 image at a time") if images == 1 else self.tr("{n} images at a time").format(n=images)
        one = self.tr("1 image at a time, about {memory}")
        text = one if images == 1 else self.tr("{n} images at a time, about {memory}")
        return text.format(n=images, memory=memory_size(ready.memory))
