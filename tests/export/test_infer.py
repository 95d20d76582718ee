"""The inference script: which provider computes, how images are fitted, and how outputs become boxes."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from ultralytics.data.augment import LetterBox
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes

from yolo_subbatch.darknet import Network, parse_cfg
from yolo_subbatch.darknet import decode as darknet_decode
from yolo_subbatch.darknet.augment import letterbox
from yolo_subbatch.export import infer
from yolo_subbatch.export.infer import (
    About,
    InferError,
    InferSettings,
    OnnxYolo,
    Thresholds,
    check_placement,
    explain,
    fit_image,
    greedy,
    open_session,
    provider_list,
    read_about,
    suppress,
    tensorrt_options,
)
from yolo_subbatch.export.onnx import OnnxExporter
from yolo_subbatch.settings.commands import ExportSettings

CFG = """
[net]
width=64
height=64
channels=3

[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=12
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=16
size=1
stride=1
activation=linear

[yolo]
mask=0,1
anchors=12,18, 26,22
classes=3
num=2
scale_x_y=1.2

[route]
layers=1

[convolutional]
filters=8
size=3
stride=2
pad=1
activation=linear

[yolo]
mask=2
anchors=12,18, 26,22, 40,30
classes=3
num=3
"""
NAMES = {0: "ant", 1: "bee", 2: "cat"}
FILES: dict[str, dict[str, Any]] = {
    "fixed": {},
    "dynamic": {"dynamic": True},
    "three": {"batch": 3},
    "nms": {"dynamic": True, "nms": True, "conf": 0.3},
    "nms_fixed": {"nms": True, "conf": 0.3},
    "raw": {"dynamic": True, "raw": True},
    "bytes": {"dynamic": True, "preprocess": True},
    "bytes_three": {"preprocess": True, "batch": 3},
    "half": {"dynamic": True, "half": True},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Exported files of one network that finds a lot, and some that are made from them, by name."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(1)
    network = Network(parse_cfg(CFG, "small.cfg"))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5)
            torch.nn.init.normal_(module.bias, 0, 0.5)
    for name, changes in FILES.items():
        settings = ExportSettings(parity=False, **changes)
        OnnxExporter(network, NAMES, settings).export(folder / f"{name}.onnx")
    for name, source, change in (
        ("bare", "dynamic", without_metadata), ("bare_fixed", "fixed", without_metadata), ("v5", "dynamic", as_v5),
        ("v5_bare", "fixed", lambda model: without_metadata(as_v5(model))), ("half_input", "dynamic", with_half_input),
        ("half_fixed", "fixed", with_half_input),
    ):  # fmt: skip
        onnx.save(change(onnx.load(folder / f"{source}.onnx")), folder / f"{name}.onnx")
    return {path.stem: str(path) for path in folder.glob("*.onnx")}


def without_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.metadata_props[:]
    return model


def with_half_input(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in model.graph.node:
        node.input[:] = ["full" if name == "images" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", ["images"], ["full"], to=TensorProto.FLOAT))
    return model


def as_v5(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give rows of box, objectness and classes, as YOLOv5 does; their products are the confidences of before."""
    node, graph = helper.make_node, model.graph
    for each in graph.node:
        each.output[:] = ["decoded" if name == "output0" else name for name in each.output]
    constants = {"zero": [0], "four": [4], "end": [99], "axis": [1]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(each, np.int64), name) for name, each in constants.items()
    )
    graph.node.extend([
        node("Slice", ["decoded", "zero", "four", "axis"], ["place"]),
        node("Slice", ["decoded", "four", "end", "axis"], ["scores"]),
        node("ReduceMax", ["scores", "axis"], ["objectness"]),
        node("Div", ["scores", "objectness"], ["classes"]),
        node("Concat", ["place", "objectness", "classes"], ["columns"], axis=1),
        node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]),
    ])  # fmt: skip
    batch, _, boxes = (each.dim_param or each.dim_value for each in graph.output[0].type.tensor_type.shape.dim)
    graph.output[0].CopyFrom(helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, boxes, 8]))
    # What else the file says would name the layout that it had.
    kept = [each for each in model.metadata_props if each.key in {"names", "stride", "imgsz"}]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.checker.check_model(model)
    return model


def pictures(count: int = 5, height: int = 64, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (width, height)) for _ in range(count)]


def cpu(path: str, **settings: Any) -> OnnxYolo:
    return OnnxYolo(path, "cpu", **{"conf": 0.3, "streams": 1, "workers": 1, **settings})


def same(found: list[infer.Detections], wanted: list[infer.Detections], pixels: float = 0, score: float = 0) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (one.width, one.height, one.frame, one.error) == (other.width, other.height, other.frame, other.error)
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=pixels)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=score)
    assert sum(map(len, found)), "nothing is found, which shows nothing"


# --- providers --------------------------------------------------------------------------------------------------------

FAILED_CUDA = (
    "[E:onnxruntime:Default, provider_bridge_ort.cc:2167 TryGetProviderInfo_CUDA] /onnxruntime/core/session/"
    "provider_bridge_ort.cc:1778 Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "libonnxruntime_providers_cuda.so with error: {}: cannot open shared object file: No such file or directory\n"
    "[W:onnxruntime:Default, onnxruntime_pybind_state.cc:1013 CreateExecutionProviderFactoryInstance] Failed to create "
    "CUDAExecutionProvider. Require cuDNN 9.* and CUDA 13.*. Please install all dependencies as mentioned in the GPU "
    "requirements page, make sure they're in the PATH, and that your GPU is supported.\n"
)
CUDA_CALL = (
    "*************** EP Error ***************\nEP Error /onnxruntime/core/providers/cuda/cuda_call.cc:129 "
    "std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(...) CUDA failure {} ; GPU=0 ; "
    "hostname=x ; file=/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=324 ; expr=cudaSetDevice();\n"
)
TENSORRT = (
    "EP Error /onnxruntime/python/onnxruntime_pybind_state.cc:548 CreateExecutionProviderInstance(...) Please install "
    "TensorRT libraries as mentioned in the GPU requirements page, make sure they're in the PATH or LD_LIBRARY_PATH.\n"
)
LOGS = [
    (FAILED_CUDA.format("libcublasLt.so.13"), "the CUDA libraries are missing (libcublasLt)", "[cuda,cudnn]"),
    (FAILED_CUDA.format("libcudnn.so.9"), "the CUDA libraries are missing (libcudnn)", "[cuda,cudnn]"),
    (FAILED_CUDA.format("libcudart.so.12"), "the CUDA libraries are missing (libcudart)", "[cuda,cudnn]"),
    (FAILED_CUDA.format("libcufft.so.12"), "the CUDA libraries are missing (libcufft)", "[cuda,cudnn]"),
    ("LoadLibrary failed with error 126: cublasLt64_13.dll", "the CUDA libraries are missing", "[cuda,cudnn]"),
    (FAILED_CUDA.format("libcuda.so.1"), "the NVIDIA driver is not there (libcuda.so)", "--gpus all"),
    ("Error loading nvcuda.dll", "the NVIDIA driver is not there", "install the driver"),
    (
        FAILED_CUDA.replace("_cuda.so", "_tensorrt.so").format("libnvinfer.so.10"),
        "TensorRT's libraries",
        "tensorrt-cu13",
    ),
    (TENSORRT, "TensorRT's libraries", "tensorrt-cu13"),
    (CUDA_CALL.format("100: no CUDA-capable device is detected"), "the driver finds no such GPU", "nvidia-smi"),
    (CUDA_CALL.format("101: invalid device ordinal"), "the driver finds no such GPU", "device="),
    (CUDA_CALL.format("35: CUDA driver version is insufficient for CUDA runtime version"), "older than", "update"),
    (CUDA_CALL.format("2: out of memory"), "the GPU's memory is full", "another device="),
    (CUDA_CALL.format("999: unknown error"), "the driver is there, but the GPU cannot be used", "nvidia-smi"),
    ("what is\n\n this\n", "onnxruntime did not say why (this)", "check the installation"),
    ("", "onnxruntime did not say why (no message)", "check the installation"),
]


