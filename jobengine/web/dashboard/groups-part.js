// The groups of a queue: how many of their jobs run, wait and are held, and what is set for each.

import * as api from './api.js';
import { h, keyed, menu, replace, set, setText } from './dom.js';
import { keepOrder } from './error-groups.js';
import { ownText } from './flow.js';
import { duration, number, setTime, since, time } from './format.js';
import { empty, failure, field, loading } from './forms.js';
import { holdGroup, pauseGroup, releaseGroup, resetGroup, setGroup } from './group-actions.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';
import { session } from './session.js';

const PAGE = 50;
/** Columns: name, label, and the API's `sort` if the groups can be sorted by it. */
const COLUMNS = [
  ['name', 'Group'], ['inprogress', 'In progress', 'in_progress'], ['queued', 'Queued', 'queued'], ['ready', 'Ready'], ['held', 'Held'],
  ['oldest', 'Longest wait', 'oldest'], ['until', 'Held until'], ['own', 'Own settings'],
];
const SORTS = COLUMNS.map(([, , sort]) => sort).filter(Boolean);
const USUAL = 'queued';
/** Milliseconds after the last key until a typed name is looked for. */
const TYPING = 250;

class GroupsPart extends HTMLElement {
  #stop = new AbortController();
  #sort = USUAL;
  /** The name of the only group to show, or nothing. */
  #name = '';
  #cursors = [undefined];
  #next = null;
  #groups = [];

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show the groups in the order of the route's query, or the group that the query names. */
  show({ queue, query }) {
    this.queue = queue;
    if (!this.body) this.#build();
    this.#sort = SORTS.includes(query.sort) ? query.sort : USUAL;
    this.#name = query.group ?? '';
    this.find.value = this.#name;
    this.#restart();
  }

  changed() {
    this.refresher.now();
  }

  happened() {
    this.refresher.soon();
  }

