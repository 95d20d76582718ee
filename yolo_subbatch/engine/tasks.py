"""Which trainer a model needs: the one that Ultralytics itself would take for it."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

from ultralytics import RTDETR, YOLO, YOLOE, YOLOWorld
from ultralytics.cfg import cfg2dict
from ultralytics.nn.tasks import guess_model_task, yaml_model_load
from ultralytics.utils.checks import check_model_file_from_stem
from ultralytics.utils.downloads import attempt_download_asset

from yolo_subbatch.engine.overrides import is_known
from yolo_subbatch.errors import SettingsError

#: Ultralytics' kinds of models; each knows its tasks, and the trainer of each.
MODELS: tuple[Any, ...] = (YOLO, RTDETR, YOLOWorld, YOLOE)


def host_of(trainer: type) -> type:
    """Return Ultralytics' class that a trainer class is, or is derived from.

    Raises:
        SettingsError: If it is derived from none.
    """
    found = [each for each in trainer.__mro__ if each.__module__.partition(".")[0] == "ultralytics"]
    if not found:
        raise SettingsError(
            f"trainer={trainer.__name__}: trains nothing by itself; give SubbatchTrainer, or subbatch(T) with your "
            "trainer class T"
        )
    return found[0]


def tasks_of(model: Any) -> dict[str, dict[str, Any]]:
    """Return the tasks of a kind of models, with the classes for each."""
    found: dict[str, dict[str, Any]] = model.task_map.fget(None)
    return found


def needed_trainer(model: str, task: str | None) -> tuple[type, str] | None:
    """Return Ultralytics' trainer for a model and the name of its task, or None where that cannot be told.

    Args:
        model: A ``.yaml`` or ``.pt``, or an empty text.
        task: What the user says.

    Raises:
        SettingsError: If the model is for another task than the user says.
    """
    found = None
    if model.lower().endswith((".yaml", ".yml")):
        found = _of_description(model)
    elif model:
        found = _of_checkpoint(model)
    if found is None:
        kinds = tasks_of(YOLO)
        return (kinds[task]["trainer"], task) if task in kinds else None
    kind, name = found
    if task is not None and task != name:
        raise SettingsError(f"task={task}: {model} is a model for the task {name}; leave task= out")
    return kind, name


def _of_description(path: str) -> tuple[type, str] | None:
    """Return trainer and task of a ``.yaml``, as ``YOLO(path)`` chooses them; None for a file that cannot be read."""
    try:
        description = yaml_model_load(path)
        head = str(description["head"][-1][-2])
    except Exception:  # whatever is wrong with it, the trainer says it better
        return None
    stem = Path(path).stem
    kind = YOLOWorld if "-world" in stem else YOLOE if "yoloe" in stem else RTDETR if "RTDETR" in head else YOLO
    task = "detect" if kind in (YOLOWorld, RTDETR) else guess_model_task(description)
    kinds = tasks_of(kind)
    return (kinds[task]["trainer"], task) if task in kinds else None


def _of_checkpoint(path: str) -> tuple[type, str] | None:
    """Return trainer and task of a ``.pt`` by the class of its model, without loading it."""
    there = Path(path).is_file()  # whatever its name: Ultralytics would take some for those of its own downloads
    file = Path(path) if there else Path(attempt_download_asset(check_model_file_from_stem(path)))
    known = {
        classes["model"].__name__: (classes["trainer"], task)
        for model in reversed(MODELS)
        for task, classes in tasks_of(model).items()
    }
    try:
        with zipfile.ZipFile(file) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            names = [name for each in pickles for name in _classes(archive.read(each))]
    except (OSError, zipfile.BadZipFile):
        return None
    return next((known[name] for name in names if name in known), None)


def _classes(pickled: bytes) -> list[str]:
    """Return the names of Ultralytics' network classes that a pickle asks for, in their order."""
    texts = [str(argument) for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)]
    found = []
    for index, text in enumerate(texts):
        module, _, name = text.partition(" ")  # GLOBAL holds both; STACK_GLOBAL finds them one after the other
        if module == "ultralytics.nn.tasks":
            found.append(name or (texts[index + 1] if index + 1 < len(texts) else ""))
    return found


def asked_for(cfg: Any, overrides: dict[str, Any]) -> tuple[str, str | None]:
    """Return model and task of a trainer's arguments."""
    base = cfg2dict(cfg) if cfg is not None else {}
    model = overrides.get("model") or base.get("model") or ""
    task = overrides.get("task")
    return str(model), None if task is None else str(task)


def check_task(kind: type, cfg: Any, overrides: dict[str, Any]) -> None:
    """Refuse a model that a trainer class is not for: another one would be trained.

    A class that builds the network itself (``get_model``) knows what it does.

    Raises:
        SettingsError: With the trainer that the model needs.
    """
    host = host_of(kind)
    owner = next(each for each in kind.__mro__ if "get_model" in vars(each))
    ours = owner.__module__.startswith("yolo_subbatch")
    if ours or not is_known(owner) or host.__module__.startswith("ultralytics.engine"):
        return
    model, task = asked_for(cfg, overrides)
    needed = needed_trainer(model, task)
    if needed is None or package_of(needed[0]) == package_of(host):
        return
    name = kind.__name__
    raise SettingsError(
        f"{model or f'task={needed[1]}'}: a model for Ultralytics' {needed[0].__name__} (task {needed[1]}), but {name} "
        f"is a {host.__name__}; derive {name} from subbatch({needed[0].__name__}), or give a model of its task"
    )


def package_of(kind: type) -> str:
    """Return the package in which Ultralytics keeps a task."""
    return kind.__module__.rpartition(".")[0]
