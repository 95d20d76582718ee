"""The built-in data set ``shapes``: circles, squares and triangles over clutter, drawn by code.

No download, the same pictures everywhere: every image has its own seed, and training and validation share none. Colour
tells nothing about the class; crosses, stars, bars and long ellipses are there to be ignored.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import yaml

from yolo_subbatch.errors import DataError

NAMES = ("circle", "square", "triangle")  # as in the bundled shapes.yaml
MARKER = ".shapes.json"  # says that a folder was drawn by this module, and with which numbers
VERSION = 2
SEED_STRIDE = 1_000_000  # between the seeds of two splits
LEAST, MOST = 1 / 16, 1 / 2  # sides of the boxes as a share of the image's
OVERLAP = 0.2  # IoU from which two boxes count as overlapping
PARTNER_CHANCE = 0.115  # with which an object gets a second one on top; makes a fifth of the boxes overlap
TILT = np.pi / 12  # by which squares and triangles lean to either side at most
SMOOTH = 2  # drawn this many times larger, then reduced


@dataclass(frozen=True)
class Numbers:
    """How many images of which size, and the first seed."""

    train: int
    val: int
    size: int
    seed: int = 0


def default_numbers() -> Numbers:
    """Return the numbers of the bundled description, ``shapes.yaml``."""
    document = yaml.safe_load((files("yolo_subbatch.cfg") / "shapes.yaml").read_text(encoding="utf-8"))
    return Numbers(**{key: document[key] for key in ("train", "val", "size", "seed")})


def shapes_data() -> Path:
    """Return the ``.data`` file of the built-in data set in the user's cache, drawing it on first use.

    The cache is ``YOLO_SUBBATCH_CACHE``, or ``yolo-subbatch`` in the system's place for caches.
    """
    base = os.environ.get("YOLO_SUBBATCH_CACHE")
    home = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolo-subbatch"
    return write_shapes(home / "shapes")


def write_shapes(folder: Path, numbers: Numbers | None = None) -> Path:
    """Draw the data set into a folder.

    Args:
        folder: Where it goes; one that holds the same data set is left as it is.
        numbers: How many images of which size; the bundled description's by default.

    Returns:
        The path of the Darknet ``.data`` file; ``shapes.yaml`` beside it is the same for Ultralytics.

    Raises:
        DataError: If the folder holds something else, or cannot be written.
    """
    numbers = numbers or default_numbers()
    wanted = {"version": VERSION, **asdict(numbers)}
    if folder.exists() and not _ours(folder):
        raise DataError(f"{folder}: holds something else than the data set shapes; choose or empty another folder")
    if (folder / MARKER).is_file() and json.loads((folder / MARKER).read_text()) == wanted:
        return folder / "shapes.data"
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".shapes-", dir=folder.parent))
        _draw_splits(draft, numbers)
        (draft / MARKER).write_text(json.dumps(wanted))
        _put_in_place(draft, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); set YOLO_SUBBATCH_CACHE to another folder"
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)  # after success it has moved
    return folder / "shapes.data"


def _ours(folder: Path) -> bool:
    return (folder / MARKER).is_file() or (folder.is_dir() and not any(folder.iterdir()))


def _put_in_place(draft: Path, folder: Path) -> None:
    """Move a finished data set to its place; another process may have been faster, which is as good."""
    draft.chmod(0o755)
    if folder.exists():
        shutil.rmtree(folder)
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not (folder / MARKER).is_file():
            raise


def _draw_splits(folder: Path, numbers: Numbers) -> None:
    for number, (split, count) in enumerate((("train", numbers.train), ("val", numbers.val))):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            image, boxes, classes = draw_image(numbers.seed + number * SEED_STRIDE + index, numbers.size)
            if not cv2.imwrite(str(images / f"{index:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
                raise OSError(errno.EIO, "an image could not be saved")
            lines = (
                f"{kind} " + " ".join(f"{value:.6f}" for value in box) for kind, box in zip(classes, boxes, strict=True)
            )
            (labels / f"{index:05d}.txt").write_text("".join(f"{line}\n" for line in lines))
        names = (f"images/{split}/{index:05d}.jpg\n" for index in range(count))
        (folder / f"{split}.txt").write_text("".join(names))
    (folder / "shapes.names").write_text("".join(f"{name}\n" for name in NAMES))
    (folder / "shapes.data").write_text(
        f"classes = {len(NAMES)}\ntrain = train.txt\nvalid = val.txt\nnames = shapes.names\n"
    )
    listed = {"train": "images/train", "val": "images/val", "names": dict(enumerate(NAMES))}
    (folder / "shapes.yaml").write_text(yaml.safe_dump(listed, sort_keys=False))


def draw_image(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Draw one image.

    Args:
        seed: Two different seeds give different images.
        size: Width and height in pixels.

    Returns:
        Image ``(size, size, 3)``, BGR, uint8; boxes ``(n, 4)`` as centre x, centre y, width, height in [0, 1]; classes.
    """
    rng = np.random.default_rng(seed)
    canvas = _background(rng, size * SMOOTH)
    for _ in range(rng.integers(1, 4)):
        _paint(canvas, rng, _distractor(rng, canvas.shape[0]))
    boxes: list[np.ndarray] = []
    classes: list[int] = []
    for kind, outline in _objects(rng, size * SMOOTH, boxes):
        _paint(canvas, rng, outline)
        classes.append(kind)
    canvas = _light(canvas, rng)
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    noise = rng.normal(0, rng.uniform(1, 4), image.shape)
    image = np.clip(image.astype(np.float32) + noise, 0, 255).astype(np.uint8)
    corners = np.array(boxes) / (size * SMOOTH)
    centred = np.concatenate(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), 1)
    return image, centred, classes


