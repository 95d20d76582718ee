"""Checkpoints that would run code when they are opened, in everything that opens one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from tests.engine.conftest import V8_YAML, cfg, cfg_text, data, without_waiting  # noqa: F401
from yolo_subbatch import Darknet
from yolo_subbatch.cli import main
from yolo_subbatch.engine.darknet_trainer import DarknetTrainer
from yolo_subbatch.errors import TrustError, YoloSubbatchError
from yolo_subbatch.settings.trust import guarded

DARKNETS = "yolo_subbatch.engine.model"  # what a checkpoint is known by as one of a Darknet network


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.what = function, arguments

    def __reduce__(self) -> Any:
        return self.what


class Own(nn.Conv2d):
    """A layer of somebody's own."""


@pytest.fixture
def marker(tmp_path) -> Path:
    """What is there when code of a file has run."""
    return tmp_path / "ran"


def hostile(file: Path, marker: Path, kind: str = DARKNETS) -> Path:
    torch.save({"model": Calls(os.mkdir, str(marker)), "kind": kind}, file)
    return file


@pytest.fixture
def best(cfg, tmp_path) -> Path:  # noqa: F811
    """A checkpoint of a Darknet network as it is after a training."""
    model = Darknet(cfg)
    file = tmp_path / "best.pt"
    torch.save({"model": model.model, "ema": None, "train_args": {"imgsz": 64}, "version": "8.4.0"}, file)
    return file


def test_no_command_runs_what_is_in_a_checkpoint(tmp_path, marker, data, capsys) -> None:  # noqa: F811
    image = next((data.parent / "images").rglob("*.*"))
    commands = {
        "val": f"data={data}", "predict": f"source={image}", "map": f"data={data}", "export": "parity=False",
        "convert": f"to={tmp_path / 'x.weights'}", "train": f"data={data} epochs=1",
    }  # fmt: skip
    for kind in (DARKNETS, "ultralytics.nn.tasks DetectionModel"):
        file = hostile(tmp_path / "evil.pt", marker, kind)
        for command, keys in commands.items():
            if kind != DARKNETS and command in {"map", "export", "convert"}:
                continue  # which take Darknet networks alone
            place = [f"project={tmp_path}"] if command in {"val", "predict", "map", "train"} else []
            status = main([command, f"model={file}", *keys.split(), *place])
            said = capsys.readouterr().err
            assert (status, marker.exists()) == (2, False), (command, kind, said)
            assert f"{file}: holds code (posix.mkdir" in said.replace("nt.mkdir", "posix.mkdir"), (command, said)
            assert "trust=True" in said
            assert "Traceback" not in said


def test_who_trusts_a_file_lets_it_run(tmp_path, marker, capsys) -> None:
    assert main(
        ["convert", f"model={hostile(tmp_path / 'mine.pt', marker)}", f"to={tmp_path / 'x.weights'}", "trust=1"]
    )
    assert marker.exists()
    marker.rmdir()
    with pytest.raises(YoloSubbatchError):
        Darknet(tmp_path / "mine.pt", trust=True)
    assert marker.exists()


def test_python_callers_are_asked_too(tmp_path, marker, cfg, data) -> None:  # noqa: F811
    file = hostile(tmp_path / "evil.pt", marker)
    where = {"data": str(data), "project": str(tmp_path), "epochs": 1, "imgsz": 64, "batch": 2, "plots": False}
    calls: dict[str, Callable[[], Any]] = {
        "Darknet": lambda: Darknet(file),
        "load": lambda: Darknet(cfg).load(file),
        "train model": lambda: DarknetTrainer(overrides={"model": str(file), **where}),
    }
    for name, call in calls.items():
        with pytest.raises(TrustError, match="trust=True"):
            call()
        assert not marker.exists(), name


