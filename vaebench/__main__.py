"""The command ``vaebench``, also as ``python -m vaebench`` and ``torchrun -m vaebench``."""

from vaebench.core.interrupts import answer_at_once


def main() -> None:
    """Answer signals before anything large is imported, then run the command line."""
    answer_at_once()
    from vaebench.cli.main import main as run  # noqa: PLC0415  (a signal may come while it is imported)

    run()


if __name__ == "__main__":
    main()
