// One schedule: its settings, its next times and what happened at the last ones.

import * as api from './api.js';
import { h, replace, setText } from './dom.js';
import { duration, number, secondOf, setTime, time, wallTime } from './format.js';
import { failure, loading } from './forms.js';
import './json-view.js';
import { members } from './json.js';
import { queueLink } from './links.js';
import { Refresher } from './live.js';
import { changeSchedule, deleteSchedule, pauseSchedule, runSchedule } from './schedule-actions.js';
import { IF_RUNNING, MISSED } from './schedule-form.js';
import { outcome, remark, scheduleMarks, setStrip, strip, timingOf } from './schedule-rows.js';
import { session } from './session.js';

class ScheduleView extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show the schedule with this name. */
  show(queue, name) {
    Object.assign(this, { queue, name });
    this.state = h('div');
    this.marks = h('span', { class: 'marks' });
    this.buttons = h('div', { class: 'buttons' });
    this.head = h('div', { class: 'title-line' }, h('nav', { class: 'crumbs', 'aria-label': 'Schedules of the queue' }, h('a', { href: queueLink(queue, 'schedules') }, 'All schedules'), ' /'),
      h('h2', { class: 'big' }, name), this.marks, this.buttons);
    this.#addButtons();
    this.#build();
    this.append(this.head, this.state, this.body);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 2000, idle: 10000, signal: this.#stop.signal });
  }

  #addButtons() {
    if (!session.may(this.queue, 'manage')) return;
    const done = () => this.refresher.now();
    const gone = (isHere) => { if (isHere) location.hash = queueLink(this.queue, 'schedules'); };
    const button = (text, act, then = done, more = {}) => h('button', { type: 'button', onclick: () => act(this.schedule, then), ...more }, text);
    // The queue has a button Pause too.
    this.pause = button('Pause schedule', pauseSchedule);
    this.buttons.append(button('Run now', runSchedule, done, { class: 'primary' }), this.pause, button('Change', changeSchedule), button('Delete', deleteSchedule, gone, { class: 'danger' }));
  }

  #build() {
    const panel = (id, title, ...content) => h('section', { class: 'panel', 'aria-labelledby': id }, h('h2', { id }, title), content);
    this.facts = h('dl', { class: 'facts' });
    this.next = h('ol', { class: 'next-times' });
    this.notes = h('ul', { class: 'hint' });
    this.strip = strip();
    this.history = h('ol', { class: 'firings' });
    this.content = document.createElement('je-json');
    this.lastTimes = panel('firings', 'Last 20 times', this.strip, this.history);
    this.nextTimes = panel('next-times', 'Next times', this.next, this.notes);
    this.body = h('div', { class: 'panels job', hidden: true },
      h('div', {}, this.lastTimes, h('section', { class: 'panel', 'aria-label': 'Content' }, this.content)),
      h('div', {}, this.nextTimes, panel('schedule-facts', 'Settings', this.facts)));
  }

  async #read(signal) {
    try {
      const { schedule, text } = await api.readSchedule(this.queue, this.name, signal);
      replace(this.state);
      this.#draw(schedule, members(members(text).get('job')));
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) this.#refused(error);
      throw error;
    }
  }

  #refused(error) {
    this.body.hidden = true;
    this.buttons.hidden = true;
    replace(this.state, failure(error.status === 404 ? new api.Wrong('The queue has no schedule with this name; it may have been deleted.') : error, () => this.refresher.now()));
  }

  #draw(schedule, job) {
    this.body.hidden = false;
    this.buttons.hidden = false;
    this.schedule = schedule;
    this.content.show('Content', job.get('content'));
    if (this.pause) setText(this.pause, schedule.paused ? 'Resume schedule' : 'Pause schedule');
    setStrip(this.strip, schedule.firings);
    // Only what has changed is drawn again, so that a selection and the focus stay.
    const said = JSON.stringify([schedule, scheduleMarks(schedule).length]);
    if (this.said === said) return;
    this.said = said;
    replace(this.marks, scheduleMarks(schedule));
    for (const [panel, title] of [[this.lastTimes, 'Last 20 times'], [this.nextTimes, 'Next times']]) setText(panel.querySelector('h2'), `${title} (${schedule.timezone})`);
    replace(this.facts, factsOf(schedule, job).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
    replace(this.next, schedule.next.length ? schedule.next.map((text) => h('li', {}, h('span', {}, wallTime(text)), ' ', timeOf(text))) : h('li', { class: 'muted' }, 'None while it is paused'));
    replace(this.notes, (schedule.notes ?? []).map((note) => h('li', {}, note)));
    replace(this.history, schedule.firings.length ? schedule.firings.toReversed().map((firing) => entry(this.queue, firing)) : h('li', { class: 'muted' }, 'It has not fired yet.'));
  }
}
customElements.define('je-schedule', ScheduleView);

const timeOf = (text) => setTime(time(null, { tabindex: 0, class: 'muted' }), secondOf(text));

function entry(queue, firing) {
  const { time: first, until } = firing;
  return h('li', {}, h('span', { class: 'when' }, wallTime(first), until && ` to ${wallTime(until)}`), timeOf(until ?? first), outcome(queue, firing), h('span', { class: 'muted' }, remark(firing)));
}

const textOf = (options, value) => options.find(([each]) => each === value)?.[1] ?? value;

function factsOf(schedule, job) {
  const { missed_seconds: old, pause_after_failures: failures } = schedule;
  const options = [...job].filter(([name]) => name !== 'content').map(([name, text]) => [OPTIONS[name] ?? name, h('span', {}, text)]);
  return [['Fires', h('code', {}, timingOf(schedule))], ['Time zone', schedule.timezone], ['If a job of the schedule is unfinished', textOf(IF_RUNNING, schedule.if_running)],
    ['If times were missed', textOf(MISSED, schedule.missed)], ...(schedule.missed === 'once' ? [['Oldest missed time to fire', old < 60 ? '1 min' : duration(old)]] : []),
    ['Pause after failures in a row', failures ? number(failures) : 'never'],
    ['Created', timeOf(new Date(schedule.created * 1000).toISOString())], ...options];
}

/** The labels of a scheduled job's options, by their names in the API. */
const OPTIONS = {
  priority: 'Priority', keep_minutes: 'Keep when finished, minutes', timeout_seconds: 'Time-out, seconds', tags: 'Tags', max_attempts: 'Attempts',
  retry_delay_seconds: 'Retry delay, seconds', unique_key: 'Unique key', meta: 'Meta', group: 'Group', delay_seconds: 'Delay, seconds',
};
