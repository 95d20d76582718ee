"""The layer sections of a Darknet ``.cfg``, the detection heads excepted.

A field is a cfg key (``from_`` stands for the keyword ``from``), its annotation the type that the parser enforces and
its default Darknet's own.

Source: darknet ``parse_*`` functions in src/parser.c of pjreddie/darknet and AlexeyAB/darknet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

ACTIVATIONS = frozenset(
    "elu gelu hard_mish hardtan leaky lhtan linear loggy logistic mish normalize_channels normalize_channels_softmax "
    "normalize_channels_softmax_maxval plse ramp relie relu relu6 revleaky selu stair swish tanh".split()
)
NOT_SHARED = -1_000_000_000  # what share_index is in a layer with weights of its own
WEIGHTS_TYPES = ("none", "per_feature", "per_layer", "per_channel")
WEIGHTS_NORMALIZATIONS = ("none", "relu", "avg_relu", "softmax")


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
class Convolutional(Section):
    """``[convolutional]``: convolution, optional batch normalisation, activation.

    With ``antialiasing`` the convolution has stride 1 and a fixed blur after the activation takes the stride: 1 is a
    3 x 3 binomial filter, 2 the mean of 2 x 2. With ``share_index`` it has no weights of its own: it computes with
    those, and the batch normalisation, of an earlier convolution.
    """

    title: ClassVar[str] = "convolutional"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset(
        "angle assisted_excitation binary bin_output coordconv deform flipped grad_centr rotate stream "
        "stretch stretch_sway sway temp wait_stream xnor".split()
    )
    unsupported: ClassVar[dict[str, str]] = {
        "binary": "0", "xnor": "0", "assisted_excitation": "0",
        "sway": "0", "rotate": "0", "stretch": "0", "stretch_sway": "0", "deform": "0",
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
    antialiasing: int = 0
    share_index: int = NOT_SHARED
    cbn: int = 0  # 1: another name of batch_normalize=2
    activation: str = "logistic"

    def __post_init__(self) -> None:
        if self.cbn:
            object.__setattr__(self, "batch_normalize", 2)


@dataclass(frozen=True, kw_only=True)
class Maxpool(Section):
    """``[maxpool]``: padding is the total of both sides, ``size - 1`` unless given.

    With ``maxpool_depth`` the maximum is taken over channels instead: output ``g`` of ``out_channels`` is the largest
    of the channels ``g``, ``g + out_channels`` and so on.
    """

    title: ClassVar[str] = "maxpool"
    unsupported: ClassVar[dict[str, str]] = {"maxpool_zero_nonmax": "0"}

    size: int | None = None  # defaults to the stride
    stride: int = 1
    stride_x: int | None = None
    stride_y: int | None = None
    padding: int | None = None
    antialiasing: int = 0
    maxpool_depth: int = 0
    out_channels: int = 1


@dataclass(frozen=True, kw_only=True)
class LocalAvgpool(Section):
    """``[local_avgpool]``: the mean of each window, over the places inside the map; the window is a maxpool's."""

    title: ClassVar[str] = "local_avgpool"

    size: int | None = None
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
    """``[dropout]``: off at inference; with ``dropblock`` whole squares of a channel are dropped.

    ``dropblock_size_abs`` is their side, ``dropblock_size_rel`` the same as a share of the map's.
    """

    title: ClassVar[str] = "dropout"

    probability: float | None = None  # 0.5 in pjreddie's Darknet, 0.2 in AlexeyAB's
    dropblock: int = 0
    dropblock_size_rel: float = 0.0
    dropblock_size_abs: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Softmax(Section):
    """``[softmax]``: over the values of each group of an image."""

    title: ClassVar[str] = "softmax"
    unsupported: ClassVar[dict[str, str]] = {"tree": "", "spatial": "0"}

    groups: int = 1
    temperature: float = 1.0
    noloss: int = 0


