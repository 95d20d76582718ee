"""Sub-batches of Ultralytics' own models add up to one pass over the whole batch."""

from __future__ import annotations

import pickle
from copy import deepcopy

import pytest
import torch
from torch.utils._pytree import tree_map
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import (
    ClassificationModel,
    DepthModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    RTDETRDetectionModel,
    SegmentationModel,
    SemanticSegmentationModel,
    yaml_model_load,
)
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.loss import E2ELoss, RLELoss, v8DetectionLoss
from ultralytics.utils.torch_utils import ModelEMA

from yolo_subbatch import Darknet
from yolo_subbatch.engine.exact_norm import KEYPOINTS, LIKELIHOOD, POSITIVES, SCORES, SUMS, ExactNorm, StandIn
from yolo_subbatch.engine.state import _restore_criterion
from yolo_subbatch.errors import SettingsError

pytestmark = pytest.mark.usefixtures("one_thread")

#: Objects of each image: two neighbours have none, so that some sub-batches of two and of one are empty.
OBJECTS = [3, 5, 0, 0, 2, 7, 1, 4]
CLASSES = 3
SIZE = 64
#: Every model, and whether it needs two passes.
MODELS = {
    "yolov8n": False,
    "yolo11n": False,
    "yolo26n": True,
    "yolov8n-seg": True,
    "yolo26n-seg": True,
    "yolo11n-pose": True,
    "yolo26n-pose": True,
    "yolo11n-obb": False,
    "yolo26n-obb": True,
}


def build(name: str, peak: float = 0.7, double: bool = True, **settings):
    """Return a model whose loss is as uneven as that of a trained one, with frozen batch normalisation.

    The network computes in float64, so that the same images give the same predictions wherever the batch is cut; the
    criterion, which does not work in float64 for every task, gets them as float32. ``peak`` makes distances short:
    without it, random boxes are as large as the image, and the target scores almost zero.
    """
    torch.manual_seed(0)
    kind = {"seg": SegmentationModel, "pose": PoseModel, "obb": OBBModel}.get(name.split("-")[-1], DetectionModel)
    extra = {"data_kpt_shape": (5, 3)} if kind is PoseModel else {}
    model = kind(narrow(name), nc=CLASSES, verbose=False, **extra)
    model.args = get_cfg(DEFAULT_CFG, settings)
    head = model.model[-1]
    with torch.no_grad():
        for last in [each[-1] for part in ("cv2", "one2one_cv2") for each in getattr(head, part, None) or []]:
            last.weight.mul_(3)
            if head.reg_max > 1:
                last.bias.copy_(-peak * torch.arange(head.reg_max).repeat(4))
    if double:
        model.double()
        head.stride = head.stride.float()
        head.register_forward_hook(single)
        if hasattr(head, "flow_model"):
            head.flow_model.float()
    return freeze(model.train())


def narrow(name):
    """Return the description of a model with a quarter of the channels of size n; heads and losses are the same."""
    description = yaml_model_load(f"{name}.yaml")
    depth, width, most = description["scales"]["n"]
    return {**description, "scales": {"n": [depth, width / 4, most]}}


def single(_module, _inputs, outputs):
    return tree_map(lambda each: each.float() if isinstance(each, torch.Tensor) else each, outputs)


def freeze(model):
    for each in model.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            each.eval()
    return model


