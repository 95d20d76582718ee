"""Whether a loss would wait for a GPU, found out on the CPU: a device is played by a kind of tensor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from yolo_subbatch.darknet import Network, parse_cfg
from yolo_subbatch.darknet.transfer import CopyStream

PLAYED = torch.device("cpu", 7)  # torch computes on the CPU, whatever its number
#: What gives numbers to Python, or shapes that depend on numbers.
WAITS = {"nonzero", "item", "tolist", "unique", "_unique2", "masked_select", "bincount", "__bool__", "__float__",
         "__int__", "__index__", "equal", "allclose", "cpu", "numpy", "repeat_interleave", "new_tensor", "argwhere"}  # fmt: skip


class There(Tensor):
    """A tensor of the device; so is whatever is computed from it."""


class Playing(TorchFunctionMode):
    """Note what would wait for the device.

    Attributes:
        found: The names of the functions that waited.
        sent: Copies to the device that nobody waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.sent = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, there = getattr(function, "__name__", ""), any(isinstance(each, There) for each in args)
        if there and function == Tensor.device.__get__:
            return PLAYED
        if there and (name in WAITS or (name in {"__getitem__", "__setitem__"} and masked(args[1]))):
            self.found.append(name)
        comes = name == "to" and not there and PLAYED in (*args[1:], *kwargs.values())
        if comes:
            self.sent += 1
            if not kwargs.pop("non_blocking", False):
                self.found.append("to")
        if name == "tensor" and kwargs.get("device") == PLAYED:
            self.found.append(name)
        made = kwargs.get("device") == PLAYED or comes
        if kwargs.get("device") == PLAYED:
            kwargs["device"] = "cpu"
        args = tuple("cpu" if isinstance(each, torch.device) else each for each in args)
        result = function(*args, **kwargs)
        return result.as_subclass(There) if made and type(result) is Tensor else result


def masked(index: Any) -> bool:
    """Tell whether an index is a mask, whose true places have to be counted."""
    return any(
        isinstance(each, Tensor) and each.dtype == torch.bool
        for each in (index if isinstance(index, tuple) else [index])
    )


def waits(head: str, filters: int, size: int = 4) -> tuple[Playing, float]:
    """Compute a head's loss and gradient on the device that is played."""
    cfg = f"[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters={filters}\nsize=1\nstride=8\nactivation=linear\n{head}"
    torch.manual_seed(0)
    layer = Network(parse_cfg(cfg)).heads[0]
    raw = torch.randn(2, filters, size, size)
    truths = torch.tensor(
        [[[0, 0.5, 0.5, 0.3, 0.4], [2, 0.52, 0.5, 0.3, 0.4]], [[1, 0.2, 0.8, 0.5, 0.2], [-1, 0, 0, 0, 0]]]
    )
    plain = raw.clone().requires_grad_()
    layer.loss(plain, truths).total.backward()
    played = raw.as_subclass(There).requires_grad_()
    layer.anchors = layer.anchors.as_subclass(There)
    with Playing() as playing:
        total = layer.loss(played, truths).total
        total.backward()
    assert isinstance(total, There)
    return playing, float((plain.grad - played.grad.as_subclass(Tensor)).abs().max())


YOLO = "[yolo]\nmask=0,1\nanchors=4,4, 9,9, 16,16\nnum=3\nclasses=3\n"
HEADS = {
    "pjreddie": (YOLO, 16),
    "stretched": (f"{YOLO}scale_x_y=1.05\nbeta_nms=0.6\niou_loss=ciou\niou_thresh=0.2\nmax=200\n", 16),
    "weighed": (f"{YOLO}iou_loss=giou\ncounters_per_class=1,2,3\nmax_delta=5\nlabel_smooth_eps=0.1\nfocal_loss=1\n", 16),
    "new_coords": (f"{YOLO}new_coords=1\nobjectness_smooth=1\nscale_x_y=2\niou_loss=mse\n", 16),
    "Gaussian_yolo": ("[Gaussian_yolo]\nmask=0,1\nanchors=4,4, 9,9, 16,16\nnum=3\nclasses=3\n", 24),
    "region": ("[region]\nclasses=3\nnum=2\nanchors=1,1,2,2\nbias_match=1\nsoftmax=1\nrescore=1\n", 16),
}  # fmt: skip


def test_no_head_waits_for_the_device():
    for name, (text, filters) in HEADS.items():
        playing, apart = waits(text, filters)
        assert (name, playing.found, apart) == (name, [], 0.0)
        assert playing.sent > 2, name


def test_what_has_to_wait_is_found():
    playing, apart = waits(HEADS["region"][0].replace("bias_match=1", "bias_match=0"), 16)
    assert {"nonzero", "unique"} & set(playing.found)
    assert apart == 0.0
    assert waits(f"{YOLO}truth_thresh=0.5\n", 16)[0].found


def test_images_are_copied_on_a_stream_of_their_own(monkeypatch):
    """What is computed waits for the copy, and the memory of the copy for what is computed."""
    happened = []

    class Stream:
        def __init__(self, device=None, name="copies"):
            self.name = name

        def wait_stream(self, other):
            happened.append(f"{self.name} waits for {other.name}")

        def __enter__(self):
            happened.append(f"on {self.name}")

        def __exit__(self, *_):
            happened.append("back")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(name="computing"))
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: happened.append(f"used by {stream.name}"))
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    copies = CopyStream(torch.device("cpu"))
    assert copies.to_device(images) is images  # not pinned: Ultralytics copies it in its turn
    assert happened == []
    monkeypatch.setattr(Tensor, "is_pinned", lambda self: True)
    assert torch.equal(copies.to_device(images), images)
    assert happened == ["on copies", "back", "computing waits for copies", "used by computing"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_copied_beside_are_the_images():
    device = torch.device("cuda", 0)
    copies, images = CopyStream(device), torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8).pin_memory()
    found = [copies.to_device(images).float().mean() for _ in range(20)]
    assert all(torch.equal(each.cpu(), images.to(device).float().mean().cpu()) for each in found)
