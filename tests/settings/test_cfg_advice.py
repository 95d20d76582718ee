"""What a training suffers from without a word of Darknet: late steps, anchors in another unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.sample import write_cfg
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.settings.cfg_advice import cfg_advice
from yolo_subbatch.settings.find import bundled_cfgs, find_cfg
from yolo_subbatch.settings.train_settings import TrainSettings


def advice(folder: Path, *changes: tuple[str, str], **values: object) -> list[str]:
    cfg = read_cfg(write_cfg(folder, *changes))
    return [problem.text for problem in cfg_advice(TrainSettings(**values), cfg)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "values", "late"),
    [
        (("steps=10", "steps=30"), {}, "ends after 20 iterations, before the step 30"),
        (("steps=10\nscales=.1", "steps=10,30,40\nscales=.1,.1,.1"), {}, "before the steps 30,40"),
        (("steps=10", "steps=20"), {}, ""),
        (("steps=10", "steps=10"), {"max_batches": 5}, ""),  # the schedule is fitted
        (
            ("steps=10", "steps=10"),
            {"max_batches": 5, "schedule": "exact"},
            "ends after 5 iterations, before the step 10",
        ),
        (("steps=10", "steps=10"), {"steps": (300,), "scales": (0.1,)}, "before the step 300"),
        (("policy=steps", "policy=constant"), {"steps": (300,)}, ""),
        (("max_batches=20", "max_batches=0"), {}, ""),
    ],
)
def test_steps_behind_the_end_are_told(tmp_path: Path, change: tuple[str, str], values: dict, late: str) -> None:
    told = advice(tmp_path, change, **values)
    assert (late in told[0]) if late else told == []


def test_anchors_of_another_unit_or_size_are_told(tmp_path: Path) -> None:
    (told,) = advice(tmp_path, ("10,14, 23,27", "0.57,0.68, 1.87,2.06"))
    assert "[yolo]: anchor 0.57,0.68 is below one pixel" in told
    assert "multiplied by 32" in told
    (told,) = advice(tmp_path, ("10,14, 23,27", "10,14, 116,90"))
    assert "anchor 116,90 is larger than the input of 64x64" in told
    assert advice(tmp_path, ("10,14, 23,27", "10,14, 116,90"), imgsz=(96, 128)) == []


def test_every_odd_anchor_is_named(tmp_path: Path) -> None:
    small, large = advice(tmp_path, ("10,14, 23,27", "0.5,9, 90,70, 0.6,0.7, 80,99"), ("num=2", "num=4"))
    assert "anchors 0.5,9  0.6,0.7 are below one pixel" in small
    assert "anchors 90,70  80,99 are larger than the input" in large


@pytest.mark.parametrize("name", bundled_cfgs())
def test_the_bundled_anchors_are_right(name: str) -> None:
    cfg = read_cfg(find_cfg(name))
    assert [problem.text for problem in cfg_advice(TrainSettings(policy="constant"), cfg)] == []
