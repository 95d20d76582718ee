"""The plug-in: Darknet's sub-batches inside Ultralytics' training loop. The only package that imports Ultralytics."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module

import torch

from yolo_subbatch.settings.host_files import check_version
from yolo_subbatch.settings.offline import stay_offline
from yolo_subbatch.settings.plain_text import plain

stay_offline()  # before Ultralytics is imported, which reads the variables
# Ultralytics limits torch to all cores but one, to a single one on small machines; this is torch's own choice.
CPU_THREADS = max(torch.get_num_threads(), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
if "ultralytics" not in sys.modules and os.environ.get("OMP_NUM_THREADS"):
    CPU_THREADS = torch.get_num_threads()  # the user's own limit


class _Output(logging.Handler):
    """Prints each message to standard output, whatever that is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(plain(self.format(record)), flush=True)


#: What the plug-in says to its user; Ultralytics' own messages can be turned down without losing it.
LOGGER = logging.getLogger("yolo_subbatch")
if not LOGGER.handlers:
    LOGGER.addHandler(_Output())
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False

_NEWER = check_version()  # before any of Ultralytics' names is looked up: an old release is refused by its number
if _NEWER:
    LOGGER.warning(_NEWER)


def use_all_cores(device: torch.device) -> None:
    """Undo Ultralytics' limit on the threads of a CPU."""
    if device.type == "cpu":
        torch.set_num_threads(CPU_THREADS)


# What else it would fetch, how it reads pictures, and what it keeps beside them; after the check of the release.
import_module("yolo_subbatch.engine.host_offline").replace_fetches()
import_module("yolo_subbatch.engine.picture_reading").read_with_care()
import_module("yolo_subbatch.engine.beside_images").leave_others_alone()
