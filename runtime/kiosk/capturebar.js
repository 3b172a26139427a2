/**
 * What the operator's hand is for: the site on the scalp, the big capture button, and the message that says how it went.
 * A refused or failed capture stays on the screen with its remedy until it is closed or the next one is kept, and so does the word
 * that one was measured on a simpler mask than it could have been.
 */
import { html, Component } from './view.js';
import { texts } from './texts.js';
import { siteName } from './format.js';
import * as api from './api.js';

const KEPT_SHOWN_MS = 2000;

/** The six sites with their place on a head seen from above (nose up), in a box of 24. */
export const SITES = [
  { id: 'left temporal', x: 5.4, y: 10.5 },
  { id: 'frontal', x: 12, y: 6.4 },
  { id: 'right temporal', x: 18.6, y: 10.5 },
  { id: 'mid', x: 12, y: 11 },
  { id: 'vertex', x: 12, y: 15.4 },
  { id: 'occipital', x: 12, y: 20 },
];

/** @typedef {{text: string, remedy: string}} Failure */

/** Properties: `ready` (there is a picture to keep), `onKept(capture)`, `onFlash()`. */
export class CaptureBar extends Component {
  constructor() {
    super();
    /** @type {{site: string|null, working: boolean, kept: string, failure: Failure|null, passedOver: string|null}} */
    this.state = { site: null, working: false, kept: '', failure: null, passedOver: null };
    this.timer = 0;
    this.onKey = (/** @type {KeyboardEvent} */ event) => this.#key(event);
  }

  /** The app renders a few times a second; this part only when something of its own changed. */
  shouldComponentUpdate(/** @type {any} */ props, /** @type {any} */ state) {
    return props.ready !== this.props.ready || state !== this.state;
  }

  componentDidMount() {
    document.addEventListener('keydown', this.onKey);
  }

  componentWillUnmount() {
    document.removeEventListener('keydown', this.onKey);
    clearTimeout(this.timer);
  }

  /** Keys for a desk: c captures, 1…6 choose the site. @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || document.querySelector('dialog[open]'))
      return;
    if (event.key === 'c') this.#capture();
    const site = SITES[Number(event.key) - 1];
    if (site) this.#choose(site.id);
  }

  /** @param {string} site */
  #choose(site) {
    this.setState((/** @type {any} */ before) => ({ site: before.site === site ? null : site }));
  }

  async #capture() {
    if (this.state.working || !this.props.ready) return;
    clearTimeout(this.timer);
    this.setState({ working: true, kept: '', failure: null, passedOver: null });
    this.props.onFlash();
    try {
      const kept = await api.capture(this.state.site);
      this.setState({
        kept: kept.site ? texts.capture.keptOf(siteName(kept.site)) : texts.capture.kept,
        passedOver: kept.passed_over,
      });
      this.timer = setTimeout(() => this.setState({ kept: '' }), KEPT_SHOWN_MS);
      this.props.onKept(kept);
    } catch (error) {
      const { message, remedy } = /** @type {api.ApiError} */ (error);
      this.setState({ failure: { text: message || texts.capture.failed, remedy: remedy ?? '' } });
    } finally {
      this.setState({ working: false });
    }
  }

  render({ ready }, { site, working, kept, failure, passedOver }) {
    return html`
      <section class="capture-bar">
        <div class="sites" role="group" aria-label=${texts.sites.label}>
          ${SITES.map(
            (each, index) => html`
            <button type="button" class="site" aria-pressed=${site === each.id} data-site=${each.id}
              aria-keyshortcuts=${String(index + 1)} onClick=${() => this.#choose(each.id)}>
              <${Head} x=${each.x} y=${each.y} /><span>${siteName(each.id)}</span>
            </button>`,
          )}
        </div>
        <button type="button" class=${working ? 'capture working' : kept ? 'capture kept' : 'capture'}
          aria-disabled=${working || !ready} aria-keyshortcuts="c" onClick=${() => this.#capture()}>
          <i class="shutter"></i><span aria-live="polite">${working ? texts.capture.working : kept || texts.capture.button}</span>
        </button>
        <div class="notices" role="alert">
          ${
            failure &&
            html`
            <div class="notice">
              <div><b>${failure.text}</b>${failure.remedy && html`<span>${failure.remedy}</span>`}</div>
              <button type="button" class="close" aria-label=${texts.capture.dismiss}
                onClick=${() => this.setState({ failure: null })}>✕</button>
            </div>`
          }
          ${
            passedOver &&
            html`
            <div class="notice passed-over">
              <div><b>${texts.capture.passedOver}</b><span>${passedOver}</span></div>
              <button type="button" class="close" aria-label=${texts.capture.dismiss}
                onClick=${() => this.setState({ passedOver: null })}>✕</button>
            </div>`
          }
        </div>
      </section>`;
  }
}

/** @param {{x: number, y: number}} props */
function Head({ x, y }) {
  return html`<svg class="head" viewBox="0 0 24 24" aria-hidden="true">
    <path d="M10.6 2.6 12 .8l1.4 1.8" /><ellipse cx="12" cy="12.6" rx="8.6" ry="10" /><circle cx=${x} cy=${y} r="2.7" />
  </svg>`;
}
