"""Which backend is used, which are usable, and what is said about those that are not."""

from __future__ import annotations

import asyncio
import sys
import threading

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED, USABLE
from tests.interpreter import BLOCK, python
from tests.ops.checks import says
from xcnn.backend import backend_of, move, plugin_of
from xcnn.errors import BackendError, DTypeError
from xcnn.layers import Dense

strict_only = pytest.mark.skipif(
    "strict" not in USABLE, reason="needs array-api-strict, whose devices are pretended"
)


@pytest.fixture
def default(monkeypatch):
    """Undo `set_backend` afterwards, and hide the environment's choice."""
    monkeypatch.delenv("XCNN_BACKEND", raising=False)
    monkeypatch.setattr("xcnn.backend._default", None)


def used():
    """Return the name of the backend that a new model uses."""
    return xcnn.Model([Dense(1)], (1,)).backend.name


# Precedence


def test_numpy_is_used_where_nobody_chose(default):
    assert xcnn.get_backend().name == used() == "numpy"


@strict_only
def test_argument_beats_use_beats_set_beats_environment_beats_numpy():
    said = python(
        """
        import os, xcnn
        from xcnn.layers import Dense
        new = lambda **options: print(xcnn.Model([Dense(1)], (1,), **options).backend.name)
        new()
        xcnn.set_backend("strict:device1")
        new()
        with xcnn.use_backend("strict:device2"):
            new()
            new(backend="numpy")
            xcnn.set_backend("numpy")
            new()
        new()
        """,
        XCNN_BACKEND="strict",
    )
    assert said.stdout.split() == [
        "strict",
        "strict:device1",
        "strict:device2",
        "numpy",
        "strict:device2",
        "numpy",
    ]


def test_an_empty_environment_variable_means_numpy():
    assert python("import xcnn; print(xcnn.get_backend().name)", XCNN_BACKEND="").stdout == "numpy\n"


def test_an_unknown_name_in_the_environment_is_refused_at_first_use():
    script = """
        import xcnn
        try:
            xcnn.get_backend()
        except xcnn.BackendError as error:
            print(error)
        """
    assert python(script, XCNN_BACKEND="nunpy").stdout == "unknown backend 'nunpy'; did you mean 'numpy'?\n"


@strict_only
def test_existing_models_keep_their_backend(default):
    model = xcnn.Model([Dense(1)], (1,))
    xcnn.set_backend("strict")
    assert model.backend.name == "numpy"
    assert type(model.layers[0].w.value) is np.ndarray
    assert used() == "strict"


@strict_only
def test_use_backend_nests_and_ends(default):
    with xcnn.use_backend("strict") as outer:
        with xcnn.use_backend("strict:device1") as inner:
            assert xcnn.get_backend() is inner
        assert xcnn.get_backend() is outer
    assert xcnn.get_backend().name == "numpy"


@strict_only
def test_use_backend_ends_with_an_error(default):
    with pytest.raises(ZeroDivisionError), xcnn.use_backend("strict"):
        raise ZeroDivisionError
    assert used() == "numpy"


def _in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@strict_only
def test_set_backend_is_seen_by_other_threads_and_use_backend_is_not(default):
    with xcnn.use_backend("strict:device1"):
        assert _in_a_thread(used) == "numpy"
    xcnn.set_backend("strict")
    assert _in_a_thread(used) == "strict"


@strict_only
def test_use_backend_holds_in_its_own_task_only(default):
    async def work(name):
        with xcnn.use_backend(name):
            await asyncio.sleep(0.01)
            return used()

    async def both():
        return await asyncio.gather(work("strict"), work("strict:device1"), work("numpy"))

    assert asyncio.run(both()) == ["strict", "strict:device1", "numpy"]


def test_a_backend_that_cannot_be_used_leaves_the_default_alone(default):
    with pytest.raises(BackendError):
        xcnn.set_backend("nunpy")
    with pytest.raises(BackendError), xcnn.use_backend("nunpy"):
        pytest.fail("the block was entered")
    assert used() == "numpy"


