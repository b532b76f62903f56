"use strict";
// Draws the time axis on a canvas, top down: faults, availability, latency,
// one row per pod in each group of lanes, the clock.
const fontStack = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const plan = { w: 0, h: 0, left: 0, right: 12, strip: 24, avail: 92, lat: 84, title: 24, row: 15, foot: 24 };
let ink = {};

function readInk() {
  const style = getComputedStyle(root);
  ink = new Proxy({}, { get: (seen, name) => seen[name] ??= style.getPropertyValue("--" + name).trim() });
}

// measure lays the page out for a width in CSS pixels and returns its height.
function measure(width) {
  plan.w = width;
  plan.left = width < 560 ? 62 : 84;
  let y = plan.strip;
  plan.tracks = [];
  const place = (kind, height, extra) => { plan.tracks.push({ kind, y: y + plan.title, h: height, ...extra }); y += plan.title + height; };
  if (ops) { place("avail", plan.avail); place("lat", plan.lat); }
  for (const group of chart.lanes) place("lanes", group.rows.length * plan.row, { group });
  plan.bottom = y + 6;
  return plan.h = plan.bottom + plan.foot;
}

const xOf = t => plan.left + (t - view.from) / (view.to - view.from) * (plan.w - plan.left - plan.right);
const tOf = x => view.from + (x - plan.left) / (plan.w - plan.left - plan.right) * (view.to - view.from);

function fit(canvas, width, height) {
  const dense = devicePixelRatio || 1;
  canvas.width = Math.round(width * dense); canvas.height = Math.round(height * dense);
  canvas.style.height = height + "px";
  const g = canvas.getContext("2d");
  g.setTransform(dense, 0, 0, dense, 0, 0);
  g.clearRect(0, 0, width, height);
  return g;
}

function write(g, text, x, y, colour, how = {}) {
  g.font = (how.weight || 400) + " " + (how.size || 11.5) + "px " + fontStack;
  g.textAlign = how.align || "left"; g.textBaseline = "middle";
  g.fillStyle = colour;
  g.fillText(text, x, y);
}

// shorten cuts a text to a width; nothing is left when not even a word fits.
function shorten(g, text, width) {
  if (g.measureText(text).width <= width) return text;
  let n = text.length;
  while (n > 2 && g.measureText(text.slice(0, n) + "…").width > width) n--;
  return n > 2 ? text.slice(0, n) + "…" : "";
}

function draw(canvas, width) {
  const g = fit(canvas, width, measure(width));
  drawClock(g);
  drawBands(g);
  for (const track of plan.tracks) {
    if (track.kind === "avail") drawAvailability(g, track);
    else if (track.kind === "lat") drawLatency(g, track);
    else drawLanes(g, track);
  }
  drawFlags(g);
  drawMarks(g);
  if (view.pick) {
    const a = xOf(view.pick[0]), b = xOf(view.pick[1]);
    g.fillStyle = ink.link; g.globalAlpha = .15;
    g.fillRect(Math.min(a, b), plan.strip, Math.abs(b - a), plan.bottom - plan.strip);
    g.globalAlpha = 1;
  }
  if (view.cursor !== null && view.cursor >= view.from && view.cursor <= view.to) {
    g.fillStyle = ink.ink; g.globalAlpha = .55;
    g.fillRect(xOf(view.cursor) - .5, plan.strip, 1, plan.bottom - plan.strip);
    g.globalAlpha = 1;
  }
}

// titled writes a track's name, on a patch that keeps lines from crossing it.
function titled(g, track, text, about) {
  const y = track.y - 10;
  g.font = "600 11.5px " + fontStack;
  const used = g.measureText(text).width + 8;
  g.font = "400 11.5px " + fontStack;
  const wide = g.measureText(about).width, fits = used + wide < plan.w - plan.right;
  g.fillStyle = ink.card;
  g.fillRect(plan.left, y - 8, Math.max(0, used + (fits ? wide + 6 : 0) - plan.left), 16);
  write(g, text, 0, y, ink.ink, { weight: 600 });
  if (fits) write(g, about, used, y, ink.soft);
}

// columns calls paint(x, width, from) for every slice of the axis that is in
// view; step is their width in ms.
function columns(step, paint) {
  for (let t = Math.floor(view.from / step) * step; t < view.to; t += step) {
    // Whole pixels, or the seams between columns would show as stripes.
    const a = Math.max(plan.left, Math.round(xOf(t))), b = Math.min(plan.w - plan.right, Math.round(xOf(t + step)));
    if (b > a) paint(a, b - a, t);
  }
}
const perPixel = () => (view.to - view.from) / (plan.w - plan.left - plan.right);

