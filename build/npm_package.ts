/** Builds the npm package: ES modules of all entries, their types, and the same for the edge. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundle, bundleCommandLine, COMMAND_LINE, currentCommit, ROOT } from "./bundle.ts";
import { declareTypes } from "./declarations.ts";
import { forTheEdge } from "./edge/for_the_edge.ts";
import { billOfMaterials, PACKAGE_BILL, printBill } from "./sbom.ts";

/** Entries as `deno.json` has them: `./web` to `./lib/web.ts`. */
export type Entries = Readonly<Record<string, string>>;

const FOLDERS = { modules: "dist/esm", edge: "dist/edge" } as const;
/** Conditions of bundlers for the edge, and for pages. */
const EDGE_CONDITIONS = ["workerd", "edge-light", "browser"] as const;

/** Returns true for an entry that is not the command line, which is only for devices. */
function isLibrary(source: string): boolean {
  return source !== `./${COMMAND_LINE}`;
}

/** Returns the package's `exports`. */
export function exportsOf(entries: Entries): Readonly<Record<string, Readonly<Record<string, string>>>> {
  return Object.fromEntries(
    Object.entries(entries).map(([name, source]) => {
      const built = (folder: string, suffix: string) => `./${folder}/${source.slice(2).replace(/\.ts$/, suffix)}`;
      const onTheEdge = isLibrary(source)
        ? EDGE_CONDITIONS.map((condition) => [condition, built(FOLDERS.edge, ".js")])
        : [];
      return [name, {
        "types": built(FOLDERS.modules, ".d.ts"),
        ...Object.fromEntries(onTheEdge),
        "default": built(FOLDERS.modules, ".js"),
      }];
    }),
  );
}

/** Returns the checkout's `exports`: the same, after the sources for the condition `latchkey-source`. */
export function exportsOfCheckout(entries: Entries): ReturnType<typeof exportsOf> {
  return Object.fromEntries(
    Object.entries(exportsOf(entries)).map(([name, built]) => [name, { "latchkey-source": entries[name]!, ...built }]),
  );
}

/** The fields of a package.json that the build reads. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** Returns the package's package.json: the checkout's, without the fields that only the checkout needs. */
export function manifestOf(checkout: Manifest, entries: Entries): Manifest {
  const { scripts: _scripts, devDependencies: _devDependencies, ...published } = checkout;
  return { ...published, exports: exportsOf(entries) };
}

/** Returns the packages that users install with this one: they stay imports. */
export function externalPackages({ dependencies, peerDependencies }: Manifest): readonly string[] {
  return Object.keys({ ...dependencies, ...peerDependencies });
}

/** Builds the files of the package's `exports`, and the list of the packages that they contain. */
export async function buildPackage(entries: Entries, manifest: Manifest): Promise<void> {
  const sources = Object.values(entries);
  const libraries = sources.filter(isLibrary);
  const facts = { kind: "bundle", target: null, commit: currentCommit() } as const;
  await Promise.all(Object.values(FOLDERS).map((folder) => rm(join(ROOT, folder), { recursive: true, force: true })));
  const external = externalPackages(manifest);
  const modules = join(ROOT, FOLDERS.modules);
  const inLibrary = await bundle(libraries, { folder: modules, facts, external });
  const inCommandLine = await bundleCommandLine({ folder: modules, facts, external });
  for (const command of Object.values(manifest.bin)) await addShebang(join(ROOT, command));
  // Together, so that all entries share one class of errors.
  const onTheEdge = await bundle(libraries, {
    folder: join(ROOT, FOLDERS.edge),
    facts,
    external: external.filter((name) => name !== "dbus-next"),
    plugins: [forTheEdge],
  });
  await declareTypes(sources, modules);
  const { name, version } = manifest;
  const packages = [...new Set([...inLibrary, ...inCommandLine, ...onTheEdge])];
  await writeFile(join(ROOT, PACKAGE_BILL), printBill(billOfMaterials({ type: "library", name, version }, packages)));
}

async function addShebang(command: string): Promise<void> {
  await writeFile(command, `#!/usr/bin/env node\n${await readFile(command, "utf8")}`);
}
