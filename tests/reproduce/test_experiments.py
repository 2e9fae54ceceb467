"""The experiments of the reports: what their files say, what is compared with what, and the page."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import xcnn
from xcnn.data import DataSet, Split
from xcnn.errors import ConfigError, OptionError
from xcnn.io.config import RunConfig
from xcnn.layers import Dense, Flatten
from xcnn.reproduce import Result, experiments, reproduce
from xcnn.reproduce.catalogue import choose, read_experiment
from xcnn.reproduce.confidence import _judge, _measure
from xcnn.reproduce.page import duration
from xcnn.reproduce.result import accuracy_row, spread, table
from xcnn.reproduce.training import Lab, train

ROOT = Path(__file__).parents[2]
SEEDS = ROOT.parent / "shared" / "seeds"  # the reports, where they are at hand


def digits_run(**changed) -> dict:
    """A run on scikit-learn's digits, which are always there."""
    content = {
        "data": {"name": "digits", "train_size": 300, "test_size": 100, "validation": 0.2},
        "layers": [
            {"type": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu"},
            "Flatten",
            {"type": "Dense", "units": 10, "activation": "softmax"},
        ],
        "optimizer": {"name": "adam", "lr": 0.01},
        "epochs": 3,
        "batch_size": 16,
    }
    return content | changed


@pytest.fixture
def written(tmp_path):
    """Write an experiment on digits, and read it."""

    def write(name="tiny", configuration=None, **content):
        (tmp_path / "run.json").write_text(json.dumps(configuration or digits_run()))
        frame = {"report": "000", "section": "1", "title": "Tiny", "shows": "Something.", "seconds": 1}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(frame | content))
        return read_experiment(path)

    return write


# What the files say.


def test_every_report_has_experiments_and_names_begin_with_the_report():
    assert {e.report for e in experiments().values()} == {"000", "001", "002", "003", "004", "own"}
    assert all(name.startswith(e.report) for name, e in experiments().items() if e.report != "own")


@pytest.mark.parametrize("name", experiments())
def test_experiment_says_where_it_stands_what_it_shows_and_how_long_it_takes(name):
    e = experiments()[name]
    assert e.title
    assert e.shows.endswith(".")
    assert e.section
    assert 0 < e.seconds <= 900
    assert all(remark.strip().endswith((".", '."')) for remark in e.remarks)


def test_all_but_the_modern_network_are_expected_within_half_an_hour():
    assert sum(e.seconds for name, e in experiments().items() if name != "cifar10-modern") <= 1800


def _forms(figure: float) -> list[str]:
    """How a report may write a fraction."""
    return [
        f"{figure:.2f}",
        f"{100 * figure:.2f}%",
        f"{100 * figure:g}%",
        f"{100 * figure:g}",
        f"{100 * figure:.1f}",
    ]


def _stands(figure: float, text: str) -> bool:
    """Whether a figure stands in a text, as a number of its own."""
    return any(re.search(rf"(?<![\d.]){re.escape(form)}(?![\d]|\.\d)", text) for form in _forms(figure))


def _figures_of(e) -> list[float]:
    """All figures that an experiment says are the report's."""
    found = list(e.figures().values())
    found += [value for run in getattr(e, "runs", {}).values() for value in [*run.precision, *run.recall]]
    found += [value for values in getattr(e, "baselines", {}).values() for value in values]
    return [
        v
        for figure in found
        if figure is not None
        for v in (figure if isinstance(figure, list) else [figure])
    ]


@pytest.mark.parametrize("name", [name for name, e in experiments().items() if _figures_of(e)])
def test_every_figure_of_an_experiment_stands_in_its_report(name):
    e = experiments()[name]
    found = sorted(SEEDS.glob(f"{e.report}_*.txt"))
    if not found:
        pytest.skip("the reports are not at hand: their figures are not compared with the experiments'")
    text = found[0].read_text()
    missing = [figure for figure in _figures_of(e) if not _stands(figure, text)]
    assert not missing


def test_kind_that_is_none_is_refused_with_the_kinds(written):
    with pytest.raises(ConfigError, match=r"tiny.json: kind: got 'rnus'; needed runs, grid"):
        written(kind="rnus")


