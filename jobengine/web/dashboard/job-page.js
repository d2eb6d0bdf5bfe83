// One job: an explanation of its state, its actions, its attempts and its JSON.

import { openAddJob } from './add-job.js';
import * as api from './api.js';
import { copyButton, h, menu, replace, setText, tell, whereabouts } from './dom.js';
import { errorView } from './error-view.js';
import { duration, exact, jobs, number, secondOf, setTime, time, wallTime } from './format.js';
import { Draft, confirm, dialog, failure, field, form, jsonField, keep, loading, values } from './forms.js';
import { timeline, took } from './attempts.js';
import { drawHolders, withoutHolders } from './held.js';
import { errorOf, isEarly, isRetried, setBadge, shownState } from './job-rows.js';
import { members, pretty } from './json.js';
import './json-view.js';
import { batchLink, isBatch } from './link-words.js';
import './links-panel.js';
import { jobLink, queueLink, whole } from './links.js';
import { Feed, Refresher } from './live.js';
import { moveBack, moveOneBack, openMove } from './move-jobs.js';
import { scheduleLink } from './schedule-rows.js';
import { session } from './session.js';
import { uniqueFacts } from './unique-key.js';

const FINISHED = ['complete', 'failed'];

class JobPage extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show the job that the route names. */
  show({ queue, uid }) {
    if (this.uid) return;
    Object.assign(this, { queue, uid });
    this.state = h('div');
    this.body = h('div', { class: 'stack', hidden: true });
    this.badge = h('span');
    this.attempt = h('span', { class: 'muted' });
    this.buttons = h('div', { class: 'buttons' });
    this.deeds = h('span', { class: 'buttons', hidden: true });
    this.append(h('div', { class: 'title-line' },
      h('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }, h('a', { href: '#/queues' }, 'Queues'), ' / ', h('a', { href: queueLink(queue) }, queue), ' /'),
      h('h1', { tabindex: -1, title: uid }, 'Job ', h('span', { class: 'code' }, uid.slice(0, 8))), this.badge, this.attempt, this.buttons), this.state, this.body);
    loading(this.state);
    this.#addButtons();
    this.#build();
    const { signal } = this.#stop;
    this.refresher = new Refresher((limit) => this.#read(limit), { idle: 5000, signal });
    if (session.may(queue, 'read')) this.links.show(queue, this.uid);
    if (session.may(queue, 'read')) this.feed = new Feed(queue, (changes) => this.#happened(changes), signal);
  }

  /** Read the job again after an action on this page. */
  changed() {
    this.acted = true;
    this.refresher.now();
    this.links.refresher?.now();
  }

  #happened(changes) {
    this.links.happened(changes);
    if (changes === null || changes.has(this.uid)) this.refresher.soon();
  }

  // Actions

  #addButtons() {
    const { queue } = this;
    const link = copyButton('Copy link', () => whole(jobLink(queue, this.uid)), { class: null });
    const [updates, manages, adds] = ['update', 'manage', 'add'].map((right) => session.may(queue, right));
    const button = (name, act, more = {}) => h('button', { type: 'button', onclick: act, ...more }, name);
    this.acts = {
      back: manages && button('Move this job back', () => moveOneBack(queue, this.uid, this.job.moved_from.queue_name, (target) => this.#moved(target)), { class: 'primary' }),
      backAlike: manages && button('Move jobs like it back', () => this.#moveAlikeBack()),
      retry: updates && button('Retry', () => this.#retry(), { class: 'primary' }),
      release: updates && button('Release', () => this.#release()),
      cancel: updates && button('Cancel', () => this.#cancel()),
    };
    const more = [
      updates && ['Change priority', () => this.#changePriority()], updates && ['Change group', () => this.#changeGroup()], updates && ['Edit content', () => this.#editContent()],
      updates && ['Drop dependencies', () => this.#dropDependencies(), { 'data-act': 'drop' }],
      manages && ['Move to another queue', () => openMove(queue, { uids: [this.uid] }, (target) => this.#moved(target))],
      adds && ['Repeat', () => openAddJob(queue, { like: this.text })], manages && ['Delete', () => this.#delete(), { class: 'danger' }],
    ].filter(Boolean);
    this.deeds.append(...Object.values(this.acts).filter(Boolean), ...(more.length ? [menu('More', more, { 'aria-label': 'More actions' })] : []));
    this.deeds.addEventListener('pointerleave', () => this.job && this.#drawActs());
    this.buttons.append(this.deeds, link);
  }

  /** After a move dialog of this job alone: `target` is its new queue, or null if it was not moved. */
  #moved(target) {
    this.target = target;
    this.changed();
  }

  #moveAlikeBack() {
    const { moved_from: origin, fingerprint } = this.job;
    moveBack(this.queue, origin.queue_name, () => this.changed(), { fingerprint });
  }

  #retry() {
    if (waitsForRetry(this.job)) this.#change({ delay_seconds: 0 }, 'The job does not wait for its retry any longer.');
    else this.#change({ new_status: 'queued' }, 'The job is queued again.');
  }

  /** For the key `r`: retry the job if it has failed or waits for its retry; returns whether. The key does not repeat a complete job. */
  retry() {
    if (!this.job || (this.job.state !== 'failed' && !waitsForRetry(this.job)) || !this.acts.retry || this.acts.retry.disabled || this.deeds.hidden) return false;
    this.#retry();
    return true;
  }

  async #change(change, said) {
    try {
      await api.updateJob(this.queue, this.uid, change);
      tell(said);
      replace(this.trouble);
    } catch (error) {
      replace(this.trouble, failure(error));
    }
    this.changed();
  }

  #cancel() {
    const held = this.job.state === 'inprogress';
    confirm('Cancel the job', held ? 'Its worker is asked to stop.' : 'It will fail at once, with the error “cancelled”.', 'Cancel the job', async () => {
      await api.updateJob(this.queue, this.uid, { cancel: true });
      tell(held ? 'Its worker is asked to stop.' : 'The job is cancelled.');
      this.changed();
    });
  }

  #release() {
    confirm('Release the job', 'The job is taken from its worker and queued again. Later updates by this worker are refused.', 'Release', async () => {
      await api.updateJob(this.queue, this.uid, { new_status: 'queued' });
      tell('The job is queued again.');
      this.changed();
    });
  }

  #delete() {
    confirm('Delete the job', `The job ${this.uid} of “${this.queue}” will be deleted. This can’t be undone.`, 'Delete', async (element) => {
      const isHere = whereabouts(element);
      await api.deleteJob(this.queue, this.uid);
      tell('The job is deleted.');
      if (isHere()) location.hash = queueLink(this.queue);
    });
  }

  #changePriority() {
    dialog('Change priority', (close) => {
      const save = async (element) => {
        await api.updateJob(this.queue, this.uid, { priority: values(element).priority });
        close();
        tell('The priority is changed.');
        this.changed();
      };
      return form('Change priority', save, [field('Priority', { name: 'priority', type: 'number', step: 1, required: true, value: this.job.priority }, 'Higher goes first; equal ones by arrival.')],
        { more: keep(close) });
    });
  }

  #changeGroup() {
    dialog('Change group', (close) => {
      const save = async (element) => {
        await api.updateJob(this.queue, this.uid, { group: values(element).group.trim() });
        close();
        tell('The group is changed.');
        this.changed();
      };
      return form('Change group', save, [field('Group', { name: 'group', maxlength: 200, value: this.job.group ?? '' }, 'An empty field takes the job out of its group. A job in progress keeps its group.')],
        { more: keep(close) });
    });
  }

  #dropDependencies() {
    const failed = this.job.state === 'failed';
    confirm('Drop the dependencies', `The job will no longer wait for others${failed ? ', and is queued again' : ''}.`, 'Drop', async () => {
      await api.updateJob(this.queue, this.uid, { ...(failed ? { new_status: 'queued' } : {}), depends_on: [] });
      tell('The dependencies are dropped.');
      this.changed();
    }, { danger: false });
  }

  #editContent() {
    const draft = new Draft(`edit.${this.queue}.${this.uid}`);
    dialog('Edit content', (close) => {
      const save = async (element) => {
        await api.updateJob(this.queue, this.uid, {}, values(element).content);
        draft.forget();
        close();
        tell('The content is changed.');
        this.changed();
      };
      const drop = () => { draft.forget(); close(); };
      const element = form('Save', save, [jsonField('Content', 'content', pretty(members(this.text).get('content')))], { more: keep(drop) });
      draft.follow(element);
      return element;
    }, { wide: true });
  }

  // Content

  #build() {
    this.why = h('p', { class: 'reason' });
    this.holders = h('div', { class: 'holders', hidden: true });
    this.by = h('p', { class: 'line', hidden: true });
    this.origin = h('p', { class: 'line', hidden: true });
    this.error = errorView();
    this.errorPanel = h('section', { class: 'panel failed', 'aria-labelledby': 'error', hidden: true },
      h('div', { class: 'title-line' }, h('h2', { id: 'error' }, 'Error'), copyButton('Copy', () => this.job.error, { 'aria-label': 'Copy the error' })), this.error);
    this.bar = h('progress', { max: 100, 'aria-label': 'Progress' });
    this.percent = h('b');
    this.progress = h('div', { class: 'progress', hidden: true }, this.bar, this.percent);
    this.due = h('p', { class: 'line' });
    this.facts = h('dl', { class: 'facts' });
    this.attempts = h('section', { class: 'panel', 'aria-labelledby': 'attempts' }, h('h2', { id: 'attempts' }, 'Attempts'));
    this.attempts.append(this.line = h('ol', { class: 'timeline' }));
    this.trees = ['content', 'result', 'meta'].map((name) => [name, h('section', { class: 'panel', hidden: true }, document.createElement('je-json'))]);
    this.trouble = h('div');
    this.links = document.createElement('je-links');
    this.links.hidden = true;
    const [content, ...rest] = this.trees.map(([, panel]) => panel);
    this.body.append(this.trouble, this.why, this.holders, this.origin, this.by, this.due, this.progress, this.errorPanel, this.links,
      h('div', { class: 'panels job' }, h('div', {}, content, rest), h('div', {}, h('section', { class: 'panel', 'aria-labelledby': 'facts' }, h('h2', { id: 'facts' }, 'Facts'), this.facts), this.attempts)));
  }

  async #read(signal) {
    const own = this.acted;
    this.acted = false;
    try {
      const { job, text } = await api.readJob(this.queue, this.uid, signal);
      const reason = session.may(this.queue, 'read') ? await api.explain(this.queue, this.uid, signal) : null;
      // The job was gone, and has come back: forget the queue to which this page had moved it.
      if (this.state.firstChild?.dataset?.kind) this.target = null;
      replace(this.state);
      this.#draw(job, text, reason);
      this.#drawActs(own);
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) this.#refused(error);
      throw error;
    }
  }

  #refused(error) {
    const missing = error.status === 404;
    if (missing) this.deeds.hidden = true;
    if (missing && this.job) this.#gone();
    else replace(this.state, failure(error, () => this.refresher.now()));
  }

  /** Show that the job is no longer in this queue, and its new queue if this page has moved it; hide the advice for this queue. */
  #gone() {
    setBadge(this.badge, null);
    this.why.hidden = true;
    drawHolders(this.holders, this.queue, null);
    const kind = `gone ${this.target ?? ''}`;
    if (this.state.firstChild?.dataset?.kind === kind) return;
    const moved = this.target && [`This job was moved to “${this.target}”. `, h('a', { href: jobLink(this.target, this.uid) }, 'Show the job'), '. '];
    replace(this.state, h('div', { class: 'error', role: 'alert', 'data-kind': kind }, h('p', {}, moved || 'This job was moved or removed. ', 'This page shows its last state.')));
  }

  #draw(job, text, reason) {
    const raw = members(text);
    Object.assign(this, { job, text });
    this.body.hidden = false;
    this.deeds.hidden = false;
    setBadge(this.badge, shownState(job));
    this.#drawDrop(reason);
    this.why.hidden = !reason;
    setText(this.why, reason ? readable(reason, job, Boolean(this.acts.retry)) : '');
    drawHolders(this.holders, this.queue, reason);
    this.#drawSchedule(reason?.schedule);
    this.returns = belongsElsewhere(reason);
    this.#drawOrigin(job);
    this.errorPanel.hidden = errorOf(job) === undefined;
    this.errorPanel.classList.toggle('failed', job.state === 'failed');
    setText(this.errorPanel.querySelector('h2'), job.state === 'failed' ? 'Error' : 'Last error');
    this.error.show(job.error);
    this.progress.hidden = job.state !== 'inprogress' || job.progress === undefined;
    this.bar.value = job.progress ?? 0;
    setText(this.percent, `${job.progress ?? 0} %`);
    setText(this.attempt, attemptText(job));
    this.#drawTimes(job, reason);
    for (const [name, panel] of this.trees) {
      panel.hidden = !raw.has(name);
      if (raw.has(name)) panel.firstElementChild.show(name[0].toUpperCase() + name.slice(1), raw.get(name));
    }
    this.#drawFacts(factsOf(job, raw, reason), session.may(this.queue, 'read') ? job.group : undefined);
    timeline(this.line, job);
  }

  /** Dependencies can be dropped while they hold the job. */
  #drawDrop(reason) {
    const drop = this.deeds.querySelector('[data-act=drop]');
    if (drop) drop.disabled = reason?.held_by !== 'dependencies';
  }

  /** Which schedule has added the job, and for what time; it does not change. */
  #drawSchedule(schedule) {
    if (!schedule || !this.by.hidden) return;
    this.by.hidden = false;
    replace(this.by, h('span', {}, 'Added by schedule ', h('a', { href: scheduleLink(this.queue, schedule.name) }, `‘${schedule.name}’`), ` for ${wallTime(schedule.time)} `,
      setTime(time(null, { tabindex: 0, class: 'muted' }), secondOf(schedule.time))));
  }

  /** From which queue the job was moved here. */
  #drawOrigin({ moved_from: origin }) {
    const said = JSON.stringify(origin ?? null);
    if (this.originSaid === said) return;
    this.originSaid = said;
    this.origin.hidden = !origin;
    if (origin) replace(this.origin, h('span', {}, 'Moved here from the queue ', h('a', { href: queueLink(origin.queue_name) }, `‘${origin.queue_name}’`), ' ', setTime(time(null, { tabindex: 0 }), origin.at)));
  }

  /** When the job was started and how long it has run, or when it is due. */
  #drawTimes(job, reason) {
    const shown = timesOf(job, reason);
    const said = JSON.stringify(shown);
    if (this.timesSaid === said) return;
    this.timesSaid = said;
    this.due.hidden = shown.length === 0;
    replace(this.due, shown.map(([text, at, going]) => h('span', {}, `${text} `, typeof at === 'string' ? h('b', {}, at)
      : setTime(time(null, { tabindex: 0, class: 'strong', 'data-duration': going ? '' : null }), at))));
  }

  /**
   * Disable the buttons that do not apply. While the pointer is on the buttons, hide and show none of them, except after the
   * user's `own` action.
   */
  #drawActs(own = false) {
    const { state, cancel_requested: cancelled } = this.job;
    const finished = FINISHED.includes(state);
    const early = waitsForRetry(this.job);
    if (this.acts.retry) setText(this.acts.retry, early ? 'Retry now' : 'Retry');
    const returns = this.returns && Boolean(this.job.moved_from);
    if (this.acts.retry) this.acts.retry.classList.toggle('primary', !(returns && this.acts.back));
    const useful = { back: returns, backAlike: returns, retry: finished || early, release: state === 'inprogress', cancel: !finished && !cancelled };
    const held = !own && this.deeds.matches(':hover');
    for (const [name, button] of Object.entries(this.acts)) {
      if (!button) continue;
      button.disabled = !useful[name];
      if (!held) button.hidden = !useful[name];
    }
  }

  /** Redraw only the parts that have changed, so that a selection stays. */
  #drawFacts(facts, group) {
    const said = JSON.stringify(facts);
    if (this.factsSaid === said) return;
    this.factsSaid = said;
    const shown = ([name, text, at]) => (at ? setTime(time(null, { tabindex: 0 }), at)
      : name === 'Batch' && session.may(this.queue, 'read') ? h('a', { href: batchLink(this.queue, text) }, text)
      : name === 'Fingerprint' && session.may(this.queue, 'read') ? h('a', { class: 'code', href: queueLink(this.queue, '', { fingerprint: text }) }, text)
      : name === 'Group' && group ? h('a', { href: queueLink(this.queue, 'groups', { group }) }, text) : text);
    replace(this.facts, facts.map((fact) => h('div', {}, h('dt', {}, fact[0]), h('dd', {}, shown(fact)))));
  }
}
customElements.define('je-job', JobPage);

