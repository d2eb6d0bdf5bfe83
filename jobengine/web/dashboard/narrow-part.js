// The view of a producer's or a worker's key: single jobs, or the next one.

import * as api from './api.js';
import { h, replace } from './dom.js';
import { empty, failure, field, form, values } from './forms.js';
import { members } from './json.js';
import './json-view.js';
import { jobLink } from './links.js';
import { session } from './session.js';

class NarrowPart extends HTMLElement {
  /** Show the part for the key's role in `queue`. */
  show(queue) {
    const producer = session.may(queue, 'add');
    this.className = 'stack';
    replace(this, h('p', {}, producer
      ? 'This key adds jobs and reads the jobs it added.'
      : 'This key claims jobs and updates them. It can’t list jobs.'), producer ? this.#ask(queue) : this.#next(queue));
  }

  #ask(queue) {
    const uid = field('Job', { name: 'uid', required: true, class: 'code' }, 'The job’s uid, from the answer to its add request.');
    return h('section', { class: 'panel', 'aria-labelledby': 'one-job' }, h('h2', { id: 'one-job' }, 'Read a job'),
      form('Show job', (element) => { location.hash = jobLink(queue, values(element).uid.trim()); }, [uid]));
  }

  #next(queue) {
    const place = h('div');
    const look = async () => {
      try {
        const text = await api.peek(queue);
        replace(place, text === '' ? empty('No job can be claimed now') : [h('p', {}, h('code', {}, JSON.parse(text).uid)), view(members(text).get('content'))]);
      } catch (error) {
        replace(place, failure(error, look));
      }
    };
    look();
    return h('section', { class: 'panel', 'aria-labelledby': 'next-job' }, h('h2', { id: 'next-job' }, 'Next job'), place,
      h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: look }, 'Refresh')));
  }
}
customElements.define('je-narrow', NarrowPart);

function view(text) {
  const element = document.createElement('je-json');
  element.show('Content', text);
  return element;
}
