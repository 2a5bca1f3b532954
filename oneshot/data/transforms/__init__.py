"""Random transforms of a whole batch of images, on the device that holds it, and of targets where they move pixels.

All draws come from a generator on the host, so every device sees the same batch.
"""

from .choosing import by_choice
from .colour import autocontrast, brightness, contrast, equalize, grey, posterize, saturation, sharpness, solarize
from .erasing import erase
from .geometry import affine, moved_targets, resized_crop, resized_targets, rotation
from .jitter import jitter
from .mixing import Mixed, Mixing, Pair
from .rand_augment import RandAugment
from .rectangles import Rectangles, crops, draw_rectangles

__all__ = [
    "Mixed",
    "Mixing",
    "Pair",
    "RandAugment",
    "Rectangles",
    "affine",
    "autocontrast",
    "brightness",
    "by_choice",
    "contrast",
    "crops",
    "draw_rectangles",
    "equalize",
    "erase",
    "grey",
    "jitter",
    "moved_targets",
    "posterize",
    "resized_crop",
    "resized_targets",
    "rotation",
    "saturation",
    "sharpness",
    "solarize",
]
