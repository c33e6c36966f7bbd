// The dashboard: draws what /events tells. Nothing is kept but what is on the screen.
"use strict";

const VIEWS = { overview: "Overview", stream: "Task stream", functions: "Functions", workers: "Workers", graphs: "Graphs",
  profile: "Profile", objects: "Objects", failures: "Failures", log: "Log" };
const KEPT_POINTS = 600, KEPT_BARS = 5000;
const byId = (id) => document.getElementById(id);
const charts = { times: [] };
let bars = [], news = null, view = "overview";
const sorting = {};

// ---- numbers for people

const whole = (n) => Number(n).toLocaleString("en");
const bytes = (n) => n >= 2 ** 30 ? (n / 2 ** 30).toFixed(2) + " GiB" : n >= 2 ** 20 ? (n / 2 ** 20).toFixed(1) + " MiB"
  : n >= 1024 ? (n / 1024).toFixed(0) + " KiB" : n + " B";
const seconds = (s) => s === 0 ? "0" : s < 1e-3 ? (s * 1e6).toFixed(0) + " µs" : s < 1 ? (s * 1e3).toFixed(1) + " ms"
  : s < 120 ? s.toFixed(2) + " s" : s < 7200 ? (s / 60).toFixed(1) + " min" : (s / 3600).toFixed(1) + " h";
const percent = (p) => p.toFixed(0) + " %";
const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB");

// ---- elements

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Columns: [key, title, format]. A format makes a column of numbers; a function as fourth entry makes the cell.
function table(id, columns, rows, empty, caption = "") {
  const order = sorting[id];
  if (order) rows = [...rows].sort((a, b) => (a[order.key] < b[order.key] ? -1 : a[order.key] > b[order.key] ? 1 : 0) * order.sign);
  const holder = byId("table-" + id), focused = document.activeElement?.dataset?.key;
  if (!rows.length) return holder.replaceChildren(element("p", {}, empty));
  const heads = columns.map(([key, title, format]) => {
    const sorted = order?.key === key ? (order.sign > 0 ? "ascending" : "descending") : "none";
    const sort = () => {
      sorting[id] = { key, sign: order?.key === key ? -order.sign : (format ? -1 : 1) };
      draw();
    };
    return element("th", { scope: "col", class: format && "number", "aria-sort": sorted },
      key ? element("button", { "data-key": id + key, onclick: sort }, title + (sorted === "none" ? "" : sorted === "ascending" ? " ▲" : " ▼")) : title);
  });
  const body = rows.map((row) => element("tr", {}, ...columns.map(([key, , format, cell]) =>
    element("td", { class: format && "number" }, cell ? cell(row) : String(format ? format(row[key]) : row[key] ?? "")))));
  holder.replaceChildren(element("table", {}, caption ? element("caption", {}, caption) : null,
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body)));
  if (focused) holder.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

// ---- what can be asked

async function ask(method, path) {
  try {
    const answer = await fetch(path, { method, headers: { "X-Scaler": "dashboard" } });
    const text = await answer.text();
    return answer.ok ? JSON.parse(text) : { text: text.trim() };
  } catch (error) {
    return { text: "the dashboard does not answer: " + error.message };
  }
}

function say(text) {
  byId("said").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { byId("said").textContent = ""; }, 8000);
}

async function act(what, question) {
  if (confirm(question)) say((await ask("POST", what)).text);
}

async function explain(task) {
  const told = await ask("GET", "api/explain?task=" + encodeURIComponent(task));
  byId("because").textContent = told.text;
}

const why = (row) => element("button", { onclick: () => { show("failures"); byId("why-task").value = row.task; explain(row.task); } }, "why");
const cancel = (row) => element("button", { onclick: () => act("api/cancel?task=" + encodeURIComponent(row.task),
  `Cancel task ${row.task} (${row.function})?`) }, "cancel");
const drain = (row) => element("button", { onclick: () => act("api/drain?worker=" + row.id,
  `Have worker ${row.name} leave? It finishes what it has begun.`) }, "drain");

// ---- charts

function layout(more = {}) {
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
  return { margin: { l: 44, r: 8, t: 8, b: 28 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 11 },
    showlegend: false, uirevision: "kept", ...more, xaxis: { ...axis, type: "date", tickformat: "%H:%M:%S", ...more.xaxis }, yaxis: { ...axis, rangemode: "tozero", ...more.yaxis } };
}
const quiet = { displayModeBar: false, responsive: true };

