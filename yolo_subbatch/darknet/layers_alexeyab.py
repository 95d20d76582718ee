"""The layers that AlexeyAB's Darknet added, one small module each.

Source: AlexeyAB/darknet src/maxpool_layer.c, src/convolutional_layer.c (antialiasing), src/shortcut_layer.c,
src/scale_channels_layer.c, src/sam_layer.c, src/reorg_layer.c, src/dropout_layer_kernels.cu.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolo_subbatch.darknet.layers import ConvolutionalLayer, depth_to_space

NORMALIZATION_FLOOR = 1e-4  # Darknet adds it to the sum that weights are divided by


class SharedConvolutionalLayer(nn.Module):
    """Convolution with the weights and the batch normalisation of an earlier layer (``share_index``).

    Stride, padding, dilation and activation are its own. It holds no parameter, so that an optimizer, a moving average
    or a file meets each of them once.

    Args:
        owner: The layer with the weights.
        stride: Vertical and horizontal stride.
        padding: Pixels on each side.
        dilation: Distance of the kernel's places.
        act: What follows.
    """

    def __init__(
        self, owner: ConvolutionalLayer, stride: tuple[int, int], padding: int, dilation: int, act: nn.Module
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation, self.act = stride, padding, dilation, act
        self._owner = (owner,)  # in a tuple it does not count as a part of this layer

    @property
    def owner(self) -> ConvolutionalLayer:
        """The layer with the weights."""
        return self._owner[0]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, filters, H', W')``."""
        owner, conv = self.owner, self.owner.conv
        mapped = F.conv2d(x, conv.weight, conv.bias, self.stride, self.padding, self.dilation, conv.groups)
        result: Tensor = self.act(owner.bn(mapped))
        return result

    def extra_repr(self) -> str:
        """Tell the geometry."""
        return f"shared, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"


