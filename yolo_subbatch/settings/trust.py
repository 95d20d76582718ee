"""Whether code that stands in files may run: never, unless the user says ``trust=True``.

A checkpoint is a pickle, which can call anything; a data description may bring a script that fetches its images; a
model description names an activation that Ultralytics evaluates. Nobody expects that of a file that is looked at.
``trust`` counts only where it is typed or given in Python, never where a file says it of itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from yolo_subbatch.errors import SettingsError, TrustError
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.conversion import convert
from yolo_subbatch.settings.conversion import shown as shown_value
from yolo_subbatch.settings.plain_text import plain
from yolo_subbatch.settings.safe_reading import MOST_DESCRIBED, read_small

TRUST = "trust"  # the key
LONGEST_SHOWN = 200  # letters of a file's code in a message
#: Classes of ``torch.nn`` that an ``activation:`` of a model description may name.
ACTIVATIONS = frozenset({
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU",
    "LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink",
    "Softsign", "Tanh", "Tanhshrink", "Threshold",
})  # fmt: skip
PLACES = (["nn"], ["torch", "nn"])
FETCHING = "TorchVision"  # a layer of Ultralytics that fetches a network, where its description wants trained weights
WORD = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)

_here: ContextVar[bool | None] = ContextVar("guarded", default=None)
_everywhere: list[bool] = []  # of the command that this process carries out, for all of its threads


@contextmanager
def guarded(trust: bool = False, everywhere: bool = False) -> Iterator[None]:
    """Keep code in files from running in this block, unless the user trusts them or did so around it.

    Args:
        trust: The user said ``trust=True``.
        everywhere: In all threads, as for a command, which is all that a process does.
    """
    guard = not trust and current() is not False
    token = _here.set(guard)
    if everywhere:
        _everywhere.append(guard)
    try:
        yield
    finally:
        _here.reset(token)
        if everywhere:
            _everywhere.pop()


def is_trusted(value: object) -> bool:
    """Return whether the value of ``trust=`` is a yes, in whatever spelling.

    Raises:
        SettingsError: If it is no yes or no.
    """
    return bool(convert(TRUST, value, bool))


def refuse_own_trust(where: object, keys: Mapping[str, Any]) -> None:
    """Refuse a file of settings that says of itself that it is to be trusted.

    Raises:
        SettingsError: If it does.
    """
    if TRUST in keys:
        raise SettingsError(f"{where}: {TRUST}: no file can say this of itself; take it out, and type trust=True")


def current() -> bool | None:
    """Return whether code in files is kept from running; None where this program has no say, as in a user's script."""
    found = _here.get()
    return found if found is not None or not _everywhere else _everywhere[-1]


def is_guarded() -> bool:
    """Tell whether code in files must not run now."""
    return bool(current())


def shown(code: object) -> str:
    """Return the text of some code on one line of a message."""
    return plain(shown_value(code, LONGEST_SHOWN))


def download_fault(path: Path, document: Mapping[str, Any]) -> TrustError | None:
    """Return what is to be said of a data description that would fetch its images, whose own ones are not there.

    Those that Ultralytics brings along are the user's choice by their names.
    """
    code = document.get("download")
    if not code or path.absolute().is_relative_to(host_files.folder().absolute()):
        return None
    what = "an address to fetch" if str(code).lower().startswith(("http:", "https:", "ftp:")) else "a script to run"
    return TrustError(path, f"its images are not there, and download: is {what} ({shown(code)})", "fetch them yourself")


def is_plain_activation(text: object) -> bool:
    """Tell whether an ``activation:`` is one of torch's, such as ``nn.SiLU()`` or ``torch.nn.LeakyReLU(0.1)``."""
    try:
        call = ast.parse(str(text).strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            return False
        names = ast.unparse(call.func).split(".")
        values = [*call.args, *(each.value for each in call.keywords)]
        plain = all(type(ast.literal_eval(each)) in {int, float, bool} for each in values)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return plain and names[:-1] in PLACES and names[-1] in ACTIVATIONS


def faults_of_description(path: Path) -> list[TrustError]:
    """Return what the file of a model description holds that would be evaluated, unless the user trusts it."""
    import yaml

    if current() is False:
        return []
    try:
        document = yaml.safe_load(read_small(path, MOST_DESCRIBED).decode("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return []  # Ultralytics says what is wrong with it
    return description_faults(path, document) if isinstance(document, dict) else []


def description_faults(where: object, document: Mapping[str, Any]) -> list[TrustError]:
    """Return what stands in a model description that Ultralytics would evaluate, or look up outside of its layers."""
    faults = []
    code = document.get("activation")
    if code and not is_plain_activation(code):
        advice = "give one of torch.nn, such as nn.SiLU() or nn.LeakyReLU(0.1)"
        faults.append(TrustError(where, f"activation: is code that would be evaluated ({shown(code)})", advice))
    for part, name, given in layers_of(document):
        if not WORD.fullmatch(name):
            faults.append(TrustError(where, f"{part}: {shown(name)} is no name of a layer", "correct it"))
        elif name == FETCHING and _is_fetched(given) and not host_files.find_model(Path(str(where)).name):
            found = f"{part}: {FETCHING} fetches the weights of its network ({shown(given)})"
            faults.append(TrustError(where, found, "give None for them"))
    return faults


def _is_fetched(given: list[Any]) -> bool:
    """Tell whether the third value of that layer, its weights, is anything but none; it is by default."""
    values = given[0] if given and isinstance(given[0], list) else []
    return len(values) < 3 or values[2] not in (None, "None")


def layers_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield the layers of a model description: the part that each stands in, its name, and what it is given."""
    for part in ("backbone", "head"):
        rows = document.get(part)
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, list) and len(row) > 2 and isinstance(row[2], str):
                yield part, row[2], row[3:]
