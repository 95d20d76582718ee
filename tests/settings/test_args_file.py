"""Keys in a file: the args.yaml of a run, of stock Ultralytics, or somebody's own."""

from __future__ import annotations

import pytest
import yaml

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.args_file import expanded, host_keys, lines_of, read_args
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import make


def written(tmp_path, own=None, **theirs):
    """Write the args.yaml of a run, as the engine does."""
    text = lines_of(own) if own else ""
    path = tmp_path / "args.yaml"
    path.write_text(text + yaml.safe_dump({**host_keys(), "model": "x.yaml", "data": "d.yaml", **theirs}))
    return path


def test_our_keys_are_comments_to_others(tmp_path):
    own = {"subdivisions": 4, "steps": [80, 90], "flavour": "auto", "max_norm": float("inf"), "weights": "ä #.weights"}
    path = written(tmp_path, own)
    assert yaml.safe_load(path.read_text()) == {**host_keys(), "model": "x.yaml", "data": "d.yaml"}
    found = read_args(path)
    assert {key: found[key] for key in own} == own


def test_only_what_differs_is_asked_again(tmp_path):
    path = written(tmp_path, save_dir="runs/x", epochs=3, mode="train", exist_ok=True, resume="runs/x", nbs=16)
    assert read_args(path) == {"model": "x.yaml", "data": "d.yaml", "epochs": 3}


def test_a_key_that_was_given_at_its_default_is_asked_again(tmp_path):
    path = written(tmp_path, {"flavour": "auto", "given": ["epochs", "mosaic", "mode"]}, mosaic=1.0)
    found = read_args(path)
    assert (found["epochs"], found["mosaic"]) == (100, 1.0)
    assert not {"mode", "given", "imgsz", "pretrained"} & found.keys()


def test_a_rate_has_one_name_unless_the_file_was_edited(tmp_path):
    own = {"flavour": "auto", "learning_rate": 0.001, "decay": 0.0005}
    found = read_args(written(tmp_path, own, lr0=0.001, weight_decay=0.0005))
    assert {"lr0", "weight_decay"}.isdisjoint(found)
    edited = written(tmp_path, own, lr0=0.5, weight_decay=0.0005)
    with pytest.raises(SettingsError, match="lr0, learning_rate: one setting under two names"):
        make(TrainSettings, expanded({"cfg": str(edited)}))


def test_the_args_of_an_earlier_version_hold_our_keys_among_the_others(tmp_path):
    path = written(tmp_path, subdivisions=2, complete=True, bf16_on_cpu=True, save_dir="runs/x", amp=False)
    assert read_args(path) == {"model": "x.yaml", "data": "d.yaml", "subdivisions": 2, "amp": "bf16"}


def test_a_file_of_somebodys_own_counts_as_it_stands(tmp_path):
    path = tmp_path / "hyp.yaml"
    path.write_text("epochs: 100\nsubdivisions: 2\nname: x\n")
    assert read_args(path) == {"epochs": 100, "subdivisions": 2, "name": "x"}


@pytest.mark.parametrize(("text", "words"), [("a: [", "not valid YAML in line"), ("- 1\n- 2\n", "no keys in it")])
def test_a_file_without_keys_is_refused(tmp_path, text, words):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=f"cfg={path}: {words}"):
        expanded({"cfg": str(path)})


def test_what_is_typed_goes_before_the_file(tmp_path):
    path = written(tmp_path, {"flavour": "auto", "learning_rate": 0.001, "steps": [4, 5]}, lr0=0.001, model="tiny.cfg")
    found = expanded({"cfg": str(path), "lr0": "0.5", "epochs": "7"})
    assert (found["cfg"], found["lr0"], found["epochs"], found["steps"]) == ("tiny.cfg", "0.5", "7", [4, 5])
    assert "learning_rate" not in found
    settings = make(TrainSettings, found)
    assert (settings.learning_rate, settings.epochs, settings.steps) == (0.5, 7, (4, 5))
    assert expanded({"cfg": str(path), "model": "best.pt"})["model"] == "best.pt"
    assert "cfg" not in expanded({"cfg": str(path), "model": "best.pt"})


def test_the_settings_of_a_run_are_taken(tmp_path):
    settings = TrainSettings(cfg="tiny.cfg", epochs=3, steps=(4, 5), extra={"rect": True})
    path = tmp_path / "settings.json"
    path.write_text(settings.to_json())
    assert make(TrainSettings, expanded({"cfg": str(path)})) == settings
    path.write_text("[]")
    with pytest.raises(SettingsError, match=r"not the settings\.json of a run"):
        expanded({"cfg": str(path)})


@pytest.mark.parametrize("given", [{}, {"cfg": "tiny.cfg"}, {"cfg": "nowhere.yaml"}, {"model": "x.yaml"}])
def test_nothing_else_is_read(given):
    assert expanded(given) == given
