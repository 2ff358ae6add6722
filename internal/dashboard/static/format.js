// Numbers, times and texts as they are shown. Nothing here ever makes markup of a text.

// el makes an element: attributes, then children, texts among them.
export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else e.setAttribute(k, v === true ? '' : v);
  }
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

export const by = id => document.getElementById(id);

// What cannot be seen, or changes how other text is read, is shown as an escape.
const unseen = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;
export function visible(text) {
  return String(text).replace(unseen, c => {
    switch (c) {
      case '\n': return '\\n';
      case '\r': return '\\r';
      case '\t': return '\\t';
    }
    const code = c.codePointAt(0);
    return code < 0x100 ? '\\x' + code.toString(16).padStart(2, '0') : '\\u{' + code.toString(16) + '}';
  });
}

const none = '–';

export function count(n) {
  if (n === null || n === undefined) return none;
  return Math.round(n).toLocaleString('en-US').replaceAll(',', ' ');
}

// rate is a number a second, short.
export function rate(n) {
  if (n === null || n === undefined) return none;
  if (n === 0) return '0';
  if (n < 9.95) return n.toFixed(1);
  if (n < 999.5) return n.toFixed(0);
  if (n < 999500) return (n / 1e3).toFixed(n < 9950 ? 1 : 0) + 'k';
  return (n / 1e6).toFixed(1) + 'M';
}

export function seconds(s) {
  if (s === null || s === undefined) return none;
  if (s === 0) return '0';
  if (s < 0.00095) return (s * 1e6).toFixed(0) + ' µs';
  if (s < 0.00995) return (s * 1e3).toFixed(1) + ' ms';
  if (s < 0.9995) return (s * 1e3).toFixed(0) + ' ms';
  return s.toFixed(s < 9.95 ? 1 : 0) + ' s';
}

export function bytes(n) {
  if (n === null || n === undefined) return none;
  for (const unit of ['B', 'KB', 'MB', 'GB']) {
    if (n < 999.5 || unit === 'GB') return (n < 9.95 && unit !== 'B' ? n.toFixed(1) : n.toFixed(0)) + ' ' + unit;
    n /= 1024;
  }
}

export function uptime(s) {
  if (s === null || s === undefined) return none;
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min` : `${Math.floor(s)} s`;
}

const two = n => String(n).padStart(2, '0');

export function clock(at, millis = false) {
  const t = at instanceof Date ? at : new Date(at);
  const text = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  return millis ? `${text}.${String(t.getMilliseconds()).padStart(3, '0')}` : text;
}

export function day(at) {
  const t = new Date(at);
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(t)}`;
}

export const many = (n, one, more = one + 's') => `${count(n)} ${n === 1 ? one : more}`;

// state is a state with its word: never colour alone.
export const words = { ok: 'ok', degraded: 'degraded', gone: 'gone', unknown: 'unknown' };
export function state(s, text) {
  return el('span', { class: `state ${s}` }, text ?? words[s] ?? s);
}