@pytest.mark.parametrize(("log", "cause", "advice"), LOGS)
def test_the_cause_of_a_failure_is_explained(log: str, cause: str, advice: str) -> None:
    text = explain(log)
    assert cause in text
    assert advice in text.partition("; ")[2]
    assert "\n" not in text


def has_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="a GPU may be here; this tests what happens without one")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there(files: dict[str, str], provider: str, tmp_path: Path, capfd: Any) -> None:
    """What onnxruntime answers in truth: it would go on on the CPU."""
    cv2.imwrite(str(tmp_path / "a.png"), pictures(1)[0])
    given = [f"model={files['dynamic']}", f"source={tmp_path / 'a.png'}", f"provider={provider}"]
    cache = [f"cache={tmp_path / 'engines'}"] if provider == "tensorrt" else []
    assert infer.main([*given, *cache]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"infer: provider={provider}: ")
    if infer.PROVIDERS[provider] not in onnxruntime.get_available_providers():
        assert "built without it" in err
    elif provider == "tensorrt":
        assert "TensorRT" in err
    else:
        assert "driver is not there" in err or "CUDA libraries are missing" in err
        if infer._installed("nvidia-cublas") and infer._installed("nvidia-cudnn-cu13"):
            assert "driver is not there (libcuda.so); install the driver" in err


@pytest.mark.skipif(has_driver(), reason="a GPU may be here; this tests what happens without one")
def test_auto_falls_back_and_says_so_in_one_line(files: dict[str, str], capfd: Any) -> None:
    yolo = OnnxYolo(files["dynamic"])
    out, err = capfd.readouterr()
    assert yolo.placement.provider == "cpu"
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("warning: running on the CPU: provider=cuda: ")


