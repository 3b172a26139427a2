/**
 * What stands over the top of the picture when captures cannot be kept, or were found damaged when the program started.
 * Trouble stays for as long as it lasts; what happened at the start can be closed.
 */
import { html, Component } from './view.js';
import { texts } from './texts.js';

/** @typedef {{problem: string|null, notice: string|null}} StoreState */

/** Property: `store`, a StoreState. */
export class StoreNotice extends Component {
  constructor() {
    super();
    /** @type {{closed: string|null}} the notice that was closed */
    this.state = { closed: null };
  }

  shouldComponentUpdate(/** @type {any} */ props, /** @type {any} */ state) {
    return props.store !== this.props.store || state !== this.state;
  }

  render({ store }, { closed }) {
    const { problem, notice } = store;
    return html`<div class="store-notices" role="alert">
      ${
        problem &&
        html`<div class="notice store-problem"><div><b>${texts.store.problem}</b><span>${problem}</span></div></div>`
      }
      ${
        notice &&
        notice !== closed &&
        html`<div class="notice store-notice">
          <div><b>${texts.store.notice}</b><span>${notice}</span></div>
          <button type="button" class="close" aria-label=${texts.capture.dismiss}
            onClick=${() => this.setState({ closed: notice })}>✕</button>
        </div>`
      }
    </div>`;
  }
}
