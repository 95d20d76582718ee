"""The settings of the commands other than ``train``."""

from __future__ import annotations

from dataclasses import dataclass

from yolo_subbatch.run.settings import CFGS, DATA, FLAVOURS, LETTERBOXES, setting

IMAGE_SIZE = {"min": 8, "max": 8192}


@dataclass(frozen=True)
class Source:
    """A trained network: a checkpoint, or a cfg with its weights."""

    model: str | None = setting(
        None, "Network", "Model", "Checkpoint (.pt) of a run.", kind="file", filter="Model (*.pt)"
    )
    cfg: str | None = setting(
        None, "Network", "Cfg", "Instead of model: Darknet cfg, a file or a bundled name.", kind="file", filter=CFGS
    )
    weights: str | None = setting(
        None, "Network", "Weights", "Darknet weights of that cfg.", kind="file", filter="Darknet weights (*.weights)"
    )
    flavour: str = setting(
        "auto", "Network", "Flavour", "Whose Darknet decides where the two differ.", choices=FLAVOURS, advanced=True
    )


@dataclass(frozen=True)
class Place:
    """Where a command works and keeps its results."""

    device: str | None = setting(None, "Run", "Device", "cpu or 0; the first GPU if not given.")
    project: str = setting("runs", "Run", "Project", "Folder that holds the results.", kind="folder")


@dataclass(frozen=True)
class ValSettings(Place, Source):
    """What ``val`` understands."""

    data: str | None = setting(
        None, "Data", "Data", "Darknet .data or Ultralytics .yaml; the built-in data set shapes if not given.",
        kind="file", filter=DATA,
    )  # fmt: skip
    split: str = setting("val", "Data", "Split", "Which of its images.", choices=("train", "val", "test"))
    imgsz: int | tuple[int, int] | None = setting(
        None, "Data", "Image size", "Input size in pixels, or height,width; the network's if not given.", **IMAGE_SIZE
    )
    letterbox: str = setting(
        "ultralytics", "Data", "Letterbox", "How images are fitted to the network.", choices=LETTERBOXES, advanced=True
    )
    conf: float = setting(0.001, "Result", "Confidence", "Least confidence of a box.", min=0, max=1)
    iou: float = setting(0.7, "Result", "IoU", "Overlap from which the weaker box is dropped.", min=0, max=1)
    json: str | None = setting(None, "Result", "JSON file", "Write the figures to this file.", kind="file")
    batch: int = setting(16, "Run", "Batch", "Images at a time.", min=1)
    name: str = setting("val", "Run", "Name", "Name of the result's folder; a taken one gets a number.")


@dataclass(frozen=True)
class PredictSettings(Place, Source):
    """What ``predict`` understands."""

    source: str | None = setting(None, "Data", "Source", "Image, folder, video or address.", kind="file")
    imgsz: int | tuple[int, int] | None = setting(
        None, "Data", "Image size", "Input size in pixels, or height,width; the network's if not given.", **IMAGE_SIZE
    )
    letterbox: str = setting(
        "ultralytics", "Data", "Letterbox", "How images are fitted to the network.", choices=LETTERBOXES, advanced=True
    )
    conf: float = setting(0.25, "Result", "Confidence", "Least confidence of a box.", min=0, max=1)
    iou: float = setting(0.7, "Result", "IoU", "Overlap from which the weaker box is dropped.", min=0, max=1)
    max_det: int = setting(300, "Result", "Most boxes", "Boxes an image at most.", min=1)
    save: bool = setting(True, "Result", "Save pictures", "Save the pictures with their boxes.")
    json: str | None = setting(None, "Result", "JSON file", "Write the boxes to this file.", kind="file")
    name: str = setting("predict", "Run", "Name", "Name of the result's folder; a taken one gets a number.")


@dataclass(frozen=True)
class ConvertSettings(Source):
    """What ``convert`` understands."""

    to: str | None = setting(
        None, "Result", "Target", "File to write: .weights, with its cfg beside it, or .pt.", kind="file"
    )


@dataclass(frozen=True)
class InfoSettings:
    """What ``info`` understands."""

    cfg: str | None = setting(
        None, "Network", "Cfg", "Darknet cfg, a file or a bundled name.", kind="file", filter=CFGS
    )
    imgsz: int | tuple[int, int] | None = setting(
        None, "Network", "Image size", "Input size in pixels, or height,width; the cfg's if not given.", **IMAGE_SIZE
    )
    batch: int | None = setting(None, "Batch", "Batch", "Images per weight update; the cfg's if not given.", min=1)
    subdivisions: int | None = setting(
        None, "Batch", "Subdivisions", "Parts of a batch; the cfg's if not given.", min=1
    )


@dataclass(frozen=True)
class DemoSettings(Place):
    """What ``demo`` understands."""

    epochs: int | None = setting(None, "Length", "Epochs", "Passes over the data.", min=1)
    name: str = setting("demo", "Run", "Name", "Name of the run's folder; a taken one gets a number.")


@dataclass(frozen=True)
class GuiSettings:
    """What ``gui`` understands."""

    run: str | None = setting(None, "Window", "Run", "Folder of a run to show, running or finished.", kind="folder")
    screenshot: str | None = setting(
        None, "Window", "Screenshot", "Paint the window into this PNG file and end; needs no screen.", kind="file"
    )
    theme: str | None = setting(
        None,
        "Window",
        "Theme",
        "Its colours; as chosen last, or as the desktop's.",
        choices=("light", "dark", "system"),
    )
    language: str | None = setting(
        None, "Window", "Language", "Its language; as chosen last, or as the system's.",
        choices=("en", "zh_CN", "system"),
    )  # fmt: skip
