// Keeps a page up to date: reads again after a change, but not so often that it burdens the server.

import { NoAnswer, Refused, events } from './api.js';
import { connection } from './connection.js';
import { session } from './session.js';

/** After this many milliseconds without an answer the server counts as lost. */
const LONGEST_READ = 30000;
/** The server sends a sign of life every 20 seconds. */
const LONGEST_SILENCE = 50000;
const AT_ONCE = -1;

/** Called when the page becomes visible, the server answers again or the keys change, until `signal` aborts. */
function onReturn(signal, act) {
  const look = () => !document.hidden && connection.found && act();
  document.addEventListener('visibilitychange', look, { signal });
  connection.addEventListener('change', look, { signal });
  session.addEventListener('change', look, { signal });
}

/** Whether a key was wrong. Do not send it again: the server throttles those who send many wrong keys. */
const isWrongKey = (error) => error instanceof Refused && error.status === 401;

/**
 * Calls `read(signal)`, which is async, now, every `idle` milliseconds, and soon after `soon()` was called; never twice at a
 * time, and on a slow server not for more than a sixth of the time. It pauses while the page is hidden or the server does not
 * answer, and after a wrong key until the keys change or the user refreshes.
 */
export class Refresher {
  #read;
  #gap;
  #idle;
  #signal;
  #timer = 0;
  #due = Infinity;
  #busy = false;
  #earliest = 0;
  /** Milliseconds that the last read took. */
  #took = 0;
  /** The `session.changes` with which the key was wrong. */
  #refused = null;

  constructor(read, { gap = 1000, idle = 15000, signal }) {
    this.#read = read;
    this.#gap = gap;
    this.#idle = idle;
    this.#signal = signal;
    signal.addEventListener('abort', () => clearTimeout(this.#timer));
    onReturn(signal, () => this.#at(AT_ONCE));
    this.now();
  }

  /** Read soon: something has changed. */
  soon() {
    this.#at(this.#earliest);
  }

  /** Read at once, since the user waits for it; even after a wrong key. */
  now() {
    this.#refused = null;
    this.#at(AT_ONCE);
  }

  #at(time) {
    if (this.#signal.aborted || time >= this.#due) return;
    this.#due = time;
    clearTimeout(this.#timer);
    if (!this.#busy) this.#timer = setTimeout(() => this.#run(), Math.max(0, time - performance.now()));
  }

  async #run() {
    this.#due = Infinity;
    if (document.hidden || !connection.found || this.#refused === session.changes) return;
    this.#busy = true;
    const begun = performance.now();
    const keys = session.changes;
    const limit = AbortSignal.timeout(LONGEST_READ);
    try {
      await this.#read(AbortSignal.any([this.#signal, limit]));
    } catch (error) {
      if (isWrongKey(error)) this.#refused = keys;
      if (limit.aborted) connection.lost();
      else if (!this.#signal.aborted && !(error instanceof NoAnswer || error instanceof Refused)) console.error(error);
    }
    this.#busy = false;
    const now = performance.now();
    const took = now - begun;
    // The shorter of the last two times: after one slow answer the server does not count as slow yet.
    this.#earliest = now + Math.max(this.#gap, 5 * Math.min(took, this.#took));
    this.#took = took;
    const asked = this.#due;
    this.#due = Infinity;
    this.#at(asked === AT_ONCE ? AT_ONCE : Math.min(Math.max(asked, this.#earliest), this.#earliest + this.#idle));
  }
}

/**
 * Watches the jobs of a queue until `signal` aborts. `onChanges(changes)` is called once a frame with the new changes, as
 * `{uid: {before, state, at}}` where `before` is the first old state; null means that changes were missed: read again. The
 * stream is open while the page is visible, so that the tabs of a browser do not use up its six connections. After a wrong key
 * it stays closed until the keys change.
 */
export class Feed {
  #queue;
  #onChanges;
  #signal;
  #stream = null;
  #last = null;
  #changes = new Map();
  #wait = 1000;
  /** The `session.changes` with which the key was wrong. */
  #refused = null;

  constructor(queue, onChanges, signal) {
    this.#queue = queue;
    this.#onChanges = onChanges;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#stream?.abort());
    document.addEventListener('visibilitychange', () => document.hidden && this.#stream?.abort(), { signal });
    onReturn(signal, () => this.#open());
    this.#open();
  }

  async #open() {
    if (this.#stream || this.#signal.aborted || document.hidden || this.#refused === session.changes) return;
    const keys = session.changes;
    const stream = new AbortController();
    this.#stream = stream;
    try {
      const answer = await events(this.#queue, this.#last, stream.signal);
      // Changes between reading the page and the first event may have been missed.
      if (this.#last === null) this.#onChanges(null);
      await this.#follow(answer.body.pipeThrough(new TextDecoderStream()).getReader(), stream);
      this.#again();
    } catch (error) {
      if (isWrongKey(error)) this.#refused = keys;
      const refused = error instanceof Refused && error.status < 500 && error.status !== 429;
      const left = stream.signal.aborted && stream.signal.reason !== 'silent';
      if (!refused && !left && !(error instanceof NoAnswer)) this.#again();
    } finally {
      if (this.#stream === stream) this.#stream = null;
    }
  }

  #again() {
    setTimeout(() => this.#open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, 15000);
  }

  async #follow(reader, stream) {
    let rest = '';
    for (;;) {
      const silence = setTimeout(() => stream.abort('silent'), LONGEST_SILENCE);
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      this.#wait = 1000;
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      parts.forEach((part) => this.#take(part));
    }
  }

  #take(part) {
    const fields = Object.fromEntries(part.split('\n').map((line) => line.split(/: (.*)/, 2)));
    if (fields.event === 'gone') this.#missed();
    if (fields.id) this.#last = fields.id;
    if (fields.event !== 'job') return;
    const { uid, ...change } = JSON.parse(fields.data);
    if (this.#changes.size === 0) requestAnimationFrame(() => this.#hand());
    const earlier = this.#changes.get(uid);
    this.#changes.set(uid, earlier ? { ...change, before: earlier.before } : change);
  }

  #missed() {
    this.#last = null;
    this.#onChanges(null);
  }

  #hand() {
    const changes = this.#changes;
    this.#changes = new Map();
    if (!this.#signal.aborted) this.#onChanges(changes);
  }
}
