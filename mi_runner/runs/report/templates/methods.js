// The circuits of two methods, or of a method and the best ones, at one size; and their difference.
{
  const { parts, n_left_out } = data("methods");
  const place = document.getElementById("methods");
  const hint = element("p", { class: "hint" }, "Point at an edge for its weight, its score and who keeps it; or press Tab, then the arrow keys.");
  const ats = [{ number: 0 }, { number: 0 }, { number: 0 }];
  const slider = element("input", { type: "range", min: 0, step: 1, id: "slider-size", "data-slider": "size" });
  const text = element("label", { for: "slider-size" });
  let part = parts[0];

  const names = () => Object.keys(part.lists);
  const searched = () => names().filter((name) => !part.best.includes(name));
  const size = () => Number(slider.value);

  // The method whose circuits have the smallest mse, mean of all sizes.
  function nearest() {
    const sum = (name) => part.lists[name].mse.reduce((total, mse) => total + (mse ?? Infinity), 0);
    return searched().reduce((a, b) => (sum(b) < sum(a) ? b : a));
  }

  function about(number, edge) {
    const words = [`${edgeName(edge)}, weight ${shown(edge.weight)}`];
    if (edge.share !== null) words.push(`${(100 * edge.share).toFixed(1)} % of the valid circuits keep it`);
    const keeping = searched().filter((name) => isKept(part.lists[name].bits[size()], number));
    words.push(`${keeping.length} of ${searched().length} methods keep it at this size`);
    for (const name of new Set(sides.map((one) => one.choice.value))) {
      if (part.scores[name]) words.push(`score by ${name}: ${shown(part.scores[name][number])}`);
    }
    return words.join("; ");
  }

  function words(name) {
    const of = part.lists[name], at = size();
    const edges = part.edges.filter((_, edge) => isKept(of.bits[at], edge)).length;
    const said = [`${name}, at most ${part.k[at]} edges: ${edges} of ${part.edges.length} edges`];
    if (of.accuracy) said.push(`accuracy ${shown(of.accuracy[at], 5)}`);
    if (of.mse) said.push(`mse ${shown(of.mse[at])}`);
    if (of.percentile && of.percentile[at] !== null) said.push(`percentile ${shown(of.percentile[at], 3)}`);
    if (of.valid) said.push(of.valid[at] ? "valid" : "not valid");
    return said.join(", ");
  }

  const sides = ["left", "right"].map((label, number) => {
    const choice = element("select", { "aria-label": `${label}: which method`, "data-method": label });
    const view = element("div"), said = element("p", { "data-about": label });
    const box = element("div", { class: "panel" }, element("h3", {}, number ? "Right" : "Left"), choice, view, said);
    choice.addEventListener("change", update);
    return { choice, view, said, box, at: ats[number] };
  });
  const view = element("div"), comparison = element("p", { "data-about": "difference" });

  function update() {
    text.textContent = `at most ${part.k[size()]} edges`;
    slider.setAttribute("aria-valuetext", text.textContent);
    const circuits = sides.map(({ choice }) => part.lists[choice.value].bits[size()]);
    sides.forEach((one, number) => {
      const bits = circuits[number];
      one.said.textContent = words(one.choice.value);
      one.view.replaceChildren(layersPicture(part, one.said.textContent, { hint, at: one.at,
        style: (edge, of) => ofWeight(isKept(bits, edge), of),
        about: (edge, of) => `${about(edge, of)}; ${isKept(bits, edge) ? "kept" : "left out"} here` }));
    });
    const [picture, sentence] = differencePicture(part, ...circuits, { about, hint, at: ats[2] });
    view.replaceChildren(picture);
    comparison.textContent = sentence;
  }

  function build() {
    for (const { choice } of sides) {
      choice.replaceChildren(...names().map((name) => element("option", { value: name }, name)));
    }
    const method = nearest();
    sides[0].choice.value = method;
    sides[1].choice.value = part.best[0] ?? names().find((name) => name !== method) ?? method;
    slider.max = part.k.length - 1;
    const first = part.lists[method].valid.indexOf(1);
    slider.value = first < 0 ? Math.floor(part.k.length / 2) : first;
    update();
  }

  slider.addEventListener("input", update);
  const controls = element("div", { class: "controls" });
  if (parts.length > 1) {
    const choice = element("select", { "data-part": "" },
      ...parts.map((one, number) => element("option", { value: number }, `output ${one.output}, ${one.ablation} ablation`)));
    choice.addEventListener("change", () => { part = parts[Number(choice.value)]; build(); });
    controls.append(element("label", {}, "circuits of ", choice));
  }
  if (n_left_out) controls.append(element("span", { class: "more" }, `${n_left_out} more outputs are only in the tables.`));
  controls.append(element("div", { class: "wide" }, text, element("br"), slider));
  place.append(controls, hint, element("div", { class: "panels" }, ...sides.map(({ box }) => box),
    element("div", { class: "panel" }, element("h3", {}, "Difference"), view, comparison)));
  build();
}
