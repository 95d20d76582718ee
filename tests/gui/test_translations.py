"""Simplified Chinese: complete in the file, and in the window as it runs."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PySide6.QtCore import QCoreApplication, QSettings, Qt, QTranslator
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QDialogButtonBox, QMenu
from pytestqt.qtbot import QtBot

from tests.gui.chinese import CHINESE, assert_chinese
from tests.gui.run_files import finished_run
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.panes.runs_model import NOTE
from yolo_subbatch.gui.panes.status_card import StatusCard
from yolo_subbatch.gui.runs.failure import Failure
from yolo_subbatch.gui.runs.reader import LIVE, RunReader
from yolo_subbatch.gui.toolkit.durations import duration_text
from yolo_subbatch.gui.toolkit.language import chosen_language, install_language
from yolo_subbatch.gui.toolkit.run_states import GLYPHS, state_word
from yolo_subbatch.gui.toolkit.theme import LIGHT
from yolo_subbatch.settings.commands import GuiSettings

FOLDER = Path(__file__).parents[2] / "gui" / "i18n"


@pytest.fixture
def chinese(qapp: QCoreApplication) -> None:
    install_language(qapp, "zh_CN")


def messages() -> list[tuple[str, str, ElementTree.Element]]:
    tree = ElementTree.parse(FOLDER / "zh_CN.ts")
    return [
        (context.findtext("name") or "", message.findtext("source") or "", translation)
        for context in tree.getroot().findall("context")
        for message in context.findall("message")
        if (translation := message.find("translation")) is not None
    ]


def update_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("update", FOLDER / "update_translations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_text_is_missing(tmp_path: Path) -> None:
    """Collecting the texts anew changes nothing: each is in the file, and none that is no longer shown."""
    shutil.copy(FOLDER / "zh_CN.ts", tmp_path)
    update_script().update(tmp_path)
    assert (tmp_path / "zh_CN.ts").read_text(encoding="utf-8") == (FOLDER / "zh_CN.ts").read_text(encoding="utf-8")
    assert (tmp_path / "zh_CN.qm").read_bytes() == (FOLDER / "zh_CN.qm").read_bytes(), "run make translations"


def test_every_text_is_translated() -> None:
    found = messages()
    assert len(found) > 250
    assert [source for _, source, each in found if each.get("type") or not each.text] == []
    same = {source for _, source, each in found if not CHINESE.search(each.text or "")}
    assert same == {"BFLOPs", "Ultralytics", "mAP", "|g|"} | {s for s in same if s.startswith("best mAP")}


def test_placeholders_stay() -> None:
    for _, source, translation in messages():
        assert sorted(re.findall(r"{\w+}", source)) == sorted(re.findall(r"{\w+}", translation.text or "")), source
        assert ("&" in source) == ("&" in (translation.text or "")), source


def test_patterns_of_dialogues_stay() -> None:
    """Qt reads them from the text, so their brackets are no Chinese ones."""
    pattern = re.compile(r" (\(\*[^()]*\))$")
    filters = [(source, each.text or "") for _, source, each in messages() if pattern.search(source)]
    assert len(filters) >= 7
    for source, text in filters:
        assert pattern.findall(source) == pattern.findall(text), source


def test_the_file_has_what_the_window_asks_for() -> None:
    """A text inside an f-string, or one that is asked for under another context, would be English for ever."""
    held = {(context, source) for context, source, _ in messages()}
    asked = [each for file in sorted(FOLDER.parent.rglob("*.py")) for each in asked_texts(file)]
    assert len(asked) > 150
    assert [each for each in asked if each[1:] not in held] == []


def asked_texts(file: Path) -> Iterator[tuple[str, str, str]]:
    """Return file, context and text of every translation that a module asks for."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    owner = {each: top.name for top in tree.body if isinstance(top, ast.ClassDef) for each in ast.walk(top)}
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        texts = [each.value for each in call.args if isinstance(each, ast.Constant)]
        if name == "tr":
            yield file.name, owner[call], texts[0]
        elif name == "translate" and len(texts) == 2:
            yield file.name, texts[0], texts[1]


def test_the_compiled_file_loads(qapp: QCoreApplication) -> None:
    translator = QTranslator()
    assert translator.load(str(FOLDER / "zh_CN.qm"))
    assert translator.translate("State", "running") == "训练中"


def test_standard_buttons(chinese: None, qtbot: QtBot) -> None:
    box = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel | QDialogButtonBox.StandardButton.Save)
    qtbot.addWidget(box)
    assert {button.text().split("(")[0].replace("&", "") for button in box.buttons()} == {"取消", "保存"}


def test_words(chinese: None) -> None:
    assert all(CHINESE.search(state_word(state)) for state in GLYPHS)
    assert [duration_text(each) for each in (40, 2460, 11_100, 187_200)] == [
        "40 秒",
        "41 分",
        "3 小时 5 分",
        "2 天 4 小时",
    ]


def test_the_system_decides_unless_the_user_does() -> None:
    assert chosen_language("zh_CN") == "zh_CN"
    assert chosen_language("en") == "en"
    assert chosen_language("system") in {"en", "zh_CN"}


def test_no_text_of_the_window_is_left_in_english(workplace: Path, qtbot: QtBot) -> None:
    run = finished_run(workplace / "runs")
    store = QSettings(str(workplace / "window.ini"), QSettings.Format.IniFormat)
    program = Program(GuiSettings(language="zh_CN", run=str(run.path)), store)
    window = program.window
    qtbot.addWidget(window)
    window.show()
    qtbot.waitUntil(lambda: window.reader is not None and window.reader.up_to_date)
    for kind in ("memory", "mistake", "signal", "silent", "error"):
        window.failure.show_failure(Failure(kind, "", 64, 32, "SIGSEGV"), resumable=True)
        assert_chinese(window.failure)
    window.setup.check_now()
    assert_chinese(window)
    window.setup.form.fields["subdivisions"].give("auto")
    window.setup.set_busy(["mask-416-b64s16"])
    window.setup.check_now()
    assert_chinese(window.setup)
    rows, layers = window.runs_model, window.config.model
    for role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
        assert CHINESE.search(rows.data(rows.index(0, NOTE), role))
    titles = [layers.headerData(place, Qt.Orientation.Horizontal) for place in range(layers.columnCount())]
    assert [title for title in titles if not CHINESE.search(title)] == ["BFLOPs"]
    for menu in window.findChildren(QMenu):
        accelerators = re.findall(r"&(\w)", " ".join(action.text() for action in menu.actions()))
        assert len(accelerators) == len(set(accelerators))


def test_every_state_of_a_run(chinese: None, tmp_path: Path, qtbot: QtBot) -> None:
    reader = RunReader(finished_run(tmp_path / "runs"))
    reader.read()
    card = StatusCard(LIGHT)
    qtbot.addWidget(card)
    for state in GLYPHS:
        reader.state = state
        card.show_run(reader)
        assert_chinese(card)
        assert state_word(state) in card.detail.text()
        if state in LIVE:
            said = [card.stop_button.text()]
            for work in (card.stop_asked, card._offer_to_kill):
                work()
                said.append(card.stop_button.text())
                assert_chinese(card)
            assert len(set(said)) == 3, "a press has to change the words of the button"


def test_there_is_a_font_to_look_at_it(qapp: QCoreApplication) -> None:
    if not QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese):
        pytest.skip("no Chinese font is installed")
    families = set(QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese))
    from yolo_subbatch.gui.toolkit.theme import FONT_FAMILIES

    assert families & set(FONT_FAMILIES)
