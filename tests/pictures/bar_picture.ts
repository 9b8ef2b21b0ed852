/** A bar for each program, drawn from what was measured. Pure. */
import type { Figures } from "../bench/figures.ts";
import { type Palette, svgText } from "./palette.ts";

const WIDTH = 760, LABELS = 230, VALUES = 170, ROW = 34, TOP = 48, BAR = 18;

/** Draws the processor time of a whole process that gets one silent token, the least first. */
export function barPicture({ rounds, processors, load, silentToken }: Figures, palette: Palette): string {
  const rows = silentToken.toSorted((one, other) => one.cpuMs - other.cpuMs);
  const longest = Math.max(...rows.map(({ cpuMs }) => cpuMs)), height = TOP + rows.length * ROW + 38;
  const title = "One silent token, a whole process: milliseconds of processor time";
  const bars = rows.map(({ name, isOurs, cpuMs, peakMiB }, index) => {
    const y = TOP + index * ROW, length = (WIDTH - LABELS - VALUES) * cpuMs / longest, middle = y + BAR / 2 + 5;
    return `  <text x="${LABELS - 12}" y="${middle}" text-anchor="end">${svgText(name)}</text>
  <rect x="${LABELS}" y="${y}" width="${length.toFixed(1)}" height="${BAR}" rx="2" fill="${
      isOurs ? palette.ours : palette.others
    }"/>
  <text x="${(LABELS + length + 10).toFixed(1)}" y="${middle}">${cpuMs} ms<tspan fill="${palette.quiet}"> · ${
      peakMiB.toFixed(0)
    } MiB</tspan></text>
`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title" font-family="ui-sans-serif, system-ui, sans-serif" font-size="14" fill="${palette.text}">
  <title id="title">${title}: ${svgText(rows.map(({ name, cpuMs }) => `${name} ${cpuMs}`).join(", "))}</title>
  <rect width="100%" height="100%" rx="6" fill="${palette.background}"/>
  <text x="20" y="28" font-weight="600">${title}</text>
${bars.join("")}  <text x="20" y="${
    height - 14
  }" font-size="12" fill="${palette.quiet}">Medians of ${rounds} rounds in turn on ${processors} processors, load ${load}; with peak memory; the broker is the fake of the tests</text>
</svg>
`;
}
