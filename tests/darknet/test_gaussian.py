"""``[Gaussian_yolo]`` heads against loops written from what AlexeyAB's Darknet computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.conftest import relative
from yolo_subbatch.darknet import Network, darknet_sgd, parse_cfg, train_batch
from yolo_subbatch.darknet.boxes import box_iou, iou_ascent
from yolo_subbatch.darknet.gaussian import GaussianHead
from yolo_subbatch.darknet.loss import pad_truths

pytestmark = pytest.mark.usefixtures("one_thread")
ANCHORS = [(6.0, 8.0), (14.0, 10.0), (20.0, 26.0), (40.0, 30.0)]
CLASSES, HEIGHT, WIDTH, CELL = 3, 5, 6, 8


def head_of(keys: str = "", mask: str = "1,2") -> GaussianHead:
    filters = (mask.count(",") + 1) * (9 + CLASSES)
    anchors = ",".join(f"{w:g},{h:g}" for w, h in ANCHORS)
    head = Network(parse_cfg(
        f"[net]\nwidth={WIDTH * CELL}\nheight={HEIGHT * CELL}\nchannels=3\n[conv]\nfilters={filters}\nstride={CELL}\n"
        f"activation=linear\n[Gaussian_yolo]\nclasses={CLASSES}\nnum=4\nmask={mask}\nanchors={anchors}\n{keys}"
    )).heads[0]  # fmt: skip
    assert type(head) is GaussianHead
    return head


def logistic(x):
    return 1 / (1 + np.exp(-x))


def sample(seed: int, images: int = 2) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a raw map and truths: some share a cell and anchor with the same or another class."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, (images, 2 * (9 + CLASSES), HEIGHT, WIDTH))
    truths = []
    for _ in range(images):
        rows = np.concatenate(
            (rng.integers(0, CLASSES, (6, 1)), rng.uniform(0.1, 0.9, (6, 2)), rng.uniform(0.1, 0.6, (6, 2))), 1
        )
        rows[3], rows[3, 0] = rows[2], (rows[2, 0] + 1) % CLASSES
        rows[4] = rows[2]
        rows[4, 3] *= 0.97
        truths.append(rows)
    return raw, truths


def overlap(a, b) -> float:
    return float(box_iou(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)))


def darknets_delta(raw: np.ndarray, truths: list[np.ndarray], o: dict) -> np.ndarray:
    """Darknet's `delta`, truth by truth. ``o``: the keys of the section, all of them."""
    mask = [1, 2]
    x = raw.reshape(len(raw), 2, 9 + CLASSES, HEIGHT, WIDTH)
    out = logistic(x)
    out[:, :, 4], out[:, :, 6] = x[:, :, 4], x[:, :, 6]
    for index in (0, 2):
        out[:, :, index] = out[:, :, index] * o["scale_x_y"] - (o["scale_x_y"] - 1) / 2
    delta = np.zeros_like(out)
    multipliers = np.ones(CLASSES)
    if o["counters"]:
        counters = np.array(o["counters"], float)
        multipliers = np.minimum(counters.max() / counters, o["max_delta"])
    smooth = o["smooth"]

    def predicted(b, n, j, i):
        width, height = ANCHORS[mask[n]]
        v = out[b, n, :, j, i]
        return [
            (i + v[0]) / WIDTH,
            (j + v[2]) / HEIGHT,
            math.exp(v[4]) * width / (WIDTH * CELL),
            math.exp(v[6]) * height / (HEIGHT * CELL),
        ]

    def learn_box(b, n, j, i, truth, multiplier):
        v, (aw, ah) = out[b, n, :, j, i], ANCHORS[mask[n]]
        tx, ty, tw, th = truth[1:]
        goal = [tx * WIDTH - i, ty * HEIGHT - j, math.log(tw * WIDTH * CELL / aw), math.log(th * HEIGHT * CELL / ah)]
        scale = 2 - tw * th
        direction = None
        if o["iou_loss"] != "mse":
            pair = torch.tensor([predicted(b, n, j, i)]).double(), torch.tensor(truth[None, 1:]).double()
            direction = iou_ascent(o["iou_loss"], *pair)[0].numpy() * [1, 1, math.exp(v[4]), math.exp(v[6])]
        for k in range(4):
            mean, sigma = v[2 * k], v[2 * k + 1]
            z = (goal[k] - mean) / sigma
            density = math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * (sigma + 0.3))
            share = 0.5 / (density + 1e-9) * density * scale
            step = share * z / sigma if direction is None else direction[k]
            step *= o["iou_normalizer"] * multiplier
            unsure = share * (z * z / sigma - 1 / (sigma + 0.3)) * o["uc_normalizer"]
            limit = o["max_delta"]
            delta[b, n, 2 * k, j, i] += min(max(step, -limit), limit)
            delta[b, n, 2 * k + 1, j, i] += min(max(unsure, -limit), limit)

    def learn_class(b, n, j, i, label):
        place = delta[b, n, 9:, j, i]
        for k in range(CLASSES):
            goal = (k == label) * (1 - smooth) + smooth / 2
            if place[0] != 0 and k != label and learned[b, n, j, i]:
                continue
            place[k] = (goal - out[b, n, 9 + k, j, i]) * (
                multipliers[k] * (o["cls_normalizer"] if not learned[b, n, j, i] and o["counters"] else 1)
                if k == label
                else 1
            )
        learned[b, n, j, i] = True

    learned = np.zeros((len(raw), 2, HEIGHT, WIDTH), bool)
    for b, rows in enumerate(truths):
        for n, j, i in np.ndindex(2, HEIGHT, WIDTH):
            overlaps = [overlap(predicted(b, n, j, i), row[1:]) for row in rows]
            delta[b, n, 8, j, i] = o["obj_normalizer"] * -out[b, n, 8, j, i]
            if max(overlaps) > o["ignore_thresh"] and out[b, n, 9:, j, i].max() > 0.25:
                delta[b, n, 8, j, i] = 0
            if max(overlaps) > o["truth_thresh"]:
                row = rows[int(np.argmax(overlaps))]
                delta[b, n, 8, j, i] = o["obj_normalizer"] * (1 - out[b, n, 8, j, i])
                learn_class(b, n, j, i, int(row[0]))
                learn_box(b, n, j, i, row, multipliers[int(row[0])])
        for row in rows:
            i, j = int(row[1] * WIDTH), int(row[2] * HEIGHT)
            fits = [overlap([0, 0, w / (WIDTH * CELL), h / (HEIGHT * CELL)], [0, 0, *row[3:]]) for w, h in ANCHORS]
            best = int(np.argmax(fits))
            for anchor in [best, *(k for k in range(4) if k != best and fits[k] > o["iou_thresh"])]:
                if anchor not in mask:
                    continue
                n, factor = mask.index(anchor), multipliers[int(row[0])]
                learn_box(b, n, j, i, row, factor)
                delta[b, n, 8, j, i] = factor * o["obj_normalizer"] * (1 - out[b, n, 8, j, i])
                learn_class(b, n, j, i, int(row[0]))
        for n, j, i in np.ndindex(2, HEIGHT, WIDTH):
            delta[b, n, :8, j, i] /= max(1, (delta[b, n, 9:, j, i] > 0).sum())
    return delta.reshape(raw.shape)


