/**
 * The live picture: decodes a JPEG off the main thread, draws it at its own size into a canvas (the browser's
 * compositor scales it) and says when it has been drawn. Holds two decoded pictures at most, the newest that came and
 * one that is to be shown again with its result: a newer one of each kind replaces the older.
 */

/**
 * @typedef {import('./live.js').FrameHeader} FrameHeader
 * @typedef {import('./pacing.js').Arrived} Arrived
 * @typedef {{
 *   onDecoded: (header: FrameHeader, picture: ImageBitmap) => boolean,
 *   onDrawn: (header: FrameHeader, ageMs: number) => void,
 *   onDone: (header: FrameHeader) => void,
 *   onBroken: () => void,
 *   onSize: (width: number, height: number) => void,
 * }} PictureHandlers
 *   onDecoded: says whether to draw it now; onDrawn: with its age on arrival plus the time here; onDone: drawn or left
 *   out, the next one may come; onBroken: the JPEG is not a picture; onSize: before the first picture of another size
 */

/** A turn flag in the JPEG is ignored: the overlay's coordinates are those of the stored pixels. @type {ImageBitmapOptions} */
const AS_STORED = { imageOrientation: 'none' };

export class LivePicture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {PictureHandlers} handlers
   */
  constructor(canvas, handlers) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    this.handlers = handlers;
    /** @type {(Arrived & {bitmap: ImageBitmap})|null} */
    this.newest = null;
    /** @type {(Arrived & {bitmap: ImageBitmap})|null} */
    this.again = null;
    this.asked = 0;
  }

  /**
   * Show a picture that came.
   * @param {Arrived} arrived
   */
  async show(arrived) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(arrived.jpeg, AS_STORED);
    } catch {
      this.handlers.onBroken(); // USB cameras send short frames as a matter of course
      this.handlers.onDone(arrived.header);
      return;
    }
    if (this.newest) this.#release(this.newest);
    this.newest = { ...arrived, bitmap };
    this.#ask();
  }

  /**
   * Show a picture that came before, now that its result is here.
   * @param {Arrived} arrived
   */
  async showAgain(arrived) {
    const bitmap = await createImageBitmap(arrived.jpeg, AS_STORED);
    this.again?.bitmap.close();
    this.again = { ...arrived, bitmap };
    this.#ask();
  }

  #ask() {
    if (!this.asked) this.asked = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.asked = 0;
    const { newest, again } = this;
    this.newest = null;
    this.again = null;
    if (newest) {
      if (this.handlers.onDecoded(newest.header, newest.bitmap)) this.#paint(newest);
      this.#release(newest);
    }
    if (again) {
      this.#paint(again);
      again.bitmap.close();
    }
  }

  /** @param {Arrived & {bitmap: ImageBitmap}} picture */
  #paint({ header, bitmap, receivedAt }) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
      this.handlers.onSize(bitmap.width, bitmap.height);
    }
    this.context.drawImage(bitmap, 0, 0);
    this.handlers.onDrawn(header, header.age_ms + performance.now() - receivedAt);
  }

  /** @param {Arrived & {bitmap: ImageBitmap}} picture */
  #release({ header, bitmap }) {
    bitmap.close();
    this.handlers.onDone(header);
  }
}
