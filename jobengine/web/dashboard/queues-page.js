// All queues: those that the tab is signed in to, or all of the server with the admin key.

import * as api from './api.js';
import { setSparkline, sparkline } from './chart.js';
import { h, keyed, menu, replace, set, setText } from './dom.js';
import { waitText } from './flow.js';
import { brief, duration, number, since } from './format.js';
import { empty, failure, loading } from './forms.js';
import { jobLink, queueLink } from './links.js';
import { Refresher } from './live.js';
import { cancelledText } from './overview-part.js';
import { badges, drain, pause, purge, remove } from './queue-actions.js';
import { allQueues, queueOf } from './queues.js';
import { session } from './session.js';
import { createQueue } from './sign-in.js';
import { byTrouble, failedCount, troubleMarks } from './trouble.js';

const COLUMNS = [
  ['name', 'Queue'], ['trouble', 'Trouble'], ['failed', 'Failed'], ['retrying', 'Retrying'], ['queued', 'Queued'], ['inprogress', 'In progress'], ['complete', 'Complete'],
  ['oldest', 'Oldest ready'], ['workers', 'Workers'], ['rate', 'Last hour'],
];
/** The value that each order compares: texts ascending, numbers descending. */
const SORTS = {
  name: (queue) => queue.name, failed: failedCount, retrying: (queue) => queue.retrying, queued: (queue) => queue.counts.queued,
  inprogress: (queue) => queue.counts.inprogress, complete: (queue) => queue.counts.complete,
  oldest: (queue) => queue.oldest_ready_seconds ?? -1, rate: (queue) => queue.last_hour.added,
};
const USUAL = 'trouble';
const SORT = 'jobengine.queues-order';
const UID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
/** Milliseconds after which the workers of a visible queue are counted again. */
const WORKERS = 15000;

class QueuesPage extends HTMLElement {
  #stop = new AbortController();
  #sort = USUAL;
  /** Stops the search for a job. */
  #finding = new AbortController();
  #queues = [];
  #inView = new Set();
  #counted = new Map();

