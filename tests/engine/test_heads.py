"""Networks with other heads than ``[yolo]`` behind Ultralytics' interface."""

from __future__ import annotations

import io

import pytest
import torch

from yolo_subbatch.darknet import parse_cfg
from yolo_subbatch.darknet.geometry import with_classes
from yolo_subbatch.darknet.region import WARM_UP
from yolo_subbatch.engine.keys import with_keys
from yolo_subbatch.engine.model import DarknetModel

NET = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=4\n[conv]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\nstride=4\nactivation=mish\n"
HEADS = {
    "region": f"{NET}[conv]\nfilters=16\nactivation=linear\n[region]\nclasses=3\nnum=2\nanchors=1,1,2,2\nsoftmax=1\n",
    "Gaussian_yolo": f"{NET}[conv]\nfilters=24\nactivation=linear\n[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=4,4,8,8\n",
}


@pytest.fixture(params=HEADS)
def model(request) -> DarknetModel:
    torch.manual_seed(0)
    return DarknetModel(parse_cfg(HEADS[request.param]))


def test_losses_and_predictions(model):
    batch = {
        "img": torch.rand(2, 3, 32, 32), "cls": torch.tensor([[1.0], [2.0]]), "batch_idx": torch.tensor([0.0, 1.0]),
        "bboxes": torch.tensor([[0.4, 0.5, 0.3, 0.2], [0.6, 0.5, 0.3, 0.4]]),
    }  # fmt: skip
    parts, said = model.train().loss(batch)
    parts.sum().backward()
    assert all(each.grad is not None for each in model.parameters())
    assert set(said) == {"box_loss", "obj_loss", "cls_loss", "darknet_loss"}
    with torch.no_grad():
        boxes, maps = model.eval()(batch["img"])
    assert boxes.shape == (2, 4 + 3, 2 * 8 * 8)
    assert len(maps) == 1


def test_heads_for_other_classes(model):
    changed = DarknetModel(with_classes(model.cfg, 2), names={0: "a", 1: "b"})
    changed.load(model, verbose=False)
    assert changed.nc == 2
    assert torch.equal(changed.network.layers[0].conv.weight, model.network.layers[0].conv.weight)
    with torch.no_grad():
        assert changed.eval()(torch.rand(1, 3, 32, 32))[0].shape == (1, 6, 128)


def test_a_checkpoint_of_it_is_loaded_again(model):
    file = io.BytesIO()
    torch.save({"model": model}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)["model"].eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(image)[0], model.eval()(image)[0])


def test_a_users_keys_reach_the_heads_that_have_them():
    given = {"jitter": 0.4, "ignore_thresh": 0.3, "random": 1.0}
    region, gaussian = (with_keys(parse_cfg(HEADS[name]), given).heads[0] for name in HEADS)
    assert (region.jitter, region.random) == (0.4, 1.0)
    assert (gaussian.jitter, gaussian.ignore_thresh) == (0.4, 0.3)


def test_without_being_told_a_region_is_past_its_warm_up():
    model = DarknetModel(parse_cfg(HEADS["region"]))
    (head,) = model.network.heads
    assert head.seen >= WARM_UP
    model.network.set_seen(64)
    assert head.seen == 64
