"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figure-data").textContent);
  const plots = [...document.querySelectorAll("[data-figure]")];
  const button = document.getElementById("theme");
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function themed(layout) {
    const copy = structuredClone(layout);
    const line = css("--line");
    const axis = (own) => {
      const title = own.title && { ...own.title, font: { size: 13, color: css("--muted") } };
      return { ...own, ...(title && { title }), gridcolor: line, linecolor: line, tickcolor: line };
    };
    return Object.assign(copy, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: css("--sans"), size: 13, color: css("--ink") },
      hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left" },
      xaxis: axis(copy.xaxis),
      yaxis: axis(copy.yaxis),
    });
  }

  function draw() {
    for (const plot of plots) {
      const { data, layout } = figures[plot.dataset.figure];
      Plotly.react(plot, structuredClone(data), themed(layout), { responsive: true, displayModeBar: false });
    }
  }

  function label() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  }

  function remember(theme) {
    try {
      localStorage.setItem("compress-theme", theme);
    } catch {
      // A file opened from disk may have no storage; the choice then lasts as long as the page.
    }
  }

  function remembered() {
    try {
      return localStorage.getItem("compress-theme");
    } catch {
      return null;
    }
  }

  function use(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    label();
    draw();
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    remember(theme);
    use(theme);
  });
  systemDark.addEventListener("change", () => use(root.dataset.theme));

  // Paper is light, whatever the screen is.
  let onScreen;
  window.addEventListener("beforeprint", () => {
    onScreen = root.dataset.theme;
    use("light");
  });
  window.addEventListener("afterprint", () => use(onScreen));

  const stored = remembered();
  use(stored === "light" || stored === "dark" ? stored : undefined);
})();
