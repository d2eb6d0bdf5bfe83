// The whole page: its head, its content, and the routes.

import { connection } from './connection.js';
import { h, replace, set, setText } from './dom.js';
import './errors-page.js';
import { tick } from './format.js';
import './job-page.js';
import { listen, showKeys } from './keyboard.js';
import { routeOf } from './links.js';
import './queue-page.js';
import './queues-page.js';
import './schedules-page.js';
import './server-page.js';
import { session } from './session.js';
import './sign-in.js';

const THEMES = ['auto', 'light', 'dark'];
const THEME = 'jobengine.theme';

class App extends HTMLElement {
  connectedCallback() {
    this.main = h('main', { id: 'main' });
    this.banner = h('div', { class: 'banner', role: 'status', hidden: true });
    const corner = h('div', { class: 'corner' }, this.banner, h('div', { class: 'notes', 'aria-live': 'polite' }));
    replace(this, h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); this.#focus(); } }, 'Skip to the content'),
      this.#head(), this.main, corner);
    addEventListener('hashchange', () => this.#go());
    session.addEventListener('change', () => this.#drawHead());
    connection.addEventListener('change', () => this.#drawBanner());
    setInterval(() => { tick(); this.#drawBanner(); }, 1000);
    listen();
    this.#go();
  }

  // The head

  #head() {
    this.queues = h('a', { href: '#/queues' }, 'Queues');
    this.errors = h('a', { href: '#/errors' }, h('span', { class: 'wide' }, 'All errors'), h('span', { class: 'narrow' }, 'Errors'));
    this.schedules = h('a', { href: '#/schedules' }, 'Schedules');
    this.server = h('a', { href: '#/server' }, 'Server');
    this.another = h('a', { href: '#/sign-in' });
    this.out = h('button', { type: 'button', class: 'quiet', onclick: () => this.#signOut() }, 'Sign out');
    this.theme = h('button', { type: 'button', class: 'quiet', onclick: () => this.#nextTheme() });
    this.#drawTheme();
    this.#drawHead();
    return h('header', { class: 'top' }, h('a', { class: 'brand', href: '#/queues' }, 'JobEngine'),
      h('nav', { 'aria-label': 'Pages' }, this.queues, this.errors, this.schedules, this.server, this.another), h('span', { class: 'gap' }),
      this.theme, h('button', { type: 'button', class: 'quiet wide', onclick: showKeys, 'aria-label': 'Keys' }, h('kbd', {}, '?')), this.out);
  }

  #drawHead() {
    this.queues.hidden = !session.open;
    this.errors.hidden = !session.open;
    this.schedules.hidden = !session.open;
    this.server.hidden = session.admin === null;
    this.another.hidden = session.admin !== null;
    replace(this.another, session.open ? [h('span', { class: 'wide' }, 'Sign in to another queue'), h('span', { class: 'narrow' }, 'Switch', h('span', { class: 'unseen' }, ' queue'))] : 'Sign in');
    set(this.another, 'title', session.open ? 'Sign in to another queue' : null);
    this.out.hidden = !session.open;
  }

  #signOut() {
    session.signOut();
    // Unlike a new hash, this makes no event, which would empty the form after the user began to type.
    history.pushState(null, '', '#/sign-in');
    this.#go();
  }

  #nextTheme() {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? 'auto') + 1) % THEMES.length];
    if (next === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    localStorage.setItem(THEME, next);
    this.#drawTheme();
  }

  #drawTheme() {
    const name = `Theme: ${document.documentElement.dataset.theme ?? 'auto'}`;
    set(this.theme, 'aria-label', name);
    replace(this.theme, h('span', { class: 'wide' }, name), h('span', { class: 'narrow', 'aria-hidden': 'true' }, '◐'));
  }

  #drawBanner() {
    this.banner.hidden = connection.found;
    if (connection.found) {
      this.bannerText = null;
      return;
    }
    this.bannerText ??= h('span', { 'aria-live': 'off' });
    if (!this.bannerText.isConnected) {
      replace(this.banner, h('b', {}, 'The server can’t be reached.'), ' The page may show old data. ', this.bannerText, ' ',
        h('button', { type: 'button', onclick: () => connection.knock() }, 'Try now'));
    }
    setText(this.bannerText, `Trying again in ${Math.max(0, Math.ceil((connection.next - Date.now()) / 1000))} s.`);
  }

  // Routes

  #go() {
    const route = routeOf(location.hash);
    const tag = this.#pageFor(route);
    const key = `${tag} ${route.queue ?? ''} ${route.uid ?? ''} ${session.role(route.queue) ?? ''}`;
    const isNew = key !== this.key;
    if (isNew) {
      this.key = key;
      this.page = document.createElement(tag);
      replace(this.main, this.page);
    }
    this.page.show(route);
    this.#drawPlace(route, tag);
    if (isNew && tag !== 'je-sign-in') this.#focus();
  }

  #pageFor({ page, queue, part, uid }) {
    if (page === 'queue' && queue) {
      if (session.role(queue) === null) return 'je-sign-in';
      return part === 'job' && uid ? 'je-job' : 'je-queue';
    }
    if (!session.open || page === 'sign-in') return 'je-sign-in';
    if (page === 'errors') return 'je-all-errors';
    if (page === 'schedules') return 'je-all-schedules';
    return page === 'server' && session.admin !== null ? 'je-server' : 'je-queues';
  }

  #drawPlace({ queue, uid }, tag) {
    const titles = { 'je-sign-in': 'Sign in', 'je-queues': 'Queues', 'je-all-errors': 'Errors', 'je-all-schedules': 'Schedules', 'je-server': 'Server', 'je-queue': queue, 'je-job': `${uid?.slice(0, 8)} in ${queue}` };
    document.title = `${titles[tag]} – JobEngine`;
    const here = { 'je-queues': this.queues, 'je-all-errors': this.errors, 'je-all-schedules': this.schedules, 'je-server': this.server, 'je-sign-in': this.another }[tag];
    for (const link of [this.queues, this.errors, this.schedules, this.server, this.another]) set(link, 'aria-current', link === here ? 'page' : null);
  }

  #focus() {
    const heading = this.main.querySelector('h1');
    heading?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}
customElements.define('je-app', App);
