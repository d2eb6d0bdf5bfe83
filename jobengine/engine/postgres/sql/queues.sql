-- Queues: the beginning of a transaction, their rows, and the clock. `:clock` reads the time; see sql/__init__.py.

-- name: read_queues
-- The time, and the queues with these names; begins a batch.
-- The first deadline by each clock is compared with the time. With `EXISTS (... due <= ...)` PostgreSQL expects a third
-- of the jobs to be due, so it may read all jobs of the queue to find one, though none is due. From LIMIT 1 it knows
-- that `meta` has one row. Otherwise it expects hundreds of rows, and a search for due jobs for each: then it finds the
-- generic plan too costly, and makes a new plan for each batch, which takes 90 microseconds.
SELECT t.wall, t.ahead, t.undone, q.id, q.rev, q.watched_until > t.wall, q.name_digest, q.sealed,
    -- A proposed claim start never comes before the claim start: a job after the proposal comes after both.
    coalesce(q.proposed_prio, q.floor_prio), coalesce(q.proposed_arrival, q.floor_arrival),
    coalesce((
        SELECT due FROM job WHERE queue_id = q.id AND due IS NOT NULL ORDER BY due LIMIT 1
    ) <= t.wall - t.ahead, false) OR coalesce((
        SELECT due_wall FROM job WHERE queue_id = q.id AND due_wall IS NOT NULL ORDER BY due_wall LIMIT 1
    ) <= t.wall, false)
FROM (SELECT :clock AS wall, ahead, undone FROM meta LIMIT 1) t
LEFT JOIN queue q ON q.name_digest = ANY((SELECT :digests::bytea[])::bytea[]);

-- name: read_all_queues
-- The time, and all queues; begins a command about all of them.
SELECT t.wall, t.ahead, t.undone, q.id, q.rev, q.watched_until > t.wall, q.name_digest, q.sealed,
    coalesce(q.proposed_prio, q.floor_prio), coalesce(q.proposed_arrival, q.floor_arrival),
    coalesce((
        SELECT due FROM job WHERE queue_id = q.id AND due IS NOT NULL ORDER BY due LIMIT 1
    ) <= t.wall - t.ahead, false) OR coalesce((
        SELECT due_wall FROM job WHERE queue_id = q.id AND due_wall IS NOT NULL ORDER BY due_wall LIMIT 1
    ) <= t.wall, false)
FROM (SELECT :clock AS wall, ahead, undone FROM meta LIMIT 1) t
LEFT JOIN queue q ON true;

-- name: read_due_queues
-- The time, some queues in which jobs are due, and when a job in one of the other queues is due next; begins a sweep.
-- Damaged queues are left out. Each queue costs two look-ups in an index. An index over the deadlines of all queues
-- would cost less, but a queue with many due jobs would slow down all others.
WITH t AS MATERIALIZED (SELECT :clock AS wall, ahead, undone FROM meta),
first AS MATERIALIZED (
    SELECT q.id, least(
        (SELECT due FROM job WHERE queue_id = q.id AND due IS NOT NULL ORDER BY due LIMIT 1),
        (SELECT due_wall - t.ahead FROM job WHERE queue_id = q.id AND due_wall IS NOT NULL ORDER BY due_wall LIMIT 1)
    ) AS soonest
    FROM t, queue q
    WHERE q.id <> ALL(:damaged::bigint[])
)
SELECT t.wall, t.ahead, t.undone, q.id, q.rev, q.watched_until > t.wall, q.name_digest, q.sealed,
    coalesce(q.proposed_prio, q.floor_prio), coalesce(q.proposed_arrival, q.floor_arrival), true,
    (SELECT min(soonest) FROM first WHERE soonest > t.wall - t.ahead)
FROM t
LEFT JOIN (SELECT f.soonest, q.* FROM first f JOIN queue q USING (id)) q ON q.soonest <= t.wall - t.ahead
ORDER BY q.soonest
LIMIT 50;

-- name: lock_queue_creation
-- Prevents others from creating queues until the commit.
SELECT 1 FROM meta FOR UPDATE;

-- name: find_lack
-- The missing ones of these tables and sequences, and those that this role may not use. The second column is true for
-- a sequence, false for a table, and null for a missing one. A row without a name: the transaction is read-only.
SELECT n.name, c.relkind = 'S'
FROM unnest(:names::text[]) AS n (name)
LEFT JOIN pg_class c ON c.oid = to_regclass('jobengine.' || n.name)
WHERE c.oid IS NULL OR NOT CASE c.relkind
    WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE, UPDATE')
    WHEN 'r' THEN has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'UPDATE')
        AND (n.name = 'meta' OR (has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'DELETE')))
    ELSE true
END
UNION ALL
SELECT NULL, false
WHERE current_setting('transaction_read_only')::bool
ORDER BY 1;

-- name: insert_queue
-- Makes a queue.
INSERT INTO queue (name_digest, sealed, moving) VALUES (:digest, :sealed, :moving) RETURNING id;

