-- Groups of queues with flow: their counts and places in turn (see group_rows.py). The row with the empty key counts
-- the jobs of all groups of a queue; what the tally has beyond that are the jobs without a group.
--
-- `queue_id + 0` is the first column of the index job_group: other indexes, which lead past the jobs of all groups, do
-- not fit it. With `count(*)` instead of EXISTS the items of a group are found by their keys.

-- name: lock_flow
-- Waits until no other transaction works on these queues with flow. The numbers are sorted, so there is no deadlock.
SELECT count(pg_advisory_xact_lock(:space | queue_id)) FROM unnest(:queue_ids::bigint[]) AS queue_id;

-- name: writers_under_way
-- The transactions of this database that have a number.
SELECT coalesce(string_agg(pid || ' ' || backend_xid::text, ','), '')
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL;

-- name: read_flow
-- The jobs that are ready, delayed and in progress in a queue and in all its groups, the turn of the jobs without a
-- group, and the start of those that are ready.
SELECT coalesce((SELECT sum(jobs) FROM tally WHERE queue_id = :queue_id AND place = 0), 0)::bigint,
    coalesce((SELECT sum(jobs) FROM tally WHERE queue_id = :queue_id AND place = 1), 0)::bigint,
    coalesce((SELECT sum(jobs) FROM tally WHERE queue_id = :queue_id AND place = 2), 0)::bigint,
    coalesce(g.ready, 0), coalesce(g.delayed, 0), coalesce(g.running, 0), coalesce(g.served, 0), g.start_prio,
    g.start_arrival
FROM (SELECT) one
LEFT JOIN grp g ON g.queue_id = :queue_id AND g.key = '';

-- name: next_turn
-- The number of the first turn of a batch.
SELECT nextval('batch') << 20;

-- name: read_groups
-- Groups by their keys, with their settings and gates.
SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.created, g.inv_prio, g.load, g.turn,
    g.arrival, s.sealed, t.sealed
FROM unnest((SELECT :keys::bytea[])) AS w (key)
JOIN grp g ON g.queue_id = :queue_id AND g.key = w.key
LEFT JOIN item s ON s.queue_id = g.queue_id AND s.key = g.key
LEFT JOIN item t ON t.queue_id = g.queue_id AND t.key = g.gate;

-- name: groups_in_turn
-- The next groups that may have room, in their order, with the first ready jobs of each.
SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.created, g.inv_prio, g.load, g.turn,
    g.arrival, s.sealed, t.sealed, j.uid, j.sealed, j.said, j.place, j.inv_prio, j.arrival
FROM (
    SELECT *
    FROM grp g
    WHERE g.queue_id = :queue_id AND g.inv_prio IS NOT NULL
        AND (g.inv_prio, g.load, g.turn, g.arrival) > (:inv_prio, :load::text::float8, :turn, :arrival)
        AND g.running < coalesce(g.most, :most)
    ORDER BY g.inv_prio, g.load, g.turn, g.arrival
    LIMIT :groups
) g
LEFT JOIN item s ON s.queue_id = g.queue_id AND s.key = g.key
LEFT JOIN item t ON t.queue_id = g.queue_id AND t.key = g.gate
LEFT JOIN LATERAL (
    SELECT uid, sealed, said, place, inv_prio, arrival
    FROM job
    WHERE queue_id + 0 = :queue_id AND grp = g.key AND place = 0 AND coalesce(due_wall > :wall, true)
    ORDER BY inv_prio, arrival
    LIMIT :each
    FOR UPDATE
) j ON true
ORDER BY g.inv_prio, g.load, g.turn, g.arrival, j.inv_prio, j.arrival;

-- name: ready_jobs_of_group
-- The next ready jobs of a group.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM job
WHERE queue_id + 0 = :queue_id AND grp = :key AND place = 0 AND (inv_prio, arrival) > (:inv_prio, :arrival)
    AND coalesce(due_wall > :wall, true)
ORDER BY inv_prio, arrival
LIMIT :most
FOR UPDATE;

