// The graph of a job: jobs and batches as boxes, in layers from left to right, and a line from each to those that wait for it.

import { h, replace, svg } from './dom.js';
import { linkDetail, linkName, linkTarget, linkWord, shownLink } from './link-words.js';

const [WIDTH, HEIGHT] = [200, 46];
/** The height of the gap for a line that passes between the boxes of a layer, and the most such gaps in a graph. */
const [BEND, MOST_BENDS] = [6, 400];
const [GAP_X, GAP_Y, MARGIN] = [44, 12, 6];
/** How often the order within the layers is improved. */
const SWEEPS = 4;
/** The most characters of the two lines in a box. */
const [LONGEST_NAME, LONGEST_DETAIL] = [20, 23];

/** Draw a graph in `place`, on the page of its first job, which is in `queue`; the focus and the scroll position stay. */
export function drawGraph(place, graph, queue) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const layout = laidOut(graph);
  const ways = neighbours(graph);
  const order = graph.nodes.map((_, index) => index).sort((one, other) => layout.at[one].layer - layout.at[other].layer || layout.at[one].y - layout.at[other].y);
  const boxes = order.map((index) => box(graph.nodes[index], layout.at[index], queue, { here: index === 0, before: ways.before[index].length, after: ways.after[index].length }));
  replace(place, svg('svg', { width: layout.width, height: layout.height, role: 'group', 'aria-label': 'Graph of dependencies' }, arrow(),
    svg('g', { 'aria-hidden': 'true' }, layout.lines.map((points) => line(points.map((index) => layout.at[index])))), boxes));
  if (focused) boxes.find((each) => each.dataset.key === focused)?.focus({ preventScroll: true });
  const failed = ways.before[0].find((index) => graph.nodes[index].state === 'failed');
  place.inView = { job: layout.at[0], failed: failed === undefined ? null : layout.at[failed] };
}

// Boxes and lines

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function box(node, { x, y }, queue, { here, before, after }) {
  const name = linkName(node, queue);
  const state = [linkWord(node), linkDetail(node)].filter(Boolean).join(', ');
  const [short, detail] = [cut(name, LONGEST_NAME), cut(state, LONGEST_DETAIL)];
  const label = [`${short} ${detail}`, before > 0 && `waits for ${before}`, after > 0 && `needed by ${after}`].filter(Boolean).join(', ');
  return svg('a', { href: linkTarget(node), class: `node ${shownLink(node)}`, transform: `translate(${x} ${y})`, 'aria-label': label, 'aria-current': here ? 'true' : null, 'data-key': keyOf(node) },
    (short !== name || detail !== state) && svg('title', {}, `${name}: ${state}`), svg('rect', { width: WIDTH, height: HEIGHT, rx: 8 }), sign(shownLink(node)),
    svg('text', { x: 28, y: 19, class: 'name' }, `${short} `), svg('text', { x: 28, y: 36 }, detail));
}

const keyOf = ({ queue_name: queue, uid, batch }) => JSON.stringify(uid === undefined ? [queue, batch, ''] : [queue, uid]);

/** The sign of a state, which does not depend on colour; the same as in the table of jobs. */
function sign(state) {
  const place = { class: 'sign', transform: 'translate(15 15)' };
  if (state === 'failed') return svg('rect', { ...place, x: -4, y: -4, width: 8, height: 8, transform: 'translate(15 15) rotate(45)' });
  if (state === 'removed') return svg('path', { ...place, d: 'M-4-4 4 4M4-4-4 4' });
  if (state === 'inprogress') return svg('g', place, svg('circle', { r: 5 }), svg('path', { class: 'half', d: 'M0-5A5 5 0 0 0 0 5Z' }));
  return svg('circle', { ...place, r: 5 });
}

