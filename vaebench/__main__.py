"""The command ``vaebench``, also as ``python -m vaebench`` and ``torchrun -m vaebench``."""

import os
import sys

from vaebench.core.interrupts import answer_at_once

TRAINING = {"train", "quickstart", "suite", "doctor"}  # commands that train, or measure how fast one would


def main() -> None:
    """Answer signals before anything large is imported, then run the command line.

    Threads that wait for one another leave the processor to others, but where a command trains, and unless the
    environment says how they wait: OpenMP reads that once, when torch is imported. Spinning costs an evaluation several
    times the work on a shared machine and gains it a twentieth on a machine of its own; the short steps of a training
    it gains a quarter (``benchmarks/speed/waiting.py``).
    """
    answer_at_once()
    if not TRAINING & set(sys.argv[1:]):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from vaebench.cli.main import main as run  # noqa: PLC0415  (a signal may come while it is imported)

    run()


if __name__ == "__main__":
    main()
