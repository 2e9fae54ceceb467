"""The table of a model."""

from __future__ import annotations

import re

import pytest

import xcnn
from tests.nets import SHAPE, full, plain
from xcnn.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    Gate,
    GlobalAvgPool2D,
    Identity,
    MaxPool2D,
    ReLU,
    Sequential,
    Sum,
)
from xcnn.summary import summarize


def rows(model):
    """Return the cells of each row between the header and the total, by columns."""
    body = str(summarize(model)).splitlines()[2:-3]
    return [re.split(r"\s{2,}", line.strip()) for line in body]


def field(*layers, shape=(1, 64, 64)):
    """Return the receptive field of the last layer."""
    return rows(xcnn.Model(list(layers), shape))[-1][-1]


def test_the_table_is_printed_and_returned(capsys):
    table = plain().summary()
    assert capsys.readouterr().out == str(table) + "\n"
    assert repr(table) == "<summary: 151 parameters, 1,404 multiply-adds an image>"


def test_every_layer_has_a_row():
    assert rows(plain()) == [
        ["input", "(N, 1, 8, 8)"],
        ["0", "Conv2D + ReLU", "(N, 4, 6, 6)", "40", "1,296", "576 B", "3 x 3"],
        ["1", "MaxPool2D", "(N, 4, 3, 3)", "0", "0", "144 B", "4 x 4"],
        ["2", "Flatten", "(N, 36)", "0", "0", "144 B", "all"],
        ["3", "Dense", "(N, 3)", "111", "108", "12 B", "all"],
    ]


def test_totals_are_attributes_and_the_last_row():
    table = summarize(plain())
    assert (table.parameters, table.multiply_adds, table.activation_bytes) == (
        151,
        1404,
        576 + 144 + 144 + 12,
    )
    assert re.search(r"total +151 +1,404 +876 B", table)
    assert summarize(plain(dtype="float64")).activation_bytes == 2 * table.activation_bytes


def test_parameters_are_those_of_the_state():
    table = summarize(full())
    assert (
        table.parameters == full().state.size == sum(int(row[3].replace(",", "")) for row in rows(full())[1:])
    )


def test_the_last_line_tells_backend_dtype_and_what_runs(backend):
    last = str(summarize(plain(backend=backend, compile=False))).splitlines()[-1]
    assert last == f"backend {backend.name}, float32; runs: as written; activations are those of one image"


def test_a_shared_layer_is_counted_once_and_worked_twice():
    layer = Conv2D(1, 3, padding="same")
    table = summarize(xcnn.Model([layer, ReLU(), layer], SHAPE))
    assert table.parameters == 10
    assert table.multiply_adds == 2 * 9 * 64
    assert "Conv2D (shared)" in table


def test_parameters_and_work_of_an_activation_are_in_its_layers_row():
    act = Sequential(BatchNorm2D(), Conv2D(2, 3))
    model = xcnn.Model([Conv2D(2, 3, activation=act)], SHAPE)
    (row,) = rows(model)[1:]
    assert row[1] == "Conv2D + Sequential"
    assert row[3:5] == ["62", f"{36 * 2 * 9 + 16 * 2 * 2 * 9:,}"]
    assert row[-1] == "5 x 5"
    table = summarize(model)
    assert (table.parameters, table.multiply_adds) == (62, 36 * 2 * 9 + 16 * 2 * 2 * 9)


def test_names_and_frozen_layers_are_shown():
    table = str(summarize(xcnn.Model([Flatten(), Dense(2, name="last", trainable=False)], SHAPE)))
    assert "Dense 'last' (frozen)" in table


def test_layers_inside_a_frozen_one_are_shown_frozen():
    table = str(summarize(xcnn.Model([Sequential(Flatten(), Dense(2), trainable=False), Dense(2)], SHAPE)))
    assert "  Dense (frozen)" in table
    assert "1  Dense " in table


def test_children_stand_below_their_parents_indented():
    body = Sequential(Conv2D(1, 3, padding="same"), ReLU())
    lines = str(summarize(xcnn.Model([Sum(Identity(), body)], SHAPE))).splitlines()
    assert [re.sub(r"  \(N.*", "", line[3:]).rstrip() for line in lines[3:8]] == [
        "Sum",
        "  Identity",
        "  Sequential",
        "    Conv2D",
        "    ReLU",
    ]


@pytest.mark.parametrize(
    ("layers", "seen"),
    [
        ([Conv2D(1, 5)], "5 x 5"),
        ([Conv2D(1, 3), Conv2D(1, 3)], "5 x 5"),
        ([Conv2D(1, 3, stride=2), Conv2D(1, 3)], "7 x 7"),
        ([Conv2D(1, (3, 1), dilation=2)], "5 x 1"),
        ([Conv2D(1, 5), MaxPool2D(2), Conv2D(1, 5)], "14 x 14"),
        ([MaxPool2D((2, 3)), MaxPool2D(2)], "4 x 6"),
        ([Sum(Identity(), Sequential(Conv2D(1, 3, padding=1), Conv2D(1, 3, padding=1)))], "5 x 5"),
        ([Concat(Conv2D(1, 1), Conv2D(1, 3, padding=1)), Conv2D(1, 3)], "5 x 5"),
        ([ConvTranspose2D(1, 4, stride=2)], "2 x 2"),
        ([Conv2D(1, 3), GlobalAvgPool2D()], "all"),
        ([Gate(Sequential(GlobalAvgPool2D(), Dense(1)))], "all"),
        ([ReLU()], "1 x 1"),
    ],
)
def test_receptive_fields(layers, seen):
    model = xcnn.Model(layers, (1, 64, 64))
    tops = [row for row in rows(model) if row[0].isdigit()]
    assert tops[-1][-1] == seen


def test_a_wide_table_stays_aligned():
    lines = str(summarize(full())).splitlines()
    assert len({line.index("(N") for line in lines if "(N" in line}) == 1
    assert all(line == line.rstrip() for line in lines)


def test_lenet_5_has_its_published_size():
    layers = [
        Conv2D(6, 5, padding=2, activation="tanh"),
        MaxPool2D(2),
        Conv2D(16, 5, activation="tanh"),
        MaxPool2D(2),
        Flatten(),
        Dense(120, activation="tanh"),
        Dense(84, activation="tanh"),
        Dense(10),
    ]
    table = summarize(xcnn.Model(layers, (1, 28, 28)))
    assert table.parameters == 61706
    assert table.multiply_adds == 416520
