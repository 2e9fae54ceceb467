"""A search in one process: what is tried, what is chosen, what is kept, what is refused."""

from __future__ import annotations

import json
import sys
import tempfile

import numpy as np
import pytest

import xcnn
from tests.search.grids import CONFIG, DIVERGES, GRID, comparable
from xcnn.data import Split
from xcnn.errors import ConfigError, FileError, OptionError
from xcnn.io import load_config
from xcnn.io.data_spec import DataSpec
from xcnn.search import loop, search


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A search in a folder."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    return search(CONFIG, GRID, folder=folder, workers=1)


def lines(folder):
    return (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)


def test_trials_come_in_the_order_of_the_points_with_their_best_epoch(kept):
    assert [trial.point for trial in kept.trials] == [
        {"optimizer.lr": lr, "layers[0].filters": f} for lr in GRID["optimizer.lr"] for f in (2, 6)
    ]
    for trial in kept.trials:
        scores = trial.history["val_accuracy"]
        assert (trial.score, trial.epoch) == (max(scores), scores.index(max(scores)) + 1)
        assert trial.logs["val_accuracy"] == trial.score
        assert trial.logs["loss"] == trial.history["loss"][trial.epoch - 1]
        assert trial.last["loss"] == trial.history["loss"][-1]
        assert trial.seconds > 0
        assert trial.error is None
    assert kept.best.score == max(trial.score for trial in kept.trials)


def test_a_trial_is_what_train_gives(kept):
    config = CONFIG | {"optimizer": {"name": "adam", "lr": 0.03}}
    run = xcnn.io.RunConfig.from_dict(config)
    data = run.load_data()
    history = run.fit(run.build_model(data), data)
    assert kept.trials[2].history == history


def test_the_model_kept_is_the_best_trial_at_its_best_epoch(kept):
    folder = kept.folder / "best"
    config = load_config(folder / "config.json")
    assert config.optimizer.root.lr == kept.best.point["optimizer.lr"]
    assert config.layers[0].root.filters == kept.best.point["layers[0].filters"]
    _, held_out = config.data.parts(config.load_data(), config.seed)
    for model in (xcnn.load(folder / "model.xcnn"), kept.model):
        assert model.evaluate(held_out.x, held_out.y)["accuracy"] == pytest.approx(kept.best.score)
    written = json.loads((folder / "history.json").read_text())
    assert written["epochs"] == kept.best.history
    assert {path.name for path in kept.folder.iterdir()} == {
        "best",
        "config.json",
        "search.json",
        "trials.jsonl",
    }


def test_of_equal_trials_the_first_is_the_best(tmp_path):
    config = CONFIG | {"epochs": 1, "optimizer": {"name": "sgd", "lr": 1e-12}}
    found = search(config, {"optimizer.lr": [3e-12, 1e-12, 2e-12]}, folder=tmp_path, workers=1)
    assert len({trial.score for trial in found.trials}) == 1
    assert found.best.index == 0
    assert load_config(tmp_path / "best" / "config.json").optimizer.root.lr == 3e-12


