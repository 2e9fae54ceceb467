"""Drawing in a real browser: with mouse, pen, fingers and keys; what was drawn is seen, and answered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.draw.browser.pad import STROKES


@pytest.mark.parametrize("digit", STROKES)
def test_a_digit_drawn_with_the_mouse_is_answered_as_the_model_answers(pad, made, digit):
    pad.draw(digit)
    x = pad.saw()[None]
    assert pad.answer == str(made.model.predict_classes(x)[0])
    expected = np.asarray(made.model.predict_proba(x))[0]
    shown = pad.bars()
    assert list(shown) == [str(k) for k in range(10)]
    np.testing.assert_allclose(list(shown.values()), expected, atol=1e-5)
    assert math.isclose(sum(shown.values()), 1.0, abs_tol=1e-4)
    assert max(shown, key=shown.__getitem__) == pad.answer


def test_bars_are_as_long_as_they_say(pad):
    pad.draw("7")
    widths = pad.page.locator("#bars li").evaluate_all(
        """bars => bars.map(bar => {
            const fill = getComputedStyle(bar.querySelector(".bar"), "::before");
            return [new DOMMatrix(fill.transform).a, bar.querySelector(".share").textContent];
        })"""
    )
    for width, said in widths:
        if "<" not in said and ">" not in said:
            assert 100 * width == pytest.approx(float(said.removesuffix("%")), abs=0.06)


def test_the_picture_that_is_shown_is_the_one_that_the_network_saw(pad):
    pad.draw("4")
    assert np.array_equal(pad.shown(), np.rint(255 * pad.saw()[0]).astype(np.uint8))


def test_an_answer_comes_before_the_mouse_is_lifted(pad):
    with pad.answer_follows():
        pad.stroke(STROKES["0"][0], lift=False)
    assert pad.answer
    first = pad.bars()
    with pad.answer_follows():
        pad.page.mouse.move(640, 450, steps=5)
        pad.page.mouse.up()
    assert pad.bars() != first


def test_the_last_stroke_is_what_is_answered_however_fast_they_come(pad, made):
    lines = [[(0.2 + k / 100, y, 0.5) for y in np.linspace(0.2, 0.8, 10)] for k in range(40)]
    pad.trace(lines)
    last = pad.saw()
    with pad.answer_follows():
        pad.page.locator("#raw").set_checked(True)
        pad.page.locator("#raw").set_checked(False)
    assert np.array_equal(pad.saw(), last)
    assert pad.answer == str(made.model.predict_classes(last[None])[0])


def test_pens_draw_and_press_makes_the_line_wider(pad):
    ink = []
    for pressure in (0.1, 0.9):
        pad.trace([[(0.5, y, pressure) for y in np.linspace(0.2, 0.8, 10)]], "pen")
        ink.append(pad.ink())
        assert pad.answer
        pad.clear()
    assert ink[1] > 1.5 * ink[0] > 0


def test_fingers_draw_and_do_not_scroll(browser, address):
    from tests.draw.browser.pad import Pad

    context = browser.new_context(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    pad = Pad(context.new_page(), address).open()
    fingers = context.new_cdp_session(pad.page)
    box = pad.page.locator("#pad").bounding_box()

    def touch(kind, *points):
        points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    with pad.answer_follows():
        touch("touchStart", (0.5, 0.8))
        for y in np.linspace(0.8, 0.2, 12):
            touch("touchMove", (0.5, float(y)))
        touch("touchEnd")
    assert pad.answer
    assert pad.ink() > 0
    assert pad.page.evaluate("scrollY") == 0
    assert pad.faults == []
    context.close()


def test_undo_and_redo_go_stroke_by_stroke(pad):
    undo, redo = pad.page.locator("#undo"), pad.page.locator("#redo")
    assert undo.is_disabled()
    assert redo.is_disabled()
    pad.draw("1")
    one = pad.saw()
    pad.draw("4")
    both = pad.saw()
    for _ in STROKES["4"]:
        undo.click()
    pad.settle()
    assert np.array_equal(pad.saw(), one)
    for _ in STROKES["4"]:
        pad.page.keyboard.press("Control+Shift+Z")
    pad.settle()
    assert np.array_equal(pad.saw(), both)
    assert redo.is_disabled()


# Whether two strokes that grew point by point are encoded as they are at once, and not as one of them.
GROWN = """async () => {
    const { png } = await import("/page/picture.js");
    const wave = (k, phase) => 140 + 100 * Math.sin(k / 7 + phase);
    const at = (k, phase) => ({ x: wave(k, 0), y: wave(k, phase), width: 12 });
    const stroke = (phase) => Array.from({ length: 150 }, (_, k) => at(k, phase));
    const bytes = async (strokes) => String(new Uint8Array(await png(strokes).arrayBuffer()));
    const grown = [];
    for (const phase of [1, 2]) {
        grown.push([]);
        for (const point of stroke(phase)) {
            grown.at(-1).push(point);
            png(grown);
        }
    }
    const slowly = await bytes(grown);
    return [slowly === await bytes([1, 2].map(stroke)), slowly === await bytes([stroke(1)])];
}"""


def test_a_drawing_that_grows_point_by_point_is_the_one_that_is_drawn_at_once(pad):
    assert pad.page.evaluate(GROWN) == [True, False]


def test_clear_empties_the_page_and_can_be_undone(pad):
    pad.draw("7")
    answer, saw = pad.answer, pad.shown()
    pad.clear()
    assert pad.answer == ""
    assert pad.ink() == 0
    assert set(pad.bars().values()) == {0.0}
    assert pad.page.locator("#clear").is_disabled()
    with pad.answer_follows():
        pad.page.keyboard.press("Control+Z")
    assert pad.answer == answer
    assert np.array_equal(pad.shown(), saw)


def test_a_stroke_that_is_undone_before_its_answer_leaves_an_empty_page(pad):
    pad.page.evaluate(
        """() => {
            const canvas = document.getElementById("pad"), box = canvas.getBoundingClientRect();
            canvas.setPointerCapture = () => {};
            const tell = (type) => canvas.dispatchEvent(new PointerEvent(type,
                { pointerId: 5, button: 0, bubbles: true, clientX: box.left + 50, clientY: box.top + 50 }));
            tell("pointerdown");
            tell("pointerup");
            document.getElementById("undo").click();
        }"""
    )
    pad.settle()
    assert pad.answer == ""
    assert pad.ink() == 0


def _centre(picture):
    mass = picture[0] / picture.sum()
    return [float((mass.sum(axis=1 - k) * np.arange(mass.shape[k])).sum()) for k in (0, 1)]


def test_a_drawing_in_a_corner_is_centred_and_scaled_unless_it_is_taken_raw(pad, made):
    pad.trace([[(0.1 + 0.1 * np.cos(t), 0.15 + 0.1 * np.sin(t), 0.5) for t in np.linspace(0, 6.28, 20)]])
    height, width = made.model.input_shape[1:]
    centred = pad.saw()
    with pad.answer_follows():
        pad.page.locator("#raw").check()
    raw = pad.saw()
    assert _centre(centred) == pytest.approx([height / 2, width / 2], abs=1.0)
    assert max(_centre(raw)) < 0.3 * height
    assert np.count_nonzero(centred > 0.5) > 2 * np.count_nonzero(raw > 0.5)
    with pad.answer_follows():
        pad.page.locator("#raw").uncheck()
    assert np.array_equal(pad.saw(), centred)


def test_a_wider_brush_leaves_more_ink(pad):
    ink = []
    for width in ("10", "50"):
        pad.page.locator("#brush").fill(width)
        pad.draw("1")
        ink.append(pad.ink())
        pad.clear()
    assert ink[1] > 2 * ink[0]


def test_the_keyboard_alone_draws(pad, made):
    pad.page.locator("#pad").focus()
    for key in ["ArrowUp"] * 8:
        pad.page.keyboard.press(key)
    with pad.answer_follows():
        pad.page.keyboard.press("Space")
        for _ in range(16):
            pad.page.keyboard.press("ArrowDown")
        pad.page.keyboard.press("Space")
    saw = pad.saw()[0]
    rows, columns = np.nonzero(saw > 0.5)
    assert np.ptp(rows) > 2 * np.ptp(columns)  # a vertical line
    assert pad.answer == str(made.model.predict_classes(saw[None, None])[0])
    pad.page.keyboard.press("Delete")
    pad.settle()
    assert pad.answer == ""


def test_another_button_of_the_mouse_draws_nothing(pad):
    box = pad.page.locator("#pad").bounding_box()
    pad.page.mouse.move(box["x"] + 50, box["y"] + 50)
    pad.page.mouse.down(button="middle")
    pad.page.mouse.move(box["x"] + 150, box["y"] + 150, steps=3)
    pad.page.mouse.up(button="middle")
    pad.settle()
    assert pad.ink() == 0
