/**
 * What moves on the page, outside of Preact: the connection, the picture as it is drawn, the overlay of the latest
 * result kept on the skin, and how fast all of it is. The app reads `snapshot()` a few times a second and renders the
 * numbers from it, so that no frame costs a rendering of the page.
 */
import { LiveConnection } from './live.js';
import { LivePicture } from './picture.js';
import { Pacing } from './pacing.js';
import { MotionFollower } from './follow.js';
import { HairColours } from './colours.js';
import { drawOverlay } from './overlay.js';
import { Rate } from './rates.js';
import { Trend } from './charts.js';

const STALE_MS = 3000; // without a new picture or result for so long, the page says so
const FRAMES_MISSED = 3; // or so many frames, where a recording is slower
const LONGEST_LAG = 30; // frames between the picture and the result drawn on it: hair may have moved against the skin
const FADED = '0.35';

/**
 * @typedef {import('./numbers.js').Measurement} Measurement
 * @typedef {{state: string, message: string, name: string, width: number|null, height: number|null, fps: number|null}} CameraState
 * @typedef {{why: string|null, notice: string|null}} CalibrationState why no profile fits; what is to be known of the one in use
 * @typedef {{
 *   connection: import('./live.js').ConnectionState, camera: CameraState|null, analysisProblem: string,
 *   store: import('./notices.js').StoreState, segmenterProblem: string|null, modelsNotice: string|null, modelsWaiting: boolean, calibration: CalibrationState,
 *   handpiece: import('./notices.js').HandpieceState, distanceMm: number|null,
 *   measurement: Measurement|null,
 *   resultIsStale: boolean, pictureIsStale: boolean, hasPicture: boolean, behind: boolean,
 *   fps: number|null, results: number|null, ageMs: number|null, trend: (number|null)[][],
 * }} Snapshot
 */

export class LiveView {
  /** @param {string} url @param {(why: 'connection'|'state'|'reconnected'|'captures') => void} onChange */
  constructor(url, onChange) {
    this.onChange = onChange;
    this.arrived = new Rate(); // pictures that came, drawn or left out because they wait for their results
    this.pictures = new Rate(); // those that were drawn, with their ages
    this.results = new Rate();
    this.trend = new Trend();
    this.follower = new MotionFollower();
    this.pacing = new Pacing();
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
    /** @type {import('./notices.js').StoreState} */
    this.store = { problem: null, notice: null };
    /** @type {string|null} why hair is found the simpler way */
    this.segmenterProblem = null;
    /** @type {string|null} */
    this.modelsNotice = null;
    this.modelsWaiting = false; // another bundle was activated, and waits until nobody works
    /** @type {CalibrationState} */
    this.calibration = { why: null, notice: null };
    /** @type {import('./notices.js').HandpieceState} */
    this.handpiece = { state: 'none', message: '', trouble: null, press_problem: null };
    /** @type {number|null} from the range sensor to the skin */
    this.distanceMm = null;
    this.kept = -1; // captures that the daemon has kept since its start
    /** @type {{sequence: number, measurement: Measurement}|null} */
    this.result = null;
    this.next = null;
    this.newest = -1; // sequence of the last picture that came
    this.shown = { sequence: -1, at: 0 };
    this.connection = new LiveConnection(url, {
      onPicture: (header, jpeg, receivedAt) => {
        this.pacing.keep({ header, jpeg, receivedAt });
        this.picture?.show({ header, jpeg, receivedAt });
      },
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
      onDecoded: (header, bitmap) => this.#decoded(header, bitmap),
      onDrawn: (header, ageMs) => this.#drawn(header, ageMs),
      onDone: (header) => this.connection.ackPicture(header.number),
      onBroken: () => {
        this.broken += 1;
      },
      onSize: (width, height) => {
        /** @type {HTMLElement|null} */ (picture.closest('.stage'))?.style.setProperty(
          '--ratio',
          String(width / height),
        );
      },
    });
    new ResizeObserver(() => this.#drawOverlay()).observe(overlay);
    document.addEventListener('visibilitychange', () => {
      // a hidden page draws nothing, so the server lets go of it after a while
      if (!document.hidden && this.connectionState.status === 'lost') this.connection.start();
    });
    this.connection.start();
  }

  /** @param {boolean} on */
  setOverlay(on) {
    this.overlayOn = on;
    this.#drawOverlay();
  }

  /** @returns {Snapshot} */
  snapshot() {
    const now = performance.now();
    const sincePicture = this.pictures.sinceLast(now);
    const sinceResult = this.results.sinceLast(now);
    const patience = Math.max(STALE_MS, (FRAMES_MISSED * 1000) / (this.camera?.fps || Infinity));
    const pictureIsStale = sincePicture === null || sincePicture > patience;
    const resultIsStale = sinceResult === null || sinceResult > patience;
    return {
      connection: this.connectionState,
      camera: this.camera,
      analysisProblem: this.analysisProblem,
      store: this.store,
      segmenterProblem: this.segmenterProblem,
      modelsNotice: this.modelsNotice,
      modelsWaiting: this.modelsWaiting,
      calibration: this.calibration,
      handpiece: this.handpiece,
      distanceMm: this.distanceMm,
      measurement: this.result?.measurement ?? null,
      hasPicture: sincePicture !== null,
      pictureIsStale,
      resultIsStale,
      behind: this.overlayOn && this.behind && !resultIsStale,
      fps: pictureIsStale ? null : this.arrived.perSecond(now),
      results: resultIsStale ? null : this.results.perSecond(now),
      ageMs: pictureIsStale ? null : this.pictures.percentile(0.5),
      trend: this.trend.columns(now),
    };
  }

  /** For the bench: what the page itself measured over the last seconds. */
  stats() {
    const now = performance.now();
    return {
      previewFps: this.arrived.perSecond(now),
      drawnFps: this.pictures.perSecond(now), // lower where pictures wait for their results, see pacing.js
      resultsPerSecond: this.results.perSecond(now),
      ageMs: { p50: this.pictures.percentile(0.5), p95: this.pictures.percentile(0.95) },
      brokenPictures: this.broken,
    };
  }

  /**
   * A picture has come: look how the skin moved, and say whether it is shown now.
   * @param {import('./live.js').FrameHeader} header
   * @param {ImageBitmap} bitmap
   */
  #decoded(header, bitmap) {
    this.arrived.note(performance.now());
    this.follower.note(header.sequence, bitmap);
    const followed = this.newest < 0 ? null : this.follower.sameSkin(this.newest, header.sequence);
    this.newest = header.sequence;
    if (followed !== null) this.pacing.note(followed);
    if (!this.pacing.waiting) return true;
    const followsShown = this.follower.sameSkin(this.shown.sequence, header.sequence) === true;
    return this.pacing.showNow(followsShown, performance.now() - this.shown.at);
  }

