"""An export has everything in a database, and a database made from it is equal."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobengine.core.fact_codec import encode
from jobengine.core.facts import ClockSet, Fact, JobChanged, JobRemoved, QueueChanged, QueueCreated, QueueDeleted
from jobengine.core.model import Queue, Standing, State
from jobengine.storage.errors import Damaged, NewerFormat, WrongSecret
from jobengine.tools.checking import check
from jobengine.tools.exporting import Exported, NoSuchQueue, export
from jobengine.tools.importing import BadExport, Imported, import_lines
from tests.core.random_facts import facts
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import frame_starts
from tests.storage.simulated_files import SimulatedFiles

from .databases import COPY, FACTS, MAIL, PATH, TEXT, job, made, tables, whole_state, with_records

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.db"))


def exported(files: SimulatedFiles, path: str = PATH, target: str = TEXT, queue: str | None = None) -> Exported:
    return export(path, target, SECRET, queue=queue, files=files)


def imported(files: SimulatedFiles, path: str = TEXT, target: str = COPY) -> Imported:
    return import_lines(path, target, SECRET, files=files, kdf=QUICK_KDF)


def text(*made_of: Fact) -> bytes:
    files = made(made_of or FACTS)
    exported(files)
    return files.now()[TEXT]


def refusal(lines: bytes) -> str:
    files = SimulatedFiles(disk={TEXT: lines})
    with pytest.raises(BadExport) as refused:
        imported(files)
    assert list(files.now()) == [TEXT]
    return str(refused.value)


@settings(max_examples=50)
@given(st.lists(facts, max_size=60))
def test_an_imported_database_equals_the_exported_database_and_gives_the_same_export(made_up: list[Fact]) -> None:
    files = made(made_up)
    written = exported(files)
    read = imported(files)
    exported(files, COPY, "/data/again.jsonl")
    assert whole_state(tables(files, COPY)) == whole_state(tables(files, PATH))
    assert files.now()["/data/again.jsonl"] == files.now()[TEXT]
    report = check(COPY, SECRET, files=files)
    assert report.closed
    assert (read.queues, read.jobs) == (written.queues, written.jobs)
    assert (len(report.queues), sum(report.states.values())) == (read.queues, read.jobs)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_database_of_every_released_version_is_exported_and_imported_unchanged(path: Path) -> None:
    files = SimulatedFiles(disk={PATH: path.read_bytes()})
    exported(files)
    imported(files)
    assert whole_state(tables(files, COPY)) == whole_state(tables(files, PATH))


OTHER = Queue(name="other", salt="t", digest="e" * 64, created=2)
#: More facts: two changes of one job, a removed job, a recreated queue, and a clock that was set.
MIXED: list[Fact] = [
    *FACTS,
    JobChanged("mail", "uid-1", Standing(state=State.INPROGRESS, updated=2, lease="token")),
    QueueCreated(OTHER),
    replace(job(1), queue="other"),
    QueueDeleted("other"),
    JobChanged("mail", "uid-1", Standing(state=State.COMPLETE, updated=3)),
    JobRemoved("mail", "uid-3"),
    QueueCreated(OTHER),
    replace(job(2), queue="other"),
    QueueChanged(evolve(MAIL, paused=True)),
    ClockSet(5),
]


def test_an_export_has_only_present_jobs_each_in_its_present_state() -> None:
    begin, mail, other, one, two, of_other, end = map(json.loads, text(*MIXED).splitlines())
    assert (begin["kind"], begin["version"], begin["ahead"]) == ("jobengine-export", 1, 5)
    assert (mail["name"], mail["set_up"], other["name"]) == ("mail", {"paused": True}, "other")
    assert (one["uid"], one["state"], one["updated"], one["lease"]) == ("uid-1", "complete", 3, None)
    assert (two["uid"], of_other["uid"], of_other["queue"]) == ("uid-2", "uid-2", "other")
    assert end == {"kind": "end", "queues": 2, "jobs": 3}


def test_an_export_of_one_queue_has_its_jobs_and_the_clock_only() -> None:
    files = made(MIXED)
    written = exported(files, queue="other")
    assert (written.queues, written.jobs) == (1, 1)
    imported(files)
    ahead, queues = whole_state(tables(files, PATH))
    assert whole_state(tables(files, COPY)) == (ahead, queues[1:])


def test_an_export_does_not_have_commits_made_after_its_start() -> None:
    data = made().now()[PATH]
    earlier = frame_starts(data)[-3]
    files = SimulatedFiles(disk={PATH: data[:earlier]})

    def commit() -> None:
        files.moment = lambda: None
        files.write(files.open(PATH), data[earlier:], earlier)

    files.moment = commit
    assert exported(files).jobs == 2
    assert files.now() == {PATH: data, TEXT: text(*FACTS[:-1])}


def test_an_incomplete_frame_is_not_exported_but_reported() -> None:
    data = made().now()[PATH]
    last, end = frame_starts(data)[-3:-1]
    files = SimulatedFiles(disk={PATH: data[: end - 5]})
    written = exported(files)
    assert (written.jobs, written.unfinished) == (2, end - 5 - last)
    assert files.now()[TEXT] == text(*FACTS[:-1])


def test_an_export_of_an_unknown_queue_is_refused_and_suggests_a_similar_name() -> None:
    files = made(MIXED)
    before = files.now()
    with pytest.raises(NoSuchQueue, match=r"/data/db: there is no queue 'mial'; did you mean 'mail'\?"):
        exported(files, queue="mial")
    with pytest.raises(NoSuchQueue, match="db check --json"):
        exported(files, queue="zzz")
    assert files.now() == before


def test_a_damaged_or_unknown_database_is_not_exported() -> None:
    data = made().now()[PATH]
    begin = frame_starts(data)[3]
    files = SimulatedFiles(disk={PATH: data[: begin + 30] + bytes([data[begin + 30] ^ 1]) + data[begin + 31 :]})
    before = files.now()
    with pytest.raises(Damaged, match=PATH):
        exported(files)
    with pytest.raises(WrongSecret, match=PATH):
        export(PATH, TEXT, b"another", files=files)
    assert files.now() == before


def test_a_database_that_is_truncated_during_an_export_is_not_exported() -> None:
    content = b'{"text":"%b"}' % bytes(1 << 20).replace(b"\0", b"a")
    files = made([*FACTS, job(4, content=content), job(5, content=content)])

    def cut_off(done: int, size: int) -> None:
        if 2 * done == size:
            files.truncate(files.open(PATH), size // 2 - 100)

    with pytest.raises(Damaged, match=r"/data/db: the file was cut off at byte [0-9]+ during the export"):
        export(PATH, TEXT, SECRET, cut_off, files=files)
    assert list(files.now()) == [PATH]


def test_a_record_of_a_newer_version_is_refused_even_if_a_later_record_replaced_it() -> None:
    files = with_records([b'["job-added",9,"mail","u"]', *map(encode, FACTS)])
    with pytest.raises(NewerFormat, match="'job-added' of version 9"):
        exported(files)


def test_an_export_missing_any_line_is_refused() -> None:
    lines = text(*MIXED).splitlines(keepends=True)
    for number in range(len(lines)):
        refusal(b"".join(lines[:number] + lines[number + 1 :]))


def test_an_export_cut_short_at_any_byte_is_refused() -> None:
    whole = text()
    for length in range(len(whole) - 1):
        refusal(whole[:length])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: [*lines, b""], "line 7: this line follows the line `end`"),
        (lambda lines: lines[:-1], "ends after line 5 without the line `end`"),
        (lambda lines: [], "ends after line 0"),
        (lambda lines: [lines[0], *lines], "line 2: this header line may only be the first line of an export"),
        (lambda lines: [lines[0], lines[1], *lines[1:]], "line 3: there are two queues 'mail'"),
        (lambda lines: [*lines[:3], *lines[2:]], "line 4: the queue 'mail' has two jobs uid-1"),
        (
            lambda lines: [lines[0], lines[2], lines[1]],
            "line 2: it belongs to the queue 'mail', whose own line must come earlier",
        ),
        (lambda lines: [*lines[:-2], lines[-1]], "1 queues and 3 jobs were exported, but the file has 1 and 2"),
        (lambda lines: lines[1:], "line 1: it does not begin as an export does"),
        (lambda lines: [lines[0] + b"\xff", *lines[1:]], "line 1: it does not begin as an export does"),
        (lambda lines: [b"\xff" + lines[0], *lines[1:]], "line 1: it does not begin as an export does"),
        (lambda lines: [b"[" * 100_000, *lines[1:]], "line 1: it does not begin as an export does"),
        (lambda lines: [*lines[:2], b'{"\xff"', *lines[3:]], "line 3: "),
        (lambda lines: [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]], "version 2, .* use a newer one"),
        (lambda lines: [lines[0].replace(b"}", b',"x":1}'), *lines[1:]], "line 1: .* unknown field `x`"),
        (lambda lines: [*lines[:3], b"", *lines[3:]], "line 4: "),
    ],
)
def test_the_error_for_inconsistent_lines_has_the_line_number(
    change: Callable[[list[bytes]], list[bytes]], reason: str
) -> None:
    lines = change(text().splitlines())
    assert re.search(f"^{TEXT}: .*{reason}", refusal(b"".join(line + b"\n" for line in lines)))


def test_windows_line_ends_or_a_missing_last_line_end_do_not_change_an_import() -> None:
    expected = whole_state(tables(made(), PATH))
    for changed in (text().rstrip(b"\n"), text().replace(b"\n", b"\r\n")):
        files = SimulatedFiles(disk={TEXT: changed})
        imported(files)
        assert whole_state(tables(files, COPY)) == expected


def test_an_export_line_longer_than_a_read_block_is_imported_completely() -> None:
    files = made([*FACTS, job(4, content=b'{"text":"%s"}' % (b"x" * (5 << 20)))])
    exported(files)
    imported(files)
    assert whole_state(tables(files, COPY)) == whole_state(tables(files, PATH))


def test_only_the_owner_can_read_the_export_and_the_imported_database(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(made().now()[PATH])
    export(str(tmp_path / "db"), str(tmp_path / "text"), SECRET)
    import_lines(str(tmp_path / "text"), str(tmp_path / "copy"), SECRET, kdf=QUICK_KDF)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.name != "db"} == {
        "text": 0o600,
        "copy": 0o600,
    }
