/**
 * The daemon's HTTP API as the page uses it. Every call has a deadline; what goes wrong arrives as an `ApiError` with
 * the words of the server ("error" and "remedy") or, where it could not be reached, with the page's own.
 */
import { texts } from './texts.js';

const DEADLINE_MS = 15000;

/**
 * @typedef {import('./numbers.js').Measurement} Measurement
 * @typedef {{id: number|string, site: string|null, taken_at: string|null, measurement?: Measurement|null,
 *   hair_count?: number|null, width?: number, height?: number}} Capture
 */

export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {string} remedy
   * @param {number} status HTTP status, 0 when the server could not be reached
   */
  constructor(message, remedy, status) {
    super(message);
    this.remedy = remedy;
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
async function call(path, options = {}) {
  let response;
  let body = null;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(DEADLINE_MS) });
    body = await response.json().catch(() => null);
  } catch {
    throw new ApiError(texts.capture.unreachable, texts.capture.unreachableRemedy, 0);
  }
  if (response.ok) return body;
  const busy = response.status === 409;
  const error = body?.error ?? (busy ? texts.capture.busy : `${response.status} ${response.statusText}`);
  throw new ApiError(error, body?.remedy ?? (busy ? texts.capture.busyRemedy : ''), response.status);
}

/**
 * Keep the picture of now.
 * @param {string|null} site
 * @returns {Promise<Capture>}
 */
export async function capture(site) {
  return toCapture(
    await call('/api/captures', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(site ? { site } : {}),
    }),
  );
}

/**
 * Captures, newest first.
 * @param {number} limit
 * @param {number|string|null} [before] only those older than this one
 * @returns {Promise<Capture[]>}
 */
export async function captures(limit, before = null) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (before !== null) query.set('before', String(before));
  const body = await call(`/api/captures?${query}`);
  return (Array.isArray(body) ? body : body.captures).map(toCapture);
}

/** One capture with its measurement. @param {number|string} id @returns {Promise<Capture>} */
export async function captureById(id) {
  return toCapture(await call(`/api/captures/${encodeURIComponent(id)}`));
}

/** What the daemon says of itself. @returns {Promise<any>} */
export const status = () => call('/api/status');

/** @param {number|string} id */
export const pictureAddress = (id) => `/api/captures/${encodeURIComponent(id)}/picture`;
/** @param {number|string} id */
export const thumbnailAddress = (id) => `/api/captures/${encodeURIComponent(id)}/thumbnail`;

/** @param {any} row @returns {Capture} */
function toCapture(row) {
  return { ...row, hair_count: row.hair_count ?? row.measurement?.hair_count ?? null };
}
