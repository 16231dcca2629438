"""``python -m mrdaemon`` is ``mrdaemon``."""

from mrdaemon.cli import main

if __name__ == "__main__":
    main()
