"""Darknet's commands besides ``detector``: what to type here instead, or that there is nothing like it.

Source: darknet ``main`` in examples/darknet.c; AlexeyAB's in src/darknet.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from yolo_subbatch.errors import SettingsError

CLASSIFIER = "networks that only classify are Ultralytics' here: yolo-subbatch train model=yolo26n-cls.yaml data=FOLDER"
SEGMENTER = "masks are Ultralytics' here: yolo-subbatch train model=yolo26n-seg.yaml data=FILE.yaml"
YOLO_1 = "YOLOv1 ([detection]) is not built; for later networks type yolo-subbatch detector train, test, map or valid"
NUMBERS = "yolo-subbatch info cfg=FILE.cfg shows its layers, their shapes and costs"
BOTH = "yolo-subbatch convert and export read any .weights; changing one in place is not here"
NOTHING = "there is nothing like it here"
#: Names of Darknet's commands, with what to do instead.
INSTEAD = {
    "classifier": CLASSIFIER, "classify": CLASSIFIER, "regressor": CLASSIFIER, "attention": CLASSIFIER,
    "tag": CLASSIFIER, "cifar": CLASSIFIER, "compare": CLASSIFIER, "segmenter": SEGMENTER, "isegmenter": SEGMENTER,
    "yolo": YOLO_1, "coco": YOLO_1,
    "ops": NUMBERS, "print": NUMBERS, "speed": NUMBERS, "statistics": NUMBERS,
    "visualize": "filters are not drawn; " + NUMBERS,
    "imtest": "yolo-subbatch predict source=IMAGE shows what a network finds in an image",
    "test": "type yolo-subbatch detector test DATA CFG WEIGHTS IMAGE",
    "average": "averages of weights are kept while training: ema_alpha in the cfg, and best.weights in the run",
    "denormalize": "yolo-subbatch export folds the batch normalisation into the convolutions",
    "rescale": BOTH, "rgbgr": BOTH, "reset": BOTH, "normalize": BOTH, "oneoff": BOTH, "oneoff2": BOTH,
    "nightmare": NOTHING, "art": NOTHING, "super": NOTHING, "go": NOTHING, "rnn": NOTHING, "lsd": NOTHING,
    "vid": NOTHING, "3d": NOTHING, "mkimg": NOTHING, "composite": NOTHING, "writing": NOTHING, "captcha": NOTHING,
    "dice": NOTHING, "whatever": NOTHING,
}  # fmt: skip
CLASSIFY = "yolo-subbatch predict model=FILE.pt source=IMAGE takes networks that find boxes; use yolo classify predict"


def refuse_darknet_command(name: str, arguments: Sequence[str]) -> None:
    """Name what to type instead of a command of Darknet.

    Raises:
        SettingsError: If that is one.
    """
    if name not in INSTEAD:
        return
    advice = INSTEAD[name]
    if name in {"classifier", "classify"} and "train" not in arguments:
        advice = CLASSIFY
    if name in {"yolo", "coco"} and "test" in arguments:
        advice = "YOLOv1 ([detection]) is not built; for later networks type yolo-subbatch detect CFG WEIGHTS IMAGE"
    raise SettingsError(f"{name}: Darknet's command, not one here; {advice}")
