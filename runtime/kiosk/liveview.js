/**
 * What moves on the page, outside of Preact: the connection, the picture as it is drawn, the overlay of the latest
 * result kept on the skin, and how fast all of it is. The app reads `snapshot()` a few times a second and renders the
 * numbers from it, so that no frame costs a rendering of the page.
 */
import { LiveConnection } from './live.js';
import { LivePicture } from './picture.js';
import { MotionFollower } from './follow.js';
import { HairColours } from './colours.js';
import { drawOverlay } from './overlay.js';
import { Rate } from './rates.js';
import { Trend } from './charts.js';

const STALE_MS = 3000; // without a new picture or result for so long, the page says so
const LONGEST_LAG = 30; // frames between the picture and the result drawn on it, when the skin could be followed
const LAG_UNFOLLOWED = 10; // and when it could not
const FADED = '0.35';

/**
 * @typedef {import('./numbers.js').Measurement} Measurement
 * @typedef {{state: string, message: string, name: string, width: number|null, height: number|null, fps: number|null}} CameraState
 * @typedef {{
 *   connection: import('./live.js').ConnectionState, camera: CameraState|null, analysisProblem: string,
 *   measurement: Measurement|null,
 *   resultIsStale: boolean, pictureIsStale: boolean, hasPicture: boolean, behind: boolean, width: number,
 *   fps: number|null, results: number|null, ageMs: number|null, trend: (number|null)[][],
 * }} Snapshot
 */

export class LiveView {
  /** @param {string} url @param {(why: 'connection'|'state'|'reconnected'|'captures') => void} onChange */
  constructor(url, onChange) {
    this.onChange = onChange;
    this.pictures = new Rate();
    this.results = new Rate();
    this.trend = new Trend();
    this.follower = new MotionFollower();
    this.colours = new HairColours();
    this.overlayOn = true;
    this.behind = false;
    this.broken = 0; // pictures that could not be decoded
    this.wasOpen = false;
    /** @type {import('./live.js').ConnectionState} */
    this.connectionState = { status: 'connecting', retryAt: null, reason: '' };
    /** @type {CameraState|null} */
    this.camera = null;
    this.analysisProblem = '';
    this.kept = -1; // captures that the daemon has kept since its start
    /** @type {{sequence: number, measurement: Measurement}|null} */
    this.result = null;
    this.shown = { sequence: -1, width: 0 };
    this.resultAsked = 0;
    this.connection = new LiveConnection(url, {
      onPicture: (header, jpeg, at) => this.picture?.show(header, jpeg, at),
      onResult: (sequence, measurement) => this.#takeResult(sequence, /** @type {Measurement} */ (measurement)),
      onState: (message) => this.#takeState(message),
      onConnection: (state) => this.#takeConnection(state),
    });
  }

  /**
   * Begin, on the two canvases of the stage.
   * @param {HTMLCanvasElement} picture
   * @param {HTMLCanvasElement} overlay
   */
  start(picture, overlay) {
    this.overlay = overlay;
    this.picture = new LivePicture(picture, {
      onDrawn: (header, ageMs, bitmap) => this.#drawn(header, ageMs, bitmap),
      onBroken: (header) => {
        this.broken += 1;
        this.connection.ackPicture(header.number); // it is done with: the next one may come
      },
    });
    new ResizeObserver(() => this.#drawResult()).observe(overlay);
    this.connection.start();
  }

  /** @param {boolean} on */
  setOverlay(on) {
    this.overlayOn = on;
    this.#drawResult();
  }

  /** @returns {Snapshot} */
  snapshot() {
    const now = performance.now();
    const sincePicture = this.pictures.sinceLast(now);
    const sinceResult = this.results.sinceLast(now);
    const pictureIsStale = sincePicture === null || sincePicture > STALE_MS;
    const resultIsStale = sinceResult === null || sinceResult > STALE_MS;
    return {
      connection: this.connectionState,
      camera: this.camera,
      analysisProblem: this.analysisProblem,
      measurement: this.result?.measurement ?? null,
      hasPicture: sincePicture !== null,
      pictureIsStale,
      resultIsStale,
      behind: this.overlayOn && this.behind && !resultIsStale,
      width: this.shown.width,
      fps: pictureIsStale ? null : this.pictures.perSecond(now),
      results: resultIsStale ? null : this.results.perSecond(now),
      ageMs: pictureIsStale ? null : this.pictures.percentile(0.5),
      trend: this.trend.columns(now),
    };
  }

  /** For the bench: what the page itself measured over the last seconds. */
  stats() {
    const now = performance.now();
    return {
      previewFps: this.pictures.perSecond(now),
      resultsPerSecond: this.results.perSecond(now),
      ageMs: { p50: this.pictures.percentile(0.5), p95: this.pictures.percentile(0.95) },
      brokenPictures: this.broken,
    };
  }

  /** @param {import('./live.js').FrameHeader} header @param {number} ageMs @param {ImageBitmap} bitmap */
  #drawn(header, ageMs, bitmap) {
    this.connection.ackPicture(header.number);
    this.pictures.note(performance.now(), ageMs);
    this.shown = { sequence: header.sequence, width: bitmap.width };
    this.follower.note(header.sequence, bitmap);
    this.#placeOverlay();
  }