class Blur(nn.Module):
    """The fixed filter of ``antialiasing``: 3 x 3 binomial with a border of zeros, or the mean of 2 x 2 without.

    Args:
        channels: Of the map; each is filtered by itself.
        size: 3 or 2.
        stride: Down and across.
    """

    kernel: Tensor

    def __init__(self, channels: int, size: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.channels, self.stride, self.padding = channels, stride, size // 2 if size == 3 else 0
        row = torch.tensor([1.0, 2.0, 1.0] if size == 3 else [1.0, 1.0])
        kernel = torch.outer(row, row) / row.sum() ** 2
        # not persistent: nothing is learned, and Darknet's files do not hold it
        self.register_buffer("kernel", kernel.repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        return F.conv2d(x, self.kernel.to(x.dtype), None, self.stride, self.padding, groups=self.channels)


class DepthMaxPool(nn.Module):
    """The maximum over channels: output ``g`` of ``G`` is the largest of the channels ``g``, ``g + G`` and so on."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, out_channels, H, W)``."""
        missing = -x.shape[1] % self.out_channels
        if missing:
            x = F.pad(x, (0, 0, 0, 0, 0, missing), value=-torch.inf)
        batch, channels, height, width = x.shape
        return x.reshape(batch, channels // self.out_channels, self.out_channels, height, width).max(1).values


class LocalAveragePool(nn.Module):
    """The mean over the part of each window that lies inside the map; the smaller half of the padding is before it.

    Darknet's own backward pass divides by the whole window at the borders too; here the gradient is the mean's.
    """

    def __init__(self, size: int, stride: tuple[int, int], padding: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        before = padding // 2
        self.pads = (before, padding - before) * 2

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        return self._sum(x) / self._sum(torch.ones_like(x[:1, :1]))

    def _sum(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, self.pads), self.size, self.stride) * float(self.size**2)


class WeightedAdd(nn.Module):
    """``[shortcut]`` with several sources, with or without learned weights.

    The weights are stored before they are normalised. As in Darknet, their gradient is that of the normalised ones:
    the derivative of the normalisation is left out.

    Args:
        inputs: Number of maps, the layer's own input included.
        channels: 1 for a weight a map, the channels of the input for one a channel of each map, 0 for no weights.
        normalization: ``none``, ``relu`` (``avg_relu`` is the same) or ``softmax``.
        act: Activation of the sum.

    Source: AlexeyAB/darknet ``shortcut_multilayer_cpu`` and ``backward_shortcut_multilayer_cpu`` in src/blas.c.
    """

    def __init__(self, inputs: int, channels: int, normalization: str, act: nn.Module) -> None:
        super().__init__()
        self.normalization, self.act = normalization, act
        self.weight = nn.Parameter(torch.ones(inputs, channels)) if channels else None

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Add maps ``(B, C_i, H, W)`` to ``x`` ``(B, C, H, W)``; of each only the first ``C`` channels count."""
        weights = self._weights()
        total = x if weights is None else x * weights[0, :, None, None]
        for index, other in enumerate(others, 1):
            part = other[:, : x.shape[1]]
            if weights is not None:
                part = part * weights[index, : part.shape[1], None, None]
            missing = x.shape[1] - part.shape[1]
            total = total + (F.pad(part, (0, 0, 0, 0, 0, missing)) if missing else part)
        result: Tensor = self.act(total)
        return result

    def _weights(self) -> Tensor | None:
        """Return the weights as they multiply, ``(inputs, channels or 1)``."""
        stored = self.weight
        if stored is None or self.normalization == "none":
            return stored
        plain = stored.detach()
        part = (plain - plain.amax(0)).exp() if self.normalization == "softmax" else plain.clamp(min=0)
        normalized = part / (part.sum(0) + NORMALIZATION_FLOOR)
        # the value of the normalised weights, the gradient of the stored ones
        return stored + (normalized - plain) if stored.requires_grad else normalized


class Multiply(nn.Module):
    """``activation(x * other)``: a map by one of its size (``[sam]``), or by one number a channel or a place."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Multiply ``(B, C, H, W)``, ``(B, C, 1, 1)`` or ``(B, 1, H, W)`` with ``(B, C, H, W)``."""
        result: Tensor = self.act(x * other)
        return result


class Reorg3dLayer(nn.Module):
    """Space to depth: channel ``offset * C + c`` holds the places of channel ``c`` at that offset in each window."""

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C * stride**2, H / stride, W / stride)``, or back with ``reverse``."""
        batch, channels, height, width = x.shape
        s = self.stride
        if self.reverse:
            return depth_to_space(x, s)
        cells = x.reshape(batch, channels, height // s, s, width // s, s)
        return cells.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * s**2, height // s, width // s)


class DropBlock(nn.Module):
    """``[dropout]`` with ``dropblock=1``: in training, at most one square of each channel is set to 0.

    Side and probability grow with the training; what is left of an image is scaled up by what it lost.

    Darknet means a square but counts its places along the rows of the map, so that it drops a run of as many places
    instead; here it is the square.

    Args:
        probability: Share of a map that is dropped at the end.
        size_abs: Side of the square in places, at the end.
        size_rel: The side as a share of the map's, instead.

    Source: AlexeyAB/darknet ``forward_dropout_layer_gpu`` in src/dropout_layer_kernels.cu.
    """

    #: How far the growth has come, from 0 to 1; :meth:`Network.set_seen` moves it.
    grown: float = 1.0

    def __init__(self, probability: float, size_abs: float, size_rel: float) -> None:
        super().__init__()
        self.probability, self.size_abs, self.size_rel = probability, size_abs, size_rel

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(B, C, H, W)``."""
        if not self.training:
            return x
        batch, channels, height, width = x.shape
        side = self._side(height, width)
        lowest, place = torch.rand(batch, channels, height * width, device=x.device).min(2)  # (B, C)
        hit = lowest < self.probability * self.grown / side**2
        top = (place // width).clamp(max=height - side)[..., None]
        left = (place % width).clamp(max=width - side)[..., None]
        rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        inside_rows, inside_columns = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
        dropped = hit[..., None, None] & inside_rows[..., None] & inside_columns[..., None, :]  # (B, C, H, W)
        lost = hit.sum(1).to(x.dtype) * (side**2 / (channels * height * width))  # (B,)
        return torch.where(dropped, torch.zeros_like(x), x / (1 - lost)[:, None, None, None])

    def _side(self, height: int, width: int) -> int:
        rel = self.size_rel if not self.size_abs else 0.0
        sides = (rel * height, rel * width) if rel else (self.size_abs or 7.0,) * 2  # 7 is Darknet's default
        largest = min(height, width)
        return min(max(1, min(int(side * self.grown), largest)) for side in sides)
