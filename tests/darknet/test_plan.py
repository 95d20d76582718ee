"""The length of a run and its schedule: what is fitted, what is left alone, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yolo_subbatch.darknet import learning_rate
from yolo_subbatch.darknet.plan import plan_run
from yolo_subbatch.darknet.sections import Net
from yolo_subbatch.errors import SettingsError

NET = Net(
    batch=64, subdivisions=16, learning_rate=0.001, policy="steps", burn_in=1000, max_batches=500_200,
    steps=(400_000, 450_000), scales=(0.1, 0.1),
)  # fmt: skip
SMALL = replace(NET, batch=8, max_batches=1000, steps=(800, 900), burn_in=400)  # 10 updates an epoch with 80 images


# --- length ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "per_epoch", "epochs"),
    [(117_264, 1833, 273), (64, 1, 500_200), (65, 2, 250_100), (1, 1, 500_200), (640_000, 10_000, 51)],
)
def test_without_a_wish_the_run_is_max_batches_long(images, per_epoch, epochs):
    plan = plan_run(NET, images)
    assert (plan.iterations, plan.updates_per_epoch, plan.epochs) == (500_200, per_epoch, epochs)
    assert plan.net == NET
    assert plan.note == ""


@pytest.mark.parametrize(
    ("wishes", "iterations", "epochs"),
    [
        ({"epochs": 30}, 300, 30),
        ({"epochs": 1}, 10, 1),
        ({"max_batches": 300}, 300, 30),
        ({"max_batches": 295}, 295, 30),
        ({"max_batches": 301}, 301, 31),
        ({"max_batches": 3}, 3, 1),
        ({"epochs": 30, "max_batches": 295}, 295, 30),
        ({"epochs": 30, "max_batches": 120}, 120, 12),
        ({"epochs": 30, "max_batches": 5000}, 300, 30),
        ({"epochs": 200}, 2000, 200),
        ({"max_batches": 4000}, 4000, 400),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_the_user_says_how_long(wishes, iterations, epochs, exact):
    plan = plan_run(SMALL, 80, exact=exact, **wishes)
    assert (plan.iterations, plan.epochs, plan.updates_per_epoch) == (iterations, epochs, 10)


def test_the_last_short_batch_of_an_epoch_is_an_update():
    plan = plan_run(SMALL, 81, epochs=3)
    assert (plan.updates_per_epoch, plan.iterations) == (11, 33)


@pytest.mark.parametrize("wishes", [{}, {"exact": True}, {"given": ("steps",)}])
def test_somebody_must_say_how_long(wishes):
    with pytest.raises(SettingsError, match=r"max_batches: .* give epochs= or max_batches="):
        plan_run(replace(NET, max_batches=0), 100, **wishes)


@pytest.mark.parametrize(("wishes", "iterations"), [({"epochs": 5}, 50), ({"max_batches": 70}, 70)])
@pytest.mark.parametrize("exact", [False, True])
def test_a_cfg_without_a_length_has_nothing_to_fit(wishes, iterations, exact):
    net = replace(SMALL, max_batches=0)
    plan = plan_run(net, 80, exact=exact, **wishes)
    assert plan.net == replace(net, max_batches=iterations)
    assert plan.iterations == iterations
    assert plan.note == ""


# --- what is fitted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iterations", "steps", "burn_in"),
    [
        (300, (240, 270), 30),
        (100, (80, 90), 10),
        (9, (7, 8), 0),
        (2000, (1600, 1800), 200),
        (999, (799, 899), 99),
        (10_000, (8000, 9000), 400),
    ],
)
def test_steps_keep_their_fractions_and_burn_in_takes_at_most_a_tenth(iterations, steps, burn_in):
    net = plan_run(SMALL, 80, max_batches=iterations).net
    assert (net.max_batches, net.steps, net.scales, net.burn_in) == (iterations, steps, (0.1, 0.1), burn_in)


@pytest.mark.parametrize("iterations", [300, 10_000])
@pytest.mark.parametrize("policy", ["steps", "constant", "poly"])
def test_keys_that_the_policy_does_not_read_stay(policy, iterations):
    """They would stand in the run's model.cfg."""
    net = plan_run(replace(SMALL, policy=policy), 80, max_batches=iterations).net
    assert (net.step, net.gamma, net.sgdr_cycle) == (1, 1.0, 0)


@pytest.mark.parametrize(("burn_in", "fitted"), [(0, 0), (5, 5), (30, 30), (31, 30), (400, 30)])
def test_a_short_burn_in_stays_as_it_is(burn_in, fitted):
    assert plan_run(replace(SMALL, burn_in=burn_in), 80, epochs=30).net.burn_in == fitted


