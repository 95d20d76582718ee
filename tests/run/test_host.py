from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.run.sample import write_checkpoint
from yolo_subbatch.errors import SettingsError, WeightsError
from yolo_subbatch.run import host

ROOT = Path(__file__).parents[2]


def test_the_rules_are_those_of_ultralytics() -> None:
    from ultralytics.cfg import CFG_FRACTION_KEYS, CFG_INT_MIN
    from ultralytics.data.utils import IMG_FORMATS, VID_FORMATS

    from yolo_subbatch.run.data import IMAGES, VIDEOS

    assert CFG_FRACTION_KEYS - {"fraction"} == host.FRACTIONS
    assert all(CFG_INT_MIN[key] == least for key, least in host.LEAST.items() if key in CFG_INT_MIN)
    assert {f".{each}" for each in IMG_FORMATS} == IMAGES
    assert {f".{each}" for each in VID_FORMATS} == VIDEOS


def test_training_keys_leave_out_what_has_no_part_in_training() -> None:
    keys = host.training_keys()
    assert keys["mosaic"] == 1.0
    assert keys["patience"] == 100
    assert {"classes", "optimizer", "cache", "iou"} <= set(keys)
    assert not {"source", "format", "tracker", "show", "cfg"} & set(keys)


def test_models_and_data_sets_are_found_by_name() -> None:
    found = host.find_model("yolo26n.yaml")
    assert found is not None
    assert found.name == "yolo26.yaml"
    assert host.find_model("yolo26x-seg.yaml") is not None
    assert host.find_model("yolo25n.yaml") is None
    assert host.find_dataset("coco8.yaml") is not None
    assert host.find_dataset("../default.yaml") is None


def test_checkpoints_are_told_apart_without_loading_them(tmp_path: Path) -> None:
    ours = write_checkpoint(tmp_path / "ours.pt")
    theirs = write_checkpoint(tmp_path / "theirs.pt", "ultralytics.nn.tasks")
    old = tmp_path / "old.pt"
    old.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF")
    assert host.is_darknet_checkpoint(ours)
    assert not host.is_darknet_checkpoint(theirs)
    assert not host.is_darknet_checkpoint(old)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 torn"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pt: no checkpoint"):
        host.is_darknet_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("number", ["8.3.253", "8.4.0", "8.4.12", "7.9"])
def test_an_old_release_is_refused_with_the_command_to_type(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setattr(host, "release", lambda: number)
    with pytest.raises(SettingsError) as caught:
        host.check_version()
    assert str(caught.value) == (
        f'ultralytics {number}: too old, 8.4.13 is the oldest that works; pip install "ultralytics>=8.4.13,<8.5"'
    )


@pytest.mark.parametrize("number", ["8.4.13", "8.4.100", "8.4.190", "8.4.999"])
def test_releases_that_work_are_taken_without_a_word(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setattr(host, "release", lambda: number)
    assert host.check_version() is None


@pytest.mark.parametrize("number", ["8.5.0", "8.10.1", "9.0"])
def test_a_newer_release_is_tried_with_a_warning(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setattr(host, "release", lambda: number)
    warning = host.check_version()
    assert warning is not None
    assert warning.startswith(f"ultralytics {number}: newer than what this program was tried with")


def test_the_installed_release_is_read_without_importing_it() -> None:
    assert host.release() == metadata.version("ultralytics")


def test_the_bounds_are_those_that_pip_is_told() -> None:
    told = re.search(r'^    "(ultralytics[^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert told
    assert told[1] == host.REQUIREMENT
    assert f"ultralytics>={_dotted(host.OLDEST)},<{_dotted(host.BEYOND)}" == host.REQUIREMENT


def _dotted(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number))


@pytest.mark.parametrize("command", ["train", "val", "predict", "export", "convert", "map", "demo"])
def test_every_command_that_needs_it_names_an_old_release_first(tmp_path: Path, command: str) -> None:
    """A package of that name and number stands in for the old release; torch is not even imported."""
    (tmp_path / "ultralytics").mkdir()
    (tmp_path / "ultralytics" / "__init__.py").write_text('__version__ = "8.4.7"\n')
    (tmp_path / "ultralytics" / "cfg").mkdir()
    (tmp_path / "ultralytics" / "cfg" / "default.yaml").write_text("# Train settings ---------\nepochs: 100\n")
    code = "import sys\nfrom yolo_subbatch.cli import main\nstatus = main(sys.argv[1:])\nassert 'torch' not in sys.modules\nsys.exit(status)"
    done = subprocess.run(
        [sys.executable, "-c", code, command], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, timeout=60, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "ultralytics 8.4.7: too old, 8.4.13 is the oldest that works; pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "ultralytics").mkdir()
    (tmp_path / "ultralytics" / "__init__.py").write_text('__version__ = "8.4.7"\n')
    for name in ("Darknet", "SubbatchTrainer"):
        done = subprocess.run(
            [sys.executable, "-c", f"from yolo_subbatch import {name}"], env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "SettingsError: ultralytics 8.4.7: too old" in done.stderr
