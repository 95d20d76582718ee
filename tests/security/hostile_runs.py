"""Run folders as somebody could make them who wants to stop a program or to have it run something."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

BESIDE = ("run.json", "console.log", "results.csv", "settings.json")  # the files that a window reads beside the events
DEEP = 100_000  # brackets inside one another
HUGE = 1e308


def event(of: str, number: int, **values: Any) -> str:
    return json.dumps({"v": 1, "type": of, "seq": number, "t": time.time(), **values})


def start(**values: Any) -> str:
    return event("run_started", 0, **{"pid": 1, "steps_total": 10, "lr_steps": [5], **values})


def step(number: int, **values: Any) -> str:
    usual = {"loss": {"total": 1.0 / number, "box": 0.5}, "lr": 0.1, "gnorm": 1.0}
    return event("step", number, step=number, epoch=1, **{**usual, **values})


def make_run(folder: Path, *lines: str, record: str | None = None) -> Path:
    (folder / "weights").mkdir(parents=True)
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    usual = {"pid": 1, "started": 1.0, "host": platform.node(), "argv": [], "folder": str(folder)}
    (folder / "run.json").write_text(json.dumps(usual) if record is None else record)
    return folder


def make_all(project: Path) -> Path:
    """Make one run of each kind, and a good one, which is returned."""
    here = f'"started": 1, "host": "{platform.node()}"'
    make_run(project / "brackets", start(), record="[" * DEEP)
    make_run(project / "deep", start(), "[" * DEEP, '{"type":"step","loss":' + '{"a":' * DEEP, step(1))
    make_run(project / "pid", start(), record=f'{{"pid": 1e400, {here}}}')
    make_run(project / "digits", start(), record=f'{{"pid": {"9" * 400}, {here}}}')
    huge = dict.fromkeys(("lr", "gnorm", "ips", "mem_mb"), HUGE)
    losses = [step(number, loss={"total": HUGE, "box": -HUGE}, **huge) for number in range(1, 9)]
    found = event("val", 9, step=3, epoch=1, map50=HUGE, map=-HUGE, best=True)
    make_run(project / "huge", start(clip=HUGE), *losses, found)
    long = make_run(project / "long", start(), step(1))
    with (long / "events.jsonl").open("r+b") as file:
        file.seek(60_000_000)  # what is not written is a line of zeros, which takes no room
        file.write(f"\n{step(2)}\n".encode())
    kinds = {"pipe": os.mkfifo, "folder": os.mkdir, "endless": lambda at: os.symlink("/dev/zero", at)}
    for kind, make in kinds.items():
        for run, names in ((project / kind, BESIDE), (project / f"{kind} of events", ("events.jsonl",))):
            make_run(run, start(), step(1))
            for name in names:
                (run / name).unlink(missing_ok=True)
                make(run / name)
    make_run(
        project / "odd", start(lr_steps=["a"], names=[1]), step(10**300), step(1, lr="x"), step(2, loss=[1]),
        step(3, loss={"total": {}}), start(steps_total=2**53, lr_steps=[-(2**53), 2**53], batch=2**53),
        step(2**53, loss={"total": float("inf")}),
        event("run_finished", 4, status="failed", error={"type": "x", "message": "out of memory"}),
    )  # fmt: skip
    times = (start(), step(1), event("run_finished", 2, status="stopped"))
    make_run(project / "times", *(line.replace('"t": ', '"t": -1e300, "u": ') for line in times))
    make_run(
        project / "many", start(lr_steps=list(range(10**5))), step(1, loss={f"part {i}": 1.0 for i in range(2000)}),
        event("warning", 2, code="x", text="<b>w</b>" * 10**5),
        event("image", 3, step=1, path="evil.desktop", kind="x"),
    )  # fmt: skip
    return make_run(project / "good", start(), step(1), event("run_finished", 2, status="completed"))
