"""Random numbers that depend on nothing but a seed and a position: Philox4x32-10, the same on every backend.

A generator with a hidden state gives other numbers when the order of the calls changes, and every array
library has a generator of its own. Here the numbers are a function of a *key* (the seed) and a *counter* that
says what they are for: ``(block, step, layer, use)``, the position in the array, the training step or epoch,
the number of the layer and how often that layer was used in this step. Nothing is stored, and dropout masks,
the order of batches and augmentation are the same on every backend and device.

References
----------
J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", Proceedings
of SC11, 2011, section 3.3.
"""

from __future__ import annotations

import math
import operator
from typing import Any, TypeAlias

import numpy as np

from xcnn.errors import OptionError
from xcnn.types import Array, Namespace

__all__ = [
    "AUGMENT",
    "SHUFFLE",
    "SPLIT",
    "bernoulli",
    "derive",
    "permutation",
    "philox",
    "random_bits",
    "seed_key",
    "uniform",
]

Stream: TypeAlias = tuple[Any, int, int]  # (step, layer number, use); the step may be a 0-d integer array

SHUFFLE = 2**32 - 1  # layer number of the order of batches; a model numbers its layers from 0 up
AUGMENT = 2**32 - 2  # layer number of augmentation
SPLIT = 2**32 - 3  # layer number of splits into training and validation images, and of subsets
_PIECE = 2**16  # keys that a permutation draws at a time: they and their words stay in the processor's cache

_MASK = 2**32 - 1
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, as fractions of 2**32


def _multiply(a: Any, m: int) -> tuple[Any, Any]:
    """Return the high and low 32 bits of `a` times `m`, both below 2**32.

    By 16-bit halves of `m`: no term reaches 2**49, so signed 64-bit integers, which every library has, do.
    NumPy's are known to wrap around: the whole product is there, in half the time.
    """
    if isinstance(a, np.ndarray):
        product = a * m
        return (product >> 32) & _MASK, product & _MASK
    high = a * (m >> 16)
    low = a * (m & 0xFFFF)
    high = high + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[int, int], /) -> tuple[Any, Any, Any, Any]:
    """Return the four random words of each counter.

    With words ``c0 c1 c2 c3``, key ``k0 k1`` and the 64-bit products ``p = 0xD2511F53 c0`` and
    ``q = 0xCD9E8D57 c2``, one round is ::

        c0, c1, c2, c3 = high(q) ^ c1 ^ k0, low(q), high(p) ^ c3 ^ k1, low(p)
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85        (mod 2**32)

    and there are ten. For a fixed key this is a bijection of 128-bit blocks: Salmon et al.
    (2011), section 3.3. The known answers of their library Random123 are among the tests.

    Parameters
    ----------
    counter : tuple of four
        Words from 0 to 2**32 - 1: int64 arrays that broadcast together, or Python integers.
    key : tuple of two int
        Words from 0 to 2**32 - 1, as from `seed_key`.

    Returns
    -------
    tuple of four
        Words from 0 to 2**32 - 1: int64 arrays, or integers if all of `counter` are.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p_high, p_low = _multiply(c0, _MULTIPLIERS[0])
        q_high, q_low = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = q_high ^ c1 ^ k0, q_low, p_high ^ c3 ^ k1, p_low
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def seed_key(seed: int, /) -> tuple[int, int]:
    """Return the key of a seed: its low and its high 32 bits.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.

    Returns
    -------
    tuple of two int
        The words of the key.

    Raises
    ------
    OptionError
        If `seed` is no such integer.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**64:
        msg = f"seed is {seed!r}; needed an integer from 0 to 2**64 - 1"
        raise OptionError(msg)
    return number & _MASK, number >> 32


def derive(seed: int, number: int, /) -> int:
    """Return another seed, for part `number` of what `seed` is for.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.
    number : int
        Which part, from 0 to 2**32 - 1.

    Returns
    -------
    int
        From 0 to 2**64 - 1: the first two words of the counter ``(number, 0, 2**32 - 4, 0)``.
    """
    low, high, _, _ = philox((number, 0, 2**32 - 4, 0), seed_key(seed))
    return low | high << 32


