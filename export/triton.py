"""``yolo-subbatch triton``: a model repository for NVIDIA's Triton server, from an ONNX file.

What the server accepts was read in the sources of Triton's core and of its onnxruntime backend.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, ValueInfoProto

from yolo_subbatch.errors import ExportError, SettingsError
from yolo_subbatch.settings.checks import Problem, attempt, check_ranges, error, folder_fault, raise_errors
from yolo_subbatch.settings.commands import TritonSettings

# Ultralytics takes a name with a dot for a file's (NAME.onnx), and the server's address splits at a slash.
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
USUAL_BATCH = 8
VARIABLE = -1
TYPES = {"FLOAT": "FP32", "FLOAT16": "FP16", "DOUBLE": "FP64"}
TYPES |= {name: name for name in "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 STRING".split()}
#: What Ultralytics' client makes attributes of its own; another key could replace one that it needs.
KEYS = "description author date version license docs stride task head batch imgsz names args channels end2end".split()


class Word(str):
    """A word of the configuration that stands without quotes: a constant, true or false."""


Value = str | int | tuple[int, ...] | list[tuple[str, Any]]
Fields = list[tuple[str, Value]]


@dataclass(frozen=True)
class Tensor:
    """An input or output: its shape has -1 for what is variable, and ``first`` names the first dimension."""

    name: str
    type: Word
    shape: tuple[int, ...]
    first: str


@dataclass(frozen=True)
class Model:
    """What an ONNX file says of itself, and its bytes."""

    data: bytes
    inputs: list[Tensor]
    outputs: list[Tensor]
    about: dict[str, str]

    @property
    def layout(self) -> str | None:
        """What our exporter calls the form of the outputs; None if another one wrote the file."""
        return self.about.get("ysb.layout")

    @property
    def served(self) -> list[Tensor]:
        """The outputs that the server gives, without ``num_dets``.

        Ultralytics' client takes the first by name as boxes, and unused rows are known by a confidence of zero.
        """
        return [each for each in self.outputs if self.layout != "nms" or each.name != "num_dets"]

    def literal(self, key: str, kind: type[list[Any]] | type[dict[int, Any]]) -> Any:
        """Return a list of numbers, or what numbers stand for, from the metadata; empty if it is not there."""
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            found = ast.literal_eval(self.about.get(key, str(kind())))
            if isinstance(found, kind) and all(isinstance(each, int) for each in found):
                return found
        raise ExportError(f"metadata {key}: {self.about[key][:60]!r} is none of Ultralytics'; export the file again")


@dataclass(frozen=True)
class Plan:
    """What will be written, and where the server is to keep TensorRT's engines, if it builds any."""

    folder: Path
    files: dict[str, bytes]
    model: Model
    engines: str | None


def check_triton(settings: TritonSettings) -> TritonSettings:
    """Return the settings of ``triton`` with the model's name filled in.

    Raises:
        SettingsError: With everything that is wrong.
    """
    name = Path(settings.model or "").stem if settings.name is None else settings.name
    problems = list(check_ranges(settings))
    attempt("model", problems, lambda: problems.extend(_check_model(settings.model)))
    attempt("out", problems, lambda: problems.extend(_check_place(settings.out, name, settings.model)))
    gpus = settings.gpus or ()
    if gpus and settings.provider == "cpu":
        problems.append(error("gpus", "gpus: provider=cpu computes on none; leave gpus or provider out"))
    if len(set(gpus)) < len(gpus):
        shown = ",".join(map(str, gpus))
        problems.append(error("gpus", f"gpus={shown}: one is given twice; for copies on a GPU give instances=2"))
    raise_errors(problems)
    return replace(settings, name=name)


def _check_model(model: str | None) -> Iterator[Problem]:
    if not model:
        yield error("model", "model: not given; give the ONNX file that export has written, as in model=best.onnx")
    elif Path(model).is_dir():
        yield error("model", f"model={model}: this is a folder; give the ONNX file inside it")
    elif not Path(model).exists():
        yield error("model", f"model={model}: no such file; write it first with yolo-subbatch export")


