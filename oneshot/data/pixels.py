"""One image file as an array of 8 bits a channel: depth, transparency, orientation, colour and size, by fixed rules."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageColor

from ..errors import InputError, check_boolean, check_integer, one_line, printable, unknown
from ..runs.files import given

FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # Pillow's names; no other is decoded
SUFFIXES = frozenset("bmp dib gif jpg jpeg jpe jfif jp2 j2k jpf jpx png apng pbm pgm ppm pnm pfm tif tiff webp".split())
FITS = ("squash", "crop", "pad")
MOST_PIXELS = 89_478_485  # of an image: 256 MiB of RGB, Pillow's limit too
MOST_BYTES = 1 << 30  # of an image file
MOST_SIDE = 4096
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 0x0112, 258, 262, 339  # numbers of tags of EXIF and TIFF
EXIF = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # where Pillow finds an orientation

# what `decoded` says of an image
TRANSPARENT, TURNED, FRAMES, DEEP, DIM = "transparent", "turned", "frames", "deep", "dim"
DIM_SHARE = 1 / 16  # of the range of a type; data of 8 or 12 bits in 16 stays below it


class Damaged(InputError):
    """A file that is no whole image: cut off, empty, unreadable, of an unknown format, or far too large."""


@dataclass(frozen=True)
class Pixels:
    """How an image file becomes an array. It can be pickled, as worker processes decode too.

    Args:
        size: Pixels a side of the result; 0 keeps the size of the image.
        grey: Whether the result has one channel instead of three.
        fit: How an image that is not square gets its size. `"squash"`: its sides are changed alone. `"crop"`: the
            shorter side gets the size, and the middle is cut out. `"pad"`: the longer side gets the size, and the rest
            is background.
        background: Colour under transparent pixels and beside padded images: a name as in CSS, or three whole numbers
            (red, green, blue) from 0 to 255.

    Raises:
        InputError: If a value is not allowed; it is called by its setting, such as `data.fit`.
    """

    size: int = 0
    grey: bool = False
    fit: str = "squash"
    background: str | tuple[int, ...] | list[int] = "white"

    def __post_init__(self) -> None:
        """Check the values."""
        check_integer("data.image_size", self.size, 0, MOST_SIDE)
        check_boolean("data.grey", self.grey)
        if self.fit not in FITS:
            raise unknown("data.fit", self.fit, FITS)
        object.__setattr__(self, "background", _colour(self.background))

    @property
    def colour(self) -> tuple[int, int, int]:
        """The background as (red, green, blue)."""
        return _colour(self.background)

    def describe(self) -> dict[str, Any]:
        """Return what is done to an image, in its order, as plain data for JSON: enough to do it again elsewhere."""
        fits = {
            "squash": "width and height become size, each by itself",
            "crop": "the shorter side becomes size, the longer side floor(longer * size / shorter + 1/2); then the "
            "middle is cut out, from floor((longer - size) / 2) on",
            "pad": "the longer side becomes size, the shorter side max(1, floor(shorter * size / longer + 1/2)); it is "
            "put on the background, from floor((size - shorter) / 2) on",
        }
        return {
            "frame": "the first one of an image with several",
            "depth": "8 bits: grey levels of a larger integer type become floor(255 * level / largest level of the "
            "type + 1/2), floating-point levels in [0, 1] floor(255 * level + 1/2); colours of 16 bits keep their high "
            "byte",
            "transparency": "floor((alpha * colour + (255 - alpha) * background) / 255 + 1/2), by channel",
            "background": list(self.colour),
            "colours": "grey: (19595 * red + 38470 * green + 7471 * blue + 32768) // 65536" if self.grey else "RGB",
            "orientation": "turned as EXIF says",
            "size": self.size or None,
            "fit": self.fit if self.size else None,
            "fit_means": fits[self.fit] if self.size else "nothing: images keep their size",
            "resampling": "bilinear with antialiasing, on 8 bits: Pillow's resize with BILINEAR" if self.size else None,
            "made_with": f"Pillow {PIL.__version__}",
        }


def shown(path: object) -> str:
    """Return a path on one line, with characters that can be shown."""
    return printable(os.fsencode(str(path)).decode("utf-8", "replace"))


class Decoded(NamedTuple):
    """An image and what was done to it besides its size.

    Args:
        pixels: uint8 (height, width, channels).
        notes: Some of TRANSPARENT (put on the background), TURNED (by EXIF), FRAMES (the first of several), DEEP
            (scaled to 8 bits) and DIM (scaled, and without a level above DIM_SHARE of the range).
    """

    pixels: np.ndarray
    notes: frozenset[str]


def decode(source: bytes | str | Path, options: Pixels, name: str = "") -> np.ndarray:
    """Decode one image.

    Args:
        source: The content of a file, or its path.
        options: What it becomes.
        name: What messages call it; empty: its path.

    Returns:
        uint8 (height, width, channels).

    Raises:
        Damaged: If it cannot be decoded.
        InputError: If it is whole, but its values have no clear meaning in 8 bits.
    """
    return decoded(source, options, name).pixels


def decoded(source: bytes | str | Path, options: Pixels, name: str = "") -> Decoded:
    """Decode one image as `decode` does, and say what was done to it.

    Args:
        source: The content of a file, or its path.
        options: What it becomes.
        name: What messages call it; empty: its path.

    Raises:
        Damaged: As `decode`.
        InputError: As `decode`.
    """
    name = name or ("the image" if isinstance(source, bytes) else shown(source))
    notes: set[str] = set()
    try:
        with Image.open(io.BytesIO(_read(source)), formats=FORMATS) as image:
            _check_size(image.width, image.height)
            if getattr(image, "tag_v2", {}).get(ORIENTATION, 1) in TURNS:  # TIFF, which Pillow turns when it is loaded
                notes.add(TURNED)
            image.load()
            picture = _turned(_flat(_eight_bits(image, notes), options, notes), image, notes)
            if _has_frames(image):
                notes.add(FRAMES)
        picture = resized(picture, options)
    except MemoryError:
        raise
    except InputError as error:
        raise type(error)(f"{name}: {error}") from None
    except PIL.UnidentifiedImageError:
        raise Damaged(f"{name}: cannot be decoded (no image of a known format)") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Damaged(f"{name}: has more than {MOST_PIXELS:,} pixels") from None
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise Damaged(f"{name}: cannot be decoded ({one_line(error, 80) or type(error).__name__})") from None
    return Decoded(np.array(picture, np.uint8).reshape(picture.height, picture.width, -1), frozenset(notes))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings, of which nobody could say which file they mean. Not safe to enter in a thread."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def resized(picture: Image.Image, options: Pixels) -> Image.Image:
    """Give a picture of 8 bits its size.

    Args:
        picture: Mode L or RGB.
        options: Size, fit and background.

    Raises:
        Damaged: If it is so narrow that it would have too many pixels before it is cut.
    """
    size, (width, height) = options.size, picture.size
    if not size:
        return picture
    if options.fit == "squash" or width == height:
        return picture.resize((size, size), Image.Resampling.BILINEAR)
    side = min(width, height) if options.fit == "crop" else max(width, height)
    width, height = (max(1, (2 * length * size + side) // (2 * side)) for length in (width, height))
    _check_size(width, height, " after its resize (data.fit=crop)")
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    if options.fit == "crop":
        left, top = (width - size) // 2, (height - size) // 2
        return picture.crop((left, top, left + size, top + size))
    whole = Image.new("RGB", (size, size), options.colour).convert(picture.mode)
    whole.paste(picture, ((size - width) // 2, (size - height) // 2))
    return whole


def _colour(value: object) -> tuple[int, int, int]:
    if isinstance(value, str):
        try:
            found = ImageColor.getrgb(value)
        except ValueError:
            found = (0, 0, 0, 0)
        if len(found) == 3:
            return found
    elif isinstance(value, list | tuple):
        levels = [v for v in value if isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255]
        if len(levels) == len(value) == 3:
            return levels[0], levels[1], levels[2]
    raise InputError(
        f"data.background={value!r:.60}: must be the name of a colour, such as white, or three whole numbers from 0 to "
        "255, as [255,255,255]"
    )


def _read(source: bytes | str | Path) -> bytes:
    if isinstance(source, bytes):
        content = source
    else:
        path = Path(source)
        try:
            with given(path, MOST_BYTES) as file:
                content = file.read()
        except InputError as error:  # it names the path first, as `decoded` does
            raise Damaged(str(error).removeprefix(f"{path}: ")) from None
    if not content:
        raise Damaged("is empty")
    return content


def _check_size(width: int, height: int, when: str = "") -> None:
    if width * height > MOST_PIXELS:
        raise Damaged(f"has {width:,}x{height:,} pixels{when}; at most {MOST_PIXELS:,} are decoded")


def _eight_bits(image: Image.Image, notes: set[str]) -> Image.Image:
    """The picture with 8 bits a channel. Pillow's own conversion cuts larger values off."""
    tags: Any = getattr(image, "tag_v2", {})
    signed = tags.get(SAMPLE_FORMAT, (1,))[0] == 2
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image)
    elif image.mode == "L" and signed:
        levels = np.asarray(image).view(np.int8)
    else:
        return image
    notes.add(DEEP)
    if image.mode == "F":
        unit = _unit(levels)
    elif image.format == "TIFF":
        unit = _whole(levels, tags.get(BITS, (1,))[0], signed)
    else:
        unit = _whole(levels, 16 if image.mode.startswith("I;16") or image.format == "PPM" else 32, signed=False)
    if tags.get(PHOTOMETRIC) == 0 and image.mode != "L":  # white is 0, which Pillow minds for 8 bits alone
        unit = 1 - unit
    if 0 < unit.max() < DIM_SHARE:
        notes.add(DIM)
    picture = Image.fromarray(np.floor(unit * 255 + 0.5).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):  # one grey level of a PNG is transparent
        picture = picture.convert("LA")
        picture.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return picture


