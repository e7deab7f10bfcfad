// Two circuits side by side and their difference; each is the best with so many edges, or one of the sparsest.
{
  const { outputs } = data("circuits");
  const place = document.getElementById("circuits");
  const hint = element("p", { class: "hint" }, "Point at an edge for its weight and how many valid circuits keep it; or press Tab, then the arrow keys.");
  const panels = element("div", { class: "panels" });
  const ats = [{ number: 0 }, { number: 0 }, { number: 0 }];
  let output = outputs[0];

  function about(number, edge) {
    const share = edge.share === null ? "" : `; ${(100 * edge.share).toFixed(1)} % of the valid circuits keep it`;
    return `${edgeName(edge)}, weight ${shown(edge.weight)}${share}`;
  }

  function words(circuit) {
    const valid = circuit.valid ? "valid" : "not valid";
    return `circuit ${circuit.circuit}: ${circuit.edges} of ${output.edges.length} edges, ${circuit.nodes} active hidden neurons, accuracy ${shown(circuit.accuracy, 5)}, ${valid}`;
  }

  function side(name, source, first, at) {
    const label = name.toLowerCase();
    const choice = element("select", { "aria-label": `${label}: which circuits` },
      element("option", { value: "best" }, "the best circuit for each number of edges"),
      element("option", { value: "sparsest" }, "the sparsest valid circuits"));
    choice.value = output[source].length ? source : "best";
    const slider = element("input", { type: "range", min: 0, step: 1, id: `slider-${label}`, "data-slider": label });
    const text = element("label", { for: `slider-${label}` });
    const said = element("p", { "data-about": label });
    const view = element("div");
    const box = element("div", { class: "panel" }, element("h3", {}, name), choice, text, slider, view, said);
    const made = { box, circuit: null, update };
    function list() { return output[choice.value]; }
    function update() {
      const rank = Number(slider.value);
      made.circuit = list()[rank] ?? null;
      view.replaceChildren();
      if (!made.circuit) {
        text.textContent = "none";
        said.textContent = "There is no such circuit in the table.";
      } else {
        text.textContent = choice.value === "best"
          ? `kept edges: ${made.circuit.edges}`
          : `number ${rank + 1} of the ${list().length} sparsest of ${output.n_valid.toLocaleString("en")} valid circuits in the table`;
        slider.setAttribute("aria-valuetext", text.textContent);
        said.textContent = words(made.circuit);
        const bits = made.circuit.circuit;
        view.append(layersPicture(output, words(made.circuit), { hint, at,
          style: (number, edge) => ofWeight(isKept(bits, number), edge),
          about: (number, edge) => `${about(number, edge)}; ${isKept(bits, number) ? "kept" : "left out"} here` }));
      }
      difference();
    }
    function begin(rank) {
      slider.max = Math.max(0, list().length - 1);
      slider.value = rank;
      update();
    }
    choice.addEventListener("change", () => begin(0));
    slider.addEventListener("input", update);
    made.begin = () => begin(first(list()));
    return made;
  }

  const view = element("div"), comparison = element("p", { "data-about": "difference" });
  function difference() {
    const [left, right] = sides.map((one) => one.circuit);
    view.replaceChildren();
    comparison.textContent = "";
    if (!left || !right) return;
    const [picture, sentence] = differencePicture(output, left.circuit, right.circuit, { about, hint, at: ats[2] });
    view.append(picture);
    comparison.textContent = sentence;
  }

  let sides = [];
  const valid = (list) => Math.max(0, list.findIndex((circuit) => circuit.valid));
  function build() {
    sides = [];
    sides.push(side("Left", "best", valid, ats[0]));
    sides.push(side("Right", "sparsest", (list) => Math.min(1, list.length - 1), ats[1]));
    panels.replaceChildren(...sides.map((one) => one.box),
      element("div", { class: "panel" }, element("h3", {}, "Difference"), view, comparison));
    for (const one of sides) one.begin();
  }

  if (outputs.length > 1) {
    const choice = element("select", { id: "circuits-output" },
      ...outputs.map((one, number) => element("option", { value: number }, `output ${one.output}`)));
    choice.addEventListener("change", () => { output = outputs[Number(choice.value)]; build(); });
    place.append(element("div", { class: "controls" }, element("label", {}, "output ", choice)));
  }
  place.append(hint, panels);
  build();
}
