"""``recompute=True``: the same training, bit for bit, in less memory; chosen where nothing else fits."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from tests.engine.conftest import V8_YAML, cfg_text
from tests.engine.test_resume import Watch, end
from tests.engine.test_resume import resume as taken_up
from tests.engine.test_resume import train as watched
from tests.engine.test_shortage import (
    Trap,
    distance,
    events,
    fitted,
    in_forward,
    told,
    train,
)
from yolo_subbatch import Darknet, SubbatchTrainer
from yolo_subbatch.cli import main
from yolo_subbatch.engine import base, fitting
from yolo_subbatch.engine.arguments import SUBBATCH_DEFAULTS, check_arguments
from yolo_subbatch.engine.recompute import Recompute
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import Step, Warned

DROPOUT = "[dropout]\nprobability=.5\n\n[dropout]\ndropblock=1\nprobability=.3\ndropblock_size_abs=3\n\n"
LATER = "[route]\nlayers=2\n"


def odd_cfg(path, bn=True):
    """Write the tiny cfg with layers that draw, one of which grows with the images seen."""
    text = cfg_text(bn).replace("[maxpool]", DROPOUT + "[maxpool]", 1).replace(LATER, LATER.replace("2", "4"))
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def cfgs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cfgs")
    return {"plain": odd_cfg(folder / "plain.cfg", False), "bn": odd_cfg(folder / "bn.cfg")}


def recomputed(trainer):
    """Return in how many segments the network of a trainer was computed."""
    borders = trainer.recompute.segments.borders
    return len(borders.places) - 1


def test_a_darknet_network_learns_the_same_bits(cfgs, data, tmp_path):
    ways = [
        ("bn", {"subdivisions": 2, "random": 1.4, "imgsz": 96}),
        ("bn", {"subdivisions": 4, "bn": "cross", "amp": "bf16"}),
        ("bn", {"subdivisions": 2, "bn": "frozen", "channels_last": True, "freeze": 1}),
    ]
    for name, given in ways:
        wanted = train(cfgs[name], data, tmp_path, **given, epochs=1)
        found = train(cfgs[name], data, tmp_path, recompute=True, **given, epochs=1)
        assert recomputed(found) > 1
        assert wanted.recompute is None
        assert distance(found, wanted) == 0, given
        assert [told(step) for step in events(found, Step)] == [told(step) for step in events(wanted, Step)]
        assert [step.loss for step in events(found, Step)] == [step.loss for step in events(wanted, Step)]


YAML = {
    "tiny8": V8_YAML,
    "tiny26": V8_YAML.replace("nc: 3", "nc: 3\nend2end: True\nreg_max: 1").replace("Conv, [16, 3, 2]", "C2f, [16]", 1),
}


def host(name, data, folder, **keywords):
    """Train a network of Ultralytics."""
    path = folder / f"{name}.yaml"
    path.write_text(YAML[name])
    model, kept = YOLO(path), []
    model.add_callback("on_train_end", kept.append)
    model.train(
        trainer=SubbatchTrainer, data=str(data.with_suffix(".yaml")), project=str(folder), epochs=1, batch=4, imgsz=64,
        subdivisions=2, optimizer="SGD", lr0=0.01, plots=False, val=False, device="cpu", warmup_epochs=1, **keywords,
    )  # fmt: skip
    return kept[0]


def test_a_network_of_ultralytics_learns_the_same_bits(data, tmp_path):
    for name, given in [
        ("tiny8", {"multi_scale": 0.5, "exact_norm": True, "bn": "cross"}), ("tiny26", {"exact_norm": True, "amp": "bf16"}),
    ]:  # fmt: skip
        wanted, found = host(name, data, tmp_path, **given), host(name, data, tmp_path, recompute=True, **given)
        assert recomputed(found) > 1
        assert distance(found, wanted) == 0, name
        assert any("running_mean" in key for key in found.plain_model.state_dict())
        assert not {"_predict_once", "forward"} & set(vars(found.plain_model)), "nothing stays behind"


# --- what it is not for -----------------------------------------------------------------------------------------------


class OwnForward(DetectionModel):
    def _predict_once(self, x, profile=False, embed=None):
        return super()._predict_once(x, profile, embed)


def test_other_networks_are_refused_before_work_starts(cfgs, data, tmp_path):
    path = tmp_path / "tiny8.yaml"
    path.write_text(V8_YAML)
    own = OwnForward(str(path), verbose=False)
    unnumbered = DetectionModel(str(path), verbose=False)
    del unnumbered.model[1].f
    replaced = Darknet(cfgs["plain"]).model
    replaced.network.forward = replaced.network.layer_outputs
    for model, words in [
        (replaced, r"the forward\(\) of Network is one of its own"),
        (own, r"the _predict_once\(\) of OwnForward is one of its own"),
        (nn.Linear(1, 1), r"the forward\(\) of Linear is one of its own"),
        (unnumbered, r"do not tell what they read"),
    ]:
        with pytest.raises(SettingsError, match=rf"^recompute=True: .*{words}.*; leave it out"):
            Recompute(model)
    for name in ("yolov8n-world.yaml", "yoloe-v8n.yaml"):
        model = YOLO(name).model
        with pytest.raises(SettingsError, match=r"the predict\(\) of \w+ is one of its own"):
            Recompute(model)

    class Trainer(SubbatchTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            return OwnForward(cfg, nc=3, verbose=False)

        def _build_train_pipeline(self):
            raise AssertionError("work has started")

    with pytest.raises(SettingsError, match="OwnForward"):
        YOLO(path).train(
            trainer=Trainer, data=str(data.with_suffix(".yaml")), project=str(tmp_path), imgsz=64, recompute=True,
            device="cpu", plots=False,
        )  # fmt: skip


def test_a_compiled_network_is_refused(cfgs, data, tmp_path, capsys):
    words = "recompute=True: with compile=, the compiler decides what is kept for the backward pass; leave one of"
    with pytest.raises(SettingsError, match=words):
        train(cfgs["plain"], data, tmp_path, recompute=True, compile=True)
    assert main(["train", f"cfg={cfgs['plain']}", f"data={data}", "recompute=True", "compile=True"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    args = SimpleNamespace(**SUBBATCH_DEFAULTS, compile=False)
    check_arguments(args)
    args.recompute = "often"
    with pytest.raises(SettingsError, match="recompute=often: unknown; use True or False"):
        check_arguments(args)


# --- where memory is short --------------------------------------------------------------------------------------------


def in_recomputation(trap, patch, trainer):
    """When a segment is computed again, in the middle of the backward pass."""

    def watch(module, inputs):
        if torch._C._current_graph_task_id() != -1:
            trap.spring()

    trainer.plain_model.model[0].register_forward_pre_hook(watch)


def test_a_shortage_in_a_backward_pass_that_computes_again(cfgs, data, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "finer", lambda batch, parts, processes: parts)
    given = {"subdivisions": 2, "recompute": True, "epochs": 1}
    wanted = train(cfgs["bn"], data, tmp_path, **given)
    found = train(cfgs["bn"], data, tmp_path, in_recomputation, Trap(1, 1), monkeypatch, **given)
    assert distance(found, wanted) == 0
    assert len(events(found, Warned)) == 1


def test_one_image_at_a_time_is_not_the_end(cfgs, data, tmp_path, monkeypatch):
    """The run goes on with fewer activations, and so does one that takes it up again."""
    wanted = train(cfgs["bn"], data, tmp_path, subdivisions=4, epochs=1)
    found = train(cfgs["bn"], data, tmp_path, in_forward, Trap(1, 2), monkeypatch, subdivisions=4, epochs=1)
    assert distance(found, wanted) == 0
    assert (found.args.subdivisions, found.args.recompute, recomputed(found) > 1) == (4, True, True)
    (warning,) = events(found, Warned)
    words = r"memory is short even for one image at a time: recompute=True from now on, .*; iteration 2 is done again"
    assert (warning.code, bool(re.match(words, warning.text))) == ("oom_retry", True)


def test_a_run_may_go_on_with_or_without(cfgs, data, tmp_path):
    given = {"subdivisions": 2, "save_iterations": 2, "epochs": 2}
    whole = watched(cfgs["bn"], data, tmp_path / "runs", Watch(tmp_path, "step 5"), recompute=True, **given)
    plain = taken_up(whole.moments["step 5"], Watch(step_1=end), recompute=False)
    assert not plain.trainer.args.recompute
    last = taken_up(plain.folder, recompute=True)
    assert recomputed(last.trainer) > 1
    assert last.trainer.resumed["iteration"] == 4
    assert not plain.trainer.resumed["args"]["recompute"] or plain.trainer.recompute is None
    for key, value in whole.end["model"].items():
        assert torch.equal(last.end["model"][key], value), key


def test_auto_takes_parts_first_and_recompute_next(tmp_path, data, monkeypatch):
    """Of a deep network, whose activations are what counts."""
    cfg = tmp_path / "deep.cfg"
    layer = cfg_text(True).split("[convolutional]")[1].replace("stride=2", "stride=1")
    cfg.write_text(cfg_text(True).replace("[maxpool]", f"[convolutional]{layer}".replace("=8", "=16") * 10 + "[maxpool]")
                   .replace(LATER, LATER.replace("2", "12")))  # fmt: skip
    chosen = []
    monkeypatch.setattr(fitting, "LOGGER", SimpleNamespace(info=chosen.append))
    needs = []

    def budget(mebibytes, **given):
        monkeypatch.setattr(fitting, "_free_bytes", lambda trainer: mebibytes * 2**20)
        try:
            return fitted(cfg, data, tmp_path, 0, batch=4, **given)
        except SettingsError as refused:
            needs.append(str(refused))
            return None

    assert budget(4000) == 1
    assert chosen == []
    assert budget(1) is None
    least = int(re.search(r"about (\d+) MiB, 1 MiB are free, even with recompute=True", needs[-1])[1])
    assert budget(least + 2) == 4
    (line,) = chosen
    assert re.fullmatch(r"subdivisions=4 with recompute=True: fits in \d+MB; up to a third more computation", line)
    assert budget(4 * least + 20) in (1, 2, 4)
    assert len(chosen) == 1, "parts alone are enough"
    assert budget(1, compile=True) is None
    assert "recompute" not in needs[-1]