  /** @param {number} sequence @param {Measurement} measurement */
  #takeResult(sequence, measurement) {
    const before = this.result;
    const moved = before ? this.follower.between(before.sequence, sequence, measurement.width_px) : null;
    this.result = { sequence, measurement };
    this.colours.assign(measurement.hairs, moved ?? undefined);
    const now = performance.now();
    this.results.note(now);
    this.trend.note(now, measurement.density_per_cm2?.value ?? (measurement.scale.um_per_px ? null : measurement.hair_count));
    if (!this.resultAsked) {
      this.resultAsked = requestAnimationFrame(() => {
        this.resultAsked = 0;
        this.#drawResult();
        if (this.result) this.connection.ackResult(this.result.sequence);
      });
    }
  }

  #drawResult() {
    if (!this.overlay) return;
    drawOverlay(this.overlay, this.overlayOn ? this.result?.measurement ?? null : null, { colourOf: (id) => this.colours.of(id) });
    this.#placeOverlay();
  }

  /** Move the overlay with the skin, and fade it where it cannot be right. */
  #placeOverlay() {
    const { overlay, result, shown } = this;
    if (!overlay || !result || !this.overlayOn) return;
    const { width_px: width, height_px: height } = result.measurement;
    const shift = this.follower.between(result.sequence, shown.sequence, width);
    const lag = Math.abs(shown.sequence - result.sequence);
    this.behind = lag > (shift?.sure ? LONGEST_LAG : LAG_UNFOLLOWED);
    overlay.style.opacity = this.behind ? FADED : '1';
    overlay.style.transform = shift?.sure ? `translate(${(100 * shift.dx) / width}%, ${(100 * shift.dy) / height}%)` : '';
  }

  /** @param {any} message */
  #takeState(message) {
    const changed = message.camera?.state !== this.camera?.state || message.camera?.message !== this.camera?.message;
    this.camera = message.camera ?? null;
    this.analysisProblem = message.analysis?.state === 'failing' ? message.analysis.message : '';
    if (changed && this.camera?.state !== 'streaming') this.#forgetPicture(); // the next camera counts from 0 again
    if (changed) this.onChange('state');
    const kept = message.stats?.captures ?? this.kept;
    if (this.kept >= 0 && kept > this.kept) this.onChange('captures');
    this.kept = kept;
  }

  /** @param {import('./live.js').ConnectionState} state */
  #takeConnection(state) {
    this.connectionState = state;
    if (state.status === 'open') {
      this.camera = null;
      this.kept = -1;
      this.#forgetPicture(); // sequences of a server that was restarted begin anew
      this.onChange(this.wasOpen ? 'reconnected' : 'connection');
      this.wasOpen = true;
      return;
    }
    this.onChange('connection');
  }

  #forgetPicture() {
    this.result = null;
    for (const each of [this.pictures, this.results, this.follower]) each.clear();
    this.#drawResult();
  }
}
