// The jobs of a queue: filter, order, pages, live rows, and actions on selected jobs.

import * as api from './api.js';
import { h, replace, set, setText } from './dom.js';
import { firstJob } from './first-job.js';
import { number } from './format.js';
import { choice, empty, failure, field, loading } from './forms.js';
import { ACTIONS, actOnMatching, actOnSome, countMatching, fits } from './job-actions.js';
import { JobRows, isRetrying } from './job-rows.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';
import { openMove } from './move-jobs.js';
import { session } from './session.js';

const PAGE = 50;
const STATES = [['', 'All states'], ['failed', 'Failed'], ['retrying', 'Retrying'], ['cancelled', 'Cancelled'], ['queued', 'Queued'], ['inprogress', 'In progress'], ['complete', 'Complete']];
/** The API's `sort`; it has no name for execution order, which is `run` here. */
const SORTS = [['run', 'Next to run first'], ['-updated', 'Newest change first'], ['updated', 'Oldest change first'], ['-created', 'Newest first'], ['created', 'Oldest first']];
const FILTERS = ['state', 'tag', 'group', 'batch', 'q', 'error', 'fingerprint', 'worker'];
/** The beginning of a uid, as lists show it, or more of it. */
const SHORT_UID = /^[0-9a-f]{8}(?:-[0-9a-f-]*)?$/i;
/** Whether jobs in a state can move to another queue; those in progress or complete stay. */
const canMove = (state) => fits({ states: ['queued', 'failed'] }, state);
/** Milliseconds after the last key until a typed filter is applied. */
const TYPING = 250;

/** An action's name, on a phone the short one. */
const wordsOf = ({ name, short }) => (short ? [h('span', { class: 'wide' }, name), h('span', { class: 'narrow' }, short)] : name);

class JobsPart extends HTMLElement {
  #stop = new AbortController();
  #asked = new AbortController();
  #filter = {};
  #sort = '';
  #cursors = [undefined];
  #next = null;
  #waiting = null;
  #shown = false;
  #matching = false;
  /** Events since the present request was sent: its answer may be older than they are. */
  #meanwhile = new Map();

  disconnectedCallback() {
    this.#stop.abort();
    this.#asked.abort();
  }

  /** Show the jobs that match the filter in the route's query. */
  show({ queue, query }) {
    this.queue = queue;
    if (!this.rows) this.#build();
    this.#filter = Object.fromEntries(FILTERS.map((name) => [name, query[name] ?? '']));
    this.#sort = SORTS.some(([value]) => value === query.sort) ? query.sort : '';
    for (const name of FILTERS) this.#input(name).value = this.#filter[name];
    this.#input('sort').value = this.#order();
    this.more.open ||= ['tag', 'group', 'batch', 'error', 'fingerprint', 'worker'].some((name) => this.#filter[name]);
    this.#restart();
  }

  /** The user has changed something: show it at once, wherever the pointer is. */
  changed() {
    this.#begin();
  }

  /** Some jobs have changed; without `changes` it is unknown which. */
  happened(changes) {
    if (changes) {
      this.rows.happened(changes);
      for (const [uid, change] of changes) this.#meanwhile.set(uid, change);
    }
    this.refresher.soon();
  }

  /** Mark the jobs of groups whose jobs can't be claimed: their names, each with 'paused' or 'held'. */
  groups(stopped) {
    this.rows.stop(stopped);
  }

  #input(name) {
    return this.bar.elements[name];
  }

