"""The inference script as a program: where images come from, what is written, and what it says of bad input."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from ultralytics.utils.patches import imread

from yolo_subbatch import cli
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.export import infer
from yolo_subbatch.export.infer import InferError, InferSettings, Item, OnnxYolo, items_of, parse
from yolo_subbatch.settings.values import make, parse_pairs

#: Blue, green, red of pictures; the network finds one box, as confident as the picture's strongest colour is bright.
RED, GREEN, BLUE = (10, 20, 200), (10, 220, 20), (180, 20, 10)


def colours(path: Path, batch: Any = "batch", size: Any = ("height", "width"), said: bool = True) -> Path:
    """Write a file whose only box is a quarter of 32 pixels, of the class of the picture's strongest colour."""
    constants = {"shape": [0, 3, 1], "first": [0], "one": [1], "axis": [1]}
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
            helper.make_node("Reshape", ["mean", "shape"], ["scores"]),
            helper.make_node("Slice", ["scores", "first", "one", "axis"], ["any"]),
            helper.make_node("Mul", ["any", "nothing"], ["zero"]),
            helper.make_node("Add", ["zero", "place"], ["boxes"]),
            helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *size])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, 7, 1])],
        [
            *(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()),
            numpy_helper.from_array(np.zeros(1, np.float32), "nothing"),
            numpy_helper.from_array(np.array([[[16], [16], [16], [16]]], np.float32), "place"),
        ],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    if said:
        names = {0: "red", 1: "green", 2: "blue"}
        helper.set_model_props(model, {"names": str(names), "stride": "32", "imgsz": "[32, 32]", "task": "detect"})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, pictures and videos; nothing in it is changed."""
    home = tmp_path_factory.mktemp("home")
    colours(home / "net.onnx")
    colours(home / "fixed.onnx", 1, (32, 32))
    colours(home / "four.onnx", 4, (32, 32))
    (home / "pictures" / "more").mkdir(parents=True)
    for name, colour in {"a.png": RED, "b.jpg": GREEN, "C.BMP": BLUE, "more/a.png": BLUE}.items():
        assert cv2.imwrite(str(home / "pictures" / name), picture(colour))
    (home / "pictures" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    video(home / "clip.avi", 7)
    (home / "empty").mkdir()
    (home / "broken.png").write_text("this is no picture")
    (home / "nothing.jpg").write_bytes(b"")
    (home / "broken.mp4").write_bytes(b"\0" * 500)
    return home


@pytest.fixture
def home(_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of that folder."""
    place = tmp_path / "home"
    shutil.copytree(_home, place)
    monkeypatch.chdir(place)
    return place


def picture(colour: tuple[int, int, int] = RED, height: int = 32, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def video(path: Path, frames: int, height: int = 32, width: int = 32, rate: float = 10) -> Path:
    """Write a video whose frames become brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(picture((0, 0, 100 + index % 100), height, width))
    writer.release()
    return path


def count_frames(path: Path) -> int:
    opened, count = cv2.VideoCapture(str(path)), 0
    while opened.read()[0]:
        count += 1
    return count


def call(*given_: str) -> int:
    """Run the program in this process, on the CPU, and with every box that there is."""
    return infer.main(["provider=cpu", "conf=0.01", *given_])


def boxes_in(file: str = "found.json") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(file).read_text())
    return found


def classes_in(file: str = "found.json") -> list[str]:
    return [each["detections"][0]["name"] if each["detections"] else "" for each in boxes_in(file)]


def yolo_for(path: str | Path = "net.onnx", **settings: Any) -> OnnxYolo:
    return OnnxYolo(path, "cpu", **{"conf": 0.01, "streams": 1, "workers": 2, **settings})


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Do something that may wait for ever if it is wrong."""
    found: list[Any] = []
    errors: list[BaseException] = []

    def call_it() -> None:
        try:
            found.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call_it, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"hangs for more than {seconds} s"
    if errors:
        raise errors[0]
    return found[0]


# --- sources ----------------------------------------------------------------------------------------------------------


def test_an_image(home: Path, capfd: Any) -> None:
    assert call("model=net.onnx", "source=pictures/a.png", "json=found.json") == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.splitlines()[-2].startswith("1 object in 1 image, ")
    assert out.splitlines()[-1] == "boxes in found.json"
    (found,) = boxes_in()
    (box,) = found.pop("detections")
    assert found == {"image": "pictures/a.png", "width": 32, "height": 32}
    assert box == {
        "class": 0, "name": "red", "confidence": pytest.approx(200 / 255, abs=1e-5), "xyxy": [8.0, 8.0, 24.0, 24.0],
    }  # fmt: skip


def test_a_folder_with_a_video(home: Path) -> None:
    shutil.move("clip.avi", "pictures/aa.AVI")
    assert call("model=net.onnx", "source=pictures", "json=found.json", "batch=3") == 0
    found = boxes_in()
    frames = [("pictures/aa.AVI", index) for index in range(7)]
    assert [(each["image"], each.get("frame")) for each in found] == [
        ("pictures/C.BMP", None), ("pictures/a.png", None), *frames, ("pictures/b.jpg", None),
    ]  # fmt: skip
    assert classes_in() == ["blue", "red", *["red"] * 7, "green"]
    brightness = [each["detections"][0]["confidence"] for each in found[2:9]]
    assert brightness == sorted(brightness), "each frame has its own result"
    assert brightness[0] < brightness[-1]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("pictures/*", ["C.BMP", "a.png", "b.jpg"]),
        ("pictures/*.png", ["a.png"]),
        ("pictures/**/*.png", ["a.png", "more/a.png"]),
        ("pic*/?.[jp]*g", ["a.png", "b.jpg"]),
    ],
)
def test_a_pattern(home: Path, pattern: str, wanted: list[str]) -> None:
    """Labels beside the images are left out."""
    assert call("model=net.onnx", f"source={pattern}", "json=found.json") == 0
    assert [each["image"] for each in boxes_in()] == [f"pictures/{name}" for name in wanted]


