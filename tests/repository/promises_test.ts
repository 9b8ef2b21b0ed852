// SECURITY.md, CONTRIBUTING.md and docs/testing.md say nothing that is not so: a promise names its tests, and a number is the code's.
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleCommandLine } from "../../build/bundle.ts";
import { externalPackages } from "../../build/npm_package.ts";
import { TEST_LIMIT_MS } from "../runtimes/test_limit.ts";
import { commitableFiles } from "../tools/commitable_files.ts";
import { OLDEST_VERSIONS } from "../tools/set_up.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const MINUTE_MS = 60_000;
/** Numbers as the documents write them. */
const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
/** The sections of SECURITY.md whose items each name a test, unless they say that there is no protection. */
const PROMISING = ["What latchkey protects", "Dependencies"];

describe("SECURITY.md", () => {
  const sections = read("SECURITY.md").split(/^## /m).slice(1);
  const promising = PROMISING.map((title) => sections.find((section) => section.startsWith(`${title}\n`)) ?? title);

  test("names only tests that there are", () => {
    const named = [...read("SECURITY.md").matchAll(/`([\w/.-]+_(?:test|contract|artifact|on_\w+)\.ts)`/g)];
    expect(named.length).toBeGreaterThan(40);
    expect(named.map(([, path]) => path!).filter((path) => !existsSync(join(root, "tests", path)))).toEqual([]);
  });

  test("names a test for each promise", () => {
    // The tests of a whole list are in the paragraph before it.
    const items = promising.flatMap((section) => section.split(/\n(?=- )|\n\n/).map((item) => item.trim()));
    const withoutLists = items.filter((item, index) => !(item.startsWith("- ") && namesTests(leadOf(items, index))));
    const promises = withoutLists.filter((item) => item.startsWith("- ") && !item.startsWith("- **Not protected:**"));
    expect(promises.length).toBeGreaterThan(30);
    expect(promises.filter((item) => !namesTests(item))).toEqual([]);
  });

  test("names a test in each section of promises", () => {
    const parts = promising.flatMap((section) => section.split(/^### /m).slice(1));
    expect(parts.length).toBeGreaterThan(8);
    expect(parts.filter((part) => !namesTests(part))).toEqual([]);
  });

  test("has the limits of an MCP server and of an upstream that the code has", () => {
    const limits = "lib/oauth/challenged_fetch.ts";
    const tokens = WORDS[constantIn(limits, "MAX_NEW_TOKENS")];
    const minutes = WORDS[constantIn(limits, "NEW_TOKENS_MS") / MINUTE_MS];
    const promptMinutes = constantIn("bin/commands/mcp/server_token.ts", "PROMPT_MS") / MINUTE_MS;
    expect(sentences("docs/agents.md")).toContain(`more than ${tokens} new tokens in ${minutes} minutes`);
    expect(sentences("SECURITY.md")).toContain(`at most ${tokens} new tokens in ${minutes} minutes`);
    expect(sentences("SECURITY.md")).toContain(
      promptMinutes === 1 ? "one prompt a minute" : `${promptMinutes} minutes`,
    );
  });
});

describe("the number of packages", () => {
  const { dependencies } = JSON.parse(read("package.json"));
  const lock: Readonly<Record<string, { dev?: boolean; devOptional?: boolean; link?: boolean }>> =
    JSON.parse(read("package-lock.json")).packages;
  const installed = Object.entries(lock)
    .filter(([path, { dev, devOptional, link }]) => path !== "" && !dev && !devOptional && !link);
  const direct = Object.keys(dependencies);
  let inPackage: readonly string[], inExecutable: readonly string[];

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-packages-"));
    const facts = { kind: "bundle", target: null, commit: null } as const;
    try {
      inExecutable = await bundleCommandLine({ folder, facts });
      inPackage = await bundleCommandLine({
        folder,
        facts,
        external: externalPackages(JSON.parse(read("package.json"))),
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("that npm installs is the lock file's", () => {
    const needed = installed.length - direct.length;
    const text = sentences("SECURITY.md");
    expect(text).toContain(`install ${installed.length} packages: ${WORDS[direct.length]} that latchkey depends on`);
    expect(text).toContain(`${needed} that \`dbus-next\` needs`);
    expect(sentences("docs/install.md")).toContain(`${WORDS[installed.length]} packages in all`);
  });

  test("that are bundled is the bundler's", () => {
    const counts =
      `the code of ${inPackage.length} more packages, and an executable the code of ${inExecutable.length}`;
    expect(sentences("SECURITY.md")).toContain(counts);
  });
});

describe("CONTRIBUTING.md", () => {
  test("has the limits of sizes that the structure test has", () => {
    const file = "tests/repository/house_test.ts", text = sentences("CONTRIBUTING.md");
    expect(text).toContain(`none more than ${constantIn(file, "MAX_LINES_IN_FILE")}`);
    expect(text).toContain(`a folder has at most ${constantIn(file, "MAX_FILES_IN_FOLDER")} files`);
  });

  test("names every folder of lib, and those of bin", () => {
    const folders = commitableFiles().flatMap((file) => /^((?:lib|bin)\/\w+)\//.exec(file)?.[1] ?? []);
    const text = read("CONTRIBUTING.md");
    expect([...new Set(folders)].filter((folder) => !new RegExp(`\\b${folder}\\b`).test(text))).toEqual([]);
  });
});

test("the documents name the oldest supported versions, on which npm run test:oldest tests", () => {
  const { deno, bun, node } = OLDEST_VERSIONS;
  expect(sentences("docs/testing.md")).toContain(`with Deno ${deno}, Bun ${bun} and Node ${node} as the runtimes`);
  const [denoMinor, bunMinor, nodeMinor] = [deno, bun, node].map((version) => version.replace(/\.0$/, ""));
  expect(sentences("README.md")).toContain(
    `Supported: Deno ${denoMinor}, Bun ${bunMinor}, Node ${nodeMinor}, or later`,
  );
  expect(sentences("README.md")).toContain(`latchkey itself needs Node ${nodeMinor}`);
  expect(JSON.parse(read("package.json")).engines).toEqual({ node: `>=${nodeMinor}` });
});

test("docs/testing.md has the time limit of a test", () => {
  expect(sentences("docs/testing.md")).toContain(`a test has a limit of ${WORDS[TEST_LIMIT_MS / MINUTE_MS]} minutes`);
});

function namesTests(text: string): boolean {
  return /_(test|contract|artifact)\.ts`/.test(text);
}

/** Returns the paragraph before a list, if it leads to it; otherwise nothing. */
function leadOf(items: readonly string[], index: number): string {
  const lead = items.slice(0, index).findLast((item) => !item.startsWith("- ")) ?? "";
  return lead.endsWith(":") ? lead : "";
}

/** Returns the value of a constant that is a number, or a product of numbers. */
function constantIn(file: string, name: string): number {
  const [, product] = new RegExp(`\\b${name}(?:: number)? = ([\\d_]+(?: \\* [\\d_]+)*)[,;]`).exec(read(file)) ?? [];
  if (product === undefined) throw new Error(`${file} has no constant ${name} that is a number`);
  return product.replaceAll("_", "").split(" * ").reduce((value, factor) => value * Number(factor), 1);
}

/** Returns a document's text with its lines joined. */
function sentences(file: string): string {
  return read(file).replaceAll(/\s+/g, " ");
}

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}
