// What we depend on: the lock files have what package.json says, and a table says why each is there, and on which terms.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Terms on which users get what we depend on: they ask for no more than to be named. */
const PERMISSIVE = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];

/** Packages of which npm's package and the executables contain a copy, so that users need not install them. */
const BUNDLED = [
  "@modelcontextprotocol/client",
  "@modelcontextprotocol/server",
  "@std/cli",
  "jmespath",
  "uqr",
  "yaml",
];

const root = fileURLToPath(new URL("../../", import.meta.url));
const { name, version, license, bin, engines, dependencies, devDependencies } = JSON.parse(read("package.json"));
const wanted: Readonly<Record<string, string>> = { ...dependencies, ...devDependencies };
const npmLock: Readonly<Record<string, LockedPackage>> = JSON.parse(read("package-lock.json")).packages;
const bunLock = Bun.JSONC.parse(read("bun.lock")) as BunLock;

/** A package in package-lock.json. */
interface LockedPackage {
  readonly name?: string;
  readonly version: string;
  readonly license?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly hasInstallScript?: boolean;
}

/** What there is in bun.lock. */
interface BunLock {
  readonly workspaces: Readonly<Record<string, unknown>>;
  readonly packages: Readonly<Record<string, readonly [name: string, ...rest: unknown[]]>>;
}

/** Whether a version is one of those that package.json takes; it can name the package by another name. */
function isTaken(dependency: string, version: string): boolean {
  return Bun.semver.satisfies(version, wanted[dependency]!.replace(/^npm:(@?[^@]+)@/, ""));
}

const fromRegistries = Object.keys(wanted).filter((dependency) => !wanted[dependency]!.startsWith("file:"));

describe("package-lock.json", () => {
  test("is of this package.json", () => {
    const { "": own } = npmLock;
    expect(own as unknown).toEqual({ name, version, license, bin, engines, dependencies, devDependencies });
  });

  test("has a version that package.json takes of each dependency, and what it has to be to the byte", () => {
    const wrong = fromRegistries.filter((dependency) => {
      const locked = npmLock[`node_modules/${dependency}`];
      return !locked || !isTaken(dependency, locked.version);
    });
    expect(wrong).toEqual([]);
    const unsealed = Object.entries(npmLock)
      .filter(([path, { link, integrity }]) => path.startsWith("node_modules/") && !link && !integrity);
    expect(unsealed.map(([path]) => path)).toEqual([]);
  });
});

describe("bun.lock", () => {
  test("is of this package.json", () => {
    expect(bunLock.workspaces[""]).toEqual({ name, dependencies, devDependencies });
  });

  test("has a version that package.json takes of each dependency", () => {
    const wrong = fromRegistries.filter((dependency) => {
      const locked = bunLock.packages[dependency]?.[0] ?? "";
      return !isTaken(dependency, locked.slice(locked.lastIndexOf("@") + 1));
    });
    expect(wrong).toEqual([]);
  });
});

// Deno has no lock file of ours: with a range it took whatever a registry had that day.
test("Deno takes the packages of npm in the versions of package-lock.json", () => {
  const files = [...new Bun.Glob("lib/npm/*.js").scanSync({ cwd: root }), "deno.json"];
  const specifiers = files.flatMap((file) => [...read(file).matchAll(/"npm:([^"]+)"/g)].map(([, each]) => each!));
  const wrong = specifiers.filter((specifier) => {
    const [, name = "", version = ""] = /^((?:@[^/]+\/)?[^/@]+)@([^/]+)/.exec(specifier) ?? [];
    const locked = Object.entries(npmLock).find(([path, { name: own }]) =>
      own === name || path === `node_modules/${name}`
    );
    return locked?.[1].version !== version;
  });
  expect(specifiers.length).toBeGreaterThan(10);
  expect(wrong).toEqual([]);
});

test("what users get runs nothing when it is installed, and may be used by everybody", () => {
  const forUsers = Object.entries(npmLock).filter(([path, { dev, devOptional, link }]) =>
    path.startsWith("node_modules/") && !dev && !devOptional && !link
  );
  expect(forUsers.map(([path]) => path)).toEqual(
    expect.arrayContaining(Object.keys(dependencies).map((dependency) => `node_modules/${dependency}`)),
  );
  const unfit = forUsers.filter(([, { license: terms = "", hasInstallScript }]) =>
    hasInstallScript || !PERMISSIVE.includes(terms)
  );
  expect(unfit.map(([path]) => path)).toEqual([]);
});

describe("the table of dependencies", () => {
  const rows = dependencyTable();

  test("names each dependency, once, and no other package", () => {
    expect(rows.flatMap(({ names }) => names).toSorted()).toEqual(Object.keys(wanted).toSorted());
  });

  test("tells the licence of each, why it is there, and who gets it", () => {
    const forUsers = [...Object.keys(dependencies), ...BUNDLED];
    const wrong = rows.flatMap(({ names, terms, why, isForUsers }) =>
      names.filter((dependency) => {
        const locked = npmLock[`node_modules/${dependency}`], its = terms.get(dependency) ?? "";
        const isTold = locked?.link ? its !== "" : locked?.license === its;
        return !isTold || why === "" || isForUsers !== forUsers.includes(dependency);
      })
    );
    expect(wrong).toEqual([]);
  });
});

/** A row of the table. */
interface Row {
  /** The packages' names, by which they are imported. */
  readonly names: readonly string[];
  readonly terms: ReadonlyMap<string, string>;
  readonly why: string;
  readonly isForUsers: boolean;
}

/** The table of docs/dependencies.md. A name in parentheses is what a registry calls the package; `*` stands for all that is in no other row. */
function dependencyTable(): readonly Row[] {
  const [, body = ""] = /^\| package +\| why +\| license +\| who gets it +\|\n\|[ |-]+\|\n((?:\|.*\|\n)+)/m
    .exec(read("docs/dependencies.md")) ?? [];
  const lines = body.trim().split("\n").map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const patternsOf = (packages: string) =>
    [...packages.replace(/ \([^)]*`[^)]*\)/g, "").matchAll(/`([^`]+)`/g)].map(([, each]) => each!);
  const named = lines.flatMap(([packages = ""]) => patternsOf(packages));
  return lines.map(([packages = "", why = "", licences = "", who = ""]) => {
    const each = licences.split(", "), terms = new Map<string, string>();
    for (const [index, pattern] of patternsOf(packages).entries()) {
      const isMeant = (dependency: string) =>
        dependency.startsWith(pattern.slice(0, -1)) && !named.includes(dependency);
      const names = pattern.endsWith("*") ? Object.keys(wanted).filter(isMeant) : [pattern];
      for (const dependency of names) terms.set(dependency, each[index] ?? each[0]!);
    }
    return { names: [...terms.keys()], terms, why, isForUsers: who === "users" };
  });
}

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}