-- name: ready_jobs_without_group
-- The next ready jobs without a group.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM job
WHERE queue_id = :queue_id AND place = 0 AND (inv_prio, arrival) > (:inv_prio, :arrival) AND grp IS NULL
    AND coalesce(due_wall > :wall, true)
ORDER BY inv_prio, arrival
LIMIT :most
FOR UPDATE;

-- name: delayed_jobs_of_group
-- The first delayed jobs of a group.
SELECT uid, inv_prio, arrival
FROM job
WHERE queue_id + 0 = :queue_id AND grp = :key AND place = 1
ORDER BY inv_prio, arrival
LIMIT :most;

-- name: tagged_jobs_of_groups
-- The ready jobs of groups, or without one, that have all `tags`, of which `tag` is one: the first of each group. The
-- keys of groups that have no room are left out.
SELECT key, uid, sealed, said, place, inv_prio, arrival
FROM (
    SELECT coalesce(j.grp, '') AS key, j.uid, j.sealed, j.said, j.place, j.inv_prio, j.arrival,
        row_number() OVER (PARTITION BY j.grp ORDER BY j.inv_prio, j.arrival) AS n
    FROM tag t
    JOIN job j USING (queue_id, uid)
    LEFT JOIN grp g ON g.queue_id = j.queue_id AND g.key = j.grp
    WHERE t.queue_id = :queue_id AND t.tag = :tag
        AND (
            SELECT count(*)
            FROM tag o
            WHERE o.queue_id = t.queue_id AND o.tag = ANY(:tags::bytea[]) AND o.inv_prio = t.inv_prio
                AND o.arrival = t.arrival AND o.uid = t.uid
        ) = :tag_count
        AND j.place = 0 AND coalesce(j.due_wall > :wall, true)
        AND (
            g.key IS NULL OR g.key = ANY(:changed::bytea[])
            OR (g.inv_prio IS NOT NULL AND g.running < coalesce(g.most, :most))
        )
) r
WHERE n <= :each
ORDER BY inv_prio, arrival;

-- name: lock_ready_jobs
-- Locks jobs before they are claimed; returns those that are still ready.
SELECT uid FROM job WHERE queue_id = :queue_id AND uid = ANY(:uids::text[]) AND place = 0 ORDER BY uid FOR UPDATE;

-- name: make_groups
-- Makes the rows of groups that have none. A new group comes after those that were served.
INSERT INTO grp (queue_id, key, gate, sealed, served)
SELECT n.queue_id, n.key, n.gate, n.sealed,
    coalesce((SELECT turn FROM grp l WHERE l.queue_id = n.queue_id AND l.key = ''), 0)
FROM unnest(:queue_ids::bigint[], :keys::bytea[], :gates::bytea[], :sealed::bytea[]) AS n (queue_id, key, gate, sealed)
ORDER BY 1, 2
ON CONFLICT DO NOTHING;

-- name: change_groups
-- Adds to the counts of groups, and writes the turns of those that were served. A group that gets its first job comes
-- after those that were served.
UPDATE grp g
SET ready = g.ready + n.ready, delayed = g.delayed + n.delayed, running = g.running + n.running,
    failed = g.failed + n.failed,
    served = CASE
        WHEN n.served > 0 THEN n.served
        WHEN g.key <> '' AND g.ready + g.delayed + g.running = 0
            AND (SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])) = 0
            THEN greatest(g.served, (SELECT turn FROM grp l WHERE l.queue_id = g.queue_id AND l.key = ''))
        ELSE g.served
    END
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:keys::bytea[]) AS key, unnest(:ready::bigint[]) AS ready,
        unnest(:delayed::bigint[]) AS delayed, unnest(:running::bigint[]) AS running,
        unnest(:failed::bigint[]) AS failed, unnest(:served::bigint[]) AS served
) n
WHERE g.queue_id = n.queue_id AND g.key = n.key;

-- name: set_up_groups
-- Writes the settings of groups that are used in order.
UPDATE grp g
SET most = n.most, weight = n.weight
FROM (
    SELECT unnest(:keys::bytea[]) AS key, unnest(:most::bigint[]) AS most, unnest(:weights::bigint[]) AS weight
) n
WHERE g.queue_id = :queue_id AND g.key = n.key;

