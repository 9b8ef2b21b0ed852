/**
 * Where the package `@azure/msal-node-runtime` has its addon for a machine, and what it means that it cannot be loaded. Pure.
 *
 * @module
 */
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import { printable } from "../json_values.ts";

/** The package, which the app's own author installs. */
export const PACKAGE = "@azure/msal-node-runtime";
/** The addon's file. */
const FILE = "msal-node-runtime.node";

/** Folders of the package, by the operating system in Node's words. */
const SYSTEMS: Readonly<Record<string, string>> = { win32: "windows", darwin: "macos", linux: "linux" };
/** Folders of the package, by the processor in the kernel's words. */
const PROCESSORS: Readonly<Record<string, string>> = { x86_64: "x64", aarch64: "arm64", ia32: "x86" };
/** What Microsoft builds it for. */
const BUILT: ReadonlySet<string> = new Set([
  ...["windows x64", "windows arm64", "windows x86"],
  ...["macos x64", "macos arm64"],
  "linux x64",
]);

const DEBIAN = "apt install libwebkit2gtk-4.1-0 libgtk-3-0 libsoup-3.0-0 libsecret-1-0";

/** What decides over the addon. */
export interface AddonMachine {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Processor, in the kernel's words. */
  readonly arch: string;
  /** On Linux, what the distribution says it is (freedesktop's os-release); as Ubuntu where it is not known. */
  readonly osRelease?: string | undefined;
}

/**
 * Path of the addon below the package's folder.
 *
 * @throws {LatchkeyError} `broker_unavailable` when there is none for this machine.
 */
export function addonBelowPackage(machine: AddonMachine): string {
  const { system, arch, osRelease = "" } = machine;
  const folder = SYSTEMS[system] ?? system, processor = PROCESSORS[arch] ?? arch;
  if (!BUILT.has(`${folder} ${processor}`)) {
    throw new LatchkeyError("broker_unavailable", `Microsoft has no MSALRuntime for ${system} on ${arch}`, {
      hint: "It is there for Windows, for macOS, and for Linux on x86_64 with glibc",
    });
  }
  const distribution = system === "linux" ? [linuxBuild(osRelease)] : [];
  return ["dist", folder, ...distribution, processor, FILE].join(system === "win32" ? "\\" : "/");
}

/** As the package itself chooses. */
function linuxBuild(osRelease: string): string {
  if (!/^ID(?:_LIKE)?=.*\brhel\b/m.test(osRelease)) return "ubuntu";
  const [, major = 0] = /^VERSION_ID="?(\d+)/m.exec(osRelease) ?? [];
  return Number(major) >= 10 ? "rhel10" : "rhel8_9";
}

/**
 * The package's folder of an addon that is in one, by its path alone.
 *
 * @returns `undefined` for an addon that is elsewhere.
 */
export function packageOfAddon(path: string): string | undefined {
  return /^(.+)[\\/]dist[\\/](?:[^\\/]+[\\/]){2,3}[^\\/]+$/.exec(path)?.[1];
}

/** How to install the package with the runtime's own tool. */
export function howToInstall(runtime: "Deno" | "Bun" | "Node"): string {
  switch (runtime) {
    case "Deno":
      return `deno add npm:${PACKAGE}, with "nodeModulesDir": "auto" in deno.json`;
    case "Bun":
      return `bun add ${PACKAGE}`;
    case "Node":
      return `npm install ${PACKAGE}`;
  }
}

/**
 * The error of an addon that cannot be loaded.
 *
 * @param message What the system's linker said.
 * @param context Where that was.
 */
export function addonFailure(
  message: string,
  { path, system, install }: { readonly path: string; readonly system: string; readonly install: string },
): LatchkeyError {
  const [said = ""] = message.split("\n"); // Deno has the path in a second line
  const failure = (code: LatchkeyErrorCode, why: string, hint: string) =>
    new LatchkeyError(code, `Cannot load MSALRuntime: ${printable(why)}`, { hint });
  const [, library] = /^(lib[^/: ]+): cannot open shared object file/.exec(said) ?? [];
  if (library) {
    const rhel = "RHEL 8, 9: dnf install webkit2gtk3; RHEL 10: dnf install webkitgtk6.0";
    return failure("missing_dependency", `${library} is missing`, `Install what it needs: ${DEBIAN} (${rhel})`);
  }
  if (/^Error (loading shared library|relocating)/.test(said)) {
    return failure("broker_unavailable", "it takes glibc, and this system has musl", "Use a system with glibc");
  }
  if (system === "linux" && /version `GLIBC/.test(said)) {
    return failure("broker_unavailable", `it takes a newer system (${said})`, "Update the system");
  }
  return failure("missing_dependency", `${path} cannot be opened: ${said}`, `Install the package anew: ${install}`);
}
