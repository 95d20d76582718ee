"""The model repository: what Triton's own protobuf reads in it, and what onnxruntime computes from it."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from yolo_subbatch.errors import ExportError, SettingsError
from yolo_subbatch.export import triton
from yolo_subbatch.export.triton import check_triton, quoted, run_triton, write_repository
from yolo_subbatch.settings.commands import TritonSettings

ort = pytest.importorskip("onnxruntime")
text_format = pytest.importorskip("google.protobuf.text_format")
json_format = pytest.importorskip("google.protobuf.json_format")
NAMES = {0: "person", 1: 'a "quoted" \\ name', 2: "狗"}


@pytest.fixture(scope="module")
def proto() -> Any:
    """Triton's description of its configuration, without the rest of the client, which needs gRPC."""
    try:
        place = importlib.metadata.distribution("tritonclient").locate_file("tritonclient/grpc/model_config_pb2.py")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tritonclient is not installed")
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(place))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(file: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], about: dict[str, Any] | None) -> Path:
    constants = [helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
                 helper.make_tensor("rest", TensorProto.INT64, [2], [0, -1]),
                 helper.make_tensor("row", TensorProto.INT64, [3], [0, -1, 6])]  # fmt: skip
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(nodes, "g", inputs, outputs, [each for each in constants if each.name in used])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {key: str(each) for key, each in (about or {}).items()})
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return file


def about(layout: str, batch: int = 1, size: tuple[int, int] = (8, 12), **more: Any) -> dict[str, Any]:
    dynamic = more.pop("dynamic", False)
    return {
        "names": NAMES, "stride": 4, "batch": batch, "imgsz": list(size), "task": "detect", "channels": 3,
        "end2end": False, "args": {"dynamic": dynamic, "nms": layout == "nms"},
        "ysb.layout": layout, "ysb.precision": "fp32", "ysb.cfg": "[net]\n" * 99, **more,
    }  # fmt: skip


def v8(file: Path, batch: int | str = 1, height: int | str = 8, width: int | str = 12, **more: Any) -> Path:
    """A file with one output, (B, 4 + C, N): here every channel of the images, flat."""
    boxes = 96 if height == 8 and width == 12 else "boxes"
    facts = about("v8", batch if isinstance(batch, int) else 1, dynamic=isinstance(batch, str), **more)
    node = helper.make_node("Reshape", ["images", "shape"], ["output0"], allowzero=0)
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[0, 3, -1])
    return save(file, [shape, node], [value("images", [batch, 3, height, width])],
                [value("output0", [batch, 3, boxes])], facts)  # fmt: skip


def bytes_in(file: Path, batch: int | str = 1, height: int | str = 8, width: int | str = 12) -> Path:
    nodes = [helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
             helper.make_node("Transpose", ["float"], ["output0"], perm=[0, 3, 1, 2])]  # fmt: skip
    return save(file, nodes, [value("images", [batch, height, width, 3], TensorProto.UINT8)],
                [value("output0", [batch, 3, height, width])], about("v8", dynamic=isinstance(batch, str)))  # fmt: skip


def nms(file: Path, batch: int | str = "batch") -> Path:
    nodes = [helper.make_node("Reshape", ["images", "row"], ["output0"]),
             helper.make_node("Reshape", ["images", "rest"], ["flat"]),
             helper.make_node("ReduceMax", ["flat", "axes"], ["most"], keepdims=1),
             helper.make_node("Cast", ["most"], ["num_dets"], to=TensorProto.INT32)]  # fmt: skip
    return save(file, nodes, [value("images", [batch, 3, 8, 12])],
                [value("output0", [batch, 48, 6]), value("num_dets", [batch, 1], TensorProto.INT32)],
                about("nms", dynamic=isinstance(batch, str)))  # fmt: skip


def raw(file: Path, batch: int | str = "batch") -> Path:
    nodes = [helper.make_node("Identity", ["images"], ["output0"]),
             helper.make_node("MaxPool", ["images"], ["output1"], kernel_shape=[2, 2], strides=[2, 2])]  # fmt: skip
    return save(file, nodes, [value("images", [batch, 3, "height", "width"])],
                [value("output0", [batch, 3, "rows0", "columns0"]), value("output1", [batch, 3, "rows1", "columns1"])],
                about("raw", dynamic=True))  # fmt: skip


