/**
 * The kept captures as a strip of thumbnails, newest first. Thumbnails load when they come into view; the strip reads
 * page by page and holds a bounded number: past it, the oldest shown make room (they stay in the store).
 */
import { html, Component, createRef } from './view.js';
import { texts } from './texts.js';
import { clock, number, siteName } from './format.js';
import * as api from './api.js';

const PAGE = 24;
const MOST_SHOWN = 240;

/** Properties: `onOpen(capture, list)`, `onMounted(captures)` (who calls `add` and `reload`). */
export class Captures extends Component {
  constructor() {
    super();
    this.strip = createRef();
    /** @type {{list: api.Capture[], more: boolean, loading: boolean, error: api.ApiError|null}} */
    this.state = { list: [], more: false, loading: false, error: null };
  }

  /** The app renders a few times a second; this part only when something of its own changed. */
  shouldComponentUpdate(/** @type {any} */ props, /** @type {any} */ state) {
    return props.onOpen !== this.props.onOpen || state !== this.state;
  }

  componentDidMount() {
    this.props.onMounted(this);
    this.reload();
  }

  /** Read the newest page anew (at the start, and when the server is back). */
  async reload() {
    await this.#read(null);
  }

  /** Put a capture that was just kept at the front. @param {api.Capture} capture */
  add(capture) {
    this.setState((/** @type {any} */ { list }) => ({
      list: [capture, ...list.filter((/** @type {api.Capture} */ each) => each.id !== capture.id)].slice(0, MOST_SHOWN),
    }));
    this.strip.current?.scrollTo({ left: 0 });
  }

  /** @param {number|string|null} before */
  async #read(before) {
    this.setState({ loading: true });
    try {
      const page = await api.captures(PAGE, before);
      this.setState((/** @type {any} */ { list }) => {
        const together = before === null ? page : [...list, ...page];
        return { list: together.slice(0, MOST_SHOWN), more: page.length === PAGE && together.length < MOST_SHOWN, error: null };
      });
    } catch (error) {
      this.setState({ error });
    } finally {
      this.setState({ loading: false });
    }
  }

  render({ onOpen }, { list, more, loading, error }) {
    return html`
      <nav class="captures" aria-label=${texts.captures.label}>
        <div class="strip" ref=${this.strip}>
          ${error && html`<div class="strip-note"><span><b>${texts.captures.failed}.</b> ${error.message}. ${error.remedy}</span>
            <button type="button" onClick=${() => this.reload()}>${texts.captures.retry}</button></div>`}
          ${!error && !list.length && !loading && html`<div class="strip-note">${texts.captures.empty}</div>`}
          ${list.map((/** @type {api.Capture} */ each) => html`
            <button type="button" class="thumbnail" key=${each.id} data-capture=${each.id}
              aria-label=${texts.captures.open(siteName(each.site), clock(each.taken_at))} onClick=${() => onOpen(each, list)}>
              <img src=${api.thumbnailAddress(each.id)} alt="" loading="lazy" decoding="async" draggable=${false} />
              <span class="count">${each.hair_count === null ? '' : texts.captures.hairs(number(each.hair_count))}</span>
              <span class="caption"><b>${siteName(each.site)}</b><span>${clock(each.taken_at)}</span></span>
            </button>`)}
          ${more && html`<button type="button" class="older" disabled=${loading}
            onClick=${() => this.#read(list[list.length - 1].id)}>${texts.captures.more}</button>`}
        </div>
      </nav>`;
  }
}
