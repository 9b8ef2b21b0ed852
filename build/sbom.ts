/**
 * Software bills of materials, in the format of CycloneDX 1.6: which packages an artifact contains. `npm audit` does not see packages
 * that are bundled. No time and no random number gets in: the same sources give the same bytes.
 */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./bundle.ts";

/** Path of the bill in npm's package. */
export const PACKAGE_BILL = "dist/sbom.cdx.json";

/** The artifact that a bill is about. */
export interface Artifact {
  /** What it is: npm's package, or an executable. */
  readonly type: "library" | "application";
  /** Name of a file of a release, or of npm's package. */
  readonly name: string;
  readonly version: string;
}

/** The runtime inside an executable. */
export interface BundledRuntime {
  readonly name: "deno";
  readonly version: string;
  /** SHA-256 of the file that was put into the executable, in hexadecimal digits; `undefined` if unknown. */
  readonly sha256?: string | undefined;
}

/** A component of a bill, with the fields that we write. */
export interface Component {
  readonly "type": "library" | "application" | "platform";
  readonly "bom-ref": string;
  readonly "group"?: string;
  readonly "name": string;
  readonly "version": string;
  readonly "licenses"?: readonly { readonly license: { readonly id: string } }[];
  readonly "hashes"?: readonly { readonly alg: "SHA-512" | "SHA-256"; readonly content: string }[];
  readonly "purl"?: string;
}

/** A bill, with the fields that we write. */
export interface Bill {
  readonly bomFormat: "CycloneDX";
  readonly specVersion: "1.6";
  readonly version: 1;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** A package in package-lock.json. */
interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
}

/** A license of SPDX's list, such as `MIT`, and no expression of several. */
const LICENSE_ID = /^[\w.-]+$/;

/**
 * Returns the bill of an artifact.
 *
 * @param packages The packages whose code it contains, as the bundler says: `node_modules/yaml`.
 * @throws {Error} if a package is another one than package-lock.json has, or does not state its license.
 */
export function billOfMaterials(artifact: Artifact, packages: readonly string[], runtime?: BundledRuntime): Bill {
  const lock: Readonly<Record<string, LockedPackage>> = readJson("package-lock.json").packages;
  const libraries = packages.map((path) => libraryAt(path, lock[path]));
  const components = [...libraries, ...(runtime ? [platformOf(runtime)] : [])]
    .toSorted((one, other) => one["bom-ref"] < other["bom-ref"] ? -1 : 1);
  const component = { ...artifact, "bom-ref": `${artifact.name}@${artifact.version}` };
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { component },
    components,
    dependencies: [{ ref: component["bom-ref"], dependsOn: components.map((each) => each["bom-ref"]) }],
  };
}

/** Returns a bill as the text of its file. */
export function printBill(bill: Bill): string {
  return `${JSON.stringify(bill, null, 2)}\n`;
}

function libraryAt(path: string, locked: LockedPackage | undefined): Component {
  const { name: fullName, version, license }: Record<string, string> = readJson(`${path}/package.json`);
  if (!locked?.integrity || locked.version !== version) {
    throw new Error(`package-lock.json does not have ${fullName} ${version}, which is in ${path}: run npm ci`);
  }
  if (!LICENSE_ID.test(license ?? "")) throw new Error(`${path}/package.json states no license of SPDX's list`);
  const [, scope, name] = /^(?:(@[^/]+)\/)?(.+)$/.exec(fullName!)!;
  const purl = `pkg:npm/${scope ? `${encodeURIComponent(scope)}/` : ""}${name}@${version}`;
  return {
    type: "library",
    "bom-ref": purl,
    ...(scope && { group: scope }),
    name: name!,
    version: version!,
    licenses: [{ license: { id: license! } }],
    hashes: [{ alg: "SHA-512", content: sha512Of(locked.integrity) }],
    purl,
  };
}

/** Returns the SHA-512 of npm's archive in hexadecimal digits; npm's own form is `sha512-` and Base64. */
function sha512Of(integrity: string): string {
  const [, base64] = /^sha512-([\w+/=]+)$/.exec(integrity) ?? [];
  if (base64 === undefined) throw new Error(`package-lock.json has an integrity that is no SHA-512: ${integrity}`);
  return Buffer.from(base64, "base64").toString("hex");
}

function platformOf({ name, version, sha256 }: BundledRuntime): Component {
  const purl = `pkg:github/denoland/deno@v${version}`;
  return {
    type: "platform",
    "bom-ref": purl,
    name,
    version,
    licenses: [{ license: { id: "MIT" } }],
    ...(sha256 && { hashes: [{ alg: "SHA-256", content: sha256 }] }),
    purl,
  };
}

// deno-lint-ignore no-explicit-any -- callers say what they read
function readJson(path: string): any {
  return JSON.parse(readFileSync(join(ROOT, path), "utf8"));
}
