"""Bring the translation files up to date: ``make translations``.

Collects every text of the window and of the settings into ``zh_CN.ts``, where new ones stand as unfinished, and
compiles what is translated to ``zh_CN.qm``.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from yolo_subbatch.settings.train_settings import TrainSettings

FOLDER = Path(__file__).parent
LANGUAGES = ("zh_CN",)
#: Texts that a program of the project shows, but that stand in no source file of the window.
SETTINGS_CONTEXT = "TrainSettings"


def setting_texts() -> list[str]:
    """Return every group, label and tip of the settings, and the filters of their dialogues, each once."""
    form = import_module("yolo_subbatch.gui.export.export_form")
    fields = [*dataclasses.fields(TrainSettings), *(form.DECLARED[name] for name in form.SHOWN)]
    shown = (field.metadata.get(key) for key in ("group", "label", "tip", "filter") for field in fields)
    return list(dict.fromkeys(text for text in shown if text))


def update(folder: Path = FOLDER) -> None:
    """Bring the ``.ts`` files in a folder, whose first lines name their languages, and the ``.qm`` files up to date."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "settings_texts.py"
        calls = (f"QCoreApplication.translate({SETTINGS_CONTEXT!r}, {text!r})" for text in setting_texts())
        listed.write_text("\n".join(calls) + "\n", encoding="utf-8")
        sources = [*sorted(FOLDER.parent.rglob("*.py"), key=lambda file: file.name), listed]
        for language in LANGUAGES:
            file = folder / f"{language}.ts"
            subprocess.run(
                [tools / "pyside6-lupdate", "-no-obsolete", "-locations", "none", *sources, "-ts", file], check=True
            )
            subprocess.run([tools / "pyside6-lrelease", file, "-qm", file.with_suffix(".qm")], check=True)


if __name__ == "__main__":
    update()
