// The members as tables: the text of the picture, and more of it.

import { by, bytes, count, el, rate, seconds, state, uptime, visible } from './format.js';

const of = (f, format = count) => m => format(m[f]);
const quantile = (f, q) => m => seconds(m[f]?.[q]);
const sum = o => Object.entries(o ?? {}).map(([g, n]) => `${visible(g)} ${n}`).join(', ') || '–';

// Each column: its head, what is in a cell, and whether that is a number.
const kinds = [
  ['gateway', 'Gateways', [
    ['Workers', m => sum(m.workers)], ['Clients', of('connections'), 1], ['In/s', of('frames_in_per_second', rate), 1], ['Out/s', of('frames_out_per_second', rate), 1],
    ['p50', quantile('ack_latency', 'p50_seconds'), 1], ['p99', quantile('ack_latency', 'p99_seconds'), 1],
    ['In flight', of('in_flight'), 1], ['Queued', of('queued'), 1], ['Lag', of('lag_seconds', seconds), 1],
    ['Redelivered', of('redelivered'), 1], ['Dropped', of('dropped'), 1],
  ]],
  ['worker', 'Workers', [
    ['Group', m => visible(m.group || '–')], ['Links up', of('links_up'), 1], ['Events/s', of('events_per_second', rate), 1],
    ['p50', quantile('handler_latency', 'p50_seconds'), 1], ['p99', quantile('handler_latency', 'p99_seconds'), 1],
    ['In work', of('working'), 1], ['Busy', of('busy'), 1], ['Failed', of('failed'), 1],
  ]],
  ['register', 'Registers', [
    ['Members', of('members'), 1], ['Connections', of('nats_connections'), 1], ['Routes', of('nats_routes'), 1],
    ['Slow', of('nats_slow_consumers'), 1], ['Pending', of('notices_pending'), 1],
  ]],
];

const common = [['Up', of('uptime_seconds', uptime), 1], ['CPU', m => m.cpu_cores?.toFixed(2) ?? '–', 1], ['Memory', of('memory_bytes', bytes), 1], ['Version', m => visible(m.version || '–')]];

const built = new Map();

function table(title, heads) {
  let t = built.get(title);
  if (!t) {
    const body = el('tbody');
    t = el('div', { class: 'scroll', role: 'region', 'aria-label': title, tabindex: 0 },
      el('table', {}, el('caption', {}, title), el('thead', {}, el('tr', {}, ...heads.map(([head, , number]) => el('th', { scope: 'col', class: number ? 'number' : null }, head)))), body));
    t.body = body;
    t.rows = new Map();
    built.set(title, t);
    by('tables').append(t);
  }
  return t;
}

// fill changes what has changed, and leaves the rest: a screen reader is not interrupted.
function fill(t, rows) {
  const seen = new Set();
  rows.forEach(([key, cells], i) => {
    seen.add(key);
    let row = t.rows.get(key);
    if (!row) {
      row = el('tr', {}, ...cells.map((c, n) => el(n === 0 ? 'th' : 'td', { scope: n === 0 ? 'row' : null })));
      t.rows.set(key, row);
    }
    cells.forEach((c, n) => {
      const cell = row.children[n];
      const [text, kind, what] = Array.isArray(c) ? c : [c, null];
      if (what) {
        if (cell.dataset.is !== what + text) { cell.replaceChildren(state(what, text)); cell.dataset.is = what + text; }
        return;
      }
      if (cell.textContent !== text) cell.textContent = text;
      if (kind && cell.className !== kind) cell.className = kind;
    });
    if (t.body.children[i] !== row) t.body.insertBefore(row, t.body.children[i] ?? null);
  });
  for (const [key, row] of t.rows) if (!seen.has(key)) { row.remove(); t.rows.delete(key); }
}

export function fillTables(report, conditions) {
  for (const [role, title, own] of kinds) {
    const columns = [...own, ...common];
    const t = table(title, [['Name'], ['State'], ...columns]);
    const figures = new Map(report[role + 's'].map(m => [m.name, m]));
    fill(t, conditions.filter(c => c.role === role).map(c => {
      const m = figures.get(c.name) ?? {};
      return [c.name, [visible(c.name), [c.why ? `${c.state}: ${visible(c.why)}` : c.state, null, c.state], ...columns.map(([, cell, number]) => [cell(m), number ? 'number' : null])]];
    }));
  }
  const t = table('Links', [['Worker'], ['Gateway'], ['State'], ['Events/s', 0, 1], ['In work', 0, 1], ['Address']]);
  fill(t, report.links.map(l => [`${l.worker}/${l.gateway}`, [visible(l.worker), visible(l.gateway), [l.state, null, l.state === 'up' ? 'ok' : 'degraded'],
    [rate(l.events_per_second), 'number'], [count(l.events), 'number'], visible(l.address)]]));
}
