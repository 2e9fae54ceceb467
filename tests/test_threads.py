"""Threads of the processor, on every backend in use."""

from __future__ import annotations

import pytest

import xcnn
from xcnn.backend import get_backend


@pytest.fixture
def counts():
    """Backends' counts of threads as they were, afterwards."""
    plugins = [type(get_backend(name)) for name in xcnn.available_backends()]
    before = {plugin: plugin.get_num_threads() for plugin in plugins}
    yield before
    for plugin, n in before.items():
        plugin.set_num_threads(n)


def test_the_threads_of_every_backend_in_use_are_set(counts):
    for n in (3, 1):
        xcnn.set_num_threads(n)
        own = {plugin.root for plugin in counts if plugin.get_num_threads() == n}
        assert {"numpy", *({"torch"} & {plugin.root for plugin in counts})} <= own


def test_the_default_backend_need_not_be_in_use_yet(counts, monkeypatch):
    monkeypatch.setattr("xcnn.backend._opened", {})
    monkeypatch.setattr("xcnn.backend._default", None)
    xcnn.set_num_threads(1)
    assert xcnn.get_num_threads() == 1
    xcnn.set_num_threads(2)
    assert type(get_backend("numpy")).get_num_threads() == 2
