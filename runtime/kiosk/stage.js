/**
 * The live picture's place on the page: the canvas with the picture, the canvas with the overlay, the scale bar, and the
 * panel that says what to do when there is no picture. Once mounted the canvases belong to whoever draws; Preact only
 * renders what stands over them.
 */
import { html, Component, createRef } from './view.js';
import { texts } from './texts.js';
import { scaleBar, scaleSource } from './scalebar.js';

/** @typedef {{title: string, detail: string, retry: boolean}|null} Veil what stands over the picture, or nothing */

/** The two canvases. Never rendered anew, so that drawing is not disturbed. */
export class Canvases extends Component {
  constructor() {
    super();
    this.picture = createRef();
    this.overlay = createRef();
  }

  shouldComponentUpdate() {
    return false;
  }

  componentDidMount() {
    this.props.onReady(this.picture.current, this.overlay.current);
  }

  render() {
    return html`<div class="canvases">
      <canvas class="picture" ref=${this.picture} role="img" aria-label=${texts.live.picture}></canvas>
      <canvas class="overlay" ref=${this.overlay} aria-hidden="true"></canvas>
    </div>`;
  }
}

/**
 * @param {{onReady: Function, veil: Veil, measurement: import('./numbers.js').Measurement|null, behind: boolean,
 *   onRetry: () => void}} props
 */
export function Stage({ onReady, veil, measurement, behind, onRetry }) {
  return html`
    <div class="well">
      <div class="stage" id="live-stage">
        <${Canvases} onReady=${onReady} />
        ${!veil && measurement && html`<${ScaleMark} measurement=${measurement} />`}
        ${!veil && behind && html`<span class="badge behind">${texts.live.behind}</span>`}
        <div class="flash"></div>
        ${
          veil &&
          html`
          <div class="veil" role="alert">
            <b>${veil.title}</b><span>${veil.detail}</span>
            ${veil.retry && html`<button type="button" onClick=${onRetry}>${texts.live.retry}</button>`}
          </div>`
        }
      </div>
    </div>`;
}

/**
 * The scale bar with where the scale is from, or the badge that says there is no scale, and why.
 * @param {{measurement: import('./numbers.js').Measurement}} props
 */
export function ScaleMark({ measurement: m }) {
  const bar = scaleBar(m.scale.um_per_px, m.width_px);
  const from = scaleSource(m);
  if (!bar) {
    return html`<span class="badge no-scale" title=${texts.live.noScaleDetail}>${texts.live.noScale}<small>${from}</small></span>`;
  }
  return html`<div class="scale-bar" style=${{ width: `${bar.share * 100}%` }}>
    <span>${bar.label}</span><i></i><small>${from}</small></div>`;
}
