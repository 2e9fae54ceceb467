"""The microscope in a real browser: maps, kernels, one pixel worked out, and why."""

from __future__ import annotations

import numpy as np
import pytest

from tests.draw.browser.pad import DROP, png

STROKE = "4"  # is drawn
MINUS = "\u2212"


@pytest.fixture
def drawn(pad):
    pad.draw(STROKE)
    return pad


def _canvas(page, layer, channel):
    return page.locator(f'#microscope .layer[data-id="{layer}"] .map[data-channel="{channel}"] canvas')


def _convolution(layers):
    """The first layer with kernels over channels, as the server tells of it."""
    return next(layer["id"] for layer in layers if layer["kernels"] and len(layer["output_shape"]) == 3)


@pytest.fixture
def layers(made, pad):
    return pad.page.evaluate("fetch('/model').then(reply => reply.json()).then(model => model.layers)")


def test_each_layer_stands_there_with_a_map_for_each_channel_of_its_shape(drawn, layers):
    found = drawn.page.locator("#microscope .layer").evaluate_all(
        "layers => layers.map(layer => [Number(layer.dataset.id), layer.querySelectorAll('.map').length])"
    )
    shapes = {layer["id"]: layer["output_shape"] for layer in layers}
    assert [layer for layer, _ in found] == sorted(shapes)
    for layer, maps in found:
        shape = shapes[layer]
        if len(shape) == 3:
            assert maps == shape[0]
            size = _canvas(drawn.page, layer, 0).evaluate("canvas => [canvas.height, canvas.width]")
            assert size == shape[1:]


def test_layers_stand_from_left_to_right(drawn):
    left = drawn.page.locator("#microscope .layer").evaluate_all(
        "layers => layers.map(layer => layer.getBoundingClientRect().left)"
    )
    assert left == sorted(left)
    assert len(set(left)) == len(left)


def test_maps_follow_the_drawing_and_are_dark_where_the_layer_is_silent(drawn, made, layers):
    first = _convolution(layers)
    script = "canvas => canvas.toDataURL()"
    before = _canvas(drawn.page, first, 0).evaluate(script)
    drawn.draw("0")
    drawn.until(f"$('.layer[data-id=\"{first}\"] .map canvas').toDataURL() !== given", before)
    told = next(layer for layer in drawn.reply("/layers")["layers"] if layer["id"] == first)
    y = made.model.explain(drawn.saw()).layers[0].step.y
    assert told["shape"] == list(y.shape)
    assert told["max"] == pytest.approx(float(y.max()), rel=1e-4)


def test_a_click_on_a_map_shows_its_kernel(drawn, layers):
    first = _convolution(layers)
    assert drawn.page.locator("#inspect").is_hidden()
    _canvas(drawn.page, first, 2).click()
    assert "filter 2" in drawn.page.locator("#inspect h2").inner_text()
    kernel = drawn.page.locator("#inspect figure.kernel")
    kernel.locator("canvas").first.wait_for()
    size = kernel.locator("canvas").first.evaluate("canvas => [canvas.height, canvas.width]")
    told = drawn.page.evaluate(f"fetch('/layers/{first}').then(reply => reply.json())")
    assert size == told["kernels"]["shape"][2:]
    drawn.page.keyboard.press("Escape")
    assert drawn.page.locator("#inspect").is_hidden()


def _point(page, row, column):
    """Move the mouse over a pixel of the enlarged map."""
    plate = page.locator("#inspect-map")
    height, width = plate.evaluate("plate => [plate.height, plate.width]")
    box = plate.bounding_box()
    x, y = (column + 0.5) * box["width"] / width, (row + 0.5) * box["height"] / height
    page.mouse.move(box["x"] + x, box["y"] + y)


def _numbers(figure):
    """The numbers written in a grid; the page writes a true minus."""
    return [float(cell.replace(MINUS, "-")) for cell in figure.locator("td").all_inner_texts()]