@dataclass(frozen=True, kw_only=True)
class Route(Section):
    """``[route]``: concatenates earlier outputs; with ``groups`` only the part ``group_id`` of each."""

    title: ClassVar[str] = "route"
    ignored: ClassVar[frozenset[str]] = Section.ignored | {"stream", "wait_stream"}

    layers: tuple[int, ...] = ()
    groups: int = 1
    group_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Shortcut(Section):
    """``[shortcut]``: ``activation(alpha * input + beta * from)``, or a sum of several, weighted by what is learned.

    ``weights_type=per_feature`` (``per_layer`` is the same) learns one weight an input, ``per_channel`` one a channel
    of each; ``weights_normalization`` makes them add up to about one.
    """

    title: ClassVar[str] = "shortcut"

    from_: tuple[int, ...] = ()
    activation: str = "linear"
    alpha: float = 1.0
    beta: float = 1.0
    weights_type: str = "none"
    weights_normalization: str = "none"


@dataclass(frozen=True, kw_only=True)
class ScaleChannels(Section):
    """``[scale_channels]``: multiplies ``from`` by the input, one number a channel; with ``scale_wh`` one a place."""

    title: ClassVar[str] = "scale_channels"

    from_: int | None = None
    scale_wh: int = 0
    activation: str = "linear"


@dataclass(frozen=True, kw_only=True)
class Sam(Section):
    """``[sam]``: the product of the input and ``from``, value by value."""

    title: ClassVar[str] = "sam"

    from_: int | None = None
    activation: str = "linear"


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
class Reorg3d(Section):
    """``[reorg3d]``: space to depth as one expects it: the offset in the window is the outer, the channel the inner."""

    title: ClassVar[str] = "reorg3d"

    stride: int = 1
    reverse: int = 0


@dataclass(frozen=True, kw_only=True)
class Connected(Section):
    """``[connected]``: every output from every value of the map."""

    title: ClassVar[str] = "connected"

    output: int = 1
    activation: str = "logistic"
    batch_normalize: int = 0


@dataclass(frozen=True, kw_only=True)
class Crop(Section):
    """``[crop]``: the middle of the image, its values moved from [0, 1] to [-1, 1] unless ``noadjust``.

    Darknet crops, mirrors and colours at random in training; here images are varied before they reach the network.
    """

    title: ClassVar[str] = "crop"
    ignored: ClassVar[frozenset[str]] = Section.ignored | {"angle", "exposure", "flip", "saturation", "shift"}

    crop_height: int = 1
    crop_width: int = 1
    noadjust: int = 0


@dataclass(frozen=True, kw_only=True)
class Batchnorm(Section):
    """``[batchnorm]``: batch normalisation as a layer of its own."""

    title: ClassVar[str] = "batchnorm"


@dataclass(frozen=True, kw_only=True)
class Activation(Section):
    """``[activation]``: an activation as a layer of its own."""

    title: ClassVar[str] = "activation"

    activation: str = "linear"


@dataclass(frozen=True, kw_only=True)
class L2norm(Section):
    """``[l2norm]``: the channels of each place, divided by their length."""

    title: ClassVar[str] = "l2norm"


@dataclass(frozen=True, kw_only=True)
class Empty(Section):
    """``[empty]``: passes its input on."""

    title: ClassVar[str] = "empty"


@dataclass(frozen=True, kw_only=True)
class Cost(Empty):
    """``[cost]``: what a classifier is trained by, which is not done here; passes its input on."""

    title: ClassVar[str] = "cost"
    ignored: ClassVar[frozenset[str]] = Section.ignored | frozenset("type scale ratio noobj thresh".split())


LAYER_SECTIONS: tuple[type[Section], ...] = (
    Convolutional, Maxpool, LocalAvgpool, Avgpool, Dropout, Softmax, Route, Shortcut, ScaleChannels, Sam, Upsample,
    Reorg, Reorg3d, Connected, Crop, Batchnorm, Activation, L2norm, Empty, Cost,
)  # fmt: skip
