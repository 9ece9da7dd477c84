// Asking again and again, while anybody looks.

/** Calls `work(signal)` now and `everyMs` after each end, not while the page is hidden. Returns what ends it.
 * `failed(error)` hears of an error, and `failed(null)` once it is over. */
export function poll(everyMs, work, failed = () => {}) {
  const ending = new AbortController();
  let timer = 0;
  let running = false;

  async function turn() {
    clearTimeout(timer);
    if (running || ending.signal.aborted || document.hidden) return;
    running = true;
    try {
      await work(ending.signal);
      if (!ending.signal.aborted) failed(null);
    } catch (error) {
      if (!ending.signal.aborted) failed(error);
    } finally {
      running = false;
      if (!ending.signal.aborted) timer = setTimeout(turn, everyMs);
    }
  }

  document.addEventListener("visibilitychange", turn, { signal: ending.signal });
  turn();
  const end = () => { clearTimeout(timer); ending.abort(); };
  return Object.assign(end, { now: turn });
}

/** `show(data)` only when the data is other than before, so that what is on the page, and the focus, stays. */
export function whenChanged(show) {
  let last;
  return (data) => {
    const text = JSON.stringify(data);
    if (text === last) return;
    last = text;
    show(data);
  };
}
