"""Networks of every task of Ultralytics, from the command line: trained, measured, used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ultralytics.nn import tasks

from tests.tasks import SIDE, SPLITS, write_model, write_task_data
from yolo_subbatch.cli import main

BOXES = {"map50", "map", "precision", "recall"}
ABOUT = {"task", "split", "data", "classes"}
FIGURES = {
    "segment": BOXES | {"mask"}, "pose": BOXES | {"pose"}, "obb": BOXES, "classify": {"top1", "top5"},
    "semantic": {"miou", "pixel_accuracy"}, "depth": {"delta1", "abs_rel", "rmse", "silog"},
}  # fmt: skip
NEWER = {"semantic": "SemanticSegmentationModel", "depth": "DepthModel"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(arguments)
    said = capsys.readouterr()
    assert status == 0, said.out + said.err
    return said.out + said.err


def read(file: str) -> Any:
    return json.loads(Path(file).read_text())


@pytest.mark.parametrize(
    "task",
    ["segment", "pose", "classify", *(pytest.param(each, marks=pytest.mark.slow) for each in ("obb", *NEWER))],
)
def test_a_task_from_training_to_results(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not hasattr(tasks, NEWER.get(task, "BaseModel")):
        pytest.skip("this Ultralytics does not know the task")
    monkeypatch.chdir(tmp_path)
    data, model = write_task_data(tmp_path / "d", task), write_model(tmp_path, task)
    train = ["epochs=1", "batch=4", "subdivisions=2", "imgsz=64", "plots=False", "optimizer=SGD", "device=cpu"]
    run(capsys, "train", f"model={model}", f"data={data}", "name=t", *train)
    best = "model=runs/t/weights/best.pt"

    said = run(capsys, "val", best, f"data={data}", "split=test", "json=v.json", "project=p", "name=v", "device=cpu")
    figures = read("v.json")
    assert set(figures) == FIGURES[task] | ABOUT
    assert (figures["task"], figures["split"]) == (task, "test")
    assert "test: " in said
    assert Path("p/v").is_dir()
    for part in ("mask", "pose"):
        if part in figures:
            assert set(figures[part]) == BOXES

    images = data / "test" / "cat" if task == "classify" else data.parent / "images" / "test"
    run(
        capsys,
        "predict",
        best,
        f"source={images}",
        "json=p.json",
        "conf=0.0001",
        "max_det=2",
        "project=p",
        "device=cpu",
    )
    entries = read("p.json")
    assert len(entries) == len(list(images.iterdir())) <= SPLITS["test"]
    assert len(list(Path("p/predict").glob("*.jpg"))) == len(entries)
    for entry in entries:
        assert (entry["width"], entry["height"]) == (SIDE, SIDE)
        check_found(task, entry)


def check_found(task: str, entry: dict[str, Any]) -> None:
    shapes = {"segment": "polygon", "pose": "keypoints", "obb": "corners"}
    if task in shapes:
        assert entry["detections"]
        for found in entry["detections"]:
            assert set(found) == {"class", "name", "confidence", "xyxy", shapes[task]}
            lengths = {"pose": 3, "obb": 4}
            assert len(found[shapes[task]]) == lengths.get(task, len(found[shapes[task]]))
        assert len({each["confidence"] for each in entry["detections"]}) >= 1
    else:
        assert entry["detections"] == []
    if task == "classify":
        assert {each["name"] for each in entry["classes"]} == {"cat", "dog"}
        assert sum(each["confidence"] for each in entry["classes"]) == pytest.approx(1)
    elif task == "semantic":
        assert sum(each["share"] for each in entry["classes"]) == pytest.approx(1)
    elif task == "depth":
        assert entry["depth"]["min"] <= entry["depth"]["mean"] <= entry["depth"]["max"]


def test_classes_restrict_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ultralytics import YOLO

    monkeypatch.chdir(tmp_path)
    data = write_task_data(tmp_path / "d", "detect")
    model = YOLO(write_model(tmp_path, "detect"))
    model.model.names = {0: "cat", 1: "dog"}
    model.save("x.pt")
    for classes, names in (("1", {"dog"}), ("0,1", {"cat", "dog"})):
        usual = [f"source={data.parent / 'images' / 'val'}", "conf=0", "max_det=300", "save=False", "imgsz=64"]
        run(capsys, "predict", "model=x.pt", *usual, "json=p.json", f"classes={classes}", "device=cpu")
        assert {found["name"] for entry in read("p.json") for found in entry["detections"]} <= names
    run(capsys, "val", "model=x.pt", f"data={data}", "json=v.json", "classes=0", "imgsz=64", "device=cpu")
    assert set(read("v.json")["classes"]) == {"cat"}
    for command in ("val", "predict"):
        more = [f"data={data}"] if command == "val" else [f"source={data.parent / 'images' / 'val'}"]
        assert main([command, "model=x.pt", *more, "classes=0,7"]) == 2
        assert "classes=7: the network has 2 classes (0 to 1); give their numbers" in capsys.readouterr().err
