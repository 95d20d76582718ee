"""The [yolo] loss of AlexeyAB's Darknet: against its own numbers, against a plain loop, and at its edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import GOLDEN_FOLDERS, golden, relative
from yolo_subbatch.darknet import Network, parse_cfg
from yolo_subbatch.darknet.boxes import box_metric, iou_ascent
from yolo_subbatch.darknet.loss_alexeyab import AlexeyabHead, class_multipliers, focal_slope, with_gradient
from yolo_subbatch.errors import CfgError

pytestmark = pytest.mark.usefixtures("one_thread")

LOSSES = ("mse", "iou", "giou", "diou", "ciou")
CLASSES, HEIGHT, WIDTH = 3, 3, 4
CFG = f"""[net]
width=64
height=48
channels=3
[convolutional]
size=1
stride=16
filters={3 * (5 + CLASSES)}
activation=linear
[yolo]
mask=1,3,0
anchors=10,12, 20,15, 12,30, 40,30
num=4
classes={CLASSES}
"""


def network_of(options: str = "", flavour: str = "alexeyab") -> Network:
    return Network(parse_cfg(CFG + options), flavour).double()


def truth_list(rows: np.ndarray) -> torch.Tensor:
    ends = np.flatnonzero(rows[:, 0] == 0)
    rows = rows[: ends[0]] if len(ends) else rows
    return torch.from_numpy(rows[:, [4, 0, 1, 2, 3]].copy())


def delta_of(network: Network, raw: torch.Tensor, truths: list[torch.Tensor]):
    raw = raw.detach().clone().requires_grad_()
    losses = network.loss([raw], truths)
    losses.total.backward()
    return -raw.grad, losses.detach()


# Against Darknet


def names(prefix: str) -> list[str]:
    return sorted({file.stem for folder in GOLDEN_FOLDERS for file in folder.glob(f"{prefix}*.npz")})


@pytest.mark.parametrize("name", names("yolo_aab"))
@pytest.mark.parametrize("channels_last", [False, True])
def test_delta_equals_darknets(name, channels_last):
    g = golden(f"{name}.npz")
    network = Network(parse_cfg(str(g["cfg"])), "alexeyab")
    logits = torch.from_numpy(g["logits"])
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    delta, losses = delta_of(network, logits, [truth_list(rows) for rows in g["truths"]])
    assert relative(delta.numpy(), g["delta"]) < 2e-6
    assert float(losses.cost) == pytest.approx(float(g["cost"]), rel=2e-6)
    assert relative(network.layers[-1](logits).numpy(), g["output"]) < 1e-6
    assert min(float(losses.box), float(losses.objectness), float(losses.classes)) > 0


def test_the_flavours_differ_for_one_cfg():
    """The default cfg of both golden files is one; the flavour alone decides."""
    ours, theirs = golden("yolo_pj_default.npz"), golden("yolo_aab_default.npz")
    assert str(ours["cfg"]) == str(theirs["cfg"])
    assert relative(theirs["delta"], ours["delta"]) > 0.01
    cfg = parse_cfg(str(ours["cfg"]))
    assert Network(cfg).flavour == "pjreddie"
    for flavour, g in (("pjreddie", ours), ("alexeyab", theirs)):
        network = Network(cfg, flavour)
        delta, _ = delta_of(network, torch.from_numpy(g["logits"]), [truth_list(rows) for rows in g["truths"]])
        assert relative(delta.numpy(), g["delta"]) < 1e-5


# Against a plain loop over boxes, written from the description


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class Loop:
    """The deltas of one image, box by box, in double precision."""

    def __init__(self, head: AlexeyabHead, raw: np.ndarray, truths: np.ndarray) -> None:
        self.s, self.truths = head.section, truths
        self.anchors = np.array(self.s.anchor_pairs)
        self.multiplier = class_multipliers(self.s).double().numpy()
        self.value = raw.copy()  # (A, 5 + C, H, W)
        if not self.s.new_coords:
            activated = np.vectorize(logistic)(raw)
            self.value[:, :2], self.value[:, 4:] = activated[:, :2], activated[:, 4:]
        self.value[:, :2] = self.value[:, :2] * self.s.scale_x_y - (self.s.scale_x_y - 1) / 2
        self.delta = np.zeros_like(raw)
        self.agreement: list[float] = []
        self.background()
        for truth in truths:
            self.positive(truth)
        if self.s.iou_thresh < 1:
            self.average()

    def box(self, a: int, j: int, i: int) -> np.ndarray:
        x, y, w, h = self.value[a, :4, j, i]
        factor = [4 * w * w, 4 * h * h] if self.s.new_coords else [math.exp(w), math.exp(h)]
        size = self.anchors[self.s.selected[a]] * factor / (64, 48)
        return np.array([(x + i) / WIDTH, (y + j) / HEIGHT, *size])

    def background(self) -> None:
        s = self.s
        for a, j, i in np.ndindex(len(s.selected), HEIGHT, WIDTH):
            overlaps = [iou(self.box(a, j, i), truth[1:]) for truth in self.truths]
            best = max(overlaps, default=0.0)
            objectness = self.value[a, 4, j, i]
            self.delta[a, 4, j, i] = -s.obj_normalizer * objectness
            if best > s.ignore_thresh and (self.value[a, 5:, j, i] > 0.25).any():
                self.delta[a, 4, j, i] = s.obj_normalizer * (best - objectness) if s.objectness_smooth else 0
            if best > s.truth_thresh:
                wanted = best**2 if s.objectness_smooth else 1
                self.delta[a, 4, j, i] = s.obj_normalizer * (wanted - objectness)
                truth = self.truths[int(np.argmax(overlaps))]
                label = int(truth[0])
                self.classes(a, j, i, label)
                if s.objectness_smooth:
                    difference = wanted - self.value[a, 5 + label, j, i]
                    self.delta[a, 5 + label, j, i] = self.multiplier[label] * difference
                self.move(a, j, i, truth)

    def positive(self, truth: np.ndarray) -> None:
        s = self.s
        i, j = min(int(truth[1] * WIDTH), WIDTH - 1), min(int(truth[2] * HEIGHT), HEIGHT - 1)
        still = np.array([0, 0, *truth[3:]])
        anchors = [np.array([0, 0, *(anchor / (64, 48))]) for anchor in self.anchors]
        best = int(np.argmax([iou(anchor, still) for anchor in anchors]))
        for number, anchor in enumerate(anchors):
            if number not in s.selected:
                continue
            fits = s.iou_thresh < 1 and metric(s.iou_thresh_kind, anchor, still) > s.iou_thresh
            if number == best or fits:
                self.learn(s.selected.index(number), j, i, truth)

    def learn(self, a: int, j: int, i: int, truth: np.ndarray) -> None:
        s, label = self.s, int(truth[0])
        self.move(a, j, i, truth)
        self.agreement.append(metric("giou" if s.iou_loss == "giou" else "iou", self.box(a, j, i), truth[1:]))
        if not s.objectness_smooth or self.delta[a, 4, j, i] == 0:
            self.delta[a, 4, j, i] = self.multiplier[label] * s.obj_normalizer * (1 - self.value[a, 4, j, i])
        self.classes(a, j, i, label)

    def classes(self, a: int, j: int, i: int, label: int) -> None:
        s, scores, delta = self.s, self.value[a, 5:, j, i], self.delta[a, 5:, j, i]
        smooth = s.label_smooth_eps
        if delta[label]:
            delta[label] = (1 - smooth / 2 - scores[label]) * self.multiplier[label]
            return
        for number in range(CLASSES):
            mine = number == label
            if s.focal_loss:
                p = scores[label]
                slope = -(1 - p) * (2 * p * math.log(p) + p - 1)
                delta[number] = (mine - scores[number]) * 0.5 * slope
            else:
                delta[number] = mine * (1 - smooth) + smooth / 2 - scores[number]
                if mine and s.counters_per_class:
                    delta[number] *= self.multiplier[label] * s.cls_normalizer

    def move(self, a: int, j: int, i: int, truth: np.ndarray) -> None:
        s, anchor = self.s, self.anchors[self.s.selected[a]]
        factor = s.iou_normalizer * self.multiplier[int(truth[0])]
        x, y, w, h = self.value[a, :4, j, i]
        if s.iou_loss == "mse":
            size = truth[3:] * (64, 48) / anchor
            size = np.sqrt(size / 4) if s.new_coords else np.log(size)
            wanted = np.array([truth[1] * WIDTH - i, truth[2] * HEIGHT - j, *size])
            self.delta[a, :4, j, i] += factor * (2 - truth[3] * truth[4]) * (wanted - (x, y, w, h))
            return
        pair = torch.from_numpy(np.stack((self.box(a, j, i), truth[1:])))
        step = iou_ascent(s.iou_loss, pair[:1], pair[1:])[0].numpy() * factor
        if not s.new_coords:
            step[2:] *= math.exp(w), math.exp(h)
        step = np.where(np.isfinite(step), step, 0)
        if s.max_delta is not None:
            step = step.clip(-s.max_delta, s.max_delta)
        self.delta[a, :4, j, i] += step

    def average(self) -> None:
        for a, j, i in np.ndindex(len(self.s.selected), HEIGHT, WIDTH):
            count = (self.delta[a, 5:, j, i] > 0).sum()
            if self.delta[a, 4, j, i] != 0 and count:
                self.delta[a, :4, j, i] /= count


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return metric("iou", a, b)


def metric(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    return float(box_metric(kind, torch.from_numpy(a), torch.from_numpy(b)))


def loop(network: Network, raw: torch.Tensor, truths: list[torch.Tensor]) -> tuple[np.ndarray, float]:
    head = network.heads[0]
    images = [
        Loop(head, each.view(3, 5 + CLASSES, HEIGHT, WIDTH).numpy(), rows.double().numpy())
        for each, rows in zip(raw, truths, strict=True)
    ]
    delta = np.stack([image.delta for image in images])
    s = head.section
    if s.iou_loss == "mse" or not s.show_details:
        return delta, float((delta**2).sum())
    found = [each for image in images for each in image.agreement]
    missing = sum(1 - each for each in found) / max(1, len(found))
    return delta, s.iou_normalizer * missing + s.obj_normalizer * float((delta[:, :, 4:] ** 2).sum())


def scene(seed: int, new_coords: bool, images: int = 2) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return a raw map and truths that meet in cells, repeat, change class and lie near the predictions."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((images, 3 * (5 + CLASSES), HEIGHT, WIDTH))
    if new_coords:
        raw = 1 / (1 + np.exp(-raw))
    truths = []
    for _ in range(images):
        rows = np.column_stack((
            rng.integers(0, CLASSES, 6), rng.uniform(0.01, 1, (6, 2)), rng.choice([0.1, 0.2, 0.35, 0.8], (6, 2)),
        ))  # fmt: skip
        again = rows[rng.integers(0, 6, 5)]
        again[:, 0] = rng.integers(0, CLASSES, 5)
        again[:2, 3:] = rng.uniform(0.1, 0.5, (2, 2))
        rows = np.concatenate((rows, again))[: rng.integers(0, 12)]
        truths.append(torch.from_numpy(rows).float())
    return torch.from_numpy(raw), truths


options = st.fixed_dictionaries(
    {},
    optional={
        "iou_loss": st.sampled_from(LOSSES),
        "iou_normalizer": st.sampled_from([0.07, 1.0]),
        "obj_normalizer": st.sampled_from([0.4, 2.0]),
        "cls_normalizer": st.sampled_from([0.5, 3.0]),
        "iou_thresh": st.sampled_from([0.1, 0.213, 0.6]),
        "iou_thresh_kind": st.sampled_from(["iou", "giou", "diou", "ciou"]),
        "max_delta": st.sampled_from([0.05, 1.0, 5.0]),
        "label_smooth_eps": st.sampled_from([0.1, 0.4]),
        "focal_loss": st.sampled_from([0, 1]),
        "counters_per_class": st.sampled_from(["10,40,5", "0,7,7"]),
        "objectness_smooth": st.sampled_from([0, 1]),
        "ignore_thresh": st.sampled_from([0.05, 0.3, 0.7]),
        "truth_thresh": st.sampled_from([0.1, 0.3]),
        "new_coords": st.just(1),
        "scale_x_y": st.sampled_from([1.05, 2.0]),
        "show_details": st.sampled_from([0, 1]),
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(options, st.integers(0, 10**6))
def test_every_mixture_of_options_equals_the_plain_loop(chosen, seed):
    network = network_of("".join(f"{key}={value}\n" for key, value in chosen.items()))
    raw, truths = scene(seed, "new_coords" in chosen)
    delta, losses = delta_of(network, raw, truths)
    wanted, cost = loop(network, raw, truths)
    np.testing.assert_allclose(delta.view(wanted.shape).numpy(), wanted, rtol=1e-6, atol=1e-9)
    assert float(losses.cost) == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("extra", ["", "truth_thresh=.2\n", "iou_thresh=.2\nobjectness_smooth=1\n"])
def test_sub_batches_add_up(kind, extra):
    network = network_of(f"iou_loss={kind}\n{extra}")
    raw, truths = scene(5, False, images=4)
    delta, whole = delta_of(network, raw, truths)
    for cut in (1, 3):
        parts = [delta_of(network, raw[part], truths[part]) for part in (slice(0, cut), slice(cut, None))]
        assert torch.equal(torch.cat([each for each, _ in parts]), delta)
        for name in ("box", "objectness", "classes"):
            found = sum(float(getattr(losses, name)) for _, losses in parts)
            assert found == pytest.approx(float(getattr(whole, name)), rel=1e-12)


@pytest.mark.parametrize("extra", ["", "iou_thresh=.2\n", "counters_per_class=10,2,40\n", "label_smooth_eps=.2\n",
                                   "scale_x_y=1.5\n", "new_coords=1\nscale_x_y=2\n"])  # fmt: skip
def test_with_mse_the_loss_is_a_function_of_that_gradient(extra):
    network = network_of(extra)
    raw, truths = scene(3, "new_coords" in extra)
    delta, _ = delta_of(network, raw, truths)
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(tuple(raw.shape)))
    step = 1e-7
    with torch.no_grad():
        up, down = (network.loss([raw + sign * step * direction], truths).total for sign in (1, -1))
    assert float((up - down) / (2 * step)) == pytest.approx(-float((delta * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(
    "extra", ["", "iou_thresh=.2\nfocal_loss=1\n", "new_coords=1\nobjectness_smooth=1\nmax_delta=2\n"]
)
def test_nothing_is_fetched_from_the_device(kind, extra):
    """A meta tensor has no values: whoever wants one, as waiting for a GPU would, fails."""
    network = network_of(f"iou_loss={kind}\ncounters_per_class=1,2,3\n{extra}").float().to("meta")
    raw, truths = scene(1, False)
    raw = torch.empty(raw.shape, device="meta", requires_grad=True)
    losses = network.loss([raw], truths)
    losses.total.backward()
    assert raw.grad.shape == raw.shape
    assert losses.cost.device.type == "meta"


def test_delta_normalizer_scales_what_is_learned_and_not_the_printed_cost():
    raw, truths = scene(1, False)
    delta, losses = delta_of(network_of(), raw, truths)
    scaled, others = delta_of(network_of("delta_normalizer=.25\n"), raw, truths)
    assert torch.allclose(scaled, delta / 4, rtol=1e-12)
    assert float(others.cost) == float(losses.cost)


def test_table_limit_changes_nothing(monkeypatch):
    raw, truths = scene(4, False, images=3)
    network = network_of("truth_thresh=.3\niou_loss=giou\n")
    before, _ = delta_of(network, raw, truths)
    monkeypatch.setattr("yolo_subbatch.darknet.loss.TABLE_LIMIT", 1)
    assert torch.equal(delta_of(network, raw, truths)[0], before)


# Options one by one


def test_a_cell_is_ignored_only_where_a_class_is_sure():
    raw = torch.zeros(1, 24, HEIGHT, WIDTH, dtype=torch.float64)
    truth = [torch.tensor([[0.0, 0.375, 0.5, 20 / 64, 15 / 48]])]  # what anchor 1 predicts in row 1, column 1
    place = (0, 16 + 4, 1, 1)  # objectness of the third anchor, which is not the best one
    for logit, wanted in ((-1.09, 0.0), (-1.1, -0.5)):  # scores of .2516 and .2497
        raw[0, 5:8] = raw[0, 13:16] = raw[0, 21:24] = logit
        assert float(delta_of(network_of("ignore_thresh=.1\n"), raw, truth)[0][place]) == wanted
    assert float(delta_of(network_of("ignore_thresh=.1\n", "pjreddie"), raw, truth)[0][place]) == 0


def test_deltas_of_one_truth_given_twice_add_up():
    raw, _ = scene(0, False, images=1)
    truth = torch.tensor([[1.0, 0.4, 0.6, 0.3, 0.3]])
    once, twice = (delta_of(network_of(), raw, [truth.repeat(count, 1)])[0].view(3, 8, -1) for count in (1, 2))
    assert torch.allclose(twice[:, :4], 2 * once[:, :4], rtol=1e-12)
    assert torch.equal(twice[:, 4:], once[:, 4:])


@pytest.mark.parametrize(("keys", "wanted"), [
    ("", [1, 1, 1]), ("counters_per_class=10,40,5\n", [4, 1, 8]), ("counters_per_class=10,40,5\nmax_delta=6\n", [4, 1, 6]),
    ("counters_per_class=0,-3,5\n", [5, 5, 1]),
])  # fmt: skip
def test_rare_classes_weigh_more(keys, wanted):
    assert class_multipliers(parse_cfg(CFG + keys).heads[0]).tolist() == wanted


def test_truths_of_no_known_class_and_beyond_the_most_are_left_out():
    raw, _ = scene(0, False, images=1)
    rows = torch.tensor([[1.0, 0.4, 0.6, 0.3, 0.3], [3.0, 0.1, 0.1, 0.5, 0.5], [0.0, 0.8, 0.2, 0.2, 0.4]])
    without = delta_of(network_of(), raw, [rows[[0, 2]]])[0]
    assert torch.equal(delta_of(network_of(), raw, [rows])[0], without)
    first = delta_of(network_of(), raw, [rows[:1]])[0]
    assert torch.equal(delta_of(network_of("max=1\n"), raw, [rows])[0], first)
    many = rows[:1].repeat(203, 1)
    most = delta_of(network_of(), raw, [rows[:1].repeat(200, 1)])[0]
    assert torch.equal(delta_of(network_of(), raw, [many])[0], most)


def test_a_certain_score_is_no_sign_that_a_cell_is_in_use():
    """Where the class of a first truth is certain its delta is 0, and Darknet writes all the classes again."""
    raw = torch.zeros(1, 24, HEIGHT, WIDTH, dtype=torch.float64)
    raw[:, 5::8] = 50.0
    rows = torch.tensor([[0.0, 0.4, 0.6, 0.3, 0.3], [1.0, 0.4, 0.6, 0.3, 0.3], [0.0, 0.4, 0.6, 0.3, 0.3]])
    delta = delta_of(network_of(), raw, [rows])[0]
    wanted, _ = loop(network_of(), raw, [rows])
    np.testing.assert_allclose(delta.view(wanted.shape).numpy(), wanted, atol=1e-12)


def test_the_focal_slope_is_that_of_its_formula():
    score = torch.linspace(0.01, 0.99, 9, dtype=torch.float64, requires_grad=True)
    (-((1 - score) ** 2) * score.log()).sum().backward()
    assert torch.allclose(focal_slope(score.detach()), -score.grad * score.detach(), atol=1e-9)
    assert focal_slope(torch.tensor([0.0, 1.0])).isfinite().all()


def test_a_given_gradient_is_passed_on():
    x = torch.tensor([1.0, math.inf], requires_grad=True)
    value = with_gradient(x, torch.tensor([2.0, 0.0]), torch.tensor(7.0))
    (3 * value).backward()
    assert float(value.detach()) == 7
    assert x.grad.tolist() == [6.0, 0.0]


# Edges

EDGES = {
    "on the border": [[0.0, 1.0, 1.0, 0.2, 0.2], [1.0, 1.0, 0.5, 0.3, 0.3]],
    "without size": [[0.0, 0.3, 0.3, 0.0, 0.0], [1.0, 0.3, 0.3, 0.0, 0.2]],
    "larger than the image": [[2.0, 0.5, 0.5, 3.0, 2.0]],
    "none": [],
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("size", [0.0, 200.0, -200.0, 1e5])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_becomes_infinite(edge, size, kind, dtype):
    network = network_of(f"iou_loss={kind}\ntruth_thresh=.5\niou_thresh=.2\n").to(dtype)
    raw, _ = scene(0, False, images=1)
    raw = raw.to(dtype)
    raw[:, 2::8] = raw[:, 3::8] = size
    raw[:, 4::8], raw[:, 5::8], raw[:, 6::8] = 200, -200, 200
    truths = torch.tensor(EDGES[edge], dtype=dtype).reshape(-1, 5)
    delta, losses = delta_of(network, raw, [truths])
    assert delta.isfinite().all()
    assert all(getattr(losses, name).isfinite() for name in ("box", "objectness", "classes", "cost"))


@pytest.mark.parametrize("kind", LOSSES)
def test_half_precision_maps_are_computed_in_single(kind):
    network = network_of(f"iou_loss={kind}\n").float()
    raw, truths = scene(2, False)
    raw = raw.half()
    wanted, _ = delta_of(network, raw.float(), truths)
    assert torch.allclose(delta_of(network, raw, truths)[0].float(), wanted, atol=1e-2)


# New coordinates


def test_new_coordinates_decode_as_the_layer_has_them():
    network = network_of("new_coords=1\nscale_x_y=2\n")
    raw, _ = scene(0, True, images=1)
    found = network.detections([raw]).view(HEIGHT, WIDTH, 3, 8)
    j, i, a = 2, 1, 0  # the first of mask is anchor 1
    x, y, w, h, *scores = raw[0, :, j, i].view(3, 8)[a].tolist()
    wanted = [(2 * x - 0.5 + i) * 16, (2 * y - 0.5 + j) * 16, 4 * w * w * 20, 4 * h * h * 15, *scores]
    assert found[j, i, a].tolist() == pytest.approx(wanted, rel=1e-6)
    output = network.layers[-1](raw)
    assert torch.equal(output.view(3, 8, -1)[:, 2:], raw.view(3, 8, -1)[:, 2:])


def test_new_coordinates_are_alexeyabs():
    with pytest.raises(CfgError, match=r"new_coords=1 with flavour=pjreddie.*leave flavour out"):
        network_of("new_coords=1\n", "pjreddie")


# The flavour


@pytest.mark.parametrize(("keys", "asked", "line"), [
    ("", "auto", "flavour: pjreddie (the cfg has no key that only AlexeyAB's Darknet reads)"),
    ("", "alexeyab", "flavour: alexeyab (as asked)"),
    ("nms_kind=greedynms\niou_loss=ciou\n", "auto", "flavour: alexeyab (the cfg has iou_loss, nms_kind)"),
    ("max_delta=5\nnms_kind=greedynms\niou_loss=ciou\nbeta_nms=.6\n", "auto",
     "flavour: alexeyab (the cfg has beta_nms, iou_loss, max_delta, ...)"),
    ("iou_loss=ciou\n", "pjreddie", "flavour: pjreddie (as asked, without iou_loss)"),
])  # fmt: skip
def test_the_flavour_is_said_with_its_reason(keys, asked, line):
    cfg = parse_cfg(CFG + keys)
    assert cfg.flavour_line(asked) == line
    network = Network(cfg, asked)
    assert network.flavour == cfg.flavour(asked) == line.split()[1]
    assert isinstance(network.heads[0], AlexeyabHead) == (network.flavour == "alexeyab")


def test_a_written_cfg_keeps_an_asked_flavour():
    from yolo_subbatch.darknet.parser import write_cfg

    cfg = parse_cfg(CFG)
    again = parse_cfg(write_cfg(Network(cfg, "alexeyab").cfg))
    assert again.flavour() == "alexeyab"
    assert replace(again, alexeyab=False) == cfg
