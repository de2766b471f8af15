"""The page that shows the stream: one string, nothing from elsewhere, no script."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from vaebench.studies.webcam.detected import Detected
from vaebench.studies.webcam.fitting import Trust

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
img { display: block; max-width: 100%; min-height: 6rem; background: #222; color: #eee; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -.1em; border: 3px solid; }
.yes { border-color: #28c850; } .no { border-color: #f03c32; } .odd { border-color: #ffbe3c; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; img-src 'self' data:; style-src 'sha256-{_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOST = "No picture: the video has ended, the program was stopped, or another page is watching. Then close that one."


def page(run: str, source: str, trust: Mapping[str, Trust], detected: Detected, changes: Mapping[str, float]) -> str:
    """HTML for a run that reads attributes which are right so often, and changes others by so much."""
    first = next(iter(trust))
    name = escape(run)
    rows = "".join(
        f"<tr><td>{escape(attribute)}</td><td>{_share(detected.accuracy.get(attribute))}</td>"
        f"<td>{_share(known.accuracy)}</td><td>{_share(known.balanced)}</td><td>{_share(known.share)}</td></tr>"
        for attribute, known in trust.items()
    )
    changed = " and ".join(f"{escape(attribute)} {amount:+g}" for attribute, amount in changes.items())
    beside = f"<p>Beside each face: the face as the run decodes it, and with {changed}.</p>" if changed else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: webcam</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p>Reads {escape(source)}. Pictures stay on this machine and are not kept.</p>
<img src="/stream" alt="{escape(LOST)}">
<ul>
<li><span class="key yes"></span> the run finds {escape(first)} in the face; <span class="key no"></span> it does not.
Each attribute has a line with yes or no and its score, which is 0 at the classifier's boundary.</li>
<li><span class="key odd"></span> <em>unlike the training faces</em>: the run reconstructs the face worse than 99 % of
the faces that it was tested on, or encodes it further in or out than the middle 99 % of them.
Then trust nothing that is read.</li>
</ul>
{beside}<p>How often each reading is right on the dataset's held-out faces: on {detected.images} of them framed as here,
by the detector; and on all, framed as the dataset frames them. Other light, other cameras and faces unlike the
dataset's make it worse.</p>
<table>
<thead><tr><th>attribute</th><th>accuracy, framed as here</th><th>accuracy</th><th>balanced accuracy</th>
<th>faces that have it</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</body>
</html>
"""


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
