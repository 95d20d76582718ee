"""A checkpoint that is there is the one that is opened, whatever its name; one that is not is not looked for elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.utils import downloads

from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.cli import main
from yolo_subbatch.engine.darknet_trainer import DarknetTrainer
from yolo_subbatch.engine.keys import read_source
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.engine.opening import names_left_alone
from yolo_subbatch.errors import CfgError, SettingsError, WeightsError
from yolo_subbatch.settings.host_files import PUBLISHED

NAMES = (
    "yolov3-tiny.pt", "yolov3.pt", "yolov3-spp.pt", "yolov5s.pt", "yolov5n6.pt", "yolov3u", "yolo11n", "yolo11n.pt", "best",
    "best.PT", "best.bin", "it's.pt", 'a "b".pt', " best .pt ", "größe 数.pt", "50%25.pt", "a?b.pt", "a#b.pt", "~x.pt",
    "yolov5s.pt/best.pt", "yolov3-tiny/last.pt", "x.yaml", "x.cfg", "http:x.pt",
)  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.engine.conftest import cfg_text

    folder = tmp_path_factory.mktemp("saved")
    (folder / "tiny.cfg").write_text(cfg_text())
    model = Darknet(folder / "tiny.cfg")
    model.save_weights(folder / "tiny.weights")
    torch.save({"model": model.model, "ema": None, "train_args": {"imgsz": 64}}, folder / "tiny.pt")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*args: Any, **keywords: Any) -> None:
        raise AssertionError(f"a download is tried: {args} {keywords}")

    monkeypatch.setattr(downloads, "safe_download", refuse)
    monkeypatch.setattr(downloads, "get_github_assets", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(saved: Path, name: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(saved / "tiny.pt", path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_there_is_opened(saved: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(saved, name)
    model = Darknet(name)
    assert isinstance(model.model, DarknetModel)
    assert model.ckpt_path == model.overrides["model"] == model.model.pt_path == str(path)
    assert read_source({"model": name}, {}).heads[0].classes == 3
    if name == name.strip():
        assert main(["convert", f"model={name}", "to=out.weights"]) == 0, capsys.readouterr().err
        assert Path("out.weights").read_bytes()[20:] == (saved / "tiny.weights").read_bytes()[20:]


def test_a_link_is_followed(saved: Path) -> None:
    os.symlink(put(saved, "elsewhere/best.pt").absolute(), "yolov3-tiny.pt")
    assert Darknet("yolov3-tiny.pt").ckpt_path == "yolov3-tiny.pt"


def test_every_command_opens_it(saved: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(saved, "yolov3-tiny.pt")
    image = next((data.parent / "images" / "val").glob("*.jpg"))
    for line in (
        f"val data={data} name=v", f"map data={data} coco=False", f"predict source={image} name=p", "export to=x.onnx",
    ):  # fmt: skip
        command, *rest = line.split()
        usual = [] if command in {"export"} else ["device=cpu"]
        status = main([command, "model=yolov3-tiny.pt", *rest, *usual])
        assert status == 0, f"{line}: {capsys.readouterr()}"
    training = [f"data={data}", "epochs=1", "batch=4", "device=cpu", "plots=False", "project=it's", "name=t"]
    assert main(["train", "model=yolov3-tiny.pt", *training]) == 0, capsys.readouterr()
    assert Path("it's/t/weights/best.weights").is_file()


def test_a_trainer_alone_opens_it(saved: Path, data: Path, tmp_path: Path) -> None:
    put(saved, "yolov3-tiny.pt")
    given = {"model": "yolov3-tiny.pt", "data": str(data), "project": str(tmp_path), "epochs": 1, "device": "cpu"}
    trainer = DarknetTrainer(overrides=given)
    trainer.setup_model()
    theirs = Darknet(saved / "tiny.pt").model.state_dict()
    own = trainer.plain_model.state_dict()
    assert all(torch.equal(own[key], value) for key, value in theirs.items())


def test_blanks_around_a_name_and_the_home_folder(saved: Path, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    put(saved, "best.pt")
    assert Darknet("best.pt ").ckpt_path == "best.pt"
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))
    assert Darknet("~/best.pt").ckpt_path == str(here / "best.pt")
    assert main(["convert", "model=~/best.pt", "to=~/out.weights"]) == 0
    assert (here / "out.weights").is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("yolov3-tiny.pt", "no such file; Ultralytics' network of a similar name is yolov3-tinyu.pt"),
        ("yolov4-tiny.pt", "no such file"),
        ("yolo-obj_last.pt", "no such file; did you mean yolo-obj_best.pt?"),
        ("YOLO-obj_best.pt", "did you mean yolo-obj_best.pt?"),
        ("yolo-obj_best.tp.pt", "did you mean yolo-obj_best.pt?"),
        ("nowhere/best.pt", "no such file"),
        (".", "folder"),
    ],
)
def test_what_is_not_there_is_not_downloaded(
    saved: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(saved, "yolo-obj_best.pt")
    with pytest.raises((WeightsError, CfgError), match=words if name != "." else "folder"):
        Darknet(name)
    for command in ("val", "map", "predict", "export", "train", "convert to=x.weights"):
        first, *rest = command.split()
        assert main([first, f"model={name}", *rest]) == 2
        assert words in capsys.readouterr().err


def test_a_name_without_its_ending_is_answered_with_it(saved: Path) -> None:
    put(saved, "best.pt")
    assert main(["convert", "model=best", "to=x.weights"]) == 2
    with pytest.raises(CfgError, match=r"did you mean best\.pt"):
        Darknet("best")


def test_weights_are_told_from_checkpoints_by_what_they_hold(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(saved / "tiny.weights", "yolov3.pt")
    assert Darknet(saved / "tiny.cfg", weights="yolov3.pt").model.nc == 3
    assert main(["convert", f"cfg={saved / 'tiny.cfg'}", "weights=yolov3.pt", "to=again.weights"]) == 0
    put(saved, "best.weights")
    assert main(["convert", f"cfg={saved / 'tiny.cfg'}", "weights=best.weights", "to=x.weights"]) == 2
    assert "a checkpoint, not Darknet weights; give it as model=" in capsys.readouterr().err


def test_what_ultralytics_publishes_is_known_by_name() -> None:
    names = [name for name in downloads.GITHUB_ASSETS_NAMES if name.endswith(".pt")]
    assert names
    assert not [name for name in names if not PUBLISHED.fullmatch(name)]
    for name in ("yolov3.pt", "yolov3-tiny.pt", "yolov4.pt", "yolov7-tiny.pt", "yolo-obj.pt", "yolo_best.pt"):
        assert not PUBLISHED.fullmatch(name), "a name of the Darknet family"


def test_weights_and_a_trainer_are_found_by_a_name_of_a_download(saved: Path) -> None:
    file = put(saved, "yolov5s.pt")
    assert Darknet(saved / "tiny.cfg").load(file).ckpt_path == "yolov5s.pt"
    with pytest.raises(SettingsError, match=r"yolov5s.pt: a Darknet network, which SubbatchTrainer does not train"):
        SubbatchTrainer(overrides={"model": "yolov5s.pt", "data": "x.yaml"})
    with pytest.raises(WeightsError, match=r"other.pt: no such file"):
        Darknet(saved / "tiny.cfg").load("other.pt")
    with pytest.raises(SettingsError, match="resume=True: does not say which run; give its folder"):
        SubbatchTrainer(overrides={"resume": True})
    with pytest.raises(SettingsError, match="resume=True: does not say which run; give its folder"):
        Darknet(saved / "tiny.cfg").train(resume=True)


def test_trainings_that_overlap_put_ultralytics_back(saved: Path) -> None:
    original = downloads.attempt_download_asset
    first, second = names_left_alone(), names_left_alone()
    with first:
        second.__enter__()
    assert downloads.attempt_download_asset(put(saved, "yolov5s.pt")) == "yolov5s.pt", "the second goes on"
    second.__exit__(None, None, None)
    assert downloads.attempt_download_asset is original
