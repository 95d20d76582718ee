"""ONNX files that are wrong on purpose end in plain lines: no traceback, no waiting, nothing that steers a terminal."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.security.hostile_onnx import write_all
from yolo_subbatch import cli
from yolo_subbatch.export import infer

#: Files that work all the same, and say what had to be assumed.
USABLE = {"names nested", "output of a trillion boxes"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    found = write_all(folder)
    os.mkfifo(folder / "models" / "pipe.bin")
    cv2.imwrite(str(folder / "image.png"), np.zeros((64, 64, 3), np.uint8))
    return found


def test_every_file_ends_in_plain_lines(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer, "WAIT", 1.0)
    for name, file in files.items():
        arguments = [
            f"model={file}",
            f"source={file.parents[1] / 'image.png'}",
            "provider=cpu",
            "streams=1",
            "threads=1",
        ]
        status = infer.main(arguments)
        said = capsys.readouterr()
        assert status == (0 if name in USABLE else 2), (name, said)
        assert "Traceback" not in said.err, name
        assert not any(not each.isprintable() and each != "\n" for each in said.out + said.err), name
        assert len(said.err.strip().splitlines()) <= 4, (name, said.err)


def test_what_a_file_says_of_itself_is_told_all_at_once(files: dict[str, Path], tmp_path: Path) -> None:
    from tests.security.hostile_onnx import free

    file = tmp_path / "x.onnx"
    file.write_bytes(free(imgsz="abc", stride="x", ysb__nms="[]", ysb__weights_sha256="../../x").SerializeToString())
    with pytest.raises(infer.InferError) as error:
        infer.OnnxYolo(file, "cpu")
    lines = str(error.value).splitlines()
    keys = sorted(line.split("says ")[1].split(": ")[0] for line in lines)
    assert keys == ["imgsz", "stride", "ysb.nms", "ysb.weights_sha256"]


def test_threads_have_an_upper_bound(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["infer", f"model={files['names nested']}", f"source={files['names nested'].parents[1] / 'image.png'}"]
    assert cli.main([*arguments, "threads=1000"]) == 2
    assert "give at most" in capsys.readouterr().err