def _unit(levels: np.ndarray) -> np.ndarray:
    """Floats, which must be from 0 to 1."""
    low, high = (float(f(levels)) for f in (np.min, np.max))
    if not (0 <= low and high <= 1):  # also if one is not a number
        raise InputError(f"holds floating-point numbers from {low:g} to {high:g}; they must be from 0 to 1")
    return levels.astype(np.float64)


def _whole(levels: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Whole numbers as a share of the largest of their type."""
    if bits == 32 and not signed:
        levels = levels.view(np.uint32) if levels.dtype == np.int32 else levels
    low, high = int(levels.min()), int(levels.max())
    kind = f"{'signed ' if signed else ''}whole numbers of {bits} bits"
    if low < 0:
        raise InputError(f"holds {kind} down to {low}; a pixel is at least 0")
    largest = (1 << (bits - signed)) - 1
    if bits == 32 and 0 < 510 * high < largest:
        raise InputError(f"holds {kind} up to {high}, all black on that scale; save it with 8 or 16 bits")
    return levels / float(largest)


def _flat(picture: Image.Image, options: Pixels, notes: set[str]) -> Image.Image:
    """The picture in the wanted colours, without transparency."""
    if picture.has_transparency_data:
        clear = picture.info.get("transparency")
        if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, of which Pillow keeps the high byte
            picture.info["transparency"] = tuple(level >> 8 for level in clear)
        premultiplied = {"RGBa": "RGBA", "La": "LA"}.get(picture.mode)
        whole = (picture.convert(premultiplied) if premultiplied else picture).convert("RGBA")
        alpha = whole.getchannel("A")
        picture = whole.convert("RGB")
        if alpha.getextrema()[0] != 255:
            notes.add(TRANSPARENT)
            ground = Image.new("RGB", whole.size, options.colour)
            ground.paste(picture, mask=alpha)
            picture = ground
    mode = "L" if options.grey else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _turned(picture: Image.Image, image: Image.Image, notes: set[str]) -> Image.Image:
    """The picture as EXIF wants it to be shown."""
    if EXIF.isdisjoint(image.info):
        return picture
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF of a whole image; every program shows such an image as it is
        turn = None
    if turn is None:
        return picture
    notes.add(TURNED)
    return picture.transpose(turn)


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame; the first one is whole
        return False
