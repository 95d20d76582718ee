"""A tiny network and a tiny data set for each task of Ultralytics."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE = 64
BACKBONE = """
nc: 2
{more}backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - {head}
"""
HEADS = {
    "detect": "[[2, 3], 1, Detect, [nc]]",
    "segment": "[[2, 3], 1, Segment, [nc, 8, 16]]",
    "pose": "[[2, 3], 1, Pose, [nc, kpt_shape]]",
    "obb": "[[2, 3], 1, OBB, [nc, 1]]",
    "classify": "[-1, 1, Classify, [nc]]",
    "semantic": "[[2, 3], 1, SemanticSegment, [nc]]",
    "depth": "[[1, 2, 3], 1, Depth, [16]]",
}
#: A label of each task for a square around the middle; a keypoint is x, y and how visible it is.
SQUARE = "0.3 0.3 0.7 0.3 0.7 0.7 0.3 0.7"
LABELS = {
    "detect": "0 0.5 0.5 0.4 0.4",
    "segment": f"1 {SQUARE} 0.5 0.8",
    "pose": "0 0.5 0.5 0.4 0.4 0.3 0.3 2 0.7 0.3 1 0 0 0",
    "obb": f"1 {SQUARE}",
    "semantic": f"1 {SQUARE}",
}
SPLITS = {"train": 4, "val": 2, "test": 3}
NAMES = ("cat", "dog")


def write_model(folder: Path, task: str) -> Path:
    """Write the description of a network of that task."""
    more = {"pose": "kpt_shape: [3, 3]\n"}.get(task, "")
    path = folder / f"tiny-{task}.yaml"
    path.write_text(BACKBONE.format(more=more, head=HEADS[task]))
    return path


def write_task_data(folder: Path, task: str) -> Path:
    """Write images with labels for train, val and test; return what ``data=`` takes."""
    rng = np.random.default_rng(7)
    for split, count in SPLITS.items():
        for index in range(count):
            place = folder / split / NAMES[index % 2] if task == "classify" else folder / "images" / split
            place.mkdir(parents=True, exist_ok=True)
            picture = rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
            picture[20:45, 20:45] = (40, 200, 40)
            cv2.imwrite(str(place / f"{index}.jpg"), picture)
            _write_label(folder, task, split, index)
    if task == "classify":
        return folder
    path = folder / "data.yaml"
    more = {"pose": "kpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\n", "depth": "depth_scale: 1000\n"}.get(task, "")
    splits = "".join(f"{split}: images/{split}\n" for split in SPLITS)
    path.write_text(f"path: {folder}\n{splits}names: [cat, dog]\n{more}")
    return path


def _write_label(folder: Path, task: str, split: str, index: int) -> None:
    if task == "depth":
        place = folder / "depth" / split
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{index}.png"), np.full((SIDE, SIDE), 2000, np.uint16))
    elif task in LABELS:
        place = folder / "labels" / split
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}.txt").write_text(LABELS[task] + "\n")
