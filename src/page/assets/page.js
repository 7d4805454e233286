"use strict";
// The page is complete without this script. It adds: theme, zoom and hover of charts, filters, sorting, and the threshold slider.
// The state is in the fragment of the address, so that links into the page work: #filter=cat,dog  #show=wrong  #threshold=0.8
const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
const one = (selector, root) => (root || document).querySelector(selector);
const data = (id) => { const script = document.getElementById(id); return script && JSON.parse(script.textContent); };
const root = document.documentElement;
root.classList.add("js");

// ---- theme
const theme = one(".theme");
try { const kept = localStorage.getItem("runner-theme"); if (kept) root.dataset.theme = kept; } catch (error) { /* no storage */ }
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
const nameTheme = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("runner-theme", root.dataset.theme); } catch (error) { /* no storage */ }
  nameTheme();
});
nameTheme();

// ---- charts
const add = (parent, name, attributes, text) => {
  const element = document.createElementNS(parent.namespaceURI, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
};
const ticks = (low, high, most) => {
  const span = high - low;
  if (!(span > 0)) return [low];
  const decade = Math.pow(10, Math.floor(Math.log10(span / most)));
  const step = [1, 2, 5, 10, 20].map((it) => it * decade).find((it) => span / it <= most);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + span * 1e-9; at++) found.push(at * step);
  return found;
};
const shown = (value, chart, span) => {
  if (value === null) return "-";
  if (chart.percent) return (value * 100).toFixed(span !== undefined ? (span < 0.05 ? 1 : 0) : 2) + " %";
  if (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)) return value.toExponential(span === undefined ? 2 : 0);
  return value.toFixed(span === undefined ? 4 : span < 0.02 ? 4 : span < 0.2 ? 3 : span < 5 ? 2 : 0);
};

