"""What a cfg says that Darknet takes without a word, and that a training suffers from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from yolo_subbatch.darknet.sections import Cfg, Region
from yolo_subbatch.settings.checks import Problem, warning
from yolo_subbatch.settings.train_settings import TrainSettings


def cfg_advice(settings: TrainSettings, cfg: Cfg) -> Iterator[Problem]:
    """Yield warnings about the schedule and the anchors of a run."""
    yield from _late_steps(settings, cfg)
    yield from _odd_anchors(settings, cfg)


def _late_steps(settings: TrainSettings, cfg: Cfg) -> Iterator[Problem]:
    """Find steps of the rate that the run ends before; with a schedule that is fitted, the cfg's own length counts."""
    if (settings.policy or cfg.net.policy) != "steps":
        return
    steps = settings.steps if settings.steps is not None else cfg.net.steps
    fitted = settings.schedule == "scaled" and settings.steps is None
    length = cfg.net.max_batches if fitted else settings.max_batches or cfg.net.max_batches
    late = [step for step in steps if step > length]
    if length and late:
        many, shown = "s" if len(late) > 1 else "", ",".join(map(str, late))
        found = f"the run ends after {length} iterations, before the step{many} {shown}"
        advice = "the rate does not fall there; give smaller steps, such as 80 % and 90 % of the iterations"
        yield warning("steps", f"steps={','.join(map(str, steps))}: {found}: {advice}")


def _odd_anchors(settings: TrainSettings, cfg: Cfg) -> Iterator[Problem]:
    """Find anchors in another unit: ``[yolo]`` takes pixels of the input, ``[region]`` cells of its grid."""
    size = settings.imgsz
    height, width = size if isinstance(size, tuple) else (size, size) if size else (cfg.net.height, cfg.net.width)
    told: set[tuple[float, ...]] = set()
    for head in cfg.heads:
        if isinstance(head, Region) or head.anchors in told:
            continue
        told.add(head.anchors)
        pairs = list(zip(head.anchors[::2], head.anchors[1::2], strict=False))
        small = [pair for pair in pairs if min(pair) < 1]
        large = [pair for pair in pairs if pair[0] > width or pair[1] > height]
        place = f"{cfg.path}:{head.line}: [{head.title}]"
        if small:
            text = f"{_named(small)} below one pixel; here they are pixels of the input, in [region] cells"
            yield warning("cfg", f"{place}: {text}: anchors of YOLOv2 are to be multiplied by 32")
        if large:
            text = f"{_named(large)} larger than the input of {width}x{height}"
            yield warning("cfg", f"{place}: {text}; yolo-subbatch anchors computes those of your data for this size")


def _named(pairs: Sequence[tuple[float, float]]) -> str:
    """Return which anchors are meant, with the verb."""
    shown = "  ".join(f"{width:g},{height:g}" for width, height in pairs)
    return f"anchor {shown} is" if len(pairs) == 1 else f"anchors {shown} are"
