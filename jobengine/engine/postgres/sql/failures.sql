-- The failures of queues by fingerprint.

-- name: set_failures
-- Adds the failures of jobs, or replaces those that they had before.
INSERT INTO failure AS f
SELECT * FROM unnest(:queue_ids::bigint[], :uids::text[], :keys::bytea[], :ats::bigint[])
ON CONFLICT (queue_id, uid) DO UPDATE SET key = excluded.key, at = excluded.at;

-- name: delete_failures
-- Removes the failures of jobs that are not failed any more.
DELETE FROM failure f
USING unnest(:queue_ids::bigint[], :uids::text[]) AS n (queue_id, uid)
WHERE f.queue_id = n.queue_id AND f.uid = n.uid;

-- name: list_failures
-- The groups after a position, the largest first, out of the `limited` largest; and the number of jobs in the other
-- groups.
WITH listed AS (
    SELECT key, count(*) AS jobs, min(at) AS first, sum(count(*)) OVER () AS total
    FROM failure
    WHERE queue_id = :queue_id
    GROUP BY key
    ORDER BY jobs DESC, key
    LIMIT :limited
)
SELECT key, jobs, first, (total - (SELECT sum(jobs) FROM listed))::bigint
FROM listed
WHERE jobs < :jobs OR jobs = :jobs AND key > :key
ORDER BY jobs DESC, key
LIMIT :most;

-- name: latest_failures
-- Of each of these groups, the jobs that failed last.
SELECT k.key, l.uid
FROM unnest(:keys::bytea[]) WITH ORDINALITY AS k (key, number),
    LATERAL (
        SELECT uid, at FROM failure WHERE queue_id = :queue_id AND key = k.key ORDER BY at DESC, uid DESC LIMIT :most
    ) l
ORDER BY k.number, l.at DESC, l.uid DESC;

-- name: count_failures_by_minute
-- The number of failures in each minute from a time on, for each of these groups.
SELECT key, at / 60000, count(*)
FROM failure
WHERE queue_id = :queue_id AND key = ANY(:keys::bytea[]) AND at >= :since
GROUP BY 1, 2;

-- name: count_alike
-- The number of failures of a group, and the time of the first.
SELECT count(*), min(at) FROM failure WHERE queue_id = :queue_id AND key = :key;

-- name: count_failures
-- The number of groups, and of those that began after a time, both at most `most`: two look-ups in the index for each
-- group, however large it is. If there are more groups, all failures are read to count the
-- new groups.
WITH RECURSIVE groups AS (
    (SELECT key, at, 1 AS number FROM failure WHERE queue_id = :queue_id ORDER BY key, at LIMIT 1)
    UNION ALL
    SELECT n.key, n.at, g.number + 1
    FROM groups g,
        LATERAL (
            SELECT key, at FROM failure WHERE queue_id = :queue_id AND key > g.key ORDER BY key, at LIMIT 1
        ) n
    WHERE g.number <= :most
)
SELECT least(count(*), :most), CASE
        WHEN count(*) <= :most THEN count(*) FILTER (WHERE at > :since)
        ELSE (
            SELECT count(*)
            FROM (SELECT FROM failure WHERE queue_id = :queue_id GROUP BY key HAVING min(at) > :since LIMIT :most) n
        )
    END
FROM groups;

-- name: list_failure_rows
-- All failures of these queues.
SELECT queue_id, uid, key, at FROM failure WHERE queue_id = ANY(:queue_ids::bigint[]);

-- name: list_possible_failures
-- The failed jobs (place 4), and those that are queued in a queue with retrying jobs (count 5).
SELECT queue_id, uid, sealed, said, place
FROM job
WHERE place = 4 OR place IN (0, 1, 12) AND queue_id IN (
    SELECT queue_id FROM tally WHERE place = 5 GROUP BY queue_id HAVING sum(jobs) > 0
);
