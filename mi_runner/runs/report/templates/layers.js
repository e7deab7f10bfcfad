// Circuits in a picture: columns of neurons from the inputs, and the edges between neighbouring columns.
const LAYERS = { WIDTH: 360, HEIGHT: 240, SPACE: 24, GRIP: 11, NAMES: 96, LETTERS: 16 };

function edgeName(edge) {
  return `layer ${edge.layer + 1}: ${edge.from ?? `neuron ${edge.source}`} → ${edge.to ?? `neuron ${edge.target}`}`;
}

function isKept(bits, edge) {
  return ((BigInt(bits) >> BigInt(edge)) & 1n) === 1n;
}

// style(number, edge): the class of an edge; absent: left out. about(number, edge): what is known about it.
// at: the edge that the Tab key reaches, kept from picture to picture.
function layersPicture({ sizes, edges }, label, { style, about, hint, at }) {
  const { WIDTH, HEIGHT, SPACE, GRIP, NAMES } = LAYERS;
  function position(column, neuron) {
    return [SPACE + (column * (WIDTH - 2 * SPACE)) / (sizes.length - 1), ((neuron + 1) * HEIGHT) / (sizes[column] + 1)];
  }
  // Inputs and outputs may have names, which stand beside the neurons.
  const named = new Map();
  for (const edge of edges) {
    if (edge.from !== undefined) named.set(`${edge.layer} ${edge.source}`, edge.from);
    if (edge.to !== undefined) named.set(`${edge.layer + 1} ${edge.target}`, edge.to);
  }
  const left = edges.some((edge) => edge.from !== undefined) ? NAMES : 0;
  const right = edges.some((edge) => edge.to !== undefined) ? NAMES : 0;
  const svg = drawn("svg", { viewBox: `${-left} 0 ${WIDTH + left + right} ${HEIGHT}`, role: "group", "aria-label": label });
  const largest = Math.max(...edges.map((edge) => Math.abs(edge.weight))) || 1;
  const active = new Set();
  const lines = edges.map((edge, number) => {
    const name = style(number, edge);
    const [x1, y1] = position(edge.layer, edge.source);
    const [x2, y2] = position(edge.layer + 1, edge.target);
    const line = drawn("line", { x1, y1, x2, y2, class: `edge ${name}` });
    if (name !== "absent") {
      line.setAttribute("stroke-width", (1 + (5 * Math.abs(edge.weight)) / largest).toFixed(2));
      active.add(`${edge.layer} ${edge.source}`).add(`${edge.layer + 1} ${edge.target}`);
    }
    const grip = drawn("line", { x1, y1, x2, y2, class: "grip", "stroke-width": GRIP });
    return { name, shape: drawn("g", { "data-edge": number }, grip, line), text: about(number, edge) };
  });
  // Kept edges are above the others.
  for (const above of [false, true]) svg.append(...lines.filter(({ name }) => (name !== "absent") === above).map(({ shape }) => shape));
  told(lines.map(({ shape, text }) => [shape, text]), hint, at);
  sizes.forEach((size, column) => {
    for (let neuron = 0; neuron < size; neuron++) {
      const [cx, cy] = position(column, neuron);
      const on = active.has(`${column} ${neuron}`);
      svg.append(drawn("circle", { cx, cy, r: 7, class: on ? "neuron active" : "neuron" },
        drawn("title", {}, `${column === 0 ? "input" : `layer ${column}`}, ${named.get(`${column} ${neuron}`) ?? `neuron ${neuron}`}: ${on ? "active" : "left out"}`)));
      const name = named.get(`${column} ${neuron}`);
      if (name === undefined) continue;
      const text = name.length > LAYERS.LETTERS ? `${name.slice(0, LAYERS.LETTERS - 1)}…` : name;
      svg.append(drawn("text", { x: column === 0 ? cx - 12 : cx + 12, y: cy + 4, "text-anchor": column === 0 ? "end" : "start" }, text));
    }
  });
  return svg;
}

function ofWeight(kept, { weight }) {
  return !kept ? "absent" : weight >= 0 ? "positive" : "negative";
}

// The picture of the edges of two circuits, and a sentence on it.
function differencePicture(of, left, right, { about, hint, at }) {
  const counts = { both: 0, "only-left": 0, "only-right": 0, absent: 0 };
  const words = { both: "both keep it", "only-left": "only the left keeps it", "only-right": "only the right keeps it", absent: "both leave it out" };
  const names = of.edges.map((_, edge) => {
    const [a, b] = [isKept(left, edge), isKept(right, edge)];
    const name = a && b ? "both" : a ? "only-left" : b ? "only-right" : "absent";
    counts[name] += 1;
    return name;
  });
  const picture = layersPicture(of, "difference of the two circuits", {
    style: (edge) => names[edge], about: (number, edge) => `${about(number, edge)}; ${words[names[number]]}`, hint, at });
  const any = counts.both + counts["only-left"] + counts["only-right"];
  const sentence = `Both keep ${counts.both} edges (grey), only the left ${counts["only-left"]} (blue), ` +
    `only the right ${counts["only-right"]} (orange, dashed).${any ? ` Jaccard ${shown(counts.both / any, 3)}.` : ""}`;
  return [picture, sentence];
}
