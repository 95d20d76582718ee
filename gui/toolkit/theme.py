"""Colours of the window, light and dark.

Every text colour has a contrast of at least 4.5:1 on its background. Inputs are left to Qt's Fusion style and its
palette: a style sheet on them would take their arrows away. Style sheets are for cards, buttons and check marks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

#: Tried in order, so that Chinese is readable wherever one of them is installed.
FONT_FAMILIES = (
    "Segoe UI",
    "SF Pro Text",
    "DejaVu Sans",
    "Noto Sans",
    "Microsoft YaHei",
    "PingFang SC",
    "Noto Sans CJK SC",
    "WenQuanYi Micro Hei",
)
MONOSPACE = ("Cascadia Mono", "Menlo", "DejaVu Sans Mono", "Noto Sans Mono", "WenQuanYi Micro Hei Mono", "monospace")


@dataclass(frozen=True)
class Theme:
    """The colours of one look, as ``#rrggbb``; ``series`` holds those of the curves by name."""

    name: str
    background: str
    panel: str
    field: str
    line: str
    text: str
    dim: str
    accent: str
    on_accent: str
    tick: str
    ok: str
    warn: str
    bad: str
    selection: str
    series: dict[str, str]
    compared: tuple[str, ...] = ()

    def colour_of(self, series: str) -> str:
        """Return the colour of a curve; parts of a loss that have none of their own get one by their place."""
        return self.series.get(series) or self.compared[sum(map(ord, series)) % len(self.compared)]


LIGHT = Theme(
    name="light",
    background="#f3f4f6",
    panel="#ffffff",
    field="#ffffff",
    line="#d9dde3",
    text="#1d2330",
    dim="#5f6876",
    accent="#2563eb",
    on_accent="#ffffff",
    tick="#2563eb",
    ok="#0f7a48",
    warn="#8f5a10",
    bad="#c53030",
    selection="#dbe7ff",
    series={
        "total": "#4a5160",
        "box": "#2563eb",
        "obj": "#d9660a",
        "cls": "#15935a",
        "gnorm": "#9a6700",
        "lr": "#8250df",
        "map50": "#15935a",
        "map": "#2563eb",
        "dfl": "#8250df",
    },
    compared=("#c2255c", "#0b7285", "#5f3dc4", "#a0522d", "#2b8a3e", "#1864ab"),
)
DARK = Theme(
    name="dark",
    background="#1e2126",
    panel="#262a31",
    field="#1a1d22",
    line="#3a3f48",
    text="#e4e7ec",
    dim="#98a1af",
    accent="#4c8dff",
    on_accent="#0d1117",
    tick="#2f6fe0",
    ok="#3fb96b",
    warn="#e0a030",
    bad="#f07068",
    selection="#2f4468",
    series={
        "total": "#9aa2ae",
        "box": "#4c8dff",
        "obj": "#f0883e",
        "cls": "#3fb96b",
        "gnorm": "#d4a72c",
        "lr": "#b98cff",
        "map50": "#3fb96b",
        "map": "#4c8dff",
        "dfl": "#b98cff",
    },
    compared=("#f783ac", "#3bc9db", "#b197fc", "#d9a066", "#8ce99a", "#74c0fc"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def chosen_theme(name: str) -> Theme:
    """Return the theme of that name; any other name follows the desktop."""
    if name in THEMES:
        return THEMES[name]
    dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
    return DARK if dark else LIGHT


def apply_theme(app: QApplication, theme: Theme) -> None:
    """Give the whole program the look of a theme."""
    app.setStyle("Fusion")
    app.setPalette(palette(theme))
    app.setStyleSheet(style_sheet(theme))


def interface_font(size: int = 10) -> QFont:
    """Return the font of the window."""
    font = QFont()
    font.setFamilies(list(FONT_FAMILIES))
    font.setPointSize(size)
    return font


def console_font(size: int = 9) -> QFont:
    """Return the font of the console and of tables of numbers."""
    font = QFont()
    font.setFamilies(list(MONOSPACE))
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPointSize(size)
    return font


def palette(theme: Theme) -> QPalette:
    """Return Qt's palette for a theme."""
    made = QPalette()
    roles = {
        QPalette.ColorRole.Window: theme.background,
        QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.Base: theme.field,
        QPalette.ColorRole.AlternateBase: theme.background,
        QPalette.ColorRole.Text: theme.text,
        QPalette.ColorRole.PlaceholderText: theme.dim,
        QPalette.ColorRole.Button: theme.panel,
        QPalette.ColorRole.ButtonText: theme.text,
        QPalette.ColorRole.Highlight: theme.selection,
        QPalette.ColorRole.HighlightedText: theme.text,
        QPalette.ColorRole.ToolTipBase: theme.panel,
        QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.Link: theme.accent,
        QPalette.ColorRole.BrightText: theme.bad,
        QPalette.ColorRole.Accent: theme.accent,
        QPalette.ColorRole.Mid: theme.line,
        QPalette.ColorRole.Dark: theme.line,
    }
    for role, colour in roles.items():
        made.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText, QPalette.ColorRole.WindowText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.dim))
    return made


