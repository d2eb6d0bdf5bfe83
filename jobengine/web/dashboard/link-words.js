// Jobs and batches that wait for others or are waited for, in words.

import { gist, number } from './format.js';
import { jobLink, queueLink } from './links.js';

const WORDS = {
  queued: 'Queued', waiting: 'Waiting', inprogress: 'In progress', complete: 'Complete', failed: 'Failed', cancelled: 'Cancelled',
  unfinished: 'Not finished', removed: 'Removed', unknown: 'Unknown',
};

/** The state as the dashboard shows it: cancelled and waiting jobs have states of their own. */
export const shownLink = ({ state, cancelled, waiting }) => (cancelled ? 'cancelled' : waiting ? 'waiting' : state);

export const linkWord = (node) => WORDS[shownLink(node)];

export const isBatch = ({ uid }) => uid === undefined;

/** "0b8c9e1c", "Batch import-7"; with the queue's name if the queue is not `queue`. */
export function linkName(node, queue) {
  const name = isBatch(node) ? `Batch ${node.batch}` : node.uid.slice(0, 8);
  return node.queue_name === queue ? name : `${name} in ${node.queue_name}`;
}

/** What is known beside the state: progress and worker, the error, or the counts of a batch. */
export function linkDetail(node) {
  if (isBatch(node)) return batchText(node);
  if (node.state === 'inprogress') return [node.progress !== undefined && `${node.progress} %`, node.worker && `at ${node.worker}`].filter(Boolean).join(' ');
  return node.state === 'failed' && !node.cancelled ? gist(node.error) : '';
}

/** "8 of 12 finished, 1 failed, open" */
export function batchText({ total, complete, failed, open }) {
  if (total === undefined) return '';
  return [`${number(complete + failed)} of ${number(total)} finished`, failed > 0 && `${number(failed)} failed`, open && 'open'].filter(Boolean).join(', ');
}

/** The address of the job, or of the batch in the list of batches of its queue. */
export const linkTarget = (node) => (isBatch(node) ? batchLink(node.queue_name, node.batch) : jobLink(node.queue_name, node.uid));

export const batchLink = (queue, batch) => queueLink(queue, 'batches', { batch });
