"""Trainings on data that lacks label files, or images to measure on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.errors import DataError, SettingsError
from yolo_subbatch.settings.label_lists import LIST

USUAL: dict[str, Any] = {"epochs": 1, "plots": False, "verbose": False, "workers": 0, "device": "cpu"}


@pytest.fixture
def lacking(data: Path, tmp_path: Path) -> Path:
    """The data set without the labels of two training images and one validation image; returns its folder."""
    folder = tmp_path / "shapes"
    shutil.copytree(data.parent, folder)
    for split, names in (("train", (2, 5)), ("val", (1,))):
        labels = sorted((folder / "labels" / split).glob("*.txt"))
        for index in names:
            labels[index].unlink()
    return folder


def listed(run: Path, split: str) -> list[str]:
    return (run / "data" / f"{split}.txt").read_text().splitlines()


@pytest.mark.parametrize(("keys", "seen"), [({"flavour": "alexeyab"}, 8), ({"missing_labels": "background"}, 10)])
def test_images_without_labels_are_left_out_or_count_as_background(
    lacking: Path, cfg: Path, tmp_path: Path, keys: dict[str, str], seen: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Darknet(cfg)
    model.train(data=str(lacking / "shapes.data"), project=str(tmp_path), name="run", **keys, **USUAL)
    assert model.trainer.seen == seen
    assert len(listed(tmp_path / "run", "train")) == seen
    assert len(listed(tmp_path / "run", "val")) == 4, "measuring, his Darknet counts it too"
    assert len((tmp_path / "run" / LIST).read_text().splitlines()) == 3
    said = capsys.readouterr()
    assert "train: 2 of 10 images have no label file and " in said.out + said.err


def test_pjreddies_flavour_refuses_them(lacking: Path, cfg: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 other image: no label file .* or give missing_labels=skip or background"):
        Darknet(cfg).train(data=str(lacking / "shapes.data"), project=str(tmp_path), name="run", **USUAL)


def test_a_yaml_can_skip_too_and_so_can_ultralytics_models(lacking: Path, tmp_path: Path) -> None:

    (tmp_path / "v8.yaml").write_text(V8_YAML)
    model = YOLO(tmp_path / "v8.yaml", task="detect")
    keys = {"imgsz": 64, "batch": 4, "subdivisions": 2, "missing_labels": "skip", **USUAL}
    model.train(trainer=SubbatchTrainer, data=str(lacking / "shapes.yaml"), project=str(tmp_path), name="run", **keys)
    assert model.trainer.seen == 8
    assert (len(listed(tmp_path / "run", "train")), len(listed(tmp_path / "run", "val"))) == (8, 3)


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("kind", ["data", "yaml"])
def test_without_validation_images_nothing_is_measured(data: Path, cfg: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "shapes"
    shutil.copytree(data.parent, folder)
    file = folder / f"shapes.{kind}"
    if kind == "data":
        file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("valid")))
    else:
        document = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**document, "val": "images/none"}))
    given = {} if kind == "data" else {"val": False}
    model = Darknet(cfg)
    keys = {**USUAL, "epochs": 2, "plots": True, **given}
    model.train(data=str(file), project=str(tmp_path), name="run", **keys)
    run = tmp_path / "run"
    assert model.trainer.update_index == 6
    header = (run / "results.csv").read_text().splitlines()[0]
    assert "metrics" not in header
    assert "train/box_loss" in header
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert not [event for event in events if event["type"] == "val"]
    assert events[-1]["type"] == "run_finished"
    assert not (run / "weights" / "best.weights").exists()
    last = torch.load(run / "weights" / "last.pt", weights_only=False)
    assert last["optimizer"] is None, "as Ultralytics leaves it"


def test_validation_that_is_asked_for_needs_its_images(data: Path, cfg: Path, tmp_path: Path) -> None:
    file = data.parent / "unmeasured.data"
    file.write_text("classes=3\ntrain=train.txt\n")
    with pytest.raises(DataError, match="no 'valid' list"):
        Darknet(cfg).train(data=str(file), val=True, project=str(tmp_path), name="run", **USUAL)


@pytest.mark.parametrize("kind", ["darknet", "host"])
def test_a_data_file_that_is_not_there_is_named(cfg: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    model, trainer = (Darknet(cfg), None) if kind == "darknet" else (YOLO(tmp_path / "v8.yaml"), SubbatchTrainer)
    with pytest.raises(DataError, match=r"^data=nope\.data: no such file; give a Darknet \.data"):
        model.train(trainer=trainer, data="nope.data", project=str(tmp_path / "runs"), batch=4, **USUAL)


def test_a_measurement_from_python_follows_the_flavour_and_the_key(lacking: Path, cfg: Path, tmp_path: Path) -> None:
    usual: dict[str, Any] = {"data": str(lacking / "shapes.data"), "plots": False, "workers": 0}
    usual["project"] = str(tmp_path)
    his = Darknet(cfg, flavour="alexeyab")
    counts = []
    for keys in ({}, {"missing_labels": "skip"}):
        his.val(name=f"val{len(counts)}", **usual, **keys)
        counts.append(len(listed(tmp_path / f"val{len(counts)}", "val")))
    assert counts == [4, 3]
    with pytest.raises(DataError, match=r"no label file .* give missing_labels=skip or background"):
        Darknet(cfg).val(**usual)
    with pytest.raises(SettingsError, match="missing_labels=no: unknown; use one of error, skip, background"):
        his.val(missing_labels="no", **usual)
