"""Statistics over the sub-batches of a batch, against numpy, against torch's own layer, and against the whole batch."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import relative
from yolo_subbatch.darknet.cross_norm import CrossBatchNorm2d, begin_batch, gather_over_batch, plain_norm
from yolo_subbatch.darknet.norm import PointBatchNorm

pytestmark = pytest.mark.usefixtures("one_thread")

Norm = TypeVar("Norm", bound=nn.BatchNorm2d)
LAYOUTS = pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"]
)
#: images of each sub-batch: equal, with a short last one, single images, the shortest first
SIZES = [(4, 4, 4), (5, 5, 2), (1, 1, 1, 1), (1, 6)]


def maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return maps whose images differ in mean and in contrast, as those of photographs do."""
    rng = np.random.default_rng(seed)
    images, channels = shape[:2]
    values = rng.normal(size=shape) * rng.uniform(0.5, 2, (images, channels, 1, 1))
    return torch.from_numpy(values + rng.normal(size=(images, channels, 1, 1))).to(dtype)


def drawn(norm: Norm, seed: int = 1) -> Norm:
    """Give a layer weights and biases of its own."""
    torch.manual_seed(seed)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
    return norm


def shaped(values: np.ndarray) -> np.ndarray:
    return values[:, None, None]


def so_far(x: Tensor, sizes: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Yield for each sub-batch its values, mean and biased variance of the images so far, and their number."""
    images = x.detach().double().numpy()
    for size, end in zip(sizes, accumulate(sizes), strict=True):
        seen = images[:end].transpose(1, 0, 2, 3).reshape(images.shape[1], -1)
        yield images[end - size : end], seen.mean(1), seen.var(1), seen.shape[1]


def buffers(norm: nn.Module) -> list[Tensor]:
    return [each.clone() for each in norm.buffers()]


@LAYOUTS
@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}], ids=str
)
def test_one_sub_batch_is_batch_norm_to_the_bit(options: dict, layout: torch.memory_format) -> None:
    plain, cross = drawn(nn.BatchNorm2d(6, **options)), drawn(CrossBatchNorm2d(6, **options))
    for batch in range(3):
        x = maps(4, 6, 5, 3, seed=batch, dtype=torch.float32).to(memory_format=layout)
        results = []
        for norm in (plain, cross):
            begin_batch(norm)
            leaf = x.clone().requires_grad_()
            norm.zero_grad()
            out = norm(leaf)
            (out * maps(4, 6, 5, 3, seed=9, dtype=torch.float32)).sum().backward()
            results.append([out, leaf.grad, *(each.grad for each in norm.parameters()), *buffers(norm)])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_statistics_are_those_of_the_images_so_far(sizes: tuple[int, ...], momentum: float | None) -> None:
    norm = drawn(CrossBatchNorm2d(6, momentum=momentum).double())
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    running, moves = [np.zeros(6), np.ones(6)], 0
    for batch in range(2):
        x = maps(sum(sizes), 6, 3, 5, seed=batch)
        begin_batch(norm)
        for part, (values, mean, variance, number) in zip(x.split(sizes), so_far(x, sizes), strict=True):
            wanted = (values - shaped(mean)) / np.sqrt(shaped(variance) + norm.eps) * shaped(weight) + shaped(bias)
            assert relative(norm(part).detach(), wanted) < 1e-13
            moves += 1
            share = 1 / moves if momentum is None else momentum
            found = mean, variance * number / (number - 1)
            running = [(1 - share) * old + share * new for old, new in zip(running, found, strict=True)]
            # without a momentum the share is torch's count, a float32 on its way
            assert relative(norm.running_mean, running[0]) < (1e-13 if momentum else 1e-6)
            assert relative(norm.running_var, running[1]) < (1e-13 if momentum else 1e-6)
            assert norm.num_batches_tracked == moves


def test_running_statistics_can_be_left_alone() -> None:
    norm = CrossBatchNorm2d(3)
    before = buffers(norm)
    norm.track_running_stats = False  # as in a pass that only measures
    for seed in range(3):
        norm(maps(2, 3, 4, 4, seed=seed, dtype=torch.float32))
    assert all(torch.equal(a, b) for a, b in zip(before, norm.buffers(), strict=True))


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    norm = CrossBatchNorm2d(4, affine=False)
    x = maps(6, 4, 5, 5, dtype=torch.float32) + 3000
    for part, (values, mean, variance, _) in zip(x.split(2), so_far(x, (2, 2, 2)), strict=True):
        # float32 itself gives the inputs steps of 0.00024; mean squares would be off by about one
        assert np.abs(norm(part).numpy() - (values - shaped(mean)) / np.sqrt(shaped(variance))).max() < 2e-3


def test_a_single_value_has_no_spread() -> None:
    norm = drawn(CrossBatchNorm2d(3).double())
    before = buffers(norm)
    x = maps(4, 3, 1, 1)
    first = x[:1].clone().requires_grad_()
    out = norm(first)
    out.square().sum().backward()
    assert relative(out.detach(), norm.bias.detach()) < 1e-12
    assert not first.grad.any()
    assert all(torch.equal(a, b) for a, b in zip(before, norm.buffers(), strict=True))  # nothing to learn from it
    for end in (2, 3, 4):
        seen = x[:end].flatten(1)
        wanted = (seen[-1] - seen.mean(0)) / (seen.var(0, correction=0) + norm.eps).sqrt() * norm.weight + norm.bias
        assert relative(norm(x[end - 1 : end]).detach(), wanted.detach()) < 1e-13
    assert norm.num_batches_tracked == 3
    assert all(each.isfinite().all() for each in norm.buffers())


def test_equal_images_stay_finite() -> None:
    norm = CrossBatchNorm2d(2)
    for _ in range(3):
        x = torch.full((2, 2, 3, 3), 0.1, requires_grad=True)
        norm(x).sum().backward()
        assert x.grad.isfinite().all()
    assert (norm.running_var < 1).all()


def gradients(norm: CrossBatchNorm2d, x: Tensor, sizes: Sequence[int], outer: Tensor) -> list[np.ndarray]:
    """Return the gradient of ``sum(outer * output)`` for the images, each sub-batch going back before the next comes."""
    begin_batch(norm)
    norm.zero_grad()
    found = []
    for part, each in zip(x.split(sizes), outer.split(sizes), strict=True):
        leaf = part.clone().requires_grad_()
        (norm(leaf) * each).sum().backward()
        found.append(leaf.grad.numpy())
    return found


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradient_is_batch_norms_with_the_gathered_statistics(sizes: tuple[int, ...]) -> None:
    norm = drawn(CrossBatchNorm2d(6).double())
    x, outer = maps(sum(sizes), 6, 3, 5), maps(sum(sizes), 6, 3, 5, seed=1)
    found = gradients(norm, x, sizes, outer)
    weight_grad, bias_grad = np.zeros(6), np.zeros(6)
    for grad, delta, (values, mean, variance, _) in zip(found, outer.split(sizes), so_far(x, sizes), strict=True):
        delta = delta.numpy()
        scale = 1 / np.sqrt(shaped(variance) + norm.eps)
        normal = (values - shaped(mean)) * scale
        through_mean = delta.mean((0, 2, 3))
        through_variance = (delta * normal).mean((0, 2, 3))
        wanted = delta - shaped(through_mean) - normal * shaped(through_variance)
        assert relative(grad, wanted * scale * shaped(norm.weight.detach().numpy())) < 1e-12
        bias_grad += delta.sum((0, 2, 3))
        weight_grad += (delta * normal).sum((0, 2, 3))
    assert relative(norm.weight.grad, weight_grad) < 1e-12
    assert relative(norm.bias.grad, bias_grad) < 1e-12


def test_gradient_is_a_derivative() -> None:
    """That of a layer whose gathered statistics follow the sub-batch as its own do, the earlier ones being constants."""
    norm = drawn(CrossBatchNorm2d(2).double())
    x = maps(5, 2, 2, 3)
    *_, (_, mean, variance, _) = so_far(x, (3, 2))
    mean, variance = (torch.from_numpy(each)[:, None, None] for each in (mean, variance))
    last = x[3:]

    def follows(part: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        moved = mean + (part - last).mean((0, 2, 3))[:, None, None]
        spread = (part - mean).square() - (last - mean).square()
        wide = variance + spread.mean((0, 2, 3))[:, None, None]
        return (part - moved) / (wide + norm.eps).sqrt() * weight[:, None, None] + bias[:, None, None]

    leaf = last.clone().requires_grad_()
    assert torch.autograd.gradcheck(follows, (leaf, norm.weight, norm.bias))
    outer = maps(2, 2, 2, 3, seed=1)
    wanted = torch.autograd.grad((follows(leaf, norm.weight, norm.bias) * outer).sum(), leaf)[0]
    found = gradients(norm, x, (3, 2), torch.cat((maps(3, 2, 2, 3), outer)))[1]
    assert relative(found, wanted) < 1e-12

    def alone(part: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        begin_batch(norm)
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (part,))

    assert torch.autograd.gradcheck(alone, (leaf, norm.weight, norm.bias))


def test_earlier_sub_batches_get_no_gradient_from_later_ones() -> None:
    norm = CrossBatchNorm2d(3)
    first, second = (maps(2, 3, 4, 4, seed=seed, dtype=torch.float32).requires_grad_() for seed in (0, 1))
    outs = []
    for part in (first, second):
        outs.append(norm(part))
        assert not any(each.requires_grad for each in vars(norm)["_earlier"][1:])  # so no graph lives on
    kept, later = outs
    (later**3).sum().backward()
    assert first.grad is None
    assert second.grad.any()
    (kept**3).sum().backward()  # still possible: nothing that it needs was changed in place
    assert first.grad.any()


def test_begin_batch_forgets() -> None:
    model = nn.Sequential(CrossBatchNorm2d(3), nn.Sequential(CrossBatchNorm2d(3)))
    x = maps(4, 3, 4, 4, dtype=torch.float32)
    first = model(x)
    assert not torch.equal(model(x[:1]), model(x[:1]))  # each of the three counts
    begin_batch(model)
    assert torch.equal(model(x), first)


def test_layers_may_see_different_numbers_of_sub_batches() -> None:
    norms = nn.ModuleList([CrossBatchNorm2d(3).double(), CrossBatchNorm2d(3).double()])
    x = maps(6, 3, 4, 4)
    for passes in (3, 1, 2):
        begin_batch(norms)
        for index, part in enumerate(x.split(2)[:passes]):
            norms[0](part)
            if index == 1:
                norms[1](part)
    reference = CrossBatchNorm2d(3).double()
    reference(x[:2])
    reference(x[2:4])
    assert vars(norms[0])["_earlier"].number == 4 * 16
    assert torch.equal(vars(norms[0])["_earlier"].mean, vars(reference)["_earlier"].mean)
    assert vars(norms[1])["_earlier"].number == 2 * 16


class OwnNorm(nn.BatchNorm2d):
    """Somebody else's."""


def test_there_and_back_changes_the_class_alone() -> None:
    shared = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), shared, nn.Sequential(nn.BatchNorm2d(4), shared), OwnNorm(4), nn.Flatten(),
                          nn.BatchNorm1d(4 * 6 * 6))  # fmt: skip
    calls: list[str] = []
    shared.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    keys, tensors = list(model.state_dict()), [*model.parameters(), *model.buffers()]
    attributes = [set(vars(module)) for module in model.modules()]
    assert gather_over_batch(model) == 2
    assert gather_over_batch(model) == 0
    assert type(model[1]) is type(model[2][0]) is CrossBatchNorm2d
    assert type(model[3]) is OwnNorm
    model(maps(2, 3, 8, 8, dtype=torch.float32)).sum().backward()
    assert list(model.state_dict()) == keys
    plain_norm(model)
    assert type(model[1]) is type(model[2][0]) is nn.BatchNorm2d
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert all(a is b for a, b in zip(tensors, [*model.parameters(), *model.buffers()], strict=True))
    model(maps(2, 3, 8, 8, dtype=torch.float32))
    assert calls == ["CrossBatchNorm2d"] * 2 + ["BatchNorm2d"] * 2


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda norm: pickle.loads(pickle.dumps(norm))], ids=["copy", "pickle"]
)
def test_a_copy_goes_on_by_itself(copied: Callable[[nn.Module], nn.Module]) -> None:
    norm = drawn(CrossBatchNorm2d(3).double())
    x = maps(6, 3, 4, 4)
    norm(x[:2].requires_grad_())
    other = copied(norm)
    assert torch.equal(norm(x[2:4]), other(x[2:4]))
    norm(x[4:])
    begin_batch(norm)
    assert vars(other)["_earlier"].number == 4 * 16
    assert not torch.equal(norm(x[4:]), other(x[4:]))


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}], ids=str)
def test_evaluation_is_batch_norms(options: dict) -> None:
    norm = drawn(CrossBatchNorm2d(3, **options))
    x = maps(4, 3, 5, 5, dtype=torch.float32)
    for part in x.split(2):
        norm(part)
    plain = drawn(nn.BatchNorm2d(3, **options))
    plain.load_state_dict(norm.state_dict())
    left = vars(norm)["_earlier"]
    assert torch.equal(norm.eval()(x), plain.eval()(x))
    assert vars(norm)["_earlier"] is left


