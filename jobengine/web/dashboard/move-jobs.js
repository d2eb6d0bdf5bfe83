// Moving jobs to another queue: where to, how fast, how many they are, and what became of them.

import * as api from './api.js';
import { h, newId, replace, setText } from './dom.js';
import { jobs } from './format.js';
import { dialog, field, form, keep, paceField, values } from './forms.js';
import { jobLink, queueLink } from './links.js';
import { allQueues } from './queues.js';

/** Why jobs stay, in words. */
const REASONS = {
  complete: 'complete', not_found: 'no longer in this queue', inprogress: 'in progress', waiting: 'waiting for other jobs', awaited: 'other jobs wait for them',
  batch: 'part of a batch',
  uid_taken: 'the other queue has a job with the same uid', full: 'the other queue is full', draining: 'the other queue is draining',
};

/** Open a form to move jobs of `queue`: `chosen` is a filter or `{uids}`, and `to` the first choice of a target. After the move it calls `done(target)`, with null if no job was moved. */
export function openMove(queue, chosen, done, { to = '', heading = headingOf(queue, chosen), note = null } = {}) {
  const { uids } = chosen;
  const single = uids?.length === 1;
  const box = dialog(heading, (close) => {
    const list = h('datalist', { id: newId() });
    offerQueues(list, queue);
    const count = h('p', { role: 'status' }, uids ? '' : 'Counting …');
    if (!uids) countInto(count, queue, chosen);
    const given = (element) => [queue, chosen, values(element).to.trim(), values(element).pace];
    const send = async (element) => {
      const result = await api.moveJobs(...given(element), false);
      const target = values(element).to.trim();
      const link = single && result.moved ? h('a', { href: jobLink(target, uids[0]), onclick: close }, 'Show the job') : h('a', { href: queueLink(target), onclick: close }, 'Show the queue');
      replace(box.querySelector('.move'), h('div', { role: 'status' }, outcome(result, 'moved'), h('p', {}, link)), h('div', { class: 'buttons' }, keep(close, 'Close')));
      box.querySelector('.move button').focus();
      done(result.moved ? target : null);
    };
    const tryIt = async () => {
      if (!element.reportValidity()) return;
      try {
        replace(count, outcome(await api.moveJobs(...given(element), true), 'would be moved'));
      } catch (error) {
        replace(count, h('span', { class: 'error', role: 'alert' }, api.inWords(error)));
      }
    };
    const element = form('Move', send, [h('p', {}, `${single ? 'The' : 'Each'} job keeps its uid, content and history, and is queued there as if it had never been tried.`), note && h('p', { class: 'muted' }, note),
      field('To queue', { name: 'to', required: true, maxlength: 256, value: to, list: list.id, autofocus: true }, 'Your key must be the owner’s in both queues.'), list, !single && paceField(), count],
    { more: [h('button', { type: 'button', onclick: tryIt }, 'Dry run'), keep(close)] });
    return h('div', { class: 'move' }, element);
  });
}

/** Open a form to move failed jobs of `queue` back to the queue `origin`: those that match and came from there. */
export const moveBack = (queue, origin, done, filter = {}) => openMove(queue, { state: 'failed', ...filter, moved_from: origin }, done, {
  to: origin, heading: `Move failed jobs of “${queue}” back`, note: `These are the failed jobs ${filter.fingerprint ? 'with this kind of error ' : ''}that came from “${origin}”.`,
});

/** Open a form to move one job of `queue` back to the queue `origin`. */
export const moveOneBack = (queue, uid, origin, done) => openMove(queue, { uids: [uid] }, done, { to: origin, heading: `Move 1 job of “${queue}” back` });

/** What a retry means for jobs that came from another queue, as a sentence. */
export const stayText = (origin) => `The jobs stay in this queue, even if their workers are only in “${origin}”: Move back takes them there.`;

/** Offer the names of the known queues, other than `queue`, in a list of suggestions. */
export async function offerQueues(list, queue) {
  try {
    const names = (await allQueues()).map(({ name }) => name).filter((name) => name !== queue);
    replace(list, names.map((name) => h('option', { value: name })));
  } catch {
    // A name can be typed all the same.
  }
}

const headingOf = (queue, { uids }) => `Move ${uids ? jobs(uids.length) : 'jobs'} of “${queue}” to another queue`;

/** Show how many jobs match. */
function countInto(element, queue, filter) {
  api.deleteMatching(queue, filter, true).then(({ matched }) => setText(element, `${jobs(matched)} of “${queue}” ${matched === 1 ? 'matches' : 'match'}.`), (error) => setText(element, api.inWords(error)));
}

function outcome({ moved, not_moved: left = {} }, word) {
  const stay = Object.entries(left).map(([reason, count]) => `${jobs(count)}: ${REASONS[reason] ?? reason}`);
  return [`${jobs(moved)} ${word}.`, stay.length > 0 && ` Not moved: ${stay.join('; ')}.`].filter(Boolean).join('');
}
