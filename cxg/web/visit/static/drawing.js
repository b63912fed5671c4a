// The picture as SVG: points as one image, everything else as text and shapes.

const FONT = "Arial, Helvetica, sans-serif";
const INK = "#1b2330";
const QUIET = "#4d596b";
const [LEFT, TOP, BOTTOM, GAP] = [36, 64, 36, 16];
const [ROW, SWATCH, MOST_COLUMNS, LABEL_WIDTH] = [20, 12, 3, 220];
const SCALE_HEIGHT = 200;

let pen = null;

/**
 * Lay out a picture.
 *
 * @param {object} parts
 * @param {number} parts.width, parts.height  of the plot, in pixels
 * @param {string} parts.title
 * @param {string} parts.subtitle
 * @param {[string, string]} parts.axes  names of the dimensions
 * @param {{x: number, y: number, size: number, text: string}[]} parts.labels  on the plot
 * @param {object | null} parts.legend  as `readLegend` returns it
 * @returns {{width: number, height: number, left: number, top: number, write: (image: string | null) => string}}
 *   `write` returns the SVG with an image (data URL) of the points; without one it leaves out the points and the ground
 */
export function layOut({ width, height, title, subtitle, axes, labels, legend }) {
  const key = legendParts(legend, LEFT + width + GAP, TOP, height);
  const whole = { width: Math.ceil(LEFT + width + GAP + key.width), height: TOP + height + BOTTOM };
  const over = [
    text(LEFT, 26, fit(title, whole.width - LEFT - GAP, "bold 18px"), { size: 18, weight: "bold" }),
    text(LEFT, 48, fit(subtitle, whole.width - LEFT - GAP, "13px"), { size: 13, fill: QUIET }),
    // The client dims the points behind labels. Here a rim keeps labels readable, and points have the legend's colours.
    ...labels.map((one) => text(LEFT + one.x, TOP + one.y, one.text, { size: one.size, anchor: "middle", rim: "#ffffff" })),
    `<rect x="${LEFT}" y="${TOP}" width="${width}" height="${height}" fill="none" stroke="${QUIET}"/>`,
    text(LEFT + width / 2, TOP + height + 22, axes[0], { size: 12, anchor: "middle", fill: QUIET }),
    text(0, 0, axes[1], { size: 12, anchor: "middle", fill: QUIET, transform: `translate(${LEFT - 12} ${TOP + height / 2}) rotate(-90)` }),
    ...key.parts,
  ];
  const write = (image) => {
    const ground = `<rect width="${whole.width}" height="${whole.height}" fill="#ffffff"/>`;
    const points = `<image x="${LEFT}" y="${TOP}" width="${width}" height="${height}" href="${image}"/>`;
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${whole.width}" height="${whole.height}" viewBox="0 0 ${whole.width} ${whole.height}" font-family="${FONT}" fill="${INK}">`,
      `<title>${escaped(title)}</title>`,
      ...(image === null ? [] : [ground, points]),
      ...over,
      "</svg>",
    ].join("\n");
  };
  return { ...whole, left: LEFT, top: TOP, write };
}

function legendParts(legend, x, y, height) {
  if (!legend) return { width: 0, parts: [] };
  const name = text(x, y + 12, fit(legend.name, LABEL_WIDTH, "bold 14px"), { size: 14, weight: "bold" });
  return legend.entries ? labelParts(legend, x, y, height, name) : scaleParts(legend, x, y, name);
}

function labelParts({ name, entries }, x, y, height, heading) {
  const rows = Math.max(1, Math.floor(height / ROW) - 2);
  const shown = entries.slice(0, rows * MOST_COLUMNS);
  const parts = [heading];
  let width = measure(name, "bold 14px");
  let left = x;
  for (let start = 0; start < shown.length; start += rows) {
    const column = shown.slice(start, start + rows).map(({ label, color, count }) => ({ label: fit(label, LABEL_WIDTH, "13px"), color, count }));
    const counts = column.map(({ count }) => count.toLocaleString("en"));
    const countWidth = Math.max(...counts.map((count) => measure(count, "13px")));
    const right = left + SWATCH + 8 + Math.max(...column.map(({ label }) => measure(label, "13px"))) + GAP + countWidth;
    column.forEach(({ label, color }, k) => {
      const middle = y + ROW * (k + 1.5);
      parts.push(
        `<rect x="${left}" y="${middle - SWATCH / 2}" width="${SWATCH}" height="${SWATCH}" fill="${escaped(color)}"/>`,
        text(left + SWATCH + 8, middle + 4, label, { size: 13 }),
        text(right, middle + 4, counts[k], { size: 13, anchor: "end", fill: QUIET }),
      );
    });
    width = Math.max(width, right - x);
    left = right + 2 * GAP;
  }
  const more = entries.length - shown.length;
  if (more > 0) parts.push(text(x, y + ROW * (rows + 1.5) + 4, `and ${more.toLocaleString("en")} more labels`, { size: 13, fill: QUIET }));
  return { width: width + GAP, parts };
}

function scaleParts({ name, min, max, stops }, x, y, heading) {
  if (!stops.length) {
    const value = text(x, y + 34, `all cells: ${short(max)}`, { size: 13 });
    return { width: Math.max(measure(name, "bold 14px"), 110) + GAP, parts: [heading, value] };
  }
  const [top, last] = [y + 28, stops.length - 1];
  const gradient = stops.map((color, k) => `<stop offset="${(k / last).toFixed(4)}" stop-color="${color}"/>`);
  const ticks = [0, 0.25, 0.5, 0.75, 1].flatMap((at) => {
    const middle = top + SCALE_HEIGHT * at;
    return [
      `<path d="M${x + 22} ${middle}h5" stroke="${QUIET}"/>`,
      text(x + 32, middle + 4, short(max - (max - min) * at), { size: 13 }),
    ];
  });
  const bar = `<rect x="${x}" y="${top}" width="22" height="${SCALE_HEIGHT}" fill="url(#scale)"/>`;
  return {
    width: Math.max(measure(fit(name, LABEL_WIDTH, "bold 14px"), "bold 14px"), 110) + GAP,
    parts: [`<linearGradient id="scale" x1="0" y1="0" x2="0" y2="1">${gradient.join("")}</linearGradient>`, heading, bar, ...ticks],
  };
}

function text(x, y, content, { size, fill = null, weight = null, anchor = null, transform = null, rim = null }) {
  const attributes = { x: round(x), y: round(y), "font-size": size, "font-weight": weight, fill, "text-anchor": anchor, transform };
  if (rim) Object.assign(attributes, { stroke: rim, "stroke-width": 4, "stroke-linejoin": "round", "paint-order": "stroke" });
  const written = Object.entries(attributes).filter(([, value]) => value !== null);
  return `<text ${written.map(([name, value]) => `${name}="${value}"`).join(" ")}>${escaped(content)}</text>`;
}

/** Shorten a text to a width in pixels. */
function fit(content, width, font) {
  if (measure(content, font) <= width) return content;
  const letters = Array.from(content);
  while (letters.length > 1 && measure(`${letters.join("")}…`, font) > width) letters.pop();
  return `${letters.join("")}…`;
}

function measure(content, font) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${font} ${FONT}`;
  return pen.measureText(content).width;
}

function short(number) {
  return Number.isFinite(number) ? String(Number(number.toPrecision(3))) : String(number);
}

function round(number) {
  return Math.round(number * 100) / 100;
}

/** Quote a text for XML, which has no control characters and no halves of surrogate pairs. */
function escaped(content) {
  const clean = String(content)
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, " ")
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "?");
  return clean.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