@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtype_and_layout_stay(dtype: torch.dtype, layout: torch.memory_format) -> None:
    norm = drawn(CrossBatchNorm2d(4))
    x = (maps(6, 4, 5, 5) + 3).to(dtype).to(memory_format=layout)
    for part, (values, mean, variance, _) in zip(x.split((3, 2, 1)), so_far(x, (3, 2, 1)), strict=True):
        leaf = part.clone().requires_grad_()
        out = norm(leaf)
        out.backward(torch.ones_like(out, memory_format=layout))
        for each in (out, leaf.grad):
            assert each.dtype == dtype
            assert each.is_contiguous(memory_format=layout)
            assert each.isfinite().all()
        assert norm.weight.grad.dtype == torch.float32
        wanted = (values - shaped(mean)) / np.sqrt(shaped(variance) + norm.eps) * shaped(norm.weight.detach().numpy())
        found = out.detach().double().numpy() - shaped(norm.bias.detach().numpy())
        assert np.abs(found - wanted).max() < 40 * torch.finfo(dtype).eps
        # as exact as the rounded inputs allow: the sums are float32
        assert relative(vars(norm)["_earlier"].mean, mean) < 1e-6
        assert relative(vars(norm)["_earlier"].squares / vars(norm)["_earlier"].number, variance) < 1e-5


