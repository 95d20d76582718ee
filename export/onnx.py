"""ONNX files from Darknet networks, compared with the network before they are kept."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from onnx import ModelProto

from yolo_subbatch.darknet.geometry import check_detector, largest_stride
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.errors import CfgError, ExportError, ParityError
from yolo_subbatch.settings.checks import size_fault
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.number_texts import file_size

from . import metadata, parity
from .candidate import Array, Candidate
from .graph import Layout, prepend_preprocessing, trace
from .nms import append_nms

HOST_STRIDE = 32
SCRIPT = Path(__file__).with_name("infer.py")
SCRIPT_TITLE = b"YOLO inference from an ONNX file"


class OnnxExporter:
    """Writes a network as one ONNX file.

    The file appears under its name only after onnxruntime has computed from it what the network computes, for other
    batches and sizes too where these are free. An earlier file of that name stays if the new one fails.

    Args:
        network: The network; it is not changed.
        names: Class names.
        settings: What is asked; ``imgsz`` None is the cfg's.
        say: Called with each line of progress.

    Raises:
        ExportError: If settings exclude one another, the size does not fit the network, or it detects nothing.
    """

    def __init__(
        self, network: Network, names: dict[int, str], settings: ExportSettings,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        try:
            check_detector(network.cfg)
        except CfgError as error:
            raise ExportError(str(error)) from error
        self.network = copy.deepcopy(network).float().cpu().eval()
        self.names, self.settings, self.say = names, settings, say
        self.stride = largest_stride(network.cfg)
        size = settings.imgsz or (network.cfg.net.height, network.cfg.net.width)
        self.height, self.width = size if isinstance(size, tuple) else (size, size)
        fault = size_fault(self.width, self.height, self.stride)
        if fault:
            raise ExportError(fault)

    def export(self, target: Path) -> Path:
        """Write the file.

        Args:
            target: Its name.

        Returns:
            The target.

        Raises:
            ParityError: If it does not compute what the network does; it is not kept then.
            ExportError: If the network has no form in ONNX, or int8 costs too much mAP.
        """
        if target.is_symlink():
            target = Path(os.path.realpath(target))  # the link goes on to point at the file
        script = target.with_name("infer.py") if self.settings.with_script else None
        if script is not None and script.exists() and not _is_script(script):
            raise ExportError(f"{script}: exists and is not the inference script; move it, or leave with_script out")
        # In the same folder, so that the finished file is moved there in one step.
        with _place(target) as folder:
            file = folder / target.name
            try:
                self._write(file)
            except ParityError as error:
                raise ParityError(f"{target}: not kept; {error}; {self._advice(error)}") from error
            _move(file, target)
            if script is not None:
                _move(_copied(SCRIPT, folder / "infer.py"), script)
        self.say(f"{target}: {file_size(target.stat().st_size)}, opset {self.settings.opset}, {self._inputs()}")
        return target

    def _write(self, file: Path) -> None:
        settings = self.settings
        others = {head.section.title for head in self.network.heads} - {"yolo"}
        if settings.raw and others:
            found = ", ".join(f"[{title}]" for title in sorted(others))
            raise ExportError(f"raw=True: infer cannot decode the raw maps of {found}; leave raw out")
        channels = self.network.cfg.net.channels
        layout = Layout(
            settings.batch, self.height, self.width, settings.dynamic, settings.raw, settings.half, channels
        )
        model = trace(self.network, layout, settings.opset)
        if settings.simplify:
            model = simplified(model)
        reference, precision = parity.torch_reference(self.network), metadata.precision_of(settings)
        about = self._describe(settings)
        if settings.int8:
            model, measured = self._quantize(model, file.with_name("full.onnx"))
            about[f"{metadata.PREFIX}map"] = measured
            reference, precision = parity.file_reference(model), "exact"
        if settings.preprocess:
            prepend_preprocessing(model)
        if settings.nms:
            append_nms(model, settings.conf, settings.iou, settings.max_det, settings.agnostic_nms)
        onnx.checker.check_model(model)
        if settings.parity:
            metadata.write(model, about)
            _save(model, file)
            figures = self._check(file, reference, precision)
            about[f"{metadata.PREFIX}parity"] = str(figures)
            what = "8-bit graph" if settings.int8 else "network"
            self.say(f"computes what the {what} does: {figures}")
        metadata.write(model, about)
        _save(model, file)

    def _check(self, file: Path, reference: parity.Reference, precision: str) -> parity.Figures:
        shapes = parity.shapes_to_try(self.settings.batch, self.width, self.height, self.stride, self.settings.dynamic)
        try:
            candidate = Candidate(file, self._decode if self.settings.raw else None)
            exact = parity.double_reference(self.network) if precision == "fp32" else None
            return parity.check(candidate, reference, shapes, precision, exact)
        except Exception as error:
            if isinstance(error, ExportError) or not type(error).__module__.startswith("onnxruntime"):
                raise
            raise ParityError(f"onnxruntime cannot run it ({str(error).splitlines()[0][:200]})") from error

    def _decode(self, maps: list[Array]) -> Array:
        """Turn raw maps, ``(B, A * (5 + C), H, W)`` each, into boxes."""
        return self.network.predictions([torch.from_numpy(each) for each in maps]).numpy()

    def _describe(self, settings: ExportSettings) -> dict[str, str]:
        # Ultralytics pads what it predicts on to multiples of 32 at least: the same boxes need the same padding.
        stride = max(self.stride, HOST_STRIDE) if settings.dynamic else self.stride
        return metadata.describe(self.network, self.names, stride, (self.width, self.height), settings)

    def _quantize(self, model: ModelProto, full: Path) -> tuple[ModelProto, str]:
        """Return the graph in 8 bits, and what it costs; the float32 graph is compared with the network first."""
        from .quantize import quantized

        # So far it neither suppresses nor takes bytes, whatever the finished file will do.
        about = self._describe(replace(self.settings, nms=False, preprocess=False, int8=False))
        metadata.write(model, about)
        _save(model, full)
        if self.settings.parity:
            self._check(full, parity.torch_reference(self.network), "fp32")
        return quantized(full, about, self.settings, self.network, (self.width, self.height), self.say)

    def _advice(self, error: ParityError) -> str:
        if "half precision" in str(error):
            return "export it without half"
        return "try another opset, or report it together with the cfg"

    def _inputs(self) -> str:
        size = f"{self.width}x{self.height}"
        if self.settings.dynamic:
            return f"any number of images of any size that {self.stride} divides (made for {size})"
        return f"{self.settings.batch} image{'s' if self.settings.batch > 1 else ''} of {size} at a time"


@contextmanager
def _place(target: Path) -> Iterator[Path]:
    """Make a folder beside a target that is gone afterwards; its name says which process it belongs to."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".export-{os.getpid()}-", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    with folder as path:
        yield Path(path)


