"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // ---- tables: a click on a column's head sorts by it; what has no value comes last, ties keep their order
  const numberOf = (cell, byRank) => {
    const kept = cell && (byRank ? cell.dataset.rank : cell.dataset.value);
    return kept === undefined || kept === "" || !cell ? null : Number(kept);
  };
  const compare = (a, b, sign) => {
    if (a.empty || b.empty) return Number(a.empty) - Number(b.empty);
    if (a.number !== null && b.number !== null) return sign * (a.number - b.number);
    if ((a.number === null) !== (b.number === null)) return a.number === null ? 1 : -1;
    return sign * a.text.localeCompare(b.text, "en", { numeric: true });
  };
  const keyOf = (row, column, byRank) => {
    const cell = row.cells[column];
    const number = numberOf(cell, byRank);
    const text = cell ? cell.textContent.trim() : "";
    const valued = column > 0 && row.parentNode.closest(".leaderboard");
    return { row, number, text, empty: valued ? number === null : text === "" };
  };

  const makeSortable = (table) => {
    const heads = all("thead th", table);
    const groups = all("tbody", table);
    const rows = groups.map((group) => all("tr:not(.question)", group));
    const sorted = document.createElement("tbody");
    const board = table.classList.contains("leaderboard");
    const restore = () => {
      groups.forEach((group, place) => { group.append(...rows[place]); group.hidden = false; });
      sorted.remove();
    };
    const sort = (column, order) => {
      restore();
      heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? order : "none"));
      if (order === "none") return;
      const choice = board ? table.closest("section").querySelector(".sort-by").value : "value";
      const sign = order === "ascending" ? 1 : -1;
      const keys = rows.flat().map((row) => keyOf(row, column, choice === "rank"));
      keys.sort((a, b) => compare(a, b, sign));
      groups.forEach((group) => { group.hidden = true; });
      sorted.append(...keys.map((key) => key.row));
      table.append(sorted);
    };
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (button) button.addEventListener("click", () => sort(column, next[head.getAttribute("aria-sort")]));
    });
    if (board) {
      table.closest("section").querySelector(".sort-by").addEventListener("change", () => {
        const column = heads.findIndex((head) => head.getAttribute("aria-sort") !== "none");
        if (column > 0) sort(column, heads[column].getAttribute("aria-sort"));
      });
    }
  };
  all("table.sortable").forEach(makeSortable);

  // ---- the leaderboard's filter: by words, and by what images a protocol is of
  all("table.leaderboard").forEach((table) => {
    const section = table.closest("section");
    const filter = section.querySelector(".filter");
    const kind = section.querySelector(".kind");
    const rows = all("tr[data-kind]", table);
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row) => {
        const text = row.dataset.text.toLowerCase();
        const wanted = words.every((word) => text.includes(word)) && (!kind.value || row.dataset.kind === kind.value);
        row.hidden = !wanted;
      });
      all("tbody.group", table).forEach((group) => {
        const question = group.querySelector(".question");
        question.hidden = !all("tr[data-kind]", group).some((row) => !row.hidden);
      });
    };
    filter.addEventListener("input", apply);
    kind.addEventListener("change", apply);
  });

  // ---- one metric at a time
  const chosen = all("section.metrics").map((section) => {
    const select = section.querySelector(".choose");
    const panels = all(".panel", section);
    const show = () => panels.forEach((panel) => { panel.hidden = panel.id !== select.value; });
    select.addEventListener("change", show);
    show();
    return { section, select, panels, show };
  });
  const follow = () => {
    const wanted = decodeURIComponent(location.hash.slice(1));
    chosen.forEach(({ section, select, panels, show }) => {
      if (!panels.some((panel) => panel.id === wanted)) return;
      select.value = wanted;
      show();
      section.scrollIntoView();
    });
  };
  window.addEventListener("hashchange", follow);
  follow();

  // ---- two models' reconstructions of the same images, one over the other, with a slider between them
  all("figure.reconstructions").forEach((figure) => {
    const pictures = all(".pictures figure", figure).map((one) => {
      const image = one.querySelector("img");
      return { image, name: image.alt, size: `${image.getAttribute("width")} ${image.getAttribute("height")}` };
    }).filter((one, _, every) => one.size === every[0].size);
    if (pictures.length < 2) return;
    const place = document.createElement("div");
    place.className = "slider";
    const stack = document.createElement("div");
    stack.className = "stack";
    const [under, over] = [0, 1].map((at) => {
      const image = document.createElement("img");
      image.className = at ? "over" : "under";
      stack.append(image);
      return image;
    });
    const choice = (label, at, image) => {
      const select = document.createElement("select");
      pictures.forEach((one, number) => select.append(new Option(one.name, String(number))));
      const put = () => {
        const { image: from, name } = pictures[Number(select.value)];
        image.src = from.src;
        image.alt = name;
        ["width", "height"].forEach((side) => image.setAttribute(side, from.getAttribute(side)));
      };
      select.value = String(Math.min(at, pictures.length - 1));
      select.addEventListener("change", put);
      put();
      const holder = document.createElement("label");
      holder.append(`${label} `, select);
      return holder;
    };
    const slide = document.createElement("input");
    Object.assign(slide, { type: "range", min: "0", max: "100", value: "50" });
    slide.setAttribute("aria-label", "how much of the left one is shown");
    const move = () => stack.style.setProperty("--shown", `${slide.value}%`);
    slide.addEventListener("input", move);
    move();
    const controls = document.createElement("p");
    controls.className = "controls";
    controls.append(choice("Left", 1, over), choice("Right", 2, under));
    place.append(controls, stack, slide);
    figure.querySelector(".pictures").after(place);
  });

  // ---- where a number came from; everything is put in as text, never as markup
  const shown = JSON.parse(document.getElementById("shown").textContent);
  const dialog = document.querySelector("dialog");
  const make = (name, text, parent) => {
    const element = document.createElement(name);
    element.textContent = text;
    parent.append(element);
    return element;
  };
  const open = (key) => {
    const [title, blocks] = shown.entries[Number(key)];
    const text = (index) => shown.texts[index];
    dialog.querySelector("h2").textContent = text(title);
    const place = dialog.querySelector(".blocks");
    place.replaceChildren();
    blocks.forEach(([head, facts]) => {
      make("h3", text(head), place);
      const list = make("dl", "", place);
      for (let at = 0; at < facts.length; at += 2) {
        const name = text(facts[at]);
        make("dt", name, list);
        const said = make("dd", text(facts[at + 1]), list);
        if (["command", "trained by", "see"].includes(name)) said.className = "command";
      }
    });
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-key]");
    if (button) open(button.dataset.key);
    else if (event.target === dialog) dialog.close();
  });
})();