class FakeSession:
    """A session that says that it runs on a GPU, and does not."""

    def __init__(self, session: Any, providers: list[str], nodes: list[tuple[str, str]] | None) -> None:
        self.session, self.providers, self.nodes = session, providers, nodes
        self.shapes: list[tuple[int, ...]] = []
        if nodes is not None:
            self.get_provider_graph_assignment_info = self._assignment

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def get_providers(self) -> list[str]:
        return self.providers

    def run(self, outputs: list[str], feed: dict[str, np.ndarray]) -> Any:
        self.shapes += [each.shape for each in feed.values()]
        return self.session.run(outputs, feed)

    def _assignment(self) -> list[Any]:
        names = dict.fromkeys(place for place, _ in self.nodes or [])
        return [
            SimpleNamespace(
                ep_name=name,
                get_nodes=lambda name=name: [
                    SimpleNamespace(op_type=kind) for place, kind in self.nodes if place == name
                ],
            )
            for name in names
        ]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that lets sessions on a GPU come up in some way, or not; it returns what was asked of them."""

    def install(
        log: str = "", error: Exception | None = None, nodes: tuple[tuple[str, str], ...] = (), works: bool = False
    ) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []
        real = onnxruntime.InferenceSession

        def create(path: str, options: Any = None, **more: Any) -> Any:
            first = more["providers"][0]
            if first == "CPUExecutionProvider":
                return real(path, options, **more)
            os.write(2, log.encode())
            if error is not None:
                raise error
            names = [each if isinstance(each, str) else each[0] for each in more["providers"]]
            session = FakeSession(
                real(path, providers=["CPUExecutionProvider"]), names if works else names[-1:], list(nodes)
            )
            asked.append({"options": options, "session": session, **more})
            return session

        monkeypatch.setattr(onnxruntime, "InferenceSession", create)
        monkeypatch.setattr(
            onnxruntime, "get_available_providers",
            lambda: ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
        )  # fmt: skip
        return asked

    return install


@pytest.mark.parametrize(("log", "cause", "advice"), LOGS)
@pytest.mark.parametrize("raises", [False, True])
def test_a_session_that_comes_up_on_the_cpu_is_refused(
    files: dict[str, str], gpu: Any, log: str, cause: str, advice: str, raises: bool, capfd: Any
) -> None:
    gpu(*(("", RuntimeError(log)) if raises else (log,)))
    with pytest.raises(InferError) as caught:
        OnnxYolo(files["dynamic"], "cuda")
    text = str(caught.value)
    assert text.startswith("provider=cuda: ")
    assert cause in text
    assert advice in text
    assert capfd.readouterr() == ("", ""), "what onnxruntime says is told in our words only"
    yolo = OnnxYolo(files["dynamic"])
    assert yolo.placement.provider == "cpu"
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert cause in err


def test_what_onnxruntime_prints_counts_too(files: dict[str, str], gpu: Any, monkeypatch: Any, capfd: Any) -> None:
    """Some of its causes are printed by its Python part, to standard output."""
    gpu()
    create = onnxruntime.InferenceSession

    def printing(*given: Any, **more: Any) -> Any:
        if more["providers"][0] != "CPUExecutionProvider":
            print(TENSORRT)
        return create(*given, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", printing)
    with pytest.raises(InferError, match="TensorRT's libraries are missing"):
        OnnxYolo(files["dynamic"], "tensorrt", cache=str(Path(files["dynamic"]).parent / "engines"))
    assert capfd.readouterr() == ("", "")


def test_an_onnxruntime_for_cpus_only(files: dict[str, str], monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"]
    )
    for provider in ("cuda", "tensorrt"):
        with pytest.raises(InferError, match=f"provider={provider}: this onnxruntime is built without it; pip"):
            OnnxYolo(files["dynamic"], provider)
    assert OnnxYolo(files["dynamic"], "cpu").placement.provider == "cpu"
    assert capfd.readouterr().err == ""
    assert OnnxYolo(files["dynamic"]).placement.provider == "cpu"
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("installed", [{"onnxruntime"}, {"onnxruntime-gpu"}, {"onnxruntime", "onnxruntime-gpu"}])
def test_two_builds_of_onnxruntime_are_refused(files: dict[str, str], monkeypatch: Any, installed: set[str]) -> None:
    def version(name: str) -> str:
        if name in installed:
            return "1.31.1"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(infer.metadata, "version", version)
    if len(installed) == 1:
        assert OnnxYolo(files["fixed"], "cpu")
        return
    with pytest.raises(InferError, match=r"both installed.*pip uninstall -y onnxruntime onnxruntime-gpu"):
        OnnxYolo(files["fixed"], "cpu")


def test_no_onnxruntime_at_all(files: dict[str, str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InferError, match=r"onnxruntime: cannot be imported.*pip install"):
        OnnxYolo(files["fixed"], "cpu")


@pytest.mark.parametrize(
    ("system", "machine", "advice"),
    [
        ("linux", "x86_64", "; pip install 'onnxruntime-gpu[cuda,cudnn]', or onnxruntime for a machine without a GPU"),
        ("win32", "AMD64", "; pip install 'onnxruntime-gpu[cuda,cudnn]', or onnxruntime for a machine without a GPU"),
        ("darwin", "arm64", "; pip install onnxruntime"), ("darwin", "x86_64", "; pip install onnxruntime"),
        ("linux", "aarch64", "; pip install onnxruntime"), ("win32", "ARM64", "; pip install onnxruntime"),
    ],
)  # fmt: skip
def test_the_package_that_is_named_exists_for_the_system(
    files: dict[str, str], monkeypatch: Any, system: str, machine: str, advice: str
) -> None:
    monkeypatch.setattr(infer.sys, "platform", system)
    monkeypatch.setattr(infer.platform, "machine", lambda: machine)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InferError) as caught:
        OnnxYolo(files["fixed"], "cpu")
    assert str(caught.value).endswith(advice)


def test_no_package_is_named_for_a_gpu_where_there_is_none(files: dict[str, str], monkeypatch: Any) -> None:
    monkeypatch.setattr(infer.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InferError, match=r"provider=cuda: .* without it; install the onnxruntime that the maker"):
        OnnxYolo(files["dynamic"], "cuda")


CUDA, CPU, TRT = "CUDAExecutionProvider", "CPUExecutionProvider", "TensorrtExecutionProvider"


@pytest.mark.parametrize(
    ("provider", "nodes", "lost"),
    [
        ("cuda", [(CUDA, "Conv"), (CUDA, "Resize"), (CPU, "Shape"), (CPU, "Gather"), (CPU, "Gather")], 0),
        ("cuda", [(CUDA, "Conv"), (CPU, "Conv"), (CPU, "FusedConv")], 2),
        ("cuda", [(CPU, "QLinearConv")], 1),
        ("tensorrt", [(TRT, "TRTKernel_1"), (CUDA, "Conv"), (CPU, "Shape")], 0),
        ("tensorrt", [(TRT, "TRTKernel_1"), (CPU, "ConvTranspose")], 1),
    ],
)
def test_convolutions_on_the_cpu_are_refused(provider: str, nodes: Any, lost: int) -> None:
    session = FakeSession(None, [], nodes)
    if lost:
        with pytest.raises(InferError, match=f"provider={provider}: {lost} convolutions would be computed on the CPU"):
            check_placement(session, provider)
        return
    found = check_placement(session, provider)
    outside = [kind for place, kind in nodes if place == CPU]
    assert found.inside == len(nodes) - len(outside)
    assert dict(found.outside) == {kind: outside.count(kind) for kind in outside}


def test_the_placement_is_told_in_one_line() -> None:
    nodes = [(CUDA, "Conv"), (CUDA, "Mul"), (CPU, "Shape"), (CPU, "Gather"), (CPU, "Gather")]
    found = check_placement(FakeSession(None, [], nodes), "cuda")
    assert str(found) == "provider cuda: 2 nodes; on the CPU, where shapes are worked out: 2 Gather, 1 Shape"
    assert str(check_placement(FakeSession(None, [], nodes[:2]), "cuda")) == "provider cuda: 2 nodes"
    assert str(check_placement(FakeSession(None, [], None), "cuda")) == "provider cuda", "an older onnxruntime"
    assert str(check_placement(FakeSession(None, [], nodes), "cpu")) == "provider cpu"


def test_auto_falls_back_if_convolutions_are_lost(files: dict[str, str], gpu: Any, capfd: Any) -> None:
    gpu(nodes=((CUDA, "Mul"), (CPU, "Conv")), works=True)
    with pytest.raises(InferError, match="1 convolutions"):
        OnnxYolo(files["dynamic"], "cuda")
    assert OnnxYolo(files["dynamic"]).placement.provider == "cpu"
    assert capfd.readouterr().err.count("\n") == 1


def test_a_gpu_that_works(files: dict[str, str], gpu: Any, capfd: Any) -> None:
    """Batches are of one size there, the last is filled up: a new shape costs more than empty places."""
    asked = gpu(nodes=((CUDA, "Conv"), (CPU, "Shape")), works=True)
    yolo = OnnxYolo(files["dynamic"], conf=0.3)
    assert capfd.readouterr() == ("", "")
    assert (yolo.placement.provider, yolo.batch, yolo.streams) == ("cuda", 8, 1)
    images = pictures(11)
    same(yolo.detect(images), cpu(files["dynamic"]).detect(images), 1e-3, 1e-5)
    assert asked[0]["session"].shapes == [(8, 3, 64, 64)] * 2
    assert asked[0]["enable_fallback"] == 0
    assert OnnxYolo(files["dynamic"], "cuda", batch=3, streams=2).streams == 2


def settings_for(path: str, **changes: Any) -> InferSettings:
    return InferSettings(model=path, **changes)


def test_options_of_cuda(files: dict[str, str]) -> None:
    settings = settings_for(files["fixed"], device=3, provider="cuda", cuda_graph=True)
    (name, options), other = provider_list("cuda", settings, read_about(files["fixed"]))
    assert (name, other) == (CUDA, CPU)
    assert options == {
        "device_id": "3", "cudnn_conv_algo_search": "EXHAUSTIVE", "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1", "enable_cuda_graph": "1",
    }  # fmt: skip
    (_, options), _ = provider_list("cuda", settings_for(files["dynamic"]), read_about(files["dynamic"]))
    assert (options["cudnn_conv_algo_search"], options["enable_cuda_graph"]) == ("HEURISTIC", "0")
    assert provider_list("cpu", settings, read_about(files["fixed"])) == [CPU]


def test_options_of_tensorrt(files: dict[str, str], tmp_path: Path) -> None:
    about = read_about(files["fixed"])
    settings = settings_for(
        files["fixed"], provider="tensorrt", half=True, cache=str(tmp_path / "a" / "engines"), device=1
    )
    found = tensorrt_options(settings, about)
    assert found == {
        "device_id": "1", "trt_engine_cache_enable": "1", "trt_engine_cache_path": settings.cache,
        "trt_timing_cache_enable": "1", "trt_timing_cache_path": settings.cache,
        "trt_engine_cache_prefix": f"fixed-{about.weights[:12]}", "trt_fp16_enable": "1", "trt_int8_enable": "0",
    }  # fmt: skip
    assert (tmp_path / "a" / "engines").is_dir()
    names = [each if isinstance(each, str) else each[0] for each in provider_list("tensorrt", settings, about)]
    assert names == [TRT, CUDA, CPU]
    shutil.copy(files["dynamic"], tmp_path / "net.onnx")
    found = tensorrt_options(
        settings_for(str(tmp_path / "net.onnx"), provider="tensorrt"), read_about(files["dynamic"])
    )
    assert found["trt_engine_cache_path"] == str(tmp_path / "net-tensorrt"), "beside the model"


@pytest.mark.parametrize(
    ("name", "changes", "least", "most"),
    [
        ("dynamic", {}, "1x3x32x32", "8x3x64x64"),
        ("dynamic", {"imgsz": (32, 96), "batch": 4}, "1x3x32x32", "4x3x32x96"),
        ("bytes", {}, "1x32x32x3", "8x64x64x3"),
        ("free_batch", {}, "1x3x64x64", "8x3x64x64"),
        ("free_size", {}, "2x3x32x32", "2x3x64x64"),
    ],
)
def test_bounds_for_tensorrt(
    files: dict[str, str], tmp_path: Path, name: str, changes: dict[str, Any], least: str, most: str
) -> None:
    """One engine for all shapes; what the file fixes is the same in all of its bounds."""
    about = read_about(files.get(name, files["dynamic"]))
    if name == "free_batch":
        about = infer.dataclasses.replace(about, fixed_size=True)
    if name == "free_size":
        about = infer.dataclasses.replace(about, batch=2)
    settings = settings_for(files["dynamic"], provider="tensorrt", cache=str(tmp_path), **changes)
    found = tensorrt_options(settings, about)
    assert found["trt_profile_min_shapes"] == f"images:{least}"
    assert found["trt_profile_opt_shapes"] == found["trt_profile_max_shapes"] == f"images:{most}"


def test_no_bounds_for_a_file_that_suppresses(files: dict[str, str], tmp_path: Path, gpu: Any) -> None:
    """The warm-up shows TensorRT the smallest and the largest input there, as it does for every free size."""
    cache = str(tmp_path / "engines")
    settings = settings_for(files["nms"], provider="tensorrt", cache=cache)
    assert not [each for each in tensorrt_options(settings, read_about(files["nms"])) if "profile" in each]
    asked = gpu(works=True)
    OnnxYolo(files["nms"], "tensorrt", cache=cache, batch=4).warm_up(1)
    assert asked[0]["session"].shapes == [(1, 3, 32, 32), (4, 3, 64, 64)]
    OnnxYolo(files["nms"], "cuda", batch=4, streams=2).warm_up(1)
    assert asked[1]["session"].shapes == [(4, 3, 64, 64)] * 2


def test_a_cache_that_cannot_be_made(files: dict[str, str], tmp_path: Path, gpu: Any) -> None:
    gpu(works=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InferError, match=r"cache=.*file.engines: cannot be made"):
        OnnxYolo(files["dynamic"], "tensorrt", cache=str(tmp_path / "file" / "engines"))


def test_the_record_of_placements_is_asked_for(files: dict[str, str]) -> None:
    for provider, wanted in (("cuda", "1"), ("cpu", None)):
        options = infer.session_options(settings_for(files["fixed"], threads=3, spin=False), provider, 2)
        assert options.intra_op_num_threads == 3
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        key = "session.record_ep_graph_assignment_info"
        if wanted:
            assert options.get_session_config_entry(key) == wanted
        else:
            with pytest.raises(RuntimeError):
                options.get_session_config_entry(key)
    options = infer.session_options(settings_for(files["fixed"]), "cpu", 1)
    assert options.intra_op_num_threads == infer.cores()


@pytest.mark.parametrize(
    ("name", "more", "ok"),
    [("fixed", {}, True), ("fixed", {"streams": 2}, False), ("dynamic", {}, False), ("nms_fixed", {}, False)],
)
def test_what_a_cuda_graph_can_replay(
    files: dict[str, str], gpu: Any, monkeypatch: Any, name: str, more: dict[str, Any], ok: bool
) -> None:
    gpu(works=True)
    monkeypatch.setattr(infer, "Runner", lambda *given: None)  # it would take memory on the GPU
    if ok:
        assert OnnxYolo(files[name], "cuda", cuda_graph=True, **more).placement.provider == "cuda"
        return
    with pytest.raises(InferError, match=r"(cuda_graph=True|streams=2): .*CUDA graph"):
        OnnxYolo(files[name], "cuda", cuda_graph=True, **more)


@pytest.mark.parametrize("changes", [{"cuda_graph": True}, {"half": True}, {"cache": "x"}])
def test_settings_of_another_provider(files: dict[str, str], changes: dict[str, Any]) -> None:
    with pytest.raises(InferError, match=r"provider=(cuda|tensorrt)"):
        OnnxYolo(files["fixed"], "cpu", **changes)


def test_sessions_are_opened_by_many_threads(files: dict[str, str], capfd: Any) -> None:
    """Each looks at what is written to standard error meanwhile, and puts it back."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                open_session(settings_for(files["fixed"], provider="cpu"), read_about(files["fixed"]), 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors
    os.write(2, b"to the error stream")
    print("to the output", flush=True)
    assert capfd.readouterr() == ("to the output\n", "to the error stream")


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix closes the stream")
def test_no_standard_error(files: dict[str, str], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pictures(1)[0])
    command = f"exec '{sys.executable}' '{infer.__file__}' model='{files['fixed']}' source=a.png json=a.json 2>&-"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(json.loads((tmp_path / "a.json").read_text())) == 1


