// Dark or light: as the system is, or as was chosen.

import { icon } from "./dom.js";
import { keep } from "./keep.js";

const THEMES = { system: "light", light: "dark", dark: "system" };
const ICONS = { system: "system", light: "sun", dark: "moon" };

/** Makes a button go from the system's theme to light to dark. */
export function themeButton(button) {
  const root = document.documentElement;
  const draw = () => {
    const theme = root.dataset.theme ?? "system";
    button.replaceChildren(icon(ICONS[theme]));
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", `Theme: ${theme}`);
  };
  button.addEventListener("click", () => {
    const next = THEMES[root.dataset.theme ?? "system"];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    keep("qrt.theme", next);
    draw();
  });
  draw();
}
