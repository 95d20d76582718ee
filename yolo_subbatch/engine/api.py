"""``Darknet``: what users train, validate and ask of a Darknet network, in the words of Ultralytics' models."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path
from typing import Any

from ultralytics.engine.model import Model
from ultralytics.models.yolo.model import YOLO
from ultralytics.utils import DEFAULT_CFG_DICT

from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.parser import read_cfg, write_cfg
from yolo_subbatch.darknet.weights import save_weights
from yolo_subbatch.engine.asking_again import keys_of
from yolo_subbatch.engine.describe_data import host_data, missing_for
from yolo_subbatch.engine.host_offline import offline
from yolo_subbatch.engine.keys import prepare_keywords, with_data
from yolo_subbatch.engine.model import DarknetModel, darknet_task_map, image_size, load_darknet_weights
from yolo_subbatch.engine.opening import names_left_alone, opened, rename, told
from yolo_subbatch.engine.state import run_to_resume
from yolo_subbatch.engine.stock import check_format
from yolo_subbatch.engine.trainer_choice import check_trainer, own_trainer
from yolo_subbatch.engine.tuning import tune_darknet
from yolo_subbatch.errors import ExportError, SettingsError, WeightsError, YoloSubbatchError
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.args_file import overridden
from yolo_subbatch.settings.find import find_cfg, find_checkpoint, is_checkpoint
from yolo_subbatch.settings.output_checks import write_output
from yolo_subbatch.settings.plain_text import COLOUR
from yolo_subbatch.settings.trust import TRUST, guarded, is_trusted

LONGEST_REASON = 200  # letters


def _first_line(error: Exception) -> str:
    """Return what an error of another package says, on one line and without its colours."""
    lines = (COLOUR.sub("", line).strip() for line in str(error).splitlines())
    found = next((line for line in lines if line), type(error).__name__)
    return found if len(found) <= LONGEST_REASON else f"{found[:LONGEST_REASON]}..."


def watched(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method the keyword ``trust``; without it, and without the network's own, no code in a file runs."""

    @wraps(method)
    def with_trust(self: Darknet, *arguments: Any, trust: Any = None, **keywords: Any) -> Any:
        trusted = self._trust if trust is None else is_trusted(trust)
        if trusted and method.__name__ == "train":
            keywords[TRUST] = True  # for the processes that it may start
        with guarded(trusted):
            found = method(self, *arguments, **keywords)
        return _watched_steps(found, trusted) if isinstance(found, Generator) else found

    return with_trust


def _watched_steps(found: Generator[Any, None, None], trusted: bool) -> Generator[Any, None, None]:
    """Give what a generator does, whose steps are watched and what is done between them is not."""
    try:
        while True:
            with guarded(trusted):
                try:
                    step = next(found)
                except StopIteration:
                    return
            yield step
    finally:
        found.close()