def test_key_that_is_none_is_refused_with_its_place(written):
    with pytest.raises(ConfigError, match=r"tiny.json: runs.A.cofnig"):
        written(kind="runs", runs={"A": {"cofnig": "run.json", "config": "run.json"}})


def test_name_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(OptionError, match="no experiment '004-model'; did you mean '004-models'"):
        choose(["004-model"])


def test_all_stands_for_every_experiment_once():
    assert [e.name for e in choose(["004-models", "all"])] == list(experiments())


# What is compared.


@pytest.mark.parametrize(
    ("reported", "values", "n", "verdict"),
    [
        (0.90, [0.95], 10_000, "beaten"),
        (0.95, [0.951], 10_000, "met"),
        (0.95, [0.95], 10_000, "met"),
        (0.95, [0.948], 10_000, "below, within the interval"),
        (0.95, [0.90], 10_000, "below"),
        ([0.97, 0.98], [0.975], 10_000, "met"),
        ([0.97, 0.98], [0.99], 10_000, "beaten"),
        ([0.97, 0.98], [0.96], 10_000, "below"),
        (None, [0.5], 100, "not in the report"),
    ],
)
def test_verdict_follows_from_the_figures(reported, values, n, verdict):
    assert accuracy_row("", reported, values, n).verdict == verdict


def test_goal_of_ours_is_no_figure_of_the_report():
    rows = [accuracy_row("", None, [v], 10_000, goal=0.58) for v in (0.6, 0.5)]
    assert [row.verdict for row in rows] == ["our goal of 58 % reached", "our goal of 58 % missed"]
    assert [(row.reported, row.reached) for row in rows] == [("-", None)] * 2


def test_reached_is_what_was_met_or_beaten():
    reached = {v: accuracy_row("", 0.95, [v], 10_000).reached for v in (0.97, 0.951, 0.948, 0.9)}
    assert reached == {0.97: True, 0.951: True, 0.948: False, 0.9: False}
    assert accuracy_row("", None, [0.9], 100).reached is None


def test_interval_is_wilsons_of_the_mean():
    row = accuracy_row("", 0.5, [0.4, 0.6], 100)
    low, high = xcnn.metrics.wilson_interval(50, 100)
    assert row.interval == f"{100 * low:.2f} to {100 * high:.2f} %"


def test_spread_is_the_standard_deviation_over_seeds():
    assert spread([0.9, 0.94]) == "92.00 ± 2.83 % (2 seeds)"
    assert spread([0.9]) == "90.00 %"


def test_bar_in_a_cell_does_not_break_the_table():
    assert table(["a", "b"], [["x|y", "1"]]).splitlines()[-1] == r"| x\|y | 1 |"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (12.3, "12 s"), (59.8, "1 min 0 s"), (185, "3 min 5 s")]
)
def test_duration_is_written_as_it_is_read(seconds, text):
    assert duration(seconds) == text


# How it is trained.


def test_epoch_is_chosen_in_validation_and_the_model_is_that_of_the_epoch():
    wild = digits_run(epochs=12, optimizer={"name": "adam", "lr": 0.05}, batch_size=8)
    trained = train(RunConfig.from_dict(wild))
    best = int(np.argmax(trained.history["val_accuracy"]))
    assert trained.epoch == best < 11
    right = trained.probabilities().argmax(axis=1) == trained.test.y
    assert right.mean() == trained.history["test_accuracy"][best]
    assert right.mean() != trained.history["test_accuracy"][-1]


def test_time_of_testing_is_not_time_of_training(monkeypatch):
    config = RunConfig.from_dict(digits_run(epochs=2))
    data = config.load_data()
    predict = xcnn.Model.predict_classes

    def slowly(self, x):
        time.sleep(1.0)
        return predict(self, x)

    monkeypatch.setattr(xcnn.Model, "predict_classes", slowly)
    start = time.perf_counter()
    trained = train(config, data)
    assert time.perf_counter() - start - trained.seconds >= 2.0


def test_without_validation_the_last_epoch_counts():
    trained = train(
        RunConfig.from_dict(digits_run(data={"name": "digits", "train_size": 200, "test_size": 50}))
    )
    assert trained.epoch == 2


