// The state of the server, and a copy of its database, for the admin.

import * as api from './api.js';
import { h, keyed, replace, setText } from './dom.js';
import { bytes, duration, number, setTime, time } from './format.js';
import { failure, loading } from './forms.js';
import { Refresher } from './live.js';

class ServerPage extends HTMLElement {
  #stop = new AbortController();

  disconnectedCallback() {
    this.#stop.abort();
  }

  show() {
    if (this.firstChild) return;
    this.state = h('div');
    this.facts = h('dl', { class: 'facts cards' });
    this.backup = new BackupPanel().element;
    this.backup.hidden = true;
    this.append(h('div', { class: 'title-line' }, h('h1', { tabindex: -1 }, 'Server')), this.state, this.facts, this.backup);
    loading(this.state);
    this.refresher = new Refresher((limit) => this.#read(limit), { idle: 5000, signal: this.#stop.signal });
  }

  /** Read again. */
  changed() {
    this.refresher.now();
  }

  async #read(signal) {
    try {
      const [text, { status, durability }] = await Promise.all([api.metrics(signal), api.ready(signal)]);
      replace(this.state);
      this.#draw(factsOf(figuresOf(text), status, durability));
    } catch (error) {
      if (!signal.aborted && error instanceof api.Refused) replace(this.state, failure(error, () => this.refresher.now()));
      throw error;
    } finally {
      this.backup.hidden = false;
    }
  }

  #draw(facts) {
    const make = ([name]) => {
      const element = h('div', {}, h('dt', {}, name));
      element.value = h('dd');
      element.more = h('dd', { class: 'hint' });
      element.append(element.value, element.more);
      return element;
    };
    keyed(this.facts, facts, ([name]) => name, make, (element, [, value, more, at]) => {
      if (at) replace(element.value, setTime(time(null, { tabindex: 0 }), at));
      else setText(element.value, value);
      setText(element.more, more ?? '');
    });
  }
}
customElements.define('je-server', ServerPage);

/** The samples in metrics in Prometheus' format, by their names with labels; those of single queues and requests are left out. */
function figuresOf(text) {
  const wanted = /^(?!jobengine_(?:jobs|request|waiting|oldest))((?:jobengine|process)_\w+)(\{[^}]*\})? (\S+)$/gm;
  return new Map([...text.matchAll(wanted)].map(([, name, labels = '', value]) => [name + labels, name.endsWith('_info') ? labels : Number(value)]));
}

function factsOf(figures, status, durability) {
  const of = (name) => figures.get(name);
  const some = (name, shown = number) => (figures.has(name) ? shown(of(name)) : '–');
  const mean = (name, shown) => (of(`${name}_count`) ? shown(of(`${name}_sum`) / of(`${name}_count`)) : '–');
  const build = [...figures].find(([name]) => name.startsWith('jobengine_build_info'))?.[1] ?? '';
  const label = (name) => build.match(new RegExp(`${name}="([^"]*)"`))?.[1] ?? '–';
  const compacted = of('jobengine_last_compaction_timestamp_seconds');
  return [
    ['Version', label('version'), `on Python ${label('python')}`],
    ['State', status, ''],
    ['Durability', durability, durability === 'commit' ? 'A change is on disk before its answer.' : 'A power cut can lose unsynced changes.'],
    ['Started', '', null, of('process_start_time_seconds')],
    ['Connections', some('jobengine_connections'), `${some('jobengine_waiters{on="job"}')} wait for a job, ${some('jobengine_waiters{on="events"}')} watch events`],
    ['Commits', some('jobengine_commits_total'), `${mean('jobengine_batch_records', (value) => value.toFixed(1))} changes in each`],
    ['Sync time', mean('jobengine_sync_seconds', (value) => milliseconds(value)), `mean of ${some('jobengine_sync_seconds_count')} syncs`],
    ['File size', some('jobengine_file_bytes', bytes), `a fresh file would take about ${some('jobengine_live_bytes', bytes)}`],
    ['Last compaction', compacted ? '' : 'none yet', `${some('jobengine_compactions_total{outcome="done"}')} done, ${some('jobengine_compactions_total{outcome="given_up"}')} given up`, compacted],
    ['Memory', some('process_resident_memory_bytes', bytes), `${some('process_cpu_seconds_total', (value) => duration(Math.round(value)))} of processor time`],
  ];
}

const milliseconds = (seconds) => `${(seconds * 1000).toFixed(2)} ms`;

/** Downloads a copy of the database, and shows the progress. */
class BackupPanel {
  constructor() {
    this.told = h('p', { role: 'status', class: 'muted' });
    this.start = h('button', { type: 'button', class: 'primary', onclick: () => this.#run() }, 'Download backup');
    this.stop = h('button', { type: 'button', hidden: true, onclick: () => this.stopper.abort() }, 'Stop');
    this.trouble = h('div');
    this.element = h('section', { class: 'panel', 'aria-labelledby': 'backup' }, h('h2', { id: 'backup' }, 'Backup'),
      h('p', {}, 'A copy of the database at this moment, encrypted with the server’s SECRET. The server keeps running.'),
      this.trouble, h('div', { class: 'buttons' }, this.start, this.stop, this.told));
  }

  async #run() {
    this.stopper = new AbortController();
    this.#running(true);
    replace(this.trouble);
    try {
      const answer = await api.backup(this.stopper.signal);
      const blob = await new Response(answer.body.pipeThrough(this.#counter())).blob();
      save(blob, `jobengine-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.jedb`);
      setText(this.told, `${bytes(blob.size)} downloaded. Check it with jobengine db check --backup.`);
    } catch (error) {
      setText(this.told, this.stopper.signal.aborted ? 'Stopped; no file was saved.' : '');
      if (!this.stopper.signal.aborted) replace(this.trouble, failure(error));
    }
    this.#running(false);
  }

  #running(now) {
    this.start.disabled = now;
    this.stop.hidden = !now;
    if (now) setText(this.told, 'Requesting the backup …');
  }

  #counter() {
    let size = 0;
    return new TransformStream({
      transform: (chunk, out) => {
        size += chunk.byteLength;
        setText(this.told, `${bytes(size)} so far …`);
        out.enqueue(chunk);
      },
    });
  }
}

/** Pass a file to the browser's downloads. */
function save(blob, name) {
  const link = h('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