function drawAvailability(g, track) {
  titled(g, track, "Availability", "share of operations answered, by the slice of " + took(ops.width).replace(".00", "") + " in which they were due");
  grid(g, track, [[0, "0 %"], [.5, "50 %"], [1, "100 %"]]);
  const step = Math.max(1, Math.ceil(perPixel() / ops.width)) * ops.width;
  columns(step, (x, w, t) => {
    const s = sum(t, t + step);
    if (s.ok + s.err === 0) return;
    const good = s.err && s.worst > 1 - 3 / track.h ? 1 - 3 / track.h : s.worst;
    g.fillStyle = ink["ok-fill"];
    g.fillRect(x, track.y + track.h * (1 - good), w, track.h * good);
    if (!s.err) return;
    g.fillStyle = ink["err-fill"];
    g.fillRect(x, track.y, Math.max(w, 1.5), track.h * (1 - good));
  });
}

function drawLatency(g, track) {
  titled(g, track, "Latency", "median, 99th percentile and slowest answer");
  const decades = Math.ceil(Math.log10(Math.max(100, ops.slowest)));
  const high = ms => track.h * Math.max(0, Math.min(1, Math.log10(Math.max(1, ms)) / decades));
  const lines = [], median = [];
  for (let d = 0; d <= decades; d++) lines.push([d / decades, d < 3 ? 10 ** d + " ms" : 10 ** (d - 3) + " s"]);
  // The finest level whose slices are not narrower than a pixel.
  const level = ops.levels.find(l => l.width >= perPixel()) || ops.levels.at(-1);
  columns(level.width, (x, w, t) => {
    const { p50, p99, max } = latencyAt(level, t + level.width / 2);
    if (!max) return median.push(null);
    for (const [ms, fill] of [[max, "lat-fill"], [p99, "p99-fill"]]) {
      g.fillStyle = ink[fill];
      g.fillRect(x, track.y + track.h - high(ms), w, high(ms));
    }
    median.push([x + w / 2, track.y + track.h - high(p50)]);
  });
  grid(g, track, lines);
  g.strokeStyle = ink.lat; g.lineWidth = 1.5; g.beginPath();
  let down = false, last = -1e9;
  for (const p of median) {
    if (!p) { down = false; continue; }
    if (down && p[0] - last < 40) g.lineTo(...p); else g.moveTo(...p);
    down = true; last = p[0];
  }
  g.stroke();
}

function grid(g, track, lines) {
  for (const [share, label] of lines) {
    const y = Math.round(track.y + track.h * (1 - share)) + .5;
    g.fillStyle = ink.line;
    g.fillRect(plan.left, y - .5, plan.w - plan.left - plan.right, 1);
    write(g, label, plan.left - 8, Math.max(track.y + 5, Math.min(y, track.y + track.h - 5)), ink.soft, { align: "right", size: 11 });
  }
}

function drawLanes(g, track) {
  titled(g, track, track.group.name, track.group.about);
  const edge = plan.w - plan.right;
  track.group.rows.forEach((row, i) => {
    const y = track.y + i * plan.row, mid = y + plan.row / 2;
    g.font = "400 11.5px " + fontStack;
    write(g, shorten(g, row.name, plan.left - 10), plan.left - 8, mid, ink.soft, { align: "right" });
    g.fillStyle = ink.line;
    g.fillRect(plan.left, mid - .5, edge - plan.left, 1);
    for (const s of row.spans) {
      if (s.t < view.from || s.f > view.to || s.l === "off") continue;
      const a = Math.max(plan.left, xOf(s.f)), b = Math.min(edge, Math.max(xOf(s.t), a + 1.5));
      g.fillStyle = s.l === "on" ? ink["pod" + chart.pods.indexOf(row.name) % 6] : s.l === "warn" ? ink["warn-fill"] : hatch(g);
      g.fillRect(a, y + 2.5, b - a, plan.row - 5);
      if (s.l === "on" && track.group.named) {
        if (b - a > 8) { g.fillStyle = ink.card; g.fillRect(a, y + 2.5, 1, plan.row - 5); }
        if (b - a > 30) write(g, s.v, a + 5, mid, ink.card, { size: 10.5, weight: 600 });
      } else if (s.l !== "on" && b - a > 60) {
        write(g, s.v, (a + b) / 2, mid, s.l === "warn" ? "#241a00" : ink.ink, { align: "center", size: 10.5, weight: 600 });
      }
    }
  });
}

function hatch(g) {
  if (hatch.of === ink["gone-fill"]) return hatch.made;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const h = tile.getContext("2d");
  h.strokeStyle = ink["gone-fill"]; h.lineWidth = 2; h.beginPath();
  h.moveTo(-1, 7); h.lineTo(7, -1); h.moveTo(-4, 4); h.lineTo(4, -4); h.moveTo(2, 10); h.lineTo(10, 2);
  h.stroke();
  hatch.of = ink["gone-fill"];
  return hatch.made = g.createPattern(tile, "repeat");
}

function inView() {
  return chart.faults.filter(f => f.to >= view.from && f.from <= view.to).map(f => {
    const a = Math.max(plan.left, xOf(f.from)), b = Math.max(a + 2, Math.min(plan.w - plan.right, xOf(f.to)));
    return { fault: f, a, b };
  });
}

