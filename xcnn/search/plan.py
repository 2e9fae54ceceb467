"""What is to be tried: one checked configuration for each point, and the measure that chooses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from xcnn.backend import get_backend
from xcnn.errors import ConfigError, OptionError, suggest
from xcnn.io.config import RunConfig
from xcnn.search.grid import Point, expand, place, told

__all__ = ["HELD_OUT", "Plan", "make_plan"]

HELD_OUT = 0.1  # the fraction of the training images to choose by, where the configuration has none


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What is to be tried.

    Parameters
    ----------
    config : RunConfig
        What the points start from.
    points : list of dict
        Path to value.
    configs : list of RunConfig
        One for each point.
    monitor : str
        The measure that chooses.
    """

    config: RunConfig
    points: list[Point]
    configs: list[RunConfig]
    monitor: str

    @property
    def paths(self) -> list[str]:
        """Every path that is set, in the order of the grid."""
        return list(dict.fromkeys(path for point in self.points for path in point))


def make_plan(config: RunConfig | Mapping[str, Any], grid: Any, monitor: str | None, /) -> Plan:
    """Return what is to be tried.

    Parameters
    ----------
    config : RunConfig or dict
        What the points start from.
    grid : dict or list
        See `expand`.
    monitor : str or None
        The measure that chooses; by default the first metric in validation.

    Returns
    -------
    Plan
        Every configuration in it is checked. Where images are needed to validate on and a configuration has
        none, a fraction `HELD_OUT` of the training images is held out.

    Raises
    ------
    ConfigError
        If some point gives no valid configuration: one line for each thing that is wrong.
    OptionError
        If the grid or the measure is none.
    """
    config = config if isinstance(config, RunConfig) else RunConfig.from_dict(config)
    config = config.model_copy(update={"backend": get_backend(config.backend).name})
    monitor = _measure(config, monitor)
    points = expand(grid)
    content, configs, wrong = _given(config), [], dict[str, str]()
    for point in points:
        try:
            configs.append(_held_out(RunConfig.from_dict(place(content, point)), monitor))
        except ConfigError as error:
            for line in str(error).splitlines():
                wrong.setdefault(line, f"{line} (at {told(point)})")
    if wrong:
        raise ConfigError("\n".join(wrong.values()))
    return Plan(_held_out(config, monitor), points, configs, monitor)


def _measure(config: RunConfig, monitor: str | None) -> str:
    """Return the measure that chooses, if there will be such a one."""
    measured: Sequence[str] = config.metrics or ["accuracy"]
    known = [f"{part}{name}" for part in ("val_", "") for name in (*measured, "loss")]
    if monitor is None:
        return known[0]
    if monitor not in known:
        reason = ": a search does not choose by test images" if "test" in monitor else ""
        msg = f"unknown measure {monitor!r}{reason}{suggest(monitor, known)}"
        raise OptionError(msg, where="monitor")
    return monitor


def _held_out(config: RunConfig, monitor: str) -> RunConfig:
    """Return the configuration with images to validate on, if they are needed."""
    if config.data.validation is not None or not monitor.startswith("val_"):
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"validation": HELD_OUT})})


def _given(config: RunConfig) -> dict[str, Any]:
    """Return what the configuration was given, so that another optimizer keeps its own defaults."""
    content = config.model_dump(exclude={"schema_"}, exclude_unset=True)
    for part in ("data", "loss", "optimizer"):
        content.setdefault(part, getattr(config, part).model_dump(exclude_unset=True))
    return content
