// What a job waits for and what waits for it: two lists, and the graph of all that is linked to it.

import * as api from './api.js';
import { h, replace, setText } from './dom.js';
import { drawGraph, frame, neighbours } from './graph-view.js';
import { linkDetail, linkName, linkTarget, linkWord, shownLink } from './link-words.js';
import { Refresher } from './live.js';

/** The most entries of a list; the graph shows more. */
const LISTED = 10;

class LinksPanel extends HTMLElement {
  #stop = new AbortController();
  #uids = new Set();
  #said = null;

  disconnectedCallback() {
    this.#stop.abort();
  }

  /** Show what is linked to a job; the panel is hidden while nothing is. */
  show(queue, uid) {
    Object.assign(this, { queue, uid, hidden: true });
    this.before = this.#list('waits-for', 'Waits for');
    this.after = this.#list('needed-by', 'Needed by');
    this.graph = frame('Graph');
    this.more = h('p', { class: 'hint', hidden: true }, 'There is more beyond these 200 jobs and batches.');
    this.append(h('section', { class: 'panel', 'aria-labelledby': 'links' }, h('h2', { id: 'links' }, 'Dependencies'),
      h('div', { class: 'links' }, this.before.part, this.after.part), this.graph, this.more));
    this.refresher = new Refresher((limit) => this.#read(limit), { gap: 2000, idle: 10000, signal: this.#stop.signal });
  }

  /** Read again after an action on the page. */
  changed() {
    this.refresher.now();
  }

  /** Read again if a job in the graph has changed; without `changes` any may have. */
  happened(changes) {
    if (changes === null || [...changes.keys()].some((uid) => this.#uids.has(uid))) this.refresher.soon();
  }

  #list(id, title) {
    const list = h('ul', {});
    const rest = h('p', { class: 'hint' });
    const heading = h('h3', { id }, title);
    return { list, rest, heading, part: h('section', { 'aria-labelledby': id, hidden: true }, heading, list, rest) };
  }

  async #read(signal) {
    let graph;
    try {
      graph = await api.jobGraph(this.queue, this.uid, signal);
    } catch (error) {
      // The job's own page says that it was removed; what was linked to it stays as it was.
      if (error instanceof api.Refused && error.status === 404) return;
      throw error;
    }
    this.#draw(graph);
  }

  /** Draw the graph only if it has changed, so that a selection and the focus stay. */
  #draw(graph) {
    const said = JSON.stringify(graph);
    if (this.#said === said) return;
    this.#said = said;
    this.#uids = new Set(graph.nodes.map(({ uid }) => uid));
    this.hidden = graph.nodes.length < 2;
    if (this.hidden) return;
    const { before, after } = neighbours(graph);
    setText(this.before.heading, before[0].every((index) => graph.nodes[index].state === 'complete') ? 'Waited for' : 'Waits for');
    this.#fill(this.before, before[0].map((index) => graph.nodes[index]));
    this.#fill(this.after, after[0].map((index) => graph.nodes[index]));
    this.more.hidden = !graph.left_out;
    drawGraph(this.graph, graph, this.queue);
  }

  #fill({ part, list, rest }, nodes) {
    part.hidden = nodes.length === 0;
    replace(list, nodes.slice(0, LISTED).map((node) => this.#entry(node)));
    setText(rest, nodes.length > LISTED ? `and ${nodes.length - LISTED} more in the graph` : '');
  }

  #entry(node) {
    const name = linkName(node, this.queue);
    return h('li', {}, h('span', { class: `badge state ${shownLink(node)}` }, linkWord(node)), ' ', h('a', { href: linkTarget(node), title: node.uid ?? null, class: node.uid && 'code' }, name), ' ',
      h('span', { class: 'muted' }, linkDetail(node)));
  }
}
customElements.define('je-links', LinksPanel);
