"""The code around the benchmarks; nothing is measured here."""

import re
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from attrs import define, evolve

from benchmarks import all as all_parts
from benchmarks import best_figures, results, sizes
from benchmarks.all import write
from benchmarks.amqp import Channel
from benchmarks.capacity import LENGTHS
from benchmarks.contenders import Player, Way
from benchmarks.libraries.count import Count
from benchmarks.results import Outcome, Part, Results, rounds
from benchmarks.scaling.parameters import BIG, COSTS, formula
from benchmarks.scaling.simulation import Load, simulate
from benchmarks.scaling.stations import Clock, Lock, Process
from benchmarks.servers import Failed, JobEngine, Run, Server
from benchmarks.tools import Ran, Round, _backup_row, write_lines
from benchmarks.worker import idle_requests
from jobengine.tools.importing import import_lines
from tests.doubles import QUICK_KDF

ROOT = Path(__file__).parent.parent


@define(eq=False, kw_only=True)
class Double(Server):
    """A server that does what the test says."""

    name: str = "double"
    package: str = "double-server"
    installed: bool = True
    starts: bool = True

    def found(self) -> bool:
        return self.installed

    def start(self, home: Path) -> None:
        if not self.starts:
            raise Failed("the port is taken")

    def singles(self, seconds: float) -> Run:
        return Run(100, 0.5)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/performance.md", "benchmarks/lab-book.md"])
