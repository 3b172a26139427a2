/**
 * When pictures wait for their results. A microscope that is moved gives frames that can be followed from one to the
 * next, and each is shown at once. A recording of single pictures gives frames that have nothing to do with one another:
 * there the overlay would always lie on a picture it does not belong to. So after some frames in a row that could not be
 * followed, a picture is shown together with its result; as soon as frames can be followed again, at once again.
 * Pictures that wait are still taken and acknowledged at the full rate, so the daemon's preview is not throttled and the
 * page's frame rate counts them; what it draws then is as many pictures as there are results.
 */
const CUTS = 3; // in a row, then pictures wait: the handpiece set down elsewhere gives one or two
const FOLLOWED = 2; // in a row, then they no longer do
const LONGEST_WAIT_MS = 1000; // without a result for so long, the picture is shown alone
const KEPT = 24; // pictures as they came, JPEG: the oldest is dropped

/** @typedef {{header: import('./live.js').FrameHeader, jpeg: Blob, receivedAt: number}} Arrived */

export class Pacing {
  constructor() {
    this.waiting = false;
    this.run = 0; // frames in a row: cuts above 0, followed below
    /** @type {Arrived[]} */
    this.recent = [];
  }

  /** @param {Arrived} arrived */
  keep(arrived) {
    this.recent.push(arrived);
    if (this.recent.length > KEPT) this.recent.shift();
  }

  /** The picture of a sequence as it came, or undefined. @param {number} sequence */
  arrived(sequence) {
    return this.recent.find((each) => each.header.sequence === sequence);
  }

  /** Note whether the newest frame could be followed from the one before it. @param {boolean} followed */
  note(followed) {
    this.run = followed ? Math.min(0, this.run) - 1 : Math.max(0, this.run) + 1;
    if (this.run >= CUTS) this.waiting = true;
    if (this.run <= -FOLLOWED) this.waiting = false;
  }

  /**
   * Whether a picture that came is shown now.
   * @param {boolean} followsShown it is a moved view of the picture on the screen
   * @param {number} sinceShownMs how long that has been there
   */
  showNow(followsShown, sinceShownMs) {
    return !this.waiting || followsShown || sinceShownMs > LONGEST_WAIT_MS;
  }

  clear() {
    this.waiting = false;
    this.run = 0;
    this.recent = [];
  }
}
