"""What the processes of ``test_processes.py`` run: ``python -m tests.engine.several PLAN`` under torchrun, or forked.

A plan is a list of trainings, each through the command line's own entry, one after the other: torch and Ultralytics
are imported once. Every process leaves what it saw in ``notes/NAME.RANK.json`` and its weights in ``.npy``.
"""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import LOCAL_RANK

from tests.engine.forked import Spare
from yolo_subbatch import cli
from yolo_subbatch.engine import processes
from yolo_subbatch.engine.api import Darknet
from yolo_subbatch.engine.darknet_trainer import DarknetTrainer
from yolo_subbatch.folder.terminal import TerminalProgress

RANK = int(os.environ.get("RANK", 0))
PATIENCE = timedelta(seconds=60)  # that one process waits for the others
COLLECTIVES = (
    "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all", "barrier", "broadcast",
    "broadcast_object_list", "gather", "gather_object", "irecv", "isend", "monitored_barrier", "recv", "reduce",
    "reduce_scatter", "scatter", "send",
)  # fmt: skip
PLACES = ("on_train_start", "on_train_epoch_start", "on_optimizer_step", "on_train_epoch_end", "teardown")


class Terminal(StringIO):
    """Text that cannot be pickled, as what a real terminal or a window hangs on."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a terminal cannot be pickled")


class Spread(DarknetTrainer):
    """Trains in two processes that Ultralytics' launcher starts, as if the CPU were two devices."""

    @property
    def ddp(self) -> bool:
        return LOCAL_RANK == -1

    @ddp.setter
    def ddp(self, value: bool) -> None:
        """On a CPU, Ultralytics says no."""

    @property
    def world_size(self) -> int:
        return self.__dict__["devices"]

    @world_size.setter
    def world_size(self, value: int) -> None:
        self.__dict__["devices"] = value or 2

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        if RANK == 1 and self.update_index == int(os.environ.get("BREAK_AT", -1)):
            raise ValueError("broken on purpose")
        return super().preprocess_batch(batch)


class Notes:
    """What one process does in one training."""

    def __init__(self) -> None:
        self.calls: list[str] = []  # collectives, and where the loop is
        self.told: list[dict[str, Any]] = []  # events that reach the terminal
        self.facts: dict[str, Any] = {}
        self.weights = np.zeros(0)

    def see(self, trainer: Any, event: str) -> None:
        if event in PLACES:
            self.calls.append(event)
        if event == "on_train_start":
            self.facts["wrapped"] = isinstance(trainer.model, DistributedDataParallel)
        if event == "teardown" and not isinstance(trainer.model, str):
            names = ("update_index", "seen", "skipped", "processes")
            self.facts.update({name: getattr(trainer, name) for name in names})
            self.facts["best"] = trainer.best.is_file()
            self.facts.update({name: getattr(trainer.args, name) for name in ("batch", "subdivisions", "lr0")})
            self.weights = np.concatenate([
                each.detach().double().flatten().numpy() for each in trainer.plain_model.parameters()
            ])  # fmt: skip


@contextmanager
def instead(owner: Any, name: str, stand_in: Callable[..., Any]) -> Iterator[None]:
    """Call ``stand_in`` with the original before the arguments."""
    original = getattr(owner, name)
    with mock.patch.object(owner, name, lambda *given, **keywords: stand_in(original, *given, **keywords)):
        yield


@contextmanager
def apart(name: str) -> Iterator[None]:
    """Let the processes meet under a name: an earlier training has left its addresses where they would meet else."""

    def join(original: Any, backend: str, timeout: timedelta) -> None:
        store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
        own = {"rank": RANK, "world_size": int(os.environ["WORLD_SIZE"])}
        original(backend, store=dist.PrefixStore(name, store), timeout=PATIENCE, **own)

    with instead(dist, "init_process_group", join):
        yield


@contextmanager
def watched(notes: Notes) -> Iterator[None]:
    """Note every collective, the places of the loop, and what the terminal is told."""

    def run_callbacks(original: Any, trainer: Any, event: str) -> None:
        original(trainer, event)
        notes.see(trainer, event)

    def show(original: Any, progress: Any, event: Any) -> None:
        names = ("type", "seq", "step", "status", "reason")
        notes.told.append({name: getattr(event, name, None) for name in names})
        original(progress, event)

    with ExitStack() as stack:
        stack.enter_context(instead(BaseTrainer, "run_callbacks", run_callbacks))
        stack.enter_context(instead(TerminalProgress, "__call__", show))
        for name in COLLECTIVES:

            def count(original: Any, *given: Any, name: str = name, **keywords: Any) -> Any:
                notes.calls.append(name)
                return original(*given, **keywords)

            stack.enter_context(instead(dist, name, count))
        yield


# --- what is different, or goes wrong ---------------------------------------------------------------------------------


