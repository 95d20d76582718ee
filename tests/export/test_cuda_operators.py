"""Every node of an exported file has a kernel on the GPU: an operator without one is computed on the CPU, unasked.

No GPU is needed: the table lists what onnxruntime's CUDA provider registers, and says where it is from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, defs, shape_inference

from yolo_subbatch import cli
from yolo_subbatch.darknet import Network
from yolo_subbatch.export.onnx import OnnxExporter
from yolo_subbatch.settings.commands import ExportSettings

TABLE = json.loads(Path(__file__).with_name("cuda_operators.json").read_text())
NAMES = {0: "circle", 1: "square", 2: "triangle"}
TYPES = {
    TensorProto.FLOAT: "float", TensorProto.FLOAT16: "float16", TensorProto.INT64: "int64", TensorProto.INT32: "int32",
    TensorProto.BOOL: "bool", TensorProto.UINT8: "uint8", TensorProto.INT8: "int8", TensorProto.DOUBLE: "double",
}  # fmt: skip
OPTIONS = {
    "static": {}, "dynamic": {"dynamic": True}, "nms": {"dynamic": True, "nms": True},
    "agnostic": {"nms": True, "agnostic_nms": True}, "raw": {"raw": True, "dynamic": True},
    "half": {"half": True, "dynamic": True, "nms": True}, "bytes": {"preprocess": True, "dynamic": True, "half": True},
    "simplified": {"simplify": True, "dynamic": True, "nms": True},
}  # fmt: skip


def without_kernel(model: onnx.ModelProto) -> Iterator[str]:
    """Give the nodes that the CUDA provider has no kernel for, each as text."""
    opset = model.opset_import[0].version
    graph = shape_inference.infer_shapes(model).graph
    types = {each.name: each.type.tensor_type.elem_type for each in (*graph.input, *graph.value_info, *graph.output)}
    types |= {each.name: each.data_type for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            types[node.output[0]] = node.attribute[0].t.data_type
            continue  # becomes an initializer
        since = defs.get_schema(node.op_type, opset).since_version
        kernels = [each for each in TABLE["operators"].get(node.op_type, []) if fits(each, since)]
        data = node.input[1 if node.op_type == "Where" else 0]  # a condition comes before it there
        kind = TYPES[types[data]] if data in types else None
        if not kernels:
            yield f"{node.op_type}-{since}: {node.name}"
        elif kind is None or (kernels[0]["types"] and kind not in kernels[0]["types"]):
            yield f"{node.op_type}-{since} of {kind}: {node.name}"


def fits(kernel: dict[str, Any], since: int) -> bool:
    """Tell whether a kernel serves an operator's version.

    A kernel without end serves the version that it begins with only: onnxruntime does not guess what a later one means.
    """
    return bool(
        kernel["since"] == since or (kernel["until"] is not None and kernel["since"] < since <= kernel["until"])
    )


def test_the_table_says_where_it_is_from() -> None:
    assert "OperatorKernels.md" in TABLE["source"]
    assert len(TABLE["commit"]) == 40
    assert len(TABLE["operators"]) > 100


@pytest.mark.parametrize(
    ("name", "options"),
    [*(("yolov3-tiny.cfg", each) for each in OPTIONS), ("yolov3-spp.cfg", "half"), ("yolov3-spp.cfg", "simplified")],
)
def test_every_node_has_a_kernel(networks: dict[str, Network], tmp_path: Path, name: str, options: str) -> None:
    settings = ExportSettings(imgsz=64, parity=False, **OPTIONS[options])
    file = OnnxExporter(networks[name], NAMES, settings).export(tmp_path / "x.onnx")
    assert list(without_kernel(onnx.load(file))) == []


def test_eight_bits_have_kernels_too(squares: Path, tmp_path: Path) -> None:
    network = (f"cfg={squares / 'squares.cfg'}", f"weights={squares / 'squares.weights'}")
    data = f"data={squares / 'squares.data'}"
    assert cli.main(["export", *network, "int8=True", data, "nms=True", f"to={tmp_path / 'x.onnx'}"]) == 0
    assert list(without_kernel(onnx.load(tmp_path / "x.onnx"))) == []


def test_a_node_without_a_kernel_would_be_found() -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Mish", ["x"], ["y"], "odd")
    graph = onnx.helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, [1])], [value("y", TensorProto.FLOAT, [1])]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    assert list(without_kernel(model)) == ["Mish-18: odd"]
    open_end = {"since": 18, "until": None}
    assert fits(open_end, 18)
    assert not fits(open_end, 19)