def _check_place(out: str | None, name: str, model: str | None) -> Iterator[Problem]:
    if model and not NAME.fullmatch(name):
        like = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:100].strip("-") or "yolo"
        yield error("name", f"name={name}: more than letters, digits, _ and -, or too long; give name={like}")
    if not out:
        yield error("out", "out: not given; give the folder of the repository, as in out=models")
    elif (fault := folder_fault(Path(out))) is not None:
        yield error("out", f"out={out}: {fault}")
    elif os.path.lexists(Path(out) / name) and NAME.fullmatch(name):
        yield error("name", f"{Path(out) / name}: exists and is not overwritten; give another name=, or remove it")


def run_triton(settings: TritonSettings) -> int:
    """Write a repository, and print how to serve it and how to ask.

    Raises:
        YoloSubbatchError: If the settings or the file are of no use; nothing is written then.
    """
    plan = _plan(settings)
    _write(plan)
    print(f"{plan.folder}: {', '.join(plan.files)}")
    mounts = [f"{plan.folder.absolute().parent}:/models"]
    mounts += [f"{Path(plan.engines).name}:{plan.engines}"] if plan.engines else []
    gpus = "" if settings.provider == "cpu" else "--gpus all "
    volumes = " ".join(f"-v {shlex.quote(each)}" for each in mounts)
    print("Serve it, with a release of the server for <yy.mm>:")
    print(
        f"docker run {gpus}-p8000:8000 {volumes} nvcr.io/nvidia/tritonserver:<yy.mm>-py3 "
        "tritonserver --model-repository=/models"
    )
    if "names" in plan.model.about and plan.model.layout != "raw" and plan.model.inputs[0].type == "TYPE_FP32":
        url = f"http://localhost:8000/{plan.folder.name}"
        print(f'Ask it from Python: YOLO("{url}", task="detect").predict("image.jpg")')
    return 0


def write_repository(settings: TritonSettings) -> Path:
    """Write ``OUT/NAME/config.pbtxt``, ``labels.txt`` if the file names its classes, and ``1/model.onnx``.

    Returns:
        The folder ``OUT/NAME``.

    Raises:
        SettingsError: If settings are wrong, or the folder exists.
        ExportError: If the file is not ONNX, cannot be served, or the folder cannot be written.
    """
    return _write(_plan(settings))


def _plan(settings: TritonSettings) -> Plan:
    settings = check_triton(settings)
    source, name = Path(settings.model or ""), settings.name or ""
    try:
        model = _read(source.read_bytes())
        limit = _max_batch(model, settings)
        # The cache's own names do not depend on the weights, so that a new file needs a folder of its own.
        digest = hashlib.sha256(model.data).hexdigest()[:12]
        engines = f"/tmp/tensorrt-{name}-{digest}" if settings.provider == "tensorrt" else None
        files = {"config.pbtxt": pbtxt(_config(model, settings, limit, engines)).encode()}
        names = sorted(model.literal("names", dict).items())
    except OSError as fault:
        raise ExportError(f"model={source}: cannot be read ({fault.strerror}); check the file") from fault
    except ExportError as fault:
        raise ExportError(f"model={source}: {fault}") from fault
    if names:
        # No output refers to it: the server would rank an output's numbers as scores of classes, and these are boxes.
        files["labels.txt"] = "".join(" ".join(str(each).split()) + "\n" for _, each in names).encode()
    return Plan(Path(settings.out or "") / name, {**files, "1/model.onnx": model.data}, model, engines)


