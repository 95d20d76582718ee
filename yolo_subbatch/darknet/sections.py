"""The sections of a Darknet ``.cfg`` as frozen dataclasses.

A field is a cfg key (``from_`` stands for the keyword ``from``), its annotation the type that the parser enforces and
its default Darknet's own. Only the standard library is used, so that a form or ``--help`` can read cfgs without torch.

Source: darknet ``parse_*`` functions in src/parser.c of pjreddie/darknet and AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from yolo_subbatch.darknet.layer_sections import ACTIVATIONS as ACTIVATIONS
from yolo_subbatch.darknet.layer_sections import LAYER_SECTIONS as LAYER_SECTIONS
from yolo_subbatch.darknet.layer_sections import NOT_SHARED as NOT_SHARED
from yolo_subbatch.darknet.layer_sections import WEIGHTS_NORMALIZATIONS as WEIGHTS_NORMALIZATIONS
from yolo_subbatch.darknet.layer_sections import WEIGHTS_TYPES as WEIGHTS_TYPES
from yolo_subbatch.darknet.layer_sections import Activation as Activation
from yolo_subbatch.darknet.layer_sections import Avgpool as Avgpool
from yolo_subbatch.darknet.layer_sections import Batchnorm as Batchnorm
from yolo_subbatch.darknet.layer_sections import Connected as Connected
from yolo_subbatch.darknet.layer_sections import Convolutional as Convolutional
from yolo_subbatch.darknet.layer_sections import Crop as Crop
from yolo_subbatch.darknet.layer_sections import Dropout as Dropout
from yolo_subbatch.darknet.layer_sections import Empty as Empty
from yolo_subbatch.darknet.layer_sections import L2norm as L2norm
from yolo_subbatch.darknet.layer_sections import LocalAvgpool as LocalAvgpool
from yolo_subbatch.darknet.layer_sections import Maxpool as Maxpool
from yolo_subbatch.darknet.layer_sections import Reorg as Reorg
from yolo_subbatch.darknet.layer_sections import Reorg3d as Reorg3d
from yolo_subbatch.darknet.layer_sections import Route as Route
from yolo_subbatch.darknet.layer_sections import Sam as Sam
from yolo_subbatch.darknet.layer_sections import ScaleChannels as ScaleChannels
from yolo_subbatch.darknet.layer_sections import Section as Section
from yolo_subbatch.darknet.layer_sections import Shortcut as Shortcut
from yolo_subbatch.darknet.layer_sections import Softmax as Softmax
from yolo_subbatch.darknet.layer_sections import Upsample as Upsample

POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid", "random", "sgdr")
IOU_LOSSES = ("mse", "iou", "giou", "diou", "ciou")
NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")


@dataclass(frozen=True, kw_only=True)
class Net(Section):
    """``[net]``: input size, batch, optimizer, schedule and augmentation."""

    title: ClassVar[str] = "net"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        "adam B1 B2 eps max_crop min_crop aspect center clip inputs notruth random adversarial_lr attention "
        "augment_speed badlabels_reject_threshold badlabels_rejection_percentage contrastive contrastive_color "
        "contrastive_jit_flip cudnn_half equidistant_point label_smooth_eps loss_scale max_chart_loss "
        "momentum_min num_sigmas_reject_badlabels optimized_memory reset_seq_every seq_scales "
        "sequential_subdivisions track try_fix_nan unsupervised use_cuda_graph weights_reject_freq "
        "workspace_size_limit_MB gpu_index log_step save_weights".split()
    )

    batch: int = 1
    subdivisions: int = 1
    time_steps: int = 1
    width: int = 0
    height: int = 0
    channels: int = 0
    momentum: float = 0.9
    decay: float = 0.0001
    learning_rate: float = 0.001
    learning_rate_min: float = 0.00001
    policy: str = "constant"
    burn_in: int = 0
    power: float = 4.0
    step: int = 1
    scale: float = 1.0
    gamma: float = 1.0
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    sgdr_cycle: int = 0
    sgdr_mult: int = 2
    max_batches: int = 0
    angle: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    hue: float = 0.0
    flip: int = 1
    # AlexeyAB's alone
    letter_box: int = 0
    mosaic: int = 0
    mosaic_bound: int = 0
    mixup: int = 0  # 1; other numbers stand for cutmix and mosaic
    cutmix: int = 0
    blur: int = 0
    gaussian_noise: int = 0
    resize_step: int = 32
    dynamic_minibatch: int = 0  # 1: smaller inputs make larger sub-batches, never a larger batch
    ema_alpha: float = 0.0

    @property
    def mixing(self) -> str:
        """How training images are mixed: ``mosaic``, ``cutmix``, ``mixup`` or not at all."""
        if self.mosaic:
            return "mosaic"
        return "cutmix" if self.cutmix else {1: "mixup", 2: "cutmix", 3: "mosaic", 4: "mosaic"}.get(self.mixup, "")


@dataclass(frozen=True, kw_only=True)
class Yolo(Section):
    """``[yolo]``: a detection head; ``anchors`` are pairs of width and height in input pixels."""

    title: ClassVar[str] = "yolo"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        "beta1 beta2 detection_gain dets_for_show dets_for_track embedding_layer map sim_thresh "
        "track_ciou_norm track_history_size".split()
    )

    classes: int = 20
    num: int = 1
    mask: tuple[int, ...] | None = None  # all anchors unless given
    anchors: tuple[float, ...] = ()
    max: int | None = None  # boxes per image; 90 in pjreddie's Darknet, 200 in AlexeyAB's
    jitter: float = 0.2
    resize: float = 1.0  # AlexeyAB's alone
    random: float = 0.0
    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    # AlexeyAB's alone. The first two change what the head's numbers mean, the others the loss of that flavour.
    scale_x_y: float = 1.0
    new_coords: int = 0  # 1: the convolution before has the logistic; width is (2 v)^2 anchors
    iou_loss: str = "mse"
    iou_normalizer: float = 0.75
    obj_normalizer: float = 1.0
    cls_normalizer: float = 1.0  # acts only together with counters_per_class
    delta_normalizer: float = 1.0
    iou_thresh: float = 1.0  # below 1: other anchors that fit a truth better than this learn it too
    iou_thresh_kind: str = "iou"
    max_delta: float | None = None  # bounds what an IoU loss gives, and the weight of a class
    label_smooth_eps: float = 0.0
    focal_loss: int = 0
    counters_per_class: tuple[int, ...] = ()
    objectness_smooth: int = 0
    show_details: int = 1  # 0: the printed cost of an IoU loss is the squared length of its delta, as with mse
    nms_kind: str = "default"
    beta_nms: float = 0.6

    @property
    def anchor_pairs(self) -> tuple[tuple[float, float], ...]:
        """Every anchor as ``(width, height)`` in input pixels."""
        return tuple(zip(self.anchors[::2], self.anchors[1::2], strict=True))

    @property
    def selected(self) -> tuple[int, ...]:
        """The indices of the anchors that this head predicts."""
        return tuple(range(self.num)) if self.mask is None else self.mask

    @property
    def values(self) -> int:
        """Numbers that the head predicts for an anchor."""
        return 5 + self.classes


@dataclass(frozen=True, kw_only=True)
class GaussianYolo(Yolo):
    """``[Gaussian_yolo]``: a ``[yolo]`` head that also predicts how unsure each side of a box is; AlexeyAB's alone."""

    title: ClassVar[str] = "Gaussian_yolo"
    unsupported: ClassVar[dict[str, str]] = {"yolo_point": "center"}

    uc_normalizer: float = 1.0  # weight of the uncertainties in the loss

    @property
    def values(self) -> int:
        """Numbers that the head predicts for an anchor."""
        return 9 + self.classes


