"""``yolo-subbatch export`` and ``Darknet.export()``: from a checkpoint, or a cfg with its weights, to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.evaluate import open_model
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.errors import ExportError, SettingsError
from yolo_subbatch.folder.signals import ended_like_an_interrupt, lasting_output
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.export_checks import check_export_keys
from yolo_subbatch.settings.output_checks import Input, Output, check_outputs
from yolo_subbatch.settings.values import make

PACKAGES = ("onnx", "onnxruntime")


def run_export(settings: ExportSettings) -> int:
    """Export as the settings say, which are checked already.

    Raises:
        YoloSubbatchError: If the network cannot be exported, or the file is not kept.
    """
    model = open_model(settings).model
    if not isinstance(model, DarknetModel):
        raise ExportError(
            f"model={settings.model}: a network of Ultralytics, which exports it itself: "
            f"yolo export model={settings.model} format=onnx"
        )
    with lasting_output(), ended_like_an_interrupt():
        export_model(model, settings, Path(settings.model or settings.weights or ""), LOGGER.info)
    return 0


def export_keywords(model: DarknetModel, source: str | Path, keywords: dict[str, Any]) -> str:
    """Export a network that is loaded, with the keys of the command line; what ``Darknet.export()`` does.

    Args:
        model: The network.
        source: The file it comes from, beside which the result goes.
        keywords: Keys of :class:`ExportSettings`, without those that choose the network.

    Returns:
        The path of the file.

    Raises:
        YoloSubbatchError: If a key is unknown, or the network cannot be exported.
    """
    chosen = sorted({"model", "cfg", "weights", "flavour"} & set(keywords))
    if chosen:
        raise SettingsError(f"{chosen[0]}: this is the network that is loaded; leave it out")
    settings = check_export_keys(make(ExportSettings, keywords))
    return str(export_model(model, settings, Path(source), LOGGER.info))


def export_model(model: DarknetModel, settings: ExportSettings, source: Path, say: Callable[[str], None]) -> Path:
    """Write the file of a network.

    Args:
        model: The network.
        settings: Checked settings.
        source: The file it comes from.
        say: Called with each line of progress.
    """
    target = Path(settings.to) if settings.to else source.with_suffix(".onnx")
    # Of a network that is loaded already, the name is known here only.
    written = [Output("to", target, "onnx", str(target))]
    refused = list(check_outputs(settings, written, [Input(source, str(source))], without=("to",)))
    if refused:
        raise ExportError(refused[0].text)
    try:
        from .onnx import OnnxExporter
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise ExportError(f"export: {error.name} is not installed; pip install 'yolo-subbatch[export]'") from error
    return OnnxExporter(model.network, model.names, settings, say).export(target)
