// Limits, rates, the order of groups and priority ageing: in words, and as fields of a form.

import { Wrong } from './api.js';
import { h } from './dom.js';
import { duration, number } from './format.js';
import { choice, field } from './forms.js';

const ORDERS = [['arrival', 'By arrival'], ['fair', 'Fair among groups'], ['strict', 'Strict: each group’s jobs one at a time']];
const ON_FAILURE = [['next', 'The next one may run'], ['hold', 'Its group is held']];
const span = (seconds) => (seconds < 60 ? `${seconds} s` : duration(seconds));

/** "5 in progress, 10 claims in 60 s", or nothing without limits. */
export function limitsText({ in_progress: most, rate } = {}) {
  return [most && `${number(most)} in progress`, rate && `${number(rate.count)} ${rate.count === 1 ? 'claim' : 'claims'} in ${span(rate.seconds)}`].filter(Boolean).join(', ');
}

/** A group's own settings in the same way, with its weight. */
export const ownText = (own) => [limitsText(own), own.weight && `weight ${number(own.weight)}`].filter(Boolean).join(', ');

/** Three fields for limits, whose names begin with `kind`; `of` follows their labels. */
export function limitFields(kind, limits, of = '', hint = null) {
  const whole = (name, label, value, more) => field(label, { name: `${kind}_${name}`, type: 'number', min: 1, step: 1, value }, more);
  return [whole('most', `Jobs in progress${of}`, limits?.in_progress, hint), whole('count', `Claims${of}`, limits?.rate?.count),
    whole('seconds', `In how many seconds${of}`, limits?.rate?.seconds)];
}

/** The limits in the values of a form; null for each that is not set. Raises Wrong. */
export function limitsIn(given, kind) {
  const [most, count, seconds] = ['most', 'count', 'seconds'].map((name) => given[`${kind}_${name}`]);
  if ((count === undefined) !== (seconds === undefined)) throw new Wrong('A rate needs both: the number of claims, and the seconds within which they may come.');
  return { in_progress: most ?? null, rate: count === undefined ? null : { count, seconds } };
}

/** The part of a queue's settings form that is about limits and groups. */
export function flowFields(stats) {
  return h('fieldset', {}, h('legend', {}, 'Limits and groups'),
    h('p', { class: 'hint' }, 'An empty field is no limit. Jobs that a limit holds back stay queued until others have ended, or until the time of the rate has passed.'),
    h('div', { class: 'fields' }, limitFields('queue', stats.limits)), h('div', { class: 'fields' }, limitFields('group', stats.group_limits, ', each group')),
    h('div', { class: 'fields' },
      choice('Order of groups', ORDERS, { name: 'group_order', value: stats.group_order ?? 'arrival' }),
      choice('If a job fails, in strict order', ON_FAILURE, { name: 'group_on_failure', value: stats.group_on_failure ?? 'next' }),
      field('Target wait, seconds', { name: 'target_wait_seconds', type: 'number', min: 1, step: 1, value: stats.target_wait_seconds }, 'The number of workers wanted is computed from it.'),
      field('Seconds per step of priority', { name: 'seconds_per_priority', type: 'number', min: 1, step: 1, value: stats.order?.seconds_per_priority },
        'How many seconds of waiting one step of priority is worth, so that no job waits for ever. Empty: strictly by priority.')));
}

/** The changes to a queue's settings, from the values of the form; raises Wrong. */
export function flowChanges(given, stats) {
  const wanted = {
    limits: limitsIn(given, 'queue'), group_limits: limitsIn(given, 'group'), group_order: given.group_order, group_on_failure: given.group_on_failure,
    target_wait_seconds: given.target_wait_seconds ?? null, order: given.seconds_per_priority ? { seconds_per_priority: given.seconds_per_priority } : null,
  };
  const limits = (one) => ({ in_progress: one?.in_progress ?? null, rate: one?.rate ?? null });
  const before = {
    limits: limits(stats.limits), group_limits: limits(stats.group_limits), group_order: stats.group_order ?? 'arrival', group_on_failure: stats.group_on_failure ?? 'next',
    target_wait_seconds: stats.target_wait_seconds ?? null, order: stats.order ?? null,
  };
  return Object.fromEntries(Object.entries(wanted).filter(([name, value]) => !same(value, before[name])));
}

const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
const sorted = (value) => (value === null || typeof value !== 'object' ? value : Object.keys(value).sort().map((name) => [name, sorted(value[name])]));

/** The settings as text, for keys that may not change them: pairs of a name and a text. */
export function flowFacts(stats) {
  const label = (options, value) => options.find(([each]) => each === value)?.[1];
  return [['Limits', limitsText(stats.limits)], ['Limits of each group', limitsText(stats.group_limits)],
    ['Order of groups', label(ORDERS, stats.group_order)], ['If a job fails', stats.group_order === 'strict' && label(ON_FAILURE, stats.group_on_failure ?? 'next')],
    ['Target wait', stats.target_wait_seconds && span(stats.target_wait_seconds)],
    ['One step of priority is worth', stats.order && span(stats.order.seconds_per_priority)]].filter(([, text]) => text);
}

/** "5 held, 3 waiting, 10 delayed": the jobs of a queue that wait for something; nothing if none does. */
export const waitText = ({ held = 0, waiting = 0, delayed }) => [held && `${number(held)} held`, waiting && `${number(waiting)} waiting`, delayed && `${number(delayed)} delayed`].filter(Boolean).join(', ');
