"""What a written cfg says in so many words, so that other programs read it as Darknet does.

Darknet takes a missing key for its default. Other readers of cfgs, OpenCV before all, have defaults of their own or
insist on a key: they know the published files, in which certain keys always stand.

Source: darknet ``parse_*`` functions in src/parser.c; OpenCV 4.10 ``ReadDarknetFromCfgStream`` in
modules/dnn/src/darknet/darknet_io.cpp.
"""

from __future__ import annotations

from dataclasses import replace

from yolo_subbatch.darknet.sections import Cfg, Connected, Convolutional, LocalAvgpool, Maxpool, Section, Yolo
from yolo_subbatch.darknet.shape_rules import pool_window

#: The keys that are written at Darknet's default too, by section.
ALWAYS_WRITTEN: dict[str, frozenset[str]] = {
    title: frozenset(keys.split())
    for title, keys in {
        "net": "batch subdivisions width height channels momentum decay learning_rate policy",
        "convolutional": "filters size stride pad activation",
        "connected": "output activation",
        "maxpool": "size stride",
        "local_avgpool": "size stride",
        "crop": "crop_height crop_width",
        "route": "layers",
        "shortcut": "from activation",
        "scale_channels": "from activation",
        "sam": "from activation",
        "activation": "activation",
        "upsample": "stride",
        "reorg": "stride",
        "reorg3d": "stride",
        "yolo": "mask anchors classes num",
        "Gaussian_yolo": "mask anchors classes num",
        "region": "anchors classes num softmax",
    }.items()
}


def explicit(cfg: Cfg) -> Cfg:
    """Return the cfg with values in the place of what Darknet works out from other keys; it means the same."""
    return replace(cfg, sections=tuple(_explicit(section, cfg.alexeyab) for section in cfg.sections))


def _explicit(section: Section, alexeyab: bool) -> Section:
    if isinstance(section, Convolutional) and section.batch_normalize == 2 and alexeyab:
        section = replace(section, cbn=1)  # another name of it, which other readers pass over
    elif isinstance(section, (Convolutional, Connected)) and section.batch_normalize not in (0, 1):
        section = replace(section, batch_normalize=1)
    if isinstance(section, (Maxpool, LocalAvgpool)):
        section = replace(section, size=pool_window(section)[0])
    if isinstance(section, (Convolutional, Maxpool, LocalAvgpool)) and section.stride_x and section.stride_y:
        same = section.stride_x == section.stride_y
        section = replace(section, stride=section.stride_x) if same else section
    if isinstance(section, Yolo):
        section = replace(section, mask=section.selected)
    return section
