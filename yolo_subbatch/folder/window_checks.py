"""What the window is asked to show, checked before it opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from yolo_subbatch.folder.resume import FILES, run_of
from yolo_subbatch.settings.checks import Problem, attempt, check_ranges, error
from yolo_subbatch.settings.commands import GuiSettings
from yolo_subbatch.settings.network_checks import report
from yolo_subbatch.settings.output_checks import Input, check_outputs


def check_gui(settings: GuiSettings) -> GuiSettings:
    """Return the settings of ``gui`` with the run's folder found.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems: list[Problem] = []
    run = attempt("run", problems, lambda: run_of(settings.run or "", "run")) if settings.run is not None else None
    read = [] if run is None else [*(run.path / name for name in FILES), *run.weights.glob("*")]
    also_read = [Input(each, f"{each.name} of run={settings.run}") for each in read]
    problems += [*check_ranges(settings), *check_outputs(settings, also_read=also_read)]
    if settings.screenshot and Path(settings.screenshot).suffix.lower() != ".png":
        text = f"screenshot={settings.screenshot}: only PNG is written; give a name that ends in .png"
        problems.append(error("screenshot", text))
    report(problems)
    return replace(settings, run=None if run is None else str(run.path))
