"""``[region]`` heads: real Darknet's output, delta and cost, and what differs between the Darknets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.conftest import golden, relative
from yolo_subbatch.darknet import Network, darknet_sgd, parse_cfg, train_batch
from yolo_subbatch.darknet.loss import pad_truths
from yolo_subbatch.darknet.region import WARM_UP, RegionHead
from yolo_subbatch.errors import CfgError

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = range(8)
NET = "[net]\nwidth=48\nheight=40\nchannels=3\n[conv]\nstride=8\nactivation=linear\n"


def head_of(keys: str, flavour: str = "pjreddie", anchors: str = "1.1,1.3,2.5,3.1", classes: int = 3) -> RegionHead:
    filters = (5 + classes) * (anchors.count(",") + 1) // 2
    num = (anchors.count(",") + 1) // 2
    text = f"{NET}filters={filters}\n[region]\nanchors={anchors}\nnum={num}\nclasses={classes}\n{keys}"
    return Network(parse_cfg(text), flavour).heads[0]


def truths_of(g: dict, key: str) -> torch.Tensor:
    """Return Darknet's rows x, y, w, h, class as class, x, y, w, h."""
    return pad_truths(torch.from_numpy(g[f"{key}_truths"])[..., [4, 0, 1, 2, 3]])


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The golden file, with the tree beside the cfgs."""
    g = golden("region_pj.npz")
    folder = tmp_path_factory.mktemp("region")
    (folder / "small.tree").write_text(str(g["tree"]))
    assert int(g["n_cases"]) == len(CASES)
    return g, folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_output_delta_and_cost_are_darknets(real, case, dtype):
    g, folder = real
    key = f"c{case}"
    cfg = parse_cfg(str(g[f"{key}_cfg"]), str(folder / "x.cfg"))
    network = Network(cfg, "pjreddie").to(dtype)
    network.set_seen(int(g[f"{key}_seen"]))
    raw = torch.from_numpy(g[f"{key}_logits"]).to(dtype).requires_grad_()
    assert np.abs(network.heads[0](raw).detach().numpy() - g[f"{key}_output"]).max() < 1e-6
    losses = network.loss([raw], truths_of(g, key))
    losses.total.backward()
    assert relative(-raw.grad.numpy(), g[f"{key}_delta"]) < 1e-6
    assert float(losses.cost) == pytest.approx(float(g[f"{key}_cost"]), rel=1e-5)


def test_the_warm_up_ends():
    raw = torch.randn(1, 16, 5, 6, dtype=torch.float64)
    truth = pad_truths([torch.zeros(0, 5)])
    head = head_of("softmax=1\n").double()
    assert head.seen == WARM_UP
    assert float(head.loss(raw, truth).box) == 0
    head.seen = WARM_UP - 1
    x = raw.reshape(1, 2, 8, 5, 6)
    wanted = 0.005 * ((x[:, :, :2].sigmoid() - 0.5).square().sum() + x[:, :, 2:4].square().sum())
    assert float(head.loss(raw, truth).box) == pytest.approx(float(wanted.detach()))


@pytest.mark.parametrize(
    "keys", ["", "softmax=1\nrescore=1\nbias_match=1\n", "softmax=1\nbackground=1\n", "thresh=.2\n"]
)
@pytest.mark.parametrize("flavour", ["pjreddie", "alexeyab"])
def test_the_loss_of_a_batch_is_the_sum_of_its_images(keys, flavour):
    head = head_of(keys, flavour)
    raw = torch.randn(3, 16, 5, 6)
    truths = [torch.tensor([[0, 0.3, 0.4, 0.2, 0.5], [2, 0.31, 0.41, 0.2, 0.4]]), torch.zeros(0, 5),
              torch.tensor([[1, 0.99, 0.99, 0.3, 0.3]])]  # fmt: skip
    whole = head.loss(raw, pad_truths(truths))
    parts = [head.loss(raw[i : i + 1], pad_truths(truths[i : i + 1])) for i in range(3)]
    for name in ("box", "objectness", "classes", "cost"):
        assert float(getattr(whole, name)) == pytest.approx(sum(float(getattr(each, name)) for each in parts), rel=1e-5)


def test_the_loss_is_the_integral_of_its_gradient():
    """But for `background` every part is a function whose slope finite differences find."""
    head = head_of("softmax=1\nbias_match=1\nobject_scale=5\n").double()
    head.seen = 0
    raw = torch.randn(1, 16, 5, 6, dtype=torch.float64, requires_grad=True)
    truth = pad_truths([torch.tensor([[0, 0.3, 0.4, 0.2, 0.5], [1, 0.7, 0.7, 0.2, 0.2]], dtype=torch.float64)])
    assert torch.autograd.gradcheck(lambda x: head.loss(x, truth).total, (raw,))


def test_small_boxes_weigh_more_in_pjreddies_darknet_alone():
    raw = torch.zeros(1, 16, 5, 6)
    truth = pad_truths([torch.tensor([[0, 0.3, 0.4, 0.5, 0.5]])])
    box = {name: float(head_of("softmax=1\n", name).loss(raw, truth).box) for name in ("pjreddie", "alexeyab")}
    assert box["pjreddie"] == pytest.approx((2 - 0.25) * box["alexeyab"])


def test_the_cost_of_alexeyabs_darknet_is_that_of_its_delta():
    head = head_of("softmax=1\nrescore=1\n", "alexeyab").double()
    raw = torch.randn(2, 16, 5, 6, dtype=torch.float64, requires_grad=True)
    truth = pad_truths([torch.tensor([[0, 0.3, 0.4, 0.2, 0.5]], dtype=torch.float64)] * 2)
    losses = head.loss(raw, truth)
    losses.total.backward()
    assert float(losses.cost) == pytest.approx(float(raw.grad.square().sum()))


@pytest.mark.parametrize("softmax", [0, 1])
def test_focal_loss_weighs_the_classes_by_what_the_truths_has(softmax):
    """Against Darknet's formula: ``0.5 * -(1 - p) * (2 p ln p + p - 1)`` times the delta without it."""
    raw = torch.randn(1, 16, 5, 6, dtype=torch.float64, requires_grad=True)
    truth = pad_truths([torch.tensor([[2, 0.3, 0.4, 0.2, 0.5]], dtype=torch.float64)])
    deltas = {}
    for keys in ("", "focal_loss=1\n"):
        head = head_of(f"softmax={softmax}\nclass_scale=3\n{keys}", "alexeyab").double()
        losses = head.loss(raw, truth)
        (deltas[keys],) = torch.autograd.grad(losses.classes, raw)
        assert float(losses.cost) > 0
    plain, focal = (deltas[keys].view(2, 8, 5, 6) for keys in ("", "focal_loss=1\n"))
    (cell,) = plain.abs().sum(1).nonzero().tolist()
    logits = raw.detach().view(2, 8, 5, 6)[cell[0], 5:, cell[1], cell[2]]
    p = float((logits.softmax(0) if softmax else logits.sigmoid())[2])
    factor = 0.5 * -(1 - p) * (2 * p * math.log(p) + p - 1)
    assert torch.allclose(focal, factor * plain, rtol=1e-6)
    assert float(plain.abs().max()) > 0.1


