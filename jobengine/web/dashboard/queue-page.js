// One queue: its state, its charts, and one of its parts: jobs, errors, workers or settings.

import * as api from './api.js';
import './chart.js';
import { openAddJob } from './add-job.js';
import { h, menu, replace, set, setText } from './dom.js';
import { brief, duration, number } from './format.js';
import { failure } from './forms.js';
import { queueLink } from './links.js';
import { Feed, Refresher } from './live.js';
import { badges, drain, pause, purge, queuedText, remove } from './queue-actions.js';
import { session } from './session.js';
import './jobs-part.js';
import './errors-part.js';
import './workers-part.js';
import './settings-part.js';
import './narrow-part.js';

const PARTS = [['', 'Jobs', 'je-jobs'], ['errors', 'Errors', 'je-errors'], ['workers', 'Workers', 'je-workers'], ['settings', 'Settings', 'je-settings']];
const TILES = [['failed', 'Failed'], ['queued', 'Queued'], ['inprogress', 'In progress'], ['complete', 'Complete']];

class QueuePage extends HTMLElement {
  #stop = new AbortController();
  #started = false;
  #changes = 0;

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show a part of the queue that the route names. */
  show(route) {
    this.name = route.queue;
    if (!this.#started) this.#start();
    if (session.may(this.name, 'read')) this.#showPart(route);
  }

  /** Read everything again after an action on this page. */
  changed() {
    this.#changes += 1;
    this.refresher?.now();
    this.lower?.changed?.();
  }

  #start() {
    this.#started = true;
    const { name } = this;
    this.marks = h('span', { class: 'marks' });
    this.buttons = h('div', { class: 'buttons' });
    this.append(h('nav', { class: 'crumbs', 'aria-label': 'Where this is' }, h('a', { href: '#/queues' }, 'Queues'), ' / ', h('span', { 'aria-current': 'page' }, name)),
      h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, name), this.marks, this.buttons));
    this.#addButtons();
    if (!session.may(name, 'read')) {
      const part = document.createElement('je-narrow');
      this.append(part);
      part.show(name);
      return;
    }
    this.#build();
    const { signal } = this.#stop;
    this.refresher = new Refresher((limit) => this.#read(limit), { idle: 5000, signal });
    this.feed = new Feed(name, (changes) => this.#happened(changes), signal);
  }

  #addButtons() {
    const done = () => this.changed();
    const gone = (isHere) => { if (isHere) location.hash = '#/queues'; };
    const act = (what, then = done) => () => what(this.stats, then);
    if (session.may(this.name, 'add')) this.buttons.append(h('button', { type: 'button', class: 'primary', onclick: () => this.addJob() }, 'Add job'));
    if (!session.may(this.name, 'manage')) return;
    // They act on the figures, which are not there yet.
    this.pause = h('button', { type: 'button', disabled: true, onclick: act(pause) }, 'Pause');
    const more = menu('More', [
      ['Drain', act(drain), { 'data-act': 'drain' }],
      ['Purge', act(purge), { class: 'danger' }],
      ['Delete queue', act(remove, gone), { class: 'danger' }],
    ], { 'aria-label': 'More actions', disabled: true });
    this.more = more.querySelector('button');
    this.drain = more.querySelector('[data-act=drain]');
    this.buttons.append(this.pause, more);
  }

  /** Open the form for a new job; also for the key `n`. */
  addJob() {
    if (session.may(this.name, 'add')) openAddJob(this.name, { done: () => this.changed() });
  }

  #build() {
    this.state = h('div');
    this.tiles = Object.fromEntries(TILES.map(([key, label]) => [key, tile(this.name, key, label)]));
    this.oldest = h('b', {}, '–');
    this.rates = h('b', {}, '–');
    this.minutes = document.createElement('je-minutes');
    this.times = document.createElement('je-times');
    this.tabs = h('nav', { class: 'tabs', 'aria-label': 'Parts of the queue' }, PARTS.map(([part, text]) => h('a', { href: queueLink(this.name, part), 'data-part': part }, text)));
    this.below = h('div', { class: 'part' });
    this.whole = h('div', { class: 'stack' });
    this.append(this.state, this.whole);
    this.whole.append(h('div', { class: 'tiles' }, Object.values(this.tiles).map(({ element }) => element)),
      h('p', { class: 'facts-line' }, h('span', {}, 'Oldest ready ', this.oldest), h('span', {}, 'In the last minute ', this.rates)),
      h('div', { class: 'panels charts' },
        h('section', { class: 'panel', 'aria-label': 'Jobs by minute' }, h('h2', {}, 'Jobs by minute'), this.minutes),
        h('section', { class: 'panel', 'aria-label': 'Wait and run times' }, h('h2', {}, 'Wait and run times'), this.times)),
      this.tabs, this.below);
  }

  #showPart(route) {
    const [part, , tag] = PARTS.find(([key]) => key === route.part) ?? PARTS[0];
    for (const tab of this.tabs.children) set(tab, 'aria-current', tab.dataset.part === part ? 'page' : null);
    if (this.lower?.localName !== tag) {
      this.lower = document.createElement(tag);
      replace(this.below, this.lower);
    }
    this.lower.page = this;
    this.lower.show(route);
  }

  async #read(signal) {
    const changes = this.#changes;
    try {
      const stats = await api.stats(this.name, signal);
      // They may be from before the change; after it they are read again at once.
      if (changes !== this.#changes) return;
      this.stats = stats;
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, this.#refused(error));
      throw error;
    }
    replace(this.state);
    this.whole.hidden = false;
    this.buttons.hidden = false;
    this.#draw(this.stats);
  }

  /** Advice for a queue that was deleted, or a key that was revoked. */
  #refused(error) {
    this.whole.hidden = [401, 403, 404].includes(error.status);
    this.buttons.hidden = this.whole.hidden;
    const again = () => {
      session.removeQueue(this.name);
      dispatchEvent(new HashChangeEvent('hashchange'));
    };
    const button = error.status === 401 && session.admin === null && h('button', { type: 'button', onclick: again }, 'Sign in again');
    return h('div', { class: 'stack' }, failure(error, button ? null : () => this.changed()), button && h('div', { class: 'buttons' }, button));
  }

  #draw(stats) {
    for (const [key] of TILES) this.tiles[key].show(stats.counts[key]);
    setText(this.tiles.queued.more, stats.counts.queued ? queuedText(stats) : '');
    const marks = badges(stats);
    const role = session.role(this.name);
    if (role !== 'owner') marks.push(h('span', { class: 'badge' }, role));
    if (this.marks.textContent !== marks.map((mark) => mark.textContent).join('')) replace(this.marks, marks);
    setText(this.oldest, stats.oldest_ready_seconds === null ? 'none' : duration(Math.floor(stats.oldest_ready_seconds)));
    const { added, complete, failed } = stats.last_minute;
    setText(this.rates, `${brief(added)} added, ${brief(complete)} complete, ${brief(failed)} failed`);
    this.minutes.show(stats.minutes);
    this.times.show([['Wait', stats.wait_seconds], ['Run', stats.run_seconds]]);
    this.#drawActs(stats);
    this.lower?.stats?.(stats);
  }

  #drawActs({ paused, draining }) {
    if (!this.pause) return;
    this.pause.disabled = false;
    this.more.disabled = false;
    setText(this.pause, paused ? 'Resume' : 'Pause');
    setText(this.drain, draining ? 'Stop draining' : 'Drain');
  }

  #happened(changes) {
    this.refresher.soon();
    this.lower?.happened?.(changes);
  }
}
customElements.define('je-queue', QueuePage);

/** A count that links to its jobs. */
function tile(queue, key, label) {
  const count = h('b', {}, '–');
  const more = h('small');
  const element = h('a', { class: `tile ${key}`, href: queueLink(queue, '', { state: key }) }, h('span', {}, label), count, more);
  const show = (value) => {
    setText(count, number(value));
    element.classList.toggle('some', value > 0);
  };
  return { element, more, show };
}
