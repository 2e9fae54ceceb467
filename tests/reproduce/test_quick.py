"""Every experiment runs, small."""

from __future__ import annotations

import pytest

import xcnn
from xcnn.reproduce import Result, experiments, reproduce


@pytest.mark.parametrize("name", experiments())
def test_experiment_runs_small(name, tmp_path):
    e = experiments()[name]
    configs = (
        [e.config]
        if hasattr(e, "config")
        else [run.config for run in (e.runs.values() if hasattr(e, "runs") else [e.run])]
    )
    (data,) = {config.data.name for config in configs}
    if xcnn.data.available()[data] is None:
        pytest.skip(f"{data} is neither in XCNN_DATA nor in the cache: {name} is not run")
    found = reproduce([name], tmp_path, quick=True)[name]
    assert isinstance(found, Result), found
    assert found.rows
    assert found.pictures
    assert e.title in (tmp_path / "report.md").read_text()