# --- the script alone -------------------------------------------------------------------------------------------------

ALONE = """
import sys
blocked = ("torch", "torchvision", "ultralytics", "onnx", "yolo_subbatch", "PIL", "yaml")
for name in blocked:
    sys.modules[name] = None  # importing it raises
import infer
status = infer.main(sys.argv[1:])
assert not any(sys.modules.get(name) for name in blocked)
sys.exit(status)
"""


def test_the_script_runs_alone(files: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(infer.__file__, tmp_path / "infer.py")
    (tmp_path / "images").mkdir()
    for index, (height, width) in enumerate(((64, 64), (50, 90), (130, 41))):
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), pictures(1, height, width, index)[0])
    given = [f"model={files['dynamic']}", "source=images", "provider=cpu", "conf=0.3", "json=found.json"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *given], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "boxes in found.json"
    found = json.loads((tmp_path / "found.json").read_text())
    wanted = [each.entry() for each in cpu(files["dynamic"]).predict(tmp_path / "images")]
    assert [each.pop("image") for each in found] == [str(Path("images") / f"{index}.png") for index in range(3)]
    for each in wanted:
        each.pop("image")
    assert found == wanted
    assert [(each["width"], each["height"]) for each in found] == [(64, 64), (90, 50), (41, 130)]
    assert all(len(each["detections"]) > 2 for each in found)
    for each in found:
        scores = [box["confidence"] for box in each["detections"]]
        assert scores == sorted(scores, reverse=True)
        assert all(box["name"] == NAMES[box["class"]] for box in each["detections"])
        for x1, y1, x2, y2 in (box["xyxy"] for box in each["detections"]):
            assert 0 <= x1 <= x2 <= each["width"]
            assert 0 <= y1 <= y2 <= each["height"]


# --- fitting ----------------------------------------------------------------------------------------------------------

