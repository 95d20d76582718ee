"""A Darknet network as Ultralytics' engine sees a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import BaseModel, DetectionModel
from ultralytics.utils import DEFAULT_CFG_DICT
from ultralytics.utils.torch_utils import fuse_conv_and_bn

from yolo_subbatch.darknet import layers, layers_alexeyab
from yolo_subbatch.darknet.channels import COLOUR, network_order
from yolo_subbatch.darknet.gaussian import GaussianHead
from yolo_subbatch.darknet.geometry import check_detector, largest_stride
from yolo_subbatch.darknet.hierarchy import Hierarchy
from yolo_subbatch.darknet.input_weights import HOW, for_channels, load_other_channels
from yolo_subbatch.darknet.layers import ConvolutionalLayer
from yolo_subbatch.darknet.loss import Losses, YoloHead
from yolo_subbatch.darknet.loss_alexeyab import AlexeyabHead
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.parser import write_cfg
from yolo_subbatch.darknet.region import RegionHead
from yolo_subbatch.darknet.sections import SECTION_TYPES, Cfg, Net
from yolo_subbatch.darknet.weights import load_weights
from yolo_subbatch.engine import LOGGER, host
from yolo_subbatch.engine.darknet_data import padded_truths
from yolo_subbatch.engine.inference import DarknetPredictor, DarknetValidator
from yolo_subbatch.engine.stock import DarknetDescription, share_with_yolo
from yolo_subbatch.errors import SettingsError, WeightsError
from yolo_subbatch.folder.listing import recorded_iteration
from yolo_subbatch.late_imports import load

LOSS_NAMES = ("box_loss", "obj_loss", "cls_loss")
SHOWN_LOSSES = (*LOSS_NAMES, "darknet_loss")


class DarknetModel(DetectionModel):
    """A :class:`~yolo_subbatch.darknet.network.Network` behind the interface that Ultralytics' engine uses.

    The layers are registered as ``model``, as in Ultralytics, so that ``freeze=10`` and checkpoints name them alike.

    Args:
        cfg: The parsed cfg.
        flavour: ``auto``, ``pjreddie`` or ``alexeyab``.
        names: Class names; ``class0`` and so on by default.
    """

    network: Network
    seen: int = 0  # images that the loaded weights were trained on
    iteration: int | None = None  # after which they were saved, where that is known
    folded: bool = False  # batch normalisation is part of the convolutions now
    wish: dict[str, Any] | None = None  # what a search for hyperparameters asks of every training

    def __init__(self, cfg: Cfg, flavour: str = "auto", names: dict[int, str] | None = None) -> None:
        BaseModel.__init__(self)  # DetectionModel's own would parse a YAML
        check_detector(cfg)
        network = Network(cfg, flavour)
        self.model = network.layers
        # Not registered as a child: its layers are `model` already, and every weight must have one name.
        self.__dict__["network"] = network
        self.task = "detect"
        self.criterion = None
        self.args: Any = dict(DEFAULT_CFG_DICT)
        self.inplace = True
        self.nc = cfg.heads[0].classes
        self.names = names or {index: f"class{index}" for index in range(self.nc)}
        self.stride = torch.tensor([head.stride for head in network.heads] + [float(largest_stride(cfg))])
        self.yaml: dict[str, Any] = DarknetDescription({
            "darknet": write_cfg(cfg), "flavour": network.flavour, "yaml_file": cfg.path,
            "channels": cfg.net.channels, "nc": self.nc,
        })  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Return what a checkpoint holds: of plain types, where pickle's restrictions hold."""
        return {**self.__dict__, "yaml": dict(self.yaml)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        super().__setstate__({**state, "yaml": DarknetDescription(state["yaml"])})

    @property
    def cfg(self) -> Cfg:
        """The parsed cfg."""
        return self.network.cfg

    def set_net(self, net: Net) -> None:
        """Replace the ``[net]`` section, for instance by the schedule that is really followed."""
        self.network.cfg = replace(self.cfg, net=net)
        self.yaml["darknet"] = write_cfg(self.cfg)

    def _predict_once(self, x: Tensor, *given: Any, embed: Any = None, **_: Any) -> Any:
        """Return raw maps in training, otherwise ``(B, 4 + classes, N)`` boxes in pixels with scores, and the maps.

        With ``embed``, numbers of layers, the means of their outputs over the image: a vector for each of B images.
        Ultralytics gives it last, behind arguments that differ between its releases.
        """
        x = network_order(x)
        embed = given[-1] if len(given) > 1 else embed
        if embed:
            outputs = self.network.layer_outputs(x)
            if not all(-len(outputs) <= each < len(outputs) for each in embed):
                raise SettingsError(
                    f"embed={list(embed)}: the network has layers 0 to {len(outputs) - 1}; give some of these"
                )
            means = [outputs[index].flatten(2).mean(2) for index in sorted({each % len(outputs) for each in embed})]
            return torch.cat(means, 1).unbind(0)
        maps = self.network(x)
        if self.training:
            return maps
        return self.network.predictions(maps), maps

    def loss(self, batch: dict[str, Any], preds: Any = None) -> tuple[Tensor, host.Items]:
        """Return the loss parts as sums over the images, ``(3,)``, and their means per image by name."""
        maps = self.forward(batch["img"]) if preds is None else preds
        maps = maps[1] if isinstance(maps, tuple) else maps
        truths = batch["truths"] if "truths" in batch else padded_truths(batch)
        losses: Losses = self.network.loss(maps, truths)
        parts = torch.stack((losses.box, losses.objectness, losses.classes))
        means = torch.cat((parts.detach(), losses.cost.detach()[None])) / len(batch["img"])
        return parts, host.as_host_wants(dict(zip(SHOWN_LOSSES, means.unbind(), strict=True)))

    def init_criterion(self) -> None:
        """Return no criterion: the heads compute the loss."""

    def set_head_attr(self, **_: Any) -> None:
        """Ignore what Ultralytics sets on its own heads."""

    def is_fused(self) -> bool:
        """Tell whether the batch normalisation was folded into the convolutions."""
        return not any(isinstance(each, nn.BatchNorm2d) for each in self.modules())

    def fuse(self, verbose: bool = True, imgsz: int = 640) -> DarknetModel:
        """Fold batch normalisation into the convolutions, for inference."""
        for layer in self.model:
            if isinstance(layer, ConvolutionalLayer) and isinstance(layer.bn, nn.BatchNorm2d):
                self.folded = True
                layer.conv, layer.bn = fuse_conv_and_bn(layer.conv, layer.bn), nn.Identity()
        return self

    def load(self, weights: nn.Module | dict[str, Any], verbose: bool = True) -> None:
        """Copy every tensor that has the same name and shape; the first layer is fitted to other channels."""
        source = weights["model"] if isinstance(weights, dict) else weights
        theirs, own = dict(source.float().state_dict()), self.state_dict()
        first = next(iter(own))
        if first in theirs and theirs[first].shape[2:] == own[first].shape[2:] != ():
            changed = for_channels(theirs[first], own[first].shape[1])
            if changed is not None:
                theirs[first] = changed
                LOGGER.info(f"the first layer of the weights reads {COLOUR} channels; {HOW[own[first].shape[1]]}")
        fitting = {name: value for name, value in theirs.items() if name in own and value.shape == own[name].shape}
        self.load_state_dict(fitting, strict=False)
        if isinstance(source, DarknetModel):
            self.network.weights_version = source.network.weights_version
        if verbose:
            LOGGER.info(f"Transferred {len(fitting)}/{len(own)} items from pretrained weights")


def load_darknet_weights(
    cfg: Cfg, weights: str | Path, flavour: str = "auto", partial: bool = False, into: DarknetModel | None = None
) -> DarknetModel:
    """Build the cfg's model, or take one that is there, and load a ``.weights`` file into it.

    Raises:
        WeightsError: If the file does not fit the cfg. A file that ends after a whole layer is taken with ``partial``.
    """
    model = into or DarknetModel(cfg, flavour)
    network = model.network
    try:
        header = load_weights(network, weights, partial)
    except WeightsError:
        other = load_other_channels(network, weights, partial)
        if other is None:
            raise
        header, note = other
        LOGGER.info(f"{weights}: {note}")
    model.seen, model.iteration = header.seen, recorded_iteration(weights, header.seen)
    if header.layers < len(network.layers):
        LOGGER.info(
            f"{weights}: a backbone, it ends after layer {header.layers - 1} of {len(network.layers) - 1}; "
            "the layers behind it start from random weights"
        )
    return model


def darknet_task_map() -> dict[str, dict[str, Any]]:
    """Return which classes do what for a Darknet network, as Ultralytics' models ask for it.

    A checkpoint names this module alone, and whoever opens it without us asks here for the trainer, which knows this.
    """
    trainer = load("engine.darknet_trainer:DarknetTrainer")
    kinds = {"model": DarknetModel, "trainer": trainer, "validator": DarknetValidator, "predictor": DarknetPredictor}
    return {"detect": kinds}


def image_size(cfg: Cfg) -> int | list[int]:
    """Return a cfg's input size as Ultralytics writes it: one number, or height and width."""
    net = cfg.net
    return net.width if net.width == net.height else [net.height, net.width]


# A checkpoint holds the model object; these are the classes in it, for loading under pickle's restrictions.
torch.serialization.add_safe_globals([
    DarknetModel, Network, Cfg, YoloHead, AlexeyabHead, GaussianHead, RegionHead, Hierarchy, *SECTION_TYPES.values(),
    *(each for module in (layers, layers_alexeyab) for each in vars(module).values()
      if isinstance(each, type) and issubclass(each, nn.Module)),
])  # fmt: skip
share_with_yolo(DarknetModel, darknet_task_map)
