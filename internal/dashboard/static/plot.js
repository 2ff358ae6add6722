// A plot of the last 15 minutes: two lines, told apart by dashes as well as by colour.

import { by, clock, el } from './format.js';

const svg = 'http://www.w3.org/2000/svg';
const span = 15 * 60e3, height = 150, left = 46, bottom = 18, top = 8;

// round is the next number above that is good on an axis.
function round(n) {
  if (!(n > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 6, 8, 10].find(f => f * unit >= n) * unit;
}

export class Plot {
  // keys are the lines: what they are called, by the field of a sample.
  constructor(id, keys, format) {
    this.box = by(id);
    this.keys = keys;
    this.format = format;
    this.samples = [];
    this.shape = document.createElementNS(svg, 'svg');
    this.shape.setAttribute('role', 'img');
    this.legend = el('p', { class: 'legend' });
    this.values = Object.entries(keys).map(([key, name], i) => {
      const value = el('b');
      this.legend.append(el('span', { class: `line${i}` }, name), ' ', value, ' ');
      return [key, value];
    });
    this.moment = el('span', { class: 'dim' });
    this.legend.append(this.moment);
    this.box.append(this.legend, this.shape);
    this.shape.addEventListener('pointermove', e => this.point(e));
    this.shape.addEventListener('pointerleave', () => { this.at = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  add(samples) {
    this.samples.push(...samples.map(s => ({ ...s, at: Date.parse(s.at) })));
    const newest = this.samples.at(-1)?.at ?? 0;
    this.samples = this.samples.filter(s => s.at > newest - span);
    if (samples.length > 0) this.draw();
  }

  point(e) {
    const x = e.clientX - this.shape.getBoundingClientRect().left;
    let best = null;
    for (const s of this.samples) if (best === null || Math.abs(this.x(s.at) - x) < Math.abs(this.x(best.at) - x)) best = s;
    this.at = best;
    this.draw();
  }

  x(at) { return left + (this.width - left - 4) * (1 - (this.newest - at) / span); }

  draw() {
    this.width = this.box.clientWidth;
    if (this.width === 0) return;
    this.newest = this.samples.at(-1)?.at ?? Date.now();
    const known = Object.keys(this.keys).flatMap(k => this.samples.map(s => s[k])).filter(v => v !== null && v !== undefined);
    const most = round(Math.max(0, ...known));
    const y = v => top + (height - top - bottom) * (1 - v / most);
    const shapes = [];
    const shape = (name, attributes, text) => {
      const s = document.createElementNS(svg, name);
      for (const [k, v] of Object.entries(attributes)) s.setAttribute(k, v);
      if (text !== undefined) s.textContent = text;
      shapes.push(s);
    };
    for (const f of [0, 0.5, 1]) {
      shape('path', { d: `M${left},${y(f * most).toFixed(1)} H${this.width - 4}`, class: 'grid' });
      shape('text', { x: left - 6, y: y(f * most) + 4, class: 'axis end' }, known.length === 0 && f > 0 ? '' : this.format(f * most));
    }
    for (const m of [15, 10, 5, 0]) {
      const x = this.x(this.newest - m * 60e3);
      shape('text', { x, y: height - 4, class: `axis ${m === 0 ? 'end' : m === 15 ? '' : 'middle'}` }, m === 0 ? 'now' : `${m} min ago`.replace(this.width < 420 ? ' min ago' : '#', 'm'));
    }
    Object.keys(this.keys).forEach((key, i) => {
      let d = '', pen = false, before = 0;
      this.samples.forEach((s, n) => {
        if (s[key] === null || s[key] === undefined || s.at - before > 20e3) pen = false;
        before = s.at;
        if (s[key] === null || s[key] === undefined) return;
        const next = this.samples[n + 1]?.[key], x = this.x(s.at).toFixed(1);
        d += `${pen ? 'L' : 'M'}${x},${y(s[key]).toFixed(1)} `;
        if (!pen && (next === null || next === undefined)) shape('circle', { cx: x, cy: y(s[key]).toFixed(1), r: 2, class: `dot${i}` });
        pen = true;
      });
      if (d) shape('path', { d, class: `line line${i}` });
    });
    if (known.length === 0) shape('text', { x: (left + this.width) / 2, y: height / 2, class: 'axis middle' }, 'no data yet');
    const shown = this.at ?? this.samples.at(-1);
    if (this.at) shape('path', { d: `M${this.x(this.at.at).toFixed(1)},${top} V${height - bottom}`, class: 'cross' });
    for (const [key, value] of this.values) value.textContent = this.format(shown?.[key]);
    this.moment.textContent = this.at ? `at ${clock(new Date(this.at.at))}` : '';
    this.shape.setAttribute('aria-label', Object.entries(this.keys).map(([k, name]) => {
      const all = this.samples.map(s => s[k]).filter(v => v !== null && v !== undefined);
      return all.length === 0 ? `${name}: no data` : `${name}: ${this.format(all.at(-1))} now, from ${this.format(Math.min(...all))} to ${this.format(Math.max(...all))}`;
    }).join('; ') + '; last 15 minutes');
    this.shape.setAttribute('width', this.width);
    this.shape.setAttribute('height', height);
    this.shape.replaceChildren(...shapes);
  }
}
