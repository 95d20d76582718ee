"""The learning rate against numbers worked out by hand from Darknet's formulas."""

from __future__ import annotations

import math
import statistics

import pytest

from yolo_subbatch.darknet import learning_rate
from yolo_subbatch.darknet.sections import POLICIES, Net

RATE = 0.01


def rate(iteration: int, policy: str = "constant", **keys) -> float:
    return learning_rate(Net(learning_rate=RATE, policy=policy, **keys), iteration) / RATE


def cosine(share: float, least: float = 0.001) -> float:
    """Return the cosine policy's factor after a share of its cycle."""
    least /= RATE
    return least + 0.5 * (1 - least) * (1 + math.cos(math.pi * share))


# --- policies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iteration", [1, 2, 999, 10**6])
def test_constant(iteration):
    assert rate(iteration, gamma=0.5, step=2, scale=0.1, max_batches=10) == 1
    assert rate(iteration, "none such", gamma=0.5) == 1, "an unknown policy is constant, as in Darknet"


@pytest.mark.parametrize(
    ("iteration", "wanted"), [(1, 1), (99, 1), (100, 0.5), (199, 0.5), (200, 0.25), (1000, 0.5**10)]
)
def test_step_divides_in_whole_numbers(iteration, wanted):
    assert rate(iteration, "step", step=100, scale=0.5) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("iteration", "wanted"), [(1, 1), (399, 1), (400, 0.1), (449, 0.1), (450, 0.02), (451, 0.02), (10**6, 0.02)]
)
def test_steps_count_from_the_iteration_itself(iteration, wanted):
    assert rate(iteration, "steps", steps=(400, 450), scales=(0.1, 0.2)) == pytest.approx(wanted)


@pytest.mark.parametrize(("iteration", "wanted"), [(199, 1), (300, 1), (400, 0.02)])
def test_steps_out_of_order_wait_for_those_before(iteration, wanted):
    """Darknet looks no further than to the first step that is not reached."""
    assert rate(iteration, "steps", steps=(400, 200), scales=(0.1, 0.2)) == pytest.approx(wanted)


@pytest.mark.parametrize(("iteration", "wanted"), [(1, 0.1), (99, 0.1), (100, 1.0), (20000, 0.1), (30000, 0.01)])
def test_a_negative_step_holds_from_the_start(iteration, wanted):
    """YOLOv2's cfgs begin with steps=-1 and scales=.1: a warm-up of their own."""
    assert rate(iteration, "steps", steps=(-1, 100, 20000, 30000), scales=(0.1, 10, 0.1, 0.1)) == pytest.approx(wanted)


@pytest.mark.parametrize(("iteration", "wanted"), [(1, 0.9), (2, 0.81), (10, 0.9**10), (500, 0.9**500)])
def test_exp(iteration, wanted):
    assert rate(iteration, "exp", gamma=0.9) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("iteration", "power", "wanted"),
    [
        (1, 1, 0.99),
        (25, 1, 0.75),
        (50, 4, 0.0625),
        (100, 4, 0),
        (150, 4, 0.0625),
        (150, 3, -0.125),
        (50, 0, 1),
        (50, 0.5, 0.5**0.5),
    ],
)
def test_poly_is_not_held_at_its_end(iteration, power, wanted):
    assert rate(iteration, "poly", power=power, max_batches=100) == pytest.approx(wanted, rel=1e-6)


def test_poly_past_its_end_with_a_power_that_is_not_whole():
    assert math.isnan(rate(150, "poly", power=0.5, max_batches=100)), "as C's pow"


@pytest.mark.parametrize(
    ("iteration", "wanted"),
    [(100, 0.5), (110, 1 / (1 + math.e)), (90, 1 / (1 + 1 / math.e)), (1, 1 / (1 + math.exp(-9.9))), (10**6, 0)],
)
def test_sigmoid_falls_around_its_step(iteration, wanted):
    assert rate(iteration, "sigmoid", gamma=0.1, step=100) == pytest.approx(wanted)


def test_sigmoid_rises_with_a_negative_gamma():
    assert rate(90, "sigmoid", gamma=-0.1, step=100) == pytest.approx(1 / (1 + math.e))
    assert rate(10**6, "sigmoid", gamma=-0.1, step=100) == 1