@pytest.mark.parametrize(("flavour", "most"), [("pjreddie", 30), ("alexeyab", 200)])
def test_no_more_boxes_than_darknet_reads(flavour, most):
    head = head_of("softmax=1\n", flavour)
    raw, rng = torch.randn(1, 16, 5, 6), torch.Generator().manual_seed(0)
    rows = torch.cat((torch.zeros(300, 1), torch.rand(300, 4, generator=rng) * 0.8 + 0.1), 1)
    assert head.loss(raw, pad_truths([rows])).total == head.loss(raw, pad_truths([rows[:most]])).total
    assert head.loss(raw, pad_truths([rows])).total != head.loss(raw, pad_truths([rows[: most - 5]])).total


@pytest.mark.parametrize("softmax", [0, 1])
def test_boxes_in_pixels(softmax):
    head = head_of(f"softmax={softmax}\n")
    raw = torch.randn(2, 16, 5, 6)
    found = head.decode(raw)
    assert found.shape == (2, 2 * 5 * 6, 8)
    x = raw.reshape(2, 2, 8, 5, 6)
    row = 1 * 30 + 3 * 6 + 4  # anchors outside, then rows, then columns
    values = x[1, 1, :, 3, 4]
    centre = values[:2].sigmoid() + torch.tensor([4.0, 3.0])
    wanted = torch.cat((centre * 8, values[2:4].exp() * torch.tensor([2.5, 3.1]) * 8, values[4:5].sigmoid()))
    scores = values[5:].softmax(0) if softmax else values[5:].sigmoid()
    assert torch.allclose(found[1, row], torch.cat((wanted, scores)), rtol=1e-5)


