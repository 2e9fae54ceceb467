"""The versions that xcnn promises to run with: each Python, with the oldest dependencies and with the newest.

    nox                                   # all of it: eight sessions
    nox -s "tests-3.13(oldest)"           # one
    nox -s "tests-3.13(oldest)" -- tests/ops -n 1    # what follows -- is given to pytest in place of CORE

"Oldest" is what pyproject.toml says, or the first later version with a wheel for that Python. An interpreter
that is missing is fetched by uv, where it may; else its session fails: nothing is left out in silence.
"""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
EXTRAS = ("draw", "onnx")  # draw brings app
TOOLS = (
    *("array-api-strict", "hypothesis", "pytest", "pytest-xdist"),
    *("hatchling", "numpydoc"),  # tests/house
    *("ipykernel", "nbclient", "nbformat"),  # tests/test_notebooks.py
    *("httpx", "httpx2"),  # the one that Starlette's test client wants: it changed
    *("cloudpickle", "onnxruntime", "pandas"),
)
# Without what versions of Python and NumPy do not change: GPUs, browsers, suites of one version of others;
# and without what takes hours.
LEFT_OUT = ("conformance", "crash", "cuda", "draw/browser", "fuzz", "heavy")
CORE = ("tests", "-n", "2", *(f"--ignore=tests/{name}" for name in LEFT_OUT))
BACKENDS = {"XCNN_TEST_BACKENDS": "numpy,strict,python"}  # must be there


@nox.session(python=PYTHONS)
@nox.parametrize("versions", [nox.param(name, id=name) for name in ("oldest", "newest")])
def tests(session: nox.Session, versions: str) -> None:
    """Run the tests with the oldest or the newest dependencies."""
    chosen = f"{session.create_tmp()}/chosen.txt"
    resolution = {"oldest": "lowest-direct", "newest": "highest"}[versions]
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    asked = ("pyproject.toml", *extras, "--resolution", resolution, "--only-binary", ":all:")
    session.run(
        "uv", "pip", "compile", "--quiet", *asked, "--output-file", chosen, external=True, silent=True
    )
    session.install("-r", chosen, *TOOLS)
    session.install("--no-deps", "--editable", ".")
    session.run("uv", "pip", "list", external=True)
    quiet: tuple[str, ...] = ()
    env = BACKENDS
    if versions == "oldest":
        session.install("pyparsing<3.3")  # later ones warn of matplotlib before 3.10.7, in notebooks too
        # Newer libraries tell the old ones off; what xcnn calls itself, the newest tell.
        quiet = ("-W", "ignore::DeprecationWarning", "-W", "ignore:Unknown solver options")
        env = BACKENDS | {"SCIPY_ARRAY_API": "1"}  # scikit-learn 1.6.0 needs it to test estimators
    session.run("python", "-m", "pytest", *quiet, *(session.posargs or CORE), env=env)
