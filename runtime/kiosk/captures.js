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

  /** Read the list anew (at the start, and when the server is back: it may have another store). */
  async reload() {
    await this.#read(null, (page) => page);
  }

  /** Another page has kept something: take what is new in. */
  async refresh() {
    const newest = this.state.list[0]?.id ?? 0;
    await this.#read(null, (page) => [...page.filter((each) => each.id > newest), ...this.state.list]);
  }

  async #older() {
    await this.#read(this.state.list[this.state.list.length - 1].id, (page) => [...this.state.list, ...page]);
  }

  /** Put a capture that was just kept at the front. @param {api.Capture} capture */
  add(capture) {
    this.setState((/** @type {any} */ { list }) => ({
      list: [capture, ...list.filter((/** @type {api.Capture} */ each) => each.id !== capture.id)].slice(0, MOST_SHOWN),
    }));
    this.strip.current?.scrollTo({ left: 0 });
  }

  /**
   * @param {number|null} before
   * @param {(page: api.Capture[]) => api.Capture[]} joined what the list is with this page
   */
  async #read(before, joined) {
    this.setState({ loading: true });
    try {
      const { captures: page, next_before: next } = await api.captures(PAGE, before);
      const list = joined(page);
      const more = (list.length > page.length && before === null ? this.state.more : next !== null) && list.length < MOST_SHOWN;
      this.setState({ list: list.slice(0, MOST_SHOWN), more, error: null });
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
              <img src=${api.thumbnailAddress(each)} alt="" loading="lazy" decoding="async" draggable=${false} />
              <span class="count">${texts.captures.hairs(number(each.hair_count))}</span>
              <span class="caption"><b>${siteName(each.site)}</b><span>${clock(each.taken_at)}</span></span>
            </button>`)}
          ${more && html`<button type="button" class="older" disabled=${loading}
            onClick=${() => this.#older()}>${texts.captures.more}</button>`}
        </div>
      </nav>`;
  }
}
