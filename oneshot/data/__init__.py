"""Data on the training device."""

from oneshot.data.augmentation import Augmentation
from oneshot.data.digits import digits
from oneshot.data.huggingface import huggingface
from oneshot.data.images import Batch, ImageData, LabelledImages, Part, Splits, TrainAndTest

__all__ = [
    "Augmentation",
    "Batch",
    "ImageData",
    "LabelledImages",
    "Part",
    "Splits",
    "TrainAndTest",
    "digits",
    "huggingface",
]
