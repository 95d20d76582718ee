from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from yolo_subbatch.folder.events import (
    SLICE,
    EventTail,
    EventWriter,
    Log,
    RunFinished,
    RunStarted,
    Step,
    Val,
    last_event,
    parse_event,
    read_events,
)


def step(number: int, **values: object) -> Step:
    given = {"epoch": 1, "loss": {"total": 1.0, "box": 0.5}, "lr": 0.1, "gnorm": 2.0, **values}
    return Step(step=number, **given)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    sent = [
        RunStarted(pid=1, steps_total=2, names=["猫", "dog"]),
        step(1, imgsz=(416, 416)),
        Val(step=1, epoch=1, map50=0.5, map=0.25, best=True),
        Log(level="info", text="a\u2028b\x85c\nd"),
        RunFinished(status="completed", step=2),
    ]
    for event in sent:
        writer.write(event)
    writer.close()
    found = list(read_events(path))
    assert [event.type for event in found] == [event.type for event in sent]
    assert [event.seq for event in found] == list(range(5))
    assert all(event.t > 1e9 for event in found)
    assert found[0].names == ["猫", "dog"]  # type: ignore[attr-defined]
    assert found[3].text == sent[3].text  # type: ignore[attr-defined]
    lines = path.read_text(encoding="utf-8").split("\n")
    assert json.loads(lines[1]) == {
        "v": 1, "type": "step", "seq": 1, "t": found[1].t, "step": 1, "epoch": 1, "loss": {"total": 1.0, "box": 0.5},
        "darknet_loss": None, "lr": 0.1, "gnorm": 2.0, "clipped": False, "skipped": False, "ips": None, "images": 0, "seen": 0,
        "imgsz": [416, 416], "mem_mb": None,
    }  # fmt: skip


def test_a_number_that_json_lacks_is_null(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write(step(1, loss={"total": math.nan, "box": 1.0}, gnorm=np.float32("inf"), skipped=True))
    writer.write(step(2, loss={"total": 2.0}))
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    first, second = read_events(path)
    assert isinstance(first, Step)
    assert first.loss == {"total": None, "box": 1.0}
    assert first.gnorm is None
    assert first.skipped
    assert isinstance(second, Step)
    assert not second.skipped


def test_the_position_is_the_size_of_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write(step(1))
    size = writer.position()
    writer.write(step(2))
    writer.close()
    assert size < path.stat().st_size
    os.truncate(path, size)
    assert [event.seq for event in read_events(path)] == [0]
    again = EventWriter(path)
    again.write(step(2))
    again.close()
    assert [event.seq for event in read_events(path)] == [0, 1]


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write(step(1, lr=np.float32(0.5), imgsz=np.int64(416)))
    (found,) = read_events(path)
    assert isinstance(found, Step)
    assert found.lr == 0.5
    assert found.imgsz == 416


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert tail.read() == []
    EventWriter(path).write(step(1))
    line = path.read_bytes()
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert [event.step for event in tail.read()] == [1]  # type: ignore[attr-defined]
        assert tail.read() == []
        file.write(line[20:])
    assert len(tail.read()) == 1


def test_a_writer_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in (1, 2):
        EventWriter(path).write(step(number))
    with path.open("ab") as file:
        file.write(b'{"v":1,"type":"step","se')
    EventWriter(path).write(step(3))
    assert [(event.seq, event.step) for event in read_events(path)] == [(0, 1), (1, 2), (2, 3)]  # type: ignore[attr-defined]


def test_a_file_that_became_shorter_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    for number in (1, 2, 3):
        writer.write(step(number))
    tail = EventTail(path)
    assert len(tail.read()) == 3
    path.unlink()
    EventWriter(path).write(step(1))
    assert len(tail.read()) == 1


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"3", b'"x"', b"{}", b'{"type":"later"}', b'{"type":["step"]}', b'{"type":"step"}', b"\xff\xfe"],
)
def test_what_is_not_known_is_ignored(line: bytes, tmp_path: Path) -> None:
    assert parse_event(line) is None
    path = tmp_path / "events.jsonl"
    path.write_bytes(line + b"\n")
    writer = EventWriter(path)
    writer.write(step(1))
    assert len(list(read_events(path))) == 1


def test_fields_of_later_versions_are_ignored() -> None:
    event = parse_event(b'{"v":2,"type":"log","level":"info","text":"x","new":[1]}')
    assert event == Log(level="info", text="x")


def test_long_files_are_read_in_slices(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    texts = ["x" * 1000, "y" * (SLICE + 7), *["z"] * 2000]
    for text in texts:
        writer.write(Log(level="info", text=text))
    assert [event.text for event in read_events(path)] == texts  # type: ignore[attr-defined]
    tail = EventTail(path)
    first = tail.read(1 << 14)
    assert 0 < len(first) < len(texts)
    assert len(first) + len(tail.read()) == len(texts)


def test_the_last_event_is_found_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_event(path) is None
    path.touch()
    assert last_event(path) is None
    writer = EventWriter(path)
    writer.write(Log(level="info", text="é" * SLICE))
    assert isinstance(last_event(path), Log)
    writer.write(RunFinished(status="failed", error={"traceback": "t" * (3 * SLICE)}))
    with path.open("a") as file:
        file.write('{"type":"later"}\n{"torn')
    found = last_event(path)
    assert isinstance(found, RunFinished)
    assert found.seq == 1


def test_a_reader_beside_a_living_writer_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    code = (
        "import sys; from pathlib import Path; from yolo_subbatch.folder.events import *\n"
        "writer = EventWriter(Path(sys.argv[1]))\n"
        "for n in range(3000): writer.write(Log(level='info', text=f'{n} ' + 'é' * (n % 97)))\n"
        "writer.write(RunFinished(status='completed'))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)])
    tail, found = EventTail(path), []
    while child.poll() is None:
        found += tail.read(4096)
    while more := tail.read():
        found += more
    assert child.returncode == 0
    assert [event.seq for event in found] == list(range(3001))
