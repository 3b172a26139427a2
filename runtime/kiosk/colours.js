/**
 * Which colour each hair has, kept from one result to the next: hairs get new ids with every frame, so a hair takes the
 * colour of the hair that lay in its place before (moved by how far the skin moved between the two frames).
 */

/** @typedef {import('./overlay.js').Hair} Hair */

// told apart from each other and from skin, redness and hair: no red, orange or brown
export const PALETTE = ['#2ee6e6', '#b6f03c', '#ffe14d', '#6db2ff', '#d08bff', '#3df0a0', '#f4f4f4', '#ff7df0'];
const NEAR_PX = 14; // how far a hair may seem to have moved across itself between two results
const KEEP_EVERY = 2; // every second point (≤ 16 px apart) is enough to recognise a course

export class HairColours {
  constructor() {
    /** @type {{colour: string, course: [number, number][]}[]} */
    this.before = [];
    /** @type {Map<number, string>} */
    this.colours = new Map();
    this.next = 0;
  }

  /**
   * Give every hair of a new result its colour.
   * @param {Hair[]} hairs
   * @param {{dx: number, dy: number}} [moved] how far the skin moved in the picture since the result before, px
   */
  assign(hairs, moved = { dx: 0, dy: 0 }) {
    const free = new Set(this.before);
    const colours = new Map();
    for (const hair of hairs) {
      const match = this.#nearest(hair, free, moved);
      if (match) {
        free.delete(match);
        colours.set(hair.id, match.colour);
      }
    }
    for (const hair of hairs) {
      if (!colours.has(hair.id)) colours.set(hair.id, this.#unused(colours));
    }
    this.colours = colours;
    this.before = hairs.map((hair) => ({ colour: colours.get(hair.id), course: courseOf(hair) }));
  }

  /** @param {number} id @returns {string} */
  of(id) {
    return this.colours.get(id) ?? PALETTE[id % PALETTE.length];
  }

  /** The palette's colour that the fewest hairs have. @param {Map<number, string>} colours */
  #unused(colours) {
    const uses = new Map(PALETTE.map((colour) => [colour, 0]));
    for (const colour of colours.values()) uses.set(colour, (uses.get(colour) ?? 0) + 1);
    const fewest = Math.min(...uses.values());
    for (let turn = 0; turn < PALETTE.length; turn += 1) {
      const colour = PALETTE[(this.next + turn) % PALETTE.length];
      if (uses.get(colour) === fewest) {
        this.next = (this.next + turn + 1) % PALETTE.length;
        return colour;
      }
    }
    return PALETTE[0];
  }

  /**
   * @param {Hair} hair
   * @param {Set<{colour: string, course: [number, number][]}>} free
   * @param {{dx: number, dy: number}} moved
   */
  #nearest(hair, free, moved) {
    let best = null;
    let least = NEAR_PX;
    const last = hair.points.length - 1;
    if (last < 0) return null;
    const probes = [0.25, 0.5, 0.75].map((share) => hair.points[Math.round(share * last)]);
    for (const earlier of free) {
      let sum = 0;
      for (const [x, y] of probes) {
        let nearest = Infinity;
        for (const [ex, ey] of earlier.course) {
          nearest = Math.min(nearest, Math.hypot(x - moved.dx - ex, y - moved.dy - ey));
        }
        sum += nearest;
        if (sum >= least * probes.length) break;
      }
      if (sum / probes.length < least) {
        least = sum / probes.length;
        best = earlier;
      }
    }
    return best;
  }
}

/** @param {Hair} hair @returns {[number, number][]} */
function courseOf(hair) {
  return hair.points.filter((_, index) => index % KEEP_EVERY === 0).map(([x, y]) => [x, y]);
}
