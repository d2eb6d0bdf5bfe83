-- Dependencies and batches: which jobs wait for which, and what is still to be followed up (see follow.py).

-- name: insert_linked_jobs
-- Adds jobs of batches, and jobs on which others depend.
INSERT INTO job
    (queue_id, uid, place, due, due_wall, updated, unique_key, bytes, inv_prio, arrival, created, sealed, grp, awaited,
    batch, kept)
SELECT unnest(:queue_ids::bigint[]), unnest(:uids::text[]), unnest(:places::bigint[]), unnest(:dues::bigint[]),
    unnest(:due_walls::bigint[]), unnest(:updated::bigint[]), unnest(:unique_keys::bytea[]), unnest(:bytes::bigint[]),
    unnest(:inv_prios::bigint[]), unnest(:arrivals::bigint[]), unnest(:created::bigint[]), unnest(:sealed::bytea[]),
    unnest(:groups::bytea[]), unnest(:awaited::bigint[]), unnest(:batches::bytea[]), unnest(:kept::bigint[]);

-- name: renew_linked_jobs
-- Writes jobs whose spec has changed: jobs of batches, and jobs on which others depend or no longer depend.
UPDATE job j
SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = n.unique_key,
    bytes = n.bytes, inv_prio = n.inv_prio, arrival = n.arrival, created = n.created, sealed = n.sealed, said = NULL,
    grp = n.grp, awaited = n.awaited, batch = n.batch, kept = n.kept
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:inv_prios::bigint[]) AS inv_prio,
        unnest(:arrivals::bigint[]) AS arrival, unnest(:created::bigint[]) AS created,
        unnest(:sealed::bytea[]) AS sealed, unnest(:groups::bytea[]) AS grp, unnest(:awaited::bigint[]) AS awaited,
        unnest(:batches::bytea[]) AS batch, unnest(:kept::bigint[]) AS kept
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: move_linked_jobs
-- As renew_linked_jobs, for jobs of which only the standing has changed.
UPDATE job j
SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = n.unique_key,
    bytes = n.bytes, said = n.said, grp = n.grp, awaited = n.awaited, batch = n.batch, kept = n.kept
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:said::bytea[]) AS said, unnest(:groups::bytea[]) AS grp,
        unnest(:awaited::bigint[]) AS awaited, unnest(:batches::bytea[]) AS batch, unnest(:kept::bigint[]) AS kept
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: set_awaited
-- Records that others depend on locked jobs. `kept` are the milliseconds to keep the finished ones, if unfinished jobs
-- depend on them.
UPDATE job j
SET awaited = 1, kept = coalesce(n.kept, j.kept), due = CASE WHEN n.kept IS NULL THEN j.due END
FROM unnest(:queue_ids::bigint[], :uids::text[], :kept::bigint[]) AS n (queue_id, uid, kept)
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: write_dependencies
-- Writes dependencies of locked jobs.
INSERT INTO dependency (queue_id, uid, parent_queue, parent_key, mark, keeps)
SELECT * FROM unnest(
    :queue_ids::bigint[], :uids::text[], :parent_queues::bytea[], :parent_keys::text[], :marks::text[],
    :keeps::bigint[]
)
ON CONFLICT (queue_id, uid, parent_queue, parent_key) DO UPDATE SET mark = excluded.mark, keeps = excluded.keeps;

-- name: delete_dependencies
-- Removes dependencies that locked jobs no longer have.
DELETE FROM dependency d
USING unnest(:queue_ids::bigint[], :uids::text[], :parent_queues::bytea[], :parent_keys::text[])
    AS n (queue_id, uid, parent_queue, parent_key)
WHERE d.queue_id = n.queue_id AND d.uid = n.uid AND d.parent_queue = n.parent_queue AND d.parent_key = n.parent_key;

-- name: insert_ended
-- Records jobs, batches and queues to be followed up.
INSERT INTO ended (parent_queue, parent_key, at)
SELECT parent_queue, parent_key, :at
FROM unnest(:parent_queues::bytea[], :parent_keys::text[]) AS n (parent_queue, parent_key);

-- name: add_to_batches
-- Adds to the counts of batches.
INSERT INTO batch_tally AS t (queue_id, batch, slot, place, jobs)
SELECT * FROM unnest(:queue_ids::bigint[], :batches::bytea[], :slots::bigint[], :places::bigint[], :jobs::bigint[])
ORDER BY 1, 2, 3, 4
ON CONFLICT (queue_id, batch, slot, place) DO UPDATE SET jobs = t.jobs + excluded.jobs;

