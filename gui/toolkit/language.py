"""The window's language: Qt's own translation files, English without one."""

from __future__ import annotations

from importlib.resources import files

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator

#: The languages by their code, each under its own name.
LANGUAGES = {"en": "English", "zh_CN": "简体中文"}
_installed: list[QTranslator] = []  # Qt does not keep them alive


def chosen_language(name: str) -> str:
    """Return the language of that code; any other name follows the system."""
    if name in LANGUAGES:
        return name
    return "zh_CN" if QLocale.system().language() == QLocale.Language.Chinese else "en"


def install_language(app: QCoreApplication, language: str) -> None:
    """Translate everything that is made from now on, standard buttons too."""
    while _installed:
        app.removeTranslator(_installed.pop())
    if language == "en":
        return
    ours = str(files("yolo_subbatch.gui") / "i18n" / f"{language}.qm")
    qt = f"{QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)}/qtbase_{language}.qm"
    for file in (qt, ours):
        translator = QTranslator()
        if translator.load(file):
            app.installTranslator(translator)
            _installed.append(translator)


def setting_text(text: str) -> str:
    """Return a group, label or tip of a setting in the window's language."""
    return QCoreApplication.translate("TrainSettings", text) if text else ""
