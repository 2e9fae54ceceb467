"""cuDNN itself plans every graph that xcnn draws, for a GPU that need not be there: an H100.

An optional job: it needs nvidia-cudnn-frontend and the cuDNN wheels (1 GB). ``XCNN_TEST_CUDNN=1`` makes their
absence a failure.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from xcnn_cupy import graphs, plans
from xcnn_cupy.graphs import Geometry, Graph

STAND_IN = Path(__file__).parent / "emulator" / "cudnn"
H100 = {
    "deviceVer": 900,
    "deviceName": "NVIDIA H100",
    "driverVer": 13000,
    "cudaDeviceId": 0,
    "pciDeviceId": 0,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "multiProcessorCount": 132,
    "maxGridSize": [2**31 - 1, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "maxCtasPerSM": 32,
    "warpSize": 32,
    "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024,
    "totalGlobalMem": 80 * 2**30,
    "l2CacheSize": 50 * 2**20,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 2619000,
}
KINDS = (
    ("float16", "float32"),
    ("bfloat16", "float32"),
    ("float32", "float32"),
    ("float32", "tf32"),
    ("float64", "float32"),
)
SHAPES = {  # x, w, geometry
    "plain": ((8, 32, 16, 16), (64, 32, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)))),
    "odd": ((5, 7, 13, 11), (9, 7, 3, 2), Geometry((1, 1), ((1, 0), (0, 2)))),
    "strided and dilated": ((4, 16, 15, 15), (24, 16, 3, 3), Geometry((2, 2), ((2, 1), (1, 2)), (2, 2))),
    "left over": ((2, 3, 10, 9), (4, 3, 3, 3), Geometry((3, 2))),
    "groups": ((4, 16, 14, 14), (32, 4, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 4)),
    "odd groups": ((3, 9, 8, 8), (6, 3, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 3)),
    "depthwise": ((4, 16, 14, 14), (16, 1, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 16)),
    "depthwise, twice": ((4, 16, 14, 14), (32, 1, 3, 3), Geometry((2, 2), ((1, 1), (1, 1)), (1, 1), 16)),
    "one channel": ((64, 1, 28, 28), (6, 1, 5, 5), Geometry((1, 1), ((2, 2), (2, 2)))),
    "three channels": ((8, 3, 32, 32), (32, 3, 3, 3), Geometry((1, 1), ((1, 1), (1, 1)))),
    "dense": ((64, 400, 1, 1), (120, 400, 1, 1), Geometry()),
    "dense, odd": ((60, 85, 1, 1), (10, 85, 1, 1), Geometry()),
    "one image": ((1, 64, 7, 7), (64, 64, 1, 1), Geometry()),
}
DRAWN = {
    "forward": lambda graph, *sizes: graphs.draw_forward(graph, *sizes, False, False),
    "with bias": lambda graph, *sizes: graphs.draw_forward(graph, *sizes, True, False),
    "with bias and ReLU": lambda graph, *sizes: graphs.draw_forward(graph, *sizes, True, True),
    "input gradient": graphs.draw_input_gradient,
    "weight gradient": graphs.draw_weight_gradient,
}


def _missing() -> str:
    if not graphs.available():
        return "needs nvidia-cudnn-frontend and cuDNN"
    import cudnn

    return "the emulator's cudnn plans nothing" if Path(cudnn.__file__).parent == STAND_IN else ""


if _missing() and os.environ.get("XCNN_TEST_CUDNN") != "1":
    pytest.skip(_missing(), allow_module_level=True)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    assert not _missing(), _missing()
    import cudnn

    properties = cudnn.create_device_properties(json.dumps(H100))
    return {"device_property": properties, "sm_version": 90, "sm_count": 132}


@pytest.mark.parametrize(("kind", "math"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("drawn", DRAWN)
def test_a_deterministic_plan_is_found(described, drawn, shape, kind, math):
    graph = Graph(kind, **described)
    tensors = DRAWN[drawn](graph, *SHAPES[shape])
    graph.propose(plans.unwanted(kind, math))
    graph.settle()
    assert len({tensor.get_uid() for tensor in tensors}) == len(tensors)
    assert graph.nodes.get_workspace_size() >= 0


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("shape", [(8, 32, 16, 16), (5, 7, 13, 11)])
@pytest.mark.parametrize("draw", [graphs.draw_norm, graphs.draw_norm_gradient])
def test_batch_norm_is_a_graph(described, draw, shape, kind):
    """The driver compiles its engines when they are planned: without one the graph alone is checked."""
    graph = Graph(kind, **described)
    draw(graph, shape)
    graph.nodes.validate()
    graph.nodes.build_operation_graph()


def test_notes_rule_plans_out(described):
    counts = []
    for math in ("tf32", "float32"):
        graph = Graph("float32", **described)
        graphs.draw_weight_gradient(graph, *SHAPES["plain"])
        graph.propose(plans.unwanted("float32", math))
        counts.append(sum(_builds(graph, i) for i in range(graph.nodes.get_execution_plan_count())))
    assert 0 < counts[1] < counts[0]


def _builds(graph: Graph, index: int) -> bool:
    import cudnn

    try:
        graph.nodes.build_plan_at_index(index)
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError):
        return False
    return True


def test_biases_of_float32_have_no_plan_for_halves(described):
    """The day this fails, `draw_forward` may take them."""
    graph = Graph("bfloat16", **described)
    x, w, geometry = SHAPES["plain"]
    y = graph.nodes.conv_fprop(image=graph.input(x), weight=graph.input(w), **graphs.window(geometry))
    y = graph.nodes.bias(input=y, bias=graph.input((1, w[0], 1, 1), "float32"))
    graph.output(y, graphs.output_shape(x, w, geometry))
    with pytest.raises(graphs.Unsupported):
        graph.propose([])


def test_what_does_not_fit_together_is_unsupported(described):
    graph = Graph("float32", **described)
    dy, w = graph.input((2, 4, 8, 8)), graph.input((4, 3, 3, 3))
    dx = graph.nodes.conv_dgrad(loss=dy, filter=w, **graphs.window(Geometry()))
    graph.output(dx, (2, 3, 99, 10))
    with pytest.raises(graphs.Unsupported):
        graph.propose([])


def _methods(file: str) -> list[tuple[str, list[str]]]:
    tree = ast.parse((STAND_IN / file).read_text(encoding="utf-8"))
    (drawn,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "pygraph")
    found = [node for node in drawn.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    return [(one.name, [a.arg for a in one.args.args if a.arg != "self"]) for one in found]


@pytest.mark.parametrize(("name", "keywords"), _methods("graph.py"))
def test_the_stand_in_takes_no_keyword_that_cudnn_lacks(described, name, keywords):
    import cudnn

    real = getattr(cudnn.pygraph, name)
    told = str(inspect.signature(real)) if inspect.isfunction(real) else real.__doc__
    assert [word for word in keywords if not re.search(rf"\b{word}\s*[:=,)]", told)] == []