-- name: unfinished_batches
-- The batches among these that seem to have unfinished jobs. The last jobs of a batch may finish in two transactions at
-- once, of which neither sees the other.
SELECT w.queue_id, w.batch
FROM unnest((SELECT :queue_ids::bigint[]), :batches::bytea[]) AS w (queue_id, batch), LATERAL (
    SELECT sum(t.jobs) AS jobs
    FROM batch_tally t
    WHERE t.queue_id = w.queue_id AND t.batch = w.batch AND t.place = ANY(:places::bigint[])
) s
WHERE s.jobs > 0;

-- name: count_batches
-- How many jobs each of these batches has in each place.
SELECT t.queue_id, t.batch, t.place, least(greatest(sum(t.jobs), 0), 4611686018427387904)::bigint
FROM unnest((SELECT :queue_ids::bigint[]), :batches::bytea[]) AS w (queue_id, batch)
JOIN batch_tally t USING (queue_id, batch)
GROUP BY 1, 2, 3;

-- name: count_all_batches
-- How many jobs each batch of these queues has in each place.
SELECT queue_id, batch, place, least(greatest(sum(jobs), 0), 4611686018427387904)::bigint
FROM batch_tally
WHERE queue_id = ANY(:queue_ids::bigint[])
GROUP BY 1, 2, 3;

-- name: count_items
-- How many named things of these kinds queues have.
SELECT w.queue_id, w.kind, (SELECT count(*) FROM item i WHERE i.queue_id = w.queue_id AND i.kind = w.kind)
FROM unnest((SELECT :queue_ids::bigint[]), :kinds::bytea[]) AS w (queue_id, kind);

-- name: write_batches
-- Writes batches, with the elapsed time at which each is removed if it has no jobs then.
INSERT INTO item (queue_id, key, kind, sealed, over)
SELECT * FROM unnest(:queue_ids::bigint[], :keys::bytea[], :kinds::bytea[], :sealed::bytea[], :overs::bigint[])
ORDER BY 1, 2
ON CONFLICT (queue_id, key) DO UPDATE SET sealed = excluded.sealed, over = excluded.over;

-- name: lock_free_keys
-- Locks keys of named things, but none that others have locked; returns those that are locked now.
SELECT k.queue_id, k.key
FROM unnest((SELECT :queue_ids::bigint[]), :keys::bytea[]) AS w (queue_id, key)
JOIN unique_key k USING (queue_id, key)
ORDER BY k.queue_id, k.key
FOR UPDATE OF k SKIP LOCKED;

-- name: dependants_of
-- The jobs that wait for a job or batch, or have failed because of it, with their queues.
SELECT q.id, q.rev, q.name_digest, q.sealed, j.uid, j.sealed, j.said, j.batch IS NOT NULL
FROM (
    SELECT queue_id, uid
    FROM dependency
    WHERE parent_queue = :parent_queue AND parent_key = :parent_key AND mark = ANY(ARRAY['-', 'f', 'w'])
    LIMIT :most
) d
JOIN job j USING (queue_id, uid)
JOIN queue q ON q.id = j.queue_id;

-- name: awaited_among
-- The jobs among these for which others wait, or because of which others have failed. For the reason of the count see
-- read_parents.
SELECT w.parent_key
FROM unnest((SELECT :parent_keys::text[])) AS w (parent_key)
WHERE 0 < (
    SELECT count(*)
    FROM (
        SELECT
        FROM dependency d
        WHERE d.parent_queue = :parent_queue AND d.parent_key = w.parent_key AND d.mark = ANY(ARRAY['-', 'f', 'w'])
        LIMIT 1
    ) d
);

-- name: find_any_ended
-- Whether anything is left to be followed up.
SELECT 1 FROM ended LIMIT 1;

-- name: take_ended
-- Takes rows to be followed up, but none that others have taken.
SELECT id, parent_queue, parent_key, at FROM ended ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED;

-- name: take_own_ended
-- Takes rows that a transaction has just left to be followed up. If another transaction has taken one of them, this
-- statement waits until that transaction ends.
SELECT e.id, e.parent_queue, e.parent_key, e.at
FROM (SELECT * FROM unnest((SELECT :parent_queues::bytea[]), :parent_keys::text[])) AS w (parent_queue, parent_key)
JOIN ended e USING (parent_queue, parent_key)
ORDER BY e.id
FOR UPDATE OF e;

