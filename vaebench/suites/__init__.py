"""Find suites by file or name: ``benchmarks/*.toml``, which the package carries, or a file of one's own."""

from pathlib import Path

from vaebench.core.errors import UserError
from vaebench.core.paths import bundled
from vaebench.core.registry import did_you_mean


def built_in() -> dict[str, Path]:
    """Return the suites that come with vaebench, by name."""
    return {path.stem: path for path in sorted(bundled("benchmarks").glob("*.toml"))}


def find_suite(given: str) -> Path:
    """Return the file that a user means: its path, or the name of a suite that comes with vaebench.

    Raises:
        UserError: there is neither.
    """
    known = built_in()
    if given in known:
        return known[given]
    path = Path(given).expanduser()
    if path.is_file():
        return path
    if path.suffix == ".toml":
        raise UserError(f"{given} does not exist: give a suite's file, or a name ('vaebench suite list')")
    raise UserError(f"no suite is named '{given}': {did_you_mean(given, known)}, or give a file that ends in .toml")
