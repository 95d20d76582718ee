"""What a checkpoint says of itself is checked before anybody goes by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML, cfg, data  # noqa: F401
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.cli import main
from yolo_subbatch.errors import TrustError, WeightsError
from yolo_subbatch.settings.trust import description_faults


@pytest.fixture
def v8(tmp_path) -> Path:
    (tmp_path / "small.yaml").write_text(V8_YAML)
    YOLO(tmp_path / "small.yaml").save(tmp_path / "small.pt")
    return tmp_path / "small.pt"


def changed(file: Path, **claims: Any) -> Path:
    checkpoint = torch.load(file, weights_only=False)
    network = checkpoint["ema"] or checkpoint["model"]
    checkpoint["train_args"] = claims.pop("train_args", checkpoint.get("train_args", {}))
    vars(network).update(claims)
    torch.save(checkpoint, file)
    return file


def test_the_description_in_a_checkpoint_is_not_evaluated_by_a_training(v8, data, tmp_path) -> None:  # noqa: F811
    """YOLO.train asks our trainer for the network before it begins."""
    marker = tmp_path / "ran"
    code = f"__import__('os').mkdir({str(marker)!r})"
    own = torch.load(v8, weights_only=False)["model"].yaml
    model = YOLO(changed(v8, yaml={**own, "activation": code}))
    keys = {
        "data": str(data.with_suffix(".yaml")),
        "epochs": 1,
        "workers": 0,
        "device": "cpu",
        "project": str(tmp_path),
    }
    with pytest.raises(TrustError, match="activation: is code"):
        model.train(trainer=SubbatchTrainer, **keys)
    assert not marker.exists()


def test_descriptions_and_names_that_are_none(cfg, v8, data, tmp_path, capsys) -> None:  # noqa: F811
    image = next((data.parent / "images").rglob("*.jpg"))
    ours = tmp_path / "ours.pt"
    torch.save({"model": Darknet(cfg).model, "ema": None}, ours)
    for file, claims, said in (
        (v8, {"yaml": "https://example.invalid/x.yaml"}, "its description is none"),
        (v8, {"names": 5}, "its names of classes are no list of names (5)"),
        (ours, {"names": "abc"}, "its names of classes are no list of names (abc)"),
        (ours, {"names": {10**9: "x"}}, "its names of classes are no list"),
    ):
        own = file.read_bytes()
        changed(file, **claims)
        assert main(["predict", f"model={file}", f"source={image}", f"project={tmp_path}"]) == 2
        assert f"{file}: {said}" in capsys.readouterr().err
        file.write_bytes(own)
    with pytest.raises(WeightsError, match=r"ours\.pt: its names"):
        Darknet(changed(ours, names=None))
    assert Darknet(changed(ours, names=["a", "b", "c"])).names == {0: "a", 1: "b", 2: "c"}


def test_no_checkpoint_says_what_is_fetched(cfg, tmp_path, monkeypatch) -> None:  # noqa: F811
    """Without data=, a network is measured on what it was trained on, but not on an address in its file."""
    file = tmp_path / "ours.pt"
    args = {"data": "https://example.invalid/x.yaml", "imgsz": 64}
    torch.save({"model": Darknet(cfg).model, "ema": None, "train_args": args}, file)
    monkeypatch.setattr("yolo_subbatch.built_in_data.shapes_data", lambda: tmp_path / "built-in.data")
    model = Darknet(file)
    assert not model.overrides["data"]
    with pytest.raises(Exception, match=r"built-in\.data"):
        model.val()


def test_networks_that_a_layer_would_fetch(v8, data, tmp_path, capsys) -> None:  # noqa: F811
    layer = [-1, 1, "TorchVision", [8, "resnet18", "DEFAULT", True, 2]]
    own = torch.load(v8, weights_only=False)["model"].yaml
    changed(v8, yaml={**own, "yaml_file": "x.yaml", "backbone": [layer, *own["backbone"][1:]]})
    (tmp_path / "own.yaml").write_text(f"nc: 3\nbackbone:\n  - {layer}\nhead:\n  - [-1, 1, Classify, [nc]]\n")
    keys = ["epochs=1", f"data={data.with_suffix('.yaml')}", f"project={tmp_path}"]
    for model in (v8, tmp_path / "own.yaml"):
        assert main(["train", f"model={model}", *keys]) == 2
        assert "backbone: TorchVision fetches the weights of its network" in capsys.readouterr().err
    assert not description_faults("x.yaml", {"backbone": [[-1, 1, "TorchVision", [8, "resnet18", "None"]]]})
    assert not description_faults("yolo11-cls-resnet18.yaml", {"backbone": [layer]}), "which is named by its user"


def test_addresses_in_a_list_of_images_are_not_fetched(v8, tmp_path, capsys) -> None:
    listed = tmp_path / "images.ndjson"
    listed.write_text(
        '{"type": "dataset", "task": "detect"}\n{"type": "image", "url": "http://example.invalid/a.jpg"}\n'
    )
    for command in ("val", "train"):
        assert main([command, f"model={v8}", f"data={listed}", f"project={tmp_path}"]) == 2
        assert f"{listed}: its images would be fetched from the addresses in it" in capsys.readouterr().err
