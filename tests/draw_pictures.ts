// npm run pictures: draws the documentation's pictures, and writes its table of figures, from what the demonstration prints and what the benchmark kept.
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readFigures } from "./bench/figures.ts";
import { barPicture } from "./pictures/bar_picture.ts";
import { withFiguresTable } from "./pictures/figures_table.ts";
import { PALETTES } from "./pictures/palette.ts";
import { sessionLines, sessionPicture } from "./pictures/session_picture.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
// A session of its own, so that a broker of the person's is not asked: its answers are not for a picture.
const { DBUS_SESSION_BUS_ADDRESS: _bus, XDG_RUNTIME_DIR: _folder, ...env } = process.env;
const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, "tests/demo.ts"], {
  cwd: root,
  env,
  stdio: ["ignore", "pipe", "pipe"],
});
if (exitCode !== 0) throw new Error(`tests/demo.ts failed: ${stdout}${stderr}`);

const page = `${root}docs/bench.md`;
writeFileSync(page, withFiguresTable(readFileSync(page, "utf8"), readFigures()));
const lines = sessionLines(stdout.toString()), figures = readFigures();
for (const [name, palette] of Object.entries(PALETTES)) {
  writeFileSync(`${root}docs/images/session_${name}.svg`, sessionPicture(lines, palette));
  writeFileSync(`${root}docs/images/silent_token_${name}.svg`, barPicture(figures, palette));
}