@pytest.mark.parametrize(("power", "mean"), [(1.0, 1 / 2), (4.0, 1 / 5), (0.0, 1.0)])
def test_random_is_a_power_of_an_even_draw(power, mean):
    draws = [rate(iteration, "random", power=power) for iteration in range(1, 2001)]
    assert all(0 <= draw <= 1 for draw in draws)
    assert statistics.fmean(draws) == pytest.approx(mean, abs=0.03)
    assert draws == [rate(iteration, "random", power=power) for iteration in range(1, 2001)], "the same at every call"
    if power:
        assert len(set(draws)) == 2000


# --- cosine with restarts -------------------------------------------------------------------------------------------

SGDR = {"sgdr_cycle": 100, "sgdr_mult": 2, "learning_rate_min": 0.001, "max_batches": 10_000}


@pytest.mark.parametrize(
    ("iteration", "share"),
    [
        (1, 0.01),
        (25, 0.25),
        (50, 0.5),
        (99, 0.99),
        (101, 1 / 200),
        (200, 0.5),
        (299, 199 / 200),
        (301, 1 / 400),
        (500, 0.5),
    ],
)
def test_sgdr_falls_and_restarts_with_longer_cycles(iteration, share):
    assert rate(iteration, "sgdr", **SGDR) == pytest.approx(cosine(share))


@pytest.mark.parametrize("iteration", [100, 300, 700])
def test_sgdr_ends_each_cycle_at_its_least_rate(iteration):
    """Darknet restarts while ``last_iteration_start + cycle_size < batch_num``: after a cycle's last iteration."""
    assert rate(iteration, "sgdr", **SGDR) == pytest.approx(0.1)


@pytest.mark.parametrize(("iteration", "share"), [(50, 0.5), (99, 0.99), (150, 0.5), (1050, 0.5)])
def test_sgdr_with_equal_cycles(iteration, share):
    assert rate(iteration, "sgdr", **{**SGDR, "sgdr_mult": 1}) == pytest.approx(cosine(share))


@pytest.mark.parametrize(("iteration", "share"), [(1, 0.001), (500, 0.5), (999, 0.999)])
def test_sgdr_without_a_cycle_takes_the_whole_run(iteration, share):
    assert rate(iteration, "sgdr", max_batches=1000, learning_rate_min=0.001) == pytest.approx(cosine(share))


# --- burn-in --------------------------------------------------------------------------------------------------------

SHAPED = {"step": 3, "scale": 0.5, "steps": (4,), "scales": (0.1,), "gamma": 0.9, "max_batches": 500, "sgdr_cycle": 50}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("iteration", "wanted"), [(1, 1e-8), (10, 1e-4), (50, 0.0625), (99, 0.99**4)])
def test_burn_in_goes_before_every_policy(policy, iteration, wanted):
    assert rate(iteration, policy, burn_in=100, **SHAPED) == pytest.approx(wanted)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("iteration", [100, 101, 400])
def test_after_burn_in_the_policy_counts_from_the_first_iteration(policy, iteration):
    assert rate(iteration, policy, burn_in=100, **SHAPED) == rate(iteration, policy, **SHAPED)


@pytest.mark.parametrize(("power", "wanted"), [(1.0, 0.5), (2.0, 0.25), (0.0, 1.0)])
def test_burn_in_has_its_power(power, wanted):
    assert rate(5, burn_in=10, power=power) == pytest.approx(wanted)


def test_no_burn_in():
    assert rate(1, burn_in=0) == rate(1, burn_in=1) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_a_rate_of_zero_stays_zero(policy):
    net = Net(learning_rate=0.0, policy=policy, burn_in=3, learning_rate_min=0.0, **SHAPED)
    assert [learning_rate(net, iteration) for iteration in (1, 5, 200)] == [0, 0, 0]


@pytest.mark.parametrize("keys", [{"policy": "step", "scale": 10.0, "step": 1}, {"policy": "exp", "gamma": 10.0}])
def test_a_rate_beyond_every_number_is_infinite(keys):
    """C's pow gives infinity; a run with such a cfg must not end in a Python error."""
    assert rate(400, **keys) == math.inf
