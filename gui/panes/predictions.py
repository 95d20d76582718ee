"""The pictures of the newest validation, with the boxes that the network found."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QMouseEvent, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedWidget, QToolButton, QVBoxLayout, QWidget

from yolo_subbatch.folder.events import Event, Image
from yolo_subbatch.settings.number_texts import grouped

from ..runs.reader import RunReader
from ..toolkit.text_labels import Label, tip

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
NEWEST = 200  # pictures of a run that are looked for
SETTLED = 300  # ms after the last event, when the pictures are surely written


class Predictions(QWidget):
    """Shows the pictures of a run one at a time; a click opens the file in the system's viewer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.reader: RunReader | None = None
        self.pictures: list[Image] = []
        self.place = 0
        self.picture = _Picture()
        self.caption = Label()
        self.caption.setProperty("role", "dim")
        self.empty = Label(self.tr("The pictures of each validation appear here: what the network finds in them."))
        self.empty.setProperty("role", "dim")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        self.before = self._button("◀", self.tr("Previous picture"), -1)
        self.after = self._button("▶", self.tr("Next picture"), 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self._gallery())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.stack)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLED)
        self._settled.timeout.connect(self.update_now)

    def _gallery(self) -> QWidget:
        page = QWidget()
        line = QHBoxLayout()
        for widget in (self.before, self.after, self.caption):
            line.addWidget(widget)
        line.addStretch(1)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.picture, 1)
        return page

    def _button(self, sign: str, name: str, way: int) -> QToolButton:
        button = QToolButton()
        button.setText(sign)
        button.setToolTip(name)
        button.setAccessibleName(name)
        button.setProperty("role", "plain")
        button.clicked.connect(lambda: self.turn(way))
        return button

    def show_run(self, reader: RunReader | None) -> None:
        """Show another run, or none."""
        if self.reader is not None:
            self.reader.received.disconnect(self._events_came)
            self.reader.restarted.disconnect(self.update_now)
        self.reader, self.place = reader, 0
        if reader is not None:
            reader.received.connect(self._events_came)
            reader.restarted.connect(self.update_now)
        self.update_now()

    def _events_came(self, events: list[Event]) -> None:
        if any(isinstance(event, Image) for event in events):
            self._settled.start()

    def turn(self, way: int) -> None:
        """Go to the next picture or, with -1, to the one before."""
        if self.pictures:
            self.place = (self.place + way) % len(self.pictures)
            self.update_now()

    def update_now(self) -> None:
        """Show the newest pictures; each validation writes over those before."""
        folder = self.reader.folder.path if self.reader is not None else None
        images = self.reader.history.images[-NEWEST:] if self.reader is not None else []
        newest = {image.path: image for image in images}
        self.pictures = [image for image in newest.values() if folder is not None and is_picture(folder, image.path)]
        self.stack.setCurrentIndex(1 if self.pictures else 0)
        if not self.pictures or folder is None:
            self.picture.show_file(None)
            return
        self.place = min(self.place, len(self.pictures) - 1)
        image = self.pictures[self.place]
        self.picture.show_file(folder / image.path)
        self.caption.setText(
            self.tr("after iteration {step}  ·  {name}  ·  {place} of {total}").format(
                step=grouped(image.step), name=image.path, place=self.place + 1, total=len(self.pictures)
            )
        )
        for button in (self.before, self.after):
            button.setEnabled(len(self.pictures) > 1)


def is_picture(folder: Path, name: str) -> bool:
    """Tell whether an event names a picture in the run's folder; a click has the system open it."""
    try:
        file = (folder / name).resolve()
        return file.suffix.lower() in PICTURES and file.is_file() and file.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long a name, or no name at all
        return False


class _Picture(QWidget):
    """A picture as large as there is space for, in its own proportions."""

    def __init__(self) -> None:
        super().__init__()
        self.file: Path | None = None
        self.pixmap = QPixmap()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(QSize(60, 40))
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_file(self, file: Path | None) -> None:
        """Load a picture; one that cannot be read leaves the place empty."""
        self.file = file
        self.pixmap = QPixmap(str(file)) if file is not None else QPixmap()
        self.setToolTip(tip(str(file)) if file is not None else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """As in Qt."""
        if self.pixmap.isNull():
            return
        ratio = self.devicePixelRatioF()
        shown = self.pixmap.scaled(
            self.size() * ratio, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
        shown.setDevicePixelRatio(ratio)
        size = shown.deviceIndependentSize()
        painter = QPainter(self)
        painter.drawPixmap(round((self.width() - size.width()) / 2), round((self.height() - size.height()) / 2), shown)
        painter.end()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Open the picture in the system's viewer."""
        if self.file is not None and event.button() == Qt.MouseButton.LeftButton:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.file)))
