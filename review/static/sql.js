"use strict";
// Everything works without this file but plots, Ctrl+Enter, and columns that write themselves into the query.

const sql = document.getElementById("sql");
sql.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    document.getElementById("query").requestSubmit();
  }
});
for (const button of document.querySelectorAll("button.column")) {
  button.addEventListener("click", () => {
    sql.setRangeText(button.dataset.word, sql.selectionStart, sql.selectionEnd, "end");
    sql.focus();
  });
}

const form = document.getElementById("plot-form");
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    loaded().then(plot).catch(() => say("plotly could not be loaded"));
  });
  const kind = document.getElementById("plot-kind");
  const y = document.getElementById("plot-y");
  kind.addEventListener("change", () => { y.disabled = kind.value === "histogram"; });
}

function say(text) {
  document.getElementById("plot-said").textContent = text;
}

// plotly.js has a map library in it, which writes its styles into the page unless an element of this name is there.
const MAP_STYLES = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

let loading = null;
function loaded() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = resolve;
    script.onerror = reject;
    const written = document.createElement("meta");
    written.id = MAP_STYLES;
    document.head.append(written, script);
  });
  return loading;
}

// Plotly reads some tags in texts: an ampersand and a bracket as themselves leave none.
function asText(value) {
  return typeof value === "string" ? value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;") : value;
}

function plot() {
  const data = JSON.parse(document.getElementById("result-data").textContent);
  const kind = document.getElementById("plot-kind").value;
  const [ix, iy] = ["plot-x", "plot-y"].map((id) => Number(document.getElementById(id).value));
  const wanted = kind === "histogram" ? [ix] : [ix, iy];
  const rows = data.rows.filter((row) => wanted.every((i) => row[i] !== null));
  const trace = { x: rows.map((row) => asText(row[ix])), type: kind === "line" ? "scatter" : kind };
  if (kind !== "histogram") trace.y = rows.map((row) => asText(row[iy]));
  if (kind === "scatter") trace.mode = "markers";
  if (kind === "line") trace.mode = "lines";
  const place = document.getElementById("plot");
  place.hidden = false;
  const titles = { xaxis: { title: { text: asText(data.names[ix]) } } };
  titles.yaxis = { title: { text: kind === "histogram" ? "rows" : asText(data.names[iy]) } };
  const clear = "rgba(0,0,0,0)"; // colours are the page's, by its style sheet
  const layout = { ...titles, margin: { t: 20, r: 20 }, hovermode: "closest", paper_bgcolor: clear, plot_bgcolor: clear };
  Plotly.newPlot(place, [trace], layout, { displayModeBar: false, responsive: true });
  const left = data.rows.length - rows.length;
  say(`${rows.length} rows plotted` + (left ? `, ${left} without a value left out` : ""));
}
