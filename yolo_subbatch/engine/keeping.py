"""When the exact state of a training is kept, and how a run goes back to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import torch
from ultralytics.utils import DEFAULT_CFG_DICT, RANK

from yolo_subbatch import __version__
from yolo_subbatch.engine import LOGGER, processes, state, trainers
from yolo_subbatch.engine.arguments import check_arguments, read_keywords, sub_batch_size
from yolo_subbatch.engine.asking_again import rewrite_arguments, with_args_file
from yolo_subbatch.engine.checkpoint_parts import also
from yolo_subbatch.engine.doors import check_checkpoint, is_as_written, note_written
from yolo_subbatch.engine.effects import keys_without_effect
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.events import Warned
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.resume import STATE
from yolo_subbatch.run.trust import guarded

SHORT = 0.3  # seconds that keeping the state may take after every epoch, however short that is
WORTH = 20  # times as long as keeping the state takes has to be lost before it is kept after an epoch: 5 % of the time

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class KeepsState(Base):
    """The part of the trainer that keeps its state, and takes it up again."""

    args: Any
    last: Path
    best: Path
    resumed: dict[str, Any] | None = None  # the state of the run that is taken up
    stop_asked = False  # by a signal to this process, which is not the first
    kept_at = keeping_took = 0.0  # when the state was kept last, and how long that took, in seconds

    def begin(self, overrides: dict[str, Any] | None) -> dict[str, Any]:
        """Return the arguments to begin with; those of an earlier run where one is taken up again."""
        given = with_args_file(overrides or {})
        if not self.trains_darknet():
            given = read_keywords(given, darknet=False)
        place = given.pop("resume", None)
        if place:
            file = state.find_state(place)
            self._refuse_running(RunFolder(file.parent.parent))
            self.resumed = state.load(file)
            trainers.check_run(place, self.resumed, type(self), given)
            self._tell_other_network(place, file.parent.parent, given.get("model"))
            given = state.merged(self.resumed, given, file.parent.parent)
            args = SimpleNamespace(**given)  # from here on, files of the run are written
            check_arguments(args)
            sub_batch_size(args, processes.launched() or 1)
        elif not given.get("complete") and "given" not in given:  # a Darknet trainer asks before it adds its own keys
            if not self.trains_darknet():
                trainers.check_network(type(self), given.get("model"))
            for text in keys_without_effect(given, self.trains_darknet()).values():
                if RANK in {-1, 0}:
                    LOGGER.warning(text)
        if processes.launched() and not given.get("device") and torch.cuda.is_available():
            given["device"] = processes.local_devices()
        return given

    def trains_darknet(self) -> bool:
        """Tell whether this trainer is one of Darknet networks."""
        return "flavour" in self.own_defaults

    def _tell_other_network(self, place: str | Path, folder: Path, model: Any) -> None:
        assert self.resumed is not None
        text = trainers.tell_other_network(place, self.resumed, folder, model)
        if text and RANK in {-1, 0}:
            LOGGER.warning(text)

    def _refuse_running(self, folder: RunFolder) -> None:
        """Leave a run alone that another process goes on with; those that started this one are no other."""
        running, here = folder.process(), psutil.Process()
        if RANK in {-1, 0} and running is not None and running not in (here, *here.parents()):
            raise SettingsError(f"resume={folder.path}: this run is still running; stop it first")

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the copy of a model have no trainer, which holds loaders and open files."""
        return type(None), ()

    def save_model(self) -> Any:
        """Save Ultralytics' checkpoints with the keys that it knows; ours stand beside them, in ``model.subbatch``."""
        own = state.without_trust({key: getattr(self.args, key) for key in self.own_defaults})
        kept = {"trainer": trainers.host_class(type(self)), "version": __version__, "args": state.plain(own)}
        self.ema.ema.subbatch = kept
        everything, self.args = self.args, self.host_arguments()
        if not self.trains_darknet():  # of those, YOLO() finds the trainer by itself
            setattr(self.args, trainers.note_for_stock(type(self), Path(self.save_dir)), True)
        try:
            return super().save_model()
        finally:
            self.args = everything
            note_written((self.last, self.best))

    def rewrite_arguments(self) -> None:
        """Write the run's ``args.yaml`` so that it can be given with ``cfg=``, here and in stock Ultralytics."""
        if RANK in {-1, 0}:
            rewrite_arguments(Path(self.save_dir), self.own_defaults, self.derived_arguments())

    @contextmanager
    def opening_own(self) -> Iterator[None]:
        """Open the checkpoints of this run, which may hold what its network does, and anything if it wrote them itself.

        A run that goes on may find the best weights of before in its folder, of whoever it is.
        """
        files = [file for file in (self.last, self.best) if file.is_file()]
        own = all(is_as_written(file) for file in files)
        with also(self.kinds()), guarded(own):
            yield
        if own:
            note_written(files)  # Ultralytics has left out of them what only training needs

    def kinds(self) -> set[type]:
        """Return the classes of which the network is made."""
        return {type(each) for each in self.plain_model.modules()}

    def check_checkpoints(self) -> None:
        """Refuse to go on with a run whose checkpoints hold code: the best weights are validated at its end."""
        with also(self.kinds()):
            for file in (self.whole_best, self.best, self.last):
                check_checkpoint(Path(file))

    def derived_arguments(self) -> dict[str, Any]:
        """Return what follows from the network and is told in ``args.yaml`` all the same."""
        return {}

    def host_arguments(self) -> Any:
        """Return a copy of the arguments with Ultralytics' own keys alone."""
        args = copy(self.args)
        for key in self.own_defaults:
            delattr(args, key)
            if key in DEFAULT_CFG_DICT:
                setattr(args, key, DEFAULT_CFG_DICT[key])
        return args

    @property
    def state_file(self) -> Path:
        """Where the exact state is kept."""
        return Path(self.wdir) / STATE

    def extra_state(self) -> dict[str, Any]:
        """Return what a trainer has to keep besides; numbers, texts and tensors."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take up what :meth:`extra_state` returned."""

    def keep_state(self) -> None:
        """Save the state after an update, every so often and before a stop."""
        every = self.args.save_iterations
        if self.stopping or self.is_over() or (every and self.update_index % every == 0):
            self.save_state()

    def is_over(self) -> bool:
        """Tell whether the run has made its last update."""
        return bool(self.epoch + 1 >= self.epochs and self.windows_done >= self.updates_per_epoch)

    def save_state(self) -> None:
        """Write everything that the next update depends on, whole or not at all."""
        if RANK in {-1, 0} and self.args.save:
            begin = time.monotonic()
            state.save(self.state_file, state.capture(self))
            self.kept_at = time.monotonic()
            self.keeping_took = self.kept_at - begin
            if self.recorder is not None and self.update_index:
                self.recorder.report_state(self)

    def can_rewind(self) -> bool:
        """Tell whether there is a state in this epoch to go back to."""
        return (
            self.args.save
            and self.state_file.is_file()
            and state.load(self.state_file, peek=True)["epoch"] == self.epoch
        )

    def rewind(self) -> None:
        """Go back to the last state, after a failure in the middle of an update."""
        reason = self.shortage
        self._free()
        self.forget_unscaled(1.0)
        rates = [
            {key: group[key] for key in ("lr", "momentum") if key in group} for group in self.optimizer.param_groups
        ]
        kept = state.load(self.state_file)
        state.restore(self, kept)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group.update(rate)  # the state may be from before the scheduler's step into this epoch
        if self.recorder is not None:
            self.recorder.rewind(kept["events"])
        self.reset_window()
        self.cut_finer(reason or "")
        self.train_loader.go_to(self.epoch, self.windows_done)

    def stop_wanted(self) -> bool:
        """Tell whether someone asked for the end of the run."""
        return self.stop_asked or (self.recorder is not None and self.recorder.stop_wanted())

    def epoch_is_done(self) -> None:
        """Keep the state after an epoch, its validation and everything that was reported of it."""
        if self.stop:
            return  # the state was kept after the last update: whoever goes on has this epoch's validation before him
        self.windows_done = 0
        if self.keeping_took > SHORT and time.monotonic() - self.kept_at < WORTH * self.keeping_took:
            return  # epochs of seconds: an older state is as exact, and costs less
        self.epoch += 1
        self.save_state()
        self.epoch -= 1

    def warn(self, code: str, text: str) -> None:
        """Tell the user and whoever reads the events."""
        if RANK in {-1, 0}:
            LOGGER.warning(text)
        if self.recorder is not None:
            self.recorder.emit(Warned(code=code, text=text))
