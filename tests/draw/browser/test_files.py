"""Pictures from files in a real browser: dropped, pasted and chosen; drawings kept and corrected."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xcnn
from tests.draw.browser.pad import DROP, PASTE, png

BROKEN = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


@pytest.fixture
def digit(made):
    return made.digits(1)[7][1]


def _choose(pad, content, name="digit.png", kind="image/png"):
    pad.page.locator("#file").set_input_files({"name": name, "mimeType": kind, "buffer": content})


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_picture_of_the_models_size_is_seen_as_it_is(pad, made, digit, way):
    with pad.answer_follows():
        if way == "choose":
            _choose(pad, png(digit))
        else:
            pad.give({"drop": DROP, "paste": PASTE}[way], png(digit))
    assert pad.answer == str(made.model.predict_classes(digit[None])[0])
    assert np.array_equal(pad.shown(), digit[0])


def test_the_button_opens_a_file(pad, digit):
    with pad.page.expect_file_chooser() as chooser:
        pad.page.locator("#open").click()
    with pad.answer_follows():
        chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png(digit)})
    assert np.array_equal(pad.shown(), digit[0])


def test_the_same_file_can_be_opened_again(pad, digit):
    for _ in range(2):
        with pad.answer_follows():
            _choose(pad, png(digit))
        pad.clear()


def test_a_large_dark_drawing_on_white_is_made_as_the_models_pictures_are(pad, made, digit):
    paper = np.full((300, 400), 255, np.uint8)
    large = np.kron(digit[0], np.ones((5, 5), np.uint8))
    paper[20 : 20 + large.shape[0], 30 : 30 + large.shape[1]] -= large
    pad.drop(paper)
    saw = pad.saw()
    assert saw.shape == made.model.input_shape
    assert saw[0, [0, 0, -1, -1], [0, -1, 0, -1]].max() < 0.1  # its corners are dark again
    assert saw.max() > 0.5
    assert pad.answer == str(made.model.predict_classes(saw[None])[0])


def test_a_photograph_of_a_drawing_is_seen_without_its_paper(pad, digit):
    light = np.add.outer(np.linspace(200, 150, 300), np.linspace(0, -40, 400))
    light[40:260, 60:280] -= (
        0.7
        * light[40:260, 60:280]
        * np.asarray(Image.fromarray(digit[0]).resize((220, 220), Image.Resampling.BILINEAR), float)
        / 255
    )
    pad.drop(light.astype(np.uint8))
    saw = pad.saw()[0]
    assert np.count_nonzero(saw) < 0.5 * saw.size
    assert "light and dark were exchanged." in pad.page.locator("#notes").inner_text()


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (BROKEN, "broken.png", "image/png"),
        (b"", "empty.png", "image/png"),
        (b"no picture at all", "letter.txt", "text/plain"),
    ],
    ids=["broken", "empty", "text"],
)
def test_what_is_no_picture_is_said_to_be_none_and_the_next_drawing_works(pad, content, name, kind):
    pad.give(DROP, content, name, kind)
    said = pad.page.locator("#status")
    pad.until("$('#status').textContent !== ''")
    assert name in said.inner_text()
    pad.draw("1")
    assert pad.answer
    assert said.inner_text() == ""


def test_a_picture_that_the_server_refuses_leaves_a_word_and_a_page_that_works(pad):
    wide = np.zeros((1, 9000), np.uint8)  # more than the server takes; the browser can show it
    pad.give(DROP, png(wide), "wide.png")
    pad.until("$('#status').textContent !== ''")
    assert "9" in pad.page.locator("#status").inner_text()
    pad.settle()
    assert pad.answer == ""
    pad.draw("1")
    assert pad.answer
    assert all("400" in fault or "413" in fault for fault in pad.faults)
    pad.faults.clear()


def test_a_drawing_on_a_picture_takes_its_place_and_undo_brings_it_back(pad, digit):
    pad.drop(digit)
    pad.draw("1")
    assert not np.array_equal(pad.shown(), digit[0])
    with pad.answer_follows():
        pad.page.locator("#undo").click()
    assert np.array_equal(pad.shown(), digit[0])


@pytest.mark.parametrize("source", ["drawn", "dropped"])
def test_a_download_is_a_png_that_gives_the_same_answer_when_it_is_dropped(pad, digit, source):
    pad.drop(digit) if source == "dropped" else pad.draw("4")
    answer, saw = pad.answer, pad.saw()
    with pad.page.expect_download() as download:
        pad.page.locator("#download").click()
    path = download.value.path()
    assert download.value.suggested_filename.endswith(".png")
    with Image.open(path) as image:
        assert image.format == "PNG"
    pad.clear()
    with pad.answer_follows():
        pad.give(DROP, path.read_bytes())
    assert pad.answer == answer
    assert np.array_equal(pad.saw(), saw)


def test_a_corrected_answer_becomes_an_example_of_a_folder_that_can_be_trained_on(pad, made, examples):
    pad.draw("7")
    assert pad.page.locator("#save").is_disabled()
    pad.page.locator("#correct").select_option(label="7")
    pad.page.locator("#save").click()
    pad.until("$('#status').textContent.startsWith('Saved as 7')")
    saw = np.rint(255 * pad.saw()).astype(np.uint8)
    pad.draw("1")
    pad.page.locator("#correct").select_option(label="1")
    pad.page.locator("#save").click()
    pad.until("$('#status').textContent.startsWith('Saved as 1')")
    (file,) = (examples / "7").glob("*.png")
    with Image.open(file) as image:
        assert np.array_equal(np.asarray(image), saw[0])
    data = xcnn.data.load(examples)
    assert sorted(data.classes) == ["1", "7"]
    assert data.train.x.shape[1:] == made.model.input_shape


def test_two_models_answer_the_same_drawing_side_by_side(pad, made):
    assert pad.page.locator("#reading-b").is_hidden()
    pad.draw("7")
    pad.page.locator("#model-b").select_option("A")
    pad.until("$('#answer-b').textContent !== ''")
    pad.settle()
    for suffix, name in (("", "B"), ("-b", "A")):
        x = np.asarray(
            pad.reply("/predict", lambda url, name=name: f"model={name}" in url)["inputs"], np.float32
        )
        expected = np.asarray(made.models[name].predict_proba(x))[0]
        np.testing.assert_allclose(list(pad.bars(suffix).values()), expected, atol=1e-5)
        assert pad.page.locator(f"#answer{suffix}").inner_text().strip() == str(expected.argmax())
        assert np.array_equal(pad.shown(f"#seen{suffix}"), np.rint(255 * x[0, 0]).astype(np.uint8))
    pad.draw("0")
    pad.settle()
    both = [pad.reply("/predict", lambda url, name=name: f"model={name}" in url)["inputs"] for name in "AB"]
    assert both[0] == both[1]
    pad.page.locator("#model-b").select_option("")
    assert pad.page.locator("#reading-b").is_hidden()


def test_another_model_answers_what_is_on_the_pad(pad, made):
    pad.draw("7")
    with pad.answer_follows():
        pad.page.locator("#model-a").select_option("A")
    x = pad.saw()[None]
    assert pad.answer == str(made.models["A"].predict_classes(x)[0])
    shape = made.models["A"].output_shape
    assert len(pad.bars()) == shape[0]


def test_of_models_chosen_faster_than_they_answer_the_last_one_counts(pad, made):
    pad.draw("7")
    pad.page.evaluate(
        """names => {
            const select = document.getElementById("model-a");
            for (const name of names) {
                select.value = name;
                select.dispatchEvent(new Event("change"));
            }
        }""",
        ["A", "B", "A", "B", "A"],
    )
    pad.settle()
    assert pad.page.locator("#about").inner_text().startswith("A:")
    assert pad.answer == str(made.models["A"].predict_classes(pad.saw()[None])[0])
    assert pad.page.locator("#microscope .layer").count() == len(pad.reply("/layers")["layers"])
