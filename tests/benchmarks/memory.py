"""Peak memory of one weight update of 64 images for several numbers of subdivisions, each in a process of its own.

Not a test: run it by hand, ``python tests/benchmarks/memory.py``. On a CPU it is the process's peak, on a GPU
(``--device cuda``) what torch allocated.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import torch

from yolo_subbatch.darknet import Network, darknet_sgd, read_cfg, train_batch
from yolo_subbatch.darknet.host_memory import return_at_once
from yolo_subbatch.darknet.segments import Segments
from yolo_subbatch.settings.find import find_cfg


def measure(cfg: str, size: int, batch: int, subdivisions: int, device: str, recompute: bool) -> None:
    """Run one update and print the peak in MiB, without what the process needs before it."""
    network = Network(read_cfg(find_cfg(cfg))).to(device, memory_format=torch.channels_last)
    optimizer = darknet_sgd(network)
    optimizer.zero_grad()  # torch loads its compiler with the first call
    if recompute:
        return_at_once()
        network.forward = Segments(network.as_layers())  # type: ignore[assignment]
    images = torch.rand(batch, 3, size, size).to(device).contiguous(memory_format=torch.channels_last)
    truths = [torch.tensor([[0, 0.5, 0.5, 0.3, 0.4]]) for _ in range(batch)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    train_batch(network, optimizer, images, truths, subdivisions)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else after - before
    print(f"{peak:.0f}")


def main() -> None:
    """Measure each number of subdivisions in a new process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", default="yolov3-tiny.cfg")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--recompute", action="store_true", help="keep activations at borders of segments alone")
    parser.add_argument("--subdivisions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(args.cfg, args.size, args.batch, args.child, args.device, args.recompute)
        return
    for parts in args.subdivisions:
        command = [sys.executable, __file__, "--child", str(parts), "--cfg", args.cfg, "--size", str(args.size),
                   "--batch", str(args.batch), "--device", args.device, *["--recompute"] * args.recompute]  # fmt: skip
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        how = " recompute=True" if args.recompute else ""
        print(f"batch={args.batch} subdivisions={parts}{how}: {args.batch // parts} images at a time, peak {peak} MiB")


if __name__ == "__main__":
    main()
