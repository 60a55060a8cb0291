"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(hover: none)").matches;
  const hidden = new Set();
  const overTraining = (figure) => ["curves", "interference"].includes(figure.section);

  // "@c0" is the page's variable --c0, "@c0/0.2" the same with that opacity.
  const color = (token) => {
    const [name, alpha] = token.slice(1).split("/");
    const hex = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
    if (!alpha) return hex;
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  };
  const painted = (value) => {
    if (typeof value === "string") return /^@[a-z]+\d*(\/[\d.]+)?$/.test(value) ? color(value) : value;
    if (Array.isArray(value)) return value.map(painted);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, painted(inner)]));
  };

  const axis = (own) => ({ gridcolor: "@grid", zerolinecolor: "@grid", linecolor: "@rule", automargin: true, ...own });
  const layoutOf = (own, height) => painted({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height, margin: { l: 56, r: 14, t: 14, b: 46 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: "@ink" },
    hoverlabel: { bgcolor: "@panel", bordercolor: "@rule", font: { color: "@ink" } },
    dragmode: touch ? false : "zoom", hovermode: "closest", ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
  });
  const options = { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  const draw = (id, traces, layout, height) => {
    const place = document.getElementById("plot-" + id);
    if (height) place.style.height = height + "px";
    Plotly.react(place, painted(traces), layoutOf(layout, height), options);
  };

  const drawFigure = (figure) => {
    const traces = figure.data.map((trace) => overTraining(figure) && hidden.has(trace.variant)
      ? { ...trace, visible: false } : trace);
    draw(figure.id, traces, figure.layout, figure.height);
  };

  const listen = (selector, kind, call) => document.querySelectorAll(selector).forEach((each) =>
    each.addEventListener(kind, () => call(each)));

  listen("button.chip", "click", (chip) => {
    const on = chip.getAttribute("aria-pressed") === "true";
    chip.setAttribute("aria-pressed", String(!on));
    hidden[on ? "add" : "delete"](chip.dataset.variant);
    data.figures.filter(overTraining).forEach(drawFigure);
  });

  // The views of one run's routing: its variant and seed, a layer and a step are chosen.
  const chosen = (name) => document.getElementById("choose-" + name);
  const currentRun = () => {
    const ofVariant = data.routing.filter((run) => run.variant === chosen("variant").value);
    return ofVariant.find((run) => String(run.seed) === chosen("seed").value) || ofVariant[0];
  };
  const fill = (select, values, texts) => {
    const before = select.value;
    select.replaceChildren(...values.map((value, index) => new Option(texts ? texts[index] : value, value)));
    if (values.map(String).includes(before)) select.value = before;
  };
  const prepare = () => {
    const run = currentRun();
    fill(chosen("seed"), data.routing.filter((each) => each.variant === run.variant).map((each) => each.seed));
    const layers = run.layers.map((layer) => "layer " + layer);
    fill(chosen("layer"), ["all", ...run.layers.keys()], ["all layers", ...layers]);
    chosen("step").max = run.steps.length - 1;
  };

  const diverging = (top) => ({ zmin: 0, zmid: 1, zmax: top, colorscale: [[0, "@low"], [0.5, "@mid"], [1, "@high"]],
    colorbar: { thickness: 10, outlinewidth: 0, len: 1 }, xgap: 1, ygap: 2 });
  const topOf = (nested) => Math.max(2, Math.min(4, nested.flat(Infinity).reduce((a, b) => Math.max(a, b), 0)));

  const drawLoad = (run) => {
    const at = Math.min(Number(chosen("step").value), run.steps.length - 1);
    chosen("step").nextElementSibling.value = "step " + run.steps[at];
    const experts = run.load[0][0].length, devices = run.devices ? run.devices.pairs[0][0].length : 0;
    const borders = [...Array(Math.max(0, devices - 1)).keys()].map((index) => {
      const x = (index + 1) * experts / devices - 0.5;
      return { type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line: { color: "@ink", width: 1.5 } };
    });
    draw("load", [{ type: "heatmap", z: run.load[at], y: run.layers.map((layer) => "layer " + layer),
      hovertemplate: "%{y}, expert %{x}: %{z:.2f} of a fair share<extra></extra>", ...diverging(topOf(run.load)) }],
    { xaxis: { title: { text: "expert" }, showgrid: false }, yaxis: { autorange: "reversed", showgrid: false },
      shapes: borders }, 110 + 34 * Math.max(3, run.layers.length));
  };

  const drawDevices = (run) => {
    if (!run.devices) return;
    const layer = chosen("layer").value, count = chosen("count").value, steps = run.devices[count];
    const share = (step, device) => layer === "all"
      ? step.reduce((sum, row) => sum + row[device], 0) / step.length : step[Number(layer)][device];
    const traces = steps[0][0].map((_, device) => ({ type: "scatter", mode: "lines", stackgroup: "all",
      name: "group " + device, x: run.steps, y: steps.map((step) => share(step, device)),
      line: { width: 1, color: "@paper" }, fillcolor: `@c${device % 8}/0.8`, hovertemplate: "%{y:.1%}" }));
    draw("devices", traces, { hovermode: "x unified", yaxis: { range: [0, 1], tickformat: ".0%",
      title: { text: "share of " + chosen("count").selectedOptions[0].text } }, xaxis: { title: { text: "step" } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { l: 56, r: 14, t: 40, b: 46 } });
  };

  const drawDomains = (run) => {
    if (!run.lift) return;
    const layer = chosen("layer").value;
    const mean = (rows) => rows[0].map((_, expert) => rows.reduce((sum, row) => sum + row[expert], 0) / rows.length);
    const z = run.lift.map((rows) => layer === "all" ? mean(rows) : rows[Number(layer)]);
    draw("domains", [{ type: "heatmap", z, y: run.domains, ...diverging(topOf(z)),
      hovertemplate: "%{y}, expert %{x}: %{z:.2f} times as often as overall<extra></extra>" }],
    { xaxis: { title: { text: "expert" }, showgrid: false }, yaxis: { autorange: "reversed", showgrid: false } },
    110 + 40 * Math.max(2, run.domains.length));
  };

  const drawRouting = () => {
    if (!data.routing.length) return;
    prepare();
    [drawLoad, drawDevices, drawDomains].forEach((each) => each(currentRun()));
  };

  const drawAll = () => {
    data.figures.forEach(drawFigure);
    drawRouting();
  };
  if (data.routing.length) {
    fill(chosen("variant"), [...new Set(data.routing.map((run) => run.variant))]);
    fill(chosen("count"), ["pairs", "tokens"], ["chosen pairs", "tokens received"]);
    prepare();
    chosen("step").value = chosen("step").max;
    listen(".controls select", "change", drawRouting);
    listen(".controls input", "input", () => drawLoad(currentRun()));
  }
  dark.addEventListener("change", drawAll);
  drawAll();
  document.documentElement.dataset.drawn = "true";
})();
