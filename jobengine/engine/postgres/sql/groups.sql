-- Groups of queues with flow: their counts and places in turn (see group_rows.py). The row with the empty key is for
-- the jobs without a group; the tally counts the jobs of all groups as places 7 to 9.
--
-- `queue_id + 0`, the first column of the index job_group, keeps PostgreSQL from using an index that leads past the
-- jobs of all groups. The index job_group has no jobs in progress (2): job_order finds them, among those of the whole
-- queue. With `count(*)` instead of EXISTS, PostgreSQL finds the items of a group by their keys.

-- name: lock_flow
-- Waits for locks on queues with flow, shared or exclusive. The numbers are sorted, so there is no deadlock.
SELECT count(pg_advisory_xact_lock(number)) FILTER (WHERE alone = 1),
    count(pg_advisory_xact_lock_shared(number)) FILTER (WHERE alone = 0)
FROM unnest((SELECT :numbers::bigint[]), :alone::bigint[]) AS n (number, alone);

-- name: writers_under_way
-- The transactions of this database that have a number.
SELECT coalesce(string_agg(pid || ' ' || backend_xid::text, ','), '')
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL;

-- name: lock_ungrouped
-- Waits until no other transaction claims jobs without a group, or makes such jobs ready.
SELECT FROM grp WHERE queue_id = :queue_id AND key = '' FOR UPDATE;

-- name: read_flow
-- The number of ready, delayed and running jobs of a queue, and of all its groups together; the turn of the jobs
-- without a group, the start of the ready ones among them, and the queue's gate.
SELECT t.*, coalesce(g.served, 0), g.start_prio, g.start_arrival, i.sealed
FROM (
    SELECT coalesce(sum(jobs) FILTER (WHERE place = 0), 0)::bigint,
        coalesce(sum(jobs) FILTER (WHERE place = ANY(ARRAY[1, 12])), 0)::bigint,
        coalesce(sum(jobs) FILTER (WHERE place = 2), 0)::bigint,
        coalesce(sum(jobs) FILTER (WHERE place = 7), 0)::bigint,
        coalesce(sum(jobs) FILTER (WHERE place = 8), 0)::bigint,
        coalesce(sum(jobs) FILTER (WHERE place = 9), 0)::bigint
    FROM tally
    WHERE queue_id = :queue_id AND place = ANY(ARRAY[0, 1, 2, 7, 8, 9, 12])
) t
LEFT JOIN grp g ON g.queue_id = :queue_id AND g.key = ''
LEFT JOIN item i ON i.queue_id = :queue_id AND i.key = :gate;

-- name: next_turn
-- The number of the first turn of a batch.
SELECT nextval('batch') << 20;

-- name: read_groups
-- Groups by their keys, with their settings and gates.
SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.rev, g.inv_prio, g.load, g.turn,
    g.arrival, s.sealed, t.sealed
FROM unnest((SELECT :keys::bytea[])) AS w (key)
JOIN grp g ON g.queue_id = :queue_id AND g.key = w.key
LEFT JOIN item s ON s.queue_id = g.queue_id AND s.key = g.key
LEFT JOIN item t ON t.queue_id = g.queue_id AND t.key = g.gate;

-- name: groups_in_turn
-- The next groups that may have room, in their order. The first ready jobs of each group are locked: only one if the
-- group's second ready job comes after all these groups, otherwise as many as a claim of `jobs` needs if it takes
-- equally many of each group. The second ready job is read from the index without a lock. If the queue has no items, or
-- the group never had a gate, NULL stands for the key of the item, which saves a search.
WITH next AS MATERIALIZED (
    SELECT *
    FROM grp g
    WHERE g.queue_id = :queue_id AND g.inv_prio IS NOT NULL
        AND (g.inv_prio, g.load, g.turn, g.arrival) > (:inv_prio, :load::text::float8, :turn, :arrival)
        AND g.running < coalesce(g.most, :most)
    ORDER BY g.inv_prio, g.load, g.turn, g.arrival
    LIMIT :groups
), last AS MATERIALIZED (
    SELECT inv_prio, load, arrival, (SELECT count(*) FROM next) AS number
    FROM next
    ORDER BY inv_prio DESC, load DESC, turn DESC, arrival DESC
    LIMIT 1
)
SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.rev, g.inv_prio, g.load, g.turn,
    g.arrival, i.sealed, t.sealed, s.inv_prio, s.arrival, s.created, s.uid, j.uid, j.sealed, j.said, j.place,
    j.inv_prio, j.arrival