function lines(id, ...names) {
  const x = charts.times.map((t) => new Date(t * 1000));
  const traces = names.map(([name, label, factor = 1]) => ({ x, y: (charts[name] || []).map((v) => v * factor), name: label, mode: "lines",
    line: { width: 1.6 }, hovertemplate: `%{y:.4~g} ${label}<extra></extra>` }));
  Plotly.react("chart-" + id, traces, layout({ showlegend: names.length > 1, legend: { orientation: "h", y: 1.15, x: 0 } }), quiet);
}

function drawStream() {
  const functions = new Map(), rows = [...new Set(bars.map((bar) => bar[2]))].sort();
  for (const bar of bars) {
    if (!functions.has(bar[3])) functions.set(bar[3], []);
    functions.get(bar[3]).push(bar);
  }
  const bad = getComputedStyle(document.documentElement).getPropertyValue("--bad");
  const traces = [...functions].map(([name, some]) => ({ type: "bar", orientation: "h", name, base: some.map((b) => new Date(b[0] * 1000)),
    x: some.map((b) => b[1] * 1000), y: some.map((b) => b[2]), width: 0.8, offset: -0.4,
    marker: { line: { width: some.map((b) => b[4] ? 0 : 2), color: bad } },
    text: some.map((b) => `${b[7]} ${b[6]}, ${seconds(b[1])}${b[5] > 1 ? `, ${b[5]} items` : ""}`), textposition: "none",
    hovertemplate: name.replaceAll("<", "&lt;") + "<br>%{text}<extra></extra>" }));
  Plotly.react("chart-stream", traces, layout({ showlegend: true, legend: { orientation: "h" }, barmode: "overlay", margin: { l: 150, r: 8, t: 8, b: 28 },
    yaxis: { type: "category", categoryarray: rows, categoryorder: "array", automargin: true } }), { responsive: true, displaylogo: false });
}

// ---- views

