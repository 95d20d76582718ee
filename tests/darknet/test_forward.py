"""Forward pass, detections and suppression against real Darknet output."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch

from tests.conftest import golden, relative
from yolo_subbatch.darknet import Network, load_weights, non_max_suppression, parse_cfg

NO_BATCH_NORM = 1e-5
BATCH_NORM = 2e-4  # Darknet's CPU code adds 1e-6 outside the root, cuDNN and torch 1e-5 inside


def network_of(g: dict, **keywords) -> Network:
    network = Network(parse_cfg(str(g["cfg"])), **keywords)
    load_weights(network, io.BytesIO(g["weights"].tobytes()))
    return network.eval()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "name",
    ["convpool", "nobn", "residual", "route", "twoscale", "upsample_misc", "v3mini", "region_v2", "aab_twoscale",
     "aab_v4mini", "aab_misc"],
)  # fmt: skip
def test_every_layer_equals_darknets(name, channels_last):
    g = golden(f"forward_{name}.npz")
    network = network_of(g)
    image = torch.from_numpy(g["image"])
    if channels_last:
        network, image = (
            network.to(memory_format=torch.channels_last),
            image.contiguous(memory_format=torch.channels_last),
        )
    with torch.no_grad():
        outputs = network.layer_outputs(image)
    limit = BATCH_NORM if "batch_normalize" in str(g["cfg"]) else NO_BATCH_NORM
    assert len(outputs) == len(g["layer_types"])
    for index, output in enumerate(outputs):
        wanted = g.get(f"layer_{index:03d}")
        if wanted is not None:
            assert relative(output[0].numpy(), wanted) < limit, f"layer {index} [{g['layer_types'][index]}]"


@pytest.mark.parametrize("name", ["nobn", "twoscale", "v3mini", "aab_v4mini", "region_v2"])
def test_detections_come_in_darknets_order(name):
    g = golden(f"forward_{name}.npz")
    network = network_of(g)
    with torch.no_grad():
        found = network.detections(network(torch.from_numpy(g["image"])))[0].numpy()
    height, width = g["image"].shape[2:]
    found[:, :4] /= (width, height, width, height)
    threshold = float(g["det_thresh"])
    if name != "region_v2":  # a region's boxes are listed all
        found = found[found[:, 4] > threshold]
    found[:, 5:] *= found[:, 4:5]
    found[:, 5:][found[:, 5:] <= threshold] = 0
    found[:, 4][found[:, 4] <= threshold] = 0
    wanted = g.get("dets_relative_net", g.get("dets_relative_img"))
    assert found.shape == wanted.shape
    assert np.abs(found[:, :5] - wanted[:, :5]).max() < 1e-3 * max(1, np.abs(wanted).max())
    assert np.abs(found[:, 5:] - wanted[:, 5:]).max() < 2e-3


def test_heads_are_the_raw_maps():
    g = golden("forward_twoscale.npz")
    network = network_of(g)
    with torch.no_grad():
        maps = network(torch.from_numpy(g["image"]))
    assert [tuple(each.shape) for each in maps] == [(1, 21, 4, 4), (1, 21, 8, 8)] or len(maps) == 2
    for raw, index in zip(maps, network.head_indices, strict=True):
        assert relative(raw[0].numpy(), g[f"layer_{index:03d}"]) < BATCH_NORM


def test_yolov3_tiny_at_416():
    g = golden("forward_yolov3_tiny_416.npz")
    network = Network(parse_cfg(str(g["cfg"])))
    rng = np.random.default_rng(416)
    parts = [np.array([0, 2, 0, 0, 0], "<i4").tobytes()]
    for layer in network.layers:
        if not hasattr(layer, "conv"):
            continue
        n, count = layer.conv.out_channels, layer.conv.weight.numel()
        weights = rng.standard_normal(count) * np.sqrt(2 / (count / n))
        arrays = [rng.normal(0, 0.1, n)]
        if isinstance(layer.bn, torch.nn.BatchNorm2d):
            arrays += [rng.uniform(0.5, 1.5, n), rng.normal(0, 0.2, n), rng.uniform(0.3, 2, n)]
        parts += [each.astype("<f4").tobytes() for each in (*arrays, weights)]
    data = b"".join(parts)
    assert hashlib.sha256(data).hexdigest() == str(g["weights_sha256"])
    load_weights(network, io.BytesIO(data))
    image = torch.from_numpy(g["image_u8"]).float()[None] / 255
    with torch.no_grad():
        outputs = network.eval().layer_outputs(image)
    assert relative(outputs[15][0].numpy(), g["layer_015"]) < BATCH_NORM
    assert relative(outputs[22][0, :85].numpy(), g["layer_022_anchor0"]) < BATCH_NORM


def test_suppression_equals_do_nms_sort():
    g = golden("post_nms.npz")
    checked = 0
    for case in range(int(g["n_cases"])):
        key = f"c{case:02d}"
        if str(g[f"{key}_mode"]) != "sort":
            continue
        before = torch.from_numpy(g[f"{key}_in"].copy())
        after = non_max_suppression(before, float(g[f"{key}_thresh"]))
        assert np.array_equal(after.numpy(), g[f"{key}_out"]), key
        assert np.array_equal(before.numpy(), g[f"{key}_in"]), "the argument must not change"
        checked += 1
    assert checked > 3
