"""Checks of what the other commands are asked to do; ``train`` has its own in ``validate``.

Each returns the settings with every file found, so that the engine deals with paths only.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_subbatch.darknet.datafile import read_image_list
from yolo_subbatch.darknet.geometry import layer_table
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.darknet.textfile import in_utf8
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.checks import Problem, attempt, check_place, check_ranges, error
from yolo_subbatch.settings.commands import (
    AnchorsSettings,
    ConvertSettings,
    DemoSettings,
    InfoSettings,
    MapSettings,
    PartialSettings,
    PredictSettings,
    ValSettings,
)
from yolo_subbatch.settings.data_checks import LISTS, VIDEOS, check_data, data_names, is_camera, pictures_in, read_yaml
from yolo_subbatch.settings.find import YAML, find_cfg, find_data, is_built_in
from yolo_subbatch.settings.host_data_checks import check_host_data
from yolo_subbatch.settings.label_lists import MissingLabels
from yolo_subbatch.settings.network_checks import (
    check_channels_of,
    check_letterbox,
    check_names,
    check_network,
    is_darknet,
    report,
    with_files,
)
from yolo_subbatch.settings.output_checks import Output, check_outputs
from yolo_subbatch.settings.result_names import outputs_of_anchors, outputs_of_demo, outputs_of_test


def check_val(settings: ValSettings, labels: bool = True, problems: Iterable[Problem] = ()) -> ValSettings:
    """Return the settings of ``val`` with every file found; ``data`` is None for the built-in data set.

    Args:
        settings: As the user gave them.
        labels: The images need label files.
        problems: What is known already.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*problems, *check_network(settings), *check_place(settings), *check_outputs(settings)]
    problems += _check_splits(settings)
    if not is_darknet(settings):
        problems += [*check_letterbox(settings)]
        task = host_files.task_of(settings.model or "")
        problems += check_host_data(settings.data, task, (settings.split,), labels, missing=_missing(settings))
        report(problems)
        return replace(with_files(settings), data=None if is_built_in(settings.data) else settings.data)
    problems += check_data(settings.data, (settings.split,), labels, _missing(settings))
    problems += check_channels_of(settings)
    report(problems)
    found = find_data(settings.data)
    if found is None and settings.split == "test":
        raise DataError("split=test: the built-in data set has train and val; give one of these")
    return replace(with_files(settings), data=None if found is None else str(found))


def check_predict(settings: PredictSettings) -> PredictSettings:
    """Return the settings of ``predict`` with every file found.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_network(settings), *check_place(settings), *check_outputs(settings)]
    problems += check_names(settings.data)
    problems += check_letterbox(settings)
    attempt("source", problems, lambda: _check_media(settings.source))
    report(problems)
    return with_files(settings)


def check_map(settings: MapSettings) -> MapSettings:
    """Return the settings of ``map`` with every file found; ``data`` is None for the built-in data set.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_network(settings), *check_place(settings), *check_outputs(settings)]
    if settings.points == 1:
        problems.append(error("points", "points=1: one recall is no curve; use 0, 11 or 101"))
    if is_darknet(settings):
        problems += _check_splits(settings) if settings.coco else []
        problems += check_data(settings.data, (settings.split,), missing=_missing(settings))
        problems += check_channels_of(settings)
    else:
        problems.append(error("model", f"model={settings.model}: not a Darknet network, which this needs; use val"))
    report(problems)
    found = find_data(settings.data)
    return replace(with_files(settings), data=None if found is None else str(found))


