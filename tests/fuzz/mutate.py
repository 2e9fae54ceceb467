"""Mutations: bytes that are changed anyhow, and JSON trees whose parts are swapped for nonsense."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

EXTREMES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\0\0\0\x01", b"\xff" * 8)

NONSENSE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, 3, -1, -2, 7, 64, 255, 10**5, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64),
    *(10**18, -(2**63) - 1, 10**40, 0.0, -0.0, 0.5, 1.5, -1.0, 1e-320, 1e38, 1e39, 1e308, -1e308, 5e-324),
    *("", " ", "x", "relu", "same", "valid", "full", "digits", "\0", "\n", "é", "\ud800", "a" * 300, "../.."),
    *("~", [], [[]], [0], [1], [1, 2], [2, 2, 2], [[1, 1], [1, 1]], [-1, -1], [None], ["x"], [1.5, 2.5]),
    *([1] * 200, {}, {"type": "ReLU"}, {"type": "Identity"}, {"name": "sgd"}, {"x": 1}, {"shared": 0}),
    {"op": "conv2d"},
)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with some bytes changed, cut out, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not changed:
            return b""
        # Headers stand first and are short: half of the changes are for them.
        at = rng.randrange(min(64, len(changed)) if rng.random() < 0.5 else len(changed))
        what = rng.random()
        if what < 0.55:
            changed[at] = rng.choice((0, 255, rng.randrange(256), changed[at] ^ (1 << rng.randrange(8))))
        elif what < 0.68:
            extreme = rng.choice(EXTREMES)
            changed[at : at + len(extreme)] = extreme
        elif what < 0.8:
            del changed[at : at + rng.randrange(1, 9)]
        elif what < 0.92:
            changed[at:at] = changed[at : at + rng.randrange(1, 40)]
        else:
            del changed[at:]
    return bytes(changed)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every part of a JSON tree."""
    parts: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(p for key, value in parts for p in places(value, (*path, key)))]


def at(tree: Any, path: Sequence[Any]) -> Any:
    """Return a part of a JSON tree."""
    for key in path:
        tree = tree[key]
    return tree


def mutate_json(tree: Any, rng: random.Random, words: Sequence[str] = (), parts: Sequence[Any] = ()) -> Any:
    """Return a JSON tree with parts swapped for nonsense, moved, repeated, dropped or renamed.

    Parameters
    ----------
    tree : object
        Is left as it is.
    rng : random.Random
        Decides.
    words : sequence of str
        Keys and names that mean something to the reader.
    parts : sequence
        Subtrees that mean something to it.
    """
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        path = rng.choice(places(tree))
        if not path:
            if rng.random() < 0.02:
                tree = copy.deepcopy(rng.choice(NONSENSE))
            continue
        holder, key = at(tree, path[:-1]), path[-1]
        what = rng.random()
        if what < 0.4:
            holder[key] = copy.deepcopy(rng.choice(NONSENSE))
        elif what < 0.5 and words:
            holder[key] = rng.choice(words)
        elif what < 0.62 and parts:
            holder[key] = copy.deepcopy(rng.choice(parts))
        elif what < 0.7:
            holder[key] = copy.deepcopy(at(tree, rng.choice(places(tree))))
        elif what < 0.76:
            del holder[key]
        elif what < 0.84 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(rng.choice(parts) if parts else holder[key]))
        elif what < 0.92 and isinstance(holder, dict):
            holder[rng.choice(words) if words else "x"] = copy.deepcopy(rng.choice(NONSENSE))
        elif isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
            holder[key] = holder[key] + rng.choice((-1, 1, 2, 0.5, 10**6)) if what < 0.96 else -holder[key]
        elif isinstance(holder[key], (list, dict)) and what > 0.98:
            for _ in range(rng.choice((2, 40))):
                holder[key] = [holder[key]]
        if len(places(tree)) > 3000:  # it grows by copies of itself
            break
    return tree


def mutate_text(text: bytes, rng: random.Random) -> bytes:
    """Return the text of a JSON file with what no tree has: bytes changed, keys twice, numbers and depths."""
    what = rng.random()
    if what < 0.6 or b":" not in text:
        return mutate_bytes(text, rng)
    place = rng.choice([i for i, c in enumerate(text) if c == ord(":")]) + 1
    odd = (b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-" + b"1" * 30, b'"\\ud800"', b"0x1", b"01")
    deep = (b"[" * 300 + b"]" * 300, b"[" * 100_000, b'{"a":' * 20_000)
    return text[:place] + rng.choice(odd if what < 0.95 else deep) + b", " + text[place:]
