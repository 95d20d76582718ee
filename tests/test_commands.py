"""The commands in processes of their own, on a tiny network and real files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from tests.engine.conftest import cfg_text
from tests.program import background, launched, program
from tests.third_programs import opencv4
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.cli import main
from yolo_subbatch.darknet import Network, load_weights, read_cfg
from yolo_subbatch.folder.events import Checkpoint, Image, RunFinished, RunStarted, Step, Val, read_events

ROOT = Path(__file__).parent.parent
TRAIN = ["epochs=2", "batch=4", "subdivisions=2", "device=cpu", "plots=False", "learning_rate=0.01"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working directory with a cfg, a data set and one finished run."""
    folder = tmp_path_factory.mktemp("work")
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    done = program(folder, "train", "cfg=tiny.cfg", "data=shapes/shapes.data", *TRAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_train_leaves_a_whole_run_folder(place):
    run = place / "runs" / "train"
    events = list(read_events(run / "events.jsonl"))
    assert [event.seq for event in events] == list(range(len(events)))
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == "completed"
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6]
    assert [event.images for event in steps] == [4, 4, 2, 4, 4, 2]
    assert steps[-1].seen == 20
    assert set(steps[0].loss) == {"total", "box", "obj", "cls"}
    assert steps[0].loss["total"] == pytest.approx(sum(steps[0].loss[name] for name in ("box", "obj", "cls")))
    assert sum(isinstance(event, Val) for event in events) == 2
    assert any(isinstance(event, Checkpoint) for event in events)
    for name in (
        "settings.json",
        "run.json",
        "results.csv",
        "weights/best.pt",
        "weights/last.weights",
        "weights/model.cfg",
    ):
        assert (run / name).is_file(), name
    assert json.loads((run / "settings.json").read_text())["batch"] == 4


def test_every_validation_is_drawn(place, without_figures, monkeypatch, capsys):
    monkeypatch.chdir(place)
    arguments = ["cfg=tiny.cfg", "data=shapes/shapes.data", "name=drawn", *TRAIN[:-2], "plots=True", "val=True"]
    assert main(["train", *arguments]) == 0, capsys.readouterr()
    found = [
        event for event in read_events(place / "runs" / "drawn" / "events.jsonl") if isinstance(event, (Val, Image))
    ]
    assert [event.type for event in found] == ["val", "image"] * 2 + ["image"]
    assert [event.step for event in found] == [3, 3, 6, 6, 6]
    for event in found:
        if isinstance(event, Image):
            assert cv2.imread(str(place / "runs" / "drawn" / event.path)) is not None


def test_the_start_says_what_will_happen(place):
    done = program(place, "train", "cfg=tiny.cfg", "data=shapes/shapes.data", "name=said", *TRAIN)
    assert "batch 4 = 2 sub-batches of 2 images; 3 updates per epoch" in done.stdout
    assert "clip 20" in done.stdout
    assert "schedule fitted from 100 to 6 iterations" in done.stdout
    assert re.search(r"6/6", done.stdout)
    assert "\x1b" not in done.stdout, "no colours and no live line without a terminal"


