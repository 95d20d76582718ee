"""What a weights file is that does not fit: told by its size or its first bytes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.conftest import cfg_text
from yolo_subbatch.darknet import Network, load_weights, parse_cfg, read_cfg, save_weights
from yolo_subbatch.darknet.geometry import with_classes
from yolo_subbatch.darknet.report import weights_bytes
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.darknet.weights_kinds import BACKBONES, PUBLISHED, explain_size
from yolo_subbatch.errors import WeightsError
from yolo_subbatch.settings.find import bundled_cfgs, find_cfg

TINY = parse_cfg(cfg_text(bn=True), "tiny.cfg")


def refused(cfg: Cfg, data: bytes, partial: bool = True) -> str:
    with pytest.raises(WeightsError) as error:
        load_weights(Network(cfg), io.BytesIO(data), partial=partial)
    return str(error.value)


def saved(cfg: Cfg, stop: int | None = None) -> bytes:
    file = io.BytesIO()
    save_weights(Network(cfg), file, stop=stop)
    return file.getvalue()


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 80])
def test_other_classes_are_told(classes: int, partial: bool) -> None:
    text = refused(TINY, saved(with_classes(TINY, classes)), partial)
    assert f"weights of {classes} classes, but tiny.cfg has 3; for a new head train from a backbone" in text
    assert "yolo-subbatch partial cfg=tiny.cfg weights=FILE to=tiny.conv.4 layers=4" in text
    assert f"the cfg with classes={classes} that belongs to them: heads are then rebuilt" in text


def test_what_is_advised_works(tmp_path: Path) -> None:
    from yolo_subbatch.darknet_cli import run_partial
    from yolo_subbatch.settings.commands import PartialSettings

    (tmp_path / "tiny.cfg").write_text(cfg_text(bn=True))
    (tmp_path / "big.weights").write_bytes(saved(with_classes(TINY, 80)))
    target = tmp_path / "tiny.conv.4"
    run_partial(PartialSettings(str(tmp_path / "tiny.cfg"), str(tmp_path / "big.weights"), str(target), 4))
    assert load_weights(Network(TINY), target, partial=True).layers == 4


def test_other_channels_are_told() -> None:
    grey = replace(TINY, net=replace(TINY.net, channels=1))
    assert "for images of 1 channel, but tiny.cfg has channels=3" in refused(TINY, saved(grey))
    assert "for images of 3 channels, but tiny.cfg has channels=1" in refused(grey, saved(TINY))


def test_a_file_that_is_cut_off_is_told_as_such() -> None:
    assert "the file is cut off or belongs to another cfg" in refused(TINY, saved(TINY)[:-100])
    assert "ends inside layer" in refused(TINY, saved(TINY)[:-100])


def test_published_files_are_known_by_their_size() -> None:
    sizes = {weights_bytes(read_cfg(find_cfg(name))): name for name in bundled_cfgs() if name != "shapes.cfg"}
    assert {size: name.replace(".weights", ".cfg") for size, name in PUBLISHED.items()} == sizes
    for size, name in {**PUBLISHED, **BACKBONES}.items():
        assert name in str(explain_size(TINY, size - 20))


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"<!DOCTYPE html><html>", "a web page that was saved in place of the weights; download it again"),
        (b"\n\n<html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
        (b'{"error": "not found"}', "JSON"),
        (b"PK\x03\x04" + bytes(40), "a checkpoint of torch, or a ZIP archive; give a .pt as model="),
        (b"\x80\x02}q\x00" + bytes(40), "an old checkpoint"),
        (b"\x1f\x8b\x08" + bytes(40), "gunzip"),
        (b"[net]\nbatch=1\nwidth=416\n", "a cfg; give it as cfg="),
        (b"<html>", "a web page"),
    ],
)
def test_files_of_another_kind_are_told(beginning: bytes, words: str) -> None:
    assert words in refused(TINY, beginning)
