// The frames of one client as they go.

import { bytes, by, clock, el, many, visible } from './format.js';
import { follow } from './http.js';

const mostLines = 500;
const lines = by('tap-lines'), scroll = by('tap-scroll'), said = by('tap-state');
let running = null, paused = false, held = 0;

function payload(t) {
  if (t.hidden) return el('i', {}, 'hidden by the gateway');
  if (t.size === 0) return el('i', {}, t.kind === 'open' || t.kind === 'close' ? '' : 'empty');
  if (t.binary !== undefined) {
    const data = atob(t.binary);
    return el('code', {}, Array.from(data.slice(0, 64), c => c.charCodeAt(0).toString(16).padStart(2, '0')).join(' ') + (data.length > 64 ? ' …' : ''));
  }
  return el('code', {}, visible(t.text ?? '') + (t.cut ? ' …' : ''));
}

function add(line) {
  const end = scroll.scrollTop + scroll.clientHeight >= scroll.scrollHeight - 24;
  lines.append(line);
  while (lines.children.length > mostLines) lines.firstChild.remove();
  if (end) scroll.scrollTop = scroll.scrollHeight;
}

const ways = { in: 'from it', out: 'to it' };

function told(event, t) {
  if (event === 'over') { said.textContent = 'The tap has ended after its time. Choose “Tap” to go on.'; return; }
  const skipped = event === 'skipped' || t.way === 'skipped';
  if (event !== 'tapped' && !skipped) return;
  if (paused) { held += skipped ? t.skipped : 1; return; }
  if (skipped) {
    add(el('li', { class: 'skip-line' }, `${many(t.skipped, 'message was', 'messages were')} left out: it was too much`));
    return;
  }
  add(el('li', { class: t.way },
    el('time', {}, clock(t.time, true)), el('span', { class: 'way' }, ways[t.way] ?? t.way),
    el('span', { class: 'kind' }, visible(t.kind || '') + (t.delivery > 1 ? ` again (${t.delivery})` : '')),
    el('span', { class: 'size' }, bytes(t.size)), payload(t)));
}

export async function tap(client) {
  stop();
  const mine = running = new AbortController();
  paused = false;
  by('tap-pause').textContent = 'Pause';
  by('tap-pause').setAttribute('aria-pressed', 'false');
  lines.replaceChildren();
  scroll.hidden = by('tap-buttons').hidden = false;
  said.className = '';
  said.textContent = `Tapping ${client}. Its gateway begins to mirror within a second.`;
  by('tap').scrollIntoView({ block: 'nearest' });
  try {
    await follow('tap?client=' + encodeURIComponent(client), mine.signal, told);
    if (running === mine) ended(said.textContent.startsWith('Tapping') ? 'The tap has ended.' : said.textContent);
  } catch (err) {
    if (mine.signal.aborted) return;
    ended(`The tap of ${client} has ended: ${err.message}`, 'bad');
  }
}

function ended(text, kind = '') {
  running = null;
  by('tap-buttons').hidden = true;
  said.className = kind;
  said.textContent = text;
}

function stop() {
  running?.abort();
  running = null;
}

by('tap-stop').addEventListener('click', () => { stop(); ended('The tap was stopped.'); by('tap-h').tabIndex = -1; by('tap-h').focus(); });
by('tap-pause').addEventListener('click', e => {
  paused = !paused;
  e.target.textContent = paused ? 'Go on' : 'Pause';
  e.target.setAttribute('aria-pressed', String(paused));
  if (!paused && held > 0) add(el('li', { class: 'skip-line' }, `${many(held, 'message')} while it was paused`));
  held = 0;
});
