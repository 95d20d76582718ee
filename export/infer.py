#!/usr/bin/env python3
"""YOLO inference from an ONNX file, with neither torch nor Ultralytics.

This file stands alone: copy it beside a model and run it. It needs onnxruntime (``onnxruntime-gpu`` for a GPU), numpy
and OpenCV::

    python infer.py model=best.onnx source=images/ provider=cuda json=boxes.json
    python infer.py model=best.onnx source=video.mp4 save=True
    python infer.py model=best.onnx source=images/ benchmark=True

or, from Python::

    model = OnnxYolo("best.onnx", provider="cuda")
    for found in model.predict("images/"):
        print(found.path, found.boxes, found.scores, found.classes)

A GPU that is asked for is used, or the reason why not is the answer: onnxruntime alone would go on on the CPU.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import dataclasses
import difflib
import errno
import functools
import glob
import http.client
import importlib
import io
import itertools
import json
import mmap
import os
import platform
import queue
import re
import stat
import statistics
import struct
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

# Before onnxruntime is imported, which would look up a telemetry host and keep a number of this device in a cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Array = NDArray[Any]

IMAGES = frozenset(".avif .bmp .dng .heic .heif .jp2 .jpeg .jpg .mpo .png .tif .tiff .webp".split())
VIDEOS = frozenset(".asf .avi .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ts .webm .wmv".split())
LISTS = frozenset({".txt", ".list", ".csv", ".streams"})  # of sources
OTHERS = frozenset(".txt .json .xml .csv .yaml .yml .npy .cache .data .names .md".split())  # what lies beside pictures
BY_PILLOW = frozenset({".avif", ".heic", ".heif"})
#: How the files of pictures begin.
SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51", b"\x59\xa6\x6a\x95", b"#?RADIANCE", b"#?RGBE", b"\x76\x2f\x31\x01",
)  # fmt: skip
PORTABLE = frozenset(f"P{letter}".encode() for letter in "1234567Ff")
BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heif", b"mif1", b"msf1")
PATIENCE = 30.0  # seconds for an answer from the web
PROVIDERS = {
    "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider", "cpu": "CPUExecutionProvider",
}  # fmt: skip
GREY, DARKNET_GREY = 114, 127
CORNERS, FINISHED = 4, 6  # numbers of a box, and of one with its confidence and class
GREYS, COLOUR, OPACITY = 1, 3, 4  # numbers of channels that every image can be brought to
MOST_CHANNELS = 4096  # of an image; the bands of a spectrometer are some hundreds
SMALLEST = 8  # pixels of a side of an input; a smaller one is the number of channels, in the wrong place
JPEG = b"\xff\xd8"  # how its files begin
APART = 7680.0  # pixels by which the boxes of neighbouring classes are moved apart, as in Ultralytics
MOST_CANDIDATES = 30_000  # boxes that compete for one image, the most confident ones
NMS_BLOCK = 128
GPU_BATCH = 8
MOST_STREAMS = 8
MOST_PIXELS = 2**28  # of an image; see the setting
MOST_BYTES = 2**31 - 1  # of the file of a picture; OpenCV counts them in 32 bits
MOST_LIST = 2**30  # bytes of a list
LONGEST_LINE = 2**16  # bytes of a list's line
MOST_NUMBERS = 2**31  # in an input or an output
MOST_SIDE = 8192  # pixels of an input that a file says of itself
LARGEST_STRIDE = 1024  # pixels
MOST_CLASSES = 1_000_000
LONGEST_NAME = 200  # letters of a class
LONGEST_SHOWN = 60  # letters of a value in a message
MOST_THREADS, THREADS_A_CORE = 1024, 4
WAIT, WAIT_A_PIXEL = 10.0, 1e-4  # seconds for a batch on a CPU; YOLOv4 on two cores takes a fiftieth of that
LOG = threading.RLock()
DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130


class InferError(Exception):
    """Something that the user can mend: ``where: what was found; what to do``."""


# --- settings ---------------------------------------------------------------------------------------------------------


def option(default: Any, group: str, label: str, tip: str, **rule: Any) -> Any:
    """Declare a setting: its heading, its name for people, one sentence, and its bounds or choices."""
    return field(default=default, metadata={"group": group, "label": label, "tip": tip, **rule})


@dataclass(frozen=True)
class InferSettings:
    """What ``infer`` understands."""

    model: str | None = option(None, "Input", "Model", "ONNX file.", kind="file", filter="ONNX (*.onnx)")
    source: str | None = option(
        None, "Input", "Source",
        "Image, folder, pattern, video, list (.txt, .list), address of an image, a video or a stream, list of streams "
        "(.streams), number of a camera, or - for names from standard input.",
    )  # fmt: skip
    imgsz: int | tuple[int, int] | None = option(
        None, "Input", "Image size", "Input size in pixels, or height,width; the file's if not given.", min=8, max=8192
    )
    letterbox: str = option(
        "ultralytics", "Input", "Letterbox", "How images are fitted to the network.",
        choices=("ultralytics", "darknet", "stretch"), advanced=True,
    )  # fmt: skip
    max_pixels: int = option(
        MOST_PIXELS, "Input", "Most pixels", "Images of more pixels are left out before they are decoded.", min=1,
        advanced=True,
    )  # fmt: skip
    frames: int | None = option(None, "Input", "Frames", "Stop after so many images or frames.", min=1, advanced=True)
    conf: float = option(0.25, "Result", "Confidence", "Least confidence of a box.", min=0, max=1)
    iou: float = option(0.7, "Result", "IoU", "Overlap from which the weaker box is dropped.", min=0, max=1)
    max_det: int = option(300, "Result", "Most boxes", "Boxes an image at most.", min=1)
    agnostic_nms: bool = option(
        False, "Result", "Agnostic NMS", "Boxes of different classes suppress each other too.", advanced=True
    )
    json: str | None = option(None, "Result", "JSON file", "Write the boxes to this file.", kind="file")
    overwrite: bool = option(
        False, "Result", "Overwrite",
        "Replace a file at the result's place that this program did not write; never a file that is read.",
        advanced=True,
    )  # fmt: skip
    save: bool = option(False, "Result", "Save pictures", "Save pictures and videos with their boxes.")
    project: str = option("runs", "Result", "Project", "Folder that holds the results.", kind="folder")
    name: str = option("infer", "Result", "Name", "Name of the result's folder; a taken one gets a number.")
    provider: str = option(
        "auto", "Speed", "Provider", "What computes; cuda and tensorrt never fall back to the CPU, auto says so.",
        choices=("auto", "cuda", "tensorrt", "cpu"),
    )  # fmt: skip
    device: int = option(0, "Speed", "Device", "Number of the GPU.", min=0, max=1023)
    batch: int | None = option(
        None, "Speed", "Batch", "Images at a time; the file's, else 8 on a GPU and 1 on a CPU.", min=1, max=4096
    )
    workers: int | None = option(
        None, "Speed", "Workers", "Threads that read images; up to 8 if not given.", min=1, max=256, advanced=True
    )
    streams: int | None = option(
        None, "Speed", "Streams", "Batches computed at the same time; on a CPU one a core, up to 8, on a GPU 1.",
        min=1, max=64, advanced=True,
    )  # fmt: skip
    threads: int | None = option(
        None, "Speed", "Threads", "Threads of onnxruntime; with the streams as many as there are cores if not given.",
        min=1, max=MOST_THREADS, advanced=True,
    )  # fmt: skip
    spin: bool = option(
        True, "Speed", "Spin", "Threads wait busily; False on a machine that others use.", advanced=True
    )
    cuda_graph: bool = option(
        False, "Speed", "CUDA graph", "Replay the work as one CUDA graph; for files of fixed size without nms.",
        advanced=True,
    )  # fmt: skip
    half: bool = option(
        False, "Speed", "Half", "With tensorrt: let it compute a float32 file in half precision.", advanced=True
    )
    cache: str | None = option(
        None, "Speed", "Cache", "With tensorrt: folder for its engines; beside the model if not given.",
        kind="folder", advanced=True,
    )  # fmt: skip
    benchmark: bool = option(False, "Speed", "Benchmark", "Measure the model alone, and the way from file to boxes.")


def check_settings(settings: InferSettings) -> None:
    """Check what can be checked without opening the model.

    Raises:
        InferError: With everything that is wrong, a line each.
    """
    faults = [fault for each in dataclasses.fields(settings) for fault in _range_fault(settings, each)]
    if not settings.model:
        faults.append("model: not given; give an ONNX file, for example model=best.onnx")
    elif os.path.isdir(settings.model):
        faults.append(f"model={settings.model}: this is a folder; give the .onnx file inside it")
    elif not os.path.isfile(settings.model):
        faults.append(f"model={settings.model}: no such file; write one with yolo-subbatch export")
    if settings.json is not None:
        fault = output_fault(settings.json, settings)
        if fault:
            faults.append(f"json={settings.json}: {fault}")
    if settings.save and os.path.isfile(settings.project):
        faults.append(f"project={settings.project}: this is a file; give a folder")
    if settings.save and (not settings.name.strip(". ") or re.search(r'[/\\:*?"<>|\0-\x1f]', settings.name)):
        faults.append(f"name={settings.name}: not the name of a folder; give a plain name, without a path")
    most = THREADS_A_CORE * cores()
    if settings.threads is not None and most < settings.threads <= MOST_THREADS:
        found = f"threads={settings.threads}: this process may use {counted(cores(), 'core')}"
        faults.append(f"{found}; give at most {most}, or leave it out")
    if settings.cuda_graph and settings.provider != "cuda":
        faults.append(f"cuda_graph=True: needs provider=cuda, not {settings.provider}")
    if (settings.half or settings.cache) and settings.provider != "tensorrt":
        faults.append("half, cache: only TensorRT uses them; give provider=tensorrt, or leave them out")
    if faults:
        raise InferError("\n".join(faults))


#: How the JSON files begin that this script writes: boxes, or the figures of a benchmark.
OWN_JSON = re.compile(
    rb'\s*(?:\[\s*\]\s*\Z|\[\s*\{\s*"image":\s*"(?:[^"\\]|\\.)*",\s*"width":\s*\d+,\s*"height":\s*\d+,'
    rb'|\{\s*"provider":\s*"[^"]*",\s*"batch":\s*\d+,\s*"imgsz":)'
)  # fmt: skip


def output_fault(file: str, settings: InferSettings) -> str | None:
    """Return why a result is not written to a file, and what to do; None if it is.

    A result of this script is replaced, any other file only where the settings say ``overwrite``; a file that is read,
    or what is no regular file, never.
    """
    path, folder = Path(file), Path(os.path.realpath(file)).parent
    if path.is_dir():
        return "this is a folder; give the name of a file"
    if path.exists() and not path.is_file():
        return "this is a device, a pipe or a socket, to which no result is written; give the name of a file"
    if not folder.is_dir():
        return f"the folder {path.parent} does not exist; make it first"
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        return "cannot be written; give another place"
    if not path.exists():
        return None
    for key in ("model", "source"):
        given = getattr(settings, key)
        if given and os.path.exists(given) and os.path.samefile(path, given):
            return f"this is the file that is read as {key}={given}; give another name"
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    if not head or OWN_JSON.match(head):
        return None
    source = settings.source
    if source and not is_address(source) and source != "-" and not source.isdecimal():
        with contextlib.suppress(InferError, OSError):
            if any(os.path.samefile(path, each) for each in find_files(source) if os.path.exists(each)):
                return f"this is one of the images of source={source}; give another name"
    if settings.overwrite:
        return None
    return "exists and was not written by this program; it is not overwritten, give another name, or overwrite=True"


def _range_fault(settings: InferSettings, each: dataclasses.Field[Any]) -> Iterator[str]:
    value, rule = getattr(settings, each.name), each.metadata
    if value is None:
        return
    if "choices" in rule and value not in rule["choices"]:
        yield f"{each.name}={value}: unknown; use one of {', '.join(rule['choices'])}"
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            if not number >= rule.get("min", number):  # not a number, too
                yield f"{each.name}={number}: too small; give at least {rule['min']}"
            elif number > rule.get("max", number):
                yield f"{each.name}={number}: too large; give at most {rule['max']}"


# --- providers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """Where the nodes of a graph are computed.

    Attributes:
        provider: ``cuda``, ``tensorrt`` or ``cpu``.
        inside: How many nodes it computes, after fusion; None where onnxruntime does not tell.
        outside: Operators left to other providers, with their number.
    """

    provider: str
    inside: int | None = None
    outside: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"provider {self.provider}"
        if self.inside is None:
            return text
        text += f": {self.inside} nodes"
        if self.outside:
            names = ", ".join(f"{count} {name}" for name, count in self.outside)
            text += f"; on the CPU, where shapes are worked out: {names}"
        return text


WITH_GPU = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
WITHOUT_GPU = "pip install onnxruntime"
#: What onnxruntime's own words mean: a pattern, the cause, what to do.
CAUSES = (
    (r"libcuda\.so|nvcuda\.dll", "the NVIDIA driver is not there",
     "install the driver, or start the container with --gpus all"),
    (r"libnvinfer|nvonnxparser|nvinfer_|install TensorRT", "TensorRT's libraries are missing, or of another version",
     "pip install 'tensorrt-cu13>=10.13,<11', the version that onnxruntime was built for"),
    (r"libcu(blas|dnn|rand|fft|dart)\w*|libnvrtc|libcudart|cublas\w*\.dll|cudnn\w*\.dll",
     "the CUDA libraries are missing", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
    (r"no CUDA-capable device|CUDA failure 100|cudaErrorNoDevice|invalid device ordinal|CUDA failure 101",
     "the driver finds no such GPU", "check nvidia-smi, CUDA_VISIBLE_DEVICES and device="),
    (r"driver version is insufficient|CUDA failure 35", "the NVIDIA driver is older than this onnxruntime needs",
     "update the driver, or install an onnxruntime-gpu built for its CUDA"),
    (r"out of memory|CUDNN_STATUS_ALLOC_FAILED", "the GPU's memory is full",
     "end what else uses it, or give another device="),
    (r"CUDA failure|CudaCall|cudaError", "the driver is there, but the GPU cannot be used",
     "check nvidia-smi, and that the driver is new enough for this onnxruntime"),
)  # fmt: skip


def explain(log: str) -> str:
    """Turn what onnxruntime wrote while it failed into a cause and what to do."""
    # In this order: what is missing below hides what is above it, and the last is what all the others say, too.
    for pattern, cause, advice in CAUSES:
        found = re.search(pattern, log)
        if found:
            return f"{cause} ({found.group(0)}); {advice}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"onnxruntime did not say why ({lines[-1][:200] if lines else 'no message'}); check the installation"


def check_wheels() -> None:
    """Refuse two builds of onnxruntime at once, which overwrite each other's files.

    Raises:
        InferError: If both are installed, or none.
    """
    found = {name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)}
    if len(found) == 2:
        raise InferError(
            "onnxruntime and onnxruntime-gpu are both installed, and the GPU is lost that way; "
            f"pip uninstall -y onnxruntime onnxruntime-gpu, then {onnxruntime_for_a_gpu()}"
        )
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InferError(
            f"onnxruntime: cannot be imported ({error}); "
            + (f"{WITH_GPU}, or onnxruntime for a machine without a GPU" if has_gpu_wheel() else WITHOUT_GPU)
        ) from error


def has_gpu_wheel() -> bool:
    """Tell whether pip has ``onnxruntime-gpu`` for this system: for macOS and for ARM there is none."""
    return sys.platform != "darwin" and platform.machine() in {"x86_64", "AMD64"}


def onnxruntime_for_a_gpu() -> str:
    """Say how this system gets an onnxruntime that uses its GPU."""
    if has_gpu_wheel():
        return WITH_GPU
    return "install the onnxruntime that the maker of this machine gives for its GPU, or use provider=cpu"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@contextlib.contextmanager
def captured_log() -> Iterator[Callable[[], str]]:
    """Collect what C++ code writes to standard error: it is the only place where onnxruntime says why.

    One thread at a time, since each puts back what it found.
    """
    with LOG, tempfile.TemporaryFile() as file, contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            before = os.dup(2)
        except OSError:  # there is no standard error: a program with a window, or one that runs in the background
            yield printed.getvalue
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(file.fileno(), 2)

        def text() -> str:
            file.seek(0)
            return file.read().decode("utf-8", "replace") + printed.getvalue()

        try:
            yield text
        finally:
            os.dup2(before, 2)
            os.close(before)


def open_session(settings: InferSettings, about: About, streams: int) -> tuple[Any, Placement]:
    """Open the model on the provider that is asked for.

    Raises:
        InferError: If a GPU is asked for and cannot be used, with the cause, or the file is no model.
    """
    if settings.provider != "auto":
        return _open_on(settings.provider, settings, about, streams)
    try:
        return _open_on("cuda", settings, about, streams)
    except InferError as error:
        _warn(f"running on the CPU: {error}")
        return _open_on("cpu", settings, about, streams)


def _open_on(provider: str, settings: InferSettings, about: About, streams: int) -> tuple[Any, Placement]:
    import onnxruntime

    name = PROVIDERS[provider]
    where = f"provider={provider}"
    if name not in onnxruntime.get_available_providers():
        raise InferError(
            f"{where}: this onnxruntime is built without it; "
            + ("pip uninstall -y onnxruntime, then " if has_gpu_wheel() else "")
            + onnxruntime_for_a_gpu()
        )
    if provider != "cpu" and hasattr(onnxruntime, "preload_dlls"):
        with captured_log():
            onnxruntime.preload_dlls()  # the libraries from pip's wheels, which the loader does not find by itself
    options, providers = session_options(settings, provider, streams), provider_list(provider, settings, about)
    failure: Exception | None = None
    with captured_log() as log:
        try:
            # Without its own fallback, which would go on on the CPU.
            session = onnxruntime.InferenceSession(settings.model, options, providers=providers, enable_fallback=0)
        except Exception as error:
            failure = error
        text = log()
    if failure is not None:
        if provider == "cpu" or type(failure).__name__ in {"InvalidProtobuf", "InvalidGraph", "NoSuchFile"}:
            raise InferError(
                f"{settings.model}: onnxruntime cannot load it ({first_line(failure)}); export it again"
            ) from failure
        raise InferError(f"{where}: {explain(text + str(failure))}") from failure
    if name not in session.get_providers():
        raise InferError(f"{where}: {explain(text)}")
    return session, check_placement(session, provider)


def session_options(settings: InferSettings, provider: str, streams: int) -> Any:
    """Return the options of a session: threads, and a record of where each node is computed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # The streams share the pool, and each one's own thread works too.
    options.intra_op_num_threads = settings.threads or max(1, cores() - streams + 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spin else "0")
    if provider == "cpu":  # one without VNNI would add up products of 8 bits in 16, which overflow
        options.add_session_config_entry("session.x64quantprecision", "1")
    if provider != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def cores() -> int:
    """Return how many processors this process may use; in a container that is fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def provider_list(provider: str, settings: InferSettings, about: About) -> list[Any]:
    """Return the providers with their options, as onnxruntime takes them."""
    if provider == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = {
        "device_id": str(settings.device),
        # For every new shape, EXHAUSTIVE tries all algorithms, which takes seconds.
        "cudnn_conv_algo_search": "EXHAUSTIVE" if about.fixed else "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "enable_cuda_graph": "1" if settings.cuda_graph else "0",
    }
    chosen: list[Any] = [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    return [(PROVIDERS["tensorrt"], tensorrt_options(settings, about)), *chosen] if provider == "tensorrt" else chosen


def tensorrt_options(settings: InferSettings, about: About) -> dict[str, str]:
    """Return TensorRT's options: engines are kept, and with fixed bounds built once for all shapes."""
    path = Path(settings.model or "")
    folder = Path(settings.cache) if settings.cache else path.with_name(f"{path.stem}-tensorrt")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InferError(f"cache={folder}: cannot be made ({error.strerror}); give another folder") from error
    options = {
        "device_id": str(settings.device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        # An engine belongs to the weights: another export of the same name must not use it.
        "trt_engine_cache_prefix": f"{path.stem}-{about.weights[:12]}" if about.weights else path.stem,
        "trt_fp16_enable": "1" if settings.half else "0",
        "trt_int8_enable": "1" if about.precision == "int8" else "0",
    }
    # Bounds are for files that TensorRT takes whole: of one that suppresses, it may leave a part to CUDA, and would
    # want bounds for every tensor in between. There the warm-up shows it the smallest and the largest input.
    if not about.fixed and about.layout != "nms":
        width, height = input_size(settings, about)
        most = settings.batch or about.batch or GPU_BATCH
        least = (about.batch or 1, *((height, width) if about.fixed_size else (about.stride, about.stride)))
        bounds = {"min": least, "opt": (most, height, width), "max": (most, height, width)}
        for bound, (batch, down, across) in bounds.items():
            planes = about.channels
            shape = (batch, down, across, planes) if about.takes_bytes else (batch, planes, down, across)
            options[f"trt_profile_{bound}_shapes"] = f"{about.input}:{'x'.join(map(str, shape))}"
    return options


def check_placement(session: Any, provider: str) -> Placement:
    """Look up where every node is computed; convolutions on the CPU mean that the GPU is not used.

    Raises:
        InferError: If a convolution is not on the provider that is asked for.
    """
    if provider == "cpu" or not hasattr(session, "get_provider_graph_assignment_info"):
        return Placement(provider)
    own = {PROVIDERS["cuda"], PROVIDERS[provider]}
    nodes = [
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    outside = Counter(kind for place, kind in nodes if place not in own)
    lost = sum(count for kind, count in outside.items() if "Conv" in kind)
    if lost:
        raise InferError(
            f"provider={provider}: {lost} convolutions would be computed on the CPU, this onnxruntime has no kernel "
            "for them there; export with opset=18 and without int8, or update onnxruntime-gpu"
        )
    return Placement(provider, len(nodes) - sum(outside.values()), tuple(sorted(outside.items())))


# --- the model --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What an ONNX file takes and gives.

    Attributes:
        input: Name of its input.
        outputs: Names of its outputs.
        layout: ``v8`` ``(B, 4 + C, N)``, ``nms`` ``(B, n, 6)``, ``raw`` maps, ``v5`` ``(B, N, 5 + C)``, or empty
            where the first result has to show it.
        names: Class names.
        stride: Pixels of which the sides are multiples.
        size: Width and height in pixels; of a file that takes any, those it was made for.
        batch: Images at a time; None for any number.
        fixed_size: It takes images of that size only.
        takes_bytes: The input is ``(B, H, W, C)``, bytes, blue first, else ``(B, C, H, W)`` in [0, 1]: three channels
            with red first, others as OpenCV has them.
        half_input: The input is float16.
        heads: How raw maps are decoded.
        suppressed: Thresholds that the file applies itself.
        precision: ``fp32``, ``fp16``, ``int8``, or empty.
        weights: A hash of the weights, or empty.
        notes: What had to be assumed.
        channels: Of the images: 3, 1 for grey, 4 with opacity, or other bands of a file.
        path: Of the file.
    """

    input: str
    outputs: tuple[str, ...]
    layout: str
    names: dict[int, str]
    stride: int
    size: tuple[int, int]
    batch: int | None
    fixed_size: bool
    fixed: bool
    takes_bytes: bool
    half_input: bool
    heads: tuple[dict[str, Any], ...] = ()
    suppressed: dict[str, Any] = field(default_factory=dict)
    precision: str = ""
    weights: str = ""
    notes: tuple[str, ...] = ()
    channels: int = COLOUR
    path: str = ""


def read_about(path: str) -> About:
    """Read what a file says of itself, and work out the rest from its shapes.

    Raises:
        InferError: If it is no ONNX file, or no detector.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    with captured_log():
        try:
            session = onnxruntime.InferenceSession(path, options, providers=[PROVIDERS["cpu"]])
        except Exception as error:
            text = f"model={path}: not an ONNX file that onnxruntime can load ({first_line(error)}); export it again"
            raise InferError(text) from error
    return about_session(session, path)


def first_line(error: Exception) -> str:
    """Return what an error says, on one short line."""
    lines = str(error).splitlines() or [type(error).__name__]
    return shown(lines[0] or type(error).__name__, 200)


def shown(value: object, longest: int = LONGEST_SHOWN) -> str:
    """Return a value of a file as text for a message: short, and on one line."""
    text = str(value)
    return plain(text if len(text) <= longest else f"{text[:longest]}...").replace("\n", "\\n")


def plain(text: str) -> str:
    """Return a text in which every character that steers a terminal, line feeds excepted, is written out."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def about_session(session: Any, path: str) -> About:
    """Work out what a session takes and gives; what the file says of itself is checked before it is used.

    Raises:
        InferError: If it is no detector, or says of itself what cannot be.
    """
    said = Said(path, _metadata(session, path))
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise InferError(f"model={path}: takes {_shapes(inputs) or 'nothing'}; a detector takes one batch of images")
    images = inputs[0]
    task = said.given.get("task", "detect")
    if task != "detect":
        raise InferError(f"model={path}: a network for {shown(task)}; only detectors are understood")
    takes_bytes = images.type == "tensor(uint8)"
    if images.type not in {"tensor(uint8)", "tensor(float)", "tensor(float16)"}:
        raise InferError(f"model={path}: takes {shown(images.type)}; images are bytes or floats")
    batch, *rest = images.shape
    height, width, planes = rest if takes_bytes else (*rest[1:], rest[0])
    channels = said.channels(planes)
    if any(isinstance(side, int) and side < SMALLEST for side in (height, width)):
        order = "(batch, height, width, channels)" if takes_bytes else "(batch, channels, height, width)"
        text = f"takes {_shapes(inputs)}, by which images of {channels} channels have {height}x{width} pixels"
        raise InferError(f"model={path}: {text}; export it with the input {order}")
    _check_shapes(path, inputs, outputs)
    fixed_size = isinstance(height, int) and isinstance(width, int)
    stride = said.stride(fixed_size)
    size = (width, height) if fixed_size else said.size(stride)
    layout, heads = said.layout(), said.heads()
    suppressed, precision, weights = said.suppressed(), said.precision(), said.weights()
    names = said.names()
    said.refuse()
    return About(
        images.name, tuple(each.name for each in outputs), layout or _layout(outputs, said.given, len(names), path),
        names, stride, size, batch if isinstance(batch, int) else None, fixed_size,
        all(isinstance(side, int) for each in (images, *outputs) for side in each.shape),
        takes_bytes, images.type == "tensor(float16)", heads, suppressed, precision, weights, tuple(said.notes),
        channels, path,
    )  # fmt: skip


def _metadata(session: Any, path: str) -> dict[str, str]:
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError as error:
        raise InferError(f"model={path}: what it says of itself is no text in UTF-8; export it again") from error


def _check_shapes(path: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Refuse shapes that no memory holds, and outputs that are no numbers.

    Raises:
        InferError: If there are such.
    """
    if not outputs:
        raise InferError(f"model={path}: gives nothing; a detector gives boxes")
    for value in (*inputs, *outputs):
        if value.type not in NUMBERS:
            raise InferError(f"model={path}: gives {shown(value.name)} as {shown(value.type)}; boxes are numbers")
        sides = [side for side in value.shape if isinstance(side, int)]
        least = 1 if value in inputs else 0
        if any(side < least for side in sides) or np.prod([float(side) for side in sides]) > MOST_NUMBERS:
            raise InferError(
                f"model={path}: {_shapes([value])} is no size that can be computed; export it again, smaller"
            )


class Said:
    """What a file says of itself, read with care: whoever wrote it may have written anything.

    Args:
        path: The file, for messages.
        given: Its metadata.

    Attributes:
        notes: What had to be assumed.
    """

    def __init__(self, path: str, given: dict[str, str]) -> None:
        self.path, self.given = path, given
        self.notes: list[str] = []
        self.faults: list[str] = []

    def refuse(self) -> None:
        """Raise an InferError with everything that is wrong; nothing without any."""
        if self.faults:
            raise InferError("\n".join(self.faults))

    def _fault(self, key: str, wanted: str) -> None:
        found = shown(self.given.get(key, ""))
        self.faults.append(f"model={self.path}: says {key}: {found}, which is not {wanted}; export it again")

    def _literal(self, key: str) -> Any:
        """Return what a text spells in Python; None, with a fault noted, where it spells nothing."""
        try:
            return ast.literal_eval(self.given[key])
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None

    def _json(self, key: str, otherwise: str) -> Any:
        try:
            return json.loads(self.given.get(key, otherwise))
        except (ValueError, RecursionError):
            return None

    def channels(self, taken: Any) -> int:
        """Return the channels of the images: those of the input, or those that the file says where it takes any.

        Raises:
            InferError: If there is no such number.
        """
        own = taken if isinstance(taken, int) else None
        said: Any = COLOUR if own is None else own
        if "channels" in self.given:
            said = self._literal("channels")
            if said is None:
                self._fault("channels", "a number")
                self.refuse()
        count = said if own is None else own
        if not is_whole(count, 1, MOST_CHANNELS):
            what = f"images of {shown(count)} channels; a file can have 1 to {MOST_CHANNELS} of them"
            raise InferError(f"model={self.path}: {what}")
        if said != count:
            text = f"takes images of {count} channels, but says channels: {shown(said)}"
            raise InferError(f"model={self.path}: {text}; export it again")
        return int(count)

    def size(self, stride: int) -> tuple[int, int]:
        """Return width and height in pixels, of a file that takes any."""
        if "imgsz" not in self.given:
            self.notes.append("the file does not say its size: 640 is used; give imgsz= for another")
            return 640, 640
        found = self._literal("imgsz")
        sides = list(found) if isinstance(found, (list, tuple)) else [found]
        if not (1 <= len(sides) <= 2 and all(is_whole(side, SMALLEST, MOST_SIDE) for side in sides)):
            self._fault("imgsz", f"a size in pixels of {SMALLEST} to {MOST_SIDE}")
            return 640, 640
        if any(side % stride for side in sides):
            self._fault("imgsz", f"a multiple of its stride {stride}")
        return int(sides[-1]), int(sides[0])

    def stride(self, fixed_size: bool) -> int:
        """Return the pixels of which the sides of an input are multiples."""
        if "stride" not in self.given:
            if not fixed_size:
                self.notes.append("the file does not say its stride: 32 is used")
            return 32
        found = self._literal("stride")
        each = list(found) if isinstance(found, (list, tuple)) else [found]
        if not each or not all(is_whole(one, 1, LARGEST_STRIDE) for one in each):
            if not fixed_size:  # otherwise nothing is fitted by it
                self._fault("stride", f"a number of pixels of 1 to {LARGEST_STRIDE}")
            return 32
        return int(max(each))

    def names(self) -> dict[int, str]:
        """Return the names of the classes; of those that it does not say, or not in a way that is understood, none."""
        found = self._literal("names") if "names" in self.given else None
        if isinstance(found, (list, tuple)):
            found = dict(enumerate(found))
        names: dict[int, str] = {}
        if isinstance(found, dict) and len(found) <= MOST_CLASSES:
            numbered = {int(key): name for key, name in found.items() if str(key).isascii() and str(key).isdecimal()}
            names = {key: str(name)[:LONGEST_NAME] for key, name in numbered.items()}
        if not names:
            lack = "has no class names" if "names" not in self.given else "has class names that cannot be read"
            self.notes.append(f"the file {lack}: class0, class1 and so on are used")
        return names

    def layout(self) -> str:
        """Return how the boxes are laid out, or nothing."""
        found = self.given.get("ysb.layout", "")
        if found not in {"", "v8", "v5", "nms", "raw"}:
            self._fault("ysb.layout", "v8, v5, nms or raw")
        return found

    def heads(self) -> tuple[dict[str, Any], ...]:
        """Return how raw maps are decoded."""
        found = self._json("ysb.heads", "[]")
        if not isinstance(found, list) or not all(is_head(each) for each in found):
            self._fault("ysb.heads", "a list of heads with anchors, cell and scale_x_y")
            return ()
        return tuple(found)

    def suppressed(self) -> dict[str, Any]:
        """Return the thresholds that the file applies itself."""
        found = self._json("ysb.nms", "{}")
        shares = ("conf", "iou")
        good = isinstance(found, dict) and (
            not found
            or (
                all(is_number(found.get(key)) and 0 <= found[key] <= 1 for key in shares)
                and is_whole(found.get("max_det"), 1, MOST_NUMBERS)
                and isinstance(found.get("agnostic_nms"), bool)
            )
        )
        if not good:
            self._fault("ysb.nms", "conf and iou of 0 to 1, max_det and agnostic_nms")
            return {}
        return dict(found)

    def precision(self) -> str:
        """Return ``fp32``, ``fp16``, ``int8`` or nothing."""
        found = self.given.get("ysb.precision", "")
        if found not in {"", "fp32", "fp16", "int8"}:
            self._fault("ysb.precision", "fp32, fp16 or int8")
        return found

    def weights(self) -> str:
        """Return the hash of the weights, which becomes part of a file's name."""
        found = self.given.get("ysb.weights_sha256", "")
        if not re.fullmatch(r"[0-9a-f]{0,64}", found):
            self._fault("ysb.weights_sha256", "a hash")
        return found


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a finite number; a truth is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def is_whole(value: Any, least: int, most: int) -> bool:
    """Tell whether a value is a whole number within bounds."""
    return is_number(value) and least <= value <= most and float(value).is_integer()


def is_head(value: Any) -> bool:
    """Tell whether a value says how a raw map is decoded."""
    if not isinstance(value, dict):
        return False
    anchors, cell = value.get("anchors"), value.get("cell")
    pairs = [*anchors, cell] if isinstance(anchors, list) else [None]
    return (
        len(pairs) > 1
        and all(isinstance(each, (list, tuple)) and len(each) == 2 and all(map(_is_length, each)) for each in pairs)
        and _is_length(value.get("scale_x_y"))
        and isinstance(value.get("new_coords", False), (bool, int))
    )


def _is_length(value: Any) -> bool:
    return is_number(value) and 0 < value <= MOST_NUMBERS


def _shapes(values: Sequence[Any]) -> str:
    return ", ".join(f"{shown(each.name)} {shown(tuple(each.shape), 200)}" for each in values)


def _layout(outputs: Sequence[Any], given: dict[str, str], classes: int, path: str) -> str:
    """Return the layout of a file that does not name it, as far as its shapes tell."""
    shape = outputs[0].shape
    if len(shape) != 3:
        raise InferError(f"model={path}: gives {_shapes(outputs)}; boxes come as (batch, rows, columns)")
    # One class of YOLOv5, with as many columns as finished boxes; its exporter, unlike later ones, names no task.
    return "v5" if classes == 1 and shape[2] == 6 and "task" not in given else layout_of(shape, classes)


def layout_of(shape: Sequence[Any], classes: int) -> str:
    """Return the layout of boxes of that shape, with 0 for an unknown number of classes; empty if it is not clear."""
    down, across = shape[1:]
    if across == 6:
        return "nms"
    if isinstance(down, int) and (down == 4 + classes if classes else isinstance(across, int) and down < across):
        return "v8"
    if isinstance(across, int) and (across == 5 + classes if classes else isinstance(down, int) and across < down):
        return "v5"
    return ""


def input_size(settings: InferSettings, about: About) -> tuple[int, int]:
    """Return width and height in pixels to fit images to.

    Raises:
        InferError: If the file cannot take that size.
    """
    if settings.imgsz is None:
        return about.size
    wanted = settings.imgsz if isinstance(settings.imgsz, tuple) else (settings.imgsz, settings.imgsz)
    if len(wanted) != 2:
        raise InferError(f"imgsz={','.join(map(str, wanted))}: give one number, or height,width")
    height, width = wanted
    if about.fixed_size and (width, height) != about.size:
        made = f"{about.size[1]},{about.size[0]}"
        raise InferError(
            f"imgsz={height},{width}: {settings.model} takes {made} only; leave imgsz out, or export with dynamic=True"
        )
    odd = next((side for side in wanted if side % about.stride), None)
    if odd is not None:
        near = max(about.stride, round(odd / about.stride) * about.stride)
        raise InferError(f"imgsz={odd}: not a multiple of the network's stride {about.stride}; use {near}")
    return width, height


# --- from an image to the network's input, and back -------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """How an image was fitted: factors across and down, then pixels of padding at the left and at the top."""

    across: float
    down: float
    left: float
    top: float

    def back(self, boxes: Array, width: int, height: int) -> Array:
        """Map corners ``(n, 4)`` from the network's input to the image, and keep them inside it."""
        moved = (boxes - (self.left, self.top, self.left, self.top)) / (self.across, self.down, self.across, self.down)
        return np.asarray(np.clip(moved, 0, (width, height, width, height)), np.float32)


def fit_image(image: Array, size: tuple[int, int], mode: str, stride: int) -> tuple[Array, Fit]:
    """Fit an image to the network.

    Args:
        image: ``(H, W, C)``.
        size: Width and height in pixels.
        mode: ``ultralytics`` (grey 114), ``darknet`` (grey 127) or ``stretch``.
        stride: Pad to the next multiple of it only; 0 pads to the full size.
    """
    height, width = image.shape[:2]
    if mode == "stretch":
        return _resized(image, size), Fit(size[0] / width, size[1] / height, 0, 0)
    if mode == "darknet":
        wide = size[0] * height < size[1] * width
        new = (size[0], max(1, height * size[0] // width)) if wide else (max(1, width * size[1] // height), size[1])
        left, top = (size[0] - new[0]) // 2, (size[1] - new[1]) // 2
        padded = _padded(_resized(image, new), left, size[0] - new[0] - left, top, size[1] - new[1] - top, DARKNET_GREY)
        return padded, Fit(new[0] / width, new[1] / height, left, top)
    ratio = min(size[1] / height, size[0] / width)
    new = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    spare = [float(full - part) for full, part in zip(size, new, strict=True)]
    if stride:
        spare = [each % stride for each in spare]
    # Rounded as Ultralytics rounds, so that an odd pixel goes to the same side.
    left, top = (round(each / 2 - 0.1) for each in spare)
    right, bottom = (round(each / 2 + 0.1) for each in spare)
    padded = _padded(_resized(image, new), left, right, top, bottom, GREY)
    return padded, Fit(*_ultralytics_scale(padded.shape[:2], (height, width)))


def _ultralytics_scale(inside: tuple[int, ...], outside: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return factors and padding as Ultralytics works them out again from the two shapes, height first."""
    gain = min(inside[0] / outside[0], inside[1] / outside[1])
    height, width = (max(1, round(side * gain)) for side in outside)
    left, top = round((inside[1] - width) / 2 - 0.1), round((inside[0] - height) / 2 - 0.1)
    return width / outside[1], height / outside[0], left, top


def _resized(image: Array, size: tuple[int, int]) -> Array:
    if image.shape[1::-1] == size:
        return image
    return with_planes(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def _padded(image: Array, left: int, right: int, top: int, bottom: int, grey: int) -> Array:
    if not (left or right or top or bottom):
        return image
    if image.shape[2] == COLOUR:
        return np.asarray(cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(grey,) * 3))
    return np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=grey)


# --- from the network's output to boxes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thresholds:
    """Which boxes are given."""

    conf: float
    iou: float
    max_det: int
    agnostic: bool


Boxes = tuple[Array, Array, Array]  # corners (n, 4), confidences (n,), classes (n,)


def boxes_of(outputs: Sequence[Array], about: About, thresholds: Thresholds) -> list[Boxes]:
    """Turn a model's outputs into the boxes of each image, best first, in pixels of the network's input.

    Raises:
        InferError: If the shape of the output is none that is understood.
    """
    # A network may give numbers that are infinite, or none: they are compared like any other.
    with np.errstate(all="ignore"):
        return _boxes_of(outputs, about, thresholds)


def _boxes_of(outputs: Sequence[Array], about: About, thresholds: Thresholds) -> list[Boxes]:
    layout = about.layout or (layout_of(outputs[0].shape, len(about.names)) if outputs[0].ndim == 3 else "")
    if layout == "raw":
        check_maps(outputs, about.heads)
        maps = [decode_map(np.asarray(raw, np.float32), head) for raw, head in zip(outputs, about.heads, strict=True)]
        return [suppress(image, thresholds) for image in np.concatenate(maps, 2)]
    rows = outputs[0]
    if rows.ndim != 3 or rows.dtype.kind not in "fiu":
        raise InferError(f"the model gives {rows.dtype} of shape {rows.shape}; boxes come as (batch, rows, columns)")
    if layout == "nms" and rows.shape[2] == FINISHED:
        return [finished(each, thresholds) for each in rows]
    if layout == "v8" and rows.shape[1] > CORNERS:
        return [suppress(image, thresholds) for image in rows]
    if layout == "v5" and rows.shape[2] > CORNERS + 1:
        turned = rows.transpose(0, 2, 1)
        decoded = np.concatenate((turned[:, :4], turned[:, 5:] * turned[:, 4:5]), 1)
        return [suppress(image, thresholds) for image in decoded]
    raise InferError(f"the model gives boxes of shape {rows.shape}, which is not understood; export it again")


def check_maps(outputs: Sequence[Array], heads: Sequence[dict[str, Any]]) -> None:
    """Make sure that raw maps are what their heads decode.

    Raises:
        InferError: If they are not.
    """
    if len(outputs) != len(heads) or not heads:
        raise InferError(f"the model gives {len(outputs)} maps and describes {len(heads)} of them; export it again")
    for raw, head in zip(outputs, heads, strict=True):
        boxes = len(head["anchors"])
        if raw.ndim != 4 or raw.dtype.kind not in "fiu" or raw.shape[1] % boxes or raw.shape[1] // boxes <= CORNERS + 1:
            raise InferError(f"the model gives a map of shape {raw.shape} for {boxes} anchors; export it again")


def finished(rows: Array, thresholds: Thresholds) -> Boxes:
    """Read boxes that the file has suppressed itself: ``(n, 6)`` corners, confidence, class, best first."""
    kept = rows[rows[:, 4] > thresholds.conf][: thresholds.max_det]
    return kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64)


def decode_map(raw: Array, head: dict[str, Any]) -> Array:
    """Decode one map before a ``[yolo]`` layer.

    Args:
        raw: ``(B, A * (5 + C), H, W)``.
        head: ``anchors`` in pixels, ``cell`` (pixels per cell across and down), ``scale_x_y``, and ``new_coords`` where
            the convolution has applied the logistic already.

    Returns:
        ``(B, 4 + C, H * W * A)``: centre x, centre y, width, height, confidence of each class.
    """
    batch, channels, height, width = raw.shape
    anchors = np.asarray(head["anchors"], np.float32)
    across, down = head["cell"]
    x = raw.reshape(batch, len(anchors), channels // len(anchors), height, width).transpose(0, 2, 3, 4, 1)
    new = bool(head.get("new_coords"))
    logistic = np.asarray if new else sigmoid
    stretch = 4 * np.square(x[:, 2:4]) if new else np.exp(x[:, 2:4])
    centre = logistic(x[:, :2]) * head["scale_x_y"] - (head["scale_x_y"] - 1) / 2  # (B, 2, H, W, A)
    boxes = np.stack(
        (
            (centre[:, 0] + np.arange(width)[:, None]) * across,
            (centre[:, 1] + np.arange(height)[:, None, None]) * down,
            stretch[:, 0] * anchors[:, 0],
            stretch[:, 1] * anchors[:, 1],
        ),
        1,
    )
    scores = logistic(x[:, 5:]) * logistic(x[:, 4:5])
    return np.concatenate((boxes, scores), 1).astype(np.float32).reshape(batch, channels // len(anchors) - 1, -1)


def sigmoid(x: Array) -> Array:
    """Return the logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def suppress(decoded: Array, thresholds: Thresholds) -> Boxes:
    """Keep the best class of each box, and of boxes that overlap the best, as Ultralytics does.

    Args:
        decoded: ``(4 + C, N)``: centre x, centre y, width, height, confidence of each class.
        thresholds: Which boxes are given.
    """
    best = decoded[4:].max(0)
    chosen = np.flatnonzero(best > thresholds.conf)
    order = np.argsort(-best[chosen], kind="stable")[:MOST_CANDIDATES]
    chosen = chosen[order]
    scores = best[chosen].astype(np.float32)
    columns = decoded[:, chosen].astype(np.float32)
    classes = columns[4:].argmax(0)
    half = columns[2:4] / 2
    corners = np.concatenate((columns[:2] - half, columns[:2] + half)).T
    apart = corners if thresholds.agnostic else corners + classes[:, None].astype(np.float32) * np.float32(APART)
    kept = greedy(apart, thresholds.iou, thresholds.max_det)
    return corners[kept], scores[kept], classes[kept]


def greedy(boxes: Array, iou: float, most: int) -> Array:
    """Return which boxes ``(n, 4)``, sorted by confidence, no better one overlaps by more than ``iou``.

    Block by block: a block is compared with the boxes kept so far, and then within itself, each in one go.
    """
    kept = np.zeros(0, np.int64)
    for start in range(0, len(boxes), NMS_BLOCK):
        block = np.arange(start, min(start + NMS_BLOCK, len(boxes)))
        if len(kept):
            block = block[~overlapping(boxes[block], boxes[kept], iou).any(1)]
        close = overlapping(boxes[block], boxes[block], iou)
        alive = np.ones(len(block), bool)
        for index in range(len(block)):
            if alive[index]:
                alive[index + 1 :] &= ~close[index, index + 1 :]
        kept = np.concatenate((kept, block[alive]))
        if len(kept) >= most:
            break
    return kept[:most]


def overlapping(a: Array, b: Array, iou: float) -> Array:
    """Return ``(n, m)``: which boxes of ``(n, 4)`` overlap which of ``(m, 4)`` by more than ``iou``."""
    # torchvision compares a float32 overlap with a float64 threshold: the largest float32 that is not above it.
    limit = np.float32(iou)
    if float(limit) > iou:
        limit = np.nextafter(limit, np.float32(-1))
    shared = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    shared.clip(0, out=shared)
    down = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    shared *= down.clip(0, out=down)
    areas = [(each[:, 2] - each[:, 0]) * (each[:, 3] - each[:, 1]) for each in (a, b)]
    return np.asarray(shared / (areas[0][:, None] + areas[1] - shared) > limit)


@dataclass(frozen=True)
class Detections:
    """What was found in one image.

    Attributes:
        path: Where the image comes from.
        width: Pixels; 0 for an image that cannot be read.
        height: Pixels.
        boxes: ``(n, 4)`` x1, y1, x2, y2 in pixels of the image, best first.
        scores: ``(n,)`` confidences.
        classes: ``(n,)``.
        names: Class names.
        frame: Number of the frame of a video, from 0.
        error: Why the image cannot be read.
        image: The image itself, ``(H, W, C)``, blue first, where it is to be drawn on.
    """

    path: str
    width: int
    height: int
    boxes: Array
    scores: Array
    classes: Array
    names: dict[int, str]
    frame: int | None = None
    error: str | None = None
    image: Array | None = None

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.boxes)

    def entry(self) -> dict[str, Any]:
        """Return the entry of a JSON file."""
        rows = zip(self.classes.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        found = [
            {"class": index, "name": self.name(index), "confidence": score, "xyxy": box} for index, score, box in rows
        ]
        more: dict[str, Any] = {} if self.frame is None else {"frame": self.frame}
        if self.error:
            more["error"] = self.error
        return {"image": self.path, "width": self.width, "height": self.height, **more, "detections": found}

    def name(self, index: int) -> str:
        """Return the name of a class."""
        return str(self.names.get(index, f"class{index}"))

    def drawn(self) -> Array:
        """Return a copy of the image with its boxes, in colours."""
        if self.image is None:
            raise ValueError("the image was not kept; predict with keep=True")
        picture = picture_of(self.image)
        line = max(round((self.width + self.height) / 2 * 0.003), 2)
        for index, score, box in zip(self.classes.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True):
            x1, y1, x2, y2 = (round(each) for each in box)
            colour = colour_of(index)
            cv2.rectangle(picture, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
            _label(picture, f"{self.name(index)} {score:.2f}", (x1, y1), colour, line)
        return picture


def picture_of(image: Array) -> Array:
    """Return a copy of an image ``(H, W, C)`` as a picture has it, ``(H, W, 3)``: of other bands, the first three."""
    if image.shape[2] < COLOUR:
        return np.repeat(image[..., :1], COLOUR, axis=2)
    return np.ascontiguousarray(image[..., :COLOUR]).copy()


def colour_of(index: int) -> tuple[int, int, int]:
    """Return a colour, blue first: neighbouring classes get hues that are far apart."""
    hue = np.array([[[int(index * 67) % 180, 200, 230]]], np.uint8)
    blue, green, red = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


def _label(picture: Array, text: str, corner: tuple[int, int], colour: tuple[int, int, int], line: int) -> None:
    text = text.encode("ascii", "replace").decode()  # OpenCV's own letters are all that there are
    scale, thickness = line / 4 + 0.1, max(line // 2, 1)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    x = max(0, min(corner[0], picture.shape[1] - width))
    y = corner[1] if corner[1] - height - below >= 0 else corner[1] + height + below
    cv2.rectangle(picture, (x, y - height - below), (x + width, y), colour, -1)
    dark = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 140
    ink = (0, 0, 0) if dark else (255, 255, 255)
    cv2.putText(picture, text, (x, y - below // 2), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)


# --- where images come from -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One image to come: where from, and how to get it; ``load`` returns None where it cannot be read."""

    path: str
    load: Callable[[], Array | None]
    frame: int | None = None


def with_planes(image: Array) -> Array:
    """Return an image as ``(H, W, C)``: OpenCV drops the last axis where there is one channel."""
    return image if image.ndim == 3 else image[..., None]


def with_channels(image: Array, channels: int) -> Array:
    """Bring an image ``(H, W)`` or ``(H, W, C)``, blue first, to a number of channels; no opacity is 255.

    Raises:
        ValueError: If there is no way to: only grey, colours and colours with opacity become one another.
    """
    image = with_planes(image)
    found = image.shape[2]
    if found == channels:
        return image
    usual = (GREYS, COLOUR, OPACITY)
    if found == 2 and channels in usual:  # grey and opacity
        made = with_channels(image[..., :1], channels)
        return np.concatenate((made[..., :3], image[..., 1:]), 2) if channels == OPACITY else made
    if found not in usual or channels not in usual:
        raise ValueError(f"has {found} channels, the model takes {channels}")
    if channels == GREYS:
        return with_planes(np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_BGR2GRAY)))
    colours = np.repeat(image, COLOUR, axis=2) if found == GREYS else image[..., :COLOUR]
    if channels == COLOUR:
        return np.ascontiguousarray(colours)
    return np.concatenate((colours, np.full((*image.shape[:2], 1), 255, image.dtype)), 2)


def read_image(path: str, channels: int = COLOUR, most: int = MOST_PIXELS) -> Array | None:
    """Read an image ``(H, W, channels)`` of a file or an address, blue first, turned as its camera says.

    Args:
        path: The file or the address.
        channels: How many the image is brought to.
        most: Pixels; an image of more is not decoded.

    Returns:
        None if it cannot be read.

    Raises:
        InferError: If an address gives nothing.
        ValueError: If it is too large, or has other channels, which cannot become those.
    """
    if is_address(path):
        data = np.frombuffer(fetch(path), np.uint8)
    else:
        try:
            # Not imread: it fails on names outside the system's code page.
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                if size > MOST_BYTES:
                    raise ValueError(f"has {size} bytes, more than a picture can have ({MOST_BYTES})")
                data = np.fromfile(file, np.uint8, size)
        except OSError:  # no file, or none that holds anything
            return None
    return decode_image(data, ending_of(path), channels, most)


def picture_fault(path: str, most: int = MOST_PIXELS) -> str | None:
    """Return why the file of a picture is not decoded, by its beginning; None where it may be.

    Args:
        path: The file.
        most: Pixels that it may have.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                return f"has {size} bytes, more than a picture can have ({MOST_BYTES})"
            with _viewed(file, size) as view:
                pixels = pixels_of(view)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return f"has {pixels} pixels, more than max_pixels={most}" if pixels is not None and pixels > most else None


@contextlib.contextmanager
def _viewed(file: BinaryIO, size: int) -> Iterator[memoryview]:
    """Yield the bytes of a file; some file systems of networks map none into memory, there they are read."""
    try:
        data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        with memoryview(file.read(size)) as view:
            yield view
        return
    with data, memoryview(data) as view:
        yield view


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file for reading, but no pipe, device or socket, which may have no end or wait for somebody.

    Raises:
        OSError: If there is no such file, or it is none, or empty: what the system makes up says that it is.
    """
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a name that no file can have
        raise OSError(errno.EINVAL, "no possible name of a file", str(path)) from error
    state = os.fstat(number)
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        os.close(number)
        reason = "it is empty" if stat.S_ISREG(state.st_mode) else "not a regular file"
        raise OSError(errno.EINVAL, reason, str(path))
    return os.fdopen(number, "rb")


def decode_image(data: Array, ending: str, channels: int = COLOUR, most: int = MOST_PIXELS) -> Array | None:
    """Decode the bytes of an image ``(n,)`` as Ultralytics does; see :func:`read_image`.

    Args:
        data: What the file holds.
        ending: Of its name, in small letters.
        channels: How many the image is brought to.
        most: Pixels; an image of more is not decoded.
    """
    if not len(data):
        return None
    pixels = pixels_of(data.data)
    if pixels is not None and pixels > most:
        raise ValueError(f"has {pixels} pixels, more than max_pixels={most}")
    image: Any = _by_pillow(data) if ending in BY_PILLOW else None
    if image is None:
        image = _by_opencv(data, ending, channels)
    if image is None:
        return None
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"has numbers of {image.dtype}; give an image of 8 or 16 bits")
    image = np.asarray(image >> 8 if image.dtype == np.uint16 else image).astype(np.uint8, copy=False)
    return with_channels(image, channels)


# --- how large a picture is, by the beginning of its file -------------------------------------------------------------


def pixels_of(data: memoryview) -> int | None:
    """Return how many pixels the file of a picture says that it has, all its pages together; None if that is unclear.

    Source: the specifications of PNG, GIF, BMP, JPEG (markers SOF), WebP, TIFF 6 and BigTIFF, Netpbm, JPEG 2000 (boxes
    and codestream), HEIF (``ispe``), Sun raster, Radiance and OpenEXR.
    """
    head = bytes(data[:READ_AHEAD])
    with contextlib.suppress(struct.error, ValueError, IndexError):
        for begins, read in SIZES:
            if head.startswith(begins):
                return read(data, head)
        if head[4:8] == b"ftyp":
            return max((_product(">II", data, found.end() + 4) for found in re.finditer(b"ispe", head)), default=None)
        if head[:2] in PORTABLE and head[2:3].isspace():
            return _portable(head)
    return None


def _numbers(form: str, data: memoryview, place: int) -> tuple[int, ...]:
    found: tuple[int, ...] = struct.unpack_from(form, data, place)
    return found


def _product(form: str, data: memoryview, place: int) -> int:
    width, height = _numbers(form, data, place)
    return abs(width * height)


def _bitmap(data: memoryview, _: bytes) -> int:
    (header,) = struct.unpack_from("<I", data, 14)
    return _product("<HH" if header == 12 else "<ii", data, 18)


def _jpeg(data: memoryview, _: bytes) -> int | None:
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # filling, or without a length
            place += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return _product(">HH", data, place + 5)
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None


def _riff(data: memoryview, head: bytes) -> int | None:
    kind = head[12:16]
    if head[8:12] != b"WEBP":
        return None
    if kind == b"VP8 ":
        width, height = _numbers("<HH", data, 26)
        return (width & 0x3FFF) * (height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = _numbers("<I", data, 21)
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    sides = (int.from_bytes(head[place : place + 3], "little") + 1 for place in (24, 27))
    return next(sides) * next(sides)


def _tiff(data: memoryview, head: bytes) -> int:
    """Add up the pages of a TIFF; a chain of pages that comes back to itself ends there."""
    order = "<" if head[:1] == b"I" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    count, link, entry, width = ("Q", "Q", "HHQQ", 20) if big else ("H", "I", "HHII", 12)
    (place,) = struct.unpack_from(order + link, data, 8 if big else 4)
    total, seen = 0, set[int]()
    while place and place not in seen:
        seen.add(place)
        (entries,) = struct.unpack_from(order + count, data, place)
        place += struct.calcsize(order + count)
        sides = {256: 0, 257: 0}
        for index in range(min(entries, 4096)):
            tag, kind, _, value = struct.unpack_from(order + entry, data, place + index * width)
            if tag in sides:
                spare = {1: 3, 3: 2}.get(kind, 0) + (
                    4 if big and kind in {1, 3, 4} else 0
                )  # a short one stands in front
                sides[tag] = value >> 8 * spare if order == ">" else value
        total += sides[256] * sides[257]
        try:
            (place,) = struct.unpack_from(order + link, data, place + entries * width)
        except struct.error:
            break
    return total


def _portable(head: bytes) -> int:
    text = re.sub(rb"#[^\n]*", b"", head)
    if head[:2] == b"P7":
        sides = dict(re.findall(rb"(WIDTH|HEIGHT)\s+(\d+)", text))
        return int(sides[b"WIDTH"]) * int(sides[b"HEIGHT"]) if len(sides) == 2 else 0
    _, width, height, *_ = text.split(maxsplit=3)
    return int(width) * int(height)


def _boxes(data: memoryview, head: bytes) -> int | None:
    place = head.find(b"ihdr")
    return None if place < 0 else _product(">II", data, place + 4)


def _codestream(data: memoryview, _: bytes) -> int:
    right, bottom, left, top = _numbers(">4I", data, 8)
    return (right - left) * (bottom - top)


def _radiance(_: memoryview, head: bytes) -> int | None:
    found = re.search(rb"[-+][XY] (\d+) [-+][XY] (\d+)", head)
    return int(found[1]) * int(found[2]) if found else None


def _exr(data: memoryview, head: bytes) -> int | None:
    name = b"dataWindow\0box2i\0"
    place = head.find(name)
    if place < 0:
        return None
    left, top, right, bottom = _numbers("<4i", data, place + len(name) + 4)
    return abs((right - left + 1) * (bottom - top + 1))


READ_AHEAD = 2**16  # bytes
#: How files begin, and what tells their size.
SIZES: tuple[tuple[bytes | tuple[bytes, ...], Callable[[memoryview, bytes], int | None]], ...] = (
    (JPEG, _jpeg),
    (b"\x89PNG", lambda data, _: _product(">II", data, 16)),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    (b"RIFF", _riff),
    (b"BM", _bitmap),
    (b"GIF8", lambda data, _: _product("<HH", data, 6)),
    (b"\0\0\0\x0cjP  ", _boxes),
    (b"\xff\x4f\xff\x51", _codestream),
    (b"\x59\xa6\x6a\x95", lambda data, _: _product(">II", data, 4)),
    (b"#?R", _radiance),
    (b"\x76\x2f\x31\x01", _exr),
)


def _by_opencv(data: Array, ending: str, channels: int) -> Any:
    """Decode a file; where bands of its own are wanted, pages of a TIFF are such, as in Ultralytics."""
    if channels == GREYS:
        return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    colours = channels == COLOUR or (channels == OPACITY and data[:2].tobytes() == JPEG)
    if ending in {".tif", ".tiff"}:
        there, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
        if there and pages[0].ndim == 3:
            return pages[0][..., :COLOUR] if colours else pages[0]
        if there and not colours and len({page.shape for page in pages}) == 1:
            return np.stack(pages, 2)
    return cv2.imdecode(data, cv2.IMREAD_COLOR if colours else cv2.IMREAD_UNCHANGED)


def _by_pillow(data: Array) -> Array | None:
    """Decode what Ultralytics leaves to Pillow; None where Pillow is not there or cannot."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    with contextlib.suppress(ImportError):
        importlib.import_module("pi_heif").register_heif_opener()
    try:
        turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data.tobytes()))).convert("RGB")
    except Exception:  # whatever a damaged file makes it say
        return None
    return np.ascontiguousarray(np.asarray(turned)[..., ::-1])


def begins_as_picture(head: bytes) -> bool:
    """Tell from its first bytes, 16 at least, whether a file is a picture that OpenCV reads."""
    portable = head[:2] in PORTABLE and head[2:3].isspace()
    bitmap = head[:2] == b"BM" and head[15:16] == b"\0"
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    boxed = head[4:8] == b"ftyp" and head[8:12] in BRANDS
    return portable or bitmap or webp or boxed or head.startswith(SIGNATURES)


def is_camera(name: str) -> bool:
    """Tell whether a name is the number of a camera."""
    return name.isascii() and name.isdecimal()


def is_address(name: str) -> bool:
    """Tell whether a name is an address of the web."""
    return name.lower().startswith(("http://", "https://"))


def ending_of(name: str) -> str:
    """Return the ending of a file's name, in small letters; of an address, that of its path."""
    return Path(plain_name(name)).suffix.lower()


def plain_name(name: str) -> str:
    """Return the name of a file; of an address, what stands last in its path, with every letter as itself."""
    if not is_address(name):
        return Path(name).name
    return Path(urllib.parse.unquote(urllib.parse.urlsplit(name).path)).name


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects for good too, which Python before 3.11 does not."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def open_address(address: str) -> Any:
    """Open an address of the web, following where it sends to.

    Raises:
        InferError: If it does not answer, with the reason.
    """
    quoted = urllib.parse.quote(address, safe="%/:=&?~#+!$,;'@()*[]")
    request = urllib.request.Request(quoted, headers={"User-Agent": "Mozilla/5.0 (yolo-subbatch)"})
    try:
        return urllib.request.build_opener(_Redirect).open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        raise InferError(f"{address}: the server answers {error.code} ({error.reason}); check the address") from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # also URLError
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason
        raise InferError(f"{address}: cannot be reached ({reason}); check the address and the network") from error


def fetch(address: str) -> bytes:
    """Return what an address of the web holds.

    Raises:
        InferError: If it does not answer, or breaks off.
    """
    with open_address(address) as answer:
        try:
            data: bytes = answer.read(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise InferError(f"{address}: breaks off ({type(error).__name__}); try again") from error
    return data


@functools.lru_cache(maxsize=1024)
def kind_of(name: str) -> str:
    """Return what a name stands for: ``picture``, ``video``, or ``live`` for a camera or a stream.

    An address whose name does not tell is asked.

    Raises:
        InferError: If it does not answer.
    """
    if is_camera(name) or ("://" in name and not is_address(name)):
        return "live"
    ending = ending_of(name)
    if ending in VIDEOS:
        return "video"
    if not is_address(name) or ending in IMAGES:
        return "picture"
    with open_address(name) as answer:
        said = answer.headers.get_content_type()
        head = answer.read(16) if not said.startswith("image/") else b""
    if said.startswith("image/") or begins_as_picture(head):
        return "picture"
    host = urllib.parse.urlsplit(name).hostname or ""
    # A page is no stream, except where Ultralytics finds the video in it: it is named as an image that cannot be read.
    return "picture" if said == "text/html" and not host.endswith(("youtube.com", "youtu.be")) else "live"


def find_files(source: str) -> list[str]:
    """Return the images, videos and streams that a source names.

    Raises:
        InferError: If there are none.
    """
    try:
        found, what = _find_files(source)
    except OSError as error:
        raise InferError(f"source={source}: cannot be read ({error.strerror}); check the path of the images") from error
    if not found:
        raise InferError(f"source={source}: {what}; check the path of the images")
    return found


def _find_files(source: str) -> tuple[list[str], str]:
    """Return what a source names, and what is wrong where that is nothing."""
    if source == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a name may hold any byte
        return list(_listed(lines_of(sys.stdin.read(MOST_LIST)), Path())), "no names in it"
    if is_camera(source) or "://" in source:
        return [source], ""
    if os.path.isdir(source):
        return _in_folder(source), "no image or video in it"
    if os.path.isfile(source):
        ending = Path(source).suffix.lower()
        if ending not in LISTS:
            return [source], ""
        if not os.path.getsize(source):
            return [], "no names in it"
        lines: Iterable[str] = list_lines(source)
        if ending == ".streams":
            return [name for line in lines for name in line.split()], "no names in it"
        if ending == ".csv":
            lines = _cells(lines, source)
        return list(_listed(lines, Path(source).parent)), "no names in it"
    return _matching(source), "no such file or folder"


def _cells(lines: Iterable[str], source: str) -> Iterator[str]:
    """Yield every cell of a table, without a heading of one word."""
    rows = csv.reader(lines)
    try:
        yield from (cell for number, row in enumerate(rows) if number or row != ["source"] for cell in row)
    except csv.Error as error:
        raise InferError(f"{source}:{rows.line_num}: no line of a table ({error}); correct it") from error


def read_text(source: str) -> str:
    """Return the text of a list of streams; a name in it may hold any byte.

    Raises:
        InferError: If it is no such text.
    """
    return "\n".join(list_lines(source))


def list_lines(source: str) -> Iterator[str]:
    """Yield the lines of a list, reading a part of it after the other; a name in it may hold any byte.

    Raises:
        InferError: If it is no such text, or larger than a list can be.
        OSError: If it cannot be read.
    """
    with open_regular(source) as stream:
        size = os.fstat(stream.fileno()).st_size
        rest, begun = b"", False
        while data := stream.read(LONGEST_LINE):
            data += stream.read(1) if data.endswith(b"\r") else b""  # a line feed behind it ends no other line
            if b"\0" in data:
                wide = data.startswith((b"\xff\xfe", b"\xfe\xff")) or not any(data[1:200:2]) or not any(data[:200:2])
                wide = wide and any(data[:200])
                raise InferError(
                    f"{source}: " + ("is UTF-16: save it as UTF-8" if wide else "a binary file; give a list")
                )
            if size > MOST_LIST:
                raise InferError(f"{source}: {size} bytes are more than a list can have ({MOST_LIST}); divide it")
            *lines, rest = re.split(rb"\r\n|\r|\n", rest + data)
            if len(rest) > LONGEST_LINE:
                raise InferError(f"{source}: a line of more than {LONGEST_LINE} bytes; give a list of names")
            for line in lines:
                yield line.decode("utf-8" if begun else "utf-8-sig", "surrogateescape")
                begun = True
        if rest:
            yield rest.decode("utf-8" if begun else "utf-8-sig", "surrogateescape")


def lines_of(text: str) -> list[str]:
    """Return the lines of a text; nothing but a line feed or a carriage return ends one."""
    return re.split(r"\r\n|\r|\n", text)


def _listed(lines: Iterable[str], folder: Path) -> Iterator[str]:
    """Yield what the lines of a list name: from here or beside the list, as typed or as Windows writes it."""
    for line in lines:
        name = line.strip(" \t")
        if not name or "://" in name:
            yield from [name] if name else []
            continue
        places = [place for each in _spellings(line) for place in (each, str(folder / each))]
        yield next((place for place in places if os.path.exists(place.partition("\0")[0])), str(folder / name))


def _spellings(typed: str) -> Iterator[str]:
    """Yield what a line may mean: as typed, without blanks around it, without quotes, or as Windows writes it."""
    name = typed.strip(" \t")
    yield from (typed, name)
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
        yield name
    yield re.sub(r"[\\/]+", "/", name)


def _in_folder(folder: str) -> list[str]:
    return sorted(str(each) for each in Path(folder).iterdir() if not each.name.startswith(".") and _is_wanted(each))


def _matching(pattern: str) -> list[str]:
    found = sorted(each for each in glob.glob(pattern, recursive=True) if os.path.isfile(each))
    # Labels lie beside images; a pattern that names nothing else is taken at its word.
    return [each for each in found if _is_wanted(Path(each))] or found


def _is_wanted(file: Path) -> bool:
    """Tell whether a file is a picture or a video: its name says so, or what is in it."""
    if file.suffix.lower() in IMAGES | VIDEOS:
        return True
    if file.suffix.lower() in OTHERS:
        return False
    try:
        with open_regular(file) as stream:
            return begins_as_picture(stream.read(16))
    except OSError:
        return False


def items_of(source: str, channels: int = COLOUR, most: int = MOST_PIXELS) -> Iterator[Item]:
    """Go through everything that a source names; frames of videos and cameras are read on the way.

    Streams of a ``.streams`` file come last, a frame of each in turn.

    Args:
        source: See the setting of that name.
        channels: That the images are read with; frames have the three of a video.
        most: Pixels of an image; one of more is not decoded.

    Raises:
        InferError: If there is nothing, or a video or camera cannot be opened.
    """
    files = find_files(source)
    if files == [source]:
        _check_address(source)  # whoever names one address wants to know why it is not there
    alone, live = len(files) == 1, list[str]()
    for path in files:
        items = _items_at(path, channels, live, most)
        yield from items if alone else _named_if_not(path, items)
    streams = [frames_of(path, most) for path in live]
    yield from _in_turn(streams if alone else [_named_if_not(*each) for each in zip(live, streams, strict=True)])


def _items_at(path: str, channels: int, live: list[str], most: int) -> Iterator[Item]:
    """Yield a picture, or the frames of a video; what has no end joins ``live``."""
    kind = kind_of(path)
    if kind == "live":
        live.append(path)
    elif kind == "video":
        yield from frames_of(path, most)
    else:
        yield Item(path, functools.partial(read_image, path, channels, most))


def _named_if_not(path: str, items: Iterator[Item]) -> Iterator[Item]:
    """Yield items; where that fails, one that cannot be read, so that the others are not lost."""
    try:
        yield from items
    except InferError as error:
        yield Item(path, functools.partial(_fail, error) if "://" in path else lambda: None)


def _fail(error: InferError) -> Array | None:
    raise error


def _in_turn(streams: list[Iterator[Item]]) -> Iterator[Item]:
    """Yield from each in turn until all have ended."""
    while streams:
        items = [(stream, next(stream, None)) for stream in streams]
        yield from (item for _, item in items if item is not None)
        streams = [stream for stream, item in items if item is not None]


def is_live(source: str) -> bool:
    """Tell whether a source is a camera or a stream: it has no end, and waiting for a full batch would delay it."""
    if source.lower().endswith(".streams") and os.path.isfile(source) and os.path.getsize(source):
        return any(is_live(each) for each in read_text(source).split())
    return is_camera(source) or ("://" in source and kind_of(source) == "live")


def check_name(path: str | Path) -> None:
    """Refuse the name of a video that is not in UTF-8, at which OpenCV ends the program.

    Raises:
        InferError: If it is not.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InferError(f"{path}: a name that is not in UTF-8, with which OpenCV cannot deal; rename it") from error


def frames_of(source: str, most: int = MOST_PIXELS) -> Iterator[Item]:
    """Read a video, a stream or a camera; ``most`` bounds the pixels of a frame."""
    check_name(source)
    there = is_camera(source) or "://" in source or os.path.isfile(source)  # a pipe would be waited for
    with captured_log():  # OpenCV tells there how each of its libraries fails
        try:
            video = cv2.VideoCapture(int(source) if is_camera(source) else source) if there else cv2.VideoCapture()
        except (cv2.error, OverflowError):  # a number that no camera has
            video = cv2.VideoCapture()
    try:
        if not video.isOpened():
            what = "camera" if is_camera(source) else "video or stream"
            raise InferError(f"source={source}: this {what} cannot be opened; check that it is there and not in use")
        pixels = video.get(cv2.CAP_PROP_FRAME_WIDTH) * video.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if pixels > most:
            raise InferError(f"source={source}: frames of {pixels:.0f} pixels, more than max_pixels={most}")
        number = 0
        while True:
            there, frame = video.read()
            if not there:
                break
            yield Item(source, lambda frame=frame: frame, number)  # type: ignore[misc]
            number += 1
        if not number:
            raise InferError(f"source={source}: not one frame can be read; check the file")
    finally:
        video.release()


# --- running ----------------------------------------------------------------------------------------------------------


#: Numbers that a batch of boxes may consist of.
NUMBERS = frozenset(
    f"tensor({name})" for name in "float float16 double int8 uint8 int16 uint16 int32 uint32 int64 uint64".split()
)
TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}  # fmt: skip


def patience(shape: Sequence[int]) -> float:
    """Return how many seconds a CPU has for a batch ``(B, C, H, W)`` or ``(B, H, W, C)``."""
    return WAIT + WAIT_A_PIXEL * float(np.prod([float(each) for each in shape])) / COLOUR


class Watch:
    """Ends computations that do not end by themselves: a file may hold a loop."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[float, Any]] = {}  # when each has to be done, and how it is told
        self.numbers, self.lock = itertools.count(), threading.Lock()
        self.thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, seconds: float) -> Iterator[Any]:
        """Yield the options of a run, which fails where this block takes longer."""
        import onnxruntime

        options, number = onnxruntime.RunOptions(), next(self.numbers)
        self.open[number] = time.monotonic() + seconds, options
        with self.lock:
            if self.thread is None or not self.thread.is_alive():  # in a forked process it is not
                self.thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self.thread.start()
        try:
            yield options
        finally:
            del self.open[number]

    def _look(self) -> None:
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            for end, options in list(self.open.values()):
                if now > end:
                    options.terminate = True


WATCH = Watch()


class Runner:
    """Runs batches in one stream; where all shapes are fixed, in buffers that stay at their places.

    Args:
        session: The open model.
        about: What it takes and gives.
        placement: Where it is computed.
        device: Number of the GPU.
    """

    def __init__(self, session: Any, about: About, placement: Placement, device: int = 0) -> None:
        self.session, self.about = session, about
        self.kind, self.device = ("cpu", 0) if placement.provider == "cpu" else ("cuda", device)
        self.binding: Any = None
        self.watched = placement.provider == "cpu"  # elsewhere the first batch may take its time
        if about.fixed and all(value.type in TYPES for value in session.get_outputs()):
            try:
                self._bind()
            except (MemoryError, RuntimeError) as error:
                text = f"not enough memory for its inputs and outputs ({first_line(error)}); export it again, smaller"
                raise InferError(f"model={about.path}: {text}") from error

    def _bind(self) -> None:
        import onnxruntime

        def buffer(value: Any) -> Any:
            shape, dtype = list(value.shape), TYPES[value.type]
            return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self.kind, self.device)

        self.binding = self.session.io_binding()
        images = self.session.get_inputs()[0]
        self.input = buffer(images)
        self.binding.bind_ortvalue_input(images.name, self.input)
        self.outputs = [(value, buffer(value)) for value in self.session.get_outputs()]
        for value, place in self.outputs:
            self.binding.bind_ortvalue_output(value.name, place)

    def run(self, images: Array) -> list[Array]:
        """Compute one batch: the model's input to its outputs, both on the host.

        Raises:
            InferError: If the GPU fails.
        """
        count = len(images)
        full = self.about.batch or count
        if count < full:
            images = np.concatenate((images, np.zeros((full - count, *images.shape[1:]), images.dtype)))
        try:
            outputs = self._compute(np.ascontiguousarray(images))
        except MemoryError as error:
            raise InferError(f"model={self.about.path}: {self._no_memory(images)}") from error
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime") or isinstance(error, RuntimeError):
                where = "the CPU" if self.kind == "cpu" else f"GPU {self.device}"
                text = first_line(error)
                if "terminate flag" in text:
                    late = f"it is not done after {patience(images.shape):.0f} s"
                    text = f"{late}; export it again, or give a smaller batch="
                advice = explain(text) if self.kind != "cpu" and re.search("CUDA|cuda", text) else text
                if "llocate memory" in text or "out of memory" in text:
                    advice = self._no_memory(images)
                raise InferError(f"the model failed on {where}: {advice}") from error
            raise
        if any(not isinstance(each, np.ndarray) or not each.ndim for each in outputs):
            raise InferError(f"model={self.about.path}: gives results that are no boxes; export it again")
        return [each[:count] for each in outputs]

    def _no_memory(self, images: Array) -> str:
        return f"not enough memory for {len(images)} images of {images.shape[1:]}; give a smaller batch= or imgsz="

    def _compute(self, images: Array) -> list[Array]:
        with WATCH.over(patience(images.shape)) if self.watched else contextlib.nullcontext() as options:
            told = () if options is None else (options,)
            if self.binding is None:
                found: list[Array] = self.session.run(list(self.about.outputs), {self.about.input: images}, *told)
                return found
            self.input.update_inplace(images)
            self.session.run_with_iobinding(self.binding, *told)
        # Copied: the next batch is computed into the same buffers.
        return [place.numpy().copy() if self.kind == "cpu" else place.numpy() for _, place in self.outputs]


@dataclass
class Prepared:
    """An image ready for the network, or the reason why not: ``fault``, or it cannot be read."""

    item: Item
    result: Future[Detections]
    image: Array | None = None
    input: Array | None = None
    fit: Fit | None = None
    fault: str = ""


class OnnxYolo:
    """A detector in an ONNX file.

    Args:
        model: The file.
        provider: ``auto``, ``cuda``, ``tensorrt`` or ``cpu``.
        **settings: Every other setting of :class:`InferSettings`.

    Raises:
        InferError: If the file or the provider cannot be used.
    """

    def __init__(self, model: str | Path, provider: str = "auto", **settings: Any) -> None:
        self.settings = InferSettings(model=str(model), provider=provider, **settings)
        check_settings(self.settings)
        check_wheels()
        self.about = read_about(str(model))
        self.size = input_size(self.settings, self.about)
        live = self.settings.source is not None and is_live(self.settings.source)
        on_cpu = self.settings.provider in {"cpu", "auto"}
        self.streams = self.settings.streams or (1 if live or not on_cpu else min(cores(), MOST_STREAMS))
        self.session, self.placement = open_session(self.settings, self.about, self.streams)
        if self.placement.provider != "cpu":
            self.streams = self.settings.streams or 1
        self.batch = self._batch(live)
        self._check_graph()
        self.thresholds = self._thresholds()
        self.runners: queue.LifoQueue[Runner] = queue.LifoQueue()
        for _ in range(self.streams):
            self.runners.put(Runner(self.session, self.about, self.placement, self.settings.device))

    def _batch(self, live: bool) -> int:
        if self.about.batch is not None:
            if self.settings.batch not in {None, self.about.batch}:
                raise InferError(
                    f"batch={self.settings.batch}: {self.settings.model} takes {self.about.batch} images at a time; "
                    "leave batch out, or export with dynamic=True"
                )
            return self.about.batch
        return self.settings.batch or (1 if live or self.placement.provider == "cpu" else GPU_BATCH)

    def _check_graph(self) -> None:
        if self.settings.cuda_graph and (not self.about.fixed or self.about.layout == "nms"):
            raise InferError(
                f"cuda_graph=True: {self.settings.model} has free sizes, or suppresses boxes itself, which a "
                "CUDA graph cannot replay; export it with dynamic=False nms=False"
            )
        if self.settings.cuda_graph and self.streams > 1:
            raise InferError(f"streams={self.streams}: a CUDA graph is replayed by one stream only; leave streams out")

    def _thresholds(self) -> Thresholds:
        asked = self.settings
        baked = self.about.suppressed
        if baked:
            if asked.conf < baked["conf"]:
                _warn(f"conf={asked.conf:g}: {asked.model} drops boxes below {baked['conf']:g} itself; export it anew")
            for key in ("iou", "agnostic_nms"):
                if getattr(asked, key) != baked[key]:
                    given = f"{key}={getattr(asked, key)}"
                    _warn(f"{given}: {asked.model} suppresses with {key}={baked[key]} itself, which holds")
            if asked.max_det > baked["max_det"]:
                _warn(f"max_det={asked.max_det}: {asked.model} gives {baked['max_det']} boxes at most; export it anew")
        return Thresholds(asked.conf, asked.iou, asked.max_det, asked.agnostic_nms)

    # --- one image to one input ---

    def _prepare(self, item: Item, result: Future[Detections]) -> Prepared:
        try:
            image = item.load()
            image = None if image is None else with_channels(image, self.about.channels)
        except cv2.error:
            image = None
        except MemoryError:
            return Prepared(
                item, result, fault=f"{item.path}: not enough memory to decode it; give a smaller max_pixels="
            )
        except InferError as error:
            return Prepared(item, result, fault=str(error))
        except ValueError as error:
            return Prepared(item, result, fault=f"{item.path}: {error}")
        if image is None:
            return Prepared(item, result)
        pad = 0 if self.about.fixed_size else self.about.stride
        fitted, fit = fit_image(image, self.size, self.settings.letterbox, pad)
        return Prepared(item, result, image, self._input(fitted), fit)

    def _input(self, fitted: Array) -> Array:
        if self.about.takes_bytes:
            return fitted
        # Bytes are turned round before they become four times as many.
        ordered = fitted[..., ::-1] if self.about.channels == COLOUR else fitted
        planes = np.ascontiguousarray(ordered.transpose(2, 0, 1))
        scaled: Array = np.divide(planes, np.float32(255), dtype=np.float32)
        return scaled.astype(np.float16) if self.about.half_input else scaled

    # --- a batch ---

    def _run(self, group: list[Prepared], keep: bool) -> None:
        runner = self.runners.get()
        try:
            inputs = [each.input for each in group if each.input is not None]
            images = inputs[0][None] if len(inputs) == 1 else np.stack(inputs)
            count = len(images)
            if count < self.batch and self.placement.provider != "cpu" and self.about.batch is None:
                # A shape that was not there before costs a GPU more than the empty places.
                images = np.concatenate((images, np.zeros((self.batch - count, *images.shape[1:]), images.dtype)))
            found = boxes_of(runner.run(images), self.about, self.thresholds)
            if len(found) < count:
                raise InferError(
                    f"model={self.settings.model}: gives results for {len(found)} of {count} images; give batch=1, or "
                    "export it again"
                )
            for each, boxes in zip(group, found, strict=False):
                each.result.set_result(self._detections(each, boxes, keep))
        except BaseException as error:  # whoever waits for the results has to hear of it
            for each in group:
                if not each.result.done():
                    each.result.set_exception(error)
        finally:
            self.runners.put(runner)

    def _detections(self, prepared: Prepared, boxes: Boxes, keep: bool) -> Detections:
        assert prepared.image is not None  # only what could be read comes this far
        assert prepared.fit is not None
        height, width = prepared.image.shape[:2]
        mapped, scores, classes = prepared.fit.back(boxes[0], width, height), boxes[1], boxes[2]
        real = np.isfinite(mapped).all(1) & np.isfinite(scores)
        if not real.all():  # of an overflow in half precision, say: such a box is nowhere
            mapped, scores, classes = mapped[real], scores[real], classes[real]
        return Detections(
            prepared.item.path, width, height, mapped, scores, classes, self.about.names, prepared.item.frame,
            image=prepared.image if keep else None,
        )  # fmt: skip

    def _unread(self, item: Item, fault: str) -> Detections:
        empty = np.zeros((0, 4), np.float32)
        none = np.zeros(0, np.int64)
        kind = "a video" if ending_of(item.path) in VIDEOS else "an image"
        there = is_address(item.path) or os.path.exists(item.path)
        fault = fault or f"{item.path}: " + (f"cannot be read as {kind}" if there else "no such file")
        return Detections(item.path, 0, 0, empty, empty[:, 0], none, self.about.names, item.frame, error=fault)

    # --- all of it ---

    def detect(self, images: Sequence[Array]) -> list[Detections]:
        """Find objects in images ``(H, W)`` or ``(H, W, C)``, bytes, blue first, brought to the model's channels."""
        items = (Item(f"image{index}", lambda image=image: image) for index, image in enumerate(images))  # type: ignore[misc]
        return list(self.stream(items))

    def predict(self, source: str | Path, keep: bool = False) -> Iterator[Detections]:
        """Find objects in everything that a source names, in its order.

        Args:
            source: See the setting of that name.
            keep: Keep the images, to draw on them.
        """
        items = items_of(str(source), self.about.channels, self.settings.max_pixels)
        return self.stream(itertools.islice(items, self.settings.frames), keep)

    def stream(self, items: Iterable[Item], keep: bool = False) -> Iterator[Detections]:
        """Find objects in items, in their order, reading, computing and the caller's own work going on at once.

        Images are computed together only if they have the same shape after padding: results do not depend on the batch.
        """
        workers = self.settings.workers or max(1, min(cores(), 8))
        ahead = workers + self.batch * (self.streams + 1)
        waiting: deque[Future[Prepared]] = deque()
        results: deque[Future[Detections]] = deque()
        groups: dict[tuple[int, ...], list[Prepared]] = {}
        with ThreadPoolExecutor(workers, "read") as readers, ThreadPoolExecutor(self.streams, "run") as runs:

            def start(group: list[Prepared]) -> None:
                runs.submit(self._run, group, keep)

            def place(prepared: Prepared) -> None:
                if prepared.input is None:
                    prepared.result.set_result(self._unread(prepared.item, prepared.fault))
                    return
                group = groups.setdefault(prepared.input.shape, [])
                group.append(prepared)
                if len(group) == self.batch:
                    start(groups.pop(prepared.input.shape))

            try:
                for item in items:
                    result: Future[Detections] = Future()
                    results.append(result)
                    waiting.append(readers.submit(self._prepare, item, result))
                    while waiting and (waiting[0].done() or len(waiting) > ahead or self._at_once()):
                        place(waiting.popleft().result())
                    while results and results[0].done():
                        yield results.popleft().result()
                    if len(results) > 3 * ahead:
                        # The oldest waits for others of its shape: it has waited long enough.
                        while waiting:
                            place(waiting.popleft().result())
                        for shape in list(groups):
                            start(groups.pop(shape))
                        yield results.popleft().result()
                while waiting:
                    place(waiting.popleft().result())
                for group in groups.values():
                    start(group)
                while results:
                    yield results.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _at_once(self) -> bool:
        return self.settings.source is not None and is_live(self.settings.source)

    def warm_up(self, times: int = 2) -> float:
        """Run the model on an empty batch, and return how long the first time took, in seconds."""
        width, height = self.size
        stride = self.about.stride
        least = (height, width) if self.about.fixed_size else (stride, stride)
        largest, smallest = (self.batch, height, width), (self.about.batch or 1, *least)
        bounds = self.placement.provider == "tensorrt" and not self.about.fixed
        begin = time.perf_counter()
        first = 0.0
        for shape in [smallest, largest] if bounds else [largest]:
            try:
                images = self._nothing(*shape)
            except MemoryError as error:
                text = f"not enough memory for images of {width}x{height}; give a smaller batch= or imgsz="
                raise InferError(f"model={self.settings.model}: {text}") from error
            for _ in range(self.streams):
                runner = self.runners.get()
                for index in range(times):
                    outputs = runner.run(images)
                    first = first or time.perf_counter() - begin
                    if index == 0:
                        boxes_of(outputs, self.about, self.thresholds)
                self.runners.queue.insert(0, runner)
        return first

    def _nothing(self, batch: int, height: int, width: int) -> Array:
        """Return black images as the model takes them."""
        planes = self.about.channels
        if self.about.takes_bytes:
            return np.zeros((batch, height, width, planes), np.uint8)
        return np.zeros((batch, planes, height, width), np.float16 if self.about.half_input else np.float32)

    def benchmark(self, items: Sequence[Item], seconds: float = 3.0) -> dict[str, float]:
        """Measure.

        Args:
            items: Images, which are gone through again and again.
            seconds: How long each part is measured at least.

        Returns:
            Milliseconds per image: ``read``, ``model`` (least), ``model_median``, ``boxes``; and ``images_per_second``
            from file to boxes.
        """
        usable: list[Item] = []
        inputs: list[Array] = []  # of one shape, as many as make a batch
        for item in items:
            found = self._prepare(item, Future()).input
            if found is None:
                continue
            usable.append(item)
            if len(inputs) < self.batch and (not inputs or found.shape == inputs[0].shape):
                inputs.append(found)
        if not usable:
            raise InferError("benchmark: none of the images can be read; check the files")
        batch = np.stack([inputs[index % len(inputs)] for index in range(self.batch)])
        runner = self.runners.get()
        try:
            outputs = runner.run(batch)
            model = timed(lambda: runner.run(batch), seconds)
        finally:
            self.runners.put(runner)
        boxes = timed(lambda: boxes_of(outputs, self.about, self.thresholds), seconds / 4)
        read = timed(lambda: self._prepare(usable[0], Future()), seconds / 4)
        begin, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - begin) < seconds:
            count += sum(1 for _ in self.stream(usable))
        each = 1000 / self.batch
        return {
            "read": min(read) * 1000, "model": min(model) * each, "model_median": statistics.median(model) * each,
            "boxes": min(boxes) * each, "images_per_second": count / passed,
        }  # fmt: skip


def timed(work: Callable[[], object], seconds: float) -> list[float]:
    """Return how long each of many repetitions took, in seconds."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 5:
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return found


# --- the program ------------------------------------------------------------------------------------------------------


class Writer:
    """Saves pictures and videos with their boxes in a folder that was not there before.

    Args:
        project: The folder above it.
        name: Its name; a taken one gets a number.
    """

    def __init__(self, project: str, name: str) -> None:
        self.folder = new_folder(Path(project), name)
        self.videos: dict[str, Any] = {}  # those that are being written, by where their frames come from
        self.pool = ThreadPoolExecutor(2, "write")
        self.pending: deque[Future[None]] = deque()
        self.taken: Counter[str] = Counter()

    def write(self, found: Detections) -> None:
        """Save one image, or one frame."""
        if found.image is None:
            return
        if found.frame is not None:
            self._frame(found)
            return
        stem, suffix = Path(plain_name(found.path)).stem or "image", ending_of(found.path)
        name = self._free(stem, suffix if suffix in {".png", ".bmp", ".webp", ".jpeg"} else ".jpg")
        self.pending.append(self.pool.submit(save_image, self.folder / name, found))
        while self.pending and (len(self.pending) > 16 or self.pending[0].done()):
            self.pending.popleft().result()

    def _free(self, stem: str, suffix: str) -> str:
        """Return a name that no other image of this run has: two folders may hold images of the same name."""
        key = (stem + suffix).casefold()  # to some file systems, A.jpg is a.jpg
        self.taken[key] += 1
        count = self.taken[key]
        return f"{stem}{suffix}" if count == 1 else self._free(f"{stem}-{count}", suffix)

    def _frame(self, found: Detections) -> None:
        if found.frame == 0 or found.path not in self.videos:
            self._close_videos(found.path)
            stem = "camera" if is_live(found.path) else Path(plain_name(found.path)).stem
            path = self.folder / self._free(stem, ".mp4")
            check_name(path)
            code = cv2.VideoWriter.fourcc(*"mp4v")
            rate = frame_rate(found.path)
            video = cv2.VideoWriter(str(path), code, rate, (found.width, found.height))
            if not video.isOpened():
                raise InferError(f"{path}: this OpenCV cannot write videos; leave save out")
            self.videos[found.path] = video
        self.videos[found.path].write(found.drawn())

    def _close_videos(self, path: str | None = None) -> None:
        """Close all, or what a new one from there ends: streams go on side by side, files come one after the other."""
        for each in list(self.videos):
            if path is None or each == path or not is_live(each):
                self.videos.pop(each).release()

    def close(self) -> None:
        """Wait until everything is written."""
        self._close_videos()
        self.pool.shutdown()
        for each in self.pending:
            each.result()


def frame_rate(source: str) -> float:
    """Return the frames per second of a video; 25 where it does not say."""
    if is_live(source):
        return 25.0
    video = cv2.VideoCapture(source)
    rate = float(video.get(cv2.CAP_PROP_FPS))
    video.release()
    return rate if 1 <= rate <= 240 else 25.0


def save_image(path: Path, found: Detections) -> None:
    """Write one picture; its name may hold any letter."""
    try:
        there, data = cv2.imencode(path.suffix, found.drawn())
    except cv2.error:  # too large for its format
        there = False
    if not there:
        raise InferError(f"{path}: a picture of {found.width}x{found.height} cannot be written; leave save out")
    write_file(path, data.tobytes())


def write_file(path: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        InferError: If that fails.
    """
    try:
        if path.exists() and not path.is_file():
            raise InferError(f"{path}: no regular file; give another place")
        path.write_bytes(data)
    except OSError as error:
        raise InferError(f"{path}: cannot be written ({error.strerror}); give another place") from error


def write_json(path: str, document: object) -> None:
    """Write a JSON file."""
    write_file(Path(path), json.dumps(document, indent=1).encode())


def new_folder(project: Path, name: str) -> Path:
    """Make a folder that was not there before: ``name``, or ``name2`` and so on."""
    try:
        project.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = project / (name if number == 1 else f"{name}{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
    except OSError as error:
        raise InferError(f"project={project}: {error.strerror}; choose another folder") from error
    return folder


def run(settings: InferSettings) -> int:
    """Find objects as the settings say.

    Returns:
        The exit status.

    Raises:
        InferError: If something that the user gave cannot be used.
    """
    check_settings(settings)
    if not settings.source:
        raise InferError("source: not given; give an image, a folder or a video, for example source=images/")
    check_source(settings.source)
    given = dataclasses.asdict(settings)
    model, provider = given.pop("model"), given.pop("provider")
    yolo = OnnxYolo(model, provider, **given)
    for note in yolo.about.notes:
        print(plain(f"{model}: {note}"))
    first = yolo.warm_up()
    print(f"{yolo.placement}; ready after {first:.2f} s for the first batch")
    if settings.benchmark:
        return _benchmark(yolo, settings)
    return _predict(yolo, settings)


def check_source(source: str) -> None:
    """Check that a source names something, before the model is opened.

    Raises:
        InferError: If it does not, or is an address that does not answer.
    """
    _check_address(source)
    if source != "-":
        find_files(source)


def _check_address(source: str) -> None:
    if is_address(source) and ending_of(source) not in VIDEOS:  # OpenCV itself opens videos
        open_address(source).close()


def _benchmark(yolo: OnnxYolo, settings: InferSettings) -> int:
    every = items_of(settings.source or "", yolo.about.channels, settings.max_pixels)
    items = list(itertools.islice(every, settings.frames or 256))
    figures = yolo.benchmark(items)
    width, height = yolo.size
    images = counted(len(items), "image")
    print(f"{images}, {width}x{height}, batch {yolo.batch}, {yolo.streams} at the same time; milliseconds:")
    print(f"  read and fit  {figures['read']:8.2f}")
    print(f"  model alone   {figures['model']:8.2f}   (median {figures['model_median']:.2f}), an image")
    print(f"  suppression   {figures['boxes']:8.2f}")
    print(f"  all together  {1000 / figures['images_per_second']:8.2f}   {figures['images_per_second']:.1f} images/s")
    if settings.json:
        document = {"provider": yolo.placement.provider, "batch": yolo.batch, "imgsz": [height, width], **figures}
        write_json(settings.json, document)
    return DONE


def _predict(yolo: OnnxYolo, settings: InferSettings) -> int:
    writer = Writer(settings.project, settings.name) if settings.save else None
    entries: list[dict[str, Any]] = []
    count = boxes = unread = 0
    begin = shown = time.perf_counter()
    interrupted = False
    try:
        for found in yolo.predict(settings.source or "", keep=settings.save):
            count, boxes = count + 1, boxes + len(found)
            if found.error:
                unread += 1
                _warn(found.error)
            if settings.json:
                entries.append(found.entry())
            if writer:
                writer.write(found)
            now = time.perf_counter()
            if sys.stdout.isatty() and now - shown > 0.5:
                print(f"\r{counted(count, 'image')}, {count / (now - begin):.1f} a second ", end="", flush=True)
                shown = now
    except KeyboardInterrupt:
        interrupted = True  # a camera ends in no other way: what was found is kept
    finally:
        try:
            if settings.json:
                write_json(settings.json, entries)
        finally:
            if writer:
                writer.close()
    passed = time.perf_counter() - begin
    read = count - unread
    line = f"{counted(boxes, 'object')} in {counted(read, 'image')}, {read / max(passed, 1e-9):.1f} images/s"
    if sys.stdout.isatty():
        line = "\r" + line
    print(line + (f"; {unread} could not be read" if unread else ""))
    if writer:
        print(plain(f"pictures in {writer.folder}"))
    if settings.json:
        print(plain(f"boxes in {settings.json}"))
    if count == unread and not interrupted:
        raise InferError(f"source={settings.source}: none of its images can be read; check the files")
    return INTERRUPTED if interrupted and not is_live(settings.source or "") else DONE


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _warn(text: str) -> None:
    print(f"warning: {plain(text)}", file=sys.stderr)


def parse(arguments: Sequence[str]) -> InferSettings:
    """Read ``key=value``, ``--key=value`` and ``--key value``.

    Raises:
        InferError: For an unknown key, naming its nearest neighbour, or a value of the wrong type.
    """
    fields = {each.name: each for each in dataclasses.fields(InferSettings)}
    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    rest = deque(arguments)
    while rest:
        argument = rest.popleft()
        key, equals, value = argument.partition("=")
        if not equals:
            if not argument.startswith("--") or not rest:
                raise InferError(f"{argument}: no key=value; write for example source=images/")
            value = rest.popleft()
        key, value = key.strip().lstrip("-").replace("-", "_"), value.strip()
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            raise InferError(f"{key}: unknown key; {f'did you mean {near[0]}?' if near else 'see -h for the keys'}")
        if texts.setdefault(key, value) != value:
            raise InferError(f"{key}={value}: given twice, {key}={texts[key]} too; give one value")
        values[key] = _value(key, value, str(fields[key].type), fields[key].metadata)
    return InferSettings(**{key: value for key, value in values.items() if value is not None})


def _value(key: str, text: str, kind: str, rule: Mapping[str, Any]) -> Any:
    """Turn a text into the type that a field is annotated with; None asks for its default."""
    if text.strip().lower() in {"none", "null", ""}:
        return None
    if not kind.startswith("str") and (not text.isascii() or "_" in text):
        # Python takes 1_0 and the digits of other scripts for numbers.
        raise InferError(f"{key}={text}: give {_wanted(kind)}, in the digits 0 to 9")
    if kind.startswith("str"):
        _check_path(key, text, rule)
        if rule.get("kind") and text.startswith("~") and not os.path.exists(text):
            return os.path.expanduser(text)  # which no shell replaces behind key=
        return next((each for each in rule.get("choices", ()) if each == text.lower()), text)
    with contextlib.suppress(ValueError, OverflowError):
        if kind.startswith("bool"):
            return _truth(text)
        return float(text) if kind.startswith("float") else _whole(text)
    with contextlib.suppress(ValueError, OverflowError):
        if "tuple" in kind:
            sides = [_whole(each) for each in text.strip("[]() ").removesuffix(",").split(",")]
            height, width = sides * 2 if len(sides) == 1 else sides
            return height, width
    raise InferError(f"{key}={text}: give {_wanted(kind)}")


def _wanted(kind: str) -> str:
    """Return what a field of that type takes, for a message."""
    wanted = "True or False" if kind.startswith("bool") else "a whole number" if "int" in kind else "a number"
    return wanted + (", or two with a comma" if "tuple" in kind else "")


def _check_path(key: str, text: str, rule: Mapping[str, Any]) -> None:
    """Refuse what no file can be called: too long as a whole or in a part, or with a zero byte."""
    path = text.encode("utf-8", "replace").replace(b"\\", b"/")
    if rule.get("kind") and (len(path) > 4095 or b"\0" in path or any(len(part) > 255 for part in path.split(b"/"))):
        raise InferError(f"{key}={text[:60]}...: not a path that a file can have; check what was pasted")


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    word = text.strip().lower()
    number = float(words.get(word, text))
    if number not in (0, 1):
        raise ValueError(text)
    return bool(number)


def _whole(text: str) -> int:
    with contextlib.suppress(ValueError):
        return int(text)  # a float cannot hold every whole number
    if not float(text).is_integer():  # 64.0 and 1e3 are whole numbers, too
        raise ValueError(text)
    return int(float(text))


def help_text() -> str:
    """Return what the program understands."""
    blocks: dict[str, list[str]] = {}
    for each in dataclasses.fields(InferSettings):
        rule = each.metadata
        notes = [", ".join(rule["choices"])] if "choices" in rule else []
        notes += [f"default {each.default}"] if each.default is not None else []
        text = rule["tip"] + (f" [{'; '.join(notes)}]" if notes else "")
        blocks.setdefault(rule["group"], []).append(f"  {each.name + '=':16}{text}")
    keys = "\n\n".join("\n".join([f"{heading}:", *lines]) for heading, lines in blocks.items())
    usage = "Usage: infer.py model=best.onnx source=images/ key=value ..."
    return f"{usage}\n\n{keys}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 done, 2 the user's input is at fault, 1 else, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may hold letters that the console has not
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        print(help_text())
        return DONE
    try:
        return run(parse(arguments))
    except InferError as error:
        print(f"infer: {plain(str(error))}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
