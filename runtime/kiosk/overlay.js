/**
 * The drawing over a picture: every hair's course as a line with a translucent band as wide as the hair was measured,
 * ostia as rings (those of a follicular unit joined by a disc with its number of hairs), and the hair under the finger
 * set apart. Coordinates are pixels of the picture, centres at integers; the caller gives the scale to the canvas.
 */

/**
 * @typedef {[number, number, number|null]} Point  x, y, diameter in px or null
 * @typedef {{id: number, follicle_id: number|null, diameter_px: number|null, diameter_um: number|null,
 *   diameter_um_std: number|null, diameter_um_max: number|null, length_px: number, rooted: boolean,
 *   confidence: number, points: Point[]}} Hair
 * @typedef {{id: number, x: number, y: number, hair_ids: number[]}} Follicle
 * @typedef {{width_px: number, height_px: number, hairs: Hair[], follicles: Follicle[]}} Drawable
 * @typedef {{colourOf: (id: number) => string, highlight?: number|null, ticks?: boolean}} OverlayLook
 */

const LINE = 1.7; // widths of lines in display pixels: the same at every size of picture
const HALO = 3.6;
const BAND_ALPHA = 0.34;
const RING_RADIUS = 6.5;
const TICK_EVERY = 4; // points between two width ticks of the highlighted hair
const DIMMED = 0.22;

/**
 * Size a canvas to its place on the screen (at most two device pixels a CSS pixel) and draw.
 * @param {HTMLCanvasElement} canvas
 * @param {Drawable|null} measurement null clears
 * @param {OverlayLook} look
 */
export function drawOverlay(canvas, measurement, look) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const density = Math.min(2, window.devicePixelRatio || 1);
  const width = Math.round(canvas.clientWidth * density);
  const height = Math.round(canvas.clientHeight * density);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!measurement || !width || !height) return;
  const scale = width / measurement.width_px; // display pixels per picture pixel
  context.setTransform(scale, 0, 0, scale, scale / 2, scale / 2); // half a pixel: centres are at integers
  context.lineJoin = 'round';
  context.lineCap = 'round';
  const unit = density / scale; // one CSS pixel in picture pixels
  const chosen = look.highlight ?? null;
  for (const hair of measurement.hairs) {
    if (hair.id !== chosen) drawHair(context, hair, look.colourOf(hair.id), unit, chosen === null ? 1 : DIMMED);
  }
  drawFollicles(context, measurement, unit, chosen === null ? 1 : DIMMED * 2);
  const hair = chosen === null ? undefined : measurement.hairs.find((each) => each.id === chosen);
  if (hair) {
    drawHair(context, hair, look.colourOf(hair.id), unit, 1);
    drawTicks(context, hair, unit);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Hair} hair
 * @param {string} colour
 * @param {number} unit
 * @param {number} alpha
 */
function drawHair(context, hair, colour, unit, alpha) {
  if (hair.points.length < 2) return;
  context.globalAlpha = alpha * BAND_ALPHA;
  context.fillStyle = colour;
  context.fill(bandOf(hair.points));
  const course = new Path2D();
  hair.points.forEach(([x, y], index) => (index ? course.lineTo(x, y) : course.moveTo(x, y)));
  context.globalAlpha = alpha * 0.4;
  context.strokeStyle = '#000';
  context.lineWidth = HALO * unit;
  context.stroke(course);
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.lineWidth = LINE * unit;
  context.stroke(course);
}

/**
 * The area that the hair covers: its course, half a diameter to either side, left out where no width was had.
 * @param {Point[]} points
 * @returns {Path2D}
 */
export function bandOf(points) {
  const band = new Path2D();
  let from = 0;
  while (from < points.length) {
    if (points[from][2] === null) {
      from += 1;
      continue;
    }
    let to = from;
    while (to + 1 < points.length && points[to + 1][2] !== null) to += 1;
    if (to > from) addRun(band, points, from, to);
    from = to + 1;
  }
  return band;
}

/**
 * @param {Path2D} band
 * @param {Point[]} points
 * @param {number} from
 * @param {number} to
 */
function addRun(band, points, from, to) {
  for (let index = from; index <= to; index += 1) {
    const [nx, ny] = normalAt(points, index);
    const half = /** @type {number} */ (points[index][2]) / 2;
    if (index === from) band.moveTo(points[index][0] + nx * half, points[index][1] + ny * half);
    else band.lineTo(points[index][0] + nx * half, points[index][1] + ny * half);
  }
  for (let index = to; index >= from; index -= 1) {
    const [nx, ny] = normalAt(points, index);
    const half = /** @type {number} */ (points[index][2]) / 2;
    band.lineTo(points[index][0] - nx * half, points[index][1] - ny * half);
  }
  band.closePath();
}

