-- Claims: the first ready jobs of a queue, and the claim start, where they begin (see claim_start.py).
--
-- A claim loads as many jobs as it may take. Other commands of the batch may take some of these first: those that they
-- name by uid, and have locked already (`uids`). So the claim loads one more job for each of those that is ready; each
-- OFFSET 0 keeps PostgreSQL from reading all ready jobs to count them. If jobs are long, a claim loads only about
-- `bytes`. A job whose `due_wall` has passed is not ready any more, even if that is not written yet. A row of NULLs
-- means: jobs are ready, but others have locked them all.

-- name: claim
-- Locks and loads the first ready jobs of a queue, but none that others have locked.
WITH first AS MATERIALIZED (
    SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said
    FROM job j
    WHERE j.queue_id = :queue_id AND (j.inv_prio, j.arrival) >= (
            (SELECT floor_prio FROM queue WHERE id = :queue_id), (SELECT floor_arrival FROM queue WHERE id = :queue_id)
        )
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
    ORDER BY j.inv_prio, j.arrival
    LIMIT :most
    FOR UPDATE OF j SKIP LOCKED
)
SELECT queue_id, uid, sealed, said, 0::smallint
FROM (SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - bytes AS before FROM first) f
WHERE before <= :bytes
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL
WHERE NOT EXISTS (SELECT FROM first) AND EXISTS (
    SELECT
    FROM job j
    WHERE j.queue_id = :queue_id AND (j.inv_prio, j.arrival) >= (
            (SELECT floor_prio FROM queue WHERE id = :queue_id), (SELECT floor_arrival FROM queue WHERE id = :queue_id)
        )
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
);

-- name: claim_beside
-- As claim, for a batch in which other commands may take some of these jobs first.
WITH first AS MATERIALIZED (
    SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said
    FROM job j
    WHERE j.queue_id = :queue_id AND (j.inv_prio, j.arrival) >= (
            (SELECT floor_prio FROM queue WHERE id = :queue_id), (SELECT floor_arrival FROM queue WHERE id = :queue_id)
        )
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
    ORDER BY j.inv_prio, j.arrival
    LIMIT :most + (
        SELECT count(*)
        FROM (SELECT unnest(:uids::text[]) AS uid OFFSET 0) u,
            LATERAL (SELECT place FROM job WHERE queue_id = :queue_id AND uid = u.uid OFFSET 0) n
        WHERE n.place = 0
    )
    FOR UPDATE OF j SKIP LOCKED
)
SELECT queue_id, uid, sealed, said, 0::smallint
FROM (SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - bytes AS before FROM first) f
WHERE before <= :bytes
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL
WHERE NOT EXISTS (SELECT FROM first) AND EXISTS (
    SELECT
    FROM job j
    WHERE j.queue_id = :queue_id AND (j.inv_prio, j.arrival) >= (
            (SELECT floor_prio FROM queue WHERE id = :queue_id), (SELECT floor_arrival FROM queue WHERE id = :queue_id)
        )
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
);

-- name: claim_tagged
-- Locks and loads the first ready jobs of a queue that have all `tags`, of which `tag` is one.
WITH first AS MATERIALIZED (
    SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said
    FROM tag t
    JOIN job j USING (queue_id, uid)
    WHERE t.queue_id = :queue_id AND (t.inv_prio, t.arrival) >= (
            (SELECT floor_prio FROM queue WHERE id = :queue_id), (SELECT floor_arrival FROM queue WHERE id = :queue_id)
        )
        AND t.tag = :tag
        AND (
            SELECT count(*)
            FROM tag o
            WHERE o.queue_id = t.queue_id AND o.tag = ANY(:tags::bytea[]) AND o.inv_prio = t.inv_prio
                AND o.arrival = t.arrival AND o.uid = t.uid
        ) = :tag_count
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
    ORDER BY t.inv_prio, t.arrival
    LIMIT :most + (
        SELECT count(*)
        FROM (SELECT unnest(:uids::text[]) AS uid OFFSET 0) u,
            LATERAL (SELECT place FROM job WHERE queue_id = :queue_id AND uid = u.uid OFFSET 0) n
        WHERE n.place = 0
    )
    FOR UPDATE OF j SKIP LOCKED
)
SELECT queue_id, uid, sealed, said, 0::smallint
FROM (SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - bytes AS before FROM first) f
WHERE before <= :bytes
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL
WHERE NOT EXISTS (SELECT FROM first) AND EXISTS (
    SELECT
    FROM tag t
    JOIN job j USING (queue_id, uid)
    WHERE t.queue_id = :queue_id AND (t.inv_prio, t.arrival) >= (
            (SELECT floor_prio FROM queue WHERE id = :queue_id), (SELECT floor_arrival FROM queue WHERE id = :queue_id)
        )
        AND t.tag = :tag
        AND (
            SELECT count(*)
            FROM tag o
            WHERE o.queue_id = t.queue_id AND o.tag = ANY(:tags::bytea[]) AND o.inv_prio = t.inv_prio
                AND o.arrival = t.arrival AND o.uid = t.uid
        ) = :tag_count
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
);

