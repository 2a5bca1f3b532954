"""Each kind of image file against a plain statement of what it shows, and files that are none."""

import io
import json
import pickle
import struct
import time
import zlib

import numpy as np
import pytest
from helpers.raw_images import pixels as by_the_book
from PIL import Image

from oneshot.data.pixels import DEEP, DIM, FRAMES, MOST_PIXELS, TRANSPARENT, TURNED, Damaged, Pixels, decode, decoded
from oneshot.errors import InputError

PLAIN, GREY = Pixels(), Pixels(grey=True)
DRAWS = np.random.default_rng(0)
COLOURS = DRAWS.integers(0, 256, (5, 7, 3), np.uint8)
LEVELS = DRAWS.integers(0, 256, (5, 7), np.uint8)
WIDE = DRAWS.integers(0, 65536, (5, 7), np.uint16)


def saved(image, kind, **options):
    """The bytes of a file."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def tiff(levels, order="<", bits=None, sample=1, photometric=1):
    """A TIFF of one channel with every tag as given, which Pillow does not write."""
    kind = {"u": "u", "i": "i", "f": "f"}[levels.dtype.kind]
    data = levels.astype(levels.dtype.newbyteorder(order)).tobytes()
    height, width = levels.shape
    bits = bits or 8 * levels.itemsize
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(data)), (339, sample)]
    assert (kind == "f") == (sample == 3)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    entries = b"".join(
        struct.pack(order + "HHI", tag, 4, 1) + struct.pack(order + "I", value)
        if tag in (273, 279)
        else struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
        for tag, value in tags
    )
    return head + data + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0)


def png_of(width, height, data=b"", bits=8, more=b""):
    """A PNG of colours with this size in its head."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(colours, clear=None):
    """A PNG of 16 bits with these high bytes, in which a colour is transparent."""
    levels = (colours.astype(">u2") * 256 + 77).astype(">u2")
    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    more = b"" if clear is None else chunk(b"tRNS", (clear.astype(">u2") * 256 + 77).astype(">u2").tobytes())
    return png_of(width, height, zlib.compress(rows), 16, more)


