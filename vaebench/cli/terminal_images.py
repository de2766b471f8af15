"""Show a small picture in terminals that can: kitty's and iTerm2's protocols, and sixels; elsewhere nothing.

Kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol; iTerm2: https://iterm2.com/documentation-images.html; sixels:
DEC VT330/VT340 Graphics Programming, chapter 14.
"""

import base64
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from rich.console import Console

if TYPE_CHECKING:
    from PIL.Image import Image

Protocol = Literal["kitty", "iterm", "sixel", ""]
CHUNK = 4096  # characters of base64 in one of kitty's commands
COLOURS = 64  # of a sixel picture's palette
ERASED_LINE = "\r\x1b[2K"
BAND = 6  # rows of pixels in one row of sixels
KITTY, ITERM, SIXEL = (
    ("kitty", "ghostty"),
    ("iTerm.app", "WezTerm", "mintty", "vscode"),
    ("foot", "mlterm", "sixel", "yaft"),
)


def protocol_of(environment: Mapping[str, str]) -> Protocol:
    """Tell by its environment how a terminal shows pictures; empty where it does not, or nobody knows."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith("screen"):
        return ""  # they pass on no pictures by default
    if environment.get("KITTY_WINDOW_ID") or any(name in term for name in KITTY) or program in KITTY:
        return "kitty"
    if program in ITERM:
        return "iterm"
    return "sixel" if any(name in term for name in SIXEL) else ""


def encoded(picture: "Image", protocol: Protocol) -> str:
    """Encode a picture as the characters that show it.

    Args:
        picture: RGB or grey, as large as it is to be shown.
        protocol: one of :func:`protocol_of`.

    Returns:
        Escape sequences; empty without a protocol.
    """
    if protocol == "sixel":
        return _sixels(picture)
    if not protocol:
        return ""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    content = base64.b64encode(file.getvalue()).decode("ascii")
    if protocol == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(file.getvalue())};preserveAspectRatio=1:{content}\x07"
    parts = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
    commands = []
    for place, part in enumerate(parts):
        first = "a=T,f=100," if not place else ""
        commands.append(f"\x1b_G{first}m={int(place + 1 < len(parts))};{part}\x1b\\")
    return "".join(commands)


def _sixels(picture: "Image") -> str:
    """Encode a picture as sixels: bands of six rows, colour by colour, runs shortened."""
    small = picture.convert("RGB").quantize(COLOURS)
    width, height = small.size
    palette = small.getpalette() or []
    pixels = small.tobytes()
    parts = [f'\x1bPq"1;1;{width};{height}']
    for colour in sorted(set(pixels)):
        red, green, blue = (round(100 * part / 255) for part in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, BAND):
        rows = [pixels[row * width : (row + 1) * width] for row in range(top, min(top + BAND, height))]
        lines = []
        for colour in sorted(set(b"".join(rows))):
            bits = [sum(1 << place for place, row in enumerate(rows) if row[x] == colour) for x in range(width)]
            lines.append(f"#{colour}{_runs(bits)}")
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\"


def _runs(bits: list[int]) -> str:
    """Write sixels, more than three alike as a run."""
    written, start = [], 0
    for place in range(1, len(bits) + 1):
        if place == len(bits) or bits[place] != bits[start]:
            sign, count = chr(63 + bits[start]), place - start
            written.append(f"!{count}{sign}" if count > 3 else sign * count)
            start = place
    return "".join(written)


def protocol_on(console: Console) -> Protocol:
    """Tell how a console shows pictures; empty where it is no terminal, or none that can."""
    return protocol_of(os.environ) if console.is_terminal and not console.no_color else ""


def show_picture(picture: "Image", console: Console, *, in_place_of_line: bool = False) -> None:
    """Show a picture on a console that is a terminal which can; do nothing elsewhere.

    With ``in_place_of_line`` it stands where the terminal's last line was, which a live display then draws below it.
    """
    protocol = protocol_on(console)
    if protocol:
        console.file.write((ERASED_LINE if in_place_of_line else "") + encoded(picture, protocol) + "\n")
        console.file.flush()
