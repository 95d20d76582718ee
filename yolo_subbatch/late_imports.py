"""Parts of this package that are imported when they are needed, not before: torch alone takes seconds."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(place: str) -> Any:
    """Import ``module:name`` of this package."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"yolo_subbatch.{module}"), name)
