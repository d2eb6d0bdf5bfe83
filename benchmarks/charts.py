"""The charts of docs/performance.md, drawn with matplotlib."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from .results import Results

#: Seconds of requests that are drawn as one point.
_STEP = 0.05


def draw(results: Results, directory: Path) -> None:
    """Write a file for each chart that has figures."""
    if results.rates:
        _queue_length(results.rates, directory / "performance-queue-length.svg")
    if results.compaction:
        _compaction(results, directory / "performance-compaction.svg")


@contextmanager
def _axes(path: Path, x: str, y: str) -> Iterator[Any]:
    """Labelled axes on white, so that they can be read on a dark page too; the chart is saved at the end."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.hashsalt": path.name, "font.size": 11}):
        figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained", facecolor="white")
        axes.set(xlabel=x, ylabel=y)
        axes.grid(color="0.85")
        yield axes
        axes.set_ylim(0, axes.dataLim.y1 * 1.05)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="best")
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def _queue_length(rates: Sequence[tuple[int, float, float]], path: Path) -> None:
    lengths, adding, claiming = zip(*rates, strict=True)
    with _axes(path, "jobs in the queue", "requests per second") as axes:
        axes.plot(lengths, adding, "o-", color="black", label="add")
        axes.plot(lengths, claiming, "s--", color="0.45", label="claim")
        axes.set_xscale("symlog", linthresh=1_000)
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.minorticks_off()


def _compaction(results: Results, path: Path) -> None:
    steps: dict[int, list[float]] = {}
    for at, took in results.compaction:
        steps.setdefault(round(at / _STEP), []).append(took)
    drawn = sorted(steps)
    seconds = [step * _STEP for step in drawn]
    what = f"seconds from the beginning of the compaction, in steps of {_STEP * 1000:.0f} ms"
    with _axes(path, what, "ms to the answer, at 1,000 requests/s") as axes:
        axes.axvspan(0, results.compaction_seconds, color="0.9", label="while the file is compacted")
        axes.plot(seconds, [max(steps[step]) for step in drawn], ":", color="0.35", label="longest of a step")
        axes.plot(seconds, [median(steps[step]) for step in drawn], "-", color="black", label="median of a step")
