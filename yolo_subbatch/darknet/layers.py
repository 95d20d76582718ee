"""The layers that torch lacks or spells differently, one small module each.

Source: darknet src/activations.h, maxpool_layer.c, shortcut_layer.c, reorg (src/blas.c), softmax_layer.c,
connected_layer.c, crop_layer.c, l2norm_layer.c.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Elementwise(nn.Module):
    """An activation that is a plain function of its input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function; any shape."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Name the function."""
        return self.function.__name__.lstrip("_")


def _relie(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def _ramp(x: Tensor) -> Tensor:
    return torch.relu(x) + 0.1 * x


def _plse(x: Tensor) -> Tensor:
    inner = 0.125 * x + 0.5
    return torch.where(x < -4, 0.01 * (x + 4), torch.where(x > 4, 0.01 * (x - 4) + 1, inner))


def _loggy(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(x) - 1


def _lhtan(x: Tensor) -> Tensor:
    return torch.where(x <= 0, 0.001 * x, torch.where(x >= 1, 0.001 * (x - 1) + 1, x))


def _stair(x: Tensor) -> Tensor:
    floor = x.floor()
    return torch.where(floor % 2 == 0, (x / 2).floor(), (x - floor) + (x / 2).floor())


def _hard_mish(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, 0 * x))


def _elu(x: Tensor) -> Tensor:
    return F.elu(x)


def _selu(x: Tensor) -> Tensor:
    # Darknet writes selu with its own rounded constants.
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * F.elu(x.clamp(max=0)))


def mish(x: Tensor) -> Tensor:
    """Return ``x * tanh(softplus(x))``."""
    return F.mish(x)


def _swish(x: Tensor) -> Tensor:
    return F.silu(x)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _normalize_channels(x: Tensor) -> Tensor:
    positive = x.clamp(min=0)
    return positive / (positive.sum(1, keepdim=True) + 1e-4)


def _normalize_channels_softmax(x: Tensor) -> Tensor:
    powers = x.exp()
    return powers / (powers.sum(1, keepdim=True) + 1e-4)


def _normalize_channels_softmax_maxval(x: Tensor) -> Tensor:
    return _normalize_channels_softmax(x - x.amax(1, keepdim=True))


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": _elu, "gelu": _gelu, "hard_mish": _hard_mish, "lhtan": _lhtan, "loggy": _loggy, "mish": mish,
    "normalize_channels": _normalize_channels, "normalize_channels_softmax": _normalize_channels_softmax,
    "normalize_channels_softmax_maxval": _normalize_channels_softmax_maxval,
    "plse": _plse, "ramp": _ramp, "relie": _relie, "selu": _selu, "stair": _stair, "swish": _swish,
}  # fmt: skip
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "hardtan": nn.Hardtanh,
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "linear": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "revleaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """Return the activation that Darknet calls ``name``."""
    return _MODULES[name]() if name in _MODULES else Elementwise(_FUNCTIONS[name])


class ConvolutionalLayer(nn.Module):
    """Convolution, batch normalisation where there is one, activation.

    The parts carry the names of Ultralytics' ``Conv`` (``conv``, ``bn``, ``act``), so that its layer fusion works.
    """

    def __init__(self, conv: nn.Conv2d, bn: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.bn, self.act = conv, bn, act

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, filters, H', W')``."""
        result: Tensor = self.act(self.bn(self.conv(x)))
        return result


class MaxPool(nn.Module):
    """Max-pool whose window may hang over the right and lower border; padding never wins.

    Darknet counts the padding of both sides together and puts the smaller half before the map.
    """

    def __init__(self, size: int, stride: tuple[int, int], padding: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        before = padding // 2
        self.pads = (before, padding - before)
        #: torch's own padding is symmetric and at most half the window
        self.symmetric = padding % 2 == 0 and before <= size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        if self.symmetric:
            return F.max_pool2d(x, self.size, self.stride, self.pads[0])
        if self._fits(x):
            return F.max_pool2d(x, self.size, self.stride)
        return F.max_pool2d(F.pad(x, self.pads * 2, value=-math.inf), self.size, self.stride)

    def _fits(self, x: Tensor) -> bool:
        """Tell whether no window reaches the padding, as with size 2, stride 2 on even maps: no copy is needed."""
        return self.pads[0] == 0 and all(
            (side - self.size) // step == (side + self.pads[1] - self.size) // step
            for side, step in zip(x.shape[2:], self.stride, strict=True)
        )

    def extra_repr(self) -> str:
        """Show the window."""
        return f"size={self.size}, stride={self.stride}, pads={self.pads}"


class GlobalAveragePool(nn.Module):
    """The mean over each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, 1, 1)``."""
        return x.mean((2, 3), keepdim=True)


class Concat(nn.Module):
    """Join maps along the channels, taking of each only one of ``groups`` equal parts."""

    def __init__(self, groups: int, group_id: int) -> None:
        super().__init__()
        self.groups, self.group_id = groups, group_id

    def forward(self, *maps: Tensor) -> Tensor:
        """Map several ``(B, C_i, H, W)`` to ``(B, sum of C_i / groups, H, W)``."""
        parts = [each.chunk(self.groups, 1)[self.group_id] for each in maps] if self.groups > 1 else maps
        return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), 1)


