// Dead-letter queues: the setting in words and as fields of a form, and the queues whose failed jobs come to a queue.

import * as api from './api.js';
import { h, newId } from './dom.js';
import { duration } from './format.js';
import { field } from './forms.js';
import { offerQueues } from './move-jobs.js';
import { allQueues } from './queues.js';

/** A badge for a queue whose dead-letter queue is gone, as a list of at most one. */
export const missingBadge = ({ dead_letter: its }) => (its?.missing
  ? [h('span', { class: 'badge warn', title: `There is no queue “${its.queue_name}” any more: failed jobs stay. See the settings.` }, 'Dead-letter queue missing')] : []);

/** The part of a queue's settings form that is about its dead-letter queue. */
export function deadLetterFields({ name, dead_letter: its }) {
  const list = h('datalist', { id: newId() });
  offerQueues(list, name);
  return h('fieldset', {}, h('legend', {}, 'Dead-letter queue'),
    h('p', { class: 'hint' }, 'Jobs that fail with no attempts left move there, with their history. Empty: they stay in this queue.'),
    its?.missing && h('p', { class: 'warning' }, `There is no queue “${its.queue_name}” any more: failed jobs stay here. Create it and save, or empty the field.`),
    h('div', { class: 'fields' }, field('Dead-letter queue', { name: 'dead_letter', maxlength: 256, value: its?.queue_name, list: list.id }, 'Your key must be the owner’s in both queues.'), list,
      field('Keep jobs there, minutes', { name: 'dead_letter_minutes', type: 'number', min: 0, step: 1, value: its?.keep_minutes }, 'Two weeks until this is set.')));
}

/** The changes to a queue's settings, from the values of the form. A dead-letter queue that was missing is set again. */
export function deadLetterChanges({ dead_letter: typed, dead_letter_minutes: minutes }, { dead_letter: its }) {
  const queue = typed.trim();
  if (queue === '') return its ? { dead_letter: null } : {};
  const same = queue === its?.queue_name && (minutes === undefined || minutes === its.keep_minutes) && !its.missing;
  return same ? {} : { dead_letter: { queue_name: queue, keep_minutes: minutes } };
}

/** The error to show for a failed change of settings; if the dead-letter queue does not exist, it says what to do first. */
export const settingsError = (error, { dead_letter: typed }) => (error.status === 404 && typed.trim() !== ''
  ? new api.Wrong(`${error.message.replace(/\.$/, '')}; create it first.`) : error);

/** The setting as text, for keys that may not change it: pairs of a name and a text. */
export const deadLetterFacts = ({ dead_letter: its }) => (its
  ? [['Dead-letter queue', its.missing ? `${its.queue_name} (missing)` : its.queue_name], ['Keeps jobs there', duration(its.keep_minutes * 60)]] : []);

/** The queues from which failed jobs came here: the origin of the latest job, and known queues with this dead-letter queue. */
export async function originsOf({ name, counts, dead_letter: its }, signal) {
  if (counts.failed === 0) return [];
  const { jobs: [latest] } = await api.listJobs(name, { state: 'failed' }, { sort: '-updated', limit: 1, signal });
  const origin = latest?.moved_from?.queue_name;
  // A job that was moved back and has failed again came from the dead-letter queue of this queue.
  if (origin === undefined || origin === its?.queue_name) return [];
  const known = (await allQueues(signal)).filter(({ dead_letter: other }) => other?.queue_name === name);
  return [...new Set([origin, ...known.map((queue) => queue.name)])];
}
