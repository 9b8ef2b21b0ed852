// The queries of latchkey az: JMESPath's compliance suite, which comes with its library for Go.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { azOutput } from "../../bin/commands/az/query_output.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { UsageError } from "../../bin/cli/command_line.ts";

const LIBRARY = "github.com/jmespath/go-jmespath@v0.4.0";

interface Suite {
  readonly given: unknown;
  readonly cases: readonly {
    readonly expression: string;
    readonly result?: unknown;
    readonly error?: string;
    readonly bench?: string;
  }[];
}

/** Returns the folder of the suite, which Go downloads unless it has it. */
function complianceFolder(): string {
  const { stdout, success } = Bun.spawnSync(["go", "mod", "download", "-json", LIBRARY], {
    env: { ...process.env, GO111MODULE: "on", GOFLAGS: "-mod=mod" },
    stderr: "inherit",
  });
  if (!success) throw new Error(`${LIBRARY} cannot be downloaded: see what Go said`);
  return join(JSON.parse(stdout.toString()).Dir, "compliance");
}

async function answer(given: unknown, query: string): Promise<unknown> {
  try {
    const text = await azOutput({ value: given, output: "json", query });
    return { result: text === "" ? null : JSON.parse(text) };
  } catch (error) {
    if (error instanceof UsageError || error instanceof LatchkeyError) return { error: true };
    throw error;
  }
}

test("latchkey az answers every query of JMESPath's compliance suite", async () => {
  const folder = complianceFolder(), wrong: object[] = [];
  let count = 0;
  for (const file of readdirSync(folder)) {
    const suites: readonly Suite[] = JSON.parse(readFileSync(join(folder, file), "utf8"));
    for (const { given, cases } of suites) {
      for (const { expression, result = null, error, bench } of cases) {
        if (bench !== undefined) continue;
        count++;
        const wanted = error === undefined ? { result } : { error: true }, found = await answer(given, expression);
        if (!Bun.deepEquals(found, wanted)) wrong.push({ file, expression, wanted, found });
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(count).toBeGreaterThan(800);
}, 60_000);