SIDES = st.integers(1, 150) | st.sampled_from([1, 2, 3, 640, 1000, 5000])
STRIDES = st.sampled_from([8, 16, 32])


@st.composite
def fits(draw: Any) -> tuple[np.ndarray, tuple[int, int], int]:
    """Draw an image, a size of the network (width, height), and its stride."""
    height, width, stride = draw(SIDES), draw(SIDES), draw(STRIDES)
    assume(height * width <= 10**6)
    size = tuple(stride * draw(st.integers(1, 96 // stride)) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8), size, stride


def boxes_in(size: tuple[int, ...], count: int = 6) -> np.ndarray:
    """Return corners, some of them outside of an input of that height and width."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(-0.2, 1.2, (count, 4)) * (size[1], size[0], size[1], size[0])
    return np.concatenate((np.sort(corners[:, [0, 2]]), np.sort(corners[:, [1, 3]])), 1)[:, [0, 2, 1, 3]].astype(
        np.float32
    )


@given(fits(), st.booleans())
def test_images_are_fitted_as_by_ultralytics(given_: Any, auto: bool) -> None:
    image, (width, height), stride = given_
    wanted = LetterBox((height, width), auto=auto, stride=stride)(image=image)
    found, fit = fit_image(image, (width, height), "ultralytics", stride if auto else 0)
    assert np.array_equal(found, wanted)
    boxes = boxes_in(found.shape)
    back = scale_boxes(found.shape[:2], torch.from_numpy(boxes.copy()), image.shape).numpy()
    np.testing.assert_allclose(fit.back(boxes, image.shape[1], image.shape[0]), back, rtol=2e-6, atol=1e-5)


@given(fits(), st.integers(0, 32))
def test_images_are_fitted_as_by_darknet(given_: Any, stride: int) -> None:
    image, size, _ = given_
    wanted, theirs = letterbox(image, size, fill=127)
    found, fit = fit_image(image, size, "darknet", stride)
    assert np.array_equal(found, wanted)
    assert (fit.across, fit.down, fit.left, fit.top) == (theirs.scale_x, theirs.scale_y, theirs.pad_x, theirs.pad_y)


@given(fits())
def test_images_are_stretched(given_: Any) -> None:
    image, (width, height), _ = given_
    found, fit = fit_image(image, (width, height), "stretch", 32)
    assert np.array_equal(found, cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    corners = np.array([[0, 0, width, height]], np.float32)
    np.testing.assert_allclose(
        fit.back(corners, image.shape[1], image.shape[0]), [[0, 0, *image.shape[1::-1]]], rtol=1e-6
    )


@pytest.mark.parametrize("mode", ["ultralytics", "darknet", "stretch"])
def test_there_and_back(mode: str) -> None:
    """A white rectangle is where the fitted picture has it."""
    image = np.zeros((300, 500, 3), np.uint8)
    image[60:240, 100:400] = 255
    fitted, fit = fit_image(image, (64, 96), mode, 0)
    rows, columns = np.where(fitted[..., 0] > 200)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    np.testing.assert_allclose(fit.back(box, 500, 300), [[100, 60, 400, 240]], atol=8)


def test_the_input_is_red_first_and_in_0_to_1(files: dict[str, str]) -> None:
    image = pictures(1)[0]
    found = cpu(files["fixed"])._input(image)
    assert (found.dtype, found.shape) == (np.float32, (3, 64, 64))
    assert found.flags.c_contiguous
    wanted = torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy()).float() / 255
    assert np.array_equal(found, wanted.numpy())
    half = cpu(files["half_input"])._input(image)
    assert np.array_equal(half, wanted.half().numpy())
    assert cpu(files["bytes"])._input(image) is image


# --- suppression ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 9)] * 2), max_size=60),
    st.sampled_from([0, 0.3, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) | st.floats(0, 1),
    st.integers(1, 70),
)
def test_suppression_is_that_of_torchvision(places: list[tuple[int, ...]], iou: float, most: int) -> None:
    """Whole numbers: overlaps of exactly the threshold, and boxes without area, come up."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in places], np.float32).reshape(-1, 4)
    scores = torch.arange(len(boxes), 0, -1).float()
    wanted = torchvision.ops.nms(torch.from_numpy(boxes), scores, iou)[:most].tolist()
    with np.errstate(all="ignore"):
        assert greedy(boxes, iou, most).tolist() == wanted


def test_an_overlap_of_exactly_the_threshold() -> None:
    """It counts or not as float32 rounds it: 3 of 10 is more than 0.3, 7 of 10 is not more than 0.7."""
    kept = []
    for whole in range(2, 40):
        for part in range(1, whole):
            boxes = np.array([[0, 0, whole, 1], [0, 0, part, 1]], np.float32)
            wanted = torchvision.ops.nms(torch.from_numpy(boxes), torch.tensor([2.0, 1.0]), part / whole)
            found = greedy(boxes, part / whole, 300)
            assert found.tolist() == wanted.tolist(), (part, whole)
            kept.append(len(found))
    assert set(kept) == {1, 2}


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 256, 1000])
@pytest.mark.parametrize("most", [1, 100, 10_000])
def test_suppression_of_many_boxes(count: int, most: int) -> None:
    rng = np.random.default_rng(count)
    low = rng.uniform(0, 100, (count, 2))
    boxes = np.concatenate((low, low + rng.uniform(1, 40, (count, 2))), 1).astype(np.float32)
    for iou in (0.1, 0.45, 0.7):
        wanted = torchvision.ops.nms(torch.from_numpy(boxes), torch.arange(count, 0, -1).float(), iou)[:most]
        assert greedy(boxes, iou, most).tolist() == wanted.tolist()


def reference(decoded: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    found = non_max_suppression(
        torch.from_numpy(decoded[None].copy()), thresholds.conf, thresholds.iou, agnostic=thresholds.agnostic,
        max_det=thresholds.max_det, max_time_img=100,
    )  # fmt: skip
    return found[0].numpy()


def compare_suppression(decoded: np.ndarray, thresholds: Thresholds) -> int:
    wanted = reference(decoded, thresholds)
    with np.errstate(all="ignore"):
        boxes, scores, classes = suppress(decoded, thresholds)
    assert boxes.dtype == scores.dtype == np.float32
    assert np.array_equal(boxes, wanted[:, :4], equal_nan=True)
    assert np.array_equal(scores, wanted[:, 4])
    assert np.array_equal(classes, wanted[:, 5])
    return len(boxes)


def decoded_boxes(count: int, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 200, (2, count))
    size = rng.uniform(5, 80, (2, count))
    return np.concatenate((place, size, rng.random((classes, count)) ** 4)).astype(np.float32)


THRESHOLDS = st.builds(
    Thresholds, st.sampled_from([0, 0.001, 0.25, 0.5, 1]) | st.floats(0, 1), st.sampled_from([0, 0.45, 0.7, 1]) | st.floats(0, 1),
    st.sampled_from([1, 10, 300]), st.booleans(),
)  # fmt: skip


@given(st.integers(0, 300), st.integers(1, 5), st.integers(0, 1000), THRESHOLDS)
def test_boxes_are_those_of_ultralytics(count: int, classes: int, seed: int, thresholds: Thresholds) -> None:
    assume(count + classes != 2)
    compare_suppression(decoded_boxes(count if count != 6 else 7, classes, seed), thresholds)


@pytest.mark.parametrize("agnostic", [False, True])
def test_classes_are_apart_unless_they_shall_not_be(agnostic: bool) -> None:
    decoded = np.array(
        [[50, 50, 150], [50, 51, 50], [20, 20, 20], [20, 20, 20], [0.9, 0, 0], [0, 0.8, 0.7]], np.float32
    )
    assert compare_suppression(decoded, Thresholds(0.25, 0.5, 300, agnostic)) == (2 if agnostic else 3)


def test_the_confidence_has_to_be_above_the_threshold() -> None:
    decoded = decoded_boxes(9, 2, 0)
    decoded[4:] = 0.25
    assert compare_suppression(decoded, Thresholds(0.25, 0.7, 300, False)) == 0
    decoded[5, 3] = np.nextafter(np.float32(0.25), np.float32(1))
    assert compare_suppression(decoded, Thresholds(0.25, 0.7, 300, False)) == 1
    decoded[4:] = 0
    assert compare_suppression(decoded, Thresholds(0.0, 0.7, 300, False)) == 0
    decoded[4:] = 1
    assert compare_suppression(decoded, Thresholds(1.0, 0.7, 300, False)) == 0


def test_equal_confidences_stay_in_order() -> None:
    decoded = decoded_boxes(400, 3, 1)
    decoded[4:] = np.round(decoded[4:], 1)
    assert compare_suppression(decoded, Thresholds(0.1, 0.5, 300, False)) > 10


ODD = [np.nan, np.inf, -np.inf, 0.0, -5.0, 1e30, 3e38]


@example_settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 6), st.sampled_from(ODD)), min_size=1, max_size=8),
    st.integers(0, 50), THRESHOLDS,
)  # fmt: skip
def test_numbers_that_are_none(places: list[tuple[int, int, float]], seed: int, thresholds: Thresholds) -> None:
    decoded = decoded_boxes(12, 3, seed)
    decoded[4:] = np.sqrt(decoded[4:])
    for column, row, value in places:
        decoded[row, column] = value
    compare_suppression(decoded, thresholds)


