"""Every bundled and every golden cfg: parsed, built, saved, loaded, computed, trained for one update, and exported.

The export is compared with the network by its own gate. What has no head, or no colour images, has no export.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import GOLDEN_FOLDERS
from yolo_subbatch.darknet import (
    Network,
    darknet_sgd,
    learning_rate,
    load_weights,
    parse_cfg,
    read_cfg,
    save_weights,
    set_rate,
    train_batch,
)
from yolo_subbatch.darknet.explicit import explicit
from yolo_subbatch.darknet.geometry import largest_stride, layer_table
from yolo_subbatch.darknet.parser import with_net, write_cfg
from yolo_subbatch.darknet.report import parameter_count, weights_bytes
from yolo_subbatch.darknet.sections import Cfg
from yolo_subbatch.errors import ExportError
from yolo_subbatch.export.onnx import OnnxExporter
from yolo_subbatch.settings.commands import ExportSettings

pytestmark = pytest.mark.usefixtures("one_thread")

BUNDLED = sorted((Path(__file__).parents[1] / "cfg").glob("*.cfg"))
MANY = 7_000_000  # parameters from which a network is left to the slow tests
#: Golden cfgs that were made to look at layers alone.
NOT_EXPORTED = {
    "forward_aab_misc": "no .yolo. or .region. section",
    "forward_convpool": "no .yolo. or .region. section",
    "forward_residual": "no .yolo. or .region. section",
    "forward_route": "no .yolo. or .region. section",
    "forward_upsample_misc": "no .yolo. or .region. section",
    "weights_header": "no .yolo. or .region. section",
}


def golden_cfgs() -> dict[str, Cfg]:
    """Return the cfg of every golden file that has one."""
    found = {}
    for folder in GOLDEN_FOLDERS:
        for file in sorted(folder.glob("*.npz")):
            with np.load(file, allow_pickle=False) as data:
                if "cfg" in data.files and file.stem not in found:
                    found[file.stem] = parse_cfg(str(data["cfg"]), f"{file.stem}.cfg")
    return found


GOLDEN = golden_cfgs()
CFGS = {file.stem: read_cfg(file) for file in BUNDLED} | GOLDEN


def marked(names: list[str]) -> list[object]:
    return [
        pytest.param(name, marks=pytest.mark.slow) if parameter_count(CFGS[name]) > MANY else name for name in names
    ]


def once() -> list[str]:
    """Return the names of cfgs of which no earlier one has the same layers: what ``[net]`` trains with is not exported."""
    seen: dict[object, str] = {}
    for name, cfg in CFGS.items():
        size = (cfg.net.width, cfg.net.height, cfg.net.channels, cfg.flavour())
        seen.setdefault((cfg.sections, size), name)
    return list(seen.values())


def small(name: str) -> Cfg:
    """Return a cfg for small images: those of the golden data are so already."""
    cfg = CFGS[name]
    if max(cfg.net.width, cfg.net.height) <= 96:
        return cfg
    side = max(64, 2 * largest_stride(cfg))
    return with_net(cfg, width=side, height=side)


def settled(network: Network, images: torch.Tensor) -> Network:
    """Give the batch normalisations statistics that keep an untrained network's numbers in range."""
    for module in network.train().modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(6):
            network(images)
    return network.eval()


def images_of(cfg: Cfg, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, cfg.net.channels, cfg.net.height, cfg.net.width, generator=generator)


@pytest.mark.parametrize("name", marked(list(CFGS)))
def test_save_load_forward_update(name):
    cfg = small(name)
    torch.manual_seed(0)
    images = images_of(cfg)
    network = settled(Network(cfg), images)
    again = parse_cfg(write_cfg(cfg), name)
    assert (again.net, again.sections, again.flavour()) == (cfg.net, explicit(cfg).sections, cfg.flavour())
    other = Network(again)
    file = io.BytesIO()
    save_weights(network, file, seen=77)
    assert len(file.getvalue()) == weights_bytes(cfg)
    assert load_weights(other, io.BytesIO(file.getvalue())).seen == 77
    with torch.no_grad():
        outputs = network.layer_outputs(images)
        for one, two in zip(outputs, other.eval().layer_outputs(images), strict=True):
            assert torch.equal(one, two)
            assert torch.isfinite(one).all()
    assert [tuple(each.shape[1:]) for each in outputs] == [tuple(layer.out_shape) for layer in layer_table(cfg)]
    if cfg.heads:
        update(network, images)


def update(network: Network, images: torch.Tensor) -> None:
    """Make the first update of the cfg's schedule and ask for weights that moved and are finite."""
    truths = [torch.tensor([[0, 0.4, 0.6, 0.3, 0.2]]), torch.tensor([[0, 0.5, 0.5, 0.9, 0.8], [0, 0.2, 0.3, 0.1, 0.1]])]
    before = [each.detach().clone() for each in network.parameters()]
    optimizer = darknet_sgd(network.train())
    set_rate(optimizer, learning_rate(network.cfg.net, 1))
    losses = train_batch(network, optimizer, images, truths, subdivisions=2, max_norm=20.0)
    assert losses.total > 0
    assert all(torch.isfinite(each).all() for each in network.parameters())
    moved = [not torch.equal(one, two) for one, two in zip(before, network.parameters(), strict=True)]
    assert any(moved)


@pytest.mark.parametrize("name", marked(once()))
def test_export_passes_its_gate(name, tmp_path):
    cfg = small(name)
    torch.manual_seed(0)
    network = settled(Network(cfg), images_of(cfg, 4))
    names = {index: f"class {index}" for index in range(max((head.classes for head in cfg.heads), default=1))}
    target = tmp_path / f"{name}.onnx"
    settings = ExportSettings(model="x.pt", dynamic=False)
    if name in NOT_EXPORTED:
        with pytest.raises(ExportError, match=NOT_EXPORTED[name]):
            OnnxExporter(network, names, settings).export(target)
        assert not target.exists()
    else:
        lines: list[str] = []
        assert OnnxExporter(network, names, settings, lines.append).export(target).stat().st_size > 1000
        assert any("computes what the network does" in line for line in lines), lines


def test_what_is_not_exported_is_still_there():
    here = {name for name in NOT_EXPORTED if name in CFGS}
    assert all(not CFGS[name].heads for name in here)
    assert here >= {"forward_convpool", "weights_header"}