def draw(objects, name="", overlap=True, seed=0, double=True):
    """Return a batch of noise with ``objects[i]`` boxes in image i, and what the task of the model needs besides."""
    random = torch.Generator().manual_seed(seed)
    owner = torch.repeat_interleave(torch.arange(len(objects)), torch.tensor(objects))
    total = len(owner)
    size = torch.rand(total, 2, generator=random) * 0.4 + 0.1
    centre = torch.rand(total, 2, generator=random) * (1 - size) + size / 2
    batch = {
        "img": torch.rand(len(objects), 3, SIZE, SIZE, generator=random).to(torch.double if double else torch.float),
        "batch_idx": owner.float(),
        "cls": torch.randint(0, CLASSES, (total, 1), generator=random).float(),
        "bboxes": torch.cat((centre, size), 1),
    }
    if "obb" in name:
        batch["bboxes"] = torch.cat((batch["bboxes"], torch.rand(total, 1, generator=random)), 1)
    if "pose" in name:
        places = centre[:, None] + (torch.rand(total, 5, 2, generator=random) - 0.5) * size[:, None]
        visible = (torch.rand(total, 5, 1, generator=random) > 0.3) * 2.0
        batch["keypoints"] = torch.cat((places, visible), 2)
    if "seg" in name:
        batch.update(masks_of(batch, overlap))
    return batch


def masks_of(batch, overlap):
    side = SIZE // 4
    y, x = torch.meshgrid(*[torch.arange(side) / side] * 2, indexing="ij")
    cx, cy, w, h = batch["bboxes"].T[..., None, None]
    apart = (((x - cx).abs() < w / 2) & ((y - cy).abs() < h / 2)).float()
    joint = torch.zeros(len(batch["img"]), side, side)
    semantic = torch.zeros_like(joint)
    place = [0] * len(joint)
    for owner, mask, label in zip(batch["batch_idx"].int().tolist(), apart.bool(), batch["cls"][:, 0], strict=True):
        place[owner] += 1
        joint[owner][mask] = place[owner]
        semantic[owner][mask] = label
    return {"masks": joint if overlap else apart, "sem_masks": semantic}