def _read(data: bytes) -> Model:
    try:
        model = onnx.load_model_from_string(data)
    except Exception as fault:  # protobuf's, of a kind that onnx does not declare
        raise ExportError("not ONNX, or cut off; give the file that export has written") from fault
    graph = model.graph
    constants = {each.name for each in graph.initializer}
    inputs = [_tensor(each) for each in graph.input if each.name not in constants]
    if not (model.ir_version and model.opset_import and graph.node and inputs and graph.output):
        raise ExportError("not ONNX, or cut off; give the file that export has written")
    if any(each.data_location == TensorProto.EXTERNAL for each in graph.initializer):
        raise ExportError("its weights are in another file; save them inside it")
    about = {each.key: each.value for each in model.metadata_props}
    return Model(data, inputs, [_tensor(each) for each in graph.output], about)


def _tensor(value: ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    name = {number: name for name, number in TensorProto.DataType.items()}.get(kind.elem_type, "")
    if name not in TYPES or not kind.HasField("shape"):
        raise ExportError(f"{value.name}: not a tensor of a type and shape that the server knows; export it again")
    dims = kind.shape.dim
    shape = tuple(dim.dim_value if dim.dim_value > 0 else VARIABLE for dim in dims)
    return Tensor(value.name, Word(f"TYPE_{TYPES[name]}"), shape, dims[0].dim_param if dims else "")


def _max_batch(model: Model, settings: TritonSettings) -> int:
    """Return how many images the server may join; 0 if the file takes a fixed number.

    The server joins requests, and cuts results apart, along the first dimension of every input and output. From 1 on
    it insists that this dimension is variable, whatever its size: a file for one image needs 0 as well.
    """
    tensors = [*model.inputs, *model.outputs]
    firsts = {(each.shape[:1], each.first if model.layout is None else "") for each in tensors}
    if len(firsts) != 1 or not tensors[0].shape:
        shown = ", ".join(f"{each.name} {each.first or list(each.shape[:1])}" for each in tensors[:6])
        raise ExportError(
            f"the first dimensions differ ({shown}), and the server needs the batch there in every input and output; "
            "export it with yolo-subbatch export"
        )
    fixed = tensors[0].shape[0]
    if fixed == VARIABLE:
        return settings.batch or USUAL_BATCH
    if settings.batch not in (None, fixed):
        raise SettingsError(
            f"batch={settings.batch}: the file takes {fixed} at a time; leave batch out, or export with dynamic=True"
        )
    return 0


def _config(model: Model, settings: TritonSettings, limit: int, engines: str | None) -> Fields:
    fields: Fields = [("name", settings.name or ""), ("backend", "onnxruntime"), ("max_batch_size", limit)]
    fields += [("input", _described(each, limit)) for each in model.inputs]
    fields += [("output", _described(each, limit)) for each in model.served]
    fields.append(("version_policy", [("latest", [("num_versions", 1)])]))
    kind = Word("KIND_CPU" if settings.provider == "cpu" else "KIND_GPU")
    group: Fields = [("count", settings.instances), ("kind", kind)]
    fields.append(("instance_group", [*group, ("gpus", settings.gpus)] if settings.gpus else group))
    if limit > 1:
        delay = ("max_queue_delay_microseconds", settings.delay)
        fields.append(("dynamic_batching", [("preferred_batch_size", (limit,)), delay]))
    if engines:
        fields.append(("optimization", _tensorrt(model, engines)))
    fields += [("model_warmup", each) for each in _warm_ups(model, limit)]
    return fields + [("parameters", each) for each in _parameters(model, settings, limit)]


def _described(tensor: Tensor, limit: int) -> Fields:
    dims = tensor.shape[1:] if limit else tensor.shape
    fields: Fields = [("name", tensor.name), ("data_type", tensor.type), ("dims", dims or (1,))]
    return fields if dims else [*fields, ("reshape", [])]  # one number for each image: the server wants a dimension


def _tensorrt(model: Model, engines: str) -> Fields:
    # Ranges of shapes are left to the provider, to which the warm-up shows both ends: given here they would be needed
    # for every part of a graph that TensorRT does not take whole.
    precision = model.about.get("ysb.precision", "fp32").upper()
    options = {"precision_mode": precision, "trt_engine_cache_enable": "1", "trt_engine_cache_path": engines}
    pairs: Fields = [("parameters", [("key", key), ("value", value)]) for key, value in options.items()]
    return [("execution_accelerators", [("gpu_execution_accelerator", [("name", "tensorrt"), *pairs])])]


def _warm_ups(model: Model, limit: int) -> Iterator[Fields]:
    """Yield requests of zeros, of one image and of the most, so that no user waits for what is prepared per shape."""
    inputs: Fields = []
    for each in model.inputs:
        dims, free = list(each.shape[1:] if limit else each.shape), iter(model.literal("imgsz", list))
        dims = [next(free, VARIABLE) if side == VARIABLE else side for side in dims]
        if min(dims, default=1) < 1 or each.type == "TYPE_STRING":
            return  # a file of another exporter: nobody knows which size it is for
        value: Fields = [("data_type", each.type), ("dims", tuple(dims) or (1,)), ("zero_data", Word("true"))]
        inputs.append(("inputs", [("key", each.name), ("value", value)]))
    for batch in sorted({1, limit or 1}):
        yield [("name", f"{batch} at a time" if limit else "zeros"), ("batch_size", batch), *inputs]


def _parameters(model: Model, settings: TritonSettings, limit: int) -> Iterator[Fields]:
    if "names" in model.about:
        kept = {key: value for key, value in model.about.items() if key in KEYS or key.startswith("ysb.")}
        kept.pop("ysb.cfg", None)  # long, and in the file itself
        # What the client may send at once, which for a dynamic file is not what it was exported with.
        kept["batch"] = str(limit or model.inputs[0].shape[0])
        yield _parameter("metadata", repr(kept))
    if settings.provider != "cpu":
        # As an accelerator named cuda these would be without effect: the backend sets them once more from here, with
        # its defaults for those that are missing. 0 tries every algorithm for each new shape, 1 asks a heuristic.
        free = any(VARIABLE in each.shape for each in model.inputs)
        yield _parameter("cudnn_conv_algo_search", "1" if free else "0")
        yield _parameter("arena_extend_strategy", "1")  # take from the GPU what is needed, not the next power of two
        yield _parameter("do_copy_in_default_stream", "1")


def _parameter(key: str, value: str) -> Fields:
    return [("key", key), ("value", [("string_value", value)])]


def pbtxt(fields: Fields, indent: str = "") -> str:
    """Return fields in protobuf's text format."""
    return "".join(f"{indent}{name}{_shown(value, indent)}\n" for name, value in fields)


def _shown(value: Value, indent: str) -> str:
    if isinstance(value, tuple):
        return f": [{', '.join(map(str, value))}]"
    if isinstance(value, list):
        return f" {{\n{pbtxt(value, indent + '  ')}{indent}}}"
    return f": {quoted(value) if isinstance(value, str) and not isinstance(value, Word) else value}"


def quoted(text: str) -> str:
    """Return a text as protobuf's text format has it; its bytes outside of ASCII stay as they are, UTF-8."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + re.sub(r"[\0-\x1f\x7f]", lambda found: f"\\{ord(found.group()):03o}", plain) + '"'


def _write(plan: Plan) -> Path:
    """Write files into a new folder, which gets its name when it is complete."""
    out = plan.folder.parent
    missing = [each for each in (out, *out.parents) if not each.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".triton-", dir=out) as made:
            folder = Path(made) / plan.folder.name  # not the temporary one itself, which nobody else may read
            for file, data in plan.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(data)
            os.rename(folder, plan.folder)
    except BaseException as fault:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        if not isinstance(fault, OSError):
            raise
        raise ExportError(f"{plan.folder}: cannot be written ({fault.strerror}); give another place, out=") from fault
    return plan.folder