def test_autocast() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.LeakyReLU(0.1, inplace=True))
    gather_over_batch(model)
    for part in maps(4, 3, 8, 8, dtype=torch.float32).split(2):
        with torch.autocast("cpu", torch.bfloat16):
            out = model(part)
        assert out.dtype == torch.bfloat16
        out.float().square().sum().backward()
    assert all(each.grad.dtype == torch.float32 and each.grad.isfinite().all() for each in model.parameters())
    assert vars(model[1])["_earlier"].mean.dtype == torch.float32


def test_nothing_is_read_from_the_device() -> None:
    """A meta tensor has no values: what would wait for a GPU fails here."""
    norm = CrossBatchNorm2d(3, device="meta")
    for size in (2, 2, 1):
        x = torch.empty(size, 3, 4, 4, device="meta", requires_grad=True)
        norm(x).sum().backward()
        assert x.grad.shape == x.shape
        norm.momentum = None  # with which torch reads its count in the first sub-batch; the later ones need not


def test_frozen_weights_and_inputs() -> None:
    norm = CrossBatchNorm2d(3).requires_grad_(False)
    x = maps(2, 3, 4, 4, dtype=torch.float32)
    norm(x)
    assert not norm(x).requires_grad
    norm.bias.requires_grad_()
    norm(x).sum().backward()
    assert norm.bias.grad.any()
    assert norm.weight.grad is None