# Names


def test_a_name_opens_one_object(backend):
    assert xcnn.get_backend(backend.name) is backend
    assert xcnn.get_backend(backend) is backend
    assert repr(backend) == f"<backend {backend.name}>"


@pytest.mark.parametrize("name", [name for name in TESTED if name in ("numpy", "strict", "torch", "python")])
def test_the_shortest_name_is_the_name(name):
    assert xcnn.get_backend(name).name == name


def test_the_processor_may_be_named():
    assert xcnn.get_backend("numpy:cpu") is xcnn.get_backend("numpy")
    if "torch" in USABLE:
        assert xcnn.get_backend("torch:cpu") is xcnn.get_backend("torch")


@strict_only
def test_a_device_follows_the_colon():
    device = xcnn.get_backend("strict:device1")
    assert device.name == "strict:device1"
    assert device is not xcnn.get_backend("strict")
    assert xcnn.get_backend("strict:CPU_DEVICE") is xcnn.get_backend("strict")
    assert device.device(device.asarray([1.0])) == "device1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nunpy", "unknown backend 'nunpy'; did you mean 'numpy'?"),
        ("pytorch", "unknown backend 'pytorch'; did you mean 'torch'?"),
        ("tpu", "unknown backend 'tpu'; known: auto, cupy, numpy"),
        ("numpy:gpu", "backend 'numpy': device 'gpu'; NumPy has only 'cpu'"),
        ("python:gpu", "backend 'python': device 'gpu'; plain Python has only 'cpu'"),
        ("../numpy", "unknown backend '../numpy'"),
        ("a.b", "unknown backend 'a.b'"),
    ],
)
def test_a_wrong_name_is_refused(name, message):
    with pytest.raises(BackendError, match=says(message)):
        xcnn.get_backend(name)


@pytest.mark.parametrize("name", [5, ["numpy"], np])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(xcnn.Error, match=says("needed", "name")):
        xcnn.get_backend(name)


@strict_only
def test_an_unknown_device_is_refused():
    with pytest.raises(BackendError, match=says("backend 'strict': ", "device9")):
        xcnn.get_backend("strict:device9")


def test_auto_picks_a_usable_backend_and_says_so_once():
    said = python(
        """
        import xcnn
        from xcnn.layers import Dense
        first = xcnn.get_backend("auto")
        xcnn.set_backend("auto")
        assert xcnn.Model([Dense(1)], (1,)).backend is first is xcnn.get_backend("auto")
        print(first.name)
        """
    )
    assert len(said.stderr.splitlines()) == 1
    assert said.stderr.startswith(f'xcnn: backend "auto" is {said.stdout.strip()}')
    if said.stdout == "numpy\n":  # the others are named with their reasons
        assert "backend 'cupy': " in said.stderr
        assert "backend 'torch': " in said.stderr


def test_auto_in_the_environment_says_so_once_too():
    said = python("import xcnn; xcnn.get_backend(); xcnn.get_backend()", XCNN_BACKEND="auto")
    assert said.stderr.count('xcnn: backend "auto" is ') == 1


# What is usable, and what mends the rest


def test_available_backends_are_usable_and_the_others_have_problems():
    usable, problems = xcnn.available_backends(), xcnn.backend_problems()
    assert "numpy" in usable
    assert not set(usable) & set(problems)
    assert {"numpy", "cupy", "torch", "strict", "python"} <= set(usable) | set(problems)
    for name in usable:
        assert xcnn.get_backend(name).name.partition(":")[0] == name