function drawBands(g) {
  const seen = inView(), crowded = seen.length * 30 > plan.w;
  for (const { fault, a, b } of seen) {
    g.fillStyle = ink["fault-fill"];
    g.fillRect(a, plan.strip - 2, b - a, plan.bottom - plan.strip + 2);
    if (fault.from < view.from) continue;
    g.fillStyle = ink.fault;
    g.fillRect(a, plan.strip - 10, crowded ? 2 : 1, crowded ? 8 : plan.bottom - plan.strip + 10);
  }
}

// drawFlags names the faults above their bands: as much as fits before the next.
function drawFlags(g) {
  const seen = inView();
  seen.forEach(({ fault, a }, i) => {
    const room = (i + 1 < seen.length ? seen[i + 1].a : plan.w) - a - 12;
    g.font = "600 11.5px " + fontStack;
    const full = fault.id + " " + fault.kind, text = [full, fault.id].find(s => g.measureText(s).width <= room);
    if (!text) return;
    const x = Math.min(a, plan.w - g.measureText(text).width - 10);
    g.fillStyle = ink.fault;
    g.beginPath(); g.roundRect(x, 3, g.measureText(text).width + 10, 17, 4); g.fill();
    write(g, text, x + 5, 12, ink.card, { weight: 600 });
  });
}

// drawMarks writes the milestones of a recovery once there is room for them.
function drawMarks(g) {
  if ((plan.w - plan.left - plan.right) * 1000 / (view.to - view.from) < 9) return; // pixels a second
  const seen = inView().flatMap(({ fault }) => (fault.marks || []).map(m => ({ x: xOf(m.at), at: m.at, text: m.name + " " + took(m.at - fault.from) })))
    .filter(m => m.at >= view.from && m.at <= view.to).sort((a, b) => a.x - b.x);
  g.setLineDash([3, 3]); g.strokeStyle = ink.fault; g.lineWidth = 1;
  for (const { x } of seen) { g.beginPath(); g.moveTo(x, plan.strip); g.lineTo(x, plan.bottom); g.stroke(); }
  g.setLineDash([]);
  const rows = [];
  for (const { x, text } of seen) {
    g.font = "500 11px " + fontStack;
    const w = g.measureText(text).width + 8, at = x + w + 4 > plan.w ? x - w - 3 : x + 3;
    let row = rows.findIndex(end => end < at);
    if (row < 0) row = rows.length;
    rows[row] = at + w;
    const y = plan.strip + plan.title + 3 + row * 17;
    g.fillStyle = ink.card; g.strokeStyle = ink.line;
    g.beginPath(); g.roundRect(at, y, w, 15, 3); g.fill(); g.stroke();
    write(g, text, at + 4, y + 8, ink.fault, { size: 11, weight: 500 });
  }
}

const steps = [10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5];

function drawClock(g) {
  const width = plan.w - plan.left - plan.right, span = view.to - view.from;
  const step = steps.find(s => width * s / span > (s < 1000 ? 92 : 78)) || steps.at(-1);
  const y = plan.bottom + plan.foot / 2 + 2;
  write(g, "UTC", plan.left - 8, y, ink.soft, { align: "right", size: 11 });
  // Ticks stand on round times of the clock, not on round times of the run.
  for (let t = Math.ceil((view.from + chart.t0) / step) * step - chart.t0; t <= view.to; t += step) {
    const x = xOf(t);
    g.fillStyle = ink.line;
    g.fillRect(x - .5, plan.strip, 1, plan.bottom - plan.strip + 4);
    const label = clock(t, step < 1000), half = g.measureText(label).width / 2;
    if (x - half < plan.left - 4 || x + half > plan.w) continue;
    write(g, label, x, y, ink.soft, { align: "center", size: 11 });
  }
}

// drawOverview shows the whole run, and which part of it is in view.
function drawOverview(canvas, width) {
  const h = 36, g = fit(canvas, width, h), scale = (width - plan.left - plan.right) / chart.span, x = t => plan.left + t * scale;
  g.fillStyle = ink.hover; g.fillRect(plan.left, 4, width - plan.left - plan.right, h - 8);
  for (let px = plan.left; ops && px < width - plan.right; px++) {
    const s = sum((px - plan.left) / scale, (px + 1 - plan.left) / scale);
    if (s.ok + s.err === 0) continue;
    g.fillStyle = ink["ok-fill"]; g.fillRect(px, 10, 1.2, h - 20);
    if (s.err) { g.fillStyle = ink["err-fill"]; g.fillRect(px, 10, 1.5, (h - 20) * Math.max(.2, 1 - s.worst)); }
  }
  for (const f of chart.faults) {
    g.fillStyle = ink.fault; g.fillRect(x(f.from), 4, Math.max(2, (f.to - f.from) * scale), 3);
  }
  g.fillStyle = ink.card; g.globalAlpha = .55;
  g.fillRect(plan.left, 3, x(view.from) - plan.left, h - 6);
  g.fillRect(x(view.to), 3, width - plan.right - x(view.to), h - 6);
  g.globalAlpha = 1;
  g.strokeStyle = ink.soft; g.lineWidth = 1.5;
  g.beginPath(); g.roundRect(x(view.from), 3, Math.max(4, x(view.to) - x(view.from)), h - 6, 4); g.stroke();
}
