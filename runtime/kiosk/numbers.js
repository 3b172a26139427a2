/**
 * The numbers of one measurement with their units and uncertainty. Every figure has a fixed place and tabular digits,
 * so that nothing moves but the digits; what could not be had is "—" and, where there is one, the reason.
 */
import { html } from './view.js';
import { texts } from './texts.js';
import { number, percent, plusMinus } from './format.js';

/**
 * @typedef {{n: number, mean: number|null, median: number|null, p25: number|null, p75: number|null, sd: number|null}} Distribution
 * @typedef {{value: number, std_frame: number|null, std_site: number|null, rule: string}} Density
 * @typedef {import('./overlay.js').Hair} Hair
 * @typedef {{
 *   width_px: number, height_px: number,
 *   scale: {um_per_px: number|null, um_per_px_std: number|null, source: string},
 *   quality: {ok: boolean, reasons: string[]},
 *   segmentation: {reliability: number, unfamiliar: boolean, mask: string|null, passed_over: string|null},
 *   hair_count: number, hair_count_std: number, rooted_hair_count: number,
 *   follicle_count: number, follicle_count_std: number, empty_follicle_count: number|null, hairs_per_follicle: number[],
 *   density_per_cm2: Density|null, diameter_px: Distribution, diameter_um: Distribution|null,
 *   terminal_vellus: {cutoff_um: number, terminal: number, vellus: number, undetermined: number}|null,
 *   diameter_diversity: {cv: number|null, below_cutoff_share: number|null}|null,
 *   cumulative_thickness_mm_per_cm2: Density|null, single_hair_unit_share: number|null,
 *   interfollicular_distance_px: Distribution|null, interfollicular_distance_um: Distribution|null,
 *   alopecia: import('./grades.js').Grade|null, conditions: Record<string, import('./grades.js').Grade|null>|null,
 *   scalp: any, models: Record<string, string>, calibration: string|null, scale_reading: {note: string|null}|null,
 *   hairs: Hair[], follicles: import('./overlay.js').Follicle[],
 * }} Measurement
 */

const CLASSICAL = 'classical/'; // names of segmenters that work without a network begin so
const DOUBTFUL = 0.5; // below this the reliability of the hair detection is shown as a warning
const MEDIAN_OVER_MEAN = 1.2533; // standard error of a median over that of a mean, √(π/2), for normal values

/**
 * Standard error of the median diameter; null below two hairs.
 * @param {Distribution|null} d
 * @returns {number|null}
 */
export function medianError(d) {
  return d && d.sd !== null && d.n > 1 ? (MEDIAN_OVER_MEAN * d.sd) / Math.sqrt(d.n) : null;
}

/**
 * Mean of hairs per follicle and its standard error.
 * @param {number[]} counts
 * @returns {{mean: number|null, error: number|null}}
 */
export function perFollicle(counts) {
  if (!counts.length) return { mean: null, error: null };
  const mean = counts.reduce((sum, each) => sum + each, 0) / counts.length;
  if (counts.length < 2) return { mean, error: null };
  const variance = counts.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (counts.length - 1);
  return { mean, error: Math.sqrt(variance / counts.length) };
}

/** @param {{measurement: Measurement|null, stale?: boolean, children?: any}} props children: what comes right after the figures */
export function Numbers({ measurement: m, stale = false, children = null }) {
  const hasScale = Boolean(m?.scale.um_per_px);
  const diameter = hasScale ? (m?.diameter_um ?? null) : (m?.diameter_px ?? null);
  const density = m?.density_per_cm2 ?? null;
  const perUnit = perFollicle(m?.hairs_per_follicle ?? []);
  return html`
    <section class=${stale ? 'numbers stale' : 'numbers'} aria-label=${texts.numbers.label}
      title=${stale ? texts.numbers.stale : ''}>
      <div class="heroes">
        <${Figure} name="density" big label=${texts.numbers.density} value=${number(density?.value)}
          unit=${texts.numbers.perCm2} error=${plusMinus(density?.std_frame)}
          note=${m && !density ? texts.numbers.needsScale : siteNote(density)} />
        <${Figure} name="diameter" big label=${texts.numbers.diameter} value=${number(diameter?.median, hasScale || !m ? 0 : 1)}
          unit=${hasScale || !m ? texts.numbers.um : texts.numbers.px} error=${plusMinus(medianError(diameter))}
          note=${halfNote(diameter, hasScale ? 0 : 1)} />
      </div>
      <div class="figures">
        <${Figure} name="hairs" label=${texts.numbers.hairs} value=${number(m?.hair_count)}
          error=${plusMinus(m?.hair_count_std)} note=${m ? texts.numbers.rooted(m.rooted_hair_count) : ''} />
        <${Figure} name="follicles" label=${texts.numbers.follicles} value=${number(m?.follicle_count)}
          error=${plusMinus(m?.follicle_count_std)}
          note=${m && m.empty_follicle_count !== null ? texts.numbers.empty(m.empty_follicle_count) : ''} />
        <${Figure} name="per-follicle" label=${texts.numbers.perFollicle} value=${number(perUnit.mean, 1)}
          error=${plusMinus(perUnit.error)} note=${singleNote(m?.single_hair_unit_share ?? null)} />
      </div>
      ${children}
      <${TerminalVellus} share=${m?.terminal_vellus ?? null} />
      <${Further} measurement=${m} />
    </section>`;
}