function makeChart(figure) {
  const chart = data(figure.dataset.chart), svg = one("svg.plot", figure), readout = one(".readout", figure);
  const xs = Array.from(new Set(chart.series.flatMap((line) => line.points.map((point) => point[0])))).sort((a, b) => a - b);
  if (!xs.length) return;
  const whole = [xs[0], xs[xs.length - 1]];
  let view = whole.slice(), cursor = null, from = null, geometry = null;

  function draw() {
    const width = Math.max(260, Math.round(figure.clientWidth)), height = Math.round(Math.min(300, Math.max(210, width * 0.58)));
    const left = chart.percent ? 48 : 52, right = width - 10, top = 22, bottom = height - 30;
    const pad = Math.max((view[1] - view[0]) * 0.02, view[1] === view[0] ? 0.5 : 0);
    const x0 = view[0] - pad, x1 = view[1] + pad;
    const values = chart.series.flatMap((line) => line.points.filter((p) => p[1] !== null && p[0] >= x0 && p[0] <= x1).map((p) => p[1]));
    let low = Math.min(...values), high = Math.max(...values);
    if (!values.length) { low = 0; high = 1; }
    const room = Math.max((high - low) * 0.08, Math.abs(high) * 0.01, 1e-6);
    if (chart.percent) { low = Math.max(low - room, -0.005); high = Math.min(high + room, 1.008); } else { low = low >= 0 && low < high / 2 ? 0 : low - room; high += room; }
    const px = (x) => left + (x - x0) / (x1 - x0) * (right - left), py = (y) => bottom - (y - low) / (high - low) * (bottom - top);
    geometry = { x0, x1, left, right, top, bottom, px, py };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const clip = add(svg, "clipPath", { id: figure.dataset.chart + "-clip" });
    add(clip, "rect", { x: left, y: top - 6, width: right - left, height: bottom - top + 12 });
    chart.bands.forEach((band, at) => {
      const start = Math.max(px(band.from), left), end = Math.min(px(band.to), right);
      if (end <= start) return;
      if (at % 2) add(svg, "rect", { class: "zone", x: start, y: top, width: end - start, height: bottom - top });
      if (end - start > band.name.length * 7 + 6) add(svg, "text", { x: (start + end) / 2, y: 13, "text-anchor": "middle" }, band.name);
    });
    for (const value of ticks(low, high, 6)) {
      if (chart.percent && (value < -1e-9 || value > 1 + 1e-9)) continue;
      add(svg, "line", { class: "grid", x1: left, x2: right, y1: py(value), y2: py(value) });
      add(svg, "text", { x: left - 7, y: py(value) + 4, "text-anchor": "end" }, shown(value, chart, high - low));
    }
    for (const value of ticks(view[0], view[1], Math.min(10, Math.floor(width / 50))).filter(Number.isInteger)) {
      add(svg, "text", { x: px(value), y: bottom + 17, "text-anchor": "middle" }, value);
    }
    add(svg, "text", { x: right, y: bottom + 28, "text-anchor": "end" }, chart.x);
    add(svg, "line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
    const lines = add(svg, "g", { "clip-path": `url(#${figure.dataset.chart}-clip)` });
    for (const line of chart.series) {
      let path = "", pen = "M";
      for (const [x, y] of line.points) {
        if (y === null) { pen = "M"; continue; }
        path += pen + px(x).toFixed(1) + " " + py(y).toFixed(1); pen = "L";
      }
      add(lines, "path", { class: `line k${line.color}${line.dashed ? " dash" : ""}`, d: path });
      if (line.points.length <= 40 && !line.dashed) {
        for (const [x, y] of line.points) if (y !== null) add(lines, "circle", { class: `dot f${line.color}`, cx: px(x), cy: py(y), r: 3.6 });
      }
      const best = line.best === null ? null : line.points[line.best];
      if (best && best[1] !== null) add(lines, "circle", { class: "ring", cx: px(best[0]), cy: py(best[1]), r: 6.5 });
    }
    if (cursor !== null && cursor >= x0 && cursor <= x1) {
      add(svg, "line", { class: "cross", x1: px(cursor), x2: px(cursor), y1: top, y2: bottom });
      for (const line of chart.series) {
        const point = line.points.find((it) => it[0] === cursor);
        if (point && point[1] !== null) add(svg, "circle", { class: `dot f${line.color}`, cx: px(cursor), cy: py(point[1]), r: 4.5 });
      }
    }
  }

  function read() {
    readout.replaceChildren();
    if (cursor === null) { readout.textContent = "Point at the chart for values; drag to zoom."; return; }
    const bold = document.createElement("b");
    bold.textContent = chart.x + " " + cursor;
    const values = chart.series.map((line) => [line.name, line.points.find((it) => it[0] === cursor)]).filter((it) => it[1]);
    readout.append(bold, "  " + values.map(([name, point]) => name + " " + shown(point[1], chart)).join("  ·  "));
  }
  const at = (event) => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const g = geometry, x = g.x0 + ((event.clientX - box.left) * scale - g.left) / (g.right - g.left) * (g.x1 - g.x0);
    return Math.min(Math.max(x, view[0]), view[1]);
  };
  const nearest = (x) => xs.reduce((best, it) => Math.abs(it - x) < Math.abs(best - x) ? it : best, xs[0]);
  const zoom = (a, b) => {
    a = Math.max(whole[0], a); b = Math.min(whole[1], b);
    if (b - a >= 1 || (a === whole[0] && b === whole[1])) { view = [a, b]; draw(); }
  };
  const scaled = (factor) => {
    const middle = cursor === null ? (view[0] + view[1]) / 2 : cursor, half = (view[1] - view[0]) * factor / 2;
    zoom(Math.round(middle - half), Math.round(middle + half));
  };
  svg.addEventListener("pointermove", (event) => {
    cursor = nearest(at(event)); draw(); read();
    if (from !== null) {
      const g = geometry, a = g.px(from), b = g.px(at(event));
      add(svg, "rect", { class: "select", x: Math.min(a, b), y: g.top, width: Math.abs(b - a), height: g.bottom - g.top });
    }
  });
  svg.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") { from = at(event); event.preventDefault(); svg.focus(); } });
  addEventListener("pointerup", (event) => {
    if (from === null) return;
    const start = nearest(Math.min(from, at(event))), end = nearest(Math.max(from, at(event)));
    from = null;
    if (end > start) zoom(start, end); else draw();
  });
  svg.addEventListener("pointerleave", () => { if (from === null) { cursor = null; draw(); read(); } });
  svg.addEventListener("dblclick", () => zoom(...whole));
  svg.addEventListener("keydown", (event) => {
    const place = cursor === null ? -1 : xs.indexOf(cursor);
    if (event.key === "ArrowRight") cursor = xs[Math.min(place + 1, xs.length - 1)];
    else if (event.key === "ArrowLeft") cursor = xs[Math.max(place - 1, 0)];
    else if (event.key === "Home") cursor = xs[0];
    else if (event.key === "End") cursor = xs[xs.length - 1];
    else if (event.key === "+" || event.key === "=") scaled(0.5);
    else if (event.key === "-") scaled(2);
    else if (event.key === "0" || event.key === "Escape") zoom(...whole);
    else return;
    event.preventDefault(); draw(); read();
  });
  all("[data-zoom]", figure).forEach((button) => button.addEventListener("click", () => {
    if (button.dataset.zoom === "all") zoom(...whole); else scaled(button.dataset.zoom === "in" ? 0.5 : 2);
  }));
  svg.setAttribute("tabindex", "0");
  if (window.ResizeObserver) new ResizeObserver(draw).observe(figure);
  draw(); read();
}
all("figure[data-chart]").forEach(makeChart);

