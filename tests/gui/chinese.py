"""Whether all that a widget shows is Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QTabBar, QWidget

CHINESE = re.compile(r"[\u4e00-\u9fff]")
#: What is the same in every language: keys, names of formats and of programs, numbers with their units.
CODE = re.compile(
    r"[\w./]*\.(cfg|pt|yaml|yml|data|csv|png|jpg|weights|onnx)\b|\w+=[\w./]*|[a-z]+-\d[\w-]*|\b(cfg|auto|inf|cpu|mAP|GPU|Ultralytics|"
    r"Darknet|YOLOv3|SPP|tiny|BFLOPs|PNG|CSV|ONNX|AGPL|English|shapes|total|box|obj|cls|subdivisions|batch|Gamma|True|False|"
    r"bf16|fp16|fp32|float16|torch|random|scaled|exact|reset|keep|darknet|ultralytics|constant|step|steps|exp|poly|"
    r"error|skip|background|"
    r"sigmoid|sgdr|frozen|cross|sub|stretch|pjreddie|alexeyab|MiB|GiB|conv|max|route|yolo|upsample|yolov[2-7]|Ctrl|Shift|"
    r"Return|Home|runs|mosaic|img|done|elsewhere|small|RTX)\b"
)

PLACE = re.compile(r"\S*[/\\]\S+")  # a path; a lone stroke, as in "images / s", is none


def assert_chinese(top: QWidget) -> None:
    """Every text with letters that are no code has a Chinese character."""
    shown = {text for widget in (top, *top.findChildren(QWidget)) for text in texts_of(widget)}
    shown |= {action.text() for action in top.findChildren(QAction)}
    shown |= {action.toolTip() for action in top.findChildren(QAction)}
    left = {text: CODE.sub("", PLACE.sub("", text)) for text in shown if not CHINESE.search(text)}
    english = {text for text, rest in left.items() if re.search(r"[A-Za-z]{3}", rest)}
    assert not english - {"Export...", "Export"}, "which is in a menu of pyqtgraph's that is never opened"


def texts_of(widget: QWidget) -> Iterator[str]:
    yield widget.toolTip()
    yield widget.accessibleName()
    if isinstance(widget, (QLabel, QAbstractButton)):
        yield widget.text()
    elif isinstance(widget, QTabBar):
        yield from (widget.tabText(index) for index in range(widget.count()))
    elif isinstance(widget, QComboBox):
        yield from (widget.itemText(index) for index in range(widget.count()))
    elif isinstance(widget, (QLineEdit, QPlainTextEdit)):
        yield widget.placeholderText()