/** Whether the job has failed and its retry is not due yet. */
const waitsForRetry = (job) => isEarly(job) && isRetried(job);

/** "attempt 2 of 3", or nothing before the first. */
function attemptText({ attempts, max_attempts: most = 1 }) {
  return attempts ? `attempt ${number(attempts)} of ${number(Math.max(attempts, most))}` : '';
}

/** Labels, each with a time, or with a start time and `true`, or with a duration in words. */
function timesOf(job, reason) {
  const last = job.history?.at(-1);
  if (job.state === 'inprogress') return job.started ? [['Started', job.started], ['Running for', job.started, true]] : [];
  if (job.state === 'queued') return job.not_before ? [[reason?.held_by === 'hold' ? 'Delay ends' : isRetried(job) ? 'Retry due' : 'Ready', job.not_before]] : [];
  return [...(last ? [['Started', last.started], ['Ended', last.ended], ['Ran for', took(last)]] : []), ...(job.removed_at ? [['Kept until', exact(job.removed_at)]] : [])];
}

/** Pairs of a name and a text; with a third value, a time. */
function factsOf(job, raw, reason) {
  const tried = job.max_attempts ? `${number(job.attempts ?? 0)} of ${number(job.max_attempts)}` : `${number(job.attempts ?? 0)}`;
  return [
    ['Uid', job.uid], ['Priority', raw.get('priority')], ['Attempts', tried], job.group && ['Group', job.group], job.batch && ['Batch', job.batch],
    job.on_dependency_failure && ['If a dependency fails', ON_FAILURE[job.on_dependency_failure]], job.tags?.length && ['Tags', job.tags.join(', ')], job.worker && ['Worker', job.worker],
    ['Added', '', job.created], ['Changed', '', job.last_updated], job.not_before && ['Not before', '', job.not_before],
    job.lease_expires && ['Lease expires', '', job.lease_expires], job.cancel_requested && ['Cancelling', 'the worker is asked to stop'],
    ['Time-out', job.timeout_seconds ? duration(job.timeout_seconds) : 'never'], job.retry_delay_seconds && ['Retry delay', duration(job.retry_delay_seconds)],
    job.removed_at ? ['Kept until', exact(job.removed_at)] : ['Kept when complete', job.keep_minutes ? duration(job.keep_minutes * 60) : 'not at all'], job.timeout_time > 0 && ['Removed if still queued', '', job.timeout_time],
    ...uniqueFacts(job, reason?.key_held_until), errorOf(job) !== undefined && job.fingerprint && ['Fingerprint', job.fingerprint], job.traceparent && ['Trace', job.traceparent],
  ].filter(Boolean);
}

