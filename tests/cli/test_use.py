"""`xcnn test`, `predict`, `doctor`, `schema`, and the entry point."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil

import numpy as np
import pytest

import xcnn
from xcnn.cli import main
from xcnn.io.schema import json_schema
from xcnn.layers import Dense, Flatten, Softmax


@pytest.fixture
def saved(tmp_path):
    """Write a model that was not trained; returns the path."""

    def write(shape=(1, 8, 8), units=10, classes=None):
        model = xcnn.Model([Flatten(), Dense(units), Softmax()], shape, backend="numpy")
        model.classes = classes
        model.save(tmp_path / "model.xcnn")
        return tmp_path / "model.xcnn"

    return write


# xcnn test


@pytest.mark.parametrize("name", ["", "model.xcnn"])
def test_test_gives_the_accuracy_of_the_run(trained, xcnn_command, name):
    folder, printed = trained
    output = xcnn_command("test", folder / name).output
    assert re.search(r"accuracy .*Wilson interval.*", printed)[0] in output
    assert "on digits: 80 images; backend numpy" in output


def test_test_runs_on_another_backend_and_draws(trained, xcnn_command, tmp_path):
    folder, printed = trained
    output = xcnn_command("test", folder, "--backend", "strict", "--out", tmp_path / "pictures").output
    assert "backend strict" in output
    assert re.search(r"accuracy .*Wilson interval.*", printed)[0] in output
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "confusion_matrix.png",
        "predictions.png",
    }


def test_test_finds_the_data_by_the_shape(saved, xcnn_command):
    assert "on digits: 449 images" in xcnn_command("test", saved()).output


def test_test_of_some_classes_takes_their_images(saved, xcnn_command):
    assert "on digits: 90 images" in xcnn_command("test", saved(units=2, classes=("3", "8"))).output


def test_model_of_digits_is_not_tested_on_what_it_has_seen(trained, xcnn_command):
    output = xcnn_command("test", trained[0], "--data", "optdigits", code=2).output
    assert "was trained on digits, which are the test images of optdigits" in output


def test_test_of_a_model_without_data_is_refused(saved, xcnn_command):
    output = xcnn_command("test", saved((1, 5, 5)), code=2).output
    assert "no known data has images of 1 x 5 x 5; needed --data" in output


def test_test_on_images_of_another_shape_is_refused(saved, xcnn_command):
    output = xcnn_command("test", saved((1, 9, 9)), "--data", "digits", code=2).output
    assert "digits: has images of 1 x 8 x 8; the model needs 1 x 9 x 9 (channels x rows x columns)" in output


def test_classes_without_names_need_only_be_as_many(saved, xcnn_command):
    assert "on digits: 449 images" in xcnn_command("test", saved(), "--data", "digits").output
    output = xcnn_command("test", saved(units=3), "--data", "digits", code=2).output
    assert "the model knows 0, 1, 2" in output


def test_test_on_other_classes_is_refused(saved, xcnn_command):
    output = xcnn_command("test", saved(units=2, classes=("cat", "dog")), "--data", "digits", code=2).output
    assert "digits: has the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; the model knows cat, dog" in output


def test_test_of_a_model_that_gives_nan_is_refused(saved, xcnn_command):
    path = saved()
    model = xcnn.load(path)
    (w, *_) = model.parameters().values()
    w.value = w.value * np.nan
    model.save(path)
    assert "its outputs hold NaN or infinity" in xcnn_command("test", path, code=2).output


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_file_that_is_no_model_is_refused(xcnn_command, tmp_path, picture, command):
    (tmp_path / "false.xcnn").write_text("hello")
    images = [picture()] if command == "predict" else []
    assert (
        "false.xcnn: cannot be read as a model" in xcnn_command(command, "false.xcnn", *images, code=2).output
    )
    assert "no.xcnn: there is no such file" in xcnn_command(command, "no.xcnn", *images, code=2).output


# xcnn predict


def test_predict_prints_a_line_for_each_image(trained, xcnn_command, picture):
    one, two = picture("one.png"), picture("two.jpg", size=(8, 8))
    output = xcnn_command("predict", trained[0], one, two).output
    line = r"{}: \d  \d+\.\d %  \(\d  \d+\.\d %, \d  \d+\.\d %\)"
    assert re.fullmatch(f"{line.format(re.escape(one))}\n{line.format(re.escape(two))}\n", output)
    assert re.fullmatch(r".*: \d  \d+\.\d %\n", xcnn_command("predict", trained[0], one, "--top", 1).output)


def test_predict_as_json_holds_all_probabilities(trained, xcnn_command, picture):
    (found,) = json.loads(xcnn_command("predict", trained[0], picture(), "--json").output)
    assert set(found) == {"image", "class", "probability", "probabilities"}
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert found["probabilities"][found["class"]] == max(found["probabilities"].values())


def test_predict_answers_as_the_model_does(trained, xcnn_command, picture):
    path = picture(size=(8, 8))
    (found,) = json.loads(xcnn_command("predict", trained[0], path, "--json").output)
    p = xcnn.load(trained[0] / "model.xcnn").predict_proba(xcnn.data.read_images([path], grey=True))
    np.testing.assert_allclose(list(found["probabilities"].values()), p[0], atol=1e-6)


def test_predict_on_dark_strokes_says_so_and_inverts(trained, xcnn_command, picture):
    light = json.loads(xcnn_command("predict", trained[0], picture(size=(8, 8)), "--json").output)[0]
    dark = picture("dark.png", dark_on_light=True, size=(8, 8))
    noted = xcnn_command("predict", trained[0], dark).output
    assert "note: " in noted
    assert (
        "dark.png: the ground is light; this model learned light strokes on a dark one: try --invert" in noted
    )
    inverted = xcnn_command("predict", trained[0], dark, "--invert", "--json").output
    assert "note" not in inverted
    assert json.loads(inverted)[0]["probabilities"] == light["probabilities"]


def test_predict_makes_colours_what_the_model_needs(saved, xcnn_command, picture):
    assert xcnn_command("predict", saved((3, 6, 6)), picture(mode="L")).output.count("%") == 3


def test_predict_goes_on_after_a_file_that_is_no_image(trained, xcnn_command, picture, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    output = xcnn_command("predict", trained[0], "text.png", picture(), "nowhere.png", code=2).output
    assert "error: text.png: cannot be read as an image" in output
    assert "error: nowhere.png: cannot be read as an image" in output
    assert re.search(r"digit\.png: \d  ", output)


def test_predict_of_a_model_of_no_images_is_refused(saved, xcnn_command, picture):
    output = xcnn_command("predict", saved((5,)), picture(), code=2).output
    assert "the model: takes inputs of shape (5,); images have 1 or 3 channels, rows and columns" in output


# xcnn doctor, schema, and the rest


def test_doctor_tells_every_backend_and_where_data_is(xcnn_command):
    output = " ".join(xcnn_command("doctor").output.split())
    for name in xcnn.available_backends():
        assert f"{name} usable: " in output
    for name, problem in xcnn.backend_problems().items():
        assert f"{name} not usable: {' '.join(problem.split())}" in output
    for part in (
        "XCNN_DATA not set",
        "mnist not here; fetched",
        "scikit-learn",
        "threads",
        "New models use numpy",
    ):
        assert part in output


def test_doctor_warns_of_what_slows_numpy_down(xcnn_command, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    output = xcnn_command("doctor").output
    assert "warning: OPENBLAS_CORETYPE=Haswell makes OpenBLAS take kernels for that processor" in output
    assert "warning: OMP_NUM_THREADS=1 limits threads" in output


def test_doctor_bears_wrong_settings(xcnn_command, monkeypatch):
    monkeypatch.setenv("XCNN_DATA", "/nowhere/at/all")
    monkeypatch.setenv("XCNN_BACKEND", "nonsense")
    output = xcnn_command("doctor").output
    assert "XCNN_DATA is '/nowhere/at/all'; needed an existing folder" in output
    assert "nothing usable (unknown backend 'nonsense'" in output


def test_schema_is_printed(xcnn_command):
    assert json.loads(xcnn_command("schema").output) == json_schema()


def test_version_is_printed(xcnn_command):
    assert xcnn_command("--version").output == f"xcnn {xcnn.__version__}\n"


@pytest.mark.parametrize("command", ["train", "test", "predict", "doctor", "schema"])
def test_help_is_for_people(xcnn_command, command):
    output = xcnn_command(command, "--help").output
    assert "Usage: " in output
    assert "----" not in output  # the sections of the docstring stay in the source


def test_unknown_command_is_refused(xcnn_command):
    assert "No such command 'trian'" in xcnn_command("trian", code=2).output


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("rich", "sklearn") else found(name)
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert (
        capsys.readouterr().err
        == 'xcnn: the command line needs rich, scikit-learn: pip install "xcnn[app]"\n'
    )


def test_entry_point_runs_on_the_arguments(monkeypatch, capsys, trained, tmp_path):
    shutil.copy(trained[0] / "model.xcnn", tmp_path / "alone.xcnn")
    monkeypatch.setattr("sys.argv", ["xcnn", "test", "alone.xcnn"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert "on digits: 449 images" in capsys.readouterr().out
