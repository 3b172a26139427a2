/**
 * The page's way of writing components: htm templates that make Preact nodes. The two vendored files
 * are joined here, so that nothing needs an import map (which the Content-Security-Policy would refuse).
 */
import { h, render, Component, createRef } from './vendor/preact/preact.module.js';
import htm from './vendor/htm/htm.module.js';

/** Template tag: html`<p class="note">${text}</p>` gives a Preact node. */
export const html = htm.bind(h);
export { Component, createRef, render };