def test_the_benchmark_commands_on_the_pages_exist(page: str) -> None:
    for module in re.findall(r"python -m (benchmarks\.\w+)", (ROOT / page).read_text()):
        assert find_spec(module) is not None, module
    for target in re.findall(r"\bmake (\w+)$", (ROOT / page).read_text(), re.MULTILINE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(), target


def test_measuring_a_part_again_replaces_only_the_figures_of_that_part(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(before := best_figures.FIGURES.read_text())
    for figures in ("| old |\n", "| new |\n"):
        write("latency", figures, page)
    text = page.read_text()
    (changed,) = {section for section in before.split("\n## ") if section not in text}
    assert changed.startswith("Latency\n")
    assert text == before.replace(changed.rstrip("\n"), "Latency\n\n| new |")


def test_a_new_part_is_written_at_its_place_in_the_order_of_parts(tmp_path: Path) -> None:
    (page := tmp_path / "page.md").write_text("# All\n\n## Python client\n\nours\n\n## Dashboard\n\nlast\n")
    write("groups", "| new |\n", page)
    assert page.read_text() == ("# All\n\n## Python client\n\nours\n\n## Groups\n\n| new |\n\n## Dashboard\n\nlast\n")


def test_a_stopped_run_keeps_the_figures_measured_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (page := tmp_path / "page.md").write_text("# All\n\n## Latency\n\nold\n")
    renewed: list[str] = []

    def stop(_: Results) -> None:
        raise KeyboardInterrupt

    parts: dict[str, Part] = {"latency": lambda results: results.bound("p50", [1.0], "ms", 2), "groups": stop}
    monkeypatch.setattr(best_figures, "FIGURES", page)
    monkeypatch.setattr(best_figures, "renew", lambda: renewed.append(page.read_text()))
    monkeypatch.setattr(all_parts, "_PARTS", parts)
    monkeypatch.setattr(all_parts, "be_a_client", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        all_parts.main()
    assert renewed == [page.read_text()]
    assert "| p50 | 1.0 ms |" in page.read_text()
    assert "old" not in page.read_text()


def test_the_tables_of_the_performance_page_match_the_recorded_figures(tmp_path: Path) -> None:
    (page := tmp_path / "page.md").write_text(best_figures.PERFORMANCE.read_text())
    best_figures.write_tables(best_figures.FIGURES.read_text(), page)
    assert page.read_text() == best_figures.PERFORMANCE.read_text()


def test_the_table_of_the_sizing_page_matches_the_recorded_figures(tmp_path: Path) -> None:
    (page := tmp_path / "page.md").write_text(best_figures.SIZING.read_text())
    best_figures.write_sizes(best_figures.FIGURES.read_text(), page)
    assert page.read_text() == best_figures.SIZING.read_text()


def test_sizes_have_a_row_for_each_measured_rate_and_length() -> None:
    measured = {figure.what: figure.ours for figure in best_figures.figures(best_figures.FIGURES.read_text())}
    made = sizes.tables(measured)
    assert [line.count("jobs/s") for line in made["rates"].splitlines()[2:]] == [1] * len(sizes.RATES)
    rows = re.findall(r"^\| (\w+) \| ([\d,]+) bytes", made["sizes"], re.MULTILINE)
    assert rows == [(kind, f"{length:,}") for kind in ("queued", "complete") for length in LENGTHS]


@pytest.mark.parametrize(
    ("measured", "shown"),
    [("133,255 jobs/s", "130,000 jobs/s"), ("1,999 jobs/s", "1,900 jobs/s"), ("9 jobs/s", "9 jobs/s")],
)
def test_a_rate_is_rounded_down_to_two_digits(measured: str, shown: str) -> None:
    assert sizes.rounded_down(measured) == shown


def test_the_readme_has_four_of_the_recorded_figures() -> None:
    readme, page = (ROOT / "README.md").read_text(), best_figures.FIGURES.read_text()
    made = best_figures.table(page)
    assert made in readme
    assert len(made.splitlines()) == 2 + 4
    (rate,) = re.findall(r"some ([\d,]+) jobs a second", readme)
    measured = re.findall(r"\*\*([\d,]+) jobs/s", made)[0]
    assert int(rate.replace(",", "")) == pytest.approx(int(measured.replace(",", "")), rel=0.1)


def test_a_figure_of_the_readme_names_its_contenders_with_the_fastest_first(tmp_path: Path) -> None:
    (readme := tmp_path / "README.md").write_text("before\n<!-- best figures: written by make bench -->\nold\n")
    row = "| {} | 9 jobs/s | {} | 1.00 | ≥ 1 | yes | |\n"
    others = ("slow one: 1 jobs/s", "fast, one: 1,200 jobs/s (client at 99% of its core)", "missing: not installed", "")
    names = list(best_figures.CHOSEN.values())
    page = "".join(row.format(names[0], other) for other in others) + "".join(row.format(n, "") for n in names[1:])
    best_figures.write(page, readme)
    assert "| **9 jobs/s** | fast, one: 1,200 jobs/s · slow one: 1 jobs/s |\n" in readme.read_text()
    assert readme.read_text().startswith("before\n")
    assert "old" not in readme.read_text()


def test_the_reason_why_a_server_does_not_start_is_recorded_and_the_other_servers_continue() -> None:
    servers = (Double(), Double(installed=False), Double(starts=False))
    good, missing, broken = rounds([(server, lambda server: server.singles(1)) for server in servers])
    assert [run.jobs for run in good.runs] == [100.0] * results.TIMES
    assert (missing.runs, missing.why) == ((), "not installed: `apt-get install double-server`")
    assert (broken.runs, broken.why) == ((), "failed: the port is taken")
    table = Results()
    table.compare("work", good, missing, 1)
    assert table.rows[0].cells == ("work", "100 jobs/s", f"double: {missing.why}", "", "≥ 1", "", "")


def test_the_row_of_a_contender_without_a_client_names_the_package() -> None:
    (outcome,) = rounds([(Double(library="no_such_library"), lambda server: server.singles(1))])
    assert outcome.why == "not installed: `pip install no_such_library`"
    assert Double(library="attrs").missing() == ""


def test_a_job_count_reports_the_end_of_the_warm_up_and_the_last_job() -> None:
    said: list[str] = []
    count = Count(warm=2, jobs=3, say=said.append)
    assert [count() for _ in range(2)] == [False, False]
    assert said == ["warm"]
    assert [count() for _ in range(4)] == [False, False, True, False]
    assert said == ["warm"]


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "bulk"), [(8, 1), (1, 40)])
def test_jobs_that_one_process_adds_are_completed_by_another_process(threads: int, bulk: int) -> None:
    server = JobEngine()
    with server.running():
        assert Way("jobengine", 80, threads, bulk).measured(server).jobs > 0
        assert server.metric('jobengine_jobs{queue="bench",state="complete"}') == 80 + threads + 1


@pytest.mark.slow
def test_a_benchmark_process_that_fails_is_named_with_its_last_output(tmp_path: Path) -> None:
    end = Player(["add", "no_such_library", "1", "1", "1", "1", "1"], tmp_path / "errors")
    try:
        with pytest.raises(Failed, match=r"add no_such_library did not print 'warm': .* No module named"):
            end.hear("warm")
    finally:
        end.stop()


@pytest.mark.slow
def test_an_idle_worker_sends_one_long_poll_and_no_other_request() -> None:
    assert idle_requests(1) == 0


def test_a_row_has_the_median_ratio_of_its_rounds_and_marks_a_busy_client() -> None:
    ours, theirs = (Outcome(name, [Run(rate, share) for rate in rates]) for name, share, rates in _RATES)
    table = Results()
    table.compare("work", ours, theirs, 1)
    table.bound("time", [2.0, 9.0, 1.0], "ms", 1.5)
    compared, bound = table.rows
    assert compared.cells[1:] == (
        "100 jobs/s",
        "theirs: 100 jobs/s (client at 96% of its core)",
        "1.00",
        "≥ 1",
        "yes",
        "0.50 to 2.00",
    )
    assert bound.cells[1:] == ("2.00 ms", "", "", "≤ 1.5 ms", "**no**", "1.00 to 9.00")


_RATES = (("ours", 0.2, (100, 100, 200)), ("theirs", 0.96, (200, 100, 100)))


def test_the_lines_written_for_the_import_are_a_valid_export(tmp_path: Path) -> None:
    write_lines(tmp_path / "lines", 1_000)
    made = import_lines(str(tmp_path / "lines"), str(tmp_path / "db"), b"secret", kdf=QUICK_KDF)
    assert (made.queues, made.jobs) == (1, 1_000)


def test_the_rate_of_a_backup_leaves_out_the_start_of_the_command() -> None:
    few, many = (Round({"backup": Ran(seconds, 1 << 20)}, size, copied=2) for seconds, size in _BACKUPS)
    row = _backup_row(few, [many])
    assert (row.ours, row.contender, row.ratio, row.met) == ("300 MB/s", "a plain copy: 200 MB/s", "1.50", True)


_BACKUPS = ((0.5, 100_000_000), (1.5, 400_000_000))


@pytest.mark.slow
def test_the_measured_daemon_survives_a_restart_and_is_stopped_at_the_end() -> None:
    server = JobEngine()
    with server.running():
        assert server.bulk(10, 0.01).jobs > 0
        before = server.metric('jobengine_jobs{queue="bench",state="complete"}')
        server.again(signal.SIGKILL)
        assert server.metric('jobengine_jobs{queue="bench",state="complete"}') == before > 0
        home = server.home
    assert not home.exists()
    assert not server.listens()


@pytest.mark.parametrize("standby", [None, 5_000])
@pytest.mark.parametrize("size", [1, 100])
def test_the_simulation_of_one_daemon_with_one_client_matches_the_formula(size: int, standby: float | None) -> None:
    load, place = Load(daemons=1, clients=1, size=size), evolve(BIG, standby=standby)
    for spread, off in ((0.0, 0.003), (0.5, 0.02)):
        done = simulate(load, place, evolve(COSTS, wal_removal=0), seconds=20, spread=spread)
        assert done.jobs == pytest.approx(formula(load, place), rel=off)


def test_simulated_daemons_share_the_standby() -> None:
    one, many = (simulate(Load(daemons=n, clients=4, size=100), BIG, COSTS, seconds=0.5) for n in (1, 64))
    assert one.busy["daemons"] > one.busy["standby"]
    assert many.busy["standby"] == pytest.approx(1, abs=0.1)
    assert many.written == pytest.approx(1e9 / COSTS.replay, rel=0.1)


def test_a_simulated_lock_has_one_holder_at_a_time() -> None:
    clock, order = Clock(), list[tuple[str, float]]()
    lock = Lock(clock)

    def process(name: str) -> Process:
        yield from lock.taken(processes[name])
        yield clock.now + 10
        order.append((name, clock.now))
        lock.give_back()
        yield None

    processes = {name: process(name) for name in "abc"}
    for number, one in enumerate(processes.values()):
        clock.wake(one, number)
    clock.run(100)
    assert order == [("a", 10), ("b", 20), ("c", 30)]


def test_simulated_batches_of_a_queue_with_a_limit_or_a_watcher_wait_for_each_other() -> None:
    load = Load(daemons=8, clients=4, size=100)
    free, limited, watched = (
        simulate(one, BIG, COSTS, seconds=1).jobs
        for one in (load, evolve(load, limited=True), evolve(load, watched=True))
    )
    assert limited < watched < 0.8 * free


@pytest.mark.parametrize(("size", "in_turn"), [(1, True), (99, True), (100, False), (1_000, False)])
def test_simulated_claims_run_in_turn_or_overlap_like_real_claims(size: int, in_turn: bool) -> None:
    assert Load(daemons=1, clients=1, size=size).claims_in_turn is in_turn


def test_simulated_claims_of_100_jobs_overlap_and_claims_of_99_do_not() -> None:
    load, far = Load(daemons=1, clients=4, size=99), evolve(BIG, standby=20_000)
    in_turn, overlapping = (simulate(evolve(load, size=size), far, COSTS, seconds=1).jobs / size for size in (99, 100))
    assert overlapping > 1.2 * in_turn


def test_simulated_commits_do_not_wait_for_later_removals() -> None:
    load = Load(daemons=1, clients=1, size=1)
    slow = evolve(COSTS, removal=0, pg_removal=100_000, wal_removal=1)
    done, alone = (simulate(load, BIG, costs, seconds=1).jobs for costs in (slow, evolve(slow, wal_removal=0)))
    assert done == pytest.approx(alone, rel=0.02)


def test_rabbitmq_confirms_in_any_order_are_each_counted_once() -> None:
    channel = Channel.__new__(Channel)
    channel._all_up_to, channel._beyond = 0, set()
    for tag, multiple in ((2, 0), (5, 0), (3, 1), (4, 0)):
        channel._confirm(tag, multiple)
    assert channel.confirmed == 5
