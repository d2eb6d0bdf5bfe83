// Reads JSON and keeps where each part stands in the text. Numbers stay as they were written (JavaScript would round
// 64-bit ones), and a mistake has a place.

/** The text is not JSON; `offset` is the place of the error. */
export class NotJson extends Error {
  constructor(message, offset) {
    super(message);
    this.offset = offset;
  }
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /true|false|null/y;
const DEEPEST = 200;

/**
 * The tree of a JSON text; raises NotJson. Each node has `type`, `start` and `end`; an object has `members`
 * (`{key, value}`), an array `items`, a string `value`, a number or a word `text`.
 */
export function parse(text) {
  const reader = { text, at: 0, depth: 0 };
  space(reader);
  const node = value(reader);
  space(reader);
  if (reader.at < text.length) throw new NotJson('there is more text after the end', reader.at);
  return node;
}

function match(reader, pattern) {
  pattern.lastIndex = reader.at;
  const found = pattern.exec(reader.text);
  if (found) reader.at = pattern.lastIndex;
  return found?.[0];
}

const space = (reader) => match(reader, SPACE);

function value(reader) {
  const { at: start, text } = reader;
  const first = text[start];
  if (first === '{') return nested(reader, object);
  if (first === '[') return nested(reader, array);
  if (first === '"') return { type: 'string', value: string(reader), start, end: reader.at };
  const word = match(reader, WORD);
  if (word) return { type: 'word', text: word, start, end: reader.at };
  const digits = match(reader, NUMBER);
  if (digits) return { type: 'number', text: digits, start, end: reader.at };
  throw new NotJson(`${seen(reader)} stands where a value is expected`, start);
}

function nested(reader, read) {
  reader.depth += 1;
  if (reader.depth > DEEPEST) throw new NotJson(`it is nested deeper than ${DEEPEST}`, reader.at);
  const node = read(reader);
  reader.depth -= 1;
  return node;
}

function object(reader) {
  const start = reader.at;
  const members = [];
  const keys = new Set();
  list(reader, '}', () => {
    const keyAt = reader.at;
    if (reader.text[keyAt] !== '"') throw new NotJson(`${seen(reader)} stands where a key in double quotes is expected`, keyAt);
    const key = string(reader);
    if (keys.has(key)) throw new NotJson(`the key ${JSON.stringify(key)} comes twice`, keyAt);
    keys.add(key);
    space(reader);
    expect(reader, ':');
    space(reader);
    members.push({ key, value: value(reader) });
  });
  return { type: 'object', members, start, end: reader.at };
}

function array(reader) {
  const start = reader.at;
  const items = [];
  list(reader, ']', () => items.push(value(reader)));
  return { type: 'array', items, start, end: reader.at };
}

function list(reader, close, item) {
  reader.at += 1;
  space(reader);
  if (reader.text[reader.at] === close) {
    reader.at += 1;
    return;
  }
  for (;;) {
    item();
    space(reader);
    if (reader.text[reader.at] === close) break;
    expect(reader, ',', `, or ${close}`);
    space(reader);
  }
  reader.at += 1;
}

function expect(reader, sign, named = sign) {
  if (reader.text[reader.at] !== sign) throw new NotJson(`${seen(reader)} stands where ${named} is expected`, reader.at);
  reader.at += 1;
}

function string(reader) {
  const start = reader.at;
  const found = match(reader, STRING);
  if (found) return JSON.parse(found);
  return brokenString(reader, start);
}

function brokenString(reader, start) {
  for (let at = start + 1; at < reader.text.length; at += 1) {
    const sign = reader.text[at];
    if (sign < ' ') throw new NotJson('a line end or control character stands in a string; write \\n', at);
    if (sign === '\\') {
      if (!/^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(reader.text.slice(at, at + 6))) throw new NotJson('no such escape', at);
      at += 1;
    }
  }
  throw new NotJson('the string has no end', start);
}

const seen = (reader) => (reader.at < reader.text.length ? `“${String.fromCodePoint(reader.text.codePointAt(reader.at))}”` : 'the end');

/** Line and column of a place, both from 1. */
export function placeOf(text, offset) {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: [...before.at(-1)].length + 1 };
}

/** The error in the text of a JSON object, as `{message, offset}`, or null. */
export function mistake(text) {
  try {
    const node = parse(text);
    return node.type === 'object' ? null : { message: 'It must be an object, in { }.', offset: 0 };
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    const { line, column } = placeOf(text, error.offset);
    return { message: `Line ${line}, column ${column}: ${error.message}.`, offset: error.offset };
  }
}

/** The text of each member of a JSON object as it was written, by its key. */
export function members(text) {
  return new Map(parse(text).members.map(({ key, value: node }) => [key, text.slice(node.start, node.end)]));
}

/** JSON text in lines, with numbers as they were written. */
export function pretty(text) {
  return lines(parse(text), '');
}

function lines(node, indent) {
  const deeper = `${indent}  `;
  const parts = node.type === 'object'
    ? node.members.map(({ key, value: each }) => `${JSON.stringify(key)}: ${lines(each, deeper)}`)
    : node.type === 'array' && node.items.map((each) => lines(each, deeper));
  if (!parts) return node.type === 'string' ? JSON.stringify(node.value) : node.text;
  const [open, close] = node.type === 'object' ? '{}' : '[]';
  return parts.length ? `${open}\n${deeper}${parts.join(`,\n${deeper}`)}\n${indent}${close}` : open + close;
}
