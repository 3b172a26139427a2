/**
 * How fast and how fresh the page is: events a second and percentiles of an age, over a sliding window of the
 * browser's monotonic clock. Bounded: the oldest samples are dropped.
 */
const WINDOW_MS = 5000; // long enough for a steady figure, short enough to see a stall
const MOST_SAMPLES = 600; // 120 a second over the window

export class Rate {
  constructor() {
    /** @type {{at: number, value: number}[]} */
    this.samples = [];
  }

  /**
   * Note one event and, where there is one, a value that belongs to it.
   * @param {number} now milliseconds, `performance.now()`
   * @param {number} [value]
   */
  note(now, value = 0) {
    this.samples.push({ at: now, value });
    if (this.samples.length > MOST_SAMPLES) this.samples.shift();
    this.#forget(now);
  }

  /**
   * Events a second over the window; null before two events.
   * @param {number} now
   * @returns {number|null}
   */
  perSecond(now) {
    this.#forget(now);
    if (this.samples.length < 2) return null;
    const span = now - this.samples[0].at;
    return span > 0 ? ((this.samples.length - 1) * 1000) / Math.max(span, 1) : null;
  }

  /**
   * The value below which `share` of the window's values lie; null without any.
   * @param {number} share 0…1
   * @returns {number|null}
   */
  percentile(share) {
    if (!this.samples.length) return null;
    const sorted = this.samples.map((sample) => sample.value).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  }

  /** Milliseconds since the last event; null without any. @param {number} now @returns {number|null} */
  sinceLast(now) {
    const last = this.samples[this.samples.length - 1];
    return last ? now - last.at : null;
  }

  clear() {
    this.samples = [];
  }

  /** @param {number} now */
  #forget(now) {
    // the last sample stays, so that "since the last one" can be told for as long as it takes
    while (this.samples.length > 1 && now - this.samples[0].at > WINDOW_MS) this.samples.shift();
  }
}