def test_a_background_stands_in_the_place_of_objectness():
    head, raw = head_of("softmax=1\nbackground=1\n"), torch.randn(1, 16, 5, 6)
    found = head.decode(raw)
    assert bool((found[..., 4] == 1).all())
    assert torch.allclose(found[0, :30, 5:], raw[0, 4:8].softmax(0)[1:].flatten(1).T)


def test_predictions_and_detections_of_a_network():
    network = Network(parse_cfg(
        "[net]\nwidth=16\nheight=16\nchannels=3\n[conv]\nfilters=12\nstride=4\nactivation=linear\n[region]\n"
        "anchors=1,1,2,2\nnum=2\nclasses=1\nsoftmax=1\n"
    )).eval()  # fmt: skip
    with torch.no_grad():
        maps = network(torch.rand(2, 3, 16, 16))
    found, said = network.detections(maps), network.predictions(maps)
    assert found.shape == (2, 32, 6)
    assert said.shape == (2, 5, 32)
    assert torch.equal(said[:, :4], found[..., :4].transpose(1, 2))
    assert torch.allclose(said[:, 4], found[..., 4] * found[..., 5])


def test_anchors_keep_their_digits_in_half_precision():
    head = head_of("softmax=1\n")
    before = head.anchors.clone()
    assert torch.equal(head.half().anchors, before)


def test_a_region_network_learns():
    torch.manual_seed(0)
    network = Network(parse_cfg(
        "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=4\nlearning_rate=0.02\nmomentum=.9\n"
        "[conv]\nbatch_normalize=1\nfilters=16\nsize=3\npad=1\nstride=4\nactivation=leaky\n[conv]\nbatch_normalize=1\n"
        "filters=16\nsize=3\npad=1\nstride=2\nactivation=leaky\n[conv]\nfilters=14\nactivation=linear\n[region]\n"
        "anchors=1,1,2,2\nnum=2\nclasses=2\nsoftmax=1\nbias_match=1\nrescore=1\nobject_scale=5\nthresh=.6\n"
    ))  # fmt: skip
    optimizer, images = darknet_sgd(network), torch.rand(4, 3, 32, 32)
    truths = [torch.tensor([[i % 2, 0.2 + 0.2 * i, 0.4, 0.4, 0.5]]) for i in range(4)]
    costs = [float(train_batch(network, optimizer, images, truths, subdivisions=2).cost) for _ in range(40)]
    assert costs[-1] < 0.3 * costs[0]


# Hierarchies


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "x.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\nhound 3\nterrier 3\n")
    (tmp_path / "x.map").write_text("4\n1\n")
    return tmp_path


