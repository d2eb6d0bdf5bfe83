/** A job's whole life through types that openapi-typescript made of the schema. */

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

// The types are checked: wrong values are refused.
// @ts-expect-error
export const noUpdate: components["schemas"]["UpdateJob"] = 42;
// @ts-expect-error
export const noState: components["schemas"]["State"] = "done";

const [baseUrl, queue] = process.argv.slice(2) as [string, string];
const { GET, PUT, POST, DELETE } = createClient<paths>({ baseUrl, headers: { "X-Access-Key": "key" } });

/** The data of a good answer. */
function good<T>({ data, error }: { data?: T; error?: unknown }): T {
  assert.equal(error, undefined);
  assert(data !== undefined);
  return data;
}

async function count(): Promise<components["schemas"]["StateCounts"]> {
  return good(await GET("/api/v1/queue/stats", { params: { query: { name: queue } } })).counts;
}

await PUT("/api/v1/queue", { body: { name: queue, access_key: "key" } });
const job = { content: { to: "ada" }, priority: 5, tags: ["mail"], max_attempts: 2 };
const added = good(await PUT("/api/v1/job", { body: { queue_name: queue, job } }));
assert.deepEqual([added.state, added.content], ["queued", { to: "ada" }]);
const jobs = [1, 2, 3].map((n) => ({ content: { n } }));
const many = good(await PUT("/api/v1/jobs", { body: { queue_name: queue, jobs } })).jobs;
const which = { queueName: queue, jobUID: added.uid };

const next = good(await GET("/api/v1/job/next", { params: { query: { queueName: queue, markQueued: false } } }));
assert.deepEqual([next.uid, next.lease], [added.uid, undefined]);
const explained = good(await GET("/api/v1/job/explain", { params: { query: which } }));
assert.deepEqual([explained.state, explained.ahead], ["queued", 0]);

const claim = { queue_names: [queue], wait: 5, worker: "w", tags: ["mail"] };
const [claimed] = good(await POST("/api/v1/job/next", { body: claim })).jobs;
assert(claimed !== undefined);
assert.equal(claimed.uid, added.uid);
const held = { queue_name: queue, uid: claimed.uid, lease: claimed.lease };
const beat = good(await POST("/api/v1/job", { body: { ...held, new_status: "inprogress", progress: 50 } }));
assert.equal(beat.cancel_requested, false);
const done = good(await POST("/api/v1/job", { body: { ...held, new_status: "complete", result: { id: 7 } } }));
assert.deepEqual([done.state, done.result, done.history?.[0]?.outcome], ["complete", { id: 7 }, "complete"]);
const params = { header: { Prefer: "return=representation" } };
const again = await POST("/api/v1/job", { params, body: { queue_name: queue, uid: added.uid, new_status: "queued" } });
assert.equal(good(again).state, "queued");

const updates = [
  { uid: many[0]!.uid, new_status: "failed" as const, error: "no route" },
  { uid: "none", new_status: "complete" as const },
];
const changed = good(await POST("/api/v1/jobs", { body: { queue_name: queue, updates } }));
assert("results" in changed);
assert.deepEqual(changed.results.map((one) => [one.status, one.job?.state]), [[200, "failed"], [404, undefined]]);
const matching = { queue_name: queue, filter: { state: "failed" as const }, new_status: "queued" as const };
const matched = good(await POST("/api/v1/jobs", { body: matching }));
assert("matched" in matched);
assert.equal(matched.matched, 1);

const seen: string[] = [];
for (let cursor: string | undefined; ; ) {
  const query = { queueName: queue, state: "queued" as const, limit: 3, cursor };
  const page = good(await GET("/api/v1/jobs", { params: { query } }));
  seen.push(...page.jobs.map((one) => one.uid));
  if (page.next_cursor === null) break;
  cursor = page.next_cursor;
}
assert.deepEqual(seen.sort(), [added.uid, ...many.map((one) => one.uid)].sort());
assert.deepEqual(await count(), { queued: 4, inprogress: 0, complete: 0, failed: 0 });

await DELETE("/api/v1/job", { params: { query: which } });
const { error: gone, response } = await GET("/api/v1/job", { params: { query: which } });
assert.deepEqual([response.status, gone?.status, gone?.title], [404, 404, "Not Found"]);
assert.equal(good(await DELETE("/api/v1/jobs", { params: { query: { queueName: queue, all: true, dry_run: true } } })).matched, 3);
assert.equal((await DELETE("/api/v1/queue", { params: { query: { name: queue } } })).response.status, 204);
console.log("lived");
