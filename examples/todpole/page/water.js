// The pond itself: ground, light, lilies, bank, and the rings on its water.
//
// What does not move is drawn once and then only put in its place, in strips of the
// world that the camera shows. What moves is cheap: one pattern for the light, one
// small picture for each leaf.

import { picture } from './tadpole.js';

export const radius = 1000; // of the pond; what lies beyond is land
const reach = 1250; // of what is drawn around it

// shore is how far the water reaches in a direction. It never goes beyond radius.
export const shore = angle =>
  radius * (0.955 + 0.024 * Math.sin(3 * angle + 0.6) + 0.013 * Math.sin(5 * angle + 2.1) + 0.006 * Math.sin(11 * angle));

// Chance that is the same for everybody: all see the same pond.
function dice(seed) {
  return () => {
    seed = (seed + 0x9e3779b9) | 0;
    let z = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

export class Water {
  #ground = paintGround();
  #lit = null; // the same with a light that does not move
  #light = new Light();
  #lilies = lilies();
  #reeds = reeds();
  #bank = bankPath();
  #rings = [];

  // ring starts a ring on the water.
  ring(x, y, size = 34, strength = 0.5) {
    if (this.#rings.length > 90) this.#rings.shift();
    this.#rings.push({ x, y, size, strength, age: 0 });
  }

  // below draws what is under the tadpoles. c draws in units of the world. Where it
  // is not to be lively, the light stands, which costs nothing.
  below(c, view, time, seconds, lively) {
    c.fillStyle = '#0c5561';
    c.fillRect(view.left, view.top, view.width, view.height);
    const ground = lively ? this.#ground : this.#lit ??= this.#withLight();
    const f = ground.width / (2 * reach);
    const x0 = Math.max(view.left, -reach), y0 = Math.max(view.top, -reach);
    const x1 = Math.min(view.left + view.width, reach), y1 = Math.min(view.top + view.height, reach);
    if (x1 > x0 && y1 > y0) {
      c.drawImage(ground, (x0 + reach) * f, (y0 + reach) * f, (x1 - x0) * f, (y1 - y0) * f, x0, y0, x1 - x0, y1 - y0);
    }
    for (const l of this.#lilies) {
      if (!inView(view, l, 130)) continue;
      const { x, y, turn } = afloat(l, time);
      put(c, l.shadow, x + 16, y + 26, l.size * 1.04, turn);
    }
    if (lively) this.#light.draw(c, view, time);
    this.#drawRings(c, view, seconds);
  }

  // above draws what is over them: leaves and land.
  above(c, view, time) {
    for (const l of this.#lilies) {
      if (!inView(view, l, 130)) continue;
      const { x, y, turn } = afloat(l, time);
      put(c, l.leaf, x, y, l.size, turn);
      if (l.flower) put(c, l.flower, x + l.size * 0.16, y - l.size * 0.12, l.size * 0.62, turn * 2 + l.phase);
    }
    const far = Math.max(...[[0, 0], [1, 0], [0, 1], [1, 1]].map(([i, j]) =>
      Math.hypot(view.left + i * view.width, view.top + j * view.height)));
    if (far < radius * 0.88) return; // no land in sight
    c.lineJoin = 'round';
    c.strokeStyle = 'rgb(214 255 236 / .16)'; // where the water laps at it
    c.lineWidth = 26 + 6 * Math.sin(time * 0.9);
    c.stroke(this.#bank.edge);
    c.strokeStyle = 'rgb(232 255 240 / .25)';
    c.lineWidth = 9 + 3 * Math.sin(time * 0.9 + 1);
    c.stroke(this.#bank.edge);
    c.fillStyle = '#53773a';
    c.fill(this.#bank.land, 'evenodd');
    c.strokeStyle = '#3c5c33';
    c.lineWidth = 8;
    c.stroke(this.#bank.edge);
    c.strokeStyle = '#6f9647';
    c.lineWidth = 26;
    c.stroke(this.#bank.grass);
    for (const r of this.#reeds) {
      if (inView(view, r, 120)) put(c, r.image, r.x, r.y, r.size, Math.sin(time * 0.8 + r.phase) * 0.05 + r.turn);
    }
  }

  #withLight() {
    const size = this.#ground.width;
    return picture(size, size, c => {
      c.drawImage(this.#ground, 0, 0);
      c.scale(size / (2 * reach), size / (2 * reach));
      this.#light.draw(c, { left: 0, top: 0, width: 2 * reach, height: 2 * reach }, 0);
    });
  }

  #drawRings(c, view, seconds) {
    this.#rings = this.#rings.filter(r => (r.age += seconds / 1.5) < 1);
    for (const r of this.#rings) {
      if (!inView(view, r, 200)) continue;
      const grown = 1 - (1 - r.age) ** 2, at = r.size * (0.15 + grown);
      c.globalAlpha = r.strength * (1 - r.age) ** 1.6;
      c.lineWidth = 1 + 2 * (1 - r.age);
      c.strokeStyle = '#e6fff6';
      c.beginPath();
      c.arc(r.x, r.y, at, 0, 7);
      c.stroke();
      c.globalAlpha *= 0.5;
      c.strokeStyle = '#043744';
      c.beginPath();
      c.arc(r.x, r.y, at + c.lineWidth * 1.5, 0, 7);
      c.stroke();
    }
    c.globalAlpha = 1;
  }
}

const inView = (v, { x, y }, margin) =>
  x > v.left - margin && x < v.left + v.width + margin && y > v.top - margin && y < v.top + v.height + margin;

function put(c, image, x, y, size, turn) {
  c.translate(x, y);
  c.rotate(turn);
  c.drawImage(image, -size, -size, 2 * size, 2 * size);
  c.rotate(-turn);
  c.translate(-x, -y);
}

// The light on the ground: bright lines where the waves of the surface gather it,
// along the borders of cells that wander. A loop of small pictures that join at all
// sides, made one by one while the page is already there.
class Light {
  static frames = 24;
  static size = 176;
  static cell = 370; // units of the world that one picture covers
  #frames = [];
  #mix = picture(Light.size, Light.size, () => {});
  #points;

  constructor() {
    const chance = dice(7);
    this.#points = Array.from({ length: 15 }, () => ({
      x: chance(), y: chance(), r: 0.035 + 0.05 * chance(), phase: chance() * 7, way: chance() < 0.5 ? 1 : -1,
    }));
  }

  draw(c, view, time) {
    if (this.#frames.length < Light.frames) {
      this.#frames.push(this.#make(this.#frames.length / Light.frames));
      if (this.#frames.length < Light.frames) {
        if (this.#frames.length > 1) time = 0; // until all are there, the first one stands
      }
    }
    const whole = this.#frames.length === Light.frames, at = whole ? (time / 9 * Light.frames) % Light.frames : 0;
    const m = this.#mix.getContext('2d');
    m.globalCompositeOperation = 'copy';
    m.globalAlpha = 1;
    m.drawImage(this.#frames[Math.floor(at)], 0, 0);
    if (whole) { // from one picture to the next
      m.globalCompositeOperation = 'source-over';
      m.globalAlpha = at % 1;
      m.drawImage(this.#frames[(Math.floor(at) + 1) % Light.frames], 0, 0);
    }
    const pattern = c.createPattern(this.#mix, 'repeat');
    const scale = Light.cell / Light.size;
    pattern.setTransform(new DOMMatrix().translate(time * 5 % Light.cell, time * 3 % Light.cell).rotate(18).scale(scale));
    c.globalCompositeOperation = 'screen';
    c.globalAlpha = 0.42;
    c.fillStyle = pattern;
    c.fillRect(view.left, view.top, view.width, view.height);
    c.globalCompositeOperation = 'source-over';
    c.globalAlpha = 1;
  }

  #make(part) {
    const n = Light.size, at = part * 2 * Math.PI;
    const points = this.#points.map(p => ({
      x: p.x + p.r * Math.cos(p.way * at + p.phase), y: p.y + p.r * Math.sin(p.way * at + p.phase),
    }));
    return picture(n, n, c => {
      const image = c.createImageData(n, n);
      for (let y = 0, i = 0; y < n; y++) {
        for (let x = 0; x < n; x++, i += 4) {
          const u = x / n, v = y / n; // bent a little: light draws no straight lines
          const bu = u + 0.022 * Math.sin(2 * Math.PI * (2 * v) + at), bv = v + 0.022 * Math.sin(2 * Math.PI * (2 * u) - at);
          let first = 9, second = 9;
          for (const p of points) {
            let dx = bu - p.x, dy = bv - p.y;
            dx -= Math.round(dx);
            dy -= Math.round(dy);
            const d = dx * dx + dy * dy;
            if (d < first) { second = first; first = d; } else if (d < second) second = d;
          }
          const gap = Math.sqrt(second) - Math.sqrt(first); // 0 on a border
          const line = Math.exp(-gap * 26) * 0.85 + Math.exp(-gap * 90) * 0.5;
          image.data[i] = 178;
          image.data[i + 1] = 240;
          image.data[i + 2] = 214;
          image.data[i + 3] = 255 * Math.min(1, line * (0.35 + 1.6 * first * points.length / 2));
        }
      }
      c.putImageData(image, 0, 0);
    });
  }
}

// paintGround is the whole ground seen through the water: light and sandy at the
// bank, deep and blue in the middle, with stones and weed.
function paintGround() {
  const size = 1700, scale = size / (2 * reach), chance = dice(3);
  return picture(size, size, c => {
    c.scale(scale, scale);
    c.translate(reach, reach);
    const deep = c.createRadialGradient(-90, -60, 60, 0, 0, radius);
    deep.addColorStop(0, '#0a4b66');
    deep.addColorStop(0.45, '#0d6378');
    deep.addColorStop(0.74, '#1b8186');
    deep.addColorStop(0.9, '#4fa78f');
    deep.addColorStop(1, '#a9bf86');
    c.fillStyle = deep;
    c.fillRect(-reach, -reach, 2 * reach, 2 * reach);
    const spot = (most) => {
      const r = most * Math.sqrt(chance()), a = chance() * 2 * Math.PI;
      return [r * Math.cos(a), r * Math.sin(a)];
    };
    for (let i = 0; i < 260; i++) { // hollows and rises
      const [x, y] = spot(radius), r = 60 + 170 * chance();
      const g = c.createRadialGradient(x, y, 0, x, y, r), tone = chance() < 0.55 ? '2 40 62' : '120 214 190';
      g.addColorStop(0, `rgb(${tone} / ${tone[0] === '2' ? 0.15 : 0.075})`);
      g.addColorStop(1, `rgb(${tone} / 0)`);
      c.fillStyle = g;
      c.fillRect(x - r, y - r, 2 * r, 2 * r);
    }
    for (let i = 0; i < 60; i++) { // stones lie together
      const [cx, cy] = spot(radius * 0.97), many = 4 + Math.floor(chance() * 14), wide = 24 + chance() * 70;
      for (let k = 0; k < many; k++) {
        const x = cx + (chance() + chance() - 1) * wide, y = cy + (chance() + chance() - 1) * wide;
        const r = 3 + 12 * chance() ** 2.4, flat = 0.65 + 0.3 * chance(), turn = chance() * 3;
        c.fillStyle = 'rgb(0 28 40 / .28)';
        c.beginPath();
        c.ellipse(x + r * 0.3, y + r * 0.45, r, r * flat, turn, 0, 7);
        c.fill();
        const tone = [[196, 16, 44], [170, 18, 38], [60, 14, 46], [205, 12, 54]][Math.floor(chance() * 4)];
        const light = tone[2] + 10 * chance() - 6;
        const g = c.createRadialGradient(x - r * 0.3, y - r * 0.4, r * 0.1, x, y, r * 1.1);
        g.addColorStop(0, `hsl(${tone[0]} ${tone[1]}% ${light + 12}% / .8)`);
        g.addColorStop(1, `hsl(${tone[0]} ${tone[1]}% ${light - 12}% / .75)`);
        c.fillStyle = g;
        c.beginPath();
        c.ellipse(x, y, r, r * flat, turn, 0, 7);
        c.fill();
      }
    }
    c.lineCap = 'round';
    for (let i = 0; i < 46; i++) { // weed in tufts
      const [cx, cy] = spot(radius * 0.93), blades = 7 + Math.floor(chance() * 9);
      for (let k = 0; k < blades; k++) {
        const a = chance() * 2 * Math.PI, l = 22 + 38 * chance(), bend = (chance() - 0.5) * 40;
        c.strokeStyle = `hsl(${150 + 24 * chance()} ${40 + 20 * chance()}% ${20 + 16 * chance()}% / .62)`;
        c.lineWidth = 2.4 + 3.4 * chance();
        c.beginPath();
        c.moveTo(cx, cy);
        c.quadraticCurveTo(cx + Math.cos(a) * l * 0.6 - Math.sin(a) * bend, cy + Math.sin(a) * l * 0.6 + Math.cos(a) * bend, cx + Math.cos(a) * l, cy + Math.sin(a) * l);
        c.stroke();
      }
    }
  });
}

function lilies() {
  const chance = dice(29), all = [];
  const leaves = [104, 122, 92].map(paintLeaf), shadow = paintShadow(), flowers = ['#ffd7e6', '#fff6df'].map(paintFlower);
  for (let group = 0; group < 17; group++) {
    const a = group * 2.4 + chance(), r = 190 + 690 * Math.sqrt((group + 0.5) / 17);
    const cx = Math.cos(a) * r * 0.93, cy = Math.sin(a) * r * 0.93, many = 2 + Math.floor(chance() * 4), own = [];
    for (let k = 0, tries = 0; k < many && tries < 30; tries++) {
      const size = 30 + 34 * chance(), x = cx + (chance() - 0.5) * 210, y = cy + (chance() - 0.5) * 210;
      if (Math.hypot(x, y) > shore(Math.atan2(y, x)) - size || own.some(o => Math.hypot(o.x - x, o.y - y) < (o.size + size) * 0.86)) continue;
      own.push({ x, y, size, leaf: leaves[Math.floor(chance() * 3)], shadow, turn: chance() * 7, phase: chance() * 7,
        flower: k === 0 && chance() < 0.7 ? flowers[Math.floor(chance() * 2)] : null });
      k++;
    }
    all.push(...own);
  }
  return all;
}

// afloat is where a leaf is: it rocks and turns a little.
const afloat = (l, time) => ({
  x: l.x + 4 * Math.sin(time * 0.42 + l.phase), y: l.y + 3 * Math.cos(time * 0.36 + l.phase),
  turn: l.turn + 0.05 * Math.sin(time * 0.3 + l.phase),
});

const notch = 0.3; // of the leaf, half of it, in radians

function leafPath(c, r) {
  c.beginPath();
  c.moveTo(r * 0.12, 0);
  for (let i = 0; i <= 40; i++) {
    const a = notch + (2 * Math.PI - 2 * notch) * i / 40, w = r * (0.965 + 0.03 * Math.sin(a * 5 + 1));
    c.lineTo(Math.cos(a) * w, Math.sin(a) * w);
  }
  c.closePath();
}

function paintLeaf(hue) {
  return picture(192, 192, c => {
    c.translate(96, 96);
    leafPath(c, 92);
    const g = c.createRadialGradient(-20, -26, 4, 0, 0, 94);
    g.addColorStop(0, `hsl(${hue} 46% 52%)`);
    g.addColorStop(0.7, `hsl(${hue + 8} 48% 38%)`);
    g.addColorStop(1, `hsl(${hue + 14} 50% 27%)`);
    c.fillStyle = g;
    c.fill();
    c.lineWidth = 2.5;
    c.strokeStyle = `hsl(${hue - 16} 52% 62% / .85)`;
    c.stroke();
    c.strokeStyle = `hsl(${hue - 10} 55% 72% / .34)`;
    c.lineWidth = 2;
    for (let i = 1; i < 13; i++) { // veins
      const a = notch + (2 * Math.PI - 2 * notch) * i / 13;
      c.beginPath();
      c.moveTo(Math.cos(a) * 9, Math.sin(a) * 9);
      c.quadraticCurveTo(Math.cos(a + 0.08) * 48, Math.sin(a + 0.08) * 48, Math.cos(a) * 80, Math.sin(a) * 80);
      c.stroke();
    }
    c.fillStyle = 'rgb(255 255 255 / .5)'; // drops
    for (const [x, y, r] of [[-38, -22, 4], [-26, -40, 2.6], [22, 44, 3.2]]) {
      c.beginPath();
      c.arc(x, y, r, 0, 7);
      c.fill();
    }
  });
}

function paintShadow() {
  return picture(128, 128, c => {
    c.translate(64, 64);
    c.filter = 'blur(5px)';
    c.fillStyle = 'rgb(0 26 38 / .34)';
    leafPath(c, 54);
    c.fill();
  });
}

function paintFlower(colour) {
  return picture(128, 128, c => {
    c.translate(64, 64);
    for (const [many, length, wide, shade] of [[9, 56, 15, 0.78], [8, 44, 13, 0.9], [6, 28, 10, 1]]) {
      for (let i = 0; i < many; i++) {
        c.save();
        c.rotate(i * 2 * Math.PI / many + length);
        c.fillStyle = colour;
        c.strokeStyle = 'rgb(170 70 110 / .3)';
        c.lineWidth = 1.4;
        c.filter = `brightness(${shade})`;
        c.beginPath();
        c.moveTo(0, 0);
        c.bezierCurveTo(length * 0.4, -wide * 1.3, length * 0.85, -wide * 0.8, length, 0);
        c.bezierCurveTo(length * 0.85, wide * 0.8, length * 0.4, wide * 1.3, 0, 0);
        c.fill();
        c.stroke();
        c.restore();
      }
    }
    c.fillStyle = '#f4c648';
    c.beginPath();
    c.arc(0, 0, 9, 0, 7);
    c.fill();
  });
}

function bankPath() {
  const ring = (path, grow) => {
    for (let i = 0; i <= 180; i++) {
      const a = i * Math.PI / 90, r = shore(a) + grow;
      path[i ? 'lineTo' : 'moveTo'](Math.cos(a) * r, Math.sin(a) * r);
    }
    path.closePath();
    return path;
  };
  const land = new Path2D();
  land.rect(-9000, -9000, 18000, 18000);
  return { edge: ring(new Path2D(), 0), grass: ring(new Path2D(), 22), land: ring(land, 0) };
}

function reeds() {
  const chance = dice(11), images = [0, 1, 2].map(paintReed), all = [];
  for (let i = 0; i < 190; i++) {
    const a = chance() * 2 * Math.PI, r = shore(a) + 14 + 170 * chance() ** 1.6;
    all.push({ x: Math.cos(a) * r, y: Math.sin(a) * r, size: 24 + 36 * chance(), turn: chance() * 7, phase: chance() * 7, image: images[i % 3] });
  }
  return all;
}

function paintReed(kind) {
  const chance = dice(50 + kind);
  return picture(128, 128, c => {
    c.translate(64, 64);
    c.lineCap = 'round';
    for (let i = 0; i < 26; i++) {
      const a = chance() * 2 * Math.PI, l = 26 + 36 * chance(), bend = (chance() - 0.5) * 26;
      c.strokeStyle = `hsl(${86 + 26 * chance()} ${36 + 18 * chance()}% ${25 + 24 * chance()}%)`;
      c.lineWidth = 2 + 3 * chance();
      c.beginPath();
      c.moveTo(0, 0);
      c.quadraticCurveTo(Math.cos(a) * l * 0.5 - Math.sin(a) * bend, Math.sin(a) * l * 0.5 + Math.cos(a) * bend, Math.cos(a) * l, Math.sin(a) * l);
      c.stroke();
    }
    if (kind === 2) {
      for (let i = 0; i < 5; i++) { // flowers of the meadow
        c.fillStyle = ['#ffe37a', '#fff', '#ffc7d6'][i % 3];
        c.beginPath();
        c.arc((chance() - 0.5) * 70, (chance() - 0.5) * 70, 4.5, 0, 7);
        c.fill();
      }
    }
  });
}
