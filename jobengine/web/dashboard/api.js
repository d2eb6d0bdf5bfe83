// The calls of the public API. Each returns the JSON of the answer, or raises Refused or NoAnswer.

import { connection } from './connection.js';
import { asHeader, session } from './session.js';
import { inWordsOf } from './words.js';

/** The server refused the call; the message is its detail in the words of the dashboard. */
export class Refused extends Error {
  constructor(status, problem) {
    super(inWordsOf(status, problem.detail ?? `The server answered ${status}.`));
    this.status = status;
    /** The server's own text, which begins with the name of the wrong field, if a field is wrong. */
    this.detail = problem.detail ?? '';
  }
}

/** The input can't be used; the message says why. */
export class Wrong extends Error {}

/** There was no answer; a change may have been made nevertheless. */
export class NoAnswer extends Error {
  constructor() {
    super('The server can’t be reached.');
  }
}

/**
 * Send a request. `key` has the headers with the access key, empty values of `query` are left out, and `text` is a body
 * that is JSON already.
 */
export async function send(method, path, { key = {}, query = {}, body, text, headers = {}, signal } = {}) {
  const sent = body === undefined ? text : JSON.stringify(body);
  const type = sent === undefined ? {} : { 'Content-Type': 'application/json' };
  const options = { method, body: sent, headers: { ...type, ...key, ...headers }, signal, cache: 'no-store' };
  const answer = await reach(path + queryText(query), options);
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    connection.lost();
    throw new NoAnswer();
  }
}

