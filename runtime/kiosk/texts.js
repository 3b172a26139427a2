/**
 * Every word that the page shows, in one place, so that a translation is a second file like this one.
 * Functions take what varies; nothing here decides anything.
 */
export const texts = {
  product: 'Trichoscope',
  none: '—',

  live: {
    picture: 'Live picture of the scalp with the hairs that were found',
    connecting: 'Connecting…',
    lost: 'The connection to the program was lost',
    lostDetail: (/** @type {number} */ seconds) =>
      seconds > 0 ? `Trying again in ${seconds} s. If this stays, restart the device.` : 'Trying again now…',
    retry: 'Try now',
    waiting: 'Waiting for the first picture…',
    stuck: 'The picture has stopped',
    stuckDetail: 'No new picture for some seconds. Check the cable of the microscope.',
    overlay: 'Overlay',
    overlayOn: 'Overlay on',
    overlayOff: 'Overlay off',
    noScale: 'No scale',
    noScaleDetail: 'No scale: sizes are in pixels. Calibrate, or start the program with a scale.',
    behind: 'Overlay is behind the picture',
  },

  camera: {
    streaming: 'Live',
    opening: 'Opening the camera',
    absent: 'No microscope found',
    frozen: 'The microscope sends no pictures',
    busy: 'Another program uses the microscope',
    no_bandwidth: 'USB has no room for the microscope',
    refused: 'The microscope does not answer',
    no_mode: 'This microscope cannot be used',
    denied: 'The microscope may not be opened',
    not_a_camera: 'This is no microscope',
    ended: 'The recording has ended',
    failed: 'The microscope does not work',
    unknown: 'No picture from the microscope',
    remedy: 'Plug the microscope in and wait a few seconds.',
  },

  technician: {
    label: 'Frame rate, results a second, age of the picture, distance',
    fps: 'fps',
    results: 'results/s',
    age: 'ms age',
    distance: 'mm',
  },

  numbers: {
    label: 'Measurements of this picture',
    density: 'Hair density',
    perCm2: 'per cm²',
    diameter: 'Median diameter',
    um: 'µm',
    px: 'px',
    hairs: 'Hairs',
    follicles: 'Follicles',
    perFollicle: 'Hairs per follicle',
    terminal: 'Terminal',
    vellus: 'Vellus',
    undetermined: (/** @type {number} */ n) => `${n} not told apart`,
    cutoff: (/** @type {string} */ um) => `limit ${um} µm`,
    empty: (/** @type {number} */ n) => `${n} empty`,
    rooted: (/** @type {number} */ n) => `${n} rooted here`,
    single: (/** @type {string} */ percent) => `${percent} single`,
    thickness: 'Hair mass',
    mmPerCm2: 'mm/cm²',
    diversity: 'Diameter diversity',
    apart: 'Units apart',
    units: (/** @type {number[]} */ [one, two, more]) => `${one} single · ${two} double · ${more} more`,
    middleHalf: 'middle half',
    site: 'for the site',
    needsScale: 'needs a scale',
    stale: 'These numbers are not fresh: the analysis has stopped.',
    failing: 'The analysis fails',
  },

  quality: {
    label: 'Picture quality',
    ok: 'Picture is good',
    poor: 'Picture needs attention',
    none: 'Picture not judged yet',
    reliability: 'Hair detection',
    reliabilitySimple: 'Simple hair detection',
    reliable: (/** @type {string} */ percent) => `${percent} reliable`,
    unfamiliar: 'Unfamiliar kind of picture: judge these numbers with care.',
    passedOver: (/** @type {string} */ why) => `Not the finest hair detection: ${why}`,
    reasons: {
      blurred: 'blurred: hold still and focus',
      'almost black': 'almost black: is the light on?',
      'too dark': 'too dark: more light',
      'over-exposed': 'too bright: less light',
      'too much hair to count': 'too much hair to count: part the hair',
      'hair too curled to count': 'hair too curled to count: part or straighten it',
      'too blurred for widths at this distance': 'too blurred here to measure widths: go nearer or focus',
      'hair mask incomplete': 'hair could not be told everywhere: take another picture',
    },
  },

  charts: {
    density: 'Hair density, last 60 s',
    count: 'Hairs, last 60 s',
    histogramUm: 'Hair diameters, µm',
    histogramPx: 'Hair diameters, px',
    ago: 's',
  },

  sites: {
    label: 'Site on the scalp',
    frontal: 'Frontal',
    mid: 'Mid',
    vertex: 'Vertex',
    'left temporal': 'Left temporal',
    'right temporal': 'Right temporal',
    occipital: 'Occipital',
    none: 'No site',
  },

  capture: {
    button: 'Capture',
    working: 'Keeping…',
    kept: 'Kept',
    keptOf: (/** @type {string} */ site) => `Kept: ${site}`,
    busy: 'The program is still busy with the captures before this one',
    busyRemedy: 'Wait a moment and press again.',
    failed: 'The capture was not kept',
    passedOver: 'Kept, by a simpler hair detection than usual',
    unreachable: 'The program does not answer',
    unreachableRemedy: 'Wait until the live picture is back and press again.',
    dismiss: 'Close this message',
  },

  handpiece: {
    problem: 'The handpiece does not work: buttons and distance are missing',
    trouble: 'The handpiece reports a fault',
    press: 'The capture by the handpiece was not kept',
  },

  store: {
    problem: 'Captures cannot be kept',
    notice: 'The list of captures was damaged and has been rebuilt',
  },

  segmenter: {
    notice: 'Hair is found by a simpler method than usual',
  },

  models: {
    notice: 'About the installed models',
    waiting: 'Other models are ready',
    waitingDetail: 'They are taken over by themselves once no capture has been made for some minutes.',
  },

  use: {
    notice: 'About the use of this device',
  },

  grades: {
    label: 'Look of hair and scalp',
    mark: '†',
    spoken: (/** @type {string} */ name, /** @type {string} */ word, /** @type {string} */ likely) =>
      `${name}: ${word}, ${likely} likely`,
    notGraded: (/** @type {string} */ name) => `${name}: not to be told from this picture`,
    doubtful: (/** @type {string|null} */ reason) => `doubtful: ${reason ?? 'the reason is not known'}`,
  },

  calibration: {
    problem: 'Sizes are in pixels: no calibration fits this microscope',
    notice: 'About the calibration of this microscope',
    profile: (/** @type {string} */ id) => `profile ${id}`,
    sources: {
      given: 'scale as stated',
      fiducial: 'scale from the hood ring',
      hood: 'scale from the hood',
      distance: 'scale from the distance',
    },
  },

  captures: {
    label: 'Captures',
    empty: 'Captures appear here, newest first.',
    more: 'Older',
    open: (/** @type {string} */ site, /** @type {string} */ time) =>
      site ? `Open ${site}, ${time}` : `Open the capture of ${time}`,
    failed: 'The list of captures could not be read',
    retry: 'Read again',
    hairs: (/** @type {number} */ n) => (n === 1 ? '1 hair' : `${n} hairs`),
  },

  detail: {
    label: 'Capture',
    close: 'Back to live',
    newer: 'Newer',
    older: 'Older',
    loading: 'Opening…',
    failed: 'This capture could not be opened',
    pictureMissing: 'Its picture is not in the store',
    pictureRemedy: 'Restore it from a backup.',
    touch: 'Touch a hair to see its diameter; arrow keys go from hair to hair.',
    picture: 'The kept picture with its hairs; arrow keys go from hair to hair',
    hair: (/** @type {number} */ n) => `Hair ${n}`,
    thinner: (/** @type {string} */ um) => `thinner than ${um} µm`,
    long: (/** @type {string} */ length) => `${length} long`,
    rooted: 'root in view',
    unrooted: 'root out of view',
    confidence: (/** @type {string} */ percent) => `${percent} sure`,
    noMeasurement: 'This capture has no measurement yet.',
  },
};