def settings(model: Path, **more: Any) -> TritonSettings:
    return TritonSettings(**{"model": str(model), "out": str(model.parent / "repo"), "name": "net", **more})


def parsed(proto: Any, folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), proto.ModelConfig())


def written(proto: Any, model: Path, **more: Any) -> Any:
    return parsed(proto, write_repository(settings(model, **more)))


def metadata(config: Any) -> dict[str, str]:
    found = ast.literal_eval(config.parameters["metadata"].string_value)
    assert isinstance(found, dict)
    return found


def shown(tensors: Any) -> list[tuple[str, int, list[int]]]:
    return [(each.name, each.data_type, list(each.dims)) for each in tensors]


def warm_ups(config: Any) -> list[tuple[int, dict[str, list[int]]]]:
    return [(each.batch_size, {name: list(what.dims) for name, what in each.inputs.items()})
            for each in config.model_warmup]  # fmt: skip


def test_dynamic_batch(proto: Any, tmp_path: Path) -> None:
    model = v8(tmp_path / "a.onnx", "batch", "height", "width")
    config = written(proto, model, delay=700)
    assert (config.name, config.backend, config.platform, config.max_batch_size) == ("net", "onnxruntime", "", 8)
    assert shown(config.input) == [("images", proto.TYPE_FP32, [3, -1, -1])]
    assert shown(config.output) == [("output0", proto.TYPE_FP32, [3, -1])]
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    assert config.dynamic_batching.max_queue_delay_microseconds == 700
    assert warm_ups(config) == [(1, {"images": [3, 8, 12]}), (8, {"images": [3, 8, 12]})]
    assert all(each.inputs["images"].zero_data for each in config.model_warmup)
    assert config.version_policy.latest.num_versions == 1
    assert (tmp_path / "repo/net/1/model.onnx").read_bytes() == model.read_bytes()


@pytest.mark.parametrize(("asked", "sizes"), [(1, [1]), (2, [1, 2]), (32, [1, 32])])
def test_the_most_images_of_a_dynamic_file(proto: Any, tmp_path: Path, asked: int, sizes: list[int]) -> None:
    config = written(proto, v8(tmp_path / "a.onnx", "batch"), batch=asked)
    assert config.max_batch_size == asked
    assert config.HasField("dynamic_batching") == (asked > 1)
    assert [batch for batch, _ in warm_ups(config)] == sizes
    assert metadata(config)["batch"] == str(asked)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_a_dimension_like_others(proto: Any, tmp_path: Path, batch: int) -> None:
    config = written(proto, v8(tmp_path / "a.onnx", batch), batch=batch)
    assert config.max_batch_size == 0
    assert shown(config.input) == [("images", proto.TYPE_FP32, [batch, 3, 8, 12])]
    assert shown(config.output) == [("output0", proto.TYPE_FP32, [batch, 3, 96])]
    assert not config.HasField("dynamic_batching")
    assert warm_ups(config) == [(1, {"images": [batch, 3, 8, 12]})]
    assert metadata(config)["batch"] == str(batch)


@pytest.mark.parametrize(("batch", "asked"), [(1, 4), (4, 1), (4, 8)])
def test_another_batch_than_the_fixed_one(tmp_path: Path, batch: int, asked: int) -> None:
    with pytest.raises(SettingsError, match=rf"^batch={asked}: the file takes {batch} at a time; .*dynamic=True"):
        write_repository(settings(v8(tmp_path / "a.onnx", batch), batch=asked))
    assert not (tmp_path / "repo").exists()


def test_bytes(proto: Any, tmp_path: Path) -> None:
    config = written(proto, bytes_in(tmp_path / "a.onnx", "batch", "height", "width"))
    assert shown(config.input) == [("images", proto.TYPE_UINT8, [-1, -1, 3])]
    assert warm_ups(config)[1] == (8, {"images": [8, 12, 3]})
    assert config.model_warmup[0].inputs["images"].data_type == proto.TYPE_UINT8


def test_suppressed_boxes_come_first_by_name(proto: Any, tmp_path: Path) -> None:
    config = written(proto, nms(tmp_path / "a.onnx"))
    assert shown(config.output) == [("output0", proto.TYPE_FP32, [48, 6])]


def test_raw_maps(proto: Any, tmp_path: Path) -> None:
    config = written(proto, raw(tmp_path / "a.onnx"))
    assert shown(config.output) == [(f"output{i}", proto.TYPE_FP32, [3, -1, -1]) for i in (0, 1)]


