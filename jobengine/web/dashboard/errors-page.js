// The failures of all queues that the tab may read, by fingerprint.

import * as api from './api.js';
import { h, replace, setText } from './dom.js';
import { NOTHING, drawGroups, merged } from './error-groups.js';
import { leftOutText } from './errors-part.js';
import { number } from './format.js';
import { empty, failure, loading } from './forms.js';
import { Refresher } from './live.js';
import { allQueues, inTurns } from './queues.js';
import { failedCount } from './trouble.js';

/** The most errors to read of each queue (those with the most jobs), and the most queues (those with the most failures). */
const MOST_OF_A_QUEUE = 100;
const MOST_QUEUES = 50;

class ErrorsPage extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show() {
    if (this.list) return;
    this.state = h('div');
    this.summary = h('p', { class: 'muted', role: 'status' });
    this.leftOut = h('p', { class: 'muted', hidden: true });
    this.list = h('ol', { class: 'errors' });
    this.append(h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, 'Errors of all queues')), this.summary, this.state, this.list, this.leftOut);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 10000, idle: 30000, signal: this.#stop.signal });
  }

  /** Read again. */
  changed() {
    this.refresher.now();
  }

  async #read(signal) {
    try {
      const count = (queue) => (queue.counts ? failedCount(queue) + queue.retrying : 0);
      const queues = await allQueues(signal);
      this.deadLetters = new Set(queues.map(({ dead_letter: its }) => its?.queue_name));
      const failing = queues.filter(count).sort((one, other) => count(other) - count(one));
      const pages = [];
      await inTurns(failing.slice(0, MOST_QUEUES), async ({ name }) => pages.push({ name, ...await api.listFailures(name, { limit: MOST_OF_A_QUEUE, signal }) }));
      this.#draw(pages, failing);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw(pages, failing) {
    const groups = merged(pages.flatMap(({ name, failures }) => failures.map((group) => ({ ...group, queue: name }))));
    const part = [pages.some(({ next_cursor: next }) => next) && `the ${MOST_OF_A_QUEUE} most frequent of each queue`,
      failing.length > MOST_QUEUES && `the ${MOST_QUEUES} queues with the most failures`].filter(Boolean);
    const total = (of) => failing.slice(0, MOST_QUEUES).reduce((all, queue) => all + of(queue), 0);
    const counts = [[total(failedCount), 'failed'], [total(({ retrying }) => retrying), 'retrying']].filter(([count]) => count > 0).map(([count, word]) => `${number(count)} ${word}`);
    replace(this.state, groups.length === 0 && empty(...NOTHING));
    setText(this.summary, groups.length === 0 ? '' : `${counts.join(', ')} in ${number(pages.length)} ${pages.length === 1 ? 'queue' : 'queues'}, grouped by error${part.length ? ` (${part.join(', of ')})` : ''}`);
    drawGroups(this.list, groups, () => this.changed(), { named: true, deadLetters: this.deadLetters });
    const dropped = pages.reduce((all, page) => all + page.dropped, 0);
    this.leftOut.hidden = dropped === 0;
    setText(this.leftOut, leftOutText(dropped));
  }
}
customElements.define('je-all-errors', ErrorsPage);
