// Signing in with the key of a queue or the admin key, and creating a queue.

import * as api from './api.js';
import { copyButton, h, replace, tell, whereabouts } from './dom.js';
import { Draft, dialog, field, form, keep, keyWarning, values } from './forms.js';
import { queueLink, routeOf } from './links.js';
import { newKey, session } from './session.js';

/** The page to sign in; the name of the queue in the address, if there is one, is filled in. */
class SignIn extends HTMLElement {
  /** Show the page for a route, whose `queue` may be given. */
  show(route) {
    const queue = field('Queue', { name: 'queue', required: true, value: route.queue ?? '', autocapitalize: 'off' });
    const key = field('Access key', { name: 'key', type: 'password', required: true });
    const admin = field('Admin key', { name: 'key', type: 'password', required: true });
    const back = route.queue ? location.hash : null;
    replace(this,
      h('h1', { tabindex: -1 }, session.open ? 'Sign in to another queue' : 'Sign in'),
      route.queue && h('p', {}, 'This address belongs to the queue ', h('b', {}, route.queue), '. Its key is not in the address.'),
      h('div', { class: 'panels' },
        h('section', { class: 'panel', 'aria-labelledby': 'of-queue' }, h('h2', { id: 'of-queue' }, 'One queue'),
          form('Sign in', (element) => signInToQueue(element, back), [queue, key])),
        h('section', { class: 'panel', 'aria-labelledby': 'of-all' }, h('h2', { id: 'of-all' }, 'All queues'),
          form('Sign in as admin', (element) => signInAsAdmin(element, back), [admin]))),
      h('p', { class: 'muted' }, 'Keys are kept for this tab only, and forgotten when you sign out. ',
        h('button', { type: 'button', class: 'link', onclick: createQueue }, 'Create queue')));
    this.querySelector(route.queue ? 'input[type=password]' : 'input').focus();
  }
}
customElements.define('je-sign-in', SignIn);

// An answer that comes after the user has left the form or signed out signs nobody in.

async function signInToQueue(element, back) {
  const { queue, key } = values(element);
  const isHere = whereabouts(element);
  const { role } = await api.access(queue, key);
  if (!isHere()) return;
  session.addQueue(queue, key, role);
  go(routeOf(back ?? '').queue === queue ? back : queueLink(queue));
}

async function signInAsAdmin(element, back) {
  const { key } = values(element);
  const isHere = whereabouts(element);
  await api.adminAccess(key);
  if (!isHere()) return;
  session.addAdmin(key);
  go(back ?? '#/queues');
}

function go(hash) {
  if (location.hash === hash) dispatchEvent(new HashChangeEvent('hashchange'));
  else location.hash = hash;
}

/** Open a form for a name and a key, create the queue and sign in to it. */
export function createQueue() {
  const draft = new Draft('create');
  dialog('Create queue', (close) => {
    const name = field('Name', { name: 'name', required: true, maxlength: 256, autofocus: true });
    const key = field('Owner key', { name: 'key', required: true, maxlength: 1024, value: newKey(), class: 'code', 'data-secret': '' },
      'It can’t be shown again: copy it before you go on. Whoever has it may do everything with the queue.');
    key.append(keyWarning(key), copyButton('Copy the key', () => key.querySelector('input').value));
    const create = async (element) => {
      const given = values(element);
      const isHere = whereabouts(element);
      await api.createQueue(given.name, given.key);
      draft.forget();
      if (session.admin === null) session.addQueue(given.name, given.key, 'owner');
      tell(`The queue ${given.name} was created. `, h('a', { href: queueLink(given.name) }, 'Show it'));
      if (isHere()) go('#/queues');
      close();
    };
    const element = form('Create', create, [name, key], { more: keep(close, 'Cancel') });
    draft.follow(element);
    return element;
  });
}
