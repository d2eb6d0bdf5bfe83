/** A job's whole life through the client that @hey-api/openapi-ts made of the schema. */

import assert from "node:assert/strict";
import { client } from "./client/client.gen.js";
import * as api from "./client/index.js";

// The types are checked: wrong values are refused.
// @ts-expect-error
export const noUpdate: api.UpdateJob = 42;
// @ts-expect-error
export const noState: api.State = "done";

const [baseUrl, queue] = process.argv.slice(2) as [string, string];
client.setConfig({ baseUrl, throwOnError: true, auth: ({ name }) => (name === "X-Access-Key" ? "key" : undefined) });

/** The data of a good answer. */
function good<T>({ data }: { data: T | undefined }): T {
  assert(data !== undefined);
  return data;
}

await api.createQueue({ body: { name: queue, access_key: "key" } });
const job: api.NewJob = { content: { to: "ada" }, priority: 5, tags: ["mail"], max_attempts: 2 };
const added: api.Job = good(await api.addJob({ body: { queue_name: queue, job } }));
assert.deepEqual([added.state, added.content], ["queued", { to: "ada" }]);
const jobs = [1, 2, 3].map((n) => ({ content: { n } }));
const many = good(await api.addJobs({ body: { queue_name: queue, jobs } })).jobs;
const which = { queueName: queue, jobUID: added.uid };

const next = good(await api.nextJob({ query: { queueName: queue, markQueued: false } }));
assert(next);
assert.deepEqual([next.uid, next.lease], [added.uid, undefined]);
const explained = good(await api.explainJob({ query: which }));
assert.deepEqual([explained.state, explained.ahead], ["queued", 0]);

const claims = good(await api.claimJobs({ body: { queue_names: [queue], wait: 5, worker: "w", tags: ["mail"] } }));
assert(claims);
const claimed: api.ClaimedJob | undefined = claims.jobs[0];
assert(claimed);
assert.equal(claimed.uid, added.uid);
const held = { queue_name: queue, uid: claimed.uid, lease: claimed.lease };
const beat = good(await api.updateJob({ body: { ...held, new_status: "inprogress", progress: 50 } }));
assert.equal(beat.cancel_requested, false);
const done = good(await api.updateJob({ body: { ...held, new_status: "complete", result: { id: 7 } } }));
assert.deepEqual([done.state, done.result, done.history?.[0]?.outcome], ["complete", { id: 7 }, "complete"]);
const headers = { Prefer: "return=representation" };
const again = await api.updateJob({ headers, body: { queue_name: queue, uid: added.uid, new_status: "queued" } });
assert.equal(good(again).state, "queued");

const updates: api.JobUpdate[] = [
  { uid: many[0]!.uid, new_status: "failed", error: "no route" },
  { uid: "none", new_status: "complete" },
];
const changed = good(await api.updateJobs({ body: { queue_name: queue, updates } }));
assert("results" in changed);
assert.deepEqual(changed.results.map((one) => [one.status, one.job?.state]), [[200, "failed"], [404, undefined]]);
const matching: api.UpdateMatchingJobs = { queue_name: queue, filter: { state: "failed" }, new_status: "queued" };
const matched = good(await api.updateJobs({ body: matching }));
assert("matched" in matched);
assert.equal(matched.matched, 1);

const seen: string[] = [];
for (let cursor: string | undefined; ; ) {
  const page: api.JobPage = good(await api.listJobs({ query: { queueName: queue, state: "queued", limit: 3, cursor } }));
  seen.push(...page.jobs.map((one) => one.uid));
  if (page.next_cursor === null) break;
  cursor = page.next_cursor;
}
assert.deepEqual(seen.sort(), [added.uid, ...many.map((one) => one.uid)].sort());
const stats = good(await api.readStats({ query: { name: queue } }));
assert.deepEqual(stats.counts, { queued: 4, inprogress: 0, complete: 0, failed: 0 });

await api.deleteJob({ query: which });
const gone = await api.readJob({ query: which, throwOnError: false });
const problem: api.Problem | undefined = gone.error;
assert.deepEqual([gone.response?.status, problem?.status, problem?.title], [404, 404, "Not Found"]);
assert.equal(good(await api.deleteJobs({ query: { queueName: queue, all: true, dry_run: true } })).matched, 3);
const { response } = await api.deleteQueue({ query: { name: queue } });
assert.equal(response.status, 204);
console.log("lived");
