"""Exported files compute what the network computes, whatever the options; onnxruntime itself is the judge here."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torchvision.ops import batched_nms

from tests.export.conftest import blocks as images
from tests.export.conftest import settled
from yolo_subbatch.darknet import Network, parse_cfg, read_cfg
from yolo_subbatch.errors import ExportError
from yolo_subbatch.export.graph import SigmoidMish
from yolo_subbatch.export.onnx import OnnxExporter
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.find import find_cfg

NAMES = {0: "circle", 1: "square", 2: "triangle"}
NETWORKS = ("yolov3-tiny.cfg", "yolov3-spp.cfg")  # the second has every layer of yolov3


def export(network: Network, folder: Path, **options: Any) -> Path:
    options.setdefault("imgsz", 96)
    return OnnxExporter(network, NAMES, ExportSettings(**options)).export(folder / "x.onnx")


def session(file: Path) -> Any:
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def as_floats(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2), np.float32) / np.float32(255)


@torch.inference_mode()
def expected(network: Network, pictures: np.ndarray) -> np.ndarray:
    """Return boxes (B, 4 + C, N) through the public decoding, not through the one that is exported."""
    found = network.detections(network(torch.from_numpy(as_floats(pictures))))
    return torch.cat((found[..., :4], found[..., 5:] * found[..., 4:5]), 2).transpose(1, 2).numpy()


def assert_close(found: np.ndarray, wanted: np.ndarray, box: float = 0.02, score: float = 5e-5) -> None:
    """The order of float32 sums, which the processor decides, moves the deepest network's confidences by 2.2e-5."""
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :4], wanted[:, :4], rtol=1e-4, atol=box)
    np.testing.assert_allclose(found[:, 4:], wanted[:, 4:], atol=score)


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("preprocess", [False, True])
def test_a_dynamic_file_takes_any_batch_and_size(
    networks: dict[str, Network], tmp_path: Path, name: str, preprocess: bool
) -> None:
    network = networks[name]
    run = session(export(network, tmp_path, dynamic=True, preprocess=preprocess))
    for shape in ((1, 96, 96), (3, 96, 96), (1, 64, 160), (3, 160, 64), (2, 32, 32), (5, 96, 128)):
        pictures = images(*shape)
        given = pictures if preprocess else as_floats(pictures)
        (found,) = run.run(None, {"images": given})
        assert_close(found, expected(network, pictures))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("batch", "imgsz"), [(1, 96), (3, (160, 64))])
def test_a_static_file_says_its_shape(
    networks: dict[str, Network], tmp_path: Path, name: str, batch: int, imgsz: Any
) -> None:
    network = networks[name]
    run = session(export(network, tmp_path, batch=batch, imgsz=imgsz))
    height, width = imgsz if isinstance(imgsz, tuple) else (imgsz, imgsz)
    pictures = images(batch, height, width)
    wanted = expected(network, pictures)
    assert run.get_inputs()[0].shape == [batch, 3, height, width]
    assert run.get_outputs()[0].shape == list(wanted.shape)
    assert_close(run.run(None, {"images": as_floats(pictures)})[0], wanted)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run.run(None, {"images": as_floats(images(batch + 1, height, width))})


@pytest.mark.parametrize("name", NETWORKS)
def test_raw_maps_are_the_networks(networks: dict[str, Network], tmp_path: Path, name: str) -> None:
    network = networks[name]
    run = session(export(network, tmp_path, dynamic=True, raw=True))
    pictures = images(3, 64, 96)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(as_floats(pictures)))
    found = run.run(None, {"images": as_floats(pictures)})
    assert [each.name for each in run.get_outputs()] == [f"output{index}" for index in range(len(wanted))]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_half_precision_keeps_boxes_in_full(
    networks: dict[str, Network], tmp_path: Path, name: str, dynamic: bool
) -> None:
    network = networks[name]
    file = export(network, tmp_path, half=True, dynamic=dynamic)
    run = session(file)
    assert run.get_inputs()[0].type == run.get_outputs()[0].type == "tensor(float)"
    model = onnx.load(file)
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}, "every convolution's weights are of half precision"
    pictures = images(1, 96, 96)
    found, wanted = run.run(None, {"images": as_floats(pictures)})[0], expected(network, pictures)
    best = wanted[0, 4:].max(0).argsort()[-50:]
    np.testing.assert_allclose(found[..., best][:, 4:], wanted[..., best][:, 4:], atol=0.02)
    np.testing.assert_allclose(found[..., best][:, :4], wanted[..., best][:, :4], rtol=0.05, atol=1)
    assert np.abs(found - wanted).max() > 1e-5, "it is not float32 after all"


@pytest.mark.parametrize("opset", [13, 16, 17, 18, 19, 20])
def test_other_operator_sets(networks: dict[str, Network], tmp_path: Path, opset: int) -> None:
    network = networks["yolov3-tiny.cfg"]
    file = export(network, tmp_path, opset=opset, dynamic=True, nms=True, preprocess=True)
    model = onnx.load(file)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", opset)]
    assert model.ir_version <= 9
    onnx.checker.check_model(model, full_check=True)


