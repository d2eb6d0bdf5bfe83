// The workers of a queue: those that hold jobs, and those that wait for some.

import * as api from './api.js';
import { h, keyed, replace, set, setText } from './dom.js';
import { jobs, number, setTime, time } from './format.js';
import { empty, failure, loading } from './forms.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';

const HEADS = ['Worker', 'State', 'Since', 'Last sign of life', 'Machine', 'Other queues'];

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
    this.table = h('div', { class: 'table-frame', hidden: true }, h('table', { class: 'workers' }, h('caption', { class: 'unseen' }, 'Workers'),
      h('thead', {}, h('tr', {}, HEADS.map((text) => h('th', { scope: 'col' }, text)))), this.body));
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
    const { workers, total } = answer;
    const holding = workers.filter(({ waiting }) => !waiting).length;
    const idle = workers.length - holding;
    replace(this.state, workers.length === 0 ? empty('No worker holds a job or waits for one') : h('p', { class: 'muted' },
      `${number(total)} ${total === 1 ? 'worker holds' : 'workers hold'} jobs${total > holding ? ` (the first ${number(holding)} are shown)` : ''}, ${number(idle)} ${idle === 1 ? 'waits' : 'wait'} for some${wantedText(this.page.stats)}`));
    this.table.hidden = workers.length === 0;
    keyed(this.body, named(workers), ({ key }) => key, (each) => this.#row(each), (row, each) => this.#update(row, each));
  }

  #row({ worker, waiting }) {
    const name = worker === null ? h('span', { class: 'muted' }, 'gave no name')
      : waiting ? worker : h('a', { href: queueLink(this.queue, '', { state: 'inprogress', worker }) }, worker);
    const row = h('tr', {}, h('th', { scope: 'row' }, name));
    row.figures = { state: h('td'), since: time(null), last: time(null), machine: h('td', { class: 'muted' }), queues: h('td', { class: 'muted' }) };
    row.append(row.figures.state, h('td', {}, row.figures.since), h('td', {}, row.figures.last), row.figures.machine, row.figures.queues);
    return row;
  }

  #update({ figures: cells }, { waiting, jobs: count, oldest_claimed: oldest, last_updated: updated, since, last_claim: claim, queues = [], tags = [], host, pid, client }) {
    setText(cells.state, waiting ? `Waits for a job${taggedText(tags)}` : `Holds ${jobs(count)}`);
    setTime(cells.since, waiting ? since : oldest);
    setTime(cells.last, waiting ? claim : updated);
    setText(cells.machine, [host, pid && `process ${pid}`].filter(Boolean).join(', ') || '–');
    set(cells.machine, 'title', client);
    setText(cells.queues, queues.filter((name) => name !== this.queue).join(', ') || '–');
  }
}
customElements.define('je-workers', WorkersPart);

/** "; 4 are wanted, so that no job waits longer than 30 s", for a queue with such a target. */
function wantedText({ workers_wanted: wanted, target_wait_seconds: target } = {}) {
  return target === undefined ? '' : `; ${number(wanted)} ${wanted === 1 ? 'is' : 'are'} wanted, so that no job waits longer than ${number(target)} s`;
}

/** " with the tags cpu and fast": which jobs a claim takes; empty if it takes all. */
const taggedText = (tags) => (tags.length === 0 ? '' : ` with the ${tags.length === 1 ? 'tag' : 'tags'} ${tags.join(' and ')}`);

/** The workers, each with a key of its own: several claims may wait under one name. */
function named(workers) {
  const seen = new Map();
  return workers.map((each) => {
    const key = JSON.stringify([each.worker, each.waiting, each.host, each.pid]);
    seen.set(key, (seen.get(key) ?? 0) + 1);
    return { ...each, key: `${key} ${seen.get(key)}` };
  });
}