def nan(original: Any, trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Spoil an image of the last process in the fourth update."""
    batch = original(trainer, batch)
    if trainer.update_index == 3 and trainer.processes == RANK + 1:
        batch["img"][-1] *= math.nan
    return batch


def short(original: Any, trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Run out of memory in one process alone, in its first sub-batch of the third update, once."""
    batch = original(trainer, batch)
    if trainer.update_index == 2 and RANK == 1 and not hasattr(trainer, "was_short"):
        trainer.was_short = True
        raise RuntimeError("CUDA out of memory (simulated)")
    return batch


def fitness(original: Any, trainer: Any) -> Any:
    """Validate to no number in the second epoch, once."""
    metrics, value = original(trainer)
    if trainer.epoch == 1 and RANK == 0 and not hasattr(trainer, "was_bad"):
        trainer.was_bad, value = True, math.nan
    return metrics, value


def stop(original: Any, trainer: Any, event: str) -> None:
    """Ask for a stop from outside, in the middle of the third epoch."""
    original(trainer, event)
    if event == "on_train_batch_start" and trainer.update_index == 4 and RANK == 0:
        trainer.recorder.folder.request_stop()


def wait(original: Any, trainer: Any, event: str) -> None:
    """Wait for an interrupt after the third update; the other processes wait in the exchange of the fourth."""
    original(trainer, event)
    if event == "on_train_batch_start" and trainer.update_index == 3 and RANK == 0:  # the third one is in the events
        deadline = time.monotonic() + PATIENCE.total_seconds()
        while not trainer.recorder.interrupted and time.monotonic() < deadline:
            time.sleep(0.05)


def other_weights(original: Any, trainer: Any, *given: Any, **keywords: Any) -> Any:
    """Begin with other weights in every process but the first."""
    model = original(trainer, *given, **keywords)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.1 * RANK)
    return model


FAULTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "nan": (DarknetTrainer, "preprocess_batch", nan),
    "short": (DarknetTrainer, "preprocess_batch", short),
    "fitness": (DarknetTrainer, "validate", fitness),
    "stop": (BaseTrainer, "run_callbacks", stop),
    "wait": (BaseTrainer, "run_callbacks", wait),
    "other weights": (DarknetTrainer, "get_model", other_weights),
}


@contextmanager
def fault(kind: str | None, spare: Spare | None) -> Iterator[None]:
    """Change a training."""
    with ExitStack() as stack:
        if kind in {"spread", "spread by forks"}:
            kinds = Darknet.task_map.fget(None)
            kinds["detect"]["trainer"] = Spread
            stack.enter_context(mock.patch.object(Darknet, "task_map", kinds))
            stack.enter_context(mock.patch("yolo_subbatch.engine.training_run.DarknetTrainer", Spread))  # of a command
            if kind == "spread by forks":
                assert spare is not None
                stack.enter_context(mock.patch("subprocess.Popen", spare.begin))
        elif kind is not None:
            stack.enter_context(instead(*FAULTS[kind]))
        yield


# --- what is done -----------------------------------------------------------------------------------------------------


def train(plan: dict[str, Any], spare: Spare | None) -> None:
    """Do one training."""
    notes, out, err = Notes(), Terminal(), StringIO()
    with (
        mock.patch.dict(os.environ, plan.get("environment", {})), watched(notes), fault(plan.get("fault"), spare),
        redirect_stdout(out), redirect_stderr(err),
    ):  # fmt: skip
        status = cli.main(["train", *plan["arguments"]])
    said = {"status": status, "out": out.getvalue(), "err": err.getvalue()}
    leave(plan["name"], {**said, "calls": notes.calls, "told": notes.told, "facts": notes.facts}, notes.weights)


def leave(name: str, document: Any, numbers: np.ndarray) -> None:
    place = Path("notes") / f"{name}.{RANK}"
    np.save(f"{place}.npy", numbers)
    Path(f"{place}.json").write_text(json.dumps(document))


def sum_gradients(name: str) -> None:
    """Sum gradients of every kind with :func:`processes.exchange`; each process has other ones."""
    processes.join_on_cpu()
    draw = torch.Generator().manual_seed(RANK)
    shapes = {"plain": (3, 2), "scalar": (), "channels_last": (4, 3, 3, 2), "nowhere": (5,), "in_one": (2, 2)}
    parameters = {each: torch.nn.Parameter(torch.zeros(shape)) for each, shape in shapes.items()}
    parameters["channels_last"].data = parameters["channels_last"].data.to(memory_format=torch.channels_last)
    for each, parameter in parameters.items():
        if each != "nowhere" and not (each == "in_one" and RANK):
            parameter.grad = torch.zeros_like(parameter).copy_(torch.randn(parameter.shape, generator=draw))
    own = {each: None if p.grad is None else p.grad.tolist() for each, p in parameters.items()}
    sums = processes.exchange(list(parameters.values()), torch.tensor([1.0 + RANK, 10.0], dtype=torch.float64))
    leave(name, {
        "own": own, "sums": sums.tolist(),
        "summed": {each: None if p.grad is None else p.grad.tolist() for each, p in parameters.items()},
        "kept": parameters["channels_last"].grad.is_contiguous(memory_format=torch.channels_last),
        "largest": processes.largest(5 - RANK, torch.device("cpu")), "told": processes.told_by_first({"rank": RANK}),
    }, np.zeros(0))  # fmt: skip
    processes.leave()


def main(plan: str, spare: Spare | None = None) -> None:
    """Do what a plan says; ``spare`` stands in where Ultralytics' launcher shall not start torchrun itself."""
    gc.freeze()  # Ultralytics collects garbage in every epoch
    for each in json.loads(Path(plan).read_text()):
        if RANK == 0 and "ended" in each:  # this process goes on, but not with this run
            Path(each["ended"], "run.json").unlink()
        if RANK == 0 and "copy" in each:
            shutil.copytree(each["ended"], each["copy"])
        if "name" not in each or each.get("processes", 1) <= RANK:
            continue
        if "RANK" in os.environ:
            os.environ["WORLD_SIZE"] = str(each["processes"])
        with apart(each["name"]):
            if "arguments" in each:
                train(each, spare)
            else:
                sum_gradients(each["name"])


if __name__ == "__main__":
    from tests.engine import several  # under its own name, by which its trainer is found again

    several.main(sys.argv[1])
