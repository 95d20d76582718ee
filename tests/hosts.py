"""What a user does, with the release of Ultralytics that comes first on the path; prints a line for each.

Started by ``tests/hosts.sh``; alone, it tries the release that is installed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML, cfg_text
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.cli import main
from yolo_subbatch.darknet.datafile import label_path
from yolo_subbatch.settings.host_files import release

CLOSE = 1e-5  # between weights that differ by rounding only
QUIET = {"device": "cpu", "plots": False, "verbose": False}


class Tries:
    """A tiny network on a tiny data set, used as people use them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.data = write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
        self.cfg, self.v8 = folder / "tiny.cfg", folder / "v8.yaml"
        self.cfg.write_text(cfg_text())
        self.v8.write_text(V8_YAML)
        self.best = self.runs / "s1" / "weights" / "best.pt"

    def command(self, name: str, *keys: str) -> None:
        """Run a command of ours; its messages belong into the log."""
        assert main([name, *keys, "device=cpu"]) == 0, f"{name}: exit status not 0"

    def _train(self, name: str, *keys: str) -> None:
        self.command(
            "train", f"cfg={self.cfg}", f"data={self.data}", f"project={self.runs}", f"name={name}", "epochs=2",
            "batch=4", "plots=False", *keys,
        )  # fmt: skip

    def train(self) -> str:
        self._train("s1", "subdivisions=1")
        weights = self.weights("s1")
        return f"6 updates, sum of the weights {float(np.abs(weights).sum()):.6f}"

    def subdivisions(self) -> str:
        self._train("s4", "subdivisions=4")
        apart = float(np.abs(self.weights("s1") - self.weights("s4")).max())
        assert apart < CLOSE, f"weights {apart:.1e} apart"
        return f"1 against 4: weights {apart:.1e} apart"

    def resume(self) -> str:
        def stop(trainer: object) -> None:
            trainer.recorder.interrupted = trainer.update_index == 4  # type: ignore[attr-defined]

        model = Darknet(self.cfg)
        model.add_callback("on_optimizer_step", stop)
        model.train(data=str(self.data), project=str(self.runs), name="cut", epochs=2, batch=4, subdivisions=1, **QUIET)
        before = self.weights("cut")
        self.command("train", f"resume={self.runs / 'cut'}")
        assert not np.array_equal(before, self.weights("cut"))
        assert np.array_equal(self.weights("cut"), self.weights("s1")), "not the weights of the run without a stop"
        return "stopped after update 4: the same bits as without"

    def labels(self) -> str:
        """Labels beside the images, where Ultralytics does not look."""
        folder = self.folder / "beside"
        folder.mkdir()
        lists = {}
        for split in ("train", "val"):
            for image in (self.runs / "s1" / "data" / f"{split}.txt").read_text().splitlines():
                for file in (Path(image), label_path(Path(image))):
                    shutil.copy(file, folder / f"{split}-{file.name}")
                lists[split] = [*lists.get(split, []), f"{split}-{Path(image).name}\n"]
            (folder / f"{split}.txt").write_text("".join(lists[split]))
        (folder / "obj.names").write_text("a\nb\nc\n")
        data, self.data = self.data, folder / "obj.data"
        self.data.write_text("classes=3\ntrain=train.txt\nvalid=val.txt\nnames=obj.names\n")
        self._train("beside", "subdivisions=1")
        self.data = data
        assert np.array_equal(self.weights("beside"), self.weights("s1")), "other weights than from labels/"
        return "beside the images: the same bits as from labels/"

    def val(self) -> str:
        found = self.folder / "val.json"
        self.command("val", f"model={self.best}", f"data={self.data}", f"project={self.runs}", f"json={found}")
        return f"mAP50 {json.loads(found.read_text())['map50']:.3f}"

    def predict(self) -> str:
        found = self.folder / "boxes.json"
        self.command("predict", f"model={self.best}", f"source={self.images}", f"json={found}", "conf=0.001")
        entries = json.loads(found.read_text())
        stock = YOLO(str(self.best)).predict(str(self.images), conf=0.001, verbose=False, device="cpu")
        assert [len(each["detections"]) for each in entries] == [len(each.boxes) for each in stock]
        return f"{len(entries)} images, as many boxes as with stock YOLO()"

    def export(self) -> str:
        self.command("export", f"model={self.best}", "dynamic=True")
        return "the file computes what the network does"

    def yolo(self) -> str:
        model = YOLO("yolov8n.yaml")
        lengths: list[int] = []
        model.add_callback("on_optimizer_step", lambda trainer: lengths.append(trainer.update_images))
        self._stock(model, "v8n", subdivisions=2)
        assert lengths == [4, 4, 2], lengths
        assert model.trainer.best.is_file()
        return "yolov8n: 3 updates, of 4, 4 and 2 images"

    def exact_norm(self) -> str:
        found = []
        for parts in (1, 4):
            model = YOLO(str(self.v8))
            self._stock(model, f"exact{parts}", subdivisions=parts, exact_norm=True, bn="frozen", warmup_epochs=1)
            found.append(torch.cat([each.flatten() for each in model.trainer.plain_model.parameters()]).detach())
        apart = float((found[0] - found[1]).abs().max())
        assert apart < CLOSE, f"weights {apart:.1e} apart"
        return f"1 against 4: weights {apart:.1e} apart"

    def contract(self) -> str:
        assert pytest.main(["-q", "-x", "tests/engine/test_contract.py"]) == 0
        return "tests/engine/test_contract.py passes"

    def _stock(self, model: YOLO, name: str, **keys: object) -> None:
        yaml = self.runs / "s1" / "data" / "data.yaml"
        model.train(
            trainer=SubbatchTrainer, data=str(yaml), project=str(self.runs), name=name, epochs=1, batch=4, imgsz=64,
            **QUIET, **keys,
        )  # fmt: skip

    @property
    def images(self) -> Path:
        """A folder with images."""
        listed = (self.runs / "s1" / "data" / "val.txt").read_text().splitlines()
        assert cv2.imread(listed[0]) is not None
        return Path(listed[0]).parent

    def weights(self, name: str) -> np.ndarray:
        """Return the weights after the last update of a run, without the file's header."""
        return np.fromfile(self.runs / name / "weights" / "last.weights", np.float32)[5:]


def run() -> int:
    """Try everything, print a table's rows, and return how much has failed."""
    torch.set_num_threads(1)
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        tries = Tries(Path(place))
        every: list[Callable[[], str]] = [
            tries.train, tries.subdivisions, tries.resume, tries.labels, tries.val, tries.predict, tries.export, tries.yolo,
            tries.exact_norm, tries.contract,
        ]  # fmt: skip
        for each in every:
            try:
                result = each()
            except Exception as error:
                failed += 1
                result = f"FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            print(f"| {release()} | {each.__name__} | {result} |", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(run())
