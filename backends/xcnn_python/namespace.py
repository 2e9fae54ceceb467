"""The namespace: what ``xp`` is for arrays of plain Python numbers.

It has the part of the Python array API standard (2024.12) that xcnn uses, and says so where asked for more.
"""

from __future__ import annotations

from math import e, inf, nan, pi  # noqa: F401
from typing import Any

from xcnn_python.creation import *  # noqa: F403
from xcnn_python.dtypes import *  # noqa: F403
from xcnn_python.elementwise import *  # noqa: F403
from xcnn_python.manipulation import *  # noqa: F403
from xcnn_python.reductions import *  # noqa: F403

__array_api_version__ = "2024.12"
newaxis = None


def __getattr__(name: str) -> Any:
    msg = f"xcnn_python has no {name!r}: it has the part of the array API standard that xcnn uses"
    raise AttributeError(msg)