const DRAW = {
  overview() {
    const o = news.overview;
    const numbers = [["Tasks a second", whole(Math.round(o.rate))], ["Waiting", whole(o.waiting + o.ready)], ["With workers", whole(o.assigned)],
      ["Succeeded", whole(o.succeeded)], ["Failed", whole(o.failed), o.failed > 0], ["Cancelled", whole(o.cancelled)],
      ["Slots in use", `${whole(o.busy_slots)} of ${whole(o.slots)}`], ["Workers", whole(o.workers)],
      ["Scheduler CPU", percent(o.cpu)], ["Scheduler memory", bytes(o.memory)], ["Event loop lag", seconds(o.lag)], ["Round trip", seconds(o.round_trip)]];
    byId("numbers").replaceChildren(...numbers.map(([name, value, bad]) =>
      element("div", { class: bad && "bad" }, element("dt", {}, name), element("dd", {}, value))));
    byId("hints").replaceChildren(...news.waiting.filter((w) => !w.offered).map((w) =>
      element("p", { class: "bad" }, `${whole(w.tasks)} tasks wait for a worker that offers ${w.needs}; none of those here does`)));
    lines("rate", ["rate", "tasks/s"], ["failure_rate", "failed/s"]);
    lines("queue", ["queue", "waiting"], ["held", "with workers"]);
    lines("slots", ["slots", "slots"], ["busy_slots", "in use"]);
    lines("cpu", ["workers_cpu", "workers", 0.01], ["scheduler_cpu", "scheduler", 0.01]);
    lines("memory", ["workers_memory", "MB, workers", 1e-6], ["scheduler_memory", "MB, scheduler", 1e-6]);
    lines("lag", ["lag", "ms, event loop", 1e3], ["round_trip", "ms, round trip", 1e3]);
    table("managers", [["name", "Name"], ["kind", "Kind"], ["mode", "Mode"], ["most", "Most slots", whole], ["wanted", "Wanted", whole],
      ["starting", "Starting", whole], ["running", "At work", whole], ["failures", "Failures", whole], ["last_failure", "Last failure"]], news.managers, "None is connected.");
    table("clients", [["name", "Name"], ["state", "State"], ["unfinished", "Unfinished tasks", whole]], news.clients, "None is connected.");
  },
  stream() {
    byId("left-out").textContent = news.left_out ? `${whole(news.left_out)} tasks are left out: this is a sample.` : "";
    if (!byId("hold").checked) drawStream();
    table("running", [["task", "Task"], ["function", "Function"], ["worker", "Worker"], ["slot", "Slot", whole], ["seconds", "For", seconds], ["cpu", "CPU", percent],
      ["memory", "Memory", bytes], ["", "", null, why], ["", "", null, cancel]], news.running, "Nothing that has run for long.");
  },
  functions() {
    const some = news.functions.filter((f) => f.wall > 0).slice(0, 60);
    Plotly.react("chart-functions", [{ type: "treemap", labels: some.map((f) => f.name), parents: some.map(() => ""), values: some.map((f) => f.wall),
      text: some.map((f) => seconds(f.wall)), textinfo: "label+text", hovertemplate: "%{label}<br>%{text}<extra></extra>" }], layout({ margin: { l: 4, r: 4, t: 4, b: 4 } }), quiet);
    table("functions", [["name", "Function"], ["succeeded", "Succeeded", whole], ["failed", "Failed", whole], ["unfinished", "Unfinished", whole], ["wall", "Wall time", seconds],
      ["cpu", "CPU time", seconds], ["mean", "Mean", seconds], ["longest", "Longest", seconds], ["memory", "Peak memory", bytes]], news.functions, "No task was submitted yet.");
  },
  workers() {
    const text = byId("filter").value.toLowerCase(), has = (row) => Object.values(row).join(" ").toLowerCase().includes(text);
    const rows = news.workers.filter(has), all = news.overview.workers;
    table("workers", [["name", "Worker"], ["host", "Host"], ["pid", "Pid", String], ["manager", "Manager"], ["slots", "Slots", whole], ["held", "Tasks", whole], ["cpu", "CPU", percent],
      ["memory", "Memory", bytes], ["lag", "Lag", seconds], ["capabilities", "Offers"], ["state", "State"], ["", "", null, drain]], rows, "None is connected.",
      rows.length < all ? `${whole(rows.length)} of ${whole(all)}` : "");
    table("executors", [["worker", "Worker"], ["slot", "Slot", whole], ["pid", "Pid", String], ["state", "State"], ["function", "Function"], ["task", "Task"], ["seconds", "For", seconds],
      ["cpu", "CPU", percent], ["memory", "Memory", bytes]], news.executors.filter(has), "None is known.");
  },
  profile() {
    const list = byId("known-functions"), workers = byId("look-worker"), names = news.functions.map((f) => f.name).join("\n");
    if (list.dataset.names !== names) {
      list.dataset.names = names;
      list.replaceChildren(...news.functions.map((f) => element("option", { value: f.name })));
    }
    const ids = news.workers.map((w) => w.id).join();
    if (workers.dataset.ids !== ids) {
      const chosen = workers.value;
      workers.dataset.ids = ids;
      workers.replaceChildren(element("option", { value: "" }, "all"), ...news.workers.map((w) => element("option", { value: w.id, selected: w.id === chosen }, w.name)));
    }
  },
  graphs() {
    const bar = (g) => element("progress", { max: Math.max(1, g.tasks), value: g.finished + g.failed, "aria-label": `${g.finished + g.failed} of ${g.tasks}` });
    const look = (g) => element("button", { onclick: () => { drawn = g; drawNodes(true); } }, "nodes");
    if (drawn) drawNodes(false);
    table("graphs", [["name", "Graph"], ["client", "Client"], ["", "", null, look], ["", "Progress", null, bar], ["tasks", "Tasks", whole], ["finished", "Finished", whole], ["failed", "Failed", whole],
      ["assigned", "With workers", whole], ["began", "Submitted", clock], ["ended", "Ended", (t) => t ? clock(t) : ""]], news.graphs, "No graph was submitted lately.");
  },
  objects() {
    lines("objects", ["objects_bytes", "MB", 1e-6]);
    const rows = Object.entries(news.objects).map(([name, value]) => ({ name: name.replaceAll("_", " "), value, shown: name.includes("bytes") ? bytes(value) : whole(value) }));
    table("objects", [["name", "What"], ["value", "How much", null, (row) => row.shown]], rows, "The object storage has not said anything yet.");
  },
  failures() {
    const open = new Set([...document.querySelectorAll("#list-failures details[open]")].map((d) => d.dataset.task));
    byId("list-failures").replaceChildren(...(news.failures.length ? news.failures.map((f) => element("details", { "data-task": f.task + f.time, open: open.has(f.task + f.time) },
      element("summary", {}, `${clock(f.time)} ${f.name} (${f.task}) ${f.status}${f.worker ? " on " + f.worker : ""}: ${f.error.split("\n")[0]}`),
      element("pre", {}, [f.error, f.traceback, ...f.attempts.map((a) => "before: " + a)].filter(Boolean).join("\n\n")))) : [element("p", {}, "No task has failed.")]));
  },
  log() {
    const lines = byId("lines"), atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    lines.replaceChildren(...news.log.map((l) => element("div", { class: l.level >= 30 && "bad" }, `${clock(l.time)} ${l.text}`)));
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  },
};

