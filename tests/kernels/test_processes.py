"""What only a fresh process shows: imports, Numba missing, other processors, and the first compilation."""

from __future__ import annotations

import pytest

from tests.interpreter import BLOCK, python

MODEL = """
import sys
import numpy as np
import xcnn
from xcnn.layers import *

def net(**options):
    layers = [
        Conv2D(6, 3, padding=1, bias=False), BatchNorm2D(), ReLU(), MaxPool2D(2),
        Sum(Identity(), Sequential(Conv2D(6, 3, padding=1), BatchNorm2D())), ReLU(),
        Conv2D(20, 3, stride=2, activation="relu"), AvgPool2D(2, ceil=True), Flatten(), Dense(3),
    ]
    return xcnn.Model(layers, (2, 14, 14), **options)

rng = np.random.default_rng(0)
x = rng.normal(size=(37, 2, 14, 14)).astype("float32")
y = np.arange(37) % 3
"""


def test_importing_xcnn_does_not_import_numba_and_building_a_model_does():
    python(
        """
        import sys
        import xcnn
        import xcnn.cli, xcnn.layers, xcnn.data
        xcnn.get_backend("numpy")
        assert "numba" not in sys.modules
        xcnn.Model([xcnn.layers.Dense(2)], (3,), compile=False)
        xcnn.Model([xcnn.layers.Dense(2)], (3,))
        assert "numba" in sys.modules
        """
    )


def test_other_backends_do_not_import_numba():
    pytest.importorskip("array_api_strict", reason="runs on array-api-strict, which is not installed")
    python(
        """
        import sys
        import numpy as np
        import xcnn
        model = xcnn.Model([xcnn.layers.Dense(2)], (3,), backend="strict")
        model.fit(np.ones((4, 3), "float32"), np.zeros(4, int))
        assert "numba" not in sys.modules
        """
    )


BROKEN = """
import pathlib, sys, tempfile
folder = pathlib.Path(tempfile.mkdtemp(), "numba")
folder.mkdir()
(folder / "__init__.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
sys.path.insert(0, str(folder.parent))
"""
WITHOUT = {
    "not installed": BLOCK + '\nblock("numba", "llvmlite")\n',
    "blocked in sys.modules": '\nimport sys\nsys.modules["numba"] = None\n',
    "there, but it refuses to be imported": BROKEN,
}


@pytest.mark.parametrize("how", WITHOUT)
def test_without_numba_the_plan_is_the_layers_and_a_step_is_taken(how):
    result = python(
        WITHOUT[how]
        + MODEL
        + """
model = net()
assert [type(layer).__name__ for layer in model.plan] == [type(layer).__name__ for layer in model.flat]
losses = [float(xcnn.Trainer(model, optimizer="adam").step(x, y)) for _ in range(3)]
assert losses[2] < losses[0], losses
history = model.fit(x, y, epochs=2, optimizer=xcnn.optim.SGD(0.01, momentum=0.9))
assert model.predict(x).shape == (37, 3)
model.summary()
assert sys.modules.get("numba") is None
"""
    )
    assert "compiling" not in result.stderr


def test_the_first_use_is_announced_once_and_a_second_process_says_nothing(tmp_path):
    script = (
        MODEL
        + """
model = net()
model.predict(x)
model.fit(x, y, epochs=1, progress=False)
net().predict(x[:1])
"""
    )
    first = python(script, XCNN_CACHE_DIR=str(tmp_path))
    assert first.stderr.count("compiling kernels") == 1
    assert str(tmp_path) in first.stderr
    assert " s;" in first.stderr
    assert "compiling" not in first.stdout
    second = python(script, XCNN_CACHE_DIR=str(tmp_path))
    assert "compiling" not in second.stdout + second.stderr


AVX2 = """
import os
from llvmlite import binding
from xcnn_numpy import simd
assert (simd.BITS, simd.REGISTERS) == (256, 16), (simd.BITS, simd.REGISTERS)
found = {}
for compile in (True, False):
    model = net(compile=compile)
    out = [model.predict(x)]
    z, saved = model.forward(x, train=True)
    out += [model.backward(np.ones_like(z) + z, saved), np.array(model.state.take_gradient())]
    out += [*model.state.arrays.buffers]
    found[compile] = out
assert type(model.plan[0]).__name__ == "Conv2D"
for a, b in zip(found[True], found[False]):
    scale = np.abs(b).max()
    assert np.abs(a - b).max() <= 2e-5 * scale, (np.abs(a - b).max(), scale)
from xcnn_numpy import tile
code = str(tile._ADDRESSES[("sweep", "float32")].inspect_llvm())
assert "<8 x float>" in code and "<16 x float>" not in code
"""


def test_vectors_of_avx2_give_what_the_layers_give(tmp_path):
    import platform

    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("needs an x86 processor")
    from llvmlite import binding

    has = binding.get_host_cpu_features()
    if not (has.get("avx2") and has.get("fma")):
        pytest.skip("needs AVX2")
    wanted = ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "popcnt", "cx16", "sse", "sse2")
    wanted += ("sse3", "ssse3", "sse4.1", "sse4.2")
    features = ",".join(f"+{name}" for name in wanted)
    python(MODEL + AVX2, XCNN_CACHE_DIR=str(tmp_path), NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=features)