def test_classes(proto: Any, tmp_path: Path) -> None:
    config = written(proto, v8(tmp_path / "a.onnx", names={1: "two\nlines", 0: "ß", 2: ""}))
    assert (tmp_path / "repo/net/labels.txt").read_text(encoding="utf-8") == "ß\ntwo lines\n\n"
    assert not any(each.label_filename for each in config.output)


@pytest.mark.parametrize(
    ("more", "kind", "gpus"),
    [
        ({}, "KIND_GPU", []),
        ({"gpus": (0, 2), "instances": 3}, "KIND_GPU", [0, 2]),
        ({"provider": "cpu"}, "KIND_CPU", []),
    ],
)
def test_instances(proto: Any, tmp_path: Path, more: dict[str, Any], kind: str, gpus: list[int]) -> None:
    (group,) = written(proto, v8(tmp_path / "a.onnx"), **more).instance_group
    assert group.kind == proto.ModelInstanceGroup.Kind.Value(kind)
    assert (group.count, list(group.gpus)) == (more.get("instances", 1), gpus)


@pytest.mark.parametrize(("batch", "search"), [("batch", "1"), (1, "0")])
def test_cuda(proto: Any, tmp_path: Path, batch: int | str, search: str) -> None:
    config = written(proto, v8(tmp_path / "a.onnx", batch))
    options = {key: each.string_value for key, each in config.parameters.items() if key != "metadata"}
    # Numbers: this is how the backend's parameters are read, by every release.
    assert options == {"cudnn_conv_algo_search": search, "arena_extend_strategy": "1", "do_copy_in_default_stream": "1"}
    assert not config.HasField("optimization")


def test_cpu(proto: Any, tmp_path: Path) -> None:
    config = written(proto, v8(tmp_path / "a.onnx"), provider="cpu")
    assert set(config.parameters) == {"metadata"}
    assert not config.HasField("optimization")


@pytest.mark.parametrize(("precision", "mode"), [("fp32", "FP32"), ("fp16", "FP16"), ("int8", "INT8")])
def test_tensorrt(proto: Any, tmp_path: Path, precision: str, mode: str) -> None:
    model = v8(tmp_path / "a.onnx", "batch", **{"ysb.precision": precision})
    config = written(proto, model, provider="tensorrt")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    options = dict(accelerator.parameters)
    folder = options.pop("trt_engine_cache_path")
    assert accelerator.name == "tensorrt"
    assert options == {"precision_mode": mode, "trt_engine_cache_enable": "1"}
    # Other weights under the same name must not find the engines of these; the provider makes one folder, not two.
    later = v8(model, "batch", **{"ysb.precision": precision, "date": "later"})
    other = written(proto, later, provider="tensorrt", out=str(tmp_path / "other"))
    (accelerator,) = other.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["trt_engine_cache_path"] != folder
    assert folder.startswith("/tmp/tensorrt-net-")
    assert folder.count("/") == 2


def test_texts_survive(proto: Any, tmp_path: Path) -> None:
    odd = 'q" b\\ n\n t\t r\r c\x01\x7f \\n ü 狗 🐕 \'"\'" {{}} # ;'
    config = written(proto, v8(tmp_path / "a.onnx", names={0: odd}, description=odd))
    assert ast.literal_eval(metadata(config)["names"]) == {0: odd}
    assert metadata(config)["description"] == odd
    assert text_format.Parse(f"name: {quoted(odd)}", proto.ModelConfig()).name == odd


def test_a_wrong_word_would_be_seen(proto: Any, tmp_path: Path) -> None:
    text = (write_repository(settings(v8(tmp_path / "a.onnx"))) / "config.pbtxt").read_text(encoding="utf-8")
    for right, wrong in (
        ("TYPE_FP32", "TYPE_FLOAT"),
        ("KIND_GPU", "KIND_CUDA"),
        ("zero_data", "zeros"),
        ("true", "yes"),
    ):
        assert right in text
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text.replace(right, wrong), proto.ModelConfig())


def as_the_client_sees(config: Any) -> dict[str, Any]:
    """The server's answer over HTTP: JSON with the names of the protobuf."""
    return dict(json.loads(json_format.MessageToJson(config, preserving_proto_field_name=True)))