  /** @param {import('./live.js').FrameHeader} header @param {number} ageMs */
  #drawn(header, ageMs) {
    const now = performance.now();
    this.pictures.note(now, ageMs);
    this.shown = { sequence: header.sequence, at: now };
    if (this.next?.sequence === header.sequence) this.#showResult();
    else this.#placeOverlay();
  }

  /** @param {number} sequence @param {Measurement} measurement */
  #takeResult(sequence, measurement) {
    this.next = { sequence, measurement };
    const now = performance.now();
    this.results.note(now);
    this.trend.note(
      now,
      measurement.density_per_cm2?.value ?? (measurement.scale.um_per_px ? null : measurement.hair_count),
    );
    const arrived = this.pacing.waiting && sequence !== this.shown.sequence ? this.pacing.arrived(sequence) : undefined;
    if (arrived) this.picture?.showAgain(arrived).catch(() => this.#showResult());
    else requestAnimationFrame(() => this.#showResult());
  }

  /** Make the result that came the one on the screen, and ask for the next. */
  #showResult() {
    const { next, result } = this;
    if (!next) return;
    this.next = null;
    const { hairs, width_px: width } = next.measurement;
    const moved = result ? this.follower.between(result.sequence, next.sequence, width, !this.pacing.waiting) : null;
    this.colours.assign(hairs, moved ?? undefined);
    this.result = next;
    this.#drawOverlay();
    this.connection.ackResult(next.sequence);
  }

  #drawOverlay() {
    if (!this.overlay) return;
    drawOverlay(this.overlay, this.overlayOn ? (this.result?.measurement ?? null) : null, {
      colourOf: (id) => this.colours.of(id),
    });
    this.#placeOverlay();
  }

  /** Move the overlay with the skin; fade it where it is old, hide it over another place. */
  #placeOverlay() {
    const { overlay, result, shown } = this;
    if (!overlay || !result || !this.overlayOn) return;
    const { width_px: width, height_px: height } = result.measurement;
    const shift = this.follower.between(result.sequence, shown.sequence, width, !this.pacing.waiting);
    this.behind = Math.abs(shown.sequence - result.sequence) > LONGEST_LAG;
    overlay.style.opacity = shift?.sure ? (this.behind ? FADED : '1') : '0';
    if (shift?.sure) overlay.style.transform = `translate(${(100 * shift.dx) / width}%, ${(100 * shift.dy) / height}%)`;
  }

  /** @param {any} message */
  #takeState(message) {
    const changed = message.camera?.state !== this.camera?.state || message.camera?.message !== this.camera?.message;
    this.camera = message.camera ?? null;
    this.analysisProblem = message.analysis?.state === 'failing' ? message.analysis.message : '';
    const store = message.store ?? { problem: null, notice: null };
    const segmenterProblem = message.segmenter?.problem ?? null;
    const modelsNotice = message.models?.notice ?? null;
    const modelsWaiting = message.models?.waiting ?? false;
    const modelsChanged = modelsNotice !== this.modelsNotice || modelsWaiting !== this.modelsWaiting;
    const segmenterChanged = segmenterProblem !== this.segmenterProblem || modelsChanged;
    this.segmenterProblem = segmenterProblem;
    this.modelsNotice = modelsNotice;
    this.modelsWaiting = modelsWaiting;
    const calibration = message.calibration ?? { why: null, notice: null };
    const calibrationChanged =
      calibration.why !== this.calibration.why || calibration.notice !== this.calibration.notice;
    this.calibration = calibration;
    const handpiece = message.handpiece ?? this.handpiece;
    const handpieceChanged = JSON.stringify(handpiece) !== JSON.stringify(this.handpiece);
    if (handpieceChanged) this.handpiece = handpiece;
    this.distanceMm = message.stats?.distance_mm ?? null;
    const storeChanged = store.problem !== this.store.problem || store.notice !== this.store.notice;
    if (storeChanged) this.store = store;
    if (changed && this.camera?.state !== 'streaming') this.#forgetPicture(); // the next camera counts from 0 again
    if (changed || storeChanged || segmenterChanged || calibrationChanged || handpieceChanged) this.onChange('state');
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
    this.next = null;
    this.newest = -1;
    this.shown = { sequence: -1, at: 0 };
    for (const each of [this.arrived, this.pictures, this.results, this.follower, this.pacing]) each.clear();
    this.#drawOverlay();
  }
}
