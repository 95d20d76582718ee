"""``yolo-subbatch export`` and ``Darknet.export()``: from a checkpoint, or a cfg with its weights, to a file."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.evaluate import open_model
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.errors import ExportError, SettingsError
from yolo_subbatch.run.commands import ExportSettings
from yolo_subbatch.run.export_checks import check_export_keys
from yolo_subbatch.run.values import make

PRODUCER = b"yolo-subbatch"
PACKAGES = ("onnx", "onnxruntime")
ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


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
    with ended_like_an_interrupt():
        export_model(model, settings, Path(settings.model or settings.weights or ""), LOGGER.info)
    return 0


@contextmanager
def ended_like_an_interrupt() -> Iterator[None]:
    """Let a request to end leave nothing half done, as Ctrl+C does."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, end) for each in ENDINGS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


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
    if target.exists() and not is_own(target):
        raise ExportError(f"{target}: exists and was not written by export; it is not overwritten, give to=FILE")
    try:
        from .onnx import OnnxExporter
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise ExportError(f"export: {error.name} is not installed; pip install 'yolo-subbatch[export]'") from error
    return OnnxExporter(model.network, model.names, settings, say).export(target)


def is_own(file: Path) -> bool:
    """Tell whether export wrote a file: its name stands at the beginning."""
    try:
        if not file.is_file():  # opening something else may wait for ever
            return False
        with file.open("rb") as opened:
            return PRODUCER in opened.read(64)
    except OSError:
        return False
