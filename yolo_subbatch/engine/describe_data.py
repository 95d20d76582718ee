"""A data set as Ultralytics reads it: a YAML and its image lists, written into the folder of what uses them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from ultralytics.utils import RANK

from yolo_subbatch.darknet.datafile import check_labels, read_data_names
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.picture_files import FROM_DATA
from yolo_subbatch.errors import DataError, LabelsError, SettingsError, YoloSubbatchError
from yolo_subbatch.settings.data_checks import class_count, images_base, read_yaml, split_images
from yolo_subbatch.settings.find import YAML, find_data
from yolo_subbatch.settings.label_lists import Labelled, MissingLabels, labelled, with_list, write_list, write_names
from yolo_subbatch.settings.training_data_checks import has_val

MEASURED = "measured"  # our key in the YAML: False where there is nothing to measure on
KINDS = YAML | {".data"}
LEFT_OUT = frozenset({"path", "train", "val", "validation", "test", "minival", "download"})  # of a YAML that is copied


def ultralytics_yaml(
    data: str | Path, folder: Path, only: str | None = None, missing: MissingLabels | None = None,
    measured: bool | None = True, kept: bool = True,
) -> Path:  # fmt: skip
    """Write a data description as the YAML that Ultralytics reads.

    The image lists are written beside it with every path resolved as Darknet resolves them, without the images that
    are left out. How many have no label file is said, and their names go to a list in the folder above.

    Args:
        data: A Darknet ``.data`` file, or an Ultralytics YAML whose images are there.
        folder: Where the YAML and the lists go.
        only: ``train``, ``val`` or ``test`` if nothing else is needed, or need be there: it is measured on.
        missing: What an image without a label file is; an error if not given.
        measured: The run needs validation images; None: it measures where there are any, False: it need not.
        kept: The folder stays; if not, names of images without a label file go to a list in the working directory.

    Returns:
        The path of the YAML.

    Raises:
        DataError: If a list, a label or the names are missing, or a class id is out of range.
    """
    source = Path(data)
    writer = _Lists(source, folder, missing or MissingLabels(), kept)
    folder.mkdir(parents=True, exist_ok=True)
    document = _names(source)
    wrong: list[LabelsError] = []
    for split in [only] if only else ["train", "val"]:
        needed = split != "val" or only or measured or (measured is None and has_val(source))
        try:
            document[split] = writer.write(split, measuring=only is not None or split != "train")
        except LabelsError as faults:
            if not needed:
                _say_unmeasured(str(faults))
            else:
                wrong.append(faults)
        except YoloSubbatchError as fault:
            if needed:
                raise
            _say_unmeasured(str(fault))
    if wrong:
        raise with_list(wrong)
    if only:  # Ultralytics wants these two keys, used or not
        document = {"train": document[only], "val": document[only], **document}
    elif "val" not in document:
        document |= {"val": document["train"], MEASURED: False}
    else:
        with suppress(DataError):  # nobody asks for it now
            document["test"] = writer.write("test", measuring=True)
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def missing_for(asked: str | None, data: Any, flavour: str | None) -> MissingLabels:
    """Return what an image without a label file is where a network is measured.

    Args:
        asked: ``missing_labels=``, if it was given.
        data: The data description.
        flavour: Of a Darknet network; None for one of Ultralytics, or an exported one.
    """
    if asked is None and Path(str(data)).suffix in YAML:
        return MissingLabels("background")
    return MissingLabels(asked, flavour or "pjreddie")


def labelled_to_measure(
    images: Sequence[Path], data: str, asked: str | None, flavour: str, say: Callable[[str], object] = print
) -> Labelled:
    """Find the labels of images that are measured on; those without one are said and listed, see :func:`missing_for`.

    Raises:
        DataError: If label files are missing that must be there.
    """
    missing = missing_for(asked, data, flavour)
    found = labelled(images, missing, measuring=True)
    if found.absent:
        say(f"{found.line(data, missing, measuring=True)}; {write_list(list(map(str, found.absent)))}")
    return found


def measured_data(data: Any, folder: Path, split: str, asked: str | None, flavour: str | None) -> str:
    """Return the description that Ultralytics reads for a measurement; see :func:`missing_for`.

    Args:
        data: A Darknet ``.data`` file, or a YAML, which is left as it is where Ultralytics does what is asked.
        folder: Where another description goes.
        split: What is measured on.
        asked: ``missing_labels=``, if it was given.
        flavour: Of a Darknet network.

    Raises:
        DataError: As :func:`ultralytics_yaml`.
    """
    if Path(str(data)).suffix != ".data" and asked in {None, "background"}:
        _check_base(Path(str(data)))
        return str(data)
    return str(ultralytics_yaml(data, folder, split, missing_for(asked, data, flavour)))


@contextmanager
def host_data(data: Any, only: str, missing: MissingLabels) -> Iterator[Any]:
    """Give a data description that Ultralytics reads: of a Darknet ``.data`` file a YAML, for as long as it is used.

    Args:
        data: A file, or None.
        only: The split that is needed.
        missing: What an image without a label file is.
    """
    if Path(str(data)).suffix != ".data":
        yield data
        return
    with tempfile.TemporaryDirectory() as folder:
        yield str(ultralytics_yaml(data, Path(folder), only, missing, kept=False))


def _check_base(source: Path) -> None:
    """Raise a DataError for the folder of a YAML that is not there, in our words: Ultralytics has kept settings now."""
    if source.suffix in YAML and source.is_file():
        document = read_yaml(source)
        class_count(source, document)
        images_base(source, document)


def _say_unmeasured(fault: str) -> None:
    if RANK in {-1, 0}:
        LOGGER.info(f"{fault.splitlines()[0].partition('; ')[0]}: nothing will be measured in this run")


def _names(source: Path) -> dict[str, Any]:
    """Return the classes, and of a YAML what else is not about images."""
    if source.suffix not in YAML:
        return {"names": dict(enumerate(read_data_names(source))), FROM_DATA: str(source)}
    return {key: value for key, value in read_yaml(source).items() if key not in LEFT_OUT}


class _Lists:
    """Writes the image lists of one data description."""

    def __init__(self, source: Path, folder: Path, missing: MissingLabels, kept: bool) -> None:
        self.source, self.folder, self.missing, self.kept = source, folder, missing, kept

    def write(self, split: str, measuring: bool) -> str:
        """Write the list of a split and return its name."""
        images = split_images(self.source, split)
        if not images:
            where = f"{self.source}: its images are where only Ultralytics looks"
            raise SettingsError(f"{where}; leave missing_labels= out")
        found = labelled(images, self.missing, measuring)
        if self.source.suffix not in YAML:  # Ultralytics checks its own, of whatever task
            check_labels(found.labels, len(read_data_names(self.source)), str(self.source))
        if found.absent and RANK in {-1, 0}:
            absent = found.absent
            listed = write_names(self.folder.parent, absent) if self.kept else write_list(list(map(str, absent)))
            LOGGER.info(f"{found.line(f'{self.source}: {split}', self.missing, measuring)}; {listed}")
        target = self.folder / f"{split}.txt"
        target.write_bytes(b"".join(os.fsencode(image.absolute()) + b"\n" for image in found.images))
        return target.name


def described(args: Any, folder: Path, flavour: str = "pjreddie") -> str:
    """Return the description that a training reads: one written into its folder, or the user's own YAML.

    Args:
        args: The arguments of a trainer.
        folder: Of the run.
        flavour: Of the network: what an image without a label file is unless ``missing_labels`` says so.

    Raises:
        DataError: If there is no such ``.data`` file, or it cannot be used.
    """
    source = Path(str(args.data))
    if source.suffix == ".data" and not source.is_file():
        find_data(source)  # Ultralytics would call it a data set that cannot be downloaded
    _check_base(source)
    if source.suffix not in KINDS or not source.is_file():
        return str(source.absolute() if source.exists() else args.data)
    asked, measured = args.missing_labels, None if args.val else False
    if args.val and "val" in getattr(args, "given", ()):
        measured = True
    if source.suffix in YAML:
        asked = asked or "background"
        if source.parent == folder / "data" or (asked == "background" and _has_all(source, measured)):
            return str(source.absolute())  # a run may go on from another working directory
    missing = MissingLabels(asked, flavour)
    return str(ultralytics_yaml(source, folder / "data", missing=missing, measured=measured))


def _has_all(source: Path, measured: bool | None) -> bool:
    """Tell whether an Ultralytics YAML can be read as it is: not where validation is off and its images are missing."""
    if measured or not has_val(source):
        return bool(measured)
    if measured is None:
        return True
    try:
        split_images(source, "val")
    except YoloSubbatchError:
        return False
    return True
