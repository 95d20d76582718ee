"""Which files Ultralytics' data sets take for images: with Darknet's lists all that OpenCV reads, whatever their names.

Ultralytics itself goes by a list of endings and formats, and leaves out what is not on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from ultralytics.data import build
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_file_speeds, verify_image_label
from ultralytics.models.rtdetr import train as rtdetr_train
from ultralytics.models.rtdetr import val as rtdetr_val
from ultralytics.models.rtdetr.val import RTDETRDataset

from yolo_subbatch.darknet.datafile import label_path, read_image_list
from yolo_subbatch.darknet.pictures import refuse_pictures
from yolo_subbatch.engine import host
from yolo_subbatch.engine.picture_reading import fault_of, imread, max_pixels
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings.data_checks import pictures_in

FROM_DATA = "darknet"  # key of a data description that was made from a .data file, which it names
LEAST_SIDE = 10  # pixels; Ultralytics leaves out smaller images
DOUBTFUL = frozenset({".tif", ".tiff"})  # endings of images that Pillow may read and OpenCV may not
CORRUPT = -2  # place in what Ultralytics tells of a label: whether the image was left out
MARK = "+any picture, read with care"  # behind the hash of a label cache
_BUILDING = threading.RLock()


class AnyPicture(YOLODataset):
    """Ultralytics' data set with every image that can be read; it names those that cannot."""

    def takes_all(self) -> bool:
        """Tell whether the images are chosen by their content."""
        return True

    def get_img_files(self, img_path: str | list[str]) -> list[str]:
        """Return the images of lists and folders, sorted.

        Raises:
            DataError: If a list names a file that is not there, or there is no image at all.
        """
        if not self.takes_all():
            found: list[str] = super().get_img_files(img_path)
            return found
        images = sorted(str(image) for place in _several(img_path) for image in _images_at(Path(place)))
        fraction = self.fraction
        # Newer releases know counts of images, and make 1, which is all of them, a float; older ones leave it as it is.
        count = fraction if isinstance(fraction, int) and fraction > 1 else max(1, round(len(images) * fraction))
        images = images[:count]
        check_file_speeds(images, prefix=self.prefix)
        return images

    def get_label_files(self) -> list[str]:
        """Return the label file of each image: Ultralytics' place, pjreddie's, or beside the image."""
        if not self.takes_all():
            found: list[str] = super().get_label_files()
            return found
        self.label_files = [str(label_path(Path(image))) for image in self.im_files]
        return self.label_files

    def verify_args(self) -> tuple[Callable[..., Any], Any]:
        """Return what reads a label, and its arguments."""
        function, arguments = super().verify_args()
        if function is not verify_image_label:
            return function, arguments
        return (_verified if self.takes_all() else _verified_strictly), arguments

    def get_cache_hash(self) -> str:
        """Return what tells a label cache of other files, or one that leaves out other images."""
        return f"{super().get_cache_hash()}{MARK}{' of a list' if self.takes_all() else ''}, {max_pixels()}"

    def get_labels(self) -> list[dict[str, Any]]:
        """Read the labels.

        Raises:
            DataError: If images of a ``.data`` file, or all of them, cannot be read.
        """
        if not self.takes_all():
            ordinary: list[dict[str, Any]] = super().get_labels()
            return ordinary
        listed = list(self.im_files)
        try:
            with host.labels_from(self.get_label_files):
                labels: list[dict[str, Any]] = super().get_labels()
        except RuntimeError as error:
            if "No valid images" not in str(error):
                raise
            raise DataError(
                f"{self.img_path}: none of its images can be read; correct the list or the images"
            ) from error
        if self.data.get(FROM_DATA):
            kept = set(self.im_files)
            _refuse([image for image in listed if image not in kept], str(self.data[FROM_DATA]))
        return labels


def _several(img_path: str | list[str]) -> list[str]:
    return list(img_path) if isinstance(img_path, (list, tuple)) else [img_path]


def _images_at(place: Path) -> list[Path]:
    if place.is_dir():
        images = pictures_in(place, deep=True)
        if not images:
            raise DataError(f"{place}: no image in this folder; correct the path")
        return images
    return read_image_list(place)


def _refuse(lost: list[str], data: str) -> None:
    """Raise a DataError for images that Ultralytics has left out."""
    refuse_pictures([Path(image) for image in lost if imread(image) is None], data)
    if lost:
        raise DataError(
            f"{data}: {len(lost)} images have labels that Ultralytics does not read, the first is {lost[0]}; "
            "its warning above says why"
        )


def _verified_strictly(arguments: tuple[Any, ...]) -> Any:
    """Read a label as Ultralytics does; an image that only Pillow reads would end the training, and is left out."""
    told = verify_image_label(arguments)
    file = str(arguments[0])
    if told[CORRUPT]:
        return told
    fault = fault_of(file)
    if fault is None and (Path(file).suffix.lower() not in DOUBTFUL or imread(file) is not None):
        return told
    reason = fault or "cannot be read as an image of 8 or 16 bits"
    return [*(None for _ in told[:-5]), 0, 0, 0, 1, f"{file}: ignoring corrupt image/label: {reason}"]


def _verified(arguments: tuple[Any, ...]) -> Any:
    """Read a label as Ultralytics does, also for an image of a format or size that it leaves out.

    Such an image is represented by a black one, since Ultralytics reads image and label in one go.
    """
    told = _verified_strictly(arguments)
    if not told[CORRUPT]:
        return told
    file, *others = arguments
    image = imread(file)
    if image is None:
        return told
    height, width = image.shape[:2]
    with TemporaryDirectory() as folder:
        black = str(Path(folder) / "black.png")
        cv2.imwrite(black, np.zeros((max(height, LEAST_SIDE), max(width, LEAST_SIDE)), np.uint8))
        told = list(verify_image_label((black, *others)))
    if not told[CORRUPT]:
        told[0], told[2] = file, (height, width)
    told[-1] = told[-1].replace(black, file)
    return told


class ListedDataset(AnyPicture):
    """Ultralytics' data set for a network of its own, with a ``.data`` file or without."""

    def takes_all(self) -> bool:
        """Tell whether it comes from a ``.data`` file; a YAML means what it means to Ultralytics."""
        return bool(self.data.get(FROM_DATA))


class ListedRTDETRDataset(AnyPicture, RTDETRDataset):
    """The same for RT-DETR."""

    takes_all = ListedDataset.takes_all


@contextmanager
def taking_any_picture() -> Iterator[None]:
    """Let Ultralytics build its data sets of ``.data`` files with every image that can be read."""
    places = ((build, "YOLODataset", ListedDataset), (rtdetr_train, "RTDETRDataset", ListedRTDETRDataset),
              (rtdetr_val, "RTDETRDataset", ListedRTDETRDataset))  # fmt: skip
    with _BUILDING, ExitStack() as stack:
        for module, name, kind in places:
            stack.enter_context(patch.object(module, name, kind))
        yield
