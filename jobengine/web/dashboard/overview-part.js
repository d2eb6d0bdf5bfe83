// The overview of a queue: its counts, and how many jobs came and went.

import * as api from './api.js';
import './chart.js';
import { h, replace, setText } from './dom.js';
import { brief, duration, number, since } from './format.js';
import { choices, failure } from './forms.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';
import { queuedText } from './queue-actions.js';
import { failedAttempts, failedCount } from './trouble.js';

export const COUNTS = [['failed', 'Failed'], ['retrying', 'Retrying'], ['queued', 'Queued'], ['inprogress', 'In progress'], ['complete', 'Complete']];

const PERIODS = [['hour', 'Hour'], ['day', 'Day'], ['week', 'Week']];
/** How many hours a period has; the last hour is shown by minutes. */
const HOURS = { day: 24, week: 168 };
const [MINUTE, HOUR] = [60, 3600];

class OverviewPart extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ queue, query }) {
    if (this.tiles) return;
    this.queue = queue;
    this.period = PERIODS.some(([period]) => period === query.period) ? query.period : 'hour';
    this.state = h('div');
    this.heading = h('h2');
    this.timesHeading = h('h2');
    this.tiles = Object.fromEntries(COUNTS.map(([key, label]) => [key, count(queue, key, label, 'tile')]));
    this.oldest = h('b', {}, '–');
    this.rates = h('b', {}, '–');
    this.wanted = h('b');
    this.wantedLine = h('span', { hidden: true }, 'Workers wanted ', this.wanted);
    this.jobs = document.createElement('je-period');
    this.timesOverTime = document.createElement('je-times-by-period');
    this.times = document.createElement('je-times');
    this.append(h('div', { class: 'tiles' }, Object.values(this.tiles).map(({ element }) => element)),
      h('p', { class: 'facts-line' }, h('span', {}, 'Oldest ready ', this.oldest), this.wantedLine, h('span', {}, 'In the last minute ', this.rates)),
      h('div', { class: 'panels charts' },
        h('section', { class: 'panel', 'aria-label': 'Jobs over time' }, h('div', { class: 'title-line' }, this.heading,
          choices('Period', PERIODS, this.period, (period) => this.#choose(period))), this.state, this.jobs),
        h('section', { class: 'panel', 'aria-label': 'Times over time' }, this.timesHeading, this.timesOverTime),
        h('section', { class: 'panel', 'aria-label': 'Wait and run times' }, h('h2', {}, 'Last 1,000 jobs since the server’s start'), this.times)));
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 10000, idle: 60000, signal: this.#stop.signal });
    this.#choose(this.period);
    if (this.page.stats) this.stats(this.page.stats);
  }

  /** Read again. */
  changed() {
    this.refresher.now();
  }

  #choose(period) {
    this.period = period;
    setText(this.heading, period === 'hour' ? 'Jobs by minute' : 'Jobs by hour');
    setText(this.timesHeading, period === 'hour' ? 'Wait and run times by minute' : 'Wait and run times by hour');
    history.replaceState(null, '', queueLink(this.queue, 'overview', { period: period === 'hour' ? '' : period }));
    this.#draw();
    this.refresher.now();
  }

  async #read(signal) {
    try {
      this.past = await api.queueHistory(this.queue, signal);
      replace(this.state);
      this.#draw();
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    }
  }

  #draw() {
    const hours = HOURS[this.period];
    const step = hours ? HOUR : MINUTE;
    const figures = this.past && (hours ? lastOf(this.past.hours, hours) : this.past.minutes);
    if (figures) this.timesOverTime.show(figures, step, `last ${this.period}`);
    const jobs = hours ? figures : this.page.stats?.minutes;
    if (jobs) this.jobs.show(jobs, step, `last ${this.period}`);
  }

  /** Show new figures. */
  stats(stats) {
    for (const [key] of COUNTS) this.tiles[key].show(countOf(stats, key));
    setText(this.tiles.queued.more, stats.counts.queued ? queuedText(stats) : '');
    setText(this.tiles.failed.more, cancelledText(stats));
    setOldest(this.oldest, stats.oldest_ready_seconds);
    setText(this.rates, ratesText(stats.last_minute));
    this.#drawWanted(stats);
    this.#draw();
    this.times.show([['Wait', stats.wait_seconds], ['Run', stats.run_seconds]]);
  }

  /** How many workers would keep the target wait of the queue, if it has one. */
  #drawWanted({ workers_wanted: wanted, target_wait_seconds: target }) {
    this.wantedLine.hidden = target === undefined;
    if (target === undefined) return;
    setText(this.wanted, number(wanted));
    this.wantedLine.title = `With this number of workers, no job waits longer than ${number(target)} s`;
  }
}
customElements.define('je-overview', OverviewPart);

const lastOf = (figures, count) => Object.fromEntries(Object.entries(figures).map(([name, values]) => [name, values.slice(-count)]));

/** The number of jobs in one of COUNTS. */
export const countOf = (stats, key) => (key === 'failed' ? failedCount(stats) : key === 'retrying' ? stats.retrying : stats.counts[key]);

/** "3 cancelled" for the cancelled jobs that are still kept, or nothing. */
export const cancelledText = ({ cancelled }) => (cancelled ? `${number(cancelled)} cancelled` : '');

/** A count that links to its jobs, with room for `more` text. */
export function count(queue, key, label, kind) {
  const value = h('b', {}, '–');
  const more = h('small');
  const element = h('a', { class: `${kind} ${key}`, href: queueLink(queue, '', { state: key }) }, h('span', {}, label), ' ', value, ' ', more);
  const show = (given) => {
    setText(value, number(given));
    element.classList.toggle('some', given > 0);
  };
  return { element, more, show };
}

/** Show how long ago the oldest ready job was added, with the time on hover. */
export function setOldest(element, seconds) {
  setText(element, seconds === null ? 'none' : duration(Math.floor(seconds)));
  element.title = seconds === null ? '' : `Added ${since(seconds)}`;
}

/** "12 added, 10 complete, 1 failed attempt" */
export function ratesText(period) {
  const failed = failedAttempts(period);
  return `${brief(period.added)} added, ${brief(period.complete)} complete, ${brief(failed)} failed ${failed === 1 ? 'attempt' : 'attempts'}`;
}