def test_test_images_decide_nothing():
    config = RunConfig.from_dict(digits_run())
    data = config.load_data()
    wrong = DataSet(data.name, data.train, Split(data.test.x, (data.test.y + 1) % 10), data.classes)
    honest, misled = train(config, data), train(config, wrong)
    assert honest.epoch == misled.epoch
    assert np.array_equal(honest.probabilities(), misled.probabilities())


def test_quick_run_is_small_whatever_the_configuration_says():
    config = Lab(quick=True).prepare(RunConfig.from_dict(digits_run(data="digits", epochs=50)))
    assert (config.epochs, config.data.train_size, config.data.test_size) == (2, 600, 600)


# Whole experiments, on digits.


def test_runs_compare_each_training_with_the_report(written):
    e = written(
        kind="runs",
        runs={"A": {"config": "run.json", "reported": {"test_accuracy": 0.05, "accuracy": 1.0}}},
        repeats=2,
        pictures=["accuracy", "loss", "classes", "confusion", "kernels", "misclassified"],
    )
    result = e.perform(Lab(tell=lambda line: None))
    first, second = result.rows
    assert first.verdict == "beaten"
    assert second.verdict.startswith("below")
    assert "(2 seeds)" in first.ours
    assert first.interval == accuracy_row("", None, result.numbers["A"]["test_accuracy"], 100).interval
    assert second.interval == accuracy_row("", None, result.numbers["A"]["accuracy"], 240).interval
    assert first.seconds > 0
    assert first.rate > 0
    assert len(result.pictures) == 6
    found = next(caption for caption in result.pictures if "trace" in caption)
    right = int(re.search(r"trace, (\d+) of 100", found)[1])
    assert right / 100 == pytest.approx(result.numbers["A"]["test_accuracy"][0])


def test_loss_said_to_fall_faster_is_compared_at_its_end_and_in_its_mean(written, tmp_path):
    (tmp_path / "slow.json").write_text(json.dumps(digits_run(optimizer={"name": "adam", "lr": 1e-5})))
    runs = {"fast": {"config": "run.json"}, "slow": {"config": "slow.json"}}
    for faster, verdict in ((["fast", "slow"], "confirmed"), (["slow", "fast"], "not confirmed")):
        e = written(kind="runs", runs=runs, faster=faster, pictures=["loss"])
        assert e.perform(Lab(tell=lambda line: None)).rows[-1].verdict == verdict


def test_grid_finds_its_best_point_and_tests_that_alone(written):
    e = written(
        kind="grid",
        config="run.json",
        rows={"path": "optimizer.lr", "name": "eta", "values": [1e-6, 0.01]},
        columns={"path": "layers[0].filters", "name": "filters", "values": [2, 4]},
        panels={
            "p": {
                "reported": {
                    "report": {"val_accuracy": 0.9, "accuracy": 1.0},
                    "TensorFlow": {"val_accuracy": 0.38},
                }
            }
        },
        note="Rows differ.",
    )
    result = e.perform(Lab(tell=lambda line: None))
    held = np.array(result.numbers["p"]["val_accuracy"])
    assert held.shape == (2, 2)
    assert held[1].min() > held[0].max()
    assert "eta 0.01" in result.rows[0].what
    assert [row.reported for row in result.rows] == ["90.00 %", "100.00 %", "38.00 %", "-"]
    top = float(held.max())
    assert result.rows[0].interval == accuracy_row("", None, [top], 60).interval  # a fifth of 300
    assert (
        result.rows[-1].interval
        == accuracy_row("", None, [result.numbers["p"]["test_accuracy_of_best"]], 100).interval
    )
    assert len(result.pictures) == 2
    assert "Rows differ." in result.notes[0]


def test_grid_with_a_training_that_failed_says_so_and_goes_on(written):
    e = written(
        kind="grid",
        config="run.json",
        rows={"path": "layers[0].kernel_size", "name": "kernel", "values": [3, 99]},
        columns={"path": "layers[0].filters", "name": "filters", "values": [2]},
        panels={"p": {}},
    )
    result = e.perform(Lab(tell=lambda line: None))
    assert result.numbers["p"]["val_accuracy"][1] == [None]
    assert "1 of the trainings failed" in result.notes[0]
    json.dumps(result.numbers, allow_nan=False)


