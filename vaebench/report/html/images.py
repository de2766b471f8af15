"""Embed pictures in the page, as WebP: the runs' own images, and the report's figures."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from vaebench.core.subjects import title_of
from vaebench.report.analysis.measured import Measured, Subject
from vaebench.report.figures.curves import FILE as CURVES
from vaebench.report.figures.equal_compute import FILE as COMPUTE
from vaebench.report.figures.galleries import sample_grid, shown_images
from vaebench.report.html.wording import run_name
from vaebench.report.remarks import Remarks
from vaebench.runs.galleries import Pixels, grid

_DRAWN_IN_PAGE = ("forest.svg",)
_KINDS = {CURVES: "curves", COMPUTE: "compute"}  # of figures that stand in a section of their own
_LARGEST_WEBP = 16383  # pixels a side
_OF_RUNS, _OF_FIGURES = 90, 85  # of 100, for photographs: 45 and 38 to 42 dB of luma on decoded faces


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """One picture; ``width`` and ``height`` are its own pixels."""

    uri: str
    name: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFigure:
    """Pictures under one caption, with what a person said of them."""

    kind: str  # reconstructions, samples, curves, compute or figure
    caption: str
    remark: str
    pictures: Sequence[Embedded]


def shown_figures(
    measured: Measured,
    captions: Mapping[str, str],
    remarks: Remarks,
    folder: Path,
    alternatives: Mapping[str, str] | None = None,
) -> list[ShownFigure]:
    """List the galleries first, then the report's other figures in their order.

    Args:
        measured: what was measured.
        captions: of figures, by path in ``folder``.
        remarks: what a person said of them.
        folder: the report's.
        alternatives: what stands for a figure where it cannot be seen, by path; by default its caption.
    """
    galleries = measured.galleries or measured.with_galleries().galleries
    found, covered = [], set()
    for kind in ("reconstructions", "samples"):
        pictures = _gallery(galleries, kind)
        if any(picture.name != "originals" for picture in pictures):
            covered.add(f"{kind}.png")
            path = next((name for name in captions if PurePosixPath(name).name == f"{kind}.png"), f"figures/{kind}.png")
            caption = captions.get(path, _CAPTIONS[kind])
            found.append(ShownFigure(kind=kind, caption=caption, remark=_remark(path, remarks), pictures=pictures))
    for path, caption in captions.items():
        name = PurePosixPath(path).name
        if name not in covered and name not in _DRAWN_IN_PAGE:
            kind = _KINDS.get(name, "figure")
            picture = _file(folder / path, (alternatives or {}).get(path, caption))
            found.append(ShownFigure(kind=kind, caption=caption, remark=_remark(path, remarks), pictures=[picture]))
    return found


_CAPTIONS = {
    "reconstructions": "Reconstructions of test images from the posterior mean.",
    "samples": "Samples: images decoded from draws of the prior.",
}


def _remark(path: str, remarks: Remarks) -> str:
    said = remarks.figures.get(path)
    return f"Seen {remarks.date}: {said}" if said else ""


def _gallery(galleries: Mapping[Subject, Mapping[str, Pixels]], kind: str) -> list[Embedded]:
    """Embed one picture a recipe, of its first seed; the originals first."""
    found = []
    for subject, images in shown_images(galleries, kind):
        columns = len(images) if kind == "reconstructions" else sample_grid(images.shape[1])[0]
        sheet = grid(images, columns)
        picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
        found.append(_embedded(picture, title_of(run_name(*subject)), _OF_RUNS))
    return found


def _file(path: Path, alternative: str) -> Embedded:
    content = path.read_bytes()
    if path.suffix != ".png":
        return Embedded(uri=_uri(content, "image/svg+xml"), name=alternative)
    with Image.open(io.BytesIO(content)) as picture:
        return _embedded(picture, alternative, _OF_FIGURES)


def _embedded(picture: Image.Image, name: str, quality: int) -> Embedded:
    content, mime = _encoded(picture.convert("L" if picture.mode == "L" else "RGB"), quality)
    return Embedded(uri=_uri(content, mime), name=name, width=picture.width, height=picture.height)


def _encoded(picture: Image.Image, quality: int) -> tuple[bytes, str]:
    """Encode a picture as WebP: pixel by pixel, unless that takes twice the bytes of what looks alike at ``quality``.

    It does of photographs. Pictures larger than WebP can be are PNG.
    """
    if max(picture.size) > _LARGEST_WEBP:
        return _saved(picture, format="PNG", optimize=True), "image/png"
    exact = _saved(picture, format="WEBP", lossless=True, quality=50)
    near = _saved(picture, format="WEBP", quality=quality)
    return (near if 2 * len(near) < len(exact) else exact), "image/webp"


def _saved(picture: Image.Image, **how: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, **how)
    return out.getvalue()


def _uri(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
