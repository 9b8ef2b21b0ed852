/** A terminal session, drawn from what the demonstration printed. Pure. */
import { type Palette, svgText } from "./palette.ts";

/** The part that is drawn: from the first command on, to what is decoded. */
const BEGIN = "Who is signed in to the device:", END = "What the access token says";
const LETTER = 7.83, LINE = 19, LEFT = 18, TOP = 46, COLUMNS = 118;

/**
 * The lines of the demonstration's output that are drawn; what is inside an object within an object is left out.
 *
 * @throws {Error} when that part is not there
 */
export function sessionLines(output: string): readonly string[] {
  const begin = output.indexOf(BEGIN), end = output.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`The demonstration did not print what is drawn: ${output}`);
  return output.slice(begin, end).trim().replaceAll(/\{\n {4}[^}]*\}/g, "{ … }").split("\n");
}

/** Draws lines as a terminal shows them. */
export function sessionPicture(lines: readonly string[], palette: Palette): string {
  const all = lines.flatMap(folded), width = Math.ceil(2 * LEFT + COLUMNS * LETTER);
  const height = TOP + all.length * LINE + 10;
  const texts = all.map((line, index) => {
    const isCommand = line.startsWith("$ "), isProse = /^[A-Z].*:$/.test(line);
    const colour = isCommand ? palette.ours : isProse ? palette.quiet : palette.text;
    const style = `fill="${colour}"${isCommand ? ' font-weight="600"' : ""}`;
    return line === "" ? "" : `  <text x="${LEFT}" y="${TOP + index * LINE + 12}" ${style}>${svgText(line)}</text>\n`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13">
  <title id="title">latchkey at a terminal: the accounts of the device, and a token without a window</title>
  <style>
    text { white-space: pre }
  </style>
  <rect width="100%" height="100%" rx="8" fill="${palette.background}" stroke="${palette.others}"/>
${
    [0, 1, 2].map((index) => `  <circle cx="${LEFT + 5 + index * 18}" cy="20" r="5" fill="${palette.others}"/>\n`).join(
      "",
    )
  }${texts.join("")}</svg>
`;
}

/** A line as a terminal shows it: tabs as gaps, and what is too long on the next row. */
function folded(line: string): readonly string[] {
  return line.replaceAll("\t", "  ").match(new RegExp(`.{1,${COLUMNS}}`, "gu")) ?? [""];
}
