"""A run that is asked to end keeps what it has, whoever else of its group is asked too."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from ultralytics.data.build import InfiniteDataLoader

from tests.security.fault_runs import (
    ARGUMENTS,
    ENVIRONMENT,
    SIGNALS,
    TIMES,
    end_somewhere,
    go_on,
    group_of,
    make_place,
    result,
    start,
    steps,
    wait_for,
)
from yolo_subbatch.engine.loader_processes import end_left, leave_alone
from yolo_subbatch.engine.training_run import stop_on_signal
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.lock import held
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.signals import EndedBySystem, Lasting, ended_like_an_interrupt, endings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("signals"))


def test_a_group_that_is_ended_keeps_its_state(place: Path) -> None:
    """With loaders, which torch would have ended: the update is completed, and nothing is left of the group."""
    process = start(place, *ARGUMENTS, "workers=2", "name=ended")
    run = place / "runs" / "ended"
    assert wait_for(process, lambda: steps(run) >= 2)
    os.killpg(process.pid, signal.SIGTERM)
    said = (place / "console.txt").read_text
    assert process.wait() == 130, said()
    assert "Traceback" not in said()
    assert "DataLoader" not in said()
    assert RunFolder(run).status() == "stopped"
    assert group_of(process) == []
    assert not go_on(place, run)
    assert RunFolder(run).status() == "completed"


class Numbers(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.005)
        return torch.tensor(float(index))


def test_loaders_leave_signals_to_the_training() -> None:
    """From the moment they begin: signals that come while they are started wait."""
    loader = leave_alone(DataLoader(Numbers(), batch_size=2, num_workers=2))
    got = []
    for batch in loader:
        got += batch.tolist()
        if len(got) < 20:
            continue
        if len(got) == 20:
            workers = [each.pid for each in multiprocessing.active_children()]
            assert len(workers) >= 2
            for number in SIGNALS:
                for worker in workers:
                    os.kill(worker, number)
    assert got == [float(each) for each in range(100)]
    begun = iter(loader)
    next(begun)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        end_left()  # as a process that fails in the middle does: Python itself would wait for them for ever
        assert wait_until(lambda: not multiprocessing.active_children())
        del begun
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_loader_that_nobody_holds_any_more_leaves_no_process() -> None:
    """Its queues are gone before it is: Ultralytics ends its processes, which torch would ask and wait for in vain."""
    loader = leave_alone(InfiniteDataLoader(Numbers(), batch_size=2, num_workers=2))
    next(iter(loader))
    assert len(multiprocessing.active_children()) >= 2
    loader.itself = loader
    del loader
    gc.collect()
    assert wait_until(lambda: not multiprocessing.active_children())


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[threading.Event, SimpleNamespace]]:
    trainer = SimpleNamespace(recorder=SimpleNamespace(writer=object(), interrupted=False))
    with stop_on_signal(lambda: trainer, RunFolder(tmp_path)) as stop:
        yield stop, trainer


def test_a_terminal_that_is_closed_is_a_request_to_stop(asked: tuple[threading.Event, Any]) -> None:
    """It signals more than once, which is no second request; neither is a signal to a process and to its group."""
    stop, trainer = asked
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
        signal.raise_signal(number)
        assert stop.is_set()
        assert trainer.recorder.interrupted
    time.sleep(0.15)
    signal.raise_signal(signal.SIGHUP)
    time.sleep(0.15)
    with pytest.raises(EndedBySystem):
        signal.raise_signal(signal.SIGTERM)


def test_nohup_is_obeyed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert endings() == [signal.SIGTERM]
        with ended_like_an_interrupt():
            signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with pytest.raises(EndedBySystem), ended_like_an_interrupt():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_output_that_breaks_off_is_no_error() -> None:
    reader, writer = os.pipe()
    stream = Lasting(os.fdopen(writer, "w"))
    os.close(reader)
    for _ in range(3):
        assert stream.write("a line\n" * 10_000) == 70_000
        stream.flush()
    assert not stream.isatty()
    stream.close()


HOLDER = "import sys\nfrom pathlib import Path\nfrom yolo_subbatch.folder.lock import held\n" \
    "with held(Path('run'), 'a'):\n    print('held', flush=True)\n    sys.stdin.read()\n"  # fmt: skip


def test_a_second_process_leaves_a_run_that_goes_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the moment in which nobody has written who trains; nothing of the live run is touched."""
    from yolo_subbatch.cli import main

    monkeypatch.chdir(tmp_path)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.events.write_text("")
    run.settings.write_text("{}")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in run.path.iterdir()}
        assert main(["train", "resume=run"]) == 2
        assert {each: (each.read_bytes(), each.stat().st_mtime_ns) for each in run.path.iterdir()} == before
        holder.kill()
    with held(run.path, "a"), held(run.path, "a"):  # the same process may
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(SettingsError, match="still running"):
            _in_a_child(run.path)


def _in_a_child(folder: Path) -> None:
    """Try to hold a folder in another process, and raise here what is raised there."""
    child = os.fork()
    if child == 0:
        try:
            with held(folder, "resume=run"):
                os._exit(0)
        except SettingsError:
            os._exit(3)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3:
        raise SettingsError("resume=run: this run is still running; stop it first")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL])
def test_every_signal_at_any_moment_is_survived(place: Path, number: int, group: bool, workers: int) -> None:
    """As often as asked; the result is that of a run which was never ended, to the last bit."""
    name, chance = f"{signal.Signals(number).name}-{group}-{workers}", random.Random(f"{number}{group}{workers}")
    whole = place / "runs" / f"whole{workers}"
    if not whole.exists():
        assert start(place, *ARGUMENTS, f"workers={workers}", f"name={whole.name}").wait() == 0
    for attempt in range(TIMES):
        process = start(place, *ARGUMENTS, f"workers={workers}", f"name={name}-{attempt}")
        run = place / "runs" / f"{name}-{attempt}"
        status = end_somewhere(process, run, number, group, chance)
        said = (place / "console.txt").read_text()
        assert status in {0, 130, -number}, said
        # Loaders whose training was killed may say in Python's way that it is gone.
        assert "Traceback" not in said or (number == signal.SIGKILL and workers), said
        assert wait_until(lambda process=process: not group_of(process)), "loaders look every five seconds"  # type: ignore[misc]
        if RunFolder(run).status() != "completed":
            assert not go_on(place, run)
        assert result(run) == result(whole), (name, attempt)


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
def test_a_terminal_that_is_really_closed(place: Path) -> None:
    import pty
    import select

    child, terminal = pty.fork()
    if child == 0:
        os.chdir(place)
        longer = ["epochs=100" if each.startswith("epochs=") else each for each in ARGUMENTS]
        command = [sys.executable, "-m", "yolo_subbatch", "train", *longer, "workers=2", "name=closed"]
        os.execve(sys.executable, command, {**ENVIRONMENT, "PYTHONPATH": str(ROOT)})
    run = place / "runs" / "closed"
    while steps(run) < 2:
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert RunFolder(run).status() == "stopped"
    assert not go_on(place, run)
