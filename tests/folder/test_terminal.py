from __future__ import annotations

import io
import logging
import math
import os
import re
from collections.abc import Iterator

import pytest

from yolo_subbatch.folder.events import Event, Log, RunFinished, RunStarted, Step, Val, Warned
from yolo_subbatch.folder.terminal import TerminalProgress, fit, route_messages


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Return the lines as a terminal would show them."""
        lines, row = [""], 0
        for token in re.findall(r"\x1b\[2K|\x1b\[1A|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if token == "\x1b[1A":
                row -= 1
            elif token == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif token in {"\x1b[2K", "\r"}:
                lines[row] = ""
            else:
                lines[row] += token
        return lines


def run(steps: int, every: float, epochs: int = 4) -> Iterator[tuple[float, Event]]:
    yield 0.0, RunStarted(pid=1, steps_total=steps, epochs=epochs)
    for index in range(steps):
        epoch = index * epochs // steps + 1
        event = Step(
            step=index + 1, epoch=epoch, loss={"total": 3.0, "box": 1.5, "obj": 1.0, "cls": 0.5}, darknet_loss=2.0,
            lr=0.001, gnorm=25.0, clipped=True, ips=31.4, images=8,
        )  # fmt: skip
        yield (index + 1) * every, event
        if (index + 1) * epochs % steps == 0:
            yield (index + 1) * every, Val(step=index + 1, epoch=epoch, map50=0.5, map=None, best=True)
    yield steps * every, RunFinished(status="completed", step=steps)


def play(stream: io.StringIO, events: Iterator[tuple[float, Event]]) -> TerminalProgress:
    now = [0.0]
    progress = TerminalProgress(stream, lambda: now[0])
    for when, event in events:
        now[0] = when
        progress(event)
    return progress


def test_without_a_terminal_there_are_few_plain_lines() -> None:
    stream = io.StringIO()
    play(stream, run(steps=400, every=0.1))
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    updates = [line for line in lines if "loss" in line]
    assert 4 <= len(updates) <= 40 / 5 + 4 + 2
    assert sum(line.startswith("epoch") for line in lines) == 4
    assert lines[-1] == "run completed after 400 updates"
    assert [line.split()[0] for line in updates if line.split()[0] in {"100/400", "400/400"}] == ["100/400", "400/400"]
    for words in ("epoch 4/4", "loss 3", "box 1.5", "cost 2", "avg 2", "lr 0.001", "norm 25 clipped", "31.4 images/s"):
        assert words in updates[-1]
    assert "left" not in updates[0]
    assert re.search(r"0:\d\d left", updates[2])


def test_a_run_of_days_does_not_fill_the_disk() -> None:
    stream = io.StringIO()
    play(stream, run(steps=20000, every=8.64, epochs=1))  # two days
    assert len(stream.getvalue().splitlines()) < 2 * 24 * 60 + 400


def test_a_terminal_has_two_live_lines() -> None:
    stream = Terminal()
    play(stream, run(steps=400, every=0.1))
    screen = stream.screen()
    assert [line for line in screen if line.startswith("epoch")] == [
        f"epoch {epoch}: mAP50 0.500, the best so far" for epoch in range(1, 5)
    ]
    assert sum("loss" in line for line in screen) == 1
    assert screen[-4].startswith("400/400  epoch 4/4  0:00 left  31.4 images/s  lr 0.001  norm 25 clipped")
    assert screen[-3] == "loss 3  (box 1.5 obj 1 cls 0.5)  cost 2  avg 2"
    assert screen[-2:] == ["run completed after 400 updates", ""]
    assert stream.getvalue().count("400  epoch") > 150


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
def test_the_live_line_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((width, 24)))
    stream = Terminal()
    play(stream, run(steps=20, every=1.0))
    live = [line for line in stream.screen() if "loss" in line or "/20" in line]
    assert all(len(line) <= max(1, width - 1) for line in live)
    if width >= 40:
        assert "20/20" in live[0]
        assert "left" in live[0]
        assert "loss 3  (box" in live[1]


def test_messages_stand_above_the_live_line_and_are_not_repeated() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, lambda: 0.0)
    for _, event in list(run(steps=10, every=1.0))[:3]:
        progress(event)
    logger = logging.getLogger("test of messages")
    logger.propagate = False
    logger.handlers = [progress.handler()]
    logger.setLevel(logging.INFO)
    logger.info("heads %s", "rebuilt")
    logger.warning("careful")
    logger.info("  ")
    for _ in range(2):
        progress(Log(level="info", text="heads rebuilt"))
        progress(Warned(code="nan_loss", text="update 3"))
    progress.close()
    screen = stream.screen()
    assert screen[:3] == ["heads rebuilt", "warning: careful", "warning: update 3"]
    assert screen[3].startswith("1/10")


@pytest.fixture
def host_loggers() -> Iterator[None]:
    """Put the loggers back as they were."""
    loggers = [logging.getLogger(name) for name in ("yolo_subbatch", "ultralytics")]
    before = [(each.handlers, each.level, each.propagate) for each in loggers]
    yield
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.usefixtures("host_loggers")
def test_unusable_images_are_counted_and_other_chatter_is_not_shown() -> None:
    stream = io.StringIO()
    route_messages(TerminalProgress(stream, lambda: 0.0))
    logger = logging.getLogger("ultralytics")
    logger.info("Scanning labels")
    logger.info(
        "train: a.jpg: corrupt JPEG restored and saved\n\x1b[34mtrain: \x1b[0mb.jpg: ignoring corrupt image/label: cannot identify\n"
        "train: c.jpg: ignoring corrupt image/label: truncated"
    )
    logger.warning("no labels")
    assert stream.getvalue().splitlines() == [
        "warning: images left out, as they or their labels cannot be read: 2; the first is train: b.jpg",
        "warning: no labels",
    ]


def test_numbers_that_are_none_or_nan_are_shown() -> None:
    stream = io.StringIO()
    progress = TerminalProgress(stream, lambda: 0.0)
    progress(RunStarted(pid=1, steps_total=2))
    progress(Step(step=1, epoch=1, loss={"total": math.nan, "box": None}, lr=None, gnorm=math.inf))
    progress(Step(step=2, epoch=1, loss={}, darknet_loss=4.0, lr=0.1, gnorm=1.0))
    first, second = stream.getvalue().splitlines()
    assert "loss nan" in first
    assert "norm inf" in first
    assert "avg 4" in second, "a step that was not finite does not spoil the average"


def test_the_average_is_darknets() -> None:
    progress = TerminalProgress(io.StringIO(), lambda: 0.0)
    for index, cost in enumerate((10.0, 20.0, 0.0), 1):
        progress(Step(step=index, epoch=1, loss={"total": 1.0}, darknet_loss=cost, lr=0.1, gnorm=1.0))
    assert progress.average == pytest.approx((10 * 0.9 + 20 * 0.1) * 0.9)


def test_the_most_dispensable_part_goes_first() -> None:
    assert fit([(0, "ab"), (2, "cd"), (1, "ef")], 6) == "ab  ef"
