// Errors of jobs, read and grouped.

import * as api from './api.js';
import { gist } from './format.js';

const PAGE = 200;
/** The parts in which equal errors differ: uids, hexadecimal and other numbers. */
const VARYING = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+/gi;

/** The latest jobs of a queue that match `filter`, `most` of them, with their errors; `more` says whether there are others. */
export async function jobsWithErrors(queue, filter, most, signal) {
  const found = [];
  let cursor;
  do {
    const page = await api.listJobs(queue, filter, { sort: '-updated', limit: Math.min(PAGE, most), cursor, signal });
    found.push(...page.jobs.map(({ uid, error, last_updated }) => ({ queue, uid, error, last_updated })));
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

/** Keep the order of the shown groups while the pointer or the focus is on their list. */
export function keepOrder(list, groups) {
  if (!list.matches(':hover, :focus-within')) return;
  const order = new Map([...list.children].map((each, at) => [each.dataset.key, at]));
  groups.sort((one, other) => (order.get(one.key) ?? 1e9) - (order.get(other.key) ?? 1e9));
}
