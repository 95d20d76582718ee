"""Pictures of files, lists and addresses: predict and infer find the same in the same."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.conftest import cfg_text
from tests.program import program
from yolo_subbatch import Darknet, cli
from yolo_subbatch.darknet import pictures
from yolo_subbatch.errors import DataError
from yolo_subbatch.export import infer


class Site(SimpleHTTPRequestHandler):
    """A folder as a site with redirects, an address without an ending and one whose type is not told."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        if name == "/moved":
            self.send_response(308)
            self.send_header("Location", "/turned.jpg")
            self.end_headers()
            return
        if name in {"/camera/still", "/untold"}:
            data = Path(self.directory, "turned.jpg").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg" if name != "/untold" else "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds something in noise, as weights and as an ONNX file."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "tiny.cfg").write_text(cfg_text())
    torch.manual_seed(1)
    model = Darknet(folder / "tiny.cfg")
    with torch.no_grad():
        for layer in model.network.layers:
            if getattr(getattr(layer, "conv", None), "bias", None) is not None:
                layer.conv.weight.mul_(3)
    model.save_weights(folder / "tiny.weights")
    call = ["export", f"cfg={folder / 'tiny.cfg'}", f"weights={folder / 'tiny.weights'}", f"to={folder / 'tiny.onnx'}"]
    assert cli.main([*call, "dynamic=True"]) == 0
    return folder


@pytest.fixture(scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("site")
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(folder / "turned.jpg", exif=exif)
    for name in ("a b.PNG", "c.ppm", "no_ending", "d.jfif"):
        data = cv2.imencode(".jpg" if name in {"no_ending", "d.jfif"} else Path(name).suffix.lower(), image)[1]
        (folder / name).write_bytes(data.tobytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / "page.html").write_text("<p>no picture</p>")
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(image)
    writer.release()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(_site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.chdir(tmp_path)
    return _site


def found_by(net: Path, command: str, source: str, *more: str) -> list[dict[str, Any]]:
    """Return the boxes file of predict or infer."""
    model = [f"cfg={net / 'tiny.cfg'}", f"weights={net / 'tiny.weights'}"]
    if command == "infer":
        model = [f"model={net / 'tiny.onnx'}", "provider=cpu"]
    assert cli.main([command, *model, f"source={source}", "json=found.json", "conf=0.01", *more]) == 0
    entries: list[dict[str, Any]] = json.loads(Path("found.json").read_text())
    return entries


def same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    """Tell whether two files of boxes hold the same, whatever the images are called."""
    shape = [[(each["width"], each["height"], len(each["detections"])) for each in one] for one in (first, second)]
    boxes = [[box["xyxy"] for each in one for box in each["detections"]] for one in (first, second)]
    return shape[0] == shape[1] and np.allclose(*boxes, atol=0.05)


@pytest.mark.parametrize("name", ["turned.jpg?size=2", "TURNED.JPG", "a%20b.PNG", "a b.PNG", "moved", "camera/still", "untold",
                                  "c.ppm", "no_ending"])  # fmt: skip
def test_a_picture_of_an_address_is_read_as_its_file(net: Path, site: tuple[Path, str], name: str) -> None:
    folder, host = site
    if name == "TURNED.JPG":
        (folder / name).write_bytes((folder / "turned.jpg").read_bytes())
    file = {"a%20b.PNG": "a b.PNG", "moved": "turned.jpg", "camera/still": "turned.jpg", "untold": "turned.jpg"}
    wanted = found_by(net, "predict", str(folder / file.get(name, name.partition("?")[0])))
    assert len(wanted[0]["detections"]) > 2
    for command in ("predict", "infer"):
        found = found_by(net, command, f"{host}/{name}", "save=True")
        assert same(found, wanted), command
        assert found[0]["image"] == f"{host}/{name}"
        assert "frame" not in found[0], "no video"
        assert [each.suffix.lower() in infer.IMAGES for each in (Path("runs") / command).iterdir()] == [True]
    assert not list(Path().glob("*.[jJpP][pPnN]*")), "nothing is left in the working directory"


def test_lists_and_streams_files_hold_files_and_addresses(net: Path, site: tuple[Path, str]) -> None:
    folder, host = site
    wanted = found_by(net, "predict", str(folder / "turned.jpg")) * 2
    for name, text in {
        "list.txt": f"{host}/turned.jpg?x=1\r\n{folder}/turned.jpg\r\n",
        "list.csv": f'source\n"{host}/turned.jpg?x=1,2"\n{folder}/turned.jpg\n',
        "all.streams": f"{host}/camera/still {folder}/turned.jpg\n",
    }.items():
        Path(name).write_text(text)
        for command in ("predict", "infer"):
            found = found_by(net, command, name)
            assert same(found, wanted), (name, command)
            assert found[0]["image"].startswith(host)


def test_a_streams_file_may_hold_videos(net: Path, site: tuple[Path, str]) -> None:
    folder, host = site
    Path("all.streams").write_text(f"{folder}/clip.avi\n{host}/clip.avi\n")
    for command in ("predict", "infer"):
        found = found_by(net, command, "all.streams", "save=True")
        assert len(found) == 6
        assert same(found[:3], found[3:])
        assert len(list((Path("runs") / command).iterdir())) == 2


def test_what_an_address_does_not_give_is_named_among_others(net: Path, site: tuple[Path, str], capfd: Any) -> None:
    folder, host = site
    names = [f"{host}/none.jpg", "http://127.0.0.1:9/x.jpg", f"{host}/page.html", str(folder / "notes.txt"), "none.png"]
    Path("list.txt").write_text("\n".join([*names, str(folder / "turned.jpg")]))
    for command in ("predict", "infer"):
        found = found_by(net, command, "list.txt")
        assert sum(len(each["detections"]) > 0 for each in found) == 1
        errors = {each["image"]: each["error"] for each in found if "error" in each}
        told = capfd.readouterr()
        assert len(errors) >= 4
        assert "the server answers 404" in errors[names[0]]
        assert "cannot be reached (Connection refused)" in errors[names[1]]
        assert "Traceback" not in told.out + told.err


@pytest.mark.parametrize("command", ["predict", "infer"])
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{host}/none.jpg", "none.jpg: the server answers 404 (File not found); check the address"),
        ("{host}/none", "none: the server answers 404"),
        ("http://127.0.0.1:9/x.jpg", "x.jpg: cannot be reached (Connection refused); check the address"),
        ("{host}/page.html", "page.html: cannot be read as an image"),
        ("rtsp://127.0.0.1:9/x", "source=rtsp://127.0.0.1:9/x: this "),
    ],
)
def test_one_address_that_gives_nothing_is_one_line(
    net: Path, site: tuple[Path, str], capfd: Any, command: str, address: str, words: str
) -> None:
    model = [f"model={net / 'tiny.onnx'}", "provider=cpu"]
    if command == "predict":
        model = [f"cfg={net / 'tiny.cfg'}", f"weights={net / 'tiny.weights'}"]
    assert cli.main([command, *model, f"source={address.format(host=site[1])}"]) == 2
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err
    lines = [line for line in (told.out + told.err).splitlines() if words in line]
    assert len(lines) == 1, told
    assert not Path("runs/predict").exists()


