"""Batch normalisation where torch's own does not do what Darknet's networks need.

Source: darknet ``forward_batchnorm_layer`` and ``make_batchnorm_layer`` in src/batchnorm_layer.c.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PointBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of a layer that gives one place a channel, which may be one number in a small sub-batch.

    torch refuses to normalise a single number. It lies at its own mean, so that the bias is left of it, as with cuDNN;
    nothing is learnt of a variance.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, 1, 1)``."""
        if not self.training or x.numel() > x.shape[1]:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(x.detach().flatten().to(self.running_mean.dtype), self.momentum)
        return (x - x.detach()) * 0 + self.bias[:, None, None]


class UntrainedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose scales and biases stay as they are: pjreddie's Darknet never trains ``[batchnorm]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``."""
        statistics = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight.detach(), self.bias.detach(), statistics, momentum,
            self.eps,
        )  # fmt: skip
