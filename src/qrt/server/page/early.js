// Sets the chosen theme before anything is painted.
"use strict";
try {
  const theme = localStorage.getItem("qrt.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (localStorage.getItem("qrt.sidebar") === "hidden") {
    document.documentElement.dataset.sidebar = "hidden";
  }
} catch {
  // a browser that keeps nothing: the system's theme stands
}
