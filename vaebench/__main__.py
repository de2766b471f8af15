"""The command ``vaebench``, also as ``python -m vaebench`` and ``torchrun -m vaebench``."""

import os

from vaebench.core.interrupts import answer_at_once


def main() -> None:
    """Answer signals before anything large is imported, then run the command line.

    Threads that wait for one another leave the processor to others, unless the environment says how they wait: OpenMP
    reads that once, when torch is imported. Spinning gains little on a machine of one's own and costs several times the
    work on a shared one (``benchmarks/speed/waiting.py``).
    """
    answer_at_once()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from vaebench.cli.main import main as run  # noqa: PLC0415  (a signal may come while it is imported)

    run()


if __name__ == "__main__":
    main()
