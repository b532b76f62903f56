"use strict";
// What the time axis shows: the data, the part in view, and what is known
// about one instant. Times are milliseconds after chart.t0.
const chart = JSON.parse(document.getElementById("chart")?.textContent || "null");
const view = { from: 0, to: chart ? chart.span : 1, cursor: null, pick: null };
const shortest = 200; // ms; the buckets hold nothing finer

function look(from, to) {
  const span = Math.min(chart.span, Math.max(shortest, to - from));
  view.from = Math.max(0, Math.min(chart.span - span, from + (to - from - span) / 2));
  view.to = view.from + span;
}

function zoom(at, factor) {
  look(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

// lookAt shows a fault with what led up to it and what followed.
function lookAt(id) {
  const fault = chart.faults.find(f => f.id === id);
  if (!fault) return look(0, chart.span);
  const last = Math.max(fault.from + 1500, ...(fault.marks || []).map(m => m.at));
  const length = last - fault.from;
  look(fault.from - Math.max(600, length * .3), last + Math.max(600, length * .35));
}

const two = n => String(n).padStart(2, "0");
function clock(t, withMS) {
  const d = new Date(chart.t0 + t);
  const s = two(d.getUTCHours()) + ":" + two(d.getUTCMinutes()) + ":" + two(d.getUTCSeconds());
  return withMS ? s + "." + String(d.getUTCMilliseconds()).padStart(3, "0") : s;
}
function took(ms) {
  if (ms < 9.95) return ms.toFixed(1) + " ms";
  return ms < 999.5 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(2) + " s";
}

// ops are the operations, unpacked: running totals of what was answered, the
// slices in which operations failed, and quantiles of latency by level.
const ops = chart && chart.ops ? unpack(chart.ops) : null;

function unpack(o) {
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const raw = bytes(o.ok), n = raw.length / 2, upTo = new Float64Array(n + 1);
  for (let i = 0; i < n; i++) upTo[i + 1] = upTo[i] + raw[2 * i] + 256 * raw[2 * i + 1];
  const bad = [];
  for (let i = 0, at = 0; i < o.bad.length; i += 3) bad.push({ at: at += o.bad[i], failed: o.bad[i + 1], why: o.bad[i + 2] });
  const ms = Float64Array.from({ length: 256 }, (_, v) => v ? o.scale.least * o.scale.ratio ** (v - 1) : 0);
  const levels = o.levels.map(l => ({ width: l.width, p50: bytes(l.p50), p99: bytes(l.p99), max: bytes(l.max) }));
  return { n, width: o.width, upTo, bad, ms, levels, errors: o.errors, slowest: ms[levels.at(-1).max.reduce((a, b) => Math.max(a, b), 0)] };
}

// sum adds up the slices that begin in [from, to): what was answered, what
// failed, the worst share of answers in one of them, an error.
function sum(from, to) {
  const s = { ok: 0, err: 0, worst: 1, why: -1 };
  if (!ops) return s;
  const a = Math.max(0, Math.min(ops.n, Math.floor(from / ops.width))), b = Math.min(ops.n, Math.max(a + 1, Math.floor(to / ops.width)));
  s.ok = ops.upTo[b] - ops.upTo[a];
  let low = 0, high = ops.bad.length;
  while (low < high) { const mid = (low + high) >> 1; if (ops.bad[mid].at < a) low = mid + 1; else high = mid; }
  for (; low < ops.bad.length && ops.bad[low].at < b; low++) {
    const { at, failed, why } = ops.bad[low], good = ops.upTo[at + 1] - ops.upTo[at];
    s.err += failed;
    s.worst = Math.min(s.worst, good / (good + failed));
    s.why = why;
  }
  return s;
}

// latencyAt is that of the slice of a level in which t lies.
function latencyAt(level, t) {
  const i = Math.floor(t / level.width);
  return { p50: ops.ms[level.p50[i] || 0], p99: ops.ms[level.p99[i] || 0], max: ops.ms[level.max[i] || 0] };
}

// facts lists what was true at t, as pairs of a name and a value.
function factsAt(t) {
  const rows = [];
  if (ops) {
    const width = ops.width, s = sum(t, t + width), all = s.ok + s.err;
    rows.push(["answered", all ? (100 * s.ok / all).toFixed(s.err ? 1 : 0) + " % (" + s.ok + " of " + all + " in " + took(width).replace(".00", "") + ")" : "no operation"]);
    const { p50, p99, max } = latencyAt(ops.levels[0], t);
    if (s.ok) rows.push(["latency", took(p50) + " median, " + took(p99) + " p99, " + took(max) + " slowest"]);
    if (s.why >= 0) rows.push(["error", ops.errors[s.why], "err"]);
  }
  for (const group of chart.lanes) {
    const on = [], odd = [];
    for (const row of group.rows) {
      const now = row.spans.find(s => s.f <= t && t < s.t);
      if (!now) continue;
      if (now.l === "on") on.push(group.named ? row.name + " " + now.v : row.name);
      else if (now.l !== "off") odd.push(row.name + " " + now.v);
    }
    const all = !group.named && on.length === group.rows.length && group.rows.length > 1 ? "all " + on.length : on.join(", ");
    const text = [all, ...odd].filter(Boolean).join(", ") || "none";
    rows.push([group.short, text]);
  }
  for (const f of chart.faults) {
    if (f.from <= t && t <= f.to) rows.push(["fault", f.id + " " + f.kind + ", " + took(t - f.from) + " after it struck"]);
  }
  return rows;
}
