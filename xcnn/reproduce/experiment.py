"""Experiments: what a report did, as a file of JSON says it."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from xcnn.io.config import load_config
from xcnn.reproduce.result import Reported, Result
from xcnn.reproduce.training import Lab

__all__ = ["ConfigFile", "Experiment", "Run", "experiments_folder"]


def _load(path: Any, info: ValidationInfo) -> Any:
    """Read the configuration that lies at `path`, seen from the experiment's file."""
    assert info.context is not None, "needs the folder of the experiment's file"
    return load_config((info.context["folder"] / path).resolve())


ConfigFile = Annotated[Any, AfterValidator(_load)]  # a path in the file, a RunConfig here


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Run(_Part):
    """A training that the report describes.

    Parameters
    ----------
    config : RunConfig
        What is trained; a file beside the experiment's.
    reported : dict
        The report's figures by name: test_accuracy, val_accuracy, accuracy (on the training images).
    goal : dict
        By the same names, what we set out to reach where the report has no figure.
    precision, recall : list of float
        The report's, of each class, if it has them.
    """

    config: ConfigFile
    reported: dict[str, Reported] = {}
    goal: dict[str, float] = {}
    precision: list[float] = []
    recall: list[float] = []


class Experiment(_Part):
    """Something that a report did.

    Parameters
    ----------
    report : str
        Which: "000" to "004", or "own".
    section : str
        Where in it.
    title, shows : str
        What it is, and what it shows.
    seconds : float
        About how long it takes on two cores.
    remarks : list of str
        Where the report is wrong, inconsistent or silent, and what was done about it.
    name : str
        That of its file.
    """

    kind: ClassVar[str]
    report: str
    section: str
    title: str
    shows: str
    seconds: float
    remarks: list[str] = []
    name: str = Field("", exclude=True)

    @abstractmethod
    def perform(self, lab: Lab, /) -> Result:
        """Run it.

        Parameters
        ----------
        lab : Lab
            How.

        Returns
        -------
        Result
            What was found.
        """

    @abstractmethod
    def figures(self) -> dict[str, Reported]:
        """Return the report's figures by what they measure.

        Returns
        -------
        dict
            Empty where the report has none.
        """

    @property
    def order(self) -> tuple[str, str]:
        """What experiments are sorted by."""
        return self.report, self.name


def experiments_folder() -> Path:
    """Return where the experiments of the reports lie: in a checkout, or in an installed package."""
    here = Path(__file__).parent
    checkout = here.parents[1] / "examples" / "reports"
    return checkout if checkout.is_dir() else here / "examples" / "reports"
