/**
 * Keeps the overlay on the skin while the handpiece moves: a result belongs to the frame it was made from, which is some
 * frames old when it arrives. Small grey copies of the recent frames are kept (bounded: the oldest is overwritten), and
 * the shift from the result's frame to the one on the screen is found by matching them (least mean absolute
 * difference, then a parabola through the neighbours for the fraction). Costs well under a millisecond a frame.
 */
const ACROSS = 80; // size of the grey copies
const DOWN = 60;
const KEPT = 48; // frames: 1.6 s at 30 fps
const REACH = 6; // cells searched to either side of where the match was last
const LEFT_OUT = 3; // frames: a neighbour as near as this stands for a frame that was not shown
// a match must be this much better than the average of the places searched: the same skin, blurred, noisy and 6 %
// brighter, has 0.1–0.41 on rendered and real frames, another place 0.86–0.96
const FLAT = 0.62;

/**
 * @typedef {{dx: number, dy: number, sure: boolean}} Shift  px of the picture
 * @typedef {{sequence: number, grey: Float32Array}} Kept
 */

export class MotionFollower {
  constructor() {
    const canvas = document.createElement('canvas');
    canvas.width = ACROSS;
    canvas.height = DOWN;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
    /** @type {Kept[]} */
    this.ring = [];
    this.at = 0;
    /** @type {{from: number, x: number, y: number}} the match found last, in cells */
    this.last = { from: -1, x: 0, y: 0 };
  }

  /**
   * Note the frame that is on the screen now.
   * @param {number} sequence
   * @param {CanvasImageSource} picture
   */
  note(sequence, picture) {
    this.context.drawImage(picture, 0, 0, ACROSS, DOWN);
    const rgba = this.context.getImageData(0, 0, ACROSS, DOWN).data;
    const kept = this.ring[this.at] ?? { sequence: 0, grey: new Float32Array(ACROSS * DOWN) };
    let sum = 0;
    for (let cell = 0; cell < kept.grey.length; cell += 1) {
      kept.grey[cell] = rgba[4 * cell] + rgba[4 * cell + 1] + rgba[4 * cell + 2];
      sum += kept.grey[cell];
    }
    const mean = sum / kept.grey.length; // so that a change of light does not count as a difference
    for (let cell = 0; cell < kept.grey.length; cell += 1) kept.grey[cell] -= mean;
    kept.sequence = sequence;
    this.ring[this.at] = kept;
    this.at = (this.at + 1) % KEPT;
  }

  /**
   * Whether one noted frame shows the skin of another, moved a little; null when one of them is not kept.
   * @param {number} from sequence
   * @param {number} to sequence
   * @returns {boolean|null}
   */
  sameSkin(from, to) {
    const a = this.#nearest(from, 0);
    const b = this.#nearest(to, 0);
    return a && b ? a === b || bestShift(a.grey, b.grey, 0, 0).sure : null;
  }

  /**
   * How far the skin has moved in the picture from one noted frame to another. Asked again for the same frame, it goes on
   * from where that was found last, so that a long way can be followed too.
   * @param {number} from sequence
   * @param {number} to sequence
   * @param {number} width of the picture, px
   * @param {boolean} [nearly] also by a neighbour of a frame that was not shown: only where frames can be followed
   * @returns {Shift|null} null when one of them is not kept
   */
  between(from, to, width, nearly = false) {
    const a = this.#nearest(from, nearly ? LEFT_OUT : 0);
    const b = this.#nearest(to, 0);
    if (!a || !b) return null;
    if (a === b) return { dx: 0, dy: 0, sure: true };
    const start = this.last.from === from ? this.last : { x: 0, y: 0 };
    const match = bestShift(a.grey, b.grey, start.x, start.y);
    if (match.sure) this.last = { from, x: Math.round(match.x), y: Math.round(match.y) };
    const cell = width / ACROSS;
    return { dx: match.x * cell, dy: match.y * cell, sure: match.sure };
  }

  /**
   * The kept frame with this sequence, or the nearest one: a slow page leaves frames out.
   * @param {number} sequence
   * @param {number} most how far the sequence may be off
   * @returns {Kept|null}
   */
  #nearest(sequence, most) {
    let nearest = null;
    let gap = most + 1;
    for (const kept of this.ring) {
      if (Math.abs(kept.sequence - sequence) < gap) {
        nearest = kept;
        gap = Math.abs(kept.sequence - sequence);
      }
    }
    return nearest;
  }

  clear() {
    this.ring = [];
    this.at = 0;
    this.last = { from: -1, x: 0, y: 0 };
  }
}

/**
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} startX cells
 * @param {number} startY
 * @returns {{x: number, y: number, sure: boolean}}
 */
function bestShift(a, b, startX, startY) {
  let [bestX, bestY, least, sum, tried] = [0, 0, Infinity, 0, 0];
  for (let y = startY - REACH; y <= startY + REACH; y += 1) {
    for (let x = startX - REACH; x <= startX + REACH; x += 1) {
      const cost = difference(a, b, x, y, 2);
      if (cost === Infinity) continue;
      sum += cost;
      tried += 1;
      if (cost < least) [bestX, bestY, least] = [x, y, cost];
    }
  }
  const inside = Math.abs(bestX - startX) < REACH && Math.abs(bestY - startY) < REACH;
  if (!inside || !(least < FLAT * (sum / tried))) return { x: 0, y: 0, sure: false };
  const centre = difference(a, b, bestX, bestY, 1);
  const fraction = (/** @type {number} */ low, /** @type {number} */ high) => {
    const bend = low + high - 2 * centre;
    return bend > 1e-9 ? Math.max(-0.5, Math.min(0.5, (low - high) / (2 * bend))) : 0;
  };
  return {
    x: bestX + fraction(difference(a, b, bestX - 1, bestY, 1), difference(a, b, bestX + 1, bestY, 1)),
    y: bestY + fraction(difference(a, b, bestX, bestY - 1, 1), difference(a, b, bestX, bestY + 1, 1)),
    sure: true,
  };
}

/**
 * Mean absolute difference where the two overlap, b moved by (x, y) cells against a.
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} x
 * @param {number} y
 * @param {number} step look at every step-th cell of every step-th row
 * @returns {number}
 */
function difference(a, b, x, y, step) {
  let sum = 0;
  let count = 0;
  const left = Math.max(0, -x);
  const right = Math.min(ACROSS, ACROSS - x);
  for (let row = Math.max(0, -y); row < Math.min(DOWN, DOWN - y); row += step) {
    const rowA = row * ACROSS;
    const rowB = (row + y) * ACROSS + x;
    for (let column = left; column < right; column += step) {
      sum += Math.abs(a[rowA + column] - b[rowB + column]);
      count += 1;
    }
  }
  return count > 200 ? sum / count : Infinity; // too small an overlap proves nothing
}
