"""Darknet networks as Ultralytics models: weights, heads, checkpoints, shapes."""

from __future__ import annotations

import io
import math
import pickle
import threading
from collections import Counter
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO

from yolo_subbatch import Darknet
from yolo_subbatch.darknet import Network, geometry, load_weights, parse_cfg, parser, read_cfg, save_weights
from yolo_subbatch.darknet.geometry import with_classes
from yolo_subbatch.darknet.weights_header import Header, read_header
from yolo_subbatch.engine.convert import run_conversion
from yolo_subbatch.engine.inference import DarknetValidator
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.engine.training_run import run_training
from yolo_subbatch.errors import CfgError, SettingsError, WeightsError
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.checks import raise_errors
from yolo_subbatch.settings.commands import ConvertSettings
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate

from .conftest import cfg_text

QUIET = {"plots": False, "device": "cpu", "epochs": 1, "batch": 4, "subdivisions": 2}


@pytest.fixture
def trained(cfg_bn, data, tmp_path):
    model = Darknet(cfg_bn)
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"))
    return model


def weights_dir(model) -> Path:
    return Path(model.trainer.save_dir) / "weights"


def test_a_run_leaves_checkpoints_and_darknet_files(trained):
    folder = weights_dir(trained)
    assert {each.name for each in folder.iterdir()} == {
        "last.pt", "best.pt", "last.weights", "best.weights", "model.cfg", "state.pt",
    }  # fmt: skip
    network = Network(read_cfg(folder / "model.cfg"))
    header = load_weights(network, folder / "last.weights")
    assert header.seen == 10
    live = trained.trainer.plain_model.network.state_dict()
    assert all(
        torch.equal(value, live[name]) for name, value in network.state_dict().items() if "num_batches" not in name
    )
    load_weights(network, folder / "best.weights")
    ema = trained.trainer.ema.ema.network.state_dict()
    assert all(torch.allclose(v, ema[k]) for k, v in network.state_dict().items() if "num_batches" not in k)
    assert network.cfg.net.max_batches == 3