-- name: find_own_ended
-- The jobs among these for which a row is left to be followed up.
SELECT DISTINCT e.parent_queue, e.parent_key
FROM (SELECT * FROM unnest((SELECT :parent_queues::bytea[]), :parent_keys::text[])) AS w (parent_queue, parent_key)
JOIN ended e USING (parent_queue, parent_key);

-- name: find_ended_of_queues
-- The jobs and batches of queues for which a row is left to be followed up.
SELECT DISTINCT e.parent_queue, e.parent_key
FROM unnest((SELECT :parent_queues::bytea[])) AS w (parent_queue)
JOIN ended e USING (parent_queue)
WHERE e.parent_key <> ''
LIMIT :most;

-- name: delete_ended
-- Removes rows that were followed up.
DELETE FROM ended WHERE id = ANY(:ids::bigint[]);

-- name: spread_ended
-- Adds rows for the jobs and batches of deleted queues for which others wait. The rows for the queues themselves are
-- removed later.
INSERT INTO ended (parent_queue, parent_key)
SELECT DISTINCT d.parent_queue, d.parent_key
FROM unnest((SELECT :parent_queues::bytea[])) AS w (parent_queue)
JOIN dependency d USING (parent_queue)
WHERE d.mark = '-'
RETURNING parent_queue, parent_key;

-- name: read_parents
-- How ended jobs and batches stand: the number of their queue; the place, `awaited` and `kept` of a job; the record of
-- a batch; and whether unfinished jobs depend on them, or any jobs at all. With EXISTS instead of a count, PostgreSQL
-- might read all rows.
SELECT w.n, q.id, j.place, j.awaited, j.kept, i.sealed, 0 < (
        SELECT count(*)
        FROM (
            SELECT
            FROM dependency d
            WHERE d.parent_queue = w.parent_queue AND d.parent_key = w.parent_key AND d.keeps = 1
            LIMIT 1
        ) d
    ),
    0 < (
        SELECT count(*)
        FROM (
            SELECT FROM dependency d WHERE d.parent_queue = w.parent_queue AND d.parent_key = w.parent_key LIMIT 1
        ) d
    )
FROM unnest((SELECT :ns::bigint[]), :parent_queues::bytea[], :parent_keys::text[], :batches::bytea[])
    AS w (n, parent_queue, parent_key, batch)
LEFT JOIN queue q ON q.name_digest = w.parent_queue
LEFT JOIN job j ON j.queue_id = q.id AND j.uid = w.parent_key
LEFT JOIN item i ON i.queue_id = q.id AND i.key = w.batch;

-- name: find_followers
-- Jobs that an ended job or batch changes: those whose mark is one of `marks`.
SELECT d.queue_id, d.uid
FROM unnest((SELECT :parent_queues::bytea[]), :parent_keys::text[], :marks::text[])
    AS w (parent_queue, parent_key, marks),
LATERAL (
    SELECT queue_id, uid
    FROM dependency d
    WHERE d.parent_queue = w.parent_queue AND d.mark = ANY(string_to_array(w.marks, NULL))
        AND d.parent_key = w.parent_key
    LIMIT :most
) d
LIMIT :most;

-- name: read_queues_by_number
-- The time, and the queues with these numbers or names; continues a transaction. See read_queues.
SELECT t.wall, t.ahead, t.undone, q.id, q.rev, q.watched_until > t.wall, q.name_digest, q.sealed,
    coalesce(q.proposed_prio, q.floor_prio), coalesce(q.proposed_arrival, q.floor_arrival), false
FROM (SELECT :clock AS wall, ahead, undone FROM meta LIMIT 1) t
LEFT JOIN queue q ON q.id = ANY((SELECT :queue_ids::bigint[])::bigint[])
    OR q.name_digest = ANY((SELECT :digests::bytea[])::bytea[]);

