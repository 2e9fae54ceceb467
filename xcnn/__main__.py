"""``python -m xcnn``: the command line."""

from __future__ import annotations

from xcnn.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