FROM next g
CROSS JOIN last l
LEFT JOIN item i ON i.queue_id = g.queue_id AND i.key = CASE
    WHEN (SELECT count(*) FROM (SELECT FROM item WHERE queue_id = :queue_id LIMIT 1) one) > 0 THEN g.key
END
LEFT JOIN item t ON t.queue_id = g.queue_id AND t.key = nullif(g.gate, '')
LEFT JOIN LATERAL (
    SELECT uid, inv_prio, arrival, created
    FROM job
    WHERE queue_id + 0 = :queue_id AND grp = g.key AND place = 0 AND (inv_prio, arrival) >= (g.inv_prio, g.arrival)
    ORDER BY inv_prio, arrival
    OFFSET 1
    LIMIT 1
) s ON true
LEFT JOIN LATERAL (
    SELECT uid, sealed, said, place, inv_prio, arrival
    FROM job
    WHERE queue_id + 0 = :queue_id AND grp = g.key AND place = 0 AND (inv_prio, arrival) >= (g.inv_prio, g.arrival)
    ORDER BY inv_prio, arrival
    LIMIT CASE
        WHEN l.number = :groups AND (s.inv_prio > l.inv_prio OR (s.inv_prio = l.inv_prio AND CASE
            WHEN :fair::bigint = 1 THEN (g.running + 1)::float8 / g.weight >= l.load
            ELSE s.arrival > l.arrival
        END)) THEN 1
        ELSE least(:most, greatest(1, :jobs / l.number)) + 1
    END
    FOR UPDATE SKIP LOCKED
) j ON true
ORDER BY g.inv_prio, g.load, g.turn, g.arrival, j.inv_prio, j.arrival;

-- name: ready_jobs_of_group
-- The next ready jobs of a group.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM job
WHERE queue_id + 0 = :queue_id AND grp = :key AND place = 0 AND (inv_prio, arrival) > (:inv_prio, :arrival)
ORDER BY inv_prio, arrival
LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: ready_jobs_without_group
-- The next ready jobs without a group.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM job
WHERE queue_id = :queue_id AND place = 0 AND (inv_prio, arrival) > (:inv_prio, :arrival) AND grp IS NULL
ORDER BY inv_prio, arrival
LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: delayed_jobs_of_group
-- The first delayed jobs of a group.
SELECT uid, inv_prio, arrival
FROM job
WHERE queue_id + 0 = :queue_id AND grp = :key AND place = ANY(ARRAY[1, 12])
ORDER BY inv_prio, arrival
LIMIT :most;

-- name: tagged_jobs_of_groups
-- The first ready jobs of each group, and of those without a group, that have all `tags`, of which `tag` is one. Groups
-- without room are left out, except those in `changed`.
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
-- Locks jobs before they are claimed, but none that others have locked; returns those that are still ready.
SELECT uid
FROM job
WHERE queue_id = :queue_id AND uid = ANY(:uids::text[]) AND place = 0
FOR UPDATE SKIP LOCKED;

-- name: make_groups
-- Inserts the missing rows of groups, and names rows without a name. A new group comes after those that were served.
INSERT INTO grp AS g (queue_id, key, gate, sealed, served)
SELECT :queue_id, n.key, n.gate, n.sealed,
    coalesce((SELECT turn FROM grp l WHERE l.queue_id = :queue_id AND l.key = ''), 0)
FROM unnest((SELECT :keys::bytea[]), :gates::bytea[], :sealed::bytea[]) AS n (key, gate, sealed)
ORDER BY n.key
ON CONFLICT (queue_id, key) DO UPDATE
SET gate = excluded.gate, sealed = excluded.sealed
WHERE g.sealed = '' AND g.key <> '';

