// Whether the server answers. If it does not, probes are sent, less and less often, until it answers again; then all waiters
// are woken.

const LONGEST = 15;

class Connection extends EventTarget {
  /** Whether the last request was answered. */
  found = true;
  /** The time of the next probe, in milliseconds as of Date.now(). */
  next = 0;
  #wait = 1;
  #timer = 0;

  /** A request had no answer. */
  lost() {
    if (!this.found) return;
    this.found = false;
    this.#wait = 1;
    this.#later();
  }

  /** Send a probe now. */
  async knock() {
    clearTimeout(this.#timer);
    try {
      const answer = await fetch('healthz', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(answer.statusText);
      this.found = true;
      this.dispatchEvent(new Event('change'));
    } catch {
      this.#wait = Math.min(this.#wait * 2, LONGEST);
      this.#later();
    }
  }

  #later() {
    // Random, so that browsers do not all send their probes at the same moment after a restart.
    const wait = this.#wait * (0.75 + Math.random() / 2) * 1000;
    this.next = Date.now() + wait;
    this.#timer = setTimeout(() => this.knock(), wait);
    this.dispatchEvent(new Event('change'));
  }
}

/** The one connection. */
export const connection = new Connection();
