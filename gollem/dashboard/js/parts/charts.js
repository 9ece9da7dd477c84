// Charts by uPlot, in the page's colours, as wide as their place. Each has its figures in a table beside it.
import { h } from "../dom.js";

const FONT = "12px Inter, system-ui, sans-serif";
const SERIES = 6;

/** The colour of a custom property as the canvas takes it. */
function colour(name) {
  const probe = h("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function axes(xLabel, yLabel, xValues, yValues) {
  const common = { stroke: colour("--soft"), font: FONT, labelFont: FONT, labelSize: 22, ticks: { show: false } };
  const grid = { stroke: colour("--line"), width: 1 };
  return [
    { ...common, label: xLabel, values: xValues, grid: { show: false }, space: 70, size: 30 },
    { ...common, label: yLabel, values: yValues, grid, size: 64 },
  ];
}

/** A place for a chart: `draw()` gives its uPlot options and data; drawn anew in another size or theme. */
function place(label, draw) {
  const element = h("div", { class: "chart", role: "img", "aria-label": label });
  let chart = null;
  let width = 0;
  let height = 0;
  const redraw = () => {
    chart?.destroy();
    const { options, data } = draw();
    chart = new window.uPlot({ width, height, cursor: { show: false }, legend: { show: false }, ...options }, data, element);
  };
  new ResizeObserver(([entry]) => {
    const [wide, high] = [entry.contentRect.width, entry.contentRect.height].map(Math.floor);
    if (!wide || (wide === width && high === height)) return;
    [width, height] = [wide, high];
    redraw();
  }).observe(element);
  const themed = () => (element.isConnected ? width && redraw() : document.removeEventListener("themechange", themed));
  document.addEventListener("themechange", themed);
  return element;
}

/** Points as {x, y, size, name}: a circle each, its area by `size`, its name beside it. */
export function scatter(label, { xLabel, yLabel, xText, yText }, points) {
  const sorted = [...points].sort((a, b) => a.x - b.x);
  const most = Math.max(...sorted.map((point) => point.size), 1e-9);
  return place(label, () => {
    const ink = colour("--ink");
    const fillColour = colour("--series-0");
    return {
      data: [sorted.map((point) => point.x), sorted.map((point) => point.y)],
      options: {
        padding: [16, 72, 0, 0],
        scales: { x: { time: false, range: roomy }, y: { range: roomy } },
        axes: axes(xLabel, yLabel, (_, ticks) => ticks.map(xText), (_, ticks) => ticks.map(yText)),
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [(chart) => sorted.forEach((point) => circle(chart, point, most, fillColour, ink))] },
      },
    };
  });
}

function circle(chart, point, most, fillColour, ink) {
  const ratio = window.devicePixelRatio || 1;
  const x = chart.valToPos(point.x, "x", true);
  const y = chart.valToPos(point.y, "y", true);
  const radius = (4 + 10 * Math.sqrt(point.size / most)) * ratio;
  const { ctx } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.globalAlpha = 0.3;
  ctx.fillStyle = fillColour;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.strokeStyle = fillColour;
  ctx.lineWidth = 1.5 * ratio;
  ctx.stroke();
  ctx.fillStyle = ink;
  ctx.font = `${12 * ratio}px Inter, system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(point.name, x + radius + 5 * ratio, y);
  ctx.restore();
}

/** From 0, with room above. */
const roomy = (_, __, most) => [0, most > 0 ? most * 1.15 : 1];

/** A bar each name of `names`, stacked of `stacks`: {name, values}. */
export function stackedBars(label, { yText }, names, stacks) {
  const sums = names.map(() => 0);
  const layers = stacks.map(({ values }) => values.map((value, at) => (sums[at] += value)));
  return place(label, () => {
    const { bars } = window.uPlot.paths;
    const series = layers.map((_, at) => ({
      fill: colour(`--series-${at % SERIES}`), width: 0, points: { show: false }, paths: bars({ size: [0.62, 44], radius: [0.12, 0] }),
    }));
    return {
      // The highest first: each lower one is drawn over it.
      data: [names.map((_, at) => at), ...layers.toReversed()],
      options: {
        padding: [12, 8, 0, 0],
        scales: { x: { time: false, range: [-0.6, names.length - 0.4] }, y: { range: roomy } },
        axes: axes(undefined, undefined, (_, ticks) => ticks.map((at) => names[at] ?? ""), (_, ticks) => ticks.map(yText))
          .map((axis, at) => ({ ...axis, labelSize: 0, ...(at ? {} : { incrs: [1, 2, 4, 7] }) })),
        series: [{}, ...series.toReversed()],
      },
    };
  });
}

/** Which colour is whose. */
export function legend(names) {
  return h("div", { class: "legend" }, names.map((name, at) => h("span", { class: `s${at % SERIES}` }, h("i"), h("span", { class: "clip" }, name))));
}
