/**
 * What stands over the top of the picture: captures that cannot be kept, a store that was found damaged when the program
 * started, hair that is not found as it should be, a microscope without a calibration. A trouble that stops the work stays
 * for as long as it lasts; what a person only has to know can be closed.
 */
import { html, Component } from './view.js';
import { texts } from './texts.js';

/** @typedef {{problem: string|null, notice: string|null}} StoreState */

/**
 * Properties: `store`, a StoreState; `segmenterProblem`, why hair is found the simpler way, or null; `calibrationProblem`,
 * why sizes are in pixels, or null; `calibrationNotice`, what is to be known of the profile in use, or null.
 */
export class Notices extends Component {
  constructor() {
    super();
    /** @type {{closed: string[]}} the details of the notices that were closed */
    this.state = { closed: [] };
  }

  shouldComponentUpdate(/** @type {any} */ props, /** @type {any} */ state) {
    const before = this.props;
    const names = ['store', 'segmenterProblem', 'calibrationProblem', 'calibrationNotice'];
    return state !== this.state || names.some((name) => props[name] !== before[name]);
  }

  render({ store, segmenterProblem, calibrationProblem, calibrationNotice }) {
    return html`<div class="notices-over" role="alert">
      ${
        store.problem &&
        html`<div class="notice store-problem"><div><b>${texts.store.problem}</b><span>${store.problem}</span></div></div>`
      }
      ${this.#closable('store-notice', texts.store.notice, store.notice)}
      ${this.#closable('segmenter-notice', texts.segmenter.notice, segmenterProblem)}
      ${this.#closable('calibration-problem', texts.calibration.problem, calibrationProblem)}
      ${this.#closable('calibration-notice', texts.calibration.notice, calibrationNotice)}
    </div>`;
  }

  /** @param {string} name @param {string} title @param {string|null} detail */
  #closable(name, title, detail) {
    const { closed } = this.state;
    if (!detail || closed.includes(detail)) return null;
    return html`<div class=${`notice for-knowing ${name}`}>
      <div><b>${title}</b><span>${detail}</span></div>
      <button type="button" class="close" aria-label=${texts.capture.dismiss}
        onClick=${() => this.setState({ closed: [...closed, detail] })}>✕</button>
    </div>`;
  }
}
