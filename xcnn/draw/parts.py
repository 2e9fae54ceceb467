"""The files in a body of multipart/form-data, taken apart in memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from xcnn.draw.refusals import Refused

__all__ = ["Part", "parse_header", "read_parts"]

_LONGEST_HEADERS = 4096  # bytes, of one part

# Who sent a broken form is told; nobody else need be.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())


@dataclass
class Part:
    """One file of a form.

    Parameters
    ----------
    name : str
        That of the file, to be shown only; that of the field, or its number, where it has none.
    content : bytes
        The file.
    """

    name: str
    content: bytes


def parse_header(value: str, /) -> tuple[str, dict[str, str]]:
    """Return a header such as ``image/png; q=1`` as its value in lower case and its parameters."""
    try:
        kind, options = parse_options_header(value)
    except ValueError as error:
        msg = "holds characters that no header may hold"
        raise Refused(400, msg, "Content-Type") from error
    return kind.decode("latin-1").strip().lower(), {
        key.decode("latin-1"): option.decode("latin-1") for key, option in options.items()
    }


def read_parts(body: bytes, boundary: str, /, *, most: int) -> list[Part]:
    """Return the files in a body of multipart/form-data.

    Parameters
    ----------
    body : bytes
        All of it.
    boundary : str
        From the header Content-Type.
    most : int
        How many parts may come.

    Returns
    -------
    list of Part
        At least one.

    Raises
    ------
    Refused
        413 for more parts than `most`, 415 for parts that are forms themselves or encoded, 400 for a body
        that is no such form.
    """
    if not boundary or not boundary.isascii() or boundary.strip() != boundary or "\r" in boundary:
        msg = "names no boundary for multipart/form-data; needed multipart/form-data; boundary=..."
        raise Refused(400, msg, "Content-Type")
    reading = _Reading(most)
    try:
        reading.parser(boundary).write(body)
    except FormParserError as error:
        msg = f"no valid multipart/form-data: {error}"
        raise Refused(400, msg, "the body") from error
    if not reading.ended:
        msg = "no valid multipart/form-data: it stops before its last boundary"
        raise Refused(400, msg, "the body")
    if not reading.parts:
        raise Refused(400, "holds no file; needed one at least", "the body")
    return reading.parts


@dataclass
class _Reading:
    """What the parser has found so far."""

    most: int
    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _headers: dict[str, str] = field(default_factory=dict)
    _size: int = 0
    _content: list[bytes] = field(default_factory=list)

    def parser(self, boundary: str) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, stop: self._add(self._name, data, start, stop),
                "on_header_value": lambda data, start, stop: self._add(self._value, data, start, stop),
                "on_header_end": self._end_header,
                "on_part_data": lambda data, start, stop: self._content.append(data[start:stop]),
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def _begin(self) -> None:
        if len(self.parts) == self.most:
            msg = f"holds more than {self.most:,} files; needed fewer, in more than one request"
            raise Refused(413, msg, "the body")
        self._headers, self._content, self._size = {}, [], 0

    def _add(self, text: bytearray, data: bytes, start: int, stop: int) -> None:
        self._size += stop - start
        if self._size > _LONGEST_HEADERS:
            msg = f"part {len(self.parts) + 1} has headers of more than {_LONGEST_HEADERS:,} bytes"
            raise Refused(400, msg, "the body")
        text += data[start:stop]

    def _end_header(self) -> None:
        self._size += len(": \r\n")
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _end_part(self) -> None:
        where = f"part {len(self.parts) + 1}"
        kind, _ = parse_header(self._headers.get("content-type", ""))
        if kind.startswith("multipart/"):
            raise Refused(415, f"is {kind} itself; needed an image file", where)
        encoding = self._headers.get("content-transfer-encoding", "binary").strip().lower()
        if encoding not in ("7bit", "8bit", "binary"):
            raise Refused(415, f"is encoded as {encoding[:40]!r}; needed the bytes as they are", where)
        _, told = parse_header(self._headers.get("content-disposition", ""))
        name = told.get("filename") or told.get("name") or ""
        name = "".join(c if c.isprintable() else "?" for c in _utf8(name)[:80])
        self.parts.append(Part(name or where, b"".join(self._content)))

    def _end(self) -> None:
        self.ended = True


def _utf8(name: str) -> str:
    """Return a name as browsers mean it, who send UTF-8 in what is read as Latin-1."""
    try:
        return name.encode("latin-1").decode()
    except UnicodeError:
        return name