class Add(nn.Module):
    """``activation(alpha * x + beta * other)``; only the channels and places that both maps have are added."""

    def __init__(self, alpha: float, beta: float, act: nn.Module) -> None:
        super().__init__()
        self.alpha, self.beta, self.act = alpha, beta, act

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Add ``(B, C', H', W')`` to ``(B, C, H, W)``; the result has the first one's shape."""
        if x.shape[1:] == other.shape[1:]:
            result: Tensor = self.act(self._sum(x, other))
            return result
        channels = min(x.shape[1], other.shape[1])
        stride = max(1, other.shape[3] // x.shape[3])
        sample = max(1, x.shape[3] // other.shape[3])
        out = x.clone()
        part = out[:, :channels, ::sample, ::sample]
        out[:, :channels, ::sample, ::sample] = self._sum(part, other[:, :channels, ::stride, ::stride])
        changed: Tensor = self.act(out)
        return changed

    def _sum(self, x: Tensor, other: Tensor) -> Tensor:
        if self.alpha == self.beta == 1:
            return x + other
        return self.alpha * x + self.beta * other


class UpsampleLayer(nn.Module):
    """Nearest-neighbour upsampling; a negative stride sums each window instead."""

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H * stride, W * stride)``."""
        if self.stride > 0:
            out = F.interpolate(x, scale_factor=float(self.stride), mode="nearest")
        else:
            out = F.avg_pool2d(x, -self.stride) * float(self.stride**2)
        return out if self.scale == 1 else out * self.scale


def depth_to_space(x: Tensor, s: int) -> Tensor:
    """Map ``(B, s * s * C, H, W)``, offset y, offset x, channel, to ``(B, C, s * H, s * W)``."""
    batch, channels, height, width = x.shape
    grid = x.reshape(batch, s, s, channels // s**2, height, width)
    spread = grid.permute(0, 3, 4, 1, 5, 2)  # (B, C / s^2, H, s, W, s)
    return spread.reshape(batch, channels // s**2, height * s, width * s)


class ReorgLayer(nn.Module):
    """YOLOv2's space to depth.

    Darknet computes the indices with the roles of input and output exchanged, so that the result is not the usual
    space-to-depth: the input is read as if it had ``C / stride**2`` channels. Trained weights depend on it.
    """

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C * stride**2, H / stride, W / stride)``, or back with ``reverse``."""
        batch, channels, height, width = x.shape
        s = self.stride
        if self.reverse:
            return depth_to_space(x, s)
        if channels % s**2:
            return x.flatten(1)[:, self._odd_index(x)].reshape(batch, channels * s**2, height // s, width // s)
        cells = x.reshape(batch, channels // s**2, height, s, width, s)
        return cells.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * s**2, height // s, width // s)

    def _odd_index(self, x: Tensor) -> Tensor:
        """Return Darknet's flat source index where ``stride**2`` does not divide the channels, ``(C * H * W,)``."""
        channels, height, width = x.shape[1:]
        s, kept = self.stride, max(1, channels // self.stride**2)
        k = torch.arange(channels, device=x.device)[:, None, None]
        row = torch.arange(height, device=x.device)[:, None] * s + k // kept // s
        column = torch.arange(width, device=x.device) * s + k // kept % s
        index = column + width * s * (row + height * s * (k % kept))
        return index.flatten().clamp_(max=channels * height * width - 1)


class SoftmaxLayer(nn.Module):
    """Softmax over the values of each group of an image."""

    def __init__(self, groups: int, temperature: float) -> None:
        super().__init__()
        self.groups, self.temperature = groups, temperature

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(B, C, H, W)``; each of ``groups`` equal runs of the flattened image sums to one."""
        flat = x.reshape(x.shape[0], self.groups, -1)  # (B, groups, values)
        return torch.softmax(flat / self.temperature, 2).reshape(x.shape)


class ConnectedLayer(nn.Module):
    """Every output from every value of the map, batch normalisation where there is one, activation."""

    def __init__(self, linear: nn.Linear, norm: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.linear, self.norm, self.act = linear, norm, act

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, outputs, 1, 1)``."""
        result: Tensor = self.act(self.norm(self.linear(x.flatten(1))[:, :, None, None]))
        return result


class CropLayer(nn.Module):
    """The middle of an image, moved from [0, 1] to [-1, 1] where ``adjust`` is set."""

    def __init__(self, height: int, width: int, adjust: bool) -> None:
        super().__init__()
        self.height, self.width, self.adjust = height, width, adjust

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, height, width)``."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        part = x[:, :, top : top + self.height, left : left + self.width]
        return part * 2 - 1 if self.adjust else part


class L2Norm(nn.Module):
    """The channels of each place divided by their length."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(B, C, H, W)``."""
        return x / x.square().sum(1, keepdim=True).sqrt()