-- name: change_groups
-- Adds to the counts of groups, and inserts missing groups; only groups that may be missing are given with a name.
--
-- `served` is the turn in which a group was served, or NULL. A group that gets its first job comes after those that
-- were served. `inv_prio`, `arrival` and `created` are of the first job that became ready. But for a group that has
-- lost ready jobs and was read before (`rev` is its revision then), they are of the first ready job that is left, or
-- NULL if none is. If that job is not known, `created` is NULL, and the job is searched from the given rank on. If
-- others have changed the group since it was read, it gets the earlier of its present place and the new one, which is
-- not too late. `rev` and `served` pass through columns that only the row with the empty key uses. The keys of groups
-- that have no jobs any more are kept for delete_emptied_groups, in a setting of the transaction.
WITH changed AS (
    INSERT INTO grp AS g (
        queue_id, key, gate, sealed, ready, delayed, running, failed, served, start_arrival, start_prio, inv_prio,
        arrival, first_created, load, turn
    )
    SELECT :queue_id, n.key, coalesce(n.gate, ''), coalesce(n.sealed, ''), n.ready, n.delayed, n.running, n.failed,
        l.turn, n.served, n.rev,
        CASE WHEN n.created IS NULL THEN f.inv_prio ELSE n.inv_prio END,
        CASE WHEN n.created IS NULL THEN f.arrival ELSE n.arrival END,
        CASE WHEN n.created IS NULL THEN f.created ELSE n.created END,
        CASE WHEN :fair::bigint = 1 THEN n.running ELSE 0 END,
        CASE WHEN :fair::bigint = 1 THEN coalesce(n.served, l.turn) ELSE 0 END
    FROM (SELECT coalesce((SELECT turn FROM grp WHERE queue_id = :queue_id AND key = ''), 0) AS turn) l,
        unnest(
            (SELECT :keys::bytea[]), :gates::bytea[], :sealed::bytea[], :ready::bigint[], :delayed::bigint[],
            :running::bigint[], :failed::bigint[], :served::bigint[], :revs::bigint[], :inv_prios::bigint[],
            :arrivals::bigint[], :created::bigint[]
        ) AS n (key, gate, sealed, ready, delayed, running, failed, served, rev, inv_prio, arrival, created)
    LEFT JOIN LATERAL (
        SELECT j.inv_prio, j.arrival, j.created
        FROM job j
        WHERE n.created IS NULL AND n.inv_prio IS NOT NULL AND j.queue_id + 0 = :queue_id AND j.grp = n.key
            AND j.place = 0 AND (j.inv_prio, j.arrival) >= (n.inv_prio, n.arrival)
        ORDER BY j.inv_prio, j.arrival
        LIMIT 1
    ) f ON true
    ORDER BY n.key
    ON CONFLICT (queue_id, key) DO UPDATE
    SET ready = g.ready + excluded.ready, delayed = g.delayed + excluded.delayed,
        running = g.running + excluded.running, failed = g.failed + excluded.failed,
        rev = g.rev + (excluded.ready <> 0 OR excluded.inv_prio IS NOT NULL)::int,
        gate = CASE WHEN excluded.gate = '' THEN g.gate ELSE excluded.gate END,
        load = CASE WHEN :fair::bigint = 1 THEN (g.running + excluded.running)::float8 / g.weight ELSE 0 END,
        (served, turn) = (
            SELECT o.served, CASE WHEN :fair::bigint = 1 THEN o.served ELSE 0 END
            FROM (
                SELECT CASE
                    WHEN excluded.start_arrival IS NOT NULL THEN excluded.start_arrival
                    WHEN g.ready + g.delayed + g.running = 0 AND (
                        SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])
                    ) = 0 THEN greatest(g.served, excluded.served)
                    ELSE g.served
                END AS served
            ) o
        ),
        inv_prio = CASE
            WHEN excluded.start_prio = g.rev OR g.inv_prio IS NULL
                OR (excluded.inv_prio, excluded.arrival) < (g.inv_prio, g.arrival) THEN excluded.inv_prio
            ELSE g.inv_prio
        END,
        arrival = CASE
            WHEN excluded.start_prio = g.rev OR g.inv_prio IS NULL
                OR (excluded.inv_prio, excluded.arrival) < (g.inv_prio, g.arrival) THEN excluded.arrival
            ELSE g.arrival
        END,
        first_created = CASE
            WHEN excluded.start_prio = g.rev OR g.inv_prio IS NULL
                OR (excluded.inv_prio, excluded.arrival) < (g.inv_prio, g.arrival) THEN excluded.first_created
            ELSE g.first_created
        END
    RETURNING g.key, g.ready + g.delayed + g.running + g.failed AS jobs
)
SELECT set_config('jobengine.emptied', coalesce(array_agg(key) FILTER (WHERE jobs = 0), '{}')::text, true)
FROM changed;

