"""ONNX files that are checked before they are kept, and inference without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_subbatch.late_imports import load

if TYPE_CHECKING:
    from .infer import OnnxYolo as OnnxYolo
    from .onnx import OnnxExporter as OnnxExporter

_HOME = {"OnnxExporter": "export.onnx", "OnnxYolo": "export.infer"}
__all__ = ["OnnxExporter", "OnnxYolo"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(f"{_HOME[name]}:{name}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
