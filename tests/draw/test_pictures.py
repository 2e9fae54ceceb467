"""Bodies of requests as pictures: what is taken, what is refused and with which status."""

from __future__ import annotations

import io
import json
import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest

pytest.importorskip("starlette", reason='needs the server: pip install "xcnn[draw]"')
Image = pytest.importorskip("PIL.Image", reason='needs Pillow: pip install "xcnn[draw]"')

import xcnn  # noqa: E402
from xcnn.data import centre_strokes  # noqa: E402
from xcnn.data.strokes import strokes_of  # noqa: E402
from xcnn.draw.limits import Limits  # noqa: E402
from xcnn.draw.pictures import FORMATS, Options, Wanted, read_pictures  # noqa: E402
from xcnn.draw.refusals import Refused  # noqa: E402
from xcnn.errors import Error, FileError, ShapeError  # noqa: E402

MNIST, DIGITS = (Wanted(shape, strokes_of(shape), dark=True) for shape in ((1, 28, 28), (1, 8, 8)))
COLOUR, FLAT = Wanted((3, 32, 32)), Wanted((6,))
PLAIN, CENTRED = Options(), Options(centre=True)
RNG = np.random.default_rng(0)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def form(*files: bytes, name: str | None = "x.png", boundary: str = "edge", headers: str = "") -> bytes:
    """Return files as a browser or curl sends them."""
    told = "" if name is None else f'; filename="{name}"'
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"{told}\r\n{headers}\r\n'.encode() + file
        for file in files
    ]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])


FORM = "multipart/form-data; boundary=edge"