// ---- tables: click a header to sort; rows without a value stay last
all("table.sortable").forEach((table) => {
  const body = one("tbody", table);
  all("thead th", table).forEach((header, column) => {
    if (!header.hasAttribute("aria-sort")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const first = header.dataset.first || "ascending", other = first === "ascending" ? "descending" : "ascending";
      const order = header.getAttribute("aria-sort") === first ? other : first, sign = order === "ascending" ? 1 : -1;
      all("thead th[aria-sort]", table).forEach((it) => it.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", order);
      const key = (row) => { const cell = row.children[column]; return cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim(); };
      body.append(...all("tr", body).sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const numbers = [Number(x), Number(y)];
        return sign * (numbers.some(Number.isNaN) ? x.localeCompare(y) : numbers[0] - numbers[1]);
      }));
    });
  });
});

// ---- confusion matrix: arrow keys move between cells
all(".matrix").forEach((table) => table.addEventListener("keydown", (event) => {
  const cell = event.target.closest("td"), step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const rows = all("tbody tr", table);
  let row = rows.indexOf(cell.parentElement) + step[0], column = cell.cellIndex + step[1];
  while (rows[row] && rows[row].cells[column]) {
    const link = one("a", rows[row].cells[column]);
    if (link) { link.focus(); return; }
    row += step[0]; column += step[1];
  }
}));

// ---- gallery
const gallery = one(".gallery"), PAGE = 24;
let nShown = PAGE, filter = null;
const facts = gallery ? data("class-names") : null;
const decoded = (text) => { try { return decodeURIComponent(text); } catch (error) { return text; } };
function readFilter(words) {
  const [truth, predicted, part] = words.split(",").map(decoded);
  return { truth: facts.indexOf(truth), predicted: facts.indexOf(predicted), part: part || "valid", words: [truth, predicted] };
}
function showGallery() {
  if (!gallery) return;
  const figures = all("figure", gallery), matching = figures.filter((figure) => {
    if (!filter) return true;
    if (filter.show) return filter.show === "wrong" ? figure.dataset.t !== figure.dataset.p : figure.classList.contains(filter.show);
    return Number(figure.dataset.t) === filter.truth && Number(figure.dataset.p) === filter.predicted && figure.dataset.part === filter.part;
  });
  figures.forEach((figure) => { figure.hidden = true; });
  matching.slice(0, nShown).forEach((figure) => { figure.hidden = false; });
  const n = Math.min(nShown, matching.length), more = one(".more");
  more.hidden = n >= matching.length;
  let text = `${n} of ${matching.length} images`;
  if (filter && filter.words) {
    text += ` of “${filter.words[0]}” predicted as “${filter.words[1]}”`;
    const link = all("a[data-n]").find((it) => it.hash === location.hash);
    if (link && Number(link.dataset.n) > matching.length) text += ` (${link.dataset.n} in all; this page shows only some)`;
  }
  one(".count", gallery.parentElement).textContent = text;
  all("a[href^='#filter='], a[href^='#show=']").forEach((link) => link.setAttribute("aria-current", String(link.hash === (location.hash || "#show=all"))));
}
if (gallery) one(".more").addEventListener("click", () => { nShown += PAGE; showGallery(); });