def test_val_prints_and_writes_its_figures(place):
    done = program(
        place, "val", "model=runs/train/weights/best.pt", "data=shapes/shapes.data", "json=val.json", "device=cpu"
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((place / "val.json").read_text())
    assert {"map50", "map", "precision", "recall", "classes"} <= set(figures)
    assert f"mAP50 {figures['map50']:.3f}" in done.stdout


def test_predict_writes_boxes_in_image_pixels(place):
    done = program(
        place, "predict", "model=runs/train/weights/best.pt", "source=shapes/images/val", "json=boxes.json", "conf=0.001",
        "device=cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = json.loads((place / "boxes.json").read_text())
    assert len(entries) == 4
    for entry in entries:
        assert (entry["width"], entry["height"]) == (64, 64)
        confidences = [each["confidence"] for each in entry["detections"]]
        assert confidences == sorted(confidences, reverse=True)
        for each in entry["detections"]:
            assert each["name"] in {"circle", "square", "triangle"}
            x1, y1, x2, y2 = each["xyxy"]
            assert 0 <= x1 <= x2 <= 64
            assert 0 <= y1 <= y2 <= 64
    assert len(list((place / "runs" / "predict").glob("*.jpg"))) == 4


def test_the_demo_draws_what_is_found(place):
    from yolo_subbatch.demo import draw_predictions

    weights = place / "runs" / "train" / "weights" / "best.pt"
    picture = draw_predictions(weights, place / "shapes" / "shapes.data", place / "sheet.png", "cpu")
    assert cv2.imread(str(picture)).shape == (2 * 64, 4 * 2 * 64, 3)


@pytest.mark.slow
def test_the_demo_learns(tmp_path):
    done = program(tmp_path, "demo", "device=cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    (figures,) = [line for line in lines if line.startswith("shapes val: mAP50 ")]
    assert float(re.findall(r"mAP50 ([0-9.]+)", figures)[0]) > 0.8
    (first,) = [line for line in lines if line.startswith("epoch 1: mAP50 ")]
    assert float(re.findall(r"mAP50 ([0-9.]+)", first)[0]) < 0.4
    (picture,) = [line.removeprefix("picture: ") for line in lines if line.startswith("picture: ")]
    assert cv2.imread(picture) is not None
    assert lines[-4] == "next:"
    assert all(line.startswith("  yolo-subbatch ") for line in lines[-3:])


def test_sizes_that_the_network_cannot_take_are_refused(place):
    for name, more in (("val", "data=shapes/shapes.data"), ("predict", "source=shapes/images/val")):
        done = program(place, name, "model=runs/train/weights/best.pt", more, "imgsz=70", "name=odd")
        assert done.returncode == 2
        assert "imgsz=70: not a multiple of the network's stride 16; use 64 or 80" in done.stderr
    assert not (place / "runs" / "odd").exists()


def test_val_needs_only_its_own_split(place):
    (place / "shapes" / "val-only.data").write_text("classes = 3\nvalid = val.txt\nnames = shapes.names\n")
    done = program(
        place, "val", "model=runs/train/weights/best.pt", "data=shapes/val-only.data", "device=cpu", "name=only"
    )
    assert done.returncode == 0, done.stderr
    assert "val: mAP50" in done.stdout


def test_convert_goes_both_ways(place):
    made = program(place, "convert", "model=runs/train/weights/best.pt", "to=made.weights")
    assert made.returncode == 0, made.stderr
    back = program(place, "convert", "cfg=made.cfg", "weights=made.weights", "to=back.pt")
    assert back.returncode == 0, back.stderr
    results = []
    for source in ("model=back.pt", "cfg=made.cfg weights=made.weights"):
        done = program(place, "predict", *source.split(), "source=shapes/images/val/00000.jpg", "json=one.json", "conf=0.001",
                       "save=False", "device=cpu")  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append([each["xyxy"] for each in json.loads((place / "one.json").read_text())[0]["detections"]])
    assert len(results[0]) == len(results[1])
    again = program(place, "convert", "model=runs/train/weights/best.pt", "to=made.weights")
    assert again.returncode == 2
    assert "not overwritten" in again.stderr


def test_opencv_computes_the_same_from_what_a_run_and_convert_leave(place, tmp_path):
    """OpenCV reads Darknet's formats with code of its own; up to version 4, which still has the importer."""
    run = place / "runs" / "train" / "weights"
    made = program(place, "convert", "model=runs/train/weights/best.pt", f"to={tmp_path / 'made.weights'}")
    assert made.returncode == 0, made.stderr
    pairs = [
        (run / "model.cfg", run / "last.weights"),
        (run / "model.cfg", run / "best.weights"),
        (tmp_path / "made.cfg", tmp_path / "made.weights"),
    ]
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = opencv4.run(*((*pair, image.numpy()) for pair in pairs))
    for (cfg, weights), outputs in zip(pairs, found, strict=True):
        network = Network(read_cfg(cfg))
        load_weights(network, weights)
        opencv4.assert_same(network, image, outputs)


STOCK = """
from ultralytics import YOLO
model = YOLO("runs/train/weights/best.pt")
found = model.predict("shapes/images/val/00000.jpg", conf=0.001, verbose=False, imgsz=64, device="cpu", save=False)
print(type(model.model).__name__, len(found[0].boxes))
"""


@pytest.mark.parametrize(("before", "safe"), [("", "0"), ("from yolo_subbatch import Darknet", "1")])
def test_stock_ultralytics_opens_the_checkpoint_of_a_run(place, before, safe):
    """Where nobody has imported this package; restricted loading wants its classes to be known before."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "ULTRALYTICS_SAFE_LOAD": safe}
    done = subprocess.run(
        [sys.executable, "-c", before + STOCK], cwd=place, env=environment, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    name, count = done.stdout.split()[-2:]
    assert name == "DarknetModel"
    assert int(count) > 0


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_the_weights_and_says_how_to_go_on(place, times):
    """Also if it is pressed again before the run has ended."""
    arguments = ["train", "cfg=tiny.cfg", "data=shapes/shapes.data", "epochs=15", "batch=4", "subdivisions=2", "val=False",
                 f"name=long{times}", "device=cpu", "plots=False", "max_norm=15"]  # fmt: skip
    if times == 1:
        process: Any = subprocess.Popen(
            [sys.executable, "-m", "yolo_subbatch", *arguments], cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    else:
        process = background(place, *arguments)
    run = place / "runs" / f"long{times}"
    events = run / "events.jsonl"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any(isinstance(e, Step) and e.step >= 4 for e in read_events(events)):
            time.sleep(0.05)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert f"go on with:\n  yolo-subbatch train resume={run}\n" in output
    found = list(read_events(events))
    assert isinstance(found[-1], RunFinished)
    assert found[-1].status == "stopped"
    assert max(event.step for event in found if isinstance(event, Step)) < 45
    if times == 1:
        return
    again = program(place, "train", f"resume={run}")
    assert again.returncode == 0, again.stdout + again.stderr
    steps = [event.step for event in read_events(events) if isinstance(event, Step)]
    assert steps == list(range(1, 46))
    assert isinstance(list(read_events(events))[-1], RunFinished)


def test_a_stop_file_ends_the_run(place):
    from yolo_subbatch.folder.run_folder import RunFolder
    from yolo_subbatch.settings.train_settings import TrainSettings

    folder = RunFolder.create(place / "runs", "asked")
    folder.write_settings(
        TrainSettings(
            cfg=str(place / "tiny.cfg"), data=str(place / "shapes" / "shapes.data"), epochs=500, batch=4, subdivisions=2,
            device="cpu", extra={"plots": False},
        )
    )  # fmt: skip
    with launched():
        process = folder.launch()
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any(isinstance(e, Step) for e in read_events(folder.events)):
            time.sleep(0.1)
        assert folder.status() == "running"
        folder.request_stop()
        process.wait(60)
    finally:
        folder.kill()
    assert folder.status() == "stopped"
    assert (folder.weights / "last.weights").is_file()


def test_a_model_of_ultralytics_trains_from_the_command_line(place, tmp_path):
    (place / "v8.yaml").write_text(
        "nc: 3\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n"
        "  - [-1, 1, Conv, [16, 3, 2]]\nhead:\n  - [[2, 3], 1, Detect, [nc]]\n"
    )
    done = program(place, "train", "model=v8.yaml", "data=shapes/shapes.data", "epochs=1", "batch=4", "subdivisions=2", "imgsz=64",
                   "name=v8", "device=cpu", "plots=False", "optimizer=SGD")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [event for event in read_events(place / "runs" / "v8" / "events.jsonl") if isinstance(event, Step)]
    assert [event.images for event in steps] == [4, 4, 2]
