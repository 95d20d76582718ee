"""``export`` from the command line and from Python, what Ultralytics and ``infer`` make of the file, and int8."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from ultralytics import ASSETS, YOLO

from tests.settings.sample import write_checkpoint
from yolo_subbatch import Darknet, cli
from yolo_subbatch.errors import DataError, ExportError, SettingsError
from yolo_subbatch.export import quantize
from yolo_subbatch.export.candidate import open_session
from yolo_subbatch.export.infer import Detections, InferSettings, OnnxYolo, session_options
from yolo_subbatch.export.onnx import OnnxExporter
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.file_marks import is_ours

NETWORK = ("cfg=squares.cfg", "weights=squares.weights")


@pytest.fixture
def place(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with the trained network, its data and two photos."""
    shutil.copytree(squares, tmp_path, dirs_exist_ok=True)
    (tmp_path / "photos").mkdir()
    for photo in Path(ASSETS).glob("*.jpg"):
        shutil.copy(photo, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message of a call that ends with status 2."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


# --- where the file goes ----------------------------------------------------------------------------------------------


def test_it_goes_beside_the_weights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", *NETWORK) == 0
    assert is_ours(place / "squares.onnx", "onnx")
    assert re.search(r"squares\.onnx: \d+ KiB", capsys.readouterr().out)
    first = (place / "squares.onnx").read_bytes()
    assert run("export", *NETWORK, "dynamic=True") == 0, "an export of its own is replaced"
    assert (place / "squares.onnx").read_bytes() != first


def test_it_goes_beside_the_checkpoint(place: Path) -> None:
    (place / "deep").mkdir()
    assert run("convert", *NETWORK, "to=deep/best.pt") == 0
    assert run("export", "model=deep/best.pt", "--nms", "True", "--max-det=7", "imgsz=32,96", "with_script=True") == 0
    model = onnx.load(place / "deep" / "best.onnx")
    shape = [each.dim_value for each in model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == [1, 7, 6]
    assert (place / "deep" / "infer.py").read_text().startswith("#!/usr/bin/env python3")


def test_from_python(place: Path) -> None:
    model = Darknet("squares.cfg", weights="squares.weights")
    assert Path(model.export()) == Path("squares.onnx")
    assert Path(model.export(format="onnx", dynamic=True, to="other.onnx", half=True)).is_file()
    with pytest.raises(SettingsError, match=r"^bathc: unknown key; did you mean batch\?"):
        model.export(bathc=3)
    with pytest.raises(SettingsError, match=r"^cfg: this is the network that is loaded"):
        model.export(cfg="x.cfg")
    with pytest.raises(SettingsError, match=r"^format=caffe: unknown; use one of torchscript, onnx"):
        model.export(format="caffe")
    with pytest.raises(
        ExportError, match=r"^format=engine: Ultralytics cannot write it here \([^\x1b\n]+\); mend that"
    ):
        model.export(format="engine", device="99")
    with pytest.raises(ExportError, match=r"^format=torchscript: .*bathc.*\); mend that, or leave format out"):
        model.export(format="torchscript", bathc=3)
    assert model.network.layers[0].bn.__class__ is torch.nn.BatchNorm2d, "the model can still be trained"


def test_an_untrained_network_goes_to_the_working_directory(place: Path) -> None:
    assert Path(Darknet("squares.cfg").export(imgsz=32)) == Path("squares.onnx")
    assert (place / "squares.onnx").is_file()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "cfg: not given"),
        (("cfg=squares.cfg",), "needs its trained weights"),
        (("model=none.pt",), "model=none.pt: no such file"),
        (("cfg=squares.cfg", "weights=none.weights"), "weights=none.weights: no such file"),
        ((*NETWORK, "format=engine"), "format=engine: unknown; use one of onnx"),
        ((*NETWORK, "imgsz=100"), "imgsz=100: not a multiple of the network's stride 8; use 96 or 104"),
        ((*NETWORK, "to=x.pt"), "give a name that ends in .onnx"),
        ((*NETWORK, "to=none/x.onnx"), "the folder none does not exist"),
        ((*NETWORK, "to=photos"), "this is a folder"),
        ((*NETWORK, "nms=True", "raw=True"), "give one of nms and raw"),
        ((*NETWORK, "half=True", "int8=True", "data=squares.data"), "give one of the two"),
        ((*NETWORK, "quantize=16", "int8=True", "data=squares.data"), "quantize=16: is half"),
        ((*NETWORK, "quantize=32", "half=True"), "quantize=32: is full precision"),
        ((*NETWORK, "quantize=4"), "quantize=4: unknown; use one of 8, 16, 32"),
        ((*NETWORK, "int8=True"), "int8=True: data is not given"),
        ((*NETWORK, "int8=True", "data=none.data"), "data=none.data: no such file"),
        ((*NETWORK, "int8=True", "raw=True", "data=squares.data"), "leave raw out"),
        ((*NETWORK, "opset=9"), "opset=9: too small"),
        ((*NETWORK, "opset=25"), "opset=25: too large"),
        ((*NETWORK, "conf=2"), "conf=2.0: too large"),
        ((*NETWORK, "batch=0"), "batch=0: too small"),
        ((*NETWORK, "dynamik=True"), "did you mean dynamic?"),
        ((*NETWORK, "dynamic=maybe"), "dynamic=maybe"),
        ((*NETWORK, "device=0"), "device=0: unknown; use one of cpu"),
    ],
)
def test_mistakes_are_answered(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in mistake(capsys, "export", *arguments)
    assert not list(place.glob("*.onnx"))


def test_a_file_of_somebody_else_is_not_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "squares.onnx").write_bytes(b"mine")
    assert "it is not overwritten" in mistake(capsys, "export", *NETWORK)
    assert (place / "squares.onnx").read_bytes() == b"mine"


