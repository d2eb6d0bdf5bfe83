// The failed jobs of a queue, grouped by their error.

import * as api from './api.js';
import { h, keyed, menu, replace, setText } from './dom.js';
import { grouped, jobsWithErrors, keepOrder } from './error-groups.js';
import { errorView } from './error-view.js';
import { jobs, number, setTime, time } from './format.js';
import { empty, failure, loading } from './forms.js';
import { ACTIONS, actOnMatching } from './job-actions.js';
import { jobLink, queueLink } from './links.js';
import { Refresher } from './live.js';
import { session } from './session.js';

/** The API does not group: this many of the latest failed jobs are read. */
const MOST = 1000;
export const NO_ERROR = 'no error was given';

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
      this.#draw(await jobsWithErrors(this.queue, { state: 'failed' }, MOST, signal));
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw({ jobs: failed, more }) {
    replace(this.state, failed.length === 0 ? empty('No job has failed', 'Failed jobs are shown here, grouped by error.')
      : h('p', { class: 'muted' }, `${more ? 'The latest ' : ''}${number(failed.length)} failed ${failed.length === 1 ? 'job' : 'jobs'}, grouped by error`));
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
    setText(element.count, jobs(group.jobs.length));
    element.error.show(group.jobs[0].error ?? NO_ERROR);
    setTime(element.last, group.jobs[0].last_updated);
    element.example.href = jobLink(this.queue, group.jobs[0].uid);
    element.filter = { state: 'failed', error: group.filter };
    element.jobs.href = queueLink(this.queue, '', element.filter);
    element.buttons.hidden = !group.filter || !session.may(this.queue, 'manage');
  }
}
customElements.define('je-errors', ErrorsPart);