def test_a_name_that_looks_like_a_pattern(home: Path) -> None:
    shutil.move("pictures/a.png", "a[1].png")
    assert call("model=net.onnx", "source=a[1].png", "json=found.json") == 0
    assert classes_in() == ["red"]


def test_a_list(home: Path) -> None:
    """Its entries are relative to here, or to the list's own folder."""
    lines = ["pictures/a.png", "", "b.jpg", str(home / "pictures" / "C.BMP"), "  clip.avi  "]
    Path("pictures/list.TXT").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    assert call("model=net.onnx", "source=pictures/list.TXT", "json=found.json") == 0
    assert classes_in() == ["red", "green", "blue", *["red"] * 7]
    assert boxes_in()[1]["image"] == "pictures/b.jpg"


def test_a_list_from_standard_input(home: Path) -> None:
    lines = ["pictures/b.jpg", "", "pictures/a.png", "missing.png"]
    done = subprocess.run(
        [sys.executable, infer.__file__, "model=net.onnx", "source=-", "json=found.json", "provider=cpu"],
        input="\n".join(lines), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == "warning: missing.png: no such file\n"
    assert classes_in() == ["green", "red", ""]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_names_that_are_no_text(home: Path) -> None:
    name = b"pictures/gr\xfcn.jpg"
    os.rename(b"pictures/b.jpg", name)
    Path("list.txt").write_bytes(name + b"\n")
    Path("images.list").write_bytes(name + b"\n")
    for source, fed in (("list.txt", b""), ("images.list", b""), ("-", name)):
        done = subprocess.run(
            [sys.executable, infer.__file__, "model=net.onnx", f"source={source}", "json=found.json", "save=True"],
            input=fed, capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert classes_in() == ["green"]
        assert os.fsencode(boxes_in()[0]["image"]) == name


def test_a_console_that_has_not_all_letters(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, infer.__file__, "model=net.onnx", "source=pictures", "provider=cpu", "save=True", "name=图"],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[-1].startswith(b"pictures in runs")
    assert len(list(Path("runs/图").iterdir())) == 3


def test_nothing_on_standard_input(home: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(" \n"))
    assert call("model=net.onnx", "source=-") == 2
    assert capfd.readouterr().err == "infer: source=-: no names in it; check the path of the images\n"


def test_a_video(home: Path) -> None:
    assert call("model=net.onnx", "source=clip.avi", "json=found.json", "save=True", "batch=2") == 0
    found = boxes_in()
    assert [each["frame"] for each in found] == list(range(7))
    assert {each["image"] for each in found} == {"clip.avi"}
    saved = Path("runs/infer/clip.mp4")
    assert count_frames(saved) == 7
    assert cv2.VideoCapture(str(saved)).get(cv2.CAP_PROP_FPS) == pytest.approx(10)


def test_two_videos_of_one_name(home: Path) -> None:
    for index, frames in enumerate((3, 5)):
        Path(f"{index}").mkdir()
        video(Path(f"{index}") / "x.avi", frames, 32, 32 + 32 * index)
    Path("list.txt").write_text("0/x.avi\n1/x.avi\n")
    assert call("model=net.onnx", "source=list.txt", "json=found.json", "save=True") == 0
    assert [each["frame"] for each in boxes_in()] == [*range(3), *range(5)]
    assert [count_frames(Path("runs/infer") / name) for name in ("x.mp4", "x-2.mp4")] == [3, 5]
    assert cv2.VideoCapture("runs/infer/x-2.mp4").get(cv2.CAP_PROP_FRAME_WIDTH) == 64


@pytest.mark.parametrize(("source", "count"), [("pictures", 2), ("clip.avi", 5), ("pictures", 100)])
def test_so_many_frames(home: Path, source: str, count: int) -> None:
    assert call("model=net.onnx", f"source={source}", "json=found.json", f"frames={count}", "batch=4") == 0
    assert len(boxes_in()) == min(count, 7 if source == "clip.avi" else 3)


@pytest.mark.parametrize(
    "name", ["with blanks.png", "Übergröße äöü.png", "图片.png", "emoji 🐜.jpg", "dots.a.b.png", "-x.png"]
)
def test_names_of_every_kind(home: Path, name: str) -> None:
    Path("Ordner ü").mkdir()
    infer.save_image(
        Path("Ordner ü") / name, infer.Detections("", 32, 32, *[np.zeros((0, 4))] * 3, {}, image=picture(GREEN))
    )
    assert call("model=net.onnx", f"source=Ordner ü/{name}", "json=found.json", "save=True") == 0
    assert classes_in() == ["green"]
    assert boxes_in()[0]["image"] == f"Ordner ü/{name}"
    assert imread(str(Path("runs/infer") / name)) is not None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_that_are_turned(home: Path, orientation: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save("turned.jpg", exif=exif)
    found = infer.read_image("turned.jpg")
    assert found is not None
    assert np.array_equal(found, imread("turned.jpg"))
    assert found.shape == ((40, 24, 3) if orientation > 4 else (24, 40, 3))


@pytest.mark.parametrize(
    "name",
    ["grey.png", "clear.png", "deep.png", "deep_grey.png", "grey.jpg", "deep.tif", "x.webp", "two.gif", "one.bmp"],
)
def test_pictures_of_every_kind(home: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    image: Any = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    if name.startswith("grey"):
        image = image[..., 0]
    elif name.startswith("clear"):
        image = np.dstack((image, rng.integers(0, 256, (20, 30)).astype(np.uint8)))
    elif name.startswith("deep"):
        image = rng.integers(0, 65536, (20, 30) if "grey" in name else (20, 30, 3)).astype(np.uint16)
    if name.endswith(("gif", "bmp")):
        Image.fromarray(image).convert("1" if name.startswith("one") else "P").save(name)
    else:
        assert cv2.imwrite(name, image)
    found = infer.read_image(name)
    assert found is not None
    assert (found.dtype, found.shape) == (np.uint8, (20, 30, 3))
    wanted = imread(name)
    assert wanted is not None
    if name != "deep.tif":  # OpenCV rounds there
        assert np.array_equal(found, wanted)
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("name", ["broken.png", "nothing.jpg", "missing.png", "pictures", "a\0b.png", "x" * 300])
def test_what_is_no_image(home: Path, name: str) -> None:
    assert infer.read_image(name) is None


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("model", ["net", "four"])
def test_an_image_among_others_that_cannot_be_read(home: Path, model: str, batch: int, capfd: Any) -> None:
    names = [
        "pictures/a.png",
        "broken.png",
        "pictures/b.jpg",
        "missing.png",
        "broken.mp4",
        "nothing.jpg",
        "pictures/C.BMP",
    ]
    names += ["x" * 300, "pictures", "clip.avi"]
    Path("list.txt").write_text("\n".join(names))
    more = [] if model == "four" else [f"batch={batch}"]
    assert call(f"model={model}.onnx", "source=list.txt", "json=found.json", "save=True", *more) == 0
    out, err = capfd.readouterr()
    assert classes_in() == ["red", "", "green", "", "", "", "blue", "", "", *["red"] * 7]
    entries = boxes_in()
    errors = [each["error"] for each in entries if "error" in each]
    assert errors == [
        "broken.png: cannot be read as an image", "missing.png: no such file", "broken.mp4: cannot be read as a video",
        "nothing.jpg: cannot be read as an image", f"{'x' * 300}: no such file", "pictures: cannot be read as an image",
    ]  # fmt: skip
    assert entries[1] == {"image": "broken.png", "width": 0, "height": 0, "error": errors[0], "detections": []}
    lines = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert lines == [f"warning: {each}" for each in errors]
    assert "10 images" in out
    assert "; 6 could not be read" in out
    assert sorted(each.name for each in Path("runs/infer").iterdir()) == ["C.bmp", "a.png", "b.jpg", "clip.mp4"]


def test_no_image_can_be_read(home: Path, capfd: Any) -> None:
    Path("list.txt").write_text("broken.png\nmissing.png\n")
    assert call("model=net.onnx", "source=list.txt", "json=found.json") == 2
    err = capfd.readouterr().err.splitlines()
    assert err[-1] == "infer: source=list.txt: none of its images can be read; check the files"
    assert [len(each["detections"]) for each in boxes_in()] == [0, 0]


@pytest.mark.parametrize(
    "source", ["99", "99999999999999999999", "http://127.0.0.1:9/x.mp4", "rtsp://127.0.0.1:9/x", "broken.mp4"]
)
def test_a_camera_or_video_that_is_not_there(home: Path, source: str, capfd: Any) -> None:
    assert call("model=net.onnx", f"source={source}", "json=found.json") == 2
    out, err = capfd.readouterr()
    assert err.splitlines() == [line for line in err.splitlines() if line.startswith(f"infer: source={source}: this ")]
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert boxes_in() == []


def test_a_camera_is_not_kept_waiting(home: Path, monkeypatch: Any) -> None:
    """A frame's result is there before the next but one is read; the reading ends when nobody wants more."""
    events: list[int] = []

    class Camera:
        def __init__(self, source: Any = None) -> None:
            self.source, self.number = source, 0

        def isOpened(self) -> bool:  # noqa: N802
            return self.source == 0

        def get(self, _: int) -> float:
            return 64.0

        def read(self) -> tuple[bool, np.ndarray]:
            events.append(self.number)
            self.number += 1
            time.sleep(0.03)
            return True, picture(GREEN)

        def release(self) -> None:
            events.append(-1)

    monkeypatch.setattr(infer.cv2, "VideoCapture", Camera)
    yolo = yolo_for(source="0", workers=None)
    assert (yolo.batch, yolo.streams) == (1, 1)
    for found in yolo.predict("0"):
        assert events[-1] <= (found.frame or 0) + 3
        if found.frame == 6:
            break
    del found
    assert within(5, lambda: wait_for(lambda: events[-1] == -1))


def wait_for(check: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.perf_counter() + seconds
    while not check():
        if time.perf_counter() > end:
            return False
        time.sleep(0.01)
    return True


# --- many images at once ----------------------------------------------------------------------------------------------


def threads() -> set[str]:
    """Return the threads of the pools; their names are given in the script."""
    return {each.name for each in threading.enumerate() if each.name.startswith(("read", "run_", "run-", "write"))}


@pytest.mark.parametrize(("batch", "streams", "workers"), [(1, 1, 1), (4, 2, 3), (16, 3, 8)])
@pytest.mark.parametrize("shapes", [1, 5, 40])
def test_few_images_are_held_at_a_time(home: Path, batch: int, streams: int, workers: int, shapes: int) -> None:
    """However many come, however many shapes they have, and however slowly the results are taken."""
    drawn = 0
    pictures = [picture(RED, 32, 32 + 32 * index) for index in range(shapes)]

    def items() -> Iterator[Item]:
        nonlocal drawn
        for index in range(600):
            drawn += 1
            yield Item(str(index), lambda index=index: pictures[index % shapes])

    def go() -> None:
        most = 3 * (workers + batch * (streams + 1)) + 2
        taken = -1
        for taken, found in enumerate(yolo.stream(items())):
            assert found.path == str(taken)
            assert drawn - taken <= most
        assert taken == 599

    yolo = yolo_for(batch=batch, streams=streams, workers=workers, imgsz=(32, 32 * shapes))
    within(60, go)
    assert not threads()


@pytest.mark.parametrize("after", [0, 1, 20])
def test_nobody_wants_the_rest(home: Path, after: int) -> None:
    closed = False

    def items() -> Iterator[Item]:
        nonlocal closed
        try:
            while True:
                yield Item("x", lambda: picture(BLUE))
        finally:
            closed = True

    def go() -> None:
        results = yolo.stream(items())
        for _ in range(after):
            next(results)
        results.close()

    yolo = yolo_for(batch=4, streams=2)
    within(20, go)
    assert not threads()
    assert closed or not after
    assert yolo.runners.qsize() == 2
    assert len(within(20, lambda: yolo.detect([picture()]))) == 1, "it can be used again"


def test_two_streams_at_once(home: Path) -> None:
    def go() -> None:
        yolo = yolo_for(batch=2)
        first = yolo.stream(Item(str(index), lambda: picture(RED)) for index in range(50))
        second = yolo.stream(Item(str(index), lambda: picture(BLUE)) for index in range(50))
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert (one.path, other.path) == (str(index), str(index))
            assert (one.classes[0], other.classes[0]) == (0, 2)

    within(30, go)


@pytest.mark.parametrize("place", ["boxes_of", "fit_image"])
@pytest.mark.parametrize("error", [RuntimeError("spoilt"), MemoryError("spoilt"), InferError("spoilt")])
def test_an_exception_in_a_thread_is_raised(home: Path, monkeypatch: Any, place: str, error: Exception) -> None:
    calls = 0
    real = getattr(infer, place)

    def failing(*given_: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise error
        return real(*given_)

    monkeypatch.setattr(infer, place, failing)
    yolo = yolo_for(streams=2)
    with pytest.raises(type(error), match="spoilt"):
        within(20, lambda: list(yolo.stream(Item("x", lambda: picture()) for _ in range(100))))
    assert not threads()
    assert yolo.runners.qsize() == 2


def test_an_exception_of_the_source_is_raised(home: Path) -> None:
    def items() -> Iterator[Item]:
        yield Item("x", lambda: picture())
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        within(20, lambda: list(yolo_for(batch=4).stream(items())))
    assert not threads()


def test_nothing_to_do(home: Path) -> None:
    assert within(20, lambda: list(yolo_for().stream([]))) == []


def one_result(path: Path) -> Path:
    """Write a file that takes many images, and gives the boxes of the first: some exporters do."""
    model = onnx.load(colours(path))
    for node in model.graph.node:
        node.input[:] = ["first_image" if name == "images" else name for name in node.input]
    bounds = [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("from", 0), ("to", 1))]
    model.graph.initializer.extend(bounds)
    model.graph.node.insert(0, helper.make_node("Slice", ["images", "from", "to", "from"], ["first_image"]))
    onnx.save(model, path)
    return path


def test_a_file_that_forgets_images(home: Path, capfd: Any) -> None:
    """Who waits for them would wait for ever."""
    one_result(home / "first.onnx")
    assert len(within(20, lambda: yolo_for("first.onnx").detect([picture()] * 5))) == 5
    with pytest.raises(InferError, match=r"first.onnx: gives results for 1 of 3 images; give batch=1"):
        within(20, lambda: yolo_for("first.onnx", batch=3).detect([picture()] * 3))
    assert within(20, lambda: call("model=first.onnx", "source=pictures", "batch=3")) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_file_that_fails(home: Path, capfd: Any) -> None:
    """It says that it takes any size, and does not."""
    model = onnx.load(colours(home / "wrong.onnx"))
    for each in model.graph.initializer:
        if each.name == "shape":
            each.CopyFrom(numpy_helper.from_array(np.array([2, 3, 1], np.int64), "shape"))
    onnx.save(model, "wrong.onnx")
    assert within(20, lambda: call("model=wrong.onnx", "source=pictures", "json=found.json")) == 2
    err = capfd.readouterr().err.splitlines()
    assert err[-1].startswith("infer: the model failed on the CPU: ")
    assert "Traceback" not in "".join(err)


def test_results_of_a_run_that_fails_are_kept(home: Path, monkeypatch: Any, capfd: Any) -> None:
    real = infer.boxes_of
    calls: list[int] = []

    def failing(*given_: Any) -> Any:
        calls.append(0)
        if len(calls) > 2:  # once to warm up
            raise InferError("the GPU has gone; get another")
        return real(*given_)

    monkeypatch.setattr(infer, "boxes_of", failing)
    assert call("model=net.onnx", "source=pictures", "json=found.json", "streams=1") == 2
    assert capfd.readouterr().err == "infer: the GPU has gone; get another\n"
    assert classes_in() == ["blue"]


# --- what is written --------------------------------------------------------------------------------------------------


def test_pictures_are_saved_with_their_boxes(home: Path, capfd: Any) -> None:
    cv2.imwrite("large.png", picture(GREEN, 200, 320))
    for wanted in ("infer", "infer2", "infer3"):
        assert call("model=net.onnx", "source=large.png", "save=True") == 0
        assert f"pictures in {Path('runs') / wanted}" in capfd.readouterr().out
        saved = cv2.imread(f"runs/{wanted}/large.png")
        assert saved.shape == (200, 320, 3)
        (found,) = yolo_for().detect([picture(GREEN, 200, 320)])
        x1, y1, x2, y2 = (round(each) for each in found.boxes[0].tolist())
        colour = np.array(infer.colour_of(1))
        for x, y in ((x1, (y1 + y2) // 2), (x2, (y1 + y2) // 2), ((x1 + x2) // 2, y2)):
            x, y = min(x, 319), min(y, 199)
            near = saved[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].reshape(-1, 3).astype(int)
            assert (np.abs(near - colour).sum(1) < 30).any()
        assert (saved[5, 300] == GREEN).all()


def test_the_result_has_its_own_place(home: Path) -> None:
    assert call("model=net.onnx", "source=pictures", "save=True", "project=some/where", "name=it") == 0
    assert call("model=net.onnx", "source=pictures", "save=True", "project=some/where", "name=it") == 0
    assert sorted(each.name for each in Path("some/where").iterdir()) == ["it", "it2"]
    assert not Path("runs").exists()


def test_images_of_one_name_do_not_replace_each_other(home: Path) -> None:
    names = {
        "p/a.png": RED,
        "q/a.png": GREEN,
        "q/A.png": BLUE,
        "q/a-2.png": RED,
        "q/a.tif": GREEN,
        "q/a.jpg": BLUE,
        "r/a.jpeg": RED,
    }
    for name, colour in names.items():
        Path(name).parent.mkdir(exist_ok=True)
        cv2.imwrite(name, picture(colour))
    Path("list.txt").write_text("\n".join(names))
    assert infer.main(["model=net.onnx", "source=list.txt", "save=True", "conf=0.99", "provider=cpu"]) == 0
    saved = sorted(Path("runs/infer").iterdir())
    assert len({each.name.lower() for each in saved}) == len(names)
    shown = [cv2.imread(str(each))[2, 2].astype(int) for each in saved]
    for colour in (RED, GREEN, BLUE):
        assert sum(np.abs(each - colour).max() < 5 for each in shown) == list(names.values()).count(colour)


def test_a_picture_that_its_format_cannot_hold(home: Path, capfd: Any) -> None:
    cv2.imwrite("long.png", picture(RED, 1, 70_000))
    shutil.move("long.png", "long.jpg")  # what it is is in its content
    assert call("model=net.onnx", "source=long.jpg", "save=True", "json=found.json") == 2
    err = capfd.readouterr().err.splitlines()
    assert err[-1] == f"infer: {Path('runs/infer/long.jpg')}: a picture of 70000x1 cannot be written; leave save out"
    assert len(boxes_in()) == 1


def test_drawing_at_the_edges_and_in_every_class() -> None:
    boxes = np.array([[0, 0, 1, 1], [-5, -5, 500, 500], [10, 10, 10, 10], [0.4, 0.6, 63.7, 63.2]], np.float32)
    classes = np.array([0, 7, 999, 10**6])
    found = infer.Detections("x", 64, 64, boxes, np.ones(4), classes, {0: "Größe 图"}, image=picture(RED, 64, 64))
    assert found.drawn().shape == (64, 64, 3)
    assert (found.image == RED).all(), "the picture itself is not drawn on"
    assert len({infer.colour_of(index) for index in range(20)}) == 20
    with pytest.raises(ValueError, match="keep=True"):
        dataclasses.replace(found, image=None).drawn()


@pytest.fixture
def short(monkeypatch: Any) -> None:
    """Measure for a short time."""
    real = OnnxYolo.benchmark
    monkeypatch.setattr(OnnxYolo, "benchmark", lambda self, items: real(self, items, 0.03))


@pytest.mark.parametrize(
    ("model", "source", "batch"), [("net", "pictures", 2), ("four", "clip.avi", 4), ("net", "list.txt", 1)]
)
def test_a_benchmark(home: Path, short: None, model: str, source: str, batch: int, capfd: Any) -> None:
    Path("list.txt").write_text("broken.png\npictures/a.png\nmissing.png\n")
    given_ = [f"model={model}.onnx", f"source={source}", "benchmark=True", "json=found.json"]
    assert call(*given_, *([f"batch={batch}"] if model == "net" else [])) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-4:]] == ["read", "model", "suppression", "all"]
    assert f"32x32, batch {batch}" in lines[-5]
    figures = json.loads(Path("found.json").read_text())
    assert (figures.pop("provider"), figures.pop("batch"), figures.pop("imgsz")) == ("cpu", batch, [32, 32])
    assert set(figures) == {"read", "model", "model_median", "boxes", "images_per_second"}
    assert all(each > 0 for each in figures.values())
    assert figures["model"] <= figures["model_median"]
    assert not Path("runs").exists()


def test_a_benchmark_of_nothing(home: Path, short: None, capfd: Any) -> None:
    assert call("model=net.onnx", "source=broken.png", "benchmark=True") == 2
    assert capfd.readouterr().err == "infer: benchmark: none of the images can be read; check the files\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent in another way there")
@pytest.mark.parametrize("program", ["script", "command"])
def test_what_was_found_is_kept_when_interrupted(home: Path, program: str) -> None:
    video(home / "long.avi", 6000)
    start = [infer.__file__] if program == "script" else ["-m", "yolo_subbatch", "infer"]
    given_ = ["model=net.onnx", "source=long.avi", "provider=cpu", "json=found.json", "save=True"]
    running = subprocess.Popen(
        [sys.executable, *start, *given_], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    saved = home / "runs" / "infer" / "long.mp4"
    assert wait_for(saved.is_file, 60), "no frame has been found"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "")
    found = boxes_in()
    assert [each["frame"] for each in found] == list(range(len(found)))
    assert 0 < len(found) < 6000
    many = "" if len(found) == 1 else "s"
    assert f"{len(found)} object{many} in {len(found)} image{many}" in out
    assert count_frames(saved) in {len(found), len(found) - 1}, "the frame that was being written may be missing"


# --- bad input --------------------------------------------------------------------------------------------------------


def classifier(path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])],
        [numpy_helper.from_array(np.zeros((3, 1000), np.float32), "weights")],
    )
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]), path)


