/**
 * What was graded or measured of hair and scalp, in the words of the profile of use; a result without words is not shown.
 * A grade whose model was not validated on real labels bears a mark, and what it means stands under the grades, always.
 */
import { html } from './view.js';
import { texts } from './texts.js';
import { number, percent } from './format.js';

/**
 * @typedef {{severity: number, probabilities: number[], bundle: string, validated_on_real_labels: boolean}} Grade
 * @typedef {{value: number|null, unit: string, reliable: boolean, reason: string|null}} Index
 * @typedef {{name: string, grades: string[]}} Words
 * @typedef {{profile: string, not_validated: string, notice: string|null, words: Record<string, Words>}} Use
 * @typedef {import('./numbers.js').Measurement} Measurement
 */

/** Results by the key of their words, with the role of a bundle that gives them. */
const GRADED = [
  ['severity', 'severity'],
  ['dandruff', 'conditions'],
  ['sebum', 'conditions'],
  ['erythema', 'conditions'],
];
const INDICES = [
  ['flakes', 'flakes_index'],
  ['shine', 'shine_index'],
  ['erythema', 'erythema_index'],
];
const STEPS = 4;

/** @type {Map<string, boolean>} by bundle: whether its grades were validated, for pictures that it gave none of */
const validated = new Map();

/**
 * What is to be shown of a measurement: each grade that has words. Where its network looked and gave none, as in a blurred
 * picture, the grade is null and keeps its place.
 * @param {Measurement} m
 * @param {Use} use
 * @returns {{key: string, words: Words, grade: Grade|null, doubtful: boolean}[]} doubtful: not known to be validated on real labels
 */
export function shownGrades(m, use) {
  return GRADED.flatMap(([key, role]) => {
    const words = use.words[key];
    const grade = (key === 'severity' ? m.alopecia : m.conditions?.[key]) ?? null;
    if (!words || (!grade && !m.models[role]) || (grade && !words.grades[grade.severity])) return [];
    if (grade) validated.set(grade.bundle, grade.validated_on_real_labels);
    return [{ key, words, grade, doubtful: !validated.get(grade?.bundle ?? m.models[role]) }];
  });
}

/** @param {{measurement: Measurement|null, use: Use|null, whole?: boolean}} props whole: a kept capture, with the measured indices */
export function Grades({ measurement: m, use, whole = false }) {
  if (!m || !use) return null;
  const grades = shownGrades(m, use);
  const indices = whole && m.scalp ? INDICES.filter(([, words]) => use.words[words]) : [];
  if (!grades.length && !indices.length) return null;
  const doubtful = grades.some((each) => each.doubtful);
  const note = `not-validated-${whole ? 'kept' : 'live'}`;
  return html`
    <section class=${whole ? 'grades whole' : 'grades'} aria-label=${texts.grades.label}>
      ${
        grades.length > 0 &&
        html`<div class="cells">${grades.map((each) => html`<${Graded} key=${each.key} id=${each.key} ...${each} note=${note} />`)}</div>`
      }
      ${doubtful && html`<div class="not-validated" id=${note}><i>${texts.grades.mark}</i>${use.not_validated}</div>`}
      ${
        indices.length > 0 &&
        html`<dl class="indices">${indices.map(
          ([name, words]) => html`<${Measured} key=${name} name=${name} label=${use.words[words].name} index=${m.scalp[name]} />`,
        )}</dl>`
      }
    </section>`;
}

/**
 * A grade in words, as filled steps (the lowest is filled too: that it was graded at all must show), and how likely it is.
 * @param {{words: Words, grade: Grade|null, doubtful: boolean, note: string, id: string}} props
 */
function Graded({ words, grade, doubtful, note, id }) {
  const steps = Array.from({ length: grade?.probabilities.length ?? STEPS }, (_, step) => step);
  const word = grade ? words.grades[grade.severity] : texts.none;
  const likely = grade ? percent(grade.probabilities[grade.severity]) : '\u00a0'; // which keeps the line's height
  return html`
    <div class="grade" role="group" data-grade=${id} aria-describedby=${doubtful ? note : undefined}
      aria-label=${grade ? texts.grades.spoken(words.name, word, likely) : texts.grades.notGraded(words.name)}>
      <span class="label">${words.name}</span>
      <b class="value">${word}${doubtful && html`<i class="mark">${texts.grades.mark}</i>`}</b>
      <span class="sure">${likely}</span>
      <span class=${`steps at-${grade?.severity ?? 'none'}`} aria-hidden="true">${steps.map(
        (step) => html`<i key=${step} class=${grade && step <= grade.severity ? 'on' : ''}></i>`,
      )}</span>
    </div>`;
}

/** @param {{name: string, label: string, index: Index}} props */
function Measured({ name, label, index }) {
  const value = index.unit.startsWith('%') && index.value !== null ? `${number(index.value, 1)} %` : number(index.value);
  return html`<div class=${index.reliable ? 'index' : 'index doubtful'} data-index=${name}>
    <dt class="label">${label}</dt>
    <dd class="value">${value}${!index.reliable && index.value !== null && html`<i class="mark">?</i>`}</dd>
    ${!index.reliable && html`<dd class="reason">${texts.grades.doubtful(index.reason)}</dd>`}
  </div>`;
}
