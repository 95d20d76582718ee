"""ONNX files that no exporter writes: each is small, and each is wrong in a way of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
Change = Callable[[onnx.ModelProto], object]
HEAD = {"anchors": [[8.0, 8.0]], "cell": [8.0, 8.0], "scale_x_y": 1.0, "new_coords": False}


def detector(
    batch: Any = 1, side: Any = SIDE, given: Sequence[Any] = (1, 7, 10), shape: Sequence[int] | None = None,
    kind: int = TensorProto.FLOAT, channels: Any = 3, **about: str,
) -> onnx.ModelProto:  # fmt: skip
    """Return a file that gives the same boxes of three classes for every image.

    Args:
        batch: Of the input; a text where it is free.
        side: Height and width of the input.
        given: The shape that the output is said to have.
        shape: That it has; the same if not given.
        kind: Type of the output.
        channels: Of the input.
        **about: Metadata; two underscores stand for a dot.
    """
    values = np.zeros([each if isinstance(each, int) else 1 for each in (shape or given)], np.float32)
    nodes = [
        helper.make_node("GlobalMaxPool", ["images"], ["most"]),
        helper.make_node("ReduceMax", ["most"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["output0"], to=kind),
    ]
    constants = [numpy_helper.from_array(values, "boxes"), numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    graph = helper.make_graph(
        nodes, "detector", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, channels, side, side])],
        [helper.make_tensor_value_info("output0", kind, list(given))], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    said = {"task": "detect", "stride": "32", "names": "{0: 'a', 1: 'b', 2: 'c'}", **about}
    helper.set_model_props(model, {name.replace("__", "."): value for name, value in said.items()})
    return model


def free(**about: str) -> onnx.ModelProto:
    """Return a file that takes images of any size."""
    given = {"imgsz": "[64, 64]", **about}
    said = {"channels": given.pop("channels_said")} if "channels_said" in given else {}
    model = detector(batch="batch", side="side", channels="planes", **given)
    for name, value in said.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    return model


def raw(head: Any, given: Sequence[Any] = (1, 8, 8, 8)) -> onnx.ModelProto:
    """Return a file of undecoded maps."""
    return detector(given=given, ysb__layout="raw", ysb__heads=head if isinstance(head, str) else json.dumps(head))


def suppressing(text: str) -> onnx.ModelProto:
    """Return a file that suppresses boxes itself."""
    return detector(given=(1, 5, 6), ysb__layout="nms", ysb__nms=text)


def changed(change: Change) -> onnx.ModelProto:
    """Return a detector after a change."""
    model = detector()
    change(model)
    return model


def _external(location: str, **more: str) -> Change:
    """Have the numbers lie in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change


def _without_end(model: onnx.ModelProto) -> None:
    """Put a loop before the output whose end is not to be lived to see."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_out"]),
            helper.make_node("Add", ["carried", "carried"], ["carried_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried_out", TensorProto.FLOAT, None),
        ],
    )
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(2**62), "turns"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    graph.node[-1].input[0] = "looped"
    graph.node.insert(4, helper.make_node("Loop", ["turns", "always", "sum"], ["looped"], body=body))


def _loop_of_constants(model: onnx.ModelProto) -> None:
    """The same where the loop can be worked out before there is an image."""
    _without_end(model)
    model.graph.node[4].input[2] = "boxes"
    model.graph.node[3].input[0] = "looped"
    model.graph.node[-1].input[0] = "sum"
    loop = model.graph.node.pop(4)
    model.graph.node.insert(3, loop)


def _many_later(model: onnx.ModelProto) -> None:
    """Have the number of boxes come from the image."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 10**13]), "size"))
    graph.initializer.append(numpy_helper.from_array(np.array([1, 7, 1]), "least"))
    graph.node[-1].input[0] = "many"
    graph.node.insert(4, helper.make_node("Cast", ["nothing"], ["none"], to=TensorProto.INT64))
    graph.node.insert(5, helper.make_node("Add", ["size", "none"], ["more"]))
    graph.node.insert(6, helper.make_node("Add", ["least", "more"], ["all"]))
    graph.node.insert(7, helper.make_node("ConstantOfShape", ["all"], ["many"]))
    for dim in graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
        dim.dim_param = "n"


