/**
 * The kept captures as a strip of thumbnails, newest first. Thumbnails load when they come into view; the strip reads
 * page by page and holds a bounded number: past it, the oldest shown make room (they stay in the store).
 */
import { html, Component, createRef } from './view.js';
import { texts } from './texts.js';
import { clock, siteName } from './format.js';
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

  /** Put a capture that was just kept at the front. @param {api.Capture} capture */
  add(capture) {
    this.setState((/** @type {any} */ { list }) => ({ list: together([capture], list).slice(0, MOST_SHOWN) }));
    this.strip.current?.scrollTo({ left: 0 });
  }

  /** Read the list anew (at the start, and when the server is back: it may have another store). */
  reload() {
    return this.#read(null, ({ captures, next_before: next }) => ({ list: captures, more: next !== null }));
  }

  /** Another page has kept something: take what is new in. */
  refresh() {
    return this.#read(null, ({ captures }, { list, more }) => ({ list: together(captures, list), more }));
  }

  #older() {
    const last = this.state.list[this.state.list.length - 1].id;
    return this.#read(last, ({ captures, next_before: next }, { list }) => ({
      list: together(list, captures),
      more: next !== null,
    }));
  }

  /**
   * @param {number|null} before
   * @param {(page: api.CapturePage, now: {list: api.Capture[], more: boolean}) => {list: api.Capture[], more: boolean}} joined
   *   what is shown with this page; `now` is what is shown when it has come, not when it was asked for
   */
  async #read(before, joined) {
    this.setState({ loading: true });
    try {
      const page = await api.captures(PAGE, before);
      this.setState((/** @type {any} */ now) => {
        const { list, more } = joined(page, now);
        return { list: list.slice(0, MOST_SHOWN), more: more && list.length < MOST_SHOWN, error: null };
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
          ${
            error &&
            html`<div class="strip-note"><span><b>${texts.captures.failed}.</b> ${error.message}. ${error.remedy}</span>
            <button type="button" onClick=${() => this.reload()}>${texts.captures.retry}</button></div>`
          }
          ${!error && !list.length && !loading && html`<div class="strip-note">${texts.captures.empty}</div>`}
          ${list.map(
            (/** @type {api.Capture} */ each) => html`
            <button type="button" class="thumbnail" key=${each.id} data-capture=${each.id}
              aria-label=${texts.captures.open(each.site ? siteName(each.site) : '', clock(each.taken_at))}
              onClick=${() => onOpen(each, list)}>
              <img src=${api.thumbnailAddress(each)} alt="" loading="lazy" decoding="async" draggable=${false} />
              <span class="count">${texts.captures.hairs(each.hair_count)}</span>
              <span class="caption"><b>${each.site ? siteName(each.site) : ''}</b><span>${clock(each.taken_at)}</span></span>
            </button>`,
          )}
          ${
            more &&
            html`<button type="button" class="older" disabled=${loading}
            onClick=${() => this.#older()}>${texts.captures.more}</button>`
          }
        </div>
      </nav>`;
  }
}

/**
 * Two lists as one, newest first, each capture once.
 * @param {api.Capture[]} a
 * @param {api.Capture[]} b
 * @returns {api.Capture[]}
 */
function together(a, b) {
  const byId = new Map([...b, ...a].map((each) => [each.id, each]));
  return [...byId.values()].sort((one, other) => other.id - one.id);
}
