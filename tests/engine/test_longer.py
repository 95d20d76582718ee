"""A run that was finished, or ended, becomes longer: it is the run that was begun with the longer length."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from tests.engine.conftest import V8_YAML
from tests.engine.several import Spread
from tests.engine.test_resume import (
    Ended,
    Judged,
    Run,
    Watch,
    compared,
    differences,
    end,
    interrupt,
    kept,
    listing,
    resume,
    steps_of,
    table,
    train,
)  # fmt: skip
from yolo_subbatch import Darknet, DarknetTrainer, SubbatchTrainer
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import Log, RunFinished, RunStarted, read_events
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.args_file import read_args

pytestmark = pytest.mark.usefixtures("one_thread")

EXACTLY = 0.0  # the largest difference of what is the same
CONSTANT = {"policy": "constant", "burn_in": 0, "subdivisions": 2}
#: A rate of Ultralytics' that is the same for every length.
LEVEL = {"optimizer": "SGD", "lrf": 1.0, "warmup_epochs": 1, "close_mosaic": 0, "mosaic": 1.0, "exact_norm": True}


def refused(run: Path, begin: Callable[..., Any], **changes: Any) -> str:
    """Return why a run does not go on; nothing of it was touched."""
    before = listing(run)
    with pytest.raises(SettingsError) as found:
        begin(resume=str(run), **changes)
    assert listing(run) == before
    return str(found.value)


def line_of(run: Run) -> str:
    """Return what was said of the new length, last."""
    said = [event.text for event in read_events(run.folder / "events.jsonl") if isinstance(event, Log)]
    return [text for text in said if text.startswith("another length")][-1]


def is_for_training(file: Path) -> bool:
    return torch.load(file, weights_only=False)["optimizer"] is not None


def test_a_darknet_run_becomes_longer_to_the_same_bits(cfg_bn, data, tmp_path):
    """From the middle of an epoch and from an end of one, killed and resumed on the way."""
    whole = train(cfg_bn, data, tmp_path / "whole", epochs=4, **CONSTANT)
    first = train(cfg_bn, data, tmp_path / "runs", epochs=None, max_batches=5, **CONSTANT)
    assert differences(first.end, whole.end, EXACTLY)
    assert not is_for_training(first.weights / "last.pt")
    resume(first.folder, Watch(step_3=end), max_batches=9)
    assert RunFolder(first.folder).status() != "completed"
    assert is_for_training(first.weights / "last.pt")
    nine = resume(first.folder)
    assert steps_of(nine.folder)[-1] == 9, "the new length is kept"
    last = resume(first.folder, epochs=4)
    assert not compared(last, whole, EXACTLY)
    assert not is_for_training(first.weights / "last.pt")
    starts = [event for event in read_events(last.folder / "events.jsonl") if isinstance(event, RunStarted)]
    assert [(event.start_step, event.steps_total) for event in starts] == [(0, 5), (5, 9), (6, 9), (9, 12)]
    assert "9 -> 12 iterations, after iteration 9; policy=constant as before; the rate stays 0.001" in line_of(last)
    asked = read_args(last.folder / "args.yaml")
    assert (asked["epochs"], asked.get("max_batches")) == (4, None)


def test_a_model_of_ultralytics_becomes_longer_to_the_same_bits(data, tmp_path):
    (tmp_path / "tiny.yaml").write_text(V8_YAML)

    def begin(watch: Watch | None = None, **keywords: Any) -> Run:
        model = YOLO(tmp_path / "tiny.yaml")
        run = (watch or Watch()).attach(model.add_callback)
        with suppress(Ended):
            model.train(trainer=SubbatchTrainer, device="cpu", **keywords)
        return run

    how = {**LEVEL, "data": str(data.with_suffix(".yaml")), "batch": 4, "subdivisions": 2, "imgsz": 64, "plots": False}
    whole = begin(epochs=5, project=str(tmp_path / "whole"), **how)
    first = begin(epochs=2, project=str(tmp_path / "runs"), **how)
    assert differences(first.end, whole.end, EXACTLY)
    begin(Watch(step_2=end), resume=str(first.folder), epochs=3)
    again = begin(resume=str(first.folder))
    assert again.end["epoch"] == 2, "the new length is kept"
    last = begin(resume=str(first.folder), epochs=5)
    assert not compared(last, whole, EXACTLY)
    assert "3 -> 5 epochs, after iteration 9; the learning rate follows the curve of 5 epochs" in line_of(last)
    for changes, words in {
        (("epochs", 4),): "epochs=4: shorter than what is done, 15 iterations (5 epochs); give more than that",
        (("epochs", 5),): "epochs=5: 15 iterations (5 epochs) are done, nothing is left to train; give more than that",
        (("max_batches", 40),): "max_batches=40: the length of a Darknet network, and this run is one of Ultralytics'",
        (("epochs", 9), ("batch", 8)): "batch=8: cannot change when a run goes on",
        (("epochs", 9), ("time", 1.0)): "time=1.0: cannot change when a run goes on",
        (("epochs", 0),): "epochs=0: too small",
        (): f"resume={last.folder}: this run is finished, nothing is left to train; train it longer with "
            f"resume={last.folder} epochs=N, or start a new one with weights= or model=",
    }.items():  # fmt: skip
        assert words in refused(last.folder, begin, **dict(changes))


def test_the_rate_follows_the_curve_of_the_new_length(data, tmp_path):
    """What optimizer=auto has chosen stays, and the rate that the line tells is that of the next update."""
    (tmp_path / "tiny.yaml").write_text(V8_YAML)
    rates = []
    for keywords in ({"epochs": 2}, {"epochs": 20000}):
        model = YOLO(tmp_path / "tiny.yaml")
        run = (Watch(step_2=end) if rates else Watch()).attach(model.add_callback)
        where = {"resume": str(rates[0][0].folder)} if rates else {
            "data": str(data.with_suffix(".yaml")), "project": str(tmp_path), "batch": 4, "imgsz": 64, "plots": False,
            "cos_lr": True, "warmup_epochs": 0, "close_mosaic": 1, "optimizer": "auto",
        }  # fmt: skip
        with suppress(Ended):
            model.train(trainer=SubbatchTrainer, device="cpu", **where, **keywords)
        rates.append(
            (run, type(run.trainer.optimizer).__name__, {key: value[0][0] for key, value in run.rates.items()})
        )
    (first, kind, before), (longer, same, after) = rates
    assert kind == same == "AdamW", "for so many epochs it would be another one"
    assert before[6] < after[7]
    assert [row["lr/pg0"] for row in table(longer.folder)] == pytest.approx([before[3], before[6]], rel=1e-5)
    line = line_of(longer)
    assert f"the rate goes from {before[6]:g} to {after[7]:g}" in line
    assert "mosaic is on until epoch 19999" in line
    assert first.folder == longer.folder


def test_what_becomes_of_the_steps_is_said(cfg, data, tmp_path):
    """They keep their fractions of the whole, their numbers with schedule=exact, and what a user has given himself."""
    for number, (keywords, words) in enumerate(
        {
            "": "steps 2,3 -> 5,5 in proportion to the new length; the rate goes from 1e-05 to 0.001",
            "schedule": "steps 80,90 as before (schedule=exact)",
            "steps": "steps 4,5 as before",
        }.items()
    ):
        given = {"schedule": {"schedule": "exact"}, "steps": {"steps": "4,5"}}.get(keywords, {})
        run = train(cfg, data, tmp_path, epochs=1, val=False, burn_in=0, **given)
        longer = resume(run.folder, Watch(log_2=end), epochs=2)
        assert words in line_of(longer), number


def test_a_run_that_was_stopped_early_goes_on(cfg, data, tmp_path):
    """Early stopping waits anew; it would end the run at once."""
    whole = train(cfg, data, tmp_path / "whole", trainer=Judged, patience=0, epochs=6, **CONSTANT)
    run = train(cfg, data, tmp_path / "runs", trainer=Judged, patience=2, epochs=8, save_iterations=0, **CONSTANT)
    assert run.end["epoch"] == 3
    longer = resume(run.folder, trainer=Judged, epochs=6)
    assert "early stopping waits anew, from epoch 4 on" in line_of(longer)
    assert longer.end["epoch"] == 5
    assert longer.end["stopper"] == [0.7, 6]
    assert not compared(longer, whole, EXACTLY), "as if it had never been stopped"


class BestInTheMiddle(DarknetTrainer):
    """Measures most where a run of five iterations ends, in the middle of its second epoch."""

    def validate(self):
        before, (metrics, _) = self.best_fitness, super().validate()
        fitness = {3: 0.2, 5: 0.9}.get(self.update_index, 0.4)
        self.best_fitness = fitness if before is None else max(before, fitness)
        return metrics, fitness


def test_the_best_weights_stay_the_best(cfg, data, tmp_path):
    """Also where they were measured in the middle of an epoch, which is not measured there again."""
    run = train(cfg, data, tmp_path, trainer=BestInTheMiddle, epochs=None, max_batches=5)
    best = kept(run.folder)["best"]
    longer = resume(run.folder, trainer=BestInTheMiddle, max_batches=9)
    assert longer.end["best_fitness"] == 0.9
    assert not differences(kept(longer.folder)["best"], best, EXACTLY)
    assert differences(kept(longer.folder)["last"], best, EXACTLY)


def test_a_length_that_cannot_be_had_is_refused(cfg, data, tmp_path):
    run = train(cfg, data, tmp_path, epochs=2)
    begin = Darknet(cfg).train
    for changes, words in (
        ({"epochs": 1}, "epochs=1: shorter than what is done, 6 iterations (2 epochs); give more than that"),
        ({"max_batches": 6}, "max_batches=6: 6 iterations (2 epochs) are done, nothing is left to train"),
        ({"epochs": 9, "max_batches": 5}, "epochs=9, max_batches=5: shorter than what is done"),
        ({"max_batches": "many"}, "max_batches=many: "),
        ({"epochs": 9, "learning_rate": 1.0}, "learning_rate=1.0: cannot change when a run goes on"),
    ):
        assert words in refused(run.folder, begin, **changes)
    (run.weights / "state.pt").unlink()
    assert "the run is finished and its state was not kept (keep_state=False" in refused(run.folder, begin, epochs=9)


def test_the_state_of_a_finished_run_may_go(cfg, data, tmp_path):
    run = train(cfg, data, tmp_path, epochs=1, keep_state=False)
    assert not (run.weights / "state.pt").exists()
    ends = [event.status for event in read_events(run.folder / "events.jsonl") if isinstance(event, RunFinished)]
    assert ends == ["completed"]


def test_what_fails_before_it_begins_leaves_the_run_finished(cfg, data, tmp_path):
    """And what is killed while its new length is written can be asked again."""
    own = shutil.copytree(data.parent, tmp_path / "own")
    run = train(cfg, own / "shapes.yaml", tmp_path, epochs=1)
    folder = RunFolder(run.folder)
    shutil.move(own, tmp_path / "away")
    with pytest.raises(Exception, match=r"shapes\.yaml"):
        Darknet(cfg).train(resume=str(run.folder), epochs=2)
    assert folder.status() == "completed"
    shutil.move(tmp_path / "away", own)
    resume(run.folder, Watch(run_started_1=end), epochs=2)
    assert folder.status() == "failed"
    assert steps_of(resume(run.folder).folder) == [1, 2, 3], "it has its old length still"
    assert folder.status() == "completed"
    assert steps_of(resume(run.folder, epochs=2).folder) == [1, 2, 3, 4, 5, 6]


class Launched(Spread):
    """Goes on with a run of one process."""

    made_from = DarknetTrainer


def test_the_processes_of_a_launcher_find_the_new_length(cfg_bn, data, tmp_path, monkeypatch):
    """In the state that they begin from; where they never begin, the next one does."""
    whole = train(cfg_bn, data, tmp_path / "whole", epochs=3, **CONSTANT)
    run = train(cfg_bn, data, tmp_path / "runs", epochs=2, **CONSTANT)
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", lambda *_, **__: interrupt(run))
        with pytest.raises(KeyboardInterrupt):
            Launched(overrides={"resume": str(run.folder), "epochs": 3}).train()
    assert RunFolder(run.folder).status() != "completed"
    longer = resume(run.folder)
    assert not compared(longer, whole, EXACTLY)
    assert "6 -> 9 iterations" in line_of(longer)