def style_sheet(theme: Theme) -> str:
    """Return the style sheet of cards and buttons.

    A widget says what it is by the dynamic property ``role``: ``card`` (a QFrame), ``heading``, ``dim``, ``ok``,
    ``warn``, ``bad``, ``number`` (QLabels), ``primary``, ``stop``, ``plain`` (buttons), ``failure`` (a QFrame).
    """
    t = theme
    tick = (Path(__file__).parents[1] / "icons" / "check.svg").as_posix()
    return f"""
    QFrame[role="card"] {{ background: {t.panel}; border: 1px solid {t.line}; border-radius: 6px; }}
    QFrame[role="failure"] {{ background: {t.panel}; border: 1px solid {t.bad}; border-left: 5px solid {t.bad};
        border-radius: 6px; }}
    QLabel[role="heading"] {{ font-weight: 600; }}
    QLabel[role="number"] {{ font-weight: 600; font-size: 13pt; }}
    QLabel[role="dim"] {{ color: {t.dim}; }}
    QLabel[role="ok"] {{ color: {t.ok}; }}
    QLabel[role="warn"] {{ color: {t.warn}; }}
    QLabel[role="bad"] {{ color: {t.bad}; }}
    QPushButton[role="primary"] {{ background: {t.accent}; color: {t.on_accent}; border: none; border-radius: 5px;
        padding: 7px 12px; font-weight: 600; }}
    QPushButton[role="primary"]:disabled {{ background: {t.line}; color: {t.dim}; }}
    QPushButton[role="primary"]:focus {{ border: 2px solid {t.selection}; padding: 5px 10px; }}
    QPushButton[role="stop"], QToolButton[role="stop"] {{ color: {t.warn}; border: 1px solid {t.warn};
        border-radius: 5px; padding: 6px 12px; font-weight: 600; background: transparent; }}
    QToolButton[role="stop"] {{ padding-right: 26px; }}
    QToolButton[role="stop"]::menu-button {{ border: none; width: 20px; }}
    QPushButton[role="stop"]:disabled, QToolButton[role="stop"]:disabled {{ color: {t.dim}; border-color: {t.line}; }}
    QPushButton[role="plain"], QToolButton[role="plain"] {{ border: 1px solid {t.line}; border-radius: 5px;
        padding: 5px 10px; background: {t.panel}; }}
    QPushButton[role="plain"]:hover, QToolButton[role="plain"]:hover {{ border-color: {t.accent}; }}
    QPushButton[role="plain"]:disabled, QToolButton[role="plain"]:disabled {{ color: {t.dim}; }}
    QCheckBox::indicator, QTableView::indicator {{ width: 13px; height: 13px; border: 1px solid {t.dim};
        border-radius: 3px; background: {t.field}; }}
    QCheckBox::indicator:checked, QTableView::indicator:checked {{ background: {t.tick}; border-color: {t.tick};
        image: url("{tick}"); }}
    QTableView {{ background: transparent; }}
    QProgressBar {{ background: {t.line}; border: none; border-radius: 3px; }}
    QProgressBar::chunk {{ background: {t.accent}; border-radius: 3px; }}
    QTabWidget::pane {{ border: 1px solid {t.line}; border-radius: 6px; background: {t.panel}; }}
    QTabBar::tab {{ padding: 6px 12px; border: none; background: transparent; color: {t.dim}; }}
    QTabBar::tab:selected {{ color: {t.text}; border-bottom: 2px solid {t.accent}; }}
    QToolTip {{ background: {t.panel}; color: {t.text}; border: 1px solid {t.line}; }}
    """
