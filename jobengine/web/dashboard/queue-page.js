// One queue: its state in one line, and one of its parts: overview, jobs, errors, workers, schedules, batches, groups or settings.

import * as api from './api.js';
import { openAddJob } from './add-job.js';
import { setSparkline, sparkline } from './chart.js';
import { missingBadge, originsOf } from './dead-letters.js';
import { h, menu, replace, set, setText } from './dom.js';
import { waitText } from './flow.js';
import { setTime, time } from './format.js';
import { failure } from './forms.js';
import { queueLink } from './links.js';
import { Feed, Refresher } from './live.js';
import { COUNTS, cancelledText, count, countOf, ratesText, setOldest } from './overview-part.js';
import { moveBack } from './move-jobs.js';
import { badges, drain, pause, purge, release, remove } from './queue-actions.js';
import { session } from './session.js';
import { workerNote } from './trouble.js';
import './batches-part.js';
import './errors-part.js';
import './groups-part.js';
import './jobs-part.js';
import './schedules-part.js';
import './workers-part.js';
import './settings-part.js';
import './narrow-part.js';

const PARTS = [
  ['overview', 'Overview', 'je-overview'], ['', 'Jobs', 'je-jobs'], ['errors', 'Errors', 'je-errors'], ['workers', 'Workers', 'je-workers'],
  ['schedules', 'Schedules', 'je-schedules'], ['batches', 'Batches', 'je-batches'], ['groups', 'Groups', 'je-groups'], ['settings', 'Settings', 'je-settings'],
];
/** Milliseconds between two searches for batches, stopped groups, and queues from which failed jobs came. */
const LOOK = 30000;
/** The most groups to search for stopped ones: those with the most queued jobs. */
const GROUPS = 100;