def without_input(path: Path) -> None:
    value = numpy_helper.from_array(np.zeros((1, 7, 1), np.float32))
    node = helper.make_node("Constant", [], ["output0"], value=value)
    graph = helper.make_graph(
        [node], "constant", [], [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, 1])]
    )
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]), path)


@pytest.fixture
def bad(home: Path) -> Path:
    """The folder with what is no model beside the models."""
    Path("text.onnx").write_text("hello, this is text\n")
    Path("empty.onnx").write_bytes(b"")
    Path("folder.onnx").mkdir()
    whole = Path("net.onnx").read_bytes()
    Path("half.onnx").write_bytes(whole[: len(whole) // 2])
    Path("checkpoint.pt").write_bytes(b"PK\3\4" + b"\0" * 100)
    classifier(Path("classes.onnx"))
    without_input(Path("constant.onnx"))
    Path("none.txt").write_text("\n\n")
    Path("file").write_text("")
    return home


GOOD = {"model": "net.onnx", "source": "pictures", "provider": "cpu"}
BAD: list[tuple[dict[str, str | None], str, str]] = [
    ({"model": None}, "model: not given", "give an ONNX file"),
    ({"model": ""}, "model: not given", "give an ONNX file"),
    ({"model": "gone.onnx"}, "model=gone.onnx: no such file", "yolo-subbatch export"),
    ({"model": "folder.onnx"}, "model=folder.onnx: this is a folder", "give the .onnx file"),
    ({"model": "text.onnx"}, "model=text.onnx: not an ONNX file", "export it again"),
    ({"model": "half.onnx"}, "model=half.onnx: not an ONNX file", "export it again"),
    ({"model": "empty.onnx"}, "model=empty.onnx: not an ONNX file", "export it again"),
    ({"model": "checkpoint.pt"}, "model=checkpoint.pt: not an ONNX file", "export it again"),
    ({"model": "pictures/a.png"}, "model=pictures/a.png: not an ONNX file", "export it again"),
    ({"model": "classes.onnx"}, "model=classes.onnx: gives logits (1, 1000)", "boxes come as"),
    ({"model": "constant.onnx"}, "model=constant.onnx: takes nothing", "a detector takes one batch of images"),
    ({"model": "fixed.onnx", "imgsz": "64"}, "imgsz=64,64: fixed.onnx takes 32,32 only", "leave imgsz out"),
    ({"imgsz": "33"}, "imgsz=33: not a multiple of the network's stride 32", "use 32"),
    ({"imgsz": "64,100"}, "imgsz=100: not a multiple of the network's stride 32", "use 96"),
    ({"imgsz": "4"}, "imgsz=4: too small", "give at least 8"),
    ({"imgsz": "99999"}, "imgsz=99999: too large", "give at most 8192"),
    ({"model": "four.onnx", "batch": "2"}, "batch=2: four.onnx takes 4 images at a time", "leave batch out"),
    ({"batch": "0"}, "batch=0: too small", "give at least 1"),
    ({"conf": "1.5"}, "conf=1.5: too large", "give at most 1"),
    ({"conf": "-0.1"}, "conf=-0.1: too small", "give at least 0"),
    ({"conf": "nan"}, "conf=nan: too small", "give at least 0"),
    ({"provider": "gpu"}, "provider=gpu: unknown", "use one of auto, cuda, tensorrt, cpu"),
    ({"letterbox": "x"}, "letterbox=x: unknown", "use one of ultralytics, darknet, stretch"),
    ({"json": "gone/found.json"}, "json=gone/found.json: the folder gone does not exist", "make it first"),
    ({"json": "pictures"}, "json=pictures: this is a folder", "give the name of a file"),
    ({"json": "file/found.json"}, "json=file/found.json: the folder file does not exist", "make it first"),
    ({"source": None}, "source: not given", "give an image, a folder or a video"),
    ({"source": "gone"}, "source=gone: no such file or folder", "check the path"),
    ({"source": "gone/*.png"}, "source=gone/*.png: no such file or folder", "check the path"),
    ({"source": "empty"}, "source=empty: no image or video in it", "check the path"),
    ({"source": "none.txt"}, "source=none.txt: no names in it", "check the path"),
    ({"source": "y" * 300}, "no such file or folder", "check the path"),
    ({"save": "True", "project": "file"}, "project=file: this is a file", "give a folder"),
    ({"save": "True", "project": "file/x"}, "project=file/x: ", "choose another folder"),
    ({"save": "True", "name": "a/b"}, "name=a/b: not the name of a folder", "give a plain name"),
    ({"save": "True", "name": ".."}, "name=..: not the name of a folder", "give a plain name"),
    ({"save": "True", "name": "n" * 300}, "project=runs: ", "choose another folder"),
    ({"cuda_graph": "True"}, "cuda_graph=True: needs provider=cuda, not cpu", ""),
    ({"cache": "x"}, "only TensorRT uses them", "give provider=tensorrt"),
]  # fmt: skip
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "infer": infer.main, "yolo-subbatch": lambda arguments: cli.main(["infer", *arguments]),
}  # fmt: skip
UNREAD: list[tuple[list[str], str]] = [
    (["sorce=pictures"], "sorce: unknown key; did you mean source?"),
    (["zzzzzzz=1"], "zzzzzzz: unknown key; see -h for the keys"),
    (["conf=high"], "conf=high: give a number"),
    (["batch=1.5"], "batch=1.5: give a whole number"),
    (["save=maybe"], "save=maybe: give True or False"),
    (["imgsz=a"], "imgsz=a: give a whole number"),
    (["imgsz=1,2,3"], "imgsz=1,2,3: give a whole number"),
    (["pictures"], "pictures: no key=value; write for example"),
    (["conf=0.1", "conf=0.2"], "conf=0.2: given twice, conf=0.1 too; give one value"),
]


def plain(err: str, program: str) -> str:
    """Return the message of a program: one line, without a traceback."""
    assert err.count("\n") == 1, err
    assert err.startswith(f"{program}: ")
    assert "Traceback" not in err
    return err.removeprefix(f"{program}: ").strip()


@pytest.mark.parametrize(("changes", "found", "advice"), BAD)
def test_bad_input_is_told_in_one_line(
    bad: Path, changes: dict[str, str | None], found: str, advice: str, capfd: Any
) -> None:
    values = {**GOOD, **changes}
    given_ = [f"{key}={value}" for key, value in values.items() if value is not None]
    before = sorted(str(each) for each in bad.rglob("*"))
    texts = []
    for program, main in PROGRAMS.items():
        assert main(given_) == 2
        texts.append(plain(capfd.readouterr().err, program))
    assert texts[0] == texts[1]
    assert found in texts[0]
    assert advice in texts[0].rpartition("; ")[2]
    assert [each for each in bad.rglob("*") if str(each) not in before and each.name != "runs"] == []


@pytest.mark.parametrize(("given_", "text"), UNREAD)
def test_arguments_that_are_not_understood(bad: Path, given_: list[str], text: str, capfd: Any) -> None:
    start = ["model=net.onnx", "source=pictures", *given_]
    assert infer.main(start) == 2
    assert plain(capfd.readouterr().err, "infer").startswith(text)
    assert cli.main(["infer", *start]) == 2
    theirs = plain(capfd.readouterr().err, "yolo-subbatch")
    assert theirs.split(":")[0] == text.split(":")[0]


def test_several_faults_at_once(bad: Path, capfd: Any) -> None:
    given_ = ["model=gone.onnx", "conf=7", "json=gone/x.json", "source=pictures"]
    for program, main in PROGRAMS.items():
        assert main(given_) == 2
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 3
        assert lines[0].startswith(f"{program}: conf=7.0: too large")


def test_a_place_that_cannot_be_written(home: Path, monkeypatch: Any, capfd: Any) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).resolve() != home.resolve() and real(path, mode))
    assert call("model=net.onnx", "source=pictures", "json=found.json") == 2
    assert capfd.readouterr().err == "infer: json=found.json: cannot be written; give another place\n"


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full")
def test_a_device_is_no_place_for_a_result(home: Path, capfd: Any) -> None:
    assert call("model=net.onnx", "source=pictures", "json=/dev/full") == 2
    assert capfd.readouterr().err.startswith("infer: json=/dev/full: this is a device")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_project_that_leads_nowhere(home: Path, capfd: Any) -> None:
    Path("runs").symlink_to("gone/away")
    assert within(20, lambda: call("model=net.onnx", "source=pictures", "save=True")) == 2
    assert capfd.readouterr().err.startswith("infer: project=runs: ")


