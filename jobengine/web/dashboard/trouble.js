// What is wrong with a queue, and the order of queues by trouble.

import { h } from './dom.js';
import { duration, exact, number } from './format.js';

/** Workers may claim only now and then: a queue has none if there was no claim for this many seconds. */
const QUIET = 60;
/** Ready jobs without a worker are worst, then failures of the last hour, then older failures. */
const [WAITING, FAILING, FAILED] = [3, 2, 1];

/** The number of failed jobs, without cancelled ones. */
export const failedCount = ({ counts, cancelled }) => counts.failed - cancelled;

/** Attempts that failed or timed out in a period of the figures, whether their jobs are tried again or not. */
export const failedAttempts = (period) => period.attempts_failed ?? period.failed;

/** Whether jobs are ready, and no worker holds any or has claimed lately. */
function lacksWorkers({ ready, counts, paused, workers_waiting: waiting, last_claim: last, oldest_ready_seconds: oldest }) {
  if (paused || ready === 0 || counts.inprogress > 0 || waiting > 0) return false;
  return oldest >= QUIET && (last === null || Date.now() / 1000 - last >= QUIET);
}

/** A red note for a queue with ready jobs and no worker, or null; the `brief` one leaves out the number of jobs. */
export function workerNote(queue, brief = false) {
  if (!lacksWorkers(queue)) return null;
  const { ready, last_claim: last } = queue;
  const how = last === null ? 'no worker yet' : `no worker for ${duration(Math.floor(Date.now() / 1000 - last))}`;
  return h('span', { class: 'bad', title: last === null ? 'No claim since the server’s start' : `The last claim was ${exact(last)}` }, brief ? how : `${number(ready)} ready, ${how}`);
}

/** How bad a queue's state is; 0 is nothing. */
function level(queue) {
  if (lacksWorkers(queue)) return WAITING;
  if (failedAttempts(queue.last_hour) > 0) return FAILING;
  return failedCount(queue) + queue.retrying > 0 ? FAILED : 0;
}

/** Numbers to compare queues by, the greatest first. */
const badness = (queue) => [
  level(queue), failedAttempts(queue.last_hour), failedCount(queue) + queue.retrying, queue.paused || queue.draining ? 1 : 0, queue.oldest_ready_seconds ?? -1,
];

/** Compare two queues: the one in more trouble comes first. */
export function byTrouble(one, other) {
  const [mine, others] = [badness(one), badness(other)];
  const at = mine.findIndex((value, index) => value !== others[index]);
  return at < 0 ? 0 : others[at] - mine[at];
}

/** What is wrong with a queue in a few words, for people: elements. */
export function troubleMarks(queue) {
  const failed = failedAttempts(queue.last_hour);
  const note = workerNote(queue, true);
  if (note) return [note];
  if (queue.dead_letter?.missing) return [h('span', { class: 'bad', title: `There is no queue “${queue.dead_letter.queue_name}” any more: failed jobs stay.` }, 'no dead-letter queue')];
  return failed > 0 ? [h('span', { class: 'bad', title: 'In the last hour' }, `${number(failed)} ${failed === 1 ? 'attempt' : 'attempts'} failed`)] : [];
}
