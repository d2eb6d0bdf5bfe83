// Reads the figures of all queues of the tab, and finds a job in them.

import * as api from './api.js';
import { session } from './session.js';

/** Calls at a time; browsers open six connections. */
const AT_ONCE = 4;

/** The rows of queues whose key is wrong, by the session's entry, so that a wrong key is not sent again. */
const refused = new WeakMap();

/**
 * The stats of all queues of the server with the admin key, otherwise of the tab's queues. A queue whose
 * key can't read them has a `note` instead.
 */
export async function allQueues(signal) {
  if (session.admin !== null) return (await api.listQueues(signal)).queues;
  return Promise.all([...session.queues].map(async ([name, known]) => {
    const { role } = known;
    if (refused.has(known)) return refused.get(known);
    if (!session.may(name, 'read')) return { name, role, note: `signed in as ${role}` };
    try {
      return { ...await api.stats(name, signal), role };
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      const row = { name, role, note: error.message, bad: true };
      if (error.status === 401) refused.set(known, row);
      return row;
    }
  }));
}

/** Call `act` for each item, a few at a time, until one call returns true. */
export async function inTurns(items, act) {
  const left = [...items];
  let found = false;
  const some = async () => {
    while (left.length && !found) found = await act(left.shift()) === true || found;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  return found;
}

/** The name of the queue that has a job with this uid, or null. */
export async function queueOf(uid, names, signal) {
  let place = null;
  await inTurns(names, async (name) => {
    try {
      await api.readJob(name, uid, signal);
      place = name;
      return true;
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      return false;
    }
  });
  return place;
}
