"""The page itself: widths, themes, names, the way of the Tab key, what it may ask for, and where it fails."""

from __future__ import annotations

import pytest

WIDTHS = (360, 768, 1440, 2560)
LINE = [(0.3, 0.5, 0.5), (0.7, 0.5, 0.5)]  # x, y and pressure

# Contrast of each visible text with what lies behind it, as WCAG 2.2 computes it.
CONTRASTS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, ground) => [0, 1, 2].map((k) => top[k] * top[3] + ground[k] * (1 - top[3])).concat(1);
    const behind = (element) => {
        const layers = [];
        for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
        return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const light = (rgb) => rgb.slice(0, 3)
        .map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.textContent.trim()) continue;
        if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        if (element.closest("[aria-hidden=true], :disabled, noscript, option")) continue;
        const ground = behind(element);
        const [a, b] = [light(over(rgba(getComputedStyle(element).color), ground)), light(ground)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        found.push([ratio, `${element.tagName}.${element.className}: ${node.textContent.trim()}`]);
    }
    return found;
}"""

NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a, canvas[tabindex]")]
    .filter((e) => e.checkVisibility())
    .filter((e) => !(e.getAttribute("aria-label") || [...(e.labels ?? [])].some((l) => l.textContent.trim())
        || e.textContent.trim() || e.title))
    .map((e) => e.outerHTML)"""

FOCUSED = """() => {
    const e = document.activeElement, style = getComputedStyle(e);
    return {
        name: e.id || e.dataset.channel && `map ${e.closest(".layer").dataset.id}` || e.value || e.tagName,
        body: e === document.body,
        seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
    };
}"""


def _overflow(pad):
    return pad.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_at_any_width_and_the_pad_answers(pad, width):
    pad.page.set_viewport_size({"width": width, "height": 900})
    pad.draw("7")
    pad.inspect()
    pad.page.locator("#model-b").select_option("A")
    pad.settle()
    assert _overflow(pad) == 0
    box = pad.page.locator("#pad").bounding_box()
    assert 0 <= box["x"] < box["x"] + box["width"] <= width
    assert box["width"] == pytest.approx(box["height"], abs=1)
    assert box["width"] >= 240
    small = pad.page.locator("button:not(.map):visible, select:visible, input:visible").evaluate_all(
        "all => all.filter(e => (e.closest('label') ?? e).offsetHeight < 24).map(e => e.outerHTML)"
    )
    assert small == []


def test_a_drawing_stays_when_the_window_changes_and_can_be_drawn_on(pad):
    pad.draw("7")
    answer, saw = pad.answer, pad.saw()
    for width in (*WIDTHS, 1280):
        pad.page.set_viewport_size({"width": width, "height": 900})
        pad.until("$('#pad').width === Math.round($('#pad').clientWidth * devicePixelRatio)")
        assert pad.answer == answer
        assert pad.ink() > 0
    with pad.answer_follows():
        pad.page.locator("#raw").check()
        pad.page.locator("#raw").uncheck()
    assert (pad.saw() == saw).all()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_texts_can_be_read(pad, theme):
    pad.page.locator("#theme").select_option(theme)
    pad.draw("7")
    pad.inspect()
    pad.page.locator("#why").scroll_into_view_if_needed()
    pad.page.locator("#why-occlusion").wait_for()
    pad.page.locator("#model-b").select_option("A")
    pad.settle()
    found = pad.page.evaluate(CONTRASTS)
    assert len(found) > 60
    assert [each for each in found if each[0] < 4.5] == []


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_the_systems_until_another_is_chosen_and_kept(pad, system):
    other = {"light": "dark", "dark": "light"}[system]
    shown = "document.documentElement.dataset.theme"
    pad.page.emulate_media(color_scheme=system)
    pad.until(f"{shown} === given", system)
    ground = pad.page.evaluate("getComputedStyle(document.body).backgroundColor")
    pad.page.locator("#theme").select_option(other)
    assert pad.page.evaluate(shown) == other
    pad.until("getComputedStyle(document.body).backgroundColor !== given", ground)
    pad.page.reload()
    pad.settle()
    assert pad.page.evaluate(shown) == other
    pad.page.locator("#theme").select_option("auto")
    assert pad.page.evaluate(shown) == system


def test_everything_that_can_be_used_has_a_name(pad):
    pad.draw("7")
    pad.inspect()
    assert pad.page.evaluate(NAMELESS) == []


def test_tab_goes_through_the_page_in_order_and_shows_where_it_is(pad):
    pad.draw("7")
    pad.page.locator("header a").focus()
    passed = []
    for _ in range(60):
        pad.page.keyboard.press("Tab")
        focused = pad.page.evaluate(FOCUSED)
        if focused["body"]:
            break
        assert focused["seen"], focused
        passed.append(focused["name"])
    order = ["theme", "pad", "undo", "clear", "model-a", "model-b", "raw", "correct"]
    assert [name for name in passed if name in order] == order
    assert {"brush", "open", "download"} < set(passed)
    maps = [name for name in passed if name.startswith("map ")]
    assert maps == [f"map {k}" for k in range(len(maps))]
    assert len(maps) >= 5


def test_nothing_else_may_be_asked_or_run_even_if_the_page_wanted_to(pad):
    with pytest.raises(Exception, match="Failed to fetch"):
        pad.page.evaluate("() => fetch('http://127.0.0.1:9/').then(reply => reply.status)")
    ran = """() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        return window.ran ?? false;
    }"""
    assert pad.page.evaluate(ran) is False
    assert len(pad.faults) >= 2
    assert all("Content Security Policy" in fault for fault in pad.faults)
    pad.faults.clear()
    pad.requests.clear()


def test_a_server_that_went_away_is_told_of_and_answers_when_it_is_back(pad):
    pad.draw("7")
    pad.page.context.set_offline(True)
    pad.trace([LINE], wait=False)
    pad.until("/answer/.test($('#status').textContent)")
    with pad.answer_follows():
        pad.page.context.set_offline(False)
    assert pad.page.locator("#status").inner_text() == ""
    assert all("ERR_INTERNET_DISCONNECTED" in fault for fault in pad.faults)
    pad.faults.clear()


def test_a_microscope_that_is_slow_holds_up_no_answer(pad):
    pad.page.route("**/layers?*", lambda route: None)  # never answered
    for points in ([(0.3, 0.2), (0.7, 0.2)], [(0.7, 0.2), (0.45, 0.85)]):
        before = pad.answered
        pad.stroke(points)
        pad.until("Number(document.body.dataset.answered) > given", before)
        assert pad.answer
    pad.page.unroute_all(behavior="ignoreErrors")
