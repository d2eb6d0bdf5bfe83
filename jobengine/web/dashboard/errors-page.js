// The errors of all queues that the tab may read, grouped.

import * as api from './api.js';
import { h, keyed, replace, setText } from './dom.js';
import { KINDS, grouped, inKinds, jobsWithErrors, keepOrder } from './error-groups.js';
import { errorView } from './error-view.js';
import { NOTHING, NO_ERROR } from './errors-part.js';
import { number, setTime, time } from './format.js';
import { choices, empty, failure, loading } from './forms.js';
import { jobLink, queueLink } from './links.js';
import { Refresher } from './live.js';
import { allQueues, inTurns } from './queues.js';
import { failedCount } from './trouble.js';

/** The latest failed jobs that are read of each queue, and from how many queues, those with the most failures. */
const MOST_OF_A_QUEUE = 200;
const MOST_QUEUES = 50;

class ErrorsPage extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ query }) {
    if (this.list) return;
    this.kind = KINDS.some(([kind]) => kind === query.of) ? query.of : 'both';
    this.state = h('div');
    this.told = h('p', { class: 'muted', role: 'status' });
    this.list = h('ol', { class: 'errors' });
    this.append(h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, 'Errors of all queues')),
      h('div', { class: 'line' }, choices('Which jobs', KINDS, this.kind, (kind) => this.#choose(kind)), this.told), this.state, this.list);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 10000, idle: 30000, signal: this.#stop.signal });
  }

  /** Read again. */
  changed() {
    this.refresher.now();
  }

  #choose(kind) {
    this.kind = kind;
    history.replaceState(null, '', `#/errors?of=${kind}`);
    this.refresher.now();
  }

  async #read(signal) {
    const { kind } = this;
    try {
      const count = (queue) => (queue.counts ? (kind !== 'retrying') * failedCount(queue) + (kind !== 'failed') * queue.retrying : 0);
      const failing = (await allQueues(signal)).filter(count).sort((one, other) => count(other) - count(one));
      const found = [];
      await inTurns(failing.slice(0, MOST_QUEUES), async ({ name }) => found.push(await jobsWithErrors(name, kind, MOST_OF_A_QUEUE, signal)));
      if (kind === this.kind) this.#draw(found, failing.length);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw(found, queues) {
    const failed = found.flatMap((each) => each.jobs).sort((one, other) => other.last_updated - one.last_updated);
    const part = [found.some(({ more }) => more) && `the latest ${MOST_OF_A_QUEUE} of each queue`, queues > MOST_QUEUES && `the ${MOST_QUEUES} queues with the most failures`].filter(Boolean);
    replace(this.state, failed.length === 0 && empty(...NOTHING[this.kind]));
    setText(this.told, failed.length === 0 ? '' : `${inKinds(failed)} in ${number(found.length)} ${found.length === 1 ? 'queue' : 'queues'}, grouped by error${part.length ? ` (${part.join(', of ')})` : ''}`);
    const groups = grouped(failed);
    keepOrder(this.list, groups);
    keyed(this.list, groups, ({ key }) => key, make, update);
  }
}
customElements.define('je-all-errors', ErrorsPage);

function make() {
  const element = h('li', { class: 'panel' });
  element.count = h('b', { class: 'count' });
  element.error = errorView();
  element.last = time(null);
  element.example = h('a', {}, 'Show the last one');
  element.queues = h('span', { class: 'line' });
  element.append(element.error, h('div', { class: 'line' }, element.count, h('span', { class: 'muted' }, 'last ', element.last), element.example, element.queues));
  return element;
}

function update(element, group) {
  const [latest] = group.jobs;
  setText(element.count, inKinds(group.jobs));
  element.error.show(latest.error ?? NO_ERROR);
  setTime(element.last, latest.last_updated);
  element.example.href = jobLink(latest.queue, latest.uid);
  const counts = Map.groupBy(group.jobs, ({ queue }) => queue);
  keyed(element.queues, [...counts], ([queue]) => queue, () => h('a'), (link, [queue, some]) => {
    const kinds = new Set(some.map(({ state }) => state));
    link.href = queueLink(queue, '', { state: kinds.size === 1 ? [...kinds][0] : '', error: group.filter });
    setText(link, `${queue}: ${number(some.length)}`);
  });
}
