"""Training of a Darknet network in Ultralytics' loop, with the cfg's own optimizer, schedule and augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from ultralytics.utils import DEFAULT_CFG, RANK
from ultralytics.utils.torch_utils import unwrap_model

from yolo_subbatch.darknet.augment import Augmentation
from yolo_subbatch.darknet.averaging import Average, plan_average, take_over
from yolo_subbatch.darknet.geometry import largest_stride, with_classes
from yolo_subbatch.darknet.optimizer import darknet_sgd, set_rate
from yolo_subbatch.darknet.parser import parse_cfg, write_cfg
from yolo_subbatch.darknet.plan import Plan, plan_run
from yolo_subbatch.darknet.random_sizes import exact_random_size, largest_random_size, random_size, step_of
from yolo_subbatch.darknet.regular_files import write_atomically
from yolo_subbatch.darknet.schedule import learning_rate
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.darknet.weights import save_weights
from yolo_subbatch.engine import LOGGER, host
from yolo_subbatch.engine.arguments import describe_batch
from yolo_subbatch.engine.asking_again import with_args_file
from yolo_subbatch.engine.darknet_data import augmentation_of, padded_truths
from yolo_subbatch.engine.describing import described_norm, described_step
from yolo_subbatch.engine.doors import while_made
from yolo_subbatch.engine.host_trainer import DetectionTrainer
from yolo_subbatch.engine.image_channels import colour_note, of_data
from yolo_subbatch.engine.inference import DarknetValidator, build_dataset, for_picture, size_of
from yolo_subbatch.engine.keys import DARKNET_DEFAULTS, canonical, read_source, with_defaults, with_keys
from yolo_subbatch.engine.lengthening import darknet_schedule, is_longer, line
from yolo_subbatch.engine.loading import describe_order
from yolo_subbatch.engine.model import SHOWN_LOSSES, DarknetModel, image_size, load_darknet_weights
from yolo_subbatch.engine.subbatch import SubbatchMixin
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.checks import size_fault
from yolo_subbatch.settings.find import short_path

DYNAMIC_SHARE = 0.8  # of the memory at the largest size, that smaller inputs may take with dynamic_minibatch


class DarknetTrainer(SubbatchMixin, DetectionTrainer):
    """Train a :class:`~yolo_subbatch.engine.model.DarknetModel`.

    Optimizer, rate, momentum, decay, burn-in, policy and length come from ``[net]`` by iteration; keys override them.
    """

    own_defaults = DARKNET_DEFAULTS
    additive_loss = True

    @while_made
    def __init__(
        self, cfg: Any = DEFAULT_CFG, overrides: dict[str, Any] | None = None, _callbacks: dict[str, Any] | None = None
    ) -> None:
        self.refuse_own(
            ("_setup_scheduler", "_get_warmup_iterations"),
            "has no effect, the rate of a Darknet network follows [net]; give policy=, burn_in= and the like, or "
            "override set_rates(update_index)",
        )
        raw = with_args_file(overrides or {})
        given = self.begin(canonical(raw))
        # A run that is taken up, or a process of one on several devices, gets complete arguments.
        complete = bool(given.get("complete"))
        self.source = read_source(given, raw) if self.resumed is None else self._own_source(given)
        given = given if complete else with_defaults(given, self.source)
        self.plan: Plan | None = None
        self.plan_before: Plan | None = None  # of a run that goes on with another length
        self.average: Average | None = None  # what ema_alpha asks for; without it, Ultralytics' average
        self.updates_before = 0  # of the run's first window: those of the weights at the start
        self.seen_before: tuple[int, int | None] = (0, None)  # images and iteration of the weights at the start
        self.size = size_of(given["imgsz"])
        super().__init__(cfg, given, _callbacks)
        self.args.warmup_epochs = 0.0  # [net] has a burn-in
        fault = size_fault(*self.size, largest_stride(self.source))
        if fault:
            raise SettingsError(fault)

    def _own_source(self, given: dict[str, Any]) -> Cfg:
        """Return the cfg that the run was begun with, whatever became of its file."""
        assert self.resumed is not None
        text = self.resumed["extra"].get("source")
        if not isinstance(text, str):
            raise SettingsError("resume: the state of this run holds no cfg; start a new run with weights=")
        source = parse_cfg(text, str(given.get("model")))
        return with_keys(source, {"subdivisions": given.get("subdivisions")})

    def multiply_batch(self, devices: int) -> None:
        """Take the cfg's batch and rate as those of one device."""
        super().multiply_batch(devices)
        rate = self.source.net.learning_rate * devices
        self.args.learning_rate, self.args.lr0 = rate, min(1.0, rate)
        self.source = with_keys(self.source, {"learning_rate": rate, "batch": self.args.batch})

    @property
    def flavour(self) -> str:
        """Whose Darknet decides where they differ."""
        return self.source.flavour(self.args.flavour)

    # --- data -------------------------------------------------------------------------------------------------------

    def get_dataset(self) -> dict[str, Any]:
        """Return the data set, whose images are read as the network takes them."""
        return of_data(super().get_dataset(), self.source.net.channels, self.source.path)

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build the data set of one split, with Darknet's augmentation for training."""
        training = mode == "train"
        return build_dataset(
            self.args, img_path, self.args.batch, self.data, size=self.size,
            fit=self.args.letterbox, stride=largest_stride(self.cfg), training=training,
            augmentation=self.augmentation() if training and self.args.augmentation == "darknet" else None,
        )  # fmt: skip

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Draw a batch of training images with their truths."""
        super().plot_training_samples(for_picture(batch), ni)

    def augmentation(self) -> Augmentation:
        """Return Darknet's augmentation as the cfg and the keys have it."""
        return augmentation_of(self.cfg, self.plain_model.network.flavour)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a sub-batch: truths as one table, and the size that all sub-batches of this update share."""
        self.plain_model.network.set_seen(self.seen)  # the same for all sub-batches of an update
        truths = padded_truths(batch)  # on the CPU, and left there: the loss then never waits for a GPU
        batch = super().preprocess_batch(batch)
        batch["truths"] = truths
        size = self.input_size(self.update_index + 1)
        if size != batch["img"].shape[:1:-1]:
            batch["img"] = F.interpolate(batch["img"], size[::-1], mode="bilinear", align_corners=False)
            self.input_shape = list(size)
        return batch

    def input_size(self, iteration: int) -> tuple[int, int]:
        """Return width and height of the network's input in one iteration: fixed, or drawn every ten (``random``)."""
        factor = self.cfg.heads[-1].random
        if not factor:
            return self.size
        flavour, seed = self.plain_model.network.flavour, self.args.seed
        step = step_of(largest_stride(self.cfg), self.cfg.net.resize_step, flavour)
        if self.args.schedule == "exact":
            assert self.plan is not None
            return exact_random_size(iteration, self.plan.iterations, self.size, step, factor, seed, flavour)
        return random_size(iteration, self.size, step, factor, seed)

    def largest_size(self) -> tuple[int, int]:
        """Return width and height of the largest input that the run may draw."""
        factor, exact = self.cfg.heads[-1].random, self.args.schedule == "exact"
        if not factor:
            return self.size
        flavour = self.plain_model.network.flavour
        step = step_of(largest_stride(self.cfg), self.cfg.net.resize_step, flavour)
        return largest_random_size(self.size, step, factor, exact, flavour)

    # --- network and optimizer --------------------------------------------------------------------------------------

    @property
    def cfg(self) -> Cfg:
        """The cfg as it is trained: with the user's keys and the data set's classes."""
        model = self.plain_model
        return model.cfg if isinstance(model, DarknetModel) else self.source

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> DarknetModel:
        """Build the network, load weights, and fit the heads to the data set's classes."""
        names: dict[int, str] = dict(self.data["names"])
        own, cfg = self.source.heads[0].classes, self.source
        if own != len(names):
            cfg = with_classes(cfg, len(names))
            LOGGER.info(
                f"heads rebuilt for the data: classes {own} -> {len(names)}, "
                f"filters before [{self.source.heads[0].title}] {_filters(self.source)} -> {_filters(cfg)}"
            )
        torch.manual_seed(self.args.seed)
        model = DarknetModel(cfg, self.args.flavour, names)
        if weights is None and self.args.weights and self.resumed is None:
            file = short_path(Path(self.args.weights))  # messages name it as it was given, most often
            if own == len(names):
                load_darknet_weights(model.cfg, file, self.args.flavour, partial=True, into=model)
                self.seen_before = model.seen, model.iteration
            else:  # the file belongs to the network with its own heads
                weights = load_darknet_weights(self.source, file, self.args.flavour, partial=True)
        if weights is not None:
            model.load(weights, verbose=verbose and not self.args.weights and RANK in {-1, 0})
            self.seen_before = getattr(weights, "seen", 0), getattr(weights, "iteration", None)
        if self.resumed is not None:
            model.network.weights_version = self.resumed["extra"].get("weights_version")
        return model

    def get_validator(self) -> DarknetValidator:
        """Return the validator of the epochs and of the best weights at the end."""
        self.loss_names = () if host.losses_have_names() else SHOWN_LOSSES
        known = {key: value for key, value in vars(self.args).items() if key not in DARKNET_DEFAULTS}
        own = {"imgsz": image_size(self.cfg), "letterbox": self.asked["letterbox"]}
        validator = DarknetValidator(
            self.test_loader, save_dir=self.save_dir, args={**known, **own}, _callbacks=self.callbacks
        )
        validator.channels, validator.network_file = self.cfg.net.channels, self.source.path
        return validator

    def build_optimizer(self, model: torch.nn.Module, **keywords: Any) -> torch.optim.Optimizer:
        """Build Darknet's SGD; any other ``optimizer=`` is Ultralytics' own."""
        if str(self.args.optimizer).lower() not in {"sgd", "auto"}:
            return super().build_optimizer(model, **keywords)
        groups = self.resumed["optimizer"]["param_groups"] if self.resumed is not None else [{"fused": True}]
        return darknet_sgd(unwrap_model(model).network, all(group.get("fused") for group in groups))

    def _build_train_pipeline(self) -> None:
        """Build the loaders; with the number of images known, the length of the run is."""
        super()._build_train_pipeline()
        if self.plan is None:
            self._plan_run(self.train_loader.images)

    def _plan_run(self, images: int) -> None:
        given, own, exact = self.args.given, self.cfg.net.max_batches, self.args.schedule == "exact"
        self.plan = plan_run(
            self.cfg.net, images, self.args.epochs if "epochs" in given else None,
            self.args.max_batches, exact, given,
        )  # fmt: skip
        if is_longer(self):
            assert self.resumed is not None
            before = self.resumed["longer"]["before"]
            self.plan_before = plan_run(
                self.cfg.net, images, before.get("epochs"), before.get("max_batches"), exact, given
            )
        if self.plain_model.network.flavour != "pjreddie":
            factor = 1.0 if exact or not own else self.plan.iterations / own
            self.average = plan_average(self.cfg.net.ema_alpha, self.plan.iterations, factor)
        self.epochs = self.args.epochs = self.plan.epochs
        self.plain_model.set_net(self.plan.net)
        if self.args.seen == "keep":
            if self.resumed is not None:
                self.load_extra_state(self.resumed["extra"])
            seen, iteration = self.seen_before
            self.progress.seen = seen
            self.progress.iteration = seen // self.args.batch if iteration is None else iteration
            if self.update_index >= self.plan.iterations:
                raise SettingsError(
                    f"seen=keep: the weights have seen {self.seen} images, that is iteration {self.update_index} of "
                    f"{self.plan.iterations}: nothing is left to train; give a larger max_batches or leave seen= out"
                )
            left = self.plan.iterations - self.update_index
            self.epochs = self.args.epochs = math.ceil(left / self.plan.updates_per_epoch)

    def start_line(self) -> str:
        """Say in a few lines what will happen."""
        assert self.plan is not None
        plan = self.plan
        said = [
            describe_batch(self.args, self.world_size), f"{plan.updates_per_epoch} updates per epoch",
            f"{plan.iterations} iterations, {plan.epochs} epochs", described_step(self),
            f"learning rate {plan.net.learning_rate:g} ({plan.net.policy}, burn-in {plan.net.burn_in})",
            *described_norm(self), *describe_order(self.train_loader),
        ]  # fmt: skip
        flavour = self.source.flavour_line(self.args.flavour)
        average = self.average.note if self.average else ""
        colours = colour_note(self.cfg.net, self.args.given) if self.args.augmentation == "darknet" else ""
        lines = ("; ".join(said), flavour, plan.note, average, self._dynamic_line(), colours)
        return "\n".join(line for line in lines if line)

    def length_line(self) -> str:
        """Say what becomes of the schedule with the new length of a run."""
        before, now = self.plan_before, self.plan
        assert before is not None
        assert now is not None
        exact = self.args.schedule == "exact"
        schedule = darknet_schedule(before.net, now.net, exact)
        if exact and self.cfg.heads[-1].random:
            schedule.append(f"input sizes so far were drawn for {before.iterations} iterations")
        change = f"another length: {before.iterations} -> {now.iterations} iterations"
        return line(self, change, schedule, learning_rate(now.net, self.update_index + 1))

    def _dynamic_line(self) -> str:
        if not self._is_dynamic():
            return ""
        return (
            "dynamic_minibatch: smaller inputs are computed in fewer and larger sub-batches; an update is "
            f"{self.args.batch} images at every size"
        )

    def _is_dynamic(self) -> bool:
        """Tell whether sub-batches grow where the input is small."""
        wanted = self.cfg.net.dynamic_minibatch and self.plain_model.network.flavour == "alexeyab"
        return bool(wanted and self.cfg.heads[-1].random)

    def is_set_up(self) -> None:
        """Have Ultralytics' average of the weights as the cfg asks for it, and sub-batches that grow."""
        average, loader = self.average, self.train_loader
        if average is not None:
            self.ema.decay = lambda _: average.decay(self.update_index)
        if self._is_dynamic():
            self.updates_before = self.update_index - (self.epoch * loader.windows + self.windows_done)
            loader.size_at = self.sub_batch_at
            loader.go_to(self.epoch, self.windows_done)  # forget what was read ahead in other sub-batches

    def sub_batch_at(self, window: int) -> int:
        """Return the images of a sub-batch of the n-th window of the run, from 0, for ``dynamic_minibatch``.

        As many as use four fifths of the memory that the largest input takes, and about the same number in all the
        sub-batches of the window. Darknet enlarges each sub-batch instead, and so the batch.
        """
        batch, size = self.args.batch, self.train_loader.size
        width, height = self.input_size(self.updates_before + window + 1)
        largest = math.prod(self.largest_size())
        fitting = int(DYNAMIC_SHARE * size * largest / (width * height))
        return math.ceil(batch / math.ceil(batch / max(size, min(batch, fitting))))

    def around__get_warmup_iterations(self, theirs: Callable[[int], int], batches: int) -> int:
        """Have no warm-up of Ultralytics': ``[net]`` has a burn-in."""
        return 0

    def step(self, theirs: Callable[[], Any]) -> None:
        """Change the weights, and at one iteration put their average in their place."""
        super().step(theirs)
        if self.average is not None and self.update_index == self.average.taken_over:
            take_over(self.plain_model, self.ema.ema)

    def set_rates(self, update_index: int) -> None:
        """Set the cfg's learning rate of this iteration."""
        assert self.plan is not None
        set_rate(self.optimizer, learning_rate(self.plan.net, update_index + 1))

    def is_over(self) -> bool:
        """Tell whether the run has made its last iteration."""
        return super().is_over() or (self.plan is not None and self.update_index >= self.plan.iterations)

    def after_event(self, event: str) -> None:
        """End the run with its last iteration: only here does ``time=`` leave ``stop`` alone."""
        super().after_event(event)
        if event == "on_train_batch_end" and self.is_over():
            self.stop = True

    # --- what is kept -----------------------------------------------------------------------------------------------

    def save_model(self) -> Any:
        """Save Ultralytics' checkpoints and, for Darknet and OpenCV, weights with the cfg that belongs to them."""
        self.ema.ema.seen, self.ema.ema.iteration = self.seen, self.update_index
        saved = super().save_model()
        network = self.plain_model.network
        self.save_last_weights()
        if self.best_fitness == self.fitness and self.fitness is not None:
            save_weights(self.ema.ema.network, self.wdir / "best.weights", self.seen)
        write_atomically(self.wdir / "model.cfg", write_cfg(network.cfg).encode())
        return saved

    def derived_arguments(self) -> dict[str, Any]:
        """Return what the cfg says and Ultralytics has another name for."""
        return {"learning_rate": self.source.net.learning_rate, "decay": self.source.net.decay}

    def host_arguments(self) -> Any:
        """Return the arguments that Ultralytics knows, with height and width of the network's input."""
        args = super().host_arguments()
        args.imgsz = image_size(self.cfg)
        return args

    def save_last_weights(self) -> None:
        """Write the weights of the last update."""
        save_weights(self.plain_model.network, self.wdir / "last.weights", self.seen)

    def save_state(self) -> None:
        """Keep the exact state, and in the middle of an epoch Darknet's weights too."""
        super().save_state()
        if self.windows_done and self.args.save and RANK in {-1, 0}:
            self.save_last_weights()

    def extra_state(self) -> dict[str, Any]:
        """Return the cfg, where the first weights stood in their schedule, and the version of their file."""
        version = self.plain_model.network.weights_version
        before = list(self.seen_before)
        return {"source": write_cfg(self.source), "seen_before": before, "weights_version": version}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take up where the first weights stood."""
        self.seen_before = tuple(extra["seen_before"])


def _filters(cfg: Cfg) -> int:
    """Return the filters before the first head."""
    head = cfg.heads[0]
    return len(head.selected) * head.values