def test_without_a_folder_nothing_stays_on_the_disk(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = CONFIG | {"callbacks": [{"name": "json_logger", "path": "log.jsonl"}]}
    found = search(config, GRID, workers=1)
    assert list(tmp_path.iterdir()) == []
    assert found.folder is None
    assert comparable(found) == comparable(kept)
    x = np.zeros((1, 1, 8, 8), "float32")
    np.testing.assert_array_equal(found.model.predict(x), kept.model.predict(x))


def test_files_of_callbacks_go_to_a_folder_of_the_trial(tmp_path):
    config = CONFIG | {"callbacks": [{"name": "json_logger", "path": "log.jsonl"}]}
    search(config, {"seed": [0, 1]}, folder=tmp_path, workers=1)
    assert all(len((tmp_path / f"trial-{i}" / "log.jsonl").read_text().splitlines()) == 3 for i in (1, 2))


def test_points_may_be_a_list(kept):
    found = search(CONFIG, kept.points[3:1:-1], workers=1)
    assert [trial.history for trial in found.trials] == [kept.trials[i].history for i in (3, 2)]


def test_images_are_loaded_once(monkeypatch):
    calls, load = [], DataSpec.load
    monkeypatch.setattr(DataSpec, "load", lambda self, seed: calls.append(seed) or load(self, seed))
    search(CONFIG, {"optimizer.lr": [0.01, 0.1], "data.validation": [0.1, 0.2], "epochs": [1]}, workers=1)
    assert calls == [0]


class Unseen:
    """Images that nobody may look at."""

    def __getattribute__(self, name):
        raise AssertionError(f"somebody looked at the test images: {name}")

    def __len__(self):
        raise AssertionError("somebody counted the test images")


def test_choosing_never_sees_the_test_images(monkeypatch, kept):
    load = DataSpec.load

    def blind(self, seed):
        data = load(self, seed)
        return xcnn.data.DataSet(data.name, data.train, Split(Unseen(), Unseen()), data.classes)

    monkeypatch.setattr(DataSpec, "load", blind)
    assert comparable(search(CONFIG, GRID, workers=1)) == comparable(kept)


def test_a_tenth_is_held_out_where_there_is_nothing_to_choose_by():
    data = {"name": "digits", "train_size": 200}
    found = search(CONFIG | {"data": data, "epochs": 1}, {"seed": [0]}, workers=1)
    assert found.config.data.validation == 0.1
    same = search(CONFIG | {"data": data | {"validation": 0.1}, "epochs": 1}, {"seed": [0]}, workers=1)
    assert comparable(found) == comparable(same)
    other = search(
        CONFIG | {"data": "digits", "epochs": 1}, {"data": [data, data | {"validation": 0.3}]}, workers=1
    )
    assert other.trials[0].history == found.trials[0].history
    assert other.trials[1].history != found.trials[0].history


def test_a_loss_chooses_the_smallest():
    found = search(CONFIG, GRID, monitor="val_loss", workers=1)
    assert found.best.score == min(min(trial.history["val_loss"]) for trial in found.trials)
    assert [row["score"] for row in found.table()] == sorted(trial.score for trial in found.trials)


def test_the_first_metric_chooses_by_default():
    found = search(CONFIG | {"metrics": ["top5_accuracy"], "epochs": 1}, {"seed": [0]}, workers=1)
    assert found.monitor == "val_top5_accuracy"


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("test_accuracy", "a search does not choose by test images"),
        ("val_acuracy", "did you mean 'val_accuracy'"),
        ("val_top5_accuracy", "unknown measure"),
    ],
)
def test_another_measure_is_refused(monitor, said):
    with pytest.raises(OptionError, match=said):
        search(CONFIG, GRID, monitor=monitor, workers=1)


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
@pytest.mark.parametrize("option", ["workers", "threads"])
def test_a_number_of_workers_or_threads_that_is_none_is_refused(option, count):
    with pytest.raises(OptionError, match=option):
        search(CONFIG, GRID, **{option: count})


def test_a_search_that_goes_on_keeps_to_its_threads(tmp_path, monkeypatch):
    seen, run_all = [], loop.run_all
    monkeypatch.setattr(
        loop, "run_all", lambda *a, **options: seen.append(options["threads"]) or run_all(*a, **options)
    )
    search(CONFIG | {"epochs": 1}, {"seed": [0, 1]}, folder=tmp_path, workers=1, threads=1)
    (tmp_path / "trials.jsonl").unlink()
    search(CONFIG | {"epochs": 1}, {"seed": [0, 1]}, folder=tmp_path, workers=1, threads=2)
    assert seen == [1, 1]


def test_every_point_is_checked_before_the_first_is_trained(tmp_path):
    folder = tmp_path / "run"
    grid = {"optimizer.lr": [0.1, -1, "fast"], "layers[0].filters": [2, 0], "epochs": [1, 2]}
    with pytest.raises(ConfigError) as caught:
        search(CONFIG, grid, folder=folder, workers=1)
    assert str(caught.value).splitlines() == [
        "layers[0].filters: got 0; needed an integer of at least 1 "
        "(at optimizer.lr=0.1, layers[0].filters=0, epochs=1)",
        "optimizer.lr: got -1; needed no negative number (at optimizer.lr=-1, layers[0].filters=2, epochs=1)",
        "optimizer.lr: got 'fast'; needed a number (at optimizer.lr=fast, layers[0].filters=2, epochs=1)",
    ]
    with pytest.raises(ConfigError, match=r"optimzer: unknown key; did you mean 'optimizer'"):
        search(CONFIG, {"optimzer.lr": [1.0]}, folder=folder, workers=1)
    assert not folder.exists()


def test_early_stopping_works_in_it():
    stopping = {"name": "early_stopping", "monitor": "val_loss", "patience": 1, "restore_best": False}
    found = search(CONFIG | {"epochs": 60, "callbacks": [stopping]}, {"optimizer.lr": [0.03, 0.1]}, workers=1)
    for trial in found.trials:
        losses = trial.history["val_loss"]
        assert len(losses) < 60
        assert losses.index(min(losses)) == len(losses) - 3
    assert found.best.score == max(found.best.history["val_accuracy"])


