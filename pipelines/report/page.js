"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Enlarged pictures: arrow keys and buttons go to the next one.
const dialog = document.querySelector("dialog");
const [large, caption] = [dialog.querySelector("img"), dialog.querySelector("p")];
const zooms = all(".zoom");
let current = 0;
function enlarge(number) {
  current = (number + zooms.length) % zooms.length;
  const small = zooms[current].querySelector("img");
  small.loading = "eager";
  large.src = small.src;
  large.alt = caption.textContent = small.alt;
  large.style.imageRendering = small.naturalHeight < 300 ? "pixelated" : "auto";
  if (!dialog.open) dialog.showModal();
}
zooms.forEach((button, number) => button.addEventListener("click", () => enlarge(number)));
large.addEventListener("click", () => dialog.close());
all("[data-step]", dialog).forEach((button) => button.addEventListener("click", () => enlarge(current + Number(button.dataset.step))));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) enlarge(current + step);
});
addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));

// Tables: sort by a column, show one model, save as CSV.
const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
function compareCells(a, b) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}
all("button.sort").forEach((button) => button.addEventListener("click", () => {
  const head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
  const sign = head.ariaSort === "ascending" ? -1 : 1;
  all("th[aria-sort]", table).forEach((other) => { other.ariaSort = "none"; });
  head.ariaSort = sign > 0 ? "ascending" : "descending";
  const sorted = [...body.rows].sort((a, b) => {
    const [left, right] = [a, b].map((row) => valueOf(row, head.cellIndex));
    return left === "" || right === "" ? compareCells(left, right) : sign * compareCells(left, right);
  });
  body.append(...sorted);
}));
all("select[data-filter]").forEach((select) => {
  const filter = () => [...document.getElementById(select.dataset.filter).tBodies[0].rows].forEach((row) => {
    row.hidden = select.value !== "" && row.dataset.model !== select.value;
  });
  select.addEventListener("change", filter);
  filter();
});
function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
function csvOf(table) {
  return [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.classList.contains("thumbnails"))
    .map((cell) => quoted((cell.dataset.value ?? cell.textContent).trim())).join(",")).join("\n") + "\n";
}
all("[data-csv]").forEach((button) => button.addEventListener("click", () =>
  save("images.csv", "text/csv", csvOf(document.getElementById(button.dataset.csv)))));
all("[data-save]").forEach((button) => button.addEventListener("click", () =>
  save(button.dataset.name, "text/plain", document.getElementById(button.dataset.save).textContent)));

