"""Find suites by file or name: ``benchmarks/*.toml``, which the package carries, or a file of one's own."""

from pathlib import Path

from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean


def built_in_folder() -> Path:
    """Return the folder of the suites that come with vaebench: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next((path for path in (package / "benchmarks", package.parent / "benchmarks") if path.is_dir()), package)


def built_in() -> dict[str, Path]:
    """Return the suites that come with vaebench, by name."""
    return {path.stem: path for path in sorted(built_in_folder().glob("*.toml"))}


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
