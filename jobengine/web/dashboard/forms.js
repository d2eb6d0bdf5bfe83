// Fields, forms and dialogs. Input is kept for the tab until it was sent, so that it survives a reload or a lost
// connection.

import { Wrong, inWords } from './api.js';
import { h, newId, replace, setText } from './dom.js';
import { mistake, pretty } from './json.js';

/** Keys with fewer characters can be guessed. */
const SHORT_KEY = 16;
const DRAFT = 'jobengine.draft.';

/** Keeps the input of the named fields of a form, by the form's name; keys (`data-secret`) are left out. */
export class Draft {
  constructor(name) {
    this.key = DRAFT + name;
    this.kept = JSON.parse(sessionStorage.getItem(this.key) ?? 'null');
  }

  /** Restore the kept input of `form`, and keep new input from now on. */
  follow(form) {
    for (const [name, value] of Object.entries(this.kept ?? {})) {
      const field = form.elements[name];
      if (!field) continue;
      field[field.type === 'checkbox' ? 'checked' : 'value'] = value;
    }
    check(form);
    if (this.kept) form.prepend(this.#note(form));
    form.addEventListener('input', () => this.keep(form));
  }

  #note(form) {
    const discard = () => {
      this.forget();
      form.reset();
      check(form);
      note.remove();
    };
    const note = h('p', { class: 'hint line' }, 'This is your earlier input; it was not sent.', h('button', { type: 'button', class: 'link', onclick: discard }, 'Discard'));
    return note;
  }

  keep(form) {
    const fields = [...form.elements].filter((each) => each.name && each.type !== 'password' && !('secret' in each.dataset));
    const values = fields.map((each) => [each.name, each.type === 'checkbox' ? each.checked : each.value]);
    sessionStorage.setItem(this.key, JSON.stringify(Object.fromEntries(values)));
  }

  /** Forget the input: it was sent or discarded. */
  forget() {
    sessionStorage.removeItem(this.key);
  }
}

/** Make the fields check their values after these were set by the page and not typed. */
function check(form) {
  for (const each of form.elements) each.dispatchEvent(new Event('check'));
}

/** A labelled input, or with `long` a text area, with a hint below it. */
export function field(label, attributes = {}, hint = null) {
  const id = newId();
  const { long, ...rest } = attributes;
  const input = h(long ? 'textarea' : 'input', { id, autocomplete: 'off', spellcheck: 'false', ...rest, 'aria-describedby': hint && `${id}h` });
  return h('div', { class: 'field' }, h('label', { for: id }, label), input, hint && h('p', { id: `${id}h`, class: 'hint' }, hint));
}

/** A field for the speed at which jobs that are queued again can be claimed. */
export const paceField = () => field('Jobs per second', { name: 'pace', type: 'number', min: 0.001, max: 1000000, step: 'any' }, 'Empty: all at once. With a number, the first can be claimed at once, and each later one a little later.');

/** A warning that is shown while the key in a field is short. The server accepts a short key. */
export function keyWarning(element) {
  const warning = h('p', { class: 'warning', role: 'status' });
  const input = element.querySelector('input');
  input.addEventListener('input', () => setText(warning, input.value && [...input.value].length < SHORT_KEY ? `Fewer than ${SHORT_KEY} characters: others could guess this key.` : ''));
  return warning;
}

/** A labelled list to choose from; `options` are pairs of a value and its text. */
export function choice(label, options, attributes = {}) {
  const id = newId();
  const { value, ...rest } = attributes;
  const select = h('select', { id, ...rest }, options.map(([each, text]) => h('option', { value: each, selected: each === value }, text)));
  return h('div', { class: 'field' }, h('label', { for: id }, label), select);
}

/** A switch between a few `options`, pairs of a value and its text; `onchange(value)` is called with the chosen one. */
export function choices(label, options, value, onchange) {
  const name = newId();
  const one = ([each, text]) => h('label', {}, h('input', { type: 'radio', name, checked: each === value, onchange: () => onchange(each) }), h('span', {}, text));
  return h('fieldset', { class: 'switch' }, h('legend', { class: 'unseen' }, label), options.map(one));
}

/** A labelled box to tick. */
export function tick(label, attributes = {}, hint = null) {
  const id = newId();
  return h('div', { class: 'field tick' },
    h('input', { id, type: 'checkbox', ...attributes, 'aria-describedby': hint && `${id}h` }), h('label', { for: id }, label),
    hint && h('p', { id: `${id}h`, class: 'hint' }, hint));
}

