-- Named things of queues.

-- name: read_items
-- The things with these keys.
SELECT i.queue_id, i.key, i.sealed
FROM unnest((SELECT :queue_ids::bigint[]), :keys::bytea[]) AS n (queue_id, key)
JOIN item i USING (queue_id, key);

-- name: read_items_of_kinds
-- All things of these kinds.
SELECT i.queue_id, i.key, i.sealed
FROM unnest((SELECT :queue_ids::bigint[]), :kinds::bytea[]) AS n (queue_id, kind)
JOIN item i USING (queue_id, kind);

-- name: list_queue_items
-- All things of a queue.
SELECT queue_id, key, sealed FROM item WHERE queue_id = :queue_id ORDER BY key;

-- name: write_items
-- Writes things.
INSERT INTO item (queue_id, key, kind, sealed)
SELECT * FROM unnest(:queue_ids::bigint[], :keys::bytea[], :kinds::bytea[], :sealed::bytea[])
ORDER BY 1, 2
ON CONFLICT (queue_id, key) DO UPDATE SET sealed = excluded.sealed;

-- name: delete_items
-- Removes things.
DELETE FROM item i
USING unnest(:queue_ids::bigint[], :keys::bytea[]) AS n (queue_id, key)
WHERE i.queue_id = n.queue_id AND i.key = n.key;

-- name: next_items
-- The keys of the next things of a kind, queue by queue.
SELECT queue_id, key
FROM item
WHERE (queue_id, key) > (:queue_id, :key) AND kind = :kind
ORDER BY queue_id, key
LIMIT :most;

-- name: write_schedules
-- Writes schedules, with the time of the wall clock at which each fires next, and whether it is paused by failures.
INSERT INTO item (queue_id, key, kind, sealed, fires, failing)
SELECT * FROM unnest(
    :queue_ids::bigint[], :keys::bytea[], :kinds::bytea[], :sealed::bytea[], :fires::bigint[], :failing::bigint[]
)
ORDER BY 1, 2
ON CONFLICT (queue_id, key) DO UPDATE
SET sealed = excluded.sealed, fires = excluded.fires, failing = excluded.failing;

-- name: count_schedules
-- How many schedules these queues have, how many of them are paused by failures, and when the first one fires.
SELECT queue_id, count(*), count(*) FILTER (WHERE failing = 1), min(fires)
FROM item
WHERE queue_id = ANY(:queue_ids::bigint[]) AND kind = :kind
GROUP BY queue_id;

-- name: due_schedules
-- The first schedules whose time has come, with their queues; and, in a row without a key, when the next one fires.
(
    SELECT i.queue_id, i.key, i.sealed, q.id, q.rev, q.name_digest, q.sealed, i.fires
    FROM item i JOIN queue q ON q.id = i.queue_id
    WHERE i.fires <= (SELECT :clock FROM meta LIMIT 1)
    ORDER BY i.fires
    LIMIT :most
)
UNION ALL
(
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, fires
    FROM item
    WHERE fires > (SELECT :clock FROM meta LIMIT 1)
    ORDER BY fires
    LIMIT 1
);