@dataclass(frozen=True, kw_only=True)
class Region(Section):
    """``[region]``: YOLOv2's detection head; ``anchors`` are pairs of width and height in cells of its grid."""

    title: ClassVar[str] = "region"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset("absolute log mask_scale sqrt".split())
    unsupported: ClassVar[dict[str, str]] = {"classfix": "0", "coords": "4"}

    classes: int = 20
    num: int = 1
    anchors: tuple[float, ...] = ()
    max: int | None = None  # boxes per image; 30 in pjreddie's Darknet, 200 in AlexeyAB's
    jitter: float = 0.2
    resize: float = 1.0  # AlexeyAB's alone
    random: float = 0.0
    softmax: int = 0  # 0: a logistic for every class
    background: int = 0  # 1: in the place of objectness stands a class for no object
    thresh: float = 0.5  # a box that overlaps a truth by more learns no "no object"
    rescore: int = 0  # 1: objectness learns the overlap with the truth instead of 1
    bias_match: int = 0  # 1: a truth goes to the anchor of the best size, 0: to the predicted size
    coord_scale: float = 1.0
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    focal_loss: int = 0  # AlexeyAB's alone; 1: classes that are almost right count less
    tree: str = ""  # file with the hierarchy of the classes
    map: str = ""  # file with the class of the hierarchy for every class of the labels

    @property
    def anchor_pairs(self) -> tuple[tuple[float, float], ...]:
        """Every anchor as ``(width, height)`` in cells."""
        return tuple(zip(self.anchors[::2], self.anchors[1::2], strict=True))

    @property
    def selected(self) -> tuple[int, ...]:
        """The indices of the anchors that this head predicts: all."""
        return tuple(range(self.num))

    @property
    def values(self) -> int:
        """Numbers that the head predicts for an anchor."""
        return 5 + self.classes


HeadSection = Yolo | Region


