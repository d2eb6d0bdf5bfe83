// Numbers, durations, times and sizes for people.

import { h, set, setText } from './dom.js';

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const exactly = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
  timeZoneName: 'short',
});

const minute = new Intl.DateTimeFormat('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit' });
const minuteInUtc = new Intl.DateTimeFormat('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit', timeZone: 'UTC' });
const inUtc = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZone: 'UTC',
});
const WALL = { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', timeZone: 'UTC' };
const wall = new Intl.DateTimeFormat('en-GB', WALL);
const wallWithSecond = new Intl.DateTimeFormat('en-GB', { ...WALL, second: '2-digit' });
const wallWithYear = new Intl.DateTimeFormat('en-GB', { ...WALL, year: 'numeric' });

/** 12,345 */
export const number = (value) => whole.format(value);

/** 12.3K, for narrow places. */
export const brief = (value) => (value < 10_000 ? whole.format(value) : short.format(value));

/** "1 job", "12,345 jobs" */
export const jobs = (count) => `${number(count)} ${count === 1 ? 'job' : 'jobs'}`;

/** Seconds as 4 ms, 1.2 s, 3 min 5 s, 2 h 10 min, 3 d 4 h; null is a dash. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = units.findIndex(([size]) => seconds >= size);
  const [size, unit] = units[first];
  const rest = units[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${more ? ` ${more} ${rest[1]}` : ''}`;
}

/** The line of a Python exception group, which has a margin. */
const GROUP = /^\s*\|\s?(\S.* \(\d+ sub-exceptions?\))$/;
const TRACEBACK = /^[\s+|]*Traceback \(most recent call last\):|^\s+File ".+", line \d+/;

/**
 * The line that names an error: after the last Python traceback its exception, in other texts the first line. A worker
 * cuts the head of a long traceback, so the word Traceback may be missing.
 */
export function errorLine(error) {
  const lines = (error ?? '').split('\n').map((line) => line.trimEnd()).filter(Boolean);
  const last = lines.findLastIndex((line) => TRACEBACK.test(line));
  const group = lines.find((line) => GROUP.test(line));
  const found = group ? GROUP.exec(group)[1] : last < 0 ? lines[0] : lines.slice(last + 1).find((line) => !/^\s/.test(line)) ?? lines.at(-1);
  return (found ?? '').trim();
}

/** Like errorLine, for narrow places: cut to 300 characters. */
export const gist = (error) => errorLine(error).slice(0, 300);

/** Bytes as 1.2 MiB. */
export function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let size = count;
  for (; size >= 1024 && at < units.length - 1; at += 1) size /= 1024;
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

/** Unix seconds as "Fri, 2 Jan 2026, 14:04:05 CET (13:04:05 UTC)": in the browser's time zone, and in UTC. */
export function exact(seconds) {
  const date = new Date(seconds * 1000);
  const here = exactly.format(date);
  if (here.endsWith(' UTC')) return here;
  const there = inUtc.format(date);
  const [day, clock] = [there.slice(0, -10), there.slice(-8)];
  return `${here} (${here.startsWith(day) ? '' : `${day}, `}${clock} UTC)`;
}

/** Unix seconds as "Fri 14:04 (13:04 UTC)". */
export function clock(seconds) {
  const date = new Date(seconds * 1000);
  const [here, there] = [minute, minuteInUtc].map((format) => format.format(date).replace(',', ''));
  return here === there ? `${here} UTC` : `${here} (${here.slice(0, 3) === there.slice(0, 3) ? there.slice(4) : there} UTC)`;
}

/** The Unix second of a time of the API, such as 2027-03-28T03:00:00+02:00. */
export const secondOf = (text) => Date.parse(text) / 1000;

/** A time of the API as clocks in its time zone show it, as "Sun, 28 Mar, 03:00". */
export function wallTime(text) {
  const format = text.slice(0, 4) !== String(new Date().getFullYear()) ? wallWithYear : text.slice(17, 19) === '00' ? wall : wallWithSecond;
  return format.format(new Date(`${text.slice(0, 19)}Z`));
}

/** The time that was `seconds` ago, as text. */
export const since = (seconds) => exact(Date.now() / 1000 - seconds);

function relative(seconds) {
  const ago = Date.now() / 1000 - seconds;
  const size = Math.abs(ago);
  if (size < 1.5) return 'now';
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const [unit, name] = units.find(([each]) => size >= each);
  const text = `${Math.floor(size / unit)} ${name}`;
  return ago > 0 ? `${text} ago` : `in ${text}`;
}

const shown = (element, seconds) => ('duration' in element.dataset ? duration(Math.max(0, Math.floor(Date.now() / 1000 - seconds))) : relative(seconds));

/**
 * A time as "3 min ago", or with the attribute `data-duration` as "3 min 5 s", with the exact time on hover; it is kept up to
 * date.
 */
export function time(seconds, attributes = {}) {
  return setTime(h('time', attributes), seconds);
}

/** Make `element` show another time; null is a dash. */
export function setTime(element, seconds) {
  const known = seconds !== null && seconds !== undefined && seconds !== 0;
  element.dataset.at = known ? seconds : '';
  set(element, 'datetime', known ? new Date(seconds * 1000).toISOString() : null);
  set(element, 'title', known ? exact(seconds) : null);
  setText(element, known ? shown(element, seconds) : '–');
  return element;
}

/** Bring all times on the page up to date; call it every second. */
export function tick() {
  for (const element of document.querySelectorAll('time[data-at]')) {
    if (element.dataset.at) setText(element, shown(element, Number(element.dataset.at)));
  }
}
