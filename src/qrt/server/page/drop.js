// Files that are dropped on the page: GGUF files become models, others go along with a message.

/** sign: what shows where to drop; take: gets the text files and the GGUF files. */
export function dropzone(sign, take) {
  let depth = 0;
  const show = (isShown) => {
    sign.hidden = !isShown;
    if (!isShown) depth = 0;
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth++;
    show(true);
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event) && --depth <= 0) show(false);
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(false);
    const files = [...event.dataTransfer.files];
    const isModel = (file) => file.name.toLowerCase().endsWith(".gguf");
    take(files.filter((file) => !isModel(file)), files.filter(isModel));
  });
}
