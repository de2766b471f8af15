"""Odd image files, made by hand where no library writes them, each with the pixels that a viewer shows on white."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 24
COLOURS = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
HIDDEN = np.random.default_rng(6).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
CLEAR = np.zeros((SIDE, SIDE), bool)
CLEAR[SIDE // 2 :] = True
T = Image.Transpose
TO_STORE = [
    None,
    T.FLIP_LEFT_RIGHT,
    T.ROTATE_180,
    T.FLIP_TOP_BOTTOM,
    T.TRANSPOSE,
    T.ROTATE_90,
    T.TRANSVERSE,
    T.ROTATE_270,
]


@dataclass(frozen=True)
class Odd:
    """A file, and its pixels (h, w, 3)."""

    content: bytes
    pixels: np.ndarray


def three(grey):
    return np.repeat(grey[..., None], 3, 2)


def on_white(pixels, clear=CLEAR):
    shown = pixels.copy()
    shown[clear] = 255
    return shown


def packed(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(bits, colour, rows, *, key=None, palette=None, width=SIDE):
    """A PNG by the letter of its specification; ``colour`` 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    lines = b"".join(b"\0" + row for row in rows)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    between = (chunk(b"PLTE", palette) if palette else b"") + (chunk(b"tRNS", key) if key else b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + between
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def deep_rows(array):
    return [row.astype(">u2").tobytes() for row in array.reshape(len(array), -1)]


def bit_rows(values, bits):
    """Rows of samples of 1, 2 or 4 bits, packed."""
    digits = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
    return [np.packbits(row.ravel()).tobytes() for row in digits]


def tiff(samples, bits, photometric, sample_format=1):
    """An uncompressed grey TIFF of one strip."""
    content = samples.tobytes()
    tags = [
        (256, 3, SIDE),
        (257, 3, SIDE),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
    ]
    tags += [(278, 3, SIDE), (279, 4, len(content)), (339, 3, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory


def turned(number, kind):
    """A picture stored as a camera that was turned does."""
    picture = Image.fromarray(COLOURS)
    operation = TO_STORE[number - 1]
    exif = Image.Exif()
    exif[274] = number
    options = {"lossless": True} if kind == "WEBP" else {}
    return packed(picture if operation is None else picture.transpose(operation), kind, exif=exif, **options)


def layered(mode):
    """A picture transparent below, with noise beneath."""
    pixels = np.where(CLEAR[..., None], HIDDEN, COLOURS)
    alpha = np.where(CLEAR, 0, 255).astype(np.uint8)
    if mode == "LA":
        return Image.fromarray(np.dstack([pixels[..., 0], alpha]), "LA")
    return Image.fromarray(np.dstack([pixels, alpha]))


DEEP = COLOURS.astype(np.uint16) * 257
DEEP_GREY = DEEP[..., 0]
KEYED = np.where(CLEAR, 12345, np.where(DEEP_GREY == 12345, 12346, DEEP_GREY))
KEYED_COLOURS = np.where(CLEAR[..., None], np.array([300, 301, 302]), DEEP)
NEAR_KEY = np.where(CLEAR[..., None], np.array([300, 301, 303]), DEEP)  # equal to the key but for lower bits
FOUR, TWO, ONE = GREY >> 4, GREY >> 6, GREY >> 7
PALETTE = np.arange(768, dtype=np.uint8)[::-1].reshape(256, 3)


def _corpus():
    yield "plain.png", Odd(packed(Image.fromarray(COLOURS), "PNG"), COLOURS)
    yield "interlaced_grey.png", Odd(packed(Image.fromarray(GREY), "PNG"), three(GREY))
    for number in range(1, 9):
        yield f"turned_{number}.png", Odd(turned(number, "PNG"), COLOURS)
        yield f"turned_{number}.webp", Odd(turned(number, "WEBP"), COLOURS)
        yield f"turned_{number}.tif", Odd(turned(number, "TIFF"), COLOURS)
    yield "grey16.png", Odd(png(16, 0, deep_rows(DEEP_GREY)), three(GREY))
    yield "rgb16.png", Odd(png(16, 2, deep_rows(DEEP)), COLOURS)
    yield (
        "grey16_key.png",
        Odd(png(16, 0, deep_rows(KEYED), key=struct.pack(">H", 12345)), on_white(three((KEYED >> 8).astype(np.uint8)))),
    )
    key = struct.pack(">3H", 300, 301, 302)
    yield "rgb16_key.png", Odd(png(16, 2, deep_rows(KEYED_COLOURS), key=key), on_white(COLOURS))
    yield "rgb16_near_key.png", Odd(png(16, 2, deep_rows(NEAR_KEY), key=key), (NEAR_KEY >> 8).astype(np.uint8))
    opaque = np.where(CLEAR, 0, 65535)
    yield "rgba16.png", Odd(png(16, 6, deep_rows(np.dstack([DEEP, opaque]))), on_white(COLOURS))
    yield "grey_alpha16.png", Odd(png(16, 4, deep_rows(np.dstack([DEEP_GREY, opaque]))), on_white(three(GREY)))
    yield (
        "grey4_key.png",
        Odd(png(4, 0, bit_rows(FOUR, 4), key=struct.pack(">H", 5)), on_white(three(FOUR * 17), FOUR == 5)),
    )
    yield (
        "grey2_key.png",
        Odd(png(2, 0, bit_rows(TWO, 2), key=struct.pack(">H", 1)), on_white(three(TWO * 85), TWO == 1)),
    )
    yield "grey1_key.png", Odd(png(1, 0, bit_rows(ONE, 1), key=struct.pack(">H", 0)), three(np.full_like(GREY, 255)))
    yield (
        "grey8_key.png",
        Odd(
            png(8, 0, list(map(bytes, GREY)), key=struct.pack(">H", int(GREY[0, 0]))),
            on_white(three(GREY), GREY[0, 0] == GREY),
        ),
    )
    yield "bilevel.png", Odd(png(1, 0, bit_rows(ONE, 1)), three(ONE * np.uint8(255)))
    yield (
        "rgb8_key.png",
        Odd(
            png(8, 2, [row.tobytes() for row in COLOURS], key=struct.pack(">3H", *map(int, COLOURS[3, 4]))),
            on_white(COLOURS, (COLOURS[3, 4] == COLOURS).all(2)),
        ),
    )
    rows = list(map(bytes, GREY))
    yield "palette.png", Odd(png(8, 3, rows, palette=PALETTE.tobytes()), PALETTE[GREY])
    alphas = bytes(0 if entry % 2 else 255 for entry in range(256))
    yield (
        "palette_clear.png",
        Odd(png(8, 3, rows, palette=PALETTE.tobytes(), key=alphas), on_white(PALETTE[GREY], GREY % 2 == 1)),
    )
    yield "rgba.png", Odd(packed(layered("RGBA"), "PNG"), on_white(COLOURS))
    yield "grey_alpha.png", Odd(packed(layered("LA"), "PNG"), on_white(three(GREY)))
    yield "rgba.tga", Odd(packed(layered("RGBA"), "TGA"), on_white(COLOURS))
    yield "rgba.tif", Odd(packed(layered("RGBA"), "TIFF"), on_white(COLOURS))
    yield "rgba.webp", Odd(packed(layered("RGBA"), "WEBP", lossless=True, exact=True), on_white(COLOURS))
    yield "grey16.tif", Odd(tiff(DEEP_GREY.astype("<u2"), 16, 1), three(GREY))
    yield "white_is_zero16.tif", Odd(tiff((65535 - DEEP_GREY).astype("<u2"), 16, 0), three(GREY))
    yield "white_is_zero8.tif", Odd(tiff(255 - GREY, 8, 0), three(GREY))
    yield "int32_of_8_bits.tif", Odd(tiff(GREY.astype("<i4"), 32, 1, 2), three(GREY))
    yield "int32_of_16_bits.tif", Odd(tiff(DEEP_GREY.astype("<i4"), 32, 1, 2), three(GREY))
    yield "plain.bmp", Odd(packed(Image.fromarray(COLOURS), "BMP"), COLOURS)
    yield "plain.ppm", Odd(packed(Image.fromarray(COLOURS), "PPM"), COLOURS)
    yield "grey16.pgm", Odd(b"P5 %d %d 65535\n" % (SIDE, SIDE) + DEEP_GREY.astype(">u2").tobytes(), three(GREY))
    yield "plain.tga", Odd(packed(Image.fromarray(COLOURS), "TGA"), COLOURS)
    yield "plain.jp2", Odd(packed(Image.fromarray(COLOURS), "JPEG2000"), COLOURS)
    yield "PLAIN.PNG", Odd(packed(Image.fromarray(COLOURS), "PNG"), COLOURS)
    yield "no_suffix", Odd(packed(Image.fromarray(COLOURS), "PNG"), COLOURS)
    others = {"save_all": True, "append_images": [Image.fromarray(HIDDEN)]}
    yield "moving.png", Odd(packed(Image.fromarray(COLOURS), "PNG", **others), COLOURS)
    yield "pages.tif", Odd(packed(Image.fromarray(COLOURS), "TIFF", **others), COLOURS)
    few = Image.fromarray(PALETTE[GREY // 32 * 32]).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    yield "palette.gif", Odd(packed(few, "GIF"), PALETTE[GREY // 32 * 32])
    cmyk = np.dstack([COLOURS, np.zeros_like(GREY)])
    yield "cmyk.tif", Odd(packed(Image.fromarray(cmyk, "CMYK"), "TIFF"), 255 - COLOURS)
    yield "5\u00b23.png", Odd(packed(Image.fromarray(COLOURS), "PNG"), COLOURS)
    for kind in ("jpg", "jfif", "jpeg"):
        photograph = packed(Image.fromarray(COLOURS), "JPEG", quality=90)
        yield f"photograph.{kind}", Odd(photograph, np.asarray(Image.open(io.BytesIO(photograph))))


CORPUS = dict(_corpus())
