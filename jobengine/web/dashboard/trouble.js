// What is wrong with a queue, and the order of queues by it.

import { h } from './dom.js';
import { number } from './format.js';

/** Failures in the last hour are worse than older ones, and those than a queue that is held up on purpose. */
const FAILING = 2;
const FAILED = 1;

/** How bad a queue's state is; 0 is nothing. */
function level({ counts, last_hour: hour }) {
  if (hour.failed > 0) return FAILING;
  return counts.failed > 0 ? FAILED : 0;
}

/** Numbers to compare queues by, the greatest first. */
const badness = (queue) => [level(queue), queue.last_hour.failed, queue.counts.failed, queue.paused || queue.draining ? 1 : 0, queue.oldest_ready_seconds ?? -1];

/** Compare two queues: the one in more trouble comes first. */
export function byTrouble(one, other) {
  const [mine, others] = [badness(one), badness(other)];
  const at = mine.findIndex((value, index) => value !== others[index]);
  return at < 0 ? 0 : others[at] - mine[at];
}

/** What is wrong with a queue in a few words, for people: elements. */
export function troubleMarks(queue) {
  return [
    level(queue) === FAILING && h('span', { class: 'bad' }, `${number(queue.last_hour.failed)} failed in the last hour`),
  ].filter(Boolean);
}