def test_a_trial_that_fails_is_recorded_and_the_others_go_on(tmp_path):
    points = [
        {"loss": DIVERGES["loss"], "optimizer": DIVERGES["optimizer"]},
        {"layers[0].kernel_size": 9},
        {"optimizer.lr": 0.03},
    ]
    found = search(CONFIG, points, folder=tmp_path, workers=1)
    assert found.trials[0].error.startswith("NonFiniteError: ")
    assert found.trials[1].error.startswith("ConfigError: layers[0]: ")
    assert [trial.score for trial in found.trials[:2]] == [None, None]
    assert found.best.index == 2
    assert [row["rank"] for row in found.table()] == [1, None, None]
    again = search(CONFIG, points, folder=tmp_path, workers=1)
    assert comparable(again) == comparable(found)


def test_if_all_fail_there_is_no_best():
    found = search(CONFIG, {"layers[0].kernel_size": [9, 10]}, workers=1)
    assert (found.best, found.model) == (None, None)
    assert len(found.table()) == 2


@pytest.fixture
def stopped(kept, tmp_path):
    """Return a folder in which a search ended after three trials, and what comes of half a line."""

    def make(*, torn=b""):
        folder = tmp_path / "stopped"
        folder.mkdir()
        (folder / "search.json").write_bytes((kept.folder / "search.json").read_bytes())
        (folder / "trials.jsonl").write_bytes(b"".join(lines(kept.folder)[:3]) + torn)
        (folder / "trial-4.xcnn").write_bytes(b"half a mod")
        (folder / "best").mkdir()
        best = max(kept.trials[:3], key=lambda trial: trial.score)
        once = search(CONFIG, [best.point], folder=tmp_path / "one", workers=1)
        for path in (once.folder / "best").iterdir():
            (folder / "best" / path.name).write_bytes(path.read_bytes())
        return folder

    return make


@pytest.mark.parametrize("torn", [b"", b'{"index": 3, "poi', b'{"index": 3}'])
def test_it_goes_on_where_it_ended_and_half_a_line_is_not_believed(torn, stopped, kept, monkeypatch):
    folder, ran, run_all = stopped(torn=torn), [], loop.run_all
    monkeypatch.setattr(
        loop, "run_all", lambda indices, *a, **o: ran.extend(indices) or run_all(indices, *a, **o)
    )
    found = search(CONFIG, GRID, folder=folder, workers=1)
    assert ran == [3, 4, 5]
    assert comparable(found) == comparable(kept)
    assert [json.loads(line)["index"] for line in lines(folder)] == [0, 1, 2, 3, 4, 5]
    x = np.zeros((1, 1, 8, 8), "float32")
    np.testing.assert_array_equal(found.model.predict(x), kept.model.predict(x))
    assert not (folder / "trial-4.xcnn").exists()


def test_what_has_ended_is_not_run_again(kept, monkeypatch):
    monkeypatch.setattr(loop, "run_all", None)
    again = search(CONFIG, GRID, folder=kept.folder)
    assert comparable(again) == comparable(kept)
    assert again.trials == kept.trials


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (CONFIG | {"epochs": 4, "batch_size": 8}, {}, "another configuration (epochs, batch_size)"),
        (CONFIG, {"grid": {"optimizer.lr": [0.1]}}, "another grid"),
        (CONFIG, {"monitor": "val_loss"}, "another measure, val_accuracy"),
    ],
)
def test_another_search_is_refused(config, options, said, kept):
    before = {path: path.read_bytes() for path in kept.folder.rglob("*") if path.is_file()}
    with pytest.raises(FileError) as caught:
        search(config, options.pop("grid", GRID), folder=kept.folder, workers=1, **options)
    assert said in str(caught.value)
    assert "needed the same to go on, or a new folder" in str(caught.value)
    assert {path: path.read_bytes() for path in kept.folder.rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileError, match="exists already, and is no search"):
        search(CONFIG, GRID, folder=tmp_path, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"index": 99, "point": {}}\n', b"[1]\n"])
def test_a_damaged_line_is_refused_by_its_number(line, stopped):
    folder = stopped()
    first, *others = lines(folder)
    (folder / "trials.jsonl").write_bytes(b"".join([first, line, *others]))
    with pytest.raises(FileError, match=r"trials\.jsonl: line 2 is no trial of this search"):
        search(CONFIG, GRID, folder=folder, workers=1)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"threads": "many"}'])
def test_a_damaged_description_is_refused(text, tmp_path):
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(FileError, match=r"search\.json: "):
        search(CONFIG, GRID, folder=tmp_path, workers=1)


