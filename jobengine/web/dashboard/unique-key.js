// Unique keys and debounce of a job: as facts, as fields of a form, and as JSON.

import { Wrong } from './api.js';
import { h } from './dom.js';
import { duration, exact } from './format.js';
import { choice, field, tick } from './forms.js';

const UNTIL = [['finished', 'Once the job is finished'], ['started', 'Once the job is started']];
const span = (seconds) => (seconds < 60 ? `${seconds} s` : duration(seconds));

/** The facts about the unique key of a job, and until when the finished job holds it, as pairs of a name and a text. */
export function uniqueFacts({ unique_key: plain, unique, debounce }, heldUntil) {
  const key = plain ?? unique?.key;
  const rule = unique && [unique.until === 'started' && 'free once the job is started', unique.seconds && `held for ${span(unique.seconds)} after the finish`,
    unique.if_queued === 'replace' && 'an add replaces the queued job', unique.if_running === 'add' && 'an add while it runs is a job of its own'].filter(Boolean).join(', ');
  return [key && ['Unique key', key], rule && ['The key', rule], heldUntil && ['Holds its key until', exact(heldUntil)],
    debounce && ['Debounce', `${span(debounce.seconds)} after the latest add, at most ${span(debounce.at_most_seconds)} after the first`]].filter(Boolean);
}

/** The part of the form for a new job that is about its unique key; the values are those of the job to copy, if there is one. */
export function uniqueFields(key, unique = {}, debounce = {}) {
  const seconds = (name, label, value, least, hint = null) => field(label, { name, type: 'number', min: least, max: 31622400, step: 1, value }, hint);
  return h('fieldset', { class: 'wide' }, h('legend', {}, 'Do it once'), h('div', { class: 'fields' },
    field('Unique key', { name: 'unique_key', maxlength: 256, value: unique.key ?? key }, 'While a job holds this key, no other job with it is added.'),
    choice('The key is free again', UNTIL, { name: 'unique_until', value: unique.until ?? 'finished' }),
    seconds('unique_seconds', 'Seconds after the finish', unique.seconds, 0, 'How long a finished job still holds the key.'),
    seconds('debounce_seconds', 'Debounce, seconds', debounce.seconds, 1, 'Each add with the key replaces the queued job, and delays it by this time.'),
    seconds('debounce_most', 'Longest debounce, seconds', debounce.at_most_seconds, 1, 'After the first add. Empty: ten times the debounce.'),
    tick('Replace a queued job', { name: 'unique_replace', checked: unique.if_queued === 'replace' }, 'The queued job keeps its uid and its place in line.'),
    tick('Add beside a job in progress', { name: 'unique_add', checked: unique.if_running === 'add' }, 'At most one queued job waits beside those in progress.')));
}

/** The values of these fields as parts of the JSON of a job: pairs of a name and a text. Raises Wrong. */
export function uniqueParts({ unique_key: key, unique_until: until, unique_seconds: seconds, unique_replace: replaces, unique_add: adds, debounce_seconds: wait, debounce_most: most }) {
  const rule = { ...(until === 'started' && { until }), ...(seconds && { seconds }), ...(replaces && { if_queued: 'replace' }), ...(adds && { if_running: 'add' }) };
  const debounces = wait !== undefined || most !== undefined;
  if (!key && (debounces || Object.keys(rule).length)) throw new Wrong('Unique key: it is needed for these settings.');
  if (wait === undefined && most !== undefined) throw new Wrong('Debounce: its seconds are needed too.');
  const parts = [Object.keys(rule).length ? ['unique', { key, ...rule }] : ['unique_key', key], ['debounce', debounces && { seconds: wait, at_most_seconds: most }]];
  return parts.map(([name, value]) => [name, value && JSON.stringify(value)]);
}
