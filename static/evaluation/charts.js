/* Draws every figure.chart from the table behind it. Series differ in dash, marker and hatching as
   well as in colour; nothing moves. */

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2]];
const MARKS = ["circle", "rect", "triangle", "rectRot", "crossRot", "star"];
const HATCHES = ["solid", "rising", "dots", "falling", "level", "cross"];
const MANY = 45; // places, of which no longer each has a mark

const language = document.documentElement.lang || "zh-hans";
const number = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const small = new Intl.NumberFormat(language, { maximumFractionDigits: 4 });
const drawn = new Map();

function shown(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "share") return `${number.format(Math.round(value * 1000) / 10)} %`;
  if (unit === "ms") {
    return value < 1000 ? `${number.format(Math.round(value))} ms` : shown(value / 1000, "seconds");
  }
  if (unit === "seconds") return `${number.format(Math.round(value * 10) / 10)} s`;
  return (Math.abs(value) < 1 ? small : number).format(value);
}

function read(figure) {
  const rows = [...figure.querySelectorAll("tbody tr")];
  const heads = [...figure.querySelectorAll("thead th")].slice(1);
  const of = (cell, name) => (name in cell.dataset ? Number(cell.dataset[name]) : null);
  return {
    labels: rows.map((row) => row.cells[0].textContent),
    series: heads.map((head, at) => {
      const cells = rows.map((row) => row.cells[at + 1]);
      return {
        label: head.textContent,
        values: cells.map((cell) => of(cell, "value")),
        intervals: cells.map((cell) => [of(cell, "low"), of(cell, "high")]),
      };
    }),
  };
}

function hatch(context, colour, name) {
  if (name === "solid") return colour;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 2;
  if (name === "dots") {
    for (const [x, y] of [[2, 2], [6, 6]]) pen.fillRect(x - 1, y - 1, 2, 2);
    return context.createPattern(tile, "repeat");
  }
  pen.beginPath();
  const lines = {
    rising: [[-2, 2, 2, -2], [0, 8, 8, 0], [6, 10, 10, 6]],
    falling: [[-2, 6, 2, 10], [0, 0, 8, 8], [6, -2, 10, 2]],
    level: [[0, 4, 8, 4]],
    cross: [[0, 4, 8, 4], [4, 0, 4, 8]],
  };
  for (const [x, y, toX, toY] of lines[name]) {
    pen.moveTo(x, y);
    pen.lineTo(toX, toY);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

function dataset(series, at, kind, context, colours) {
  const colour = colours[at % colours.length];
  const common = { label: series.label, data: series.values, intervals: series.intervals };
  if (kind === "line") {
    const few = series.values.length <= MANY;
    return {
      ...common, borderColor: colour, backgroundColor: colour, borderWidth: 2, tension: 0,
      borderDash: DASHES[at % DASHES.length], pointStyle: MARKS[at % MARKS.length],
      pointRadius: few ? 3.5 : 0, pointHoverRadius: 5, spanGaps: false,
    };
  }
  return {
    ...common, borderColor: colour, borderWidth: 1, maxBarThickness: 36,
    backgroundColor: hatch(context, colour, HATCHES[at % HATCHES.length]),
  };
}

// The interval around each value, as a whisker.
const whiskers = {
  id: "whiskers",
  afterDatasetsDraw(chart, _given, { colour, ground }) {
    const { ctx: pen, scales } = chart;
    chart.data.datasets.forEach((set, at) => {
      if (!set.intervals || !chart.isDatasetVisible(at)) return;
      pen.save();
      pen.beginPath();
      chart.getDatasetMeta(at).data.forEach((point, place) => {
        const [low, high] = set.intervals[place];
        if (low === null || high === null) return;
        const [from, to] = [scales.y.getPixelForValue(low), scales.y.getPixelForValue(high)];
        pen.moveTo(point.x, from);
        pen.lineTo(point.x, to);
        for (const y of [from, to]) {
          pen.moveTo(point.x - 4, y);
          pen.lineTo(point.x + 4, y);
        }
      });
      // On a ground of its own: it is seen before its bar too.
      for (const [stroke, width] of [[ground, 4], [colour, 1.5]]) {
        pen.strokeStyle = stroke;
        pen.lineWidth = width;
        pen.stroke();
      }
      pen.restore();
    });
  },
};

const goalLine = {
  id: "goal",
  afterDatasetsDraw(chart, _given, { value, text, colour }) {
    if (value === undefined) return;
    const { ctx: pen, chartArea: area, scales } = chart;
    const y = scales.y.getPixelForValue(value);
    pen.save();
    pen.strokeStyle = pen.fillStyle = colour;
    pen.setLineDash([3, 3]);
    pen.beginPath();
    pen.moveTo(area.left, y);
    pen.lineTo(area.right, y);
    pen.stroke();
    pen.font = `12px ${Chart.defaults.font.family}`;
    pen.fillText(text, area.left + 4, y < area.bottom - 18 ? y + 14 : y - 5);
    pen.restore();
  },
};

function tooltip(unit) {
  return {
    label: (item) => {
      const [low, high] = item.dataset.intervals?.[item.dataIndex] ?? [null, null];
      const value = `${item.dataset.label}: ${shown(item.raw, unit)}`;
      return low === null ? value : `${value} (${shown(low, unit)}–${shown(high, unit)})`;
    },
  };
}

function draw(figure) {
  const canvas = figure.querySelector("canvas");
  if (!canvas) return;
  const styles = getComputedStyle(figure);
  const colour = (name) => styles.getPropertyValue(name).trim();
  const [text, line] = [colour("--body-medium-color"), colour("--hairline-color")];
  const colours = [1, 2, 3, 4, 5, 6].map((n) => colour(`--chart-${n}`));
  const { kind, unit, goal, goalText } = figure.dataset;
  const { labels, series } = read(figure);
  const context = canvas.getContext("2d");
  const marks = series.length > 1;
  drawn.get(figure)?.destroy();
  Chart.defaults.font.family = styles.fontFamily;
  drawn.set(figure, new Chart(canvas, {
    type: kind === "line" ? "line" : "bar",
    data: { labels, datasets: series.map((one, at) => dataset(one, at, kind, context, colours)) },
    plugins: [whiskers, goalLine],
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, color: text,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: {
          stacked: kind === "stacked", grid: { display: false }, border: { color: line },
          ticks: { color: text, maxRotation: 0, autoSkipPadding: 12 },
        },
        y: {
          stacked: kind === "stacked", beginAtZero: unit !== "share" || kind !== "line", grid: { color: line },
          border: { display: false }, suggestedMax: goal === undefined ? undefined : Number(goal),
          ...(unit === "share" ? { max: 1 } : {}),
          ticks: { color: text, maxTicksLimit: 6, precision: kind === "stacked" ? 0 : undefined,
                   callback: (value) => shown(value, unit) },
        },
      },
      plugins: {
        legend: { display: marks, position: "bottom", align: "start",
                  labels: { color: text, usePointStyle: kind === "line", boxWidth: 22, boxHeight: 10 } },
        tooltip: { callbacks: tooltip(unit), usePointStyle: kind === "line" },
        whiskers: { colour: colour("--body-fg"), ground: colour("--body-bg") },
        goal: goal === undefined ? {} : { value: Number(goal), text: goalText, colour: text },
      },
    },
  }));
}

/** Draw the charts inside `root`, again after their tables or the colours changed. */
export function drawAll(root = document) {
  root.querySelectorAll("figure.chart").forEach(draw);
}

drawAll();
const again = () => drawAll();
new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