// ---- threshold
const slider = one("#threshold-slider"), cut = data("thresholds");
const ratio = (a, b) => b > 0 ? (a / b * 100).toFixed(2) + " %" : "undefined";
function showThreshold() {
  if (!slider) return;
  const at = Number(slider.value), positive = one("#positive"), rows = cut.tables[positive ? Number(positive.value) : 0], row = rows[at];
  slider.setAttribute("aria-valuetext", String(cut.thresholds[at]));
  one("#threshold-value").textContent = cut.thresholds[at];
  const put = (id, text) => { const element = document.getElementById(id); if (element) element.textContent = text; };
  let place;
  if (positive) {
    const [tp, fp, tn, fn] = row;
    put("o-sensitivity", ratio(tp, tp + fn)); put("o-specificity", ratio(tn, tn + fp)); put("o-precision", ratio(tp, tp + fp));
    put("o-accuracy", ratio(tp + tn, tp + tn + fp + fn)); put("o-counts", `${tp} true positives, ${fp} false positives, ${fn} missed, ${tn} true negatives`);
    place = [fp / Math.max(fp + tn, 1), tp / Math.max(tp + fn, 1)];
    one("#trade-path").setAttribute("points", rows.map(([a, b, c, d]) => spot(b / Math.max(b + c, 1), a / Math.max(a + d, 1)).join(",")).join(" "));
  } else {
    const [n, nRight] = row, whole = rows[0][0];
    put("o-coverage", ratio(n, whole)); put("o-accuracy", ratio(nRight, n)); put("o-counts", `${n} of ${whole} images decided, ${n - nRight} of them wrongly; ${whole - n} left to a person`);
    place = [n / Math.max(whole, 1), n ? nRight / n : 1];
  }
  const mark = one("#trade-mark"), [x, y] = spot(...place);
  mark.setAttribute("cx", x); mark.setAttribute("cy", y);
}
const spot = (x, y) => {
  const [left, top, right, bottom, low] = cut.frame;
  return [(left + x * (right - left)).toFixed(1), (bottom - (y - low) / (1 - low) * (bottom - top)).toFixed(1)];
};
if (slider) {
  slider.addEventListener("input", showThreshold);
  if (one("#positive")) one("#positive").addEventListener("change", showThreshold);
}

// ---- sweep: a row of the leaderboard lights up its line
function showTrial(number) {
  all("[data-trial]").forEach((it) => it.classList.toggle("lit", it.dataset.trial === number));
  all("path.trial.lit").forEach((it) => it.parentElement.append(it));
}
all("tr[data-trial], path[data-trial]").forEach((it) => {
  it.addEventListener("pointerenter", () => showTrial(it.dataset.trial));
  it.addEventListener("focusin", () => showTrial(it.dataset.trial));
});

// ---- the fragment of the address
function follow(isFirst) {
  const [name, value] = location.hash.slice(1).split(/=(.*)/s);
  if (gallery) {
    nShown = PAGE;
    filter = name === "filter" ? readFilter(value || "") : name === "show" && value !== "all" ? { show: value } : null;
  }
  if (slider && name === "threshold") {
    const wanted = Number(value);
    slider.value = cut.thresholds.reduce((best, it, at) => Math.abs(it - wanted) < Math.abs(cut.thresholds[best] - wanted) ? at : best, 0);
  }
  if (name === "trial") showTrial(value);
  showGallery(); showThreshold();
  const target = { filter: "gallery", show: "gallery", threshold: "calibration", trial: "coordinates" }[name];
  if (target && document.getElementById(target) && !(isFirst && name === "show")) document.getElementById(target).scrollIntoView();
}
addEventListener("hashchange", () => follow(false));
addEventListener("beforeprint", () => all("details").forEach((it) => { it.open = true; }));
follow(true);
