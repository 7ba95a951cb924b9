// The report: a slider for the part that is chosen, an overview that sorts and searches.
"use strict";
(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Make the slider of a picture's article follow its choices.
  function liven(article) {
    const views = all("template.view", article), part = find(".part", article), which = find(".which", article);
    if (!views.length) return;
    const show = () => {
      const view = views[part ? part.value : 0], pictures = all("img", view.content.cloneNode(true));
      const slider = document.createElement("before-after");
      for (const index of (which ? which.value : "0 1").split(" ")) slider.append(pictures[index]);
      find(".stage", article).replaceChildren(slider);
      find(".words", article).textContent = view.dataset.words;
    };
    part?.addEventListener("change", show);
    which?.addEventListener("change", show);
    show();
  }

  function overview(table) {
    const body = table.tBodies[0], heads = all("th[data-key]", table), dialog = find("#detail");
    const rows = () => [...body.rows].filter(row => !row.hidden);

    // Thumbnails are made when they come near, and stay.
    const lazy = new IntersectionObserver(seen => {
      for (const { target, isIntersecting } of seen) {
        const hidden = find("template", target);
        if (!isIntersecting || !hidden) continue;
        lazy.unobserve(target);
        hidden.replaceWith(hidden.content);
      }
    }, { rootMargin: "600px" });
    for (const cell of all(".thumbnail", body)) lazy.observe(cell);

    for (const head of heads) {
      find("button", head).addEventListener("click", () => {
        const worst = head.dataset.worst === "1" ? "descending" : "ascending";
        const other = worst === "ascending" ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === worst ? other : worst;
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        sort(head.dataset.key, order === "ascending" ? 1 : -1);
      });
    }

    // Pictures without the value, such as those that failed, stand first.
    function sort(key, sign) {
      const value = row => key === "name" ? row.dataset.name : row.dataset[key] === undefined ? null : +row.dataset[key];
      const compare = (a, b) => {
        const [one, other] = [value(a), value(b)];
        if (one === null || other === null) return (other === null) - (one === null);
        return sign * (key === "name" ? one.localeCompare(other, undefined, { numeric: true }) : one - other);
      };
      body.append(...[...body.rows].sort(compare));
    }

    const search = find("#search"), count = find("#count"), total = body.rows.length;
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of body.rows) {
        const text = find("th", row).textContent.toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
      }
      const shown = rows().length;
      count.value = shown === total ? `${total} pictures` : `${shown} of ${total} pictures`;
    };
    search.addEventListener("input", filter);
    if (search.value) filter();                        // a browser may have kept it

    // The picture that the address names is shown, so that "back" leads to the overview.
    const open = () => {
      const id = location.hash.slice(1), article = find("article", dialog);
      const detail = id && find(`template.detail[data-id="${CSS.escape(id)}"]`);
      article.replaceChildren();
      if (!detail) { if (dialog.open) dialog.close(); return; }
      article.append(detail.content.cloneNode(true));
      if (!dialog.open) dialog.showModal();
      dialog.scrollTop = 0;
      liven(article);
      const place = rows().findIndex(row => find("a", row).hash === location.hash);
      find("#previous").disabled = place <= 0;
      find("#next").disabled = place < 0 || place === rows().length - 1;
    };
    const step = by => {
      const place = rows().findIndex(row => find("a", row).hash === location.hash);
      const next = rows()[place + by];
      if (next) location.replace(find("a", next).hash);
    };
    const leave = () => {
      const link = all("a", body).find(each => each.hash === location.hash);
      history.replaceState(null, "", location.pathname + location.search);
      open();
      link?.focus();
    };
    find("#previous").addEventListener("click", () => step(-1));
    find("#next").addEventListener("click", () => step(1));
    find("#close").addEventListener("click", leave);
    dialog.addEventListener("cancel", event => { event.preventDefault(); leave(); });
    addEventListener("hashchange", open);
    open();
  }

  const single = find("#single"), table = find("#overview");
  if (single) liven(single);
  if (table) overview(table);
})();
