"""Measures of boxes, their derivatives as AlexeyAB's Darknet has them, and suppression by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import GOLDEN_FOLDERS, golden
from yolo_subbatch.darknet import non_max_suppression
from yolo_subbatch.darknet.boxes import box_iou, box_metric, iou_ascent

sides = st.floats(0.01, 0.9)
boxes = st.tuples(st.floats(0, 1), st.floats(0, 1), sides, sides)


def derivative(kind: str, pred: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    pred = pred.clone().requires_grad_()
    box_metric(kind, pred, truth, beta=1).sum().backward()
    return pred.grad


@settings(max_examples=100)
@given(boxes, boxes)
def test_ascents_are_the_derivatives_but_for_their_known_differences(pred, truth):
    pred, truth = torch.tensor([pred], dtype=torch.float64), torch.tensor([truth], dtype=torch.float64)
    edges = torch.cat((pred[:, :2] - pred[:, 2:] / 2, pred[:, :2] + pred[:, 2:] / 2), 1)
    others = torch.cat((truth[:, :2] - truth[:, 2:] / 2, truth[:, :2] + truth[:, 2:] / 2), 1)
    every = torch.cat((edges - others, edges - others.roll(2, 1)))
    if float(every.abs().min()) < 1e-3 or float(box_iou(pred, truth)) == 0:
        return  # the derivative jumps there, or there is none
    double = torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64)
    plain = derivative("iou", pred, truth)
    assert torch.allclose(iou_ascent("iou", pred, truth), plain * double, atol=1e-8)
    assert torch.allclose(iou_ascent("giou", pred, truth), derivative("giou", pred, truth) * double, atol=1e-8)
    # The distance term: sizes are not doubled, and in x and y the part of the enclosing box has the other sign.
    diagonal = torch.cat((torch.minimum(edges, others)[:, :2], torch.maximum(edges, others)[:, 2:]), 1)
    c = (diagonal[:, 2:] - diagonal[:, :2]).square().sum()
    distance = derivative("diou", pred, truth) - plain
    distance[:, :2] = 2 * 2 * (truth - pred)[:, :2] / c - distance[:, :2]
    found = iou_ascent("diou", pred, truth)
    assert torch.allclose(found, plain * double + distance, atol=1e-8)
    aspect = (truth[0, 2] / truth[0, 3]).atan() - (pred[0, 2] / pred[0, 3]).atan()
    loss = 4 / math.pi**2 * aspect**2
    turn = loss / (1 - box_iou(pred, truth)[0] + loss + 1e-6) * 8 / math.pi**2 * aspect
    ciou = iou_ascent("ciou", pred, truth) - found
    assert torch.allclose(ciou[0, 2:], turn * torch.stack((pred[0, 3], -pred[0, 2])), atol=1e-8)
    assert ciou[0, :2].tolist() == [0, 0]


@settings(max_examples=50)
@given(boxes, boxes)
def test_metrics_are_in_their_ranges_and_one_for_equal_boxes(a, b):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    overlap = float(box_iou(a, b))
    assert 0 <= overlap <= 1 + 1e-9
    for kind in ("giou", "diou", "ciou"):
        assert float(box_metric(kind, a, a)) == pytest.approx(1)
        assert -2 <= float(box_metric(kind, a, b)) <= overlap + 1e-9
    assert float(box_metric("mse", a, b)) == overlap


def test_metrics_of_two_boxes_worked_out_by_hand():
    """Of 4 x 2 and 2 x 4 around centres that are (1, 0) apart; both lie in a rectangle of 4 x 4."""
    a, b = (
        torch.tensor([0.0, 0.0, 4.0, 2.0], dtype=torch.float64),
        torch.tensor([1.0, 0.0, 2.0, 4.0], dtype=torch.float64),
    )
    iou = 4 / 12
    aspect = 4 / math.pi**2 * (math.atan(2 / 4) - math.atan(4 / 2)) ** 2
    wanted = {
        "iou": iou, "giou": iou - (16 - 12) / 16, "diou": iou - 1 / 32,
        "ciou": iou - (1 / 32 + aspect**2 / (1 - iou + aspect + 1e-6)),
    }  # fmt: skip
    found = {kind: float(box_metric(kind, a, b, beta=1)) for kind in wanted}
    assert found == pytest.approx(wanted, abs=1e-12)
    assert float(box_metric("diou", a, b)) == pytest.approx(iou - (1 / 32) ** 0.6)


# Suppression


def suppressed(rows: np.ndarray, threshold: float, power: float | None) -> np.ndarray:
    """Suppress pair by pair; rows have an objectness above 0 and different scores."""
    rows = rows.copy()
    for column in range(5, rows.shape[1]):
        rows = rows[np.argsort(-rows[:, column], kind="stable")]
        for first in range(len(rows)):
            if rows[first, column] == 0:
                continue
            for second in range(first + 1, len(rows)):
                a, b = rows[first, :4], rows[second, :4]
                found = float(box_iou(torch.from_numpy(a), torch.from_numpy(b)))
                if power is not None:
                    low, high = (
                        np.minimum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2),
                        np.maximum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2),
                    )
                    found -= (((a[:2] - b[:2]) ** 2).sum() / ((high - low) ** 2).sum()) ** power
                if found > threshold:
                    rows[second, column] = 0
    return rows


def crowd(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.3, 0.7, (4, 2))[rng.integers(0, 4, 30)] + rng.normal(0, 0.03, (30, 2))
    return np.concatenate((centres, rng.uniform(0.1, 0.4, (30, 2)), rng.uniform(0.1, 1, (30, 4))), 1)


@pytest.mark.parametrize(("kind", "beta", "power"), [
    ("default", 0.6, None), ("cornersnms", 0.6, None), ("greedynms", 0.6, 0.6), ("greedynms", 2.0, 0.6),
    ("diounms", 0.6, 0.6), ("diounms", 0.8, 0.8), ("diounms", 2.0, 2.0),
])  # fmt: skip
@pytest.mark.parametrize("threshold", [0.2, 0.45])
def test_suppression_measures_as_its_kind_says(kind, beta, power, threshold):
    rows = crowd(3)
    wanted = suppressed(rows, threshold, power)
    found = non_max_suppression(torch.from_numpy(rows), threshold, kind, beta)
    assert np.array_equal(found.numpy(), wanted)
    assert (wanted[:, 5:] == 0).any()
    assert not np.array_equal(wanted, suppressed(rows, threshold, 0.3))


def test_an_unknown_kind_of_suppression_is_refused():
    with pytest.raises(ValueError, match=r"kind=softnms: unknown; use one of default, greedynms"):
        non_max_suppression(torch.zeros(1, 6), kind="softnms")


@pytest.mark.parametrize(
    "name",
    sorted({file.stem for folder in GOLDEN_FOLDERS for file in folder.glob("post_nms_aab*.npz")}) or ["post_nms_aab"],
)
def test_suppression_equals_alexeyabs(name):
    g = golden(f"{name}.npz")
    for case in range(int(g["n_cases"])):
        key = f"c{case:02d}"
        kind = str(g[f"{key}_kind"]).partition("_do_nms")[0]
        beta = float(g[f"{key}_beta"]) if f"{key}_beta" in g else 0.6
        after = non_max_suppression(torch.from_numpy(g[f"{key}_in"]), float(g[f"{key}_thresh"]), kind, beta)
        assert np.array_equal(after.numpy(), g[f"{key}_out"]), key
