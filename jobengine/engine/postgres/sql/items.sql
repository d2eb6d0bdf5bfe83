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
-- The keys of the next things of a kind, of all queues.
SELECT queue_id, key
FROM item
WHERE (queue_id, key) > (:queue_id, :key) AND kind = :kind
ORDER BY queue_id, key
LIMIT :most;