def test_boxes_that_are_nowhere_are_not_given(files: dict[str, str], monkeypatch: Any, recwarn: Any) -> None:
    """A JSON file could not hold them."""
    yolo = cpu(files["fixed"])
    image = pictures(1)[0]
    wanted = yolo.detect([image])[0]

    def spoilt(self: Any, images: np.ndarray) -> list[np.ndarray]:
        found = real(self, images)
        found[0] = found[0].copy()
        best = found[0][0, 4:].max(0).argmax()
        found[0][0, :4, best] = np.nan, 10, np.inf, 10
        return found

    real = infer.Runner.run
    monkeypatch.setattr(infer.Runner, "run", spoilt)
    found = yolo.detect([image])[0]
    assert np.isfinite(found.boxes).all()
    assert found.scores[0] < wanted.scores[0]
    json.dumps(found.entry(), allow_nan=False)
    assert not [str(each.message) for each in recwarn.list if each.category is RuntimeWarning]


def test_only_the_most_confident_compete(monkeypatch: Any) -> None:
    decoded = decoded_boxes(31_000, 1, 3)
    decoded[4] = np.random.default_rng(0).permutation(31_000) / np.float32(31_000)
    seen: list[np.ndarray] = []
    monkeypatch.setattr(infer, "greedy", lambda boxes, iou, most: (seen.append(boxes), np.arange(len(boxes)))[1])
    found = suppress(decoded, Thresholds(0.0, 0.7, 300, False))
    assert len(seen[0]) == len(found[1]) == 30_000
    assert found[1].min() == np.float32(1000 / 31_000)


@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.sampled_from([1.0, 1.05, 1.2, 2.0]),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_maps_are_decoded_as_by_the_network(
    batch: int, height: int, width: int, anchors: int, scale: float, new: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 2, (batch, anchors * 8, height, width)).astype(np.float32)
    sizes = rng.uniform(5, 100, (anchors, 2)).astype(np.float32)
    wanted = darknet_decode.decode_map(torch.from_numpy(raw), torch.from_numpy(sizes), (16, 32), scale, new)
    wanted = torch.cat((wanted[..., :4], wanted[..., 5:] * wanted[..., 4:5]), -1).transpose(1, 2).numpy()
    head = {"anchors": sizes.tolist(), "cell": [16, 32], "scale_x_y": scale, **({"new_coords": True} if new else {})}
    found = infer.decode_map(raw, head)
    assert (found.dtype, found.shape) == (np.float32, wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-4)


def test_the_logistic_function_does_not_overflow() -> None:
    x = np.array([-1e4, -90, -1, 0, 1, 90, 1e4], np.float32)
    np.testing.assert_allclose(infer.sigmoid(x), torch.from_numpy(x).sigmoid(), atol=1e-7)


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "classes", "layout"),
    [
        ((1, 84, 8400), 80, "v8"), (("b", 84, "n"), 80, "v8"), ((1, 84, 8400), 0, "v8"), ((1, 5, 21), 1, "v8"),
        ((1, 84, 21), 80, "v8"), ((1, 25200, 85), 80, "v5"), (("b", "n", 85), 80, "v5"), ((1, 25200, 85), 0, "v5"),
        ((1, 300, 6), 80, "nms"), (("b", 300, 6), 0, "nms"), (("b", None, None), 80, ""), ((1, 85, 85), 0, ""),
        ((1, 90, 8400), 80, ""),
    ],
)  # fmt: skip
def test_the_layout_shows_in_the_shape(shape: tuple[Any, ...], classes: int, layout: str) -> None:
    assert infer.layout_of(shape, classes) == layout


@pytest.mark.parametrize(
    ("given_", "layout"),
    [
        ({"names": "{0: 'ant'}"}, "v5"),
        ({"names": "['ant']", "stride": "32"}, "v5"),
        ({"names": "{0: 'ant'}", "task": "detect"}, "nms"),
        ({"names": "{0: 'ant', 1: 'bee'}"}, "nms"),
        ({}, "nms"),
    ],
)
def test_six_columns_of_one_class(given_: dict[str, str], layout: str) -> None:
    """YOLOv5 gives box, objectness and the class's confidence there, a file that suppresses itself the class."""
    outputs = [SimpleNamespace(name="output0", shape=[1, 252, 6])]
    names = infer.Said("x.onnx", given_).names()
    assert infer._layout(outputs, given_, len(names), "x.onnx") == layout


@pytest.mark.parametrize(
    "name", ["dynamic", "raw", "bytes", "v5", "half_input", "three", "bytes_three", "half_fixed", "v5_bare"]
)
def test_every_layout_finds_the_same(files: dict[str, str], name: str) -> None:
    images = pictures(4)
    pixels, score = (0.3, 5e-3) if "half" in name else (1e-3, 1e-5)
    same(cpu(files[name]).detect(images), cpu(files["fixed"]).detect(images), pixels, score)