# --- objects --------------------------------------------------------------------------------------------------------


def _objects(rng: np.random.Generator, side: int, boxes: list[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield class and outline of each object, appending its box; some get a partner that overlaps them."""
    for _ in range(rng.integers(1, 6)):
        first = _place(rng, side, boxes, partial(_anywhere, rng, side))
        if first is None:
            continue
        yield first
        if rng.random() < PARTNER_CHANCE:
            second = _place(rng, side, boxes, partial(_onto, rng, boxes[-1]), partner=True)
            if second is not None:
                yield second


def _place(
    rng: np.random.Generator, side: int, boxes: list[np.ndarray], where: Callable[[], tuple[float, float, float]],
    partner: bool = False,
) -> tuple[int, np.ndarray] | None:  # fmt: skip
    """Try places until an outline fits: inside, within the sizes, and overlapping as it should."""
    for _ in range(40):
        kind = int(rng.integers(len(NAMES)))
        x, y, extent = where()
        outline = _OUTLINES[kind](rng) * extent / 2 + (x, y)
        box = np.concatenate((outline.min(0), outline.max(0)))
        sides = box[2:] - box[:2]
        if box.min() < 0 or box.max() > side or sides.min() < LEAST * side or sides.max() > MOST * side:
            continue
        overlaps = [_iou(box, other) for other in boxes]
        if partner:
            fits = OVERLAP + 0.02 <= overlaps[-1] <= 0.5 and max(overlaps[:-1], default=0) < OVERLAP / 2
        else:
            fits = max(overlaps, default=0) < OVERLAP / 2
        if fits:
            boxes.append(box)
            return kind, outline
    return None


def _anywhere(rng: np.random.Generator, side: int) -> tuple[float, float, float]:
    """Return centre and extent; large objects are as frequent as small ones, until there is no place left for them."""
    extent = side * rng.uniform(LEAST, MOST) * 1.2
    x, y = rng.uniform(0, side, 2)
    return float(x), float(y), extent


def _onto(rng: np.random.Generator, box: np.ndarray) -> tuple[float, float, float]:
    """Return centre and extent of something of similar size that partly covers a box."""
    sides = box[2:] - box[:2]
    x, y = (box[:2] + box[2:]) / 2 + sides * rng.uniform(-0.6, 0.6, 2)
    return float(x), float(y), float(sides.max() * rng.uniform(0.75, 1.3))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def _circle(rng: np.random.Generator) -> np.ndarray:
    return _regular(40, 0) * (1, rng.uniform(0.9, 1))


def _square(rng: np.random.Generator) -> np.ndarray:
    return _turn(_regular(4, np.pi / 4) * (1, rng.uniform(0.85, 1)), rng.uniform(-TILT, TILT))


def _triangle(rng: np.random.Generator) -> np.ndarray:
    return _turn(_regular(3, -np.pi / 2) * (rng.uniform(0.8, 1), 1), rng.uniform(-TILT, TILT))


_OUTLINES: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (_circle, _square, _triangle)


def _regular(corners: int, start: float) -> np.ndarray:
    """Return a regular polygon in the unit circle, ``(corners, 2)``."""
    angles = start + np.arange(corners) * 2 * np.pi / corners
    return np.stack((np.cos(angles), np.sin(angles)), 1)


def _turn(points: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    turned: np.ndarray = points @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


def _distractor(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return the outline of something that is none of the classes."""
    kind = rng.integers(4)
    if kind == 0:  # star
        points = _regular(10, 0) * np.where(np.arange(10) % 2, 0.42, 1)[:, None]
    elif kind == 1:  # cross
        arm = 0.28
        quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
        points = np.concatenate([_turn(quarter, turn * np.pi / 2) for turn in range(4)])
    elif kind == 2:  # long ellipse
        points = _regular(30, 0) * (1, rng.uniform(0.25, 0.45))
    else:  # long bar
        points = _regular(4, np.pi / 4) * (1, rng.uniform(0.15, 0.3))
    extent = side * rng.uniform(0.08, 0.4) / 2
    return _turn(points, rng.uniform(0, 2 * np.pi)) * extent + rng.uniform(0, side, 2)


# --- paint ----------------------------------------------------------------------------------------------------------


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a colour gradient with clouds of several sizes and some soft lines, ``(side, side, 3)``."""
    corners = rng.uniform(30, 225, (2, 2, 3)).astype(np.float32)
    field = cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)
    for cells in (4, 9, 20, 45):
        clouds = rng.normal(0, 22 / np.sqrt(cells / 4), (cells, cells, 3)).astype(np.float32)
        field += cv2.resize(clouds, (side, side), interpolation=cv2.INTER_CUBIC)
    canvas = np.clip(field, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(2, 7)):
        ends = rng.integers(0, side, 4)
        shade = tuple(map(int, rng.integers(20, 235, 3)))
        cv2.line(
            canvas, tuple(map(int, ends[:2])), tuple(map(int, ends[2:])), shade, int(rng.integers(1, 7)), cv2.LINE_AA
        )
    soft: np.ndarray = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.8, 2.5)))
    return soft


def _paint(canvas: np.ndarray, rng: np.random.Generator, outline: np.ndarray) -> None:
    """Fill an outline in place with a shaded and textured colour that differs from what is behind it."""
    low = np.maximum(np.floor(outline.min(0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(outline.max(0)).astype(int) + 3, canvas.shape[0])
    if (high <= low).any():
        return
    part = canvas[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape[:2], np.uint8)
    points = np.round((outline - low) * 16).astype(np.int32)  # four bits below the pixel
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    alpha = (cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32) / 255)[..., None]
    colour = _distinct(rng, part.reshape(-1, 3).mean(0))
    part[:] = (part * (1 - alpha) + _texture(rng, part.shape[:2], colour) * alpha).astype(np.uint8)


def _distinct(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """Return a colour that the eye can tell from the mean colour behind."""
    for _ in range(20):
        colour = rng.uniform(15, 240, 3)
        if np.abs(colour - behind).sum() > 110:
            break
    return colour


def _texture(rng: np.random.Generator, shape: tuple[int, int], colour: np.ndarray) -> np.ndarray:
    """Return the colour with a light side, a grain and sometimes stripes, ``(H, W, 3)``, 0 to 255."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = (columns * np.cos(angle) + rows * np.sin(angle)).astype(np.float32)
    span = max(float(np.ptp(along)), 1.0)
    shade = (along - along.mean()) / span * rng.uniform(0, 60)
    if rng.random() < 0.15:
        shade = shade + np.where(np.sin(along * 2 * np.pi / rng.uniform(6, 18)) > 0, 1, -1) * rng.uniform(8, 30)
    grain = rng.normal(0, rng.uniform(2, 12), shape)
    filled: np.ndarray = np.clip(colour + (shade + grain)[..., None], 0, 255)
    return filled


def _light(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put soft light and shadow over the whole picture."""
    grid = rng.uniform(0.75, 1.2, (3, 3)).astype(np.float32)
    light = cv2.resize(grid, canvas.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    lit: np.ndarray = np.clip(canvas * light, 0, 255).astype(np.uint8)
    return lit