/**
 * Unit vector across the course at a point.
 * @param {Point[]} points
 * @param {number} index
 * @returns {[number, number]}
 */
function normalAt(points, index) {
  const before = points[Math.max(0, index - 1)];
  const after = points[Math.min(points.length - 1, index + 1)];
  const dx = after[0] - before[0];
  const dy = after[1] - before[1];
  const long = Math.hypot(dx, dy) || 1;
  return [-dy / long, dx / long];
}

/**
 * Width ticks across the hair under the finger.
 * @param {CanvasRenderingContext2D} context
 * @param {Hair} hair
 * @param {number} unit
 */
function drawTicks(context, hair, unit) {
  const ticks = new Path2D();
  for (let index = 1; index < hair.points.length - 1; index += TICK_EVERY) {
    const [x, y, diameter] = hair.points[index];
    if (diameter === null) continue;
    const [nx, ny] = normalAt(hair.points, index);
    const half = diameter / 2 + 3 * unit;
    ticks.moveTo(x - nx * half, y - ny * half);
    ticks.lineTo(x + nx * half, y + ny * half);
  }
  context.globalAlpha = 1;
  context.strokeStyle = '#fff';
  context.lineWidth = 1.3 * unit;
  context.stroke(ticks);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Drawable} measurement
 * @param {number} unit
 * @param {number} alpha
 */
function drawFollicles(context, measurement, unit, alpha) {
  const diameters = new Map(measurement.hairs.map((hair) => [hair.id, hair.diameter_px ?? 0]));
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  for (const follicle of measurement.follicles) {
    const widest = Math.max(0, ...follicle.hair_ids.map((id) => diameters.get(id) ?? 0));
    const radius = Math.max(RING_RADIUS * unit, widest * 0.75);
    const ring = new Path2D();
    ring.arc(follicle.x, follicle.y, radius, 0, 2 * Math.PI);
    context.globalAlpha = alpha * 0.55;
    context.strokeStyle = '#000';
    context.lineWidth = 4 * unit;
    context.stroke(ring);
    context.globalAlpha = alpha;
    context.strokeStyle = '#fff';
    context.lineWidth = 2 * unit;
    context.setLineDash(follicle.hair_ids.length ? [] : [3.4 * unit, 3.4 * unit]);
    context.stroke(ring);
    context.setLineDash([]);
    if (follicle.hair_ids.length > 1) drawUnit(context, follicle, radius, unit, alpha);
  }
}

/**
 * The mark of a follicular unit: a faint disc around the opening and how many hairs leave it.
 * @param {CanvasRenderingContext2D} context
 * @param {Follicle} follicle
 * @param {number} radius
 * @param {number} unit
 * @param {number} alpha
 */
function drawUnit(context, follicle, radius, unit, alpha) {
  context.globalAlpha = alpha * 0.16;
  context.fillStyle = '#fff';
  context.beginPath();
  context.arc(follicle.x, follicle.y, radius + 9 * unit, 0, 2 * Math.PI);
  context.fill();
  const x = follicle.x + radius + 7 * unit;
  const y = follicle.y - radius - 5 * unit;
  context.globalAlpha = alpha * 0.75;
  context.fillStyle = '#000';
  context.beginPath();
  context.arc(x, y, 8 * unit, 0, 2 * Math.PI);
  context.fill();
  context.globalAlpha = alpha;
  context.fillStyle = '#fff';
  context.font = `600 ${11.5 * unit}px system-ui, sans-serif`;
  context.fillText(String(follicle.hair_ids.length), x, y + 0.5 * unit);
}

/**
 * The hair nearest to a place, no farther than `reach` from its edge.
 * @param {Hair[]} hairs
 * @param {number} x picture pixels
 * @param {number} y
 * @param {number} reach picture pixels
 * @returns {Hair|null}
 */
export function hairAt(hairs, x, y, reach) {
  let nearest = null;
  let least = reach;
  for (const hair of hairs) {
    const half = (hair.diameter_px ?? 0) / 2;
    for (let index = 1; index < hair.points.length; index += 1) {
      const gap = distanceToSegment(x, y, hair.points[index - 1], hair.points[index]) - half;
      if (gap < least) {
        least = gap;
        nearest = hair;
      }
    }
  }
  return nearest;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {Point} a
 * @param {Point} b
 * @returns {number}
 */
function distanceToSegment(x, y, a, b) {
  const dx = b[0] - a[0];
  const dy = b[1] - a[1];
  const along = Math.max(0, Math.min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - a[0] - along * dx, y - a[1] - along * dy);
}
