"""The one decoder: bytes of an image file to 8-bit RGB pixels, alike through every door."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vaebench.core.errors import first_line

VERSION = "2"  # part of the keys of what was decoded: change it with any pixel
TRANSPARENT = "transparent parts are shown on white"
FRAMES = "only the first frame or page is read"
WIDE = "32-bit integers are read as 8 bits where none is above 255, else as 16"
_ORIENTATION, _PHOTOMETRIC = 274, 262  # EXIF's and TIFF's tags
_SIXTEEN = {"PNG", "PPM", "JPEG2000"}  # formats whose 16-bit samples Pillow may open as 32-bit integers
_GREY_STEPS = {"L;2": 85, "L;4": 17}  # what Pillow multiplies samples of so few bits by, though not their colour key

Array = NDArray[Any]


def decode(content: bytes) -> Image.Image:
    """Decode any file that Pillow reads as an RGB picture; see :func:`decode_with_remarks`."""
    return decode_with_remarks(content)[0]


def decode_with_remarks(content: bytes) -> tuple[Image.Image, frozenset[str]]:
    """Decode any file that Pillow reads as an RGB picture, upright, and say what had to be chosen.

    The first frame is turned as its EXIF orientation says. Of 16 bits a channel the upper 8 are kept, so that 65535
    becomes 255 and 32768 becomes 128. Transparent parts are laid on white, whatever colour hides beneath them. Grey
    becomes three equal channels.

    Args:
        content: the file's bytes.

    Returns:
        The picture, mode RGB, and remarks: texts of this module.

    Raises:
        OSError: it is no image, it is damaged, or its values have no known range.
    """
    try:
        with Image.open(BytesIO(content)) as picture:
            raw_mode = str(picture.tile[0].args) if picture.tile else ""
            remarks = {FRAMES} if getattr(picture, "n_frames", 1) > 1 else set()
            picture.load()
            clear = _cleared_by_key(picture, raw_mode, content)
            orientation = picture.getexif().get(_ORIENTATION, 1)
            colours, transparent = _on_white(_eight_bits(picture, remarks), clear)
            remarks.update({TRANSPARENT} if transparent else ())
            return _turned(colours, orientation), frozenset(remarks)
    except UnidentifiedImageError as error:
        raise OSError("no image, or of no format that Pillow reads") from error
    except Exception as error:  # damaged files raise whatever Pillow's readers stumble over
        raise OSError(first_line(error)) from error


def _cleared_by_key(picture: Image.Image, raw_mode: str, content: bytes) -> "Array | None":
    """Find the pixels, bool (h, w), that a colour key makes transparent where Pillow does not; takes the key away.

    Pillow compares the key of 16-bit files with 8-bit pixels, and the key of 2 and 4 bits with what it has scaled.
    """
    key = picture.info.get("transparency")
    if isinstance(key, int) and picture.mode.startswith("I"):
        del picture.info["transparency"]
        matching: Array = np.asarray(picture).astype(np.int64) == key
        return matching
    if isinstance(key, int) and raw_mode in _GREY_STEPS:
        picture.info["transparency"] = key * _GREY_STEPS[raw_mode]
    if isinstance(key, tuple) and raw_mode == "RGB;16B":
        del picture.info["transparency"]
        with Image.open(BytesIO(content)) as lower:
            lower.tile = [lower.tile[0]._replace(args="RGB;16L")]  # the other byte of each sample
            deep = np.asarray(picture).astype(np.int64) * 256 + np.asarray(lower)
        cleared: Array = (deep == np.array(key)).all(axis=2)
        return cleared
    return None


def _eight_bits(picture: Image.Image, remarks: set[str]) -> Image.Image:
    """Reduce integers of more than 8 bits to grey of 8; leave other modes."""
    if picture.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range: convert it to 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    deep = np.asarray(picture).astype(np.int64)
    white_is_zero = getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    if picture.mode.startswith("I;16") or picture.format in _SIXTEEN:
        return Image.fromarray(((65535 - deep if white_is_zero else deep) >> 8).astype(np.uint8))
    if white_is_zero or deep.min() < 0 or deep.max() > 65535:
        raise ValueError("pixels are 32-bit numbers of unknown range: convert it to 8 or 16 bits")
    remarks.add(WIDE)
    return Image.fromarray((deep if deep.max() <= 255 else deep >> 8).astype(np.uint8))


def _on_white(picture: Image.Image, clear: "Array | None") -> tuple[Image.Image, bool]:
    """Lay a picture on white, as RGB without anything else that it knew of its file; tell whether anything shows."""
    transparent = clear is not None and bool(clear.any())
    if clear is not None:
        colours = np.array(picture.convert("RGB"))
        colours[clear] = 255
        return Image.fromarray(colours), transparent
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        transparent = bool((np.asarray(layers)[..., 3] < 255).any())
        picture = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return Image.fromarray(np.asarray(picture.convert("RGB"))), transparent


def _turned(picture: Image.Image, orientation: object) -> Image.Image:
    """Turn a picture as an EXIF orientation of 2 to 8 says; anything else leaves it."""
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:
        return picture
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    picture.info["exif"] = exif.tobytes()
    return Image.fromarray(np.asarray(ImageOps.exif_transpose(picture)))
