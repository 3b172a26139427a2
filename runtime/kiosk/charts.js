/**
 * The two small charts, both uPlot in a component that keeps the plot and hands it new data: the last minute of hair
 * density (or hair count without a scale), and how the hair diameters of one picture are spread. Axes do not jump:
 * the upper end only goes up at once and down slowly.
 */
import uPlot from './vendor/uplot/uPlot.esm.js';
import { html, Component, createRef } from './view.js';
import { texts } from './texts.js';

export const TREND_SECONDS = 60;
const MOST_POINTS = 600; // ten a second over a minute; the oldest is dropped
const INK = '#9a9a9a';
const GRID = '#2c2c2c';
const FONT = '11px "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const TERMINAL = '#e9e4da';
const VELLUS = '#58b7c4';
const BIN_UM = 10;
const BIN_PX = 2;
const BINS = 16; // the last one holds everything beyond

/** The last minute of one quantity; bounded. */
export class Trend {
  constructor() {
    /** @type {{at: number, value: number|null}[]} */
    this.points = [];
  }

  /** @param {number} now ms @param {number|null} value */
  note(now, value) {
    this.points.push({ at: now, value });
    while (this.points.length > MOST_POINTS || (this.points.length && now - this.points[0].at > TREND_SECONDS * 1000)) {
      this.points.shift();
    }
  }

  /** Seconds before now (≤ 0) and values, as uPlot wants them. @param {number} now */
  columns(now) {
    return [this.points.map((p) => (p.at - now) / 1000), this.points.map((p) => p.value)];
  }

  clear() {
    this.points = [];
  }
}

/**
 * How many hairs lie in each class of diameter.
 * @param {import('./overlay.js').Hair[]} hairs
 * @param {boolean} inUm µm (classes of 10), else px (classes of 2)
 * @returns {{edges: number[], counts: number[], bin: number}}
 */
export function diameterClasses(hairs, inUm) {
  const bin = inUm ? BIN_UM : BIN_PX;
  const counts = new Array(BINS).fill(0);
  for (const hair of hairs) {
    const diameter = inUm ? hair.diameter_um : hair.diameter_px;
    if (diameter !== null) counts[Math.min(BINS - 1, Math.floor(diameter / bin))] += 1;
  }
  return { edges: counts.map((_, index) => index * bin), counts, bin };
}

/**
 * A round upper end for an axis.
 * @param {number} most
 * @returns {number}
 */
export function roundUp(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  for (const step of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (step * power >= most) return step * power;
  return 10 * power;
}

/** A uPlot chart that fills its box. Properties: `make(width, height)` gives the options, `data`, `label`. */
class Plot extends Component {
  constructor() {
    super();
    this.box = createRef();
  }

  componentDidMount() {
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(this.box.current);
    this.#fit();
  }

  componentDidUpdate() {
    this.plot?.setData(this.props.data);
  }

  componentWillUnmount() {
    this.observer?.disconnect();
    this.plot?.destroy();
  }

  #fit() {
    const box = /** @type {HTMLElement|null} */ (this.box.current);
    if (!box) return;
    const size = { width: box.clientWidth, height: box.clientHeight };
    if (!size.width || !size.height) return;
    if (this.plot) this.plot.setSize(size);
    else this.plot = new uPlot({ ...this.props.make(), ...size }, this.props.data, box);
  }

  render({ label, name }) {
    return html`<figure class="chart" data-chart=${name} aria-label=${label}>
      <figcaption class="label">${label}</figcaption><div class="plot" aria-hidden="true" ref=${this.box}></div>
    </figure>`;
  }
}

/** @param {(values: number[]) => string[]} words */
const axis = (words, space = 30) => ({
  stroke: INK,
  font: FONT,
  space,
  size: 24,
  gap: 3,
  grid: { stroke: GRID, width: 1 },
  ticks: { show: false },
  values: (/** @type {unknown} */ _plot, /** @type {number[]} */ values) => words(values),
});

const still = { cursor: { show: false }, legend: { show: false }, select: { show: false } };

/** An upper end that rises at once and falls slowly. */
function steadyTop() {
  let top = 0;
  return (/** @type {number} */ most) => {
    const wanted = roundUp(most * 1.15);
    top = wanted > top || wanted < top * 0.55 ? wanted : top;
    return top;
  };
}

/** @param {{columns: any[], perCm2: boolean}} props */
export function TrendChart({ columns, perCm2 }) {
  const make = () => {
    const top = steadyTop();
    return {
      ...still,
      padding: [6, 14, 0, 0],
      scales: {
        x: { time: false, range: [-TREND_SECONDS, 0] },
        y: {
          range: (/** @type {unknown} */ _plot, /** @type {number} */ _low, /** @type {number} */ high) => [
            0,
            top(high ?? 0),
          ],
        },
      },
      series: [{}, { stroke: '#f0f0f0', width: 1.6, fill: 'rgba(240,240,240,0.08)', points: { show: false } }],
      axes: [
        {
          ...axis((values) => values.map((v) => (v === 0 ? `0 ${texts.charts.ago}` : String(v).replace('-', '−'))), 40),
          size: 20,
        },
        { ...axis((values) => values.map(String), 22), size: 34 },
      ],
    };
  };
  return html`<${Plot} name="trend" make=${make} data=${columns} label=${perCm2 ? texts.charts.density : texts.charts.count} />`;
}

/** @param {{measurement: import('./numbers.js').Measurement|null}} props */
export function DiameterChart({ measurement: m }) {
  const hairs = m?.hairs ?? [];
  const inUm = !m || Boolean(m.scale.um_per_px);
  const cutoffUm = m?.terminal_vellus?.cutoff_um ?? 0;
  const { edges, counts, bin } = diameterClasses(hairs, inUm);
  const middles = edges.map((edge) => edge + bin / 2);
  const thin = counts.map((count, index) => (inUm && edges[index] < cutoffUm ? count : null));
  const thick = counts.map((count, index) => (inUm && edges[index] < cutoffUm ? null : count));
  const last = edges[edges.length - 1];
  const make = () => {
    const top = steadyTop();
    const bars = uPlot.paths.bars({ size: [0.82, 60], radius: 0.12 });
    const series = (/** @type {string} */ fill) => ({ fill, width: 0, paths: bars, points: { show: false } });
    return {
      ...still,
      padding: [6, 16, 0, 0],
      scales: {
        x: { time: false, range: [0, last + bin] },
        y: {
          range: (/** @type {unknown} */ _plot, /** @type {number} */ _low, /** @type {number} */ high) => [
            0,
            Math.max(4, top(high ?? 0)),
          ],
        },
      },
      series: [{}, series(VELLUS), series(TERMINAL)],
      axes: [
        { ...axis((values) => values.map((v) => (v >= last ? `${last}+` : String(v))), 34), size: 20 },
        { ...axis((values) => values.map((v) => (Number.isInteger(v) ? String(v) : '')), 22), size: 26 },
      ],
    };
  };
  return html`<${Plot} key=${inUm ? 'um' : 'px'} name="diameters" make=${make} data=${[middles, thin, thick]}
    label=${inUm ? texts.charts.histogramUm : texts.charts.histogramPx} />`;
}
