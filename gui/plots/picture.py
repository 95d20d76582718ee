"""The plots as a picture with a legend of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter
from PySide6.QtWidgets import QGraphicsView

from ..toolkit.theme import Theme, interface_font

SCALE = 2  # pixels of the picture for one of the window
HEAD = 34  # pixels of the window above the plots, for the legend
MARGIN = 14


def write_png(path: Path, plots: QGraphicsView, title: str, legend: Sequence[tuple[str, str]], theme: Theme) -> None:
    """Write what the plots show as a PNG of twice the size.

    Args:
        path: The file; one that exists is replaced.
        plots: The widget that shows them.
        title: The name of the run.
        legend: The name and the colour of every curve.
        theme: Its colours are used.

    Raises:
        OSError: If the file cannot be written.
    """
    image = QImage(plots.width() * SCALE, (plots.height() + HEAD) * SCALE, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(SCALE)
    image.fill(QColor(theme.panel))
    painter = QPainter(image)
    _paint_head(painter, plots.width(), title, legend, theme)
    plots.render(painter, QRectF(0, HEAD, plots.width(), plots.height()), plots.rect())
    painter.end()
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]
    path.write_bytes(bytes(buffer.data().data()))


def _paint_head(painter: QPainter, width: int, title: str, legend: Sequence[tuple[str, str]], theme: Theme) -> None:
    """Paint the legend from the left, as far as there is room, and the title in bold before it."""
    font = interface_font(9)
    font.setWeight(QFont.Weight.DemiBold)
    left = _paint_text(painter, font, MARGIN, title, theme.text) + MARGIN
    font.setWeight(QFont.Weight.Normal)
    for name, colour in legend:
        if left > width - MARGIN:
            return
        painter.fillRect(QRect(left, HEAD // 2 - 2, 14, 4), QColor(colour))
        left = _paint_text(painter, font, left + 19, name, theme.text) + MARGIN


def _paint_text(painter: QPainter, font: QFont, left: int, text: str, colour: str) -> int:
    """Paint a text and return where it ends."""
    painter.setFont(font)
    painter.setPen(QColor(colour))
    width = painter.fontMetrics().horizontalAdvance(text)
    painter.drawText(QRect(left, 0, width + 2, HEAD), Qt.AlignmentFlag.AlignVCenter, text)
    return left + width
