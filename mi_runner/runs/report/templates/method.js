// A method's circuit on each of its worst networks beside the best one of the same size, and their difference.
for (const [id, of] of Object.entries(data("worst"))) {
  const hint = element("p", { class: "hint" }, "Point at an edge for its weight and who keeps it; or press Tab, then the arrow keys.");
  const about = (_, edge) => `${edgeName(edge)}, weight ${shown(edge.weight)}`;
  const panels = of.circuits.map(({ name, bits, mse }, place) => {
    const n = of.edges.filter((_, edge) => isKept(bits, edge)).length;
    const said = `${n} of ${of.edges.length} edges, mse ${shown(mse)}`;
    const view = layersPicture(of, `${name}: ${said}`, { hint, at: { number: 0 },
      style: (number, edge) => ofWeight(isKept(bits, number), edge),
      about: (number, edge) => `${about(number, edge)}; ${isKept(bits, number) ? "kept" : "left out"} here` });
    return element("div", { class: "panel" }, element("h4", {}, `${place ? "Right" : "Left"}: ${name}`), view, element("p", {}, said));
  });
  const [view, sentence] = differencePicture(of, ...of.circuits.map(({ bits }) => bits), { about, hint, at: { number: 0 } });
  panels.push(element("div", { class: "panel" }, element("h4", {}, "Difference"), view, element("p", {}, sentence)));
  document.getElementById(id).append(hint, element("div", { class: "panels" }, ...panels));
}