// Inspector: labels and probabilities are recoloured on a canvas.
function inspector(panel) {
  const data = JSON.parse(panel.querySelector("script").textContent);
  const field = (name) => panel.querySelector(`[name="${name}"]`);
  const canvas = panel.querySelector("canvas"), context = canvas.getContext("2d", { willReadFrequently: true });
  const layers = { left: document.createElement("canvas"), right: document.createElement("canvas") };
  let photo, grey, labels, probs, size, own = true, request = 0;

  async function decoded(uri) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    return image;
  }
  function levels(image, size) {
    const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    [scratch.canvas.width, scratch.canvas.height] = size;
    scratch.drawImage(image, 0, 0, ...size);
    return scratch.getImageData(0, 0, ...size).data;
  }
  const pictureOf = (caption) => all(".models[data-image]").find((row) => row.dataset.image === field("image").value)
    .querySelector(`[data-caption="${CSS.escape(caption)}"] img`).src;
  async function load() {
    const maps = data.images[field("image").value], mine = ++request;
    const loaded = await decoded(pictureOf("the image"));
    const files = maps.labels ? await Promise.all([maps.labels, ...Object.values(maps.probs)].map(decoded)) : [];
    if (mine !== request) return;
    size = files.length ? [files[0].naturalWidth, files[0].naturalHeight] : [loaded.naturalWidth, loaded.naturalHeight];
    for (const each of [canvas, layers.left, layers.right]) [each.width, each.height] = size;
    photo = loaded;
    grey = files.length ? levels(loaded, size) : null;
    labels = files.length ? levels(files[0], size) : null;
    probs = Object.fromEntries(Object.keys(maps.probs ?? {}).map((name, number) => [name, levels(files[number + 1], size)]));
    await draw();
  }
  const cutOf = (model) => own ? data.models[model] : Number(field("threshold").value);
  function recolour(layer, model) {
    const cut = 255 * cutOf(model), show = field("show").value, p = probs[model];
    const drawn = layer.createImageData(...size), out = drawn.data;
    const { tp: hit, fp: alarm, fn: miss } = data.colours;
    let tp = 0, fp = 0, fn = 0, tn = 0;
    for (let i = 0; i < out.length; i += 4) {
      const inside = labels[i] !== 128, truth = labels[i] === 255, found = p[i] >= cut;
      if (inside) truth ? (found ? tp++ : fn++) : (found ? fp++ : tn++);
      const luma = 0.5 * (0.299 * grey[i] + 0.587 * grey[i + 1] + 0.114 * grey[i + 2]);
      let colour = [luma, luma, luma];
      if (show === "prediction") colour = found && inside ? [255, 255, 255] : [0, 0, 0];
      else if (show === "probs") colour = inside ? [p[i], p[i], p[i]] : [0, 0, 0];
      else if (inside && truth && found && show === "errors") colour = hit;
      else if (inside && truth !== found) colour = found ? alarm : miss;
      [out[i], out[i + 1], out[i + 2], out[i + 3]] = [...colour, 255];
    }
    layer.putImageData(drawn, 0, 0);
    const ratio = (a, b) => b ? (a / b).toFixed(4) : "–";
    return `${model} at threshold ${cutOf(model).toFixed(3)}: Dice ${ratio(2 * tp, 2 * tp + fp + fn)}, ` +
      `sensitivity ${ratio(tp, tp + fn)}, specificity ${ratio(tn, tn + fp)}, precision ${ratio(tp, tp + fp)}`;
  }
  async function drawSide(side) {
    const chosen = field(side).value, layer = layers[side].getContext("2d");
    let text = chosen;
    if (chosen in probs) text = recolour(layer, chosen);
    else if (chosen === "the labels") {
      const drawn = layer.createImageData(...size);
      drawn.data.set(labels.map((level, i) => i % 4 === 3 ? 255 : level === 255 ? 255 : 0));
      layer.putImageData(drawn, 0, 0);
    } else layer.drawImage(chosen === "the image" ? photo : await decoded(pictureOf(chosen)), 0, 0, ...size);
    panel.querySelector(`[data-side="${side}"]`).textContent = `${side === "left" ? "Left" : "Right"}: ${text}`;
  }
  function compose() {
    const [width, height] = size, boundary = Math.round(width * field("boundary").value / 100);
    context.drawImage(layers.right, 0, 0);
    if (boundary) context.drawImage(layers.left, 0, 0, boundary, height, 0, 0, boundary, height);
    if (boundary && boundary < width) { context.fillStyle = "#fff"; context.fillRect(boundary, 0, 1, height); }
  }
  async function draw() {
    if (field("threshold")) {
      const side = [field("right").value, field("left").value].find((name) => name in probs);
      if (own && side) field("threshold").value = data.models[side];
      field("value").textContent = own ? "own" : Number(field("threshold").value).toFixed(3);
    }
    await Promise.all(["left", "right"].map(drawSide));
    compose();
    panel.dataset.ready = field("image").value;
  }
  field("image").addEventListener("change", load);
  for (const name of ["left", "right", "show"]) field(name)?.addEventListener("change", draw);
  field("threshold")?.addEventListener("input", () => { own = false; draw(); });
  field("own")?.addEventListener("click", () => { own = true; draw(); });
  field("boundary").addEventListener("input", compose);
  all("button.inspect").forEach((button) => button.addEventListener("click", () => {
    field("image").value = button.dataset.image;
    field("right").value = button.dataset.model;
    load();
    panel.scrollIntoView();
    field("image").focus({ preventScroll: true });
  }));
  load();
}
all(".inspector").forEach(inspector);