def _unwritable(target: Path, error: OSError) -> ExportError:
    return ExportError(f"{target}: cannot be written ({error.strerror or error}); give another place with to=")


def _save(model: ModelProto, file: Path) -> None:
    try:
        file.write_bytes(model.SerializeToString())
    except OSError as error:
        raise _unwritable(file, error) from error


def _move(file: Path, target: Path) -> None:
    try:
        os.replace(file, target)
    except OSError as error:
        raise _unwritable(target, error) from error


def _copied(source: Path, file: Path) -> Path:
    try:
        shutil.copyfile(source, file)
    except OSError as error:
        raise _unwritable(file, error) from error
    return file


def _is_script(file: Path) -> bool:
    """Tell whether a file is the inference script, of whatever version."""
    try:
        return file.is_file() and SCRIPT_TITLE in file.read_bytes()[:200]
    except OSError:
        return False


def simplified(model: ModelProto) -> ModelProto:
    """Return the graph as onnxslim simplifies it.

    Raises:
        ExportError: If onnxslim is not installed, or fails.
    """
    try:
        import onnxslim
    except ModuleNotFoundError as error:
        raise ExportError("simplify=True: onnxslim is not installed; pip install onnxslim, or leave it out") from error
    try:
        slim: ModelProto = onnxslim.slim(model)
    except Exception as error:  # of whatever kind: the package declares none
        raise ExportError(f"simplify=True: onnxslim failed ({error}); leave it out") from error
    return slim
