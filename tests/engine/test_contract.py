"""What this program takes for granted of Ultralytics, name by name: a release that changes one of them fails here."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.engine.trainer import BaseTrainer

from yolo_subbatch import DarknetTrainer, SubbatchTrainer
from yolo_subbatch.engine import api, darknet_data, inference, model, windows
from yolo_subbatch.settings.host_files import version

ROOT = Path(__file__).parents[2]
#: Private names, and public ones that no documentation promises, with the arguments that are passed to them.
USED: dict[str, dict[str, tuple[str, ...] | None]] = {
    "ultralytics.engine.trainer:BaseTrainer": {
        "_build_train_pipeline": (), "_clear_memory": ("threshold",), "_do_train": (), "_get_warmup_iterations": ("num_batches",),
        "_handle_nan_recovery": ("epoch",), "_model_train": (), "_setup_ddp": (), "_setup_scheduler": (), "_setup_train": (), "build_dataset": None,
        "build_optimizer": ("model", "name", "lr", "momentum", "decay", "iterations"), "check_resume": ("overrides",),
        "final_eval": (), "get_dataloader": ("dataset_path", "batch_size", "rank", "mode"), "get_dataset": (),
        "get_model": ("cfg", "weights", "verbose"), "get_validator": (), "optimizer_step": (), "preprocess_batch": ("batch",),
        "resume_training": ("ckpt",), "run_callbacks": ("event",), "save_model": (), "setup_model": (), "train": (),
        "validate": (),
    },
    "ultralytics.engine.validator:BaseValidator": {"update_metrics": ("preds", "batch"), "plot_predictions": ("batch", "preds", "ni")},
    "ultralytics.engine.model:Model": {"_load": ("weights", "task"), "_smart_load": ("key",), "task_map": None},
    "ultralytics.nn.tasks:BaseModel": {"_predict_once": None, "fuse": None, "is_fused": None, "load": None},
    "ultralytics.nn.tasks:DetectionModel": {"set_head_attr": None},
    "ultralytics.data.build:InfiniteDataLoader": {"reset": (), "__len__": ()},
    "ultralytics.data.dataset:YOLODataset": {
        "load_image": None, "get_labels": (), "get_label_files": (), "build_transforms": ("hyp",),
    },
    "ultralytics.utils.dist": {"generate_ddp_command": ("trainer",), "ddp_cleanup": ("trainer", "file")},
    "ultralytics.utils.torch_utils": {
        "ModelEMA": None, "autocast": None, "torch_distributed_zero_first": ("local_rank",), "unset_deterministic": (),
        "unwrap_model": None, "fuse_conv_and_bn": None,
    },
    "ultralytics.utils.callbacks": {"get_default_callbacks": ()},
}  # fmt: skip
#: Lines of the training loop that updates hang on; each is there once.
LINES = (
    "if ni - last_opt_step >= self.accumulate:", "self.optimizer_step()", "batch = self.preprocess_batch(batch)",
    "loss, self.loss_items = self.model(batch)", "self.scaler.scale(self.loss).backward()", "self.loss = loss.sum()",
    'self.run_callbacks("on_train_batch_start")', 'self.run_callbacks("on_train_batch_end")', "self.loss *= self.world_size",
    'self.run_callbacks("on_train_epoch_start")', "nw = self._get_warmup_iterations(nb)", "self.tloss = None",
)  # fmt: skip
#: What older releases do not have; ``yolo_subbatch/engine/host.py`` does without. ``tests/hosts.sh`` runs this file there.
SINCE = {
    "_get_warmup_iterations": (8, 4, 103), "nw = self._get_warmup_iterations(nb)": (8, 4, 103),
    "get_label_files": (8, 4, 105),
}  # fmt: skip
#: The same lines where they read differently.
BEFORE = {"nw = self._get_warmup_iterations(nb)": "nw = max(round(self.args.warmup_epochs * nb), 100)"}
OURS = (
    SubbatchTrainer, DarknetTrainer, model.DarknetModel, api.Darknet, darknet_data.DarknetDataset, windows.WindowLoader,
    inference.DarknetValidator, inference.DarknetPredictor,
)  # fmt: skip


def found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name) if name else import_module(module)


def is_missing(name: str) -> bool:
    """Tell whether the installed release is too old for something."""
    return version() < SINCE.get(name, (0,))


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, names in USED.items() for name in names])
def test_every_name_is_there_and_takes_what_it_is_given(place, name):
    if is_missing(name):
        assert not hasattr(found(place), name)
        return
    thing = getattr(found(place), name)
    wanted = USED[place][name]
    if wanted is not None:
        assert [each for each in inspect.signature(thing).parameters if each != "self"][: len(wanted)] == list(wanted)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_no_other_private_method_is_overridden(kind):
    """Whoever overrides one more has to write it down above."""
    listed = {name for names in USED.values() for name in names}
    own = [each for each in kind.__mro__ if each.__module__.startswith("yolo_subbatch")]
    hosts = [each for each in kind.__mro__ if each.__module__.startswith("ultralytics")]
    for each in own:
        for name in vars(each):
            if name.startswith("_") and not name.startswith("__") and any(name in vars(host) for host in hosts):
                assert name in listed, f"{each.__name__}.{name}"


@pytest.mark.parametrize("line", LINES)
def test_the_loop_still_does_what_updates_hang_on(line):
    source = inspect.getsource(BaseTrainer._do_train)
    if is_missing(line):
        assert line not in source
        assert BEFORE[line] in source
    elif line == "nw = self._get_warmup_iterations(nb)":  # and again after a shortage of memory, and with time=
        assert line in source
    else:
        assert sum(line in each for each in source.splitlines()) >= 1
    assert source.count("self.optimizer_step()") == 1


def test_the_loss_is_computed_between_preprocessing_and_the_step():
    source = inspect.getsource(BaseTrainer._do_train)
    order = [
        'run_callbacks("on_train_batch_start")', "self.preprocess_batch(batch)", "self.model(batch)", "self.loss = loss.sum()",
        "self.scaler.scale(self.loss).backward()", "self.optimizer_step()", 'run_callbacks("on_train_batch_end")',
    ]  # fmt: skip
    places = [source.index(each) for each in order]
    assert places == sorted(places)


def typed_parts_of_the_trainer() -> tuple[set[str], set[str]]:
    """Return the methods and the attributes that ``host_trainer.py`` writes down."""
    tree = ast.parse((ROOT / "yolo_subbatch" / "engine" / "host_trainer.py").read_text(encoding="utf-8"))
    (kind,) = (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef) and each.name == "HostTrainer")
    methods = {each.name for each in kind.body if isinstance(each, ast.FunctionDef)}
    attributes = {each.target.id for each in kind.body if isinstance(each, ast.AnnAssign)}
    return methods, attributes


def test_what_is_written_down_of_the_trainer_is_there():
    """Types of Ultralytics' trainer that nobody else checks."""
    methods, attributes = typed_parts_of_the_trainer()
    source = inspect.getsource(BaseTrainer)
    assert [name for name in methods if not callable(getattr(BaseTrainer, name, None))] == []
    assert [name for name in attributes if f"self.{name}" not in source] == []


def test_attributes_of_torch_that_are_used_are_there():
    assert isinstance(torch.zeros(1)._version, int)
    for name in ("_foreach_copy_", "_foreach_mul_"):
        assert callable(getattr(torch, name))
    assert callable(torch.default_generator.manual_seed)


def test_accumulation_of_ultralytics_own_would_be_noticed(cfg, data, tmp_path):
    """In the real loop: a host that calls ``optimizer_step`` every second time only."""
    from yolo_subbatch import Darknet
    from yolo_subbatch.errors import TrainingError

    class Accumulating(DarknetTrainer):
        accumulate = property(lambda self: 2, lambda self, passes: None)

    with pytest.raises(TrainingError, match=r"without optimizer_step.*ultralytics>=8\.4\.14,<8\.5"):
        Darknet(cfg).train(
            trainer=Accumulating, data=str(data), project=str(tmp_path / "runs"), epochs=1, batch=4, subdivisions=4, device="cpu",
            plots=False, val=False,
        )  # fmt: skip
