"""The places at which Ultralytics runs what stands in a file, watched.

Where :func:`~yolo_subbatch.settings.trust.is_guarded` says so, a checkpoint is opened by :mod:`.unpickling`, a model
description may name layers and activations alone, a data description fetches nothing, and a cache of labels holds
nothing but labels. Elsewhere, as in a user's own script that opens ``YOLO("mine.pt")``, all is as Ultralytics has it.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as array_format
from torch import nn
from ultralytics.data import utils as data_functions
from ultralytics.nn import tasks
from ultralytics.utils import YAML, patches
from ultralytics.utils.checks import check_file

from yolo_subbatch.darknet.regular_files import open_regular
from yolo_subbatch.engine import LOGGER, unpickling
from yolo_subbatch.engine.claims import check_claims
from yolo_subbatch.errors import TrustError
from yolo_subbatch.settings.trust import (
    TRUST,
    description_faults,
    download_fault,
    guarded,
    is_guarded,
    is_trusted,
    layers_of,
    shown,
)

OPENED_BY_TORCH = ("f", "map_location", "pickle_module", "weights_only", "mmap")


#: Checkpoints that this process has written, as they were then: they hold what it has in its memory anyway.
_written: dict[Path, tuple[int, ...]] = {}


def _version_of(file: Path) -> tuple[int, ...]:
    """Return what changes when a file is written again."""
    about = file.stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def note_written(files: Iterable[Path]) -> None:
    """Remember that this process has just written some checkpoints, which may hold what a user has put into them."""
    _written.update({file.absolute(): _version_of(file) for file in files if file.is_file()})


def is_as_written(file: Path) -> bool:
    """Tell whether a checkpoint is as this process has written it."""
    return file.is_file() and _written.get(file.absolute()) == _version_of(file)


def _torch_load(theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Open a checkpoint."""
    given = dict(zip(OPENED_BY_TORCH, args, strict=False)) | keywords
    if not is_guarded() or (isinstance(given["f"], (str, Path)) and is_as_written(Path(given["f"]))):
        return theirs(*args, **keywords)
    wanted = {key: given[key] for key in ("map_location", "mmap") if key in given}
    found = unpickling.load(given["f"], **wanted)
    check_claims(found, given["f"])
    return found


def _parse_model(theirs: Callable[..., Any], d: Any, *args: Any, **keywords: Any) -> Any:
    """Build the network of a model description."""
    if is_guarded() and isinstance(d, Mapping):
        check_description(d)
    return theirs(d, *args, **keywords)


def check_description(found: Mapping[str, Any]) -> None:
    """Refuse a model description in which something is evaluated, or called that is no layer.

    Raises:
        TrustError: With the first fault.
    """
    where = found.get("yaml_file") or "model"
    for fault in description_faults(where, found):
        raise fault
    for part, name, _ in layers_of(found):
        kind = _layer(name)
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise TrustError(where, f"{part}: {shown(name)} is no layer but would be called", "correct it")


def _layer(name: str) -> Any:
    """Return what Ultralytics finds under the name of a layer; None for nothing, which it says itself."""
    for prefix, owner in (("nn.", torch.nn), ("torchvision.ops.", None)):
        if prefix in name:
            if owner is None:
                import torchvision

                owner = torchvision.ops
            return getattr(owner, name[len(prefix) :], None)
    return vars(tasks).get(name)


def _check_det_dataset(theirs: Callable[..., Any], dataset: Any, *args: Any, **keywords: Any) -> Any:
    """Read a data description; what it would fetch is fetched by no one whom the user has not asked."""
    if not is_guarded():
        return theirs(dataset, *args, **keywords)
    path = Path(str(dataset))
    own = path if path.is_file() else Path(str(check_file(str(dataset), hard=False) or path))
    document = YAML.load(own) if own.suffix in {".yaml", ".yml"} and own.is_file() else {}
    fault = download_fault(own, document if isinstance(document, dict) else {})
    if fault is None:
        return theirs(dataset, *args, **keywords)
    try:
        return theirs(dataset, **{**keywords, "autodownload": False})
    except FileNotFoundError as error:
        raise fault from error


def _convert_ndjson(theirs: Callable[..., Any], data: Any, *args: Any, **keywords: Any) -> Any:
    """Turn a list of images with their addresses into a data set, if the user gave the address of it himself."""
    if is_guarded() and str(data).lower().endswith(".ndjson") and "://" not in str(data):
        raise TrustError(data, "its images would be fetched from the addresses in it", "fetch them yourself")
    return theirs(data, *args, **keywords)


def _load_dataset_cache_file(theirs: Callable[..., Any], path: Any) -> Any:
    """Read a cache of labels; one that holds more is made anew."""
    if not is_guarded():
        return theirs(path)
    with open_regular(path) as file:
        try:
            version = array_format.read_magic(file)
            read = array_format.read_array_header_1_0 if version == (1, 0) else array_format.read_array_header_2_0
            shape, _, kind = read(file)
            found = unpickling.read(file, path) if kind == np.dtype(object) and shape == () else None
            cache = found.item() if isinstance(found, np.ndarray) else found
        except TrustError as fault:
            LOGGER.warning(f"{path}: {fault.found}; it is not opened, but made anew")
            cache = None
        except Exception as error:  # damaged in whatever way
            raise AssertionError(f"{path}: {error}") from error  # Ultralytics' word for one to be made anew
    if not isinstance(cache, dict):
        raise AssertionError(f"{path}: no cache of labels")
    return cache


def check_checkpoint(file: Path) -> None:
    """Refuse a checkpoint that holds code, without reading its numbers; a damaged one is for who opens it to tell.

    Raises:
        TrustError: If it does, and the user does not trust it.
    """
    if is_guarded() and file.is_file() and not is_as_written(file):
        with suppress(RuntimeError, EOFError, pickle.UnpicklingError, OSError):
            with open_regular(file) as opened:
                archive = unpickling.is_archive(opened)
            unpickling.load(file, map_location="cpu", mmap=archive)


def while_made(init: Callable[..., None]) -> Callable[..., None]:
    """Watch what the ``__init__`` of a trainer opens, unless its arguments say ``trust=True``."""

    @wraps(init)
    def watched(self: Any, *args: Any, **keywords: Any) -> None:
        given = (args[1] if len(args) > 1 else keywords.get("overrides")) or {}
        with guarded(is_trusted(given.get(TRUST))):
            init(self, *args, **keywords)

    return watched


#: By the module that has them and their names.
WATCHED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (patches, "torch_load", _torch_load),
    (tasks, "parse_model", _parse_model),
    (data_functions, "check_det_dataset", _check_det_dataset),
    (data_functions, "load_dataset_cache_file", _load_dataset_cache_file),
    (data_functions, "convert_ndjson_to_yolo_if_needed", _convert_ndjson),
)


def watch(owner: Any, name: str, ours: Callable[..., Any]) -> None:
    """Put a function in the place of Ultralytics', in every module that has it."""
    theirs = getattr(owner, name, None)
    if theirs is None:  # older releases know no such files
        return

    def watched(*args: Any, **keywords: Any) -> Any:
        return ours(theirs, *args, **keywords)

    watched.__name__, watched.__doc__, watched.__module__ = name, theirs.__doc__, theirs.__module__
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("ultralytics") and vars(module).get(name) is theirs:
            setattr(module, name, watched)


for _owner, _name, _ours in WATCHED:
    watch(_owner, _name, _ours)