-- name: update_groups
-- As change_groups, but faster: for groups that exist, whose number of unfinished jobs does not grow and, if they have
-- lost ready jobs, whose first ready job is known. With `n.queue_id` PostgreSQL looks up each given group in turn,
-- which is the order of locks; otherwise it might read all groups of the queue. The keys of groups that others have
-- changed since they were read are kept for place_misplaced_groups.
WITH changed AS (
    UPDATE grp g
    SET ready = g.ready + n.ready, delayed = g.delayed + n.delayed, running = g.running + n.running,
        failed = g.failed + n.failed, served = coalesce(n.served, g.served),
        rev = g.rev + (n.ready <> 0 OR n.inv_prio IS NOT NULL)::int,
        load = CASE WHEN :fair::bigint = 1 THEN (g.running + n.running)::float8 / g.weight ELSE 0 END,
        turn = CASE WHEN :fair::bigint = 1 THEN coalesce(n.served, g.served) ELSE 0 END,
        inv_prio = CASE
            WHEN n.rev = g.rev OR g.inv_prio IS NULL OR (n.inv_prio, n.arrival) < (g.inv_prio, g.arrival)
                THEN n.inv_prio
            ELSE g.inv_prio
        END,
        arrival = CASE
            WHEN n.rev = g.rev OR g.inv_prio IS NULL OR (n.inv_prio, n.arrival) < (g.inv_prio, g.arrival) THEN n.arrival
            ELSE g.arrival
        END,
        first_created = CASE
            WHEN n.rev = g.rev OR g.inv_prio IS NULL OR (n.inv_prio, n.arrival) < (g.inv_prio, g.arrival) THEN n.created
            ELSE g.first_created
        END
    FROM (
        SELECT :queue_id::bigint AS queue_id, unnest(:keys::bytea[]) AS key, unnest(:ready::bigint[]) AS ready,
            unnest(:delayed::bigint[]) AS delayed, unnest(:running::bigint[]) AS running,
            unnest(:failed::bigint[]) AS failed, unnest(:served::bigint[]) AS served, unnest(:revs::bigint[]) AS rev,
            unnest(:inv_prios::bigint[]) AS inv_prio, unnest(:arrivals::bigint[]) AS arrival,
            unnest(:created::bigint[]) AS created
    ) n
    WHERE g.queue_id = n.queue_id AND g.key = n.key
    RETURNING g.key, g.ready + g.delayed + g.running + g.failed AS jobs, g.rev <> n.rev + 1 AS is_misplaced
)
SELECT set_config('jobengine.emptied', coalesce(array_agg(key) FILTER (WHERE jobs = 0), '{}')::text, true),
    set_config('jobengine.misplaced', coalesce(array_agg(key) FILTER (WHERE is_misplaced), '{}')::text, true)
FROM changed;

-- name: place_misplaced_groups
-- Places the groups that update_groups has just changed and that other transactions had changed since they were read.
-- The groups are locked, and this statement sees all that was committed before.
UPDATE grp g
SET inv_prio = n.inv_prio, arrival = n.arrival, first_created = n.created, rev = g.rev + 1
FROM (
    SELECT w.queue_id, w.key, f.inv_prio, f.arrival, f.created
    FROM (
        SELECT :queue_id::bigint AS queue_id, unnest(current_setting('jobengine.misplaced')::bytea[]) AS key OFFSET 0
    ) w
    LEFT JOIN LATERAL (
        SELECT inv_prio, arrival, created
        FROM job
        WHERE queue_id + 0 = :queue_id AND grp = w.key AND place = 0
        ORDER BY inv_prio, arrival
        LIMIT 1
    ) f ON true
) n
WHERE g.queue_id = n.queue_id AND g.key = n.key;

-- name: set_up_groups
-- Writes the settings by which groups are ordered.
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
SET inv_prio = CASE WHEN :strict::bigint = 0 OR g.running = 0 THEN n.inv_prio END,
    arrival = CASE WHEN :strict::bigint = 0 OR g.running = 0 THEN n.arrival END,
    first_created = CASE WHEN :strict::bigint = 0 OR g.running = 0 THEN n.created END, rev = g.rev + 1,
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
        WHERE :strict::bigint = 0 OR NOT EXISTS (
            SELECT
            FROM job d
            WHERE d.queue_id + 0 = :queue_id AND d.grp = w.key AND d.place = ANY(ARRAY[1, 12])
                AND (d.inv_prio, d.arrival) < (first.inv_prio, first.arrival)
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

-- name: delete_emptied_groups
-- As delete_empty_groups, for the groups that change_groups or update_groups has just left without jobs.
DELETE FROM grp g
WHERE g.queue_id = :queue_id AND g.key = ANY(current_setting('jobengine.emptied')::bytea[]) AND g.key <> ''
    AND g.ready = 0 AND g.delayed = 0 AND g.running = 0 AND g.failed = 0
    AND (SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])) = 0;

