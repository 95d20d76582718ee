"""Pictures, videos and lists that no camera makes: named and left out, before anything large is decoded or read."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolo_subbatch import cli
from yolo_subbatch.darknet.textfile import read_lines
from yolo_subbatch.engine import picture_reading
from yolo_subbatch.errors import DataError
from yolo_subbatch.export import infer

NETWORK = ("cfg=tiny.cfg", "weights=tiny.weights", "device=cpu")


def claimed(width: int, height: int) -> bytes:
    """Return a PNG that says it is so large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def write_bad(folder: Path) -> set[str]:
    """Write files that cannot be read, and return their names."""
    folder.mkdir()
    (folder / "huge.png").write_bytes(claimed(100_000, 100_000))
    (folder / "broken.avi").write_bytes(b"RIFF\x10\0\0\0AVI LIST" + bytes(200))
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "text.png").write_text("no picture")
    (folder / "empty.jpg").touch()
    Image.fromarray(np.random.default_rng(0).random((40, 50)).astype(np.float32)).save(folder / "float.tif")
    cv2.imwrite(str(folder / "floats.tif"), np.ones((40, 50, 3), np.float32))
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "endless.png").symlink_to("/dev/zero")
    return {each.name for each in folder.iterdir()} - {"pipe.png", "pipe.mp4", "endless.png"}


def test_predict_names_what_cannot_be_read_and_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = write_bad(place / "mixed")
    assert cli.main(["predict", *NETWORK, "source=mixed", "json=none.json", "save=False"]) == 2
    said = capsys.readouterr()
    assert "none of its images can be read" in said.err
    assert "Traceback" not in said.err
    entries = {Path(each["image"]).name: each["error"] for each in json.loads(Path("none.json").read_text())}
    assert bad <= set(entries)
    assert "10000000000 pixels, more than max_pixels=268435456" in entries["huge.png"]
    odd = os.fsdecode(b"not utf-8 \xff.png")
    (place / "mixed" / odd).write_bytes((place / "shapes/images/val/00000.jpg").read_bytes())
    assert cli.main(["predict", *NETWORK, "source=mixed", "json=some.json", "save=True"]) == 0
    found = json.loads(Path("some.json").read_bytes())
    assert [Path(each["image"]).name for each in found if "error" not in each] == [odd]
    assert len(list(Path("runs/predict").iterdir())) == 1


def test_the_limit_is_the_users(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(picture_reading.LIMIT, "")  # so that it is put back
    source = "source=shapes/images/val/00000.jpg"  # 64 x 64
    assert cli.main(["predict", *NETWORK, source, "max_pixels=4096", "save=False"]) == 0
    assert cli.main(["predict", *NETWORK, source, "max_pixels=4095", "save=False"]) == 2
    assert "has 4096 pixels, more than max_pixels=4095" in "".join(capsys.readouterr())
    assert infer.read_image("shapes/images/val/00000.jpg", most=4096) is not None
    with pytest.raises(ValueError, match="max_pixels=4095"):
        infer.read_image("shapes/images/val/00000.jpg", most=4095)


def test_the_limit_of_a_training_is_the_users_too(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left out once is not left out for good: Ultralytics keeps what it has read of labels in a file."""
    monkeypatch.setenv(picture_reading.LIMIT, "")
    arguments = ["train", "cfg=tiny.cfg", "data=shapes/shapes.data", "max_batches=1", "workers=0", "device=cpu"]
    assert cli.main([*arguments, "max_pixels=4095"]) == 2
    assert "none of its images can be read" in capsys.readouterr().err
    assert cli.main([*arguments, "max_pixels=0"]) == 2
    assert cli.main([*arguments, "max_pixels=4096"]) == 0


def test_pictures_are_read_where_none_can_be_mapped_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some file systems of networks."""

    def none(*_: object, **__: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(infer.mmap, "mmap", none)
    (tmp_path / "x.png").write_bytes(claimed(60, 70))
    assert infer.picture_fault(str(tmp_path / "x.png"), 4200) is None
    assert infer.picture_fault(str(tmp_path / "x.png"), 4199) == "has 4200 pixels, more than max_pixels=4199"


def test_sizes_are_told_by_the_beginning_of_a_file(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (37, 53, 3)).astype(np.uint8)
    for ending in ("jpg", "png", "bmp", "webp", "tif", "ppm", "pgm", "jp2", "ras", "hdr", "gif", "avif"):
        file = str(tmp_path / f"x.{ending}")
        try:
            if ending == "gif":
                Image.fromarray(image).save(file)
            elif not cv2.imwrite(file, image.astype(np.float32) if ending == "hdr" else image):
                continue
        except cv2.error:  # this OpenCV writes no such file
            continue
        assert infer.pixels_of(memoryview(Path(file).read_bytes())) == 37 * 53, ending
    for kind in ("WEBP", "TIFF"):
        Image.fromarray(image).save(tmp_path / "x", kind, lossless=True)
        assert infer.pixels_of(memoryview((tmp_path / "x").read_bytes())) == 37 * 53, kind
    pages = [Image.fromarray(image)] * 3
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert infer.pixels_of(memoryview((tmp_path / "pages.tif").read_bytes())) == 3 * 37 * 53, "each page is decoded"
    rng = np.random.default_rng(2)
    for name in tmp_path.iterdir():  # whatever follows the signature
        data = name.read_bytes()
        for _ in range(30):
            cut = data[: int(rng.integers(2, 40))] + rng.bytes(int(rng.integers(0, 60)))
            infer.pixels_of(memoryview(cut))


def test_a_training_names_pictures_that_would_end_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bad(place / "bad")
    for name in ("huge.png", "float.tif", "floats.tif"):
        file = place / "shapes/images/train" / name
        file.write_bytes((place / "bad" / name).read_bytes())
        (place / "shapes/labels/train" / name).with_suffix(".txt").write_text("0 .5 .5 .2 .2\n")
        Path("shapes/with.txt").write_text(f"{Path('shapes/train.txt').read_text()}images/train/{name}\n")
        Path("shapes/with.data").write_text("classes=3\ntrain=with.txt\nvalid=val.txt\nnames=shapes.names\n")
        arguments = ["train", "cfg=tiny.cfg", "data=shapes/with.data", "epochs=1", "workers=0", "device=cpu"]
        assert cli.main(arguments) == 2
        said = capsys.readouterr().err
        assert name in said
        assert "Traceback" not in said
        assert not Path("runs/train").exists()
        file.unlink()


def test_lists_are_read_a_part_after_the_other(tmp_path: Path) -> None:
    """Eight gigabytes take no place on the disk, and shall take none in memory."""
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.write(b"a.jpg\n")
        file.truncate(8 << 30)
    for read in (lambda: list(read_lines(large, "the image list")), lambda: infer.find_files(str(large))):
        with pytest.raises((DataError, infer.InferError), match="binary file"):
            read()
    long = tmp_path / "long.txt"
    long.write_bytes(b"x" * 200_000)
    for read in (lambda: list(read_lines(long, "the image list")), lambda: infer.find_files(str(long))):
        with pytest.raises((DataError, infer.InferError), match="a line of more than 65536 bytes"):
            read()
    lines = [f"{index:05}" * 20 for index in range(3000)]
    for end in ("\n", "\r", "\r\n"):
        long.write_bytes(("\ufeff" + end.join(lines)).encode())
        assert list(read_lines(long, "the image list")) == lines
        assert list(infer.list_lines(str(long))) == lines
