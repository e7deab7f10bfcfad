// Two circuits side by side and their difference; each is the best with so many edges, or one of the sparsest.
{
  const WIDTH = 360, HEIGHT = 240, EDGE = 24;
  const { outputs } = data("circuits");
  const place = document.getElementById("circuits");
  const hint = element("p", { class: "hint", role: "status" }, "Point at an edge for its weight and how many valid circuits keep it.");
  const panels = element("div", { class: "panels" });
  let output = outputs[0];

  function position(column, neuron) {
    const size = output.sizes[column];
    return [EDGE + (column * (WIDTH - 2 * EDGE)) / (output.sizes.length - 1), ((neuron + 1) * HEIGHT) / (size + 1)];
  }

  function about(edge) {
    const share = edge.share === null ? "" : `; ${(100 * edge.share).toFixed(1)} % of the valid circuits keep it`;
    return `layer ${edge.layer + 1}: neuron ${edge.source} → neuron ${edge.target}, weight ${shown(edge.weight)}${share}`;
  }

  function picture(label, style) {
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    const largest = Math.max(...output.edges.map((edge) => Math.abs(edge.weight))) || 1;
    const active = new Set();
    const lines = output.edges.map((edge, number) => ({ edge, number, name: style(number, edge) }));
    lines.sort((a, b) => (a.name === "absent" ? 0 : 1) - (b.name === "absent" ? 0 : 1)); // kept edges above the others
    for (const { edge, name } of lines) {
      const [x1, y1] = position(edge.layer, edge.source);
      const [x2, y2] = position(edge.layer + 1, edge.target);
      const line = drawn("line", { x1, y1, x2, y2, class: `edge ${name}` }, drawn("title", {}, about(edge)));
      if (name !== "absent") {
        line.setAttribute("stroke-width", (1 + (5 * Math.abs(edge.weight)) / largest).toFixed(2));
        active.add(`${edge.layer} ${edge.source}`).add(`${edge.layer + 1} ${edge.target}`);
      }
      line.addEventListener("pointerenter", () => (hint.textContent = about(edge)));
      svg.append(line);
    }
    output.sizes.forEach((size, column) => {
      for (let neuron = 0; neuron < size; neuron++) {
        const [cx, cy] = position(column, neuron);
        const on = active.has(`${column} ${neuron}`);
        svg.append(drawn("circle", { cx, cy, r: 7, class: on ? "neuron active" : "neuron" },
          drawn("title", {}, `${column === 0 ? "input" : `layer ${column}`}, neuron ${neuron}: ${on ? "active" : "left out"}`)));
      }
    });
    return svg;
  }

  function words(circuit) {
    const valid = circuit.valid ? "valid" : "not valid";
    return `circuit ${circuit.circuit}: ${circuit.edges} of ${output.edges.length} edges, ${circuit.nodes} active hidden neurons, accuracy ${shown(circuit.accuracy, 5)}, ${valid}`;
  }

  function side(name, source, first) {
    const label = name.toLowerCase();
    const choice = element("select", { "aria-label": `${label}: which circuits` },
      element("option", { value: "best" }, "the best circuit for each number of edges"),
      element("option", { value: "sparsest" }, "the sparsest valid circuits"));
    choice.value = output[source].length ? source : "best";
    const slider = element("input", { type: "range", min: 0, step: 1, id: `slider-${label}`, "data-slider": label });
    const text = element("label", { for: `slider-${label}` });
    const about = element("p", { "data-about": label });
    const view = element("div");
    const box = element("div", { class: "panel" }, element("h3", {}, name), choice, text, slider, view, about);
    const made = { box, circuit: null, update };
    function list() { return output[choice.value]; }
    function update() {
      const rank = Number(slider.value);
      made.circuit = list()[rank] ?? null;
      view.replaceChildren();
      if (!made.circuit) {
        text.textContent = "none";
        about.textContent = "There is no such circuit in the table.";
      } else {
        text.textContent = choice.value === "best"
          ? `kept edges: ${made.circuit.edges}`
          : `number ${rank + 1} of the ${list().length} sparsest of ${output.n_valid.toLocaleString("en")} valid circuits in the table`;
        slider.setAttribute("aria-valuetext", text.textContent);
        about.textContent = words(made.circuit);
        const { kept } = made.circuit;
        view.append(picture(words(made.circuit), (edge, { weight }) =>
          kept[edge] !== "1" ? "absent" : weight >= 0 ? "positive" : "negative"));
      }
      difference();
    }
    function begin(at) {
      slider.max = Math.max(0, list().length - 1);
      slider.value = at;
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
    const counts = { both: 0, "only-left": 0, "only-right": 0, absent: 0 };
    const style = (edge) => {
      const a = left.kept[edge] === "1", b = right.kept[edge] === "1";
      const name = a && b ? "both" : a ? "only-left" : b ? "only-right" : "absent";
      counts[name] += 1;
      return name;
    };
    view.append(picture("difference of the two circuits", style));
    const any = counts.both + counts["only-left"] + counts["only-right"];
    comparison.textContent = `Both keep ${counts.both} edges (grey), only the left ${counts["only-left"]} (blue), ` +
      `only the right ${counts["only-right"]} (orange, dashed). Jaccard ${shown(counts.both / any, 3)}.`;
  }

  let sides = [];
  const valid = (list) => Math.max(0, list.findIndex((circuit) => circuit.valid));
  function build() {
    sides = [];
    sides.push(side("Left", "best", valid));
    sides.push(side("Right", "sparsest", (list) => Math.min(1, list.length - 1)));
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
  place.append(panels, hint);
  build();
}
