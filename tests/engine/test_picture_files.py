"""Pictures of every format and name: the same ones for training, validation, Darknet's figures and the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML, cfg_text
from yolo_subbatch import Darknet, SubbatchTrainer, cli
from yolo_subbatch.darknet.pictures import check_pictures, is_picture
from yolo_subbatch.engine.darknet_data import DarknetDataset
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings.data_checks import pictures_in

#: Name in the list, and how the file is encoded.
KINDS = {
    "a.jfif": ".jpg", "b.ppm": ".ppm", "c.gif": ".gif", "no_ending": ".jpg", "d.JPG": ".jpg", "e.pgm": ".pgm",
    "f.dib": ".bmp", "g.sr": ".sr", "h.dat": ".png", "i.hdr": ".hdr", "j.jpg": ".ppm", "k.pam": ".pam", "l.PNG": ".png",
}  # fmt: skip
RAW = b"m\xe4\x85.jpg"  # a name that is not UTF-8


def encoded(ending: str, height: int = 48, width: int = 64) -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 1 if ending == ".pgm" else 3), np.uint8)
    there, data = cv2.imencode(ending, image)
    assert there
    return bytes(data)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .data file whose two lists hold every kind of picture, with a label each; one image is 8 pixels high."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "JPEGImages").mkdir()
    (folder / "labels").mkdir()
    named = [name.encode() for name in KINDS] + [RAW, b"small.png"]
    for name, ending in zip(named, [*KINDS.values(), ".jpg", ".png"], strict=True):
        file = folder / "JPEGImages" / os.fsdecode(name)
        file.write_bytes(encoded(ending, 8 if name == b"small.png" else 48))
        (folder / "labels" / file.name).with_suffix(".txt").write_text("1 .5 .5 .4 .4\n")
    (folder / "list.txt").write_bytes(b"\n".join(b"JPEGImages/" + name for name in named))
    (folder / "obj.names").write_text("x\ny\nz\n")
    path = folder / "obj.data"
    path.write_text("classes = 3\ntrain = list.txt\nvalid = list.txt\nnames = obj.names\n")
    return path


@pytest.fixture
def network(tmp_path: Path) -> tuple[str, str]:
    """A cfg and its weights."""
    (tmp_path / "tiny.cfg").write_text(cfg_text())
    Darknet(tmp_path / "tiny.cfg").save_weights(tmp_path / "tiny.weights")
    return str(tmp_path / "tiny.cfg"), str(tmp_path / "tiny.weights")


COUNT = len(KINDS) + 2
SHORT: dict[str, Any] = {"epochs": 1, "batch": 8, "workers": 0, "plots": False, "verbose": False, "device": "cpu"}


def test_a_darknet_network_trains_and_validates_on_every_picture(data, network, tmp_path):
    model = Darknet(network[0])
    seen = []
    model.add_callback("on_train_epoch_end", lambda trainer: seen.append(trainer.seen))
    for _ in range(2):  # the second time from the cache of labels
        model.train(data=str(data), project=str(tmp_path), **SHORT)
    assert seen == [COUNT, COUNT]
    assert len(model.trainer.test_loader.dataset) == COUNT
    assert sum(len(label["cls"]) for label in model.trainer.train_loader.dataset.labels) == COUNT


def test_a_network_of_ultralytics_trains_on_every_picture_of_a_data_file(data, tmp_path):
    (tmp_path / "net.yaml").write_text(V8_YAML)
    model = YOLO(str(tmp_path / "net.yaml"))
    model.train(data=str(data), trainer=SubbatchTrainer, imgsz=64, project=str(tmp_path), **SHORT)
    assert model.trainer.seen == COUNT
    assert len(model.trainer.test_loader.dataset) == COUNT


def test_both_methods_of_map_measure_the_same_pictures(data, network, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    counts = []
    read = DarknetDataset.get_labels
    monkeypatch.setattr(DarknetDataset, "get_labels", lambda self: counts.append(len(found := read(self))) or found)
    assert cli.main(["detector", "map", str(data), *network, "-nogpu"]) == 0
    assert f"unique_truth_count = {COUNT}" in capfd.readouterr().out
    assert counts == [COUNT]
    assert cli.main(["detector", "recall", str(data), *network, "-nogpu"]) == 0
    assert f"{COUNT - 1:5d}" in capfd.readouterr().err.splitlines()[-1]
    assert cli.main(["detector", "valid", str(data), *network, "-nogpu"]) == 0
    assert b"\nm\xe4\x85 " in (tmp_path / "results/comp4_det_test_x.txt").read_bytes(), "a name keeps its bytes"
    anchors = ["anchors", f"data={data}", "num=1", "imgsz=64"]
    assert cli.main(anchors) == 0


def test_a_yaml_names_folders_whose_pictures_are_chosen_by_content_too(data, network, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "labels").mkdir()
    for name, ending in {"a.jfif": ".jpg", "b": ".ppm", "c.jpg": ".jpg"}.items():
        (folder / name).write_bytes(encoded(ending))
        (tmp_path / "labels" / name).with_suffix(".txt").write_text("0 .5 .5 .4 .4\n")
    (folder / "notes.txt").write_text("P6 is no picture\n")
    (folder / "notes").write_text("neither is this\n")
    (folder / "._c.jpg").write_bytes(b"of another system")
    description = tmp_path / "d.yaml"
    description.write_text("train: images\nval: images\nnames: [x, y, z]\n")
    model = Darknet(network[0])
    model.train(data=str(description), project=str(tmp_path), **SHORT)
    assert model.trainer.seen == 3
    assert [each.name for each in pictures_in(folder)] == ["a.jfif", "b", "c.jpg"]


@pytest.mark.parametrize("command", ["train", "val", "detector map", "anchors"])
def test_files_that_are_no_pictures_are_named_together(data, network, tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for name in ("good.png", "text.jpg", "empty.png", "more.bin"):
        (tmp_path / name).write_bytes({"good.png": encoded(".png"), "empty.png": b""}.get(name, b"no picture"))
        (tmp_path / name).with_suffix(".txt").touch()
    (tmp_path / "list.txt").write_text("good.png\ntext.jpg\nempty.png\nmore.bin\n")
    (tmp_path / "obj.data").write_text("classes = 3\ntrain = list.txt\nvalid = list.txt\n")
    cfg, weights = network
    calls = {
        "train": ["train", f"cfg={cfg}", "data=obj.data", "epochs=1"],
        "val": ["val", f"cfg={cfg}", f"weights={weights}", "data=obj.data"],
        "detector map": ["detector", "map", "obj.data", cfg, weights],
        "anchors": ["anchors", "data=obj.data", "num=2", "imgsz=64"],
    }
    assert cli.main(calls[command]) == 2
    told = capsys.readouterr().err
    assert "list.txt: these 3 are no pictures that can be read: " in told
    assert all(f"{name}" in told for name in ("text.jpg", "empty.png", "more.bin"))
    assert "good.png" not in told
    assert "Traceback" not in told
    assert not (tmp_path / "runs" / "train" / "weights").exists()


def test_a_picture_that_breaks_off_in_its_head_is_named_before_the_first_update(data, tmp_path, network, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(".png") if name == "a.png" else encoded(".png")[:30])
        (tmp_path / name).with_suffix(".txt").write_text("0 .5 .5 .4 .4\n")
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    (tmp_path / "obj.data").write_text("classes = 3\ntrain = list.txt\nvalid = list.txt\n")
    with pytest.raises(DataError, match=r"obj\.data: this is no picture that can be read: .*b\.png; replace"):
        Darknet(network[0]).train(data="obj.data", project=str(tmp_path), **SHORT)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pam", ".tiff", ".webp", ".avif", ".sr",
                                    ".hdr", ".pfm"])  # fmt: skip
def test_what_opencv_writes_begins_as_a_picture(tmp_path, ending):
    file = tmp_path / "any name"
    file.write_bytes(encoded(ending))
    assert cv2.haveImageReader(str(file))
    assert is_picture(file)


def test_a_check_sees_that_a_file_has_changed(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded(".png"))
    check_pictures([file], "list.txt")
    file.write_bytes(b"text")
    with pytest.raises(DataError, match=r"list\.txt: this is no picture"):
        check_pictures([file], "list.txt")
    for text in (b"", b"BMW is a car and no bitmap", b"P6", b"path/to/x.jpg"):
        file.write_bytes(text)
        assert not is_picture(file)
    assert not is_picture(tmp_path)