def _huge(model: onnx.ModelProto) -> None:
    """Add up boxes with more zeros than any memory holds."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, 7, 10**13]), "size"))
    graph.node[-1].input[0] = "many"
    graph.node.insert(4, helper.make_node("ConstantOfShape", ["size"], ["many"]))
    graph.output[0].type.tensor_type.shape.dim[2].dim_value = 0
    graph.output[0].type.tensor_type.shape.dim[2].dim_param = "n"


def _operator(name: str, domain: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].op_type, model.graph.node[-1].domain = name, domain
        del model.graph.node[-1].attribute[:]
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def _circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "output0"


def _second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def _no_output(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def _text_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute[0].i = TensorProto.STRING
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING


def _list_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "one_of_them"
    model.graph.node.append(helper.make_node("SequenceConstruct", ["one_of_them"], ["output0"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("output0", TensorProto.FLOAT, None))


def _not_utf8(data: bytes) -> bytes:
    return data.replace(b"detect", b"d\xff\xfeec")


NESTED = "[" * 3000 + "]" * 3000
MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    # what the file says of itself
    "imgsz text": lambda: free(imgsz="abc"),
    "imgsz quoted": lambda: free(imgsz="'64'"),
    "imgsz empty": lambda: free(imgsz="[]"),
    "imgsz zero": lambda: free(imgsz="[0, 0]"),
    "imgsz below zero": lambda: free(imgsz="[-64, 64]"),
    "imgsz huge": lambda: free(imgsz="[10000000, 10000000]"),
    "imgsz infinite": lambda: free(imgsz="1e400"),
    "imgsz three": lambda: free(imgsz="[64, 64, 64]"),
    "imgsz fraction": lambda: free(imgsz="64.5"),
    "imgsz nested": lambda: free(imgsz=NESTED),
    "imgsz off the stride": lambda: free(imgsz="[65, 65]"),
    "stride text": lambda: free(stride="abc"),
    "stride list of texts": lambda: free(stride="['a', 32]"),
    "stride zero": lambda: free(stride="0"),
    "stride infinite": lambda: free(stride="1e999"),
    "stride huge": lambda: free(stride="1000000000000"),
    "stride nested": lambda: free(stride=NESTED),
    "channels text": lambda: free(channels_said="abc"),
    "channels of none": lambda: free(channels_said="0"),
    "names nested": lambda: detector(names=NESTED),
    "task with escapes": lambda: detector(task="\x1b]0;owned\x07\x1b[2Jpose"),
    "layout unknown": lambda: detector(ysb__layout="\x1b[31mv9"),
    "heads no json": lambda: raw("not json"),
    "heads a number": lambda: raw("7"),
    "heads of numbers": lambda: raw([1]),
    "heads none": lambda: raw([]),
    "heads empty": lambda: raw([{}]),
    "heads without anchors": lambda: raw([{**HEAD, "anchors": []}]),
    "heads anchors text": lambda: raw([{**HEAD, "anchors": "a"}]),
    "heads anchors ragged": lambda: raw([{**HEAD, "anchors": [[1, 2], [3]]}]),
    "heads cell zero": lambda: raw([{**HEAD, "cell": [0, 0]}]),
    "heads cell text": lambda: raw([{**HEAD, "cell": "ab"}]),
    "heads scale infinite": lambda: raw('[{"anchors": [[8, 8]], "cell": [8, 8], "scale_x_y": 1e999}]'),
    "heads more than outputs": lambda: raw([HEAD, HEAD]),
    "heads of other channels": lambda: raw([{**HEAD, "anchors": [[8, 8]] * 3}]),
    "heads nested": lambda: raw(NESTED),
    "map of four numbers": lambda: raw([HEAD], (1, 4, 8, 8)),
    "map of no rank": lambda: raw([HEAD], (1, 8, 64)),
    "nms no json": lambda: suppressing("conf=0.5"),
    "nms a list": lambda: suppressing("[1]"),
    "nms without keys": lambda: suppressing('{"conf": 0.1}'),
    "nms conf text": lambda: suppressing('{"conf": "x", "iou": 0.5, "max_det": 5, "agnostic_nms": false}'),
    "nms iou infinite": lambda: suppressing('{"conf": 0.1, "iou": 1e999, "max_det": 5, "agnostic_nms": false}'),
    # shapes
    "batch zero": lambda: detector(batch=0),
    "batch of a trillion": lambda: detector(batch=10**12),
    "input of a million pixels a side": lambda: detector(side=10**6),
    "input of 2^40 pixels a side": lambda: detector(side=2**40),
    "channels of a million": lambda: detector(channels=10**6),
    "output of a trillion boxes": lambda: detector(given=(1, 7, 10**12), shape=(1, 7, 10)),
    "output of no rank": lambda: detector(given=(7,)),
    "output of five axes": lambda: detector(given=(1, 1, 1, 7, 10)),
    "output without scores": lambda: detector(given=(1, 4, 10), ysb__layout="v8"),
    "output without images": lambda: detector(given=("a", "b", "c"), shape=(0, 7, 10)),
    "output with no box": lambda: detector(given=("a", "b", "c"), shape=(1, 3, 3)),
    "output of other rank than said": lambda: detector(given=("a", "b", "c"), shape=(7, 10)),
    "boxes of truths": lambda: detector(kind=TensorProto.BOOL),
    "boxes of texts": lambda: changed(_text_output),
    "boxes in a list": lambda: changed(_list_output),
    "no output": lambda: changed(_no_output),
    "two inputs": lambda: changed(_second_input),
    # operators
    "operator of another domain": lambda: changed(_operator("RunThis", "evil.example")),
    "operator that is none": lambda: changed(_operator("RunThis", "")),
    "circle": lambda: changed(_circle),
    "loop without an end": lambda: changed(_without_end),
    "loop of constants": lambda: changed(_loop_of_constants),
    "more boxes than memory": lambda: changed(_huge),
    "more boxes than memory by the image": lambda: changed(_many_later),
    # other files
    "data above the folder": lambda: changed(_external("../secret")),
    "data far above the folder": lambda: changed(_external("../../../../../../etc/hostname")),
    "data by a full path": lambda: changed(_external("/etc/hostname")),
    "data not there": lambda: changed(_external("none.bin")),
    "data beyond its end": lambda: changed(_external("beside.bin", offset="99999999999", length="280")),
    "data without a length": lambda: changed(_external("beside.bin", offset="-8", length="abc")),
    "data in a pipe": lambda: changed(_external("pipe.bin")),
}
#: Files that are no such thing, from the bytes of a good one.
BYTES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"model\n",
    "picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "zeros": lambda _: bytes(1000),
    "cut off": lambda data: data[: len(data) // 2],
    "cut off by a byte": lambda data: data[:-1],
    "length without an end": lambda _: b"\x3a\xff\xff\xff\xff\x7f",
    "text that is no UTF-8": _not_utf8,
    "noise": lambda _: np.random.default_rng(1).bytes(2000),
}


def write_all(folder: Path) -> dict[str, Path]:
    """Write every file into a folder, and return them by what is wrong with them."""
    (folder / "models").mkdir(parents=True)
    (folder / "secret").write_bytes(bytes(280))
    (folder / "models" / "beside.bin").write_bytes(bytes(280))
    files: dict[str, Path] = {}
    good = detector().SerializeToString()
    for name, make in MODELS.items():
        files[name] = folder / "models" / f"{name.replace(' ', '-')}.onnx"
        files[name].write_bytes(make().SerializeToString())
    for name, change in BYTES.items():
        files[name] = folder / "models" / f"{name.replace(' ', '-')}.onnx"
        files[name].write_bytes(change(good))
    return files
