/**
 * The connection to `/api/live`: opens it, takes it apart into pictures, results and states, and opens it again
 * with a capped back-off when it breaks, for as long as the page lives. It draws nothing; whoever drew a picture or
 * a result says so with `ackPicture` / `ackResult`, and the server sends the next one only then.
 */
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 5000; // the kiosk is on loopback: a longer wait would only keep a person waiting
const GROWTH = 1.7;
const LONGEST_HEADER = 4096; // bytes; a header is under 200
const CONNECT_DEADLINE_MS = 8000;
const SILENCE_MS = 8000; // the server tells its state every second: longer silence is a dead connection

/**
 * @typedef {{number: number, sequence: number, width: number, height: number, age_ms: number}} FrameHeader
 * @typedef {{status: 'connecting'|'open'|'lost', retryAt: number|null, reason: string}} ConnectionState
 *   retryAt: performance.now() ms of the next attempt; reason: the server's words, where it gave any
 * @typedef {{
 *   onPicture: (header: FrameHeader, jpeg: Blob, receivedAt: number) => void,
 *   onResult: (sequence: number, measurement: object) => void,
 *   onState: (message: object) => void,
 *   onConnection: (state: ConnectionState) => void,
 * }} LiveHandlers
 */

/**
 * Take one binary message apart: 4 bytes big-endian length, that many bytes of JSON, then the JPEG.
 * @param {ArrayBuffer} buffer
 * @returns {{header: FrameHeader, jpeg: Blob}}
 * @throws {Error} when it is not such a message
 */
export function parsePicture(buffer) {
  if (buffer.byteLength < 4) throw new Error('picture message: shorter than its length field');
  const size = new DataView(buffer).getUint32(0);
  if (size > LONGEST_HEADER || 4 + size > buffer.byteLength) throw new Error('picture message: header length is wrong');
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  if (!Number.isInteger(header.number)) throw new Error('picture message: no number');
  return { header, jpeg: new Blob([new Uint8Array(buffer, 4 + size)], { type: 'image/jpeg' }) };
}

export class LiveConnection {
  /**
   * @param {string} url ws:// address
   * @param {LiveHandlers} handlers
   */
  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
    /** @type {WebSocket|null} */
    this.socket = null;
    this.waitMs = FIRST_WAIT_MS;
    this.timer = 0;
  }

  start() {
    clearTimeout(this.timer);
    this.#drop();
    this.handlers.onConnection({ status: 'connecting', retryAt: null, reason: '' });
    const socket = new WebSocket(this.url);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    this.#expect(socket, CONNECT_DEADLINE_MS);
    socket.onopen = () => {
      this.#expect(socket, SILENCE_MS);
      this.handlers.onConnection({ status: 'open', retryAt: null, reason: '' });
    };
    socket.onmessage = (event) => {
      this.#expect(socket, SILENCE_MS);
      this.#take(event.data);
    };
    socket.onclose = (event) => this.#lost(socket, event.reason);
  }

  /** @param {number} number */
  ackPicture(number) {
    this.#send({ type: 'ack', number });
  }

  /** @param {number} sequence */
  ackResult(sequence) {
    this.#send({ type: 'ack_result', sequence });
  }

  /**
   * Give the socket up unless something arrives in time. A dead peer never answers `close`, so it is not waited for.
   * @param {WebSocket} socket
   * @param {number} ms
   */
  #expect(socket, ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      socket.close();
      this.#lost(socket);
    }, ms);
  }

  /** @param {object} message */
  #send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** @param {ArrayBuffer|string} data */
  #take(data) {
    const receivedAt = performance.now();
    this.waitMs = FIRST_WAIT_MS; // only a server that really sends has earned a quick retry
    try {
      if (data instanceof ArrayBuffer) {
        const { header, jpeg } = parsePicture(data);
        this.handlers.onPicture(header, jpeg, receivedAt);
        return;
      }
      const message = JSON.parse(data);
      if (message.type === 'result') this.handlers.onResult(message.sequence, message.measurement);
      else if (message.type === 'state') this.handlers.onState(message);
    } catch (error) {
      console.warn('live: a message was left out:', error);
    }
  }

  /** @param {WebSocket} socket @param {string} [reason] */
  #lost(socket, reason = '') {
    if (socket !== this.socket) return;
    clearTimeout(this.timer);
    this.socket = null;
    const wait = this.waitMs * (0.8 + 0.4 * Math.random()); // spread, so that pages do not knock all at once
    this.waitMs = Math.min(LONGEST_WAIT_MS, this.waitMs * GROWTH);
    this.timer = setTimeout(() => this.start(), wait);
    this.handlers.onConnection({ status: 'lost', retryAt: performance.now() + wait, reason });
  }

  #drop() {
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
  }
}