def cut(batch, parts):
    """Cut a batch into equal sub-batches."""
    images = len(batch["img"])
    found = []
    for first in range(0, images, images // parts):
        rows = (batch["batch_idx"] >= first) & (batch["batch_idx"] < first + images // parts)
        part = {
            key: value[first : first + images // parts] if len(value) == images and key != "cls" else value[rows]
            for key, value in batch.items()
        }
        found.append({**part, "batch_idx": part["batch_idx"] - first})
    return found


def passes(model, parts, images):
    """Run training passes; return the gradient of each weight and the loss items, weighted as the trainer does."""
    items = {}
    for part in parts:
        loss, found = model(part)
        loss.sum().backward()
        for name, value in found.items():
            items[name] = items.get(name, 0) + value * len(part["img"]) / images
    gradient = [torch.zeros_like(each) if each.grad is None else each.grad for each in model.parameters()]
    model.zero_grad()
    return gradient, torch.stack(list(items.values()))


def measure(norm, parts):
    norm.begin()
    if norm.two_pass:
        with norm.measuring():
            for part in parts:
                norm.model(part)


def window(norm, parts):
    """Do one window as a trainer does it."""
    images = sum(len(each["img"]) for each in parts)
    measure(norm, parts)
    if norm.two_pass:
        norm.use(norm.totals, images)
    gradient, items = passes(norm.model, parts, images)
    factor = norm.gradient_factor(norm.totals, images)
    norm.end()
    return [each * factor for each in gradient], items * factor


def error(found, wanted):
    """Return the distance of two gradients, relative to the length of the wanted one."""
    found, wanted = (torch.cat([each.double().flatten() for each in both]) for both in (found, wanted))
    return float((found - wanted).norm() / wanted.norm())


def largest(found, wanted):
    return float(((found - wanted).abs() / wanted.abs().clamp(min=1e-6)).max())


def assert_exact(norm, batch, subdivisions=(2, 8)):
    """Check every cut of a batch against one pass; return the errors of the gradients that are just added up."""
    model, images = norm.model, len(batch["img"])
    gradient, items = passes(model, [batch], images)
    plain = []
    for parts in (cut(batch, each) for each in subdivisions):
        found, found_items = window(norm, parts)
        assert error(found, gradient) < 1e-6
        assert largest(found_items, items) < 3e-6  # the criterion computes in float32
        plain.append(error(passes(model, parts, images)[0], gradient))
    return plain


@pytest.mark.parametrize("name", MODELS)
def test_sub_batches_add_up_to_the_batch(name):
    norm = ExactNorm(build(name))
    assert norm.two_pass == MODELS[name]
    alone, *plain = assert_exact(norm, draw(OBJECTS, name), (1, 2, 8))
    assert alone == 0
    assert min(plain) > 0.01, "else this test could not fail"


def test_every_weight_gets_its_share():
    model = build("yolo26n-pose")
    batch = draw(OBJECTS, "pose")
    wanted, _ = passes(model, [batch], 8)
    found, _ = window(ExactNorm(model), cut(batch, 4))
    used = [each for each in zip(found, wanted, strict=True) if each[1].norm() > 0]
    assert len(used) > 100
    assert max(error([one], [other]) for one, other in used) < 1e-4


def test_in_float32_only_the_convolutions_round():
    norm = ExactNorm(build("yolov8n", double=False))
    batch = draw(OBJECTS, double=False)
    gradient, items = passes(norm.model, [batch], 8)
    found, found_items = window(norm, cut(batch, 4))
    assert error(found, gradient) < 2e-6
    assert largest(found_items, items) < 2e-6


@pytest.mark.parametrize(("peak", "whole", "parts"), [(0.0, "below", "below"), (0.3, "above", "some below")])
def test_target_scores_below_one_are_cut_off_as_in_the_whole_batch(peak, whole, parts):
    norm = ExactNorm(build("yolov8n", peak))
    batch = draw(OBJECTS)
    sums = []
    for part in cut(batch, 8):
        window(norm, [part])
        sums.append(float(norm.totals[SCORES]))
    assert sum(sums) < 1 if whole == "below" else sum(sums) > 1.2
    assert max(sums) < 1 if parts == "below" else 0 < sorted(sums)[2] < 1
    assert min(assert_exact(norm, batch)) > 0.01


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n-seg", "yolo26n-pose", "yolo26n-obb"])
def test_a_batch_without_any_object(name):
    assert_exact(ExactNorm(build(name)), draw([0] * 4, name), (4,))


@pytest.mark.parametrize("overlap", [True, False])
def test_the_semantic_loss_of_a_sub_batch_without_assigned_anchors(overlap):
    """Ultralytics leaves it out there, although it counts in the whole batch."""
    norm = ExactNorm(build("yolo26n-seg", overlap_mask=overlap))
    batch = draw([2, 1, 0, 3], "seg", overlap)
    batch["bboxes"][2, 0] = 1.5  # the only object of the second image lies outside; its mask does not
    assert batch["masks"][1 if overlap else 2].any()
    assert not sums(norm, cut(batch, 4)[1])[:, POSITIVES].any()
    assert_exact(norm, batch, (4,))


class Lowered(RLELoss):
    """A log-likelihood that is lower by a constant, as in a network that knows its keypoints well."""

    by = 0.0

    def forward(self, *arguments):
        return super().forward(*arguments) - self.by


@pytest.mark.parametrize(("by", "sign"), [(0.98, 1), (1.02, -1)])
def test_the_likelihood_is_cut_off_by_its_mean_over_the_batch(by, sign):
    """Sub-batches lie on both sides of zero; the whole batch decides."""
    norm = ExactNorm(build("yolo26n-pose"))
    batch = draw(OBJECTS, "pose")
    criterion = norm.model.criterion
    for branch, row in zip((criterion.one2many, criterion.one2one), sums(norm, batch), strict=True):
        branch.rle_loss = Lowered()
        branch.rle_loss.by = by * float(row[LIKELIHOOD] / row[KEYPOINTS])
    parts = torch.stack([sums(norm, part)[:, LIKELIHOOD] for part in cut(batch, 8)])
    assert (sums(norm, batch)[:, LIKELIHOOD].sign() == sign).all()
    assert ((parts > 0).any(0) & (parts < 0).any(0)).all()
    assert_exact(norm, batch, (8,))


def sums(norm, batch):
    """Return the sums of a batch, a row for each criterion."""
    norm.begin()
    with norm.measuring():
        norm.model(batch)
    norm.end()
    return norm.totals.view(-1, len(SUMS))


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_windows_follow_each_other_and_the_last_is_short(name):
    norm = ExactNorm(build(name))
    batches = [draw(OBJECTS), draw([6, 1, 0, 2], seed=1), draw(OBJECTS, seed=2)]
    wanted = [passes(norm.model, [each], len(each["img"])) for each in batches]
    for batch, (gradient, items) in zip(batches, wanted, strict=True):
        found, found_items = window(norm, cut(batch, len(batch["img"]) // 2))
        assert error(found, gradient) < 1e-6
        assert largest(found_items, items) < 1e-6


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n-seg"])
def test_two_processes_give_the_gradient_of_one(name):
    """Each has half of the batch; only the sums, the images and the gradients are added."""
    norms = [ExactNorm(build(name)) for _ in range(2)]
    batch = draw(OBJECTS, name)
    gradient, items = passes(norms[0].model, [batch], 8)
    halves = [cut(each, 2) for each in cut(batch, 2)]
    for norm, parts in zip(norms, halves, strict=True):
        measure(norm, parts)
    totals = norms[0].totals + norms[1].totals
    found = []
    for norm, parts in zip(norms, halves, strict=True):
        if norm.two_pass:
            norm.use(totals, 8)
        found.append(passes(norm.model, parts, 8))
    totals = totals if norm.two_pass else norms[0].totals + norms[1].totals
    factor = norm.gradient_factor(totals, 8)
    assert error([(a + b) * factor for a, b in zip(found[0][0], found[1][0], strict=True)], gradient) < 1e-6
    assert largest((found[0][1] + found[1][1]) * factor, items) < 1e-6


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_validation_sees_the_loss_of_ultralytics(name):
    model = build(name)
    model.criterion = model.init_criterion()
    batch = draw(OBJECTS)
    wanted = validate(model, batch)
    norm = ExactNorm(model)
    assert validate(model, batch) == wanted
    measure(norm, cut(batch, 4))
    before = norm.totals
    assert validate(model, batch) == wanted
    if norm.two_pass:
        norm.use(norm.totals, 8)
    passes(model, cut(batch, 4), 8)
    after = norm.totals
    assert validate(model, batch) == wanted
    assert norm.totals is after
    assert (after is before) == norm.two_pass, "two passes count once"


def validate(model, batch):
    """Return the loss items as Ultralytics' validator computes them."""
    model.eval()
    with torch.inference_mode():
        items = model.loss(batch, model(batch["img"]))[1]
    freeze(model.train())
    return {name: float(value) for name, value in items.items()}


def test_the_weights_of_an_end_to_end_loss_may_change():
    norm = ExactNorm(build("yolo26n"))
    batch = draw(OBJECTS)
    before, _ = passes(norm.model, [batch], 8)
    norm.model.criterion.update()  # as Ultralytics does after each epoch
    assert norm.model.criterion.updates == 1
    assert error(passes(norm.model, [batch], 8)[0], before) > 1e-4
    assert_exact(norm, batch, (4,))
    assert not hasattr(ExactNorm(build("yolov8n")).model.criterion, "update")


def test_a_run_that_goes_on_counts_the_epochs_of_an_end_to_end_loss():
    """They decide about its weights, and are set from without."""
    model = build("yolo26n")
    plain = model.init_criterion()
    plain.one2one.hyp.epochs = 9
    model.criterion = ExactNorm(model).model.criterion
    model.criterion.one2one.hyp.epochs = 9
    for done in (3, 5):
        while plain.updates < done:
            plain.update()
        _restore_criterion(model, done)
        assert (model.criterion.updates, model.criterion.o2m) == (done, plain.o2m)
    assert plain.o2m > plain.final_o2m


@pytest.mark.parametrize(("name", "criterion"), [("yolov8n", v8DetectionLoss), ("yolo26n-pose", E2ELoss)])
def test_copies_have_the_plain_criterion(name, criterion):
    model = build(name)
    batch = draw(OBJECTS, name)
    parts = cut(batch, 4)
    before, _ = passes(model, parts, 8)
    norm = ExactNorm(model)
    copies = [deepcopy(model)]
    measure(norm, parts)
    if norm.two_pass:
        norm.use(norm.totals, 8)
    copies += [ModelEMA(model).ema.train()]
    passes(model, parts, 8)
    copies.append(deepcopy(model))
    for each in copies:
        assert type(each.criterion) is criterion
        each.requires_grad_(True)
        assert error(passes(freeze(each), parts, 8)[0], before) < 1e-12
    assert isinstance(model.criterion, StandIn)
    assert type(pickle.loads(pickle.dumps(model.criterion))) is criterion
    norm.end()
    assert_exact(norm, batch, (4,))
    leaves = [model.criterion.one2many, model.criterion.one2one] if norm.two_pass else [model.criterion.criterion]
    for leaf in leaves:
        assert "loss" not in vars(leaf)
        assert not leaf.assigner._forward_hooks


def test_measuring_leaves_batch_normalisation_as_it_was():
    model = build("yolo26n").train()  # the statistics are those of the sub-batch now
    before = deepcopy(model.state_dict())
    norm = ExactNorm(model)
    part = draw([2, 3])
    found = sums(norm, part)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    norm.begin()
    norm.use(found.flatten(), 2)
    model(part)[0].sum().backward()
    branches = [each.sums for each in norm._branches]
    assert torch.allclose(torch.stack(branches), found), "both passes must see the same predictions"
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert any("running_mean" in key for key in moved)
    assert any("num_batches_tracked" in key for key in moved)


def test_a_criterion_that_ultralytics_replaces_is_taken_up():
    norm = ExactNorm(build("yolo26n"))
    norm.model.criterion = norm.model.init_criterion()  # as it does when it resumes a run
    norm.model.criterion.update()
    assert_exact(norm, draw(OBJECTS), (4,))
    assert norm.model.criterion.updates == 1


def test_two_of_them_do_not_weigh_twice():
    model = build("yolov8n")
    ExactNorm(model)
    assert_exact(ExactNorm(model), draw(OBJECTS), (4,))


def test_passes_out_of_order_are_refused():
    norm = ExactNorm(build("yolo26n"))
    batch = draw([1, 2])
    with pytest.raises(RuntimeError, match="begin"), norm.measuring():
        pass
    norm.begin()
    with pytest.raises(RuntimeError, match="use"):
        norm.model(batch)
    norm.end()
    norm.model(batch)


def refused(model):
    model.args, model.nc = get_cfg(DEFAULT_CFG), CLASSES  # as its trainer sets them
    with pytest.raises(SettingsError, match=r"^exact_norm=True: .+; leave it out$") as raised:
        ExactNorm(model)
    assert not isinstance(getattr(model, "criterion", None), StandIn)
    return str(raised.value)


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (RTDETRDetectionModel, "yolov8n-rtdetr", "denoising queries"),
        (ClassificationModel, "yolov8n-cls", "exact already"),
        (SemanticSegmentationModel, "yolo26n-sem", "Dice"),
        (DepthModel, "yolo26n-depth", "root"),
    ],
)
def test_other_losses_are_refused(kind, name, reason):
    assert reason in refused(kind(f"{name}.yaml", nc=CLASSES, verbose=False))


def test_a_loss_that_nobody_knows_is_refused():
    class Own(v8DetectionLoss):
        pass

    model = build("yolov8n")
    model.criterion = Own(model)
    assert "Own" in refused(model)


def test_a_darknet_network_needs_nothing(cfg):
    assert "sum over images" in refused(Darknet(cfg).model)
