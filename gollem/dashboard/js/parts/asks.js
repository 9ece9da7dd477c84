// A provider's asks, its circuit and its GPUs.
import { empty, h } from "../dom.js";
import { bytes, count, counted, duration, milliseconds, price, speed, words } from "../format.js";
import { bars } from "./bars.js";
import { badge, table } from "./table.js";

export function asks({ asks: sold, latency, rates }) {
  if (!sold.length) return empty("You sell nothing at the moment", "Start your agent beside your model server: ", h("code", {}, "python -m provider_agent --help"));
  const of = (list, ask) => list.find((one) => one.askId === ask.askId) || {};
  return table("Your asks", [
    ["Ask", (ask) => h("span", { class: "clip" }, ask.askId)],
    ["State", (ask) => (ask.blockedBy.length ? badge(ask.blockedBy.map(words).join(", "), "bad") : badge("live", "good"))],
    ["USD/M, in · out", (ask) => `${price(ask.promptUsdPerMtok)} · ${price(ask.completionUsdPerMtok)}`, "num"],
    ["Promised", (ask) => milliseconds(of(latency, ask).promisedLatencyMs), "num"],
    ["p50 · p95 · p99", (ask) => measured(of(latency, ask)), "num"],
    ["Speed, promised · p50", (ask) => `${speed(of(latency, ask).promisedThroughputTps)} · ${speed(of(latency, ask).throughputP50Tps)}`, "num"],
    ["Matched", (ask) => count(ask.matched), "num"],
    ["Running · queued", (ask) => `${ask.running ?? "–"} · ${ask.queued ?? "–"}`, "num"],
    ["Rate limit", (ask) => rate(of(rates, ask)), "num"],
  ], sold);
}

function measured(figures) {
  if (figures.latencyP95Ms === undefined) return h("span", { class: "soft" }, "no samples");
  const late = figures.latencyP95Ms > figures.promisedLatencyMs;
  const text = [figures.latencyP50Ms, figures.latencyP95Ms, figures.latencyP99Ms].map(milliseconds).join(" · ");
  return h("span", { class: late ? "fault" : "", title: `${counted(figures.samples, "sample")}, ${count(figures.samplesNeeded)} needed` }, text);
}

const rate = (limit) => (limit.limitPerMinute === undefined ? "none" : `${count(limit.remaining)} of ${count(limit.limitPerMinute)}/min`);

export function circuitOf(circuit) {
  if (!circuit || circuit.state === "CLOSED") return [];
  const open = circuit.state === "OPEN";
  return h("p", { class: `alert ${open ? "bad" : ""}` }, h("strong", {}, open ? "Your circuit is open: nothing is matched to you" : "Your circuit is half open: one order decides"),
    `${counted(circuit.failures, "order")} failed within ${duration(circuit.windowMs)}; it opens at ${count(circuit.threshold)}.`);
}

export function gpus(reports) {
  const all = reports.flatMap((report) => report.gpus.map((gpu, at) => ({ ...gpu, name: `${gpu.name || "GPU"} ${at} (${report.askId})` })));
  if (!all.length) return empty("No GPU is reported", "An agent reports those that the NVIDIA driver tells of; install the extra ", h("code", {}, "gollem[nvml]"));
  return h("div", { class: "stack" }, h("h3", {}, "Utilisation"),
    bars("GPU utilisation", all.map((gpu) => [gpu.name, gpu.utilisationPercent, `${gpu.utilisationPercent} %`]), { most: 100 }), h("h3", {}, "Memory"),
    bars("GPU memory", all.map((gpu) => [gpu.name, share(gpu), `${bytes(gpu.memoryUsedBytes)} of ${bytes(gpu.memoryTotalBytes)}`]), { most: 100 }));
}

const share = (gpu) => (100 * Number(gpu.memoryUsedBytes)) / Math.max(1, Number(gpu.memoryTotalBytes));
