/**
 * The live picture: decodes a JPEG off the main thread, draws it at its own size into a canvas (the browser's
 * compositor scales it) and says when it has been drawn. Holds one decoded picture at most: a newer one replaces it.
 */

/**
 * @typedef {import('./live.js').FrameHeader} FrameHeader
 * @typedef {{
 *   onDrawn: (header: FrameHeader, ageMs: number, picture: ImageBitmap) => void,
 *   onBroken: (header: FrameHeader, error: unknown) => void,
 * }} PictureHandlers
 */

export class LivePicture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {PictureHandlers} handlers onDrawn: drawn, with its age on arrival plus the time here; onBroken: not a picture
   */
  constructor(canvas, handlers) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    this.handlers = handlers;
    /** @type {{header: FrameHeader, bitmap: ImageBitmap, receivedAt: number}|null} */
    this.waiting = null;
    this.asked = 0;
  }

  /**
   * @param {FrameHeader} header
   * @param {Blob} jpeg
   * @param {number} receivedAt performance.now() of its arrival
   */
  async show(header, jpeg, receivedAt) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(jpeg);
    } catch (error) {
      this.handlers.onBroken(header, error); // USB cameras send short frames as a matter of course
      return;
    }
    if (this.waiting) this.waiting.bitmap.close();
    this.waiting = { header, bitmap, receivedAt };
    if (!this.asked) this.asked = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.asked = 0;
    const next = this.waiting;
    this.waiting = null;
    if (!next) return;
    const { header, bitmap, receivedAt } = next;
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context.drawImage(bitmap, 0, 0);
    this.handlers.onDrawn(header, header.age_ms + performance.now() - receivedAt, bitmap);
    bitmap.close();
  }
}