-- name: place_groups
-- Places groups in the order of turns by their first ready job. In strict order a group has no place while one of its
-- jobs is in progress, or an earlier one is delayed.
UPDATE grp g
SET inv_prio = n.inv_prio, arrival = n.arrival, created = n.created,
    load = CASE WHEN :fair::bigint = 1 THEN g.running::float8 / g.weight ELSE 0 END,
    turn = CASE WHEN :fair::bigint = 1 THEN g.served ELSE 0 END
FROM (
    SELECT w.key, f.inv_prio, f.arrival, f.created
    FROM (SELECT unnest(:keys::bytea[]) AS key OFFSET 0) w
    LEFT JOIN LATERAL (
        SELECT first.*
        FROM (
            SELECT inv_prio, arrival, created
            FROM job
            WHERE queue_id + 0 = :queue_id AND grp = w.key AND place = 0
            ORDER BY inv_prio, arrival
            LIMIT 1
        ) first
        WHERE :strict::bigint = 0 OR NOT (
            EXISTS (SELECT FROM job WHERE queue_id + 0 = :queue_id AND grp = w.key AND place = 2)
            OR EXISTS (
                SELECT
                FROM job d
                WHERE d.queue_id + 0 = :queue_id AND d.grp = w.key AND d.place = 1
                    AND (d.inv_prio, d.arrival) < (first.inv_prio, first.arrival)
            )
        )
    ) f ON true
) n
WHERE g.queue_id = :queue_id AND g.key = n.key;

-- name: delete_empty_groups
-- Removes groups that have neither jobs nor settings nor a gate.
DELETE FROM grp g
WHERE g.queue_id = :queue_id AND g.key = ANY(:keys::bytea[]) AND g.key <> ''
    AND g.ready = 0 AND g.delayed = 0 AND g.running = 0 AND g.failed = 0
    AND (SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])) = 0;

-- name: begin_ungrouped
-- Records that all transactions know that the queue has flow: from now on there is a start of the ready jobs without a
-- group.
INSERT INTO grp (queue_id, key, gate, sealed, start_prio, start_arrival)
VALUES (:queue_id, '', '', '', :inv_prio, :arrival)
ON CONFLICT (queue_id, key) DO UPDATE SET start_prio = excluded.start_prio, start_arrival = excluded.start_arrival;

-- name: move_ungrouped_start
-- Moves the start of the ready jobs without a group forward.
UPDATE grp
SET start_prio = :inv_prio, start_arrival = :arrival
WHERE queue_id = :queue_id AND key = '' AND start_prio IS NOT NULL;

-- name: set_ungrouped_start_back
-- Sets it back to a job that became ready before it.
UPDATE grp
SET start_prio = :inv_prio, start_arrival = :arrival
WHERE queue_id = :queue_id AND key = '' AND (start_prio, start_arrival) > (:inv_prio, :arrival);

-- name: renew_ungrouped
-- Lets the jobs without a group come after the groups that were served, if there were none before `added` were added.
UPDATE grp g
SET served = g.turn
WHERE g.queue_id = :queue_id AND g.key = '' AND g.ready + g.delayed + g.running + :added >= (
    SELECT coalesce(sum(jobs), 0) FROM tally WHERE queue_id = :queue_id AND place = ANY(ARRAY[0, 1, 2])
);

-- name: note_turn
-- Writes the last turn, and that of the jobs without a group, unless it is 0.
UPDATE grp
SET turn = :turn, served = CASE WHEN :served::bigint > 0 THEN :served ELSE served END
WHERE queue_id = :queue_id AND key = '';

-- name: list_group_keys
-- The keys of all groups of a queue.
SELECT key FROM grp WHERE queue_id = :queue_id AND key <> '' ORDER BY key;