def check_anchors(settings: AnchorsSettings, counters: bool = False) -> AnchorsSettings:
    """Return the settings of ``anchors`` with the data found.

    Args:
        settings: As the user gave them.
        counters: The numbers of boxes are written too, as Darknet's ``calc_anchors`` does.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_ranges(settings), *outputs_of_anchors(settings, counters)]
    if settings.picture and not in_utf8(settings.picture):
        text = f"picture={settings.picture}: not in UTF-8, and pictures cannot be written there; give another name"
        problems.append(error("picture", text))
    if settings.picture and Path(settings.picture).suffix.lower() not in {".png", ".jpg"}:
        text = f"picture={settings.picture}: only PNG and JPEG are written; give a name that ends in .png"
        problems.append(error("picture", text))
    path = attempt("data", [], lambda: find_data(settings.data))
    missing = None if path is None else missing_of_anchors(settings, path)
    problems += check_data(settings.data, (settings.split,), missing=missing)
    report(problems)
    found = find_data(settings.data)
    return replace(settings, data=None if found is None else str(found))


def missing_of_anchors(settings: AnchorsSettings, data: Path) -> MissingLabels:
    """Return what an image without a label file is: AlexeyAB's Darknet alone computes anchors, and passes it over."""
    return MissingLabels(settings.missing_labels or ("background" if data.suffix in YAML else None), "alexeyab")


def _missing(settings: ValSettings | MapSettings) -> MissingLabels | None:
    """Return what an image without a label file is where the user or the cfg tells; None for a YAML.

    The flavour of a checkpoint is not known before torch is loaded: the engine refuses what is to be refused then.
    """
    if settings.missing_labels is None and Path(settings.data or "").suffix in YAML:
        return None
    cfg = attempt("cfg", [], lambda: read_cfg(find_cfg(settings.cfg))) if settings.cfg else None
    asked = settings.flavour if settings.flavour != "auto" else None
    return MissingLabels(settings.missing_labels, cfg.flavour(settings.flavour) if cfg is not None else asked)


def _check_splits(settings: ValSettings | MapSettings) -> Iterator[Problem]:
    """Look for what Ultralytics wants in every description, whatever split it measures."""
    path = attempt("data", [], lambda: find_data(settings.data))
    if path is None or path.suffix not in YAML:
        return
    document = attempt("data", [], lambda: read_yaml(path))
    if document is None:  # said elsewhere
        return
    there = {settings.split, *document, *(["val"] if "validation" in document else [])}
    for key in sorted({"train", "val"} - there):
        text = f"{path}: no '{key}:', which Ultralytics wants whatever is measured; add {key}: with images"
        yield error("data", text)


def check_partial(settings: PartialSettings) -> PartialSettings:
    """Return the settings of ``partial`` with the cfg found.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_ranges(settings), *check_outputs(settings)]
    table = attempt("cfg", problems, lambda: layer_table(read_cfg(find_cfg(settings.cfg))))
    if settings.weights is None:
        problems.append(error("weights", "weights: not given; give the weights to cut, weights=yolov4.weights"))
    elif not Path(settings.weights).is_file():
        problems.append(error("weights", f"weights={settings.weights}: no such file; check the path of the weights"))
    if settings.to is None:
        problems.append(error("to", "to: not given; give the file to write, for example to=yolov4.conv.137"))
    if settings.layers is None:
        problems.append(error("layers", "layers: not given; give the number of layers to keep, for example layers=137"))
    elif table is not None and settings.layers > len(table):
        text = f"layers={settings.layers}: {settings.cfg} has {len(table)}; give at most that"
        problems.append(error("layers", text))
    report(problems)
    return replace(settings, cfg=str(find_cfg(settings.cfg)))


def check_test(settings: PredictSettings, data: str, labels: bool = False) -> PredictSettings:
    """Return the settings of Darknet's ``detector test``; of the data its class names are all that is needed.

    Args:
        settings: As the user gave them.
        data: The ``.data`` file, or nothing.
        labels: Label files are written.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_network(settings), *check_place(settings), *outputs_of_test(settings, labels)]
    if data:
        attempt("data", problems, lambda: data_names(Path(data)))
    fault = _no_image(settings.source)
    if fault is not None:
        problems.append(error("source", f"{settings.source}: {fault}"))
    elif is_list(settings.source):
        attempt("source", problems, lambda: read_image_list(settings.source or ""))
    report(problems)
    return with_files(settings)