@pytest.mark.parametrize("name", ["raw", "bytes", "v5"])
def test_every_layout_finds_the_same_in_any_shape(files: dict[str, str], name: str) -> None:
    images = [*pictures(2, 40, 90), *pictures(2, 120, 70)]
    same(cpu(files[name]).detect(images), cpu(files["dynamic"]).detect(images), 2e-3, 1e-5)


def test_half_precision_finds_nearly_the_same(files: dict[str, str]) -> None:
    found, wanted = (cpu(files[name], conf=0.5).detect(pictures(3)) for name in ("half", "fixed"))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.scores[:2], other.scores[:2], atol=0.02)


@pytest.mark.parametrize("name", ["nms", "nms_fixed"])
def test_a_file_that_suppresses_itself(files: dict[str, str], name: str, capfd: Any) -> None:
    images = pictures(4)
    wanted = cpu(files["dynamic"]).detect(images)
    same(cpu(files[name]).detect(images), wanted, 1e-3, 1e-5)
    assert capfd.readouterr().err == ""
    yolo = cpu(files[name], conf=0.1, iou=0.5, max_det=2)
    low, other = capfd.readouterr().err.splitlines()
    assert low.startswith("warning: conf=0.1: ")
    assert "drops boxes below 0.3 itself" in low
    assert other.startswith("warning: iou=0.5: ")
    assert [len(each) for each in yolo.detect(images)] == [min(2, len(each)) for each in wanted]
    assert all((each.scores > 0.6).all() for each in cpu(files[name], conf=0.6).detect(images))


def test_what_a_file_that_suppresses_itself_cannot_give_is_told_by_its_key(files: dict[str, str], capfd: Any) -> None:
    cpu(files["nms"], conf=0.3, max_det=301, agnostic_nms=True)
    other, most = capfd.readouterr().err.splitlines()
    assert other.startswith("warning: agnostic_nms=True: ")
    assert "suppresses with agnostic_nms=False itself" in other
    assert most.startswith("warning: max_det=301: ")
    assert "gives 300 boxes at most" in most


def test_a_file_that_says_nothing(files: dict[str, str], tmp_path: Path, capfd: Any) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pictures(1)[0])
    given_ = [f"source={tmp_path / 'a.png'}", "provider=cpu", "conf=0.3", f"json={tmp_path / 'a.json'}"]
    assert infer.main([f"model={files['bare']}", *given_, "imgsz=64"]) == 0
    out = capfd.readouterr().out
    assert "the file does not say its size: 640 is used" in out
    assert "the file has no class names: class0, class1 and so on are used" in out
    assert "the file does not say its stride: 32 is used" in out
    found = json.loads((tmp_path / "a.json").read_text())[0]["detections"]
    wanted = cpu(files["fixed"]).detect(pictures(1))[0].entry()["detections"]
    assert [each["class"] for each in found] == [each["class"] for each in wanted]
    assert {each["name"] for each in found} <= {"class0", "class1", "class2"}
    assert infer.main([f"model={files['bare_fixed']}", *given_]) == 0
    assert "size" not in capfd.readouterr().out, "its shape says it"


def test_what_a_file_says_of_itself(files: dict[str, str]) -> None:
    about = read_about(files["nms"])
    assert (about.layout, about.names, about.stride, about.size) == ("nms", NAMES, 32, (64, 64))
    assert (about.batch, about.fixed, about.fixed_size, about.precision) == (None, False, False, "fp32")
    assert about.suppressed == {"conf": 0.3, "iou": 0.7, "max_det": 300, "agnostic_nms": False}
    about = read_about(files["bytes_three"])
    assert (about.batch, about.fixed, about.fixed_size, about.takes_bytes) == (3, True, True, True)
    assert read_about(files["half_fixed"]).half_input
    assert len(read_about(files["raw"]).heads) == 2


def session_of(
    given_: dict[str, str], shape: Any = (1, 3, 64, 64), kind: str = "tensor(float)", out: Any = (1, 7, 21)
) -> Any:
    return SimpleNamespace(
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=given_),
        get_inputs=lambda: [SimpleNamespace(name="images", shape=list(shape), type=kind)],
        get_outputs=lambda: [SimpleNamespace(name="output0", shape=list(out), type="tensor(float)")],
    )


@pytest.mark.parametrize(
    ("given_", "names", "stride"),
    [
        ({}, {}, 32),
        ({"names": "['a', 'b', 'c']", "stride": "16"}, {0: "a", 1: "b", 2: "c"}, 16),
        ({"names": "{0: 'a', 1: 'b', 2: 'c'}", "stride": "32.0"}, {0: "a", 1: "b", 2: "c"}, 32),
        ({"names": "person", "stride": "[8, 16, 64]"}, {}, 64),
        ({"names": "[", "stride": "x"}, {}, 32),
        ({"names": "7", "stride": "[]"}, {}, 32),
        ({"stride": "0"}, {}, 32),
    ],
)
def test_metadata_of_others(given_: dict[str, str], names: dict[int, str], stride: int) -> None:
    about = infer.about_session(session_of(given_), "x.onnx")
    assert (about.names, about.stride) == (names, stride)


@pytest.mark.parametrize("size", ["64", "[64, 64]", "(64, 64)", "[64,]"])
def test_sizes_of_others(size: str) -> None:
    assert infer.about_session(session_of({"imgsz": size}, ("b", 3, "h", "w"), out=("b", 7, "n")), "x").size == (64, 64)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"given_": {"task": "classify"}}, "a network for classify"),
        ({"shape": (1, 1000)}, "a detector takes one batch of images"),
        ({"shape": (1, 0, 64, 64)}, "images of 0 channels"),
        ({"shape": (1, 64, 64, 3)}, "images of 64 channels have 64x3 pixels; export it with the input .batch, chan"),
        ({"shape": (1, 3, 64, 64), "kind": "tensor(uint8)"}, "images of 64 channels have 3x64 pixels; export it with"),
        ({"shape": (1, 3, 64, 64), "given_": {"channels": "1"}}, "takes images of 3 channels, but says channels: 1"),
        *(
            (
                {"shape": (1, "c", 64, 64), "given_": {"channels": said}},
                f"images of {said} channels; a file can have 1 to",
            )
            for said in ("0", "-3", "2.5", "True", "99999999")
        ),
        ({"kind": "tensor(int64)"}, "images are bytes or floats"),
        ({"out": (1, 1000)}, "boxes come as"),
    ],
)
def test_what_is_no_detector(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InferError, match=text) as caught:
        infer.about_session(session_of(**{"given_": {}, **changes}), "x.onnx")
    assert str(caught.value).startswith("model=x.onnx: ")
    none = session_of({})
    none.get_inputs = list
    with pytest.raises(InferError, match="takes nothing"):
        infer.about_session(none, "x.onnx")


