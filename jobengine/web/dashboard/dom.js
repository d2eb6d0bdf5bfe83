// Builds and changes the page. All text goes through text nodes and attributes: nothing is ever read as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes, listeners (`onclick`) and children; null, undefined and false are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Like `h`, for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...present(children));
  return element;
}

/** Set an attribute as `h` does. A boolean adds or removes it; in aria-… it is written as a word. */
export function set(element, name, value) {
  if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
  else if (name === 'value') element['defaultValue' in element ? 'defaultValue' : 'value'] = value ?? '';
  else if (value === null || value === undefined) element.removeAttribute(name);
  else if (typeof value === 'boolean' && !name.startsWith('aria-')) element.toggleAttribute(name, value);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

const present = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** Replace the children. */
export function replace(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

/** Set the text if it differs, so that a selection stays. */
export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/**
 * Give `parent` a child for each of `items`, in their order. Elements are kept by `key`: `make(item)` builds one
 * and `update(element, item)` brings it up to date. Focus and selection stay where they are.
 */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = old.get(name);
    old.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    update(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const left of old.values()) left.remove();
}

/**
 * Call this before a request. It returns a function that tells after the request whether the person is still on the same
 * page and, if `element` is given (the form that they sent), has not closed its dialog.
 */
export function whereabouts(element = null) {
  const page = document.querySelector('main > *');
  return () => [page, element ?? page].every((each) => each.isConnected);
}

let names = 0;
/** An id that no other element has. */
export const newId = () => `n${(names += 1)}`;

/** Announce something to screen readers, and show it for some seconds. */
export function tell(...message) {
  const note = h('p', { class: 'note' }, ...message);
  const place = document.querySelector('.notes') ?? document.body;
  place.append(note);
  while (place.children.length > 3) place.firstElementChild.remove();
  let timer = setTimeout(() => note.remove(), 8000);
  note.addEventListener('pointerenter', () => clearTimeout(timer));
  note.addEventListener('pointerleave', () => { timer = setTimeout(() => note.remove(), 3000); });
}

/** A button that copies the result of `text()`. */
export function copyButton(label, text, attributes = {}) {
  return h('button', { type: 'button', class: 'quiet', ...attributes, onclick: () => copy(text()) }, label);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
  tell('Copied.');
}

/** Copy without the clipboard API, which browsers only give to pages from https and localhost. */
function copyBySelection(text) {
  const area = h('textarea', { value: text, class: 'hidden', 'aria-hidden': 'true' });
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/**
 * A button that opens a list of actions: `[name, act, attributes]` each. The browser closes it at Escape and at a
 * click elsewhere, and shows it above all else.
 */
export function menu(label, actions, attributes = {}) {
  const list = h('div', { popover: 'auto', class: 'menu', id: newId() });
  const button = h('button', { type: 'button', popovertarget: list.id, ...attributes }, label);
  for (const [name, act, more = {}] of actions) {
    list.append(h('button', { type: 'button', ...more, onclick: () => { list.hidePopover(); act(); } }, name));
  }
  list.addEventListener('toggle', (event) => event.newState === 'open' && place(list, button));
  list.addEventListener('keydown', (event) => moveIn(list, event));
  return h('span', { class: 'has-menu' }, button, list);
}

function place(list, button) {
  const { right, bottom, top } = button.getBoundingClientRect();
  const below = bottom + list.offsetHeight + 8 < innerHeight;
  list.style.left = `${Math.max(8, right - list.offsetWidth)}px`;
  list.style.top = `${below ? bottom + 4 : Math.max(8, top - list.offsetHeight - 4)}px`;
  list.querySelector('button:not([disabled])')?.focus();
}

function moveIn(list, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...list.querySelectorAll('button:not([disabled])')];
  const at = buttons.indexOf(document.activeElement);
  buttons[(at + step + buttons.length) % buttons.length]?.focus();
}
