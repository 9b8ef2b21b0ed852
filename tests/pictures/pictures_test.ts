import { expect, test } from "bun:test";
import { barPicture } from "./bar_picture.ts";
import { withFiguresTable } from "./figures_table.ts";
import { PALETTES } from "./palette.ts";
import { sessionLines, sessionPicture } from "./session_picture.ts";

const FIGURES = {
  ...{ rounds: 3, processors: 2, load: 0.5 },
  silentToken: [
    { name: 'slow <&> "other"', isOurs: false, cpuMs: 40, peakMiB: 100 },
    { name: "empty Deno", isOurs: false, cpuMs: 10, peakMiB: 20 },
    { name: "ours", isOurs: true, cpuMs: 20, peakMiB: 30 },
  ],
};

test("barPicture draws bars as long as the times, the shortest first", () => {
  const picture = barPicture(FIGURES, PALETTES.light);
  expect([...picture.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map(([, width]) => Number(width))).toEqual([
    ...[90, 180, 360],
  ]);
  expect([...picture.matchAll(/text-anchor="end">([^<]*)</g)].map(([, name]) => name)).toEqual([
    ...["empty Deno", "ours", "slow &lt;&amp;&gt; &quot;other&quot;"],
  ]);
});

test("sessionLines takes the part that is drawn, without what is deep inside", () => {
  const output =
    'before\nWho is signed in to the device:\n\n$ latchkey a\n{\n  "b": {\n    "c": 1\n  }\n}\n\nWhat the access token says\n';
  expect(sessionLines(output)).toEqual([
    ...["Who is signed in to the device:", "", "$ latchkey a", "{", '  "b": { … }', "}"],
  ]);
  expect(() => sessionLines("It failed.")).toThrow("It failed.");
});

test("sessionPicture keeps what SVG would take for its own, and folds what is too long", () => {
  const picture = sessionPicture(["$ latchkey <x> & y", "z".repeat(150), ""], PALETTES.dark);
  expect([...picture.matchAll(/<text [^>]*>([^<]*)</g)].map(([, line]) => line)).toEqual([
    ...["$ latchkey &lt;x&gt; &amp; y", "z".repeat(118), "z".repeat(32)],
  ]);
});

test.each(Object.entries(PALETTES))("the pictures are XML: %s", async (_name, palette) => {
  for (const picture of [barPicture(FIGURES, palette), sessionPicture(["$ a", "<&>"], palette)]) {
    const child = Bun.spawn(["python3", "-c", "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.stdin)"], {
      stdio: [new TextEncoder().encode(picture), "ignore", "pipe"],
    });
    expect([await child.exited, await new Response(child.stderr).text()]).toEqual([0, ""]);
  }
});

test("withFiguresTable changes the table alone", () => {
  const document = "a\n\n<!-- npm run pictures writes this table -->\n\n| old |\n\n<!-- so far -->\n\nb\n";
  const changed = withFiguresTable(document, FIGURES);
  expect(changed).toMatch(/^a\n\n<!--[^]*-->\n\nb\n$/);
  expect(changed).toContain("| ours                            | 20           | 2.0          | 30       |");
  expect(changed).not.toContain("old");
  expect(withFiguresTable(changed, FIGURES)).toBe(changed);
  expect(() => withFiguresTable("a", FIGURES)).toThrow("no place");
});