def test_the_checkpoint_opens_here_and_in_stock_ultralytics(trained, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = weights_dir(trained) / "best.pt"
    ours = Darknet(path).predict(image, conf=0.0001, imgsz=64, verbose=False)[0].boxes.data
    stock = YOLO(path).predict(image, conf=0.0001, imgsz=64, verbose=False)[0].boxes.data
    assert len(ours) > 0
    assert torch.equal(ours, stock)
    assert Darknet(path).names == {0: "circle", 1: "square", 2: "triangle"}


def test_a_checkpoint_trains_on(trained, data, tmp_path):
    model = Darknet(weights_dir(trained) / "last.pt")
    start = deepcopy(model.network.state_dict())
    first = {}
    model.add_callback(
        "on_train_start", lambda trainer: first.update(deepcopy(trainer.plain_model.network.state_dict()))
    )
    model.train(**QUIET, data=str(data), project=str(tmp_path / "more"))
    assert all(torch.equal(first[name], value) for name, value in start.items())


def test_safe_loading_accepts_our_classes(trained):
    checkpoint = torch.load(weights_dir(trained) / "best.pt", weights_only=False)
    buffer = io.BytesIO()
    torch.save({"ema": checkpoint.get("ema") or checkpoint["model"]}, buffer)
    buffer.seek(0)
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(buffer)
    assert not [name for name in unsafe if name.startswith("yolo_subbatch")]


def test_copies_share_nothing_and_keep_their_layers_together(cfg):
    model = DarknetModel(read_cfg(cfg))
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copy.network.layers is copy.model
        assert copy.model is not model.model
        with torch.no_grad():
            copy.model[0].conv.weight.zero_()
        assert model.model[0].conv.weight.abs().sum() > 0


def test_half_precision_keeps_the_anchors(cfg):
    text = cfg_text().replace("28,28", "28.3333,1701.7")
    model = DarknetModel(parse_cfg(text)).half()
    assert model.model[-1].anchors.dtype == torch.float32
    assert model.model[4].conv.weight.dtype == torch.float16
    wanted = torch.tensor([28.3333, 1701.7])
    assert torch.equal(next(h for h in model.network.heads if len(h.anchors) == 2).anchors[1], wanted)


def test_fusing_changes_no_result(cfg_bn):
    model = DarknetModel(read_cfg(cfg_bn)).eval()
    for layer in model.model:
        if isinstance(getattr(layer, "bn", None), torch.nn.BatchNorm2d):
            layer.bn.running_mean.uniform_(-0.2, 0.2)
            layer.bn.running_var.uniform_(0.5, 2)
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        before = model(image)[0]
        after = deepcopy(model).fuse()(image)[0]
    assert torch.allclose(before, after, atol=1e-3, rtol=1e-4)


def counted(monkeypatch: pytest.MonkeyPatch, *places: tuple[object, str]) -> Counter[str]:
    """Count the calls of functions from now on."""
    counts: Counter[str] = Counter()

    def counting(function, name):
        def call(*args, **keywords):
            counts[name] += 1
            return function(*args, **keywords)

        return call

    for place, name in places:
        monkeypatch.setattr(place, name, counting(getattr(place, name), name))
    return counts


def test_a_cfg_is_parsed_and_its_network_built_once_however_long_the_training(data, tmp_path, monkeypatch):
    """Classes that are not the data's, sizes that change, and a backbone included."""
    path, weights = tmp_path / "many.cfg", tmp_path / "backbone.conv.4"
    text = cfg_text(bn=True).replace("random=0", "random=1").replace("classes=3", "classes=5")
    path.write_text(
        text.replace("filters=16\nsize=1", "filters=20\nsize=1").replace("filters=8\nsize=1", "filters=10\nsize=1")
    )
    save_weights(Network(read_cfg(path)), weights, stop=4)
    found = []
    for number, (updates, given) in enumerate([(1, None), (7, None), (1, str(weights))]):
        path.write_text(path.read_text() + "\n")  # another text: nothing is known of it
        with monkeypatch.context() as patch:
            places = (parser, "parse_cfg"), (Network, "__init__"), (geometry, "_wrong_filters"), (parser, "explicit")
            counts = counted(patch, *places)
            settings = TrainSettings(
                cfg=str(path), data=str(data), weights=given, max_batches=updates, batch=4, subdivisions=2,
                device="cpu", extra={"plots": False, "val": False},
            )  # fmt: skip
            raise_errors(validate(settings))
            run_training(settings, RunFolder.create(tmp_path, f"run{number}"), [])
        found.append(dict(counts))
    assert found[0] == found[1]
    assert (found[0]["parse_cfg"], found[0]["__init__"]) == (1, 1)
    assert (found[2]["parse_cfg"], found[2]["__init__"]) == (1, 2)  # a file of other heads is read by its own network


def test_heads_are_rebuilt_for_the_data(data, tmp_path, capsys):
    path = tmp_path / "five.cfg"
    path.write_text(
        cfg_text()
        .replace("classes=3", "classes=5")
        .replace("filters=16\nsize=1", "filters=20\nsize=1")
        .replace("filters=8\nsize=1", "filters=10\nsize=1")
    )
    weights = tmp_path / "five.weights"
    network = Network(read_cfg(path))
    save_weights(network, weights, seen=77)
    weights.write_bytes(Header(0, 1, 9, 77).to_bytes() + weights.read_bytes()[20:])  # of the first Darknets
    model = Darknet(path, weights)
    first = {}
    model.add_callback(
        "on_train_start", lambda trainer: first.update(deepcopy(trainer.plain_model.network.state_dict()))
    )
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"))
    assert "classes 5 -> 3, filters before [yolo] 20 -> 16" in capsys.readouterr().out
    assert torch.equal(first["layers.0.conv.weight"], network.layers[0].conv.weight)
    assert first["layers.4.conv.weight"].shape[0] == 16
    assert read_cfg(weights_dir(model) / "model.cfg").heads[0].classes == 3
    for name in ("last", "best"):
        assert read_header((weights_dir(model) / f"{name}.weights").read_bytes()) == Header(0, 1, 9, model.trainer.seen)
    Darknet(weights_dir(model) / "best.pt").save_weights(tmp_path / "again.weights", seen=5)
    assert read_header((tmp_path / "again.weights").read_bytes()) == Header(0, 1, 9, 5)


@pytest.mark.parametrize("version", [(0, 1, 9), (0, 2, 5)])
def test_weights_come_back_from_a_checkpoint_to_the_bit(cfg, tmp_path, version):
    save_weights(Network(read_cfg(cfg)), tmp_path / "old.weights")
    data = Header(*version, 77).to_bytes() + (tmp_path / "old.weights").read_bytes()[20:]
    (tmp_path / "old.weights").write_bytes(data)
    run_conversion(ConvertSettings(cfg=str(cfg), weights=str(tmp_path / "old.weights"), to=str(tmp_path / "old.pt")))
    run_conversion(ConvertSettings(model=str(tmp_path / "old.pt"), to=str(tmp_path / "new.weights")))
    assert (tmp_path / "new.weights").read_bytes() == data


def test_a_backbone_starts_a_training(cfg, data, tmp_path, capsys):
    network = Network(read_cfg(cfg))
    save_weights(network, tmp_path / "tiny.conv.3", stop=3)
    model = Darknet(cfg, tmp_path / "tiny.conv.3")
    assert "a backbone" in capsys.readouterr().out
    assert torch.equal(model.network.layers[1].conv.weight, network.layers[1].conv.weight)


def test_seen_counts_only_when_kept(cfg, data, tmp_path):
    save_weights(Network(read_cfg(cfg)), tmp_path / "old.weights", seen=40)
    fresh = Darknet(cfg, tmp_path / "old.weights")
    fresh.train(**QUIET, data=str(data), project=str(tmp_path / "a"))
    assert fresh.trainer.seen == 10
    kept = Darknet(cfg, tmp_path / "old.weights")
    settings = {**QUIET, "epochs": None, "max_batches": 12}
    kept.train(**settings, data=str(data), project=str(tmp_path / "b"), seen="keep", schedule="exact")
    assert kept.trainer.update_index == 12  # ten updates were behind it
    with pytest.raises(SettingsError, match="nothing is left to train"):
        Darknet(cfg, tmp_path / "old.weights").train(
            **{**settings, "max_batches": 10},
            data=str(data),
            project=str(tmp_path / "c"),
            seen="keep",
            schedule="exact",
        )


@pytest.mark.parametrize("letterbox", ["ultralytics", "darknet", "stretch"])
def test_networks_of_any_shape_train_and_predict(cfg, data, tmp_path, letterbox):
    model = Darknet(cfg)
    shapes = set()
    model.add_callback("on_sub_batch_end", lambda trainer: shapes.add(tuple(trainer.input_shape)))
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"), imgsz=[64, 96], letterbox=letterbox)
    assert shapes == {(96, 64)}
    assert model.trainer.validator.size == (96, 64)
    assert read_cfg(weights_dir(model) / "model.cfg").net.width == 96
    metrics = model.val(
        data=str(data.with_suffix(".yaml")), project=str(tmp_path / "val"), plots=False, letterbox=letterbox
    )
    assert 0 <= metrics.box.map50 <= 1
    result = model.predict(np.zeros((50, 70, 3), np.uint8), conf=1e-6, verbose=False, letterbox=letterbox)[0]
    assert result.boxes.xyxy[:, 2].max() <= 70


def test_a_checkpoint_keeps_its_shape(cfg, data, tmp_path):
    model = Darknet(cfg)
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"), imgsz=[64, 96])
    again = Darknet(weights_dir(model) / "last.pt")
    again.predict(np.zeros((64, 96, 3), np.uint8), verbose=False)
    assert list(again.predictor.imgsz) == [64, 96]
    shapes = set()
    again.add_callback("on_sub_batch_end", lambda trainer: shapes.add(tuple(trainer.input_shape)))
    again.train(**QUIET, data=str(data), project=str(tmp_path / "more"))
    assert shapes == {(96, 64)}


def test_predict_takes_another_letterbox_each_time(cfg):
    model, image = Darknet(cfg), np.zeros((40, 64, 3), np.uint8)
    fits = []
    for letterbox in ("stretch", "darknet", None, "ultralytics"):
        model.predict(image, verbose=False, **({} if letterbox is None else {"letterbox": letterbox}))
        fits.append(model.predictor.fit)
    assert fits == ["stretch", "darknet", "ultralytics", "ultralytics"]


@pytest.mark.parametrize("call", ["train", "val", "predict"])
def test_an_unknown_keyword_is_refused(cfg, data, call):
    arguments = {"source": np.zeros((64, 64, 3), np.uint8)} if call == "predict" else {"data": str(data)}
    with pytest.raises((SettingsError, SyntaxError), match="subdivison"):
        getattr(Darknet(cfg), call)(subdivison=2, **arguments)


def test_assigning_truths_needs_nothing_from_a_gpu(cfg):
    """What is compared with the truths, which the loader leaves on the CPU, stays there."""
    model = DarknetModel(read_cfg(cfg)).to("meta")
    for head in model.network.heads:
        assert {head.all_anchors.device.type, head.position.device.type} == {"cpu"}
        assert head.anchors.device.type == "meta"


def test_training_images_are_read_unreduced(cfg, data):
    """Darknet crops and scales in one step; what is validated is reduced first, as Ultralytics does."""
    from yolo_subbatch.darknet.augment import Augmentation
    from yolo_subbatch.engine.darknet_data import DarknetDataset

    def loaded(augment: bool) -> tuple[int, ...]:
        dataset = DarknetDataset(
            img_path=str(data.parent / "images/val"), imgsz=32, augment=augment, data={"names": {0: "a", 1: "b", 2: "c"}},
            size=(32, 32), augmentation=Augmentation() if augment else None, hyp=_hyp(),
        )  # fmt: skip
        assert dataset[0]["img"].shape[1:] == (32, 32)
        return dataset.load_image(0)[0].shape

    assert loaded(True) == (64, 64, 3)
    assert loaded(False) == (32, 32, 3)


def test_every_way_of_fitting_finds_the_same_box(tmp_path, cfg):
    """A network that answers at one cell: its box must come back to the same place of the picture."""
    from yolo_subbatch.engine.darknet_data import FullFrame

    image = np.zeros((40, 80, 3), np.uint8)
    cv2.rectangle(image, (20, 10), (39, 29), (255, 255, 255), -1)
    for mode in ("darknet", "stretch"):
        fitted, scale, pad = FullFrame((64, 64), mode).image(image)
        ys, xs = np.nonzero(fitted[..., 0] > 200)
        found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        wanted = np.array([20, 10, 40, 30]) * np.array([*scale, *scale]) + np.array([*pad, *pad])
        assert np.abs(found - wanted).max() <= 1.5, mode


def test_validation_labels_follow_the_image(cfg, data, tmp_path):
    from yolo_subbatch.engine.darknet_data import DarknetDataset

    plain = DarknetDataset(
        img_path=str(data.parent / "images/val"), imgsz=64, augment=False, data={"names": {0: "a", 1: "b", 2: "c"}},
        size=(64, 64), augmentation=None, fit="stretch", hyp=_hyp(),
    )  # fmt: skip
    sample = plain[0]
    label = np.loadtxt(plain.label_files[0], ndmin=2)
    assert np.allclose(np.sort(sample["bboxes"].numpy(), 0), np.sort(label[:, 1:], 0), atol=1e-4)


def _hyp():
    from ultralytics.utils import DEFAULT_CFG

    return DEFAULT_CFG


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("x.pt", b"not a checkpoint", WeightsError, "not a checkpoint"),
        ("x.pt", None, WeightsError, "no such file"),
        ("nope.cfg", None, CfgError, "no such file"),
    ],
)
def test_unusable_files_are_refused(tmp_path, name, content, error, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=words):
        Darknet(tmp_path / name)


