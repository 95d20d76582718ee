"""Which trainer trains what: a network of the other kind, another trainer's run, stock Ultralytics."""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from ultralytics import YOLO
from ultralytics.cfg import entrypoint
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils import DEFAULT_CFG_DICT

from tests.engine.conftest import V8_YAML, cfg_text
from yolo_subbatch import Darknet, DarknetTrainer, SubbatchTrainer, subbatch
from yolo_subbatch.engine.trainer_choice import trainer_class
from yolo_subbatch.engine.trainer_lookup import host_class, how_to_give, note_for_stock
from yolo_subbatch.errors import SettingsError, WeightsError
from yolo_subbatch.folder.run_folder import RunFolder

QUIET = {"epochs": 2, "batch": 4, "imgsz": 64, "plots": False, "val": False, "device": "cpu"}


class Ended(BaseException):
    """Ends a run; nothing catches it."""


class Own(DarknetTrainer):
    """A user's own trainer."""


class OwnHost(DetectionTrainer):
    """A user's own trainer of Ultralytics' models."""


def end_in_second_epoch(trainer):
    if trainer.epoch == 1:
        raise Ended


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a cfg, a model of Ultralytics, and runs of both that were ended in their middle."""
    place = tmp_path_factory.mktemp("place")
    (place / "tiny.cfg").write_text(cfg_text())
    (place / "v8.yaml").write_text(V8_YAML)
    (place / "other.yaml").write_text(V8_YAML)
    return place


@pytest.fixture(scope="module")
def runs(place, data) -> Path:
    """The folder of two runs: ``darknet`` and ``host``."""
    for name, model, trainer in (
        ("darknet", Darknet(place / "tiny.cfg"), None), ("host", YOLO(place / "v8.yaml"), SubbatchTrainer),
    ):  # fmt: skip
        model.add_callback("on_train_epoch_start", end_in_second_epoch)
        with suppress(Ended):
            model.train(
                trainer=trainer, name=name, data=str(data.with_suffix(".yaml")), project=str(place / "runs"),
                subdivisions=2, **QUIET,
            )  # fmt: skip
    return place / "runs"


@pytest.fixture
def copied(runs, tmp_path):
    """Return a copy of a run."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(runs / name, tmp_path / name))

    return copy


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- a Darknet network and stock Ultralytics ----------------------------------------------------------------------------


def test_stock_yolo_trains_a_darknet_network_with_its_own_trainer(runs, data, tmp_path):
    model = YOLO(runs / "darknet" / "weights" / "last.pt")
    before = model.model.network.layers[0].conv.weight.clone()
    first = []
    model.add_callback("on_train_start", lambda trainer: first.append(trainer.plain_model.model[0].conv.weight.clone()))
    model.train(
        **{**QUIET, "epochs": 1}, data=str(data.with_suffix(".yaml")), project=str(tmp_path / "runs"), subdivisions=4
    )
    assert type(model.trainer) is DarknetTrainer
    assert torch.equal(first[0], before)
    assert model.trainer.update_index == 3
    assert model.trainer.args.subdivisions == 4


def test_ultralytics_command_line_trains_a_darknet_network(runs, data, tmp_path):
    yaml = data.with_suffix(".yaml")
    entrypoint(
        f"train model={runs / 'darknet/weights/last.pt'} data={yaml} epochs=1 batch=4 plots=False device=cpu "
        f"project={tmp_path / 'runs'} name=run"
    )
    assert (tmp_path / "runs" / "run" / "weights" / "last.weights").is_file()


def test_a_network_of_another_shape_keeps_it_in_stock_yolo(place, data, tmp_path):
    model = Darknet(place / "tiny.cfg")
    keywords = {**QUIET, "epochs": 1, "data": str(data.with_suffix(".yaml")), "project": str(tmp_path)}
    model.train(**{**keywords, "imgsz": [64, 96]})
    again = YOLO(Path(model.trainer.save_dir) / "weights" / "best.pt")
    assert again.overrides["imgsz"] == [64, 96]
    del keywords["imgsz"]
    again.train(**keywords)
    assert again.trainer.size == (96, 64)


