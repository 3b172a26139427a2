/**
 * Numbers as a person reads them: fixed digits so that nothing jumps, a real minus and plus-minus sign,
 * and "—" for what could not be had. A null is never shown as 0.
 */
import { texts } from './texts.js';

/**
 * A number with a fixed count of decimals, or "—".
 * @param {number|null|undefined} value
 * @param {number} [decimals]
 * @returns {string}
 */
export function number(value, decimals = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return texts.none;
  const shown = value.toFixed(decimals);
  return Number(shown) === 0 ? (0).toFixed(decimals) : shown.replace('-', '−');
}

/**
 * "± 4.2", with two significant digits at most and no false precision; empty where there is none.
 * @param {number|null|undefined} std
 * @returns {string}
 */
export function plusMinus(std) {
  if (std === null || std === undefined || !Number.isFinite(std)) return '';
  return `± ${number(std, std < 9.95 ? 1 : 0)}`;
}

/**
 * A share of 0…1 as whole percent, or "—".
 * @param {number|null|undefined} share
 * @returns {string}
 */
export function percent(share) {
  return share === null || share === undefined || !Number.isFinite(share) ? texts.none : `${number(share * 100)} %`;
}

/**
 * A length: px as they are; with a scale µm below 1 mm, mm above.
 * @param {number|null|undefined} px
 * @param {number|null|undefined} umPerPx
 * @returns {string}
 */
export function length(px, umPerPx) {
  if (px === null || px === undefined) return texts.none;
  if (!umPerPx) return `${number(px)} px`;
  const um = px * umPerPx;
  return um < 1000 ? `${number(um)} µm` : `${number(um / 1000, 2)} mm`;
}

/**
 * Clock time of an ISO date, "14:03"; with the day where it is not today.
 * @param {string|null|undefined} iso
 * @returns {string}
 */
export function clock(iso) {
  const then = iso ? new Date(iso) : null;
  if (!then || Number.isNaN(then.getTime())) return texts.none;
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const time = `${two(then.getHours())}:${two(then.getMinutes())}`;
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}

/**
 * The site's name, or "No site".
 * @param {string|null|undefined} site
 * @returns {string}
 */
export function siteName(site) {
  if (!site) return texts.sites.none;
  const known = /** @type {Record<string, string>} */ (/** @type {unknown} */ (texts.sites));
  return known[site] ?? site;
}

/**
 * A camera's address as a person reads it: "simulated", "replay: clipped"; the folder and the options are left out.
 * @param {string|null|undefined} uri
 * @returns {string}
 */
export function cameraName(uri) {
  const [, scheme, rest] = /^([a-z0-9+-]+):([^?]*)/i.exec(uri ?? '') ?? [null, uri ?? '', ''];
  const last = rest.split('/').filter(Boolean).pop();
  return last ? `${scheme}: ${last}` : String(scheme);
}