/** What becomes of a job when one that it waits for fails. */
const ON_FAILURE = { fail: 'it fails too', run: 'it runs anyway', wait: 'it waits for the retry' };

/** Whether the server advises to move a failed job back to the queue that it came from. */
const belongsElsewhere = (explanation) => Boolean(explanation?.reason.includes('move it back'));

/** The reason without the holders and the sentences on the last move and on the schedule, which are shown apart. */
function withoutOrigin(explanation, { moved_from: origin }) {
  const text = withoutHolders(explanation);
  const end = [explanation.schedule && ' Added by schedule ', origin && ' It came from the queue '].filter(Boolean).map((words) => text.lastIndexOf(words)).filter((at) => at >= 0);
  return end.length ? text.slice(0, Math.min(...end)) : text;
}

/** A time in the server's texts. */
const UTC_TIME = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g;

/** The reason in words. The server's own text has times in UTC and names of the API; here are local times and a button. */
function readable(explanation, job, retries) {
  const { state } = explanation;
  if (explanation.held_by === 'dependencies') return linkReason(explanation);
  const text = withoutOrigin(explanation, job).replaceAll(UTC_TIME, (time) => exact(secondOf(time))).replace(/\b\d{4,}(?= jobs\b)/g, number);
  if (!FINISHED.includes(state)) return text;
  const [, rest = ''] = text.split(/ to run it again(?: in this queue)?\./);
  const retry = retries ? ` Retry starts it again${belongsElsewhere(explanation) ? ', in this queue,' : ''} as if it had never been tried.` : '';
  return `${job.cancelled ? 'Cancelled' : state === 'failed' ? 'Failed, no attempts left' : 'Complete'}.${alikeText(explanation)}${retry}${rest}`;
}

