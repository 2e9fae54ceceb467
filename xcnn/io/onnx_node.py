"""A node of an ONNX file as its reader sees it: attributes, constant inputs, the shape that comes in."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from xcnn.errors import FileError

__all__ = ["Node"]

Shape = tuple[int, ...]


class Node:
    """One node.

    Parameters
    ----------
    proto : NodeProto
        As in the file.
    constants : list of (array or None)
        Its inputs, None for what is computed or left out.
    shape : tuple of int
        Of its first computed input, without N.
    batch : int or None
        N, where the file says it.
    """

    def __init__(
        self, proto: Any, constants: list[np.ndarray | None], shape: Shape, batch: int | None
    ) -> None:
        from onnx import helper

        self.op: str = proto.op_type
        self.label = f"node {proto.name or proto.output[0]!r} ({proto.op_type})"
        self.constants, self.shape, self.batch = constants, shape, batch
        self.outputs = [name for name in proto.output if name]
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}

    def refuse(self, what: str, /) -> NoReturn:
        """Raise a FileError that names the node.

        Parameters
        ----------
        what : str
            What came and what was needed.

        Raises
        ------
        FileError
            Always.
        """
        msg = f"{self.label}: {what}"
        raise FileError(msg)

    def get(self, name: str, default: Any, /) -> Any:
        """Return an attribute, strings as str, or `default`."""
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def only(self, **needed: Any) -> None:
        """Refuse attributes that differ from what they have by default.

        Parameters
        ----------
        **needed
            The only value that each may have.
        """
        for name, value in needed.items():
            if self.get(name, value) != value:
                self.refuse(f"{name} is {self.get(name, value)!r}; xcnn has {value!r} alone")

    def constant(self, i: int, what: str, /) -> np.ndarray:
        """Return input `i`, which must be a constant."""
        found = self.optional(i)
        if found is None:
            self.refuse(f"its {what} is computed or missing; needed a constant")
        return found

    def optional(self, i: int, /) -> np.ndarray | None:
        """Return input `i` if it is a constant."""
        return self.constants[i] if i < len(self.constants) else None

    def integers(self, i: int, what: str, /) -> list[int]:
        """Return input `i` as integers, few of them."""
        values = self.constant(i, what)
        if values.size > 64 or values.dtype.kind not in "iu":
            self.refuse(
                f"its {what} has dtype {values.dtype} and shape {values.shape}; needed a few integers"
            )
        return [int(v) for v in values.reshape(-1)]

    def pair(self, name: str, /) -> tuple[int, int]:
        """Return an attribute of (rows, columns), by default (1, 1)."""
        values = self.get(name, [1, 1])
        if len(values) != 2:
            self.refuse(f"{name} is {list(values)}; needed two: xcnn's windows have rows and columns")
        return int(values[0]), int(values[1])

    def axis(self, default: int, /) -> int:
        """Return the attribute axis, counted from the front."""
        axis = int(self.get("axis", default))
        return axis + len(self.shape) + 1 if axis < 0 else axis
