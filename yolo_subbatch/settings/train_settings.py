"""What a user can set for a training, in one place: command line, help, form and documentation are made from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.safe_reading import parse_json
from yolo_subbatch.settings.trust import TRUST, refuse_own_trust
from yolo_subbatch.settings.values import ALIASES, defaults, make

FLAVOURS = ("auto", "pjreddie", "alexeyab")
MISSING_LABELS = ("error", "skip", "background")
LETTERBOXES = ("ultralytics", "darknet", "stretch")
POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid", "random", "sgdr")
LONGEST = 2**31 - 1  # epochs or iterations
CFGS, DATA, MODELS = "Darknet cfg (*.cfg)", "Data set (*.data *.yaml *.yml)", "Model (*.pt *.yaml *.yml)"


def setting(default: Any, group: str, label: str, tip: str, **details: Any) -> Any:
    """Declare one setting.

    Args:
        default: Its value when not given; None leaves it to the cfg, to Darknet or to Ultralytics.
        group: Its heading in help and form.
        label: Its name in a form.
        tip: One sentence.
        **details: ``min``, ``max`` (allowed bounds), ``above``, ``below`` (bounds that are not allowed themselves),
            ``infinite`` (infinity is allowed), ``choices``, ``words`` (texts besides numbers), ``switch`` (a number of
            which 0 and 1 are off and on), ``compact`` (a text in small letters without blanks), ``kind`` (file,
            folder), ``output`` (the file is written; what it holds, see ``run.marks``), ``filter`` of a file dialogue,
            ``decimals`` of a form, ``advanced`` (not shown at first).
    """
    return dataclasses.field(default=default, metadata={"group": group, "label": label, "tip": tip, **details})


def trust_setting(group: str) -> Any:
    """Declare whether code in the files that are opened may run."""
    return setting(
        False, group, "Trust", "Let code in opened files run: for files of people whom you know.", advanced=True
    )


def pixels_setting(default: int | None) -> Any:
    """Declare how large a picture may be."""
    tip = "Images of more pixels are left out before they are decoded."
    return setting(default, "Data", "Most pixels", tip, min=1, advanced=True)


def overwrite_setting() -> Any:
    """Declare whether a file that somebody else wrote may be replaced by a result."""
    tip = "Replace a file at the result's place that this program did not write; never a file that is read."
    return setting(False, "Result", "Overwrite", tip, advanced=True)


@dataclass(frozen=True)
class TrainSettings:
    """Everything that ``train`` understands; None means the cfg's value or Darknet's default."""

    cfg: str | None = setting(
        None, "Network", "Cfg", "Darknet cfg to train: a file, or a bundled name such as yolov3-tiny.",
        kind="file", filter=CFGS,
    )  # fmt: skip
    model: str | None = setting(
        None, "Network", "Model", "Instead of cfg: the .pt of an earlier run, or any Ultralytics .yaml or .pt.",
        kind="file", filter=MODELS,
    )  # fmt: skip
    weights: str | None = setting(
        None, "Network", "Weights", "Darknet weights to start from, also a backbone such as darknet53.conv.74.",
        kind="file", filter="Darknet weights (*.weights *.conv.*)",
    )  # fmt: skip
    flavour: str = setting(
        "auto", "Network", "Flavour", "Whose Darknet decides where the two differ.", choices=FLAVOURS, advanced=True
    )
    data: str | None = setting(
        None, "Data", "Data", "Darknet .data or Ultralytics .yaml; the built-in data set shapes if not given.",
        kind="file", filter=DATA,
    )  # fmt: skip
    imgsz: int | tuple[int, int] | None = setting(
        None, "Data", "Image size", "Input size in pixels, or height,width; the cfg's if not given.", min=8, max=8192
    )
    letterbox: str = setting(
        "ultralytics", "Data", "Letterbox", "How validation images are fitted to the network.",
        choices=LETTERBOXES, advanced=True,
    )  # fmt: skip
    missing_labels: str | None = setting(
        None, "Data", "Missing labels", "An image without label file: error (pjreddie's Darknet), skip or background.",
        choices=MISSING_LABELS, advanced=True,
    )  # fmt: skip
    max_pixels: int | None = pixels_setting(None)
    batch: int | None = setting(None, "Batch", "Batch", "Images per weight update.", min=1, max=2**20)
    subdivisions: int | str | None = setting(
        None, "Batch", "Subdivisions", "Parts in which a batch is computed; auto: as few as fit into memory.",
        min=1, max=2**20, words=("auto",),
    )  # fmt: skip
    memory: str | None = setting(
        None, "Batch", "Memory", "What subdivisions=auto may use, such as 8GB; all that is free if not given.",
        advanced=True,
    )  # fmt: skip
    recompute: bool | None = setting(
        None, "Batch", "Recompute", "Keep fewer activations and compute them again: less memory, a third more work.",
        choices=(False, True), advanced=True,
    )  # fmt: skip
    max_norm: float = setting(
        20.0, "Batch", "Clip", "Largest norm of a batch's gradient; 0 or inf: not clipped.", min=0, infinite=True
    )
    norm_type: float = setting(
        2.0, "Batch", "Norm", "Kind of that norm.", choices=(2.0, math.inf), infinite=True, advanced=True
    )
    bn: str = setting(
        "sub-batch", "Batch", "BatchNorm", "Its statistics: of each sub-batch as in Darknet, frozen, or gathered.",
        choices=("sub-batch", "frozen", "cross"), advanced=True,
    )  # fmt: skip
    exact_norm: bool = setting(
        False, "Batch", "Exact normaliser", "Make Ultralytics' own losses independent of subdivisions.", advanced=True
    )
    batch_per_gpu: bool = setting(
        False, "Batch", "Batch per GPU", "Darknet's way: batch and learning rate are multiplied by the GPUs.",
        advanced=True,
    )  # fmt: skip
    epochs: int | None = setting(
        None, "Length", "Epochs", "Passes over the data; what max_batches means if not given.", min=1, max=LONGEST
    )
    max_batches: int | None = setting(
        None, "Length", "Iterations", "Weight updates from the first to the last.", min=1, max=LONGEST
    )
    patience: int | None = setting(
        None, "Length", "Patience", "Stop after so many epochs without a better mAP; 0: never.", min=0, advanced=True
    )
    max_skipped: int | None = setting(
        None, "Length", "Bad updates", "Stop after so many updates in a row without finite numbers; 0: never.",
        min=0, advanced=True,
    )  # fmt: skip
    schedule: str = setting(
        "scaled", "Length", "Schedule", "Fit the cfg's schedule to the length of the run, or keep its exact numbers.",
        choices=("scaled", "exact"),
    )  # fmt: skip
    seen: str = setting(
        "reset", "Length", "Images seen", "Start at iteration 0, or keep the weights file's place in the schedule.",
        choices=("reset", "keep"), advanced=True,
    )  # fmt: skip
    learning_rate: float | None = setting(
        None, "Optimizer", "Learning rate", "Learning rate (also lr0).", above=0, decimals=6
    )
    momentum: float | None = setting(None, "Optimizer", "Momentum", "Momentum.", min=0, below=1, decimals=4)
    decay: float | None = setting(
        None, "Optimizer", "Decay", "Weight decay (also weight_decay).", min=0, max=1, decimals=6
    )
    burn_in: int | None = setting(None, "Optimizer", "Burn-in", "Iterations in which the rate rises.", min=0)
    power: float | None = setting(
        None, "Optimizer", "Power", "Exponent of the burn-in and of policy=poly.", min=0, advanced=True
    )
    policy: str | None = setting(None, "Optimizer", "Policy", "How the rate falls.", choices=POLICIES, advanced=True)
    steps: tuple[int, ...] | None = setting(
        None, "Optimizer", "Steps", "Iterations at which the rate changes (policy=steps).", advanced=True
    )
    scales: tuple[float, ...] | None = setting(
        None, "Optimizer", "Scales", "Factor on the rate at each of the steps.", above=0, advanced=True
    )
    step: int | None = setting(
        None, "Optimizer", "Step", "Iterations between changes (policy=step).", min=1, advanced=True
    )
    scale: float | None = setting(
        None, "Optimizer", "Scale", "Factor of each change (policy=step).", min=0, advanced=True
    )
    gamma: float | None = setting(
        None, "Optimizer", "Gamma", "Base (policy=exp) or slope (policy=sigmoid).", min=0, advanced=True
    )
    learning_rate_min: float | None = setting(
        None, "Optimizer", "Least rate", "Rate at the end of each cycle (policy=sgdr).",
        min=0, decimals=6, advanced=True,
    )  # fmt: skip
    ema_alpha: float | None = setting(
        None, "Optimizer", "Average", "Average the weights in the second half of a run, as AlexeyAB's Darknet; 0: no.",
        min=0, max=1, decimals=5, advanced=True,
    )  # fmt: skip
    augmentation: str = setting(
        "darknet", "Augmentation", "Augmentation", "Darknet's, or Ultralytics' with its own keys.",
        choices=("darknet", "ultralytics"),
    )  # fmt: skip
    random: float | None = setting(
        None, "Augmentation", "Random size", "New input size every 10 updates: 0 off, 1 up to 1.4 times, or a factor.",
        min=0, max=4, switch=True,
    )  # fmt: skip
    jitter: float | None = setting(
        None, "Augmentation", "Jitter", "Largest change of proportions and place, as a share of the image.",
        min=0, below=1,
    )  # fmt: skip
    hue: float | None = setting(None, "Augmentation", "Hue", "Largest shift of the hue.", min=0, max=1)
    saturation: float | None = setting(
        None, "Augmentation", "Saturation", "Largest factor on the saturation; 1: unchanged.", above=0
    )
    exposure: float | None = setting(
        None, "Augmentation", "Exposure", "Largest factor on the brightness; 1: unchanged.", above=0
    )
    flip: int | None = setting(None, "Augmentation", "Flip", "Mirror every second image or none.", choices=(0, 1))
    resize: float | None = setting(
        None, "Augmentation", "Resize", "The image gets up to so many times larger or smaller; 1: neither.",
        min=0.1, max=10, advanced=True,
    )  # fmt: skip
    letter_box: int | None = setting(
        None, "Augmentation", "Keep proportions", "Fit training images with their own proportions (AlexeyAB's).",
        choices=(0, 1), advanced=True,
    )  # fmt: skip
    mosaic_bound: int | None = setting(
        None, "Augmentation", "Mosaic bound", "Boxes of a mosaic end where their part of it does.",
        choices=(0, 1), advanced=True,
    )  # fmt: skip
    blur: int | None = setting(
        None, "Augmentation", "Blur", "Blur some images, or all of them but the objects; 0: none.", min=0, advanced=True
    )
    gaussian_noise: int | None = setting(
        None, "Augmentation", "Noise", "Standard deviation of noise on half of the images; 0: none.",
        min=0, max=127, advanced=True,
    )  # fmt: skip
    resize_step: int | None = setting(
        None, "Augmentation", "Size step", "Random input sizes are multiples of this and of the network's stride.",
        min=1, max=1024, advanced=True,
    )  # fmt: skip
    angle: float | None = setting(
        None, "Augmentation", "Angle", "Not used for detection, as in Darknet.", min=0, advanced=True
    )
    ignore_thresh: float | None = setting(
        None, "Loss", "Ignore threshold", "Overlap from which a box that is not responsible is not punished.",
        min=0, max=1, advanced=True,
    )  # fmt: skip
    truth_thresh: float | None = setting(
        None, "Loss", "Truth threshold", "Overlap from which such a box learns the object too.",
        min=0, max=1, advanced=True,
    )  # fmt: skip
    device: str | None = setting(None, "Run", "Device", "cpu, 0 or 0,1; the first GPU if not given.", compact=True)
    workers: int | None = setting(None, "Run", "Workers", "Processes that load images.", min=0, max=1024, advanced=True)
    amp: bool | str | None = setting(
        None, "Run", "Half precision", "False, True (float16, on a GPU) or bf16.",
        choices=(False, True, "bf16", "fp16", "fp32"), advanced=True,
    )  # fmt: skip
    seed: int | None = setting(None, "Run", "Seed", "Start of every random number.", min=0, max=2**32 - 1)
    project: str = setting("runs", "Run", "Project", "Folder that holds the runs.", kind="folder")
    name: str = setting("train", "Run", "Name", "Name of the run's folder; a taken one gets a number.")
    resume: str | None = setting(
        None, "Run", "Resume", "Go on with the run in this folder as if it had never ended.",
        kind="folder", advanced=True,
    )  # fmt: skip
    save_iterations: int | None = setting(
        None, "Run", "Save every", "Iterations after which resume can go on, besides every epoch; 0: epochs only.",
        min=0, advanced=True,
    )  # fmt: skip
    keep_state: bool = setting(
        True, "Run", "Keep state", "Keep the exact state of a finished run, so that it can be trained longer.",
        advanced=True,
    )  # fmt: skip
    trust: bool = trust_setting("Run")
    run_dir: str | None = setting(
        None, "Run", "Prepared folder", "Use this folder and the settings.json in it, alone.",
        kind="folder", advanced=True,
    )  # fmt: skip
    extra: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={
            "group": "Ultralytics",
            "label": "More keys",
            "tip": "Other training keys of Ultralytics.",
            "advanced": True,
        },
    )

    def __post_init__(self) -> None:
        """Make lists of the tuples in ``extra``: JSON knows no others, and a round trip must change nothing."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.extra.items()}
        object.__setattr__(self, "extra", plain)

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults."""
        usual = defaults(TrainSettings)
        return {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}

    def keywords(self) -> dict[str, Any]:
        """Return what was set, as keywords of ``Model.train``; network, weights and folders are left to the caller.

        A model that is not described by a cfg gets Ultralytics' names for what both worlds have.
        """
        left = {"cfg", "model", "weights", "project", "name", "run_dir", "resume", "extra"}
        made = {name: value for name, value in self.changed().items() if name not in left}
        if self.cfg is None and self.model is not None:
            for theirs, ours in ALIASES.items():
                if ours in made:
                    made[theirs] = made.pop(ours)
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in made.items()}
        return {**listed, **self.extra}

    def to_json(self) -> str:
        """Return the settings that differ from their defaults as a JSON object, ``trust`` apart."""
        kept = {key: value for key, value in self.changed().items() if key != TRUST}
        return json.dumps(_jsonable(kept), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "settings.json") -> TrainSettings:
        """Read what :meth:`to_json` wrote.

        Args:
            text: The file's content.
            where: Stands at the start of every message.

        Raises:
            SettingsError: If the text is no JSON object, or a key or a value is not usable.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise SettingsError(f"{where}: not valid JSON ({error}); write the settings again") from error
        extra = values.pop("extra", {}) if isinstance(values, dict) else None
        if not isinstance(extra, dict):
            raise SettingsError(f"{where}: no object of settings; write the settings again")
        refuse_own_trust(where, {**extra, **values})
        try:
            return make(cls, {**extra, **values})
        except SettingsError as error:
            faults = "\n".join(f"{where}: {line}" for line in str(error).splitlines())
            raise SettingsError(faults) from error


def _jsonable(value: Any) -> Any:
    """Spell infinities, which JSON does not have, as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _jsonable(each) for key, each in value.items()}
    return [_jsonable(each) for each in value] if isinstance(value, (list, tuple)) else value