class Darknet(Model):
    """A Darknet network, used like ``ultralytics.YOLO``.

    >>> model = Darknet("yolov3.cfg", weights="yolov3.weights")
    >>> model.train(data="obj.data", batch=64, subdivisions=16, max_norm=20.0)

    Args:
        model: A ``.cfg``, the name of a bundled one, or a ``.pt`` that this trainer wrote.
        weights: A Darknet ``.weights`` file for the cfg; a backbone such as ``darknet53.conv.74`` is accepted.
        flavour: Whose Darknet decides where they differ: ``auto``, ``pjreddie`` or ``alexeyab``.
        trust: Code that stands in files may run, here and in all that is done with this network; every method takes
            ``trust=True`` too.

    Raises:
        YoloSubbatchError: If a file is missing or does not fit.
    """

    model: Any
    predictor: Any
    overrides: dict[str, Any]

    def __init__(
        self, model: str | Path = "yolov3.cfg", weights: str | Path | None = None, flavour: str = "auto",
        verbose: bool = False, trust: bool = False,
    ) -> None:  # fmt: skip
        self._weights_file, self._flavour = weights, flavour
        self._file, self._trust = Path(model), is_trusted(trust)
        with guarded(self._trust):
            super().__init__("", task="detect", verbose=verbose)  # which would change the name

    def _load(self, weights: str, task: str | None = None) -> None:
        """Load a checkpoint, or build the network of a cfg."""
        if not is_checkpoint(self._file):
            self._build(str(find_cfg(self._file)))
            return
        file = find_checkpoint(self._file)
        if self._weights_file is not None:
            raise SettingsError(f"weights={self._weights_file}: {file} has its own weights; give one of the two")
        self._load_checkpoint(file)

    def _load_checkpoint(self, file: Path) -> None:
        with opened(file) as name:
            super()._load(name)
        rename(self, file)
        if not isinstance(self.model, DarknetModel):
            raise WeightsError(
                f"{file}: holds a {type(self.model).__name__}, not a Darknet network; use ultralytics.YOLO"
            )
        self._use_own_size()

    def _use_own_size(self) -> None:
        """Work at the network's width and height, of which Ultralytics keeps the larger one only."""
        self.overrides["imgsz"] = self.model.args["imgsz"] = image_size(self.model.cfg)

    def _build(self, path: str) -> None:
        cfg = read_cfg(path)
        if self._weights_file is None:
            self.model = DarknetModel(cfg, self._flavour)
        else:
            self.model = load_darknet_weights(cfg, self._weights_file, self._flavour, partial=True)
            self.ckpt = {"model": self.model}  # tells Ultralytics to start training from these weights
        self.cfg, self.task = path, "detect"
        self.overrides.update(model=path, task="detect", imgsz=image_size(cfg))
        self.model.args = {**DEFAULT_CFG_DICT, **self.overrides}
        self.model.task, self.model_name = self.task, path

    @property
    def network(self) -> Network:
        """The torch network."""
        network: Network = self.model.network
        return network

    @watched
    def load(self, weights: Any = "yolov3.weights") -> Darknet:
        """Take the weights of a ``.pt``, of a model, or of a Darknet ``.weights`` file or backbone.

        Raises:
            WeightsError: If a file does not fit the cfg.
        """
        if not isinstance(weights, (str, Path)):
            super().load(weights)
            self._weights_file = None
            return self
        if is_checkpoint(weights):
            file = find_checkpoint(weights)
            with told(file), names_left_alone():
                super().load(str(file))
            self._weights_file = None
            return self
        self.model = load_darknet_weights(
            self.model.cfg, weights, self.model.yaml["flavour"], partial=True, into=self.model
        )
        self.overrides.pop("pretrained", None)
        self.ckpt, self.ckpt_path, self.predictor = {"model": self.model}, None, None
        self._weights_file = weights
        return self

    def save_weights(self, file: str | Path, seen: int = 0) -> None:
        """Write the weights as Darknet's ``.weights`` and the cfg beside them.

        Raises:
            WeightsError: If the file cannot be written, or batch normalisation was folded away by :meth:`fuse`.
        """
        if self.model.folded:
            raise WeightsError(
                f"{file}: fuse() has folded the batch normalisation away, which the cfg asks for; "
                "open the network again to write it"
            )
        save_weights(self.network, file, seen)
        write_output(Path(file).with_suffix(".cfg"), write_cfg(self.model.cfg).encode())

    @watched
    def train(self, trainer: Any = None, **keywords: Any) -> Any:
        """Train with Darknet's batch, subdivisions and schedule; keys as on the command line.

        Without ``data`` the built-in data set ``shapes`` is used. ``resume`` goes on with a run that was ended, given
        by its folder, or by True where this model is a checkpoint of it.
        """
        check_trainer(trainer)
        if keywords.get("cfg"):
            asked = {key: value for key, value in keys_of(keywords.pop("cfg")).items() if key != "model"}
            keywords = overridden(asked, keywords)
        if keywords.get("resume"):
            place = (self.ckpt_path or True) if keywords["resume"] is True else keywords["resume"]
            before, folder = self.overrides, run_to_resume(place).path
            trainer = trainer or own_trainer(folder)
            self.overrides = {key: before[key] for key in ("model", "task")}  # the size is the run's
            try:
                with names_left_alone():
                    metrics = super().train(trainer, **{**keywords, "resume": str(folder)})
            except BaseException:
                self.overrides = before
                raise
            self._use_own_size()
            return metrics
        if self._flavour != "auto":
            keywords = {"flavour": self._flavour, **keywords}
        again = {self.overrides.get("pretrained"), keywords.get("pretrained")} & {False}
        if self._weights_file is not None and self.ckpt_path is None and not again:
            keywords.setdefault("weights", str(Path(self._weights_file).absolute()))
        with names_left_alone():
            metrics = super().train(trainer, **prepare_keywords(keywords))
        self._use_own_size()
        return metrics

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds locks and threads, and is made again where it is needed."""
        return {**self.__dict__, "predictor": None, "trainer": None}

    @watched
    def predict(self, source: Any = None, stream: bool = False, predictor: Any = None, **keywords: Any) -> Any:
        """Find objects; ``letterbox`` says how images are fitted to the network."""
        if "letterbox" in keywords or getattr(self.predictor, "fit", "ultralytics") != "ultralytics":
            self.predictor = None  # Ultralytics would use the one of the call before, and refuse the key
        return super().predict(source, stream, predictor, **keywords)

    @watched
    def val(self, *arguments: Any, **keywords: Any) -> Any:
        """Measure the network, as ``YOLO.val``; where no data set is known, on the built-in one."""
        return super().val(*arguments, **with_data(keywords, self.overrides))

    @watched
    def track(self, *arguments: Any, **keywords: Any) -> Any:
        """Follow objects, as ``YOLO.track``; the network that a tracker names is opened as any other."""
        return super().track(*arguments, **keywords)

    @watched
    @offline
    def export(self, **keywords: Any) -> str:
        """Write an ONNX file and return its path; keys as on the command line.

        Another ``format`` is written by Ultralytics, with its keys, and not compared with the network.

        Raises:
            YoloSubbatchError: If it cannot be written, also by Ultralytics, or does not compute what the network does.
        """
        kind = str(keywords.get("format") or "onnx").lower()
        if kind != "onnx":
            check_format(kind)
            try:
                return str(super().export(**keywords))
            except YoloSubbatchError:
                raise
            except Exception as error:  # whatever its many exporters, and the packages that they call, may raise
                raise ExportError(
                    f"format={kind}: Ultralytics cannot write it here ({_first_line(error)}); "
                    "mend that, or leave format out for an ONNX file"
                ) from error
        source = Path(self.ckpt_path or self._weights_file or Path(self.model_name or "model").name)
        path: str = load("export.command:export_keywords")(self.model, source, keywords)
        return path

    @watched
    def benchmark(self, data: Any = None, format: str = "", verbose: Any = False, **keywords: Any) -> Any:
        """Measure the formats that Ultralytics exports; ``data`` is a Darknet ``.data`` too."""
        with host_data(data, "val", missing_for(None, data, self.model.yaml["flavour"])) as path:
            return YOLO(self).benchmark(data=path, format=format, verbose=verbose, **keywords)

    @watched
    def tune(self, use_ray: bool = False, iterations: int = 300, *arguments: Any, **keywords: Any) -> Any:
        """Search for hyperparameters as Ultralytics does; our keys are those of every training.

        Without ``space``, learning rate, momentum and decay are tried.

        Raises:
            SettingsError: If something is to be tried that its tuner cannot vary.
        """
        return tune_darknet(self, use_ray, iterations, *arguments, **keywords)

    @property
    def task_map(self) -> dict[str, dict[str, Any]]:
        """Which classes do what for this kind of model."""
        return darknet_task_map()
