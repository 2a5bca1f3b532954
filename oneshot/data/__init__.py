"""Data sets, decoded once and held on the training device."""

from typing import TYPE_CHECKING, Any

from .augmentation import Augmentation
from .digits import digits
from .images import Batch, ImageData, LabelledImages, Part, Splits, TrainAndTest
from .mnist1d import mnist1d
from .own import own, tensors
from .streaming import Source
from .text import Text

if TYPE_CHECKING:
    from .image_sets import huggingface

__all__ = [
    "Augmentation",
    "Batch",
    "ImageData",
    "LabelledImages",
    "Part",
    "Source",
    "Splits",
    "Text",
    "TrainAndTest",
    "digits",
    "huggingface",
    "mnist1d",
    "own",
    "tensors",
]


def __getattr__(name: str) -> Any:
    """Import `huggingface` when it is first used: the library of that name takes over a second."""
    if name != "huggingface":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .image_sets import huggingface

    return huggingface
