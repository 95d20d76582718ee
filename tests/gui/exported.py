"""A checkpoint to export, runs that have left it, and what is asked of their exports."""

from __future__ import annotations

from pathlib import Path

from tests.engine.conftest import cfg_text
from tests.gui.run_files import started, step, write
from yolo_subbatch import cli
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.darknet import Network, read_cfg, save_weights
from yolo_subbatch.folder.events import RunFinished
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.train_settings import TrainSettings


def make_checkpoint(folder: Path) -> Path:
    """Make a folder with a cfg, a small data set and a checkpoint, by the command line."""
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    save_weights(Network(read_cfg(folder / "tiny.cfg")), folder / "tiny.weights")
    files = {"cfg": "tiny.cfg", "weights": "tiny.weights", "to": "tiny.pt"}
    assert cli.main(["convert", *(f"{key}={folder / name}" for key, name in files.items())]) == 0
    return folder


def ended_run(trained: Path, name: str, *kept: str) -> RunFolder:
    """Make a run in the working directory that has ended, with checkpoints."""
    folder = RunFolder.create("runs", name)
    folder.write_settings(TrainSettings(cfg="tiny.cfg", data=str(trained / "shapes" / "shapes.data")))
    write(folder, started(2, device="cpu"), step(2), RunFinished(status="completed", step=2))
    folder.weights.mkdir()
    for file in kept or ("best.pt", "last.pt"):
        (folder.weights / file).write_bytes((trained / "tiny.pt").read_bytes())
    (folder.weights / "model.cfg").write_text((trained / "tiny.cfg").read_text())
    return folder


def asked(**settings: object) -> ExportSettings:
    return ExportSettings(**{"model": "runs/done/weights/best.pt", "to": "runs/done/weights/best.onnx", **settings})
