// The cluster as a picture: registers above, gateways left, workers right, and the links
// between these as lines. The tables say the same, so the picture is one image to those
// who cannot see it.

import { by, el, many, rate, state, visible } from './format.js';

const svg = 'http://www.w3.org/2000/svg';
const mostLabels = 16;
const box = by('picture');
const nodes = new Map(); // role/name → element
let links = [];

const lines = document.createElementNS(svg, 'svg');
lines.setAttribute('aria-hidden', 'true');
const rows = {};
for (const role of ['register', 'gateway', 'worker']) {
  rows[role] = el('div', { class: `nodes ${role}s`, 'aria-hidden': 'true' });
}
box.append(lines, rows.register, rows.gateway, rows.worker);

function node(role, name) {
  const key = `${role}/${name}`;
  let n = nodes.get(key);
  if (!n) {
    n = el('div', { class: 'node' });
    n.title = visible(name);
    n.parts = { head: el('b', {}, visible(name)), state: state('unknown'), line: el('small') };
    n.append(n.parts.head, n.parts.state, n.parts.line);
    n.dataset.member = key;
    nodes.set(key, n);
  }
  return n;
}

// linksUp is how many links are up, and how many there should be: one of each worker to
// each gateway, of those that do not answer too.
export function linksUp(report) {
  return [report.links.filter(l => l.state === 'up').length, Math.max(report.links.length, report.gateways.length * report.workers.length)];
}

// draw shows a report and how its members are.
export function draw(report, conditions) {
  const told = new Map(); // what stands below a name
  for (const r of report.registers) told.set(`register/${r.name}`, r.error ? '' : many(r.nats_connections ?? 0, 'connection'));
  for (const g of report.gateways) told.set(`gateway/${g.name}`, g.error ? '' : `${many(g.connections ?? 0, 'client')} · ${rate(g.frames_in_per_second)}/s`);
  for (const w of report.workers) told.set(`worker/${w.name}`, w.error ? '' : `${visible(w.group)} · ${rate(w.events_per_second)}/s`);
  const now = { register: [], gateway: [], worker: [] };
  for (const c of conditions) {
    if (!now[c.role]) continue;
    const n = node(c.role, c.name);
    n.className = `node ${c.state}`;
    n.parts.state.className = `state ${c.state}`;
    n.parts.state.textContent = c.state;
    n.parts.line.textContent = c.state === 'ok' ? told.get(n.dataset.member) ?? '' : visible(c.why || '');
    now[c.role].push(n);
  }
  for (const [role, list] of Object.entries(now)) {
    const row = rows[role], same = list.length === row.children.length && list.every((n, i) => row.children[i] === n);
    if (!same) row.replaceChildren(...list);
    if (list.length === 0) row.replaceChildren(el('p', { class: 'empty' }, `no ${role}`));
  }
  for (const [key, n] of nodes) if (!n.isConnected) nodes.delete(key);
  // Of one that is gone it is not known; what stood there is shown as broken.
  const gone = new Set(conditions.filter(c => c.role === 'worker' && c.state === 'gone').map(c => c.name));
  links = report.links.filter(l => !gone.has(l.worker));
  for (const worker of gone) for (const g of report.gateways) links.push({ worker, gateway: g.name, state: 'lost' });
  const ok = conditions.filter(c => c.state === 'ok').length, [up, all] = linksUp(report);
  box.setAttribute('aria-label', `Picture of the cluster: ${many(report.registers.length, 'register')}, ${many(report.gateways.length, 'gateway')}, ` +
    `${many(report.workers.length, 'worker')}; ${ok} of ${conditions.length} members are ok, ${up} of ${all} links are up. The tables below have all of it.`);
  connect();
}

// connect draws the lines to where the members stand now.
function connect() {
  const area = box.getBoundingClientRect();
  const at = (n, right) => {
    const r = n.getBoundingClientRect();
    return [(right ? r.right : r.left) - area.left, r.top + r.height / 2 - area.top];
  };
  const most = Math.max(1, ...links.map(l => l.events_per_second ?? 0));
  const shapes = [];
  const shape = (name, attributes, text) => {
    const s = document.createElementNS(svg, name);
    for (const [k, v] of Object.entries(attributes)) s.setAttribute(k, v);
    if (text) s.textContent = text;
    shapes.push(s);
  };
  const labels = [];
  links.forEach((l, i) => {
    const g = nodes.get(`gateway/${l.gateway}`), w = nodes.get(`worker/${l.worker}`);
    if (!g || !w) return;
    const [x1, y1] = at(g, true), [x2, y2] = at(w, false), bend = (x2 - x1) / 2;
    shape('path', {
      d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`, class: `link ${l.state}`,
      'stroke-width': l.state === 'up' ? (1 + 3 * Math.sqrt((l.events_per_second ?? 0) / most)).toFixed(1) : 1.5,
    });
    if (l.state === 'lost' || links.length > mostLabels && l.state === 'up') return;
    // Labels stand near the worker's end, those of one gateway in a column.
    const t = 0.72, u = 1 - t, b = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
    labels.push([b[0] * x1 + b[1] * (x1 + bend) + b[2] * (x2 - bend) + b[3] * x2, b[0] * y1 + b[1] * y1 + b[2] * y2 + b[3] * y2,
      l.state !== 'up' ? l.state : l.events_per_second === null ? '' : `${rate(l.events_per_second)}/s`, l.state, i]);
  });
  labels.sort((a, b) => a[1] - b[1]);
  labels.forEach((l, i) => { if (i > 0 && l[1] - labels[i - 1][1] < 14) l[1] = labels[i - 1][1] + 14; });
  for (const [x, y, text, of] of labels) shape('text', { x, y: y + 4, class: `rate ${of}` }, text);
  // Registers know of each other.
  const registers = [...rows.register.querySelectorAll('.node')];
  registers.slice(1).forEach((r, i) => {
    const [x1, y1] = at(registers[i], true), [x2, y2] = at(r, false);
    if (Math.abs(y1 - y2) < 2) shape('path', { d: `M${x1},${y1} L${x2},${y2}`, class: 'route' });
  });
  lines.replaceChildren(...shapes);
}

new ResizeObserver(connect).observe(box);