  /** The limits of the queue may have changed. */
  stats() {
    if (this.#groups.length) this.#drawRows();
  }

  #build() {
    const label = field('Find a group', { name: 'group', type: 'search', placeholder: 'Find a group', 'data-key': 'search', oninput: () => this.#typed() });
    label.querySelector('label').className = 'unseen';
    this.find = label.querySelector('input');
    this.range = h('span', { role: 'status' });
    this.back = h('button', { type: 'button', 'data-key': 'back', 'aria-label': 'Previous page', title: 'Previous page', disabled: true, onclick: () => this.#turn(-1) }, '‹');
    this.on = h('button', { type: 'button', 'data-key': 'on', 'aria-label': 'Next page', title: 'Next page', disabled: true, onclick: () => this.#turn(1) }, '›');
    this.bar = h('form', { class: 'filters of-groups', role: 'search', 'aria-label': 'Groups', onsubmit: (event) => { event.preventDefault(); this.#choose(this.find.value); } },
      label, h('span', { class: 'gap' }), this.range, h('span', { class: 'buttons' }, this.back, this.on));
    this.state = h('div');
    this.body = h('tbody');
    this.manages = session.may(this.queue, 'manage');
    this.heads = h('tr', {}, COLUMNS.map((column) => this.#head(column)), this.manages && h('th', { scope: 'col', class: 'c-actions' }, h('span', { class: 'unseen' }, 'Actions')));
    this.table = h('div', { class: 'table-frame', hidden: true }, h('table', { class: 'groups' }, h('caption', { class: 'unseen' }, 'Groups'), h('thead', {}, this.heads), this.body));
    this.append(this.bar, this.state, this.table);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 2000, idle: 10000, signal: this.#stop.signal });
  }

  #head([name, text, sort]) {
    const button = sort && h('button', { type: 'button', class: 'sort', onclick: () => this.#sortBy(sort) }, text);
    return h('th', { scope: 'col', class: `c-${name}`, 'data-sort': sort }, button || text);
  }

  // Order, name and pages

  #typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#choose(this.find.value), TYPING);
  }

  #choose(name) {
    clearTimeout(this.timer);
    if (name === this.#name) return;
    this.#name = name;
    this.#remember();
  }

  #sortBy(sort) {
    this.#sort = sort;
    this.#remember();
  }

  /** Keep the order and the name in the address, so that it can be shared and survives a reload. */
  #remember() {
    history.replaceState(null, '', queueLink(this.queue, 'groups', { sort: this.#sort === USUAL ? '' : this.#sort, group: this.#name }));
    this.#restart();
  }

  #turn(step) {
    if (step > 0) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    this.#begin();
  }

  #restart() {
    this.#cursors = [undefined];
    this.#begin();
  }

  /** Read another page; the old one stays until then. */
  #begin() {
    this.back.disabled = true;
    this.on.disabled = true;
    for (const head of this.heads.querySelectorAll('[data-sort]')) set(head, 'aria-sort', head.dataset.sort === this.#sort ? 'descending' : null);
    this.table.setAttribute('aria-busy', 'true');
    this.refresher.now();
  }

  // Reading

  get #wanted() {
    return JSON.stringify([this.#name, this.#sort, this.#cursors]);
  }

  async #read(signal) {
    const wanted = this.#wanted;
    let page;
    try {
      page = this.#name ? await this.#one(signal)
        : await api.listGroups(this.queue, { sort: this.#sort, limit: PAGE, cursor: this.#cursors.at(-1), signal });
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) this.#refused(error);
      throw error;
    }
    if (wanted === this.#wanted) this.#put(page);
  }

  /** A page with the group of that name, or an empty page. */
  async #one(signal) {
    try {
      return { groups: [await api.readGroup(this.queue, this.#name, signal)], next_cursor: null };
    } catch (error) {
      if (error instanceof api.Refused && error.status === 404) return { groups: [], next_cursor: null };
      throw error;
    }
  }

  #refused(error) {
    this.table.hidden = true;
    replace(this.state, failure(error, () => this.refresher.now()));
  }

  #put({ groups, next_cursor: next }) {
    this.#groups = groups;
    this.#next = next;
    const page = this.#cursors.length - 1;
    this.back.disabled = page === 0;
    this.on.disabled = next === null;
    const first = page * PAGE + 1;
    setText(this.range, groups.length && !this.#name ? `Groups ${number(first)} to ${number(first + groups.length - 1)}` : '');
    replace(this.state, groups.length === 0 && this.#none());
    this.table.hidden = groups.length === 0;
    this.table.removeAttribute('aria-busy');
    this.#drawRows();
  }

  #none() {
    if (this.#cursors.length > 1) return empty('There are no more groups');
    if (this.#name) return empty('No group has this name', 'A group is shown while it has unfinished jobs, settings of its own or a hold.');
    return empty('No group has unfinished jobs', 'A job that is added with a group is counted here until it has finished. The limits of groups are among the settings.');
  }

  // Rows

  #drawRows() {
    const groups = [...this.#groups];
    keepOrder(this.body, groups, ({ group }) => group);
    keyed(this.body, groups, ({ group }) => group, (group) => this.#row(group), (row, group) => this.#update(row, group));
  }

  #row({ group }) {
    const row = h('tr');
    row.marks = h('span', { class: 'marks' });
    row.bar = h('progress', { 'aria-hidden': 'true' });
    row.running = h('span');
    row.until = time(null, { tabindex: 0 });
    row.figures = Object.fromEntries(COLUMNS.slice(2).map(([name]) => [name, h('td', { class: `c-${name}` })]));
    row.figures.until.append(row.until);
    row.append(h('th', { scope: 'row', class: 'c-name' }, h('a', { href: queueLink(this.queue, 'groups', { group }), class: 'strong', title: group }, group), row.marks),
      h('td', { class: 'c-inprogress' }, row.bar, row.running), ...Object.values(row.figures));
    if (this.manages) row.append(h('td', { class: 'c-actions' }, this.#actions(row, group)));
    return row;
  }

  #actions(row, name) {
    const act = (what) => () => what(this.queue, row.group, () => this.page.changed());
    const list = menu(h('span', { class: 'wide' }, 'Actions'), [
      ['Pause', act(pauseGroup), { 'data-act': 'pause' }], ['Hold for a time', act(holdGroup)], ['End the hold', act(releaseGroup), { 'data-act': 'release' }],
      ['Own settings', act(setGroup)], ['Reset', act(resetGroup), { 'data-act': 'reset' }],
    ], { 'aria-label': `Actions for ${name}`, class: 'quiet' });
    row.acts = Object.fromEntries(['pause', 'release', 'reset'].map((act) => [act, list.querySelector(`[data-act=${act}]`)]));
    return list;
  }

  #update(row, group) {
    const { own, queued, ready, held, oldest_ready_seconds: oldest } = group;
    row.group = group;
    this.#drawRunning(row, group);
    const delayed = queued - ready - held;
    replace(row.figures.queued, number(queued), delayed > 0 && h('small', {}, ` ${number(delayed)} delayed`));
    setText(row.figures.ready, number(ready));
    setText(row.figures.held, number(held));
    row.figures.held.classList.toggle('waits', held > 0);
    setText(row.figures.oldest, duration(oldest === null ? null : Math.floor(oldest)));
    set(row.figures.oldest, 'title', oldest === null ? null : `Added ${since(oldest)}`);
    setTime(row.until, group.held_until);
    set(row.until, 'tabindex', group.held_until === null ? null : 0);
    setText(row.figures.own, ownText(own) || '–');
    set(row.figures.own, 'title', ownText(own) || null);
    const marks = [own.paused && 'Paused', group.held_until !== null && 'Held'].filter(Boolean);
    if (row.marks.textContent !== marks.join('')) replace(row.marks, marks.map((mark) => h('span', { class: 'badge warn' }, mark)));
    if (!row.acts) return;
    setText(row.acts.pause, own.paused ? 'Resume' : 'Pause');
    row.acts.release.disabled = group.held_until === null;
    row.acts.reset.disabled = Object.keys(own).length === 0;
  }

  /** "2 of 5" with a bar; without a limit only the number. */
  #drawRunning(row, { own, in_progress: running }) {
    const most = own.in_progress ?? this.page.stats?.group_limits?.in_progress;
    row.bar.classList.toggle('none', most === undefined);
    row.bar.max = most ?? 1;
    row.bar.value = most === undefined ? 0 : Math.min(running, most);
    setText(row.running, most === undefined ? number(running) : `${number(running)} of ${number(most)}`);
  }
}
customElements.define('je-groups', GroupsPart);