function draw() {
  if (news) DRAW[view]();
}

// ---- the nodes of a graph

const COLOURS = { waiting: "#9aa0a6", ready: "#c9a227", assigned: "#4c8bf5", running: "#1a73e8", "asked back": "#8ab4f8", succeeded: "#34a853",
  failed: "#d93025", cancelled: "#a142f4" };
let drawn = null, asking = false;

async function drawNodes(first) {
  if (asking) return;
  asking = true;
  const told = await ask("GET", "api/graph?graph=" + drawn.number);
  asking = false;
  byId("nodes").hidden = false;
  if (!told.nodes) { byId("nodes-title").textContent = told.text; return; }
  const more = told.shown < told.total ? `, ${whole(told.shown)} of ${whole(told.total)} tasks` : "";
  byId("nodes-title").textContent = told.nodes.length ? `${drawn.name}${more}` : `${drawn.name}: nothing of it is left`;
  const x = [], y = [];
  for (const [from, to] of told.edges) {
    x.push(told.nodes[from].layer, told.nodes[to].layer, null);
    y.push(told.nodes[from].position, told.nodes[to].position, null);
  }
  const line = getComputedStyle(document.documentElement).getPropertyValue("--line");
  const traces = [{ x, y, mode: "lines", line: { width: 1, color: line }, hoverinfo: "skip", showlegend: false }];
  for (const [state, color] of Object.entries(COLOURS)) {
    const some = told.nodes.filter((n) => n.state === state);
    if (some.length) traces.push({ x: some.map((n) => n.layer), y: some.map((n) => n.position), mode: "markers", name: state, customdata: some.map((n) => n.task),
      marker: { color, size: some.map((n) => 10 + 4 * Math.log2(n.count)) },
      text: some.map((n) => `${n.function.replaceAll("<", "&lt;")} ${n.task}${n.count > 1 ? `, ${whole(n.count)} tasks` : ""}`), hovertemplate: "%{text}<br>%{data.name}<extra></extra>" });
  }
  await Plotly.react("chart-nodes", traces, layout({ showlegend: true, legend: { orientation: "h" }, xaxis: { type: "linear", visible: false, tickformat: "" },
    yaxis: { visible: false, rangemode: "normal" } }), quiet);
  if (first) {
    byId("chart-nodes").removeAllListeners("plotly_click");
    byId("chart-nodes").on("plotly_click", (event) => { const task = event.points[0].customdata; if (task) why({ task }).click(); });
    byId("nodes-title").scrollIntoView();
  }
  const order = Object.keys(COLOURS), rank = (n) => (n.state === "running" ? -1 : order.indexOf(n.state));
  table("nodes", [["task", "Task"], ["function", "Function"], ["state", "State"], ["layer", "Layer", whole], ["count", "Tasks", whole],
    ["", "", null, (n) => n.task ? why(n) : ""]], told.nodes.sort((a, b) => rank(a) - rank(b)).slice(0, 200), "Nothing of it is left.");
}

// ---- profiles

let looked = null;

