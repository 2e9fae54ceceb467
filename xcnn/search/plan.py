"""What is to be tried: one checked configuration for each point, and the measure that chooses."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xcnn.backend import get_backend
from xcnn.errors import ConfigError, OptionError, suggest
from xcnn.io.config import RunConfig
from xcnn.search.grid import Point, expand, place, told

__all__ = ["HELD_OUT", "Plan", "hold_out", "make_plan"]

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


def make_plan(config: RunConfig | Mapping[str, Any], grid: Any, monitor: str | None, /) -> Plan:
    """Return what is to be tried.

    Parameters
    ----------
    config : RunConfig or dict
        What the points start from; folders of images start at the present one.
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
    whole = config if isinstance(config, RunConfig) else RunConfig.from_dict(hold_out(config, monitor))
    whole = whole.model_copy(update={"backend": get_backend(whole.backend).name})
    monitor = _measure(whole, monitor)
    content = hold_out(_given(whole), monitor)
    points, configs, wrong = expand(grid), [], dict[str, str]()
    for point in points:
        try:
            made = _located(RunConfig.from_dict(hold_out(place(content, point), monitor)))
            _check(made, monitor)
            configs.append(made)
        except ConfigError as error:
            for line in str(error).splitlines():
                wrong.setdefault(line, f"{line} (at {told(point)})")
    if wrong:
        raise ConfigError("\n".join(wrong.values()))
    return Plan(_located(RunConfig.from_dict(content)), points, configs, monitor)


def hold_out(content: Any, monitor: str | None, /) -> Any:
    """Return a configuration with images to validate on, if they are needed.

    Parameters
    ----------
    content : object
        As in a file; what is no configuration is left as it is.
    monitor : str or None
        The measure that chooses; by default one in validation.

    Returns
    -------
    object
        With a fraction `HELD_OUT` for "data.validation" where there is none; else the same object.
    """
    if not (monitor or "val_").startswith("val_") or not isinstance(content, Mapping):
        return content
    data = content.get("data", RunConfig.model_fields["data"].default)
    if isinstance(data, str):
        data = {"path" if "/" in data or os.sep in data else "name": data}
    if not isinstance(data, Mapping) or data.get("validation") is not None:
        return content
    return {**content, "data": {**data, "validation": HELD_OUT}}


def _known(config: RunConfig) -> list[str]:
    """Return the measures that can choose, that which does by default first."""
    measured: Sequence[str] = config.metrics or ["accuracy"]
    return [f"{part}{name}" for part in ("val_", "") for name in (*measured, "loss")]


def _measure(config: RunConfig, monitor: str | None) -> str:
    """Return the measure that chooses, if there will be such a one."""
    known = _known(config)
    if monitor is None:
        return known[0]
    if monitor not in known:
        reason = ": a search does not choose by test images" if "test" in monitor else ""
        msg = f"unknown measure {monitor!r}{reason}{suggest(monitor, known)}"
        raise OptionError(msg, where="monitor")
    return monitor


def _check(config: RunConfig, monitor: str) -> None:
    """Refuse a trial that would not measure what chooses."""
    if monitor not in _known(config):
        msg = f"got {config.metrics}; needed what gives {monitor}, the measure that chooses"
        raise ConfigError(msg, where="metrics")


def _located(config: RunConfig) -> RunConfig:
    """Return the configuration with a folder of images that is found from anywhere."""
    return config.model_copy(update={"data": config.data.under(Path())})


def _given(config: RunConfig) -> dict[str, Any]:
    """Return what the configuration was given, so that another optimizer keeps its own defaults."""
    content = config.model_dump(exclude={"schema_"}, exclude_unset=True)
    for part in ("data", "loss", "optimizer"):
        content.setdefault(part, getattr(config, part).model_dump(exclude_unset=True))
    return content
