// Keyboard shortcuts: the pointer can do the same. They can be turned off, for users who dictate to their
// computer or hit keys by mistake.

import { h, tell } from './dom.js';
import { dialog, tick } from './forms.js';
import { queueLink, routeOf } from './links.js';

const OFF = 'jobengine.keys-off';
const KEYS = [
  ['?', 'Show these keys', () => showKeys()],
  ['g q', 'Go to the queues', () => { location.hash = '#/queues'; }],
  ['e', 'Go to the errors; in a queue, to its errors', () => { location.hash = errorsHere(); }],
  ['g s', 'Go to the server', () => { location.hash = '#/server'; }],
  ['r', 'Retry the failed job or the selected jobs; elsewhere refresh the page', () => retryOrRefresh()],
  ['n', 'Add a job', () => document.querySelector('je-queue')?.addJob?.()],
  ['/', 'Search', () => (document.querySelector('[data-key=search]') ?? document.querySelector('input[type=search]:not([hidden])'))?.focus()],
  ['j', 'Next row', () => step(1)],
  ['k', 'Previous row', () => step(-1)],
  ['x', 'Select the row', () => rowHere()?.querySelector('input[type=checkbox]')?.click()],
  ['Enter', 'Open the row', null],
  ['.', 'Next page', () => press('on')],
  [',', 'Previous page', () => press('back')],
  ['u', 'Go up, from a job to its queue', () => [...document.querySelectorAll('.crumbs a')].at(-1)?.click()],
  ['Esc', 'Leave a field, clear the selection, close a dialog', null],
];

function errorsHere() {
  const { queue } = routeOf(location.hash);
  return queue ? queueLink(queue, 'errors') : '#/errors';
}

function retryOrRefresh() {
  const page = document.querySelector('main > *');
  const selected = document.querySelector('.selection:not([hidden]) [data-action=retry]:not([disabled])');
  if (selected) selected.click();
  else if (!page?.retry?.() && page?.changed) {
    page.changed();
    tell('The page is refreshed.');
  }
}

const press = (key) => document.querySelector(`[data-key=${key}]:not([disabled])`)?.click();
const rowHere = () => document.activeElement?.closest('tbody tr');

function step(by) {
  const links = [...document.querySelectorAll('main tbody th a')];
  const at = links.indexOf(rowHere()?.querySelector('th a'));
  const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.closest('tr').scrollIntoView({ block: 'nearest' });
}

const areOff = () => localStorage.getItem(OFF) !== null;

/** Listen to the keys, from now on. */
export function listen() {
  let first = '';
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector('dialog[open], :popover-open')) return;
    if (event.key === 'Escape') return leave(event);
    if (areOff() || event.target.closest('input:not([type=checkbox]), textarea, select')) return;
    const pressed = first ? `${first} ${event.key}` : event.key;
    first = event.key === 'g' ? 'g' : '';
    const found = KEYS.find(([key, , act]) => act && key === pressed);
    if (!found) return;
    event.preventDefault();
    found[2]();
  });
}

function leave(event) {
  if (event.target.closest('input:not([type=checkbox]), textarea, select')) event.target.blur();
  else press('clear');
}

/** The keys in a dialog, with a box to turn them off. */
export function showKeys() {
  const box = tick('Use these keys', { checked: !areOff(), onchange: ({ target }) => (target.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, '1')) },
    'Turn the keys off if you press them by mistake.');
  dialog('Keys', () => [h('dl', { class: 'keys' }, KEYS.map(([key, text]) => h('div', {}, h('dt', {}, key.split(' ').map((each) => h('kbd', {}, each))), h('dd', {}, text)))), box]);
}
