"""The results: rows of one table, each with its target and whether the target was met."""

import sys
from collections.abc import Callable, Sequence
from statistics import median

from attrs import define, field, frozen

from .machine import be_a_client
from .servers import Failed, Run, Server

#: How many rounds are measured.
TIMES = 3
#: If the client uses at least this share of a core, the client may be the limit.
_BUSY = 0.95
_HEADINGS = ("what", "JobEngine", "contender", "ratio", "target", "met", "spread")
#: Errors of a server or a client; its row then shows the error.
_TROUBLE = (Failed, RuntimeError, OSError)


@frozen
class Row:
    """One row of the table."""

    what: str
    ours: str
    contender: str = ""
    ratio: str = ""
    target: str = ""
    #: Whether the target was met; None if there is no target or no figure.
    met: bool | None = None
    #: The least and the greatest value.
    spread: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells, in the order of the headings."""
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        return self.what, self.ours, self.contender, self.ratio, self.target, met, self.spread


@frozen
class Outcome:
    """The runs of a server, one in each round; or the reason for having none."""

    name: str
    runs: Sequence[Run] = ()
    why: str = ""

    def text(self, values: Sequence[float], unit: str) -> str:
        """The median, with a note if the client may have limited it."""
        if not self.runs:
            return self.why
        share = max(run.client for run in self.runs)
        return f"{median(values):,.0f} {unit}" + (f" (client at {share:.0%} of its core)" if share >= _BUSY else "")


@define
class Results:
    """All measurements so far."""

    rows: list[Row] = field(factory=list)
    #: Names and versions of the servers.
    versions: list[str] = field(factory=list)
    #: Requests a second by length of the queue: (jobs, adding, claiming).
    rates: list[tuple[int, float, float]] = field(factory=list)
    #: For each request: when it was due, in seconds from the start of a compaction, and the milliseconds that it took.
    compaction: list[tuple[float, float]] = field(factory=list)
    #: The seconds that the compaction took.
    compaction_seconds: float = 0

    def compare(
        self,
        what: str,
        ours: Outcome,
        theirs: Outcome,
        target: float | None = None,
        *,
        unit: str = "jobs/s",
        of: Callable[[Run], float] = lambda run: run.jobs,
    ) -> None:
        """Add a row with the ratio to a contender: the median of the ratios of all rounds."""
        mine, others = [of(run) for run in ours.runs], [of(run) for run in theirs.runs]
        ratios = [one / other for one, other in zip(mine, others, strict=False)]
        self.rows.append(
            Row(
                what,
                ours.text(mine, unit),
                f"{theirs.name}: {theirs.text(others, unit)}",
                f"{median(ratios):.2f}" if ratios else "",
                "" if target is None else f"≥ {target:g}",
                median(ratios) >= target if ratios and target is not None else None,
                f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "",
            )
        )

    def bound(self, what: str, values: Sequence[float], unit: str, target: float, *, least: bool = False) -> None:
        """Add a row whose median must be at most the target or, with `least`, at least the target."""
        value, digits = median(values), _digits(target)
        self.rows.append(
            Row(
                what,
                f"{value:,.{digits}f} {unit}".rstrip(),
                target=f"{'≥' if least else '≤'} {target:,g} {unit}".rstrip(),
                met=value >= target if least else value <= target,
                spread=f"{min(values):,.{digits}f} to {max(values):,.{digits}f}" if len(values) > 1 else "",
            )
        )

    def failed(self, what: str, why: object) -> None:
        """Add a row for something that could not be measured."""
        self.rows.append(Row(what, f"failed: {' '.join(str(why).split())[:300] or type(why).__name__}"))

    def saw(self, *servers: Server) -> None:
        """Record the versions of the installed servers."""
        installed = [server.version() for server in servers if server.found()]
        self.versions = list(dict.fromkeys([*self.versions, *installed]))

    def table(self) -> str:
        """All rows, in Markdown."""
        lines = [_HEADINGS, ("---",) * len(_HEADINGS), *(row.cells for row in self.rows)]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _digits(target: float) -> int:
    """The decimal places of a figure with this target."""
    return 0 if not target or target >= 100 else 1 if target >= 2 else 2


#: The work of a server under measurement.
Work = Callable[[Server], Run]


def rounds(servers: Sequence[tuple[Server, Work]], times: int = TIMES) -> list[Outcome]:
    """
    Measure all servers in turn, in `times` rounds. A server that fails is left out of later rounds; its row has the
    error.
    """
    runs: list[list[Run]] = [[] for _ in servers]
    why = [_missing(server) for server, _ in servers]
    for _ in range(times):
        for number, (server, work) in enumerate(servers):
            if not why[number]:
                why[number] = _once(server, work, runs[number])
    return [
        Outcome(server.name, () if why[number] else tuple(runs[number]), why[number])
        for number, (server, _) in enumerate(servers)
    ]


def _missing(server: Server) -> str:
    missing = server.missing()
    return f"not installed: {missing}" if missing else ""


def _once(server: Server, work: Work, runs: list[Run]) -> str:
    try:
        run = measured(server, work)
    except _TROUBLE as error:
        say(f"{server.name}: {error}")
        return f"failed: {' '.join(str(error).split())[:300]}"
    runs.append(run)
    say(f"{server.name}: {run.jobs:,.0f} jobs/s, the client at {run.client:.0%} of its core")
    return ""


def measured(server: Server, work: Work) -> Run:
    """Start a server, let it do its work, and stop it."""
    with server.running():
        return work(server)


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


#: A part of the benchmark, which measures and adds rows to the results.
Part = Callable[[Results], None]


def run_alone(part: Part) -> int:
    """Run one part and print its rows; returns 1 if a target is missed, otherwise 0."""
    be_a_client()
    results = Results()
    part(results)
    sys.stdout.write(results.table())
    return int(any(row.met is False for row in results.rows))
