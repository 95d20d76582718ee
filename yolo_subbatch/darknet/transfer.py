"""Tensors that go from the CPU to a device while that device computes: whoever sends them never waits for it."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device.

    A copy from memory that the system may move begins when all that was queued on a GPU is done, and keeps its caller
    until then; so it is put into memory that stays in its place first.
    """
    if device.type == "cuda" and tensor.device.type == "cpu" and tensor.numel():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def row_like(tensor: Tensor, *numbers: float) -> Tensor:
    """Return numbers as ``(n,)``, of the type of a tensor and on its device, where they are made."""
    return torch.cat([tensor.new_full((1,), number) for number in numbers])


class CopyStream:
    """Copies images to a GPU beside what it computes, on a stream of its own.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def to_device(self, images: Tensor) -> Tensor:
        """Return images on the GPU; what is computed with them from now on waits for them there.

        Args:
            images: ``(B, C, H, W)``; what is not in pinned memory is copied when its turn comes, and is returned.
        """
        if images.is_cuda or not images.is_pinned():
            return images
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            copied = images.to(self.device, non_blocking=True)
        computing.wait_stream(self.stream)
        copied.record_stream(computing)  # else its memory could be used again while it is still read
        return copied