@pytest.mark.parametrize("start", ["script", "command"])
def test_the_real_programs(bad: Path, start: str) -> None:
    program = (
        [sys.executable, infer.__file__] if start == "script" else [sys.executable, "-m", "yolo_subbatch", "infer"]
    )
    name = "infer" if start == "script" else "yolo-subbatch"

    def run(*given_: str) -> tuple[int, str, str]:
        done = subprocess.run([*program, *given_], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    status, out, err = run("-h")
    assert (status, err) == (0, "")
    for each in dataclasses.fields(InferSettings):
        assert f"{each.name}=" in out.replace(" ", "").replace("--", "") or each.name in out
        assert each.metadata["tip"].split()[0] in out
    status, out, err = run("model=text.onnx", "source=pictures", "provider=cpu")
    assert (status, out) == (2, "")
    assert plain(err, name).startswith("model=text.onnx: not an ONNX file")
    status, out, err = run("--model", "net.onnx", "--source=pictures", "provider=cpu", "json=found.json")
    assert (status, err) == (0, "")
    assert classes_in() == ["blue", "red", "green"]


def test_help_in_every_form(capfd: Any) -> None:
    for given_ in ([], ["-h"], ["--help"], ["help"], ["model=x", "-h"]):
        assert infer.main(given_) == 0
        out = capfd.readouterr().out
        assert out.startswith("Usage: infer.py model=best.onnx source=images/ key=value ...")
        for each in dataclasses.fields(InferSettings):
            assert f"  {each.name}=" in out
    assert "one of" not in out
    assert "[auto, cuda, tensorrt, cpu; default auto]" in out


# --- two ways to read the same arguments ------------------------------------------------------------------------------


def both(arguments: list[str]) -> tuple[InferSettings | None, InferSettings | None]:
    ours = theirs = None
    with contextlib.suppress(InferError):
        ours = parse(arguments)
    with contextlib.suppress(SettingsError):
        theirs = make(InferSettings, parse_pairs(arguments))
    return ours, theirs


TEXTS = [
    "1", "0", "-1", "+3", "7.0", "1e2", "1e400", "0.5", ".5", "nan", "inf", "-inf", "1_000", "", " ", "None", "null", "NONE", "True",
    "false", "YES", "no", "on", "off", "tRuE", "abc", "a,b", "64,96", "(64, 96)", "[64,96]", "64,", ",", "1,2,3", "64.0,96", "[64]",
    "auto", "cuda", "x=y", "a b", "ü", "0x10", "\u0664", "9" * 30, "--", "-", "2.5,3",
    "~", "~/x", "~\0", "\0", "a" * 256, "a/" * 3000, "CUDA", "Stretch", "1.0", "+1", "[640]", "64,,", "()", "\uff12", "\u00bd", "]64[",
]  # fmt: skip


@pytest.mark.parametrize("key", [each.name for each in dataclasses.fields(InferSettings)])
def test_the_script_reads_as_the_command_line_does(key: str) -> None:
    for text in TEXTS:
        ours, theirs = both([f"{key}={text}"])
        assert repr(ours) == repr(theirs), text
    assert any(both([f"{key}={text}"])[0] for text in TEXTS)


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--conf", "0.5"], ["--conf=0.5"], ["-conf=0.5"], ["conf", "0.5"], ["--max-det", "5"], ["max-det=5"],
        ["--source", "a=b"], ["source=a=b"], ["--conf"], ["--"], ["--", "x"], ["=x"], ["conf=0.1", "conf=0.1"],
        ["conf=0.1", "conf=0.2"], [" conf =0.3"], ["--agnostic-nms", "yes"], ["-h2=1"], ["config=1"], ["--source", "--conf"],
        ["conf=0.1", "--conf", "0.10"], ["Conf=0.3"],
    ],
)  # fmt: skip
def test_arguments_in_every_form(arguments: list[str]) -> None:
    ours, theirs = both(arguments)
    assert repr(ours) == repr(theirs)


KEYS = st.sampled_from([each.name for each in dataclasses.fields(InferSettings)]) | st.text(max_size=4)
ARGUMENT = st.builds(
    lambda start, key, value: f"{start}{key}={value}",
    st.sampled_from(["", "--"]),
    KEYS,
    st.sampled_from(TEXTS) | st.text(max_size=5),
)


@example_settings(max_examples=200)
@given(st.lists(ARGUMENT, max_size=3))
def test_both_agree_on_anything(arguments: list[str]) -> None:
    ours, theirs = both(arguments)
    assert repr(ours) == repr(theirs)


def test_the_defaults_are_the_same() -> None:
    assert parse([]) == make(InferSettings, {}) == InferSettings()


@given(st.text(max_size=30))
def test_no_source_is_an_accident(source: str) -> None:
    """Whatever somebody types, what comes is a list of files or a message."""
    if source.isdecimal() or "://" in source or source == "-":
        return
    with contextlib.suppress(InferError):
        assert next(items_of(source)).path
