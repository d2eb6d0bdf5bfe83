// JSON as a tree with parts that open and close. It is copied as it was sent.

import { copyButton, h, replace } from './dom.js';
import { parse } from './json.js';

/** The number of entries of a list, and of characters of a string, that are shown at a time. */
const ENTRIES = 100;
const CHARACTERS = 2000;
/** The most entries that are opened at once: content may have 100,000 values. */
const MOST_OPENED = 1000;
/** The depth to which a short tree is open at first. */
const OPEN = 3;

class JsonView extends HTMLElement {
  /** Show the text of some JSON under a heading. */
  show(heading, text) {
    if (this.text === text) return;
    this.text = text;
    const tree = parse(text);
    replace(this, h('div', { class: 'title-line' }, h('h2', {}, heading),
      h('div', { class: 'buttons' },
        size(tree) > 0 && h('button', { type: 'button', class: 'quiet', onclick: () => this.#closeAll() }, 'Close all'),
        size(tree) > 0 && h('button', { type: 'button', class: 'quiet', onclick: () => this.#openAll() }, 'Open all'),
        copyButton('Copy', () => text, { 'aria-label': `Copy ${heading.toLowerCase()}` }))),
    h('div', { class: 'tree code' }, size(tree) > 0 ? entries(tree, 1) : leaf(tree)));
  }

  #closeAll() {
    for (const each of this.querySelectorAll('details')) each.open = false;
  }

  #openAll() {
    for (let left = MOST_OPENED; left > 0; left -= 1) {
      const closed = this.querySelector('details:not([open])');
      if (!closed) return;
      closed.build();
      closed.open = true;
    }
  }
}
customElements.define('je-json', JsonView);

const size = (node) => (node.members ?? node.items ?? []).length;

const pairs = (node) => node.members ?? node.items.map((value, key) => ({ key, value }));

/** The entries of an object or a list, some at a time. */
function entries(node, depth) {
  const list = h('ul');
  const all = pairs(node);
  const add = (from) => {
    list.append(...all.slice(from, from + ENTRIES).map(({ key, value }) => h('li', {}, entry(key, value, depth))));
    const left = all.length - from - ENTRIES;
    if (left <= 0) return;
    const more = h('li', {}, h('button', { type: 'button', class: 'link', onclick: () => { more.remove(); add(from + ENTRIES); } }, `Show ${Math.min(ENTRIES, left)} of ${left} more`));
    list.append(more);
  };
  add(0);
  return list;
}

function entry(key, value, depth) {
  const name = h('span', { class: 'key-name' }, `${key}: `);
  if (size(value) === 0) return [name, leaf(value)];
  const count = value.members ? `{${size(value)}}` : `[${size(value)}]`;
  const details = h('details', {}, h('summary', {}, name, h('span', { class: 'muted' }, count)));
  details.build = () => details.children.length === 1 && details.append(entries(value, depth + 1));
  details.open = depth < OPEN && size(value) <= ENTRIES;
  // Closed parts are built when they are opened: content may have a megabyte.
  if (details.open) details.build();
  else details.addEventListener('toggle', details.build, { once: true });
  return details;
}

function leaf(node) {
  if (node.type === 'object') return h('span', { class: 'muted' }, '{}');
  if (node.type === 'array') return h('span', { class: 'muted' }, '[]');
  if (node.type !== 'string') return h('span', { class: node.type }, node.text);
  const text = h('span', { class: 'string' }, JSON.stringify(node.value.slice(0, CHARACTERS)));
  if (node.value.length <= CHARACTERS) return text;
  const more = h('button', { type: 'button', class: 'link', onclick: () => { text.textContent = JSON.stringify(node.value); more.remove(); } }, ` … all ${node.value.length} characters`);
  return [text, more];
}