def test_an_ultralytics_checkpoint_is_named_as_such(tmp_path):
    from ultralytics.nn.tasks import DetectionModel

    document = {"nc": 1, "backbone": [[-1, 1, "Conv", [4, 3, 2]]], "head": [[[0], 1, "Detect", ["nc"]]]}
    torch.save({"model": DetectionModel(document, verbose=False), "train_args": {}}, tmp_path / "v8.pt")
    with pytest.raises(WeightsError, match=r"use ultralytics\.YOLO"):
        Darknet(tmp_path / "v8.pt")


def test_classes_can_only_change_behind_a_convolution():
    text = cfg_text().replace(
        "[route]\nlayers=2\n\n[convolutional]\nfilters=8\nsize=1\nstride=1\npad=1\nactivation=linear\n",
        "[convolutional]\nfilters=8\nactivation=linear\n[route]\nlayers=-1\n",
    )
    with pytest.raises(CfgError, match="does not follow a convolution"):
        with_classes(parse_cfg(text), 7)


def test_a_picture_of_boxes_without_end_is_drawn(tmp_path):
    """A diverged network's: Pillow would draw a frame of 1e30 pixels for hours, and no signal would end it."""
    validator = DarknetValidator(save_dir=tmp_path, args={"imgsz": 64})
    validator.names = {0: "a"}
    boxes = torch.tensor([[math.nan] * 4, [-1e30, -1e30, 1e30, 1e30], [-math.inf, 0, math.inf, 9], [5, 5, 20, 30]])
    pred = {"bboxes": boxes, "conf": torch.ones(4), "cls": torch.zeros(4)}
    before = set(threading.enumerate())
    validator.plot_predictions({"img": torch.zeros(1, 3, 64, 64), "im_file": ["x.jpg"]}, [pred], 0)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert (tmp_path / "val_batch0_pred.jpg").is_file()
    assert pred["bboxes"] is boxes, "what is counted stays as it is"
