// All queues: those that the tab is signed in to, or all of the server with the admin key.

import * as api from './api.js';
import { h, keyed, menu, replace, setText } from './dom.js';
import { brief, duration, number } from './format.js';
import { setSparkline, sparkline } from './chart.js';
import { empty, failure, loading } from './forms.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';
import { badges, drain, pause, purge, queuedText, remove } from './queue-actions.js';
import { session } from './session.js';
import { createQueue } from './sign-in.js';

const COLUMNS = [
  ['name', 'Queue'], ['failed', 'Failed'], ['queued', 'Queued'], ['inprogress', 'In progress'], ['complete', 'Complete'],
  ['oldest', 'Oldest ready'], ['workers', 'Workers'], ['rate', 'Last hour'],
];
const SORTS = {
  name: (queue) => queue.name, failed: (queue) => -queue.counts.failed, queued: (queue) => -queue.counts.queued,
  inprogress: (queue) => -queue.counts.inprogress, complete: (queue) => -queue.counts.complete,
  oldest: (queue) => -(queue.oldest_ready_seconds ?? -1), rate: (queue) => -queue.last_hour.added,
};
/** Milliseconds after which the workers of a visible queue are counted again. */
const WORKERS = 15000;

class QueuesPage extends HTMLElement {
  #stop = new AbortController();
  #sort = 'name';
  #queues = [];
  #inView = new Set();
  #counted = new Map();
  /** The rows of queues whose key is wrong, by what the session has of them. */
  #refused = new WeakMap();

