// The workers that hold jobs of a queue.

import * as api from './api.js';
import { h, keyed, replace, setText } from './dom.js';
import { number, setTime, time } from './format.js';
import { empty, failure, loading } from './forms.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';

class WorkersPart extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ queue }) {
    if (this.body) return;
    this.queue = queue;
    this.body = h('tbody');
    this.state = h('div');
    const heads = ['Worker', 'Jobs', 'Longest held since', 'Last sign of life'].map((text, at) => h('th', { scope: 'col', class: at === 1 ? 'num' : null }, text));
    this.table = h('div', { class: 'table-frame', hidden: true }, h('table', { class: 'workers' }, h('caption', { class: 'unseen' }, 'Workers'), h('thead', {}, h('tr', {}, heads)), this.body));
    this.append(this.state, this.table);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 2000, idle: 10000, signal: this.#stop.signal });
  }

  changed() {
    this.refresher.now();
  }

  happened() {
    this.refresher.soon();
  }

  async #read(signal) {
    let answer;
    try {
      answer = await api.workers(this.queue, signal);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
    const workers = answer.workers.filter(({ waiting }) => !waiting);
    const { total } = answer;
    replace(this.state, workers.length === 0 ? empty('No worker holds a job now') : total > workers.length && h('p', { class: 'muted' }, `The first ${number(workers.length)} of ${number(total)}.`));
    this.table.hidden = workers.length === 0;
    keyed(this.body, workers, ({ worker }) => JSON.stringify(worker), (each) => this.#row(each), update);
  }

  #row({ worker }) {
    const link = worker === null ? h('span', { class: 'muted' }, 'gave no name') : h('a', { href: queueLink(this.queue, '', { state: 'inprogress', worker }) }, worker);
    const row = h('tr', {}, h('th', { scope: 'row' }, link));
    row.figures = [h('td', { class: 'num' }), time(null), time(null)];
    row.append(row.figures[0], h('td', {}, row.figures[1]), h('td', {}, row.figures[2]));
    return row;
  }
}
customElements.define('je-workers', WorkersPart);

function update(row, worker) {
  const [count, oldest, last] = row.figures;
  setText(count, number(worker.jobs));
  setTime(oldest, worker.oldest_claimed);
  setTime(last, worker.last_updated);
}