async function beginProfile(event) {
  event.preventDefault();
  const asked = new URLSearchParams({ seconds: byId("look-seconds").value, hertz: byId("look-hertz").value, function: byId("look-function").value, worker: byId("look-worker").value });
  const told = await ask("POST", "api/profile?" + asked);
  if (!told.done) { byId("look-label").textContent = told.text; return; }
  looked = { profile: told.profile, parts: -1 };
  byId("look-stop").disabled = false;
  byId("look-files").hidden = false;
  byId("look-speedscope").href = "api/profile.speedscope.json?profile=" + told.profile;
  byId("look-folded").href = "api/profile.folded?profile=" + told.profile;
  followProfile(looked);
}

async function followProfile(which) {
  while (looked === which) {
    const told = await ask("GET", "api/profile?profile=" + which.profile);
    if (looked !== which) return;
    byId("look-label").textContent = [told.label || told.text, ...(told.missing || []).map((m) => "missing: " + m)].join("; ");
    if (told.flame && told.parts !== which.parts) drawProfile(told);
    which.parts = told.parts;
    if (told.ended || !told.flame) { byId("look-stop").disabled = true; return; }
    await new Promise((done) => setTimeout(done, 500));
  }
}

function drawProfile(told) {
  const f = told.flame;
  Plotly.react("chart-flame", [{ type: "icicle", ids: f.ids, parents: f.parents, labels: f.labels, values: f.seconds, branchvalues: "total", tiling: { orientation: "v" },
    text: f.where, customdata: f.seconds.map((s) => `${seconds(s)}, ${percent(100 * s / (f.seconds[0] || 1))}`), textinfo: "label",
    hovertemplate: "%{label} %{text}<br>%{customdata}<extra></extra>", sort: false }], layout({ margin: { l: 4, r: 4, t: 4, b: 4 } }), quiet);
  table("profile", [["name", "Function"], ["where", "Where"], ["own", "In itself", seconds], ["total", "With what it called", seconds]], told.functions, "No task ran.");
}

// The view that the address names. Not an element's id: the page would jump there.
const here = () => location.hash.replace(/^#\/?/, "");

function show(name) {
  view = name in VIEWS ? name : "overview";
  for (const each of Object.keys(VIEWS)) {
    byId(each).hidden = each !== view;
    const tab = byId("tab-" + each);
    tab.setAttribute("aria-selected", each === view);
    tab.tabIndex = each === view ? 0 : -1;
  }
  if (here() !== view) history.replaceState(null, "", "#/" + view);
  draw();
  // Those that were hidden have not heard that the window has another size now.
  for (const chart of byId(view).querySelectorAll(".chart.js-plotly-plot")) Plotly.Plots.resize(chart);
}

// ---- the stream of events

function take(told) {
  news = told;
  const o = told.overview;
  byId("where").textContent = o.address ? `${o.address} on ${o.host}, version ${o.version}${o.protected ? ", protected" : ""}` : "";
  connection(told.connected, told.connection);
  for (const [name, values] of Object.entries(told.charts)) charts[name] = [...(charts[name] || []), ...values].slice(-KEPT_POINTS);
  bars = [...bars, ...told.stream].slice(-KEPT_BARS);
  draw();
}

function connection(there, text) {
  const shown = byId("connection");
  if (shown.textContent !== text) shown.textContent = text;
  shown.classList.toggle("away", !there);
}

function listen() {
  const source = new EventSource("events");
  source.onopen = () => { bars = []; for (const name of Object.keys(charts)) charts[name] = []; };
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.onerror = () => {
    connection(false, "the dashboard's server does not answer; trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

function begin() {
  byId("tabs").append(...Object.entries(VIEWS).map(([name, title], i) => element("button", { role: "tab", id: "tab-" + name, "aria-controls": name,
    "aria-keyshortcuts": String(i + 1), onclick: () => show(name) }, title)));
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], names = Object.keys(VIEWS);
    if (!step) return;
    show(names[(names.indexOf(view) + step + names.length) % names.length]);
    byId("tab-" + view).focus();
  });
  document.addEventListener("keydown", (event) => {
    if (/^[1-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey && !/INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) show(Object.keys(VIEWS)[event.key - 1]);
  });
  byId("filter").addEventListener("input", draw);
  byId("look").addEventListener("submit", beginProfile);
  byId("look-stop").addEventListener("click", () => looked && ask("POST", "api/profile/stop?profile=" + looked.profile));
  byId("why").addEventListener("submit", (event) => { event.preventDefault(); explain(byId("why-task").value); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("hashchange", () => show(here()));
  show(here());
  listen();
}

begin();
