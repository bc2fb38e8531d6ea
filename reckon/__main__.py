"""`python -m reckon`, and the `reckon` command."""

from reckon.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
