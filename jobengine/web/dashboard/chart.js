// Charts as SVG: the last hour by minutes, a small chart for tables, and times of waiting and running.

import { h, replace, set, setText, svg } from './dom.js';
import { brief, duration, number } from './format.js';

const SERIES = [['added', 'Added'], ['complete', 'Complete'], ['failed', 'Failed']];
const sum = (values) => values.reduce((all, each) => all + each, 0);
const last = (minutes, name) => `${number(sum(minutes[name]))} ${name}`;

/** A chart in words, for screen readers. */
const said = (minutes) => `The last hour: ${SERIES.map(([name]) => last(minutes, name)).join(', ')}`;

function line(values, top, width, height) {
  const step = width / (values.length - 1);
  return values.map((value, at) => `${at ? 'L' : 'M'}${(at * step).toFixed(1)},${(height - (value / top) * height).toFixed(1)}`).join('');
}

/** A bar for each minute with jobs; even a single failure is visible. */
function strokes(values, top, width, height) {
  const step = width / (values.length - 1);
  return values.map((value, at) => (value ? `M${(at * step).toFixed(1)},${height}V${Math.min(height - 2, height - (value / top) * height).toFixed(1)}` : '')).join('');
}

const shape = (name, ...rest) => (name === 'failed' ? strokes(...rest) : line(...rest));

/** The last hour as a sparkline: finished jobs, and failed ones in red. */
export function sparkline() {
  return svg('svg', { class: 'spark', viewBox: '-1 -1 122 24', role: 'img', 'aria-label': 'No figures yet' },
    ...SERIES.map(([name]) => svg('path', { class: `line ${name}` })));
}

/** Bring a sparkline up to date. */
export function setSparkline(element, minutes) {
  const top = Math.max(1, ...SERIES.flatMap(([name]) => minutes[name]));
  set(element, 'aria-label', said(minutes));
  SERIES.forEach(([name], at) => set(element.children[at], 'd', sum(minutes[name]) ? shape(name, minutes[name], top, 120, 22) : ''));
}

/** The next round number for an axis; half of it is round too. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((each) => each * power).find((each) => each >= value);
}

/** Jobs by minute over the last hour. The pointer, or the arrow keys, read out a minute. */
class MinutesChart extends HTMLElement {
  #minutes = null;
  #at = null;

