"""``python -m tt_compute`` is ``ttc``."""

from tt_compute.cli.main import main

if __name__ == "__main__":
    main()