def repeated(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def scaled(levels, largest):
    """Levels as 8 bits, in exact whole numbers."""
    return repeated([[(2 * 255 * int(v) + largest) // (2 * largest) for v in row] for row in levels])


def over(colour, alpha, ground):
    """Colours of a transparent picture on a background, in exact whole numbers."""
    out = np.empty(colour.shape, np.uint8)
    for place in np.ndindex(colour.shape):
        a = int(alpha[place[:2]])
        out[place] = (2 * (a * int(colour[place]) + (255 - a) * ground[place[2]]) + 255) // 510
    return out


ALPHA = DRAWS.integers(0, 256, (5, 7), np.uint8)
RGBA = np.dstack([COLOURS, ALPHA])
LONG = DRAWS.integers(0, 2**31, (5, 7)).astype(np.int32)
VAST = DRAWS.integers(0, 2**32, (5, 7)).astype(np.uint32)
SHORT = DRAWS.integers(0, 2**15, (5, 7)).astype(np.int16)
TWELVE = DRAWS.integers(0, 4096, (4, 8), np.uint16)
SMALL = DRAWS.integers(0, 128, (5, 7)).astype(np.int8)
UNIT = DRAWS.random((5, 7)).astype(np.float32)
WHITE, RED = (255, 255, 255), (255, 0, 0)


def packed(levels):
    """Two levels of 12 bits in three bytes, as bytes of a picture."""
    pairs = levels.reshape(-1, 2).astype(np.uint32)
    joined = (pairs[:, 0] << 12) | pairs[:, 1]
    return np.stack([joined >> 16, (joined >> 8) & 255, joined & 255], axis=1).astype(np.uint8)


def tiff_of_12_bits():
    whole = tiff(TWELVE, bits=12)
    data = packed(TWELVE).tobytes()
    return whole[:8] + data.ljust(TWELVE.nbytes, b"\0") + whole[8 + TWELVE.nbytes :]


def palette(**options):
    picture = Image.fromarray(LEVELS % 4, "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    return saved(picture, "PNG", **options)


PALETTE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)[LEVELS % 4]
ONE_BIT = LEVELS > 127
CMYK = np.dstack([COLOURS, ALPHA])
KINDS = {  # a file -> the picture that it shows, and what is said of it
    "8-bit grey": (saved(LEVELS, "PNG"), repeated(LEVELS), set()),
    "8-bit colour": (saved(COLOURS, "PNG"), COLOURS, set()),
    "1 bit": (saved(Image.fromarray(ONE_BIT), "PNG"), repeated(255 * ONE_BIT), set()),
    "1-bit TIFF": (saved(Image.fromarray(ONE_BIT), "TIFF"), repeated(255 * ONE_BIT), set()),
    "16-bit PNG": (saved(WIDE, "PNG"), scaled(WIDE, 65535), {DEEP}),
    "16-bit TIFF": (tiff(WIDE), scaled(WIDE, 65535), {DEEP}),
    "16-bit TIFF, big endian": (tiff(WIDE, ">"), scaled(WIDE, 65535), {DEEP}),
    "16-bit TIFF, white is 0": (tiff(WIDE, photometric=0), scaled(65535 - WIDE.astype(int), 65535), {DEEP}),
    "16-bit JPEG 2000": (saved(WIDE, "JPEG2000"), scaled(WIDE, 65535), {DEEP}),
    "16-bit PGM": (saved(WIDE, "PPM"), scaled(WIDE, 65535), {DEEP}),
    "12-bit TIFF": (tiff_of_12_bits(), scaled(TWELVE, 4095), {DEEP}),
    "signed 16-bit TIFF": (tiff(SHORT, sample=2), scaled(SHORT, 32767), {DEEP}),
    "signed 8-bit TIFF": (tiff(SMALL, sample=2), scaled(SMALL, 127), {DEEP}),
    "32-bit TIFF": (tiff(VAST), scaled(VAST, 2**32 - 1), {DEEP}),
    "signed 32-bit TIFF": (tiff(LONG, sample=2), scaled(LONG, 2**31 - 1), {DEEP}),
    "float TIFF": (tiff(UNIT, sample=3), repeated(np.floor(UNIT.astype(float) * 255 + 0.5)), {DEEP}),
    "float TIFF, big endian": (tiff(UNIT, ">", sample=3), repeated(np.floor(UNIT.astype(float) * 255 + 0.5)), {DEEP}),
    "16-bit PNG of 12 bits": (saved(TWELVE, "PNG"), scaled(TWELVE, 65535), {DEEP, DIM}),
    "16-bit black": (saved(0 * WIDE, "PNG"), repeated(0 * LEVELS), {DEEP}),
    "32-bit black": (tiff(0 * VAST), repeated(0 * LEVELS), {DEEP}),
    "16-bit colour": (deep_png(COLOURS), COLOURS, set()),
    "16-bit colour, one clear": (
        deep_png(COLOURS, COLOURS[1, 2]),
        np.where((COLOURS == COLOURS[1, 2]).all(axis=2)[..., None], 255, COLOURS),
        {TRANSPARENT},
    ),
    "RGBA": (saved(RGBA, "PNG"), over(COLOURS, ALPHA, WHITE), {TRANSPARENT}),
    "RGBA, opaque": (saved(np.dstack([COLOURS, 0 * ALPHA + 255]), "PNG"), COLOURS, set()),
    "RGBA WebP": (saved(RGBA, "WEBP", lossless=True, exact=True), over(COLOURS, ALPHA, WHITE), {TRANSPARENT}),
    "RGBA TIFF": (saved(RGBA, "TIFF"), over(COLOURS, ALPHA, WHITE), {TRANSPARENT}),
    "grey and alpha": (
        saved(Image.merge("LA", [Image.fromarray(LEVELS), Image.fromarray(ALPHA)]), "PNG"),
        over(repeated(LEVELS), ALPHA, WHITE),
        {TRANSPARENT},
    ),
    "palette": (palette(), PALETTE, set()),
    "palette, one clear": (
        palette(transparency=2),
        np.where((LEVELS % 4 == 2)[..., None], 255, PALETTE),
        {TRANSPARENT},
    ),
    "palette, alpha each": (
        palette(transparency=b"\xff\x80\x00\x10"),
        over(PALETTE, np.array([255, 128, 0, 16], np.uint8)[LEVELS % 4], WHITE),
        {TRANSPARENT},
    ),
    "16-bit PNG, one clear": (
        saved(WIDE, "PNG", transparency=int(WIDE[1, 2])),
        np.where((WIDE == WIDE[1, 2])[..., None], 255, scaled(WIDE, 65535)),
        {DEEP, TRANSPARENT},
    ),
    "8-bit PNG, one clear": (
        saved(LEVELS, "PNG", transparency=int(LEVELS[1, 2])),
        np.where((LEVELS == LEVELS[1, 2])[..., None], 255, repeated(LEVELS)),
        {TRANSPARENT},
    ),
    "8-bit colour PNG, one clear": (
        saved(COLOURS, "PNG", transparency=tuple(int(v) for v in COLOURS[1, 2])),
        np.where((COLOURS == COLOURS[1, 2]).all(axis=2)[..., None], 255, COLOURS),
        {TRANSPARENT},
    ),
    "CMYK TIFF": (
        saved(Image.fromarray(CMYK, "CMYK"), "TIFF"),
        np.asarray(Image.fromarray(CMYK, "CMYK").convert("RGB")),
        set(),
    ),
    "GIF of three frames": (
        saved(
            Image.fromarray(LEVELS),
            "GIF",
            save_all=True,
            append_images=[Image.fromarray(255 - LEVELS), Image.fromarray(LEVELS)],
        ),
        repeated(LEVELS),
        {FRAMES},
    ),
    "GIF of one frame": (saved(LEVELS, "GIF"), repeated(LEVELS), set()),
    "TIFF of two pages": (
        saved(Image.fromarray(COLOURS), "TIFF", save_all=True, append_images=[Image.fromarray(255 - COLOURS)]),
        COLOURS,
        {FRAMES},
    ),
    "PNG of two frames": (
        saved(Image.fromarray(COLOURS), "PNG", save_all=True, append_images=[Image.fromarray(255 - COLOURS)]),
        COLOURS,
        {FRAMES},
    ),
    "WebP of two frames": (
        saved(
            Image.fromarray(COLOURS),
            "WEBP",
            save_all=True,
            append_images=[Image.fromarray(255 - COLOURS)],
            lossless=True,
        ),
        COLOURS,
        {FRAMES},
    ),
    "BMP": (saved(COLOURS, "BMP"), COLOURS, set()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_shows(kind):
    content, shown, notes = KINDS[kind]
    found = decoded(content, PLAIN)
    assert found.pixels.dtype == np.uint8 and found.notes == notes
    assert np.array_equal(found.pixels, shown)
    red, green, blue = (shown[..., i].astype(int) for i in range(3))
    grey = (19595 * red + 38470 * green + 7471 * blue + 32768) // 65536
    assert np.array_equal(decode(content, GREY)[..., 0], grey)


def test_the_kinds_are_what_their_names_say():
    modes = {kind: Image.open(io.BytesIO(content)).mode for kind, (content, _, _) in KINDS.items()}
    assert {"1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I", "F", "I;16", "I;16B"} <= set(modes.values())
    assert modes["palette, one clear"] == "P" and modes["signed 32-bit TIFF"] == "I"


def test_transparent_pixels_are_put_on_the_background():
    content = KINDS["RGBA"][0]
    for name, colour in (("red", RED), ([1, 2, 3], (1, 2, 3)), ((0, 0, 0), (0, 0, 0)), ("#0000ff", (0, 0, 255))):
        assert np.array_equal(decode(content, Pixels(background=name)), over(COLOURS, ALPHA, colour))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    """A bright corner, whose place the EXIF standard gives for each orientation."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:10, :10] = 255  # row 0, column 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decoded(saved(picture, kind, exif=exif), PLAIN)
    assert found.pixels.shape[:2] == ((40, 60) if orientation < 5 else (60, 40))
    top, left = orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8)  # where row 0 and column 0 meet
    corner = found.pixels[0 if top else -1, 0 if left else -1]
    assert corner.min() > 200 and (found.pixels > 128).mean() == pytest.approx(100 / 2400, abs=0.01)
    assert (TURNED in found.notes) == (orientation != 1)


def test_damaged_exif_does_not_matter():
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"x"):
        assert decode(saved(COLOURS, "PNG", exif=exif), PLAIN).shape == (5, 7, 3)
    exif = Image.Exif()
    exif[0x0112] = 9  # no orientation
    assert decode(saved(COLOURS, "JPEG", exif=exif), PLAIN).shape == (5, 7, 3)


def test_a_phones_file_of_several_pictures():
    found = decoded(
        saved(Image.fromarray(COLOURS), "MPO", save_all=True, append_images=[Image.fromarray(COLOURS)]), PLAIN
    )
    assert found.notes == {FRAMES} and found.pixels.shape == (5, 7, 3)


def stripes(height, width):
    """Colour that says where it was."""
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1), 0 * rows]).astype(np.uint8)


def test_squash_crop_and_pad_keep_the_shape_as_they_say():
    wide = saved(stripes(20, 80), "PNG")
    squashed, cropped, padded = (
        decode(wide, Pixels(20, fit=fit, background="blue")) for fit in ("squash", "crop", "pad")
    )
    assert {a.shape for a in (squashed, cropped, padded)} == {(20, 20, 3)}
    assert squashed[0, 0, 1] < 20 and squashed[0, -1, 1] > 235  # the whole width
    assert np.array_equal(cropped, stripes(20, 80)[:, 30:50])  # the middle, not resized
    assert (padded[:7] == (0, 0, 255)).all() and (padded[12:] == (0, 0, 255)).all()  # five rows of twenty
    assert padded[7:12, 0, 1].max() < 20 and padded[7:12, -1, 1].min() > 235
    square = saved(stripes(30, 30), "PNG")
    assert len({decode(square, Pixels(12, fit=fit)).tobytes() for fit in ("squash", "crop", "pad")}) == 1


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", ["RGBA", "16-bit PNG", "palette, alpha each", "float TIFF", "GIF of three frames"])
def test_the_description_is_enough(kind, grey, fit, tmp_path):
    """Another reader, which knows the description alone, gets the same."""
    (tmp_path / "file").write_bytes(KINDS[kind][0])
    options = Pixels(11, grey, fit, [200, 30, 60])
    told = json.loads(json.dumps(options.describe()))
    assert np.array_equal(by_the_book(tmp_path / "file", told), decode(tmp_path / "file", options))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 200), (200, 3), (33, 32), (64, 65)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_every_shape_gets_the_size(shape, fit, tmp_path):
    (tmp_path / "file.png").write_bytes(saved(stripes(*shape), "PNG"))
    for side in (1, 2, 7, 32):
        options = Pixels(side, fit=fit)
        found = decode(tmp_path / "file.png", options)
        assert found.shape == (side, side, 3)
        assert np.array_equal(found, by_the_book(tmp_path / "file.png", options.describe()))


def text_bomb():
    """A PNG whose comment gets 200 MB when it is unpacked."""
    body = b"comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    extra = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    whole = saved(COLOURS, "PNG")
    return whole[:33] + extra + whole[33:]


CUT = {kind: saved(stripes(60, 60), kind) for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a picture", "no image of a known format"),
        (b"\x89PNG\r\n\x1a\n", "no image of a known format"),
        (b"\xff\xd8\xff", ""),
        (saved(COLOURS, "PNG")[:-30], ""),
        *((content[: len(content) // 2], "") for content in CUT.values()),
        (png_of(30_000, 30_000), "pixels"),
        (png_of(2**31 - 1, 2**31 - 1), ""),
        (png_of(10_000, 9_000, zlib.compress(bytes(1000))), "has 10,000x9,000 pixels; at most 89,478,485 are decoded"),
        (png_of(0, 5), ""),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known format"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "no image of a known format"),
        (text_bomb(), ""),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else "",
)
def test_what_is_no_image_is_named_quickly(content, message, tmp_path):
    path = tmp_path / "name of it.png"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(Damaged) as error:
        decode(path, PLAIN)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value) and "\n" not in str(error.value)
    assert "0x" not in str(error.value) or "pixels" in str(error.value)  # no address of an object
    assert time.process_time() - start < 2


def test_a_limit_that_is_pillows_too():
    assert MOST_PIXELS == Image.MAX_IMAGE_PIXELS


def test_a_hostile_shape_is_not_resized():
    """Cropped to 4,096 pixels a side, it would be 4,096 x 82 million."""
    with pytest.raises(Damaged, match=r"pixels after its resize \(data.fit=crop\)"):
        decode(saved(np.zeros((1, 20_000), np.uint8), "PNG"), Pixels(4096, fit="crop"))
    for fit in ("squash", "pad"):
        assert decode(saved(np.zeros((1, 20_000), np.uint8), "PNG"), Pixels(8, fit=fit)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(255 * UNIT, sample=3), "holds floating-point numbers from .* to 2[45].*; they must be from 0 to 1"),
        (tiff(UNIT - 0.5, sample=3), "holds floating-point numbers from -0"),
        (tiff(np.where(UNIT > 0.5, np.nan, UNIT).astype(np.float32), sample=3), "from nan to nan"),
        (tiff(UNIT + np.float32(np.inf), sample=3), "inf"),
        (tiff(-LONG, sample=2), "signed whole numbers of 32 bits down to -"),
        (tiff(-SHORT, sample=2), "signed whole numbers of 16 bits down to -"),
        (tiff(-SMALL, sample=2), "signed whole numbers of 8 bits down to -"),
        (tiff(VAST % 65536), "whole numbers of 32 bits up to 6.*, all black on that scale; save it with 8 or 16 bits"),
    ],
)
def test_levels_without_a_clear_meaning(content, message, tmp_path):
    """These are whole images, so data.skip_corrupt does not hide them."""
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        decode(tmp_path / "a.tif", PLAIN)
    assert not isinstance(error.value, Damaged) and str(tmp_path / "a.tif") in str(error.value)


def test_files_that_cannot_be_opened(tmp_path):
    (tmp_path / "link.png").symlink_to("nowhere")
    (tmp_path / "folder.png").mkdir()
    for name, message in (("link.png", "cannot be read"), ("folder.png", "is a folder"), ("none.png", "No such file")):
        with pytest.raises(Damaged, match=f"{tmp_path / name}: .*{message}"):
            decode(tmp_path / name, PLAIN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": -1}, "data.image_size=-1"),
        ({"size": 5000}, "data.image_size=5000"),
        ({"size": True}, "data.image_size=True"),
        ({"grey": "yes"}, "data.grey='yes'"),
        ({"fit": "corp"}, "unknown data.fit 'corp'; did you mean 'crop'?"),
        ({"background": "whit"}, "data.background='whit'"),
        ({"background": [0, 0]}, r"data.background=\[0, 0\]"),
        ({"background": [0, 0, 256]}, r"data.background=\[0, 0, 256\]"),
        ({"background": [0, 0, 0.5]}, "data.background="),
        ({"background": "#12345678"}, "data.background="),
        ({"background": None}, "data.background=None"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        Pixels(**settings)


def test_options_travel_to_other_processes():
    options = Pixels(16, True, "pad", [1, 2, 3])
    assert pickle.loads(pickle.dumps(options)) == options
