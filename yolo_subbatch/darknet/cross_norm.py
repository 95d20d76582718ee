"""Batch normalisation whose statistics are gathered over the sub-batches of one batch (``bn=cross``).

Sub-batch t is normalised with mean and variance of sub-batches 1 to t. The weights stand still within a batch, so the
earlier values need no correction; the earlier sub-batches are not normalised again. YOLOv4 calls this CmBN, Darknet
``batch_normalize=2``. A batch of one sub-batch is ordinary batch normalisation, bit for bit.

As in Darknet:

* The running statistics move at every sub-batch, with the gathered mean and variance.
* The backward pass is that of ordinary batch normalisation with the gathered mean and variance in the place of the
  sub-batch's own, as if no earlier sub-batch had taken part in them. The exact derivative, with the earlier ones as
  constants, would weigh the two terms that pass through the statistics by the sub-batch's share in them, 1 / t. But a
  sub-batch also moves the statistics of all later ones, which send nothing back; the full weight stands in for that.
  With the share, the sum over a batch is several times as far from the gradient of the undivided batch.

Other than in Darknet:

* Darknet averages means and mean squares with weight 1 / t, here every value counts the same. These are one for equal
  sub-batches; a shorter last one weighs less here.
* Darknet divides the squares by N - 1 and subtracts mean² undivided, which is neither the biased nor the unbiased
  variance and infinite for N = 1. Here the biased variance normalises and the unbiased one goes into
  ``running_var``, as in torch.
* Squares are summed about the mean, not about 0, so a mean far from 0 costs no digits.

Source: AlexeyAB's darknet ``fast_v_cbn_kernel`` in src/blas_kernels.cu, ``forward_batchnorm_layer_gpu`` and
``backward_batchnorm_layer_gpu`` in src/batchnorm_layer.c; Bochkovskiy et al. 2020, section 3.3 and figure 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from yolo_subbatch.darknet.norm import PointBatchNorm


class Gathered(NamedTuple):
    """Statistics of a number of values for each channel, float32 (float64 for float64 maps), without a graph."""

    #: values a channel: images * height * width
    number: int
    #: ``(C,)``
    mean: Tensor
    #: sum of squared distances from the mean, ``(C,)``
    squares: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, x: Tensor) -> Gathered:
        """Return the statistics of ``(B, C, H, W)``."""
        number = x.numel() // x.shape[1]
        wide = torch.promote_types(x.dtype, torch.float32)  # half precision has too few digits for a mean
        if x.device.type == "cpu":  # where var_mean takes several times as long, at the price of a copy here
            mean = x.mean((0, 2, 3), keepdim=True, dtype=wide)
            return cls(number, mean.flatten(), (x - mean).square_().sum((0, 2, 3)))
        variance, mean = torch.var_mean(x.to(wide), (0, 2, 3), correction=0)
        return cls(number, mean, variance * number)

    @torch.no_grad()
    def join(self, other: Gathered) -> Gathered:
        """Return the statistics of both sets of values together."""
        number = self.number + other.number
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.number / number)
        between = apart.square() * (self.number * other.number / number)
        return Gathered(number, mean, self.squares + other.squares + between)


class CrossBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that in training normalises with all sub-batches since :func:`begin_batch`.

    Every training forward counts as a sub-batch, whether or not a backward follows. In evaluation it computes what
    ``nn.BatchNorm2d`` computes, and its ``state_dict`` has the same keys.
    """

    #: what the earlier sub-batches of this batch left; no buffer, so that it is in no state_dict
    _earlier: Gathered | None = None

    @property
    def earlier(self) -> Gathered | None:
        """What the earlier sub-batches of this batch left; never changed in place."""
        return self._earlier

    @earlier.setter
    def earlier(self, found: Gathered | None) -> None:
        self._earlier = found

    def forward(self, input: Tensor) -> Tensor:
        """Normalise a sub-batch ``(B, C, H, W)`` of any B; dtype and memory format stay."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        earlier, own = self._earlier, Gathered.of(input)
        self._earlier = joined = own if earlier is None else earlier.join(own)
        if earlier is None and own.number > 1:
            return super().forward(input)  # nothing to join: torch's own kernels
        if joined.number > 1:  # a single value has no spread that evaluation could use; torch refuses it
            self._move_running(joined.mean, joined.squares / (joined.number - 1))
        weight, bias = (each if each is None else each.to(joined.mean.dtype) for each in (self.weight, self.bias))
        result: Tensor = _Normalize.apply(input, weight, bias, joined.mean, joined.squares / joined.number, self.eps)
        return result

    @torch.no_grad()
    def _move_running(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running averages as torch does; without a momentum they are plain means over the forwards."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        # a tensor, as reading the count would wait for the GPU
        share = self.num_batches_tracked.reciprocal() if self.momentum is None else self.momentum
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            # torch moves them uncounted as well: a layer that is used twice before the backward pass has saved them
            running.data.mul_(1 - share).add_(found * share)


class _Normalize(torch.autograd.Function):
    """Normalise with given statistics; go back as if they were the input's own. Keeps the input alone, as torch does.

    ``x``: ``(B, C, H, W)``; ``weight``, ``bias`` (or None), ``mean``, biased ``variance``: ``(C,)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        grads = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, None, None, mean, inverse_std, True, ctx.eps, wanted
        )
        return (*(each if want else None for each, want in zip(grads, wanted, strict=True)), None, None, None)


def gather_over_batch(model: nn.Module) -> int:
    """Turn every ``nn.BatchNorm2d`` (no subclasses but ``PointBatchNorm``) into :class:`CrossBatchNorm2d` in place.

    Only the class changes: parameters, buffers, hooks and whoever refers to them stay.

    Returns:
        How many were turned.
    """
    return sum(_change_class(model, kind, CrossBatchNorm2d) for kind in (nn.BatchNorm2d, PointBatchNorm))


def plain_norm(model: nn.Module) -> None:
    """Turn every :class:`CrossBatchNorm2d` back, so that a saved model asks for torch alone."""
    begin_batch(model)
    _change_class(model, CrossBatchNorm2d, nn.BatchNorm2d)


def begin_batch(model: nn.Module) -> None:
    """Forget the sub-batches so far: before the first one of every batch, also of a batch that is repeated.

    Running statistics that a broken batch has moved are not put back.
    """
    for module in model.modules():
        if isinstance(module, CrossBatchNorm2d):
            module.__dict__.pop("_earlier", None)


def _change_class(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> int:
    found = [module for module in model.modules() if type(module) is old]
    for module in found:
        module.__class__ = new
    return len(found)
