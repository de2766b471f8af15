"""``python -m vaebench`` (and ``torchrun -m vaebench``) is the command ``vaebench``."""

from vaebench.cli import main

if __name__ == "__main__":
    main()
