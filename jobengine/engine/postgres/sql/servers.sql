-- What servers record of themselves and share with others: batches, claims, history, notifications.

-- name: record_batch
-- Writes the number of a batch into its lane's row. It is carried out in an earlier round trip than the COMMIT: whoever
-- checks afterwards whether the batch was made then waits for the row's lock, even if the COMMIT has not arrived yet.
INSERT INTO lane_commit VALUES (:lane, :batch, :clock)
ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = excluded.at;

-- name: read_batch
-- The number of the last batch of a lane. It waits for a transaction that has written the row, also for one that has
-- inserted it: a SELECT would not see that.
INSERT INTO lane_commit VALUES (:lane, 0, :clock) ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING batch;

-- name: write_claimers
-- Writes the claims of a server.
INSERT INTO claimers (server, at, sealed)
SELECT :server, :clock, :sealed
ON CONFLICT (server) DO UPDATE SET at = excluded.at, sealed = excluded.sealed;

-- name: delete_old_claimers
-- Removes the claims of servers that have stopped.
DELETE FROM claimers WHERE at < :clock - :age OR at > :clock + :age;

-- name: read_claimers
-- The claims of the other servers that run.
SELECT sealed FROM claimers WHERE server <> :server AND at BETWEEN :clock - :age AND :clock + :age;

-- name: write_periods
-- Writes what a server counted in periods of queues, but not of queues that are gone.
INSERT INTO history (queue_id, span, number, server, counted)
SELECT n.queue_id, n.span, n.number, n.server, n.counted
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:spans::bigint[]) AS span,
        unnest(:numbers::bigint[]) AS number, unnest(:servers::bigint[]) AS server, unnest(:counted::text[]) AS counted
) n
WHERE EXISTS (SELECT FROM queue q WHERE q.id = n.queue_id)
ORDER BY 1, 2, 3
ON CONFLICT (queue_id, span, number, server) DO UPDATE SET counted = excluded.counted;

-- name: read_periods
-- The kept periods of queues, for all spans up to `span`.
SELECT h.queue_id, h.server, h.span, h.number, h.counted
FROM unnest((SELECT :queue_ids::bigint[])::bigint[]) q (id), LATERAL (
    SELECT * FROM history h WHERE h.queue_id = q.id AND h.span <= :span
) h;

-- name: read_queue_periods
-- All kept periods of a queue.
SELECT server, span, number, counted FROM history WHERE queue_id = :queue_id;

-- name: delete_old_periods
-- Removes some periods that are out of date.
DELETE FROM history
WHERE (queue_id, span, number, server) IN (
    SELECT queue_id, span, number, server
    FROM history
    WHERE span = :span AND number <= :number
    LIMIT :most
    FOR UPDATE SKIP LOCKED
);

-- name: notify
-- Sends notifications to the other servers.
SELECT pg_notify('jobengine', payload) FROM unnest(:payloads::text[]) AS payload;

-- name: read_settings
-- The settings of a connection, and the beginning of a statement that gives the role another setting.
SELECT format('ALTER ROLE %I IN DATABASE %I SET ', current_user, current_database()),
    current_setting('synchronous_commit'), current_setting(:mark, true),
    ARRAY(
        SELECT current_setting(name, true) FROM unnest(:names::text[]) WITH ORDINALITY AS o (name, at) ORDER BY at
    );

-- name: oldest_snapshot
-- For how many seconds the oldest snapshot is open. Rows that were changed or removed stay on disk while a transaction
-- may still see them. A vacuum does not count.
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(began)), 0)::float8
FROM (
    SELECT xact_start AS began
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND backend_type <> 'autovacuum worker'
    UNION ALL
    SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
) open;

-- name: find_schema
-- Whether there is no schema yet, and whether it has tables.
SELECT to_regnamespace('jobengine') IS NULL, to_regclass('jobengine.meta') IS NOT NULL;

-- name: read_meta
-- The version of the schema, and its key. With the schema's name, the error for a role without USAGE names that right.
SELECT version, passes, kib, salt, sealed FROM jobengine.meta;

-- name: lock_meta
-- As read_meta, once no migration is running.
SELECT version, passes, kib, salt, sealed FROM meta FOR UPDATE;

-- name: insert_meta
-- Writes the version and the key of a new schema.
INSERT INTO meta (version, passes, kib, salt, sealed) VALUES (:version, :passes, :kib, :salt, :sealed);

-- name: update_version
-- Writes the version of a migrated schema.
UPDATE meta SET version = :version;
