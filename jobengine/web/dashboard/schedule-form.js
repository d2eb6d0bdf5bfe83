// The form for a schedule. It shows the next times while one types.

import * as api from './api.js';
import { h, newId, replace, set, setText, tell } from './dom.js';
import { secondOf, setTime, time, wallTime } from './format.js';
import { Draft, choice, dialog, field, form, jsonField, keep, values } from './forms.js';
import { members, pretty } from './json.js';

/** Milliseconds after the last key until the next times are read. */
const TYPING = 300;
const DAY = 86400;
const KINDS = [['cron', 'At the times of a cron line'], ['every', 'At a fixed interval']];
/** What happens in unusual cases: the API's values with their texts. */
export const IF_RUNNING = [['skip', 'Skip this time'], ['add', 'Add a job anyway'], ['replace', 'Cancel the unfinished jobs, and add a new one']];
export const MISSED = [['once', 'Fire the latest one'], ['none', 'Fire none of them'], ['all', 'Fire all of them, oldest first']];
const WHOLE = '-?(0|[1-9]\\d{0,18})';

/** Open a form for a new schedule of `queue` or, with `like`, for the existing one with this JSON text; then call `done()`. */
export function openSchedule(queue, { like = null, done = () => {} } = {}) {
  const known = like === null ? null : JSON.parse(like);
  const job = like === null ? new Map() : members(members(like).get('job'));
  const draft = new Draft(known ? `schedule.${queue}.${known.name}` : `schedule.${queue}`);
  dialog(known ? `Change the schedule “${known.name}” of “${queue}”` : `Add a schedule to “${queue}”`, (close) => {
    const save = async (element) => {
      const given = values(element);
      if (!known) await mustBeNew(queue, given.name);
      await api.setSchedule(queue, bodyOf(queue, given, job));
      draft.forget();
      close();
      tell(`${given.name}: ${known ? 'saved.' : 'added.'}`);
      done();
    };
    const drop = () => { draft.forget(); close(); };
    const preview = new Preview(queue);
    const element = form(known ? 'Save' : 'Add', save, fieldsOf(known, job, preview), { more: known ? keep(drop) : keep(close, 'Cancel') });
    draft.follow(element);
    preview.follow(element);
    return element;
  }, { wide: true });
}

/** Raise Wrong if a new schedule's name is taken: PUT would change the existing schedule. */
async function mustBeNew(queue, name) {
  try {
    await api.readSchedule(queue, name);
  } catch (error) {
    if (error instanceof api.Refused && error.status === 404) return;
    throw error;
  }
  throw new api.Wrong(`The queue has a schedule “${name}” already.`);
}

function fieldsOf(known, job, preview) {
  const its = known ?? { cron: '0 3 * * *', timezone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'UTC', if_running: 'skip', missed: 'once', missed_seconds: DAY };
  return [
    field('Name', { name: 'name', required: true, maxlength: 200, readonly: known !== null, value: known?.name }),
    h('div', { class: 'fields' }, choice('Fires', KINDS, { name: 'kind', value: its.cron === undefined ? 'every' : 'cron' }), ...preview.fields(its)), preview.place,
    jsonField('Content', 'content', pretty(job.get('content') ?? '{}')),
    h('div', { class: 'fields' }, field('Priority', { name: 'priority', inputmode: 'text', pattern: WHOLE, title: 'a whole number', value: job.get('priority') ?? '0' }, 'Higher goes first.'),
      choice('If a job of the schedule is unfinished', IF_RUNNING, { name: 'if_running', value: its.if_running }),
      field('Pause after failures in a row', { name: 'failures', type: 'number', min: 1, max: 1000, step: 1, value: its.pause_after_failures }, 'An empty field means never.'),
      choice('If times were missed', MISSED, { name: 'missed', value: its.missed }),
      field('Oldest missed time to fire, seconds', { name: 'missed_seconds', type: 'number', min: 0, max: 366 * DAY, step: 1, value: its.missed_seconds }, 'If the latest missed time is older, it is not fired.')),
  ];
}

const timingIn = ({ kind, cron, every, timezone }) => ({ ...(kind === 'cron' ? { cron } : { every_seconds: every }), timezone: timezone.trim() || 'UTC' });

