"""Trainings, figures and predictions of networks with one, four and five channels, end to end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML, cfg_text
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.darknet import Network, load_weights, read_cfg, save_weights
from yolo_subbatch.engine.darknet_detections import Detector, network_input
from yolo_subbatch.engine.darknet_map import run_map
from yolo_subbatch.engine.detector_commands import run_recall, run_valid
from yolo_subbatch.engine.image_channels import read_image
from yolo_subbatch.engine.inference import for_picture
from yolo_subbatch.errors import DataError, SettingsError, WeightsError
from yolo_subbatch.settings.commands import MapSettings, PredictSettings, ValSettings

QUIET = {"plots": False, "verbose": False, "workers": 0, "exist_ok": True}


def write_cfg(folder: Path, channels: int) -> Path:
    path = folder / f"c{channels}.cfg"
    path.write_text(cfg_text().replace("channels=3", f"channels={channels}"))
    return path


def write_yaml(data: Path, folder: Path, line: str) -> Path:
    """Write the built-in data set as an Ultralytics description of its own place, with one more line."""
    path = folder / "d.yaml"
    path.write_text(f"path: {data.parent}\n{data.with_suffix('.yaml').read_text()}\n{line}\n")
    return path


@pytest.fixture(scope="module", params=[1, 4])
def trained(request, data, tmp_path_factory, without_figures) -> tuple[int, Path]:
    """The number of channels, and the weights folder of a training of two updates in two parts, with everything on."""
    channels, folder = request.param, tmp_path_factory.mktemp("run")
    model = Darknet(write_cfg(folder, channels))
    model.train(
        data=str(data), max_batches=2, batch=4, subdivisions=2, project=str(folder), mosaic=1, blur=3,
        gaussian_noise=10, **(QUIET | {"plots": True}),
    )  # fmt: skip
    return channels, folder / "train" / "weights"


def picture_of(data: Path) -> Path:
    return sorted((data.parent / "images" / "val").iterdir())[0]


@pytest.mark.parametrize("channels", [1, 4])
def test_parts_do_not_change_what_is_learnt(channels, data, tmp_path):
    cfg, found = write_cfg(tmp_path, channels), []
    for parts in (1, 2):
        model = Darknet(cfg)
        place = tmp_path / str(parts)
        model.train(data=str(data), max_batches=2, batch=4, subdivisions=parts, project=str(place), val=False, **QUIET)
        network = Network(read_cfg(cfg))
        load_weights(network, place / "train" / "weights" / "last.weights")
        assert model.trainer.validator.data["channels"] == channels  # of the best weights, at the end
        found.append(network.layers[0].conv.weight)
    assert found[0].shape[1] == channels
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_a_run_leaves_pictures_and_weights_of_its_channels(trained):
    channels, weights = trained
    cfg = read_cfg(weights / "model.cfg")
    assert cfg.net.channels == channels
    load_weights(Network(cfg), weights / "last.weights")
    for name in ("train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"):
        assert cv2.imread(str(weights.parent / name)) is not None, name


def test_pictures_of_images_with_opacity_have_their_colours():
    batch = torch.tensor([10.0, 20.0, 30.0, 255.0]).view(1, 4, 1, 1)  # blue first
    assert for_picture({"img": batch})["img"].flatten().tolist() == [30, 20, 10, 255]
    assert for_picture({"img": batch[:, :1]})["img"].flatten().tolist() == [10]


def test_every_kind_of_image_is_brought_to_the_networks_channels(trained, data):
    channels, weights = trained
    model, file = Darknet(weights / "best.pt"), picture_of(data)
    colours = cv2.imread(str(file))
    grey = read_image(file, 1)
    both = np.dstack((colours, np.full(grey.shape, 255, np.uint8)))
    own = grey if channels == 1 else both
    keywords = {"conf": 0.001, "verbose": False, "imgsz": 64}
    wanted = model.predict(str(file), **keywords)[0].boxes.data
    assert len(wanted)
    tensor = torch.from_numpy(own.transpose(2, 0, 1)[None].copy()).float() / 255
    rgba = Image.fromarray(cv2.cvtColor(both, cv2.COLOR_BGRA2RGBA))
    exact = [own, [str(file)], tensor, rgba if channels == 4 else Image.fromarray(grey[..., 0])]
    exact += [grey[..., 0]] if channels == 1 else [colours]
    for source in exact:
        found = model.predict(source, **keywords)[0]
        assert torch.allclose(found.boxes.data, wanted, atol=1e-4), type(source)
        assert found.plot().shape[2] == 3
    for source in (grey[..., 0], grey, colours, both, rgba, Image.fromarray(grey[..., 0])):
        assert len(model.predict(source, **keywords)[0].boxes)
    stock = YOLO(weights / "best.pt").predict(own, **keywords)[0].boxes.data
    assert torch.allclose(stock, wanted, atol=1e-4)
    for fit in ("darknet", "stretch"):
        assert len(model.predict(str(file), letterbox=fit, **keywords)[0].boxes)


def test_opacity_is_used(tmp_path):
    model = Darknet(write_cfg(tmp_path, 4))
    image = np.full((64, 64, 4), 200, np.uint8)
    other = image.copy()
    other[..., 3] = 0
    for number, each in enumerate((image, other)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), each)
    first, second = (model.predict(tmp_path / f"{number}.png", conf=0.0, verbose=False)[0] for number in (0, 1))
    assert first.boxes.data.tolist() != second.boxes.data.tolist()
    rgba = Image.fromarray(cv2.cvtColor(other, cv2.COLOR_BGRA2RGBA))
    assert torch.equal(model.predict(rgba, conf=0.0, verbose=False)[0].boxes.data, second.boxes.data)


def test_darknets_commands_read_the_same_images(trained, data, tmp_path, monkeypatch, capsys):
    channels, weights = trained
    monkeypatch.chdir(tmp_path)
    source = {"cfg": str(weights / "model.cfg"), "weights": str(weights / "best.weights")}
    detector = Detector(PredictSettings(**source, letterbox="stretch"))
    (found,) = detector.find([picture_of(data)], 0.001)
    assert found.image.shape[2] == channels
    pixels, _ = network_input(found.image, (64, 64), letter=False)
    if channels == 4:
        assert (pixels[3] == 1).all()
        assert torch.equal(pixels[:3], network_input(cv2.imread(str(picture_of(data))), (64, 64), letter=False)[0])
    figures = run_map(MapSettings(**source, data=str(data), project=str(tmp_path), coco=True))
    assert figures["detections"] > 0
    assert "coco" in figures
    run_valid(ValSettings(**source, data=str(data)))
    assert run_recall(ValSettings(**source, data=str(data)), lambda text: None)[1] > 0
    assert "mean average precision" in capsys.readouterr().out


def test_debians_darknet_finds_the_same_in_grey_files(data, tmp_path, monkeypatch):
    """pjreddie's Darknet opens every file in colours, and gives the first of them to a network with one channel."""
    darknet = shutil.which("darknet")
    if darknet is None:
        pytest.skip("Darknet is not installed here")
    monkeypatch.chdir(tmp_path)
    cfg = write_cfg(tmp_path, 1)
    cfg.write_text(cfg.read_text().replace("batch=4", "batch=1"))
    torch.manual_seed(0)
    save_weights(Network(read_cfg(cfg)), "x.weights")
    for file in sorted((data.parent / "images" / "val").iterdir()):
        cv2.imwrite(str(tmp_path / f"{file.stem}.png"), read_image(file, 1))
    (tmp_path / "valid.txt").write_text("".join(f"{each}\n" for each in sorted(tmp_path.glob("*.png"))))
    shutil.copy(data.with_suffix(".names"), "x.names")
    found = {}
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
        Path("x.data").write_text(f"classes=3\ntrain=valid.txt\nvalid=valid.txt\nnames=x.names\nresults={name}\n")
        if name == "theirs":
            subprocess.run([darknet, "detector", "valid", "x.data", cfg, "x.weights"], check=True, capture_output=True)
        else:
            run_valid(ValSettings(cfg=str(cfg), weights="x.weights", data="x.data", letterbox="darknet"))
        lines = "".join(each.read_text() for each in sorted((tmp_path / name).iterdir())).split("\n")
        found[name] = sorted(line.split() for line in lines if line)
    assert len(found["ours"]) == len(found["theirs"]) > 100
    for ours, theirs in zip(found["ours"], found["theirs"], strict=True):
        assert ours[0] == theirs[0]
        assert np.allclose(np.array(ours[1:], float), np.array(theirs[1:], float), atol=2e-3)


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_of_colours_start_a_training_and_nothing_else(channels, data, tmp_path, caplog):
    save_weights(Network(read_cfg(write_cfg(tmp_path, 3))), tmp_path / "colours.conv.4", stop=4)
    save_weights(Network(read_cfg(write_cfg(tmp_path, 3))), tmp_path / "colours.weights")
    cfg = write_cfg(tmp_path, channels)
    caplog.set_level("INFO", "yolo_subbatch")
    for name in ("colours.conv.4", "colours.weights"):
        model = Darknet(cfg, weights=tmp_path / name)
        assert model.network.layers[0].conv.weight.shape[1] == channels
    assert "its first layer reads 3 channels" in caplog.text
    with pytest.raises(WeightsError, match=f"channels=3, .*c{channels}.cfg:2 has {channels}"):
        Detector(PredictSettings(cfg=str(cfg), weights=str(tmp_path / "colours.weights")))


