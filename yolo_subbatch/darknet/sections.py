"""The sections of a Darknet ``.cfg`` as frozen dataclasses.

A field is a cfg key (``from_`` stands for the keyword ``from``), its annotation the type that the parser enforces and
its default Darknet's own. Only the standard library is used, so that a form or ``--help`` can read cfgs without torch.

Source: darknet ``parse_*`` functions in src/parser.c of pjreddie/darknet and AlexeyAB/darknet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar

ACTIVATIONS = frozenset(
    "elu gelu hard_mish hardtan leaky lhtan linear loggy logistic mish normalize_channels normalize_channels_softmax "
    "normalize_channels_softmax_maxval plse ramp relie relu relu6 revleaky selu stair swish tanh".split()
)
POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid", "random", "sgdr")


@dataclass(frozen=True, kw_only=True)
class Section:
    """What every layer section may say; the concrete sections add their own keys."""

    learning_rate: float = 1.0  # a factor on the rate of [net], for this layer alone
    stopbackward: int = 0  # 1: this layer and all before it are frozen
    onlyforward: int = 0
    dontload: int = 0
    dontloadscales: int = 0
    dontsave: int = 0
    numload: int = 0
    smooth: float = 0.0
    truth: int = 0
    line: int = field(default=0, compare=False)  # where the section starts in its file

    #: The section's name in a cfg.
    title: ClassVar[str] = ""
    #: Keys of AlexeyAB's Darknet that are accepted and have no effect here.
    ignored: ClassVar[frozenset[str]] = frozenset({
        "burnin_update", "clip", "dont_update", "dropblock", "train_only_bn",
    })  # fmt: skip
    #: Keys that would change the output, with the only value that is built.
    unsupported: ClassVar[dict[str, str]] = {}


@dataclass(frozen=True, kw_only=True)
class Net(Section):
    """``[net]``: input size, batch, optimizer, schedule and augmentation."""

    title: ClassVar[str] = "net"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        "adam B1 B2 eps max_crop min_crop aspect center clip inputs notruth random "
        "adversarial_lr attention augment_speed badlabels_reject_threshold badlabels_rejection_percentage blur "
        "contrastive contrastive_color contrastive_jit_flip cudnn_half cutmix dynamic_minibatch ema_alpha "
        "equidistant_point gaussian_noise label_smooth_eps letter_box loss_scale max_chart_loss mixup momentum_min "
        "mosaic mosaic_bound num_sigmas_reject_badlabels optimized_memory reset_seq_every resize_step seq_scales "
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


@dataclass(frozen=True, kw_only=True)
class Convolutional(Section):
    """``[convolutional]``: convolution, optional batch normalisation, activation."""

    title: ClassVar[str] = "convolutional"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        "angle assisted_excitation binary bin_output coordconv deform flipped grad_centr rotate share_index stretch "
        "stretch_sway sway temp wait_stream xnor".split()
    )
    unsupported: ClassVar[dict[str, str]] = {
        "antialiasing": "0", "binary": "0", "xnor": "0", "share_index": "-1000000000", "assisted_excitation": "0",
        "cbn": "0", "sway": "0", "rotate": "0", "stretch": "0", "stretch_sway": "0", "deform": "0",
    }  # fmt: skip

    batch_normalize: int = 0
    filters: int = 1
    size: int = 1
    stride: int = 1
    stride_x: int | None = None
    stride_y: int | None = None
    pad: int = 0
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    activation: str = "logistic"


@dataclass(frozen=True, kw_only=True)
class Maxpool(Section):
    """``[maxpool]``: padding is the total of both sides, ``size - 1`` unless given."""

    title: ClassVar[str] = "maxpool"
    unsupported: ClassVar[dict[str, str]] = {"antialiasing": "0", "maxpool_depth": "0", "out_channels": "1"}

    size: int | None = None  # defaults to the stride
    stride: int = 1
    stride_x: int | None = None
    stride_y: int | None = None
    padding: int | None = None


@dataclass(frozen=True, kw_only=True)
class Avgpool(Section):
    """``[avgpool]``: the mean over each whole channel."""

    title: ClassVar[str] = "avgpool"


@dataclass(frozen=True, kw_only=True)
class Dropout(Section):
    """``[dropout]``: off at inference, scaled by ``1 / (1 - probability)`` in training."""

    title: ClassVar[str] = "dropout"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        {"dropblock_size_rel", "dropblock_size_abs", "dropblock_relative"}
    )
    unsupported: ClassVar[dict[str, str]] = {"dropblock": "0"}

    probability: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Softmax(Section):
    """``[softmax]``: over the channels of each group, at every place."""

    title: ClassVar[str] = "softmax"
    unsupported: ClassVar[dict[str, str]] = {"tree": "", "spatial": "0"}

    groups: int = 1
    temperature: float = 1.0
    noloss: int = 0


@dataclass(frozen=True, kw_only=True)
class Route(Section):
    """``[route]``: concatenates earlier outputs; with ``groups`` only the part ``group_id`` of each."""

    title: ClassVar[str] = "route"

    layers: tuple[int, ...] = ()
    groups: int = 1
    group_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Shortcut(Section):
    """``[shortcut]``: ``activation(alpha * input + beta * from)``."""

    title: ClassVar[str] = "shortcut"
    unsupported: ClassVar[dict[str, str]] = {"weights_type": "none"}
    ignored: ClassVar[frozenset[str]] = Section.ignored | {"weights_normalization"}

    from_: tuple[int, ...] = ()
    activation: str = "linear"
    alpha: float = 1.0
    beta: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Upsample(Section):
    """``[upsample]``: nearest neighbour; a negative stride sums each window instead."""

    title: ClassVar[str] = "upsample"

    stride: int = 2
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Reorg(Section):
    """``[reorg]``: YOLOv2's rearrangement of space into channels, in Darknet's own order."""

    title: ClassVar[str] = "reorg"
    unsupported: ClassVar[dict[str, str]] = {"extra": "0", "flatten": "0"}

    stride: int = 1
    reverse: int = 0


@dataclass(frozen=True, kw_only=True)
class Yolo(Section):
    """``[yolo]``: a detection head; ``anchors`` are pairs of width and height in input pixels."""

    title: ClassVar[str] = "yolo"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        "beta1 beta2 beta_nms cls_normalizer counters_per_class delta_normalizer detection_gain dets_for_show "
        "dets_for_track embedding_layer track_ciou_norm track_history_size "
        "focal_loss iou_loss iou_normalizer iou_thresh iou_thresh_kind label_smooth_eps map max_delta nms_kind "
        "obj_normalizer objectness_smooth resize show_details sim_thresh".split()
    )
    unsupported: ClassVar[dict[str, str]] = {"new_coords": "0"}

    classes: int = 20
    num: int = 1
    mask: tuple[int, ...] | None = None  # all anchors unless given
    anchors: tuple[float, ...] = ()
    max: int | None = None  # boxes per image; 90 in pjreddie's Darknet, 200 in AlexeyAB's
    jitter: float = 0.2
    random: float = 0.0
    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    scale_x_y: float = 1.0

    @property
    def anchor_pairs(self) -> tuple[tuple[float, float], ...]:
        """Every anchor as ``(width, height)`` in input pixels."""
        return tuple(zip(self.anchors[::2], self.anchors[1::2], strict=True))

    @property
    def selected(self) -> tuple[int, ...]:
        """The indices of the anchors that this head predicts."""
        return tuple(range(self.num)) if self.mask is None else self.mask


SECTION_TYPES: dict[str, type[Section]] = {
    kind.title: kind
    for kind in (
        Net, Convolutional, Maxpool, Avgpool, Dropout, Softmax, Route, Shortcut, Upsample, Reorg, Yolo,
    )
}  # fmt: skip
SHORT_NAMES = {
    "network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax",
    "conn": "connected",
}  # fmt: skip

#: Darknet's other sections: no typing mistakes, so that no other name is proposed.
NOT_BUILT = frozenset(
    "activation batchnorm connected contrastive conv_lstm cost crnn crop deconv deconvolutional detection empty "
    "Gaussian_yolo gru history implicit_add implicit_mul iseg l2norm local local_avgpool logistic lrn lstm "
    "normalization region reorg3d reorg_old rnn sam scale_channels silence".split()
)

# A cfg that holds one of these was written for AlexeyAB's Darknet (or hank-ai's, its heir).
ALEXEYAB_KEYS = frozenset(
    "antialiasing beta_nms cbn cls_normalizer counters_per_class cutmix dilation dynamic_minibatch ema_alpha "
    "focal_loss gaussian_noise group_id iou_loss iou_normalizer iou_thresh label_smooth_eps learning_rate_min "
    "letter_box loss_scale max_chart_loss max_delta maxpool_depth mixup mosaic new_coords nms_kind obj_normalizer "
    "objectness_smooth optimized_memory resize resize_step scale_x_y sequential_subdivisions sgdr_cycle sgdr_mult "
    "stride_x stride_y track try_fix_nan use_cuda_graph weights_normalization weights_type "
    "workspace_size_limit_MB".split()
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

    @property
    def heads(self) -> tuple[Yolo, ...]:
        """The ``[yolo]`` sections in order."""
        return tuple(section for section in self.sections if isinstance(section, Yolo))
