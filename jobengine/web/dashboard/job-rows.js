// The rows of a page of jobs.

import { h, keyed, replace, set, setText } from './dom.js';
import { gist, setTime, time } from './format.js';
import { jobLink } from './links.js';

const LONGEST_PREVIEW = 200;
/** If more rows than these are new, none is marked: the marks would cost frames and tell nothing. */
const MOST_MARKED = 10;
const NAMES = { queued: 'Queued', waiting: 'Waiting', inprogress: 'In progress', complete: 'Complete', failed: 'Failed', cancelled: 'Cancelled' };

/** The state of a job as the dashboard shows it: cancelled and waiting jobs have states of their own. */
export const shownState = (job) => (job.cancelled ? 'cancelled' : job.waiting ? 'waiting' : job.state);

/** The error of a job, or nothing. "cancelled" is no error; a cancelled job that was queued again by hand still has this text. */
export const errorOf = ({ cancelled, error, history = [] }) => (cancelled || (error === 'cancelled' && history.at(-1)?.error !== error) ? undefined : error);

/** Whether a queued job is tried again after a failure; one that was moved or queued again by hand has only its old error. */
export const isRetried = ({ attempts = 0, history = [] }) => attempts > 0 && history.some(({ outcome }) => outcome !== 'released');

/** Whether a job waits for its retry, or is ready for it. */
export const isRetrying = (job) => job.state === 'queued' && isRetried(job);

/** Whether a queued job can't be claimed yet, since it is delayed or its retry is not due. */
export const isEarly = (job) => job.state === 'queued' && job.not_before * 1000 > Date.now();

/** Show the state of a job as a word with its own sign, so that it does not depend on colour. */
export function setBadge(element, state) {
  const name = NAMES[state] ?? 'Removed';
  if (element.textContent === name) return;
  element.className = `badge state ${state ?? 'removed'}`;
  setText(element, name);
}

/** The beginning of a job's content on one line, without JSON's punctuation. */
export function preview(value, room = LONGEST_PREVIEW) {
  if (value === null || typeof value !== 'object') return String(value).slice(0, room);
  const isList = Array.isArray(value);
  let text = '';
  for (const key in value) {
    if (text.length >= room) break;
    const [open, close] = value[key] === null || typeof value[key] !== 'object' ? ['', ''] : Array.isArray(value[key]) ? '[]' : '{}';
    const inner = open + preview(value[key], room - text.length) + close;
    text += `${text ? ', ' : ''}${isList ? '' : `${key.slice(0, 80)}: `}${inner}`;
  }
  return text;
}

/** A table of jobs. It reports a selection, a click on another order, and when the pointer has left it. */
export class JobRows {
  /** The selected jobs, by uid. */
  selected = new Map();
  /** The groups whose jobs can't be claimed, by name: 'paused' or 'held'. */
  stopped = new Map();
  #all = false;

