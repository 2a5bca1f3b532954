"""Image files to numbers as preprocessing.json says it, with Pillow and numpy alone, as a user of an export does it."""

import math

import numpy as np
from PIL import Image, ImageOps


def pixels(path, told):
    """uint8 (height, width, channels), from `file_to_pixels` of preprocessing.json."""
    assert set(told) <= {
        *("frame", "depth", "transparency", "background", "colours", "orientation"),
        *("size", "fit", "fit_means", "resampling", "made_with"),
    }
    with Image.open(path) as file:
        assert told["frame"].startswith("the first one")
        turn = file.getexif().get(0x0112, 1) if file.format != "TIFF" else 1  # Pillow turns TIFF when it is loaded
        array, alpha = channels(file)
    colour = array.astype(np.float64)
    if alpha is not None:
        share = alpha[..., None] / 255.0
        ground = np.array(told["background"], np.float64)
        colour = np.floor(share * colour + (1 - share) * ground + 0.5 + 1e-9)
    red, green, blue = (colour[..., i].astype(np.int64) for i in range(3))
    if told["colours"] == "RGB":
        flat = np.stack([red, green, blue], axis=2).astype(np.uint8)
    else:
        flat = ((19595 * red + 38470 * green + 7471 * blue + 32768) // 65536).astype(np.uint8)
    image = Image.fromarray(flat)
    exif = Image.Exif()
    exif[0x0112] = turn
    image.info["exif"] = exif.tobytes()
    image = ImageOps.exif_transpose(image)
    image = fitted(image, told)
    return np.asarray(image).reshape(image.height, image.width, -1)


def channels(file):
    """Levels from 0 to 255 in three channels, and the alpha channel or None."""
    if file.mode == "F":
        grey = np.floor(255 * np.asarray(file, np.float64) + 0.5)
    elif file.mode.startswith("I;16"):
        grey = np.floor(255 * np.asarray(file, np.float64) / 65535 + 0.5)
    elif file.mode == "I":
        grey = np.floor(255 * np.asarray(file, np.float64) / (2**31 - 1) + 0.5)
    else:
        whole = np.asarray(file.convert("RGBA"))
        return whole[..., :3], whole[..., 3]
    return np.repeat(grey[..., None], 3, axis=2), None


def fitted(image, told):
    """The image in its size."""
    size, (width, height) = told["size"], image.size
    if size is None:
        return image
    assert told["resampling"].endswith("Pillow's resize with BILINEAR")
    if told["fit"] == "squash":
        return image.resize((size, size), Image.BILINEAR)
    shorter, longer = sorted((width, height))
    if told["fit"] == "crop":
        other = math.floor(longer * size / shorter + 0.5)
        image = image.resize((size, other) if width < height else (other, size), Image.BILINEAR)
        left, top = (math.floor((side - size) / 2) for side in image.size)
        return image.crop((left, top, left + size, top + size))
    assert told["fit"] == "pad"
    other = max(1, math.floor(shorter * size / longer + 0.5))
    image = image.resize((other, size) if width < height else (size, other), Image.BILINEAR)
    ground = Image.new("RGB", (size, size), tuple(told["background"])).convert(image.mode)
    ground.paste(image, tuple(math.floor((size - side) / 2) for side in image.size))
    return ground