function queryText(query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

async function json(method, path, options) {
  const answer = await send(method, path, options);
  const text = await whole(answer, options);
  return text === '' ? null : JSON.parse(text);
}

/** The text of an answer; raises NoAnswer if it is incomplete. */
async function whole(answer, { signal } = {}) {
  try {
    return await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.lost();
    throw new NoAnswer();
  }
}

const keyOf = (queue) => session.headers(queue);

/** What a key may do, before it is kept: `{queue_name, role, key_id}`. */
export const access = (queue, key) => json('GET', 'api/v1/access', { query: { queueName: queue }, key: { 'X-Access-Key': asHeader(key) } });
export const adminAccess = (key) => json('GET', 'api/v1/access', { key: { 'X-Admin-Key': asHeader(key) } });

export const listQueues = (signal) => json('GET', 'api/v1/queues', { key: keyOf(), signal });
export const stats = (queue, signal) => json('GET', 'api/v1/queue/stats', { query: { name: queue }, key: keyOf(queue), signal });
/** Figures of the minutes of the last hour and the hours of the last week. */
export const queueHistory = (queue, signal) => json('GET', 'api/v1/queue/history', { query: { name: queue }, key: keyOf(queue), signal });
export const workers = (queue, signal) => json('GET', 'api/v1/workers', { query: { queueName: queue }, key: keyOf(queue), signal });
export const createQueue = (name, accessKey) => json('PUT', 'api/v1/queue', { body: { name, access_key: accessKey }, key: keyOf() });
export const changeQueue = (name, change) => json('POST', 'api/v1/queue', { body: { name, ...change }, key: keyOf(name) });
export const deleteQueue = (name) => json('DELETE', 'api/v1/queue', { query: { name }, key: keyOf(name) });

/** A page of failures by fingerprint, the failures of the most jobs first. */
export const listFailures = (queue, { limit, cursor, signal }) => json('GET', 'api/v1/failures', { query: { queueName: queue, limit, cursor }, key: keyOf(queue), signal });

/** A page of groups, the greatest by `sort` first. */
export const listGroups = (queue, { sort, limit, cursor, signal }) => json('GET', 'api/v1/groups', {
  query: { queueName: queue, sort, limit, cursor }, key: keyOf(queue), signal,
});
export const readGroup = (queue, group, signal) => json('GET', 'api/v1/group', { query: { queueName: queue, group }, key: keyOf(queue), signal });
export const changeGroup = (queue, group, change) => json('PUT', 'api/v1/group', { body: { queue_name: queue, group, ...change }, key: keyOf(queue) });
export const resetGroup = (queue, group) => json('DELETE', 'api/v1/group', { query: { queueName: queue, group }, key: keyOf(queue) });

/** A page of batches, by name. */
export const listBatches = (queue, { limit, cursor, signal }) => json('GET', 'api/v1/batches', { query: { queueName: queue, limit, cursor }, key: keyOf(queue), signal });
export const readBatch = (queue, name, signal) => json('GET', 'api/v1/batch', { query: { queueName: queue, name }, key: keyOf(queue), signal });
export const changeBatch = (queue, name, change) => json('POST', 'api/v1/batch', { body: { queue_name: queue, name, ...change }, key: keyOf(queue) });

/** A page of schedules, by name. */
export const listSchedules = (queue, { limit, cursor, signal }) => json('GET', 'api/v1/schedules', { query: { queueName: queue, limit, cursor }, key: keyOf(queue), signal });

/** A schedule, and the text of the answer, in which numbers are as they were sent. */
export async function readSchedule(queue, name, signal) {
  const answer = await send('GET', 'api/v1/schedule', { query: { queueName: queue, name }, key: keyOf(queue), signal });
  const text = await whole(answer, { signal });
  return { schedule: JSON.parse(text), text };
}

/** Create a schedule, or give it other settings, from the text of its JSON. */
export const setSchedule = (queue, text, signal) => json('PUT', 'api/v1/schedule', { text, key: keyOf(queue), signal });
export const changeSchedule = (queue, name, change) => json('POST', 'api/v1/schedule', { body: { queue_name: queue, name, ...change }, key: keyOf(queue) });
export const deleteSchedule = (queue, name) => json('DELETE', 'api/v1/schedule', { query: { queueName: queue, name }, key: keyOf(queue) });
/** Add the job of a schedule now. */
export const runSchedule = (queue, name) => json('POST', 'api/v1/schedule/run', { body: { queue_name: queue, name }, key: keyOf(queue) });

export const listKeys = (queue, signal) => json('GET', 'api/v1/queue/key', { query: { name: queue }, key: keyOf(queue), signal });
export const addKey = (queue, role, accessKey) => json('PUT', 'api/v1/queue/key', {
  body: { queue_name: queue, role, access_key: accessKey }, key: keyOf(queue),
});
export const revokeKey = (queue, id) => json('DELETE', 'api/v1/queue/key', { query: { name: queue, keyID: id }, key: keyOf(queue) });

/** The dashboard's states that are part of an API state: cancelled jobs are separate from failed ones. */
const PARTS = { failed: { state: 'failed', cancelled: false }, cancelled: { state: 'failed', cancelled: true }, retrying: { state: 'queued', retrying: true } };

/** A filter in the API's form, without empty conditions. */
function asFilter({ state, ...rest }) {
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value));
  return state ? { ...given, ...PARTS[state] ?? { state } } : given;
}

/** A page of jobs; `filter` has state, tag, q, worker, error and fingerprint. The state may be retrying or cancelled as well. */
export const listJobs = (queue, filter, { sort, limit, cursor, signal } = {}) => json('GET', 'api/v1/jobs', {
  query: { queueName: queue, ...asFilter(filter), sort, limit, cursor }, key: keyOf(queue), signal,
});

/** A job, and the text of the answer, in which numbers are as they were sent. */
export async function readJob(queue, uid, signal) {
  const answer = await send('GET', 'api/v1/job', { query: { queueName: queue, jobUID: uid }, key: keyOf(queue), signal });
  const text = await whole(answer, { signal });
  return { job: JSON.parse(text), text };
}

export const explain = (queue, uid, signal) => json('GET', 'api/v1/job/explain', {
  query: { queueName: queue, jobUID: uid }, key: keyOf(queue), signal,
});

