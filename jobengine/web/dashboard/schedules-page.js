// The schedules of all queues that the tab may read, those in trouble first, then by their next times.

import * as api from './api.js';
import { h, replace, setText } from './dom.js';
import { keepOrder } from './error-groups.js';
import { number, secondOf } from './format.js';
import { empty, failure, loading } from './forms.js';
import { Refresher } from './live.js';
import { allQueues, inTurns } from './queues.js';
import { scheduleTable, troubleOf } from './schedule-rows.js';

/** The most schedules to read of each queue, the most queues to read, and the most rows to show. */
const MOST_OF_A_QUEUE = 200;
const MOST_QUEUES = 200;
const MOST_ROWS = 500;

class SchedulesPage extends HTMLElement {
  #stop = new AbortController();
  #found = [];

  disconnectedCallback() {
    this.#stop.abort();
  }

  show() {
    if (this.table) return;
    this.state = h('div');
    this.told = h('p', { class: 'muted', role: 'status' });
    this.find = h('input', { type: 'search', 'aria-label': 'Find a schedule', placeholder: 'Find a schedule', oninput: () => this.#draw() });
    this.table = scheduleTable({ queues: true, done: () => this.changed() });
    this.append(h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, 'Schedules of all queues'), this.find), this.told, this.state, this.table.frame);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 5000, idle: 15000, signal: this.#stop.signal });
  }

  /** Read again. */
  changed() {
    this.refresher.now();
  }

  async #read(signal) {
    try {
      const queues = (await allQueues(signal)).filter(({ counts }) => counts);
      const found = [];
      this.part = [];
      await inTurns(queues.slice(0, MOST_QUEUES), async ({ name }) => found.push(await this.#schedulesOf(name, signal)));
      this.part = [found.some(({ next_cursor: next }) => next) && `the first ${MOST_OF_A_QUEUE} of each queue`, queues.length > MOST_QUEUES && `the first ${MOST_QUEUES} queues`].filter(Boolean);
      this.#found = found.flatMap(({ schedules }) => schedules).sort(byTrouble);
      this.known = true;
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
    this.#draw();
  }

  /** The first schedules of a queue; none if the queue was deleted meanwhile. */
  async #schedulesOf(queue, signal) {
    try {
      return await api.listSchedules(queue, { limit: MOST_OF_A_QUEUE, signal });
    } catch (error) {
      if (error instanceof api.Refused && error.status === 404) return { schedules: [], next_cursor: null };
      throw error;
    }
  }

  #draw() {
    if (!this.known) return;
    const wanted = this.find.value.trim().toLowerCase();
    const listed = this.#found.filter((each) => each.name.toLowerCase().includes(wanted) || each.queue_name.toLowerCase().includes(wanted));
    const part = [...this.part, listed.length > MOST_ROWS && `${MOST_ROWS} are shown`].filter(Boolean);
    setText(this.told, listed.length ? `${number(listed.length)} ${listed.length === 1 ? 'schedule' : 'schedules'}${part.length ? ` (${part.join(', ')})` : ''}` : '');
    replace(this.state, listed.length === 0 && (wanted ? empty('No schedule has such a name') : empty('There is no schedule yet', 'Add one in the tab Schedules of a queue.')));
    const rows = listed.slice(0, MOST_ROWS);
    keepOrder(this.table.frame.querySelector('tbody'), rows, keyOf);
    this.table.draw(rows);
  }
}
customElements.define('je-all-schedules', SchedulesPage);

const keyOf = (each) => JSON.stringify([each.queue_name, each.name]);
const nextOf = ({ next }) => (next.length ? secondOf(next[0]) : Infinity);

function byTrouble(one, other) {
  return troubleOf(other) - troubleOf(one) || Math.sign(nextOf(one) - nextOf(other)) || (keyOf(one) < keyOf(other) ? -1 : 1);
}