def test_a_hovered_pixel_is_worked_out_as_explain_does(drawn, made, layers):
    first = _convolution(layers)
    _canvas(drawn.page, first, 1).click()
    _, height, width = next(layer["output_shape"] for layer in layers if layer["id"] == first)
    at = (1, height // 2, width // 3)
    _point(drawn.page, *at[1:])
    name = f"row {at[1]}, column {at[2]}: "
    drawn.until("new RegExp(`${given}[^…]+$`).test($('#inspect .value').textContent)", name)
    told = drawn.reply(f"/layers/{first}", lambda url: f"at={at[0]}%2C{at[1]}%2C{at[2]}" in url)
    expected = made.model.explain(drawn.saw()).layers[0].at(*at)
    assert told["position"] == list(at)
    for name in ("patch", "kernel", "products"):
        np.testing.assert_allclose(told[name], getattr(expected, name), rtol=1e-4, atol=1e-5)
    for name in ("sum", "bias", "z"):
        assert told[name] == pytest.approx(float(getattr(expected, name)), rel=1e-4, abs=1e-5)
    assert told["y"] == pytest.approx(expected.value, rel=1e-4, abs=1e-5)
    assert told["window"] == {
        "rows": [at[1], at[1] + expected.patch.shape[1] - 1],
        "columns": [at[2], at[2] + expected.patch.shape[2] - 1],
    }
    shown = drawn.page.locator("#inspect .line").first
    patch, kernel, products = (_numbers(shown.locator("figure.matrix").nth(k)) for k in range(3))
    assert len(patch) == len(kernel) == len(products) == expected.patch[0].size
    np.testing.assert_allclose(patch, expected.patch[0].ravel(), atol=0.006)
    total = drawn.page.locator("#inspect .total").inner_text()
    assert "bias" in total
    assert "y = ReLU(z)" in total


def test_arrow_keys_go_from_pixel_to_pixel_and_from_map_to_map(drawn, layers):
    first = _convolution(layers)
    drawn.page.locator(f'.layer[data-id="{first}"] .map[data-channel="0"]').focus()
    drawn.page.keyboard.press("ArrowRight")
    focused = "document.activeElement.dataset.channel ?? document.activeElement.id"
    assert int(drawn.page.evaluate(focused)) > 0
    drawn.page.keyboard.press("Enter")
    assert drawn.page.evaluate(focused) == "inspect-map"
    _point(drawn.page, 2, 3)
    place = "$('#inspect .value').textContent.startsWith(given)"
    drawn.until(place, "row 2, column 3:")
    drawn.page.keyboard.press("ArrowLeft")
    drawn.page.keyboard.press("ArrowUp")
    drawn.until(place, "row 1, column 2:")


@pytest.mark.parametrize("kind", ["MaxPool2D", "Dense"])
def test_poolings_and_dense_layers_are_worked_out_too(drawn, made, layers, kind):
    layer = next(layer for layer in layers if layer["type"] == kind)
    _canvas(drawn.page, layer["id"], 3).click()
    drawn.page.locator("#inspect .total").wait_for()
    drawn.settle()
    told = drawn.reply(f"/layers/{layer['id']}")
    expected = made.model.explain(drawn.saw()).layers[layer["id"]].at(*told["position"])
    assert told["y"] == pytest.approx(expected.value, rel=1e-4, abs=1e-5)
    assert told["position"][0] == 3


def test_what_is_inspected_follows_the_drawing(drawn, layers):
    first = _convolution(layers)
    _canvas(drawn.page, first, 0).click()
    drawn.page.locator("#inspect .total").wait_for()
    before = drawn.page.locator("#inspect").inner_text()
    drawn.draw("0")
    drawn.until("$('#inspect').innerText !== given", before)
    drawn.clear()
    drawn.until("$('#inspect .value').textContent === 'Nothing is drawn yet.'")


def test_why_shows_gradient_and_occlusion_for_the_answer(drawn, made):
    drawn.page.locator("#why").scroll_into_view_if_needed()
    for name in ("gradient", "occlusion"):
        canvas = drawn.page.locator(f"#why-{name}")
        canvas.wait_for()
        colours = canvas.evaluate(
            """canvas => {
                const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
                copy.drawImage(canvas, 0, 0);
                const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
                return new Set(new Uint32Array(data.buffer)).size;
            }"""
        )
        assert colours > 10
    told = drawn.reply("/why")
    assert told["class"] == drawn.answer
    assert drawn.answer in drawn.page.locator("#why h2").inner_text()
    assert np.shape(told["gradient"]["values"]) == made.model.input_shape[1:]
    assert np.shape(told["occlusion"]["values"]) == made.model.input_shape[1:]


def test_kernels_are_seen_at_a_glance_and_maps_come_back(drawn, layers):
    first = _convolution(layers)
    size = "canvas => [canvas.height, canvas.width]"
    maps = _canvas(drawn.page, first, 0).evaluate(size)
    drawn.page.get_by_role("radio", name="kernels").check()
    shape = drawn.page.evaluate(f"fetch('/layers/{first}').then(reply => reply.json())")["kernels"]["shape"]
    assert _canvas(drawn.page, first, 0).evaluate(size) == shape[2:]
    drawn.page.get_by_role("radio", name="maps").check()
    assert _canvas(drawn.page, first, 0).evaluate(size) == maps


def test_headings_of_layers_stand_in_one_line(drawn):
    tops = drawn.page.locator("#microscope h3").evaluate_all(
        "all => all.map(heading => heading.getBoundingClientRect().top)"
    )
    assert len(set(tops)) == 1


def test_what_a_refused_picture_took_the_place_of_is_forgotten(drawn):
    drawn.give(DROP, png(np.zeros((1, 9000), np.uint8)), "wide.png")
    drawn.until("$('#status').dataset.kind === 'error'")
    drawn.until("$('#why .note').checkVisibility()")
    assert drawn.answer == ""
    drawn.faults.clear()
