"""Modules that have moved: for one release, their old names still import, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "yolo_subbatch."
#: Old names, below the package, with the new ones.
MOVED = {
    "detector": "darknet_cli",
    "training": "train_command",
    "shapes": "built_in_data",
    "lazy": "late_imports",
    "darknet.shapes": "darknet.geometry",
    "engine.detector": "engine.detector_commands",
    "engine.detecting": "engine.darknet_detections",
    "engine.backup": "engine.backup_callbacks",
    "engine.train": "engine.training_run",
    "engine.trainer": "engine.darknet_trainer",
    "engine.trainers": "engine.trainer_lookup",
    "engine.darknet": "engine.api",
    "engine.effects": "engine.unused_keys",
    "engine.reading": "engine.picture_reading",
    "engine.pictures": "engine.picture_files",
    "engine.channels": "engine.image_channels",
    "engine.data": "engine.darknet_data",
    "engine.offline": "engine.host_offline",
    "run.args_file": "settings.args_file",
    "run.cfg_advice": "settings.cfg_advice",
    "run.channels": "settings.channel_checks",
    "run.checks": "settings.checks",
    "run.class_names": "settings.class_names",
    "run.commands": "settings.commands",
    "run.conversion": "settings.conversion",
    "run.darknet_args": "settings.darknet_args",
    "run.darknet_commands": "settings.darknet_commands",
    "run.darknet_flags": "settings.darknet_flags",
    "run.data": "settings.data_checks",
    "run.effects": "settings.host_keys",
    "run.export_checks": "settings.export_checks",
    "run.find": "settings.find",
    "run.help": "settings.help",
    "run.host": "settings.host_files",
    "run.host_data": "settings.host_data_checks",
    "run.inputs": "settings.command_checks",
    "run.label_lists": "settings.label_lists",
    "run.network_checks": "settings.network_checks",
    "run.outputs": "settings.output_checks",
    "run.plain_text": "settings.plain_text",
    "run.ready": "settings.ready",
    "run.reading": "settings.safe_reading",
    "run.result_names": "settings.result_names",
    "run.settings": "settings.train_settings",
    "run.training_data": "settings.training_data_checks",
    "run.trust": "settings.trust",
    "run.validate": "settings.training_checks",
    "run.values": "settings.values",
    "run.marks": "settings.file_marks",
    "run.offline": "settings.offline",
    "run.backup": "folder.backup_folder",
    "run.event_values": "folder.event_values",
    "run.events": "folder.events",
    "run.export": "folder.run_export",
    "run.faults": "folder.faults",
    "run.folder": "folder.run_folder",
    "run.listing": "folder.listing",
    "run.lock": "folder.lock",
    "run.own": "folder.own",
    "run.process": "folder.process",
    "run.progress": "folder.terminal",
    "run.queue": "folder.queue",
    "run.resume": "folder.resume",
    "run.signals": "folder.signals",
}


class OldNames:
    """Finds the modules of :data:`MOVED` under their old names."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Return how to import a module that moved, or None for any other."""
        old = name.removeprefix(PACKAGE)
        if old == name or (old not in MOVED and old != "run"):
            return None
        return ModuleSpec(name, self, is_package=old == "run")  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that took the place of an old one there, itself: what is set in it has its effect."""
        old = module.__name__.removeprefix(PACKAGE)
        if old == "run":
            return
        new = PACKAGE + MOVED[old]
        text = f"{module.__name__} is called {new} now; the old name goes with the next release"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def keep_old_names() -> None:
    """Let old names import from now on."""
    if not any(isinstance(each, OldNames) for each in sys.meta_path):
        sys.meta_path.append(OldNames())
