/**
 * The daemon's HTTP API as the page uses it. Every call has a deadline; what goes wrong arrives as an `ApiError` with
 * the words of the server ("error" and "remedy") or, where it could not be reached, with the page's own.
 */
import { texts } from './texts.js';

const DEADLINE_MS = 40000; // the daemon itself answers a capture within 30 s

/**
 * @typedef {import('./numbers.js').Measurement} Measurement
 * @typedef {{id: number, taken_at: string, site: string|null, width_px: number, height_px: number, hair_count: number,
 *   sha256: string, measurement?: Measurement}} Capture
 * @typedef {{captures: Capture[], next_before: number|null}} CapturePage
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
 * @returns {Promise<Capture & {passed_over: string|null}>} passed_over: why it was measured on a simpler mask than it could have been
 */
export async function capture(site) {
  return call('/api/captures', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(site ? { site } : {}),
  });
}

/**
 * Captures, newest first.
 * @param {number} limit
 * @param {number|null} [before] only those older than this id
 * @returns {Promise<CapturePage>}
 */
export async function captures(limit, before = null) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (before !== null) query.set('before', String(before));
  return call(`/api/captures?${query}`);
}

/** One capture with its measurement. @param {number} id @returns {Promise<Capture>} */
export const captureById = (id) => call(`/api/captures/${id}`);

/** What the kiosk is for, and its words. @returns {Promise<import('./grades.js').Use>} */
export const use = () => call('/api/use');

/** The notice about the installed bundles was read. @returns {Promise<any>} */
export const modelsNoticeRead = () => call('/api/models/notice', { method: 'DELETE' });

/** What the daemon says of itself. @returns {Promise<any>} */
export const status = () => call('/api/status');

// browsers keep pictures for a year: the hash tells the ids of a store that was started anew from those before
/** @param {Capture} capture */
export const pictureAddress = (capture) => `/api/captures/${capture.id}/picture?v=${capture.sha256.slice(0, 16)}`;
/** @param {Capture} capture */
export const thumbnailAddress = (capture) => `/api/captures/${capture.id}/thumbnail?v=${capture.sha256.slice(0, 16)}`;
