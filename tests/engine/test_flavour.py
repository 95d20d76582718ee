"""Whose Darknet a training follows, from the user's word to the checkpoint and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo_subbatch import Darknet
from yolo_subbatch.darknet import read_cfg
from yolo_subbatch.darknet.loss_alexeyab import AlexeyabHead

QUIET = {"plots": False, "device": "cpu", "epochs": 1, "batch": 4, "subdivisions": 2}


def trained_as(model: Darknet) -> tuple[str, list[str]]:
    trainer = model.trainer
    network = trainer.plain_model.network
    assert all(isinstance(head, AlexeyabHead) == (network.flavour == "alexeyab") for head in network.heads)
    return network.flavour, [line for line in trainer.start_line().splitlines() if line.startswith("flavour: ")]


@pytest.mark.parametrize("place", ["model", "train"])
def test_an_asked_flavour_reaches_training_and_stays_with_the_checkpoint(cfg, data, tmp_path, place):
    word = {"flavour": "alexeyab"}
    model = Darknet(cfg, **(word if place == "model" else {}))
    model.train(**QUIET, **(word if place == "train" else {}), data=str(data), project=str(tmp_path / "runs"))
    assert trained_as(model) == ("alexeyab", ["flavour: alexeyab (as asked)"])
    folder = Path(model.trainer.save_dir) / "weights"
    assert read_cfg(folder / "model.cfg").flavour() == "alexeyab"
    again = Darknet(folder / "last.pt")
    assert again.network.flavour == "alexeyab"
    if place == "model":
        again.train(**QUIET, data=str(data), project=str(tmp_path / "more"))
        assert trained_as(again)[0] == "alexeyab"


def test_the_cfg_tells_the_flavour(cfg, data, tmp_path):
    text = cfg.read_text()
    cfg.write_text(text.replace("random=0", "random=0\niou_loss=ciou\niou_normalizer=0.07"))
    model = Darknet(cfg)
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"))
    assert trained_as(model) == ("alexeyab", ["flavour: alexeyab (the cfg has iou_loss, iou_normalizer)"])
    head = Darknet(Path(model.trainer.save_dir) / "weights" / "best.pt").network.heads[0]
    assert (head.section.iou_loss, head.section.iou_normalizer) == ("ciou", 0.07)


def test_without_a_sign_it_is_pjreddies(cfg, data, tmp_path):
    model = Darknet(cfg)
    model.train(**QUIET, data=str(data), project=str(tmp_path / "runs"))
    flavour, (line,) = trained_as(model)
    assert flavour == "pjreddie"
    assert "no key that only AlexeyAB's Darknet reads" in line
