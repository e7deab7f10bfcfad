// A measure's mean and interval by any key; a line for each combination of the other keys.
{
  const WIDTH = 720, HEIGHT = 340, LEFT = 70, RIGHT = 20, TOP = 16, BOTTOM = 58, MOST_SERIES = 10;
  // As in the figures: the colours of Okabe and Ito, and another mark and dash for each.
  const COLOURS = ["#0072b2", "#e69f00", "#d55e00", "#56b4e9", "var(--text)", "#aaaaaa", "#cc79a7", "#009e73"];
  const MARKS = ["M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0Z", "M-4.2 -4.2H4.2V4.2H-4.2Z", "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
    "M0 -5.2L5 4H-5Z", "M0 5.2L5 -4H-5Z", "M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z", "M-5.2 0L4 -5V5Z"];
  const DASHES = ["", "6 2", "2 2", "8 2 2 2", "4 2"];
  const { names, measures, rows, columns } = data("sweep");
  const place = document.getElementById("sweep");
  const view = element("div"), legend = element("p", { "data-legend": "" }), hint = element("p", { class: "hint" });
  const caption = element("p", { "data-caption": "" });
  const EACH = "(each)";

  function choice(label, values, first) {
    const select = element("select", { "data-choice": label }, ...values.map((value) => element("option", { value }, value || "(all)")));
    select.value = first;
    select.addEventListener("change", () => { agree(select); draw(); });
    return { label: element("label", {}, `${label} `, select), select };
  }

  const measure = choice("measure", measures, measures[0]);
  const along = choice("along", names.map(({ name }) => name), names[0].name);
  const others = names.map((of) => ({ ...of, ...choice(of.name, [EACH, ...of.values], of.first ?? EACH) }));
  const controls = element("div", { class: "controls" }, measure.label, along.label, ...others.map((one) => one.label));

  const along_name = () => along.select.value;

  // The rows that the choices leave, but for those of one name.
  function left(but) {
    const chosen = others.filter((one) => one.name !== along_name() && one !== but && one.select.value !== EACH);
    return rows.filter(([own, of, , mean]) => of === measure.select.value && mean !== null &&
      chosen.every((one) => own[columns.indexOf(one.name)] === one.select.value));
  }

  // After a choice that leaves no row, the other choices become those of the row that has most of them; what would
  // lead to no row can't be chosen.
  function agree(changed) {
    if (!left().length) {
      const kept = others.find((one) => one.select === changed);
      const able = rows.filter(([own, of, , mean]) => of === measure.select.value && mean !== null &&
        (!kept || kept.select.value === EACH || own[columns.indexOf(kept.name)] === kept.select.value));
      const alike = ([own]) => others.filter((one) => own[columns.indexOf(one.name)] === one.select.value).length;
      const nearest = able.reduce((best, row) => (alike(row) > alike(best) ? row : best), able[0]);
      for (const one of others) {
        if (one.select !== changed && one.select.value !== EACH) one.select.value = nearest[0][columns.indexOf(one.name)];
      }
    }
    for (const one of others) {
      const at = columns.indexOf(one.name), there = new Set(rows.filter(([, of]) => of === measure.select.value).map(([own]) => own[at]));
      for (const option of one.select.options) option.disabled = option.value !== EACH && !there.has(option.value);
    }
  }

  function ticks(low, high) {
    const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
    const wide = [1, 2, 5, 10].map((times) => times * step).find((width) => (high - low) / width <= 6);
    const first = Math.ceil(low / wide - 1e-9);
    return Array.from({ length: Math.floor(high / wide + 1e-9) - first + 1 }, (_, n) => (first + n) * wide);
  }

  function draw() {
    const key = along.select.value;
    for (const one of others) one.label.hidden = one.name === key;
    const free = others.filter((one) => one.name !== key);
    const fixed = free.filter((one) => ![EACH, "", "none"].includes(one.select.value)).map((one) => `${one.name} ${one.select.value}`);
    const values = names.find(({ name }) => name === key).values;
    const numbers = values.map(Number);
    const numeric = values.every((value, n) => value !== "" && Number.isFinite(numbers[n]));
    const log = numeric && Math.min(...numbers) > 0 && Math.max(...numbers) >= 100 * Math.min(...numbers);
    const scale = (value) => (numeric ? (log ? Math.log10(Number(value)) : Number(value)) : values.indexOf(value));
    const series = new Map();
    for (const [own, , n, mean, low, high] of left()) {
      const at = (name) => own[columns.indexOf(name)];
      const label = free.filter((one) => one.select.value === EACH).map((one) => `${one.name}=${at(one.name)}`).join(" ");
      if (!series.has(label)) series.set(label, []);
      series.get(label).push({ x: at(key), mean, low: low ?? mean, high: high ?? mean, n });
    }
    const lines = [...series].slice(0, MOST_SERIES);
    const points = lines.flatMap(([, of]) => of);
    view.replaceChildren();
    legend.replaceChildren();
    hint.textContent = "Point at a mark for its numbers; or press Tab, then the arrow keys.";
    const [fewest, most] = [Math.min(...points.map(({ n }) => n)), Math.max(...points.map(({ n }) => n))];
    caption.textContent = `${measure.select.value} by ${key}${fixed.length ? `, of ${fixed.join(", ")}` : ""}: ` +
      (most > 1 ? `means over ${fewest < most ? `${fewest} to ${most}` : most} seeds; a line is a 95 % interval.` : "one seed each, so there is no interval.");
    const xs = values.map(scale), x0 = Math.min(...xs), x1 = Math.max(...xs);
    let y0 = Math.min(...points.map((point) => point.low)), y1 = Math.max(...points.map((point) => point.high));
    const space = (y1 - y0 || Math.abs(y1) || 1) * 0.06;
    [y0, y1] = [y0 - space, y1 + space];
    const room = numeric ? 24 : 60, apart = Math.min(12, (2 * room - 12) / lines.length); // marks at a word stand beside each other
    const px = (value) => LEFT + room + ((scale(value) - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - RIGHT - 2 * room);
    const py = (value) => HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group",
      "aria-label": `${measure.select.value} along ${key}; the table sweep_summary has the numbers` });
    svg.append(drawn("line", { x1: LEFT, y1: HEIGHT - BOTTOM, x2: WIDTH - RIGHT, y2: HEIGHT - BOTTOM, class: "axis" }),
      drawn("line", { x1: LEFT, y1: TOP, x2: LEFT, y2: HEIGHT - BOTTOM, class: "axis" }));
    for (const tick of ticks(y0, y1)) {
      svg.append(drawn("line", { x1: LEFT - 5, y1: py(tick), x2: LEFT, y2: py(tick), class: "axis" }),
        drawn("text", { x: LEFT - 8, y: py(tick) + 4, "text-anchor": "end" }, shown(tick)));
    }
    const every = Math.ceil(values.length / 12);
    values.forEach((value, n) => {
      if (n % every) return;
      const text = value.length > 14 ? `${value.slice(0, 13)}…` : value;
      svg.append(drawn("line", { x1: px(value), y1: HEIGHT - BOTTOM, x2: px(value), y2: HEIGHT - BOTTOM + 5, class: "axis" }),
        drawn("text", { x: px(value), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, text));
    });
    svg.append(drawn("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, key),
      drawn("text", { x: 14, y: HEIGHT / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${HEIGHT / 2})` }, measure.select.value));
    const marks = [];
    lines.forEach(([label, of], number) => {
      const stroke = COLOURS[number % COLOURS.length], move = numeric ? 0 : (number - (lines.length - 1) / 2) * apart;
      of.sort((a, b) => scale(a.x) - scale(b.x));
      const at = (point) => px(point.x) + move;
      if (numeric) svg.append(drawn("polyline", { points: of.map((point) => `${at(point)},${py(point.mean)}`).join(" "), fill: "none", stroke, "stroke-width": 1.5, "stroke-dasharray": DASHES[number % DASHES.length] }));
      for (const point of of) {
        const words = `${key}=${point.x} ${label}: ${shown(point.mean, 5)}` +
          (point.n > 1 ? `, 95 % interval ${shown(point.low, 5)} to ${shown(point.high, 5)}, ${point.n} seeds` : ", one seed");
        const mark = drawn("g", { "data-point": "" },
          drawn("line", { x1: at(point), y1: py(point.low), x2: at(point), y2: py(point.high), stroke, "stroke-width": 1.5 }),
          drawn("path", { d: MARKS[number % MARKS.length], transform: `translate(${at(point)} ${py(point.mean)})`, fill: stroke }));
        marks.push([mark, words]);
        svg.append(mark);
      }
      if (label) {
        const dot = drawn("svg", { width: 12, height: 12, "aria-hidden": "true" }, drawn("path", { d: MARKS[number % MARKS.length], transform: "translate(6 6)", fill: stroke }));
        legend.append(element("span", { class: "key" }, dot, label));
      }
    });
    if (series.size > MOST_SERIES) legend.append(`${series.size - MOST_SERIES} more are not drawn: choose values above.`);
    told(marks, hint);
    view.append(svg);
  }

  place.append(controls, caption, legend, hint, view);
  agree();
  draw();
}
