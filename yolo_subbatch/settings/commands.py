"""The settings of the commands other than ``train``."""

from __future__ import annotations

from dataclasses import dataclass

from yolo_subbatch.settings.train_settings import (
    CFGS,
    DATA,
    FLAVOURS,
    LETTERBOXES,
    MISSING_LABELS,
    overwrite_setting,
    pixels_setting,
    setting,
    trust_setting,
)

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
    trust: bool = trust_setting("Network")


@dataclass(frozen=True)
class Place:
    """Where a command works and keeps its results."""

    device: str | None = setting(None, "Run", "Device", "cpu or 0; the first GPU if not given.", compact=True)
    project: str = setting("runs", "Run", "Project", "Folder that holds the results.", kind="folder")


@dataclass(frozen=True)
class Pictures:
    """Which pictures are read at all."""

    max_pixels: int = pixels_setting(2**28)


@dataclass(frozen=True)
class ValSettings(Place, Source, Pictures):
    """What ``val`` understands."""

    data: str | None = setting(
        None, "Data", "Data", "Darknet .data or Ultralytics .yaml; the built-in data set shapes if not given.",
        kind="file", filter=DATA,
    )  # fmt: skip
    split: str = setting("val", "Data", "Split", "Which of its images.", choices=("train", "val", "test"))
    missing_labels: str | None = setting(
        None, "Data", "Missing labels", "An image without label file: error (pjreddie's Darknet), skip or background.",
        choices=MISSING_LABELS, advanced=True,
    )  # fmt: skip
    imgsz: int | tuple[int, int] | None = setting(
        None, "Data", "Image size", "Input size in pixels, or height,width; the network's if not given.", **IMAGE_SIZE
    )
    letterbox: str = setting(
        "ultralytics", "Data", "Letterbox", "How images are fitted to the network.", choices=LETTERBOXES, advanced=True
    )
    conf: float = setting(0.001, "Result", "Confidence", "Least confidence of a box.", min=0, max=1)
    iou: float = setting(0.7, "Result", "IoU", "Overlap from which the weaker box is dropped.", min=0, max=1)
    classes: tuple[int, ...] | None = setting(
        None, "Result", "Classes", "Measure these classes only: their numbers, as in 0,2.", min=0, advanced=True
    )
    json: str | None = setting(
        None, "Result", "JSON file", "Write the figures to this file.", kind="file", output="json"
    )
    overwrite: bool = overwrite_setting()
    batch: int = setting(16, "Run", "Batch", "Images at a time.", min=1)
    name: str = setting("val", "Run", "Name", "Name of the result's folder; a taken one gets a number.")


@dataclass(frozen=True)
class PredictSettings(Place, Source, Pictures):
    """What ``predict`` understands."""

    source: str | None = setting(None, "Data", "Source", "Image, folder, video or address.", kind="file")
    data: str | None = setting(
        None, "Data", "Data", "With cfg: .data or .yaml with the class names; COCO's for 80 if not given.",
        kind="file", filter=DATA,
    )  # fmt: skip
    imgsz: int | tuple[int, int] | None = setting(
        None, "Data", "Image size", "Input size in pixels, or height,width; the network's if not given.", **IMAGE_SIZE
    )
    letterbox: str = setting(
        "ultralytics", "Data", "Letterbox", "How images are fitted to the network.", choices=LETTERBOXES, advanced=True
    )
    conf: float = setting(0.25, "Result", "Confidence", "Least confidence of a box.", min=0, max=1)
    iou: float = setting(0.7, "Result", "IoU", "Overlap from which the weaker box is dropped.", min=0, max=1)
    max_det: int = setting(300, "Result", "Most boxes", "Boxes an image at most.", min=1)
    classes: tuple[int, ...] | None = setting(
        None, "Result", "Classes", "Find these classes only: their numbers, as in 0,2.", min=0, advanced=True
    )
    save: bool = setting(True, "Result", "Save pictures", "Save the pictures with their boxes.")
    json: str | None = setting(None, "Result", "JSON file", "Write the boxes to this file.", kind="file", output="json")
    overwrite: bool = overwrite_setting()
    name: str = setting("predict", "Run", "Name", "Name of the result's folder; a taken one gets a number.")


