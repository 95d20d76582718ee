"""Descriptions, labels, numbers and names that break a reader: each is answered in a line, with status 2."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.program import program
from yolo_subbatch import Darknet, cli
from yolo_subbatch.darknet import load_weights, read_cfg
from yolo_subbatch.darknet.datafile import check_labels, read_data, read_image_list, read_names
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.regular_files import has_content
from yolo_subbatch.errors import DataError, YoloSubbatchError
from yolo_subbatch.settings import data_checks as run_data
from yolo_subbatch.settings.find import find_cfg, find_checkpoint, find_data, holds_checkpoint

TRAIN = ("train", "cfg=tiny.cfg", "epochs=1", "workers=0", "device=cpu")
NETWORK = ("cfg=tiny.cfg", "weights=tiny.weights", "device=cpu")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that has to be refused without a traceback, and return what it says."""
    assert cli.main(list(arguments)) == 2, arguments
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err


def test_a_yaml_that_is_wrong(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    splits = "train: images/train\nval: images/val\n"
    for text, words in (
        (f"path: nothere\n{splits}names: [a, b, c]", "path: nothere: no such folder, neither here nor in"),
        (f"path: shapes\n{splits}names: {{1: a, 2: b, 3: c}}", "number the 3 classes from 0 to 2"),
        (f"path: shapes\n{splits}nc: 2000000000", "nc: 2000000000: more than a million"),
        (f"path: shapes\n{splits}names: {'[' * 1000}", "not valid YAML"),
    ):
        Path("x.yaml").write_text(text)
        for command in (TRAIN, ("val", *NETWORK), ("anchors", "num=3", "imgsz=64")):
            assert words in refused(capsys, *command, "data=x.yaml"), command
    # Where Ultralytics has kept no settings yet, its folder is known only when it is loaded.
    monkeypatch.setattr(run_data, "datasets_folder", lambda: None)
    Path("x.yaml").write_text(f"path: nothere\n{splits}names: [a, b, c]")
    assert run_data.check_data("x.yaml") == []


def test_a_label_with_a_blank_that_is_none(tmp_path: Path) -> None:
    for blank in (b"\xa0", b"\xc2\xa0", b"\xe3\x80\x80"):
        (tmp_path / "x.txt").write_bytes(blank + b"0 .5 .5 .1 .1\n")
        with pytest.raises(DataError, match=r"x\.txt:1: .*; "):
            check_labels([tmp_path / "x.txt"], 3, "x.data")


def test_only_regular_files_are_opened(place: Path) -> None:
    """A pipe waits for somebody; what the system makes up may wait too, and says that it is empty."""
    os.mkfifo("pipe")
    Path("named.data").write_text("classes=3\ntrain=pipe\nvalid=pipe\nnames=pipe\n")
    network = Network(read_cfg("tiny.cfg"))
    for name in ("pipe", "/dev/null", "/proc/self/status", "/proc/self/mem"):
        if not os.path.exists(name):
            continue
        for read in (read_data, read_names, read_image_list, read_cfg, lambda path: load_weights(network, path)):
            with pytest.raises(YoloSubbatchError):
                read(Path(name))
        assert not holds_checkpoint(name)
        assert not has_content(name)
    with pytest.raises(DataError):
        read_data("named.data")
    assert has_content("tiny.cfg")


def test_numbers_are_written_in_digits(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = "data=shapes/shapes.data"
    for wrong in ("batch=\uff11\uff12", "batch=1_0", "epochs=\u0661", "device=\uff10", "learning_rate=1_0", "hsv_h=\uff10",
                  "fliplr=1_0", "multi_scale=\uff11", "imgsz=6_4"):  # fmt: skip
        assert wrong.split("=")[0] in refused(capsys, *TRAIN, data, wrong)
    assert "memory" in refused(capsys, *TRAIN, data, "memory=\uff18GB", "subdivisions=auto")
    assert "no such file" in refused(capsys, "predict", *NETWORK, "source=\uff11"), "it is no camera"
    detector = ("detector", "test", "shapes/shapes.data", "tiny.cfg", "tiny.weights", "shapes/images/val/00000.jpg")
    assert "-thresh" in refused(capsys, *detector, "-thresh", "\uff10.5")
    assert "threads" in refused(capsys, "infer", "model=x.onnx", "source=shapes", "threads=\uff11")


def test_names_that_are_no_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"\xff")
    Path(f"s{odd}").symlink_to("shapes")
    Path(f"c{odd}.cfg").symlink_to("tiny.cfg")
    Path(f"w{odd}.weights").symlink_to("tiny.weights")
    data = "data=shapes/shapes.data"
    for command in (TRAIN, ("val", *NETWORK), ("map", *NETWORK)):
        assert "not in UTF-8" in refused(capsys, *command, f"data=s{odd}/shapes.data")
        assert "not in UTF-8" in refused(capsys, *command, data, f"project=p{odd}")
    train = ("train", data, "epochs=1", "workers=0", "device=cpu")
    assert "not in UTF-8" in refused(capsys, *train, f"cfg=c{odd}.cfg")
    assert "not in UTF-8" in refused(capsys, *train, "cfg=tiny.cfg", f"weights=w{odd}.weights")
    picture = ("anchors", data, "num=3", "imgsz=64", f"picture=a{odd}.png")
    assert "not in UTF-8" in refused(capsys, *picture)
    predict = ("predict", *NETWORK, "source=shapes/images/val")
    assert "not in UTF-8" in refused(capsys, *predict, "save=True", f"project=p{odd}"), "OpenCV would end the program"
    Path(f"v{odd}.avi").touch()
    demo = ("detector", "demo", "shapes/shapes.data", "tiny.cfg", "tiny.weights", f"v{odd}.avi", "-dont_show")
    assert "not in UTF-8" in refused(capsys, *demo)
    # In a process of its own: pytest-xdist cannot send a captured log that holds such a name.
    assert program(place, *predict, "save=False", f"json=j{odd}.json").returncode == 0
    assert Path(f"j{odd}.json").is_file()


def test_names_that_are_too_long(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "a" * 300
    for read in (read_data, read_names, read_image_list, read_cfg):
        with pytest.raises(YoloSubbatchError) as error:
            read(f"{long}.txt")
        assert len(str(error.value)) < 500
    for find in (find_cfg, find_data, find_checkpoint, Darknet):
        for name in (f"{long}.cfg", f"{long}.pt", f"{long}.data", "a/" * 3000, "x\0.pt"):
            with pytest.raises(YoloSubbatchError):
                find(name)
    for wrong in (f"data={long}.data", f"cfg={long}.cfg", f"weights={long}.weights"):
        given = [each for each in TRAIN if each.partition("=")[0] != wrong.partition("=")[0]]
        assert "; " in refused(capsys, *given, wrong)
    Path("long.data").write_text(f"classes=3\ntrain={long}\nvalid={long}\nnames=shapes/shapes.names\n")
    assert "no such file" in refused(capsys, *TRAIN, "data=long.data")


def test_valid_makes_no_folder_for_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("detector", "valid", "shapes/shapes.data", "tiny.cfg", "tiny.weights")
    assert "-out a/b/c: the folder results/a/b does not exist" in refused(capsys, *command, "-out", "a/b/c")
    assert not Path("results").exists()


def test_an_address_that_does_not_answer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # a port on which nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        for ending in ("", ".jpg", ".mp4"):
            said = refused(capsys, "predict", *NETWORK, f"source={address}{ending}", "save=False")
            assert len(said.strip().splitlines()) == 1, said
