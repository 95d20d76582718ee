"""Every public method of Ultralytics' models, asked of a Darknet network: it works as theirs does, or is refused."""

from __future__ import annotations

import copy
import importlib.util
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.utils import YAML

from tests.engine.conftest import V8_YAML, cfg_text
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.darknet import Network, read_cfg, save_weights
from yolo_subbatch.errors import SettingsError, WeightsError

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
QUIET = {"plots": False, "device": "cpu", "verbose": False}
#: Public names of ``Model`` and the tests below that ask for them; those of ``torch.nn.Module`` are torch's own.
ASKED = {
    "add_callback": "callbacks", "clear_callback": "callbacks", "reset_callbacks": "callbacks",
    "benchmark": "benchmark", "calibrate": "refused", "device": "looks", "eval": "looks", "embed": "embed", "export": "export",
    "fuse": "fuse", "info": "looks", "is_triton_model": "looks", "load": "load", "names": "looks", "predict": "predict",
    "reset_weights": "reset", "save": "save", "task_map": "looks", "track": "track", "train": "other files",
    "transforms": "looks", "tune": "tune", "val": "val",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a checkpoint ``net.pt``, its ``net.cfg`` and a model of Ultralytics."""
    place = tmp_path_factory.mktemp("place")
    # Ultralytics refuses exported files below 0.1 MB.
    (place / "net.cfg").write_text(cfg_text(bn=True).replace("filters=24", "filters=256"))
    (place / "v8.yaml").write_text(V8_YAML)
    torch.manual_seed(0)
    Darknet(place / "net.cfg").save(place / "net.pt")
    return place


@pytest.fixture(params=[Darknet, YOLO], ids=["Darknet", "YOLO"])
def model(request, place) -> Any:
    """The checkpoint, opened here and by stock Ultralytics."""
    return request.param(place / "net.pt")


def boxes(model: Any) -> torch.Tensor:
    return model.predict(IMAGE, conf=1e-5, imgsz=64, verbose=False)[0].boxes.data


def test_no_method_is_forgotten():
    own = {name for name in vars(Model) if not name.startswith("_")}
    assert own <= set(ASKED), "a method that Ultralytics has added: try it, and write down which test asks for it"


def test_looks(model):
    assert model.names == {0: "class0", 1: "class1", 2: "class2"}
    assert (model.device, model.transforms) == (torch.device("cpu"), None)
    assert model.task_map["detect"]["trainer"].__name__ == "DarknetTrainer"
    assert not model.is_triton_model("net.pt")
    assert not model.eval().model.training
    layers, parameters, *_ = model.info(imgsz=64)
    assert layers > 9
    assert parameters == sum(each.numel() for each in model.parameters())


def test_predict(model):
    wanted = boxes(model)
    assert len(wanted)
    assert torch.equal(model(IMAGE, conf=1e-5, imgsz=64, verbose=False)[0].boxes.data, wanted)
    assert type(model.predictor).__name__ == "DarknetPredictor"
    assert model.to("cpu").device == torch.device("cpu")
    assert len(boxes(model.half())) > 0
    model.predict(IMAGE, augment=True, verbose=False)  # once, as Ultralytics says itself


def test_embed(model):
    (vector,) = model.embed(IMAGE, imgsz=64, verbose=False)
    assert vector.shape == (8,), "the channels before the last head"
    (chosen,) = model.embed([IMAGE], imgsz=64, embed=[1, 3], verbose=False)
    assert chosen.shape == (16 + 256,)
    image = torch.from_numpy(IMAGE[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        outputs = copy.deepcopy(model.model).network.eval().layer_outputs(image)
    assert torch.allclose(chosen, torch.cat([outputs[1].mean((2, 3)), outputs[3].mean((2, 3))], 1)[0], atol=1e-3)


def test_refused(model, place):
    with pytest.raises(SettingsError, match=r"visualize=True: .*leave it out"):
        model.predict(IMAGE, visualize=True, project=str(place), verbose=False)
    with pytest.raises(ValueError, match="only supported for depth"):
        model.calibrate(data="x.yaml")
    assert len(boxes(model)) > 0, "it still predicts"


@pytest.mark.skipif(importlib.util.find_spec("lap") is None, reason="Ultralytics' trackers need lap")
def test_track(model):
    assert [len(model.track(IMAGE, persist=True, conf=0.01, verbose=False)) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("kind", ["data", "yaml"])
def test_val(model, data, tmp_path, kind):
    metrics = model.val(data=str(data.with_suffix(f".{kind}")), project=str(tmp_path), imgsz=64, **QUIET)
    assert metrics.nt_per_class.sum() == 11, "the boxes of the four images"


def test_export(model, place):
    model.ckpt_path = model.model.pt_path = str(place / "net.pt")
    file = model.export(format="torchscript", imgsz=64)
    assert Path(file) == place / "net.torchscript"
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = copy.deepcopy(model.model).eval()(image)[0]
    assert torch.allclose(torch.jit.load(file)(image)[0], wanted, atol=1e-3)


def test_a_format_that_nobody_writes_is_refused(place):
    with pytest.raises(SettingsError, match="format=nonsense: unknown; use one of torchscript, onnx, openvino"):
        Darknet(place / "net.pt").export(format="nonsense")


@pytest.mark.parametrize(("opened", "kind"), [(Darknet, "data"), (YOLO, "yaml")])
def test_benchmark(place, data, tmp_path, monkeypatch, opened, kind):
    monkeypatch.chdir(tmp_path)  # where Ultralytics writes a log
    model = opened(place / "net.pt")
    table = model.benchmark(data=str(data.with_suffix(f".{kind}")), imgsz=64, format="torchscript", device="cpu")
    assert "✅" in str(table)


def test_fuse(model, tmp_path):
    wanted = boxes(model)
    found = boxes(model.fuse())
    assert torch.allclose(found, wanted, atol=1e-2)
    if isinstance(model, Darknet):
        with pytest.raises(WeightsError, match=r"fuse\(\) has folded"):
            model.save_weights(tmp_path / "x.weights")
        assert not list(tmp_path.iterdir())


def test_save(model, tmp_path):
    model.save(tmp_path / "again.pt")
    wanted, found = boxes(model), boxes(type(model)(tmp_path / "again.pt"))
    assert torch.allclose(found, wanted, atol=0.1)


@pytest.mark.parametrize("stop", [None, 3])
def test_load(place, tmp_path, stop):
    file, network = tmp_path / "x.weights", Network(read_cfg(place / "net.cfg"))
    save_weights(network, file, seen=7, stop=stop)
    model = Darknet(place / "net.cfg")
    before = model.network.layers[3].conv.weight.clone()
    assert model.load(file) is model
    assert torch.equal(model.network.layers[0].conv.weight, network.layers[0].conv.weight)
    assert torch.equal(model.network.layers[3].conv.weight, before if stop else network.layers[3].conv.weight)
    assert torch.equal(model.load(place / "net.pt").network.layers[3].conv.weight,
                       Darknet(place / "net.pt").network.layers[3].conv.weight)  # fmt: skip


def test_reset(place, data, tmp_path):
    file = tmp_path / "x.weights"
    save_weights(Network(read_cfg(place / "net.cfg")), file, seen=7)
    model = Darknet(place / "net.cfg", file)
    loaded = model.network.layers[0].conv.weight.clone()
    first = []
    model.add_callback("on_train_start", lambda trainer: first.append(trainer.plain_model.model[0].conv.weight.clone()))
    model.reset_weights().train(
        data=str(data), epochs=1, batch=4, val=False, project=str(tmp_path / "runs"), **{**QUIET, "verbose": True}
    )
    assert not torch.equal(first[0], loaded), "the file is not loaded again"


def test_callbacks(model):
    heard = []
    model.add_callback("on_predict_start", lambda predictor: heard.append(1))
    boxes(model)
    model.clear_callback("on_predict_start")
    model.predictor = None
    boxes(model)
    model.reset_callbacks()
    assert heard == [1]


@pytest.mark.parametrize("how", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_model_that_was_used_is_copied(place, data, tmp_path, how):
    model = Darknet(place / "net.pt")
    settings = {**QUIET, "project": str(tmp_path), "data": str(data)}
    model.train(epochs=1, batch=4, val=False, **settings)
    model.val(**settings)
    wanted = boxes(model)
    again = how(model)
    assert torch.equal(boxes(again), wanted)
    assert model.trainer is not None
    torch.save(model, io.BytesIO())


@pytest.mark.parametrize("how", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_model_of_ultralytics_is_copied_after_a_training_in_sub_batches(place, data, tmp_path, how):
    model = YOLO(place / "v8.yaml")
    model.train(
        trainer=SubbatchTrainer, data=str(data.with_suffix(".yaml")), project=str(tmp_path), epochs=1, batch=4,
        subdivisions=2, imgsz=64, val=False, **QUIET,
    )  # fmt: skip
    again = how(model)
    assert torch.equal(boxes(again), boxes(model))
    assert model.trainer.update_index == 3


@pytest.mark.slow
def test_tune(model, data, tmp_path):
    """Ultralytics trains each try in a process of its own; our keys and the cfg's values reach it."""
    model.tune(
        data=str(data), iterations=1, epochs=1, batch=4, subdivisions=2, max_norm=5.0, project=str(tmp_path), plots=False,
        device="cpu",
    )  # fmt: skip
    assert (tmp_path / "tune" / "best_hyperparameters.yaml").is_file()
    (args,) = tmp_path.rglob("args.yaml")
    text, values = args.read_text(), YAML.load(args)
    assert "#: subdivisions: 2" in text
    assert "#: max_norm: 5.0" in text
    assert (values["lr0"], values["mosaic"], values["optimizer"], values["patience"]) == (0.001, 0.0, "SGD", 0)


@pytest.mark.parametrize("keywords", [{"space": {"jitter": (0, 1)}}, {"use_ray": True}, {"space": {"lrf": (0, 1)}}])
def test_what_the_tuner_cannot_do_is_refused(model, keywords):
    with pytest.raises(SettingsError, match=r"^(space|use_ray=True): .*(use some of|leave it out)"):
        model.tune(data="x.yaml", iterations=1, **keywords)


@pytest.mark.parametrize("keywords", [{"trainer": SubbatchTrainer}, {"subdivisions": 2}])
def test_the_tuner_of_ultralytics_models_has_no_sub_batches(place, keywords):
    with pytest.raises(SettingsError, match=f"tune: {next(iter(keywords))}: Ultralytics' tuner .*leave it out"):
        YOLO(place / "v8.yaml").tune(data="x.yaml", iterations=1, **keywords)