def tree_cfg(folder, extra: str = "", classes: int = 6):
    text = f"{NET}filters={5 + classes}\n[region]\nanchors=1,1\nclasses={classes}\nsoftmax=1\ntree=x.tree\n{extra}"
    return parse_cfg(text, str(folder / "x.cfg"))


def test_a_hierarchy_decides_on_one_class(tree):
    head = Network(tree_cfg(tree)).heads[0]
    raw = torch.zeros(1, 11, 5, 6)
    raw[:, 5], raw[:, 8], raw[:, 10] = 9, 9, 9  # an animal, a dog, a terrier
    raw[0, 10, 0, 0] = 0.1  # of no certain kind here
    raw[0, 8, 0, 1] = 0  # not even surely a dog
    scores = head.decode(raw)[0, :, 5:].reshape(5, 6, 6)
    assert scores.sum(-1).unique().tolist() == [1]
    assert scores.argmax(-1)[0, :3].tolist() == [5, 0, 5]


def test_the_walk_down_a_tree_goes_as_far_as_it_is_asked(tree):
    """With a threshold above every probability it stays at the first group, with none it ends at a leaf."""
    head = Network(tree_cfg(tree)).heads[0]
    raw = torch.randn(1, 11, 6, 6, generator=torch.Generator().manual_seed(0))
    depth = {}
    for threshold in (0.0, 0.5, 1.0):
        head.tree_threshold = threshold
        chosen = head.decode(raw)[..., 5:].argmax(-1)
        depth[threshold] = set(chosen.unique().tolist())
    leaves, roots = {1, 2, 4, 5}, {0, 1}  # thing, cat, hound, terrier; animal, thing
    assert depth[0.0] <= leaves
    assert depth[1.0] <= roots
    assert depth[0.5] != depth[0.0] != depth[1.0]


def test_labels_go_through_the_map(tree):
    mapped, plain = (Network(tree_cfg(tree, extra)).heads[0] for extra in ("map=x.map\n", ""))
    raw = torch.randn(1, 11, 5, 6)
    box = [0.3, 0.4, 0.2, 0.5]
    for label, node in ((0, 4), (1, 1)):
        wanted = plain.loss(raw, pad_truths([torch.tensor([[node, *box]])]))
        assert mapped.loss(raw, pad_truths([torch.tensor([[label, *box]])])).total == wanted.total
    assert float(mapped.loss(raw, pad_truths([torch.tensor([[2, *box]])])).classes) == 0, "beyond the map: no class"


def test_a_hierarchy_trains_every_group_on_the_way(tree):
    head = Network(tree_cfg(tree)).heads[0].double()
    raw = torch.randn(1, 11, 5, 6, dtype=torch.float64, requires_grad=True)
    truth = pad_truths([torch.tensor([[5, 0.3, 0.4, 0.2, 0.5]], dtype=torch.float64)])
    losses = head.loss(raw, truth)
    logits = raw.detach()[0, 5:, 2, 1]
    wanted = -sum(part.log_softmax(0)[i] for part, i in ((logits[:2], 0), (logits[2:4], 1), (logits[4:], 1)))
    assert losses.classes.item() == pytest.approx(float(wanted))
    assert torch.autograd.gradcheck(lambda x: head.loss(x, truth).total, (raw,))


def test_a_tree_of_other_classes_is_refused(tree):
    with pytest.raises(CfgError, match=r"x\.tree: 6 classes, but \[region\] has classes=5"):
        Network(tree_cfg(tree, classes=5))


def test_a_map_outside_the_tree_is_refused(tree):
    (tree / "x.map").write_text("4\n6\n")
    with pytest.raises(CfgError, match=r"x\.map: a class outside 0 to 5"):
        Network(tree_cfg(tree, "map=x.map\n"))


def test_a_missing_tree_is_named(tree):
    (tree / "x.tree").unlink()
    with pytest.raises(CfgError, match=r"x\.tree: cannot be read"):
        Network(tree_cfg(tree))