def test_missing_images_are_said_once_and_leave_no_folder(tmp_path):
    config = CONFIG | {"data": {"path": str(tmp_path / "none"), "validation": 0.1}}
    with pytest.raises(xcnn.Error):
        search(config, GRID, folder=tmp_path / "run", workers=1)
    assert not (tmp_path / "run").exists()


def test_progress_is_a_line_for_each_trial(capsys):
    search(CONFIG, [{"optimizer.lr": 0.03}, {"layers[0].kernel_size": 9}], workers=1, progress=True)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("trial 1/2  optimizer.lr=0.03  val_accuracy 0.")
    assert "of 3)" in first
    assert second.startswith("trial 2/2  layers[0].kernel_size=9  failed: ConfigError: layers[0]: ")
    search(CONFIG, [{"optimizer.lr": 0.03}], workers=1)
    assert capsys.readouterr().err == ""


def test_the_bar_counts_the_trials_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    search(CONFIG | {"epochs": 1}, {"seed": [0, 1]}, workers=1)
    err = capsys.readouterr().err
    assert "of 2 trials" in err
    assert "best val_accuracy 0." in err


def test_each_seed_has_the_images_that_it_has_alone():
    found = search(CONFIG | {"epochs": 1}, {"seed": [0, 1]}, workers=1)
    for seed, trial in enumerate(found.trials):
        run = xcnn.io.RunConfig.from_dict(CONFIG | {"epochs": 1, "seed": seed})
        data = run.load_data()
        assert trial.history == run.fit(run.build_model(data), data)


def test_another_optimizer_has_its_own_defaults(tmp_path):
    config = CONFIG | {"epochs": 1, "optimizer": "adam"}
    search(config, [{"optimizer.name": "sgd"}], folder=tmp_path, workers=1)
    default = xcnn.io.RunConfig.from_dict(CONFIG | {"optimizer": "sgd"}).optimizer.root.lr
    assert default != xcnn.io.RunConfig.from_dict(config).optimizer.root.lr
    assert load_config(tmp_path / "best" / "config.json").optimizer.root.lr == default


def test_early_stopping_that_goes_back_to_its_own_best_does_not_change_the_model_kept():
    stopping = {"name": "early_stopping", "monitor": "loss", "patience": 3, "restore_best": True}
    found = search(
        CONFIG | {"epochs": 25, "callbacks": [stopping], "seed": 1}, {"optimizer.lr": [0.1]}, workers=1
    )
    losses, scores = found.best.history["loss"], found.best.history["val_accuracy"]
    assert scores[losses.index(min(losses))] < found.best.score  # else nothing would be tested
    run = found.config
    _, held_out = run.data.parts(run.load_data(), run.seed)
    assert found.model.evaluate(held_out.x, held_out.y)["accuracy"] == pytest.approx(found.best.score)


def test_a_trial_that_would_not_measure_what_chooses_is_refused_at_once():
    with pytest.raises(
        ConfigError, match=r"metrics: got \['top5_accuracy'\]; needed what gives val_accuracy"
    ):
        search(CONFIG, {"metrics": [["accuracy"], ["top5_accuracy"]]}, workers=1)


def test_what_watches_the_validation_has_the_tenth_that_is_held_out():
    config = CONFIG | {"data": {"name": "digits", "train_size": 200}, "callbacks": ["early_stopping"]}
    found = search(config | {"epochs": 1}, {"seed": [0]}, workers=1)
    assert (found.config.data.validation, found.trials[0].error) == (0.1, None)
    with pytest.raises(ConfigError, match=r"callbacks\[0\]\.monitor: got 'val_loss'"):
        search(config, {"seed": [0]}, monitor="loss", workers=1)


@pytest.mark.parametrize("path", ["{}/log.jsonl", "../log.jsonl", "a/../../log.jsonl"])
def test_files_that_all_trials_would_write_to_are_refused(path, tmp_path):
    logger = {"name": "json_logger", "path": path.format(tmp_path)}
    with pytest.raises(
        ConfigError, match=r"callbacks\[0\]\.path: got .*; needed a path in the folder of the run"
    ):
        search(CONFIG | {"callbacks": [logger]}, {"seed": [0, 1]}, folder=tmp_path / "run", workers=1)


def test_settings_and_measures_of_one_name_are_told_apart():
    found = search(
        CONFIG, {"loss": ["cross_entropy", "mse"], "epochs": [1, 2]}, workers=1, monitor="val_loss"
    )
    for row in found.table():
        (trial,) = [trial for trial in found.trials if trial.point == row["point"]]
        assert row["epochs"] == trial.point["epochs"]
        assert row["logs"]["loss"] == trial.history["loss"][row["best_epoch"] - 1]
        assert row["score"] == trial.score
