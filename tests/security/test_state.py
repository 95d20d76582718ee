"""Runs from somebody else that are gone on with: nothing in their folder runs, and a changed state is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML, cfg_text, data, without_waiting  # noqa: F401
from tests.security.test_checkpoints import hostile
from yolo_subbatch import Darknet, DarknetTrainer, SubbatchTrainer
from yolo_subbatch.cli import main
from yolo_subbatch.engine import state
from yolo_subbatch.errors import SettingsError, TrustError

QUIET = {"epochs": 3, "batch": 4, "imgsz": 64, "device": "cpu", "workers": 0, "plots": False}


class PowerFailError(Exception):
    """The power fails."""


def end_in_second_epoch(trainer: Any) -> None:
    if trainer.epoch == 1:
        raise PowerFailError


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data) -> Path:  # noqa: F811
    """A folder with a run of a Darknet network and one of Ultralytics', both ended in their second epoch."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.cfg").write_text(cfg_text())
    (folder / "v8.yaml").write_text(V8_YAML)
    for name, model, more in (
        ("darknet", Darknet(folder / "tiny.cfg"), {}), ("host", YOLO(folder / "v8.yaml"), {"trainer": SubbatchTrainer}),
    ):  # fmt: skip
        model.add_callback("on_train_epoch_start", end_in_second_epoch)
        with pytest.raises(PowerFailError):
            model.train(data=str(data.with_suffix(".yaml")), project=str(folder), name=name, **QUIET, **more)
    return folder