def _no_image(source: str | None) -> str | None:
    """Return why a source is neither an image nor a list, and what to do; None where it may be one."""
    if source is None:
        return None
    if Path(source).is_dir():
        return f"this is a folder; use yolo-subbatch predict source={source}, or give a list of its images"
    if not Path(source).is_file():
        return "no such image; give a file, or leave it out to type or pipe names"
    if Path(source).suffix.lower() in VIDEOS - {".gif"}:
        return "this is a video; use yolo-subbatch detector demo with the same arguments"
    return None


def is_list(source: str | None) -> bool:
    """Tell whether a source of images is a list of them."""
    return source is not None and Path(source).suffix.lower() in LISTS


def check_video(settings: PredictSettings, data: str, given: Mapping[str, Any]) -> PredictSettings:
    """Return the settings of Darknet's ``detector demo``; addresses and cameras are the engine's to open.

    Args:
        settings: As the user gave them.
        data: The ``.data`` file, or nothing.
        given: Darknet's flags, some of which name what is written.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_network(settings), *check_place(settings), *outputs_of_demo(settings, given)]
    if data:
        attempt("data", problems, lambda: data_names(Path(data)))
    source = settings.source or ""
    if "://" not in source and not is_camera(source) and not Path(source).is_file():
        problems.append(error("source", f"{source}: no such video; give a file, or -c 0 for a camera"))
    report(problems)
    return with_files(settings)


def check_convert(settings: ConvertSettings) -> ConvertSettings:
    """Return the settings of ``convert`` with every file found.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    problems = [*check_network(settings), *_check_target(settings), *check_outputs(settings, _beside(settings))]
    if not is_darknet(settings):
        text = f"model={settings.model}: a network of Ultralytics, which Darknet's weights cannot hold; use it as it is"
        problems.append(error("model", text))
    report([*problems, *check_names(settings.data)])
    return with_files(settings)


def check_info(settings: InfoSettings) -> InfoSettings:
    """Return the settings of ``info`` with the cfg found and what it says filled in.

    Raises:
        YoloSubbatchError: With everything that is wrong.
    """
    report(list(check_ranges(settings)))
    path = find_cfg(settings.cfg)
    report(check_names(settings.data))
    net = read_cfg(path).net
    batch = settings.batch or net.batch
    parts = settings.subdivisions or (1 if settings.batch else net.subdivisions)
    if batch % parts:
        text = f"subdivisions={parts}: does not divide batch={batch}; use one of its divisors"
        report([error("subdivisions", text)])
    size = settings.imgsz or (net.height, net.width)
    return replace(settings, cfg=str(path), imgsz=size, batch=batch, subdivisions=parts)


def check_demo(settings: DemoSettings) -> DemoSettings:
    """Return the settings of ``demo``.

    Raises:
        SettingsError: With everything that is wrong.
    """
    report([*check_ranges(settings), *check_place(settings)])
    return settings


def _check_media(source: str | None) -> None:
    """Check that there is something to look at; addresses and cameras (numbers) are the engine's to open."""
    if not source:
        raise DataError("source: not given; give an image, a folder or a video, for example source=images/")
    if "://" in source or is_camera(source):
        return
    path = Path(source)
    if path.is_dir():
        if not pictures_in(path, also=VIDEOS):
            raise DataError(f"source={source}: no image or video in this folder; check the path of the images")
    elif not path.exists() and not glob.glob(source, recursive=True):
        raise DataError(f"source={source}: no such file or folder; check the path of the images")


def _check_target(settings: ConvertSettings) -> Iterator[Problem]:
    if not settings.to:
        yield error("to", "to: not given; give the file to write, for example to=best.weights")
        return
    target = Path(settings.to)
    if target.suffix not in {".weights", ".pt"}:
        yield error("to", f"to={target}: unknown format; give a name that ends in .weights or .pt")
    elif settings.model and target.suffix == ".pt":
        yield error("to", f"to={target}: {settings.model} is a checkpoint already; give a name that ends in .weights")


def _beside(settings: ConvertSettings) -> list[Output]:
    """Return the cfg that is written beside weights."""
    target = Path(settings.to or "")
    if target.suffix != ".weights":
        return []
    return [Output("to", target.with_suffix(".cfg"), "weights", f"to={target}")]