@pytest.mark.parametrize("kind", [v8, nms])
def test_ultralytics_predicts_with_it(proto: Any, tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.nn.backends import triton as backend
    from ultralytics.nn.backends.base import BaseBackend
    from ultralytics.utils import triton as client

    folder = write_repository(settings(kind(tmp_path / "a.onnx", "batch")))
    config = as_the_client_sees(parsed(proto, folder))
    session = ort.InferenceSession(str(folder / "1/model.onnx"), providers=["CPUExecutionProvider"])

    class Client(client.TritonRemoteModel):  # type: ignore[misc]
        """Their client, whose server is this process; its constructor is theirs but for the connection."""

        def __init__(self, url: str) -> None:
            import sys
            from types import ModuleType, SimpleNamespace

            class Input:
                def __init__(self, name: str, shape: list[int], data_type: str) -> None:
                    self.name, self.shape, self.data_type = name, shape, data_type

                def set_data_from_numpy(self, data: Any) -> None:
                    self.data = data

            def infer(model_name: str, inputs: list[Any], outputs: list[str]) -> Any:
                assert model_name == "net"
                assert inputs[0].data_type == "FP32"
                names = [each.name for each in session.get_outputs()]
                found = dict(zip(names, session.run(None, {each.name: each.data for each in inputs}), strict=True))
                return SimpleNamespace(as_numpy=found.__getitem__)

            http = ModuleType("tritonclient.http")
            server = SimpleNamespace(get_model_config=lambda name: config, infer=infer)
            http.InferenceServerClient = lambda **_: server  # type: ignore[attr-defined]
            http.InferInput, http.InferRequestedOutput = Input, str  # type: ignore[attr-defined]
            package = ModuleType("tritonclient")
            package.http = http  # type: ignore[attr-defined]
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(sys.modules, "tritonclient", package)
                patch.setitem(sys.modules, "tritonclient.http", http)
                super().__init__(url)

    monkeypatch.setattr(client, "TritonRemoteModel", Client)
    monkeypatch.setattr(backend, "check_requirements", lambda *_: True)
    found = backend.TritonBackend("http://localhost:8000/net", "cpu")
    assert isinstance(found, BaseBackend)
    assert found.names == NAMES
    assert (found.stride, found.batch, found.imgsz, found.task, found.channels) == (4, 8, [8, 12], "detect", 3)
    assert found.dynamic is True
    assert found.end2end is (kind is nms)
    import torch

    images = torch.rand(2, 3, 8, 12)
    (first, *_) = found.forward(images)
    assert first.shape == ((2, 48, 6) if kind is nms else (2, 3, 96))
    np.testing.assert_array_equal(first.reshape(-1), images.numpy().reshape(-1))


@pytest.mark.parametrize("batch", ["batch", 1, 3])
@pytest.mark.parametrize("kind", [v8, nms, raw, bytes_in])
def test_the_warm_up_runs(proto: Any, tmp_path: Path, kind: Any, batch: int | str) -> None:
    folder = write_repository(settings(kind(tmp_path / "a.onnx", batch)))
    config = parsed(proto, folder)
    session = ort.InferenceSession(str(folder / "1/model.onnx"), providers=["CPUExecutionProvider"])
    types = {proto.TYPE_FP32: np.float32, proto.TYPE_UINT8: np.uint8}
    assert len(config.model_warmup) == (2 if batch == "batch" else 1)
    for each in config.model_warmup:
        size = [each.batch_size] if config.max_batch_size else []
        feeds = {name: np.zeros([*size, *what.dims], types[what.data_type]) for name, what in each.inputs.items()}
        outputs = session.run([out.name for out in config.output], feeds)
        for out, array in zip(config.output, outputs, strict=True):
            wanted = [*size, *out.dims]
            assert len(wanted) == array.ndim
            assert all(side in (-1, found) for side, found in zip(wanted, array.shape, strict=True))


def foreign(file: Path, shape: list[Any], first: Any, about: dict[str, Any] | None = None) -> Path:
    return save(file, [helper.make_node("Identity", ["x"], ["y"])], [value("x", shape)], [value("y", [first, *shape[1:]])],
                about)  # fmt: skip


@pytest.mark.parametrize(("first", "limit"), [("n", 8), (None, 8), (5, 0)])
def test_a_file_of_another_exporter(proto: Any, tmp_path: Path, first: Any, limit: int) -> None:
    config = written(proto, foreign(tmp_path / "a.onnx", [first, 2, "w"], first))
    assert config.max_batch_size == limit
    assert shown(config.input) == [("x", proto.TYPE_FP32, [2, -1] if limit else [5, 2, -1])]
    assert "metadata" not in config.parameters
    assert not config.model_warmup
    assert not (tmp_path / "repo/net/labels.txt").exists()


def test_one_number_an_image(proto: Any, tmp_path: Path) -> None:
    config = written(proto, foreign(tmp_path / "a.onnx", ["n"], "n"))
    (out,) = config.output
    assert (list(out.dims), out.HasField("reshape"), list(out.reshape.shape)) == ([1], True, [])


def test_keys_that_the_client_would_take_for_its_own_stay_out(proto: Any, tmp_path: Path) -> None:
    config = written(proto, foreign(tmp_path / "a.onnx", ["n", 2], "n", {"names": NAMES, "model": "x", "device": "y"}))
    assert metadata(config) == {"names": str(NAMES), "batch": "8"}
    assert "ysb.cfg" not in metadata(written(proto, v8(tmp_path / "b.onnx"), name="b"))


def test_the_batch_must_come_first(tmp_path: Path) -> None:
    model = foreign(tmp_path / "a.onnx", ["n", 2], "found")
    with pytest.raises(ExportError, match=r"a\.onnx: the first dimensions differ \(x n, y found\), .*; export it with"):
        write_repository(settings(model))
    node = helper.make_node("ReduceMean", ["images"], ["output0"], keepdims=0)
    model = save(tmp_path / "b.onnx", [node], [value("images", [2, 3])], [value("output0", [])], about("v8"))
    with pytest.raises(ExportError, match="the first dimensions differ"):
        write_repository(settings(model))
    assert not (tmp_path / "repo").exists()


def damaged(tmp_path: Path, how: str) -> Path:
    file = v8(tmp_path / "a.onnx")
    data = file.read_bytes()
    contents = {"empty": b"", "text": b"# a text\n" * 9, "zeros": bytes(100), "cut": data[: len(data) // 2],
                "start": data[:20], "image": b"\x89PNG\r\n\x1a\n" + bytes(50)}  # fmt: skip
    file.write_bytes(contents[how])
    return file


@pytest.mark.parametrize("how", ["empty", "text", "zeros", "cut", "start", "image"])
def test_not_onnx(tmp_path: Path, how: str) -> None:
    with pytest.raises(ExportError, match=r"^model=.*a\.onnx: not ONNX, or cut off; give the file"):
        write_repository(settings(damaged(tmp_path, how)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.onnx"]


@pytest.mark.parametrize("key", ["names", "imgsz"])
@pytest.mark.parametrize("text", ["{", "640", "['a']", "{'a': 1}", "f(1)"])
def test_metadata_of_another_form(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(ExportError, match=rf"metadata {key}: .* is none of Ultralytics'; export"):
        write_repository(settings(v8(tmp_path / "a.onnx", **{key: text})))


def test_weights_in_another_file(tmp_path: Path) -> None:
    model = onnx.load(str(nms(tmp_path / "a.onnx")))
    tensor = model.graph.initializer[0]
    tensor.raw_data = b"1" * 2000
    onnx.save_model(model, str(tmp_path / "b.onnx"), save_as_external_data=True, location="b.data", size_threshold=10)
    with pytest.raises(ExportError, match="its weights are in another file; save them inside it"):
        write_repository(settings(tmp_path / "b.onnx"))


def test_an_unknown_type(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    bf16 = TensorProto.BFLOAT16
    model = save(tmp_path / "a.onnx", [node], [value("x", [1], bf16)], [value("y", [1], bf16)], None)
    with pytest.raises(ExportError, match="x: not a tensor of a type and shape"):
        write_repository(settings(model))


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SettingsError) as caught:
        check_triton(
            TritonSettings(model=str(tmp_path), out=str(file), name="a/b", gpus=(0, 0), provider="cpu", batch=0)
        )
    text = str(caught.value)
    for part in ("this is a folder; give the ONNX", "this is a file; give a folder", "name=a/b: more than", "name=a-b",
                 "provider=cpu computes on none", "gpus=0,0: one is given twice", "batch=0: too small"):  # fmt: skip
        assert part in text
    with pytest.raises(SettingsError, match=r"(?s)model: not given; .*out: not given; "):
        check_triton(TritonSettings())
    with pytest.raises(SettingsError, match="no such file"):
        check_triton(TritonSettings(model=str(tmp_path / "none.onnx"), out="repo"))
    with pytest.raises(SettingsError, match="File name too long"):
        check_triton(TritonSettings(model="a" * 5000, out="repo", name="net"))


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a.b", "ä", "a\n", "x" * 101, "a:b"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"more than letters, digits, _ and -, or too long; give name="):
        check_triton(settings(v8(tmp_path / "a.onnx"), name=name))


def test_the_name_is_the_files(tmp_path: Path) -> None:
    model = v8(tmp_path / "yolov3-tiny_best.onnx")
    assert check_triton(settings(model, name=None)).name == "yolov3-tiny_best"
    assert write_repository(settings(model, name=None)) == tmp_path / "repo" / "yolov3-tiny_best"
    with pytest.raises(SettingsError, match=r"^name=best\.v2: .*give name=best-v2$"):
        check_triton(settings(v8(tmp_path / "best.v2.onnx"), name=None))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    model = v8(tmp_path / "a.onnx")
    folder = write_repository(settings(model))
    before = (folder / "config.pbtxt").read_bytes()
    with pytest.raises(SettingsError, match=r"net: exists and is not overwritten; give another name=, or remove it$"):
        write_repository(settings(model, provider="cpu"))
    assert (folder / "config.pbtxt").read_bytes() == before
    (tmp_path / "repo/link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="exists"):
        write_repository(settings(model, name="link"))


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = v8(tmp_path / "a.onnx")
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "model.onnx":
            real(self, data[:10])
            raise OSError(28, "No space left on device", str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    for out in (tmp_path / "new" / "deeper", tmp_path):
        with pytest.raises(
            ExportError, match=r"net: cannot be written \(No space left on device\); give another place"
        ):
            write_repository(settings(model, out=str(out)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.onnx"]

    def stopped(self: Path, data: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_repository(settings(model, out=str(tmp_path / "new")))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.onnx"]


def test_a_folder_under_a_file(tmp_path: Path) -> None:
    model = v8(tmp_path / "a.onnx")
    with pytest.raises(SettingsError, match=r"a\.onnx is a file; give a folder$"):
        write_repository(settings(model, out=str(model / "repo")))


@pytest.mark.skipif(os.name == "nt", reason="no modes of this kind")
def test_the_server_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = write_repository(settings(v8(tmp_path / "a.onnx")))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, folder / "1", folder / "config.pbtxt")] == [
        0o755, 0o755, 0o644,
    ]  # fmt: skip
    assert sorted(each.name for each in folder.parent.iterdir()) == ["net"]


def test_a_second_model_beside_the_first(proto: Any, tmp_path: Path) -> None:
    model = v8(tmp_path / "a.onnx")
    for name in ("one", "two"):
        assert written(proto, model, name=name).name == name
    assert sorted(each.name for each in (tmp_path / "repo").iterdir()) == ["one", "two"]


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    v8(tmp_path / "a.onnx", "batch")
    assert run_triton(TritonSettings(model="a.onnx", out="my models", name="net")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{Path('my models') / 'net'}: config.pbtxt, labels.txt, 1/model.onnx"
    assert lines[2] == (
        f"docker run --gpus all -p8000:8000 -v '{tmp_path / 'my models'}:/models' "
        "nvcr.io/nvidia/tritonserver:<yy.mm>-py3 tritonserver --model-repository=/models"
    )
    assert 'YOLO("http://localhost:8000/net", task="detect")' in lines[3]

    run_triton(settings(raw(tmp_path / "raw.onnx"), provider="cpu", name="raw"))
    text = capsys.readouterr().out
    assert "--gpus" not in text
    assert "YOLO" not in text  # it does not decode raw maps
    run_triton(settings(bytes_in(tmp_path / "bytes.onnx"), name="bytes"))
    assert "YOLO" not in capsys.readouterr().out  # it sends floats
    run_triton(settings(v8(tmp_path / "trt.onnx"), provider="tensorrt", name="trt"))
    assert " -v tensorrt-trt-" in capsys.readouterr().out


def test_it_loads_without_torch() -> None:
    import subprocess
    import sys

    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'ultralytics')));"
    subprocess.run([sys.executable, "-c", f"{blocked} import {triton.__name__}"], check=True, timeout=120)
