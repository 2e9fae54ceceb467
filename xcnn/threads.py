"""Threads of the processor."""

from __future__ import annotations

from xcnn import backend
from xcnn.backend import get_backend
from xcnn.errors import OptionError

__all__ = ["get_num_threads", "set_num_threads"]


def set_num_threads(n: int, /) -> None:
    """Let NumPy's kernels, and the backends in use, use n threads of the processor from now on.

    The number is that of the whole process: models in other threads of Python use it, too. By default it is
    ``XCNN_NUM_THREADS``, else ``OMP_NUM_THREADS``, else as many as the process may run on; small networks
    use fewer. A child forked off a process that uses PyTorch has one thread there.
    The BLAS that NumPy calls outside compiled runs reads a variable of its own: ``OPENBLAS_NUM_THREADS``.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    OptionError
        If n is not a positive integer.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        msg = f"got {n!r}; needed a positive integer"
        raise OptionError(msg, where="set_num_threads")
    get_backend("numpy")
    get_backend()
    for plugin in {type(opened) for opened in backend._opened.values()}:
        plugin.set_num_threads(n)


def get_num_threads() -> int:
    """Return how many threads of the processor the default backend uses at most.

    Returns
    -------
    int
        1 where it has none of its own.
    """
    return get_backend().get_num_threads()
