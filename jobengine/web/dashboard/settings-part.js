// The settings of a queue: defaults, limits and keys.

import * as api from './api.js';
import { deadLetterChanges, deadLetterFacts, deadLetterFields, settingsError } from './dead-letters.js';
import { copyButton, h, keyed, replace, tell } from './dom.js';
import { flowChanges, flowFacts, flowFields } from './flow.js';
import { duration, number, setTime, time } from './format.js';
import { Draft, choice, confirm, dialog, failure, field, form, keep, keyWarning, loading, tick, values } from './forms.js';
import { purge, remove } from './queue-actions.js';
import { newKey, session } from './session.js';

const ROLES = [['worker', 'Worker: claims and updates'], ['producer', 'Producer: adds, and reads what it added'], ['viewer', 'Viewer: reads']];
const DEFAULTS = [
  ['keep_minutes', 'Keep complete jobs, minutes', 0], ['keep_failed_minutes', 'Keep failed jobs, minutes', 0], ['timeout_seconds', 'Time-out, seconds', 0],
  ['max_attempts', 'Attempts', 1], ['retry_delay_seconds', 'Retry delay, seconds', 0],
];

class SettingsPart extends HTMLElement {
  #stop = new AbortController();
  #asked = 0;

  disconnectedCallback() {
    this.#stop.abort();
  }

  show({ queue }) {
    this.queue = queue;
    if (!this.firstChild) loading(this);
    if (this.page.stats) this.stats(this.page.stats);
  }

