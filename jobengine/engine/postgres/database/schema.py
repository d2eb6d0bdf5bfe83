"""The database's tables, and the steps that create them."""

from typing import Final, LiteralString

from psycopg import Connection
from psycopg.errors import DuplicateSchema, DuplicateTable, InsufficientPrivilege, UndefinedTable, UniqueViolation

from ....storage.errors import NewerFormat, NotADatabase, StorageError
from ....storage.frames import Kdf
from ..recount_failures import enter_old_failures
from ..sql import named
from .connection import rights_failures
from .encryption import Seal, SealedKey, new_key, open_key
from .pipeline import Row
from .rows import NO_CLAIM_START, Rows

#: Each step leads from one version to the next; a released step never changes.
_STEPS: Final[tuple[tuple[LiteralString, ...], ...]] = (
    (
        # One row. `ahead`: by how many milliseconds the wall clock is ahead of elapsed time.
        "CREATE TABLE meta (version int NOT NULL, passes int NOT NULL, kib int NOT NULL, salt bytea NOT NULL, "
        "sealed bytea NOT NULL, ahead bigint NOT NULL DEFAULT 0)",
        # `events`: the number of the last event; those after `events_from` are kept. Both change only while the queue
        # is watched: until `watched_until`, by the wall clock.
        "CREATE TABLE queue (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name_digest bytea NOT NULL UNIQUE, "
        "rev bigint NOT NULL DEFAULT 0, sealed bytea NOT NULL, watched_until bigint NOT NULL DEFAULT 0, "
        "events bigint NOT NULL DEFAULT 0, events_from bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50)",
        # `place`: the number of a core.places.Place. `due` and `due_wall`: the job's deadlines, by elapsed time and by
        # the wall clock. `sealed`: the record of the whole job; `said`: of its standing, if that has changed since.
        'CREATE TABLE job (queue_id bigint NOT NULL, uid text COLLATE "C" NOT NULL, place smallint NOT NULL, '
        "inv_prio bigint NOT NULL, arrival bigint NOT NULL, due bigint, due_wall bigint, created bigint NOT NULL, "
        "updated bigint NOT NULL, unique_key bytea, bytes bigint NOT NULL, sealed bytea NOT NULL, said bytea, "
        "PRIMARY KEY (queue_id, uid)) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
        "CREATE INDEX job_order ON job (queue_id, place, inv_prio, arrival)",
        "CREATE INDEX job_due ON job (queue_id, due) WHERE due IS NOT NULL",
        "CREATE INDEX job_due_wall ON job (queue_id, due_wall) WHERE due_wall IS NOT NULL",
        "CREATE INDEX job_unique_key ON job (queue_id, unique_key) WHERE unique_key IS NOT NULL",
        # The tags of jobs that can be claimed.
        "CREATE TABLE tag (queue_id bigint NOT NULL, tag bytea NOT NULL, inv_prio bigint NOT NULL, arrival bigint NOT "
        'NULL, uid text COLLATE "C" NOT NULL, PRIMARY KEY (queue_id, tag, inv_prio, arrival, uid))',
        # Adding a job with a unique key locks the key's row, so that two connections do not both add a job.
        "CREATE TABLE unique_key (queue_id bigint NOT NULL, key bytea NOT NULL, PRIMARY KEY (queue_id, key))",
        # The number of jobs in each place is the sum over all slots. Connections use different slots, so that they
        # rarely wait for each other.
        "CREATE TABLE tally (queue_id bigint NOT NULL, slot smallint NOT NULL, place smallint NOT NULL, "
        "jobs bigint NOT NULL, PRIMARY KEY (queue_id, slot, place)) WITH (fillfactor = 50)",
        # The number of each lane's last batch with changes: shows whether a commit was made whose connection was lost.
        "CREATE TABLE lane (id bigint PRIMARY KEY, batch bigint NOT NULL, at bigint NOT NULL) WITH (fillfactor = 50)",
        # The events of a batch in one queue: `number` of them, the last of which has the number `last`.
        "CREATE TABLE event (queue_id bigint NOT NULL, last bigint NOT NULL, number bigint NOT NULL, at bigint NOT "
        "NULL, sealed bytea NOT NULL, PRIMARY KEY (queue_id, last))",
        # Deleted queues, and when they were deleted: rows of their jobs may still exist.
        "CREATE TABLE gone (queue_id bigint PRIMARY KEY, at bigint NOT NULL)",
        "CREATE SEQUENCE batch",
    ),
    (
        # The claim start: see claim_start.py.
        f"ALTER TABLE queue ADD COLUMN floor_prio bigint NOT NULL DEFAULT {NO_CLAIM_START[0]}, "
        f"ADD COLUMN floor_arrival bigint NOT NULL DEFAULT {NO_CLAIM_START[1]}, "
        "ADD COLUMN proposed_prio bigint, ADD COLUMN proposed_arrival bigint, ADD COLUMN proposed_by bigint, "
        "ADD COLUMN known_from bigint",
        # Renamed to lock out servers of version 1, which do not set claim starts back: without the table `lane` they
        # can't change anything.
        "ALTER TABLE lane RENAME TO last_batch",
    ),
    (
        # `undone`: how often a correction of `ahead` was undone. `clock`: for each machine with servers, the difference
        # between elapsed time and the machine's clock, when that clock showed `at`; see begin.py.
        "ALTER TABLE meta ADD COLUMN undone bigint NOT NULL DEFAULT 0",
        "CREATE TABLE clock (machine text PRIMARY KEY, ahead bigint NOT NULL, difference bigint NOT NULL, "
        "at bigint NOT NULL, saved bigint NOT NULL)",
        # See claimers.py: each server's waiting claims, and the wall clock time at which the server wrote them.
        "CREATE TABLE claimers (server bigint PRIMARY KEY, at bigint NOT NULL, sealed bytea NOT NULL) "
        "WITH (fillfactor = 50)",
    ),
    (
        # No statement: since this version, places 5 and 6 of tally count retrying and cancelled jobs (see
        # core/places.py); the new version number locks out older servers.
    ),
    (
        # See history_rows.py: a server's counts in a period of a queue. They are not encrypted: counts are no secret.
        "CREATE TABLE history (queue_id bigint NOT NULL, span bigint NOT NULL, number bigint NOT NULL, "
        "server bigint NOT NULL, counted text NOT NULL, PRIMARY KEY (queue_id, span, number, server)) "
        "WITH (fillfactor = 50)",
        "CREATE INDEX history_number ON history (span, number)",
    ),
    (
        # See item_rows.py: the named things of queues. `key` is the digest of kind and name, `kind` the digest of the
        # kind.
        "CREATE TABLE item (queue_id bigint NOT NULL, key bytea NOT NULL, kind bytea NOT NULL, sealed bytea NOT NULL, "
        "PRIMARY KEY (queue_id, key)) WITH (fillfactor = 50)",
        "CREATE INDEX item_kind ON item (queue_id, kind)",
    ),
    (
        # See group_rows.py. `grp` of a job: the key of its group while it is counted there; the jobs of earlier
        # versions have no group.
        "ALTER TABLE job ADD COLUMN grp bytea",
        # The first column is an expression, so that only this index fits a search for the jobs of a group: without
        # statistics PostgreSQL would prefer job_order.
        "CREATE INDEX job_group ON job ((queue_id + 0), grp, place, inv_prio, arrival) WHERE grp IS NOT NULL",
        # One row for each group. `key` and `gate`: the digests of its settings and of its gate in `item`; `sealed`: its
        # name. `most` and `weight` repeat its settings. From `inv_prio` on: its place in turn, which depends on its
        # first ready job.
        "CREATE TABLE grp (queue_id bigint NOT NULL, key bytea NOT NULL, gate bytea NOT NULL, sealed bytea NOT NULL, "
        "ready bigint NOT NULL DEFAULT 0, delayed bigint NOT NULL DEFAULT 0, running bigint NOT NULL DEFAULT 0, "
        "failed bigint NOT NULL DEFAULT 0, served bigint NOT NULL DEFAULT 0, most bigint, "
        "weight bigint NOT NULL DEFAULT 1, inv_prio bigint, load float8 NOT NULL DEFAULT 0, "
        "turn bigint NOT NULL DEFAULT 0, arrival bigint, created bigint, start_prio bigint, start_arrival bigint, "
        "PRIMARY KEY (queue_id, key)) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)",
        "CREATE INDEX grp_turn ON grp (queue_id, inv_prio, load, turn, arrival) WHERE inv_prio IS NOT NULL",
    ),
    (
        # Of a schedule: the time of the wall clock at which it fires next, and 1 if it is paused by failures. The new
        # version number locks out older servers, which do not fire schedules.
        "ALTER TABLE item ADD COLUMN fires bigint, ADD COLUMN failing bigint",
        "CREATE INDEX item_fires ON item (fires) WHERE fires IS NOT NULL",
    ),
    (
        # See group_rows.py. `rev`: how often its ready jobs or its place were changed. The new name of `created` locks
        # out older servers, which lock queues with groups in another way.
        "ALTER TABLE grp ADD COLUMN rev bigint NOT NULL DEFAULT 0",
        "ALTER TABLE grp RENAME COLUMN created TO first_created",
        # The jobs of all groups are counted in the tally, so that servers do not wait for each other to count.
        "INSERT INTO tally SELECT g.queue_id, 0, n.place, n.jobs FROM grp g, "
        "LATERAL (VALUES (7, g.ready), (8, g.delayed), (9, g.running)) n (place, jobs) WHERE g.key = ''",
        "UPDATE grp SET ready = 0, delayed = 0, running = 0, failed = 0 WHERE key = ''",
    ),
    (
        # See dependency_rows.py. `awaited` of a job: 1 if others depend on it. `batch`: the digest of its batch, which
        # is the key of the batch in `item`. `kept`: for how many milliseconds to keep a finished job whose retention
        # has not begun, because other jobs wait for it or its batch is unfinished; meanwhile `due` is NULL.
        "ALTER TABLE job ADD COLUMN awaited smallint, ADD COLUMN batch bytea, ADD COLUMN kept bigint",
        "CREATE INDEX job_kept ON job (queue_id, batch) WHERE kept IS NOT NULL AND batch IS NOT NULL",
        # The dependencies of unfinished jobs and, unless they are met, of jobs that have failed because of one.
        # `parent_queue` is the digest of a queue's name, since that queue may be gone. `mark`: the character of the
        # dependency in Standing.ended while its end still changes the job, otherwise empty. `keeps`: 1 if the job is
        # unfinished.
        'CREATE TABLE dependency (queue_id bigint NOT NULL, uid text COLLATE "C" NOT NULL, '
        'parent_queue bytea NOT NULL, parent_key text COLLATE "C" NOT NULL, mark text COLLATE "C" NOT NULL, '
        "keeps smallint NOT NULL, PRIMARY KEY (queue_id, uid, parent_queue, parent_key)) "
        "WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
        "CREATE INDEX dependency_parent ON dependency (parent_queue, parent_key, mark, queue_id, uid)",
        # The jobs, batches and (with an empty key) queues whose end or retry is still to be followed up; see follow.py.
        # `at`: the elapsed time of the change, if a retention may begin with it.
        "CREATE TABLE ended (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent_queue bytea NOT NULL, "
        'parent_key text COLLATE "C" NOT NULL, at bigint) WITH (autovacuum_vacuum_scale_factor = 0.02)',
        "CREATE INDEX ended_parent ON ended (parent_queue, parent_key)",
        # The jobs of batches by place; see `tally`.
        "CREATE TABLE batch_tally (queue_id bigint NOT NULL, batch bytea NOT NULL, slot smallint NOT NULL, "
        "place smallint NOT NULL, jobs bigint NOT NULL, PRIMARY KEY (queue_id, batch, slot, place)) "
        "WITH (fillfactor = 50)",
        # `over`: when an ended batch is removed, if it has no jobs at that time; NULL for all other things.
        "ALTER TABLE item ADD COLUMN over bigint",
        "CREATE INDEX item_over ON item (over) WHERE over IS NOT NULL",
        # Renamed to lock out servers of version 9, which follow nothing up.
        "ALTER TABLE last_batch RENAME TO lane_batch",
    ),
    (
        # `moving`: above 0 while jobs may not have the places of the queue's present order; see line_moves.py.
        "ALTER TABLE queue ADD COLUMN moving bigint NOT NULL DEFAULT 0",
        # Renamed to lock out servers of version 10, which can't read the records of this version.
        "ALTER TABLE lane_batch RENAME TO lane_commit",
        # See batch/failures.py: one row for each job that has failed or is tried again. `key`: the digest of its latest
        # fingerprint. `at`: when it failed last.
        'CREATE TABLE failure (queue_id bigint NOT NULL, uid text COLLATE "C" NOT NULL, key bytea NOT NULL, '
        "at bigint NOT NULL, PRIMARY KEY (queue_id, uid)) "
        "WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
        "CREATE INDEX failure_order ON failure (queue_id, key, at, uid)",
        # The new index leaves out the jobs in progress, so that a claim does not write to it.
        "DROP INDEX job_group",
        "CREATE INDEX job_group ON job ((queue_id + 0), grp, place, inv_prio, arrival) "
        "WHERE grp IS NOT NULL AND place <> 2",
    ),
)
#: The version of the schema that this JobEngine works with.
VERSION: Final = len(_STEPS)
#: The first version with the table `failure`.
_WITH_FAILURES: Final = 11

