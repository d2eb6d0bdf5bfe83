// Failures by fingerprint: their order, their text, and one list item for each.

import { h, keyed, menu, set, setText } from './dom.js';
import { errorView } from './error-view.js';
import { failuresByMinute, setFailuresByMinute } from './chart.js';
import { jobs, setTime, time } from './format.js';
import { ACTIONS, actOnMatching } from './job-actions.js';
import { jobLink, queueLink } from './links.js';
import { moveBack, openMove, stayText } from './move-jobs.js';
import { session } from './session.js';

export const NO_ERROR = 'no error was given';
export const NOTHING = ['No job has failed', 'Jobs that failed, or are tried again after a failed attempt, are shown here, grouped by error.'];

const sum = (values) => values.reduce((all, each) => all + each, 0);

/**
 * Merge the groups of several queues, given as `{queue, ...group}`, by fingerprint. The `places` of a merged group are its
 * groups in each queue, the largest first.
 */
export function merged(groups) {
  const found = [...Map.groupBy(groups, ({ fingerprint }) => fingerprint).values()].map((alike) => {
    const places = alike.toSorted((one, other) => other.count - one.count);
    const latest = alike.reduce((one, other) => (other.last > one.last ? other : one));
    const minutes = latest.minutes.map((_, at) => sum(places.map((place) => place.minutes[at])));
    return { ...latest, places, minutes, count: sum(places.map(({ count }) => count)), first: Math.min(...places.map(({ first }) => first)) };
  });
  return found.sort((one, other) => other.count - one.count || other.last - one.last);
}

/** Keep the order of the shown groups while the pointer or the focus is on their list; `keyOf(group)` is as in `keyed`. */
export function keepOrder(list, groups, keyOf = ({ key }) => key) {
  if (!list.matches(':hover, :focus-within')) return;
  const order = new Map([...list.children].map((each, at) => [each.dataset.key, at]));
  groups.sort((one, other) => (order.get(keyOf(one)) ?? 1e9) - (order.get(keyOf(other)) ?? 1e9));
}

/**
 * Show merged groups as the items of `list`; `changed()` is called after an action. With `named`, each queue is named;
 * `to` is the first choice for a move; `deadLetters` has the names of dead-letter queues.
 */
export function drawGroups(list, groups, changed, { named = false, to = '', deadLetters = new Set() } = {}) {
  const key = ({ fingerprint }) => fingerprint;
  keepOrder(list, groups, key);
  keyed(list, groups, key, () => makeItem(changed), (item, group) => update(Object.assign(item, { to, deadLetters }), group, named));
}

function makeItem(changed) {
  const item = h('li', { class: 'panel' });
  item.count = h('b', { class: 'count' });
  item.error = errorView();
  item.chart = failuresByMinute();
  item.first = time(null, { tabindex: 0 });
  item.last = time(null, { tabindex: 0 });
  item.example = h('a', {}, 'Show the latest job');
  item.links = h('span', { class: 'line' });
  item.name = h('span', { class: 'muted code', title: 'The fingerprint of the error' });
  const queues = () => item.group.places.map(({ queue }) => queue).filter((queue) => session.may(queue, 'manage'));
  const alike = (more) => ({ state: 'failed', fingerprint: item.group.fingerprint, ...more });
  const act = (action) => () => actOnMatching(queues(), action, alike(), changed);
  const retry = () => actOnMatching(queues(), ACTIONS.retry, { fingerprint: item.group.fingerprint }, changed, staying(item));
  const back = () => moveBack(queues()[0], item.to, changed, alike());
  const move = () => openMove(queues()[0], alike(), changed, { to: item.to });
  item.more = menu('More', [['Move to another queue', move, { 'data-act': 'move' }], ['Delete', act(ACTIONS.delete), { class: 'danger' }]], { 'aria-label': 'More actions for this error' });
  item.buttons = h('span', { class: 'buttons' }, h('button', { type: 'button', onclick: back, 'data-act': 'back' }, 'Move back'), h('button', { type: 'button', onclick: retry }, 'Retry'), item.more);
  item.append(item.error, h('div', { class: 'line' }, item.count, item.chart, h('span', { class: 'muted' }, 'first ', item.first), h('span', { class: 'muted' }, 'last ', item.last),
    item.links, item.example, item.name, h('span', { class: 'gap' }), item.buttons));
  item.manages = () => queues().length;
  return item;
}

/** What a retry means for jobs in a dead-letter queue, as a sentence. */
function staying({ to, deadLetters, group }) {
  if (to) return stayText(to);
  const names = group.places.map(({ queue }) => queue).filter((queue) => deadLetters.has(queue));
  return names.length === 0 ? '' : `Jobs in a dead-letter queue stay there: to move them back, open the errors of ${names.map((name) => `“${name}”`).join(', ')}.`;
}

function update(item, group, named) {
  item.group = group;
  const { queue, uids: [latest] } = group;
  setText(item.count, jobs(group.count));
  item.error.showLine(group.error ?? NO_ERROR, queue, latest);
  setFailuresByMinute(item.chart, group.minutes);
  setTime(item.first, group.first);
  setTime(item.last, group.last);
  item.example.href = jobLink(queue, latest);
  setText(item.name, group.fingerprint);
  keyed(item.links, group.places, (place) => place.queue, () => h('a'), (link, place) => {
    set(link, 'href', queueLink(place.queue, '', { fingerprint: group.fingerprint }));
    setText(link, named ? `${place.queue}: ${jobs(place.count)}` : 'Show these jobs');
  });
  item.buttons.hidden = item.manages() === 0;
  // Jobs are moved from one queue at a time.
  item.more.querySelector('[data-act=move]').hidden = item.manages() !== 1;
  item.buttons.querySelector('[data-act=back]').hidden = item.manages() !== 1 || !item.to;
}