def changed(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a state as somebody would who knows its form."""
    file = run / "weights" / "state.pt"
    kept = torch.load(file, weights_only=True)
    change(kept)
    torch.save(kept, file)


def test_nothing_in_a_run_that_goes_on_runs(runs, tmp_path, monkeypatch, capsys) -> None:
    marker = tmp_path / "ran"
    code = f"__import__('os').mkdir({str(marker)!r})"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_trainer.py").write_text(code)
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump({
        "path": str(tmp_path / "nothing"), "train": "a", "val": "a", "names": ["a", "b", "c"], "download": code,
    }))  # fmt: skip
    attacks: list[tuple[str, str, Callable[[Path], object]]] = [
        ("darknet", "best.pt: holds code", lambda run: hostile(run / "weights" / "best.pt", marker)),
        ("host", "best.pt: holds code", lambda run: hostile(run / "weights" / "best.pt", marker)),
        ("darknet", "state.pt: no state to go on from, it holds code",
         lambda run: hostile(run / "weights" / "state.pt", marker)),
        ("darknet", "its trainer is evil_trainer:Trainer, a module that would be imported",
         lambda run: changed(run, lambda kept: kept.update(host="evil_trainer:Trainer"))),
        ("darknet", "evil.yaml: its images are not there, and download: is a script to run (__import__",
         lambda run: changed(run, lambda kept: kept["args"].update(data=str(tmp_path / "evil.yaml"), trust=True))),
        ("host", "activation: is code that would be evaluated (__import__",
         lambda run: changed(run, lambda kept: kept["yaml"].update(activation=code))),
        ("host", "backbone: torch_load is no layer but would be called",
         lambda run: changed(run, lambda kept: kept["yaml"]["backbone"].append([-1, 1, "torch_load", ["x.pt"]]))),
    ]  # fmt: skip
    attacks += [
        ("darknet", "its data set is an address that would be fetched (https://example.invalid/x.yaml)",
         lambda run: changed(run, lambda kept: kept["args"].update(data="https://example.invalid/x.yaml"))),
        ("host", "its host is none: 5", lambda run: changed(run, lambda kept: kept.update(host=5))),
        ("host", "its images is none: None", lambda run: changed(run, lambda kept: kept.update(images=None))),
        ("darknet", "the state of this run holds no cfg", lambda run: changed(run, lambda kept: kept.update(extra={}))),
        ("darknet", "does not fit its network (Error(s) in loading state_dict",
         lambda run: changed(run, lambda kept: kept.update(model={}))),
        ("darknet", "does not fit its network (epoch 1000000001 of 3)",
         lambda run: changed(run, lambda kept: kept.update(epoch=10**9))),
    ]  # fmt: skip
    for number, (run, expected, attack) in enumerate(attacks):
        folder = shutil.copytree(runs / run, tmp_path / f"run{number}")
        attack(folder)
        status = main(["train", f"resume={folder}"])
        said = capsys.readouterr().err
        assert (status, marker.exists()) == (2, False), (expected, said)
        assert expected in said
        assert "Traceback" not in said


def test_a_changed_byte_is_refused_wherever_it_is(runs, tmp_path) -> None:
    file = tmp_path / "state.pt"
    whole = (runs / "darknet" / "weights" / "state.pt").read_bytes()
    file.write_bytes(whole)
    right = state.load(file)
    accepted = 0
    for place in range(7, len(whole), max(1, len(whole) // 400)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found = state.load(file)
        except SettingsError as error:
            assert "not a state to go on from" in str(error) or "no state to go on from" in str(error)  # noqa: PT017
            assert "start a new run with weights=" in str(error)  # noqa: PT017
        else:  # between the parts of the archive, where nothing stands
            accepted += 1
            assert all(torch.equal(one, two) for one, two in zip(tensors(found), tensors(right), strict=True))
            assert str(plain(found)) == str(plain(right))
    assert accepted < 200


def test_a_length_that_is_none_is_refused(runs, tmp_path) -> None:
    file, folder = Path("weights", "state.pt"), shutil.copytree(runs / "darknet", tmp_path / "run")
    right = state.load(folder / file)
    for note in (
        {},
        {"before": {"epochs": "9"}, "time": None, "anew": False},
        {"before": [], "time": None, "anew": True},
    ):
        state.save(folder / file, {**right, "longer": note})
        with pytest.raises(SettingsError, match="its longer is none"):
            state.load(folder / file)
    state.save(folder / file, {**right, "args": {**right["args"], "given": 3}})
    with pytest.raises(SettingsError, match="its state has no length that can be changed"):
        DarknetTrainer(overrides={"resume": str(folder), "epochs": 9})


def tensors(found: Any) -> list[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        return [found]
    values = found.values() if isinstance(found, dict) else found if isinstance(found, (list, tuple)) else ()
    return [tensor for each in values for tensor in tensors(each)]


def plain(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [plain(each) for each in found]
    return torch.Tensor if isinstance(found, torch.Tensor) else found


def test_a_run_goes_on_where_nothing_was_changed(runs, tmp_path) -> None:
    for name in ("darknet", "host"):
        folder = shutil.copytree(runs / name, tmp_path / name)
        assert main(["train", f"resume={folder}"]) == 0
        assert YOLO(folder / "weights" / "best.pt").model.nc == 3


def test_whose_best_weights_are_his_own_need_no_word(runs, data, tmp_path) -> None:  # noqa: F811
    """A run that a process trains from its beginning may hold whatever the user's own classes are."""
    model = Darknet(runs / "tiny.cfg")

    def mark(trainer: Any) -> None:
        trainer.ema.ema.mine = Mine()

    model.add_callback("on_train_epoch_end", mark)
    model.train(data=str(data.with_suffix(".yaml")), project=str(tmp_path), name="own", **{**QUIET, "epochs": 1})
    best = tmp_path / "own" / "weights" / "best.pt"
    assert isinstance(model.model.mine, Mine)
    there = shutil.copy(best, tmp_path / "copied.pt")  # as another process or another user would find it
    with pytest.raises(TrustError, match=r"copied\.pt: holds code \(tests\.security\.test_state\.Mine"):
        Darknet(there)
    assert isinstance(Darknet(there, trust=True).model.mine, Mine)


class Mine:
    """Something of a user's own in a network."""
