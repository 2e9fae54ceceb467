"""Test images in a real browser, dropped and drawn: the page gives the answers of `model.predict_classes`.

``XCNN_TEST_WHOLE=1`` takes ten images of each class; by default two of each are dropped, and one is drawn.
"""

from __future__ import annotations

import numpy as np

from tests.draw.browser.conftest import WHOLE
from tests.draw.browser.pad import runs


def test_dropped_images_are_answered_as_the_model_answers_them(pad, made):
    digits = [image for _, image in made.digits(10 if WHOLE else 2)]
    answers = []
    for image in digits:
        pad.drop(image)
        assert np.array_equal(pad.shown(), image[0])
        answers.append(pad.answer)
    assert answers == list(map(str, made.model.predict_classes(np.stack(digits))))


def test_traced_images_are_answered_as_the_model_answers_what_it_saw(pad, made):
    digits = [image for _, image in made.digits(10 if WHOLE else 1)]
    side = digits[0].shape[-1]
    pad.page.locator("#brush").fill(str(round(280 / side)))  # as wide as a pixel
    answers, seen = [], []
    for image in digits:
        pad.trace(list(runs(image[0])))
        answers.append(pad.answer)
        seen.append(pad.saw())
        pad.clear()
    assert answers == list(map(str, made.model.predict_classes(np.stack(seen))))
    originals = list(map(str, made.model.predict_classes(np.stack(digits))))
    same = sum(map(str.__eq__, answers, originals))
    print(f"{same} of {len(digits)} traced images are answered as the originals are")
    assert same >= 0.9 * len(digits) or made.name != "mnist"  # 8 x 8 pixels of many greys are no strokes