/** The JSON of the request. Content, priority and the options of `job` that have no field are as they were typed or sent. */
function bodyOf(queue, given, job) {
  const parts = new Map([...job, ['content', given.content], ['priority', given.priority || '0']]);
  const settings = {
    queue_name: queue, name: given.name, ...timingIn(given), if_running: given.if_running, missed: given.missed, missed_seconds: given.missed_seconds ?? DAY,
    pause_after_failures: given.failures ?? null,
  };
  return `${JSON.stringify(settings).slice(0, -1)},"job":{${[...parts].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}}`;
}

/** The fields that set the times, and the times that follow from them. */
class Preview {
  #calls = new AbortController();

  constructor(queue) {
    this.queue = queue;
    this.list = h('ol');
    this.notes = h('ul', { class: 'hint' });
    this.trouble = h('p', { class: 'error' });
    this.place = h('section', { class: 'preview', 'aria-label': 'The next five times', 'aria-live': 'polite' }, h('b', {}, 'Next five times'), this.trouble, this.list, this.notes);
  }

  fields(its) {
    const zones = h('datalist', { id: newId() }, Intl.supportedValuesOf('timeZone').map((zone) => h('option', { value: zone })));
    const cron = field('Cron line', { name: 'cron', class: 'code', maxlength: 1000, value: its.cron ?? '0 3 * * *' }, 'Minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly.');
    const every = field('Seconds between two times', { name: 'every', type: 'number', min: 1, max: 366 * DAY, step: 1, value: its.every_seconds ?? 300 });
    const timezone = field('Time zone', { name: 'timezone', list: zones.id, value: its.timezone });
    this.errors = { cron: withError(cron), every_seconds: withError(every), timezone: withError(timezone) };
    return [cron, every, h('div', {}, timezone, zones)];
  }

  /** Show the times of the form now, and whenever it changes. */
  follow(form) {
    this.form = form;
    for (const name of ['kind', 'cron', 'every', 'timezone', 'name']) form.elements[name].addEventListener('input', () => this.#typed());
    form.addEventListener('reset', () => setTimeout(() => this.#typed()));
    this.#typed(0);
  }

  #typed(wait = TYPING) {
    clearTimeout(this.timer);
    this.#calls.abort();
    const { kind, cron, every } = this.form.elements;
    for (const [input, used] of [[cron, kind.value === 'cron'], [every, kind.value === 'every']]) {
      input.closest('.field').hidden = !used;
      Object.assign(input, { disabled: !used, required: used });
    }
    for (const { input } of Object.values(this.errors)) input.setCustomValidity('');
    this.timer = setTimeout(() => this.#read(), wait);
  }

  async #read() {
    if (!this.form.isConnected) return;
    this.#calls = new AbortController();
    const { signal } = this.#calls;
    const given = values(this.form);
    const body = { queue_name: this.queue, name: given.name || 'new', ...timingIn(given), job: { content: {} }, paused: false, dry_run: true };
    try {
      this.#show(await api.setSchedule(this.queue, JSON.stringify(body), signal), null);
    } catch (error) {
      if (!signal.aborted) this.#show({ next: [], notes: [] }, error);
    }
  }

  #show({ next, notes }, error) {
    const at = error?.detail && Object.keys(this.errors).find((name) => error.detail.startsWith(`${name} `));
    for (const [name, { input, message }] of Object.entries(this.errors)) {
      const text = name === at ? error.message : '';
      setText(message, text);
      input.setCustomValidity(text);
      set(input, 'aria-invalid', String(text !== ''));
    }
    setText(this.trouble, error && !at ? error.message : '');
    replace(this.list, next.map((text) => h('li', {}, h('span', {}, wallTime(text)), ' ', h('span', { 'aria-live': 'off', class: 'muted' }, setTime(time(null), secondOf(text))))));
    replace(this.notes, notes.map((note) => h('li', {}, note)));
  }
}

/** Add a place for an error below a field: its input and the place. */
function withError(element) {
  const input = element.querySelector('input');
  const message = h('p', { id: newId(), class: 'error field-error', 'aria-live': 'polite' });
  element.append(message);
  set(input, 'aria-describedby', [input.getAttribute('aria-describedby'), message.id].filter(Boolean).join(' '));
  return { input, message };
}
