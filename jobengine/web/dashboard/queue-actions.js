// Actions on a whole queue.

import * as api from './api.js';
import { h, tell, whereabouts } from './dom.js';
import { waitText } from './flow.js';
import { exact, number, jobs } from './format.js';
import { confirm } from './forms.js';
import { session } from './session.js';

/** Reconfigure a queue and report the result or the error; then call `done()`. */
async function change(name, wanted, said, done) {
  try {
    await api.changeQueue(name, wanted);
    tell(`${name}: ${said}`);
  } catch (error) {
    tell(h('span', { class: 'error', role: 'alert' }, `${name}: ${api.inWords(error)}`));
  }
  done();
}

export const pause = (queue, done) => (queue.paused
  ? change(queue.name, { paused: false }, 'resumed, it gives jobs out again.', done)
  : change(queue.name, { paused: true }, 'paused, it gives no jobs out.', done));

export const drain = (queue, done) => (queue.draining
  ? change(queue.name, { draining: false }, 'takes jobs in again.', done)
  : change(queue.name, { draining: true }, 'draining, it takes no jobs in.', done));

/** Confirm, with the number of jobs, then remove all jobs. The dialog opens only on the page of the click. */
export async function purge(queue, done) {
  const isHere = whereabouts();
  const { matched } = await api.deleteMatching(queue.name, {}, true).catch(() => ({ matched: queue.size }));
  if (!isHere()) return;
  const text = `${jobs(matched)} of “${queue.name}” will be deleted, those in progress as well. This can’t be undone.`;
  confirm(`Purge the queue “${queue.name}”`, text, 'Purge', async () => {
    const deleted = await api.deleteMatching(queue.name, {}, false);
    tell(`${queue.name}: ${jobs(deleted.matched)} deleted.`);
    done();
  }, { typed: queue.name });
}

/** Confirm, then delete a queue with its jobs, and call `done(isHere)`: whether the person is still where they confirmed it. */
export function remove(queue, done) {
  const text = `The queue “${queue.name}”, its keys and its ${jobs(queue.size)} will be deleted. This can’t be undone.`;
  confirm(`Delete the queue “${queue.name}”`, text, 'Delete queue', async (element) => {
    const isHere = whereabouts(element);
    await api.deleteQueue(queue.name);
    session.removeQueue(queue.name);
    tell(`The queue ${queue.name} is deleted.`);
    done(isHere());
  }, { typed: queue.name });
}

/** Badges for the state of a queue: paused, held, draining. */
export const badges = (queue) => [
  queue.paused && h('span', { class: 'badge warn', title: 'No job can be claimed.' }, 'Paused'),
  queue.held_until && h('span', { class: 'badge warn', title: `No job can be claimed until ${exact(queue.held_until)}.` }, 'Held'),
  queue.draining && h('span', { class: 'badge warn', title: 'No job can be added.' }, 'Draining'),
].filter(Boolean);

/** End the hold of a queue. */
export const release = (queue, done) => change(queue.name, { held_until: 0 }, 'the hold has ended.', done);

/** "9,985 ready, 5 held, 10 delayed", or that all are ready. */
export const queuedText = (queue) => (waitText(queue) ? `${number(queue.ready)} ready, ${waitText(queue)}` : 'all ready');