  connectedCallback() {
    if (this.firstChild) return;
    this.body = h('tbody');
    this.table = h('div', { class: 'table-frame', hidden: true }, h('table', { class: 'queues' }, h('caption', { class: 'unseen' }, 'Queues'), this.#head(), this.body));
    this.state = h('div');
    this.find = h('input', { type: 'search', 'aria-label': 'Find a queue or a job’s uid', placeholder: 'Find a queue or a job’s uid', oninput: () => this.#found() });
    this.told = h('p', { role: 'status' });
    this.append(h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, 'Queues'), this.find,
      h('button', { type: 'button', class: 'primary', onclick: createQueue }, 'Create queue')), this.told, this.state, this.table);
    loading(this.state);
    this.seen = new IntersectionObserver((entries) => this.#look(entries), { rootMargin: '100px' });
    const { signal } = this.#stop;
    this.refresher = new Refresher((limit) => this.#read(limit), { idle: 3000, signal });
    this.more = new Refresher((limit) => this.#countWorkers(limit), { idle: 5000, signal });
  }

  disconnectedCallback() {
    this.#stop.abort();
    this.#finding.abort();
    this.seen.disconnect();
  }

  /** Show the queues in the order of the route's query, or else in the order chosen last. */
  show({ query }) {
    const known = [query.sort, localStorage.getItem(SORT)].find((sort) => sort && (sort === USUAL || sort.replace('-', '') in SORTS));
    this.#sortBy(known ?? USUAL);
  }

  /** Read again. */
  changed() {
    this.refresher.now();
  }

  #head() {
    const button = (key, text) => h('button', { type: 'button', class: 'sort', onclick: () => this.#choose(key) }, text);
    const heads = COLUMNS.map(([key, text]) => h('th', { scope: 'col', class: `c-${key}`, 'data-sort': key }, key in SORTS || key === USUAL ? button(key, text) : text));
    return h('thead', {}, h('tr', {}, heads, h('th', { scope: 'col', class: 'c-actions' }, h('span', { class: 'unseen' }, 'Actions'))));
  }

  /** Sort by a column, or reverse its order. The order is kept in the address, and for the next visit. */
  #choose(key) {
    const turned = key !== USUAL && this.#sort.replace('-', '') === key;
    const first = key === 'name' || key === USUAL ? key : `-${key}`;
    this.#sortBy(turned ? (this.#sort.startsWith('-') ? key : `-${key}`) : first);
    localStorage.setItem(SORT, this.#sort);
    history.replaceState(null, '', `#/queues?sort=${this.#sort}`);
  }

  #sortBy(sort) {
    this.#sort = sort;
    const key = sort.replace('-', '');
    const down = sort.startsWith('-') || sort === USUAL;
    for (const head of this.querySelectorAll('th[data-sort]')) set(head, 'aria-sort', head.dataset.sort === key ? (down ? 'descending' : 'ascending') : null);
    this.#draw();
  }

  /** Compare two queues; those without figures come last, by name. */
  #compare(one, other) {
    const names = one.name < other.name ? -1 : 1;
    if (!one.counts || !other.counts) return one.counts ? -1 : other.counts ? 1 : names;
    if (this.#sort === USUAL) return byTrouble(one, other) || names;
    const value = SORTS[this.#sort.replace('-', '')];
    const [mine, others] = [value(one), value(other)];
    return (mine < others ? -1 : mine > others ? 1 : 0) * (this.#sort.startsWith('-') ? -1 : 1) || names;
  }

  /** The text to find has changed: a job's uid leads to the job, other text narrows the table. */
  async #found() {
    this.#finding.abort();
    this.#finding = new AbortController();
    const { signal } = this.#finding;
    const uid = this.find.value.trim().toLowerCase();
    setText(this.told, '');
    this.#draw();
    if (!UID.test(uid)) return;
    setText(this.told, 'Looking for the job …');
    try {
      const place = await queueOf(uid, this.#queues.map(({ name }) => name), signal);
      if (signal.aborted) return;
      if (place !== null) location.hash = jobLink(place, uid);
      else setText(this.told, `No job has the uid ${uid}. It may have been removed.`);
    } catch (error) {
      if (!signal.aborted) setText(this.told, api.inWords(error));
    }
  }

  async #read(signal) {
    try {
      this.#queues = await allQueues(signal);
      this.known = true;
      replace(this.state);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
    this.#draw();
  }

  #draw() {
    const wanted = this.find.value.trim().toLowerCase();
    const listed = this.#queues.filter(({ name }) => UID.test(wanted) || name.toLowerCase().includes(wanted));
    if (!this.body.matches(':hover, :focus-within') || !this.body.firstChild) listed.sort((one, other) => this.#compare(one, other));
    else this.#inPlace(listed);
    this.table.hidden = this.#queues.length === 0;
    if (!UID.test(wanted)) setText(this.told, this.#queues.length > 0 && listed.length === 0 ? 'No queue has this name; a job is found by its whole uid.' : '');
    if (this.known && this.#queues.length === 0) replace(this.state, empty('There is no queue yet', 'Create queue makes the first one.'));
    keyed(this.body, listed, (queue) => `${queue.name}/${queue.counts ? '' : 'x'}`, (queue) => this.#row(queue), (row, queue) => this.#update(row, queue));
  }

  /** Sort queues by the present order of their rows, so that nothing moves under the pointer. */
  #inPlace(listed) {
    const order = new Map([...this.body.children].map((row, at) => [row.queue.name, at]));
    listed.sort((one, other) => (order.get(one.name) ?? 1e9) - (order.get(other.name) ?? 1e9));
  }

  #row(queue) {
    const row = h('tr');
    row.name = h('span', { class: 'marks' });
    row.trouble = h('td', { class: 'c-trouble' });
    row.brief = h('span', { class: 'narrow' });
    row.append(h('th', { scope: 'row', class: 'c-name' }, h('a', { href: queueLink(queue.name), class: 'strong', title: queue.name }, queue.name), row.name, row.brief));
    if (!queue.counts) {
      row.note = h('td', { colspan: COLUMNS.length, class: 'muted' });
      row.append(row.note);
      return row;
    }
    row.figures = Object.fromEntries(COLUMNS.slice(2, -1).map(([key]) => [key, h('td', { class: `num c-${key}` })]));
    row.spark = sparkline();
    row.rate = h('span', { class: 'muted' });
    row.append(row.trouble, ...Object.values(row.figures), h('td', { class: 'c-rate' }, row.spark, row.rate), h('td', { class: 'c-actions' }, this.#actions(row, queue)));
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
    show(row.name, [...badges(queue), queue.role && queue.role !== 'owner' && h('span', { class: 'badge' }, queue.role)].filter(Boolean));
    show(row.trouble, troubleMarks(queue));
    show(row.brief, troubleMarks(queue));
    const { counts } = queue;
    const wait = queue.held ? `${brief(queue.held)} held` : waitText(queue);
    replace(row.figures.queued, number(counts.queued), wait && h('small', {}, ` ${wait}`));
    set(row.figures.queued, 'title', waitText(queue) || null);
    for (const key of ['inprogress', 'complete']) setText(row.figures[key], number(counts[key]));
    for (const [key, value] of [['failed', failedCount(queue)], ['retrying', queue.retrying]]) {
      setText(row.figures[key], number(value));
      row.figures[key].classList.toggle('bad', value > 0);
    }
    set(row.figures.failed, 'title', cancelledText(queue) || null);
    setText(row.figures.oldest, duration(queue.oldest_ready_seconds === null ? null : Math.floor(queue.oldest_ready_seconds)));
    set(row.figures.oldest, 'title', queue.oldest_ready_seconds === null ? null : `Added ${since(queue.oldest_ready_seconds)}`);
    setText(row.rate, `${brief(queue.last_minute.added)} in, ${brief(queue.last_minute.complete)} done/min`);
    setSparkline(row.spark, queue.minutes);
    if (counts.inprogress === 0) row.holding = 0;
    drawWorkers(row, queue);
    if (row.pause) setText(row.pause, queue.paused ? 'Resume' : 'Pause');
    if (row.drain) setText(row.drain, queue.draining ? 'Stop draining' : 'Drain');
  }

  #look(entries) {
    for (const { target, isIntersecting } of entries) this.#inView[isIntersecting ? 'add' : 'delete'](target);
    this.more.soon();
  }

  /** Count the workers of visible rows whose count is old, one queue after another. */
  async #countWorkers(signal) {
    for (const row of [...this.#inView].filter((each) => each.isConnected)) {
      const { name, counts } = row.queue;
      if (counts.inprogress === 0 || Date.now() - (this.#counted.get(name) ?? 0) < WORKERS) continue;
      this.#counted.set(name, Date.now());
      try {
        row.holding = (await api.workers(name, signal)).total;
        drawWorkers(row, row.queue);
      } catch (error) {
        // A deleted queue leaves the table when it is read next.
        if (!(error instanceof api.Refused)) throw error;
      }
    }
  }
}
customElements.define('je-queues', QueuesPage);

/** Show how many workers hold jobs, once they were counted, and how many wait for some. */
function drawWorkers({ figures, holding }, { workers_waiting: waiting }) {
  if (holding !== undefined) setText(figures.workers, waiting ? `${number(holding)} + ${number(waiting)} idle` : number(holding));
}

/** Show `marks` in `place`, unless it shows them already. */
function show(place, marks) {
  if (place.textContent !== marks.map((mark) => mark.textContent).join('')) replace(place, marks);
}
