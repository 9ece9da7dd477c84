// The exchange's REST routes. An answer is data; whatever else comes is an ApiError with words for people.
import { session } from "./session.js";

const TIMEOUT_MS = 20_000;

export class ApiError extends Error {
  /** `reason` is stable, such as "INSUFFICIENT_CREDITS"; `figures` go with it; `field` is the one at fault, if any. */
  constructor(message, { status = 0, reason = "", figures = {} } = {}) {
    super(message);
    Object.assign(this, { status, reason, figures, field: figures.field || "" });
  }
}

/** The answer to GET path?query. Empty values of the query are left out. */
export function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const pairs = given.flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return call(`${path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`, { signal });
}

export function post(path, body = {}) {
  return call(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
}

async function call(path, { signal, headers = {}, ...more }) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  try {
    response = await fetch(path, {
      ...more,
      headers: { ...headers, authorization: `Bearer ${session.key}` },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(error.name === "TimeoutError" ? "The exchange does not answer." : "The exchange cannot be reached.");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok || answer === null) throw failure(response, answer);
  return answer;
}

/** google.rpc.Status as JSON, or whatever a proxy says. */
function failure(response, answer) {
  const info = answer?.details?.find((detail) => detail["@type"]?.endsWith("google.rpc.ErrorInfo")) || answer?.error || {};
  const message = answer?.message || answer?.error?.message || `The exchange answered ${response.status}.`;
  return new ApiError(message, { status: response.status, reason: info.reason, figures: info.metadata || info.figures || {} });
}
