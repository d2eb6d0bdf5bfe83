// Charts as SVG: jobs and their times in the last hour, day or week, a small chart for tables, and the times of the last jobs.

import { h, replace, set, setText, svg } from './dom.js';
import { brief, clock, duration, number } from './format.js';

const SERIES = [['added', 'Added'], ['complete', 'Complete'], ['failed', 'Failed attempts']];
const sum = (values) => values.reduce((all, each) => all + each, 0);
/** The numbers of a series; failures are counted as attempts, whether the jobs are retried or not. */
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

/** The jobs of an error in the last hour: a bar for each minute in which some failed. */
export function failuresByMinute() {
  return svg('svg', { class: 'spark', viewBox: '-1 -1 122 24', role: 'img', 'aria-label': 'No figures yet' }, svg('path', { class: 'base', d: 'M0,22.5H120' }), svg('path', { class: 'line bars' }));
}

/** Bring the chart of an error up to date; `minutes` are numbers, oldest first. */
export function setFailuresByMinute(element, minutes) {
  const [all, top] = [sum(minutes), Math.max(...minutes)];
  const words = all === 0 ? 'In the last hour no job failed' : `In the last hour ${number(all)} failed, at most ${number(top)} in a minute`;
  set(element, 'aria-label', words);
  if (element.querySelector('title')?.textContent !== words) {
    element.querySelector('title')?.remove();
    element.prepend(svg('title', {}, words));
  }
  set(element.querySelector('.bars'), 'd', strokes(minutes, Math.max(1, top), 120, 22));
}

/** The next round number for an axis; half of it is round too. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((each) => each * power).find((each) => each >= value);
}

const [MINUTE, HOUR, DAY] = [60, 3600, 86400];
/** The room for the numbers of an axis, in pixels. */
const LEFT = 50;
const NAMES = { [MINUTE]: 'min', [HOUR]: 'h', [DAY]: 'd' };

/**
 * A line or strokes for each of `lines`, by minute or by hour up to now. The pointer or the arrow keys show one minute or hour.
 * A subclass has `lines` with names and labels, `values`, `whole`, `text`, `describe`, `scale` and `path`.
 */
class PeriodChart extends HTMLElement {
  #series = null;
  #at = null;
  /** The seconds that each value stands for, and the whole period in words. */
  #step = MINUTE;
  #period = '';

