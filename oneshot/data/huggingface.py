"""Any image classification set of Hugging Face `datasets`, by its name on the hub or from a local folder."""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image

from ..errors import InputError, check_boolean, check_integer, named, unknown
from .augmentation import Augmentation
from .images import ImageData, LabelledImages, Splits

MOST_CLASSES = 100_000
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # Pillow's names; others are not decoded
TRAIN, TEST = "train", ("test", "validation", "valid")


def huggingface(
    source: str,
    batch_size: int,
    augmentation: Augmentation,
    architecture_fraction: float = 0.5,
    train_size: int = 0,
    image_column: str = "",
    label_column: str = "",
    image_size: int = 0,
    grey: bool = False,
    test_split: str = "",
    residence: str = "auto",
    workers: int | str = "auto",
) -> ImageData:
    """Return any image classification set of Hugging Face `datasets`.

    It is trained on the split `train` and tested on the split `test`, or on `validation` if there is no `test`.

    Args:
        source: A name on the hub, or a folder in a layout that `datasets` reads (parquet, or one folder a class).
        batch_size: Images of a step.
        augmentation: Of training batches.
        architecture_fraction: Share of the training images that moves the architecture.
        train_size: Use a stratified subset of so many training images; 0 for all.
        image_column: Column of the images; empty: found by its type.
        label_column: Column of the labels; empty: found by its type.
        image_size: Resize to this many pixels a side. 0 keeps the size, which must then be the same for all images.
        grey: Whether images have one channel instead of three.
        test_split: Name of the test split; empty: as said above.
        residence: Where the images are, as in `ImageData`.
        workers: Number of processes that read, as in `ImageData`.

    Raises:
        InputError: If the folder is missing or empty, a split or a column is not there, an image cannot be decoded, or
            a setting is out of range.
    """
    check_integer("data.image_size", image_size, 0, 4096)
    check_boolean("data.grey", grey)
    splits = _load(source)
    if TRAIN not in splits:
        raise InputError(f"data.source={source}: no split 'train'; there are: {', '.join(splits)}")
    features = splits[TRAIN].features
    image = image_column or _column(source, features, datasets.Image, "image", ("image", "img"))
    label = label_column or _column(source, features, datasets.ClassLabel, "label", ("label", "labels"))
    for kind, name in (("image_column", image), ("label_column", label)):
        if name not in features:
            raise InputError(f"data.{kind}: {unknown('column', name, features)}")
    if not isinstance(features[image], datasets.Image):
        raise InputError(f"data.image_column={image}: holds {features[image]}, not images")
    names = _class_names(splits[TRAIN], label)

    def decode(split: str) -> LabelledImages:
        return _decode(f"{source}, split {split}", splits[split], image, label, names, image_size, grey)

    def test() -> LabelledImages:
        candidates = [test_split] if test_split else [name for name in TEST if name in splits]
        if not candidates or candidates[0] not in splits:
            raise InputError(f"data.source={source}: no split {test_split or 'test'!r}; there are: {', '.join(splits)}")
        return decode(candidates[0])

    data = Splits(names, lambda: decode(TRAIN), test)
    return ImageData(data, batch_size, augmentation, architecture_fraction, train_size, residence, workers)


def _load(source: str) -> dict[str, Any]:
    if not isinstance(source, str) or not source:
        raise InputError(f"data.source={source!r}: must be the name of a data set or a folder")
    path = Path(source).expanduser()
    looks_local = source.startswith((".", "/", "~")) or source.count("/") > 1
    if (looks_local or path.exists()) and not path.is_dir():
        raise InputError(f"data.source={source}: {'is no folder' if path.exists() else 'there is no such folder'}")
    if path.is_dir() and not any(p.is_file() for p in path.rglob("*")):
        raise InputError(f"data.source={source}: the folder is empty")
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        return dict(datasets.load_dataset(str(path) if path.is_dir() else source))
    except Exception as error:  # whatever a loader, a parser or the hub's client raises: the data cannot be had
        missing = "" if path.is_dir() else "there is no such folder, and as a name on the hub it "
        raise InputError(f"data.source={source}: {missing}cannot be loaded ({named(error)})") from error
    finally:
        if shown:
            datasets.enable_progress_bars()


def _column(source: str, features: Any, kind: type, what: str, usual: tuple[str, ...]) -> str:
    typed = [name for name, feature in features.items() if isinstance(feature, kind)]
    for name in [n for n in typed if n in usual] + typed + [n for n in usual if n in features]:
        return name
    raise InputError(
        f"data.source={source}: no {what} column among {', '.join(features)} (data.{what}_column=NAME names it)"
    )


def _class_names(split: Any, label: str) -> tuple[str, ...]:
    feature = split.features[label]
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    values = split.unique(label)
    if all(isinstance(v, int) for v in values) and len(values) <= max(values) + 1 <= MOST_CLASSES:
        return tuple(str(v) for v in range(max(values) + 1))
    if all(isinstance(v, str) for v in values):
        return tuple(sorted(values))
    wrong = next((v for v in values if not isinstance(v, str)), None)
    raise InputError(
        f"data.label_column={label}: holds {wrong!r:.40}; labels are whole numbers from 0 to {MOST_CLASSES - 1} "
        "or names, and none is missing"
    )


def _decode(
    where: str, split: Any, image: str, label: str, names: tuple[str, ...], size: int, grey: bool
) -> LabelledImages:
    if len(split) == 0:
        raise InputError(f"{where}: no images")
    labels = _labels(where, split[label], names)
    pixels = np.empty((0, 0, 0, 0), np.uint8)
    for i, cell in enumerate(split.cast_column(image, datasets.Image(decode=False))[image]):
        array = _pixels(f"{where}: image {i}", cell, size, grey)
        if i == 0:
            pixels = np.empty((len(split), *array.shape), np.uint8)
        if array.shape != pixels.shape[1:]:
            raise InputError(
                f"{where}: image {i} is {array.shape[1]}x{array.shape[0]} pixels, image 0 is "
                f"{pixels.shape[2]}x{pixels.shape[1]}; data.image_size=N resizes them"
            )
        pixels[i] = array
    return LabelledImages(torch.from_numpy(pixels), labels)


def _pixels(where: str, cell: dict[str, Any] | None, size: int, grey: bool) -> np.ndarray:
    """uint8 (height, width, channels)."""
    if not cell or not (cell["bytes"] or cell["path"]):
        raise InputError(f"{where} is missing")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"], formats=FORMATS) as file:
                picture = file.convert("L" if grey else "RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{where} has more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged file
        raise InputError(f"{where} cannot be decoded ({str(error)[:80]})") from None
    if size:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def _labels(where: str, column: Iterable[Any], names: tuple[str, ...]) -> torch.Tensor:
    labels = list(column)
    if any(isinstance(v, str) for v in labels):
        index = {name: i for i, name in enumerate(names)}
        for i, value in enumerate(labels):
            if str(value) not in index:
                raise InputError(f"{where}: image {i}: {unknown('label', value, names)}")
        labels = [index[str(v)] for v in labels]
    if any(v is None for v in labels):
        raise InputError(f"{where}: image {labels.index(None)} has no label")
    return torch.tensor(labels, dtype=torch.int64)
