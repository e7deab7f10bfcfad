// One valid circuit and all its criteria; circuits are sorted by any criterion, or found by their bits.
{
  const { parts, n_left_out } = data("criteria");
  const place = document.getElementById("criteria");
  const hint = element("p", { class: "hint" }, "Point at an edge for its weight and how many valid circuits keep it; or press Tab, then the arrow keys.");
  const at = { number: 0 };
  const SPARSEST = "fewest edges first";
  let part = parts[0], order = [];

  const which = element("select", { id: "criteria-which" },
    element("option", { value: "all" }, "all circuits of this page"),
    element("option", { value: "front" }, "the front: no other beats them"),
    element("option", { value: "survives" }, "those that survive all criteria"));
  const sorting = element("select", { id: "criteria-order" });
  const slider = element("input", { type: "range", min: 0, step: 1, id: "slider-criteria", "data-slider": "criteria" });
  const text = element("label", { for: "slider-criteria" });
  const bits = element("input", { type: "text", inputmode: "numeric", id: "criteria-bits", size: 12, autocomplete: "off" });
  const missing = element("p", { role: "status" });
  const view = element("div"), said = element("p", { "data-about": "circuit" }), table = element("div", { class: "scroll" });

  function list() {
    const { circuits, criteria } = part;
    const numbers = circuits.bits.map((_, row) => row).filter((row) => which.value === "all" || circuits[which.value][row]);
    const values = criteria[sorting.value];
    const first = (a, b) => circuits.edges[a] - circuits.edges[b] || a - b;
    return numbers.sort((a, b) => (values ? (values[b] ?? -1) - (values[a] ?? -1) : 0) || first(a, b));
  }

  function words(row) {
    const { circuits, edges } = part;
    const all = circuits.survives[row] === null ? "" : circuits.survives[row] ? ", survives all criteria" : ", doesn't survive all criteria";
    const front = circuits.front[row] === null ? "" : circuits.front[row] ? ", beaten by no other" : ", beaten by another";
    return `circuit ${circuits.bits[row]}: ${circuits.edges[row]} of ${edges.length} edges, ${circuits.nodes[row]} active hidden neurons${all}${front}`;
  }

  function about(number, edge) {
    return `${edgeName(edge)}, weight ${shown(edge.weight)}; ${(100 * edge.share).toFixed(1)} % of the valid circuits keep it`;
  }

  function survival(name, value) {
    if (value === null) return "unknown";
    if (!part.counted.includes(name)) return "not counted";
    return value >= part.threshold - 1e-9 ? "survives" : "does not survive";
  }

  function criteriaTable(row) {
    const head = element("tr", {}, element("th", { scope: "col" }, "criterion"), element("th", { scope: "col", class: "number" }, "value"),
      element("th", { scope: "col" }, `at least ${part.threshold}`));
    const lines = part.names.map((name) => [name, part.criteria[name][row]]).map(([name, value]) =>
      element("tr", { "data-criterion": name }, element("th", { scope: "row" }, name),
        element("td", { class: "number" }, shown(value)), element("td", {}, survival(name, value))));
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines));
  }

  function update() {
    const rank = Number(slider.value), row = order[rank];
    if (row === undefined) {
      text.textContent = "none";
      said.textContent = "There is no such circuit on this page.";
      view.replaceChildren();
      table.replaceChildren();
      return;
    }
    text.textContent = `number ${rank + 1} of ${order.length} circuits`;
    slider.setAttribute("aria-valuetext", text.textContent);
    said.textContent = words(row);
    bits.value = part.circuits.bits[row];
    const kept = part.circuits.bits[row];
    view.replaceChildren(layersPicture(part, said.textContent, { hint, at,
      style: (number, edge) => ofWeight(isKept(kept, number), edge),
      about: (number, edge) => `${about(number, edge)}; ${isKept(kept, number) ? "kept" : "left out"} here` }));
    table.replaceChildren(criteriaTable(row));
  }

  function begin() {
    missing.textContent = "";
    order = list();
    slider.max = Math.max(0, order.length - 1);
    slider.value = 0;
    update();
  }

  function find() {
    const row = part.circuits.bits.indexOf(bits.value.trim());
    if (row < 0) {
      missing.textContent = `circuit ${bits.value.trim()} is not on this page; circuits.parquet has all`;
      return;
    }
    which.value = "all";
    begin();
    slider.value = order.indexOf(row);
    update();
  }

  function build() {
    sorting.replaceChildren(element("option", { value: SPARSEST }, SPARSEST),
      ...part.names.map((name) => element("option", { value: name }, `largest ${name} first`)));
    begin();
  }

  which.addEventListener("change", begin);
  sorting.addEventListener("change", begin);
  slider.addEventListener("input", () => { missing.textContent = ""; update(); });
  bits.addEventListener("change", find);

  const controls = element("div", { class: "controls" });
  if (parts.length > 1) {
    const choice = element("select", { "data-part": "" },
      ...parts.map((one, number) => element("option", { value: number }, `output ${one.output}, ${one.ablation} ablation`)));
    choice.addEventListener("change", () => { part = parts[Number(choice.value)]; build(); });
    controls.append(element("label", {}, "circuits of ", choice));
  }
  controls.append(element("label", {}, "show ", which), element("label", {}, "order ", sorting), element("label", {}, "circuit ", bits));
  if (n_left_out) controls.append(element("span", { class: "more" }, `${n_left_out} more outputs are only in the tables.`));
  controls.append(element("div", { class: "wide" }, text, element("br"), slider));
  place.append(controls, missing, hint, element("div", { class: "panels" },
    element("div", { class: "panel" }, element("h3", {}, "Circuit"), view, said),
    element("div", { class: "panel" }, element("h3", {}, "Criteria"), table)));
  build();
}
