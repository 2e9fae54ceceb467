"""The page: Markdown, HTML that needs no other file, and the numbers as JSON."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xcnn.errors import Error
from xcnn.files import write_atomically
from xcnn.reproduce.experiment import Experiment
from xcnn.reproduce.result import Result, Row, table

__all__ = ["Outcome", "draw", "duration", "write_page"]

Outcome = Result | Error  # what an experiment found, or why it could not be run

REPORTS = {
    "000": "G. Kajda, Constructing a convolutional neural network from ground up",
    "001": "E. Nupen, O. K. Rustebakke, B. A. Trefjord, J. T. F. Stensson, An object oriented implementation "
    "of a convolutional neural network in Python, 2024",
    "002": "Tran The Trung, Convolutional neural networks (CNNs)",
    "003": "Le Chi Thanh, Convolutional neural network from scratch, 2024",
    "004": "G. Jensen, N. Parise, S. Stefanidis, Coding a convolutional neural network from scratch",
    "own": "Beyond the reports",
}


def duration(seconds: float, /) -> str:
    """Return seconds as they are read: "0.4 s", "12 s", "3 min 5 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def write_page(
    folder: Path,
    done: Sequence[tuple[Experiment, Outcome]],
    /,
    *,
    machine: str,
    quick: bool,
    missing: Sequence[Experiment] = (),
) -> None:
    """Write ``report.md``, ``report.html``, ``results.json`` and ``figures/``.

    Parameters
    ----------
    folder : Path
        Where to; each file is written whole or not at all.
    done : sequence of (Experiment, Result or Error)
        Experiments, and what came of them.
    machine : str
        Where they ran.
    quick : bool
        Whether they were made small.
    missing : sequence of Experiment
        Those that were asked for and are not done.

    Raises
    ------
    FileError
        If a file cannot be written.
    """
    parts = [_head(done, machine, quick)]
    if missing:
        parts.append(f"**Not done yet, or stopped before**: {', '.join(e.name for e in missing)}\n")
    for report in REPORTS:
        chapter = [(e, found) for e, found in done if e.report == report]
        if chapter:
            parts.append(f"## {'Beyond the reports' if report == 'own' else f'Report {report}'}\n")
            parts += [f"{REPORTS[report]}\n"] if report != "own" else []
            parts += [_section(folder, e, found) for e, found in chapter]
    text = "\n".join(parts)
    write_atomically(folder / "report.md", text.encode())
    write_atomically(folder / "report.html", _to_html(folder, text).encode())
    write_atomically(
        folder / "results.json", (json.dumps(_numbers(done), indent=1, allow_nan=False) + "\n").encode()
    )


def _head(done: Sequence[tuple[Experiment, Outcome]], machine: str, quick: bool) -> str:
    lines = ["# The reports' experiments, run again\n", f"{machine}\n"]
    if quick:
        lines.append(
            "**A quick run: 600 images of each part, two epochs, one seed, the corners of each grid. It "
            "shows that everything works; its figures say nothing about the reports.**\n"
        )
    rows = []
    for e, found in done:
        if isinstance(found, Error):
            rows.append([f"[{e.name}](#{e.name})", e.title, "could not be run", "-"])
            continue
        judged = [row.reached for row in found.rows if row.reached is not None]
        share = f"{sum(judged)} of {len(judged)}" if judged else "-"
        rows.append([f"[{e.name}](#{e.name})", e.title, share, duration(found.seconds)])
    total = sum(found.seconds for _, found in done if isinstance(found, Result))
    lines.append(table(["experiment", "what", "figures reached", "time"], rows, align="llrr") + "\n")
    lines.append(f"{duration(total)} in all.\n")
    lines.append(
        "*beaten*: the report's figure lies below the 95 % Wilson interval of ours. *met*: ours is at least "
        "as large. *below, within the interval*: smaller, by less than so many images can tell. The interval "
        "is that of the mean accuracy on so many images; ± is the standard deviation over seeds.\n"
    )
    return "\n".join(lines)


def _section(folder: Path, e: Experiment, found: Outcome) -> str:
    lines = [f'<a id="{e.name}"></a>\n', f"### {e.name}: {e.title}\n", f"{e.shows} *(section {e.section})*\n"]
    if e.report == "own":
        lines[-1] = f"{e.shows}\n"
    if isinstance(found, Error):
        return "\n".join([*lines, f"**Could not be run**: {html.escape(str(found))}\n"])
    heading = ["figure", "report", "here", "95 % interval", "verdict", "one training", "images/s"]
    lines.append(table(heading, [_cells(row) for row in found.rows], align="lrrrlrr") + "\n")
    lines += [f"- {remark}" for remark in e.remarks] + ([""] if e.remarks else [])
    lines += [f"{note}\n" for note in found.notes]
    for path, caption in zip(_paths(folder, e, found), found.pictures, strict=True):
        lines.append(f"![{caption}](figures/{path.name})\\\n*{caption}*\n")
    return "\n".join(lines)


def _paths(folder: Path, e: Experiment, found: Result) -> list[Path]:
    return [folder / "figures" / f"{e.name}-{i + 1}.png" for i in range(len(found.pictures))]


def draw(folder: Path, e: Experiment, found: Result, /) -> None:
    """Write the pictures of an experiment, over those that may be there.

    Parameters
    ----------
    folder : Path
        Of the page.
    e : Experiment
        Which.
    found : Result
        What it found.

    Raises
    ------
    FileError
        If one cannot be written.
    """
    from xcnn.plots.style import finish

    for path, figure in zip(_paths(folder, e, found), found.pictures.values(), strict=True):
        finish(figure, path)


def _cells(row: Row) -> list[str]:
    seconds = "-" if row.seconds is None else duration(row.seconds)
    rate = "-" if row.rate is None else f"{row.rate:,.0f}"
    figures = [text.replace(" %", "\u00a0%") for text in (row.reported, row.ours, row.interval)]
    return [row.what, *figures, row.verdict, seconds, rate]


def _numbers(done: Sequence[tuple[Experiment, Outcome]]) -> dict[str, Any]:
    return {
        e.name: {"error": str(found)}
        if isinstance(found, Error)
        else {"seconds": found.seconds, "rows": [vars(row) for row in found.rows], "numbers": found.numbers}
        for e, found in done
    }


def _to_html(folder: Path, text: str) -> str:
    """Return the Markdown as one HTML file with its pictures inside."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)

    def inline(found: re.Match[str]) -> str:
        data = base64.b64encode((folder / html.unescape(found[1])).read_bytes()).decode()
        return f'src="data:image/png;base64,{data}"'

    body = re.sub(r'src="(figures/[^"]+)"', inline, body)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return _HTML.replace("BODY", body)


_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The reports' experiments, run again</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; }
body { padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin-top: 2.2rem; }
h3 { border-top: 1px solid #ddd; padding-top: 1.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #e4e4e4; font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #999; text-align: left; }
p:has(> img) { display: inline-block; vertical-align: top; margin: 1rem 1rem 0 0; }
img { max-width: 100%; max-height: 27rem; }
img ~ em { display: block; max-width: 34rem; }
a { color: #0072B2; }
</style>
</head>
<body>
BODY
</body>
</html>
"""