  connectedCallback() {
    if (this.firstChild) return;
    this.body = h('tbody');
    this.table = h('div', { class: 'table-frame', hidden: true }, h('table', { class: 'queues' }, h('caption', { class: 'unseen' }, 'Queues'), this.#head(), this.body));
    this.state = h('div');
    this.find = h('input', { type: 'search', 'aria-label': 'Find a queue', placeholder: 'Find a queue', hidden: true, oninput: () => this.#draw() });
    this.append(h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, 'Queues'), this.find,
      h('button', { type: 'button', class: 'primary', onclick: createQueue }, 'Create queue')), this.state, this.table);
    loading(this.state);
    this.seen = new IntersectionObserver((entries) => this.#look(entries), { rootMargin: '100px' });
    const { signal } = this.#stop;
    this.refresher = new Refresher((limit) => this.#read(limit), { idle: 3000, signal });
    this.more = new Refresher((limit) => this.#countWorkers(limit), { idle: 5000, signal });
  }

  disconnectedCallback() {
    this.#stop.abort();
    this.seen.disconnect();
  }

  show() {}

  #head() {
    const heads = COLUMNS.map(([key, text]) => h('th', { scope: 'col', class: `c-${key}`, 'data-sort': SORTS[key] && key, 'aria-sort': key === this.#sort ? 'ascending' : null },
      SORTS[key] ? h('button', { type: 'button', class: 'sort', onclick: () => this.#sortBy(key) }, text) : text));
    return h('thead', {}, h('tr', {}, heads, h('th', { scope: 'col', class: 'c-actions' }, h('span', { class: 'unseen' }, 'Actions'))));
  }

  #sortBy(key) {
    this.#sort = key;
    for (const head of this.querySelectorAll('th[data-sort]')) {
      head.toggleAttribute('aria-sort', false);
      if (head.dataset.sort === key) head.setAttribute('aria-sort', key === 'name' ? 'ascending' : 'descending');
    }
    this.#draw();
  }

  async #read(signal) {
    try {
      this.#queues = session.admin === null ? await this.#readOwn(signal) : (await api.listQueues(signal)).queues;
      replace(this.state);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
    this.#draw();
  }

  /** The queues with a key. A key that can't read, or was revoked, still has its row; a wrong one is not sent again. */
  #readOwn(signal) {
    return Promise.all([...session.queues].map(async ([name, known]) => {
      const { role } = known;
      if (this.#refused.has(known)) return this.#refused.get(known);
      if (!session.may(name, 'read')) return { name, role, note: `signed in as ${role}` };
      try {
        return { ...await api.stats(name, signal), role };
      } catch (error) {
        if (!(error instanceof api.Refused)) throw error;
        const row = { name, role, note: error.message, bad: true };
        if (error.status === 401) this.#refused.set(known, row);
        return row;
      }
    }));
  }

  #draw() {
    this.find.hidden = this.#queues.length < 8;
    const wanted = this.find.value.toLowerCase();
    const by = SORTS[this.#sort];
    const value = (queue) => (queue.counts ? by(queue) : queue.name);
    const listed = this.#queues.filter((queue) => queue.name.toLowerCase().includes(wanted));
    if (!this.body.matches(':hover, :focus-within') || !this.body.firstChild) listed.sort((one, other) => (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : 0));
    else this.#inPlace(listed);
    this.table.hidden = this.#queues.length === 0;
    if (this.#queues.length === 0) replace(this.state, empty('There is no queue yet', 'Create one here, or by PUT /api/v1/queue.'));
    keyed(this.body, listed, (queue) => `${queue.name}/${queue.counts ? '' : 'x'}`, (queue) => this.#row(queue), (row, queue) => this.#update(row, queue));
  }

  /** The present order of the rows: nothing moves under the pointer. */
  #inPlace(listed) {
    const order = new Map([...this.body.children].map((row, at) => [row.queue.name, at]));
    listed.sort((one, other) => (order.get(one.name) ?? 1e9) - (order.get(other.name) ?? 1e9));
  }

  #row(queue) {
    const row = h('tr');
    row.name = h('span', { class: 'marks' });
    row.append(h('th', { scope: 'row', class: 'c-name' }, h('a', { href: queueLink(queue.name), class: 'strong', title: queue.name }, queue.name), row.name));
    if (!queue.counts) {
      row.note = h('td', { colspan: COLUMNS.length, class: 'muted' });
      row.append(row.note);
      return row;
    }
    row.figures = Object.fromEntries(COLUMNS.slice(1, -1).map(([key]) => [key, h('td', { class: `num c-${key}` })]));
    row.spark = sparkline();
    row.rate = h('span', { class: 'muted' });
    row.append(...Object.values(row.figures), h('td', { class: 'c-rate' }, row.spark, row.rate), h('td', { class: 'c-actions' }, this.#actions(row, queue)));
    this.seen.observe(row);
    return row;
  }

  #actions(row, { name }) {
    if (!session.may(name, 'manage')) return null;
    const done = () => this.refresher.now();
    const list = menu('Actions', [
      ['Pause', () => pause(row.queue, done), { 'data-act': 'pause' }], ['Drain', () => drain(row.queue, done), { 'data-act': 'drain' }],
      ['Defaults, limits and keys', () => { location.hash = queueLink(name, 'settings'); }],
      ['Purge', () => purge(row.queue, done), { class: 'danger' }], ['Delete queue', () => remove(row.queue, done), { class: 'danger' }],
    ], { 'aria-label': `Actions for ${name}`, class: 'quiet' });
    row.pause = list.querySelector('[data-act=pause]');
    row.drain = list.querySelector('[data-act=drain]');
    return list;
  }

  #update(row, queue) {
    row.queue = queue;
    if (row.note) {
      row.note.className = queue.bad ? 'error' : 'muted';
      setText(row.note, queue.note);
      return;
    }
    const marks = [...badges(queue), queue.role && queue.role !== 'owner' && h('span', { class: 'badge' }, queue.role)].filter(Boolean);
    if (row.name.textContent !== marks.map((mark) => mark.textContent).join('')) replace(row.name, marks);
    const { counts } = queue;
    replace(row.figures.queued, number(counts.queued), h('small', {}, counts.queued ? queuedText(queue) : ''));
    for (const key of ['failed', 'inprogress', 'complete']) setText(row.figures[key], number(counts[key]));
    row.figures.failed.classList.toggle('bad', counts.failed > 0);
    setText(row.figures.oldest, duration(queue.oldest_ready_seconds === null ? null : Math.floor(queue.oldest_ready_seconds)));
    setText(row.rate, `${brief(queue.last_minute.added)} in, ${brief(queue.last_minute.complete)} done in a minute`);
    setSparkline(row.spark, queue.minutes);
    if (counts.inprogress === 0) setText(row.figures.workers, '0');
    if (row.pause) setText(row.pause, queue.paused ? 'Resume' : 'Pause');
    if (row.drain) setText(row.drain, queue.draining ? 'Stop draining' : 'Drain');
  }

  #look(entries) {
    for (const { target, isIntersecting } of entries) this.#inView[isIntersecting ? 'add' : 'delete'](target);
    this.more.soon();
  }

  /** Count the workers of visible rows whose count is old, one queue after another. */
  async #countWorkers(signal) {
    for (const { queue: { name, counts }, figures } of [...this.#inView].filter((row) => row.isConnected)) {
      if (counts.inprogress === 0 || Date.now() - (this.#counted.get(name) ?? 0) < WORKERS) continue;
      this.#counted.set(name, Date.now());
      try {
        setText(figures.workers, number((await api.workers(name, signal)).total));
      } catch (error) {
        // A deleted queue leaves the table when it is read next.
        if (!(error instanceof api.Refused)) throw error;
      }
    }
  }
}
customElements.define('je-queues', QueuesPage);