@dataclass(frozen=True)
class MapSettings(Place, Source, Pictures):
    """What ``map`` understands."""

    data: str | None = setting(
        None, "Data", "Data", "Darknet .data or Ultralytics .yaml; the built-in data set shapes if not given.",
        kind="file", filter=DATA,
    )  # fmt: skip
    split: str = setting("val", "Data", "Split", "Which of its images.", choices=("train", "val", "test"))
    missing_labels: str | None = setting(
        None, "Data", "Missing labels", "An image without label file: error (pjreddie's Darknet), skip or background.",
        choices=MISSING_LABELS, advanced=True,
    )  # fmt: skip
    letterbox: str = setting(
        "stretch", "Data", "Letterbox", "How images are fitted to the network.", choices=("stretch", "darknet")
    )
    thresh: float = setting(
        0.25, "Result", "Threshold", "Confidence from which precision, recall, F1 and IoU are counted.", min=0, max=1
    )
    iou_thresh: float = setting(
        0.5, "Result", "IoU threshold", "Overlap above which a box is a hit in Darknet's mAP.", min=0, below=1
    )
    points: int = setting(
        0, "Result", "Points", "Recalls at which precision is averaged: 101, 11, or 0 for the whole area.", min=0
    )
    coco: bool = setting(True, "Result", "COCO", "Measure in COCO's method too, with Ultralytics.")
    json: str | None = setting(
        None, "Result", "JSON file", "Write the figures to this file.", kind="file", output="json"
    )
    overwrite: bool = overwrite_setting()
    batch: int = setting(16, "Run", "Batch", "Images at a time.", min=1)
    name: str = setting("map", "Run", "Name", "Name of the folder of COCO's figures; a taken one gets a number.")


@dataclass(frozen=True)
class AnchorsSettings:
    """What ``anchors`` understands."""

    data: str | None = setting(
        None, "Data", "Data", "Darknet .data or Ultralytics .yaml, whose boxes are clustered.", kind="file", filter=DATA
    )
    split: str = setting("train", "Data", "Split", "Which of its images.", choices=("train", "val", "test"))
    missing_labels: str | None = setting(
        None, "Data", "Missing labels", "An image without label file: error (pjreddie's Darknet), skip or background.",
        choices=MISSING_LABELS, advanced=True,
    )  # fmt: skip
    imgsz: int | tuple[int, int] = setting(
        416, "Anchors", "Image size", "The network's input size in pixels, or height,width.", min=1, max=8192
    )
    num: int = setting(9, "Anchors", "Number", "How many anchors.", min=1, max=1000)
    seed: int = setting(0, "Anchors", "Seed", "Start of the clustering's random numbers.", min=0, max=2**31 - 1)
    to: str | None = setting(
        None, "Result", "Target", "Write the anchors to this file too.", kind="file", output="anchors"
    )
    picture: str | None = setting(
        None, "Result", "Picture", "Draw boxes and anchors into this file.", kind="file", filter="Picture (*.png)",
        output="picture",
    )  # fmt: skip
    overwrite: bool = overwrite_setting()


@dataclass(frozen=True)
class PartialSettings:
    """What ``partial`` understands."""

    cfg: str | None = setting(
        None, "Network", "Cfg", "Darknet cfg, a file or a bundled name.", kind="file", filter=CFGS
    )
    weights: str | None = setting(
        None, "Network", "Weights", "Darknet weights of that cfg.", kind="file", filter="Darknet weights (*.weights)"
    )
    to: str | None = setting(
        None, "Result", "Target", "File to write, such as yolov4.conv.137.", kind="file", output="weights"
    )
    layers: int | None = setting(
        None, "Result", "Layers", "Keep the weights of the layers before this number.", min=1, max=100_000
    )
    overwrite: bool = overwrite_setting()


@dataclass(frozen=True)
class ConvertSettings(Source):
    """What ``convert`` understands."""

    to: str | None = setting(
        None, "Result", "Target", "File to write: .weights, with its cfg beside it, or .pt.", kind="file",
        output="weights",
    )  # fmt: skip
    overwrite: bool = overwrite_setting()
    data: str | None = setting(
        None, "Network", "Data", "With cfg: .data or .yaml with the class names; COCO's for 80 if not given.",
        kind="file", filter=DATA,
    )  # fmt: skip