/** @param {{name: string, label: string, value: string, unit?: string, error: string, note: string, big?: boolean}} props */
function Figure({ name, label, value, unit = '', error, note, big = false }) {
  return html`
    <div class=${big ? 'figure big' : 'figure'} data-figure=${name}>
      <div class="label">${label}</div>
      <div class="reading"><span class="value">${value}</span>${unit && html`<span class="unit">${unit}</span>`}</div>
      <div class="under"><span class="error">${error}</span><span class="note">${note}</span></div>
    </div>`;
}

/**
 * The figures that follow from those above, in one line.
 * @param {{measurement: Measurement|null}} props
 */
function Further({ measurement: m }) {
  const hasScale = !m || Boolean(m.scale.um_per_px); // captures kept by earlier versions lack these figures
  const apart = hasScale ? m?.interfollicular_distance_um : m?.interfollicular_distance_px;
  const rows = [
    ['thickness', texts.numbers.thickness, number(m?.cumulative_thickness_mm_per_cm2?.value, 1), texts.numbers.mmPerCm2],
    ['diversity', texts.numbers.diversity, percent(m?.diameter_diversity?.cv), ''],
    ['apart', texts.numbers.apart, number(apart?.mean), hasScale ? texts.numbers.um : texts.numbers.px],
  ];
  return html`
    <div class="further">
      ${rows.map(
        ([name, label, value, unit]) => html`
          <div key=${name} data-figure=${name}><span class="label">${label}</span><b class="value">${value}</b> <span class="unit">${unit}</span></div>`,
      )}
    </div>`;
}

/** @param {{share: Measurement['terminal_vellus']}} props */
function TerminalVellus({ share }) {
  const told = share ? share.terminal + share.vellus : 0;
  const terminal = share && told ? Math.round((100 * share.terminal) / told) / 100 : null; // so that both make 100 %
  const vellus = terminal === null ? null : 1 - terminal;
  return html`
    <div class="terminal-vellus" data-figure="terminal-vellus">
      <div class="row">
        <span><i class="key terminal"></i>${texts.numbers.terminal} <b>${percent(terminal)}</b></span>
        <span class="note">${share ? texts.numbers.cutoff(number(share.cutoff_um)) : ''}${
          share?.undetermined ? ` · ${texts.numbers.undetermined(share.undetermined)}` : ''
        }</span>
        <span><i class="key vellus"></i>${texts.numbers.vellus} <b>${percent(vellus)}</b></span>
      </div>
      <div class="bar" role="img" aria-label=${sharesInWords(terminal, vellus)}>
        <div class="terminal" style=${{ flexGrow: terminal ?? 0 }}></div>
        <div class="vellus" style=${{ flexGrow: vellus ?? 0 }}></div>
      </div>
    </div>`;
}

/** @param {number|null} terminal @param {number|null} vellus */
function sharesInWords(terminal, vellus) {
  return `${texts.numbers.terminal} ${percent(terminal)}, ${texts.numbers.vellus} ${percent(vellus)}`;
}

/** @param {number|null} share */
function singleNote(share) {
  return share === null ? '' : texts.numbers.single(percent(share));
}

/** @param {Density|null} density */
function siteNote(density) {
  const error = plusMinus(density?.std_site);
  return error && `${error} ${texts.numbers.site}`;
}

/** @param {Distribution|null} d @param {number} decimals */
function halfNote(d, decimals) {
  if (!d || d.p25 === null || d.p75 === null) return '';
  return `${texts.numbers.middleHalf} ${number(d.p25, decimals)}–${number(d.p75, decimals)}`;
}

/** @param {{measurement: Measurement|null, problem?: string}} props problem: why there are no fresh numbers */
export function Quality({ measurement: m, problem = '' }) {
  if (problem) {
    return html`<section class="quality poor" role="alert"><i class="lamp"></i>
      <div class="words"><b>${texts.numbers.failing}</b><span class="reasons">${problem}</span></div></section>`;
  }
  const words = /** @type {Record<string, string>} */ (texts.quality.reasons);
  const reasons = (m?.quality.reasons ?? []).map((reason) => words[reason] ?? reason);
  if (m?.segmentation.unfamiliar) reasons.push(texts.quality.unfamiliar);
  if (m?.segmentation.passed_over) reasons.push(texts.quality.passedOver(m.segmentation.passed_over));
  const good = m?.quality.ok && !m.segmentation.unfamiliar;
  const simple = m?.models.segmenter?.startsWith(CLASSICAL) ?? false;
  const title = !m ? texts.quality.none : good ? texts.quality.ok : texts.quality.poor;
  return html`
    <section class=${!m ? 'quality' : good ? 'quality ok' : 'quality poor'} aria-label=${texts.quality.label}>
      <i class="lamp"></i>
      <div class="words"><b>${title}</b><span class="reasons">${reasons.join(' · ')}</span></div>
      <div class=${m && m.segmentation.reliability < DOUBTFUL ? 'reliability low' : 'reliability'}>
        <span class="label">${simple ? texts.quality.reliabilitySimple : texts.quality.reliability}</span>
        <b>${m ? texts.quality.reliable(percent(m.segmentation.reliability)) : texts.none}</b>
      </div>
    </section>`;
}