@pytest.mark.parametrize(("channels", "declared"), [(1, 3), (3, 1), (4, 1)])
def test_data_of_other_channels_is_refused_naming_both_files(channels, declared, data, tmp_path):
    cfg, path = write_cfg(tmp_path, channels), write_yaml(data, tmp_path, f"channels: {declared}")
    model = Darknet(cfg)
    text = rf"d\.yaml: channels: {declared} .*c{channels}\.cfg has channels={channels}"
    with pytest.raises(SettingsError, match=text):
        model.train(data=str(path), max_batches=1, project=str(tmp_path), **QUIET)
    with pytest.raises(SettingsError, match=text):
        model.val(data=str(path), project=str(tmp_path), plots=False)


def test_the_keys_of_colours_are_named_for_grey_images(data, tmp_path, caplog):
    caplog.set_level("INFO", "yolo_subbatch")
    model = Darknet(write_cfg(tmp_path, 1))
    model.train(data=str(data), max_batches=1, project=str(tmp_path), val=False, **QUIET)
    assert "not applied: hue, saturation (channels=1: grey images have none)" in caplog.text


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_opacity_is_kept_in_caches(cache, data, tmp_path):
    shutil.copytree(data.parent, tmp_path / "own")
    model = Darknet(write_cfg(tmp_path, 4))
    own = tmp_path / "own" / data.name
    model.train(data=str(own), max_batches=2, batch=4, cache=cache, project=str(tmp_path), **QUIET)
    kept = sorted((tmp_path / "own").rglob("*.npy"))
    assert bool(kept) == (cache == "disk")
    assert all(np.load(each).shape[2] == 4 for each in kept)