  connectedCallback() {
    if (this.firstChild) return;
    this.values = SERIES.map(([name]) => h('b', { class: name }));
    this.when = h('span', { class: 'muted' });
    this.plot = h('div', { class: 'plot', tabindex: 0, role: 'group', 'aria-roledescription': 'chart', onpointermove: (event) => this.#point(event),
      onpointerleave: () => this.#read(null), onkeydown: (event) => this.#key(event), onblur: () => this.#read(null) });
    const legend = SERIES.map(([name, label], at) => h('span', {}, h('i', { class: `key ${name}` }), `${label} `, this.values[at]));
    this.legend = h('div', { class: 'legend' }, legend, this.when);
    this.append(this.legend, this.plot);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.plot);
  }

  disconnectedCallback() {
    this.observer.disconnect();
  }

  /** Show other figures: for each series 60 numbers, oldest first. */
  show(minutes) {
    if (JSON.stringify(minutes) === JSON.stringify(this.#minutes)) return;
    this.#minutes = minutes;
    set(this.plot, 'aria-label', `${said(minutes)}. The arrow keys read out single minutes.`);
    this.#draw();
    this.#read(this.#at);
  }

  #draw() {
    const width = Math.max(0, this.plot.clientWidth - 44);
    if (!this.#minutes || !width) return;
    const height = 110;
    const top = round(Math.max(4, ...SERIES.flatMap(([name]) => this.#minutes[name])));
    const at = (share) => height * (1 - share);
    const grid = [0, 0.5, 1].map((share) => [svg('line', { class: 'grid', x1: 0, x2: width, y1: at(share), y2: at(share) }),
      svg('text', { x: -6, y: at(share) + 4, 'text-anchor': 'end' }, brief(top * share))]);
    const hours = (width < 360 ? [0, 30, 59] : [0, 15, 30, 45, 59]).map((each) => svg('text', { x: (each * width) / 59, y: height + 18, 'text-anchor': each === 0 ? 'start' : each === 59 ? 'end' : 'middle' },
      each === 59 ? 'now' : `−${60 - each} min`));
    const paths = SERIES.map(([name]) => svg('path', { class: `line ${name}`, d: shape(name, this.#minutes[name], top, width, height) }));
    this.cross = svg('line', { class: 'cross', y1: 0, y2: height, visibility: 'hidden' });
    this.width = width;
    replace(this.plot, svg('svg', { viewBox: `-40 -8 ${width + 44} ${height + 32}`, width: width + 44, height: height + 32, 'aria-hidden': 'true' },
      grid, hours, paths, this.cross));
  }

  #point(event) {
    const { left } = this.plot.getBoundingClientRect();
    this.#read(Math.min(59, Math.max(0, Math.round(((event.clientX - left - 40) * 59) / this.width))));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.#read(Math.min(59, Math.max(0, (this.#at ?? 60) + step)));
  }

  #read(minute) {
    this.#at = minute;
    if (!this.#minutes) return;
    // A screen reader speaks only the numbers that the user asks for, not those that change by themselves.
    set(this.legend, 'aria-live', minute === null ? 'off' : 'polite');
    SERIES.forEach(([name], at) => setText(this.values[at], number(minute === null ? sum(this.#minutes[name]) : this.#minutes[name][minute])));
    setText(this.when, minute === null ? 'in the last hour' : minute === 59 ? 'in this minute' : `${59 - minute} min ago`);
    if (!this.cross) return;
    const x = ((minute ?? 0) * this.width) / 59;
    for (const [name, value] of [['x1', x], ['x2', x], ['visibility', minute === null ? 'hidden' : 'visible']]) set(this.cross, name, value);
  }
}
customElements.define('je-minutes', MinutesChart);

const STEPS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 21600, 86400, 604800];

/** How long jobs wait and run: half, nine in ten and 99 in 100 of the last 1,000, on a scale by powers. */
class TimesChart extends HTMLElement {
  /** Show other figures: `rows` are pairs of a name and its `{p50, p90, p99}` in seconds. */
  show(rows) {
    const known = rows.flatMap(([, times]) => [times.p50, times.p99]).filter((each) => each !== null);
    const from = Math.max(0, STEPS.findLastIndex((each) => each <= Math.max(0.001, Math.min(...known))));
    const found = STEPS.findIndex((each) => each >= Math.max(...known));
    const to = Math.max(from + 1, found < 0 ? STEPS.length - 1 : found);
    const scale = (seconds) => {
      const share = Math.log(Math.max(seconds, STEPS[from]) / STEPS[from]) / Math.log(STEPS[to] / STEPS[from]);
      return 2 + 96 * Math.min(1, share);
    };
    const steps = known.length ? STEPS.slice(from, to + 1) : [];
    replace(this, rows.map(([name, times]) => row(name, times, scale, steps)), axis(steps, scale),
      h('p', { class: 'hint' }, 'Half of the last 1,000 jobs took up to the first mark, 90 % to the second, 99 % to the third.'));
  }
}
customElements.define('je-times', TimesChart);

function row(name, times, scale, steps) {
  const marks = ['p50', 'p90', 'p99'];
  const known = times.p50 !== null;
  const words = marks.map((mark) => h('span', {}, h('span', { class: 'muted' }, `${mark.slice(1)} % `), h('b', {}, duration(times[mark]))));
  const grid = steps.map((step) => svg('line', { class: 'grid', x1: `${scale(step)}%`, x2: `${scale(step)}%`, y1: 0, y2: 22 }));
  const bar = known && [svg('line', { class: 'range', x1: `${scale(times.p50)}%`, x2: `${scale(times.p99)}%`, y1: 11, y2: 11 }),
    marks.map((mark) => svg('circle', { class: `mark ${mark}`, cx: `${scale(times[mark])}%`, cy: 11, r: 5 }))];
  return h('div', { class: 'times' }, h('div', { class: 'legend' }, h('span', {}, name), words),
    svg('svg', { width: '100%', height: 22, 'aria-hidden': 'true' }, grid, bar || []));
}

const axis = (steps, scale) => svg('svg', { width: '100%', height: 16, 'aria-hidden': 'true', class: 'axis' },
  steps.filter((_, at) => steps.length < 6 || at % 2 === 0).map((step) => svg('text', { x: `${scale(step)}%`, y: 12, 'text-anchor': scale(step) < 5 ? 'start' : scale(step) > 95 ? 'end' : 'middle' }, duration(step).replace('.0', ''))));
