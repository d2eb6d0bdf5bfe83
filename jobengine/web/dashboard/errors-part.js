// The jobs of a queue that failed or are tried again, grouped by their error.

import * as api from './api.js';
import { h, keyed, menu, replace, setText } from './dom.js';
import { KINDS, grouped, inKinds, jobsWithErrors, keepOrder } from './error-groups.js';
import { errorView } from './error-view.js';
import { setTime, time } from './format.js';
import { choices, empty, failure, loading } from './forms.js';
import { ACTIONS, actOnMatching } from './job-actions.js';
import { jobLink, queueLink } from './links.js';
import { Refresher } from './live.js';
import { session } from './session.js';

/** The API does not group: this many of the latest jobs of each kind are read. */
const MOST = 1000;
export const NOTHING = {
  both: ['No job has failed', 'Jobs whose attempts failed are shown here, grouped by error.'],
  failed: ['No job has failed', 'Jobs that failed and have no attempts left are shown here, grouped by error.'],
  retrying: ['No job is retrying', 'Jobs that are tried again after a failed attempt are shown here, grouped by error.'],
};
export const NO_ERROR = 'no error was given';

class ErrorsPart extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ queue, query }) {
    if (this.list) return;
    this.queue = queue;
    this.kind = KINDS.some(([kind]) => kind === query.of) ? query.of : 'both';
    this.state = h('div');
    this.told = h('p', { class: 'muted', role: 'status' });
    this.list = h('ol', { class: 'errors' });
    this.append(h('div', { class: 'line' }, choices('Which jobs', KINDS, this.kind, (kind) => this.#choose(kind)), this.told), this.state, this.list);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 5000, idle: 60000, signal: this.#stop.signal });
  }

  changed() {
    this.refresher.now();
  }

  #choose(kind) {
    this.kind = kind;
    history.replaceState(null, '', queueLink(this.queue, 'errors', { of: kind }));
    this.refresher.now();
  }

  happened(changes) {
    // A failed attempt leads from inprogress to failed or to queued.
    const some = changes === null || [...changes.values()].some(({ before, state }) => before === 'failed' || state === 'failed' || (before === 'inprogress' && state === 'queued'));
    if (some) this.refresher.soon();
  }

  async #read(signal) {
    const { kind } = this;
    try {
      const found = await jobsWithErrors(this.queue, kind, MOST, signal);
      if (kind === this.kind) this.#draw(found);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw({ jobs: failed, more }) {
    replace(this.state, failed.length === 0 && empty(...NOTHING[this.kind]));
    setText(this.told, failed.length === 0 ? '' : `${more ? 'The latest ' : ''}${inKinds(failed)}, grouped by error`);
    const groups = grouped(failed);
    keepOrder(this.list, groups);
    keyed(this.list, groups, ({ key }) => key, () => this.#make(), (element, group) => this.#update(element, group));
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
    setText(element.count, inKinds(group.jobs));
    element.error.show(group.jobs[0].error ?? NO_ERROR);
    setTime(element.last, group.jobs[0].last_updated);
    element.example.href = jobLink(this.queue, group.jobs[0].uid);
    const kinds = new Set(group.jobs.map(({ state }) => state));
    element.filter = { state: 'failed', error: group.filter };
    element.jobs.href = queueLink(this.queue, '', { ...element.filter, state: kinds.size === 1 ? [...kinds][0] : '' });
    element.buttons.hidden = !kinds.has('failed') || !group.filter || !session.may(this.queue, 'manage');
  }
}
customElements.define('je-errors', ErrorsPart);