_FIND_SCHEMA: Final = named("find_schema")
_READ_META: Final = named("read_meta")
_LOCK_META: Final = named("lock_meta")
_INSERT_META: Final = named("insert_meta")
_UPDATE_VERSION: Final = named("update_version")


@rights_failures()
def migrate(connection: "Connection[Row]", secret: bytes, kdf: Kdf) -> int:
    """
    Bring the schema to VERSION, in one transaction; returns its former version, 0 for none. Safe to run several times
    at once. Raises NewerFormat if the schema is newer, WrongSecret, and StorageError if the user lacks a permission.
    """
    try:
        return _migrate(connection, secret, kdf)
    except (UniqueViolation, DuplicateTable, DuplicateSchema):
        # Another migration has created the first tables at the same time.
        return _migrate(connection, secret, kdf)


def _migrate(connection: "Connection[Row]", secret: bytes, kdf: Kdf) -> int:
    with connection.transaction():
        ((is_bare, has_tables),) = _FIND_SCHEMA.execute(connection).fetchall()
        if is_bare:
            # IF NOT EXISTS would need the permission to create schemas even if the schema exists.
            _create_schema(connection)
        version, seal = _locked(connection, secret) if has_tables else (0, None)
        for number, step in enumerate(_STEPS[version:], version + 1):
            for statement in step:
                connection.execute(statement)
            if number == _WITH_FAILURES and seal is not None:
                enter_old_failures(connection, Rows(seal))
        if seal is None:
            _insert_meta(connection, new_key(secret, kdf))
        elif version < VERSION:
            _UPDATE_VERSION.execute(connection, version=VERSION)
        connection.execute("ANALYZE queue, job, tag, tally")
    return version