def test_simplified_files_compute_the_same(networks: dict[str, Network], tmp_path: Path) -> None:
    network = networks["yolov3.cfg"]
    plain = len(onnx.load(export(network, tmp_path, dynamic=True)).graph.node)
    file = export(network, tmp_path, dynamic=True, simplify=True, nms=True)
    model = onnx.load(file)
    assert len(model.graph.node) < plain
    assert "names" in {entry.key for entry in model.metadata_props}, "what changes a graph drops its metadata"
    assert session(file).run(None, {"images": as_floats(images(2, 64, 96))})[0].shape == (2, 300, 6)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.float16, 0.1)])
def test_mish_in_the_graphs_form_is_as_exact(dtype: torch.dtype, most: float) -> None:
    """Relative to double precision, from where the logistic function is a normal number up to large ones."""
    x = torch.cat((torch.linspace(-15, 40, 100_001), torch.linspace(-1e-3, 1e-3, 1001))).to(dtype)
    wanted = torch.nn.functional.mish(x.double())
    apart = (SigmoidMish()(x).double() - wanted).abs()
    assert bool((apart <= most * wanted.abs()).all())
    assert float(SigmoidMish()(torch.tensor([-1e4, 0.0, 1e4], dtype=dtype)).sum()) == pytest.approx(1e4, rel=1e-3)


def test_no_mish_is_computed_the_slow_way(tmp_path: Path) -> None:
    """In convolutions, shortcuts and layers of their own."""
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[convolutional]\nfilters=4\nactivation=mish\nantialiasing=1\n"
    text += "[convolutional]\nfilters=4\nactivation=linear\n[shortcut]\nfrom=-2\nactivation=mish\n"
    text += "[activation]\nactivation=mish\n[convolutional]\nfilters=7\nactivation=linear\n"
    network = Network(parse_cfg(f"{text}[yolo]\nclasses=2\nmask=0\nanchors=9,9\n", "x")).eval()
    file = OnnxExporter(network, {0: "a", 1: "b"}, ExportSettings(imgsz=32)).export(tmp_path / "x.onnx")
    kinds = Counter(node.op_type for node in onnx.load(file).graph.node)
    assert not {"Softplus", "Tanh", "Mish"} & set(kinds)
    assert kinds["Sigmoid"] >= 3


def test_the_network_is_left_alone(networks: dict[str, Network], tmp_path: Path) -> None:
    network = networks["yolov3-tiny.cfg"]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kinds = [type(layer) for layer in network.modules()]
    network.train()
    try:
        export(network, tmp_path, half=True)
        assert network.training
    finally:
        network.eval()
    assert [type(layer) for layer in network.modules()] == kinds
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    "name", ["yolov3-tiny.cfg", *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])]
)
def test_the_bundled_networks_in_full_size(tmp_path: Path, name: str) -> None:
    network = settled(Network(read_cfg(find_cfg(name))), 64)
    file = OnnxExporter(
        network, {index: str(index) for index in range(80)}, ExportSettings(imgsz=64, dynamic=True, nms=True)
    ).export(tmp_path / "x.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["x.onnx"], "one file, without data beside it"
    assert file.stat().st_size == pytest.approx(4 * sum(each.numel() for each in network.parameters()), rel=0.01)
    rows, count = session(file).run(None, {"images": as_floats(images(3, 64, 96))})
    assert rows.shape == (3, 300, 6)
    assert count.shape == (3, 1)


#: Two pools whose windows hang over the border, one of them on maps of odd size.
ODD = """
[net]
width=96
height=96
channels=3
[convolutional]
filters=6
size=3
stride=1
pad=1
activation=leaky
[maxpool]
size=3
stride=2
[maxpool]
size=2
stride=1
[convolutional]
filters=8
size=3
stride=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
padding=1
[convolutional]
filters=16
size=1
stride=1
activation=linear
[yolo]
mask=0,1
anchors=10,14, 23,27
classes=3
num=2
scale_x_y=1.1
"""


@pytest.mark.parametrize("dynamic", [False, True])
def test_pools_that_hang_over_the_border(tmp_path: Path, dynamic: bool) -> None:
    network = settled(Network(parse_cfg(ODD, "odd.cfg")))
    run = session(export(network, tmp_path, imgsz=(36, 60), dynamic=dynamic))
    for shape in ((1, 36, 60), *(((2, 12, 24), (1, 84, 48), (3, 60, 60)) if dynamic else ())):
        pictures = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
        assert_close(run.run(None, {"images": as_floats(pictures)})[0], expected(network, pictures))


# --- suppression in the graph -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(("batch", "max_det"), [(3, 5), (1, 300), (3, 5000)])
def test_suppression_is_torchvisions(
    networks: dict[str, Network], tmp_path: Path, agnostic: bool, batch: int, max_det: int
) -> None:
    network = networks["yolov3-tiny.cfg"]
    pictures = images(batch, 96, 128, seed=3)
    decoded = expected(network, pictures)
    conf = float(np.quantile(decoded[:, 4:].max(1), 0.5))
    options = {"conf": conf, "iou": 0.45, "max_det": max_det, "agnostic_nms": agnostic}
    run = session(export(network, tmp_path, nms=True, dynamic=True, **options))
    rows, counts = run.run(None, {"images": as_floats(pictures)})
    assert rows.shape == (batch, max_det, 6)
    assert (counts.dtype, counts.shape) == (np.int32, (batch, 1))
    for index, image in enumerate(decoded):
        scores, classes = torch.from_numpy(image[4:]).max(0)
        centre, size = torch.from_numpy(image[:2]), torch.from_numpy(image[2:4])
        boxes = torch.cat((centre - size / 2, centre + size / 2)).T
        alive = (scores > conf).nonzero()[:, 0]
        groups = torch.zeros_like(classes) if agnostic else classes
        kept = alive[batched_nms(boxes[alive], scores[alive], groups[alive], 0.45)][:max_det]
        count = int(counts[index, 0])
        assert count == len(kept) > 1
        wanted = torch.cat((boxes[kept], scores[kept, None], classes[kept, None]), 1).numpy()
        np.testing.assert_allclose(rows[index, :count], wanted, rtol=1e-4, atol=0.02)
        assert not rows[index, count:].any()


def test_an_image_without_boxes_gives_none(networks: dict[str, Network], tmp_path: Path) -> None:
    run = session(export(networks["yolov3-tiny.cfg"], tmp_path, nms=True, dynamic=True, conf=1.0))
    rows, counts = run.run(None, {"images": as_floats(images(3, 64, 64))})
    assert not rows.any()
    assert not counts.any()


def test_thresholds_stand_in_the_file_by_name(networks: dict[str, Network], tmp_path: Path) -> None:
    model = onnx.load(export(networks["yolov3-tiny.cfg"], tmp_path, nms=True, conf=0.3, iou=0.6, max_det=7))
    values = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer if "thres" in each.name}
    assert values == {"conf_thres": np.float32([0.3]), "iou_thres": np.float32([0.6])}
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["NonMaxSuppression"] == 1
    assert not kinds["Loop"] + kinds["If"] + kinds["Scan"]


