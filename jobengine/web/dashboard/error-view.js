// An error of a job: the line that names it, and the whole text folded below.

import * as api from './api.js';
import { h, setText } from './dom.js';
import { errorLine } from './format.js';

/** Longer lines are cut; the whole text is in the fold. */
const LONGEST_LINE = 300;
const FRAME = /^\s*File "(.+)", line (\d+)(?:, in (.+))?$/;

class ErrorView extends HTMLElement {
  connectedCallback() {
    this.#build();
  }

  /** Show an error; undefined shows nothing. A fold that the user opened stays open while the text is the same. */
  show(error) {
    this.#build();
    const text = (error ?? '').trimEnd();
    if (this.text === text) return;
    this.text = text;
    const line = errorLine(text);
    setText(this.line, line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line);
    this.fold.hidden = line.length <= LONGEST_LINE && line === text.trim();
    this.fold.open = false;
    setText(this.fold.firstElementChild, summary(text));
    setText(this.trace, this.fold.hidden ? '' : text);
  }

  /** Show the line of an error. Once the user opens the fold, the whole text of the latest job with this error is read. */
  showLine(line, queue, uid) {
    this.#build();
    Object.assign(this, { queue, uid });
    setText(this.line, line);
    this.fold.hidden = false;
    if (this.fold.firstElementChild.textContent === '') setText(this.fold.firstElementChild, 'Whole text of the latest');
    this.fold.ontoggle = () => this.fold.open && this.#readText();
  }

  async #readText() {
    if (this.trace.textContent === '') setText(this.trace, 'Loading …');
    try {
      const { job } = await api.readJob(this.queue, this.uid);
      setText(this.trace, (job.error ?? 'no error was given').trimEnd());
    } catch (error) {
      setText(this.trace, api.inWords(error));
    }
  }

  #build() {
    if (this.line) return;
    this.line = h('strong', { class: 'why' });
    this.trace = h('pre', { class: 'trace' });
    this.fold = h('details', { hidden: true }, h('summary'), this.trace);
    this.append(this.line, this.fold);
  }
}
customElements.define('je-error', ErrorView);

/** An element that shows errors by `show(error)`. */
export const errorView = () => document.createElement('je-error');

/** The label of a fold; for a Python traceback it names the last frame. */
function summary(text) {
  const frame = text.split('\n').map((line) => FRAME.exec(line)).findLast(Boolean);
  if (!frame) return 'Whole text';
  const [, path, line, name] = frame;
  return `Traceback: ${path.split(/[\\/]/).at(-1)}, line ${line}${name ? `, in ${name}` : ''}`;
}
