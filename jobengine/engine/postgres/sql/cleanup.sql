-- Removes rows of deleted queues, unused unique keys, old events and old batch numbers of lanes, some rows at a time.
-- Rows that are locked are left for later: a batch that began before the queue was deleted may wait for other rows.

-- name: lock_gone_queue
-- A queue that was deleted and may still have rows.
SELECT queue_id, at FROM gone ORDER BY at LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: delete_gone_jobs
-- Removes some jobs of a deleted queue.
DELETE FROM job
WHERE (queue_id, uid) IN (
    SELECT queue_id, uid FROM job WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_history
-- Removes some of a deleted queue's history.
DELETE FROM history
WHERE (queue_id, span, number, server) IN (
    SELECT queue_id, span, number, server FROM history WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_items
-- Removes some of a deleted queue's named things.
DELETE FROM item
WHERE (queue_id, key) IN (
    SELECT queue_id, key FROM item WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_groups
-- Removes some of a deleted queue's groups.
DELETE FROM grp
WHERE (queue_id, key) IN (
    SELECT queue_id, key FROM grp WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_tags
-- Removes some of a deleted queue's tags.
DELETE FROM tag
WHERE (queue_id, tag, inv_prio, arrival, uid) IN (
    SELECT queue_id, tag, inv_prio, arrival, uid
    FROM tag
    WHERE queue_id = :queue_id
    LIMIT :most
    FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_failures
-- Removes some of a deleted queue's failures.
DELETE FROM failure
WHERE (queue_id, uid) IN (
    SELECT queue_id, uid FROM failure WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_keys
-- Removes some of a deleted queue's unique keys.
DELETE FROM unique_key
WHERE (queue_id, key) IN (
    SELECT queue_id, key FROM unique_key WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_events
-- Removes some of a deleted queue's events.
DELETE FROM event
WHERE (queue_id, last) IN (
    SELECT queue_id, last FROM event WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_counts
-- Removes some of a deleted queue's counts.
DELETE FROM tally
WHERE (queue_id, slot, place) IN (
    SELECT queue_id, slot, place FROM tally WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: delete_gone_dependencies
-- Removes some dependencies of a deleted queue's jobs, and records the awaited jobs to be followed up: their retention
-- may begin.
WITH gone AS (
    DELETE FROM dependency
    WHERE (queue_id, uid, parent_queue, parent_key) IN (
        SELECT queue_id, uid, parent_queue, parent_key
        FROM dependency
        WHERE queue_id = :queue_id
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    )
    RETURNING parent_queue, parent_key
)
INSERT INTO ended (parent_queue, parent_key) SELECT parent_queue, parent_key FROM gone;

-- name: delete_gone_batches
-- Removes some counts of a deleted queue's batches.
DELETE FROM batch_tally
WHERE (queue_id, batch, slot, place) IN (
    SELECT queue_id, batch, slot, place FROM batch_tally WHERE queue_id = :queue_id LIMIT :most FOR UPDATE SKIP LOCKED
);

-- name: forget_gone_queue
-- Removes the record of a deleted queue, unless rows of the queue are left, because they were locked.
DELETE FROM gone g
WHERE queue_id = :queue_id
    AND NOT EXISTS (SELECT FROM job WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM tag WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM failure WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM unique_key WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM item WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM grp WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM history WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM event WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM tally WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM dependency WHERE queue_id = g.queue_id)
    AND NOT EXISTS (SELECT FROM batch_tally WHERE queue_id = g.queue_id);

-- name: forget_old_events
-- Records which events are kept, so that a watcher that needs earlier ones learns that they are gone.
UPDATE queue q
SET events_from = o.last
FROM (SELECT queue_id, max(last) AS last FROM event WHERE at < :before GROUP BY 1) o
WHERE q.id = o.queue_id AND q.events_from < o.last;

-- name: delete_old_events
-- Removes events that are no longer kept.
DELETE FROM event e USING queue q WHERE q.id = e.queue_id AND e.last <= q.events_from;

-- name: delete_old_batches
-- Removes the batch numbers of lanes that ended long ago.
DELETE FROM lane_commit WHERE at < :before;

-- name: find_key_slice_end
-- The end of a slice of the unique keys.
SELECT queue_id, key
FROM unique_key
WHERE (queue_id, key) > (:queue_id, :key)
ORDER BY queue_id, key
OFFSET :skipped
LIMIT 1;

-- name: delete_unused_keys
-- Removes the unused unique keys of a slice. A key that is about to be used is locked, and is left alone. A key
-- that is used just after its removal is inserted again.
DELETE FROM unique_key
WHERE (queue_id, key) IN (
    SELECT k.queue_id, k.key
    FROM unique_key k
    WHERE (k.queue_id, k.key) > (:queue_id, :key) AND (k.queue_id, k.key) <= (:last_queue_id, :last_key)
        AND NOT EXISTS (SELECT FROM job j WHERE j.queue_id = k.queue_id AND j.unique_key = k.key)
    FOR UPDATE OF k SKIP LOCKED
);
