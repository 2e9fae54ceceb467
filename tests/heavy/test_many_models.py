"""A thousand models are built and dropped, and nothing of them stays; no cache grows without end.

200 by default, 1,000 with ``XCNN_TEST_WHOLE=1``.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from tests.heavy.measure import NO_PROC, STATUS, WHOLE
from tests.interpreter import python
from xcnn.state import _MANY

SIZES, WAITING = 4, 4  # sizes of batch, and workspaces of each, that an engine keeps
linux = pytest.mark.skipif(not STATUS.exists(), reason=NO_PROC)
ROOT = Path(__file__).resolve().parents[2]
COUNT = 1_000 if WHOLE else 160
ONNX = importlib.util.find_spec("onnx") is not None

LIVES = """
import json
from pathlib import Path
from tests.heavy.measure import leaks
from tests.heavy.zoo import lives, of_kind
found = lives({count}, Path({folder!r}), onnx={onnx})
kinds = ("Model", "State", "Parameter", "Run", "Engine", "Workspace", "Trainer")
left = {{kind: len(of_kind(kind)) for kind in kinds}}
print(json.dumps({{"leaks": leaks(found, {count}), "left": left, "held": found}}))
"""


@linux
def test_nothing_of_dropped_models_stays(tmp_path):
    script = LIVES.format(count=COUNT, folder=str(tmp_path), onnx=ONNX)
    said = json.loads(python(script).stdout.splitlines()[-1])
    print(said)
    assert said["leaks"] == []
    engines = said["left"].pop("Engine"), said["left"].pop("Workspace")  # of ops outside runs
    assert engines[0] <= 2 * 32
    assert engines[1] <= 2 * 32 * SIZES * WAITING
    assert not any(said["left"].values()), said["left"]


ALIVE = """
import json, weakref
import numpy as np
import xcnn
from tests.heavy.measure import status
from xcnn.layers import Dense

program = [[] for _ in range(500_000)]  # Python looks through all objects when a quarter of them is new
x, y = np.ones((4, 1024), "float32"), np.zeros(4, int)
before, alive, most = status("VmRSS"), weakref.WeakSet(), 0
for k in range({count}):
    model = xcnn.Model([Dense(1024, init="zeros"), Dense(10)], (1024,))
    xcnn.Trainer(model, optimizer="adam").step(x, y)
    for _ in range(15):  # the model lives for a while: it comes to be of the oldest generation
        passing = [[] for _ in range(800)]
    alive.add(model.state)
    most = max(most, len(alive))
print(json.dumps([most, model.state.size, (status("VmHWM") - before) // 2**20]))
"""


@linux
def test_large_dropped_models_make_room_before_python_has_counted_enough_objects():
    """A model of 4 MB, 12 with what Adam keeps, is a few hundred objects: Python would keep many of them."""
    count = 300 if WHOLE else 60
    most, size, taken = json.loads(python(ALIVE.format(count=count)).stdout.splitlines()[-1])
    print(f"{count} models of 12 MB: {most} at once, {taken} MB at most")
    assert most <= _MANY / size + 2


SHAPES = """
import json
import numpy as np
import xcnn
from tests.heavy.measure import growth, leaks
from xcnn import ops
from tests.heavy.runs import net

rng = np.random.default_rng(0)
model = net()
image = rng.random((2, 3, 40, 40), dtype=np.float32)
turn = 0

def work(steps):
    global turn
    for _ in range(steps):
        turn += 1
        h, w, n = 5 + turn % 33, 5 + turn % 31, 8 + turn % 89
        x = np.resize(image, (8, 1 + turn % 3, h, w))
        weights = np.ones((2, x.shape[1], 3, 1 + turn % 5), "float32")
        y, saved = ops.conv2d(x, weights, stride=(1 + turn % 2, 1))
        saved.backward(y)
        y, saved = ops.max_pool2d(x, size=(2, 1 + turn % 4), stride=(2, 2))
        saved.backward(y)
        model.predict(rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8))

work(400)
found = growth(work, {steps})
print(json.dumps({{"leaks": leaks(found, {steps}), "held": found}}))
"""


@linux
def test_shapes_never_met_before_cost_nothing_for_ever():
    said = json.loads(python(SHAPES.format(steps=4_000 if WHOLE else 400)).stdout.splitlines()[-1])
    print(said)
    assert said["leaks"] == []


# Every cache of xcnn and its backends, and why it is bounded.
CACHES = {
    "xcnn/backend.py: _plugins": "one for each kind of backend",
    "xcnn/backend.py: _opened": "one for each name and device",
    "xcnn/backend.py: _by_type": "one for each class of arrays",
    "xcnn/draw/activity.py: _known": "one for each living model",
    "xcnn/io/onnx_layers.py: READERS": "one for each operator of ONNX",
    "xcnn/io/onnx_write.py: WRITERS": "one for each kind of layer",
    "xcnn/io/specs.py: SPECS": "one for each kind of layer",
    "xcnn/reproduce/catalogue.py: experiments": "one",
    "backends/xcnn_cupy/devices.py: _said": "one",
    "backends/xcnn_cupy/graphs.py: available": "one",
    "backends/xcnn_cupy/graphs.py: output_shape": "1024 shapes",
    "backends/xcnn_cupy/plans.py: _made": "one for each device",
    "backends/xcnn_cupy/plans.py: _plans": "1024 plans",
    "backends/xcnn_cupy/plans.py: memory": "one for each device",
    "backends/xcnn_cupy/products.py: _say": "one for each reason",
    "backends/xcnn_cupy/recording.py: say": "one for each reason",
    "backends/xcnn_cupy/source.py: _kernel": "one for each kernel and kind of number",
    "backends/xcnn_cupy/source.py: _module": "one for each file and kind of number",
    "backends/xcnn_cupy/source.py: signatures": "one for each file",
    "backends/xcnn_numpy/__init__.py: has_numba": "one",
    "backends/xcnn_numpy/compiler.py: _FUNCTIONS": "one for each function and kind of number",
    "backends/xcnn_numpy/compiler.py: cache_directory": "one",
    "backends/xcnn_numpy/inputs.py: compile_for": "one for each kind of number",
    "backends/xcnn_numpy/losses.py: compile_for": "one for each kind of number",
    "backends/xcnn_numpy/operations.py: _convolution": "32 geometries",
    "backends/xcnn_numpy/operations.py: _pooling": "32 geometries",
    "backends/xcnn_numpy/tile.py: _ADDRESSES": "one for each kind of number",
    "backends/xcnn_numpy/library.py: _PREPARED": "one for each kind of number",
    "backends/xcnn_numpy/updates.py: _compiled": "one for each update and kind of number",
    "backends/xcnn_torch/__init__.py: watch": "one",
}


def caches(path):
    """Return the memoized functions and the dictionaries of a module that are empty when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {ast.unparse(d).partition("(")[0].rpartition(".")[2] for d in node.decorator_list}
            if names & {"cache", "lru_cache"}:
                yield node.name
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(node.value) in ("{}", "set()", "WeakKeyDictionary()", "Counter()"):
                yield ast.unparse(target)


def test_every_cache_is_known_to_be_bounded():
    sources = [*ROOT.glob("xcnn/**/*.py"), *ROOT.glob("backends/**/*.py")]
    found = {f"{path.relative_to(ROOT).as_posix()}: {name}" for path in sources for name in caches(path)}
    assert found == set(CACHES)
