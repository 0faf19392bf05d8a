// What the browser remembers beside conversations; where it keeps nothing, nothing is remembered.

/** What was kept by a name, for good or in this tab alone; null for nothing. */
export function recall(name, isOfTab = false) {
  try {
    return (isOfTab ? sessionStorage : localStorage).getItem(name);
  } catch {
    return null;
  }
}

export function keep(name, value, isOfTab = false) {
  try {
    (isOfTab ? sessionStorage : localStorage).setItem(name, value);
  } catch {
    // it holds until the page is closed
  }
}
