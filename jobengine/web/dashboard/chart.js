// Charts as SVG: the last hour, day or week, a small chart for tables, and times of waiting and running.

import { h, replace, set, setText, svg } from './dom.js';
import { brief, clock, duration, number } from './format.js';

const SERIES = [['added', 'Added'], ['complete', 'Complete'], ['failed', 'Failed attempts']];
const sum = (values) => values.reduce((all, each) => all + each, 0);
/** The numbers of a series; those of failures are of attempts, whether their jobs are tried again or not. */
const of = (figures, name) => (name === 'failed' ? figures.attempts_failed ?? figures.failed : figures[name]);

/** A chart in words, for screen readers. */
const said = (figures, period) => `The ${period}: ${SERIES.map(([name]) => `${number(sum(of(figures, name)))} ${name}`).join(', ')}`;

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
  const top = Math.max(1, ...SERIES.flatMap(([name]) => of(minutes, name)));
  set(element, 'aria-label', said(minutes, 'last hour'));
  SERIES.forEach(([name], at) => set(element.children[at], 'd', sum(of(minutes, name)) ? shape(name, of(minutes, name), top, 120, 22) : ''));
}

/** The next round number for an axis; half of it is round too. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((each) => each * power).find((each) => each >= value);
}

const [MINUTE, HOUR, DAY] = [60, 3600, 86400];
const NAMES = { [MINUTE]: 'min', [HOUR]: 'h', [DAY]: 'd' };

/** Jobs by minute or by hour up to now. The pointer, or the arrow keys, read out one of them. */
class PeriodChart extends HTMLElement {
  #series = null;
  #at = null;
  /** Seconds of a value, and the period in words. */
  #step = MINUTE;
  #period = '';

  connectedCallback() {
    if (this.firstChild) return;
    this.values = SERIES.map(([name]) => h('b', { class: name }));
    this.when = h('span', { class: 'muted when' });
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

  /** Show other figures: for each series its numbers, oldest first, each of `step` seconds; `period` names the whole. */
  show(series, step = MINUTE, period = 'last hour') {
    if (JSON.stringify([series, step]) === JSON.stringify([this.#series, this.#step])) return;
    if (series.added.length !== this.#series?.added.length) this.#at = null;
    Object.assign(this, { last: series.added.length - 1 });
    this.#series = series;
    this.#step = step;
    this.#period = period;
    set(this.plot, 'aria-label', `${said(series, period)}. The arrow keys read out single ${step === MINUTE ? 'minutes' : 'hours'}.`);
    this.#draw();
    this.#read(this.#at);
  }

  #draw() {
    const width = Math.max(0, this.plot.clientWidth - 44);
    if (!this.#series || !width) return;
    const height = 110;
    const top = round(Math.max(4, ...SERIES.flatMap(([name]) => of(this.#series, name))));
    const at = (share) => height * (1 - share);
    const grid = [0, 0.5, 1].map((share) => [svg('line', { class: 'grid', x1: 0, x2: width, y1: at(share), y2: at(share) }),
      svg('text', { x: -6, y: at(share) + 4, 'text-anchor': 'end' }, brief(top * share))]);
    const marks = (width < 360 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]).map((share) => svg('text', { x: share * width, y: height + 18, 'text-anchor': share === 0 ? 'start' : share === 1 ? 'end' : 'middle' },
      share === 1 ? 'now' : `−${this.#span((1 - share) * (this.last + 1))}`));
    const paths = SERIES.map(([name]) => svg('path', { class: `line ${name}`, d: shape(name, of(this.#series, name), top, width, height) }));
    this.cross = svg('line', { class: 'cross', y1: 0, y2: height, visibility: 'hidden' });
    this.width = width;
    replace(this.plot, svg('svg', { viewBox: `-40 -8 ${width + 44} ${height + 32}`, width: width + 44, height: height + 32, 'aria-hidden': 'true' },
      grid, marks, paths, this.cross));
  }

  /** A number of values as "45 min", "6 h" or "3.5 d". */
  #span(count) {
    const seconds = count * this.#step;
    const unit = seconds >= 2 * DAY ? DAY : this.#step;
    return `${Math.round((10 * seconds) / unit) / 10} ${NAMES[unit]}`;
  }

  #point(event) {
    const { left } = this.plot.getBoundingClientRect();
    this.#read(Math.min(this.last, Math.max(0, Math.round(((event.clientX - left - 40) * this.last) / this.width))));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.#read(Math.min(this.last, Math.max(0, (this.#at ?? this.last + 1) + step)));
  }

  #read(at) {
    this.#at = at;
    if (!this.#series) return;
    // A screen reader speaks only the numbers that the user asks for, not those that change by themselves.
    set(this.legend, 'aria-live', at === null ? 'off' : 'polite');
    SERIES.forEach(([name], index) => setText(this.values[index], number(at === null ? sum(of(this.#series, name)) : of(this.#series, name)[at])));
    const back = this.last - at;
    setText(this.when, at === null ? `in the ${this.#period}` : back === 0 ? `in this ${this.#step === MINUTE ? 'minute' : 'hour'}` : `${this.#span(back)} ago, ${clock(Date.now() / 1000 - back * this.#step)}`);
    if (!this.cross) return;
    const x = ((at ?? 0) * this.width) / this.last;
    for (const [name, value] of [['x1', x], ['x2', x], ['visibility', at === null ? 'hidden' : 'visible']]) set(this.cross, name, value);
  }
}
customElements.define('je-period', PeriodChart);

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