def photographs(images: int, seed: int) -> Tensor:
    """Return bright and dark, flat and contrasty images, ``(images, 3, 16, 16)``."""
    rng = np.random.default_rng(seed)
    brightness, contrast = rng.uniform(0, 1, (images, 3, 1, 1)), rng.uniform(0.3, 1, (images, 1, 1, 1))
    return torch.from_numpy(rng.uniform(0, 1, (images, 3, 16, 16)) * contrast + brightness)


def network(seed: int) -> nn.Sequential:
    """Return a network that remembers the statistics of the last forward pass only (``momentum`` 1)."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, momentum=1), nn.LeakyReLU(0.1),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8, momentum=1), nn.LeakyReLU(0.1),
        nn.Conv2d(8, 1, 1),
    ).double()  # fmt: skip


def batch_gradient(model: nn.Module, images: Tensor, sizes: Sequence[int]) -> Tensor:
    """Leave the gradient of a batch's mean loss in the weights, and return it as one vector."""
    begin_batch(model)
    model.zero_grad()
    brightness = images.mean((1, 2, 3), keepdim=True)
    for part, target in zip(images.split(sizes), brightness.split(sizes), strict=True):
        losses = (model(part) - target).square().mean((1, 2, 3))
        (losses.sum() / len(images)).backward()
    return torch.cat([each.grad.flatten() for each in model.parameters()])


