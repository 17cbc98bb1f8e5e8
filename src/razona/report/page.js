"use strict";
// Words that come from data enter the page through textContent only, never as HTML.
(() => {
  const OUTCOMES = { correct: "correct", incorrect: "incorrect", no_answer: "no answer", unverified: "unverified" };
  const find = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(find(id).textContent);

  const drawCharts = () => {
    const specs = read("specs");
    for (const place of document.querySelectorAll(".chart")) {
      const options = { actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true } };
      window.vegaEmbed(place, specs[place.dataset.figure], options).catch(() => {
        place.textContent = "This chart could not be drawn.";
      });
    }
  };

  const element = (tag, name, words) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (words !== undefined) made.textContent = words;
    return made;
  };

  const fixed = (value) => (value === null ? "none" : value.toFixed(2).replace("-", "\u2212"));

  const signed = (value) => (value === null ? "none" : (value > 0 ? "+" : "") + fixed(value));

  const fact = (list, term, words) => {
    const pair = element("div");
    pair.append(element("dt", "", term), element("dd", "data", words));
    list.append(pair);
  };

  const describeReward = (row) => {
    const parts = Object.entries(row.parts).map(([name, value]) => `${name} ${fixed(value)}`);
    return fixed(row.reward) + (parts.length ? ` = ${parts.join(" + ")}` : "");
  };

  const drawRow = (row) => {
    const item = element("li", "completion");
    const head = element("p", "head");
    const known = Object.hasOwn(OUTCOMES, row.outcome);
    head.append(element("span", `badge ${known ? row.outcome : "unverified"}`, known ? OUTCOMES[row.outcome] : row.outcome));
    if (row.family) head.append(element("span", "family", row.family.replaceAll("_", " ")));
    const text = element("pre", "", row.completion);
    text.tabIndex = 0;
    text.setAttribute("aria-label", "completion");
    const facts = element("dl", "facts");
    fact(facts, "answer", row.answer || "none");
    fact(facts, "target", row.target);
    fact(facts, "reward", describeReward(row));
    fact(facts, "advantage", signed(row.advantage));
    if (row.num_tokens !== null) fact(facts, "tokens", `${row.num_tokens}${row.is_truncated ? ", cut off" : ""}`);
    item.append(head, element("p", "question", row.question), text, facts);
    if (row.reason) item.append(element("p", "hint data", row.reason));
    return item;
  };

  const openBrowser = () => {
    const steps = read("completions-data");
    if (!steps.length) return;
    const chosen = find("browser-step");
    const outcome = find("browser-outcome");
    const search = find("browser-search");
    for (const [index, one] of steps.entries()) {
      const option = element("option", "", String(one.step));
      option.value = String(index);
      chosen.append(option);
    }
    chosen.value = String(steps.length - 1);

    const matches = (row) => {
      const wanted = search.value.trim().toLowerCase();
      const told = [row.question, row.completion, row.answer].join("\n").toLowerCase();
      return (!outcome.value || row.outcome === outcome.value) && told.includes(wanted);
    };

    const update = () => {
      const step = steps[chosen.selectedIndex];
      const shown = step.rows.filter(matches);
      find("browser-rows").replaceChildren(...shown.map(drawRow));
      const others = step.stored - step.rows.length;
      find("browser-status").textContent =
        `${shown.length} of ${step.rows.length} completions of step ${step.step}` +
        (others > 0 ? `; ${others} more are in ${step.file}` : "");
      find("browser-earlier").disabled = chosen.selectedIndex === 0;
      find("browser-later").disabled = chosen.selectedIndex === steps.length - 1;
    };

    const move = (by) => {
      chosen.selectedIndex += by;
      update();
    };

    find("browser-form").addEventListener("submit", (event) => event.preventDefault());
    find("browser-earlier").addEventListener("click", () => move(-1));
    find("browser-later").addEventListener("click", () => move(1));
    chosen.addEventListener("change", update);
    outcome.addEventListener("change", update);
    search.addEventListener("input", update);
    update();
  };

  openBrowser();
  drawCharts();
})();