USUAL = {
    "scale_x_y": 1.0, "iou_loss": "mse", "iou_normalizer": 0.75, "uc_normalizer": 1.0, "obj_normalizer": 1.0,
    "cls_normalizer": 1.0, "ignore_thresh": 0.5, "truth_thresh": 1.0, "iou_thresh": 1.0, "max_delta": math.inf,
    "counters": None, "smooth": 0.0,
}  # fmt: skip
NAMES = {"counters": "counters_per_class", "smooth": "label_smooth_eps"}
CASES: list[dict] = [
    {}, {"scale_x_y": 1.2}, {"iou_normalizer": 0.5, "uc_normalizer": 0.3}, {"iou_loss": "iou"}, {"iou_loss": "giou"},
    {"iou_loss": "ciou", "iou_normalizer": 0.07}, {"max_delta": 0.4}, {"max_delta": 0.4, "iou_loss": "giou"},
    {"iou_thresh": 0.3}, {"truth_thresh": 0.3}, {"ignore_thresh": 0.1, "obj_normalizer": 0.4},
    {"counters": [10, 40, 20], "max_delta": 3.0, "cls_normalizer": 0.5}, {"smooth": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_gradient_is_minus_darknets_delta(case):
    keys = "".join(
        f"{NAMES.get(name, name)}={','.join(map(str, value)) if isinstance(value, list) else value}\n"
        for name, value in CASES[case].items()
    )
    raw, truths = sample(case)
    head, x = head_of(keys).double(), torch.from_numpy(raw).requires_grad_()
    losses = head.loss(x, pad_truths(torch.from_numpy(np.stack(truths))))
    losses.total.backward()
    wanted = darknets_delta(raw, truths, USUAL | CASES[case])
    assert np.abs(wanted).max() > 0.3
    assert relative(-x.grad.numpy(), wanted) < 1e-9
    assert float(losses.cost) == pytest.approx((wanted**2).sum(), rel=1e-9)


def test_delta_normalizer_scales_the_gradient_alone():
    raw, truths = sample(0)
    padded, found = pad_truths(torch.from_numpy(np.stack(truths))), []
    for keys in ("", "delta_normalizer=0.5\n"):
        x = torch.from_numpy(raw).requires_grad_()
        losses = head_of(keys).double().loss(x, padded)
        losses.total.backward()
        found.append((x.grad, losses.cost))
    assert torch.allclose(found[1][0], found[0][0] / 2)
    assert found[1][1] == found[0][1]


def test_without_truths_only_objectness_learns():
    x = torch.randn(1, 24, HEIGHT, WIDTH, requires_grad=True)
    losses = head_of().loss(x, pad_truths([torch.zeros(0, 5)]))
    losses.total.backward()
    assert (losses.box.item(), losses.classes.item()) == (0, 0)
    moved = x.grad.reshape(2, 12, -1).abs().sum((0, 2)) > 0
    assert moved.nonzero().flatten().tolist() == [8]


def test_output():
    raw = np.random.default_rng(0).normal(0, 1, (2, 24, HEIGHT, WIDTH))
    found = head_of("scale_x_y=1.1\n").double()(torch.from_numpy(raw)).numpy().reshape(2, 2, 12, HEIGHT, WIDTH)
    x = raw.reshape(found.shape)
    for index in range(12):
        wanted = x[:, :, index] if index in (4, 6) else logistic(x[:, :, index])
        if index in (0, 2):
            wanted = wanted * 1.1 - 0.05
        assert np.abs(found[:, :, index] - wanted).max() < 1e-12


def test_boxes_lose_the_mean_uncertainty():
    raw = torch.randn(2, 24, HEIGHT, WIDTH)
    found = head_of("scale_x_y=1.1\n").decode(raw)
    assert found.shape == (2, 2 * HEIGHT * WIDTH, 5 + CLASSES)
    v = raw.reshape(2, 2, 12, HEIGHT, WIDTH)[1, 1, :, 3, 4]
    row = (3 * WIDTH + 4) * 2 + 1  # cells outside, then anchors
    centre = v[[0, 2]].sigmoid() * 1.1 - 0.05 + torch.tensor([4.0, 3.0])
    sure = 1 - v[[1, 3, 5, 7]].sigmoid().mean()
    wanted = torch.cat(
        (centre * CELL, v[[4, 6]].exp() * torch.tensor(ANCHORS[2]), v[8:9].sigmoid(), v[9:].sigmoid() * sure)
    )
    assert torch.allclose(found[1, row], wanted, rtol=1e-5)


def test_a_gaussian_network_learns():
    torch.manual_seed(0)
    network = Network(parse_cfg(
        "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=4\nlearning_rate=0.005\nmomentum=.9\n"
        "[conv]\nbatch_normalize=1\nfilters=16\nsize=3\npad=1\nstride=4\nactivation=leaky\n[conv]\nbatch_normalize=1\n"
        "filters=16\nsize=3\npad=1\nstride=2\nactivation=leaky\n[conv]\nfilters=22\nactivation=linear\n[Gaussian_yolo]\n"
        "anchors=8,8,16,16\nnum=2\nclasses=2\nmax_delta=5\nscale_x_y=1.1\n"
    ))  # fmt: skip
    optimizer, images = darknet_sgd(network), torch.rand(4, 3, 32, 32)
    truths = [torch.tensor([[i % 2, 0.2 + 0.2 * i, 0.4, 0.4, 0.5]]) for i in range(4)]
    losses = [float(train_batch(network, optimizer, images, truths, subdivisions=2).total) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    network.eval()
    with torch.no_grad():
        maps = network(images)
    assert network.predictions(maps).shape == (4, 4 + 2, 2 * 4 * 4)
    assert network.detections(maps).shape == (4, 2 * 4 * 4, 5 + 2)