def test_weights_that_do_not_fit_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "squares.weights").write_bytes((place / "squares.weights").read_bytes()[:-4])
    assert "squares.weights" in mistake(capsys, "export", *NETWORK)


def test_networks_of_ultralytics_are_left_to_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    YOLO("yolov8n.yaml").save("host.pt")
    assert "yolo export model=host.pt format=onnx" in mistake(capsys, "export", "model=host.pt")


def test_a_damaged_checkpoint_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(place / "bad.pt")
    assert "bad.pt" in mistake(capsys, "export", "model=bad.pt")


def test_a_failed_comparison_ends_with_status_1(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nobody's mistake: the user can do no better."""
    from yolo_subbatch.export import graph

    def halved(self: graph.TracedNetwork, images: torch.Tensor) -> torch.Tensor:
        return self.network.predictions(self.network(images)) / 2

    monkeypatch.setattr(graph.TracedNetwork, "forward", halved)
    assert run("export", *NETWORK) == 1
    assert "squares.onnx: not kept; 1 image of 64x64: boxes differ" in capsys.readouterr().err
    assert not list(place.glob("*.onnx"))


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(place: Path, missing: str) -> None:
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{missing}":
            raise ModuleNotFoundError(f"No module named {{name}}", name=name.partition(".")[0])
sys.meta_path.insert(0, Blocked())
from yolo_subbatch.cli import main
raise SystemExit(main(["export", "cfg=squares.cfg", "weights=squares.weights"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=place)
    assert f"{missing} is not installed; pip install 'yolo-subbatch[export]'" in done.stderr
    assert done.returncode == 2
    assert not list(place.glob("*.onnx"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "photos").chmod(0o500)
    assert "cannot be written" in mistake(capsys, "export", *NETWORK, "to=photos/x.onnx")


# --- who reads it -----------------------------------------------------------------------------------------------------


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], least: float = 0.99, most: float = 1e-3) -> int:
    """Compare entries of two JSON files and return the number of boxes.

    Of boxes whose confidences differ by less than ``most``, which comes first is a matter of rounding.
    """
    assert [Path(each["image"]).name for each in ours] == [Path(each["image"]).name for each in theirs]
    for own, other in zip(ours, theirs, strict=True):
        assert (own["width"], own["height"]) == (other["width"], other["height"])
        assert len(own["detections"]) == len(other["detections"])
        for found in (own["detections"], other["detections"]):
            assert found == sorted(found, key=lambda each: -each["confidence"])
        left = list(other["detections"])
        for box in own["detections"]:
            partners = [each for each in left if is_same(box, each, least, most)]
            assert partners, f"{box} is in one of them alone"
            left.remove(max(partners, key=lambda each: overlap(box["xyxy"], each["xyxy"])))
    return sum(len(each["detections"]) for each in ours)


def is_same(a: dict[str, Any], b: dict[str, Any], least: float, most: float) -> bool:
    alike = (a["class"], a["name"]) == (b["class"], b["name"]) and abs(a["confidence"] - b["confidence"]) <= most
    return alike and overlap(a["xyxy"], b["xyxy"]) > least


def overlap(a: list[float], b: list[float]) -> float:
    across = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (a, b)]
    if a == pytest.approx(b, abs=1e-2):
        return 1.0  # also without any area, outside the image
    together = sum(areas) - across * down
    return across * down / together if together else 0.0


LAYOUTS = {
    "dynamic": "dynamic=True",
    "nms": "dynamic=True nms=True conf=0.02 iou=0.7",
    "raw": "dynamic=True raw=True",
    "bytes": "dynamic=True preprocess=True",
    "bytes and nms": "dynamic=True preprocess=True nms=True conf=0.02",
    "old operators": "dynamic=True opset=13 nms=True conf=0.02",
}


@pytest.mark.parametrize("letterbox", ["ultralytics", "darknet", "stretch"])
@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_infer_finds_what_predict_finds(place: Path, options: str, letterbox: str) -> None:
    common = ("source=photos", "conf=0.02", "imgsz=192", f"letterbox={letterbox}")
    assert run("predict", *NETWORK, *common, "json=predict.json", "save=False") == 0
    assert run("export", *NETWORK, *options.split()) == 0
    for batch in ("1", "2"):
        assert run("infer", "model=squares.onnx", *common, "json=infer.json", f"batch={batch}", "provider=cpu") == 0
        found = (json.loads((place / name).read_text()) for name in ("infer.json", "predict.json"))
        assert same(*found) > 20


def test_infer_on_a_network_that_is_not_square(place: Path) -> None:
    text = (place / "squares.cfg").read_text().replace("width=64", "width=96")
    (place / "squares.cfg").write_text(text)
    assert run("predict", *NETWORK, "source=photos", "conf=0.02", "json=predict.json", "save=False") == 0
    assert run("export", *NETWORK, "dynamic=True") == 0
    assert run("infer", "model=squares.onnx", "source=photos", "conf=0.02", "json=infer.json", "provider=cpu") == 0
    found = (json.loads((place / name).read_text()) for name in ("infer.json", "predict.json"))
    assert same(*found) > 3


def host_entries(file: str, imgsz: int, **keywords: Any) -> list[dict[str, Any]]:
    """Return what stock Ultralytics finds with a file."""
    results = YOLO(file, task="detect").predict(
        "photos", imgsz=imgsz, conf=0.02, verbose=False, device="cpu", save=False, **keywords
    )
    return [
        Detections(
            each.path, each.orig_shape[1], each.orig_shape[0], each.boxes.xyxy.numpy(), each.boxes.conf.numpy(),
            each.boxes.cls.numpy().astype(int), each.names,
        ).entry()
        for each in results
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    ["dynamic=True", "dynamic=True nms=True conf=0.02", "imgsz=192", "imgsz=192 nms=True conf=0.02",
     "imgsz=192 batch=2", "imgsz=192 batch=2 nms=True conf=0.02"],
)  # fmt: skip
@pytest.mark.parametrize("together", [1, 2])
def test_stock_ultralytics_reads_it(place: Path, options: str, together: int) -> None:
    assert run("export", *NETWORK, *options.split()) == 0
    theirs = host_entries("squares.onnx", 192, batch=together)
    model = OnnxYolo("squares.onnx", "cpu", conf=0.02, **({"imgsz": 192} if "dynamic" in options else {}))
    ours = [found.entry() for found in model.predict("photos")]
    if together == 1:  # together, Ultralytics pads photos of different shape differently
        assert same(ours, theirs, least=0.999, most=1e-5) > 20
    assert {each["name"] for entry in theirs for each in entry["detections"]} <= {"class0", "class1"}
    assert all(entry["detections"] for entry in theirs)


def test_stock_ultralytics_finds_what_predict_finds(place: Path) -> None:
    assert run("predict", *NETWORK, "source=photos", "conf=0.02", "imgsz=192", "json=predict.json", "save=False") == 0
    assert run("export", *NETWORK, "dynamic=True") == 0
    theirs = host_entries("squares.onnx", 192)
    assert same(theirs, json.loads((place / "predict.json").read_text())) > 20


def test_opencv_reads_it(place: Path) -> None:
    assert run("export", *NETWORK) == 0
    image = cv2.imread(str(place / "val" / "000.png"))
    found = cv2.dnn.readNetFromONNX("squares.onnx")
    found.setInput(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255)
    model = OnnxYolo("squares.onnx", "cpu")
    wanted = model.session.run(None, {"images": model._input(image)[None]})[0]
    np.testing.assert_allclose(found.forward(), wanted, rtol=1e-3, atol=1e-3)


# --- eight bits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["", "dynamic=True nms=True preprocess=True simplify=True", "batch=2 imgsz=64,96"])
def test_eight_bits_are_kept_if_map_holds(place: Path, capsys: pytest.CaptureFixture[str], options: str) -> None:
    assert run("export", *NETWORK, "int8=True", "data=squares.data", "calibration=40", *options.split()) == 0
    said = capsys.readouterr().out
    assert "int8: calibrating on 40 training images" in said
    assert "int8: mAP50-95 0." in said
    assert "computes what the 8-bit graph does: boxes within 0 px" in said
    model = onnx.load(place / "squares.onnx")
    about = {each.key: each.value for each in model.metadata_props}
    assert about["ysb.precision"] == "int8"
    assert about["ysb.map"].startswith("mAP50-95 0.")
    makers = {name: node for node in model.graph.node for name in node.output}
    kinds = [makers[node.input[0]].op_type for node in model.graph.node if node.op_type == "Conv"]
    assert kinds.count("DequantizeLinear") == len(kinds) - 1, "all but the one before the head"
    assert kinds[-1] != "DequantizeLinear"
    assert not {"Concat", "Sigmoid", "Mul"} & {makers[node.input[0]].op_type for node in model.graph.node
                                               if node.op_type == "QuantizeLinear" and node.input[0] in makers}  # fmt: skip
    assert run("infer", "model=squares.onnx", "source=val", "provider=cpu", "json=x.json") == 0
    assert sum(len(entry["detections"]) for entry in json.loads((place / "x.json").read_text())) > 20


def eight_bit_convolution() -> onnx.ModelProto:
    """A convolution of 8-bit numbers as large as they come: pairs of products leave 16 bits."""
    number = onnx.numpy_helper.from_array
    node = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            node("QuantizeLinear", ["images", "one", "zero"], ["bytes"]),
            node("DequantizeLinear", ["bytes", "one", "zero"], ["given"]),
            node("DequantizeLinear", ["weights", "scales", "zeros"], ["scaled"], axis=0),
            node("Conv", ["given", "scaled"], ["sums"]),
            node("QuantizeLinear", ["sums", "large", "zero"], ["short"]),
            node("DequantizeLinear", ["short", "large", "zero"], ["output0"]),
        ],
        "convolution",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 16, 8, 8])],
        [onnx.helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, [1, 16, 8, 8])],
        [
            number(np.full((16, 16, 1, 1), 127, np.int8), "weights"),
            number(np.repeat(np.float32([1, 0.5]), 8), "scales"), number(np.zeros(16, np.int8), "zeros"),
            number(np.float32(1), "one"), number(np.float32(16 * 127), "large"), number(np.int8(0), "zero"),
        ],
    )  # fmt: skip
    return onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)])