def forms(marker: Path) -> dict[str, Any]:
    """Return what a checkpoint may hold that would run code without naming a function of the system."""
    code = f"__import__('os').mkdir({str(marker)!r})"
    evaluated = {"backbone": [], "head": [], "activation": code}
    made = SimpleNamespace(forward=nn.Conv2d)
    hooked, replaced, called = nn.ReLU(), nn.ReLU(), nn.ReLU()
    hooked.register_forward_hook(DetectionModel)
    replaced.forward = DetectionModel
    called.extra_repr = DetectionModel
    return {
        "a network made by its __init__": Calls(DetectionModel, evaluated),
        "an evaluated text": Calls(eval, code),
        "a checkpoint in a checkpoint": Calls(torch.storage._load_from_bytes, b""),
        "a function of torch": Calls(torch.hub.list, str(marker)),
        "getattr": Calls(getattr, DetectionModel, "load"),
        "a hook": hooked,
        "another forward": replaced,
        "another method": called,
        "an object of no network": made,
        "a change of a class": Changes(),
    }


class Changes:
    """Sets an attribute of a class of torch when it is unpickled."""

    def __reduce__(self) -> Any:
        return getattr, (nn.ReLU, "forward"), (None, {"marked": True})


def test_nothing_is_called_by_other_ways(tmp_path, marker) -> None:
    for name, model in forms(marker).items():
        for archive in (True, False):  # and as old releases of torch wrote it
            file = tmp_path / "evil.pt"
            torch.save({"model": model}, file, _use_new_zipfile_serialization=archive)
            with guarded(), pytest.raises(TrustError, match=r"evil.pt: holds code"):
                YOLO(file)
            assert not marker.exists(), name
    assert not hasattr(nn.ReLU.forward, "marked")


def test_programs_of_torch_are_no_checkpoints(tmp_path) -> None:
    torch.jit.script(nn.ReLU()).save(str(tmp_path / "program.pt"))
    with pytest.raises(YoloSubbatchError, match="TorchScript"):
        Darknet(tmp_path / "program.pt")


def test_hooks_cannot_come_later(tmp_path) -> None:
    """A pickle may fill a dictionary that it has given away."""
    hooks: dict[int, Any] = {}
    layer = nn.ReLU()
    layer.__dict__["_forward_hooks"] = hooks

    class Late:
        def __reduce__(self) -> Any:
            return dict, (), None, None, iter([(0, layer)])

    torch.save({"model": layer, "late": hooks}, tmp_path / "x.pt")
    from yolo_subbatch.engine import unpickling

    found = unpickling.load(tmp_path / "x.pt")
    assert found["model"]._forward_hooks is not found["late"]


def test_what_is_usual_opens_as_ever(tmp_path, best, monkeypatch) -> None:
    """Checkpoints of Ultralytics with us, and ours in Ultralytics, also where it loads safely itself."""
    (tmp_path / "small.yaml").write_text(V8_YAML)
    YOLO(tmp_path / "small.yaml").save(tmp_path / "small.pt")
    with guarded():
        host = YOLO(tmp_path / "small.pt")
    assert isinstance(host.model, DetectionModel)
    assert host.model.model[0].conv.weight.isfinite().all()
    ours = Darknet(best)
    assert ours.model.names == YOLO(best).model.names
    model = ours.network.layers
    for one, two in zip(model.state_dict().values(), YOLO(best).model.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_a_users_own_layers_need_his_word(tmp_path, best) -> None:
    model = Darknet(best)
    model.model.model[0].conv.__class__ = Own
    torch.save({"model": model.model}, tmp_path / "own.pt")
    with pytest.raises(TrustError, match=r"own\.pt: holds code \(tests\.security\.test_checkpoints\.Own"):
        Darknet(tmp_path / "own.pt")
    assert isinstance(Darknet(tmp_path / "own.pt", trust=True).model.model[0].conv, Own)
    assert isinstance(YOLO(tmp_path / "own.pt").model.model[0].conv, Own)  # Ultralytics' own way of opening stays


def test_no_file_says_of_itself_that_it_is_trusted(tmp_path, best, capsys) -> None:
    for name, text in (("args.yaml", "trust: true\n"), ("settings.json", '{"trust": true}')):
        file = tmp_path / name
        file.write_text(text)
        assert main(["train", f"cfg={file}", f"model={best}"]) == 2
        assert f"{file}: trust: no file can say this of itself" in capsys.readouterr().err
