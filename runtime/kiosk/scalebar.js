/** The scale bar: a round length in µm or mm that takes a readable share of the picture's width; and where the scale is from. */
import { texts } from './texts.js';

const SHORT_ID = 8; // digits of a profile's id: enough to tell those of one device apart
const ROUND = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]; // µm
const LONGEST_SHARE = 0.26;

/**
 * @param {number|null|undefined} umPerPx
 * @param {number} widthPx
 * @returns {{label: string, share: number}|null} null without a scale
 */
export function scaleBar(umPerPx, widthPx) {
  if (!umPerPx || !(widthPx > 0)) return null;
  const widthUm = umPerPx * widthPx;
  let um = ROUND[0];
  for (const each of ROUND) if (each <= widthUm * LONGEST_SHARE) um = each;
  return { label: um < 1000 ? `${um} µm` : `${um / 1000} mm`, share: um / widthUm };
}

/**
 * Where the scale is from and the profile behind it; without a scale, the reason.
 * @param {import('./numbers.js').Measurement} measurement
 * @returns {string}
 */
export function scaleSource({ scale, calibration, scale_reading: reading }) {
  if (!scale.um_per_px) return reading?.note ?? '';
  const words = /** @type {Record<string, string>} */ (texts.calibration.sources);
  const source = words[scale.source] ?? scale.source;
  return calibration ? `${source} · ${texts.calibration.profile(calibration.slice(0, SHORT_ID))}` : source;
}
