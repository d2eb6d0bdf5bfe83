// The lines that add a first job to an empty queue, for a shell.

import { copyButton, h } from './dom.js';

const CONTENT = { to: 'ada@example.org' };

/** A text as one word of a shell. */
const quoted = (text) => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Both ways to add a job, with the server's address and the queue's name filled in. The key is left to the reader. */
export function firstJob(queue) {
  const server = (location.origin + location.pathname).replace(/\/(?:index\.html)?$/, '');
  const key = "export JOBENGINE_ACCESS_KEY='KEY'";
  const json = JSON.stringify(CONTENT);
  const body = JSON.stringify({ queue_name: queue, job: { content: CONTENT } });
  return h('div', { class: 'first-job' }, h('p', {}, 'Use Add job, or a shell, with the queue’s key in place of KEY:'),
    lines('Command line', [`export JOBENGINE_URL=${quoted(server)}`, key, `jobengine add ${quoted(queue)} ${quoted(json)}`]),
    lines('curl', [key, `curl -sS -X PUT ${quoted(`${server}/api/v1/job`)} \\`, '  -H "X-Access-Key: $JOBENGINE_ACCESS_KEY" \\', "  -H 'Content-Type: application/json' \\", `  -d ${quoted(body)}`]));
}

function lines(name, texts) {
  const text = texts.join('\n');
  return h('section', { class: 'panel', 'aria-label': name }, h('div', { class: 'title-line' }, h('h2', {}, name), copyButton('Copy', () => text, { 'aria-label': `Copy the lines for ${name}` })),
    h('pre', { class: 'code' }, text));
}
