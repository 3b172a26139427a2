/**
 * The kiosk page: puts the live view, the numbers, the charts, the capture controls and the list of captures together,
 * and renders what changed about three times a second.
 */
import { html, Component, render } from './view.js';
import { texts } from './texts.js';
import { cameraName, number } from './format.js';
import { LiveView } from './liveview.js';
import { Stage } from './stage.js';
import { Numbers, Quality } from './numbers.js';
import { Grades } from './grades.js';
import { DiameterChart, TrendChart } from './charts.js';
import { CaptureBar } from './capturebar.js';
import { Notices } from './notices.js';
import { Captures } from './captures.js';
import { Detail } from './detail.js';
import * as api from './api.js';

const RENDER_EVERY_MS = 350; // digits that change faster cannot be read
const FLASH_MS = 180;

class App extends Component {
  constructor() {
    super();
    const address = new URL('/api/live', location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    this.view = new LiveView(address.href, (why) => this.#changed(why));
    this.state = { now: this.view.snapshot(), overlay: true, open: null, list: [], use: null };
    this.version = null;
    this.onModelsRead = () => void api.modelsNoticeRead().catch(() => {}); // it comes again, with its reason
    this.onReady = (/** @type {HTMLCanvasElement} */ picture, /** @type {HTMLCanvasElement} */ overlay) =>
      this.view.start(picture, overlay);
    this.onRetry = () => this.view.connection.start();
    this.onOpen = (/** @type {api.Capture} */ capture, /** @type {api.Capture[]} */ list) =>
      this.setState({ open: capture, list });
    this.onShow = (/** @type {api.Capture} */ capture) => this.setState({ open: capture });
    this.onClose = () => this.#close();
    this.onKept = (/** @type {api.Capture} */ capture) => this.captures?.add(capture);
    this.onFlash = () => this.#flash();
    this.onCaptures = (/** @type {Captures} */ captures) => {
      this.captures = captures;
    };
  }

  componentDidMount() {
    this.timer = setInterval(() => this.setState({ now: this.view.snapshot() }), RENDER_EVERY_MS);
    document.addEventListener('keydown', (event) => {
      if (event.key === 'o' && !event.ctrlKey && !event.metaKey && !this.state.open) this.#toggleOverlay();
    });
    // for the bench: what the page itself measured
    window.trichoscopeStats = () => this.view.stats();
    this.#checkVersion();
    this.#readUse();
  }

  /** @param {'connection'|'state'|'reconnected'|'captures'} why */
  #changed(why) {
    this.setState({ now: this.view.snapshot() });
    if (why === 'captures') this.captures?.refresh();
    if (why !== 'reconnected') return;
    this.captures?.reload();
    this.#checkVersion();
    this.#readUse();
  }

  /** A daemon that came back as another version brings its own page with it. */
  async #checkVersion() {
    try {
      const { version } = await api.status();
      if (this.version && version && version !== this.version) location.reload();
      this.version = version;
    } catch {
      // the connection's own notice says that the daemon is away
    }
  }

