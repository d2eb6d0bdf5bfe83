// Actions on selected jobs, or on all that match a filter: the count before, and the result after.

import * as api from './api.js';
import { h, replace } from './dom.js';
import { jobs, number } from './format.js';
import { dialog, failure, field, form, keep, paceField, values } from './forms.js';

const STATES = ['queued', 'inprogress', 'complete', 'failed'];

/**
 * Actions by name. `short`: the name on a phone, if it is another; `verb`: the name before a number of jobs, if it is another; `states`: states of jobs that the action applies to; `usual`: states to act on if the filter names none;
 * `will` and `done`: the effect in words; `change`: the update to send to jobs in a state; without it the jobs are deleted;
 * `paced`: whether all jobs that match can be changed at a pace.
 */
export const ACTIONS = {
  retry: {
    name: 'Retry', states: ['failed', 'complete', 'retrying'], usual: ['failed', 'retrying'], will: 'be queued again, as if never tried', done: 'queued again', paced: true,
    // Without a delay a job that was claimed meanwhile stays in progress; a new state would take it from its worker.
    change: ({ pace }, state) => (state === 'retrying' && pace === undefined ? { delay_seconds: 0 } : { new_status: 'queued', per_second: pace }),
  },
  cancel: {
    name: 'Cancel', states: ['queued', 'inprogress'], usual: ['queued', 'inprogress'], done: 'cancelled',
    will: 'be cancelled: those that are queued fail now, and the workers of the others are asked to stop', change: () => ({ cancel: true }),
  },
  priority: { name: 'Change priority', short: 'Priority', verb: 'Change the priority of', states: STATES, will: 'have another priority', done: 'changed', change: (given) => ({ priority: given.priority }) },
  delete: { name: 'Delete', states: STATES, will: 'be deleted. This can’t be undone', done: 'deleted', danger: true },
};

/** The API's state that contains each of the dashboard's own states. */
const WHOLES = { retrying: 'queued', cancelled: 'failed' };

/** The states of the matching jobs to act on; undefined means any. */
function statesOf(action, { state }) {
  if (action.states.length === STATES.length) return [state];
  if (!state) return action.usual;
  return fits(action, state) ? [state] : [];
}

/** Whether an action applies to jobs in `state`. */
export const fits = (action, state) => !state || action.states.includes(state) || action.states.includes(WHOLES[state]);

/** Confirm, with the count, then act on the jobs, given as `{uid, state}` with the dashboard's states; then call `done()`. */
export function actOnSome(queue, action, chosen, done) {
  const meant = chosen.filter(({ state }) => fits(action, state));
  const left = chosen.length - meant.length;
  const note = left > 0 && `${jobs(left)} of those selected ${left === 1 ? 'is' : 'are'} left as ${left === 1 ? 'it is' : 'they are'}: ${action.name.toLowerCase()} is for jobs that are ${inWords(action.states)}.`;
  const countOf = (wanted) => meant.filter(({ state }) => state === wanted).length;
  ask(action, [queue], { count: meant.length, retrying: countOf('retrying'), complete: countOf('complete'), note, run: (given) => act(queue, action, meant, given), done });
}

/** Confirm, with the server's count and a `warning`, then act on all matching jobs of one or several queues. */
export function actOnMatching(queues, action, filter, done, warning = '') {
  const names = [queues].flat();
  const filters = statesOf(action, filter).map((state) => ({ ...filter, state }));
  const places = names.flatMap((queue) => filters.map((one) => [queue, one]));
  const run = (given) => each(places, ([queue, one]) => matching(queue, action, one, given, false));
  const count = () => each(places, ([queue, one]) => matching(queue, action, one, { priority: 0 }, true));
  const box = dialog(`${verbOf(action)} jobs ${ofQueues(names)}`, (close) => {
    const place = h('div', {}, h('p', { class: 'loading', role: 'status' }, 'Counting …'));
    const begin = async () => {
      try {
        const { made, retrying } = await count();
        if (!box.open) return;
        box.close();
        ask(action, names, { count: made, retrying, note: `These are all jobs ${filterInWords(filters)}${inQueues(names)}. ${warning}`, run, done, paced: action.paced });
      } catch (error) {
        replace(place, failure(error), h('div', { class: 'buttons' }, keep(close, 'Close')));
      }
    };
    begin();
    return place;
  });
}

async function each(places, change) {
  const result = { made: 0, retrying: 0, refused: [] };
  for (const place of places) {
    const { matched } = await change(place);
    result.made += matched;
    if (place[1].state === 'retrying') result.retrying += matched;
  }
  return result;
}

const matching = (queue, action, filter, given, dry) => (action.change
  ? api.updateMatching(queue, filter, action.change(given, filter.state), dry)
  : api.deleteMatching(queue, filter, dry));