  constructor(queue, { selectable, onSelect, onFree, onSort }) {
    this.queue = queue;
    this.selectable = selectable;
    this.onSelect = onSelect;
    this.body = h('tbody');
    this.every = h('input', { type: 'checkbox', 'aria-label': 'Select this page', onchange: () => this.#selectPage() });
    const sort = (text, name) => h('th', { scope: 'col', class: `c-${name}`, 'data-sort': name },
      h('button', { type: 'button', class: 'sort', onclick: () => onSort(this.order === `-${name}` ? name : `-${name}`) }, text));
    const head = (text, name, more = '') => h('th', { scope: 'col', class: `c-${name} ${more}` }, text);
    this.heads = h('tr', {}, selectable && h('th', { scope: 'col', class: 'c-box' }, this.every), head('Job', 'job'), head('State', 'state'), head('Priority', 'priority', 'num'),
      head('Attempts', 'attempts', 'num'), head('Worker', 'worker'), sort('Added', 'created'), sort('Changed', 'updated'));
    this.element = h('div', { class: 'table-frame', hidden: true }, h('table', { class: selectable ? 'jobs selectable' : 'jobs' }, h('caption', { class: 'unseen' }, 'Jobs'), h('thead', {}, this.heads), this.body));
    // After a click, rows may move only when the pointer has left.
    for (const event of ['pointerleave', 'focusout']) this.body.addEventListener(event, () => setTimeout(onFree, 200));
    this.body.addEventListener('click', (event) => this.#open(event));
  }

  /** Whether rows must not move: the pointer or the focus is on them, some are selected, or the page is scrolled. */
  get held() {
    return this.selected.size > 0 || this.#all || this.body.matches(':hover, :focus-within') || this.element.getBoundingClientRect().top < 0
      || document.querySelector('dialog[open]') !== null;
  }

  has(uid) {
    return this.#row(uid) !== undefined;
  }

  #row(uid) {
    return this.shown?.get(uid);
  }

  /** Whether exactly these jobs are shown, in this order. */
  sameAs(jobs) {
    return jobs.length === this.shown?.size && jobs.every(({ uid }, at) => this.body.children[at]?.dataset.key === uid);
  }

  /** Show these jobs. With `mark`, new ones are marked for a moment, unless most are new. */
  put(jobs, mark) {
    const few = jobs.filter(({ uid }) => !this.has(uid)).length <= MOST_MARKED;
    if (!jobs.some(({ uid }) => this.has(uid))) this.#reuse(jobs);
    const make = () => {
      const row = this.#make();
      row.classList.toggle('fresh', mark && few);
      return row;
    };
    keyed(this.body, jobs, ({ uid }) => uid, make, (row, job) => this.#update(row, job));
    this.shown = new Map([...this.body.children].map((row) => [row.dataset.key, row]));
    this.#drawBoxes();
  }

  /** Reuse the rows of jobs that are gone for new jobs: only what differs is laid out and painted again. */
  #reuse(jobs) {
    for (const [at, row] of [...this.body.children].entries()) {
      if (at < jobs.length) row.dataset.key = jobs[at].uid;
      row.classList.remove('fresh');
    }
  }

  /** Bring the shown rows up to date without moving them. */
  update(jobs) {
    for (const job of jobs) {
      const row = this.#row(job.uid);
      if (row) this.#update(row, job);
    }
  }

  /** Mark the queued jobs of these groups, whose jobs can't be claimed. */
  stop(groups) {
    this.stopped = groups;
    for (const row of this.shown?.values() ?? []) this.#drawProgress(row);
  }

  /** Show the changes of some events at once. */
  happened(changes) {
    for (const [uid, row] of this.shown ?? []) {
      const change = changes.get(uid);
      if (!change) continue;
      Object.assign(row.job, { state: change.state, last_updated: Math.floor(change.at) });
      setBadge(row.badge, change.state);
      setTime(row.times[1], row.job.last_updated);
      setTime(row.times[2], row.job.last_updated);
      row.classList.toggle('removed', change.state === null);
      row.classList.toggle('failed', change.state === 'failed');
    }
  }

  /** Show in the heads how the rows are sorted. */
  sortedBy(order) {
    this.order = order;
    for (const head of this.heads.querySelectorAll('[data-sort]')) {
      const sorted = order.replace('-', '') === head.dataset.sort;
      set(head, 'aria-sort', sorted ? (order.startsWith('-') ? 'descending' : 'ascending') : null);
    }
  }

  /** Select all, or nothing. */
  selectAll(all) {
    this.#all = all;
    this.selected.clear();
    this.#drawBoxes();
  }

  clear() {
    this.selectAll(false);
  }

  #selectPage() {
    for (const row of this.body.children) this.#choose(row, this.every.checked);
    this.#drawBoxes();
    this.onSelect();
  }

  #choose(row, chosen) {
    if (chosen) this.selected.set(row.job.uid, row.job);
    else this.selected.delete(row.job.uid);
  }

