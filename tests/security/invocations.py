"""Command lines that nobody would type on purpose: any command, any of its keys, any value, in a folder of their own."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

from yolo_subbatch import cli
from yolo_subbatch.late_imports import load

#: Values that are right for some key; every path stays inside the folder.
FILES = (
    "tiny.cfg", "tiny.weights", "tiny.pt", "tiny.onnx", "shapes/shapes.data", "shapes/shapes.yaml", "shapes/train.txt",
    "shapes/shapes.names", "shapes/images/val", "shapes/images/val/00000.jpg", "shapes", ".", "nothere", "nothere/x",
    "shapes/../tiny.cfg", "odd name.txt", "text.txt", "new.json", "new.weights", "new.pt", "new.png", "new/deep/x.json",
    "folder", "http://127.0.0.1:9/x.jpg", "http://127.0.0.1:9/x", "shapes/images/*/*.jpg",
)  # fmt: skip
WORDS = (
    "", "none", "True", "no", "auto", "cpu", "0", "1", "2", "-1", "0.5", "3", "64", "65", "64,96", "1,2,3", "1e400", "nan",
    "inf", "1_0", "\uff11", "9" * 30, "x", "a,b", "[1", "{}", "a" * 300, "\x1b[31mred", "<b>bold</b>", "\u00e9", "a=b",
    os.fsdecode(b"\xff"), "test", "val", "darknet", "stretch", "pjreddie", "background", "shapes", "yolov3-tiny", "\0",
    "8GB", "'quoted'", "$HOME", "a;b", "%s", "\n", "..", "onnx", "sub-batch",
)  # fmt: skip
#: What each command needs in order to begin.
BEGIN = {
    "train": "cfg=tiny.cfg data=shapes/shapes.data max_batches=1 workers=0 device=cpu",
    "val": "cfg=tiny.cfg weights=tiny.weights data=shapes/shapes.data device=cpu",
    "map": "model=tiny.pt data=shapes/shapes.data device=cpu",
    "predict": "model=tiny.pt source=shapes/images/val device=cpu",
    "export": "model=tiny.pt",
    "infer": "model=tiny.onnx source=shapes/images/val provider=cpu",
    "convert": "cfg=tiny.cfg weights=tiny.weights to=new.pt",
    "info": "cfg=tiny.cfg",
    "anchors": "data=shapes/shapes.data num=3 imgsz=64",
    "partial": "cfg=tiny.cfg weights=tiny.weights to=new.conv layers=2",
    "triton": "model=tiny.onnx out=models",
}
#: Keys that would only take long, and those of folders outside.
NOT_DRAWN = frozenset({
    "epochs", "max_batches", "workers", "extra", "benchmark", "int8", "frames", "time", "cache", "run_dir", "simplify",
    "memory", "save_period", "max_det", "streams", "threads",
})  # fmt: skip
DARKNET = (
    "shapes/shapes.data", "tiny.cfg", "tiny.weights", "shapes/images/val/00000.jpg", "-thresh", ".2", "-dont_show", "-out",
    "new.json", "-i", "0", "-nogpu", "-iou_thresh", "-map", "-clear", "-ext_output", "-nosuch", "-gpus", "0,1", "-letter_box",
)  # fmt: skip
WRITES = ("json", "to", "out", "picture", "project", "name", "cache")  # keys that name what is written


def drawn(seed: int, cheap: bool = False) -> list[str]:
    """Return the arguments of one call; ``cheap`` leaves out trainings that would begin."""
    rng = random.Random(seed)
    kind = rng.random()
    if kind < 0.08:
        commands = ("test", "map", "valid", "recall", "calc_anchors", "nosuch")
        return ["detector", rng.choice(commands), *_some(rng, DARKNET, 6)]
    if kind < 0.12:
        return _some(rng, [*cli.COMMANDS, "help", "-h", "--version", *WORDS, *FILES], 2) or ["help"]
    names = [each for each in BEGIN if not (cheap and each in {"train", "export"})]
    name = rng.choice(names)
    pairs = dict(each.split("=", 1) for each in BEGIN[name].split())
    for key in _some(rng, list(pairs), 1) if rng.random() < 0.3 else []:
        pairs[key] = rng.choice([*FILES, *WORDS])
    fields = [each.name for each in dataclasses.fields(load(cli.COMMANDS[name].settings))]
    keys = [each for each in fields if each not in NOT_DRAWN] + ["nosuch", "", "model", "data", "imgsz"]
    for _ in range(rng.randint(0, 3)):
        pairs[rng.choice(keys)] = rng.choice([*FILES, *WORDS])
    arguments = [f"{rng.choice(['', '', '--'])}{key}={value}" for key, value in pairs.items()]
    if rng.random() < 0.1:
        arguments += _some(rng, [*WORDS, *FILES], 1)
    rng.shuffle(arguments)
    return [name, *arguments]


def _some(rng: random.Random, every: object, most: int) -> list[str]:
    pool = list(every)  # type: ignore[call-overload]
    return rng.sample(pool, rng.randint(0, min(most, len(pool))))


def written(arguments: list[str]) -> Iterator[str]:
    """Yield the names of what a call asks to write."""
    for each in arguments:
        key, _, value = each.lstrip("-").partition("=")
        if key in WRITES and value:
            place = os.path.normpath(value)
            yield arguments[0] if place == "." else place  # results in a folder of the command's name
    if "-out" in arguments[:-1]:
        yield arguments[arguments.index("-out") + 1]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its name."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return {os.path.relpath(each, folder): each.read_bytes() for each in files}
