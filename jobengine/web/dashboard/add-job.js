// Adding a job: a new one, or a copy of another.

import * as api from './api.js';
import { h, tell } from './dom.js';
import { Draft, dialog, field, form, jsonField, keep, values } from './forms.js';
import { members, pretty } from './json.js';
import { jobLink } from './links.js';
import { newUid } from './session.js';
import { uniqueFields, uniqueParts } from './unique-key.js';

/** Options of a job that are whole numbers, with their labels and least values. */
const NUMBERS = [
  ['priority', 'Priority', null], ['delay_seconds', 'Delay, seconds', 0], ['max_attempts', 'Attempts', 1],
  ['retry_delay_seconds', 'Retry delay, seconds', 0], ['timeout_seconds', 'Time-out, seconds', 0], ['keep_minutes', 'Keep when finished, minutes', 0],
];
const WHOLE = '0|[1-9]\\d{0,18}';

/**
 * Open a form for a job to add to `queue`. With `like`, the JSON text of another job, the form is filled with exactly its
 * values. `done()` is called once the job is added.
 */
export function openAddJob(queue, { like = null, done = () => {} } = {}) {
  const draft = new Draft(like === null ? `add.${queue}` : `repeat.${queue}.${members(like).get('uid')}`);
  const given = like === null ? new Map() : members(like);
  dialog(like === null ? `Add a job to “${queue}”` : `Repeat the job in “${queue}”`, (close) => {
    // The uid stays while the form does not change: sending it again after a lost answer adds no second job.
    const uid = h('input', { type: 'hidden', name: 'uid', value: newUid() });
    const content = given.get('content') ?? '{}';
    const fields = [uid, jsonField('Content', 'content', pretty(content)), options(given)];
    const add = async (element) => {
      const typed = values(element);
      if (typed.content === pretty(content)) typed.content = content;
      const answer = await api.addJob(queue, jobText(typed));
      draft.forget();
      close();
      tell(`${outcome(queue, answer, typed)} `, h('a', { href: jobLink(queue, answer.uid) }, 'Show it'));
      done();
    };
    const element = form('Add', add, fields, { more: keep(close, 'Cancel') });
    element.addEventListener('input', () => { uid.value = newUid(); });
    draft.follow(element);
    element.addEventListener('keydown', (event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && element.requestSubmit());
    return element;
  }, { wide: true });
}

function outcome(queue, { uid, replaced }, typed) {
  if (replaced) return `The queued job of “${queue}” with this key is replaced.`;
  return uid === typed.uid ? `The job is added to “${queue}”.` : `A job of “${queue}” holds this key: no other was added.`;
}

function options(given) {
  const parsed = (name) => (given.has(name) ? JSON.parse(given.get(name)) : undefined);
  const text = (name) => (given.has(name) ? JSON.parse(given.get(name)) : '');
  const numbers = NUMBERS.map(([name, label, least]) => field(label, {
    name, inputmode: least === null ? 'text' : 'numeric', pattern: least === null ? `-?(${WHOLE})` : WHOLE, title: 'a whole number', value: given.get(name) ?? '',
  }));
  const tags = given.has('tags') ? JSON.parse(given.get('tags')) : [];
  return h('details', { class: 'more', open: given.size > 0 }, h('summary', {}, 'Options'), h('div', { class: 'fields' },
    numbers, field('Group', { name: 'group', maxlength: 200, value: text('group') }, 'The queue may limit the jobs of a group, or share its workers among groups.'),
    h('div', { class: 'field wide' }, tagsField(tags))), uniqueFields(text('unique_key'), parsed('unique'), parsed('debounce')), jsonField('Meta', 'meta', given.has('meta') ? pretty(given.get('meta')) : '', { required: false }));
}

const tagsField = (tags) => field('Tags', { long: true, name: 'tags', rows: 2, value: tags.join('\n') }, 'One on each line.');

/** The JSON of the job, with content, meta and numbers as they were typed. */
function jobText({ uid, content, meta, tags, group, ...given }) {
  const numbers = NUMBERS.map(([name]) => [name, given[name]]);
  const words = tags.split('\n').map((tag) => tag.trim()).filter(Boolean);
  const parts = [['uid', JSON.stringify(uid)], ['content', content], ['meta', meta.trim()], ...uniqueParts(given), ['group', group && JSON.stringify(group)],
    ['tags', words.length && JSON.stringify(words)], ...numbers];
  return `{${parts.filter(([, text]) => text).map(([name, text]) => `"${name}":${text}`).join(',')}}`;
}
