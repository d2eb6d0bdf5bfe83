// The attempts of a job as a timeline: worker, time, duration and error.

import { h, keyed, replace } from './dom.js';
import { errorView } from './error-view.js';
import { duration, exact, setTime, time } from './format.js';

const OUTCOMES = { complete: 'Complete', failed: 'Failed', timeout: 'Timed out', released: 'Released', running: 'In progress', added: 'Added' };

/** Show in `list` the attempts of a job, the latest first, and when the job was added. */
export function timeline(list, job) {
  const ended = job.history ?? [];
  const before = Math.max(0, (job.attempts ?? 0) - ended.length - (job.state === 'inprogress' ? 1 : 0));
  const first = ended.length === 20 ? before : 0;
  const attempts = ended.map((attempt, at) => ({ ...attempt, number: first + at + 1 }));
  if (job.state === 'inprogress') attempts.push({ outcome: 'running', worker: job.worker, started: job.started, number: first + ended.length + 1 });
  const longest = Math.max(1, ...attempts.map(({ started, ended: end }) => (end ?? 0) - (started ?? 0)));
  const events = [...attempts.reverse(), { outcome: 'added', started: job.created, number: 0 }];
  keyed(list, events, ({ number, outcome }) => `${number}/${outcome}`, () => h('li'), (item, event) => draw(item, event, longest));
}

/** How long an attempt took, in words. */
export const took = ({ started, ended }) => (ended - started < 1 ? 'less than a second' : duration(ended - started));

function draw(item, event, longest) {
  const said = JSON.stringify([event, longest]);
  if (item.dataset.said === said) return;
  item.dataset.said = said;
  item.className = event.outcome;
  const { outcome, worker, started, ended, error, times } = event;
  const view = error && errorView();
  if (view) view.show(error);
  const bar = longest > 1 && ended > started && h('span', { class: 'took' });
  if (bar) bar.style.width = `${Math.max(2, (100 * (ended - started)) / longest)}%`;
  replace(item, h('div', { class: 'line' }, h('b', {}, `${OUTCOMES[outcome] ?? outcome}${times > 1 ? ` ${times} times` : ''}`), worker && h('span', { class: 'muted' }, `by ${worker}`),
    h('span', { class: 'gap' }), (ended ?? started) && setTime(time(null, { tabindex: 0 }), ended ?? started)),
  ended !== undefined && h('p', { class: 'hint' }, `took ${took(event)}, from ${exact(started)}`), bar,
  view);
}
