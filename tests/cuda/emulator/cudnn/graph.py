"""Graphs: drawn, checked, planned and run in the order that the real ones ask for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from cupy.cuda import stream as streams

import cudnn
from cudnn.nodes import ENGINES, Convolution, Engine, Node, Tensor, norm, norm_gradient, relu
from cudnn.numbers import data_type, load, memory, store

ALIGNMENT = 16
STAGES = ("drawn", "validated", "built", "planned", "supported")


class pygraph:
    """What `cudnn.pygraph` is, as far as xcnn uses it."""

    def __init__(
        self,
        name: str = "test_graph",
        io_data_type: data_type = data_type.NOT_SET,
        intermediate_data_type: data_type = data_type.NOT_SET,
        compute_data_type: data_type = data_type.NOT_SET,
        handle: int | None = None,
    ) -> None:
        self._io, self._computed, self._handle = io_data_type, compute_data_type, handle
        self._nodes: list[Node] = []
        self._tensors: list[Tensor] = []
        self._stage = 0
        self._barred: set[int] = set()
        self._plans: dict[int, Engine] = {}
        self._chosen: int | None = None

    # Drawing.

    def tensor(
        self,
        dim: Sequence[int],
        stride: Sequence[int],
        data_type: data_type = data_type.NOT_SET,
        is_virtual: bool = False,
        is_pass_by_value: bool = False,
        name: str = "",
        uid: int = -1,
    ) -> Tensor:
        if not all(type(one) is int for one in (*dim, *stride)):
            msg = f"dim {dim} and stride {stride} must be lists of int"
            raise TypeError(msg)
        return self._add(Tensor(dim, stride, data_type, is_pass_by_value))

    def _add(self, tensor: Tensor) -> Tensor:
        self._tensors.append(tensor)
        return tensor

    def _result(self, dim: Sequence[int]) -> Tensor:
        return self._add(Tensor(dim, [], self._io))

    def conv_fprop(
        self,
        image: Tensor,
        weight: Tensor,
        pre_padding: list[int],
        post_padding: list[int],
        stride: list[int],
        dilation: list[int],
        name: str = "",
    ) -> Tensor:
        g, y = Convolution(pre_padding, post_padding, stride, dilation), self._result([])
        sizes = zip(image.dim[2:], weight.dim[2:], pre_padding, post_padding, stride, dilation, strict=True)
        out = [(h + p + q - d * (k - 1) - 1) // s + 1 for h, k, p, q, s, d in sizes]
        y.dim = [image.dim[0], weight.dim[0], *out]
        compute = lambda e, x, w: [g.forward(e, x, w, y.dim)]  # noqa: E731
        self._nodes.append(Node([image, weight], [y], compute, lambda: g.check(image, weight, y)))
        return y

    def conv_dgrad(
        self,
        loss: Tensor,
        filter: Tensor,
        pre_padding: list[int],
        post_padding: list[int],
        stride: list[int],
        dilation: list[int],
        name: str = "",
    ) -> Tensor:
        g, dx = Convolution(pre_padding, post_padding, stride, dilation), self._result([])
        compute = lambda e, dy, w: [g.input_gradient(e, dy, w, dx.dim)]  # noqa: E731
        self._nodes.append(Node([loss, filter], [dx], compute, lambda: g.check(dx, filter, loss)))
        return dx

    def conv_wgrad(
        self,
        image: Tensor,
        loss: Tensor,
        pre_padding: list[int],
        post_padding: list[int],
        stride: list[int],
        dilation: list[int],
        name: str = "",
    ) -> Tensor:
        g, dw = Convolution(pre_padding, post_padding, stride, dilation), self._result([])
        compute = lambda e, x, dy: [g.weight_gradient(e, x, dy, dw.dim)]  # noqa: E731
        self._nodes.append(Node([image, loss], [dw], compute, lambda: g.check(image, dw, loss)))
        return dw

    def bias(self, input: Tensor, bias: Tensor, name: str = "") -> Tensor:
        y = self._result(input.dim)
        self._nodes.append(Node([input, bias], [y], lambda e, x, b: [x + b]))
        return y

    def relu(self, input: Tensor, name: str = "") -> Tensor:
        y = self._result(input.dim)
        self._nodes.append(Node([input], [y], lambda e, x: [relu(e, x)]))
        return y

    def batchnorm(
        self,
        input: Tensor,
        scale: Tensor,
        bias: Tensor,
        in_running_mean: Tensor | None,
        in_running_var: Tensor | None,
        epsilon: Tensor,
        momentum: Tensor | None,
        name: str = "",
    ) -> list[Any]:
        if in_running_mean or in_running_var or momentum or not epsilon.by_value:
            msg = "the emulator's batchnorm keeps no running statistics and takes epsilon by value"
            raise RuntimeError(msg)
        found = [self._result(input.dim), self._result(scale.dim), self._result(scale.dim)]
        self._nodes.append(Node([input, scale, bias, epsilon], found, norm))
        return [*found, None, None]

    def batchnorm_backward(
        self, grad: Tensor, input: Tensor, scale: Tensor, mean: Tensor, inv_variance: Tensor, name: str = ""
    ) -> list[Tensor]:
        found = [self._result(input.dim), self._result(scale.dim), self._result(scale.dim)]
        self._nodes.append(Node([grad, input, scale, mean, inv_variance], found, norm_gradient))
        return found

    # Planning.

    def _advance(self, to: str) -> None:
        if STAGES[self._stage + 1] != to:
            msg = f"a graph that is {STAGES[self._stage]} cannot become {to}"
            raise AssertionError(msg)
        self._stage += 1

    def validate(self) -> None:
        self._advance("validated")
        for node in self._nodes:
            node.check()
        for tensor in self._tensors:
            if tensor.is_output or tensor.stride:
                _check_dense(tensor)
        if not any(tensor.is_output for tensor in self._tensors):
            msg = "no tensor is an output"
            raise RuntimeError(msg)

    def build_operation_graph(self) -> None:
        self._advance("built")
        for i, tensor in enumerate(self._tensors):
            tensor.uid = 1000 + i

    def create_execution_plans(self, modes: list[Any], /) -> None:
        self._advance("planned")
        if not set(modes) <= set(cudnn.heur_mode):
            msg = f"{modes} are not modes"
            raise TypeError(msg)
        kinds = {tensor.kind for tensor in self._tensors if tensor.stride and not tensor.by_value}
        plain = all(not node.compute.__name__.startswith("norm") for node in self._nodes)
        if (plain and len(kinds) > 1) or (not plain and data_type.DOUBLE in kinds):
            msg = f"No valid engine configs for {kinds}"  # float32 biases of halves, say: none on sm_90
            raise cudnn.cudnnGraphNotSupportedError(msg)

    def get_execution_plan_count(self) -> int:
        return len(ENGINES) if self._stage >= STAGES.index("planned") else 0

    def deselect_numeric_notes(self, notes: list[Any], /) -> None:
        if self._stage != STAGES.index("planned"):
            msg = "notes deselected before there are plans have no effect"
            raise AssertionError(msg)
        names = {note.name for note in notes}
        self._barred |= {i for i, engine in enumerate(ENGINES) if names & set(engine.notes)}

    def deselect_workspace_greater_than(self, workspace: int, /) -> None:
        self._barred |= {i for i, engine in enumerate(ENGINES) if engine.room > workspace}

    def check_support(self) -> None:
        self._advance("supported")
        if len(self._barred) == len(ENGINES):
            msg = "No valid engine configs"
            raise cudnn.cudnnGraphNotSupportedError(msg)

    def build_plans(self, policy: Any = None) -> None:
        for i in range(len(ENGINES)):
            if i not in self._barred:
                self.build_plan_at_index(i)
                self._chosen = i
                return

    def build_plan_at_index(self, index: int) -> None:
        if self._stage != STAGES.index("supported"):
            msg = "plans are built after check_support"
            raise RuntimeError(msg)
        if index in self._barred:
            msg = "Deselecting execution plan"
            raise cudnn.cudnnGraphNotSupportedError(msg)
        self._plans[index] = ENGINES[index]

    def get_workspace_size(self) -> int:
        return self._plans[self._chosen].room

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return self._plans[index].room

    # Running.

    def execute(
        self, tensor_to_device_buffer: dict[int, int], workspace: int, handle: int | None = None
    ) -> None:
        self.execute_plan_at_index(tensor_to_device_buffer, workspace, self._chosen, handle)

    def execute_plan_at_index(
        self,
        tensor_to_device_buffer: dict[int, int],
        workspace: int,
        index: int,
        handle: int | None = None,
    ) -> None:
        engine, given = self._plans[index], dict(tensor_to_device_buffer)
        if not all(type(one) is int for one in (*given, *given.values(), workspace)):
            msg = "operands that are not integers make the real one import torch"
            raise TypeError(msg)
        kept = {t.uid: t for t in self._tensors if t.stride}
        if set(given) != set(kept):
            msg = f"given {sorted(given)}; needed {sorted(kept)}"
            raise AssertionError(msg)
        if any(p % ALIGNMENT for uid, p in given.items() if not kept[uid].by_value) or workspace % ALIGNMENT:
            msg = "misaligned address"
            raise AssertionError(msg)
        values = {uid: self._read(kept[uid], p) for uid, p in given.items() if kept[uid].by_value}
        work = lambda: self._run(engine, given, kept, values, workspace)  # noqa: E731
        streams.by_pointer(cudnn.get_stream(handle or self._handle)).submit(work)

    def _read(self, tensor: Tensor, address: int) -> np.ndarray:
        return load(memory(address, tensor.kind, tensor.dim, tensor.stride), tensor.kind, self._computed)

    def _run(
        self,
        engine: Engine,
        given: dict[int, int],
        kept: dict[int, Tensor],
        values: dict[int, Any],
        room: int,
    ) -> None:
        values = dict(values)
        ctypes.memset(room, 0xFF, engine.room)
        with np.errstate(all="ignore"):
            for node in self._nodes:
                for tensor in node.inputs:
                    if tensor.uid not in values:
                        values[tensor.uid] = self._read(tensor, given[tensor.uid])
                found = node.compute(engine, *[values[tensor.uid] for tensor in node.inputs])
                for tensor, a in zip(node.outputs, found, strict=True):
                    values[tensor.uid] = a
                    if tensor.is_output:
                        place = memory(given[tensor.uid], tensor.kind, tensor.dim, tensor.stride)
                        place[...] = store(a, tensor.kind)


def _check_dense(tensor: Tensor) -> None:
    """Refuse strides that leave gaps or overlap; those of axes of one number say nothing."""
    if len(tensor.dim) != 4 or len(tensor.stride) != 4 or min(tensor.dim) < 1:
        msg = f"dim {tensor.dim}, stride {tensor.stride}"
        raise RuntimeError(msg)
    expected = 1
    for stride, dim in sorted((s, d) for s, d in zip(tensor.stride, tensor.dim, strict=True) if d > 1):
        if stride != expected:
            msg = f"dim {tensor.dim} with stride {tensor.stride} is not dense"
            raise RuntimeError(msg)
        expected *= dim
