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

// sum adds up the buckets that begin in [from, to): what was answered, what
// failed, the worst share of answers in one bucket, latencies, an error.
function sum(from, to) {
  const o = chart.ops, s = { ok: 0, err: 0, worst: 1, p50: 0, max: 0, why: -1 };
  if (!o) return s;
  const a = Math.max(0, Math.floor(from / o.width) - o.first), b = Math.min(o.ok.length, Math.max(Math.floor(from / o.width) + 1, Math.floor(to / o.width)) - o.first);
  let weight = 0;
  for (let i = a; i < b; i++) {
    const all = o.ok[i] + o.err[i];
    if (!all) continue;
    s.ok += o.ok[i]; s.err += o.err[i];
    s.worst = Math.min(s.worst, o.ok[i] / all);
    if (o.ok[i]) { s.p50 += o.p50[i] * o.ok[i]; weight += o.ok[i]; s.max = Math.max(s.max, o.max[i]); }
    if (o.why[i] !== undefined) s.why = o.why[i];
  }
  if (weight) s.p50 /= weight;
  return s;
}

// facts lists what was true at t, as pairs of a name and a value.
function factsAt(t) {
  const rows = [], width = chart.ops ? chart.ops.width : 100;
  if (chart.ops) {
    const s = sum(t, t + width), all = s.ok + s.err;
    rows.push(["answered", all ? (100 * s.ok / all).toFixed(s.err ? 1 : 0) + " % (" + s.ok + " of " + all + " in " + took(width).replace(".00", "") + ")" : "no operation"]);
    if (s.ok) rows.push(["latency", took(s.p50) + " median, " + took(s.max) + " slowest"]);
    if (s.why >= 0) rows.push(["error", chart.ops.errors[s.why], "err"]);
  }
  for (const group of chart.lanes) {
    const on = [], odd = [];
    for (const row of group.rows) {
      const now = row.spans.find(s => s.f <= t && t < s.t);
      if (!now) continue;
      if (now.l === "on") on.push(row.name);
      else if (now.l !== "off") odd.push(row.name + " " + now.v);
    }
    const all = on.length === group.rows.length && group.rows.length > 1 ? "all " + on.length : on.join(", ");
    const text = [all, ...odd].filter(Boolean).join(", ") || "none";
    rows.push([group.short, text]);
  }
  for (const f of chart.faults) {
    if (f.from <= t && t <= f.to) rows.push(["fault", f.id + " " + f.kind + ", " + took(t - f.from) + " after it struck"]);
  }
  return rows;
}