def random_bits(
    n: int, /, *, seed: int, stream: Stream, xp: Namespace, device: Any = None, first: int = 0
) -> Array:
    """Return `n` random words.

    Word ``4 i + j`` is word j of the counter ``(i, step, layer, use)``: the first words do not depend on `n`.

    Parameters
    ----------
    n : int
        How many, at most 2**34.
    seed : int
        From 0 to 2**64 - 1.
    stream : tuple
        ``(step, layer, use)``, each modulo 2**32. The step may be a 0-d integer array of `xp`, on `device`:
        the host does not wait for it.
    xp : module
        The array library, as ``backend.xp``.
    device : optional
        Where the result lives, as `xp` names it; by default its default device.
    first : int
        The counter to begin with: 4 `first` words are left out.

    Returns
    -------
    array
        Shape (n,), int64, values from 0 to 2**32 - 1.

    Raises
    ------
    OptionError
        If `seed` or `n` is out of its range.
    """
    if not 0 <= n <= 2**34:
        msg = f"n is {n}; needed 0 to 2**34 words of one stream"
        raise OptionError(msg, where="random_bits")
    step, layer, use = stream
    step = int(step) if isinstance(step, (int, np.integer)) else xp.astype(step, xp.int64)
    block = xp.arange(first, first - (-n // 4), dtype=xp.int64, device=device)
    words = philox((block, step & _MASK, int(layer) & _MASK, int(use) & _MASK), seed_key(seed))
    return xp.reshape(xp.stack(words, axis=-1), (-1,))[:n]


def bernoulli(
    shape: int | tuple[int, ...],
    keep: float,
    /,
    *,
    seed: int,
    stream: Stream,
    xp: Namespace,
    device: Any = None,
) -> Array:
    """Return a mask whose elements are True with probability `keep`.

    ``mask[i] = word[i] < round(2**32 keep)``: integers are compared, so that no library rounds differently.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the mask.
    keep : float
        A fraction from 0 (all False) to 1 (all True).
    seed : int
        From 0 to 2**64 - 1.
    stream : tuple
        See `random_bits`.
    xp : module
        The array library.
    device : optional
        Where the result lives.

    Returns
    -------
    array
        Of dtype bool.

    Raises
    ------
    OptionError
        If `keep` or `seed` is out of its range.
    """
    if not 0 <= keep <= 1:
        msg = f"keep is {keep!r}; needed a fraction from 0 to 1"
        raise OptionError(msg, where="bernoulli")
    shape = (shape,) if isinstance(shape, int) else shape
    bits = random_bits(math.prod(shape), seed=seed, stream=stream, xp=xp, device=device)
    return xp.reshape(bits < round(keep * 2**32), shape)


def uniform(shape: int | tuple[int, ...], /, *, seed: int, stream: tuple[int, int, int]) -> np.ndarray:
    """Return uniform numbers on the host.

    ``u[i] = (2**26 floor(word[2i] / 2**5) + floor(word[2i + 1] / 2**6)) / 2**53``: all 53 bits are random.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the result.
    seed : int
        From 0 to 2**64 - 1.
    stream : tuple of int
        See `random_bits`.

    Returns
    -------
    numpy.ndarray
        Of dtype float64, in [0, 1).

    Raises
    ------
    OptionError
        If `seed` is out of its range.
    """
    shape = (shape,) if isinstance(shape, int) else shape
    bits = random_bits(2 * math.prod(shape), seed=seed, stream=stream, xp=np)
    return np.reshape((bits[0::2] >> 5) * 2.0**-27 + (bits[1::2] >> 6) * 2.0**-53, shape)


def permutation(n: int, /, *, seed: int, step: int = 0, layer: int = SHUFFLE, use: int = 0) -> np.ndarray:
    """Return the integers below `n` in random order, on the host.

    They are sorted by 64-bit random keys; words 2i and 2i + 1 are the high and the low half of the key of i.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        From 0 to 2**64 - 1.
    step, layer, use : int
        The stream, see `random_bits`; the step is the epoch, for example.

    Returns
    -------
    numpy.ndarray
        Shape (n,), int64.

    Raises
    ------
    OptionError
        If `seed` is out of its range.
    """
    keys, stream = np.empty(n, np.uint64), (step, layer, use)
    for start in range(0, n, _PIECE):  # the words of all at once would take several times the memory
        stop = min(start + _PIECE, n)
        bits = random_bits(2 * (stop - start), seed=seed, stream=stream, xp=np, first=start // 2)
        keys.view(np.int64)[start:stop] = bits[0::2] << 32 | bits[1::2]
    order = np.argsort(keys)  # much faster than a stable sort, and the same where no two keys are equal
    rising = keys[order]
    if np.any(rising[1:] == rising[:-1]):
        order = np.argsort(keys, kind="stable")
    return order.astype(np.int64, copy=False)
