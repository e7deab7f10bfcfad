// A network's sites as boxes, its edges as arrows, in layers from the input; the colour is what an ablation costs.
{
  const WIDTH = 132, HEIGHT = 46, ACROSS = 60, DOWN = 22, EDGE = 14;
  const { sites, methods, costs } = data("network");
  const place = document.getElementById("network");
  const named = new Map(sites.map((site) => [site.name, site]));
  const depth = new Map();
  for (const site of sites) depth.set(site.name, 1 + Math.max(-1, ...site.reads.map((name) => depth.get(name) ?? -1)));
  const layers = [];
  for (const site of sites) (layers[depth.get(site.name)] ??= []).push(site.name);
  const tallest = Math.max(...layers.map((layer) => layer.length));
  const size = [layers.length * (WIDTH + ACROSS) - ACROSS + 2 * EDGE, (tallest + 1) * (HEIGHT + DOWN) + 2 * EDGE];
  const at = new Map();
  layers.forEach((layer, column) => layer.forEach((name, row) => {
    const top = EDGE + HEIGHT + DOWN + ((tallest - layer.length) / 2 + row) * (HEIGHT + DOWN);
    at.set(name, [EDGE + column * (WIDTH + ACROSS), top]);
  }));
  const largest = Math.max(1e-9, ...Object.values(costs).flatMap((of) => Object.values(of)));
  const reached = { number: 0 };
  const hint = element("p", { class: "hint" }, "Point at a box or an arrow for what its ablation costs; or press Tab, then the arrow keys.");
  const view = element("div", { class: "network-scroll", tabindex: "0", role: "region", "aria-label": "the network" });

  function colour(drop) {
    const part = Math.max(0, Math.min(1, drop / largest));
    return `hsl(${Math.round(48 - 40 * part)} 95% ${Math.round(96 - 42 * part)}%)`;
  }

  function short(text, most) {
    return text.length > most ? `${text.slice(0, most - 1)}…` : text;
  }

  function words(name, method) {
    const drop = costs[name]?.[method];
    if (drop === undefined) return `${name}: not ablated by ${method}`;
    return `${name}: ${method} ablation changes accuracy by ${shown(-100 * drop, 3)} points`;
  }

  function draw(method) {
    const svg = drawn("svg", { width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}`, role: "group",
      "aria-label": `the network, shaded by the accuracy that ${method} ablation costs` });
    const shapes = [];
    svg.append(drawn("defs", {}, drawn("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9,
      orient: "auto", markerUnits: "userSpaceOnUse" }, drawn("path", { d: "M0 0L8 4L0 8z", fill: "var(--soft)" }))));
    for (const site of sites) {
      for (const source of site.reads) {
        const [x, y] = at.get(source), [to, down] = at.get(site.name);
        const far = depth.get(site.name) - depth.get(source) > 1;
        const [x1, y1, x2, y2] = [x + WIDTH, y + HEIGHT / 2, to - 1, down + HEIGHT / 2];
        // An arrow past other boxes goes above them.
        const path = far
          ? `M${x + WIDTH / 2} ${y}C${x + WIDTH / 2} ${EDGE - HEIGHT / 2},${to + WIDTH / 2} ${EDGE - HEIGHT / 2},${to + WIDTH / 2} ${down - 1}`
          : `M${x1} ${y1}C${x1 + ACROSS / 2} ${y1},${x2 - ACROSS / 2} ${y2},${x2} ${y2}`;
        const name = `${source}/${site.name}`, drop = costs[name]?.[method];
        const line = drawn("path", { d: path, fill: "none", "marker-end": "url(#head)",
          stroke: drop === undefined ? "var(--soft)" : colour(drop), "stroke-width": drop === undefined ? 1.2 : 6 });
        const edge = drawn("g", { "data-edge": name }, drawn("path", { d: path, fill: "none", class: "grip", "stroke-width": 14 }));
        if (drop !== undefined) edge.append(drawn("path", { d: path, fill: "none", stroke: "var(--soft)", "stroke-width": 7.5 }));
        edge.append(line);
        shapes.push([edge, words(name, method)]);
        svg.append(edge);
      }
    }
    for (const site of sites) {
      const [x, y] = at.get(site.name), drop = costs[site.name]?.[method];
      const box = drawn("g", { "data-site": site.name },
        drawn("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 6, class: "box", fill: drop === undefined ? "#fff" : colour(drop) }),
        drawn("text", { x: x + WIDTH / 2, y: y + 18, "text-anchor": "middle", class: "box-text" }, short(site.name, 18)),
        drawn("text", { x: x + WIDTH / 2, y: y + 36, "text-anchor": "middle", class: "box-text" },
          drop === undefined ? short(`${site.of} ${site.shape}`, 20) : `−${shown(100 * drop, 3)} points`.replace("−-", "+")));
      shapes.push([box, `${words(site.name, method)}; ${site.of}, shape ${site.shape}`]);
      svg.append(box);
    }
    told(shapes, hint, reached);
    view.replaceChildren(svg);
  }

  const choices = methods.map((method, number) => {
    const input = element("input", { type: "radio", name: "method", value: method });
    input.checked = number === 0;
    input.addEventListener("change", () => draw(method));
    return element("label", {}, input, ` ${method}`);
  });
  place.append(element("div", { class: "controls" }, element("fieldset", {}, element("legend", {}, "ablated by"), ...choices)), hint, view);
  draw(methods[0]);
}
