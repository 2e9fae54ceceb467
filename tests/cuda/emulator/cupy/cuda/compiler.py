"""The error of a source that doesn't compile."""

from __future__ import annotations


class CompileException(Exception):
    """What the compiler said, and the source."""

    def __init__(
        self, msg: str, source: str, name: str, options: tuple[str, ...], backend: str = "g++"
    ) -> None:
        super().__init__(msg)
        self.source, self.name, self.options, self.backend = source, name, options, backend

    def get_message(self) -> str:
        return str(self)
