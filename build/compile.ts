// npm run compile [-- --target NAME] [--output FILE] [--by deno|bun]: the command line as one executable, dist/latchkey.
import { statSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { compileByBun, compileByDeno, defaultOutput } from "./executable.ts";
import { targetNamed } from "./targets.ts";

const { values } = parseArgs({
  options: {
    target: { type: "string" },
    output: { type: "string" },
    by: { type: "string", default: "deno" },
  },
});

try {
  const target = targetNamed(values.target);
  const output = values.output ?? defaultOutput(target);
  if (values.by !== "deno" && values.by !== "bun") throw new RangeError("--by takes deno or bun");
  await (values.by === "bun" ? compileByBun : compileByDeno)({ target, output });
  const mib = statSync(output).size / 2 ** 20;
  process.stdout.write(`${relative(process.cwd(), output)}: ${mib.toFixed(1)} MiB for ${target.name}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
