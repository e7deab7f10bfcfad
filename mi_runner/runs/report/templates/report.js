"use strict";
// Sorting and filtering of tables, light and dark, printing. Text is only ever set as text.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function data(name) {
  const place = document.getElementById(`data-${name}`);
  return place ? JSON.parse(place.textContent) : null;
}

// Shapes of a picture that say what they are: at the pointer, and at the keyboard's focus. Tab reaches one of them,
// the arrow keys the others. at: the number of the one that Tab reaches.
function told(shapes, hint, at = { number: 0 }) {
  if (at.number >= shapes.length) at.number = 0;
  shapes.forEach(([shape, text], number) => {
    for (const [name, value] of Object.entries({ role: "img", "aria-label": text, tabindex: number === at.number ? 0 : -1, class: "told" })) {
      shape.setAttribute(name, value);
    }
    shape.prepend(drawn("title", {}, text));
    const say = () => (hint.textContent = text);
    shape.addEventListener("pointerenter", say);
    shape.addEventListener("focus", say);
    shape.addEventListener("keydown", (event) => {
      const next = { ArrowRight: number + 1, ArrowDown: number + 1, ArrowLeft: number - 1, ArrowUp: number - 1, Home: 0, End: -1 }[event.key];
      if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      at.number = (next + shapes.length) % shapes.length;
      shape.setAttribute("tabindex", -1);
      shapes[at.number][0].setAttribute("tabindex", 0);
      shapes[at.number][0].focus();
    });
  });
}

function shown(value, digits = 4) {
  return value === null || value === undefined ? "unknown" : Number(value.toPrecision(digits)).toString();
}

{
  const compared = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function value(row, column) {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent;
  }

  function sort(table, column, ascending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // empty values last, in both directions
      const [x, y] = [Number(a.replaceAll(",", "")), Number(b.replaceAll(",", ""))];
      const order = Number.isNaN(x) || Number.isNaN(y) ? compared.compare(a, b) : x - y;
      return ascending ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
    for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
    table.tHead.rows[0].cells[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const heading of table.tHead.rows[0].cells) {
      heading.querySelector("button").addEventListener("click", () =>
        sort(table, heading.cellIndex, heading.getAttribute("aria-sort") !== "ascending"));
    }
    const section = table.closest(".table");
    const field = section.querySelector("[data-filter]");
    const count = section.querySelector("[data-count]");
    field?.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.innerText === undefined ? row.textContent : [...row.cells].map((cell) => cell.textContent).join(" ");
        row.hidden = !words.every((word) => text.toLowerCase().includes(word));
        left += !row.hidden;
      }
      count.textContent = words.length ? `${left} of ${table.tBodies[0].rows.length} rows` : "";
    });
  }
}

{
  // On a narrow screen a table begins with one name and its number: the columns that name a row are one cell, and the
  // measure stands beside it.
  const narrow = matchMedia("(max-width: 480px)");
  const tables = [...document.querySelectorAll("table[data-keys]")];

  for (const table of tables) {
    const keys = Number(table.dataset.keys);
    for (const row of keys > 1 ? table.rows : []) {
      const others = [...row.cells].slice(1, keys);
      for (const cell of others) cell.classList.add("joined");
      const rest = [...new Set(others.map((cell) => cell.textContent).filter(Boolean))];
      if (rest.length) row.cells[0].dataset.rest = rest.join(" · ");
    }
  }

  function place() {
    for (const table of tables) {
      const [keys, lead] = [Math.max(1, Number(table.dataset.keys)), Number(table.dataset.lead ?? 0)];
      if (lead <= keys || narrow.matches === (table.dataset.led === "true")) continue;
      table.dataset.led = narrow.matches;
      for (const row of table.rows) {
        if (narrow.matches) row.insertBefore(row.cells[lead], row.cells[keys]);
        else row.insertBefore(row.cells[keys], row.cells[lead].nextSibling);
      }
    }
  }

  narrow.addEventListener("change", place);
  place();
}

{
  const button = document.getElementById("theme");
  const names = { "": ["◐ auto", "colours: as the system"], light: ["☀ light", "colours: light"], dark: ["☾ dark", "colours: dark"] };
  button?.addEventListener("click", () => {
    const all = Object.keys(names);
    const next = all[(all.indexOf(document.documentElement.dataset.theme ?? "") + 1) % all.length];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    button.textContent = names[next][0];
    button.setAttribute("aria-label", names[next][1]);
    document.dispatchEvent(new Event("colours"));
  });
}

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const opened of document.querySelectorAll("details[data-printed]")) {
    opened.open = false;
    delete opened.dataset.printed;
  }
});