function arrow() {
  return svg('defs', {}, svg('marker', { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' }, svg('path', { class: 'tip', d: 'M0 0 8 4 0 8Z' })));
}

/** A line through points, level where it crosses a layer. */
function line(points) {
  const last = points.length - 1;
  const path = points.slice(1).map((to, at) => {
    const [x1, y1, x2, y2] = [points[at].x + WIDTH, points[at].middle, to.x - (at + 1 === last ? 2 : 0), to.middle];
    const bend = (x2 - x1) / 2;
    return `C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}${at + 1 === last ? '' : `H${to.x + WIDTH}`}`;
  });
  return svg('path', { class: 'way', d: `M${points[0].x + WIDTH} ${points[0].middle}${path.join('')}`, 'marker-end': 'url(#arrow)' });
}

// Layout

/** For each node, the indexes of the nodes before it and after it. */
export function neighbours({ nodes, edges }) {
  const [before, after] = [nodes.map(() => []), nodes.map(() => [])];
  for (const { from, to } of edges) {
    after[from].push(to);
    before[to].push(from);
  }
  return { before, after };
}

/** The layer of each node: one more than the highest layer of the nodes before it. */
function layersOf({ nodes }, { before, after }) {
  const layer = nodes.map(() => 0);
  const left = before.map((each) => each.length);
  const free = nodes.map((_, index) => index).filter((index) => left[index] === 0);
  for (const index of free) {
    for (const next of after[index]) {
      layer[next] = Math.max(layer[next], layer[index] + 1);
      left[next] -= 1;
      if (left[next] === 0) free.push(next);
    }
  }
  return layer;
}

/** Put the nodes that wait for nothing next to the nodes that wait for them. */
function pulled(layer, { before, after }) {
  return layer.map((own, index) => (before[index].length || !after[index].length ? own : Math.min(...after[index].map((next) => layer[next])) - 1));
}

/** The points of each line: its two ends, and between them one in each layer that it crosses, so that it passes between boxes. */
function linesOf({ nodes, edges }, layer) {
  let next = nodes.length;
  let room = MOST_BENDS;
  return edges.map(({ from, to }) => {
    const bends = Math.max(0, layer[to] - layer[from] - 1);
    if (bends > room) return [from, to];
    room -= bends;
    const between = Array.from({ length: bends }, (_, at) => {
      layer.push(layer[from] + 1 + at);
      return next + at;
    });
    next += bends;
    return [from, ...between, to];
  });
}

/** The nodes and bends of each layer, in an order in which few lines cross: each is near the middle of its neighbours. */
function ordered(layer, lines) {
  const rows = Array.from({ length: Math.max(...layer) + 1 }, () => []);
  layer.forEach((own, index) => rows[own].push(index));
  const pieces = lines.flatMap((points) => points.slice(1).map((to, at) => ({ from: points[at], to })));
  const { before, after } = neighbours({ nodes: layer, edges: pieces });
  const place = [];
  const note = (row) => row.forEach((index, at) => { place[index] = at - row.length / 2; });
  rows.forEach(note);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 === 0 ? before : after;
    for (const row of sweep % 2 === 0 ? rows : rows.toReversed()) {
      const middle = new Map(row.map((index) => [index, side[index].length ? side[index].reduce((sum, next) => sum + place[next], 0) / side[index].length : place[index]]));
      row.sort((one, other) => middle.get(one) - middle.get(other));
      note(row);
    }
  }
  return rows;
}

function laidOut(graph) {
  const ways = neighbours(graph);
  const layer = pulled(layersOf(graph, ways), ways);
  const lines = linesOf(graph, layer);
  const rows = ordered(layer, lines);
  const size = (index) => (index < graph.nodes.length ? HEIGHT : BEND) + GAP_Y;
  const heights = rows.map((row) => row.reduce((sum, index) => sum + size(index), 0));
  const height = Math.max(...heights);
  const at = [];
  rows.forEach((row, column) => {
    let y = MARGIN + (height - heights[column]) / 2;
    for (const index of row) {
      at[index] = { layer: column, x: MARGIN + column * (WIDTH + GAP_X), y, middle: y + (size(index) - GAP_Y) / 2 };
      y += size(index);
    }
  });
  return { at, lines, width: 2 * MARGIN + rows.length * (WIDTH + GAP_X) - GAP_X, height: 2 * MARGIN + height - GAP_Y };
}

/**
 * The place for a graph, which scrolls. When it is first seen, it is scrolled so that the page's job is in the middle. If that
 * would cut off a failed job for which the page's job waits, the failed job is at the left instead.
 */
export function frame(label) {
  const place = h('div', { class: 'graph', tabindex: 0, role: 'region', 'aria-label': label });
  const observer = new ResizeObserver(() => {
    if (place.clientWidth === 0 || !place.inView) return;
    const { job, failed } = place.inView;
    const left = job.x + WIDTH / 2 - place.clientWidth / 2;
    const isCut = failed !== null && failed.x < left;
    place.scrollTo(isCut ? failed.x - MARGIN : left, (isCut ? failed : job).middle - place.clientHeight / 2);
    observer.disconnect();
  });
  observer.observe(place);
  return place;
}
