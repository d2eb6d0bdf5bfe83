// Actions on a group of jobs.

import * as api from './api.js';
import { h, tell } from './dom.js';
import { clock } from './format.js';
import { confirm, dialog, field, form, keep, values } from './forms.js';
import { limitFields, limitsIn, ownText } from './flow.js';

/** Change a group and report the result or the error; then call `done()`. */
async function change(queue, group, wanted, said, done) {
  try {
    await api.changeGroup(queue, group, wanted);
    tell(`${group}: ${said}`);
  } catch (error) {
    tell(h('span', { class: 'error', role: 'alert' }, `${group}: ${api.inWords(error)}`));
  }
  done();
}

export const pauseGroup = (queue, { group, own }, done) => (own.paused
  ? change(queue, group, { paused: false }, 'resumed, its jobs can be claimed again.', done)
  : change(queue, group, { paused: true }, 'paused, none of its jobs can be claimed.', done));

/** End a hold. */
export const releaseGroup = (queue, { group }, done) => change(queue, group, { held_until: 0 }, 'the hold has ended.', done);

/** Open a form for how long, then hold the group for that time. */
export function holdGroup(queue, { group }, done) {
  dialog(`Hold the group “${group}” of “${queue}”`, (close) => {
    const hold = async (element) => {
      const until = Math.ceil(Date.now() / 1000 + values(element).minutes * 60);
      await api.changeGroup(queue, group, { held_until: until });
      close();
      tell(`${group}: held until ${clock(until)}.`);
      done();
    };
    return form('Hold', hold, [field('Minutes', { name: 'minutes', type: 'number', min: 1, step: 1, required: true, value: 5 },
      'No job of the group can be claimed during that time. Jobs in progress go on.')], { more: keep(close) });
  });
}

/** Open a form for the group's own settings, and save them. */
export function setGroup(queue, { group, own }, done) {
  dialog(`Settings of the group “${group}” of “${queue}”`, (close) => {
    const save = async (element) => {
      const given = values(element);
      await api.changeGroup(queue, group, { ...limitsIn(given, 'own'), weight: given.weight ?? 1 });
      close();
      tell(`${group}: saved.`);
      done();
    };
    return form('Save', save, [h('p', { class: 'hint' }, 'Where a field is empty, the queue’s limit applies.'),
      h('div', { class: 'fields' }, limitFields('own', own), field('Weight', { name: 'weight', type: 'number', min: 1, step: 1, value: own.weight ?? 1 }, 'The group’s share in fair order.'))],
    { more: keep(close) });
  });
}

/** Confirm, then remove the group's own settings. */
export function resetGroup(queue, { group, own }, done) {
  const removed = [own.paused && 'paused', ownText(own)].filter(Boolean).join(', ');
  confirm(`Reset the group “${group}” of “${queue}”`, `The group’s own settings will be removed: ${removed}. Those of the queue will apply again.`, 'Reset', async () => {
    await api.resetGroup(queue, group);
    tell(`${group}: reset.`);
    done();
  }, { danger: false });
}
