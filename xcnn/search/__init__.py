"""Grid search: every point of a grid is trained, the one that is best in validation is kept."""

from xcnn.search.grid import expand, parse
from xcnn.search.loop import search
from xcnn.search.result import SearchResult
from xcnn.search.trial import Trial

__all__ = ["SearchResult", "Trial", "expand", "parse", "search"]
