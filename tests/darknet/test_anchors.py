"""Anchors against clusters that are known, and the reading of labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from yolo_subbatch.darknet.anchors import draw_anchors, find_anchors, size_iou
from yolo_subbatch.darknet.labels import read_all_boxes, read_boxes
from yolo_subbatch.errors import DataError

PLANTED = np.array([(10.0, 14.0), (37.0, 24.0), (60.0, 130.0), (150.0, 90.0), (300.0, 310.0)])


def planted(rng: np.random.Generator, each: int = 200) -> np.ndarray:
    """Return boxes that scatter a little around the planted sizes, in mixed order."""
    sizes = np.concatenate([size * rng.normal(1, 0.04, (each, 2)) for size in PLANTED])
    return rng.permutation(sizes)


@pytest.mark.parametrize("seed", range(5))
def test_planted_clusters_are_found(seed: int) -> None:
    sizes = planted(np.random.default_rng(seed))
    found = find_anchors(sizes, 5, seed)
    assert found.sizes == pytest.approx(PLANTED, rel=0.02), "by rising area"
    assert found.mean_iou == pytest.approx(size_iou(sizes, PLANTED).max(1).mean(), abs=0.005)
    assert (found.nearest == size_iou(sizes, PLANTED).argmax(1)).all()


def test_the_result_is_at_least_as_good_as_plain_k_means() -> None:
    rng = np.random.default_rng(3)
    sizes = np.exp(rng.normal((3.5, 3.2), (0.9, 0.8), (2000, 2)))
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-5)
    _, _, plain = cv2.kmeans(sizes.astype(np.float32), 9, None, stop, 10, cv2.KMEANS_PP_CENTERS)
    assert find_anchors(sizes, 9).mean_iou > size_iou(sizes, plain).max(1).mean()


def test_the_same_seed_gives_the_same_anchors() -> None:
    sizes = np.exp(np.random.default_rng(4).normal(3, 1, (500, 2)))
    first, second = find_anchors(sizes, 6, 1), find_anchors(sizes, 6, 1)
    assert (first.sizes == second.sizes).all()


def test_one_anchor_and_as_many_as_there_are_sizes() -> None:
    sizes = np.array([(10.0, 20.0), (10.0, 20.0), (40.0, 30.0)])
    assert find_anchors(sizes[:2], 1).sizes == pytest.approx(np.array([(10, 20)]))
    both = find_anchors(sizes, 2)
    assert both.sizes == pytest.approx(np.array([(10, 20), (40, 30)]))
    assert both.mean_iou == pytest.approx(1)
    assert list(both.nearest) == [0, 0, 1]


def test_too_few_sizes_are_refused() -> None:
    with pytest.raises(DataError, match=r"num=3: the boxes have 2 different sizes; give at most 2"):
        find_anchors(np.array([(1.0, 2.0), (1.0, 2.0), (3.0, 4.0)]), 3)


def test_overlap_of_sizes() -> None:
    overlap = size_iou(np.array([(2.0, 4.0), (4.0, 2.0)]), np.array([(2.0, 4.0), (4.0, 4.0)]))
    assert overlap == pytest.approx(np.array([(1, 0.5), (4 / 12, 0.5)]))


def test_text_is_written_as_darknet_does() -> None:
    sizes = np.array([(9.6, 14.2), (116.4, 90.0)])
    found = find_anchors(sizes, 2)
    assert found.text(416) == " 10, 14, 116, 90"
    assert found.text(13) == "9.6000,14.2000, 116.4000,90.0000", "cells of YOLOv2"


def test_the_picture_shows_each_anchor_in_its_colour(tmp_path: Path) -> None:
    sizes = planted(np.random.default_rng(0), 50)
    draw_anchors(sizes, find_anchors(sizes, 5), (416, 416), tmp_path / "cloud.png")
    colours = np.unique(cv2.imread(str(tmp_path / "cloud.png")).reshape(-1, 3), axis=0)
    assert len(colours) == 6
    with pytest.raises(DataError, match=r"cannot be written"):
        draw_anchors(sizes, find_anchors(sizes, 5), (416, 416), tmp_path / "none" / "cloud.png")


def test_labels_are_boxes_or_outlines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 .5 .5 .2 .4\n\n0 .1 .2 .3 .2 .3 .6 .1 .6\n")
    (tmp_path / "empty.txt").touch()
    assert read_boxes(tmp_path / "a.txt") == pytest.approx(np.array([(1, 0.5, 0.5, 0.2, 0.4), (0, 0.2, 0.4, 0.2, 0.4)]))
    assert read_boxes(tmp_path / "empty.txt").shape == read_boxes(tmp_path / "none.txt").shape == (0, 5)
    assert len(read_all_boxes([tmp_path / "a.txt", tmp_path / "empty.txt", tmp_path / "a.txt"])) == 4
    assert read_all_boxes([]).shape == (0, 5)