# --- what a file says of itself ---------------------------------------------------------------------------------------


def test_metadata(networks: dict[str, Network], tmp_path: Path) -> None:
    network = networks["yolov3.cfg"]
    model = onnx.load(export(network, tmp_path, dynamic=True, nms=True, half=True, imgsz=(64, 96), conf=0.1))
    found = {entry.key: entry.value for entry in model.metadata_props}
    theirs = {key for key in found if not key.startswith("ysb.")}
    assert theirs == set(
        "description author date version license docs stride task batch imgsz names args channels end2end head".split()
    )
    assert ast.literal_eval(found["names"]) == NAMES
    assert ast.literal_eval(found["imgsz"]) == [64, 96]
    assert ast.literal_eval(found["args"])["nms"] is True
    assert (found["stride"], found["task"], found["batch"], found["channels"]) == ("32", "detect", "1", "3")
    assert (found["ysb.layout"], found["ysb.precision"], found["ysb.opset"]) == ("nms", "fp16", "18")
    assert json.loads(found["ysb.nms"]) == {"conf": 0.1, "iou": 0.7, "max_det": 300, "agnostic_nms": False}
    heads = json.loads(found["ysb.heads"])
    assert [each["cell"] for each in heads] == [[32.0, 32.0], [16.0, 16.0], [8.0, 8.0]]
    assert heads[2]["anchors"] == [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]]
    assert parse_cfg(found["ysb.cfg"], "x").sections == network.cfg.sections
    assert "boxes within" in found["ysb.parity"]
    assert model.producer_name == "yolo-subbatch"


def test_other_weights_have_another_hash(networks: dict[str, Network], tmp_path: Path) -> None:
    def hashed(network: Network) -> str:
        model = onnx.load(export(network, tmp_path))
        return next(each.value for each in model.metadata_props if each.key == "ysb.weights_sha256")

    network = networks["yolov3-tiny.cfg"]
    first = hashed(network)
    assert hashed(network) == first
    with torch.no_grad():
        network.layers[0].conv.weight[0, 0, 0, 0] += 1e-3
    try:
        assert hashed(network) != first
    finally:
        with torch.no_grad():
            network.layers[0].conv.weight[0, 0, 0, 0] -= 1e-3


def test_a_size_that_does_not_fit_is_refused(networks: dict[str, Network], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^imgsz=100: not a multiple of the network's stride 32; use 96 or 128"):
        export(networks["yolov3.cfg"], tmp_path, imgsz=100)


def test_a_graph_that_has_no_form_in_onnx_is_named(networks: dict[str, Network], tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x)[..., None].expand(-1, -1, -1, x.shape[3]) * 0 + x

    network = settled(Network(parse_cfg(ODD, "odd.cfg")))
    network.layers[0] = torch.nn.Sequential(network.layers[0], Odd())
    with pytest.raises(ExportError, match=r"^odd\.cfg: has no form in ONNX opset 18"):
        export(network, tmp_path, imgsz=48)
    assert not list(tmp_path.iterdir())
