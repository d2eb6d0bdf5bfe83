// The schedules of a queue: a table of them, or one of them.

import * as api from './api.js';
import { h, replace, setText } from './dom.js';
import { number } from './format.js';
import { empty, failure, loading } from './forms.js';
import { Refresher } from './live.js';
import { openSchedule } from './schedule-form.js';
import { scheduleTable } from './schedule-rows.js';
import './schedule-view.js';
import { session } from './session.js';

const PAGE = 50;

class SchedulesPart extends HTMLElement {
  #stop = new AbortController();
  #cursors = [undefined];
  #next = null;

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show all schedules, or the one that the route's query names. */
  show({ queue, query: { schedule = '' } }) {
    if (this.queue !== undefined && this.only === schedule) return;
    Object.assign(this, { queue, only: schedule });
    this.#stop.abort();
    this.#stop = new AbortController();
    if (!schedule) return this.#build();
    this.one = document.createElement('je-schedule');
    replace(this, this.one);
    this.one.show(queue, schedule);
  }

  changed() {
    this.#shown.now();
  }

  happened() {
    this.#shown.soon();
  }

  get #shown() {
    return this.only ? this.one.refresher : this.refresher;
  }

  #build() {
    this.#cursors = [undefined];
    const manages = session.may(this.queue, 'manage');
    const turn = (name, key, sign, step) => h('button', { type: 'button', 'data-key': key, 'aria-label': name, title: name, disabled: true, onclick: () => this.#turn(step) }, sign);
    this.range = h('span', { role: 'status', class: 'muted' });
    this.back = turn('Previous page', 'back', '‹', -1);
    this.on = turn('Next page', 'on', '›', 1);
    this.state = h('div');
    this.table = scheduleTable({ manages, done: () => this.changed() });
    replace(this, h('div', { class: 'line' }, manages && h('button', { type: 'button', onclick: () => openSchedule(this.queue, { done: () => this.changed() }) }, 'Add schedule'),
      h('span', { class: 'gap' }), this.range, h('span', { class: 'buttons' }, this.back, this.on)), this.state, this.table.frame);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 2000, idle: 10000, signal: this.#stop.signal });
  }

  /** Read another page; the old one stays until then. */
  #turn(step) {
    if (step > 0) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    this.back.disabled = true;
    this.on.disabled = true;
    this.table.frame.setAttribute('aria-busy', 'true');
    this.refresher.now();
  }

  async #read(signal) {
    const { length } = this.#cursors;
    let page;
    try {
      page = await api.listSchedules(this.queue, { limit: PAGE, cursor: this.#cursors.at(-1), signal });
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) {
        this.table.frame.hidden = true;
        replace(this.state, failure(error, () => this.refresher.now()));
      }
      throw error;
    }
    if (!signal.aborted && length === this.#cursors.length) this.#put(page);
  }

  #put({ schedules, next_cursor: next }) {
    this.#next = next;
    const first = (this.#cursors.length - 1) * PAGE + 1;
    this.back.disabled = first === 1;
    this.on.disabled = next === null;
    setText(this.range, first > 1 || next ? `Schedules ${number(first)} to ${number(first + schedules.length - 1)}` : '');
    replace(this.state, schedules.length === 0 && empty('There is no schedule here', 'A schedule adds a job at each time of a cron line, or at a fixed interval.'));
    this.table.frame.removeAttribute('aria-busy');
    this.table.draw(schedules);
  }
}
customElements.define('je-schedules', SchedulesPart);
