// The batches of a queue: a bar for each, with its jobs by state.

import * as api from './api.js';
import { cancelBatch, closeBatch, retryBatch } from './batch-actions.js';
import { h, keyed, menu, replace, set, setText } from './dom.js';
import { brief, number, setTime, time } from './format.js';
import { empty, failure, loading } from './forms.js';
import { jobLink, queueLink } from './links.js';
import { Refresher } from './live.js';
import { session } from './session.js';

const PAGE = 50;
/** The states in the order of a bar: name in the API, and label. */
const STATES = [['complete', 'Complete'], ['failed', 'Failed'], ['inprogress', 'In progress'], ['queued', 'Queued']];

class BatchesPart extends HTMLElement {
  #stop = new AbortController();
  #cursors = [undefined];
  #next = null;

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show all batches, or the one that the route's query names. */
  show({ queue, query: { batch = '' } }) {
    if (this.queue !== undefined && this.only === batch) return;
    const isFirst = this.queue === undefined;
    Object.assign(this, { queue, only: batch });
    this.#cursors = [undefined];
    if (isFirst) this.#build();
    this.all.hidden = batch === '';
    this.refresher.now();
  }

  changed() {
    this.refresher.now();
  }

  happened() {
    this.refresher.soon();
  }

  #build() {
    this.manages = session.may(this.queue, 'manage');
    const turn = (name, key, sign, step) => h('button', { type: 'button', 'data-key': key, 'aria-label': name, title: name, disabled: true, onclick: () => this.#turn(step) }, sign);
    this.all = h('a', { href: queueLink(this.queue, 'batches') }, 'All batches');
    this.range = h('span', { role: 'status', class: 'muted' });
    this.back = turn('Previous page', 'back', '‹', -1);
    this.on = turn('Next page', 'on', '›', 1);
    this.state = h('div');
    this.body = h('tbody');
    const head = (name, text) => h('th', { scope: 'col', class: `c-${name}` }, text);
    const heads = h('tr', {}, head('name', 'Batch'), head('bar', 'Jobs'), STATES.map(([name, label]) => head(name, label)), head('then', 'Then'), head('created', 'Created'),
      this.manages && head('actions', h('span', { class: 'unseen' }, 'Actions')));
    this.table = h('div', { class: 'table-frame', hidden: true }, h('table', { class: 'batches' }, h('caption', { class: 'unseen' }, 'Batches'), h('thead', {}, heads), this.body));
    this.append(h('div', { class: 'line' }, this.all, h('span', { class: 'gap' }), this.range, h('span', { class: 'buttons' }, this.back, this.on)), this.state, this.table);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 2000, idle: 10000, signal: this.#stop.signal });
  }

  /** Read another page; the old one stays until then. */
  #turn(step) {
    if (step > 0) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    this.back.disabled = true;
    this.on.disabled = true;
    this.table.setAttribute('aria-busy', 'true');
    this.refresher.now();
  }

  get #wanted() {
    return JSON.stringify([this.only, this.#cursors]);
  }

  async #read(signal) {
    const wanted = this.#wanted;
    let page;
    try {
      page = this.only ? await this.#one(signal) : await api.listBatches(this.queue, { limit: PAGE, cursor: this.#cursors.at(-1), signal });
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) {
        this.table.hidden = true;
        replace(this.state, failure(error, () => this.refresher.now()));
      }
      throw error;
    }
    if (wanted === this.#wanted) this.#put(page);
  }

