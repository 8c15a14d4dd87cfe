// Sorting for the table of arms. The page is complete without it.
(() => {
  "use strict";

  const orderOf = (row, index) => row.cells[index].dataset.order ?? "";

  /** Compares two cells; empty ones go last in both directions. */
  const comparer = (index, isNumber, direction) => (one, other) => {
    const a = orderOf(one, index);
    const b = orderOf(other, index);
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNumber ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
    return direction * order;
  };

  const sortBy = (table, header) => {
    const isAscending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
    const isNumber = header.classList.contains("number");
    const rows = [...table.tBodies[0].rows];
    rows.sort(comparer(header.cellIndex, isNumber, isAscending ? 1 : -1));
    table.tBodies[0].append(...rows);
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const header of table.tHead.rows[0].cells) {
      // A real button brings focus, Enter and Space with it.
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(table, header));
      header.append(button);
    }
    table.dataset.ready = "true";
  }
})();