  /** The usual order of each state: queued jobs in execution order, all others by their last update, latest first. */
  #order() {
    return this.#sort || (this.#filter.state === 'queued' ? 'run' : '-updated');
  }

  #build() {
    const manages = session.may(this.queue, 'manage');
    const hidden = (element) => { element.querySelector('label').className = 'unseen'; return element; };
    this.live = h('button', { type: 'button', class: 'news', onclick: () => this.#put(this.#waiting) });
    this.range = h('span', { role: 'status' });
    this.back = h('button', { type: 'button', 'data-key': 'back', 'aria-label': 'Previous page', title: 'Previous page', disabled: true, onclick: () => this.#turn(-1) }, '‹');
    this.on = h('button', { type: 'button', 'data-key': 'on', 'aria-label': 'Next page', title: 'Next page', disabled: true, onclick: () => this.#turn(1) }, '›');
    const input = (label, name, more = {}) => hidden(field(label, { name, type: 'search', placeholder: label, ...more }));
    this.more = h('details', { class: 'more' }, h('summary', {}, 'More filters'), h('div', { class: 'line' },
      field('Tag', { name: 'tag', type: 'search' }), field('Group', { name: 'group', type: 'search' }), field('Batch', { name: 'batch', type: 'search' }), field('Error', { name: 'error', type: 'search' }), field('Fingerprint', { name: 'fingerprint', type: 'search', maxlength: 64 }), field('Worker', { name: 'worker', type: 'search' }), choice('Order', SORTS, { name: 'sort' })));
    this.bar = h('form', { class: 'filters', role: 'search', 'aria-label': 'Jobs', onsubmit: (event) => { event.preventDefault(); this.#filterBy(); } },
      hidden(choice('State', STATES, { name: 'state' })), input('Search', 'q', { 'data-key': 'search' }), this.more, h('span', { class: 'gap' }), this.live, this.range,
      h('span', { class: 'buttons' }, this.back, this.on));
    this.bar.addEventListener('input', (event) => this.#typed(event));
    this.state = h('div');
    this.rows = new JobRows(this.queue, { selectable: manages, onSelect: () => this.#selected(), onFree: () => this.#settle(), onSort: (sort) => this.#sortBy(sort) });
    this.rows.stopped = this.page.stopped;
    this.selection = h('div', { class: 'selection', role: 'region', 'aria-label': 'Selected jobs', hidden: true });
    this.append(this.bar, this.state, this.rows.element, this.selection);
    loading(this.state);
    this.#buildSelection();
    this.refresher = new Refresher((signal) => this.#read(signal), { idle: 15000, signal: this.#stop.signal });
  }

  // Filter, order and pages

  #typed({ target }) {
    clearTimeout(this.timer);
    if (target.name === 'sort') this.#sortBy(target.value);
    else this.timer = setTimeout(() => this.#filterBy(), target.tagName === 'SELECT' ? 0 : TYPING);
  }

  #filterBy() {
    clearTimeout(this.timer);
    const filter = Object.fromEntries(FILTERS.map((name) => [name, this.#input(name).value]));
    if (FILTERS.every((name) => filter[name] === this.#filter[name])) return;
    this.#filter = filter;
    this.#input('sort').value = this.#order();
    this.#remember();
  }

  #sortBy(sort) {
    this.#sort = sort;
    this.#input('sort').value = sort;
    this.#remember();
  }

  /** Keep the filter in the address, so that it can be shared and survives a reload. */
  #remember() {
    history.replaceState(null, '', queueLink(this.queue, '', { ...this.#filter, sort: this.#sort }));
    this.#restart();
  }

  #turn(step) {
    // The next page is known once this one is there.
    if (!this.#shown) return;
    if (step > 0) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    this.#begin();
  }

  #restart() {
    this.#cursors = [undefined];
    this.#select(false);
    this.rows.clear();
    this.#begin();
  }

  /** Read another page; the old one stays until then. */
  #begin() {
    this.#asked.abort();
    this.#asked = new AbortController();
    this.#waiting = null;
    this.#shown = false;
    this.rows.element.setAttribute('aria-busy', 'true');
    this.rows.sortedBy(this.#order());
    this.refresher.now();
  }

  // Reading

  async #read(limit) {
    const { signal } = this.#asked;
    const order = this.#order();
    this.#meanwhile.clear();
    let page;
    try {
      page = await api.listJobs(this.queue, this.#filter, {
        sort: order === 'run' ? undefined : order, limit: PAGE, cursor: this.#cursors.at(-1), signal: AbortSignal.any([signal, limit]),
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof api.Refused) this.#refused(error);
      throw error;
    }
    if (!signal.aborted) this.#arrived(page);
  }

  #refused(error) {
    this.#shown = false;
    this.back.disabled = true;
    this.on.disabled = true;
    this.rows.element.hidden = true;
    replace(this.state, failure(error, () => this.refresher.now()));
  }

  /** Shown rows change in place. New rows come when the pointer is away and nothing is selected. */
  #arrived(page) {
    const news = page.jobs.filter(({ uid }) => !this.rows.has(uid)).length;
    if (this.#shown && this.rows.held && !this.rows.sameAs(page.jobs)) {
      this.rows.update(page.jobs);
      this.#waiting = page;
      this.#announce(news);
    } else this.#put(page);
    this.rows.happened(this.#meanwhile);
  }

  #announce(news) {
    setText(this.live, news ? `${news === PAGE ? `${news} or more` : news} new ${news === 1 ? 'job' : 'jobs'}` : 'Show the new order');
    this.live.classList.add('there');
  }

  #settle() {
    if (this.#waiting && !this.rows.held) this.#put(this.#waiting);
  }

  #put(page) {
    if (!page) return;
    this.#waiting = null;
    this.live.classList.remove('there');
    this.#next = page.next_cursor;
    this.rows.put(page.jobs, this.#shown);
    this.#shown = true;
    this.rows.element.removeAttribute('aria-busy');
    this.#drawPages(page.jobs.length);
  }

  #drawPages(count) {
    const page = this.#cursors.length - 1;
    const first = page * PAGE + 1;
    setText(this.range, count ? `Jobs ${number(first)} to ${number(first + count - 1)}` : '');
    this.back.disabled = page === 0;
    this.on.disabled = this.#next === null;
    this.rows.element.hidden = count === 0;
    const filtered = FILTERS.some((name) => this.#filter[name]);
    if (count === 0) this.#drawEmpty(filtered);
    else replace(this.state);
  }

  /** Say that there is no job; what is shown stays, so that text can be selected and copied. */
  #drawEmpty(filtered) {
    const uid = SHORT_UID.test(this.#filter.q.trim());
    const kind = `${filtered} ${uid}`;
    if (this.state.firstChild?.dataset?.kind === kind) return;
    const advice = uid ? 'Search looks into the content. A job is found by its whole uid, above the list of all queues.' : 'Change the filter to see others.';
    const shown = filtered ? empty('No job matches', advice) : empty('There is no job here', 'New jobs appear here at once.');
    shown.dataset.kind = kind;
    if (!filtered && session.may(this.queue, 'add')) shown.append(firstJob(this.queue));
    replace(this.state, shown);
  }

  // Selection

  #buildSelection() {
    this.count = h('b', { role: 'status' });
    this.all = h('button', { type: 'button', onclick: () => this.#select(true) }, 'Select all that match');
    const clear = h('button', { type: 'button', class: 'quiet', 'data-key': 'clear', onclick: () => { this.#select(false); this.#settle(); } }, 'Clear', h('span', { class: 'wide' }, ' selection'));
    this.acts = Object.entries(ACTIONS).map(([key, action]) => {
      const button = h('button', { type: 'button', class: action.danger ? 'danger' : null, 'data-action': key, onclick: () => this.#act(action) }, wordsOf(action));
      return [action, button];
    });
    this.move = h('button', { type: 'button', onclick: () => this.#move() }, 'Move');
    this.selection.append(this.count, this.all, clear, h('span', { class: 'gap' }), ...this.acts.map(([, button]) => button), this.move);
  }

  async #select(matching) {
    this.#matching = matching;
    this.rows.selectAll(matching);
    this.#selected();
    if (!matching) return;
    const { signal } = this.#asked;
    try {
      const count = await countMatching(this.queue, this.#filter);
      if (this.#matching && !signal.aborted) setText(this.count, `All ${number(count)} that match`);
    } catch (error) {
      setText(this.count, api.inWords(error));
    }
  }

  #selected() {
    const count = this.rows.selected.size;
    this.selection.hidden = count === 0 && !this.#matching;
    setText(this.count, this.#matching ? 'All that match' : `${number(count)} selected`);
    this.all.hidden = this.#matching;
    const states = this.#chosenStates();
    for (const [action, button] of this.acts) set(button, 'disabled', !states.some((state) => fits(action, state)));
    this.move.disabled = !states.some(canMove);
  }

  /** The selected jobs as `{uid, state}`, with the dashboard's state of those that are retrying. */
  #chosen() {
    return [...this.rows.selected.values()].map((job) => ({ uid: job.uid, state: isRetrying(job) ? 'retrying' : job.state }));
  }

  /** The states of the selected jobs; the filter's state, which can be '' for any, if all that match are selected. */
  #chosenStates() {
    return this.#matching ? [this.#filter.state] : this.#chosen().map(({ state }) => state);
  }

  #done() {
    this.#select(false);
    this.page.changed();
  }

  #move() {
    const chosen = this.#matching ? this.#filter : { uids: [...this.rows.selected.keys()] };
    const note = this.#chosenStates().every((state) => state && canMove(state)) ? null : 'Jobs in progress and complete jobs stay in this queue.';
    openMove(this.queue, chosen, () => this.#done(), { to: this.page.origins?.[0], note });
  }

  #act(action) {
    const done = () => this.#done();
    if (this.#matching) actOnMatching(this.queue, action, this.#filter, done);
    else actOnSome(this.queue, action, this.#chosen(), done);
  }
}
customElements.define('je-jobs', JobsPart);