/** How many jobs match a filter. */
export const countMatching = async (queue, filter) => (await api.deleteMatching(queue, filter, true)).matched;

async function act(queue, action, chosen, given) {
  const results = action.change
    ? (await api.updateJobs(queue, chosen.map(({ uid, state }) => ({ uid, ...action.change(given, state) })))).results
    : await removeEach(queue, chosen);
  const refused = results.filter(({ status }) => status >= 300).map(({ error }) => error);
  return { made: results.length - refused.length, refused };
}

/** Delete jobs one by one, a few at a time. */
async function removeEach(queue, chosen) {
  const left = [...chosen];
  const results = [];
  const some = async () => {
    while (left.length) results.push(await removed(queue, left.shift().uid));
  };
  await Promise.all([some(), some(), some(), some()]);
  return results;
}

async function removed(queue, uid) {
  try {
    await api.deleteJob(queue, uid);
    return { status: 204 };
  } catch (error) {
    if (!(error instanceof api.Refused)) throw error;
    return { status: error.status, error: error.message };
  }
}

/** Confirm the action on `count` jobs of `queues`, some of them `retrying` or `complete`; the same dialog then shows the result. */
function ask(action, queues, { count, retrying, complete = 0, note, run, done, paced = false }) {
  const box = dialog(`${verbOf(action)} ${jobs(count)} ${ofQueues(queues)}`, (close) => {
    if (count === 0) return [h('p', {}, 'No job matches.'), note && h('p', { class: 'muted' }, note), h('div', { class: 'buttons' }, keep(close, 'Close'))];
    const priority = action === ACTIONS.priority && field('Priority', { name: 'priority', type: 'number', step: 1, value: 0, required: true }, 'Higher goes first.');
    const send = async (element) => {
      const result = await run(values(element));
      replace(box.querySelector('.told'), outcome(action, result), h('div', { class: 'buttons' }, keep(close, 'Close')));
      box.querySelector('.told button').focus();
      done();
    };
    return h('div', { class: 'told' }, form(`${verbOf(action)} ${jobs(count)}`, send,
      [h('p', {}, effect(action, count, retrying, complete)), note && h('p', { class: 'muted' }, note), priority, paced && paceField()],
      { danger: action.danger, more: keep(close) }));
  });
}

/** What will happen to the jobs. After a retry, earlier attempts of finished jobs no longer count; those of retrying jobs still do. */
function effect(action, count, retrying, complete) {
  if (action !== ACTIONS.retry) return `${jobs(count)} will ${action.will}.`;
  const usual = retrying < count && `${jobs(count - retrying)} will ${action.will}.`;
  const repeated = complete > 0 && `Of these, ${jobs(complete)} ${complete === 1 ? 'is complete: its' : 'are complete: their'} work will be done once more.`;
  const early = retrying > 0 && `${jobs(retrying)} will not wait for ${retrying === 1 ? 'its' : 'their'} retry any longer; the attempts made still count.`;
  return [usual, repeated, early].filter(Boolean).join(' ');
}

function outcome(action, { made, refused }) {
  const reasons = [...new Set(refused)].slice(0, 5);
  return h('div', { role: 'status' }, h('p', {}, `${jobs(made)} ${action.done}.`),
    refused.length > 0 && h('div', { class: 'error' }, h('p', {}, `${jobs(refused.length)} could not be changed:`), h('ul', {}, reasons.map((reason) => h('li', {}, reason)))));
}

const verbOf = ({ name, verb = name }) => verb;

/** The most queues whose names a dialog shows. */
const NAMED = 5;
const ofQueues = (names) => (names.length === 1 ? `of “${names[0]}”` : `of ${number(names.length)} queues`);

/** The names of several queues, after " in"; nothing for one queue, which the heading names. */
function inQueues(names) {
  if (names.length === 1) return '';
  const more = names.length - NAMED;
  return ` in ${names.slice(0, NAMED).map((name) => `“${name}”`).join(', ')}${more > 0 ? ` and ${number(more)} more` : ''}`;
}

const WORDS = { retrying: 'retrying', cancelled: 'cancelled', queued: 'queued', inprogress: 'in progress', complete: 'complete', failed: 'failed' };
const inWords = (states) => states.map((state) => WORDS[state]).join(' or ');

function filterInWords(filters) {
  const { tag, q, error, fingerprint, worker } = filters[0] ?? {};
  const states = filters.map(({ state }) => state).filter(Boolean);
  const parts = [states.length && `that are ${inWords(states)}`, tag && `with the tag “${tag}”`, q && `with “${q}” in their content`,
    error && `with “${error}” in their error`, fingerprint && 'with this kind of error', worker && `of the worker “${worker}”`].filter(Boolean);
  return parts.length ? parts.join(', ') : 'of the queue';
}