-- name: peek
-- Loads the first ready jobs of a queue, and locks nothing.
SELECT queue_id, uid, sealed, said, 0::smallint
FROM (
    SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - bytes AS before
    FROM (
        SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said
        FROM job j
        WHERE j.queue_id = :queue_id AND (j.inv_prio, j.arrival) >= (
                (SELECT floor_prio FROM queue WHERE id = :queue_id),
                (SELECT floor_arrival FROM queue WHERE id = :queue_id)
            )
            AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
        ORDER BY j.inv_prio, j.arrival
        LIMIT :most
    ) first
) f
WHERE before <= :bytes;

-- name: peek_tagged
-- Loads the first ready jobs of a queue that have all `tags`, of which `tag` is one, and locks nothing.
SELECT queue_id, uid, sealed, said, 0::smallint
FROM (
    SELECT *, sum(bytes) OVER (ORDER BY inv_prio, arrival) - bytes AS before
    FROM (
        SELECT j.queue_id, j.uid, j.inv_prio, j.arrival, j.bytes, j.sealed, j.said
        FROM tag t
        JOIN job j USING (queue_id, uid)
        WHERE t.queue_id = :queue_id AND (t.inv_prio, t.arrival) >= (
                (SELECT floor_prio FROM queue WHERE id = :queue_id),
                (SELECT floor_arrival FROM queue WHERE id = :queue_id)
            )
            AND t.tag = :tag
            AND (
                SELECT count(*)
                FROM tag o
                WHERE o.queue_id = t.queue_id AND o.tag = ANY(:tags::bytea[]) AND o.inv_prio = t.inv_prio
                    AND o.arrival = t.arrival AND o.uid = t.uid
            ) = :tag_count
            AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
        ORDER BY t.inv_prio, t.arrival
        LIMIT :most
    ) first
) f
WHERE before <= :bytes;

-- name: set_claim_start_back
-- Sets the claim start, and the proposed one, back to a job that became ready before them. For the proposal, a lock on
-- the row would be enough; but each later batch with a job before the proposal would have to lock the row again.
UPDATE queue
SET floor_prio = CASE WHEN (n.prio, n.arrival) < (floor_prio, floor_arrival) THEN n.prio ELSE floor_prio END,
    floor_arrival = CASE WHEN (n.prio, n.arrival) < (floor_prio, floor_arrival) THEN n.arrival ELSE floor_arrival END,
    proposed_prio =
        CASE WHEN (n.prio, n.arrival) < (proposed_prio, proposed_arrival) THEN n.prio ELSE proposed_prio END,
    proposed_arrival =
        CASE WHEN (n.prio, n.arrival) < (proposed_prio, proposed_arrival) THEN n.arrival ELSE proposed_arrival END
FROM (SELECT :inv_prio::bigint AS prio, :arrival::bigint AS arrival) n
WHERE id = :queue_id AND (
    (n.prio, n.arrival) < (floor_prio, floor_arrival) OR (n.prio, n.arrival) < (proposed_prio, proposed_arrival)
);

-- name: lock_claim_start
-- Locks a queue, and reads its claim start and the proposed one.
SELECT floor_prio, floor_arrival, proposed_prio, proposed_arrival, proposed_by, known_from
FROM queue
WHERE id = :queue_id
FOR UPDATE;

-- name: observe_ready_jobs
-- The numbers of the oldest running transaction and of this one, and the first ready job from the claim start on. It is
-- sent after the queue's row is locked, so its snapshot has all that was committed until then.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_xact_id()::text::bigint, j.inv_prio, j.arrival
FROM (SELECT) one
LEFT JOIN LATERAL (
    SELECT inv_prio, arrival
    FROM job
    WHERE queue_id = :queue_id AND place = 0 AND (inv_prio, arrival) >= (:inv_prio, :arrival)
    ORDER BY inv_prio, arrival
    LIMIT 1
) j ON true;

-- name: write_claim_start
-- Writes the claim start and the proposed one.
UPDATE queue
SET floor_prio = :inv_prio, floor_arrival = :arrival, proposed_prio = :proposed_inv_prio,
    proposed_arrival = :proposed_arrival, proposed_by = :proposed_by, known_from = :known_from
WHERE id = :queue_id;

-- name: transaction_number
-- The number of this transaction. It is read alone, in a new transaction: a transaction that waits for the queue's row
-- may have got its number before the proposal.
SELECT pg_current_xact_id()::text::bigint;

-- name: record_transaction_number
-- Records the number from which on transactions know of a proposal.
UPDATE queue
SET known_from = :number
WHERE id = :queue_id AND proposed_by = :proposed_by AND known_from IS NULL;