-- name: begin_ungrouped
-- Records that all transactions know that the queue has flow: from now on there is a start of the ready jobs without a
-- group.
INSERT INTO grp (queue_id, key, gate, sealed, start_prio, start_arrival)
VALUES (:queue_id, '', '', '', :inv_prio, :arrival)
ON CONFLICT (queue_id, key) DO UPDATE SET start_prio = excluded.start_prio, start_arrival = excluded.start_arrival;

-- name: flow_is_known
-- 1 if all transactions know that the queue has flow.
SELECT count(*) FROM grp WHERE queue_id = :queue_id AND key = '' AND start_prio IS NOT NULL;

-- name: move_ungrouped_start
-- Moves the start of the ready jobs without a group forward, but not beyond a job that others have locked.
UPDATE grp g
SET (start_prio, start_arrival) = (
    SELECT coalesce(j.inv_prio, :inv_prio), coalesce(j.arrival, :arrival)
    FROM (SELECT) one
    LEFT JOIN LATERAL (
        SELECT inv_prio, arrival
        FROM job
        WHERE queue_id = :queue_id AND place = 0 AND (inv_prio, arrival) >= (g.start_prio, g.start_arrival)
            AND (inv_prio, arrival) < (:inv_prio, :arrival) AND grp IS NULL
        ORDER BY inv_prio, arrival
        LIMIT 1
    ) j ON true
)
WHERE queue_id = :queue_id AND key = '' AND start_prio IS NOT NULL;

-- name: set_ungrouped_start_back
-- Sets the start of the ready jobs without a group back to a job that became ready before it.
UPDATE grp
SET start_prio = :inv_prio, start_arrival = :arrival
WHERE queue_id = :queue_id AND key = '' AND (start_prio, start_arrival) > (:inv_prio, :arrival);

-- name: renew_ungrouped
-- If a queue had no jobs without a group, lets new ones come after the groups that were served. This statement is sent
-- before the new ones are counted.
UPDATE grp g
SET served = g.turn
WHERE g.queue_id = :queue_id AND g.key = '' AND 0 >= (
    SELECT coalesce(sum(CASE WHEN place = ANY(ARRAY[7, 8, 9]) THEN -jobs ELSE jobs END), 0)
    FROM tally
    WHERE queue_id = :queue_id AND place = ANY(ARRAY[0, 1, 2, 7, 8, 9, 12])
);

-- name: note_turn
-- Writes the last turn, and the turn of the jobs without a group unless that is 0.
UPDATE grp
SET turn = :turn, served = CASE WHEN :served::bigint > 0 THEN :served ELSE served END
WHERE queue_id = :queue_id AND key = '';

-- name: list_group_keys
-- The keys of all groups of a queue.
SELECT key FROM grp WHERE queue_id = :queue_id AND key <> '' ORDER BY key;

-- name: count_claimable
-- How many jobs of the groups without settings and gates could be claimed, and when the oldest of these groups' first
-- jobs was added.
SELECT coalesce(sum(n.claimable), 0)::bigint, min(g.first_created) FILTER (WHERE n.claimable > 0)
FROM grp g, LATERAL (
    SELECT greatest(0, least(
        CASE WHEN :strict::bigint = 1 THEN (g.inv_prio IS NOT NULL)::int ELSE g.ready END, :most - g.running, :claims
    )) AS claimable
) n
WHERE g.queue_id = :queue_id AND g.key <> '' AND g.ready > 0 AND (:holds::bigint = 0 OR g.failed = 0)
    AND (SELECT count(*) FROM item i WHERE i.queue_id = g.queue_id AND i.key = ANY(ARRAY[g.key, g.gate])) = 0;

-- name: groups_with_items
-- The groups with settings or gates that have ready jobs.
SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.rev, g.inv_prio, g.load, g.turn,
    g.arrival, s.sealed, t.sealed
FROM grp g
LEFT JOIN item s ON s.queue_id = g.queue_id AND s.key = g.key
LEFT JOIN item t ON t.queue_id = g.queue_id AND t.key = g.gate
WHERE g.queue_id = :queue_id AND g.key <> '' AND g.ready > 0 AND (s.key IS NOT NULL OR t.key IS NOT NULL);

