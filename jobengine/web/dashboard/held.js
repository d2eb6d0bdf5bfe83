// Why a job is held: a reason, and the jobs that hold it.

import { h, replace } from './dom.js';
import { setTime, time } from './format.js';
import { jobLink } from './links.js';

/** The server's reason in two parts: its sentences, and the words before the list of holders at its end. */
function parts({ reason, holders }) {
  const list = holders ? reason.indexOf(holders[0].uid) : -1;
  if (list < 0) return [reason, ''];
  const end = reason.lastIndexOf('. ', list) + 1;
  return [reason.slice(0, end), reason.slice(end, list).trim()];
}

/** The reason without the list of holders at its end, which `drawHolders` shows. */
export const withoutHolders = (explanation) => parts(explanation)[0];

/** Show in `place` the jobs that hold a job of `queue`, each with its worker and the end of its lease. */
export function drawHolders(place, queue, explanation) {
  const holders = explanation?.holders ?? [];
  const said = JSON.stringify(holders);
  if (place.dataset.said === said) return;
  place.dataset.said = said;
  place.hidden = holders.length === 0;
  replace(place, holders.length > 0 && [h('b', {}, parts(explanation)[1] || 'First:'), h('ul', {}, holders.map((job) => holder(queue, job)))]);
}

function holder(queue, { uid, state, worker, lease_expires: until }) {
  const words = state === 'inprogress' ? (worker ? ` at ${worker}` : '') : ` ${state}`;
  return h('li', {}, h('a', { class: 'code', href: jobLink(queue, uid), title: uid }, uid.slice(0, 8)), words,
    until !== undefined && h('span', { class: 'muted' }, ', its lease ends ', setTime(time(null, { tabindex: 0 }), until)));
}
