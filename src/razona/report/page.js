"use strict";
// Words that come from data enter the page through textContent only, never as HTML.
(() => {
  const OUTCOMES = { correct: "correct", incorrect: "incorrect", no_answer: "no answer", unverified: "unverified" };
  const find = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(find(id).textContent);

  const drawCharts = async () => {
    const specs = read("specs");
    const options = { actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true } };
    const draw = (place) =>
      window.vegaEmbed(place, specs[place.dataset.figure], options).catch(() => {
        place.textContent = "This chart could not be drawn.";
      });
    await Promise.all([...document.querySelectorAll(".chart")].map(draw));
  };

  const element = (tag, name, words) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (words !== undefined) made.textContent = words;
    return made;
  };

  const fixed = (value) => (value === null ? "none" : value.toFixed(2).replace("-", "\u2212"));

  const spaced = (name) => name.replaceAll("_", " ");

  const signed = (value) => (value === null ? "none" : (value > 0 ? "+" : "") + fixed(value));

  const fact = (list, term, words) => {
    const pair = element("div");
    pair.append(element("dt", "", term), element("dd", "data", words));
    list.append(pair);
  };

  const RECEIPT = [
    ["component", (entry) => entry.component],
    ["weight", (entry) => (entry.weight === null ? "" : String(entry.weight))],
    ["value", (entry) => (entry.value === null ? "" : fixed(entry.value))],
    ["part", (entry) => (entry.part === null ? "" : fixed(entry.part))],
    ["why", (entry) => entry.why],
  ];

  // One line for each reward component: part = weight x value, and the parts add up to the reward.
  const drawReceipt = (entries) => {
    const table = element("table", "receipt");
    const head = element("tr");
    head.append(...RECEIPT.map(([title]) => Object.assign(element("th", title, title), { scope: "col" })));
    const lines = entries.map((entry) => {
      const line = element("tr");
      line.append(...RECEIPT.map(([title, write]) => element("td", `data ${title}`, write(entry))));
      return line;
    });
    const top = element("thead");
    const body = element("tbody");
    top.append(head);
    body.append(...lines);
    table.append(element("caption", "", "Receipt"), top, body);
    return table;
  };

  const drawRow = ({ row, step }) => {
    const item = element("li", "completion");
    const head = element("p", "head");
    const known = Object.hasOwn(OUTCOMES, row.outcome);
    head.append(element("span", `badge ${known ? row.outcome : "unverified"}`, known ? OUTCOMES[row.outcome] : row.outcome));
    if (row.family) head.append(element("span", "family", spaced(row.family)));
    head.append(element("span", "family", `step ${step}`));
    const text = element("pre", "", row.completion);
    text.tabIndex = 0;
    text.setAttribute("aria-label", "completion");
    const facts = element("dl", "facts");
    fact(facts, "answer", row.answer || "none");
    fact(facts, "target", row.target);
    fact(facts, "reward", fixed(row.reward));
    fact(facts, "advantage", signed(row.advantage));
    if (row.num_tokens !== null) fact(facts, "tokens", `${row.num_tokens}${row.is_truncated ? ", cut off" : ""}`);
    item.append(head, element("p", "question", row.question), text, facts);
    if (row.reason) item.append(element("p", "hint data", row.reason));
    if (row.receipt.length) item.append(drawReceipt(row.receipt));
    return item;
  };

  const PAID = {
    above: (reward) => reward !== null && reward > 0,
    zero: (reward) => reward !== null && reward <= 0,
    none: (reward) => reward === null,
  };

  const addOption = (select, value, words) => {
    const option = element("option", "", words);
    option.value = value;
    select.append(option);
  };

  const describeShown = (shown, chosen) => {
    const count = chosen.reduce((sum, one) => sum + one.rows.length, 0);
    if (chosen.length > 1) return `${shown.length} of ${count} completions of ${chosen.length} steps`;
    const [one] = chosen;
    const others = one.stored - one.rows.length;
    return (
      `${shown.length} of ${count} completions of step ${one.step}` +
      (others > 0 ? `; ${others} more are in ${one.file}` : "")
    );
  };

  const openBrowser = () => {
    const steps = read("completions-data");
    if (!steps.length) return;
    const [step, outcome, paid, family, search] = ["step", "outcome", "paid", "family", "search"].map((name) =>
      find(`browser-${name}`),
    );
    addOption(step, "all", "all of these");
    for (const one of steps) addOption(step, String(one.step), String(one.step));
    step.value = String(steps.at(-1).step);
    const families = [...new Set(steps.flatMap((one) => one.rows.map((row) => row.family)))].sort();
    for (const name of families) addOption(family, name, spaced(name) || "none");
    find("browser-family-field").hidden = families.length < 2;

    const matches = ({ row }) => {
      const wanted = search.value.trim().toLowerCase();
      const told = [row.question, row.completion, row.answer].join("\n").toLowerCase();
      return (
        (!outcome.value || row.outcome === outcome.value) &&
        (!paid.value || PAID[paid.value](row.reward)) &&
        (family.selectedIndex <= 0 || row.family === family.value) &&
        told.includes(wanted)
      );
    };

    const update = () => {
      const chosen = step.value === "all" ? steps : steps.filter((one) => String(one.step) === step.value);
      const shown = chosen.flatMap((one) => one.rows.map((row) => ({ row, step: one.step }))).filter(matches);
      find("browser-rows").replaceChildren(...shown.map(drawRow));
      find("browser-status").textContent = describeShown(shown, chosen);
      find("browser-earlier").disabled = step.selectedIndex <= 1;
      find("browser-later").disabled = step.selectedIndex === 0 || step.selectedIndex === steps.length;
    };

    const move = (by) => {
      step.selectedIndex += by;
      update();
    };

    find("browser-form").addEventListener("submit", (event) => event.preventDefault());
    find("browser-earlier").addEventListener("click", () => move(-1));
    find("browser-later").addEventListener("click", () => move(1));
    for (const select of [step, outcome, paid, family]) select.addEventListener("change", update);
    search.addEventListener("input", update);
    update();
  };

  openBrowser();
  // Ends when every chart is drawn and the page has its height: `live.js` scrolls back then.
  window.razonaDrawn = drawCharts();
})();
