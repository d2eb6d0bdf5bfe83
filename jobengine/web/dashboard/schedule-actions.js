// Actions on a schedule.

import * as api from './api.js';
import { h, menu, setText, tell, whereabouts } from './dom.js';
import { confirm } from './forms.js';
import { jobLink } from './links.js';
import { openSchedule } from './schedule-form.js';

/** Make a call, and report what `said(answer)` returns, or the error; then call `done()`. */
async function act({ name }, call, said, done) {
  try {
    const answer = await call();
    tell(`${name}: `, said(answer));
  } catch (error) {
    tell(h('span', { class: 'error', role: 'alert' }, `${name}: ${api.inWords(error)}`));
  }
  done();
}

/** Add the schedule's job now, once. */
export const runSchedule = (schedule, done) => act(schedule, () => api.runSchedule(schedule.queue_name, schedule.name),
  ({ uid }) => h('span', {}, 'its job is added. ', h('a', { href: jobLink(schedule.queue_name, uid) }, 'Show it')), done);

export const pauseSchedule = (schedule, done) => act(schedule, () => api.changeSchedule(schedule.queue_name, schedule.name, { paused: !schedule.paused }),
  () => (schedule.paused ? 'resumed, it adds jobs again.' : 'paused, it adds no jobs.'), done);

/** Confirm, then delete the schedule, and call `done(isHere)`: whether the person is still where they confirmed it. */
export function deleteSchedule({ queue_name: queue, name }, done) {
  confirm(`Delete the schedule “${name}” of “${queue}”`, `The schedule and its history will be deleted. The jobs that it added stay. This can’t be undone.`, 'Delete', async (element) => {
    const isHere = whereabouts(element);
    await api.deleteSchedule(queue, name);
    tell(`${name}: deleted.`);
    done(isHere());
  });
}

/** Read the schedule's present settings, and open them in a form. The form opens only on the page of the click. */
export async function changeSchedule({ queue_name: queue, name }, done) {
  const isHere = whereabouts();
  try {
    const { text } = await api.readSchedule(queue, name);
    if (isHere()) openSchedule(queue, { like: text, done });
  } catch (error) {
    tell(h('span', { class: 'error', role: 'alert' }, `${name}: ${api.inWords(error)}`));
  }
}

/** The menu of the actions on `row.schedule`; `row.drawMenu(schedule)` brings it up to date. */
export function scheduleMenu(row, name, done) {
  const on = (what) => () => what(row.schedule, done);
  const list = menu(h('span', { class: 'wide' }, 'Actions'), [
    ['Run now', on(runSchedule)], ['Pause', on(pauseSchedule), { 'data-act': 'pause' }], ['Change', on(changeSchedule)], ['Delete', on(deleteSchedule), { class: 'danger' }],
  ], { 'aria-label': `Actions for ${name}`, class: 'quiet' });
  const pause = list.querySelector('[data-act=pause]');
  row.drawMenu = ({ paused }) => setText(pause, paused ? 'Resume' : 'Pause');
  return list;
}
