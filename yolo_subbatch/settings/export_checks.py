"""Checks of what ``export`` is asked to do, for the command line, Python and a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from yolo_subbatch.settings.checks import Problem, check_ranges, error, warning
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.data_checks import check_data
from yolo_subbatch.settings.label_lists import MissingLabels
from yolo_subbatch.settings.network_checks import check_names, check_network, is_darknet, report, with_files
from yolo_subbatch.settings.output_checks import Output, check_outputs


def check_export(settings: ExportSettings) -> ExportSettings:
    """Return the settings of ``export`` with every file found, and precision under one name.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    report(export_problems(settings))
    return with_files(_one_precision(settings))


def export_problems(settings: ExportSettings) -> list[Problem]:
    """Return what is wrong with the settings of ``export``, for a window to show it beside its fields."""
    problems = [*check_network(settings), *_check_export_keys(settings)]
    if not is_darknet(settings):
        advice = f"yolo export model={settings.model} format=onnx"
        text = f"model={settings.model}: a network of Ultralytics, which exports it itself: {advice}"
        problems.append(error("model", text))
    return problems


def check_export_keys(settings: ExportSettings) -> ExportSettings:
    """Return the settings of ``export`` for a network that is loaded already; see :func:`check_export`."""
    report([*check_ranges(settings), *_check_export_keys(settings)])
    return _one_precision(settings)


def _one_precision(settings: ExportSettings) -> ExportSettings:
    return replace(
        settings, half=settings.half or settings.quantize == 16, int8=settings.int8 or settings.quantize == 8
    )


def _check_export_keys(settings: ExportSettings) -> Iterator[Problem]:
    yield from check_outputs(settings, _besides(settings))
    if settings.to and Path(settings.to).suffix != ".onnx":
        yield error("to", f"to={settings.to}: only ONNX is written; give a name that ends in .onnx")
    if settings.raw and settings.nms:
        yield error("nms", "nms=True: raw maps hold no boxes to suppress; give one of nms and raw")
    yield from _check_precision(settings)


def _besides(settings: ExportSettings) -> list[Output]:
    """Return what is written besides ``to``: the file of the usual name, and the inference script."""
    source = settings.model or settings.weights
    if not settings.to and not source:
        return []  # of a network that is loaded already, the name is known later
    named = Path(settings.to or source or "")
    if not named.name:
        return []  # a folder, which is refused for what it is
    target = named if settings.to else named.with_suffix(".onnx")
    files = [] if settings.to else [Output("to", target, "onnx", str(target))]
    script = target.with_name("infer.py")
    return [*files, Output("with_script", script, "script", str(script))] if settings.with_script else files


def _check_precision(settings: ExportSettings) -> Iterator[Problem]:
    asked = {8: "int8", 16: "half", 32: "full precision"}.get(settings.quantize or 0)
    int8 = settings.int8 or settings.quantize == 8
    if asked and {"int8": settings.half, "half": settings.int8}.get(asked, settings.half or settings.int8):
        yield error("quantize", f"quantize={settings.quantize}: is {asked}, half or int8 says otherwise; give one")
    if int8 and settings.half:
        yield error("int8", "int8=True: half=True is given too; give one of the two")
    if int8 and settings.raw:
        yield error("int8", "int8=True: without boxes its mAP cannot be measured; leave raw out")
    if int8 and settings.data is None:
        yield error(
            "data", "int8=True: data is not given; give the data set to calibrate and measure on, data=obj.data"
        )
    elif int8:
        yield from check_data(settings.data, ("train", "val"), missing=MissingLabels("background"))
    elif settings.data is not None and settings.cfg:
        yield from check_names(settings.data)
    elif settings.data is not None:
        yield warning("data", f"data={settings.data}: has no effect without int8=True")