-- name: reconfigure_queue
-- Writes a queue, unless another connection has changed it.
UPDATE queue
SET sealed = :sealed, moving = :moving * greatest(moving, 1), rev = rev + 1
WHERE id = :queue_id AND rev = :rev
RETURNING id;

-- name: take_moves
-- Takes up the moves that no server renews, and renews those of this server; see line_moves.py.
UPDATE queue q
SET moving = :clock + :lease
FROM (
    SELECT id
    FROM queue
    WHERE moving > 0 AND (moving < :clock OR name_digest = ANY(:names::bytea[]))
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
) m
WHERE q.id = m.id
RETURNING q.id, q.rev, q.name_digest, q.sealed;

-- name: leave_moves
-- Lets other servers take up these moves.
UPDATE queue SET moving = 1 WHERE moving > 0 AND name_digest = ANY(:names::bytea[]);

-- name: lock_queue
-- Locks and reads a queue.
SELECT id, rev, name_digest, sealed FROM queue WHERE name_digest = :digest FOR UPDATE;

-- name: lock_unchanged_queues
-- Locks queues in the order of their numbers; returns a row if they all have these revisions, in that order.
WITH locked AS MATERIALIZED (
    SELECT id, rev FROM queue WHERE id = ANY(:queue_ids::bigint[]) ORDER BY id FOR NO KEY UPDATE
)
SELECT 1 FROM locked HAVING array_agg(rev::bigint ORDER BY id) = (SELECT :revs::bigint[]);

-- name: delete_queue
-- Removes a queue, unless another connection has changed it.
DELETE FROM queue WHERE id = :queue_id AND rev = :rev RETURNING id;

-- name: insert_gone
-- Records that a queue was removed; its other rows are removed later.
INSERT INTO gone VALUES (:queue_id, :wall) RETURNING queue_id;

-- name: count_queues
-- The number of queues if that may be `most` or more, otherwise any number below `most`. Queues are numbered one after
-- the other, so there are no more of them than numbers.
SELECT CASE WHEN numbers < :most THEN numbers ELSE (SELECT count(*) FROM (SELECT FROM queue LIMIT :most) q) END
FROM (
    SELECT coalesce(
        (SELECT id FROM queue ORDER BY id DESC LIMIT 1) + 1 - (SELECT id FROM queue ORDER BY id LIMIT 1), 0
    ) AS numbers
) n;

-- name: count_jobs
-- How many jobs queues have. A damaged count shows as a wrong number, never as an error.
SELECT queue_id, least(greatest(sum(jobs), 0), 4611686018427387904)::bigint
FROM tally
WHERE queue_id = ANY(:queue_ids::bigint[]) AND place = ANY(:places::bigint[])
GROUP BY 1;

-- name: count_places
-- How many jobs each place of queues has.
SELECT queue_id, place, least(greatest(sum(jobs), 0), 4611686018427387904)::bigint
FROM tally
WHERE queue_id = ANY(:queue_ids::bigint[]) AND place = ANY(:places::bigint[])
GROUP BY 1, 2;

-- name: oldest_ready_job
-- When the oldest ready job of the first priorities was added: the first of each priority is its oldest.
WITH RECURSIVE first AS (
    (
        SELECT inv_prio, created, 1 AS n
        FROM job
        WHERE queue_id = :queue_id AND place = 0
        ORDER BY inv_prio, arrival
        LIMIT 1
    )
    UNION ALL
    SELECT o.inv_prio, o.created, f.n + 1
    FROM first f, LATERAL (
        SELECT inv_prio, created
        FROM job
        WHERE queue_id = :queue_id AND place = 0 AND inv_prio > f.inv_prio
        ORDER BY inv_prio, arrival
        LIMIT 1
    ) o
    WHERE f.n < :priorities
)
SELECT min(created) FROM first;

-- name: count_jobs_ahead
-- How many ready jobs come before a rank.
SELECT count(*)
FROM job
WHERE queue_id = :queue_id AND place = 0 AND (inv_prio, arrival) < (:inv_prio, :arrival);

-- name: read_clock
-- The time, and what a server on this machine has saved of its clock.
SELECT :clock, m.ahead, m.undone, c.ahead, c.difference, c.at
FROM meta m
LEFT JOIN clock c ON c.machine = :machine;

-- name: save_clock
-- Saves by how much elapsed time differs from this machine's clock.
INSERT INTO clock (machine, ahead, difference, at, saved)
VALUES (:machine, :ahead, :difference, :at, :clock)
ON CONFLICT (machine) DO UPDATE
SET ahead = excluded.ahead, difference = excluded.difference, at = excluded.at, saved = excluded.saved;

-- name: delete_old_clocks
-- Removes the saved clocks of machines that are gone.
DELETE FROM clock WHERE saved < :clock - :age;

-- name: correct_clock
-- Corrects by how much the wall clock is ahead of elapsed time, unless another server has done so.
UPDATE meta SET ahead = :corrected, undone = undone + :undoes WHERE ahead = :ahead;