@pytest.mark.parametrize(
    ("shape", "given_", "channels"),
    [
        ((1, 1, 64, 64), {}, 1),
        ((1, 4, 64, 64), {"channels": "4"}, 4),
        ((1, 12, "h", "w"), {}, 12),
        ((1, "c", 64, 64), {"channels": "5"}, 5),
        ((1, "c", 64, 64), {}, 3),
    ],
)
def test_images_of_other_channels(shape: Any, given_: dict[str, str], channels: int) -> None:
    assert infer.about_session(session_of(given_, shape), "x.onnx").channels == channels


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("name", ["three", "bytes_three"])
def test_a_fixed_batch_that_is_not_full(files: dict[str, str], name: str, count: int) -> None:
    images = pictures(count)
    same(cpu(files[name]).detect(images), cpu(files["fixed"]).detect(images), 1e-3, 1e-6)


@pytest.mark.parametrize("name", ["dynamic", "nms", "raw"])
def test_the_result_does_not_depend_on_the_way(files: dict[str, str], name: str) -> None:
    sizes = [(40, 90), (64, 64), (120, 70), (40, 90), (33, 90), (64, 64), (90, 40)] * 3
    images = [pictures(1, *size, seed)[0] for seed, size in enumerate(sizes)]
    wanted = cpu(files[name]).detect(images)
    for batch, streams, workers, threads in ((1, 3, 4, 1), (2, 1, 2, 2), (4, 2, 3, 1), (50, 1, 1, 1)):
        yolo = cpu(files[name], batch=batch, streams=streams, workers=workers, threads=threads)
        same(yolo.detect(images), wanted, 1e-3, 1e-5)
        assert yolo.runners.qsize() == streams, "every runner is back"


def test_images_of_other_shapes_wait_for_their_own_kind(files: dict[str, str], monkeypatch: Any) -> None:
    seen: list[tuple[int, ...]] = []
    real = infer.Runner.run
    monkeypatch.setattr(infer.Runner, "run", lambda self, images: (seen.append(images.shape), real(self, images))[1])
    images = [each for pair in zip(pictures(4, 64, 64), pictures(4, 32, 64), strict=True) for each in pair]
    found = cpu(files["dynamic"], batch=4).detect(images)
    assert sorted(seen) == [(4, 3, 32, 64), (4, 3, 64, 64)]
    assert [(each.height, each.width) for each in found] == [image.shape[:2] for image in images]


def test_the_numbers_of_images_at_a_time(files: dict[str, str]) -> None:
    assert cpu(files["dynamic"]).batch == 1
    assert cpu(files["dynamic"], batch=5).batch == 5
    assert cpu(files["three"]).batch == 3
    assert cpu(files["three"], batch=3).batch == 3
    with pytest.raises(InferError, match=r"batch=2: .*three.onnx takes 3 images at a time; leave batch out"):
        cpu(files["three"], batch=2)


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("dynamic", None, (64, 64)),
        ("dynamic", (32, 96), (96, 32)),
        ("dynamic", 96, (96, 96)),
        ("fixed", (64, 64), (64, 64)),
    ],
)
def test_the_input_size(files: dict[str, str], name: str, size: Any, wanted: tuple[int, int]) -> None:
    assert cpu(files[name], imgsz=size).size == wanted


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("fixed", 96, "imgsz=96,96: .*fixed.onnx takes 64,64 only; leave imgsz out, or export with dynamic=True"),
        ("dynamic", 70, "imgsz=70: not a multiple of the network's stride 32; use 64"),
        ("dynamic", (64, 90), "imgsz=90: not a multiple of the network's stride 32; use 96"),
        ("dynamic", 8, "imgsz=8: not a multiple of the network's stride 32; use 32"),
        ("dynamic", (64, 64, 64), "imgsz=64,64,64: give one number, or height,width"),
    ],
)
def test_an_input_size_that_does_not_fit(files: dict[str, str], name: str, size: Any, text: str) -> None:
    with pytest.raises(InferError, match=text):
        cpu(files[name], imgsz=size)


@pytest.mark.parametrize("name", ["fixed", "dynamic", "bytes", "nms"])
@pytest.mark.parametrize("mode", ["ultralytics", "darknet", "stretch"])
def test_images_of_every_size(files: dict[str, str], name: str, mode: str) -> None:
    sizes = [(1, 1), (1, 5000), (5000, 1), (2, 3), (1500, 2200), (64, 64)]
    images = [pictures(1, *size)[0] for size in sizes]
    for found, image in zip(cpu(files[name], letterbox=mode, batch=None).detect(images), images, strict=True):
        assert (found.height, found.width) == image.shape[:2]
        assert np.isfinite(found.boxes).all()
        assert (found.boxes[:, ::2] <= found.width).all()
        assert (found.boxes[:, 1::2] <= found.height).all()
        json.dumps(found.entry(), allow_nan=False)


@pytest.mark.parametrize("mode", ["darknet", "stretch"])
def test_the_ways_of_darknet_use_the_full_size(files: dict[str, str], mode: str) -> None:
    images = pictures(3, 30, 90)
    found = cpu(files["dynamic"], letterbox=mode).detect(images)
    same(found, cpu(files["fixed"], letterbox=mode).detect(images), 1e-3, 1e-5)


@example_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_images_come_back_in_their_order(
    files: dict[str, str], sizes: list[tuple[int, int]], batch: int, streams: int
) -> None:
    yolo = cpu(files["dynamic"], batch=batch, streams=streams, workers=3, conf=0.9)
    found = yolo.detect([np.zeros((*size, 3), np.uint8) for size in sizes])
    assert [(each.height, each.width) for each in found] == sizes
    assert [each.path for each in found] == [f"image{index}" for index in range(len(sizes))]


def test_ultralytics_finds_the_same_in_the_file(files: dict[str, str]) -> None:
    from ultralytics import YOLO

    images = [*pictures(2, 64, 64), *pictures(1, 48, 100), *pictures(1, 90, 41)]
    theirs = YOLO(files["dynamic"], task="detect")
    for image, found in zip(images, cpu(files["dynamic"], iou=0.7).detect(images), strict=True):
        wanted = theirs.predict(image, conf=0.3, iou=0.7, imgsz=64, verbose=False, device="cpu")[0].boxes
        assert found.classes.tolist() == wanted.cls.tolist()
        np.testing.assert_allclose(found.boxes, wanted.xyxy.numpy(), atol=2e-3)
        np.testing.assert_allclose(found.scores, wanted.conf.numpy(), atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_numbers_that_overflow_are_no_warning(files: dict[str, str]) -> None:
    about = read_about(files["raw"])
    maps = [np.full((1, 16, 8, 8), 500, np.float32), np.full((1, 8, 4, 4), -np.inf, np.float32)]
    (found,) = infer.boxes_of(maps, about, Thresholds(0.1, 0.5, 300, False))
    assert len(found[0]) == 128, "boxes that are infinite do not overlap, as for torchvision"
    decoded = np.full((1, 7, 40), np.inf, np.float32)
    infer.boxes_of([decoded], read_about(files["fixed"]), Thresholds(0.1, 0.5, 300, False))


def test_about_is_all_that_the_decoder_needs() -> None:
    about = About("images", ("output0",), "", {}, 32, (64, 64), None, False, False, False, False)
    with pytest.raises(InferError, match="boxes of shape"):
        infer.boxes_of([np.zeros((1, 9, 9), np.float32)], about, Thresholds(0.1, 0.5, 9, False))
