"""How long a run is, and its schedule fitted to that length.

Darknet counts iterations, Ultralytics epochs; a cfg's steps are meant for its own ``max_batches``. Whoever trains for
fewer iterations than the cfg wants the same schedule in proportion, unless he asks for the cfg's own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from yolo_subbatch.darknet.sections import Net
from yolo_subbatch.errors import SettingsError

#: The policies that read a key; under another policy it stays as it is.
READ_BY = {"steps": ("steps",), "step": ("step", "sigmoid"), "gamma": ("exp", "sigmoid"), "sgdr_cycle": ("sgdr",)}
BURN_IN_SHARE = 10  # burn-in takes at most this fraction of a shortened run: a tenth


@dataclass(frozen=True)
class Plan:
    """The length of a run.

    ``net`` carries the schedule as it will be followed, ``iterations`` the updates from the first to the last, and
    ``note`` what was changed, or an empty string.
    """

    net: Net
    iterations: int
    epochs: int
    updates_per_epoch: int
    note: str = ""


def plan_run(
    net: Net,
    images: int,
    epochs: int | None = None,
    max_batches: int | None = None,
    exact: bool = False,
    given: Collection[str] = (),
) -> Plan:
    """Work out how many iterations and epochs a run has, and fit its schedule.

    Args:
        net: The ``[net]`` section with the user's own values already in it.
        images: Number of training images.
        epochs: Length in epochs, if the user gave it.
        max_batches: Length in iterations, if the user gave it.
        exact: Keep the numbers of the schedule as they are.
        given: The keys of the schedule that the user gave himself; they are left alone.

    Raises:
        SettingsError: If nothing says how long to train.
    """
    per_epoch = math.ceil(images / net.batch)
    own = net.max_batches
    iterations = max_batches or (epochs * per_epoch if epochs else own)
    if not iterations:
        raise SettingsError(
            "max_batches: the cfg says nothing about the length of the run; give epochs= or max_batches="
        )
    if epochs and max_batches:
        iterations = min(max_batches, epochs * per_epoch)
    length = math.ceil(iterations / per_epoch)
    if exact or not own or iterations == own:
        kept = net if own else replace(net, max_batches=iterations)
        return Plan(kept, iterations, length, per_epoch)
    fitted = _scaled(net, iterations, given)
    return Plan(fitted, iterations, length, per_epoch, _note(net, fitted, iterations))


def _scaled(net: Net, iterations: int, given: Collection[str]) -> Net:
    factor = iterations / net.max_batches
    values = {
        "steps": tuple(round(step * factor) if step > 0 else step for step in net.steps),
        "burn_in": min(net.burn_in, iterations // BURN_IN_SHARE),
        "step": max(1, round(net.step * factor)),
        "sgdr_cycle": round(net.sgdr_cycle * factor),
        "gamma": net.gamma ** (1 / factor) if net.policy == "exp" and net.gamma > 0 else net.gamma / factor,
    }
    values = {name: value for name, value in values.items() if net.policy in READ_BY.get(name, (net.policy,))}
    changed = {name: value for name, value in values.items() if name not in given}
    return replace(net, max_batches=iterations, **changed)  # type: ignore[arg-type]


def _note(net: Net, fitted: Net, iterations: int) -> str:
    """Say in one line what became of the cfg's schedule."""
    parts = [
        f"{name} {_list(getattr(net, name))} -> {_list(getattr(fitted, name))}"
        for name in ("steps", "step", "burn_in", "sgdr_cycle", "gamma")
        if getattr(net, name) != getattr(fitted, name)
    ]
    changed = "; ".join(parts) or "its numbers stay"
    return (
        f"schedule fitted from {net.max_batches} to {iterations} iterations: {changed} "
        "(schedule=exact keeps the cfg's own)"
    )


def _list(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int) else f"{value:g}"