def most_truths(head: HeadSection, flavour: str) -> int:
    """Return how many boxes of an image count."""
    return head.max or (200 if flavour == "alexeyab" else 30 if isinstance(head, Region) else 90)


_KINDS: tuple[type[Section], ...] = (Net, *LAYER_SECTIONS, Yolo, GaussianYolo, Region)
SECTION_TYPES: dict[str, type[Section]] = {kind.title: kind for kind in _KINDS}
SHORT_NAMES = {
    "network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax",
    "conn": "connected", "local_avg": "local_avgpool", "reorg_old": "reorg", "silence": "empty",
}  # fmt: skip

#: Darknet's other sections: no typing mistakes, so that no other name is proposed.
NOT_BUILT = frozenset(
    "contrastive conv_lstm crnn deconv deconvolutional detection gru history implicit iseg local logistic lrn "
    "lstm normalization rnn yolo_bdp".split()
)

# Sections that only AlexeyAB's Darknet (or hank-ai's, its heir) reads.
ALEXEYAB_SECTIONS = frozenset("Gaussian_yolo local_avgpool reorg3d sam scale_channels".split())
# A cfg that holds one of these was written for AlexeyAB's Darknet (or hank-ai's, its heir).
ALEXEYAB_KEYS = frozenset(
    "antialiasing beta_nms blur cbn cls_normalizer counters_per_class cutmix delta_normalizer dilation "
    "dynamic_minibatch ema_alpha focal_loss gaussian_noise group_id iou_loss iou_normalizer iou_thresh "
    "iou_thresh_kind label_smooth_eps learning_rate_min letter_box loss_scale max_chart_loss max_delta "
    "maxpool_depth mixup mosaic mosaic_bound new_coords nms_kind obj_normalizer objectness_smooth optimized_memory "
    "resize resize_step scale_x_y sequential_subdivisions sgdr_cycle sgdr_mult show_details stride_x stride_y track "
    "try_fix_nan use_cuda_graph weights_normalization weights_type workspace_size_limit_MB".split()
)


def keys_of(kind: type[Section]) -> dict[str, str]:
    """Return the cfg keys of a section type, each with the name of its field."""
    return {each.name.rstrip("_"): each.name for each in fields(kind) if each.name != "line"}


@dataclass(frozen=True)
class Cfg:
    """A parsed cfg: ``[net]`` and the layer sections in order, section ``i`` being layer ``i``."""

    net: Net
    sections: tuple[Section, ...]
    path: str = field(default="<string>", compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    alexeyab: bool = False  # a key that only AlexeyAB's Darknet reads is present
    alexeyab_keys: tuple[str, ...] = field(default=(), compare=False)  # those keys, sorted

    @property
    def worked_out(self) -> dict[Any, Any]:
        """What follows from this cfg and was worked out already, see :func:`once_per_cfg`."""
        found: dict[Any, Any] = self.__dict__.setdefault("_worked_out", {})
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be worked out again."""
        return {name: value for name, value in self.__dict__.items() if name != "_worked_out"}

    @property
    def heads(self) -> tuple[HeadSection, ...]:
        """The detection heads in order: ``[yolo]``, ``[Gaussian_yolo]`` and ``[region]``."""
        return tuple(section for section in self.sections if isinstance(section, HeadSection))

    def flavour(self, asked: str = "auto") -> str:
        """Return whose Darknet decides where they differ, ``pjreddie`` or ``alexeyab``, for what a user asked."""
        return asked if asked != "auto" else "alexeyab" if self.alexeyab else "pjreddie"

    def flavour_line(self, asked: str = "auto") -> str:
        """Say the flavour and why it is that one, in one line."""
        flavour = self.flavour(asked)
        keys = ", ".join(self.alexeyab_keys[:3]) + (", ..." if len(self.alexeyab_keys) > 3 else "")
        if asked != "auto":
            reason = "as asked" + (f", without {keys}" if keys and flavour == "pjreddie" else "")
        elif self.alexeyab:
            reason = f"the cfg has {keys}" if keys else "the cfg's"
        else:
            reason = "the cfg has no key that only AlexeyAB's Darknet reads"
        return f"flavour: {flavour} ({reason})"


Given = ParamSpec("Given")
Found = TypeVar("Found")


def once_per_cfg(
    function: Callable[Concatenate[Cfg, Given], Found],
) -> Callable[Concatenate[Cfg, Given], Found]:
    """Keep what a function works out from a cfg with that cfg: nothing in it ever changes.

    The function must return something that nobody changes either.
    """

    @wraps(function)
    def kept(cfg: Cfg, /, *args: Given.args, **keywords: Given.kwargs) -> Found:
        key = (function.__qualname__, args, tuple(sorted(keywords.items())))
        if key not in cfg.worked_out:
            cfg.worked_out[key] = function(cfg, *args, **keywords)
        found: Found = cfg.worked_out[key]
        return found

    return kept
