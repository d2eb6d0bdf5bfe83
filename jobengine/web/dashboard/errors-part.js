// The failed jobs of a queue, grouped by their error.

import * as api from './api.js';
import { h, keyed, menu, replace, setText } from './dom.js';
import { errorView } from './error-view.js';
import { gist, jobs, number, setTime, time } from './format.js';
import { empty, failure, loading } from './forms.js';
import { ACTIONS, actOnMatching } from './job-actions.js';
import { jobLink, queueLink } from './links.js';
import { Refresher } from './live.js';
import { session } from './session.js';

/** The API does not group: this many of the latest failed jobs are read. */
const MOST = 1000;
const PAGE = 200;
const NONE = 'no error was given';
/** The parts in which equal errors differ: uids, hexadecimal and other numbers. */
const VARYING = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+/gi;

class ErrorsPart extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ queue }) {
    if (this.list) return;
    this.queue = queue;
    this.state = h('div');
    this.list = h('ol', { class: 'errors' });
    this.append(this.state, this.list);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 5000, idle: 60000, signal: this.#stop.signal });
  }

  changed() {
    this.refresher.now();
  }

  happened(changes) {
    const some = changes === null || [...changes.values()].some(({ before, state }) => before === 'failed' || state === 'failed');
    if (some) this.refresher.soon();
  }

  async #read(signal) {
    try {
      this.#draw(await failedJobs(this.queue, signal));
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw({ failed, more }) {
    const told = failed.length === 0 ? empty('No job has failed', 'Failed jobs are shown here, grouped by error.')
      : h('p', { class: 'muted' }, `${more ? `The latest ${number(failed.length)} failed jobs` : `${number(failed.length)} failed ${failed.length === 1 ? 'job' : 'jobs'}`}, grouped by error`);
    replace(this.state, told);
    // The order stays while the pointer is on the list.
    const groups = grouped(failed);
    if (this.list.matches(':hover, :focus-within')) {
      const order = new Map([...this.list.children].map((each, at) => [each.dataset.key, at]));
      groups.sort((one, other) => (order.get(one.key) ?? 1e9) - (order.get(other.key) ?? 1e9));
    }
    keyed(this.list, groups, ({ key }) => key, (group) => this.#make(group), (element, group) => this.#update(element, group));
  }

  #make() {
    const element = h('li', { class: 'panel' });
    element.count = h('b', { class: 'count' });
    element.error = errorView();
    element.last = time(null);
    element.example = h('a', {}, 'Show the last one');
    element.jobs = h('a', {}, 'Show these jobs');
    const act = (action) => () => actOnMatching(this.queue, action, element.filter, () => this.page.changed());
    element.buttons = h('span', { class: 'buttons' }, h('button', { type: 'button', onclick: act(ACTIONS.retry) }, 'Retry'),
      menu('More', [['Delete', act(ACTIONS.delete), { class: 'danger' }]], { 'aria-label': 'More for this error' }));
    element.append(element.error, h('div', { class: 'line' }, element.count, h('span', { class: 'muted' }, 'last ', element.last), element.jobs, element.example,
      h('span', { class: 'gap' }), element.buttons));
    return element;
  }

  #update(element, group) {
    setText(element.count, jobs(group.jobs.length));
    element.error.show(group.jobs[0].error ?? NONE);
    setTime(element.last, group.jobs[0].last_updated);
    element.example.href = jobLink(this.queue, group.jobs[0].uid);
    element.filter = { state: 'failed', error: group.filter };
    element.jobs.href = queueLink(this.queue, '', element.filter);
    element.buttons.hidden = !group.filter || !session.may(this.queue, 'manage');
  }
}
customElements.define('je-errors', ErrorsPart);

async function failedJobs(queue, signal) {
  const failed = [];
  let cursor;
  do {
    const page = await api.listJobs(queue, { state: 'failed' }, { sort: '-updated', limit: PAGE, cursor, signal });
    failed.push(...page.jobs.map(({ uid, error, last_updated }) => ({ uid, error, last_updated })));
    cursor = page.next_cursor;
  } while (cursor && failed.length < MOST);
  return { failed, more: Boolean(cursor) };
}

/** Groups of jobs with similar errors, the largest first. `filter` is a text that all errors of a group contain. */
export function grouped(failed) {
  const groups = new Map();
  for (const job of failed) {
    const line = gist(job.error);
    const key = line.replace(VARYING, '…');
    if (!groups.has(key)) groups.set(key, { key, jobs: [] });
    groups.get(key).jobs.push(job);
  }
  const all = [...groups.values()].sort((one, other) => other.jobs.length - one.jobs.length);
  for (const group of all) group.filter = common(group);
  return all;
}

/** The line itself if all errors have it; otherwise its longest piece that does not vary. */
function common({ key, jobs: alike }) {
  const line = gist(alike[0].error);
  if (alike.every(({ error }) => gist(error) === line)) return line;
  return key.split('…').map((piece) => piece.trim()).reduce((longest, piece) => (piece.length > longest.length ? piece : longest), '');
}
