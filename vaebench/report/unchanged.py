"""Whether a report would come out as it lies there: told from files' names, sizes and times, and without an engine.

What a report was made from, and what it was, is remembered in ``VAEBENCH_CACHE/reports.json`` by the request.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaebench import __version__
from vaebench.core.errors import UserError
from vaebench.core.places import cache_dir, runs_dir, write_text


def datasets_unchanged(request: Mapping[str, Any], out: Path) -> list[str]:
    """Datasets whose reports this request would write again as they are; empty where anything is new, or gone."""
    known = _memory().get(_key(request, out))
    if not isinstance(known, dict):
        return []
    datasets: list[str] = known["datasets"]
    return datasets if known["state"] == _state(request, out, datasets) else []


def remember(request: Mapping[str, Any], out: Path, datasets: Sequence[str]) -> None:
    """The request was just answered: reports of these datasets lie in ``out``."""
    known = {"datasets": list(datasets), "state": _state(request, out, datasets)}
    memory = {**_memory(), _key(request, out): known}
    try:
        write_text(cache_dir() / "reports.json", json.dumps(memory, indent=1, sort_keys=True) + "\n")
    except UserError:  # what cannot be remembered is written again
        return


def _memory() -> dict[str, Any]:
    try:
        found = json.loads((cache_dir() / "reports.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(request: Mapping[str, Any], out: Path) -> str:
    asked = {name: str(value) for name, value in request.items()}
    return json.dumps([asked, str(out.resolve()), str(runs_dir().resolve())], sort_keys=True)


def _state(request: Mapping[str, Any], out: Path, datasets: Sequence[str]) -> str:
    """Of everything measured, of what a person laid beside it, and of what was written."""
    published = [Path(request["published"])] if request.get("published") else []
    places = [runs_dir(), *published, *(out / dataset for dataset in datasets)]
    return hashlib.sha256("\n".join([__version__, *_files(places)]).encode()).hexdigest()


def _files(places: Iterable[Path]) -> Iterable[str]:
    for place in places:
        for path in sorted(place.rglob("*")):
            if not path.name.startswith(".") and path.is_file():
                stat = path.stat()
                yield f"{path} {stat.st_size} {stat.st_mtime_ns}"
