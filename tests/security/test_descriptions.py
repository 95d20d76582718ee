"""Descriptions in YAML that would run code, or reach for an address, in everything that reads one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML, cfg, data, without_waiting  # noqa: F401
from tests.security.test_checkpoints import Calls, best, marker  # noqa: F401
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.cli import main
from yolo_subbatch.errors import SettingsError, TrustError
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.trust import download_fault, is_plain_activation

QUIET = {"epochs": 1, "batch": 4, "imgsz": 64, "device": "cpu", "workers": 0, "plots": False}


@pytest.fixture
def code(marker) -> str:  # noqa: F811
    return f"__import__('os').mkdir({str(marker)!r})"


def description(file: Path, images: str, **more: Any) -> Path:
    keys = {"path": images, "train": "images/train", "val": "images/val", "names": ["a", "b", "c"]}
    file.write_text(yaml.safe_dump({**keys, **more}))
    return file


def downloads(code: str, marker: Path) -> dict[str, str]:  # noqa: F811
    """Return what a description may ask for, and how it is called."""
    return {
        code: "download: is a script to run (__import__",
        f"bash -c 'mkdir {marker}'": "download: is a script to run (bash -c",
        "http://127.0.0.1:9/images.zip": "download: is an address to fetch (http://127.0.0.1:9/images.zip)",
    }


def test_no_command_fetches_what_a_description_asks_for(
    tmp_path,
    marker,  # noqa: F811
    code,
    cfg,  # noqa: F811
    best,  # noqa: F811
    capsys,
    monkeypatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    YOLO(tmp_path / "v8.yaml").save(tmp_path / "host.pt")
    commands = {
        "train": [f"cfg={cfg}", f"model={best}", "model=v8.yaml"], "val": [f"model={best}", "model=host_files.pt"],
        "map": [f"model={best}"], "export": [f"model={best} int8=True"], "anchors": [""],
    }  # fmt: skip
    for number, (text, said) in enumerate(downloads(code, marker).items()):
        for command, networks in commands.items():
            for network in networks[: 1 if number else None]:
                evil = description(tmp_path / "evil.yaml", str(tmp_path), download=text)
                status = main([command, *network.split(), f"data={evil}"])
                error = capsys.readouterr().err
                assert (status, marker.exists()) == (2, False), (command, network, error)
                assert f"{evil}: its images are not there, and {said}" in error, (command, error)
                assert "trust=True" in error
    assert not (tmp_path / "runs").exists()


def test_python_callers_are_asked_too(tmp_path, marker, code, cfg, best) -> None:  # noqa: F811
    (tmp_path / "v8.yaml").write_text(V8_YAML)
    evil = str(description(tmp_path / "evil.yaml", str(tmp_path), download=code))
    where = {**QUIET, "project": str(tmp_path)}
    calls: tuple[Callable[[], Any], ...] = (
        lambda: Darknet(best).val(data=evil),
        lambda: Darknet(cfg).train(data=evil, **where),
        lambda: YOLO(tmp_path / "v8.yaml").train(data=evil, trainer=SubbatchTrainer, **where),
    )
    for call in calls:
        with pytest.raises(TrustError, match="download: is a script to run"):
            call()
        assert not marker.exists()


def test_who_trusts_a_description_lets_it_run(tmp_path, marker, code, best, data) -> None:  # noqa: F811
    images = tmp_path / "images"
    fetch = f"import shutil; shutil.copytree({str(data.parent / 'images')!r}, {str(images)!r}); {code}"
    fetch += f"; shutil.copytree({str(data.parent / 'labels')!r}, {str(tmp_path / 'labels')!r})"
    mine = description(tmp_path / "mine.yaml", str(tmp_path), download=fetch)
    with pytest.raises(TrustError):
        Darknet(best).val(data=str(mine), device="cpu", workers=0, plots=False, project=str(tmp_path))
    assert main(["val", f"model={best}", f"data={mine}", "trust=True", f"project={tmp_path}", "device=cpu"]) == 0
    assert marker.exists()
    marker.rmdir()
    # With its images there nothing is fetched, so nobody is asked.
    assert main(["val", f"model={best}", f"data={mine}", f"project={tmp_path}", "device=cpu"]) == 0
    assert not marker.exists()


def test_what_ultralytics_brings_along_is_known() -> None:
    file = host_files.find_dataset("coco8.yaml")
    assert file is not None
    assert download_fault(file, yaml.safe_load(file.read_text())) is None


def test_a_model_description_names_layers_and_activations_alone(tmp_path, marker, code, data, capsys) -> None:  # noqa: F811
    model = tmp_path / "v8.yaml"
    wanted = f"data={data.with_suffix('.yaml')}"
    faults = {
        f'activation: "{code}"\n{V8_YAML}': "v8.yaml: activation: is code that would be evaluated (__import__",
        V8_YAML.replace("Conv, [8", "torch_load, [8"): "backbone: torch_load is no layer but would be called",
        V8_YAML.replace("Conv, [8", "nn.factory_kwargs, [8"): "backbone: nn.factory_kwargs is no layer but would be",
        V8_YAML.replace("Conv, [8", "torchvision.ops.nms, [8"): "backbone: torchvision.ops.nms is no layer but would",
        V8_YAML.replace("Conv, [8", f'"{code}", [8'): "backbone: __import__('os')",
        f"x: !!python/object/apply:os.mkdir ['{marker}']\n{V8_YAML}": "v8.yaml",
    }
    for text, said in faults.items():
        model.write_text(text)
        assert main(["train", f"model={model}", wanted, f"project={tmp_path}", "epochs=1"]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error
        assert not marker.exists()
    model.write_text(f"activation: nn.LeakyReLU(0.1)\n{V8_YAML}")
    keys = [f"{key}={value}" for key, value in QUIET.items()]
    assert main(["train", f"model={model}", wanted, f"project={tmp_path}", "name=good", *keys]) == 0


def test_activations_that_are_known() -> None:
    for text in ("nn.SiLU()", "torch.nn.ReLU()", "nn.LeakyReLU(0.1)", "nn.ELU(alpha=1.0, inplace=True)"):
        assert is_plain_activation(text), text
    for text in (
        "nn.Module()", "nn.SiLU", "os.system('x')", "nn.SiLU(__import__('os'))", "nn.utils.SiLU()", "torch.SiLU()",
        "nn.SiLU() or 1", "[nn.SiLU()][0]", "nn.SiLU(*x)", "nn.SiLU(**x)", "(lambda: nn)().SiLU()", 1, "(" * 5000,
        "nn.Linear(1, 1)", "nn.SiLU()()", "nn.PReLU('x')",
    ):  # fmt: skip
        assert not is_plain_activation(text), text


def test_tags_of_python_are_no_yaml(tmp_path, marker, cfg, best, capsys) -> None:  # noqa: F811
    file = tmp_path / "tags.yaml"
    file.write_text(f"train: !!python/object/apply:os.mkdir ['{marker}']\nval: x\nnames: [a, b, c]\n")
    for command in (
        [f"train cfg={cfg} data={file}", f"val model={best} data={file}", f"map model={best} data={file}",
         f"anchors data={file}", f"info cfg={cfg} data={file}", f"train cfg={file}"]
    ):  # fmt: skip
        assert main(command.split()) == 2, command
        assert f"{file}:1: not valid YAML" in capsys.readouterr().err.replace(" in line 1", "").replace(
            f"{file}: not", f"{file}:1: not"
        )
        assert not marker.exists()


def test_a_cache_of_labels_holds_labels(tmp_path, marker, best, data, capsys) -> None:  # noqa: F811
    """Ultralytics keeps what it has read of labels beside them, as a pickle."""
    for folder in ("images", "labels"):
        shutil.copytree(data.parent / folder, tmp_path / folder)
    caches = list((tmp_path / "labels").rglob("*.cache"))
    for cache in caches:
        cache.unlink()
    mine = description(tmp_path / "mine.yaml", str(tmp_path))
    measured = []
    for hostile in (False, True, False):
        if hostile:
            with (tmp_path / "labels" / "val.cache").open("wb") as file:
                np.save(file, np.array({"hash": Calls(os.mkdir, str(marker)), "version": "1.0.3"}, dtype=object))
        measured.append(Darknet(best).val(data=str(mine), device="cpu", workers=0, plots=False, project=str(tmp_path)))
        assert not marker.exists()
        said = capsys.readouterr().out
        assert ("is not opened, but made anew" in said) == hostile, said
    assert len({each.box.map for each in measured}) == 1


def test_a_description_read_by_us_is_none_of_python(tmp_path) -> None:
    from yolo_subbatch.settings.data_checks import read_yaml

    file = tmp_path / "x.yaml"
    file.write_text("names: !!python/name:os.system\n")
    with pytest.raises(SettingsError, match="not valid YAML"):
        read_yaml(file)