class QueuePage extends HTMLElement {
  #stop = new AbortController();
  #started = false;
  #changes = 0;
  #nextLook = 0;
  /** The groups whose jobs can't be claimed, by name: 'paused' or 'held'. */
  stopped = new Map();

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
    this.#nextLook = 0;
    this.refresher?.now();
    this.lower?.changed?.();
  }

  #start() {
    this.#started = true;
    const { name } = this;
    this.marks = h('span', { class: 'marks' });
    this.buttons = h('div', { class: 'buttons' });
    this.append(h('div', { class: 'title-line' }, h('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }, h('a', { href: '#/queues' }, 'Queues'), ' /'),
      h('h1', { tabindex: -1 }, name), this.marks, this.buttons));
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

  /** Look now and then for what few queues have: batches, stopped groups, and failed jobs from other queues. */
  async #look(signal) {
    if (performance.now() < this.#nextLook) return;
    this.#nextLook = performance.now() + LOOK;
    await Promise.all([this.#lookForBatches(signal), this.#lookForOrigins(signal), this.#lookForStoppedGroups(signal)]);
  }

  /** Find the groups that are paused or held; there is none while no job is held. */
  async #lookForStoppedGroups(signal) {
    const { groups } = this.stats.held > 0 ? await api.listGroups(this.name, { sort: 'queued', limit: GROUPS, signal }) : { groups: [] };
    this.stopped = new Map(groups.filter(({ own, held_until: until }) => own.paused || until).map(({ group, own }) => [group, own.paused ? 'paused' : 'held']));
    this.lower?.groups?.(this.stopped);
  }

  /** Show the queues from which failed jobs came, each with a button to move its jobs back. */
  async #lookForOrigins(signal) {
    this.origins = await originsOf(this.stats, signal);
    const said = JSON.stringify(this.origins);
    if (this.back.dataset.said === said) return;
    this.back.dataset.said = said;
    this.back.hidden = this.origins.length === 0;
    const manages = session.may(this.name, 'manage');
    const back = (name) => h('button', { type: 'button', 'aria-label': this.origins.length > 1 ? `Move back to ${name}` : null, onclick: () => moveBack(this.stats.name, name, () => this.changed()) }, 'Move back');
    replace(this.back, 'Failed jobs here came from', this.origins.map((name) => h('span', { class: 'line' }, h('a', { href: queueLink(name) }, name), manages && back(name))));
    // Errors have buttons to move their jobs back.
    if (this.lower?.localName === 'je-errors') this.lower.changed();
  }

  /** Show the tab of batches once there is a batch. */
  async #lookForBatches(signal) {
    if (this.batched) return;
    const { batches } = await api.listBatches(this.name, { limit: 1, signal });
    this.batched = batches.length > 0;
    this.#drawTabs();
  }

  #addButtons() {
    const done = () => this.changed();
    const gone = (isHere) => { if (isHere) location.hash = '#/queues'; };
    const act = (what, then = done) => () => what(this.stats, then);
    if (session.may(this.name, 'add')) this.buttons.append(h('button', { type: 'button', class: 'primary', onclick: () => this.addJob() }, 'Add job'));
    if (!session.may(this.name, 'manage')) return;
    // Disabled until the figures are read: the actions depend on them.
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
    this.counts = Object.fromEntries(COUNTS.map(([key, label]) => [key, count(this.name, key, label, 'count')]));
    this.oldest = h('b', {}, '–');
    this.rates = h('span');
    this.spark = sparkline();
    this.line = h('div', { class: 'summary', role: 'group', 'aria-label': 'State of the queue' }, Object.values(this.counts).map(({ element }) => element),
      h('span', { class: 'more-figures' }, 'Oldest ready ', this.oldest), h('span', { class: 'more-figures rates' }, 'Last minute ', this.rates),
      h('a', { class: 'more-figures', href: queueLink(this.name, 'overview'), title: 'The last hour' }, this.spark));
    this.tabs = h('nav', { class: 'tabs', 'aria-label': 'Parts of the queue' }, PARTS.map(([part, text]) => h('a', { href: queueLink(this.name, part), 'data-part': part }, text)));
    this.below = h('div', { class: 'part' });
    this.whole = h('div', { class: 'stack' });
    this.append(this.state, this.whole);
    this.note = h('p', { class: 'alarm', role: 'status', hidden: true });
    this.#buildHold();
    this.back = h('p', { class: 'line', hidden: true });
    this.dead = h('p', { hidden: true });
    this.whole.append(this.note, this.hold, this.back, this.dead, this.line, this.tabs, this.below);
  }

  #buildHold() {
    this.until = time(null, { tabindex: 0, class: 'strong' });
    this.hold = h('p', { class: 'hold line', role: 'status', hidden: true }, h('span', {}, 'The queue is held: no job can be claimed. The hold ends ', this.until, '.'),
      session.may(this.name, 'manage') && h('button', { type: 'button', onclick: () => release(this.stats, () => this.changed()) }, 'End the hold'));
  }

  #showPart(route) {
    const [part, , tag] = PARTS.find(([key]) => key === route.part) ?? PARTS[0];
    this.line.hidden = part === 'overview';
    this.shownPart = part;
    this.#drawDead();
    for (const tab of this.tabs.children) set(tab, 'aria-current', tab.dataset.part === part ? 'page' : null);
    this.#drawTabs();
    const { offsetLeft, offsetWidth } = this.tabs.querySelector('[aria-current]');
    this.tabs.scrollLeft = Math.max(0, offsetLeft - this.tabs.offsetLeft + offsetWidth - this.tabs.clientWidth);
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
      // Drop stats that may be from before a change: the page reads them again at once after it.
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
    await this.#look(signal);
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
    for (const [key] of COUNTS) this.counts[key].show(countOf(stats, key));
    setText(this.counts.failed.more, cancelledText(stats));
    this.#drawNote(stats);
    this.#drawHold(stats);
    this.#drawDead();
    this.#drawTabs();
    setText(this.counts.queued.more, waitText(stats));
    const marks = [...badges(stats), ...missingBadge(stats)];
    const role = session.role(this.name);
    if (role !== 'owner') marks.push(h('span', { class: 'badge' }, role));
    if (this.marks.textContent !== marks.map((mark) => mark.textContent).join('')) replace(this.marks, marks);
    setOldest(this.oldest, stats.oldest_ready_seconds);
    setText(this.rates, ratesText(stats.last_minute));
    this.rates.title = this.rates.textContent;
    setSparkline(this.spark, stats.minutes);
    this.#drawActs(stats);
    this.lower?.stats?.(stats);
  }

  /** Say that jobs are ready and no worker takes them. */
  #drawNote(stats) {
    const note = workerNote(stats);
    this.note.hidden = note === null;
    if (note?.textContent !== this.note.textContent) replace(this.note, note);
  }

  /** Say where jobs that fail go, beside the number of failed jobs that are left here. */
  #drawDead() {
    const its = this.stats?.dead_letter;
    this.dead.hidden = !its || Boolean(its.missing) || !['overview', 'errors'].includes(this.shownPart);
    if (this.dead.hidden || this.dead.dataset.to === its.queue_name) return;
    this.dead.dataset.to = its.queue_name;
    replace(this.dead, 'Failed jobs move to ', h('a', { href: queueLink(its.queue_name) }, its.queue_name));
  }

  /** Until when the queue is held, if it is. */
  #drawHold({ held_until: until }) {
    this.hold.hidden = !until;
    setTime(this.until, until);
  }

  /** Only queues with limits or groups have a tab of groups, only queues with batches one of batches; both are before the last tab. */
  #drawTabs() {
    const [batches, groups] = [...this.tabs.children].slice(-3);
    batches.hidden = !this.batched && batches.ariaCurrent === null;
    groups.hidden = this.stats?.group_order === undefined && groups.ariaCurrent === null;
    this.line.classList.toggle('with-groups', !groups.hidden || this.stats?.waiting > 0);
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