@rights_failures()
def opened(connection: "Connection[Row]", secret: bytes) -> Seal:
    """
    Open the database, and return the Seal for its records. Raises NewerFormat, NotADatabase or WrongSecret, and
    StorageError if the user lacks a permission.
    """
    try:
        row = _READ_META.execute(connection).fetchone()
    except UndefinedTable:
        raise NotADatabase("the database has no tables of JobEngine; make them with: jobengine db migrate") from None
    if row is None:
        raise NotADatabase("the table meta is empty")
    if row[0] != VERSION:
        advice = "use a newer JobEngine" if row[0] > VERSION else "run: jobengine db migrate"
        raise NewerFormat(f"the schema has version {row[0]}, this JobEngine works with {VERSION}; {advice}")
    return _seal(row, secret)


def _create_schema(connection: "Connection[Row]") -> None:
    try:
        connection.execute("CREATE SCHEMA jobengine")
    except InsufficientPrivilege as error:
        raise StorageError(
            f"the user of DATABASE_URL may not make the schema jobengine ({error.diag.message_primary}). As the "
            f'database\'s owner, run once: CREATE SCHEMA jobengine AUTHORIZATION "{connection.info.user}"'
        ) from None


def _locked(connection: "Connection[Row]", secret: bytes) -> tuple[int, Seal]:
    """The version of the schema, and the Seal."""
    # Wait for a running migration.
    row = _LOCK_META.execute(connection).fetchone()
    if row is None:
        raise NotADatabase("the table meta is empty")
    if row[0] > VERSION:
        raise NewerFormat(f"the schema has version {row[0]}, this JobEngine works with {VERSION}; use a newer one")
    return int(row[0]), _seal(row, secret)


def _seal(row: Row, secret: bytes) -> Seal:
    _, passes, kib, salt, sealed = row
    return open_key(SealedKey(Kdf(passes=passes, kib=kib), salt, sealed), secret)


def _insert_meta(connection: "Connection[Row]", key: SealedKey) -> None:
    _INSERT_META.execute(
        connection, version=VERSION, passes=key.kdf.passes, kib=key.kdf.kib, salt=key.salt, sealed=key.sealed
    )
