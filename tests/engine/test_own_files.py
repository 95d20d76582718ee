"""The files that a run leaves can be given wherever a file of their kind can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ultralytics import YOLO
from ultralytics.cfg import entrypoint

from tests.engine.conftest import V8_YAML, cfg_text
from yolo_subbatch import Darknet, SubbatchTrainer, cli
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import RunStarted, read_events
from yolo_subbatch.folder.resume import run_of

KEYS = ("batch", "subdivisions", "epochs", "imgsz", "jitter", "max_norm", "mosaic", "lr0", "weight_decay")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data) -> Path:
    """The folder of a run of each kind, ``darknet`` and ``host``."""
    place = tmp_path_factory.mktemp("place")
    (place / "tiny.cfg").write_text(cfg_text())
    (place / "v8.yaml").write_text(V8_YAML)
    common = {"epochs": 1, "batch": 4, "subdivisions": 2, "plots": False, "device": "cpu", "imgsz": 64, "max_norm": 7.0}
    common["project"] = str(place / "runs")
    Darknet(place / "tiny.cfg").train(data=str(data), name="darknet", jitter=0.1, mosaic=1, lr0=0.002, **common)
    yaml = str(data.with_suffix(".yaml"))
    YOLO(place / "v8.yaml").train(trainer=SubbatchTrainer, data=yaml, name="host", mosaic=0.5, lr0=0.01, **common)
    return place / "runs"


def asked(model) -> dict[str, object]:
    return {key: getattr(model.trainer.args, key, None) for key in KEYS}


def test_darknet_trains_again_with_the_args_of_a_run(runs, data):
    model = Darknet(runs.parent / "tiny.cfg")
    model.train(cfg=str(runs / "darknet" / "args.yaml"))
    wanted = (4, 2, 1, 64, 0.1, 7.0, 1, 0.002, 0.0005)
    assert tuple(asked(model).values()) == wanted
    assert Path(model.trainer.save_dir).parent == runs, "a new folder beside the first"
    assert model.trainer.save_dir.name not in {"darknet", "host"}


def test_a_key_given_beside_the_args_goes_first(runs, tmp_path):
    model = Darknet(runs.parent / "tiny.cfg")
    model.train(cfg=str(runs / "darknet" / "args.yaml"), subdivisions=4, lr0=0.003, project=str(tmp_path))
    assert (model.trainer.args.subdivisions, model.trainer.args.learning_rate) == (4, 0.003)
    assert Path(model.trainer.save_dir).parent == tmp_path


@pytest.mark.parametrize("run", ["host", "darknet"])
def test_yolo_trains_again_with_the_args_of_a_run(runs, run):
    trainer = SubbatchTrainer if run == "host" else None
    model = YOLO(runs.parent / "v8.yaml" if run == "host" else runs / "darknet" / "weights" / "best.pt")
    model.train(trainer=trainer, cfg=str(runs / run / "args.yaml"))
    found = asked(model)
    assert (found["subdivisions"], found["max_norm"], found["mosaic"]) == (2, 7.0, 0.5 if run == "host" else 1)
    assert Path(model.trainer.save_dir).parent == runs


def test_stock_ultralytics_reads_the_args_of_a_run(runs):
    before = (runs / "host" / "results.csv").read_bytes()
    entrypoint(f"train cfg={runs / 'host' / 'args.yaml'} name=stock")
    assert (runs / "stock" / "weights" / "best.pt").is_file()
    assert (runs / "host" / "results.csv").read_bytes() == before, "it has a folder of its own"


@pytest.mark.parametrize(
    ("run", "more", "parts"), [("darknet", [], 2), ("darknet", ["subdivisions=4", "lr0=.01"], 4), ("host", [], 2)]
)
def test_the_command_line_takes_the_args_of_a_run(runs, tmp_path, run, more, parts):
    words = ["train", f"cfg={runs / run / 'args.yaml'}", f"project={tmp_path}", "name=again", *more]
    assert cli.main(words) == 0
    started = next(event for event in read_events(tmp_path / "again" / "events.jsonl") if isinstance(event, RunStarted))
    assert started.subdivisions == parts
    settings = json.loads((tmp_path / "again" / "settings.json").read_text())
    assert settings["max_norm"] == 7.0
    assert cli.main(["train", f"cfg={tmp_path / 'again' / 'settings.json'}", "name=third"]) == 0


def test_a_cfg_is_no_file_of_keys(runs):
    with pytest.raises(SettingsError, match=r"tiny\.cfg: a file of keys in YAML is meant here.*Darknet\("):
        Darknet(runs.parent / "tiny.cfg").train(cfg=str(runs.parent / "tiny.cfg"))


def test_the_network_and_the_data_of_a_run_start_another(runs, tmp_path):
    folder = runs / "darknet"
    status = cli.main([
        "train", f"cfg={folder / 'weights/model.cfg'}", f"weights={folder / 'weights/last.weights'}", "epochs=1",
        f"data={folder / 'data/data.yaml'}", "device=cpu", f"project={tmp_path}", "plots=False",
    ])  # fmt: skip
    assert status == 0
    args = (tmp_path / "train" / "args.yaml").read_text()
    assert str(folder / "weights" / "last.weights") in args, "what it began from can be asked again"


def test_a_run_is_named_by_any_of_its_files(runs):
    files = [path for path in (runs / "darknet").rglob("*") if path.is_file()]
    assert {"args.yaml", "results.csv", "events.jsonl", "data.yaml", "best.pt", "model.cfg"} <= {
        each.name for each in files
    }
    assert {run_of(each).path for each in files} == {runs / "darknet"}
