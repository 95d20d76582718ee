"""A Darknet network as a torch module.

Every section becomes one layer; which outputs a layer reads is resolved once, when the network is built, so that the
forward pass is a plain loop.

Source: darknet src/parser.c (``parse_network_cfg``), src/network.c (``forward_network``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from yolo_subbatch.darknet.build import build_layers
from yolo_subbatch.darknet.geometry import layer_table
from yolo_subbatch.darknet.layers_alexeyab import DropBlock, SharedConvolutionalLayer
from yolo_subbatch.darknet.loss import Losses, YoloHead, pad_truths
from yolo_subbatch.darknet.region import RegionHead
from yolo_subbatch.darknet.report import check_buildable
from yolo_subbatch.darknet.sections import Cfg, Yolo
from yolo_subbatch.darknet.segments import Layers
from yolo_subbatch.darknet.weights_header import Version
from yolo_subbatch.errors import CfgError

DROPBLOCK_GROWS = 0.85  # share of the training
FLAVOURS = ("auto", "pjreddie", "alexeyab")


Head = YoloHead | RegionHead


class Network(nn.Module):
    """The network that a cfg describes.

    ``network(images)`` returns one raw map per detection head: the logits before each ``[yolo]`` section. A cfg
    without a head gives the last layer's output.

    Args:
        cfg: A parsed cfg.
        flavour: Whose Darknet decides where they differ for the same cfg: ``pjreddie``, ``alexeyab``, or ``auto``,
            which is ``alexeyab`` where a key is present that only that Darknet reads.

    Raises:
        CfgError: If the layers do not fit one another, or the flavour is unknown.
    """

    #: Version of the weights file that was loaded, to be written again; None for weights that no file had.
    weights_version: Version | None = None

    def __init__(self, cfg: Cfg, flavour: str = "auto") -> None:
        super().__init__()
        if flavour not in FLAVOURS:
            raise CfgError(f"flavour={flavour}: unknown; use one of {', '.join(FLAVOURS)}")
        self.flavour = cfg.flavour(flavour)
        #: Tells the flavour when it is written, also where no key of it did.
        self.cfg = replace(cfg, alexeyab=self.flavour == "alexeyab")
        for head in cfg.heads:
            if isinstance(head, Yolo) and head.new_coords and self.flavour == "pjreddie":
                raise CfgError(
                    f"{cfg.path}:{head.line}: new_coords=1 with flavour=pjreddie, whose Darknet cannot read such a "
                    "head; leave flavour out"
                )
        table = layer_table(cfg)
        check_buildable(cfg, table)
        self.layers = build_layers(table, self.flavour)
        self.sources = [shape.sources for shape in table]
        heads = [index for index, layer in enumerate(self.layers) if isinstance(layer, Head)]
        #: Index of the output that each detection head reads.
        self.head_indices = [index - 1 for index in heads] or [len(table) - 1]
        self._heads = heads
        #: Layers before this index are frozen (``stopbackward``).
        self.frozen = 1 + max((each.index for each in table if each.section.stopbackward), default=-1)
        self.plan = plan(self.sources, self.head_indices)

    @property
    def heads(self) -> list[Head]:
        """The detection heads in the order of their sections."""
        return [layer for layer in self.layers if isinstance(layer, Head)]

    def set_seen(self, seen: int) -> None:
        """Tell the layers that change with the training how many images it has had, before a batch.

        ``[region]`` starts with a warm-up, ``dropblock`` grows during the first 85 % of ``max_batches``. Without a call
        a network is past both.
        """
        growing = DROPBLOCK_GROWS * self.cfg.net.max_batches * self.cfg.net.batch
        for layer in self.layers:
            if isinstance(layer, RegionHead):
                layer.seen = seen
            elif isinstance(layer, DropBlock):
                layer.grown = min(1.0, seen / growing) if growing else 1.0

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the raw maps.

        Args:
            images: ``(B, C, H, W)``, RGB in [0, 1].

        Returns:
            Per head ``(B, A * (5 + classes), H / stride, W / stride)``, logits.
        """
        outputs = {-1: images}  # -1 is the input, so that `index - 1` always exists
        for index, unused in self.plan:
            outputs[index] = self._layer(index, outputs)
            for each in unused:
                del outputs[each]
        return [outputs[index] for index in self.head_indices]

    def _layer(self, index: int, outputs: dict[int, Tensor]) -> Tensor:
        output: Tensor = self.layers[index](*(outputs[source] for source in self.sources[index]))
        # Nothing before a stopbackward is trained; batch statistics still move there, as in Darknet.
        return output.detach() if index < self.frozen else output

    def as_layers(self) -> Layers:
        """Return what the forward pass consists of."""
        numbers = [index for index, _ in self.plan]
        modules = [_modules(self.layers[index]) for index in numbers]
        return Layers(numbers, [self.sources[index] for index in numbers], self.head_indices, modules, self._layer)

    def layer_outputs(self, images: Tensor) -> list[Tensor]:
        """Return the output of every section in order, ``(B, C, H, W)`` each; a head's with its logistic applied."""
        outputs = {-1: images}
        for index in range(len(self.layers)):
            outputs[index] = self._layer(index, outputs)
        return [outputs[index] for index in range(len(self.layers))]

    def loss(self, maps: Sequence[Tensor], truths: Sequence[Tensor] | Tensor) -> Losses:
        """Compute the ``[yolo]`` losses.

        Args:
            maps: What the network returned, one raw map a head, ``(B, A * (5 + classes), H, W)``.
            truths: Per image ``(n, 5)``: class, centre x, centre y, width, height, in [0, 1]; or stacked as
                ``(B, T, 5)``, missing rows with class -1.

        Returns:
            Sums over the images, not means: whoever updates divides by the number of images. The gradient with
            respect to ``maps`` is minus Darknet's ``delta``.
        """
        padded = pad_truths(truths)
        losses = [head.loss(raw, padded) for head, raw in zip(self.heads, maps, strict=True)]
        total = sum(losses, Losses.zero(maps[0].device))
        # Darknet's printed number is the mean over the layers that have a cost.
        return Losses(total.box, total.objectness, total.classes, total.cost / len(losses))

    def detections(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode raw maps into ``(B, N, 5 + classes)``: see :func:`yolo_subbatch.darknet.decode.decode_map`."""
        return torch.cat([head.decode(raw) for head, raw in zip(self.heads, maps, strict=True)], 1)

    def predictions(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode raw maps into the layout of Ultralytics.

        Returns:
            ``(B, 4 + classes, N)``: centre x, centre y, width, height in input pixels, then the confidence of each
            class, which is objectness times class score.
        """
        found = torch.cat([head.decode(raw).transpose(1, 2) for head, raw in zip(self.heads, maps, strict=True)], 2)
        return torch.cat((found[:, :4], found[:, 5:] * found[:, 4:5]), 1)


def _modules(layer: nn.Module) -> list[nn.Module]:
    """Return what a layer consists of, with the layer whose weights it uses."""
    shared = layer.owner.modules() if isinstance(layer, SharedConvolutionalLayer) else ()
    return [*layer.modules(), *shared]


def plan(sources: Sequence[tuple[int, ...]], wanted: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Return the layers to run, each with the outputs that nobody reads after it.

    Layers that lead to none of the wanted outputs are left out: the detection heads themselves, for instance.
    """
    needed = set(wanted)
    for index in range(len(sources) - 1, -1, -1):
        if index in needed:
            needed.update(sources[index])
    last_reader = {source: index for index in sorted(needed - {-1}) for source in sources[index]}
    return [
        (index, tuple(source for source in set(sources[index]) if last_reader[source] == index and
                      source not in wanted))
        for index in sorted(needed - {-1})
    ]  # fmt: skip
