// Before npm packs: builds the package, and replaces the checkout's package.json by the package's until it is packed.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./bundle.ts";
import { buildPackage, type Entries, type Manifest, manifestOf } from "./npm_package.ts";
import { CHECKOUT_MANIFEST, PACKAGE_MANIFEST } from "./manifests.ts";

// It exists if an earlier run was killed.
if (existsSync(CHECKOUT_MANIFEST)) renameSync(CHECKOUT_MANIFEST, PACKAGE_MANIFEST);
const text = readFileSync(PACKAGE_MANIFEST, "utf8");
const manifest: Manifest = JSON.parse(text);
const { exports: entries }: { exports: Entries } = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8"));
await buildPackage(entries, manifest);
writeFileSync(CHECKOUT_MANIFEST, text);
writeFileSync(PACKAGE_MANIFEST, `${JSON.stringify(manifestOf(manifest, entries), null, 2)}\n`);