def test_a_step_that_holds_from_the_start_goes_on_doing_so():
    net = replace(SMALL, steps=(-1, 100, 800), scales=(0.1, 10.0, 0.1))
    assert plan_run(net, 80, epochs=30).net.steps == (-1, 30, 240)


POLICIES = {
    "steps": {"steps": (400, 500), "scales": (0.1, 0.5)},
    "step": {"step": 200, "scale": 0.5},
    "exp": {"gamma": 0.995},
    "sigmoid": {"gamma": 0.02, "step": 500},
    "poly": {"power": 2.0},
    "sgdr": {"sgdr_cycle": 200, "learning_rate_min": 0.0001},
    "constant": {},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("iterations", [100, 5000])
def test_the_rate_at_a_fraction_of_the_run_stays_the_same(policy, iterations):
    net = Net(batch=8, learning_rate=0.01, max_batches=1000, policy=policy, **POLICIES[policy])
    fitted = plan_run(net, 80, max_batches=iterations).net
    for percent in (1, 15, 35, 45, 55, 75, 95, 99):
        wanted = learning_rate(net, percent * 10)
        assert learning_rate(fitted, percent * iterations // 100) == pytest.approx(wanted, rel=1e-6), percent


# --- what is left alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wishes", [{"epochs": 30}, {"max_batches": 300}, {"epochs": 300}])
def test_exact_keeps_every_number(wishes):
    plan = plan_run(SMALL, 80, exact=True, **wishes)
    assert plan.net == SMALL
    assert plan.note == ""


def test_a_run_of_the_cfgs_own_length_keeps_every_number():
    for wishes in ({"epochs": 100}, {"max_batches": 1000}):
        plan = plan_run(SMALL, 80, **wishes)
        assert (plan.net, plan.note) == (SMALL, "")


@pytest.mark.parametrize(
    ("net", "key"),
    [
        (SMALL, "steps"),
        (SMALL, "burn_in"),
        (replace(SMALL, policy="step", step=100, steps=(), scales=()), "step"),
        (replace(SMALL, policy="exp", gamma=0.99, steps=(), scales=()), "gamma"),
        (replace(SMALL, policy="sgdr", sgdr_cycle=100, steps=(), scales=()), "sgdr_cycle"),
    ],
)
def test_a_key_that_the_user_gave_is_left_alone(net, key):
    plan, fitted = plan_run(net, 80, epochs=30, given={key, "batch"}), plan_run(net, 80, epochs=30)
    assert getattr(plan.net, key) == getattr(net, key)
    assert getattr(fitted.net, key) != getattr(net, key)
    assert plan.net == replace(fitted.net, **{key: getattr(net, key)}), "the other keys are fitted all the same"
    assert f" {key} " in fitted.note
    assert f" {key} " not in plan.note


def test_what_is_no_schedule_never_changes():
    net = replace(SMALL, width=416, height=352, channels=3, momentum=0.8, decay=0.1, learning_rate=0.5, hue=0.1)
    fitted = plan_run(net, 80, epochs=30).net
    assert fitted == replace(net, max_batches=300, steps=(240, 270), burn_in=30)
    assert net.max_batches == 1000


# --- what is said ---------------------------------------------------------------------------------------------------


def test_the_note_says_what_changed():
    note = plan_run(SMALL, 80, epochs=30).note
    assert note.startswith("schedule fitted from 1000 to 300 iterations: ")
    assert "steps 800,900 -> 240,270" in note
    assert "burn_in 400 -> 30" in note
    assert "schedule=exact" in note
    assert "\n" not in note


def test_the_note_leaves_out_what_did_not_change():
    note = plan_run(replace(SMALL, burn_in=10), 80, epochs=30).note
    assert "burn_in" not in note
    assert "step " not in note, "a key that the policy does not read"
    note = plan_run(Net(batch=8, max_batches=1000), 80, epochs=30).note
    assert "from 1000 to 300 iterations: its numbers stay" in note


def test_the_note_writes_large_numbers_out():
    net = Net(batch=8, max_batches=20_000_000, policy="step", step=4_000_000, scale=0.1, burn_in=1_234_567)
    note = plan_run(net, 80, max_batches=10_000_000).note
    assert "step 4000000 -> 2000000" in note
    assert "burn_in 1234567 -> 1000000" in note


def test_fitted_steps_are_the_nearest_whole_numbers():
    plan = plan_run(replace(NET, batch=1, max_batches=100, steps=(64, 88)), 12, epochs=1)
    assert plan.net.steps == (8, 11)  # of 7.68 and 10.56