def trained(seed: int, gather: bool, sizes: Sequence[int]) -> nn.Sequential:
    model = network(seed)
    assert gather_over_batch(model) == 2 if gather else True
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    for index in range(8):
        batch_gradient(model, photographs(4, 100 + 50 * seed + index), sizes)
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("seed", range(4))
def test_a_trained_network_is_nearer_to_that_of_whole_batches(seed: int) -> None:
    """A single image loses its brightness and contrast to its own normalisation; the whole batch's keeps them."""
    whole, cross, plain = trained(seed, False, [4]), trained(seed, True, [1] * 4), trained(seed, False, [1] * 4)
    images = photographs(8, 99)
    with torch.no_grad():
        found = [(model[1].running_mean, model[1].running_var, model(images)) for model in (whole, cross, plain)]
    for (wanted, near, far), share in zip(zip(*found, strict=True), (0.3, 0.05, 0.7), strict=True):
        assert (near - wanted).norm() < share * (far - wanted).norm()


class Remembering(nn.BatchNorm2d):
    """The same statistics by torch's layer from all images so far: the exact derivative, the earlier ones constant."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=1, dtype=torch.float64)
        self.images: list[Tensor] = []

    def forward(self, input: Tensor) -> Tensor:
        together = torch.cat((*self.images, input))
        self.images.append(input.detach())
        return super().forward(together)[-len(input) :]


@pytest.mark.parametrize("seed", range(4))
def test_why_the_gradient_through_the_statistics_has_full_weight(seed: int) -> None:
    """The exact derivative leaves out what a sub-batch does to the statistics of the later ones."""
    images, sizes = photographs(16, seed), [4] * 4
    whole = batch_gradient(network(seed), images, [16])
    cross, exact = network(seed), network(seed)
    gather_over_batch(cross)
    exact[1], exact[4] = Remembering(8), Remembering(8)
    found, derivative = (batch_gradient(model, images, sizes) for model in (cross, exact))
    for ours, theirs in zip(cross.buffers(), exact.buffers(), strict=True):
        assert relative(ours, theirs) < 1e-12  # the forward passes are the same
    assert (found - whole).norm() < 0.3 * (derivative - whole).norm()


@pytest.mark.parametrize("passes", [1, 2])
def test_a_layer_may_serve_twice_before_the_backward_pass(passes: int) -> None:
    norm = CrossBatchNorm2d(3)
    x = maps(2, 3, 4, 4, dtype=torch.float32).requires_grad_()
    for _ in range(passes):
        norm(norm(x)).square().sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_gpu_computes_the_same(dtype: torch.dtype, layout: torch.memory_format) -> None:
    x = maps(6, 4, 5, 5).to(dtype).to(memory_format=layout)
    norms = [drawn(CrossBatchNorm2d(4)), drawn(CrossBatchNorm2d(4)).cuda()]
    outs = [[norm(part.to(norm.weight.device)).detach().cpu().float() for part in x.split((3, 2, 1))] for norm in norms]
    for cpu, gpu in zip(*outs, strict=True):
        assert (cpu - gpu).abs().max() < 20 * torch.finfo(dtype).eps
    for cpu, gpu in zip(*(norm.buffers() for norm in norms), strict=True):
        assert relative(gpu.cpu(), cpu) < 1e-5


def test_a_layer_of_one_place_is_gathered_too():
    """There a sub-batch of one image has a single number a channel, and gathering tells the most."""
    model = torch.nn.Sequential(PointBatchNorm(3), torch.nn.BatchNorm2d(3))
    assert gather_over_batch(model) == 2
    first, second = torch.randn(1, 3, 1, 1), torch.randn(1, 3, 1, 1)
    gathered = model[0].train()
    gathered(first)
    found = gathered(second)
    both = torch.cat((first, second))
    wanted = (second - both.mean(0)) / (both.var(0, correction=0) + gathered.eps).sqrt()
    assert torch.allclose(found, wanted, atol=1e-5)