/** A text area for a JSON object, which shows errors and their places during typing. */
export function jsonField(label, name, value, { required = true } = {}) {
  const id = newId();
  const area = h('textarea', { id, name, value, rows: 10, class: 'code', spellcheck: 'false', autocomplete: 'off', 'aria-describedby': `${id}m` });
  const message = h('p', { id: `${id}m`, class: 'json-mark', 'aria-live': 'polite' });
  const go = h('button', { type: 'button', class: 'link', onclick: () => showPlace(area) }, 'Show where');
  const format = h('button', { type: 'button', class: 'link', onclick: () => inFormat(area) }, 'Format');
  const check = () => {
    const wrong = area.value.trim() === '' && !required ? null : mistake(area.value);
    area.setCustomValidity(wrong?.message ?? '');
    area.dataset.offset = wrong?.offset ?? '';
    area.setAttribute('aria-invalid', String(wrong !== null));
    message.classList.toggle('bad', wrong !== null);
    setText(message, wrong?.message ?? 'This is a JSON object.');
    go.hidden = wrong === null;
    format.disabled = wrong !== null;
  };
  area.addEventListener('input', check);
  area.addEventListener('check', check);
  check();
  // Typing begins between the braces.
  if (value === '{}') area.setSelectionRange(1, 1);
  return h('div', { class: 'field' }, h('div', { class: 'line' }, h('label', { for: id }, label), h('span', { class: 'gap' }), go, format), area, message);
}

function showPlace(area) {
  const offset = Number(area.dataset.offset);
  area.focus();
  area.setSelectionRange(offset, offset + 1);
}

function inFormat(area) {
  area.value = pretty(area.value);
  area.dispatchEvent(new Event('input', { bubbles: true }));
}

/**
 * A form that calls `send(form)`, which is async and may raise, when it is submitted. Meanwhile its button is disabled. An
 * error is shown above the button.
 */
export function form(button, send, fields, { danger = false, more = [] } = {}) {
  const error = h('p', { class: 'error', role: 'alert', hidden: true });
  const submit = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, button);
  const element = h('form', { novalidate: true, autocomplete: 'off', onsubmit: run }, fields, error, h('div', { class: 'buttons' }, submit, more));
  let busy = false;

  async function run(event) {
    event.preventDefault();
    if (busy) return;
    const wrong = [...element.elements].find((each) => !each.validity?.valid);
    if (wrong) {
      wrong.closest('details')?.toggleAttribute('open', true);
      say(`${wrong.labels?.[0]?.textContent ?? 'A field'}: ${wrong.validationMessage}`);
      wrong.focus();
      return;
    }
    busy = true;
    submit.setAttribute('aria-disabled', 'true');
    try {
      error.hidden = true;
      await send(element);
    } catch (problem) {
      say(inWords(problem));
    }
    busy = false;
    submit.removeAttribute('aria-disabled');
  }

  function say(text) {
    error.hidden = false;
    setText(error, text);
  }
  return element;
}

/** The values of a form's fields by their names; an empty number is undefined. */
export function values(element) {
  const given = [...element.elements].filter((each) => each.name);
  return Object.fromEntries(given.map((each) => [each.name, valueOf(each)]));
}

function valueOf(input) {
  if (input.type === 'checkbox') return input.checked;
  if (input.type === 'number') return input.value === '' ? undefined : Number(input.value);
  return input.value;
}

/**
 * Open a dialog with a heading, which names the queue that the dialog acts on; `build(close)` returns its content. Closing
 * the dialog removes it. Each change of the address closes it: it belongs to the page on which it was opened.
 */
export function dialog(heading, build, { wide = false } = {}) {
  const id = newId();
  const close = () => element.close();
  const element = h('dialog', { 'aria-labelledby': id, class: wide ? 'wide' : null });
  element.append(h('header', {}, h('h2', { id }, heading), h('button', { type: 'button', class: 'quiet', onclick: close, 'aria-label': 'Close' }, '✕')));
  element.append(...[build(close)].flat().filter(Boolean));
  for (const moved of ['hashchange', 'popstate']) addEventListener(moved, close);
  element.addEventListener('close', () => {
    for (const moved of ['hashchange', 'popstate']) removeEventListener(moved, close);
    element.remove();
  });
  document.body.append(element);
  element.showModal();
  const first = ['[autofocus]', 'form :is(input:not([type=hidden]), textarea, select)', 'form button'].map((each) => element.querySelector(each));
  first.find(Boolean)?.focus();
  return element;
}

/** A button that closes without doing anything. */
export const keep = (close, label = 'Keep as it is') => h('button', { type: 'button', onclick: close }, label);

/**
 * Confirm an action that can't be undone. `text` describes the effect, `typed` is the word to type first, if there is
 * one, and `act(form)` does it.
 */
export function confirm(heading, text, button, act, { typed = null, danger = true } = {}) {
  return dialog(heading, (close) => {
    const word = typed !== null && field('Type the queue’s name to confirm', { required: true, autofocus: true }, typed);
    const run = async (element) => {
      if (word && element.querySelector('input').value !== typed) throw new Wrong(`Wrong name. Type: ${typed}`);
      await act(element);
      close();
    };
    return form(button, run, [h('p', {}, text), word], { danger, more: keep(close) });
  });
}

/** An error of the page in words, with a button to try again. */
export function failure(error, again) {
  return h('div', { class: 'error', role: 'alert' }, h('p', {}, inWords(error)), again && h('button', { type: 'button', onclick: again }, 'Try again'));
}

/** A text for a list that is empty. */
export const empty = (title, ...text) => h('div', { class: 'empty' }, h('p', { class: 'title' }, title), ...text.map((each) => h('p', {}, each)));

/** Show in `place` that data is loading. */
export const loading = (place) => replace(place, h('p', { class: 'loading', role: 'status' }, 'Loading …'));