/** The jobs and batches around a job. */
export const jobGraph = (queue, uid, signal) => json('GET', 'api/v1/job/graph', {
  query: { queueName: queue, jobUID: uid }, key: keyOf(queue), signal,
});

/** The text of the next job to run, without claiming it; empty if no job is ready. */
export const peek = async (queue) => whole(await send('GET', 'api/v1/job/next', { query: { queueName: queue }, key: keyOf(queue) }));

/** Add a job that is given as the text of its JSON. */
export const addJob = (queue, jobText) => json('PUT', 'api/v1/job', {
  text: `{"queue_name":${JSON.stringify(queue)},"job":${jobText}}`, key: keyOf(queue),
});

/** Change a job; `contentText`, if there is one, is its new content as JSON. */
export function updateJob(queue, uid, change, contentText) {
  const body = JSON.stringify({ queue_name: queue, uid, ...change });
  const text = contentText === undefined ? body : `${body.slice(0, -1)},"content":${contentText}}`;
  return json('POST', 'api/v1/job', { text, key: keyOf(queue), headers: { Prefer: 'return=representation' } });
}

export const deleteJob = (queue, uid) => json('DELETE', 'api/v1/job', { query: { queueName: queue, jobUID: uid }, key: keyOf(queue) });

/** Change jobs by their uids; returns the result of each. */
export const updateJobs = (queue, updates) => json('POST', 'api/v1/jobs', {
  body: { queue_name: queue, updates }, key: keyOf(queue), headers: { Prefer: 'return=minimal' },
});

const isEmpty = (filter) => Object.values(filter).every((value) => !value);

/** Change all jobs that match; with `dry`, only count them. */
export const updateMatching = (queue, filter, change, dry) => json('POST', 'api/v1/jobs', {
  body: { queue_name: queue, ...(isEmpty(filter) ? { all: true } : { filter: asFilter(filter) }), ...change, dry_run: dry },
  key: keyOf(queue),
});

/** The fields of a body that choose the jobs to move: all that match a filter, or those in `{uids}`. */
const toMove = (chosen) => (chosen.uids ? chosen : isEmpty(chosen) ? { all: true } : { filter: asFilter(chosen) });

/** Move the jobs that a filter or `{uids}` chooses to another queue, where `pace` of them a second can be claimed; with `dry`, only count them. */
export const moveJobs = (queue, chosen, to, pace, dry) => json('POST', 'api/v1/jobs', {
  body: { queue_name: queue, ...toMove(chosen), move_to: to, per_second: pace, dry_run: dry },
  key: keyOf(queue),
});

/** Remove all jobs that match; with `dry`, only count them. */
export const deleteMatching = (queue, filter, dry) => json('DELETE', 'api/v1/jobs', {
  query: { queueName: queue, ...(isEmpty(filter) ? { all: true } : asFilter(filter)), dry_run: dry }, key: keyOf(queue),
});

export const ready = (signal) => json('GET', 'readyz', { signal });

/** The metrics, as Prometheus reads them. */
export const metrics = async (signal) => whole(await send('GET', 'metrics', { key: keyOf(), signal }), { signal });

/** A copy of the database as a stream. */
export const backup = (signal) => send('GET', 'api/v1/backup', { key: keyOf(), signal });

/** The events of a queue as a stream, beginning after the event with the id `after`. */
export const events = (queue, after, signal) => send('GET', 'api/v1/events', {
  query: { queueName: queue }, key: keyOf(queue), headers: after ? { 'Last-Event-ID': after } : {}, signal,
});

/** The message for a change that failed. */
export function inWords(error) {
  if (error instanceof NoAnswer) return 'The server did not answer. The change may have been made: check before you repeat it.';
  if (error instanceof Refused || error instanceof Wrong) return error.message;
  console.error(error);
  return `This did not work: ${error.message}`;
}