def sent(content, wanted=MNIST, options=PLAIN, limits=None):
    """Read an array as JSON; return the pictures."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_pictures(body, "application/json", options, wanted, limits)[0]


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Fail if more than `most` bytes are allocated at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most


def drawing() -> np.ndarray:
    sheet = np.zeros((280, 280), np.uint8)
    sheet[30:200, 60:80] = sheet[180:200, 60:150] = 255
    return sheet


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_of_the_models_size_is_taken_as_it_is(kind):
    pixels = RNG.integers(0, 256, (28, 28), np.uint8)
    options = {"lossless": True} if kind == "image/webp" else {}
    content = encoded(pixels, FORMATS[kind], **options)
    stored = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    for options in (PLAIN, CENTRED):
        x, _ = read_pictures(content, kind, options, MNIST)
        assert x.shape == (1, 1, 28, 28)
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x[0, 0], stored / np.float32(255))


def test_bytes_are_scaled_as_a_model_scales_them():
    model = xcnn.Model([xcnn.layers.Flatten(), xcnn.layers.Dense(2)], input_shape=(1, 28, 28))
    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28)
    x, _ = read_pictures(encoded(pixels), "image/png", PLAIN, MNIST)
    np.testing.assert_array_equal(x, model.accept(pixels[None, None]))
    np.testing.assert_array_equal(x, sent(pixels.tolist()))


def test_strokes_are_centred_as_the_models_were():
    content = encoded(drawing())
    for wanted in (MNIST, DIGITS):
        x, notes = read_pictures(content, "image/png", CENTRED, wanted)
        np.testing.assert_array_equal(x[0, 0], wanted.strokes.centre(drawing()) / np.float32(255))
        assert notes == []
    whole = centre_strokes(drawing(), (28, 28), box=(20, 20)) / np.float32(255)
    np.testing.assert_array_equal(read_pictures(content, "image/png", CENTRED, MNIST)[0][0, 0], whole)


def test_without_centring_images_are_resized_as_predict_does(tmp_path):
    Image.fromarray(drawing()).save(tmp_path / "x.png")
    x, _ = read_pictures((tmp_path / "x.png").read_bytes(), "image/png", PLAIN, MNIST)
    seen = xcnn.data.read_images([tmp_path / "x.png"], size=(28, 28), grey=True)
    np.testing.assert_array_equal(x, seen / np.float32(255))


def test_colours_are_as_the_model_needs_them():
    pixels = RNG.integers(0, 256, (32, 32, 3), np.uint8)
    x, notes = read_pictures(encoded(pixels), "image/png", PLAIN, COLOUR)
    np.testing.assert_array_equal(x[0], pixels.transpose(2, 0, 1) / np.float32(255))
    x, _ = read_pictures(encoded(pixels[..., 0]), "image/png", PLAIN, COLOUR)
    assert (x[0, 0] == x[0, 2]).all()
    assert notes == []


def test_where_a_picture_is_transparent_it_is_white():
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[5:9, 5:9] = (0, 0, 0, 255)
    x, notes = read_pictures(encoded(pixels), "image/png", PLAIN, MNIST)
    assert x[0, 0, 0, 0] == 1
    assert x[0, 0, 6, 6] == 0
    assert notes == [
        "the image: the ground is light; this model learned light strokes on a dark one: try invert=true"
    ]


def test_dark_strokes_on_light_paper_are_inverted_on_request():
    paper = encoded(255 - drawing())
    expected = centre_strokes(drawing(), (28, 28)) / np.float32(255)
    for invert in ("true", "auto"):
        x, notes = read_pictures(paper, "image/png", Options(True, invert), MNIST)
        np.testing.assert_array_equal(x[0, 0], expected)
    assert notes == ["the image: its ground is light: light and dark were exchanged"]
    x, notes = read_pictures(encoded(drawing()), "image/png", Options(True, "auto"), MNIST)
    np.testing.assert_array_equal(x[0, 0], expected)
    assert notes == []
    _, notes = read_pictures(encoded(drawing()), "image/png", Options(True, "true"), MNIST)
    assert notes[0].endswith("try invert=false")


def test_models_of_photographs_get_light_grounds_as_they_are():
    light = np.full((32, 32, 3), 250, np.uint8)
    x, notes = read_pictures(encoded(light), "image/png", Options(False, "auto"), COLOUR)
    assert x.min() == np.float32(250) / np.float32(255)
    assert notes == []


def test_an_empty_sheet_is_zeros_and_says_so():
    x, notes = read_pictures(encoded(np.zeros((90, 90), np.uint8)), "image/png", CENTRED, MNIST)
    assert not x.any()
    assert notes == ["the image: holds no stroke"]


def test_a_form_holds_many_files():
    pixels = RNG.integers(0, 256, (3, 28, 28), np.uint8)
    body = form(*map(encoded, pixels))
    for kind in (FORM, 'Multipart/Form-Data; charset=utf-8; boundary="edge"'):
        x, _ = read_pictures(body, kind, PLAIN, MNIST)
        np.testing.assert_array_equal(x[:, 0], pixels / np.float32(255))


@pytest.mark.parametrize("name", [None, "", "../../etc/passwd", "a\\b", "x" * 3000, "\x00\x1b[31m", "näme"])
def test_names_of_files_are_only_shown(name):
    body = form(encoded(np.full((28, 28), 255, np.uint8)), name=name)
    x, (note,) = read_pictures(body, FORM, PLAIN, MNIST)
    assert x.shape == (1, 1, 28, 28)
    assert len(note) < 200
    assert note.isprintable()


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b"", FORM, 400, "stops before its last boundary"),
        (b"junk", FORM, 400, "no valid multipart/form-data"),
        (form(b"x")[:-8], FORM, 400, "stops before its last boundary"),
        (form(), FORM, 400, "holds no file|no valid multipart"),
        (form(b"x"), "multipart/form-data", 400, "names no boundary"),
        (form(b"x"), "multipart/form-data; boundary=", 400, "names no boundary"),
        (form(b"x"), "multipart/form-data; boundary=other", 400, "no valid multipart/form-data"),
        (form(b"x"), f"multipart/form-data; boundary={'b' * 300}", 400, "no valid multipart/form-data"),
        (
            form(b"x", headers="A: " + "b" * 5000 + "\r\n"),
            FORM,
            400,
            "headers of more than|no valid multipart",
        ),
        (form(b"x", headers="A: b\r\n" * 2000), FORM, 400, "headers of more than|no valid multipart"),
        (form(b"x", headers="no header\r\n"), FORM, 400, "no valid multipart/form-data"),
        (
            form(b"x", headers="Content-Type: multipart/mixed; boundary=z\r\n"),
            FORM,
            415,
            "part 1: is multipart/",
        ),
        (form(b"x", headers="Content-Transfer-Encoding: base64\r\n"), FORM, 415, "encoded as 'base64'"),
        (form(*[b"x"] * 257), FORM, 413, "more than 256 files"),
    ],
)
def test_hostile_forms_are_refused(body, kind, status, message):
    with pytest.raises(Refused, match=message) as caught:
        read_pictures(body, kind, PLAIN, MNIST)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "image/tiff", "image/svg+xml", "application/x-json", "a;" * 999]
)
def test_other_types_are_refused(kind):
    with pytest.raises(
        Refused, match=r"Content-Type: is .*; needed image/png, .* or application/json"
    ) as caught:
        read_pictures(b"", kind, PLAIN, MNIST)
    assert caught.value.status == 415


def test_what_is_no_image_is_refused_by_the_name_of_its_file():
    body = form(encoded(drawing()), b"GIF89a no more", name="y.gif")
    with pytest.raises(FileError, match=r"^y\.gif: cannot be read as an image"):
        read_pictures(body, FORM, PLAIN, MNIST)
    with pytest.raises(FileError, match=r"^x\.png: is empty; needed an image file"):
        read_pictures(form(b""), FORM, PLAIN, MNIST)
    with pytest.raises(FileError, match=r"no PNG$"):  # a GIF that says that it is a PNG
        read_pictures(encoded(drawing(), "GIF"), "image/png", PLAIN, MNIST)


def test_limits_are_for_all_files_together():
    sheet = encoded(np.zeros((1000, 1000), np.uint8))
    assert len(read_pictures(form(*[sheet] * 3), FORM, CENTRED, MNIST, Limits(pixels=3_000_000))[0]) == 3
    with pytest.raises(Error, match=r"x\.png: has 1,000 x 1,000 pixels; needed at most 999,999 altogether"):
        read_pictures(form(*[sheet] * 3), FORM, CENTRED, MNIST, Limits(pixels=2_999_999))


def test_small_files_do_not_add_up_for_a_large_model():
    dot, large = encoded(np.zeros((1, 1, 3), np.uint8)), Wanted((3, 1000, 1000))
    with memory(5_000_000), pytest.raises(Refused, match="holds 17 files; needed at most 16") as caught:
        read_pictures(form(*[dot] * 17), FORM, PLAIN, large)
    assert caught.value.status == 413


def test_a_bomb_takes_no_memory():
    header = struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(7501 * 100)) for _ in range(600)) + packer.flush()
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks
    )
    assert len(bomb) < 500_000
    for body, kind in ((bomb, "image/png"), (form(*[bomb] * 15), FORM)):
        with (
            memory(3 * len(body) + 2_000_000),
            pytest.raises(Error, match="decompression bomb"),
        ):
            read_pictures(body, kind, CENTRED, MNIST)


def test_arrays_are_taken_in_every_shape_that_fits():
    x = RNG.random((3, 1, 28, 28)).astype(np.float32)
    for array in (x, x[0], x[0, 0]):
        np.testing.assert_array_equal(sent(array.tolist()), array.reshape(-1, 1, 28, 28))
        np.testing.assert_array_equal(sent({"images": array.tolist()}), array.reshape(-1, 1, 28, 28))
    colour = RNG.random((2, 3, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(sent(colour.tolist(), COLOUR), colour)
    np.testing.assert_array_equal(sent(colour[0].tolist(), COLOUR), colour[:1])


def test_models_of_plain_numbers_take_arrays_alone():
    assert sent([1, 0.5, -3e38, 1e-9, 0, 3e38], FLAT).shape == (1, 6)
    assert sent([[0.5] * 6] * 2, FLAT).shape == (2, 6)
    with pytest.raises(ShapeError, match=r"the model: takes inputs of shape \(6,\), which no image file has"):
        read_pictures(encoded(drawing()), "image/png", PLAIN, FLAT)


def test_whole_numbers_over_one_are_bytes():
    array = np.zeros((28, 28), int)
    array[3, 3] = 1
    assert sent(array.tolist()).max() == 1
    array[4, 4] = 255
    assert sent(array.tolist())[0, 0, 3, 3] == np.float32(1) / np.float32(255)
    assert sent(array.astype(float).tolist())[0, 0, 4, 4] == 1
    assert sent((array + 0.5).tolist()).max() == 255.5  # as the network sees it


def test_arrays_can_be_inverted_but_are_never_moved():
    x = np.zeros((28, 28), np.float32)
    x[0, 0] = 0.25
    np.testing.assert_array_equal(sent(x.tolist(), options=CENTRED)[0, 0], x)
    np.testing.assert_array_equal(sent(x.tolist(), options=Options(False, "true"))[0, 0], 1 - x)
    np.testing.assert_array_equal(sent((1 - x).tolist(), options=Options(False, "auto"))[0, 0], x)


NEEDED = r"needed \(28, 28\), \(1, 28, 28\) or \(N, 1, 28, 28\)"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "no valid JSON: line 1, column 1"),
        (b"[[0, 1", 400, "no valid JSON"),
        (b"\xff\xfe[0]", 400, r"no text in UTF-8 \(byte 0\)"),
        (b"0", 400, "is a single number; needed an array"),
        (b"null", 400, "holds null; needed a regular array"),
        (b'"text"', 400, "holds text; needed a regular array"),
        (b"[true]", 400, "holds true or false"),
        (b"[0, true]", 400, "holds true or false"),
        (b'[[0, "1"]]', 400, "holds text"),
        (b"[[0, null]]", 400, "holds null"),
        (b"[[0, [1]]]", 400, "holds numbers beside lists"),
        (b"[0, NaN]", 400, "holds NaN; needed finite numbers"),
        (b"[0, -Infinity]", 400, "holds -Infinity; needed finite numbers"),
        (b"[0, 1e999]", 400, "needed bytes, 0 to 255|too large"),
        (b"[0.5, 1e39]", 400, "too large"),
        (b"[0.5, -1e39]", 400, "too large"),
        (b"[" + b"9" * 400 + b"]", 400, "too large"),
        (b"[" + b"9" * 9999 + b"]", 400, "too large"),
        (b"[0, 256]", 400, "holds whole numbers from 0 to 256; needed bytes, 0 to 255, or fractions"),
        (b"[-1, 2]", 400, "holds whole numbers from -1 to 2"),
        (b"[[0, 1], [2]]", 400, "is ragged: lists of lengths 1 and 2 side by side"),
        (b"[]", 400, r"the array is empty, its shape \(0,\)"),
        (b"[[], []]", 400, r"the array is empty, its shape \(2, 0\)"),
        (b"{}", 400, r"an object with the keys \(none\)"),
        (
            b'{"image": [0]}',
            400,
            "an object with the keys 'image'; needed an array, or one key 'images', once",
        ),
        (b'{"images": [0], "images": [1]}', 400, "an object with the keys 'images', 'images'"),
        (b'[{"images": [0]}]', 400, "holds an object inside the array"),
        (b"[" * 60_000 + b"]" * 60_000, 400, "nested too deep"),
        (b'{"images":' * 60_000, 400, "nested too deep"),
        (b"[" * 500 + b"0" + b"]" * 500, 400, "nested too deep"),
        (b"[0, 1]", 400, rf"the array has shape \(2,\); {NEEDED}"),
        (json.dumps(np.zeros((28, 27)).tolist()).encode(), 400, rf"shape \(28, 27\); {NEEDED}"),
        (json.dumps(np.zeros((2, 28, 28)).tolist()).encode(), 400, rf"shape \(2, 28, 28\); {NEEDED}"),
        (json.dumps(np.zeros((28, 28, 1)).tolist()).encode(), 400, rf"shape \(28, 28, 1\); {NEEDED}"),
        (json.dumps(np.zeros((257, 1, 28, 28), int).tolist()).encode(), 413, "holds 257 pictures"),
        (b"[" + b"0," * 4_000_000 + b"0]", 413, "far more numbers or lists than 256 pictures"),
        (b"[" + b"[]," * 2_700_000 + b"[]]", 413, "far more numbers or lists than 256 pictures"),
    ],
    ids=lambda value: str(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_arrays_that_are_none_are_refused(body, status, message):
    with pytest.raises(Refused, match=message) as caught:
        sent(body)
    assert caught.value.status == status
    assert len(str(caught.value)) < 300


def test_what_is_too_much_is_refused_before_it_is_read():
    body = b"[" + b"[]," * 2_700_000 + b"[]]"  # lists would take 180 MB
    with memory(1_000_000), pytest.raises(Refused):
        sent(body)


def test_a_query_says_what_is_done():
    assert Options.from_query({}) == Options(False, "false")
    assert Options.from_query({"centre": "true", "invert": "auto", "model": "b"}) == Options(True, "auto")
    for key, value in (("centre", "yes"), ("centre", "auto"), ("invert", "TRUE"), ("invert", "x" * 9999)):
        with pytest.raises(Refused, match=rf"^{key}: is '.*'; needed false or true") as caught:
            Options.from_query({key: value})
        assert caught.value.status == 400
        assert len(str(caught.value)) < 100


def test_colours_cannot_be_centred():
    with pytest.raises(Refused, match=r"^centre: is true, but inputs of shape \(3, 32, 32\) are no grey"):
        read_pictures(encoded(drawing()), "image/png", CENTRED, COLOUR)


def test_mutated_bodies_are_read_or_refused():
    rng = random.Random(0)
    pixels = RNG.integers(0, 256, (28, 28), np.uint8)
    image, array = encoded(pixels), json.dumps((pixels[None] / 255).round(3).tolist()).encode()
    kinds = [(image, "image/png"), (form(image, image), FORM), (array, "application/json")]
    read = 0
    for n in range(3000):
        body, kind = kinds[n % 3]
        data, told = bytearray(body), bytearray(kind.encode())
        for _ in range(rng.choice((1, 3))):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(4)] = rng.choice(
                (b"", b"[", b"]", b"\r\n", b"--edge", bytes([rng.randrange(256)]))
            )
        if rng.random() < 0.1:
            told[rng.randrange(len(told))] = rng.randrange(256)
        with suppress(Error):
            x, _ = read_pictures(bytes(data), told.decode("latin-1"), PLAIN, MNIST)
            read += 1
            assert np.isfinite(x).all()
            assert x.shape[1:] == (1, 28, 28)
    assert 50 < read < 2950