@pytest.mark.parametrize(
    ("opened", "trainer", "words"),
    [
        (YOLO, SubbatchTrainer, "a Darknet network, which SubbatchTrainer does not train; leave trainer= out"),
        (YOLO, subbatch(SegmentationTrainer), "a Darknet network, which .* leave trainer= out"),
        (YOLO, DetectionTrainer, "a Darknet network, which Ultralytics' own trainers cannot build; leave trainer= out"),
        (Darknet, SubbatchTrainer, "trainer=SubbatchTrainer: trains Ultralytics' own models, .* leave trainer= out"),
        (Darknet, DetectionTrainer, "trainer=DetectionTrainer: trains Ultralytics' own models, .* leave trainer= out"),
        (Darknet, partial(DetectionTrainer), "trainer=DetectionTrainer: trains Ultralytics' own models"),
        (Darknet, "DetectionTrainer", "trainer='DetectionTrainer': no class; leave it out, or give a subclass"),
    ],
)
def test_a_darknet_network_is_refused_by_other_trainers(runs, data, tmp_path, opened, trainer, words):
    model = opened(runs / "darknet" / "weights" / "last.pt")
    with pytest.raises((SettingsError, WeightsError), match=words):
        model.train(trainer=trainer, data=str(data.with_suffix(".yaml")), project=str(tmp_path / "runs"), **QUIET)
    assert trainer is DetectionTrainer or not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", ["tiny.cfg", "runs/darknet/weights/last.pt"])
def test_a_trainer_alone_refuses_a_darknet_network(runs, place, tmp_path, file):
    with pytest.raises(SettingsError, match=r"a Darknet network.*yolo_subbatch\.Darknet"):
        SubbatchTrainer(overrides={"model": str(place / file), "data": "x.yaml", "project": str(tmp_path / "runs")})
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", ["v8.yaml", "runs/host/weights/last.pt"])
def test_the_trainer_of_darknet_networks_refuses_another_model(runs, place, data, tmp_path, file):
    with pytest.raises((SettingsError, WeightsError), match=r"no.* Darknet network.*SubbatchTrainer"):
        YOLO(place / file).train(trainer=DarknetTrainer, data=str(data), project=str(tmp_path / "runs"), **QUIET)
    assert not (tmp_path / "runs").exists()


def test_the_description_of_a_darknet_network_is_a_dictionary_like_any_other(place):
    yaml = Darknet(place / "tiny.cfg").model.yaml
    assert yaml.get("backbone") is None
    assert "head" not in yaml
    with pytest.raises(KeyError, match="nonsense"):
        yaml["nonsense"]


# --- a run goes on with its own trainer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["host", "darknet"])
def test_a_checkpoint_holds_ultralytics_own_keys_and_ours_beside_them(runs, name):
    checkpoint = torch.load(runs / name / "weights" / "last.pt", weights_only=False)
    ours = DarknetTrainer.own_defaults.keys() - DEFAULT_CFG_DICT.keys()
    assert not ours & checkpoint["train_args"].keys()
    assert checkpoint["train_args"]["batch"] == 4
    kept = checkpoint["ema"].subbatch
    assert kept["args"]["subdivisions"] == 2
    assert kept["trainer"] == host_class({"host": SubbatchTrainer, "darknet": DarknetTrainer}[name])
    assert YOLO(runs / name / "weights" / "last.pt").model.subbatch == kept


def test_who_forgets_the_trainer_is_told_it(copied):
    """Stock Ultralytics would go on in whole batches, from averages of half precision."""
    folder = copied("host")
    before = torch.load(folder / "weights" / "last.pt", weights_only=False)["date"]
    with pytest.raises(SyntaxError, match=r"trainer=SubbatchTrainer .*yolo-subbatch train resume="):
        YOLO(folder / "weights" / "last.pt").train(resume=True)
    assert torch.load(folder / "weights" / "last.pt", weights_only=False)["date"] == before
    model = YOLO(folder / "weights" / "last.pt")
    model.train(resume=True, trainer=SubbatchTrainer)
    assert model.trainer.update_index == 6
    finished = torch.load(folder / "weights" / "best.pt", weights_only=False)
    assert set(finished["train_args"]) <= set(DEFAULT_CFG_DICT)
    assert finished["model"].subbatch["args"]["subdivisions"] == 2