def test_a_missing_library_is_told_with_the_line_that_installs_it():
    said = python(
        BLOCK
        + """
        block("cupy", "torch", "array_api_strict")
        import xcnn
        print(xcnn.available_backends())
        for name, problem in xcnn.backend_problems().items():
            print(name, "|", problem)
        """
    )
    usable, *problems = said.stdout.splitlines()
    assert usable == "['numpy', 'python']"
    told = dict(line.split(" | ") for line in problems)
    assert told["cupy"].startswith("backend 'cupy': ")
    assert 'pip install "xcnn[cuda1' in told["cupy"]  # 12 or 13, as the driver allows
    assert 'pip install "xcnn[torch]"' in told["torch"]
    assert 'pip install "xcnn[dev]"' in told["strict"]


def test_opening_a_backend_runs_a_kernel_on_its_device(tmp_path):
    (tmp_path / "xcnn_wrong.py").write_text(
        "import xcnn_numpy\n"
        "class Backend(xcnn_numpy.Backend):\n"
        "    root, owns = 'wrong', ('wrong',)\n"
        "    def __init__(self, device=''):\n"
        "        self.name, self.host = 'wrong', True\n"
        "    def asarray(self, a, /, dtype=None):\n"
        "        return 2 * super().asarray(a, dtype)\n"
    )
    (tmp_path / "xcnn_burning.py").write_text(
        "import xcnn_wrong\n"
        "class Backend(xcnn_wrong.Backend):\n"
        "    root = 'burning'\n"
        "    def asarray(self, a, /, dtype=None):\n"
        "        raise OSError('the device is on fire')\n"
    )
    said = python(
        """
        import xcnn, xcnn_wrong, xcnn_burning
        for name in ("wrong", "burning", "burning"):
            try:
                xcnn.get_backend(name)
            except xcnn.BackendError as error:
                print(error)
        print({"wrong", "burning"} & set(xcnn.available_backends()), xcnn.backend_problems()["burning"])
        """,
        tmp_path,
    )
    burns = "backend 'burning': cannot be used here: OSError: the device is on fire"
    assert said.stdout.splitlines() == [
        "backend 'wrong': a 2 x 2 matrix product gave [88.0, 128.0]; needed [22.0, 32.0]",
        burns,
        burns,
        f"set() {burns}",
    ]


# Arrays


def test_an_array_knows_its_backend(backend):
    assert backend_of(backend.asarray([1.0])) is backend
    assert plugin_of(backend.asarray([1.0])) is type(backend)


def test_arrays_keep_their_values_on_every_way(backend):
    for dtype in ("float32", "float64", "int64", "uint8", "bool"):
        a = np.arange(6).reshape(2, 3).astype(dtype)
        there = move(a, backend)
        assert str(there.dtype).endswith(dtype)
        back = backend.to_numpy(there)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, a)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i4", "<u2", "float16"])
def test_arrays_of_any_byte_order_are_accepted(backend, kind):
    a = np.arange(6).reshape(2, 3).astype(kind)
    np.testing.assert_array_equal(backend.to_numpy(move(a, backend, "float32")), a)


def test_read_only_reversed_and_strided_arrays_are_accepted(backend):
    a = np.arange(24.0).reshape(4, 6)
    a.flags.writeable = False
    for view in (a, a[::-1], a[:, ::-2], a.T, np.broadcast_to(a[0], (3, 6)), a[0, 0, None]):
        np.testing.assert_array_equal(backend.to_numpy(backend.asarray(view, "float32")), view)


def test_a_subclass_of_numpys_array_belongs_to_numpy(tmp_path):
    a = np.memmap(tmp_path / "a", "float32", "w+", shape=(3,))
    assert backend_of(a).name == "numpy"


def test_what_is_no_array_is_refused():
    with pytest.raises(DTypeError, match=says("got a builtins.dict; needed an array of", "numpy")):
        backend_of({})


def test_importing_xcnn_imports_no_array_library_but_numpy():
    script = "import sys, xcnn; print(sorted({'torch', 'cupy', 'array_api_strict'} & set(sys.modules)))"
    assert python(script).stdout == "[]\n"


def test_importing_xcnn_is_quiet():
    said = python("import xcnn")
    assert (said.stdout, said.stderr) == ("", "")
    assert sys.version_info >= (3, 11)