def test_grid_of_which_nothing_can_be_trained_is_an_error_with_the_cause(written):
    e = written(
        kind="grid",
        config="run.json",
        rows={"path": "layers[0].kernel_size", "name": "kernel", "values": [99]},
        columns={"path": "layers[0].filters", "name": "filters", "values": [2]},
        panels={"p": {}},
    )
    with pytest.raises(xcnn.errors.Error, match=r"every training failed, the first: .* a window of 99 x 99"):
        e.perform(Lab(tell=lambda line: None))


def test_ctrl_c_in_a_training_ends_the_experiment(written, monkeypatch):
    run = digits_run(layers=[digits_run()["layers"][0], *digits_run()["layers"]])
    e = written(kind="initialisation", configuration=run, config="run.json", scales=[1, 2], repeats=1)
    fit = RunConfig.fit

    def stopped(*args, **options):
        history = fit(*args, **options)
        history.interrupted = True
        return history

    monkeypatch.setattr(RunConfig, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        e.perform(Lab(tell=lambda line: None))


def test_baselines_stand_beside_the_network(written):
    e = written(
        kind="baselines",
        run={"config": "run.json", "reported": {"test_accuracy": 0.5}},
        baselines={"logistic regression": [0.5, 0.4, 0.6], "support vector machine": [1.0, 1.0, 1.0]},
    )
    result = e.perform(Lab(tell=lambda line: None))
    assert [row.what for row in result.rows] == [
        "convolutional network",
        "logistic regression",
        "support vector machine",
    ]
    assert result.rows[1].verdict == "beaten"
    data = e.run.config.load_data()
    flat = [part.x.reshape(len(part.y), -1) for part in (data.train, data.test)]
    score = LogisticRegression(max_iter=2000).fit(flat[0], data.train.y).score(flat[1], data.test.y)
    assert result.numbers["baselines"]["logistic regression"] == pytest.approx(score)


def test_too_large_first_weights_kill_kernels(written):
    run = digits_run(optimizer={"name": "sgd", "lr": 0.05}, batch_size=1, epochs=1)
    run["layers"] = [run["layers"][0], *run["layers"]]
    e = written(kind="initialisation", configuration=run, config="run.json", scales=[1, 64], repeats=2)
    result = e.perform(Lab(tell=lambda line: None))
    assert result.numbers["1"]["dead"] < result.numbers["64"]["dead"]
    assert result.rows[0].verdict == "confirmed"


def test_each_repetition_has_a_seed_for_its_order_too(written, monkeypatch):
    run = digits_run(epochs=1)
    e = written(kind="initialisation", configuration=run, config="run.json", scales=[1, 2], repeats=3)
    fit, seeds = RunConfig.fit, []

    def note(self, *args, **options):
        seeds.append(self.seed)
        return fit(self, *args, **options)

    monkeypatch.setattr(RunConfig, "fit", note)
    e.perform(Lab(tell=lambda line: None))
    assert seeds == [0, 1, 2, 0, 1, 2]


def test_confidence_is_measured_with_and_without_a_hidden_layer(written, tmp_path):
    hidden = digits_run(callbacks=[{"name": "block_loss", "samples": 50}])
    plain = json.loads(json.dumps(hidden))
    hidden["layers"].insert(2, {"type": "Dense", "units": 8, "activation": "sigmoid"})
    (tmp_path / "hidden.json").write_text(json.dumps(hidden))
    runs = {"plain": {"config": "run.json"}, "hidden": {"config": "hidden.json"}}
    result = written(kind="confidence", configuration=plain, runs=runs).perform(Lab(tell=lambda line: None))
    assert set(result.numbers) == {"plain", "hidden"}
    assert all(0 <= found["ECE calibrated"] <= 1 for found in result.numbers.values())
    assert "| plain | no |" in result.notes[0]
    assert "| hidden | yes |" in result.notes[0]


@pytest.mark.parametrize(
    ("without", "with_one", "verdict"),
    [(0.9, 0.1, "confirmed"), (0.3, 0.1, "not confirmed"), (0.9, 0.8, "not confirmed")],
)
def test_overconfidence_is_confirmed_where_most_wrong_answers_are_certain(without, with_one, verdict):
    plain = xcnn.Model([Flatten(), Dense(10)], (1, 8, 8))
    hidden = xcnn.Model([Flatten(), Dense(8), Dense(10)], (1, 8, 8))
    done = {"plain": SimpleNamespace(model=plain), "hidden": SimpleNamespace(model=hidden)}
    measured = {"plain": {"certain when wrong": without}, "hidden": {"certain when wrong": with_one}}
    assert _judge(done, measured).verdict == verdict


def test_temperature_is_fitted_on_the_validation_images(written):
    config = RunConfig.from_dict(digits_run(epochs=8))
    data = config.load_data()
    wrong = DataSet(data.name, data.train, Split(data.test.x, (data.test.y + 1) % 10), data.classes)
    honest, misled = (_measure(train(config, images)) for images in (data, wrong))
    assert np.array_equal(honest["calibrated"], misled["calibrated"])


# The page.


class _Page(HTMLParser):
    """What an HTML file refers to."""

    def __init__(self):
        super().__init__()
        self.sources, self.links, self.places, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.sources += [found["src"]] if "src" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.places += [found["id"]] if "id" in found else []


@pytest.fixture
def catalogue(monkeypatch, written):
    """Two experiments: one that runs, and one whose images are not there."""
    works = written(kind="runs", runs={"A": {"config": "run.json", "reported": {"test_accuracy": 0.99}}})
    gone = works.model_copy(update={"name": "gone", "report": "own"})
    found = {"tiny": works, "gone": gone}
    monkeypatch.setattr("xcnn.reproduce.catalogue.experiments", lambda: found)

    def nothing(lab):
        raise xcnn.errors.FileError("there are no images", where="mnist")

    object.__setattr__(gone, "perform", nothing)
    return found


def test_page_needs_no_other_file_and_its_links_lead_somewhere(catalogue, tmp_path):
    done = reproduce(["all"], tmp_path / "out")
    page = _Page()
    page.feed((tmp_path / "out" / "report.html").read_text())
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert {link for link in page.links if link.startswith("#")} == {f"#{place}" for place in page.places}
    assert not [link for link in page.links if not link.startswith("#")]
    assert "script" not in page.tags
    assert isinstance(done["tiny"], Result)


def test_markdown_shows_figures_that_are_there(catalogue, tmp_path):
    reproduce(["tiny"], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(shown) == 2
    assert all((tmp_path / "out" / name).stat().st_size > 0 for name in shown)


def test_experiment_that_cannot_be_run_does_not_stop_the_others(catalogue, tmp_path):
    done = reproduce(["all"], tmp_path / "out")
    assert str(done["gone"]) == "mnist: there are no images"
    numbers = json.loads((tmp_path / "out" / "results.json").read_text())
    assert numbers["gone"] == {"error": "mnist: there are no images"}
    assert numbers["tiny"]["rows"][0]["reported"] == "99.00 %"
    assert "**Could not be run**: mnist: there are no images" in (tmp_path / "out" / "report.md").read_text()


def test_page_is_written_after_each_experiment(catalogue, tmp_path):
    seen = []

    def look(experiment, outcome):
        seen.append((tmp_path / "out" / "report.md").read_text().count("###"))

    reproduce(["all"], tmp_path / "out", after=look)
    assert seen == [1, 2]


def test_pictures_of_an_older_page_are_drawn_anew(catalogue, tmp_path):
    reproduce(["tiny"], tmp_path / "out")
    (path,) = (tmp_path / "out" / "figures").glob("*-1.png")
    path.write_bytes(b"old")
    reproduce(["tiny"], tmp_path / "out")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_page_names_what_is_not_done_yet(catalogue, tmp_path):
    seen = []
    reproduce(
        ["all"],
        tmp_path / "out",
        after=lambda e, found: seen.append((tmp_path / "out" / "report.md").read_text()),
    )
    assert "**Not done yet, or stopped before**: gone" in seen[0]
    assert "Not done yet" not in seen[1]


def test_figures_of_a_quick_run_are_not_judged(catalogue, tmp_path):
    done = reproduce(["tiny"], tmp_path / "out", quick=True)
    assert {row.verdict for row in done["tiny"].rows} == {"quick run"}
    assert "A quick run" in (tmp_path / "out" / "report.md").read_text()