  #drawBoxes() {
    if (!this.selectable) return;
    const rows = [...this.body.children];
    for (const row of rows) {
      row.box.checked = this.#all || this.selected.has(row.job.uid);
      row.box.disabled = this.#all;
      row.classList.toggle('chosen', row.box.checked);
    }
    const chosen = rows.filter((row) => row.box.checked).length;
    this.every.disabled = this.#all;
    this.every.checked = rows.length > 0 && chosen === rows.length;
    this.every.indeterminate = chosen > 0 && chosen < rows.length;
  }

  #make() {
    const row = h('tr');
    row.link = h('a', { class: 'code' });
    row.content = h('span');
    row.group = h('span', { class: 'tag of-group' });
    row.tags = h('span', { class: 'tags' });
    row.error = h('span', { class: 'why' });
    row.second = h('span', { class: 'second' }, row.error, row.content);
    row.badge = h('span');
    row.progress = h('small');
    row.times = [time(null), time(null), time(null, { class: 'phone' })];
    row.due = time(null, { class: 'due' });
    row.state = h('td', { class: 'c-state' }, row.badge, ' ', h('span', { class: 'until' }, row.progress, row.due), row.times[2]);
    row.figures = ['priority', 'attempts'].map((name) => h('td', { class: `num c-${name}` }));
    row.worker = h('td', { class: 'c-worker' });
    row.box = h('input', { type: 'checkbox', onchange: () => { this.#choose(row, row.box.checked); this.#drawBoxes(); this.onSelect(); } });
    row.append(...[this.selectable && h('td', { class: 'c-box' }, row.box),
      h('th', { scope: 'row', class: 'c-job' }, row.link, row.group, row.tags, row.second),
      row.state, ...row.figures, row.worker,
      h('td', { class: 'c-created' }, row.times[0]), h('td', { class: 'c-updated' }, row.times[1])].filter(Boolean));
    return row;
  }

  #update(row, job) {
    if (row.job?.uid !== job.uid) this.#name(row, job.uid);
    row.job = job;
    if (this.selected.has(job.uid)) this.selected.set(job.uid, job);
    setText(row.content, preview(job.content));
    const group = job.group === undefined ? null : `Group ${job.group}`;
    if (row.group.getAttribute('title') !== group) replace(row.group, group && [h('span', { class: 'wide' }, 'group '), h('b', {}, job.group)]);
    set(row.group, 'title', group);
    const tags = job.tags ?? [];
    if (row.tags.dataset.tags !== tags.join('\n')) replace(row.tags, tags.map((tag) => h('span', { class: 'tag' }, tag)));
    row.tags.dataset.tags = tags.join('\n');
    setText(row.error, job.state === 'complete' ? '' : gist(errorOf(job)));
    set(row.second, 'title', row.error.textContent || null);
    row.classList.toggle('failed', shownState(job) === 'failed');
    row.classList.remove('removed');
    setBadge(row.badge, shownState(job));
    this.#drawProgress(row);
    const values = [job.priority, job.max_attempts ? `${job.attempts ?? 0} of ${job.max_attempts}` : job.attempts ?? 0];
    row.figures.forEach((cell, at) => setText(cell, values[at]));
    setText(row.worker, job.worker ?? '–');
    set(row.worker, 'title', job.worker);
    setTime(row.times[0], job.created);
    setTime(row.times[1], job.last_updated);
    setTime(row.times[2], job.last_updated);
  }

  /** Show how far a job is, or why it can't be claimed yet. */
  #drawProgress({ job, progress, due, state }) {
    const stopped = job.state === 'queued' && !job.waiting && this.stopped.get(job.group);
    const at = isEarly(job) && !stopped ? job.not_before : null;
    setText(progress, stopped ? `group ${stopped}` : progressText(job));
    due.hidden = at === null;
    // On a phone there is no room for the time of the last change beside these.
    state.classList.toggle('later', Boolean(stopped) || at !== null);
    setTime(due, at);
  }

  #name(row, uid) {
    const short = uid.slice(0, 8);
    set(row.link, 'href', jobLink(this.queue, uid));
    set(row.link, 'title', uid);
    setText(row.link, short);
    set(row.box, 'aria-label', `Select ${short}`);
  }

  /** A click on a row opens its job, except on a box or a link, or while text is selected. */
  #open(event) {
    const row = event.target.closest('tr');
    if (!row || event.target.closest('a, input, button, .c-box') || getSelection().toString()) return;
    location.hash = jobLink(this.queue, row.job.uid);
  }
}

function progressText(job) {
  if (isEarly(job)) return isRetried(job) ? 'retry ' : 'ready ';
  if (job.state !== 'inprogress') return '';
  return [job.progress !== undefined && `${job.progress} %`, job.cancel_requested && 'cancelling'].filter(Boolean).join(', ');
}
