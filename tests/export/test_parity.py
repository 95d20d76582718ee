"""The gate: a file that does not compute what the network computes is not kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_subbatch.darknet import Network, parse_cfg
from yolo_subbatch.errors import ExportError, ParityError
from yolo_subbatch.export import graph, nms, parity, suppression
from yolo_subbatch.export import onnx as exporter
from yolo_subbatch.export.infer import Thresholds, suppress
from yolo_subbatch.export.onnx import OnnxExporter
from yolo_subbatch.settings.commands import ExportSettings

from .conftest import settled, slim

NAMES = {0: "circle", 1: "square", 2: "triangle"}
Change = Callable[[pytest.MonkeyPatch], None]


def after_building(patch: pytest.MonkeyPatch, change: Callable[[graph.TracedNetwork], None]) -> None:
    """Let a change be made to what is traced."""
    build = graph.TracedNetwork.__init__

    def broken(self: graph.TracedNetwork, *args: Any) -> None:
        build(self, *args)
        change(self)

    patch.setattr(graph.TracedNetwork, "__init__", broken)


def in_the_graph(patch: pytest.MonkeyPatch, change: Callable[[onnx.ModelProto], None]) -> None:
    """Let a change be made to the exported graph."""

    def broken(*args: Any) -> onnx.ModelProto:
        model = graph.trace(*args)
        change(model)
        return model

    patch.setattr(exporter, "trace", broken)


def flip_anchors(traced: graph.TracedNetwork) -> None:
    head = traced.network.heads[0]
    head.anchors = head.anchors.flip(1)


def swap_anchors(traced: graph.TracedNetwork) -> None:
    head = traced.network.heads[1]
    head.anchors = head.anchors.roll(1, 0)


def pad_the_other_side(traced: graph.TracedNetwork) -> None:
    (pool,) = (each for each in traced.network.modules() if getattr(each, "outside", None))
    pool.outside = (pool.outside[1], pool.outside[0]) * 2


def pad_with_zeros(model: onnx.ModelProto) -> None:
    """Zero is not the least value behind a leaky activation."""
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].t.dims == []:
            value = onnx.numpy_helper.to_array(node.attribute[0].t)
            if np.isneginf(value):
                node.attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(value)))
                return
    raise AssertionError("no padding in this graph")


def other_weight(model: onnx.ModelProto) -> None:
    tensor = next(each for each in model.graph.initializer if len(each.dims) == 4)
    value = onnx.numpy_helper.to_array(tensor).copy()
    value[0, 0] *= -1
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))


def other_slope(model: onnx.ModelProto) -> None:
    node = next(each for each in model.graph.node if each.op_type == "LeakyRelu")
    node.attribute[0].f = 0.11


BREAKS: dict[str, Change] = {
    "flipped anchors": lambda patch: after_building(patch, flip_anchors),
    "anchors in another order": lambda patch: after_building(patch, swap_anchors),
    "padding on the other side": lambda patch: after_building(patch, pad_the_other_side),
    "padding with zeros": lambda patch: in_the_graph(patch, pad_with_zeros),
    "one other weight": lambda patch: in_the_graph(patch, other_weight),
    "another slope": lambda patch: in_the_graph(patch, other_slope),
}


@pytest.fixture
def tiny(networks: dict[str, Network]) -> Network:
    return networks["yolov3-tiny.cfg"]


@pytest.mark.parametrize("options", [{}, {"dynamic": True}, {"nms": True}, {"raw": True, "dynamic": True}], ids=str)
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_export_leaves_no_file(
    tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, options: dict[str, Any]
) -> None:
    if options.get("raw") and "anchors" in how:
        pytest.skip("raw maps know no anchors")
    BREAKS[how](monkeypatch)
    with pytest.raises(ParityError, match=r"x\.onnx: not kept; .*(boxes|confidences) differ from the network's"):
        OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96, **options)).export(tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_half_precision_is_no_excuse(tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_building(monkeypatch, flip_anchors)
    with pytest.raises(ParityError, match=r"boxes overlap the network's by .*; export it without half"):
        OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96, half=True)).export(tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_an_earlier_file_stays(tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96)).export(tmp_path / "x.onnx")
    before = file.read_bytes()
    in_the_graph(monkeypatch, other_slope)
    with pytest.raises(ParityError):
        OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96)).export(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_without_the_gate_it_is_written_as_it_is(
    tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_graph(monkeypatch, other_slope)
    file = OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96, parity=False)).export(tmp_path / "x.onnx")
    keys = {each.key for each in onnx.load(file).metadata_props}
    assert "names" in keys
    assert "ysb.parity" not in keys


def test_a_batch_that_is_baked_in_is_found(tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traced example has one image: a trace that writes that down works for it, and for nothing else."""

    def baked(network: Network, layout: graph.Layout, opset: int) -> onnx.ModelProto:
        fixed = graph.trace(network, graph.Layout(layout.batch, layout.height, layout.width), opset)
        for value, axes in ((fixed.graph.input[0], (0, 2, 3)), (fixed.graph.output[0], (0, 2))):
            for axis in axes:
                value.type.tensor_type.shape.dim[axis].dim_param = f"free{axis}"
        return fixed

    monkeypatch.setattr(exporter, "trace", baked)
    with pytest.raises(ParityError, match=r"onnxruntime cannot run it|boxes of shape"):
        OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96, dynamic=True)).export(tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_exchanged_sides_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On square images rows and columns can be taken for each other."""
    network = settled(Network(parse_cfg(slim("yolov3-tiny.cfg"), "x")))

    def turned(self: graph.TracedNetwork, images: torch.Tensor) -> torch.Tensor:
        maps = [raw.transpose(2, 3) for raw in self.network(images.transpose(2, 3))]
        return self.network.predictions(maps)

    monkeypatch.setattr(graph.TracedNetwork, "forward", turned)
    with pytest.raises(ParityError, match="differ"):
        OnnxExporter(network, NAMES, ExportSettings(imgsz=96, dynamic=True)).export(tmp_path / "x.onnx")


# --- suppression ------------------------------------------------------------------------------------------------------


def rebuilt(patch: pytest.MonkeyPatch, change: Callable[[onnx.ModelProto], None]) -> None:
    def broken(model: onnx.ModelProto, *args: Any) -> None:
        nms.append_nms(model, *args)
        change(model)

    patch.setattr(exporter, "append_nms", broken)


def constant(model: onnx.ModelProto, name: str, value: Any) -> None:
    tensor = next(each for each in model.graph.initializer if each.name == name)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, array.dtype).reshape(array.shape), name))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.name == f"nms/{name}")


def only_the_first_image(model: onnx.ModelProto) -> None:
    constant(model, "image_and_box", [1, 2])  # the class, which is always 0, in the place of the image


def by_height_for_width(model: onnx.ModelProto) -> None:
    inputs = node(model, "high").input
    inputs[1] = inputs[0]


NMS_BREAKS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "only the first image has boxes": only_the_first_image,
    "classes suppress each other": lambda model: constant(model, "apart", 0.0),
    "classes lie too close": lambda model: constant(model, "apart", 10.0),
    "too few boxes": lambda model: constant(model, "max_output_boxes", [3]),
    "corners from the wrong numbers": by_height_for_width,
    "twice the size": lambda model: constant(model, "half", 1.0),
    "the last class is left out": lambda model: constant(model, "class_scores_a", [5]),
}


@pytest.mark.parametrize("how", NMS_BREAKS)
def test_a_broken_suppression_is_found(
    tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    rebuilt(monkeypatch, NMS_BREAKS[how])
    with pytest.raises(ParityError, match=r"not kept; .*(after suppression|alone than in the batch)"):
        OnnxExporter(tiny, NAMES, ExportSettings(imgsz=96, dynamic=True, nms=True)).export(tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def random_boxes(rng: np.random.Generator, batch: int, classes: int, count: int) -> np.ndarray:
    centre = rng.uniform(0, 200, (batch, 2, count))
    size = rng.uniform(5, 80, (batch, 2, count))
    scores = rng.uniform(0, 1, (batch, classes, count)) ** 4
    return np.concatenate((centre, size, scores), 1).astype(np.float32)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 5), st.integers(1, 300))
def test_thresholds_lie_where_no_rounding_decides(seed: int, batch: int, classes: int, count: int) -> None:
    decoded = random_boxes(np.random.default_rng(seed), batch, classes, count)
    conf, iou = suppression.clear_thresholds(decoded)
    best = decoded[:, 4:].max(1)
    assert 0.4 <= iou <= 0.6
    assert np.abs(best - conf).min() > 0 or best.size == 1
    if best.size > 40:
        assert 0 < (best > conf).sum() <= suppression.CANDIDATES * batch + 20
    for image in decoded:
        once = suppression.suppressed(image, conf, iou, 300, False)
        corners, scores, labels = suppress(image, Thresholds(conf, iou, 300, False))
        np.testing.assert_allclose(once, np.concatenate((corners, scores[:, None], labels[:, None]), 1), atol=1e-4)


def test_images_to_compare_differ_and_are_always_the_same() -> None:
    first, again = parity.sample_images(3, 64, 96), parity.sample_images(3, 64, 96)
    assert first.shape == (3, 64, 96, 3)
    assert np.array_equal(first, again)
    assert all(np.abs(first[a].astype(int) - first[b]).mean() > 10 for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize(("size", "stride"), [((416, 416), 32), ((64, 96), 32), ((32, 32), 32), ((608, 320), 16)])
def test_shapes_to_compare(size: tuple[int, int], stride: int) -> None:
    assert parity.shapes_to_try(4, *size, stride, dynamic=False) == [(4, size[1], size[0])]
    shapes = parity.shapes_to_try(1, *size, stride, dynamic=True)
    assert shapes[0] == (1, size[1], size[0])
    assert {batch for batch, _, _ in shapes} == {1, 2, 3}
    assert any(height > width for _, height, width in shapes)
    assert any(height < width for _, height, width in shapes)
    assert all(not height % stride and not width % stride for _, height, width in shapes)


def test_boxes_without_end_are_no_reason_to_refuse(tmp_path: Path) -> None:
    """An untrained network may give boxes of infinite size."""
    network = settled(Network(parse_cfg(slim("yolov3-tiny.cfg"), "x")))
    with torch.no_grad():
        network.layers[network.head_indices[0]].conv.bias[2] = 1000.0
    assert OnnxExporter(network, NAMES, ExportSettings(imgsz=64)).export(tmp_path / "x.onnx").is_file()


def figures_of(found: np.ndarray, wanted: np.ndarray, exact: np.ndarray | None) -> parity.Figures:
    """Compare two outputs, given what double precision makes of it."""
    figures = parity.Figures()
    parity._compare(found, wanted, "fp32", "here", figures, None if exact is None else lambda: exact)
    return figures


def test_a_network_that_magnifies_roundings_may_differ_as_much() -> None:
    """Four times as far as its own float32 is from double precision, but no further."""
    exact = np.random.default_rng(0).random((1, 6, 50))
    noise = np.zeros_like(exact)
    noise[0, 4, 7] = 3 * parity.SCORE
    wanted, less, more = exact + noise, exact - 2.9 * noise, exact - 3.1 * noise
    with pytest.raises(ParityError, match="confidences differ"):
        figures_of(less, wanted, None)
    figures = figures_of(less, wanted, exact)
    assert figures.score == pytest.approx(3.9 * 3 * parity.SCORE)
    assert str(figures).endswith("its own float32 is off by as much, as if it were not trained")
    assert "float32" not in str(figures_of(wanted, wanted, exact))
    with pytest.raises(ParityError, match="confidences differ"):
        figures_of(more, wanted, exact)
    with pytest.raises(ParityError, match="differ"):
        figures_of(less, wanted, np.full_like(exact, np.nan))


def test_a_deep_untrained_network_passes(tmp_path: Path) -> None:
    """Sixty layers of random weights magnify roundings until two correct computations differ visibly."""
    block = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\npad=1\nactivation=leaky\n"
    text = f"[net]\nwidth=32\nheight=32\nchannels=3\n{block * 60}[convolutional]\nfilters=7\nactivation=linear\n"
    torch.manual_seed(0)
    network = settled(Network(parse_cfg(f"{text}[yolo]\nclasses=2\nmask=0\nanchors=9,9\n", "x"))).eval()
    images = parity.sample_images(1, 32, 32)
    apart = parity.torch_reference(network)(images) - parity.double_reference(network)(images)
    assert np.abs(apart[:, 4:]).max() > 5 * parity.SCORE
    assert OnnxExporter(network, NAMES, ExportSettings(imgsz=32)).export(tmp_path / "x.onnx").is_file()


def test_a_parity_error_is_an_export_error() -> None:
    assert issubclass(ParityError, ExportError)