-- name: count_claimable
-- How many jobs could be claimed of groups without settings and gates, and when the oldest of their first jobs was
-- added.
SELECT coalesce(sum(n.claimable), 0)::bigint, min(g.created) FILTER (WHERE n.claimable > 0)
FROM grp g, LATERAL (
    SELECT greatest(0, least(
        CASE WHEN :strict::bigint = 1 THEN (g.inv_prio IS NOT NULL)::int ELSE g.ready END, :most - g.running, :claims
    )) AS claimable
) n
WHERE g.queue_id = :queue_id AND g.key <> '' AND g.ready > 0 AND (:holds::bigint = 0 OR g.failed = 0)
    AND (SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])) = 0;

-- name: groups_with_items
-- The groups with settings or gates that have ready jobs.
SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.created, g.inv_prio, g.load, g.turn,
    g.arrival, s.sealed, t.sealed
FROM grp g
LEFT JOIN item s ON s.queue_id = g.queue_id AND s.key = g.key
LEFT JOIN item t ON t.queue_id = g.queue_id AND t.key = g.gate
WHERE g.queue_id = :queue_id AND g.key <> '' AND g.ready > 0 AND (s.key IS NOT NULL OR t.key IS NOT NULL);

-- name: page_of_groups
-- A page of groups by one of their numbers, the largest first.
SELECT p.*, s.sealed, t.sealed, p.number
FROM (
    SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.created, g.inv_prio, g.load, g.turn,
        g.arrival, g.gate, g.queue_id, n.number
    FROM grp g, LATERAL (
        SELECT CASE :sort
            WHEN 'queued' THEN g.ready + g.delayed
            WHEN 'in_progress' THEN g.running
            ELSE -coalesce((
                SELECT j.created
                FROM job j
                WHERE j.queue_id + 0 = g.queue_id AND j.grp = g.key AND j.place = 0
                ORDER BY j.inv_prio, j.arrival
                LIMIT 1
            ), 4611686018427387904)
        END AS number
    ) n
    WHERE g.queue_id = :queue_id AND g.key <> '' AND (-n.number, g.key) > (:number, :key)
        AND (
            g.ready + g.delayed + g.running > 0 OR (:holds::bigint = 1 AND g.failed > 0)
            OR (SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])) > 0
        )
    ORDER BY -n.number, g.key
    LIMIT :most
) p
LEFT JOIN item s ON s.queue_id = p.queue_id AND s.key = p.key
LEFT JOIN item t ON t.queue_id = p.queue_id AND t.key = p.gate
ORDER BY -p.number, p.key;

-- name: count_ahead_in_group
-- How many jobs in these places come before a rank in a group.
SELECT count(*)
FROM job
WHERE queue_id + 0 = :queue_id AND grp = :key AND place = ANY(:places::bigint[])
    AND (inv_prio, arrival) < (:inv_prio, :arrival);

-- name: first_jobs_of_group
-- The first jobs of a group that are in these places.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM job
WHERE queue_id + 0 = :queue_id AND grp = :key AND place = ANY(:places::bigint[])
ORDER BY inv_prio, arrival
LIMIT :most;

-- name: first_jobs_in_progress
-- The first jobs in progress of a queue.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM job
WHERE queue_id = :queue_id AND place = 2
ORDER BY inv_prio, arrival
LIMIT :most;

-- name: jobs_of_lost_groups
-- A job of each group that has no row.
SELECT DISTINCT ON (j.grp) j.uid, j.sealed, j.said
FROM job j
WHERE j.queue_id + 0 = :queue_id AND j.grp IS NOT NULL AND j.place >= 0
    AND NOT EXISTS (SELECT FROM grp g WHERE g.queue_id = j.queue_id AND g.key = j.grp)
ORDER BY j.grp;