  /** The words for results; without them no grade is shown. */
  async #readUse() {
    try {
      this.setState({ use: await api.use() });
    } catch {
      // as above; asked again when the connection is back
    }
  }

  #toggleOverlay() {
    const overlay = !this.state.overlay;
    this.view.setOverlay(overlay);
    this.setState({ overlay });
  }

  #flash() {
    const flash = document.querySelector('#live-stage .flash');
    flash?.classList.add('on');
    setTimeout(() => flash?.classList.remove('on'), FLASH_MS);
  }

  #close() {
    const id = this.state.open?.id;
    this.setState({ open: null });
    /** @type {HTMLElement|null} */ (document.querySelector(`[data-capture="${id}"]`))?.focus();
  }

  render(_, { now, overlay, open, list, use }) {
    const at = open ? list.findIndex((/** @type {api.Capture} */ each) => each.id === open.id) : -1;
    const m = now.measurement;
    const veil = veilOf(now);
    return html`
      <main class="kiosk">
        <header class="top">
          <h1>${texts.product}</h1>
          <${CameraLamp} now=${now} />
          <${Technician} now=${now} />
          <button type="button" role="switch" class="switch" aria-checked=${overlay} aria-keyshortcuts="o"
            title=${overlay ? texts.live.overlayOn : texts.live.overlayOff} onClick=${() => this.#toggleOverlay()}>
            <i></i>${texts.live.overlay}</button>
        </header>
        <${Stage} onReady=${this.onReady} onRetry=${this.onRetry} veil=${veil} measurement=${m}
          behind=${now.behind} />
        <${Notices} store=${now.store} segmenterProblem=${now.segmenterProblem}
          modelsNotice=${now.modelsNotice} onModelsRead=${this.onModelsRead}
          modelsWaiting=${now.modelsWaiting} useNotice=${use?.notice ?? null}
          calibrationProblem=${m && !m.scale.um_per_px ? now.calibration.why : null}
          calibrationNotice=${now.calibration.notice} handpiece=${now.handpiece} />
        <${Captures} onMounted=${this.onCaptures} onOpen=${this.onOpen} />
        <aside class="panel">
          <div class="scroll">
            <${Numbers} measurement=${m} stale=${Boolean(m) && now.resultIsStale}><${Grades} measurement=${m} use=${use} /><//>
            <${Quality} measurement=${m} problem=${now.analysisProblem} />
            <div class="charts">
              <${TrendChart} columns=${now.trend} perCm2=${!m || Boolean(m.scale.um_per_px)} />
              <${DiameterChart} measurement=${m} />
            </div>
          </div>
          <${CaptureBar} ready=${!veil} onKept=${this.onKept} onFlash=${this.onFlash} />
        </aside>
        ${
          open &&
          html`<${Detail} capture=${open} newer=${list[at - 1] ?? null} older=${at < 0 ? null : (list[at + 1] ?? null)}
          use=${use} onShow=${this.onShow} onClose=${this.onClose} />`
        }
      </main>`;
  }
}

/**
 * What must be said over the picture, or null while it is live.
 * @param {import('./liveview.js').Snapshot} now
 * @returns {import('./stage.js').Veil}
 */
function veilOf(now) {
  if (now.connection.status !== 'open') {
    if (now.connection.status === 'connecting' && now.connection.retryAt === null && !now.hasPicture) {
      return { title: texts.live.connecting, detail: '', retry: false };
    }
    const seconds = Math.max(0, Math.ceil(((now.connection.retryAt ?? 0) - performance.now()) / 1000));
    return { title: texts.live.lost, detail: now.connection.reason || texts.live.lostDetail(seconds), retry: true };
  }
  if (now.camera && now.camera.state !== 'streaming') {
    return { title: cameraWords(now.camera.state), detail: now.camera.message || texts.camera.remedy, retry: false };
  }
  if (!now.hasPicture) return { title: texts.live.waiting, detail: '', retry: false };
  if (now.pictureIsStale) return { title: texts.live.stuck, detail: texts.live.stuckDetail, retry: false };
  return null;
}

/** @param {string} state */
function cameraWords(state) {
  return /** @type {Record<string, string>} */ (texts.camera)[state] ?? texts.camera.unknown;
}

/** @param {{now: import('./liveview.js').Snapshot}} props */
function CameraLamp({ now }) {
  const { camera } = now;
  const live = now.connection.status === 'open' && camera?.state === 'streaming' && !now.pictureIsStale;
  const size = camera?.width && camera?.height ? ` ${camera.width}×${camera.height}` : '';
  return html`<div class=${live ? 'camera live' : 'camera'}>
    <i class="lamp"></i><b>${live ? texts.camera.streaming : texts.none}</b><span>${cameraName(camera?.name)}${size}</span>
  </div>`;
}

/** @param {{now: import('./liveview.js').Snapshot}} props */
function Technician({ now }) {
  return html`<dl class="technician" aria-label=${texts.technician.label}>
    <div data-stat="fps"><dt>${texts.technician.fps}</dt><dd>${number(now.fps, 1)}</dd></div>
    <div data-stat="results"><dt>${texts.technician.results}</dt><dd>${number(now.results, 1)}</dd></div>
    <div data-stat="age"><dt>${texts.technician.age}</dt><dd>${number(now.ageMs)}</dd></div>
    ${
      now.handpiece.state === 'ready' &&
      html`<div data-stat="distance"><dt>${texts.technician.distance}</dt><dd>${number(now.distanceMm, 1)}</dd></div>`
    }
  </dl>`;
}

render(html`<${App} />`, /** @type {Element} */ (document.getElementById('app')));