-- name: lock_kept_jobs
-- Locks finished jobs of a batch that has ended, but none on which others depend.
SELECT uid
FROM job
WHERE queue_id = :queue_id AND batch = :batch AND kept IS NOT NULL AND (
    awaited IS NULL OR 0 = (
        SELECT count(*)
        FROM dependency d
        WHERE d.parent_queue = :parent_queue AND d.parent_key = job.uid AND d.keeps = 1
    )
)
LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: begin_retention
-- Sets the deadlines of finished jobs of a batch, which are locked. If a job has begun to depend on one of them
-- meanwhile, this later statement sees that, and leaves the awaited job out.
UPDATE job j
SET due = greatest(j.updated, :ended) + j.kept, kept = NULL
WHERE j.queue_id = :queue_id AND j.uid = ANY((SELECT :uids::text[])::text[]) AND 0 = (
    SELECT count(*) FROM dependency d WHERE d.parent_queue = :parent_queue AND d.parent_key = j.uid AND d.keeps = 1
);

-- name: is_retention_to_begin
-- Whether finished jobs of a batch are left without a deadline.
SELECT 1
FROM job
WHERE queue_id = :queue_id AND batch = :batch AND kept IS NOT NULL AND (
    awaited IS NULL OR 0 = (
        SELECT count(*)
        FROM dependency d
        WHERE d.parent_queue = :parent_queue AND d.parent_key = job.uid AND d.keeps = 1
    )
)
LIMIT 1;

-- name: find_old_batches
-- Batches that ended some time ago.
SELECT queue_id, key FROM item WHERE over <= :elapsed ORDER BY over LIMIT :most;

-- name: delete_old_batch
-- Removes a batch that ended some time ago and has no jobs; its key is locked.
DELETE FROM item i
WHERE i.queue_id = :queue_id AND i.key = :key AND i.over <= :elapsed AND NOT EXISTS (
    SELECT
    FROM batch_tally t
    WHERE t.queue_id = i.queue_id AND t.batch = i.key
    GROUP BY t.place
    HAVING sum(t.jobs) <> 0
);

-- name: delete_lost_batch_counts
-- Removes the counts of a batch that is gone.
DELETE FROM batch_tally t
WHERE t.queue_id = :queue_id AND t.batch = :key
    AND NOT EXISTS (SELECT FROM item i WHERE i.queue_id = t.queue_id AND i.key = t.batch);

-- name: postpone_old_batch
-- Puts off the removal of a batch that has ended and still has jobs.
UPDATE item SET over = :later WHERE queue_id = :queue_id AND key = :key AND over <= :elapsed;

-- name: follow_up_all
-- After an import or a recount: records everything that may have to be followed up.
INSERT INTO ended (parent_queue, parent_key)
SELECT DISTINCT parent_queue, parent_key FROM dependency
UNION
SELECT q.name_digest, j.uid FROM job j JOIN queue q ON q.id = j.queue_id WHERE j.awaited = 1 AND j.kept IS NOT NULL
UNION
SELECT DISTINCT q.name_digest, 'batch:' || encode(t.batch, 'hex')
FROM batch_tally t JOIN queue q ON q.id = t.queue_id;

-- name: mark_all_awaited
-- Sets `awaited` of imported jobs on which others depend, and puts off the retention of the finished ones.
UPDATE job j
SET awaited = 1, kept = CASE WHEN j.place = ANY(ARRAY[3, 4]) THEN coalesce(j.kept, j.due - j.updated) END,
    due = CASE WHEN j.place = ANY(ARRAY[3, 4]) THEN NULL ELSE j.due END
FROM (
    SELECT DISTINCT q.id, d.parent_key FROM dependency d JOIN queue q ON q.name_digest = d.parent_queue
) n
WHERE j.queue_id = n.id AND j.uid = n.parent_key;

-- name: list_dependencies
-- The dependencies of all jobs.
SELECT queue_id, uid, parent_queue, parent_key, mark, keeps FROM dependency ORDER BY queue_id, uid;

-- name: list_batch_counts
-- The counts of batches.
SELECT queue_id, batch, place, sum(jobs)::bigint
FROM batch_tally
WHERE queue_id = ANY(:queue_ids::bigint[])
GROUP BY 1, 2, 3;

-- name: list_damaged_of_batches
-- The damaged jobs of batches, which still count in their old places; see rows.MARKS_RECOUNTED.
SELECT queue_id, batch, CASE WHEN place <= -10 THEN -11 - place ELSE -1 - place END, count(*)
FROM job
WHERE place < 0 AND batch IS NOT NULL
GROUP BY 1, 2, 3;

-- name: delete_dependencies_of
-- Removes all dependencies of locked jobs.
DELETE FROM dependency d
USING unnest(:queue_ids::bigint[], :uids::text[]) AS n (queue_id, uid)
WHERE d.queue_id = n.queue_id AND d.uid = n.uid;
