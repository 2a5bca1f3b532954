"""Data sets, decoded once and held on the training device."""

from .augmentation import Augmentation
from .digits import digits
from .huggingface import huggingface
from .images import Batch, ImageData, LabelledImages, Part, Splits, TrainAndTest
from .mnist1d import mnist1d
from .own import own, tensors
from .streaming import Source
from .text import Text

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
