/**
 * One kept capture over the whole page: its picture with the hairs that were measured on it, its numbers, and the hair
 * under the finger (or the one that the arrow keys have reached) set apart with its diameter. A modal <dialog>: the browser
 * keeps the focus inside, and Escape goes back to live.
 */
import { html, Component, createRef } from './view.js';
import { texts } from './texts.js';
import { clock, length, number, percent, plusMinus, siteName } from './format.js';
import { drawOverlay, hairAt } from './overlay.js';
import { HairColours } from './colours.js';
import { ScaleMark } from './stage.js';
import { Numbers, Quality } from './numbers.js';
import { Grades } from './grades.js';
import { DiameterChart } from './charts.js';
import * as api from './api.js';

const REACH = 26; // CSS pixels from a hair's edge: half of a gloved fingertip

/** Properties: `capture`, `newer`, `older` (captures or null), `use` (a Use or null), `onShow(capture)`, `onClose()`. */
export class Detail extends Component {
  constructor() {
    super();
    /** @type {{capture: api.Capture|null, error: api.ApiError|null, chosen: number|null, overlay: boolean}} */
    this.state = { capture: null, error: null, chosen: null, overlay: true };
    this.colours = new HairColours();
    this.dialog = createRef();
    this.overlay = createRef();
  }

  componentDidMount() {
    const dialog = this.dialog.current;
    dialog.showModal();
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.overlay.current);
    this.#open(this.props.capture.id);
  }

  componentDidUpdate(/** @type {any} */ before) {
    if (before.capture.id !== this.props.capture.id) this.#open(this.props.capture.id);
    this.#draw();
  }

  componentWillUnmount() {
    this.observer?.disconnect();
  }

  /** @param {number} id */
  async #open(id) {
    this.setState({ capture: null, error: null, chosen: null });
    try {
      const capture = await api.captureById(id);
      if (id !== this.props.capture.id) return; // another one was asked for meanwhile
      this.colours.assign(capture.measurement?.hairs ?? []);
      this.setState({ capture });
    } catch (error) {
      if (id === this.props.capture.id) this.setState({ error });
    }
  }

  #pictureMissing() {
    this.setState({ error: new api.ApiError(texts.detail.pictureMissing, texts.detail.pictureRemedy, 0) });
  }

  #draw() {
    const canvas = /** @type {HTMLCanvasElement|null} */ (this.overlay.current);
    if (!canvas) return;
    const measurement = this.state.overlay ? (this.state.capture?.measurement ?? null) : null;
    drawOverlay(canvas, measurement, { colourOf: (id) => this.colours.of(id), highlight: this.state.chosen });
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const m = this.state.capture?.measurement;
    if (!m || (event.pointerType !== 'mouse' && event.type === 'pointermove' && !event.buttons)) return;
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    const scale = m.width_px / box.width;
    const x = (event.clientX - box.left) * scale - 0.5;
    const y = (event.clientY - box.top) * scale - 0.5;
    const chosen = hairAt(m.hairs, x, y, REACH * scale)?.id ?? null;
    if (chosen !== this.state.chosen) this.setState({ chosen });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const hairs = this.state.capture?.measurement?.hairs ?? [];
    if (!step || !hairs.length) return;
    event.preventDefault();
    const at = hairs.findIndex((hair) => hair.id === this.state.chosen);
    const next = at < 0 ? (step > 0 ? 0 : hairs.length - 1) : (at + step + hairs.length) % hairs.length;
    this.setState({ chosen: hairs[next].id });
  }

  render({ capture: asked, newer, older, use, onShow, onClose }, { capture, error, chosen, overlay }) {
    const m = capture?.measurement ?? null;
    const hair = m?.hairs.find((/** @type {any} */ each) => each.id === chosen) ?? null;
    const ratio = m ? m.width_px / m.height_px : asked.width_px / asked.height_px;
    return html`
      <dialog class="detail" ref=${this.dialog} aria-label=${texts.detail.label} onClose=${onClose}>
        <header>
          <button type="button" class="back" onClick=${() => this.dialog.current?.close()}>
            <span aria-hidden="true">←</span> ${texts.detail.close}</button>
          <h2>${siteName(asked.site)}<small>${clock(asked.taken_at)}</small></h2>
          <button type="button" role="switch" class="switch" aria-checked=${overlay}
            onClick=${() => this.setState({ overlay: !overlay })}><i></i>${texts.live.overlay}</button>
          <button type="button" disabled=${!newer} onClick=${() => newer && onShow(newer)}>‹ ${texts.detail.newer}</button>
          <button type="button" disabled=${!older} onClick=${() => older && onShow(older)}>${texts.detail.older} ›</button>
        </header>
        <div class="well">
          <div class="stage" style=${{ '--ratio': String(ratio) }} tabindex="0" role="application"
            aria-label=${texts.detail.picture}
            onPointerMove=${(/** @type {PointerEvent} */ e) => this.#point(e)}
            onPointerDown=${(/** @type {PointerEvent} */ e) => this.#point(e)}
            onKeyDown=${(/** @type {KeyboardEvent} */ e) => this.#key(e)}>
            <img class="picture" src=${api.pictureAddress(asked)} alt="" draggable=${false}
              onError=${() => this.#pictureMissing()} />
            <canvas class="overlay" ref=${this.overlay}></canvas>
            ${m && html`<${ScaleMark} measurement=${m} />`}
            ${
              error &&
              html`<div class="veil"><b>${texts.detail.failed}</b>
              <span>${error.message}. ${error.remedy}</span></div>`
            }
          </div>
        </div>
        <aside class="panel">
          <div class="scroll">
            <${HairNote} hair=${hair} umPerPx=${m?.scale.um_per_px ?? null} colour=${hair ? this.colours.of(hair.id) : ''}
              waiting=${!capture && !error} none=${Boolean(capture) && !m} />
            <${Numbers} measurement=${m} />
            <${Grades} measurement=${m} use=${use} whole />
            <${Quality} measurement=${m} />
            <${DiameterChart} measurement=${m} />
          </div>
        </aside>
      </dialog>`;
  }
}

/** @param {{hair: import('./overlay.js').Hair|null, umPerPx: number|null, colour: string, waiting: boolean, none: boolean}} props */
function HairNote({ hair, umPerPx, colour, waiting, none }) {
  if (!hair) {
    const words = waiting ? texts.detail.loading : none ? texts.detail.noMeasurement : texts.detail.touch;
    return html`<div class="hair-note" role="status"><span class="hint">${words}</span></div>`;
  }
  const thin = umPerPx && hair.diameter_um === null && hair.diameter_um_max !== null;
  const value = thin
    ? texts.detail.thinner(number(hair.diameter_um_max))
    : number(umPerPx ? hair.diameter_um : hair.diameter_px, umPerPx ? 0 : 1);
  return html`
    <div class="hair-note" role="status">
      <i class="swatch" style=${{ background: colour }}></i>
      <div class="reading"><span class="value">${value}</span>
        <span class="unit">${thin ? '' : umPerPx ? texts.numbers.um : texts.numbers.px}</span>
        <span class="error">${umPerPx && !thin ? plusMinus(hair.diameter_um_std) : ''}</span></div>
      <div class="rest">${texts.detail.hair(hair.id + 1)} · ${texts.detail.long(length(hair.length_px, umPerPx))}<br />
        ${hair.rooted ? texts.detail.rooted : texts.detail.unrooted} ·
        ${' '}${texts.detail.confidence(percent(hair.confidence))}</div>
    </div>`;
}
