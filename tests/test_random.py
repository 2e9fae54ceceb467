"""Philox against its known answers, and what is built on it, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from xcnn import random
from xcnn.errors import OptionError

# Random123's kat_vectors, philox4x32 10: counter, key, answer.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(backend, counter, key, answer):
    words = random.philox(tuple(backend.asarray([c], dtype="int64") for c in counter), key)
    assert tuple(int(w[0]) for w in words) == answer


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_of_plain_integers_gives_the_known_answers(counter, key, answer):
    assert random.philox(counter, key) == answer


def test_philox_words_mix_arrays_and_integers(backend):
    block = backend.asarray([0, 0xFFFFFFFF], dtype="int64")
    words = random.philox((block, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF))
    assert tuple(int(w[1]) for w in words) == KNOWN[1][2]


def test_word_order_is_block_after_block(backend):
    bits = random.random_bits(7, seed=3 << 32 | 2, stream=(5, 6, 7), xp=backend.xp, device=device_of(backend))
    blocks = [random.philox((i, 5, 6, 7), (2, 3)) for i in range(2)]
    assert backend.to_numpy(bits).tolist() == [*blocks[0], *blocks[1]][:7]


def test_bits_are_the_same_on_every_backend(backend):
    bits = random.random_bits(1001, seed=11, stream=(2, 3, 4), xp=backend.xp, device=device_of(backend))
    want = random.random_bits(1001, seed=11, stream=(2, 3, 4), xp=np)
    np.testing.assert_array_equal(backend.to_numpy(bits), want)
    assert want.dtype == np.int64
    assert want.min() >= 0
    assert want.max() < 2**32


def test_the_first_bits_do_not_depend_on_how_many():
    few, many = (random.random_bits(n, seed=1, stream=(0, 0, 0), xp=np) for n in (5, 50))
    np.testing.assert_array_equal(few, many[:5])


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_the_step_may_live_on_the_device(backend, dtype):
    step = backend.asarray(7, dtype=dtype)
    kwargs = {"seed": 5, "xp": backend.xp, "device": device_of(backend)}
    on_device = random.random_bits(64, stream=(step, 1, 2), **kwargs)
    on_host = random.random_bits(64, stream=(7, 1, 2), **kwargs)
    np.testing.assert_array_equal(backend.to_numpy(on_device), backend.to_numpy(on_host))


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (2**32 - 1, 0, 0)])
def test_streams_differ(other):
    a, b = (random.random_bits(64, seed=0, stream=s, xp=np) for s in ((0, 0, 0), other))
    assert not np.any(a == b)


def test_both_halves_of_the_seed_count():
    a, b, c = (random.random_bits(64, seed=s, stream=(0, 0, 0), xp=np) for s in (1, 1 << 32, 1 << 32 | 1))
    assert not np.any(a == b)
    assert not np.any(b == c)


def test_mask_keeps_the_wanted_fraction(backend):
    mask = random.bernoulli(
        (40, 50, 10), 0.3, seed=0, stream=(0, 0, 0), xp=backend.xp, device=device_of(backend)
    )
    mask = backend.to_numpy(mask)
    assert mask.shape == (40, 50, 10)
    assert mask.dtype == np.bool_
    assert abs(mask.mean() - 0.3) < 4 * (0.3 * 0.7 / mask.size) ** 0.5


@pytest.mark.parametrize("keep", [0, 1])
def test_mask_at_the_ends_is_constant(backend, keep):
    mask = random.bernoulli(1000, keep, seed=0, stream=(0, 0, 0), xp=backend.xp, device=device_of(backend))
    assert np.all(backend.to_numpy(mask) == bool(keep))


def test_permutation_holds_every_index_once():
    order = random.permutation(1000, seed=4, step=2)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, random.permutation(1000, seed=4, step=3))
    np.testing.assert_array_equal(order, random.permutation(1000, seed=4, step=2))


def test_equal_keys_keep_their_order(monkeypatch):
    words = np.zeros(200, np.int64)
    words[1::2] = np.arange(100) % 3
    monkeypatch.setattr(random, "random_bits", lambda n, **_: words)
    want = [i for rest in range(3) for i in range(rest, 100, 3)]
    assert random.permutation(100, seed=0).tolist() == want


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 1001])
def test_a_permutation_is_that_of_its_definition_however_it_is_cut(n, monkeypatch):
    monkeypatch.setattr(random, "_PIECE", 8)
    words = random.random_bits(2 * n, seed=5, stream=(3, random.SHUFFLE, 2), xp=np).tolist()
    keys = [high << 32 | low for high, low in zip(words[0::2], words[1::2], strict=True)]
    want = sorted(range(n), key=keys.__getitem__)
    assert random.permutation(n, seed=5, step=3, use=2).tolist() == want


def test_words_can_be_had_from_any_counter_on(backend):
    rest = {"seed": 6, "stream": (1, 2, 3), "xp": backend.xp, "device": device_of(backend)}
    whole, late = random.random_bits(100, **rest), random.random_bits(57, first=9, **rest)
    np.testing.assert_array_equal(backend.to_numpy(late), backend.to_numpy(whole)[36:93])


def test_permutations_are_even():
    counts = np.zeros((4, 4))
    for step in range(2000):
        counts[np.arange(4), random.permutation(4, seed=9, step=step)] += 1
    chi2 = np.sum((counts - 500) ** 2 / 500)
    assert chi2 < 30  # 9 degrees of freedom: P(chi2 > 30) = 4e-4


def test_uniform_numbers_fill_the_unit_interval():
    u = random.uniform((100, 100), seed=1, stream=(0, 1, 2))
    assert u.shape == (100, 100)
    assert u.dtype == np.float64
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / (12 * u.size) ** 0.5
    bins = np.histogram(u, 20, (0, 1))[0]
    assert np.sum((bins - 500) ** 2 / 500) < 50  # 19 degrees of freedom: P = 1.3e-4


def test_uniform_is_the_published_formula():
    a, b = random.random_bits(2, seed=8, stream=(1, 2, 3), xp=np).tolist()
    assert random.uniform(1, seed=8, stream=(1, 2, 3))[0] == ((a >> 5) * 2**26 + (b >> 6)) / 2**53


def test_derived_seeds_differ_and_can_be_derived_from():
    seeds = {random.derive(s, i) for s in range(3) for i in range(10)}
    assert len(seeds) == 30
    assert random.derive(random.derive(0, 1), 2) != random.derive(random.derive(0, 2), 1)


def test_nothing_is_a_valid_amount():
    assert random.random_bits(0, seed=0, stream=(0, 0, 0), xp=np).shape == (0,)
    assert random.permutation(0, seed=0).shape == (0,)
    assert random.uniform((0, 3), seed=0, stream=(0, 0, 0)).shape == (0, 3)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, None])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(OptionError, match=r"needed an integer from 0 to 2\*\*64 - 1"):
        random.seed_key(seed)


@pytest.mark.parametrize("keep", [-0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(keep):
    with pytest.raises(OptionError, match="needed a fraction from 0 to 1"):
        random.bernoulli(3, keep, seed=0, stream=(0, 0, 0), xp=np)


def test_more_words_than_a_stream_has_are_refused():
    with pytest.raises(OptionError, match=r"needed 0 to 2\*\*34 words"):
        random.random_bits(2**34 + 1, seed=0, stream=(0, 0, 0), xp=np)


def device_of(backend):
    """Return the device of the backend as its library names it."""
    return backend.asarray([0.0]).device
