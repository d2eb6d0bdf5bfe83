-- Pages of a queue. Jobs that are due are left out: they have left their place, even if that is not written yet.

-- name: page_by_rank
-- A page in execution order. The index has this order within one place.
SELECT p.*
FROM unnest(:places::bigint[]) AS w (place), LATERAL (
    SELECT uid, bytes, inv_prio, arrival
    FROM job
    WHERE queue_id = :queue_id AND place = w.place AND (inv_prio, arrival) > (:inv_prio, :arrival)
        AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
    ORDER BY inv_prio, arrival
    LIMIT :most
) p
ORDER BY inv_prio, arrival
LIMIT :most;

-- name: page_of_group
-- As page_by_rank, but only the queued jobs of one group, found with the index job_group, and jobs of all groups in the
-- other places.
SELECT p.*
FROM (
    SELECT g.*
    FROM unnest(:queued::bigint[]) AS w (place), LATERAL (
        SELECT uid, bytes, inv_prio, arrival
        FROM job
        WHERE queue_id + 0 = :queue_id AND grp = :key AND place = w.place AND place <> 2
            AND (inv_prio, arrival) > (:inv_prio, :arrival)
            AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
        ORDER BY inv_prio, arrival
        LIMIT :most
    ) g
    UNION ALL
    SELECT f.*
    FROM unnest(:others::bigint[]) AS w (place), LATERAL (
        SELECT uid, bytes, inv_prio, arrival
        FROM job
        WHERE queue_id = :queue_id AND place = w.place AND (inv_prio, arrival) > (:inv_prio, :arrival)
            AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
        ORDER BY inv_prio, arrival
        LIMIT :most
    ) f
) p
ORDER BY inv_prio, arrival
LIMIT :most;

-- name: page_by_created
-- A page in the order in which jobs were added. This statement and the next three sort all jobs of the queue: with an
-- index, each change of a job would cost one more write.
SELECT uid, bytes, created, arrival
FROM job
WHERE queue_id = :queue_id AND place = ANY(:places::bigint[]) AND (created, arrival) > (:time, :arrival)
    AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
ORDER BY created, arrival
LIMIT :most;

-- name: page_by_newest_created
-- The same, last jobs first.
SELECT uid, bytes, created, arrival
FROM job
WHERE queue_id = :queue_id AND place = ANY(:places::bigint[]) AND (created, arrival) < (:time, :arrival)
    AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
ORDER BY created DESC, arrival DESC
LIMIT :most;

-- name: page_by_updated
-- A page in the order in which jobs were changed last.
SELECT uid, bytes, updated, arrival
FROM job
WHERE queue_id = :queue_id AND place = ANY(:places::bigint[]) AND (updated, arrival) > (:time, :arrival)
    AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
ORDER BY updated, arrival
LIMIT :most;

-- name: page_by_newest_updated
-- The same, last changes first.
SELECT uid, bytes, updated, arrival
FROM job
WHERE queue_id = :queue_id AND place = ANY(:places::bigint[]) AND (updated, arrival) < (:time, :arrival)
    AND coalesce(due > :elapsed, true) AND coalesce(due_wall > :wall, true)
ORDER BY updated DESC, arrival DESC
LIMIT :most;

-- name: scan_queue
-- The uids of all jobs of a queue in execution order; a row of NULLs for an empty queue, none if there is no queue.
SELECT q.id, j.uid, j.bytes
FROM queue q
LEFT JOIN job j ON j.queue_id = q.id
WHERE q.name_digest = :digest
ORDER BY j.inv_prio, j.arrival;
