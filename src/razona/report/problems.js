"use strict";
// The problems of a comparison. Words that come from data enter the page through textContent only, never as HTML.
(() => {
  const OUTCOMES = { correct: "correct", incorrect: "incorrect", no_answer: "no answer", unverified: "unverified" };
  const STEP = 20; // problems that one press of "Show more" adds
  const find = (id) => document.getElementById(id);
  const form = find("problems-form");
  if (!form) return;
  const { rows, counts } = JSON.parse(find("problems-data").textContent);
  const change = find("problems-change");
  const search = find("problems-search");
  const more = find("problems-more");
  let limit = STEP;

  const element = (tag, name, words) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (words !== undefined) made.textContent = words;
    return made;
  };

  const share = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);

  const drawSide = (side) => {
    const box = element("div");
    const head = element("h4", "", `${side.name} ${share(side.share)} `);
    const known = Object.hasOwn(OUTCOMES, side.outcome);
    head.append(element("span", `badge ${known ? side.outcome : "unverified"}`, known ? OUTCOMES[side.outcome] : side.outcome));
    const text = element("pre", "", side.completion);
    text.tabIndex = 0;
    text.setAttribute("aria-label", `one completion of ${side.name}`);
    box.append(head, text);
    return box;
  };

  const drawRow = (row) => {
    const item = element("li", "completion");
    const head = element("p", "head");
    head.append(element("span", `badge change-${row.change}`, row.change), element("span", "family", row.id));
    const target = element("p", "hint", "Target ");
    target.append(element("b", "data", row.target));
    const sides = element("div", "sides");
    sides.append(...row.sides.map(drawSide));
    item.append(head, element("p", "question", row.question), target, sides);
    return item;
  };

  const matches = (row) => {
    const told = [row.id, row.question, row.target, ...row.sides.map((side) => side.completion)].join("\n").toLowerCase();
    return (!change.value || row.change === change.value) && told.includes(search.value.trim().toLowerCase());
  };

  const update = () => {
    const found = rows.filter(matches);
    find("problems-rows").replaceChildren(...found.slice(0, limit).map(drawRow));
    const told = Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const held = rows.length < total ? `; the page holds ${rows.length} of ${total}` : "";
    find("problems-status").textContent = `${Math.min(limit, found.length)} of ${found.length} shown. In all ${told}${held}.`;
    more.hidden = found.length <= limit;
  };

  const restart = () => {
    limit = STEP;
    update();
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  change.addEventListener("change", restart);
  search.addEventListener("input", restart);
  more.addEventListener("click", () => {
    limit += STEP;
    update();
  });
  restart();
})();
