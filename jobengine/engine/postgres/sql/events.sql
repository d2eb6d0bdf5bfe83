-- Events for watchers, and what the poller reads for waiters.

-- name: begin_watch
-- Keeps the events of a queue from now on. If it was not watched, there were changes without events, so earlier events
-- are not kept.
UPDATE queue
SET watched_until = now + :kept,
    events = events + CASE WHEN watched_until < now THEN 1 ELSE 0 END,
    events_from = CASE WHEN watched_until < now THEN events + 1 ELSE events_from END
FROM (SELECT :clock AS now OFFSET 0) t
WHERE name_digest = :digest
RETURNING id, events, events_from;

-- name: extend_watches
-- Keeps the events of watched queues for longer.
UPDATE queue
SET watched_until = now + :kept,
    events = events + CASE WHEN watched_until < now THEN 1 ELSE 0 END,
    events_from = CASE WHEN watched_until < now THEN events + 1 ELSE events_from END
FROM (SELECT :clock AS now OFFSET 0) t
WHERE id = ANY(:queue_ids::bigint[])
RETURNING id, events_from;

-- name: read_events
-- The next events for each watch.
SELECT w.watch, e.last, e.number, e.at, e.sealed
FROM unnest((SELECT :watches::bigint[]), :queue_ids::bigint[], :numbers::bigint[]) AS w (watch, queue_id, after),
    LATERAL (
        SELECT * FROM event e WHERE e.queue_id = w.queue_id AND e.last > w.after ORDER BY e.last LIMIT :most
    ) e
ORDER BY 1, 2;

-- name: number_events
-- Reserves the numbers of the events of a batch.
UPDATE queue SET events = events + :count WHERE id = :queue_id;

-- name: insert_events
-- Stores the events of a batch.
INSERT INTO event SELECT id, events, :count, :wall, :sealed FROM queue WHERE id = :queue_id;

-- name: forget_events
-- Records that a queue's events up to the number `last` are no longer kept.
UPDATE queue SET events_from = greatest(events_from, least(:last, events)) WHERE id = :queue_id;

-- name: delete_events
-- Removes a damaged row of events.
DELETE FROM event WHERE queue_id = :queue_id AND last = :last;

-- name: poll_queues
-- Queues with their revisions, and whether they have a ready job.
SELECT name_digest, id, rev, EXISTS (
    SELECT
    FROM job j
    WHERE j.queue_id = q.id AND j.place = 0 AND (j.inv_prio, j.arrival) >= (q.floor_prio, q.floor_arrival)
)
FROM queue q
WHERE name_digest = ANY(:digests::bytea[]);

-- name: poll_unfinished_jobs
-- The given jobs that are in one of the `places`: neither finished nor removed.
SELECT w.name_digest, w.uid
FROM unnest(:digests::bytea[], :uids::text[]) AS w (name_digest, uid)
JOIN queue q USING (name_digest)
JOIN job j ON j.queue_id = q.id AND j.uid = w.uid
WHERE j.place = ANY(:places::bigint[]);