@dataclass(frozen=True)
class ExportSettings(Source):
    """What ``export`` understands; names and defaults are Ultralytics' where it has them."""

    format: str = setting("onnx", "Result", "Format", "Kind of file.", choices=("onnx",))
    to: str | None = setting(
        None, "Result", "Target", "File to write; X.onnx beside X.pt or X.weights if not given.", kind="file",
        filter="ONNX (*.onnx)", output="onnx",
    )  # fmt: skip
    overwrite: bool = overwrite_setting()
    imgsz: int | tuple[int, int] | None = setting(
        None, "Input", "Image size", "Input size in pixels, or height,width; the network's if not given.", **IMAGE_SIZE
    )
    batch: int = setting(1, "Input", "Batch", "Images at a time; any number with dynamic.", min=1, max=4096)
    dynamic: bool = setting(False, "Input", "Dynamic", "Take any number of images, of any size the stride divides.")
    preprocess: bool = setting(
        False, "Input", "Preprocess", "Take images as OpenCV has them: bytes, (batch, height, width, BGR)."
    )
    half: bool = setting(False, "Precision", "Half", "Compute the convolutions in half precision, the boxes in full.")
    int8: bool = setting(
        False, "Precision", "Int8", "Compute the convolutions in 8 bits, calibrated on data; refused if mAP falls."
    )
    quantize: int | None = setting(
        None, "Precision", "Quantize", "Ultralytics' name: 8 is int8, 16 half, 32 full precision.", choices=(8, 16, 32),
        advanced=True,
    )  # fmt: skip
    data: str | None = setting(
        None, "Precision", "Data", "With int8: the data set, train to calibrate and val to measure mAP.",
        kind="file", filter=DATA,
    )  # fmt: skip
    calibration: int = setting(
        128, "Precision", "Calibration", "With int8: training images to calibrate on.", min=1, advanced=True
    )
    nms: bool = setting(False, "Output", "NMS", "Suppress overlapping boxes inside the file.")
    conf: float = setting(0.25, "Output", "Confidence", "With nms: least confidence of a box.", min=0, max=1)
    iou: float = setting(0.7, "Output", "IoU", "With nms: overlap from which the weaker box is dropped.", min=0, max=1)
    max_det: int = setting(300, "Output", "Most boxes", "With nms: boxes an image at most.", min=1, max=100_000)
    agnostic_nms: bool = setting(
        False, "Output", "Agnostic NMS", "With nms: boxes of different classes suppress each other too.", advanced=True
    )
    raw: bool = setting(
        False, "Output", "Raw", "Give the maps before the [yolo] layers, for plug-ins that decode them.", advanced=True
    )
    opset: int = setting(
        18,
        "Result",
        "Opset",
        "ONNX operator set; later ones may leave layers on the CPU.",
        min=13,
        max=20,
        advanced=True,
    )
    simplify: bool = setting(False, "Result", "Simplify", "Simplify the graph with onnxslim.", advanced=True)
    parity: bool = setting(
        True, "Result", "Parity", "Compare the file with the network, and keep it only if they agree.", advanced=True
    )
    with_script: bool = setting(
        False, "Result", "Script", "Put the inference script, which needs neither torch nor this package, beside it.",
        advanced=True,
    )  # fmt: skip
    device: str = setting("cpu", "Result", "Device", "Where the export is computed.", choices=("cpu",), advanced=True)


@dataclass(frozen=True)
class TritonSettings:
    """What ``triton`` understands."""

    model: str | None = setting(
        None, "Model", "Model", "ONNX file written by export.", kind="file", filter="ONNX (*.onnx)"
    )
    out: str | None = setting(None, "Model", "Repository", "Folder of the model repository.", kind="folder")
    name: str | None = setting(None, "Model", "Name", "Name of the model there; the file's if not given.")
    batch: int | None = setting(
        None, "Serving", "Batch", "Images the server joins at most; the file's batch, or 8, if not given.", min=1,
        max=4096,
    )  # fmt: skip
    delay: int = setting(
        2000, "Serving", "Delay", "Microseconds a request may wait for others to join it.", min=0, max=10_000_000
    )
    gpus: tuple[int, ...] | None = setting(
        None, "Serving", "GPUs", "Numbers of the GPUs, as in 0,1; the server's choice if not given.", min=0
    )
    instances: int = setting(1, "Serving", "Instances", "Copies of the model on each GPU.", min=1, max=64)
    provider: str = setting("cuda", "Serving", "Provider", "What computes there.", choices=("cuda", "tensorrt", "cpu"))


@dataclass(frozen=True)
class InfoSettings:
    """What ``info`` understands."""

    cfg: str | None = setting(
        None, "Network", "Cfg", "Darknet cfg, a file or a bundled name.", kind="file", filter=CFGS
    )
    data: str | None = setting(
        None, "Network", "Data", "Darknet .data or Ultralytics .yaml, to compare its classes with the heads'.",
        kind="file", filter=DATA,
    )  # fmt: skip
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
        None, "Window", "Screenshot", "Paint the window into this PNG file and end; needs no screen.", kind="file",
        output="picture",
    )  # fmt: skip
    overwrite: bool = overwrite_setting()
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
