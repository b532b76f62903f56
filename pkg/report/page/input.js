"use strict";
// Mouse, touch, wheel and keys of the time axis.
if (chart) {
  const plot = document.getElementById("plot"), canvas = document.getElementById("canvas");
  const overview = document.getElementById("overview"), tip = document.getElementById("tip"), says = document.getElementById("says");
  const pick = document.getElementById("faults-list");
  let queued = false;

  const paint = () => {
    queued = false;
    readInk();
    const width = plot.clientWidth;
    draw(canvas, width);
    drawOverview(overview, width);
    for (const b of document.querySelectorAll(".jump button")) {
      b.setAttribute("aria-pressed", String(b.dataset.jump === (settings.get("fault") || "") && view.at === view.from + "-" + view.to));
    }
    if (pick) pick.value = view.at === view.from + "-" + view.to ? settings.get("fault") || "" : "";
    root.dataset.drawn = "yes";
  };
  const redraw = () => { if (!queued) { queued = true; requestAnimationFrame(paint); } };

  const jump = id => {
    lookAt(id);
    remember("fault", id);
    view.cursor = null;
    view.at = view.from + "-" + view.to;
    tip.hidden = true;
    redraw();
  };
  for (const b of document.querySelectorAll("[data-jump]")) {
    b.addEventListener("click", () => {
      jump(b.dataset.jump);
      if (b.classList.contains("link")) document.getElementById("axis-title").scrollIntoView({ behavior: "smooth" });
    });
  }
  if (pick) pick.addEventListener("change", () => jump(pick.value));
  for (const b of document.querySelectorAll("[data-step]")) b.addEventListener("click", () => nextFault(+b.dataset.step));
  for (const b of document.querySelectorAll("[data-zoom]")) {
    b.addEventListener("click", () => { zoom(view.cursor ?? (view.from + view.to) / 2, b.dataset.zoom === "in" ? .5 : 2); redraw(); });
  }

  const line = (tag, text, kind) => {
    const e = document.createElement(tag);
    e.textContent = text;
    if (kind) e.className = kind;
    return e;
  };
  const tell = (aloud) => {
    const t = view.cursor, facts = factsAt(t);
    tip.replaceChildren(line("b", clock(t, true) + " UTC"));
    for (const [name, value, kind] of facts) {
      const row = line("div", "", "row");
      row.append(line("span", name), line("span", value, kind));
      tip.append(row);
    }
    tip.hidden = false;
    const x = xOf(t), w = tip.offsetWidth;
    tip.style.left = Math.max(0, Math.min(plan.w - w, x + w + 18 > plan.w ? x - w - 14 : x + 14)) + "px";
    tip.style.top = plan.strip + plan.title + plan.avail + 14 + "px";
    if (aloud) says.textContent = clock(t, true) + ". " + facts.map(f => f[0] + ": " + f[1]).join(". ");
  };
  const point = (t, aloud) => { view.cursor = Math.max(0, Math.min(chart.span, t)); tell(aloud); redraw(); };
  const leave = () => { view.cursor = null; tip.hidden = true; redraw(); };

  // One pointer selects (mouse) or moves (touch); two pinch.
  const down = new Map();
  let pinch = 0;
  const at = e => tOf(Math.max(plan.left, Math.min(plan.w - plan.right, e.clientX - plot.getBoundingClientRect().left)));
  const spread = () => { const [a, b] = [...down.values()]; return Math.abs(a - b); };
  plot.addEventListener("pointerdown", e => {
    if (e.button) return;
    down.set(e.pointerId, e.clientX);
    plot.setPointerCapture(e.pointerId);
    if (down.size === 2) { pinch = spread(); view.pick = null; }
    else if (e.pointerType === "mouse") view.pick = [at(e), at(e)];
    point(at(e));
  });
  plot.addEventListener("pointermove", e => {
    if (down.size === 2 && down.has(e.pointerId)) {
      down.set(e.pointerId, e.clientX);
      const now = spread();
      if (now > 8 && pinch > 8) zoom((view.from + view.to) / 2, pinch / now);
      pinch = now;
      return redraw();
    }
    if (view.pick) view.pick[1] = at(e);
    else if (down.has(e.pointerId)) {
      const by = tOf(down.get(e.pointerId)) - tOf(e.clientX);
      down.set(e.pointerId, e.clientX);
      look(view.from + by, view.to + by);
    }
    point(at(e));
  });
  const up = e => {
    down.delete(e.pointerId);
    if (!view.pick) return;
    const [a, b] = view.pick;
    view.pick = null;
    if (Math.abs(xOf(a) - xOf(b)) > 6) { look(Math.min(a, b), Math.max(a, b)); leave(); } else redraw();
  };
  plot.addEventListener("pointerup", up);
  plot.addEventListener("pointercancel", e => { view.pick = null; up(e); });
  plot.addEventListener("pointerleave", e => { if (!down.size && e.pointerType === "mouse") leave(); });
  plot.addEventListener("dblclick", () => jump(""));
  plot.addEventListener("wheel", e => {
    const sideways = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
    // A page that cannot be scrolled past a chart is a nuisance: the wheel
    // zooms only when asked to.
    if (!sideways && !e.ctrlKey && !e.metaKey && document.activeElement !== plot) return;
    e.preventDefault();
    if (sideways) {
      const by = (e.deltaX || e.deltaY) / plan.w * (view.to - view.from);
      look(view.from + by, view.to + by);
    } else zoom(at(e), Math.exp(Math.max(-80, Math.min(80, e.deltaY)) / 300));
    point(at(e));
  }, { passive: false });

  const nextFault = step => {
    const ids = chart.faults.map(f => f.id), now = ids.indexOf(settings.get("fault"));
    if (ids.length) jump(ids[(now + step + (now < 0 && step < 0 ? 1 : 0) + ids.length) % ids.length]);
  };
  const keys = {
    ArrowLeft: big => move(big ? -20 : -2), ArrowRight: big => move(big ? 20 : 2),
    "+": () => zoom(view.cursor ?? (view.from + view.to) / 2, .6), "=": () => keys["+"](), "-": () => zoom(view.cursor ?? (view.from + view.to) / 2, 1 / .6),
    0: () => jump(""), Home: () => jump(""), n: () => nextFault(1), p: () => nextFault(-1), Escape: leave,
  };
  const move = pixels => {
    const per = (view.to - view.from) / (plan.w - plan.left - plan.right);
    const t = (view.cursor ?? (view.from + view.to) / 2) + pixels * per;
    if (t < view.from || t > view.to) look(view.from + pixels * per * 4, view.to + pixels * per * 4);
    point(t, true);
  };
  plot.addEventListener("keydown", e => {
    const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    act(e.shiftKey);
    redraw();
  });

  // The overview moves the part in view.
  let holding = false;
  const hold = e => {
    const t = (e.clientX - overview.getBoundingClientRect().left - plan.left) / (plan.w - plan.left - plan.right) * chart.span, half = (view.to - view.from) / 2;
    look(t - half, t + half);
    redraw();
  };
  overview.addEventListener("pointerdown", e => { holding = true; overview.setPointerCapture(e.pointerId); hold(e); });
  overview.addEventListener("pointermove", e => { if (holding) hold(e); });
  overview.addEventListener("pointerup", () => { holding = false; });
  overview.addEventListener("pointercancel", () => { holding = false; });

  root.addEventListener("themed", redraw);
  new ResizeObserver(redraw).observe(plot);
  jump(settings.get("fault") || "");
  paint();
}
