"""Paths, values, ranges, and the points of a grid."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.search.grids import CONFIG
from xcnn.errors import ConfigError, OptionError
from xcnn.io import RunConfig
from xcnn.search import expand, parse
from xcnn.search.grid import place, told

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_values_written_as_json_come_back(values):
    text = ", ".join(map(json.dumps, values))
    ranges = [v for v in values if isinstance(v, str) and v.startswith(("log:", "lin:"))]
    if not ranges:
        assert parse(f"a.b[0]={text}") == ("a.b[0]", values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-3,1e-2", [0.001, 0.01]),
        ("4,8", [4, 8]),
        ("relu, sigmoid", ["relu", "sigmoid"]),
        ("true,null", [True, None]),
        ("[3,3],[5,5]", [[3, 3], [5, 5]]),
        ('adam,{"name": "sgd", "lr": 0.1}', ["adam", {"name": "sgd", "lr": 0.1}]),
        ('"a,b",c', ["a,b", "c"]),
        ("3x,NaN,1e,-", ["3x", "NaN", "1e", "-"]),
        (".5,+2,1.,-.01,+1e-3", [0.5, 2, 1.0, -0.01, 0.001]),
        ("a=b", ["a=b"]),
        ("log:1e-4:1e-1:4", [0.0001, 0.001, 0.01, 0.1]),
        ("log:4:32:4", [4, 8, 16, 32]),
        ("lin:0:1:3", [0, 0.5, 1]),
        ("lin:16:4:4,64", [16, 12, 8, 4, 64]),
        ("lin:0.5:1:2", [0.5, 1.0]),
    ],
)
def test_values_are_json_where_they_parse_else_strings(text, values):
    found = parse(f"x={text}")[1]
    assert found == values
    assert [*map(type, found)] == [*map(type, values)]


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(2, 9))
def test_ratios_of_a_logarithmic_range_are_equal(a, b, n):
    if f"{a:.6g}" == f"{b:.6g}":
        return
    values = parse(f"x=log:{a!r}:{b!r}:{n}")[1]
    assert len(values) == n
    assert values[0] == pytest.approx(a, rel=1e-5)
    assert values[-1] == pytest.approx(b, rel=1e-5)
    ratios = [math.log(after / before) for before, after in itertools.pairwise(values)]
    assert ratios == pytest.approx([math.log(b / a) / (n - 1)] * (n - 1), abs=2e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimizer.lr", "needed PATH=VALUE,VALUE"),
        ("=3", "needed PATH=VALUE,VALUE"),
        ("x=", "x: there is no value"),
        ("x=1,,2", "x: there is no value"),
        ("x=1,", "x: there is no value"),
        ("x=log:1:2", "x: got 'log:1:2'; needed log:a:b:n"),
        ("x=log:0:1:3", "two different positive numbers"),
        ("x=lin:1:1:3", "two different numbers"),
        ("x=lin:1:2:1", "n from 2"),
        ("x=lin:1:b:3", "needed lin:a:b:n"),
        ("x=lin:1:2:3.5", "needed lin:a:b:n"),
        ("x=True,False", 'x: got True; needed true, or "True" for the word'),
        ("x=1,None", "x: got None; needed null"),
    ],
)
def test_what_is_no_axis_is_refused(text, said):
    with pytest.raises(OptionError, match="grid: ") as caught:
        parse(text)
    assert said in str(caught.value)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=4), st.sets(st.integers(), min_size=1, max_size=4), max_size=4
    )
)
def test_points_are_the_product_and_the_last_path_varies_fastest(axes):
    grid = {path: sorted(values) for path, values in axes.items()}
    points = expand(grid)
    assert len(points) == math.prod(map(len, grid.values()))
    assert len({told(point) for point in points}) == len(points)
    assert [tuple(point.values()) for point in points] == sorted(tuple(point.values()) for point in points)


def test_points_may_be_given_and_numpy_numbers_become_python_numbers():
    (point, other) = expand([{"seed": np.int64(3), "optimizer.lr": np.float32(0.5)}, {"seed": 1}])
    assert (type(point["seed"]), type(point["optimizer.lr"])) == (int, float)
    assert other == {"seed": 1}
    assert expand({"x": np.array([1.0, 2.0])}) == [{"x": 1.0}, {"x": 2.0}]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"seed": []}, "seed: got []"),
        ({"optimizer.name": "adam"}, "needed a list of values"),
        ({"seed": [0, 1, 0]}, "the point seed=0 comes twice"),
        ({"optimizer.lr": [1, 1.0]}, "the point optimizer.lr=1.0 comes twice"),
        ([], "there are no points"),
    ],
)
def test_a_grid_without_points_or_with_one_twice_is_refused(grid, said):
    with pytest.raises(OptionError) as caught:
        expand(grid)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "path", "value", "want"),
    [
        ({"optimizer": {"name": "sgd"}}, "optimizer.lr", 1, {"optimizer": {"name": "sgd", "lr": 1}}),
        ({"optimizer": "sgd"}, "optimizer.lr", 1, {"optimizer": {"name": "sgd", "lr": 1}}),
        (
            {"layers": ["ReLU", "ELU"]},
            "layers[1].alpha",
            2,
            {"layers": ["ReLU", {"type": "ELU", "alpha": 2}]},
        ),
        ({}, "schedule.name", "cosine", {"schedule": {"name": "cosine"}}),
        ({"data": "digits"}, "data.train_size", 5, {"data": {"name": "digits", "train_size": 5}}),
        ({"epochs": 1}, "epochs", 2, {"epochs": 2}),
        ({"a": [[1, 2]]}, "a[0][1]", 3, {"a": [[1, 3]]}),
        ({"layers": ["ReLU", "ELU"]}, "layers[-1]", "Tanh", {"layers": ["ReLU", "Tanh"]}),
        ({"data": "./mine"}, "data.train_size", 5, {"data": {"path": "./mine", "train_size": 5}}),
    ],
)
def test_a_value_is_put_in_its_place(content, path, value, want):
    before = json.dumps(content)
    assert place(content, {path: value}) == want
    assert json.dumps(content) == before


def test_a_whole_part_is_set_before_its_options():
    made = place({"optimizer": "adam"}, {"optimizer.lr": 0.5, "optimizer": "sgd"})
    assert made == {"optimizer": {"name": "sgd", "lr": 0.5}}


def test_another_name_leaves_the_defaults_of_the_old_behind():
    content = RunConfig.from_dict(CONFIG).to_dict()
    made = RunConfig.from_dict(place(content, {"optimizer.name": "sgd"}))
    assert (made.optimizer.root.name, made.optimizer.root.lr) == ("sgd", 0.01)
    content["optimizer"]["beta1"] = 0.5
    with pytest.raises(ConfigError, match=r"optimizer\.beta1: unknown key"):
        RunConfig.from_dict(place(content, {"optimizer.name": "sgd"}))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("layers[7].units", "layers[7].units: there is a list of 4; needed a list with an element [7]"),
        ("layers[-5].units", "needed a list with an element [-5]"),
        ("layers[0].activation.slope", "there is the bare name 'relu'; needed a layer that has options"),
        ("layers.units", "needed an object, for its key 'units'"),
        ("epochs.lr", "epochs.lr: there is 3; needed an object"),
        ("epochs[0]", "there is 3; needed a list"),
        ("layers[x]", "is no path"),
        ("a..b", "is no path"),
        (".a", "is no path"),
        ("[0]", "is no path"),
        ("", "is no path"),
        ("a[0", "is no path"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path, said):
    with pytest.raises(ConfigError) as caught:
        place(CONFIG, {path: 1})
    assert said in str(caught.value)
