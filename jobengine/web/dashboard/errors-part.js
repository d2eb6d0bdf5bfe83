// The failures of a queue by fingerprint.

import * as api from './api.js';
import { h, replace, setText } from './dom.js';
import { NOTHING, drawGroups, merged } from './error-groups.js';
import { jobs, number } from './format.js';
import { empty, failure, loading } from './forms.js';
import { Refresher } from './live.js';
import { failedCount } from './trouble.js';

const PAGE = 50;

class ErrorsPart extends HTMLElement {
  #stop = new AbortController();
  #cursors = [undefined];
  #next = null;

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ queue }) {
    if (this.list) return;
    this.queue = queue;
    const turn = (name, key, sign, step) => h('button', { type: 'button', 'data-key': key, 'aria-label': name, title: name, disabled: true, onclick: () => this.#turn(step) }, sign);
    this.back = turn('Previous page', 'back', '‹', -1);
    this.on = turn('Next page', 'on', '›', 1);
    this.pages = h('span', { class: 'buttons', hidden: true }, this.back, this.on);
    this.summary = h('p', { class: 'muted', role: 'status' });
    this.range = h('span', { class: 'muted', role: 'status' });
    this.leftOut = h('p', { class: 'muted', hidden: true });
    this.state = h('div');
    this.list = h('ol', { class: 'errors' });
    this.append(h('div', { class: 'line errors-line' }, this.summary, h('span', { class: 'gap' }), this.range, this.pages), this.state, this.list, this.leftOut);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 5000, idle: 60000, signal: this.#stop.signal });
    if (this.page.stats) this.stats(this.page.stats);
  }

  changed() {
    this.refresher.now();
  }

  /** Show the counts of the queue, which are the sums of the groups. */
  stats(stats) {
    const parts = [[failedCount(stats), 'failed'], [stats.retrying, 'retrying']].filter(([count]) => count > 0);
    setText(this.summary, parts.length ? `${parts.map(([count, word]) => `${number(count)} ${word}`).join(', ')}, grouped by error` : '');
  }

  happened(changes) {
    // A failed attempt leads from inprogress to failed or to queued.
    const some = changes === null || [...changes.values()].some(({ before, state }) => before === 'failed' || state === 'failed' || (before === 'inprogress' && state === 'queued'));
    if (some) this.refresher.soon();
  }

  /** Read another page; the old one stays until then. */
  #turn(step) {
    if (step > 0) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    this.back.disabled = true;
    this.on.disabled = true;
    this.refresher.now();
  }

  async #read(signal) {
    const cursor = this.#cursors.at(-1);
    try {
      const page = await api.listFailures(this.queue, { limit: PAGE, cursor, signal });
      if (cursor === this.#cursors.at(-1)) this.#draw(page);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw({ failures, next_cursor: next, dropped }) {
    this.#next = next;
    const first = (this.#cursors.length - 1) * PAGE + 1;
    this.back.disabled = first === 1;
    this.on.disabled = next === null;
    this.pages.hidden = first === 1 && next === null;
    setText(this.range, this.pages.hidden ? '' : `Errors ${number(first)} to ${number(first + failures.length - 1)}`);
    replace(this.state, failures.length === 0 && empty(...NOTHING));
    drawGroups(this.list, merged(failures.map((group) => ({ ...group, queue: this.queue }))), () => this.page.changed(), { to: this.page.origins?.[0] });
    this.leftOut.hidden = dropped === 0;
    setText(this.leftOut, leftOutText(dropped));
  }
}
customElements.define('je-errors', ErrorsPart);

/** How many jobs are in groups that the server leaves out. */
export const leftOutText = (dropped) => `${jobs(dropped)} with other errors ${dropped === 1 ? 'is' : 'are'} left out: of each queue the 1,000 errors with the most jobs are shown.`;
