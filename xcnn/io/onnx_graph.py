"""An ONNX graph while it is written: nodes, and the arrays that they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xcnn.layer import Layer

__all__ = ["Graph"]


class Graph:
    """Nodes and the arrays that they use, while they are written.

    Parameters
    ----------
    to_numpy : callable
        Brings an array to the host.
    dtype : str
        Of the weights: "float32" or "float64".
    """

    def __init__(self, to_numpy: Callable[[Any], np.ndarray], dtype: str) -> None:
        self.to_numpy = to_numpy
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.arrays: dict[str, Any] = {}  # by name

    def node(self, op: str, layer: Layer, inputs: list[str], /, **attributes: Any) -> str:
        """Add a node and return the name of its output.

        Parameters
        ----------
        op : str
            Operator of ONNX.
        layer : Layer
            What it comes from: names the node.
        inputs : list of str
            Names; an empty one is left out.
        **attributes
            Of the operator.

        Returns
        -------
        str
            A new name.
        """
        from onnx import helper

        y = f"{layer.path or type(layer).__name__}:{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [y], name=f"{op} {y}", **attributes))
        return y

    def weights(self, holder: Any, name: str, /, *, flip: bool = False) -> str:
        """Add a Parameter or Buffer once.

        Parameters
        ----------
        holder : Parameter, Buffer or None
            None gives the empty name of an input that is left out.
        name : str
            Its name in the file.
        flip : bool
            Whether to rotate kernels by 180 degrees.

        Returns
        -------
        str
            The name.
        """
        if holder is None:
            return ""
        a = np.reshape(self.to_numpy(holder.value), holder.shape)
        return self.array(a[:, :, ::-1, ::-1] if flip else a, name)

    def array(self, values: Any, name: str, /, dtype: str | None = None) -> str:
        """Add numbers under a name and return it; by default in the dtype of the weights."""
        from onnx import numpy_helper

        a = np.ascontiguousarray(values, dtype=dtype or self.dtype).reshape(np.shape(values))
        self.arrays[name] = numpy_helper.from_array(a, name)
        return name
