"""Tell without an engine whether a report would come out unchanged, by files' names, sizes and times.

What a report was made from, and what it was, is remembered in ``VAEBENCH_CACHE/reports.json`` by the request.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vaebench import __version__
from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.paths import bundled, cache_dir, runs_dir

PACKAGE = Path(__file__).parents[1]
# suites, whose claims a report opens with, and published tables: in a checkout they lie beside the package
BUNDLED = (bundled("benchmarks"), bundled("baselines/published"))


def datasets_unchanged(request: Mapping[str, Any], out: Path) -> list[str]:
    """List datasets whose reports this request would write again as they are; empty if anything is new or gone."""
    known = _memory().get(_key(request, out))
    if not isinstance(known, dict) or not {"datasets", "made_from", "made"} <= set(known):
        return []
    datasets: Any = known["datasets"]
    if not isinstance(datasets, list) or not all(
        isinstance(name, str) and validation.is_name(name) for name in datasets
    ):
        return []
    made = _digest(out / name for name in datasets)
    return datasets if (known["made_from"], known["made"]) == (sources(request), made) else []


def remember(request: Mapping[str, Any], out: Path, datasets: Sequence[str], made_from: str) -> None:
    """Remember that reports of these datasets lie in ``out``, made from :func:`sources` as they were."""
    known = {"datasets": list(datasets), "made_from": made_from, "made": _digest(out / name for name in datasets)}
    memory = {**_memory(), _key(request, out): known}
    try:
        write_text(cache_dir() / "reports.json", json.dumps(memory, indent=1, sort_keys=True) + "\n")
    except UserError:  # what cannot be remembered is written again
        return


def written_from(dataset: str, out: Path) -> str:
    """Return the runs folder that the report of ``dataset`` in ``out`` was made from, if it is another one than this
    command's; empty if it is not, or nobody knows.
    """
    here = str(runs_dir().resolve())
    for key, known in _memory().items():
        try:
            _, place, runs = json.loads(key)
            names, made = known["datasets"], known["made"]
        except (ValueError, TypeError, KeyError):
            continue
        is_other = place == str(out.resolve()) and runs != here and isinstance(names, list) and dataset in names
        plain = is_other and all(isinstance(name, str) and validation.is_name(name) for name in names)
        if plain and made == _digest(out / name for name in names):  # nobody has written it since
            return str(runs)
    return ""


def _memory() -> dict[str, Any]:
    try:
        content = input_files.read_bytes(cache_dir() / "reports.json", most=input_files.LOG, remedy="delete it")
        return validation.from_json(content, dict[str, Any], "reports.json", "delete it")
    except (FileNotFoundError, UserError):
        return {}


def _key(request: Mapping[str, Any], out: Path) -> str:
    asked = {name: str(value) for name, value in request.items()}
    return json.dumps([asked, str(out.resolve()), str(runs_dir().resolve())], sort_keys=True)


def sources(request: Mapping[str, Any]) -> str:
    """Digest everything measured, folders of runs elsewhere, suites, published tables, and this package's code.

    To be taken before the report is made: what is measured meanwhile is not in it.
    """
    given = [*request.get("extra", ()), *([request["published"]] if request.get("published") else [])]
    return _digest([runs_dir(), *map(Path, given), PACKAGE, *BUNDLED])


def _digest(places: Iterable[Path]) -> str:
    lines = (line for place in places for line in sorted(_files(place)))
    return hashlib.sha256("\n".join([__version__, *lines]).encode(errors="backslashreplace")).hexdigest()


def _files(place: Path) -> Iterable[str]:
    seen = set()
    for folder, inner, names in os.walk(place, followlinks=True):
        where = Path(folder).stat()
        if (where.st_dev, where.st_ino) in seen:  # a link to a folder above it
            inner.clear()
            continue
        seen.add((where.st_dev, where.st_ino))
        for name in names:
            if not name.startswith(".") and not name.endswith(".pyc"):
                with suppress(FileNotFoundError):  # it is being written anew, or a link to nowhere
                    stat = Path(folder, name).stat()
                    yield f"{folder}/{name} {stat.st_size} {stat.st_mtime_ns}"