def test_sums_of_eight_bits_do_not_overflow_on_any_processor(tmp_path: Path) -> None:
    model = eight_bit_convolution()
    onnx.save(model, tmp_path / "x.onnx")
    options = session_options(InferSettings(), "cpu", 1)
    images = np.full((1, 16, 8, 8), 127, np.float32)
    wanted = np.repeat(16 * 127 * np.float32([127, 64]), 8)  # the half of 127, rounded to even in steps of 16 * 127
    for session in (
        open_session(quantize.without_byte_kernels(model)),
        open_session(model),
        InferenceSession(str(tmp_path / "x.onnx"), options, providers=["CPUExecutionProvider"]),
    ):
        (found,) = session.run(None, {"images": images})
        assert np.array_equal(found, np.broadcast_to(wanted[None, :, None, None], found.shape))


def test_eight_bits_that_cost_too_much_are_not_kept(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibrated on black images, every activation is cut off."""
    black = iter([np.zeros((1, 3, 64, 64), np.float32)] * 4)
    monkeypatch.setattr(quantize, "calibration_inputs", lambda *_: black)
    text = mistake(capsys, "export", *NETWORK, "int8=True", "data=squares.data")
    assert "int8=True: not kept; mAP50-95 0." in text
    assert not list(place.glob("*.onnx"))


def test_data_of_another_network_measures_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (place / "val").glob("*.txt"):
        path.write_text("0 .01 .01 .01 .01\n")
    text = mistake(capsys, "export", *NETWORK, "int8=True", "data=squares.data")
    assert "mAP50-95 is 0 in float32 already" in text


def test_images_to_calibrate_on_are_spread(tmp_path: Path) -> None:
    images = [Path(str(index)) for index in range(10)]
    assert quantize.spread(images, 3) == [Path("0"), Path("3"), Path("6")]
    assert quantize.spread(images, 10) == quantize.spread(images, 99) == images
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of its training images can be read"):
        list(quantize.calibration_inputs([tmp_path / "bad.png"], (64, 64), 1, tmp_path / "x.data"))
    cv2.imwrite(str(tmp_path / "good.png"), np.full((20, 40, 3), 200, np.uint8))
    (given,) = quantize.calibration_inputs([tmp_path / "bad.png", tmp_path / "good.png"], (64, 32), 3, Path("x"))
    assert (given.shape, given.dtype) == ((3, 3, 32, 64), np.float32)
    assert np.array_equal(given[0], given[2])


def test_a_network_of_another_stride_is_checked_in_python_too(trained: Any) -> None:
    with pytest.raises(ExportError, match="imgsz=33"):
        OnnxExporter(trained.network, trained.names, ExportSettings(imgsz=33))
