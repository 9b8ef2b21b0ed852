// What the forge runs. Formerly one job built with hundreds of packages and could publish; actions were named by tags, which move.
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

/** An action of a fixed commit, and the tag that the commit had. */
const PINNED = /^\s*- uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/;
/** Commands that may run where there is an identity or a permission to write. None installs a package, or runs one's code. */
const PUBLISHING = [
  "sha256sum --check --strict SHA256SUMS",
  "npm publish --ignore-scripts --provenance --access public ./release/latchkey-latchkey-*.tgz",
  'gh release create "$GITHUB_REF_NAME" --repo "$GITHUB_REPOSITORY" --verify-tag --generate-notes release/*',
  'node build/unpack_deno.ts "$RUNNER_TEMP"',
  '"$RUNNER_TEMP/deno" publish --no-check',
];

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Job {
  readonly uses?: string;
  readonly needs?: string;
  readonly environment?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps?: readonly Step[];
}

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const folder = fileURLToPath(new URL("../../.github/workflows/", import.meta.url));
const workflows = readdirSync(folder).map((file) => {
  const text = readFileSync(join(folder, file), "utf8");
  return { file, text, workflow: parse(text) as Workflow };
});
const jobs = workflows.flatMap(({ file, workflow }) =>
  Object.entries(workflow.jobs).map(([name, job]) => ({ name: `${file}: ${name}`, job }))
);
const publishing = jobs.filter(({ job: { permissions = {} } }) => Object.values(permissions).includes("write"));

test.each(workflows)("$file names every action of others by its commit, and the commit's version", ({ text }) => {
  const lines = text.split("\n").filter((line) => /^\s*(- )?uses: (?!\.\/)/.test(line));
  expect(lines.filter((line) => !PINNED.test(line))).toEqual([]);
});

test("one commit is meant by a version of an action, in all workflows", () => {
  const named = workflows.flatMap(({ text }) => [...text.matchAll(/uses: (\S+)@([0-9a-f]{40}) # (\S+)/g)]);
  const commits = Map.groupBy(named, ([, action]) => action!);
  const several = [...commits].filter(([, uses]) => new Set(uses.map(([line]) => line)).size > 1);
  expect(several.map(([action]) => action)).toEqual([]);
});

test.each(workflows)("$file may only read, unless a job says more", ({ workflow }) => {
  expect(workflow.permissions).toEqual({ contents: "read" });
});

test.each(jobs)("$name leaves no credential in the clone, and restores no cache", ({ job: { steps = [] } }) => {
  const checkouts = steps.filter(({ uses }) => uses?.startsWith("actions/checkout@"));
  const setups = steps.filter(({ uses }) => uses?.startsWith("actions/setup-node@"));
  expect(checkouts.filter(({ with: options }) => options?.["persist-credentials"] !== false)).toEqual([]);
  expect(setups.filter(({ with: options }) => options?.["package-manager-cache"] !== false)).toEqual([]);
});

describe("a job that may write, or has an identity", () => {
  test("is one of two, which publish what another job built", () => {
    expect(publishing.map(({ name }) => name)).toEqual(["release.yml: publish", "release.yml: publish-to-jsr"]);
  });

  test.each(publishing)("$name waits for approval, and for the build", ({ job }) => {
    expect(job).toMatchObject({ environment: "release", needs: "build" });
  });

  test.each(publishing)("$name runs only what publishes", ({ job: { steps = [] } }) => {
    const commands = steps.flatMap(({ run }) => run ?? []);
    expect(commands.filter((command) => !PUBLISHING.includes(command))).toEqual([]);
  });
});
