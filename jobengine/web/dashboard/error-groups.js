// Errors of jobs, read and grouped.

import * as api from './api.js';
import { gist, number } from './format.js';

const PAGE = 200;
/** The switch between permanently failed and retrying jobs. */
export const KINDS = [['both', 'Both'], ['failed', 'Failed'], ['retrying', 'Retrying']];
/** The parts in which equal errors differ: uids, hexadecimal and other numbers. */
const VARYING = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+/gi;

/** The jobs of a kind of KINDS, `most` of each of its states, the latest first; `more` says whether there are others. */
export async function jobsWithErrors(queue, kind, most, signal) {
  const states = kind === 'both' ? ['failed', 'retrying'] : [kind];
  const read = await Promise.all(states.map((state) => jobsIn(queue, state, most, signal)));
  const jobs = read.flatMap((each) => each.jobs).sort((one, other) => other.last_updated - one.last_updated);
  return { jobs, more: read.some(({ more }) => more) };
}

async function jobsIn(queue, state, most, signal) {
  const found = [];
  let cursor;
  do {
    const page = await api.listJobs(queue, { state }, { sort: '-updated', limit: Math.min(PAGE, most), cursor, signal });
    found.push(...page.jobs.map(({ uid, error, last_updated }) => ({ queue, state, uid, error, last_updated })));
    cursor = page.next_cursor;
  } while (cursor && found.length < most);
  return { jobs: found, more: Boolean(cursor) };
}

/** Groups of jobs with similar errors, the largest first. `filter` is a text that all errors of a group contain. */
export function grouped(all) {
  const groups = new Map();
  for (const job of all) {
    const key = gist(job.error).replace(VARYING, '…');
    if (!groups.has(key)) groups.set(key, { key, jobs: [] });
    groups.get(key).jobs.push(job);
  }
  const sorted = [...groups.values()].sort((one, other) => other.jobs.length - one.jobs.length);
  for (const group of sorted) group.filter = shared(group);
  return sorted;
}

/** The line itself if all errors have it; otherwise its longest piece that does not vary. */
function shared({ key, jobs }) {
  const line = gist(jobs[0].error);
  if (jobs.every(({ error }) => gist(error) === line)) return line;
  return key.split('…').map((piece) => piece.trim()).reduce((longest, piece) => (piece.length > longest.length ? piece : longest), '');
}

/** "9 failed, 2 retrying" for a list of jobs. */
export function inKinds(jobs) {
  const counts = Map.groupBy(jobs, ({ state }) => state);
  return ['failed', 'retrying'].filter((state) => counts.has(state)).map((state) => `${number(counts.get(state).length)} ${state}`).join(', ');
}

/** Keep the order of the shown groups while the pointer or the focus is on their list; `keyOf(group)` is that of `keyed`. */
export function keepOrder(list, groups, keyOf = ({ key }) => key) {
  if (!list.matches(':hover, :focus-within')) return;
  const order = new Map([...list.children].map((each, at) => [each.dataset.key, at]));
  groups.sort((one, other) => (order.get(keyOf(one)) ?? 1e9) - (order.get(keyOf(other)) ?? 1e9));
}
