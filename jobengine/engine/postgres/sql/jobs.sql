-- Jobs: locking, loading and writing them.

-- name: lock_due_jobs
-- Locks and loads the first jobs of a queue that are due by elapsed time, but none that others have locked.
SELECT queue_id, uid, sealed, said, place, awaited
FROM job
WHERE queue_id = :queue_id AND due <= :elapsed
ORDER BY due
LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: lock_jobs_due_by_wall_clock
-- As lock_due_jobs, by the wall clock.
SELECT queue_id, uid, sealed, said, place, awaited
FROM job
WHERE queue_id = :queue_id AND due_wall <= :wall
ORDER BY due_wall
LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: lock_jobs
-- Locks and loads jobs by uid, in the order of locks.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.awaited
FROM unnest((SELECT :queue_ids::bigint[]), :uids::text[]) AS w (queue_id, uid)
JOIN job j USING (queue_id, uid)
ORDER BY j.queue_id, j.uid
FOR UPDATE OF j;

-- name: read_jobs
-- Loads jobs by uid, for a batch that changes none.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.awaited
FROM unnest((SELECT :queue_ids::bigint[]), :uids::text[]) AS w (queue_id, uid)
JOIN job j USING (queue_id, uid)
ORDER BY j.queue_id, j.uid;

-- name: lock_key_holders
-- Locks and loads the jobs that hold unique keys.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.awaited
FROM (
    SELECT j.queue_id, j.uid
    FROM unnest((SELECT :key_queue_ids::bigint[]), :keys::bytea[]) AS k (queue_id, unique_key)
    JOIN job j USING (queue_id, unique_key)
) w
JOIN job j USING (queue_id, uid)
ORDER BY j.queue_id, j.uid
FOR UPDATE OF j;

-- name: lock_jobs_and_key_holders
-- Locks and loads jobs by uid, and the jobs that hold unique keys; locks them all in one order.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.awaited
FROM (
    SELECT * FROM unnest((SELECT :queue_ids::bigint[]), :uids::text[]) AS u (queue_id, uid)
    UNION
    SELECT j.queue_id, j.uid
    FROM unnest((SELECT :key_queue_ids::bigint[]), :keys::bytea[]) AS k (queue_id, unique_key)
    JOIN job j USING (queue_id, unique_key)
) w
JOIN job j USING (queue_id, uid)
ORDER BY j.queue_id, j.uid
FOR UPDATE OF j;

-- name: make_keys
-- Makes the rows of unique keys that are locked next.
INSERT INTO unique_key
SELECT * FROM unnest((SELECT :queue_ids::bigint[]), :keys::bytea[])
ORDER BY 1, 2
ON CONFLICT DO NOTHING;

-- name: lock_keys
-- Locks unique keys; returns a row for each that is there.
SELECT 1
FROM unnest((SELECT :queue_ids::bigint[]), :keys::bytea[]) AS w (queue_id, key)
JOIN unique_key k USING (queue_id, key)
ORDER BY k.queue_id, k.key
FOR UPDATE OF k;

-- name: share_keys
-- As lock_keys, for a batch that does not change the things with these keys: several batches may share the locks.
SELECT 1
FROM unnest((SELECT :queue_ids::bigint[]), :keys::bytea[]) AS w (queue_id, key)
JOIN unique_key k USING (queue_id, key)
ORDER BY k.queue_id, k.key
FOR SHARE OF k;

-- name: next_arrival
-- The arrival number of the first job that a batch adds; see queries.ARRIVALS.
SELECT nextval('batch') << 20;

-- name: insert_jobs
-- Adds jobs. In a FROM clause, PostgreSQL would first carry out each unnest as a whole, and keep all its rows.
INSERT INTO job
    (queue_id, uid, place, due, due_wall, updated, unique_key, bytes, inv_prio, arrival, created, sealed)
SELECT unnest(:queue_ids::bigint[]), unnest(:uids::text[]), unnest(:places::bigint[]), unnest(:dues::bigint[]),
    unnest(:due_walls::bigint[]), unnest(:updated::bigint[]), unnest(:unique_keys::bytea[]), unnest(:bytes::bigint[]),
    unnest(:inv_prios::bigint[]), unnest(:arrivals::bigint[]), unnest(:created::bigint[]), unnest(:sealed::bytea[]);

-- name: renew_jobs
-- Writes jobs whose spec has changed: a client has edited them, or a new job has the uid of a removed one.
UPDATE job j
SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = n.unique_key,
    bytes = n.bytes, inv_prio = n.inv_prio, arrival = n.arrival, created = n.created, sealed = n.sealed, said = NULL
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:inv_prios::bigint[]) AS inv_prio,
        unnest(:arrivals::bigint[]) AS arrival, unnest(:created::bigint[]) AS created,
        unnest(:sealed::bytea[]) AS sealed
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: move_jobs
-- Writes jobs of which only the standing has changed, as in most writes.
UPDATE job j
SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = n.unique_key,
    bytes = n.bytes, said = n.said
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:said::bytea[]) AS said
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: delete_jobs
-- Removes jobs.
DELETE FROM job j
USING unnest(:queue_ids::bigint[], :uids::text[]) AS n (queue_id, uid)
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: insert_tags
-- Adds the tags of jobs that can be claimed now.
INSERT INTO tag
SELECT * FROM unnest(:queue_ids::bigint[], :tags::bytea[], :inv_prios::bigint[], :arrivals::bigint[], :uids::text[]);

-- name: delete_tags
-- Removes the tags of jobs that can no longer be claimed.
DELETE FROM tag t
USING unnest(:queue_ids::bigint[], :tags::bytea[], :inv_prios::bigint[], :arrivals::bigint[], :uids::text[])
    AS n (queue_id, tag, inv_prio, arrival, uid)
WHERE t.queue_id = n.queue_id AND t.tag = n.tag AND t.inv_prio = n.inv_prio AND t.arrival = n.arrival
    AND t.uid = n.uid;

-- name: add_to_tally
-- Adds to the counts of places.
INSERT INTO tally AS t
SELECT * FROM unnest(:queue_ids::bigint[], :slots::bigint[], :places::bigint[], :jobs::bigint[])
ORDER BY 1, 2, 3
ON CONFLICT (queue_id, slot, place) DO UPDATE SET jobs = t.jobs + excluded.jobs;