def test_a_folder_is_read_by_content_and_ending(net: Path, site: tuple[Path, str]) -> None:
    folder, _ = site
    wanted = {"a b.PNG", "c.ppm", "clip.avi", "d.jfif", "no_ending", "turned.jpg"}
    for command in ("predict", "infer"):
        found = found_by(net, command, str(folder))
        assert {Path(each["image"]).name for each in found} - {"TURNED.JPG"} == wanted, command
    results = Darknet(net / "tiny.cfg", weights=net / "tiny.weights").predict(str(folder), verbose=False)
    assert {Path(each.path).name for each in results} - {"TURNED.JPG"} == wanted


def test_a_picture_may_have_a_name_in_another_encoding(
    net: Path, site: tuple[Path, str], tmp_path: Path, capfd: Any
) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    try:
        (tmp_path / name).write_bytes((site[0] / "turned.jpg").read_bytes())
    except OSError:
        pytest.skip("names of files are always UTF-8 here")
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.jpg\r\n")
    command = ["predict", f"cfg={net / 'tiny.cfg'}", f"weights={net / 'tiny.weights'}", "source=list.txt"]
    told = program(Path.cwd(), *command, "json=found.json", "conf=0.01")  # OpenCV ended the process
    assert told.returncode == 0, told
    (found,) = json.loads(Path("found.json").read_text())
    assert found["image"] == str(tmp_path / name)
    assert found["detections"]
    assert [each.name for each in Path("runs/predict").iterdir()] == ["caf\u00e9.jpg"]


def test_the_script_and_the_package_know_pictures_alike() -> None:
    theirs = pictures.SIGNATURES, pictures.PORTABLE, pictures.BRANDS
    assert theirs == (infer.SIGNATURES, infer.PORTABLE, infer.BRANDS)
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    for ending in ("jpg", "png", "bmp", "gif", "ppm", "tiff", "webp", "avif", "sr", "pam"):
        head = cv2.imencode(f".{ending}", image)[1].tobytes()[:16]
        assert infer.begins_as_picture(head)
        assert pictures.begins_as_picture(head)
    for text in (b"", b"BMW is a car, no bitmap", b"P6", b"notes", io.BytesIO().read()):
        assert not infer.begins_as_picture(text)


@pytest.mark.parametrize("name", ["rgba.tiff", "deep.tiff", "grey.tif", "pages.tif", "deep.png", "a.avif", "grey.webp"])
def test_the_script_decodes_as_ultralytics(tmp_path: Path, name: str) -> None:
    from ultralytics.utils.patches import imread

    rng = np.random.default_rng(0)
    image: Any = rng.integers(0, 255, (20, 30, 4 if "rgba" in name else 3), np.uint8)
    if "deep" in name:
        image = rng.integers(0, 65535, (20, 30, 3), np.uint16)
    if name == "pages.tif":
        assert cv2.imwritemulti(str(tmp_path / name), [image[..., 0], image[..., 1]])
    else:
        assert cv2.imwrite(str(tmp_path / name), image[..., 0] if "grey" in name else image)
    assert np.array_equal(infer.read_image(str(tmp_path / name)), imread(str(tmp_path / name)))


def test_streams_in_a_list_of_pictures_are_not_passed_over(net: Path, site: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = site
    model = Darknet(net / "tiny.cfg")
    for lines in (
        [str(folder / "turned.jpg"), "rtsp://127.0.0.1:1/x"],
        ["rtsp://127.0.0.1:1/x", "rtsp://127.0.0.1:1/y"],
    ):
        (tmp_path / "list.txt").write_text("\n".join(lines))
        with pytest.raises(DataError, match=r"list.txt: names cameras or streams, .* give them in one"):
            model.predict(str(tmp_path / "list.txt"))