@pytest.fixture
def bands(data, tmp_path) -> Path:
    """The data set as TIFF files of five pages."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for file in sorted((data.parent / "images" / split).iterdir()):
            image = cv2.imread(str(file))
            pages = [np.ascontiguousarray(np.roll(image[..., index % 3], index, 1)) for index in range(5)]
            cv2.imwritemulti(str(tmp_path / "images" / split / f"{file.stem}.tif"), pages)
            label = data.parent / "labels" / split / f"{file.stem}.txt"
            shutil.copy(label, tmp_path / "labels" / split)
    path = tmp_path / "bands.yaml"
    names = data.with_suffix(".names").read_text().split()
    path.write_text(f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames: {names}\nchannels: 5\n")
    return path


def test_bands_of_a_tiff_are_channels_and_other_files_are_named(bands, data, tmp_path):
    model = Darknet(write_cfg(tmp_path, 5))
    model.train(data=str(bands), max_batches=2, batch=4, subdivisions=2, project=str(tmp_path), **QUIET)
    assert len(model.predict(tmp_path / "images" / "val", conf=0.001, verbose=False)) == 4
    with pytest.raises(DataError, match=r"an image of 3 channels, the network takes 5"):
        model.predict(picture_of(data), verbose=False)
    with pytest.raises(DataError, match=r"10 of 10 images have not 5 channels.*\(3\)"):
        Darknet(write_cfg(tmp_path, 5)).train(data=str(data), max_batches=1, project=str(tmp_path), **QUIET)


def test_a_model_of_ultralytics_trains_on_grey_images(data, tmp_path):
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    model = YOLO(tmp_path / "v8.yaml")
    model.train(
        trainer=SubbatchTrainer, data=str(write_yaml(data, tmp_path, "channels: 1")), imgsz=64, epochs=1, batch=4,
        subdivisions=2, project=str(tmp_path), **QUIET,
    )  # fmt: skip
    assert next(model.model.parameters()).shape[1] == 1
    assert len(model.predict(picture_of(data), verbose=False)) == 1