  /** A page with the batch of that name, or an empty page. */
  async #one(signal) {
    try {
      return { batches: [await api.readBatch(this.queue, this.only, signal)], next_cursor: null };
    } catch (error) {
      if (error instanceof api.Refused && error.status === 404) return { batches: [], next_cursor: null };
      throw error;
    }
  }

  #put({ batches, next_cursor: next }) {
    this.#next = next;
    const first = (this.#cursors.length - 1) * PAGE + 1;
    this.back.disabled = first === 1;
    this.on.disabled = next === null;
    setText(this.range, first > 1 || next ? `Batches ${number(first)} to ${number(first + batches.length - 1)}` : '');
    replace(this.state, batches.length === 0 && this.#none());
    this.table.hidden = batches.length === 0;
    this.table.removeAttribute('aria-busy');
    keyed(this.body, batches, ({ name }) => name, (batch) => this.#row(batch), (row, batch) => this.#update(row, batch));
  }

  #none() {
    if (this.only) return empty('No batch has this name', 'A batch is removed a day after it has ended, once its jobs are removed.');
    return empty('There is no batch here', 'Jobs that are added to a batch are counted together, and another job can run when all are finished.');
  }

  #row({ name }) {
    const row = h('tr');
    row.marks = h('span', { class: 'marks' });
    row.parts = Object.fromEntries(STATES.map(([state]) => [state, h('span', { class: state })]));
    row.bar = h('span', { class: 'bar', role: 'img' }, Object.values(row.parts));
    row.text = h('small');
    row.figures = Object.fromEntries(STATES.map(([state]) => [state, h('td', { class: `num c-${state}` })]));
    row.then = h('td', { class: 'c-then' });
    row.created = time(null, { tabindex: 0 });
    row.append(h('th', { scope: 'row', class: 'c-name' }, h('a', { href: queueLink(this.queue, '', { batch: name }), class: 'strong', title: name }, name), row.marks),
      h('td', { class: 'c-bar' }, row.bar, row.text), ...Object.values(row.figures), row.then, h('td', { class: 'c-created' }, row.created));
    if (this.manages) row.append(h('td', { class: 'c-actions' }, this.#actions(row, name)));
    return row;
  }

  #actions(row, name) {
    const act = (what) => () => what(this.queue, row.batch, () => this.page.changed());
    const list = menu(h('span', { class: 'wide' }, 'Actions'), [
      ['Close', act(closeBatch), { 'data-act': 'close' }], ['Retry failed jobs', act(retryBatch), { 'data-act': 'retry' }], ['Cancel', act(cancelBatch), { 'data-act': 'cancel', class: 'danger' }],
    ], { 'aria-label': `Actions for ${name}`, class: 'quiet' });
    row.acts = Object.fromEntries(['close', 'retry', 'cancel'].map((key) => [key, list.querySelector(`[data-act=${key}]`)]));
    return list;
  }

  #update(row, batch) {
    row.batch = batch;
    const { open, total, failed, queued, inprogress, complete, then } = batch;
    for (const [state] of STATES) {
      row.parts[state].style.flexGrow = batch[state];
      row.parts[state].hidden = batch[state] === 0;
      setText(row.figures[state], number(batch[state]));
    }
    row.figures.failed.classList.toggle('bad', failed > 0);
    set(row.bar, 'aria-label', STATES.map(([state, label]) => `${label} ${number(batch[state])}`).join(', '));
    setText(row.text, `${brief(complete + failed)} of ${brief(total)}`);
    const mark = markOf(batch);
    if (row.marks.textContent !== mark.textContent) replace(row.marks, mark);
    if (row.then.dataset.uid !== (then ?? '')) {
      row.then.dataset.uid = then ?? '';
      replace(row.then, then ? h('a', { class: 'code', href: jobLink(this.queue, then), title: then }, then.slice(0, 8)) : '–');
    }
    setTime(row.created, batch.created);
    if (!row.acts) return;
    row.acts.close.disabled = !open;
    row.acts.retry.disabled = failed === 0;
    row.acts.cancel.disabled = queued + inprogress === 0 && !open;
  }
}
customElements.define('je-batches', BatchesPart);

/** Whether the batch takes jobs, waits for its jobs, or how it has ended. */
function markOf({ open, ended, succeeded }) {
  if (ended !== undefined) return h('span', { class: `badge state ${succeeded ? 'complete' : 'failed'}` }, succeeded ? 'Complete' : 'Failed');
  return open ? h('span', { class: 'badge state inprogress' }, 'Open') : h('span', { class: 'badge state' }, 'Closed');
}
