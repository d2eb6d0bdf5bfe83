-- Damaged rows: setting them apart, and putting them back once they were restored.

-- name: lock_suspects
-- Locks and loads jobs whose rows seem to be damaged, with their deadlines.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.due, j.due_wall,
    j.awaited IS NOT NULL OR j.batch IS NOT NULL
FROM unnest((SELECT :queue_ids::bigint[]), :uids::text[]) AS w (queue_id, uid)
JOIN job j USING (queue_id, uid)
ORDER BY j.queue_id, j.uid
FOR UPDATE OF j;

-- name: lock_followers
-- Locks and loads the jobs that follow a job in a place: damaged rows are often neighbours.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place, j.due, j.due_wall,
    j.awaited IS NOT NULL OR j.batch IS NOT NULL
FROM job j
WHERE j.queue_id = :queue_id AND j.place = :place AND (j.inv_prio, j.arrival) > (
    (SELECT inv_prio FROM job WHERE queue_id = :queue_id AND uid = :uid),
    (SELECT arrival FROM job WHERE queue_id = :queue_id AND uid = :uid)
)
ORDER BY j.inv_prio, j.arrival
LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: set_jobs_apart
-- Sets jobs apart: no index but that of uids leads to them.
UPDATE job j
SET place = CASE WHEN place < 0 THEN place ELSE -1 - place END, due = NULL, due_wall = NULL, unique_key = NULL
FROM unnest(:queue_ids::bigint[], :uids::text[]) AS n (queue_id, uid)
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: correct_deadlines
-- Writes deadlines as the records of jobs have them.
UPDATE job j
SET due = n.due, due_wall = n.due_wall
FROM unnest(:queue_ids::bigint[], :uids::text[], :dues::bigint[], :due_walls::bigint[])
    AS n (queue_id, uid, due, due_wall)
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: delete_tags_of_jobs
-- Removes all tags of these jobs; to find them, it reads all tags of the queue.
DELETE FROM tag WHERE queue_id = :queue_id AND uid = ANY(:uids::text[]);

-- name: discard_job
-- Removes a damaged job that was set apart: it has no tags, and no place counts it. Its batch, and the jobs that wait
-- for it, are followed up.
WITH gone AS (
    DELETE FROM job WHERE queue_id = :queue_id AND uid = :uid
    RETURNING queue_id, uid, batch, awaited, place
),
failures AS (DELETE FROM failure WHERE queue_id = :queue_id AND uid = :uid),
counts AS (
    -- See rows.MARKS_RECOUNTED.
    INSERT INTO batch_tally AS t (queue_id, batch, slot, place, jobs)
    SELECT queue_id, batch, 0, CASE WHEN place <= -10 THEN -11 - place ELSE -1 - place END, -1
    FROM gone
    WHERE batch IS NOT NULL
    ON CONFLICT (queue_id, batch, slot, place) DO UPDATE SET jobs = t.jobs + excluded.jobs
),
links AS (
    DELETE FROM dependency d USING gone g WHERE d.queue_id = g.queue_id AND d.uid = g.uid
    RETURNING d.parent_queue, d.parent_key
)
INSERT INTO ended (parent_queue, parent_key)
SELECT q.name_digest, g.uid FROM gone g JOIN queue q ON q.id = g.queue_id WHERE g.awaited IS NOT NULL
UNION ALL
SELECT q.name_digest, 'batch:' || encode(g.batch, 'hex')
FROM gone g JOIN queue q ON q.id = g.queue_id
WHERE g.batch IS NOT NULL
UNION ALL
SELECT parent_queue, parent_key FROM links;

-- name: read_queue_rows
-- The rows of queues by number.
SELECT id, rev, name_digest, sealed FROM queue WHERE id = ANY(:queue_ids::bigint[]);

-- name: count_damaged_jobs
-- How many jobs are set apart: one look-up in an index for each queue.
SELECT coalesce(sum((SELECT count(*) FROM job WHERE queue_id = q.id AND place < 0)), 0)::bigint FROM queue q;

-- name: find_damaged_jobs
-- The next jobs that are set apart.
SELECT q.id, j.uid
FROM queue q, LATERAL (SELECT uid FROM job WHERE queue_id = q.id AND place < 0 OFFSET 0) j
WHERE (q.id, j.uid) > (:queue_id, :uid)
ORDER BY 1, 2
LIMIT :most;

-- name: lock_damaged_jobs
-- Locks and loads jobs that are set apart.
SELECT j.queue_id, j.uid, j.sealed, j.said, j.place
FROM unnest((SELECT :queue_ids::bigint[]), :uids::text[]) AS w (queue_id, uid)
JOIN job j USING (queue_id, uid)
WHERE j.place < 0
ORDER BY j.queue_id, j.uid
FOR UPDATE OF j SKIP LOCKED;

-- name: put_jobs_back
-- Puts restored jobs back to the places that their records have.
UPDATE job j
SET place = n.place, due = CASE WHEN j.kept IS NULL THEN n.due END, due_wall = n.due_wall, updated = n.updated,
    unique_key = n.unique_key, bytes = n.bytes, inv_prio = n.inv_prio, arrival = n.arrival
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:inv_prios::bigint[]) AS inv_prio,
        unnest(:arrivals::bigint[]) AS arrival
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: tag_job
-- Adds the tags of a restored job.
INSERT INTO tag
SELECT :queue_id, unnest(:tags::bytea[]), :inv_prio, :arrival, :uid
ON CONFLICT DO NOTHING;