@pytest.mark.parametrize("how", ["yolo", "command line", "darknet"])
def test_a_darknet_run_goes_on_without_naming_its_trainer(copied, how):
    file = copied("darknet") / "weights" / "last.pt"
    if how == "command line":
        entrypoint(f"train resume model={file}")
    else:
        {"yolo": YOLO, "darknet": Darknet}[how](file).train(resume=True)
    assert RunFolder(file.parent.parent).status() == "completed"
    assert len((file.parent.parent / "results.csv").read_text().splitlines()) == 3


def test_stock_ultralytics_measures_and_trains_from_a_checkpoint_of_sub_batches(runs, data, tmp_path):
    model = YOLO(runs / "host" / "weights" / "last.pt")
    yaml = str(data.with_suffix(".yaml"))
    assert model.val(data=yaml, plots=False, project=str(tmp_path)).box.map >= 0
    model.train(**{**QUIET, "epochs": 1}, data=yaml, project=str(tmp_path))
    assert type(model.trainer) is DetectionTrainer


@pytest.mark.parametrize(
    ("run", "trainer", "words"),
    [
        (
            "host",
            subbatch(PoseTrainer),
            r"a run of SubbatchTrainer, and this is PoseTrainer; .* trainer=SubbatchTrainer",
        ),
        (
            "host",
            subbatch(OwnHost),
            r"a run of SubbatchTrainer, and this is OwnHost; go on with trainer=SubbatchTrainer",
        ),
        ("host", DarknetTrainer, r"a run of SubbatchTrainer, and this is DarknetTrainer; .*SubbatchTrainer"),
        (
            "darknet",
            SubbatchTrainer,
            r"a run of DarknetTrainer, and this is SubbatchTrainer; .*Darknet\(\.\.\.\)\.train",
        ),
        ("darknet", Own, r"a run of DarknetTrainer, and this is Own; .*yolo-subbatch train resume="),
    ],
)
def test_another_trainer_is_refused_before_anything_changes(runs, run, trainer, words):
    folder = runs / run
    before = listing(folder)
    with pytest.raises(SettingsError, match=f"resume={folder}: {words}"):
        YOLO(folder / "weights" / "last.pt").train(trainer=trainer, resume=str(folder))
    assert listing(folder) == before


def test_another_task_is_refused(runs):
    with pytest.raises(SettingsError, match="a run of task=detect, and this is task=segment"):
        SubbatchTrainer(overrides={"resume": str(runs / "host"), "task": "segment"})


def test_another_network_beside_resume_is_said_to_be_unused(place, copied, capsys):
    folder = copied("host")
    YOLO(place / "other.yaml").train(trainer=SubbatchTrainer, resume=str(folder))
    out = capsys.readouterr().out
    assert f"resume={folder}: goes on with the run's own network, {place / 'v8.yaml'}; {place / 'other.yaml'} is" in out


def test_a_run_goes_on_with_the_users_own_class(place, data, tmp_path):
    model = Darknet(place / "tiny.cfg")
    model.add_callback("on_train_epoch_start", end_in_second_epoch)
    with suppress(Ended):
        model.train(trainer=Own, name="own", data=str(data), project=str(tmp_path), **QUIET)
    again = Darknet(place / "tiny.cfg")
    again.train(resume=str(tmp_path / "own"))
    assert type(again.trainer) is Own


def test_how_a_trainer_is_given():
    assert how_to_give(host_class(SubbatchTrainer)) == "SubbatchTrainer"
    assert how_to_give(host_class(subbatch(DetectionTrainer))) == "SubbatchTrainer"
    assert how_to_give(host_class(subbatch(PoseTrainer))) == "subbatch(PoseTrainer)"
    assert how_to_give(host_class(Own)) == "Own"
    assert f"trainer=Own (from {Own.__module__} import Own), or type" in note_for_stock(Own, Path("runs/train"))
    assert trainer_class(host_class(subbatch(PoseTrainer))) is subbatch(PoseTrainer)


@pytest.mark.parametrize("name", ["__main__:Gone", "gone:Trainer"])
def test_a_trainer_that_cannot_be_imported_is_named(name):
    with pytest.raises(SettingsError, match=f"the trainer {name} of this run cannot be imported here; .*trainer="):
        trainer_class(name)