-- name: recount_groups
-- Counts the jobs of all groups of a queue, and corrects wrong counts; returns how many groups had any.
WITH counted AS (
    SELECT g.key, count(*) FILTER (WHERE j.place = 0) AS ready, count(*) FILTER (WHERE j.place = 1) AS delayed,
        count(*) FILTER (WHERE j.place = 2) AS running, count(*) FILTER (WHERE j.place = 4) AS failed
    FROM grp g
    LEFT JOIN job j ON j.queue_id + 0 = g.queue_id AND j.grp = g.key AND j.place >= 0
    WHERE g.queue_id = :queue_id AND g.key <> ''
    GROUP BY g.key
), total AS (
    SELECT * FROM counted
    UNION ALL
    SELECT '', coalesce(sum(ready), 0), coalesce(sum(delayed), 0), coalesce(sum(running), 0), coalesce(sum(failed), 0)
    FROM counted
), corrected AS (
    UPDATE grp g
    SET ready = t.ready, delayed = t.delayed, running = t.running, failed = t.failed
    FROM total t
    WHERE g.queue_id = :queue_id AND g.key = t.key
        AND (g.ready, g.delayed, g.running, g.failed) IS DISTINCT FROM (t.ready, t.delayed, t.running, t.failed)
    RETURNING g.key
)
SELECT count(*) FROM corrected;

-- name: correct_settings_of_groups
-- Writes what groups use in order of their settings, where it is wrong; `keys` are those of all groups with settings.
-- Returns how many were wrong.
WITH corrected AS (
    UPDATE grp g
    SET most = n.most, weight = n.weight
    FROM (
        SELECT o.key, s.most, coalesce(s.weight, 1) AS weight
        FROM grp o
        LEFT JOIN unnest(:keys::bytea[], :most::bigint[], :weights::bigint[]) AS s (key, most, weight) USING (key)
        WHERE o.queue_id = :queue_id AND o.key <> ''
    ) n
    WHERE g.queue_id = :queue_id AND g.key = n.key AND (g.most, g.weight) IS DISTINCT FROM (n.most, n.weight)
    RETURNING g.key
)
SELECT count(*) FROM corrected;

-- name: forget_ungrouped_start
-- Lets the ready jobs without a group be found from the first of the queue on.
UPDATE grp SET start_prio = :inv_prio, start_arrival = :arrival
WHERE queue_id = :queue_id AND key = '' AND start_prio IS NOT NULL;

-- name: insert_jobs_of_groups
-- Adds jobs of a queue with flow.
INSERT INTO job
    (queue_id, uid, place, due, due_wall, updated, unique_key, bytes, inv_prio, arrival, created, sealed, grp)
SELECT unnest(:queue_ids::bigint[]), unnest(:uids::text[]), unnest(:places::bigint[]), unnest(:dues::bigint[]),
    unnest(:due_walls::bigint[]), unnest(:updated::bigint[]), unnest(:unique_keys::bytea[]), unnest(:bytes::bigint[]),
    unnest(:inv_prios::bigint[]), unnest(:arrivals::bigint[]), unnest(:created::bigint[]), unnest(:sealed::bytea[]),
    unnest(:groups::bytea[]);

-- name: renew_jobs_of_groups
-- Writes jobs of a queue with flow whose fixed half has changed.
UPDATE job j
SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = n.unique_key,
    bytes = n.bytes, inv_prio = n.inv_prio, arrival = n.arrival, created = n.created, sealed = n.sealed, said = NULL,
    grp = n.grp
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:inv_prios::bigint[]) AS inv_prio,
        unnest(:arrivals::bigint[]) AS arrival, unnest(:created::bigint[]) AS created,
        unnest(:sealed::bytea[]) AS sealed, unnest(:groups::bytea[]) AS grp
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;

-- name: move_jobs_of_groups
-- Writes jobs of a queue with flow of which only the standing has changed.
UPDATE job j
SET place = n.place, due = n.due, due_wall = n.due_wall, updated = n.updated, unique_key = n.unique_key,
    bytes = n.bytes, said = n.said, grp = n.grp
FROM (
    SELECT unnest(:queue_ids::bigint[]) AS queue_id, unnest(:uids::text[]) AS uid, unnest(:places::bigint[]) AS place,
        unnest(:dues::bigint[]) AS due, unnest(:due_walls::bigint[]) AS due_wall,
        unnest(:updated::bigint[]) AS updated, unnest(:unique_keys::bytea[]) AS unique_key,
        unnest(:bytes::bigint[]) AS bytes, unnest(:said::bytea[]) AS said, unnest(:groups::bytea[]) AS grp
) n
WHERE j.queue_id = n.queue_id AND j.uid = n.uid;
