-- Export, import and recount.

-- name: list_queues
-- All queues in the order in which they were made.
SELECT id, rev, name_digest, sealed FROM queue ORDER BY id;

-- name: read_ahead
-- By how many milliseconds the wall clock is ahead of elapsed time.
SELECT ahead FROM meta;

-- name: count_all_jobs
-- How many jobs these queues have together.
SELECT coalesce(sum(jobs), 0)::bigint
FROM tally
WHERE queue_id = ANY(:queue_ids::bigint[]) AND place = ANY(:places::bigint[]);

-- name: list_jobs
-- All jobs, read from the table's first row on.
SELECT queue_id, uid, sealed, said, place FROM job;

-- name: list_queue_jobs
-- All jobs of a queue.
SELECT queue_id, uid, sealed, said, place FROM job WHERE queue_id = :queue_id;

-- name: lock_for_import
-- Prevents others from creating queues until the commit, and reads whether there are queues.
SELECT ahead, EXISTS (SELECT FROM queue) FROM meta FOR UPDATE OF meta;

-- name: advance_arrivals
-- Lets jobs that are added from now on come after imported jobs.
SELECT setval('batch', :batch)
WHERE :batch >= (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM batch);

-- name: list_counted_jobs
-- All jobs that were not set apart as damaged.
SELECT queue_id, uid, sealed, said, place FROM job WHERE place >= 0;

-- name: read_tally
-- How many jobs queues have in each place, as counted.
SELECT queue_id, place, sum(jobs)
FROM tally
WHERE queue_id = ANY(:queue_ids::bigint[]) AND place = ANY(:places::bigint[])
GROUP BY 1, 2;

-- name: mark_recounted
-- Records that the marks of damaged jobs are no longer counted: see rows.MARKS_RECOUNTED.
UPDATE job
SET place = place + :mark
WHERE queue_id = ANY(:queue_ids::bigint[]) AND place > :mark AND place < 0;

-- name: delete_stray_counts
-- Removes the corrections of queues that were deleted during the recount. Their numbers are not used again.
DELETE FROM tally WHERE slot = :slot AND NOT EXISTS (SELECT FROM queue WHERE id = queue_id);
