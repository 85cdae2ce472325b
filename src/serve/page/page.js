"use strict";
const stages = ["decode", "preprocess", "vision", "prefix", "denoise", "postprocess", "encode"];
const get = id => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "polyline"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function row(tag, cells, attributes = {}) {
  const wrapped = cells.map(cell => cell instanceof Element ? cell : element(tag, {}, String(cell)));
  return element("tr", attributes, ...wrapped);
}

function show_tiles(status) {
  const total = status.latency_ms.total, batch = status.batch;
  const tiles = [
    [status.requests_per_second.toFixed(1), "requests a second"],
    [total ? total.p50.toFixed(1) : "-", "ms, p50 of a call"],
    [total ? total.p99.toFixed(1) : "-", "ms, p99 of a call"],
    [status.sessions.length, "sessions"],
    [`${status.waiting} / ${status.running}`, "waiting / running"],
    [batch.calls ? (batch.requests / batch.calls).toFixed(2) : "-", "requests a call"],
  ];
  get("tiles").replaceChildren(...tiles.map(([value, name]) =>
    element("div", { class: "tile" }, element("b", {}, String(value)), element("span", {}, name))));
}

function show_latency(latency) {
  const known = stages.filter(stage => latency[stage]);
  const largest = Math.max(...known.map(stage => latency[stage].p50), 1e-9);
  const bar = value => element("td", { class: "bar" }, element("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" },
    element("rect", { width: 100 * value / largest, height: 10 })));
  const cells = stage => ["p50", "p99", "last"].map(key => latency[stage][key].toFixed(2));
  const rows = known.map(stage => row("td", [stage, bar(latency[stage].p50), ...cells(stage)]));
  if (latency.total) rows.push(row("td", ["whole call", element("td"), ...cells("total")], { class: "total" }));
  get("latency").replaceChildren(row("th", ["stage", "", "p50", "p99", "last"]), ...rows);
  get("samples").textContent = latency.total ? latency.total.samples : 0;
}

function joint_plot(chunk, joint) {
  const { steps, dimensions, values, names, units } = chunk;
  const series = Array.from({ length: steps }, (_, step) => values[step * dimensions + joint]);
  const low = Math.min(...series), high = Math.max(...series), span = high - low || 1;
  const points = series.map((value, step) =>
    `${(100 * step / Math.max(1, steps - 1)).toFixed(2)},${(36 - 32 * (value - low) / span).toFixed(2)}`);
  const number = value => value.toFixed(2);
  return element("div", { class: "joint" },
    element("div", { title: names[joint] }, element("b", {}, names[joint]), ` ${units[joint]}`),
    element("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none" }, element("polyline", { points: points.join(" ") })),
    element("div", { title: `begins at ${number(series[0])}, ends at ${number(series[steps - 1])}` },
      `${number(low)} … ${number(high)}`));
}

function show_chunk(chunk) {
  if (!chunk) return;
  get("chunk_size").textContent = `${chunk.steps} steps of ${chunk.dimensions} values; each plot has its own scale`;
  get("chunk").replaceChildren(...chunk.names.map((_, joint) => joint_plot(chunk, joint)));
}

// An image stays until its successor is there, so that nothing flickers.
function show_cameras(cameras) {
  if (!cameras.length) return;
  const named = new Map([...get("cameras").querySelectorAll("figure")].map(figure => [figure.dataset.camera, figure]));
  get("cameras").replaceChildren(...cameras.map(camera => {
    const figure = named.get(camera.name) || element("figure", { "data-camera": camera.name },
      element("img", { alt: camera.name }), element("figcaption", {}, camera.name));
    const source = `camera/${encodeURIComponent(camera.name)}?${camera.frame}`;
    const image = figure.querySelector("img");
    if (image.getAttribute("src") !== source) image.setAttribute("src", source);
    return figure;
  }));
}

function show(status) {
  const policy = status.policy;
  get("state").className = status.ready ? "ready" : "unready";
  get("state").textContent = status.ready ? "ready" : "not ready";
  get("policy").textContent = [policy.family, policy.precision, `${policy.replicas} × ${policy.device}`,
    policy.robot && `robot ${policy.robot}`, `steps ${policy.steps.join(", ")}`, `up to ${policy.max_batch} a call`,
    `version ${policy.version}`].filter(Boolean).join(" · ");
  show_tiles(status);
  show_latency(status.latency_ms);
  show_cameras(status.cameras);
  show_chunk(status.chunk);
  get("sessions").replaceChildren(row("th", ["peer", "requests", "pending", "last reply, ms"]),
    ...status.sessions.map(session =>
      row("td", [session.peer, session.requests, session.pending, session.prev_total_ms.toFixed(1)])));
  get("outcomes").replaceChildren(row("th", ["outcome", "requests"]),
    ...Object.entries(status.outcomes).map(entry => row("td", entry)));
}

async function refresh() {
  try {
    // Without what an address like http://name:KEY@robot/ carries, with which a page must not ask; the browser sends it.
    show(await (await fetch(new URL("status", location.origin + location.pathname))).json());
  } catch (error) {
    get("state").className = "lost";
    get("state").textContent = "no answer";
  }
  setTimeout(refresh, 1000);
}
refresh();
