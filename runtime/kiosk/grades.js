/**
 * What was graded or measured of hair loss and scalp, in the words of the profile of use; a result without words is not shown.
 * Beside a grade whose model was not validated on real labels it says so, always.
 */
import { html } from './view.js';
import { texts } from './texts.js';
import { number, percent } from './format.js';

/**
 * @typedef {{severity: number, probabilities: number[], bundle: string, validated_on_real_labels: boolean}} Grade
 * @typedef {{value: number|null, unit: string, reliable: boolean, reason: string|null}} Index
 * @typedef {{profile: string, not_validated: string, notice: string|null,
 *   words: Record<string, {name: string, grades: string[]}>}} Use
 * @typedef {import('./numbers.js').Measurement} Measurement
 */

const CONDITIONS = ['dandruff', 'sebum', 'erythema'];
const INDICES = [
  ['flakes', 'flakes_index'],
  ['shine', 'shine_index'],
  ['erythema', 'erythema_index'],
];

/** @param {{measurement: Measurement|null, use: Use|null, whole?: boolean}} props whole: with the measured indices */
export function Grades({ measurement: m, use, whole = false }) {
  if (!m || !use) return null;
  /** @type {[string, Grade][]} */
  const grades = [];
  if (m.alopecia) grades.push(['severity', m.alopecia]);
  for (const key of CONDITIONS) {
    const grade = m.conditions?.[key];
    if (grade) grades.push([key, grade]);
  }
  const shown = grades.filter(([key, grade]) => use.words[key]?.grades[grade.severity]);
  const indices = whole && m.scalp ? INDICES.filter(([, words]) => use.words[words]) : [];
  if (!shown.length && !indices.length) return null;
  const doubtful = shown.some(([, grade]) => !grade.validated_on_real_labels);
  return html`
    <section class="grades" aria-label=${texts.grades.label}>
      ${shown.map(
        ([key, grade]) => html`
          <div key=${key} class="grade" data-grade=${key}>
            <span class="label">${use.words[key].name}</span>
            <${Steps} grade=${grade.severity} of=${grade.probabilities.length} />
            <b class="value">${use.words[key].grades[grade.severity]}</b>
            <span class="sure">${percent(grade.probabilities[grade.severity])}</span>
          </div>`,
      )}
      ${doubtful && html`<div class="not-validated">${use.not_validated}</div>`}
      ${
        indices.length > 0 &&
        html`<div class="indices">${indices.map(
          ([name, words]) => html`<${Measured} key=${name} name=${name} label=${use.words[words].name} index=${m.scalp[name]} />`,
        )}</div>`
      }
    </section>`;
}

/** A grade as filled steps, the lowest filled too: that it was graded at all must show. @param {{grade: number, of: number}} props */
function Steps({ grade, of }) {
  const steps = Array.from({ length: of }, (_, step) => html`<i key=${step} class=${step <= grade ? 'on' : ''}></i>`);
  return html`<span class=${`steps at-${grade}`} aria-hidden="true">${steps}</span>`;
}

/** @param {{name: string, label: string, index: Index}} props */
function Measured({ name, label, index }) {
  const share = index.unit.startsWith('%');
  const value = share ? `${number(index.value, 1)} %` : number(index.value);
  return html`<div class=${index.reliable ? 'index' : 'index doubtful'} data-index=${name} title=${index.reason ?? ''}>
    <span class="label">${label}</span><b class="value">${index.value === null ? texts.none : value}</b>
    ${!index.reliable && html`<span class="reason">${index.reason}</span>`}
  </div>`;
}
