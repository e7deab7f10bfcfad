// Methods in columns, networks in rows: the mean of a measure in each cell, darker where more methods of its row are better.
{
  const WIDTH = 74, HEIGHT = 30, LEFT = 180, TOP = 112, RIGHT = 90, LETTERS = 24;
  const { networks, methods, measures, cells } = data("bench");
  const found = new Map(cells.map(([of, method, ...rest]) => [JSON.stringify([of, method]), rest]));
  const place = document.getElementById("bench");
  const hint = element("p", { class: "hint" }, "Point at a cell for its numbers; or press Tab, then the arrow keys.");
  const view = element("div", { class: "network-scroll", tabindex: "0", role: "region", "aria-label": "methods by networks" });
  const meaning = element("p", { class: "meaning" });
  const choice = element("select", { "data-choice": "measure" }, ...measures.map(({ name }, n) => element("option", { value: n }, name)));
  const reached = { number: 0 };

  function short(text) {
    return text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text;
  }

  // The fraction of the other methods of the row that are better: 0 the best, 1 the worst.
  function worse(value, row, better) {
    const known = row.filter((one) => one !== null);
    const above = known.filter((one) => (better === "less" ? one < value : one > value)).length;
    return known.length > 1 ? above / (known.length - 1) : 0;
  }

  function words(of, method, name, numbers, cell) {
    if (!numbers || numbers[0] === null) return `${method} on ${of}: no ${name}`;
    const [mean, low, high] = numbers, [best, n, unit] = cell;
    const interval = low === null || low === high ? "" : `, 95 % interval ${shown(low)} to ${shown(high)}`;
    const units = n === null ? "" : `, ${n} ${unit}${n === 1 ? "" : "s"}`;
    return `${method} on ${of}: ${name} ${shown(mean)}${interval}${units}${best ? "; best mean rank, or ties with it" : ""}`;
  }

  function draw() {
    const which = Number(choice.value), { name, better } = measures[which];
    meaning.textContent = `${name}: ${measures[which].meaning}${better ? ` (${better} is better)` : ""}`;
    const size = [LEFT + methods.length * WIDTH + RIGHT, TOP + networks.length * HEIGHT + 10];
    const svg = drawn("svg", { width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}`, role: "group",
      "aria-label": `${name} of each method on each row of networks; the leaderboard has the numbers` });
    methods.forEach((method, column) => {
      const [x, y] = [LEFT + (column + 0.5) * WIDTH, TOP - 8];
      svg.append(drawn("text", { x, y, transform: `rotate(-35 ${x} ${y})` }, drawn("title", {}, method), short(method)));
    });
    const shapes = [];
    networks.forEach((of, line) => {
      const y = TOP + line * HEIGHT;
      svg.append(drawn("text", { x: LEFT - 10, y: y + 19, "text-anchor": "end", class: of.together ? "strong" : "" },
        drawn("title", {}, of.name), short(of.name)));
      const row = methods.map((method) => found.get(JSON.stringify([of.name, method]))?.[3][which][0] ?? null);
      methods.forEach((method, column) => {
        const cell = found.get(JSON.stringify([of.name, method]));
        const x = LEFT + column * WIDTH, value = row[column];
        const part = value === null ? 0 : worse(value, row, better);
        const fill = value === null ? "var(--panel)" : `hsl(${Math.round(48 - 40 * part)} 95% ${Math.round(96 - 36 * part)}%)`;
        const box = drawn("g", { "data-cell": `${of.name} ${method}` },
          drawn("rect", { x: x + 1, y: y + 1, width: WIDTH - 2, height: HEIGHT - 2, rx: 3, class: "box", fill }));
        const text = drawn("text", { x: x + WIDTH - 9, y: y + 19, "text-anchor": "end", class: value === null ? "" : "box-text" },
          value === null ? "–" : shown(value, 3));
        box.append(text);
        if (cell?.[0]) box.append(drawn("circle", { cx: x + 9, cy: y + HEIGHT / 2, r: 3.5, fill: "#111" }));
        shapes.push([box, words(of.name, method, name, cell?.[3][which], cell)]);
        svg.append(box);
      });
    });
    told(shapes, hint, reached);
    view.replaceChildren(svg);
  }

  choice.addEventListener("change", draw);
  place.append(element("div", { class: "controls" }, element("label", {}, "measure ", choice)), meaning, hint, view);
  draw();
}
