// The overview of a queue: its counts, and how many jobs came and went.

import './chart.js';
import { h, setText } from './dom.js';
import { brief, duration, number, since } from './format.js';
import { queueLink } from './links.js';
import { queuedText } from './queue-actions.js';
import { failedAttempts, failedCount } from './trouble.js';

export const COUNTS = [['failed', 'Failed'], ['retrying', 'Retrying'], ['queued', 'Queued'], ['inprogress', 'In progress'], ['complete', 'Complete']];

class OverviewPart extends HTMLElement {
  show({ queue }) {
    if (this.tiles) return;
    this.tiles = Object.fromEntries(COUNTS.map(([key, label]) => [key, count(queue, key, label, 'tile')]));
    this.oldest = h('b', {}, '–');
    this.rates = h('b', {}, '–');
    this.minutes = document.createElement('je-period');
    this.times = document.createElement('je-times');
    this.append(h('div', { class: 'tiles' }, Object.values(this.tiles).map(({ element }) => element)),
      h('p', { class: 'facts-line' }, h('span', {}, 'Oldest ready ', this.oldest), h('span', {}, 'In the last minute ', this.rates)),
      h('div', { class: 'panels charts' },
        h('section', { class: 'panel', 'aria-label': 'Jobs by minute' }, h('h2', {}, 'Jobs by minute'), this.minutes),
        h('section', { class: 'panel', 'aria-label': 'Wait and run times' }, h('h2', {}, 'Wait and run times'), this.times)));
    if (this.page.stats) this.stats(this.page.stats);
  }

  /** Show other figures. */
  stats(stats) {
    for (const [key] of COUNTS) this.tiles[key].show(countOf(stats, key));
    setText(this.tiles.queued.more, stats.counts.queued ? queuedText(stats) : '');
    setText(this.tiles.failed.more, cancelledText(stats));
    setOldest(this.oldest, stats.oldest_ready_seconds);
    setText(this.rates, ratesText(stats.last_minute));
    this.minutes.show(stats.minutes);
    this.times.show([['Wait', stats.wait_seconds], ['Run', stats.run_seconds]]);
  }
}
customElements.define('je-overview', OverviewPart);

/** The number of jobs in one of COUNTS. */
export const countOf = (stats, key) => (key === 'failed' ? failedCount(stats) : key === 'retrying' ? stats.retrying : stats.counts[key]);

/** "3 cancelled", which are kept as well, or nothing. */
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

/** Show for how long the oldest ready job has waited, with the time on hover. */
export function setOldest(element, seconds) {
  setText(element, seconds === null ? 'none' : duration(Math.floor(seconds)));
  element.title = seconds === null ? '' : `Ready since ${since(seconds)}`;
}

/** "12 added, 10 complete, 1 failed" */
export const ratesText = (period) => `${brief(period.added)} added, ${brief(period.complete)} complete, ${brief(failedAttempts(period))} failed`;
