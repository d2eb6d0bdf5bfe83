// Schedules in words and marks, and the table of them.

import { h, keyed, replace, set, setText } from './dom.js';
import { duration, number, secondOf, setTime, time, wallTime } from './format.js';
import { jobLink, queueLink } from './links.js';
import { scheduleMenu } from './schedule-actions.js';
import { session } from './session.js';

/** A schedule counts as late from this many seconds after its time, as in the alert for Prometheus. */
const LATE = 60;
/** What happened at a time: the job's state; no job was added; or the job is no longer kept. */
const OUTCOMES = { queued: 'Queued', inprogress: 'In progress', complete: 'Complete', failed: 'Failed', skipped: 'Skipped', gone: 'Fired' };
/** "0 3 * * *" or "every 5 min" */
export const timingOf = ({ cron, every_seconds: every }) => cron ?? `every ${every < 60 ? `${every} s` : duration(every)}`;

/** The outcome of a firing, as a key of OUTCOMES. */
const outcomeOf = ({ skipped, state }) => (skipped === undefined ? state ?? 'gone' : 'skipped');

/** The outcome of a firing in a word, or how many times were skipped. */
export const outcomeText = (firing) => (firing.times ? `${number(firing.times)} skipped` : OUTCOMES[outcomeOf(firing)]);

/** Why there is no job or no state, or that a person requested the job; else nothing. */
export const remark = ({ skipped, state, manual }) => [skipped, manual && 'Run by hand.', skipped === undefined && !state && 'The job is no longer kept.'].filter(Boolean).join(' ');

const describe = (firing) => `${wallTime(firing.time)}${firing.until ? ` to ${wallTime(firing.until)}` : ''}: ${outcomeText(firing)}. ${remark(firing)}`.trim();

/** The shape and the word for what happened; it links to the job if that is kept. */
export function outcome(queue, firing) {
  const kind = outcomeOf(firing);
  const content = [mark(kind), outcomeText(firing)];
  const title = remark(firing) || null;
  return firing.state ? h('a', { href: jobLink(queue, firing.uid), class: `outcome ${kind}`, title }, content) : h('span', { class: `outcome ${kind}`, title }, content);
}

const mark = (kind, title = null) => h('i', { class: `mark ${kind}`, title });

/** An element for `setStrip`. */
export const strip = () => h('span', { class: 'strip', role: 'img' });

/** Show the last outcomes, oldest first, a shape for each. */
export function setStrip(element, firings) {
  const said = JSON.stringify(firings);
  if (element.said === said) return;
  element.said = said;
  const counts = Map.groupBy(firings, outcomeOf);
  const words = Object.entries(OUTCOMES).filter(([kind]) => counts.has(kind)).map(([kind, word]) => `${counts.get(kind).length} ${word.toLowerCase()}`);
  set(element, 'aria-label', words.length ? `The last ${number(firings.length)}: ${words.join(', ')}` : 'It has not fired yet');
  replace(element, firings.map((firing) => mark(outcomeOf(firing), describe(firing))));
}

/** Whether the schedule's next time has passed by more than LATE seconds. */
const isLate = ({ next }) => next.length > 0 && Date.now() / 1000 - secondOf(next[0]) > LATE;

/** Badges: paused by a person or by failures, late. */
export const scheduleMarks = (schedule) => [
  schedule.paused && (schedule.paused_by_failures
    ? h('span', { class: 'badge failing', title: `${number(schedule.failures ?? schedule.pause_after_failures)} of its jobs in a row have failed.` }, 'Paused by failures')
    : h('span', { class: 'badge warn', title: 'The schedule adds no job until it is resumed.' }, 'Paused')),
  isLate(schedule) && h('span', { class: 'badge warn', title: `The schedule should have fired at ${wallTime(schedule.next[0])}.` }, 'Late'),
].filter(Boolean);

/** Numbers to order schedules by trouble: paused by failures first, then late, then a last job that failed. */
export const troubleOf = (schedule) => (schedule.paused_by_failures ? 3 : isLate(schedule) ? 2 : schedule.firings.at(-1)?.state === 'failed' ? 1 : 0);

/** The address of a schedule's page. */
export const scheduleLink = (queue, name) => queueLink(queue, 'schedules', { schedule: name });

/** A table of schedules: `{frame, draw(schedules)}`. With `queues` it has a column of their queues; `done()` follows an action. */
export function scheduleTable({ queues = false, manages = true, done }) {
  const heads = [['name', 'Schedule'], queues && ['queue', 'Queue'], ['times', 'Times'], ['next', 'Next'], ['last', 'Last'], ['strip', 'Last 20']].filter(Boolean);
  const body = h('tbody');
  const frame = h('div', { class: 'table-frame', hidden: true }, h('table', { class: queues ? 'schedules of-all' : 'schedules' }, h('caption', { class: 'unseen' }, 'Schedules'),
    h('thead', {}, h('tr', {}, heads.map(([name, text]) => h('th', { scope: 'col', class: `c-${name}` }, text)),
      manages && h('th', { scope: 'col', class: 'c-actions' }, h('span', { class: 'unseen' }, 'Actions')))), body));
  const draw = (schedules) => {
    frame.hidden = schedules.length === 0;
    keyed(body, schedules, (each) => JSON.stringify([each.queue_name, each.name]), (each) => makeRow(each, { queues, manages, done }), updateRow);
  };
  return { frame, draw };
}

function makeRow({ queue_name: queue, name }, { queues, manages, done }) {
  const row = h('tr');
  const cell = (kind, ...content) => h('td', { class: `c-${kind}` }, content);
  Object.assign(row, {
    marks: h('span', { class: 'marks' }), timing: h('code'), zone: h('small'), next: time(null, { tabindex: 0 }), wall: h('small'), last: time(null, { tabindex: 0 }),
    outcome: h('span'), strip: strip(), brief: h('small', { class: 'narrow' }), hasQueue: queues,
  });
  row.append(h('th', { scope: 'row', class: 'c-name' }, h('a', { href: scheduleLink(queue, name), class: 'strong', title: name }, name), row.marks, row.brief),
    ...(queues ? [cell('queue', h('a', { href: queueLink(queue, 'schedules'), title: queue }, queue))] : []), cell('times', row.timing, row.zone), cell('next', row.next, row.wall),
    cell('last', row.outcome, row.last), cell('strip', row.strip));
  if (manages) row.append(cell('actions', session.may(queue, 'manage') && scheduleMenu(row, name, done)));
  return row;
}

function updateRow(row, schedule) {
  row.schedule = schedule;
  const { queue_name: queue, timezone, next: [next], firings } = schedule;
  const marks = scheduleMarks(schedule);
  if (row.marks.textContent !== marks.map((each) => each.textContent).join('')) replace(row.marks, marks);
  setText(row.timing, timingOf(schedule));
  set(row.timing, 'title', timingOf(schedule));
  setText(row.zone, timezone);
  setText(row.brief, [row.hasQueue && queue, timingOf(schedule), timezone].filter(Boolean).join(' · '));
  showTime(row.next, next);
  setText(row.wall, next ? wallTime(next) : '');
  const last = firings.at(-1);
  showTime(row.last, last?.until ?? last?.time);
  const said = JSON.stringify(last);
  if (row.lastSaid !== said) replace(row.outcome, last && outcome(queue, last));
  row.lastSaid = said;
  setStrip(row.strip, firings);
  row.drawMenu?.(schedule);
}

/** Show a time of the API in a time element, or a dash. */
export function showTime(element, text) {
  setTime(element, text ? secondOf(text) : null);
  set(element, 'tabindex', text ? 0 : null);
}