  connectedCallback() {
    if (this.firstChild) return;
    this.numbers = this.lines.map(([name]) => h('b', { class: name }));
    this.when = h('span', { class: 'muted when' });
    this.plot = h('div', { class: 'plot', tabindex: 0, role: 'group', 'aria-roledescription': 'chart', onpointermove: (event) => this.#point(event),
      onpointerleave: () => this.#read(null), onkeydown: (event) => this.#key(event), onblur: () => this.#read(null) });
    const legend = this.lines.map(([name, label], at) => h('span', {}, h('i', { class: `key ${name}` }), `${label} `, this.numbers[at]));
    this.legend = h('div', { class: 'legend' }, legend, this.when);
    this.append(this.legend, this.plot);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.plot);
  }

  disconnectedCallback() {
    this.observer.disconnect();
  }

  /** Show new figures: for each series its numbers, oldest first, each of `step` seconds; `period` names the whole. */
  show(series, step = MINUTE, period = 'last hour') {
    if (JSON.stringify([series, step]) === JSON.stringify([this.#series, this.#step])) return;
    if (series.added.length !== this.#series?.added.length) this.#at = null;
    Object.assign(this, { last: series.added.length - 1 });
    this.#series = series;
    this.#step = step;
    this.#period = period;
    set(this.plot, 'aria-label', `${this.describe(series, period)}. The arrow keys read out single ${step === MINUTE ? 'minutes' : 'hours'}.`);
    this.#draw();
    this.#read(this.#at);
  }

  #draw() {
    const width = Math.max(0, this.plot.clientWidth - LEFT - 4);
    if (!this.#series || !width) return;
    const height = 110;
    const all = this.lines.map(([name]) => this.values(this.#series, name));
    const { share, ticks } = this.scale(all.flat().filter((value) => value !== null));
    const grid = ticks.map(([value, text]) => [svg('line', { class: 'grid', x1: 0, x2: width, y1: height * (1 - share(value)), y2: height * (1 - share(value)) }),
      svg('text', { x: -6, y: height * (1 - share(value)) + 4, 'text-anchor': 'end' }, text)]);
    const marks = (width < 360 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]).map((share) => svg('text', { x: share * width, y: height + 18, 'text-anchor': share === 0 ? 'start' : share === 1 ? 'end' : 'middle' },
      share === 1 ? 'now' : `−${this.#span((1 - share) * (this.last + 1))}`));
    const paths = this.lines.map(([name], index) => svg('path', { class: `line ${name}`, d: this.path(name, all[index].map((value) => (value === null ? null : share(value))), width, height) }));
    this.cross = svg('line', { class: 'cross', y1: 0, y2: height, visibility: 'hidden' });
    this.width = width;
    replace(this.plot, svg('svg', { viewBox: `-${LEFT} -8 ${width + LEFT + 4} ${height + 32}`, width: width + LEFT + 4, height: height + 32, 'aria-hidden': 'true' },
      grid, marks, paths, this.cross));
  }

  /** A number of values as "45 min", "6 h" or "3.5 d". */
  #span(count) {
    const seconds = count * this.#step;
    const unit = seconds >= DAY && this.last * this.#step > DAY ? DAY : this.#step;
    return `${Math.round((10 * seconds) / unit) / 10} ${NAMES[unit]}`;
  }

  #point(event) {
    const { left } = this.plot.getBoundingClientRect();
    this.#read(Math.min(this.last, Math.max(0, Math.round(((event.clientX - left - LEFT) * this.last) / this.width))));
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
    this.lines.forEach(([name], index) => {
      const values = this.values(this.#series, name);
      setText(this.numbers[index], this.text(at === null ? this.whole(values) : values[at]));
    });
    const back = this.last - at;
    setText(this.when, at === null ? this.caption(this.#period) : back === 0 ? `in this ${this.#step === MINUTE ? 'minute' : 'hour'}` : `${this.#span(back)} ago, ${clock(Date.now() / 1000 - back * this.#step)}`);
    if (!this.cross) return;
    const x = ((at ?? 0) * this.width) / this.last;
    for (const [name, value] of [['x1', x], ['x2', x], ['visibility', at === null ? 'hidden' : 'visible']]) set(this.cross, name, value);
  }
}

/** How many jobs were added, completed and failed. */
class JobsChart extends PeriodChart {
  lines = SERIES;
  values = of;
  whole = sum;
  text = number;
  describe = said;
  caption = (period) => `in the ${period}`;

  scale(values) {
    const top = round(Math.max(4, ...values));
    return { share: (value) => value / top, ticks: [0, 0.5, 1].map((part) => [top * part, brief(top * part)]) };
  }

  path(name, shares, width, height) {
    return shape(name, shares, 1, width, height);
  }
}
customElements.define('je-period', JobsChart);

const STEPS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 21600, 86400, 604800];

/** A logarithmic scale for times in seconds: `share` is the height of a time on it, from 0 to 1; `steps` are the times to mark. */
function powers(known) {
  const from = Math.max(0, STEPS.findLastIndex((each) => each <= Math.max(0.001, Math.min(...known))));
  const found = STEPS.findIndex((each) => each >= Math.max(...known));
  const to = Math.max(from + 1, found < 0 ? STEPS.length - 1 : found);
  const share = (seconds) => Math.min(1, Math.log(Math.max(seconds, STEPS[from]) / STEPS[from]) / Math.log(STEPS[to] / STEPS[from]));
  return { share, steps: known.length ? STEPS.slice(from, to + 1) : [] };
}

const TIMES = [['wait_p50', 'Wait 50 %'], ['wait_p99', 'Wait 99 %'], ['run_p50', 'Run 50 %'], ['run_p99', 'Run 99 %']];

/** How long jobs waited and ran: the time of half of them and of 99 in 100; a gap where there were none. */
class TimesByPeriod extends PeriodChart {
  lines = TIMES;
  values = (figures, name) => figures[name];
  text = (seconds) => duration(seconds).replace('.0 ', ' ');
  caption = (period) => `longest in the ${period}`;

  whole(values) {
    const known = values.filter((value) => value !== null);
    return known.length ? Math.max(...known) : null;
  }

  describe(figures, period) {
    return `The longest of the ${period}: ${['wait', 'run'].map((kind) => `${kind} ${this.text(this.whole(figures[`${kind}_p99`]))}`).join(', ')}`;
  }

  scale(values) {
    const { share, steps } = powers(values.length ? values : [0.01, 1]);
    return { share, ticks: steps.filter((_, at) => steps.length < 8 || (steps.length - at) % 2).map((step) => [step, this.text(step)]) };
  }

  path(name, shares, width, height) {
    const step = width / (shares.length - 1);
    const point = (share, at) => `${(at * step).toFixed(1)},${(height * (1 - share)).toFixed(1)}`;
    const known = (at) => (shares[at] ?? null) !== null;
    // A value between two gaps is a dash.
    return shares.map((share, at) => (!known(at) ? '' : known(at - 1) ? `L${point(share, at)}` : `M${point(share, at)}${known(at + 1) ? '' : 'm-2,0h4'}`)).join('');
  }
}
customElements.define('je-times-by-period', TimesByPeriod);

/** How long jobs wait and run: half, nine in ten and 99 in 100 of the last 1,000, on a logarithmic scale. */
class TimesChart extends HTMLElement {
  /** Show new figures: `rows` are pairs of a name and its `{p50, p90, p99}` in seconds. */
  show(rows) {
    const known = rows.flatMap(([, times]) => [times.p50, times.p99]).filter((each) => each !== null);
    const { share, steps } = powers(known);
    const scale = (seconds) => 2 + 96 * share(seconds);
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
