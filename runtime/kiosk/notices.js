/**
 * What stands over the top of the picture: captures that cannot be kept, a store that was found damaged when the program
 * started, hair that is not found as it should be, a microscope without a calibration. A trouble that stops the work stays
 * for as long as it lasts; what a person only has to know can be closed.
 */
import { html, Component } from './view.js';
import { texts } from './texts.js';

/** @typedef {{problem: string|null, notice: string|null}} StoreState */
/** @typedef {{state: string, message: string, trouble: string|null, press_problem: string|null}} HandpieceState */

const HANDPIECE_WELL = ['none', 'opening', 'ready'];

/**
 * Properties: `store`, a StoreState; `segmenterProblem`, why hair is found the simpler way, or null; `modelsNotice`, what is to
 * be known of the installed bundles, or null, and `onModelsRead`, called when it was closed; `modelsWaiting`, whether another bundle
 * waits for a quiet moment; `useNotice`, why another profile of
 * use is in force than was asked for, or null; `calibrationProblem`,
 * why sizes are in pixels, or null; `calibrationNotice`, what is to be known of the profile in use, or null; `handpiece`,
 * a HandpieceState.
 */
export class Notices extends Component {
  constructor() {
    super();
    /** @type {{closed: string[]}} the keys of the notices that were closed */
    this.state = { closed: [] };
  }

  shouldComponentUpdate(/** @type {any} */ props, /** @type {any} */ state) {
    const before = this.props;
    const names = ['store', 'segmenterProblem', 'modelsNotice', 'modelsWaiting', 'useNotice', 'calibrationProblem', 'calibrationNotice', 'handpiece'];
    return state !== this.state || names.some((name) => props[name] !== before[name]);
  }

  render({ store, segmenterProblem, modelsNotice, onModelsRead, modelsWaiting, useNotice, calibrationProblem, calibrationNotice, handpiece }) {
    const works = HANDPIECE_WELL.includes(handpiece.state);
    return html`<div class="notices-over" role="alert">
      ${
        store.problem &&
        html`<div class="notice store-problem"><div><b>${texts.store.problem}</b><span>${store.problem}</span></div></div>`
      }
      ${this.#closable('store-notice', texts.store.notice, store.notice)}
      ${this.#closable('segmenter-notice', texts.segmenter.notice, segmenterProblem)}
      ${this.#closable('models-notice', texts.models.notice, modelsNotice, modelsNotice, onModelsRead)}
      ${this.#closable('models-waiting', texts.models.waiting, modelsWaiting ? texts.models.waitingDetail : null)}
      ${this.#closable('use-notice', texts.use.notice, useNotice)}
      ${this.#closable('calibration-problem', texts.calibration.problem, calibrationProblem)}
      ${this.#closable('calibration-notice', texts.calibration.notice, calibrationNotice)}
      ${this.#closable('handpiece-problem', texts.handpiece.problem, works ? null : handpiece.message, handpiece.state)}
      ${this.#closable('handpiece-trouble', texts.handpiece.trouble, handpiece.trouble)}
      ${this.#closable('handpiece-press', texts.handpiece.press, handpiece.press_problem)}
    </div>`;
  }

  /**
   * @param {string} name
   * @param {string} title
   * @param {string|null} detail
   * @param {string|null} key what stays closed, where the words change while the trouble is the same
   * @param {() => void} [onClosed]
   */
  #closable(name, title, detail, key = detail, onClosed = () => {}) {
    const { closed } = this.state;
    if (!detail || !key || closed.includes(key)) return null;
    return html`<div class=${`notice for-knowing ${name}`}>
      <div><b>${title}</b><span>${detail}</span></div>
      <button type="button" class="close" aria-label=${texts.capture.dismiss}
        onClick=${() => {
          this.setState({ closed: [...closed, key] });
          onClosed();
        }}>✕</button>
    </div>`;
  }
}
