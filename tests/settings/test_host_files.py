from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.settings.sample import write_checkpoint
from yolo_subbatch.errors import SettingsError, WeightsError
from yolo_subbatch.settings import host_files

ROOT = Path(__file__).parents[2]


def test_the_rules_are_those_of_ultralytics() -> None:
    from ultralytics.cfg import CFG_FRACTION_KEYS, CFG_INT_MIN
    from ultralytics.data.utils import IMG_FORMATS, VID_FORMATS

    from yolo_subbatch.settings.data_checks import IMAGES, VIDEOS

    assert CFG_FRACTION_KEYS - {"fraction"} == host_files.FRACTIONS
    assert all(CFG_INT_MIN[key] == least for key, least in host_files.LEAST.items() if key in CFG_INT_MIN)
    assert {f".{each}" for each in IMG_FORMATS} == IMAGES
    assert {f".{each}" for each in VID_FORMATS} == VIDEOS


def test_training_keys_leave_out_what_has_no_part_in_training() -> None:
    keys = host_files.training_keys()
    assert keys["mosaic"] == 1.0
    assert keys["patience"] == 100
    assert {"classes", "optimizer", "cache", "iou"} <= set(keys)
    assert not {"source", "format", "tracker", "show", "cfg"} & set(keys)


def test_models_and_data_sets_are_found_by_name() -> None:
    found = host_files.find_model("yolo26n.yaml")
    assert found is not None
    assert found.name == "yolo26.yaml"
    assert host_files.find_model("yolo26x-seg.yaml") is not None
    assert host_files.find_model("yolo25n.yaml") is None
    assert host_files.find_dataset("coco8.yaml") is not None
    assert host_files.find_dataset("../default.yaml") is None


def test_checkpoints_are_told_apart_without_loading_them(tmp_path: Path) -> None:
    ours = write_checkpoint(tmp_path / "ours.pt")
    theirs = write_checkpoint(tmp_path / "theirs.pt", "ultralytics.nn.tasks")
    old = tmp_path / "old.pt"
    old.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF")
    assert host_files.is_darknet_checkpoint(ours)
    assert not host_files.is_darknet_checkpoint(theirs)
    assert not host_files.is_darknet_checkpoint(old)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 torn"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pt: no checkpoint"):
        host_files.is_darknet_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("number", ["8.3.253", "8.4.0", "8.4.13", "7.9"])
def test_an_old_release_is_refused_with_the_command_to_type(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setattr(host_files, "release", lambda: number)
    with pytest.raises(SettingsError) as caught:
        host_files.check_version()
    assert str(caught.value) == (
        f'ultralytics {number}: too old, 8.4.14 is the oldest that works; pip install "ultralytics>=8.4.14,<8.5"'
    )


@pytest.mark.parametrize("number", ["8.4.14", "8.4.100", "8.4.190", "8.4.999"])
def test_releases_that_work_are_taken_without_a_word(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setattr(host_files, "release", lambda: number)
    assert host_files.check_version() is None


@pytest.mark.parametrize("number", ["8.5.0", "8.10.1", "9.0"])
def test_a_newer_release_is_tried_with_a_warning(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setattr(host_files, "release", lambda: number)
    warning = host_files.check_version()
    assert warning is not None
    assert warning.startswith(f"ultralytics {number}: newer than what this program was tried with")


def test_the_installed_release_is_read_without_importing_it() -> None:
    assert host_files.release() == metadata.version("ultralytics")


def test_the_bounds_are_those_that_pip_is_told() -> None:
    told = re.search(r'^    "(ultralytics[^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert told
    assert told[1] == host_files.REQUIREMENT
    assert f"ultralytics>={_dotted(host_files.OLDEST)},<{_dotted(host_files.BEYOND)}" == host_files.REQUIREMENT


def _dotted(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number))


def test_every_command_and_class_that_needs_it_names_an_old_release_first(tmp_path: Path) -> None:
    """A package of that name and number stands in for the old release; torch is not imported to see it."""
    (tmp_path / "ultralytics" / "cfg").mkdir(parents=True)
    (tmp_path / "ultralytics" / "__init__.py").write_text('__version__ = "8.4.7"\n')
    (tmp_path / "ultralytics" / "cfg" / "default.yaml").write_text("# Train settings ---------\nepochs: 100\n")
    script = tmp_path / "every.py"
    script.write_text(EVERY)
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=120, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert len(told) == 9
    assert all("ultralytics 8.4.7: too old, 8.4.14 is the oldest that works; pip install" in each for each in told)


EVERY = """
import sys
from yolo_subbatch.cli import main

for command in ("train", "val", "predict", "export", "convert", "map", "demo"):
    assert main([command]) == 2, command
assert "torch" not in sys.modules
for name in ("Darknet", "SubbatchTrainer"):
    try:
        exec(f"from yolo_subbatch import {name}")
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
"""
