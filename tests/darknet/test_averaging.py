"""When AlexeyAB's average of the weights begins and ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_subbatch.darknet.averaging import plan_average, take_over


def darknet(weights: list[float], alpha: float, max_batches: int) -> tuple[list[float], int | None]:
    """Follow Darknet's loop: the average after each iteration, and the one at which it becomes the weights."""
    average, averages, applied = None, [], None
    for iteration, weight in enumerate(weights, 1):
        if iteration >= max_batches // 2:
            if average is None:
                average = weight
            if iteration == max_batches - 1000:
                applied = iteration
            elif iteration < max_batches - 1000:
                average = alpha * average + (1 - alpha) * weight
        averages.append(average)
    return averages, applied


@pytest.mark.parametrize("max_batches", [2004, 3000, 2500])
def test_the_average_is_darknets(max_batches):
    weights = torch.linspace(1, 5, max_batches, dtype=torch.float64).tolist()
    wanted, applied = darknet(weights, 0.9, max_batches)
    plan = plan_average(0.9, max_batches)
    assert plan is not None
    assert (plan.start, plan.taken_over) == (max_batches // 2, applied)
    average = 0.0
    for iteration, weight in enumerate(weights, 1):
        share = plan.decay(iteration)
        average = share * average + (1 - share) * weight
        if iteration < max_batches // 2 or iteration > applied:
            assert average == weight, "not begun, or over: just the weights"
        else:
            assert average == pytest.approx(wanted[iteration - 1], abs=1e-12), iteration


def test_a_shortened_run_has_it_in_proportion():
    plan = plan_average(0.99, 100, factor=100 / 4000)
    assert (plan.start, plan.taken_over) == (50, 75)
    assert "from iteration 50 on" in plan.note
    assert "after iteration 75" in plan.note


def test_a_run_that_is_too_short_averages_to_its_end():
    plan = plan_average(0.99, 100)
    assert (plan.start, plan.taken_over) == (50, None)
    assert [plan.decay(each) for each in (1, 50, 51, 100)] == [0, 0, 0.99, 0.99]
    assert "to the end" in plan.note


def test_without_the_key_there_is_none():
    assert plan_average(0.0, 10_000) is None


def test_taking_over_changes_weights_and_no_statistics():
    model, average = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
    average[1].running_mean += 1
    take_over(model, average)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), average.parameters(), strict=True))
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    assert all(each.requires_grad for each in model.parameters())