/** How many other jobs failed in the same way, as a sentence after a space. */
function alikeText({ failed_alike: count = 1, failed_alike_since: since, failed_alike_at_least: more }) {
  if (count === 1) return more ? ' How many failed like it is not known: the queue has more kinds of failures than are counted.' : '';
  const others = `${number(count - 1)} ${count === 2 ? 'other' : 'others'} since ${exact(since)}`;
  return ` It failed like ${more ? `at least ${others} or before` : others}.`;
}

/** Why a job waits, or has failed because of others; the panel below lists them. */
function linkReason({ state, paused, not_before: from, dependencies }) {
  const batches = dependencies.filter(isBatch).length;
  const count = dependencies.length - batches;
  const them = [count && jobs(count), batches && `${number(batches)} ${batches === 1 ? 'batch' : 'batches'}`].filter(Boolean).join(' and ');
  if (state === 'failed') {
    const removed = dependencies.some((one) => one.state === 'removed');
    return `Failed because of ${them}. ${removed ? 'Removed jobs can’t be retried: drop the dependencies to run this job.' : 'It is queued again once each failed dependency is retried.'}`;
  }
  return [paused && 'The queue is paused.', `It waits for ${them}.`, from && `It can’t be claimed before ${exact(from)}.`].filter(Boolean).join(' ');
}