-- name: page_of_groups
-- A page of groups by one of their numbers, the largest first.
SELECT p.*, s.sealed, t.sealed, p.number
FROM (
    SELECT g.key, g.sealed, g.ready, g.delayed, g.running, g.failed, g.served, g.rev, g.inv_prio, g.load, g.turn,
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
SELECT (
    SELECT count(*)
    FROM job
    WHERE queue_id + 0 = :queue_id AND grp = :key AND place <> 2 AND place = ANY(:places::bigint[])
        AND (inv_prio, arrival) < (:inv_prio, :arrival)
) + (
    SELECT count(*)
    FROM job
    WHERE queue_id = :queue_id AND grp = :key AND place = 2 AND 2 = ANY(:places::bigint[])
        AND (inv_prio, arrival) < (:inv_prio, :arrival)
);

-- name: first_jobs_of_group
-- The first jobs of a group that are in these places.
SELECT uid, sealed, said, place, inv_prio, arrival
FROM (
    SELECT *
    FROM job
    WHERE queue_id + 0 = :queue_id AND grp = :key AND place <> 2 AND place = ANY(:places::bigint[])
    UNION ALL
    SELECT *
    FROM job
    WHERE queue_id = :queue_id AND grp = :key AND place = 2 AND 2 = ANY(:places::bigint[])
) j
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
FROM (
    SELECT * FROM job WHERE queue_id + 0 = :queue_id AND grp IS NOT NULL AND place >= 0 AND place <> 2
    UNION ALL
    SELECT * FROM job WHERE queue_id = :queue_id AND grp IS NOT NULL AND place = 2
) j
WHERE NOT EXISTS (SELECT FROM grp g WHERE g.queue_id = j.queue_id AND g.key = j.grp AND g.sealed <> '')
ORDER BY j.grp;

-- name: recount_groups
-- Counts the jobs of each group of a queue, and corrects wrong counts; returns how many groups had wrong ones.
WITH counted AS (
    SELECT g.key, count(*) FILTER (WHERE j.place = 0) AS ready,
        count(*) FILTER (WHERE j.place = ANY(ARRAY[1, 12])) AS delayed,
        count(*) FILTER (WHERE j.place = 2) AS running, count(*) FILTER (WHERE j.place = 4) AS failed
    FROM grp g
    LEFT JOIN (
        SELECT grp, place FROM job WHERE queue_id + 0 = :queue_id AND grp IS NOT NULL AND place >= 0 AND place <> 2
        UNION ALL
        SELECT grp, place FROM job WHERE queue_id = :queue_id AND grp IS NOT NULL AND place = 2
    ) j ON j.grp = g.key
    WHERE g.queue_id = :queue_id
    GROUP BY g.key
), corrected AS (
    UPDATE grp g
    SET ready = t.ready, delayed = t.delayed, running = t.running, failed = t.failed
    FROM counted t
    WHERE g.queue_id = :queue_id AND g.key = t.key
        AND (g.ready, g.delayed, g.running, g.failed) IS DISTINCT FROM (t.ready, t.delayed, t.running, t.failed)
    RETURNING g.key
)
SELECT count(*) FROM corrected;

-- name: correct_settings_of_groups
-- Corrects the settings by which groups are ordered; `keys` are the keys of all groups with settings. Returns how many
-- were wrong.
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

-- name: recount_grouped
-- Counts the jobs of all groups of a queue, and corrects wrong counts in the tally.
INSERT INTO tally AS t (queue_id, slot, place, jobs)
SELECT :queue_id, :slot, n.place + 7, n.jobs - coalesce(h.jobs, 0)
FROM (
    -- Jobs that wait for others (12) count as delayed.
    SELECT p.place, count(j.place) AS jobs
    FROM (VALUES (0, 0), (1, 1), (1, 12), (2, 2)) AS p (place, its)
    LEFT JOIN (
        SELECT place FROM job WHERE queue_id + 0 = :queue_id AND grp IS NOT NULL AND place >= 0 AND place <> 2
        UNION ALL
        SELECT place FROM job WHERE queue_id = :queue_id AND grp IS NOT NULL AND place = 2
    ) j ON j.place = p.its
    GROUP BY p.place
) n
LEFT JOIN (SELECT place, sum(jobs) AS jobs FROM tally WHERE queue_id = :queue_id GROUP BY place) h
    ON h.place = n.place + 7
WHERE n.jobs <> coalesce(h.jobs, 0)
ORDER BY n.place
ON CONFLICT (queue_id, slot, place) DO UPDATE SET jobs = t.jobs + excluded.jobs;

-- name: forget_ungrouped_start
-- Moves the start of the ready jobs without a group back to before the queue's first job.
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
-- Writes jobs of a queue with flow whose spec has changed.
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
