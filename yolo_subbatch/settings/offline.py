"""What keeps other packages from calling home: the variables that they read when they are imported.

Ultralytics asks a resolver whether there is a network, PyPI for newer releases, sends what is trained to an analytics
service and installs packages; onnxruntime looks up a telemetry host and keeps a number of this device in the user's
cache. Nothing of that is asked for by somebody who trains a network.
"""

from __future__ import annotations

import os

#: Variables and their values; one that the user has set stays as it is.
VARIABLES = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "ORT_DISABLE_TELEMETRY": "1"}
TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})  # for Ultralytics


def stay_offline() -> None:
    """Set what is not set. It has to happen before those packages are imported, which read it only then."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def wants_network() -> bool:
    """Tell whether the user lets Ultralytics use the network, with ``YOLO_OFFLINE=false``."""
    given = os.environ.get("YOLO_OFFLINE")
    return given is not None and given.strip().lower() not in TRUE
