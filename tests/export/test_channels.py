"""Exported files of networks with one, four and five channels: the gate, infer, and Triton's description."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from tests.engine.conftest import cfg_text
from yolo_subbatch import Darknet
from yolo_subbatch.darknet.channels import with_channels
from yolo_subbatch.export import infer
from yolo_subbatch.export.triton import write_repository
from yolo_subbatch.settings.commands import TritonSettings


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Two pictures in colours, one of them with opacity."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, channels in (("a.png", 4), ("b.jpg", 3)):
        small = rng.integers(0, 256, (6, 8, channels)).astype(np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(small, (80, 60), interpolation=cv2.INTER_NEAREST))
    return folder


def network(folder: Path, channels: int) -> Darknet:
    path = folder / f"c{channels}.cfg"
    path.write_text(cfg_text().replace("channels=3", f"channels={channels}"))
    return Darknet(path)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("keys", [{"dynamic": True}, {"preprocess": True, "nms": True, "conf": 0.01}], ids=str)
def test_infer_finds_what_predict_finds(channels, keys, images, tmp_path):
    model = network(tmp_path, channels)
    file = model.export(to=str(tmp_path / "x.onnx"), **keys)
    about = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert about["channels"] == str(channels)
    kind = {1: "grey", 4: "bgra"}[channels]
    assert about["ysb.preprocess"] == (f"uint8 nhwc {kind}" if "preprocess" in keys else f"float32 nchw {kind} 0-1")
    yolo = infer.OnnxYolo(file, "cpu", conf=0.01, batch=2 if "dynamic" in keys else None)
    assert yolo.about.channels == channels
    for found in yolo.predict(images, keep=True):
        # A file of fixed size pads to all of it, as infer does with it.
        wanted = model.predict(found.path, conf=0.01, rect="dynamic" in keys, verbose=False)[0].boxes
        assert len(found) == len(wanted) > 0
        assert np.allclose(found.scores, wanted.conf.numpy(), atol=1e-4)
        assert np.allclose(np.sort(found.boxes, 0), np.sort(wanted.xyxy.numpy(), 0), atol=0.01)
        assert found.drawn().shape == (60, 80, 3)


def test_arrays_of_any_channels_are_brought_to_the_models(tmp_path):
    file = network(tmp_path, 1).export(to=str(tmp_path / "x.onnx"))
    yolo = infer.OnnxYolo(file, "cpu", conf=0.01)
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    colours = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    both = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA)
    found = yolo.detect([grey, grey[..., None], colours, both])
    assert len(found[0]) > 0
    assert all(np.allclose(each.boxes, found[0].boxes) for each in found)
    assert "has 5 channels, the model takes 1" in str(yolo.detect([np.zeros((64, 64, 5), np.uint8)])[0].error)


def test_images_are_read_alike_by_predict_and_infer(images, tmp_path):
    from yolo_subbatch.engine.image_channels import read_image

    rng = np.random.default_rng(1)
    pages = [rng.integers(0, 256, (20, 30)).astype(np.uint8) for _ in range(5)]
    cv2.imwritemulti(str(tmp_path / "bands.tif"), pages)
    for channels in (1, 3, 4):
        for file in sorted(images.iterdir()):
            assert (infer.read_image(str(file), channels) == read_image(file, channels)).all(), (file, channels)
    assert (infer.read_image(str(tmp_path / "bands.tif"), 5) == np.stack(pages, 2)).all()
    assert (read_image(tmp_path / "bands.tif", 5) == np.stack(pages, 2)).all()


@pytest.mark.parametrize("wanted", [1, 3, 4])
@pytest.mark.parametrize("found", [1, 2, 3, 4])
def test_infer_brings_images_to_channels_as_the_package_does(found, wanted):
    image = np.random.default_rng(found).integers(0, 256, (7, 5, found)).astype(np.uint8)
    ours = infer.with_channels(image, wanted)
    assert ours.shape == (7, 5, wanted)
    assert np.array_equal(ours, with_channels(image, wanted))
    if found == 1:
        assert np.array_equal(infer.with_channels(image[..., 0], wanted), ours)
    for rule in (infer.with_channels, with_channels):
        with pytest.raises(ValueError, match="5 channels"):
            rule(np.zeros((7, 5, 5), np.uint8), wanted)


def test_a_server_is_told_the_channels(tmp_path):
    file = network(tmp_path, 1).export(to=str(tmp_path / "x.onnx"), dynamic=True)
    folder = write_repository(TritonSettings(model=file, out=str(tmp_path / "models"), provider="cpu"))
    text = (folder / "config.pbtxt").read_text()
    assert "dims: [1, -1, -1]" in text
    assert "dims: [1, 64, 64]" in text  # the warm-up


def test_eight_bits_are_calibrated_on_grey_images(squares, tmp_path):
    text = (squares / "squares.cfg").read_text().replace("channels=3", "channels=1")
    (tmp_path / "grey.cfg").write_text(text)
    lines: list[str] = []
    from yolo_subbatch.darknet import read_cfg
    from yolo_subbatch.engine.model import load_darknet_weights
    from yolo_subbatch.export.onnx import OnnxExporter
    from yolo_subbatch.settings.commands import ExportSettings

    # The sum of a colour network's weights: what it computes from the pictures in grey, where it still finds squares.
    model = load_darknet_weights(read_cfg(tmp_path / "grey.cfg"), squares / "squares.weights", partial=True)
    settings = ExportSettings(int8=True, data=str(squares / "squares.data"), calibration=8)
    file = OnnxExporter(model.network, {0: "blue", 1: "yellow"}, settings, lines.append).export(tmp_path / "x.onnx")
    assert any("mAP50-95" in line for line in lines)
    assert onnx.load(file).graph.input[0].type.tensor_type.shape.dim[1].dim_value == 1
