// The keys of this tab, by queue, and the admin key. They are kept for this tab only, and are sent in headers only.

const KEPT = 'jobengine.session';

/** What each role may do; the admin key does all that an owner's does. */
const RIGHTS = {
  read: ['owner', 'viewer'],
  peek: ['owner', 'viewer', 'worker'],
  readOwn: ['owner', 'viewer', 'producer'],
  add: ['owner', 'producer'],
  update: ['owner', 'worker'],
  manage: ['owner'],
};

class Session extends EventTarget {
  /** How often the keys have changed. */
  changes = 0;

  constructor() {
    super();
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? '{}');
    this.admin = kept.admin ?? null;
    this.queues = new Map(kept.queues ?? []);
  }

  /** Whether the tab has any key. */
  get open() {
    return this.admin !== null || this.queues.size > 0;
  }

  /** Keep the admin key, which the server has accepted. */
  addAdmin(key) {
    this.admin = key;
    this.#keep();
  }

  /** Keep the key of a queue, which the server has accepted for `role`. */
  addQueue(name, key, role) {
    this.queues.set(name, { key, role });
    this.#keep();
  }

  /** Forget the key of a queue that was deleted, or a key that was revoked. */
  removeQueue(name) {
    if (this.queues.delete(name)) this.#keep();
  }

  /** Forget all keys and all input. */
  signOut() {
    this.admin = null;
    this.queues.clear();
    sessionStorage.clear();
    this.#tell();
  }

  /** The role for a queue: owner, worker, producer, viewer or, by the admin key, admin; null if not signed in to it. */
  role(queue) {
    return this.admin !== null ? 'admin' : this.queues.get(queue)?.role ?? null;
  }

  /** Whether the role for `queue` has a right of RIGHTS. */
  may(queue, right) {
    const role = this.role(queue);
    return role === 'admin' || RIGHTS[right].includes(role);
  }

  /** The header with the key for `queue`; without a queue, the admin's. */
  headers(queue) {
    if (this.admin !== null) return { 'X-Admin-Key': asHeader(this.admin) };
    const known = queue === undefined ? undefined : this.queues.get(queue);
    return known ? { 'X-Access-Key': asHeader(known.key) } : {};
  }

  #keep() {
    sessionStorage.setItem(KEPT, JSON.stringify({ admin: this.admin, queues: [...this.queues] }));
    this.#tell();
  }

  #tell() {
    this.changes += 1;
    this.dispatchEvent(new Event('change'));
  }
}

/** The one session of this tab. */
export const session = new Session();

/** A key as fetch needs it: a character for each byte of its UTF-8. */
export const asHeader = (key) => String.fromCharCode(...new TextEncoder().encode(key));

/** A random key of 32 bytes, as text that is safe in headers and shells. */
export function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(32));
  return btoa(String.fromCharCode(...random)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** A new uid for a job: a UUID, version 4. */
export function newUid() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  random[6] = (random[6] & 0x0f) | 0x40;
  random[8] = (random[8] & 0x3f) | 0x80;
  const hex = [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