  /** Show the settings once; later stats do not change them, so that input stays. */
  stats(stats) {
    if (this.built) return;
    this.built = true;
    const manages = session.may(this.queue, 'manage');
    replace(this, manages ? this.#setUp(stats) : shown(stats));
    if (!manages) return;
    this.keys = h('tbody');
    this.state = h('div');
    this.append(this.#keysPanel(), this.#danger());
    this.#readKeys();
  }

  #setUp(stats) {
    const given = (name) => stats.defaults?.[name];
    const draft = new Draft(`settings.${this.queue}`);
    const fields = [
      h('div', { class: 'fields' }, field('Job limit', { name: 'max_jobs', type: 'number', min: 0, step: 1, value: stats.max_jobs }, 'For jobs in all states together; 0 is no limit.'),
        tick('Require the lease', { name: 'require_lease', checked: stats.require_lease }, 'Only the worker that holds a job may update it while it is in progress.')),
      h('fieldset', {}, h('legend', {}, 'Job defaults'), h('p', { class: 'hint' }, 'For jobs that do not set these values. An empty field means the server’s default.'),
        h('div', { class: 'fields' }, DEFAULTS.map(([name, label, min]) => field(label, { name, type: 'number', min, step: 1, value: given(name) }, name === 'timeout_seconds' ? '0 is never.' : null)))),
      deadLetterFields(stats), flowFields(stats),
    ];
    let before = stats;
    const save = async (element) => {
      const given = values(element);
      const defaults = Object.fromEntries(DEFAULTS.map(([name]) => [name, given[name]]).filter(([, value]) => value !== undefined));
      await api.changeQueue(this.queue, {
        max_jobs: given.max_jobs ?? 0, require_lease: given.require_lease, ...(Object.keys(defaults).length || before.defaults ? { defaults } : {}), ...flowChanges(given, before), ...deadLetterChanges(given, before),
      }).catch((error) => { throw settingsError(error, given); });
      // Read the stats here: those that the page reads by itself may be older than the change.
      const fresh = await api.stats(this.queue);
      this.page.stats = fresh;
      before = fresh;
      // If more was typed meanwhile, the form stays as it is, to be saved later.
      if (JSON.stringify(values(element)) === JSON.stringify(given)) {
        draft.forget();
        exchange(section, this.#setUp(fresh));
      }
      tell('Saved.');
      this.page.changed();
    };
    const element = form('Save', save, fields);
    const section = h('section', { class: 'panel', 'aria-labelledby': 'set-up' }, h('h2', { id: 'set-up' }, 'Defaults and limits'), element);
    draft.follow(element);
    return section;
  }

  // Keys

  #keysPanel() {
    const heads = ['Role', 'Added', 'Id', ''].map((text) => (text ? h('th', { scope: 'col' }, text) : h('th', { scope: 'col' }, h('span', { class: 'unseen' }, 'Actions'))));
    return h('section', { class: 'panel', 'aria-labelledby': 'keys' },
      h('div', { class: 'title-line' }, h('h2', { id: 'keys' }, 'Keys'), h('div', { class: 'buttons' },
        h('button', { type: 'button', onclick: () => this.#rotate() }, 'Change the owner’s key'),
        h('button', { type: 'button', class: 'primary', onclick: () => this.#add() }, 'Add key'))),
      this.state, h('div', { class: 'table-frame' }, h('table', {}, h('caption', { class: 'unseen' }, 'Keys with a role'), h('thead', {}, h('tr', {}, heads)), this.keys)));
  }

  async #readKeys() {
    this.#asked += 1;
    const asked = this.#asked;
    try {
      const { keys } = await api.listKeys(this.queue, this.#stop.signal);
      // Ignore the answer if another request was sent after this one.
      if (asked !== this.#asked) return;
      replace(this.state, keys.length === 0 && h('p', { class: 'muted' }, 'There is only the owner’s key.'));
      this.keys.closest('.table-frame').hidden = keys.length === 0;
      keyed(this.keys, keys, ({ id }) => id, (key) => this.#keyRow(key), () => {});
    } catch (error) {
      if (asked === this.#asked && !this.#stop.signal.aborted) replace(this.state, failure(error, () => this.#readKeys()));
    }
  }

  #keyRow(key) {
    const revoke = () => confirm('Revoke the key', `The ${key.role}’s key ${key.id} of “${this.queue}” will stop working.`, 'Revoke', async () => {
      await api.revokeKey(this.queue, key.id);
      tell('The key is revoked.');
      this.#readKeys();
    });
    return h('tr', {}, h('th', { scope: 'row' }, key.role), h('td', {}, setTime(time(null), key.created)), h('td', { class: 'code' }, key.id),
      h('td', { class: 'c-actions' }, h('button', { type: 'button', class: 'danger', 'aria-label': `Revoke ${key.id.slice(0, 8)}`, onclick: revoke }, 'Revoke')));
  }

  #add() {
    dialog(`Add a key to “${this.queue}”`, (close) => {
      const key = keyField('Key');
      const add = async (element) => {
        const given = values(element);
        await api.addKey(this.queue, given.role, given.key);
        close();
        tell(`The key is valid from now on, with the role ${given.role}.`);
        this.#readKeys();
      };
      return form('Add', add, [choice('Role', ROLES, { name: 'role', value: 'worker' }), key], { more: keep(close, 'Cancel') });
    });
  }

  #rotate() {
    dialog(`Change the owner’s key of “${this.queue}”`, (close) => {
      const change = async (element) => {
        const given = values(element);
        await api.changeQueue(this.queue, { new_access_key: given.key, old_key_seconds: given.old });
        if (session.admin === null) session.addQueue(this.queue, given.key, 'owner');
        close();
        tell('The key is changed. This tab uses the new one.');
      };
      return form('Change the key', change, [keyField('New key'),
        field('Seconds for which the old key stays valid', { name: 'old', type: 'number', min: 0, max: 2592000, step: 1, value: 3600 })], { more: keep(close) });
    });
  }

  #danger() {
    const act = (what, done) => () => what(this.page.stats, done);
    return h('section', { class: 'panel', 'aria-labelledby': 'end' }, h('h2', { id: 'end' }, 'Purge or delete'),
      h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'danger', onclick: act(purge, () => this.page.changed()) }, 'Purge'),
        h('button', { type: 'button', class: 'danger', onclick: act(remove, (isHere) => { if (isHere) location.hash = '#/queues'; }) }, 'Delete queue')));
  }
}
customElements.define('je-settings', SettingsPart);

/** Show `next` in the place of a section with a form. The focus stays, and the text of its field is selected. */
function exchange(section, next) {
  const { activeElement: focused } = document;
  const which = !section.contains(focused) ? null : focused.name ? `[name="${focused.name}"]` : '[type=submit]';
  section.replaceWith(next);
  const same = which && next.querySelector(which);
  same?.focus({ preventScroll: true });
  same?.select?.();
}

function keyField(label) {
  const element = field(label, { name: 'key', required: true, maxlength: 1024, value: newKey(), class: 'code' }, 'It can’t be shown again: copy it before you go on.');
  element.append(keyWarning(element), copyButton('Copy the key', () => element.querySelector('input').value));
  return element;
}

/** The settings, for keys that may only read. */
function shown(stats) {
  const { defaults } = stats;
  const facts = [['Job limit', stats.max_jobs === 0 ? 'any number' : number(stats.max_jobs)], ['Updates require the lease', stats.require_lease ? 'yes' : 'no'],
    ...(defaults ? [['Keeps complete jobs', duration(defaults.keep_minutes * 60)], ['Keeps failed jobs', duration(defaults.keep_failed_minutes * 60)], ['Time-out', defaults.timeout_seconds ? duration(defaults.timeout_seconds) : 'never'],
      ['Attempts', number(defaults.max_attempts)], ['Retry delay', duration(defaults.retry_delay_seconds)]] : [['Defaults', 'the server’s']]), ...deadLetterFacts(stats), ...flowFacts(stats)];
  return h('section', { class: 'panel', 'aria-labelledby': 'set-up' }, h('h2', { id: 'set-up' }, 'Defaults and limits'),
    h('dl', { class: 'facts' }, facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))));
}
