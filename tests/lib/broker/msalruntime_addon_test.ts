// Where Microsoft's library is looked for: by programs of each runtime, in folders of their own, with addons that are none.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  addonBelowPackage,
  addonFailure,
  bestEffortLogger,
  howToInstall,
  levelOf,
  PACKAGE,
  packageOfAddon,
} from "../../../lib/broker/msalruntime_addon.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import { RUNTIME_PATHS } from "../../runtimes/runtime_paths.ts";
import { findTool } from "../../tools/find_tool.js";

/** Microsoft builds it for this processor alone. */
const IS_BUILT = process.arch === "x64";
const IS_ROOT = process.getuid?.() === 0;
const BELOW = IS_BUILT ? addonBelowPackage({ system: "linux", arch: "x86_64", osRelease: "" }) : "";
const PROGRAM = `import { openMsalRuntime } from "LATCHKEY/lib/broker/msalruntime_addon.ts";
await openMsalRuntime().catch((error) => console.log(JSON.stringify({ ...error, message: error.message })));
`;

const runtimes = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next");
let folder: string, latchkey: string;

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-msalruntime-")));
  latchkey = join(folder, "latchkey");
  cpSync(fileURLToPath(new URL("../../../lib", import.meta.url)), join(latchkey, "lib"), { recursive: true });
});

afterAll(() => rmSync(folder, { recursive: true }));

/** A program in a folder of its own. */
function makeProgram(name: string): string {
  const path = join(mkdtempSync(join(folder, "app-")), name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, PROGRAM.replace("LATCHKEY", latchkey));
  return path;
}

/** The package in a folder, with an addon that cannot be opened: the error names it. */
function install(packageFolder: string): string {
  const addon = join(packageFolder, BELOW);
  mkdirSync(dirname(addon), { recursive: true });
  writeFileSync(addon, "this is no addon");
  return addon;
}

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What a program fails with. */
function failureOf(
  command: readonly string[],
  options: { readonly cwd?: string; readonly place?: string } = {},
): Failure {
  const { cwd = folder, place } = options;
  const env = { HOME: process.env.HOME!, ...(place !== undefined && { LATCHKEY_MSALRUNTIME: place }) };
  const { stdout, stderr } = Bun.spawnSync([...command], { cwd, env });
  expect(`${stderr}`).toBe("");
  return JSON.parse(`${stdout}`);
}

if (!IS_BUILT) {
  test("openMsalRuntime() says that Microsoft has none for this processor", () => {
    expect(failureOf([...runtimes[0]!.program(), makeProgram("main.ts")]).code).toBe("broker_unavailable");
  });
}

describe.each(IS_BUILT ? runtimes : [])("openMsalRuntime() on $name", ({ name, program }) => {
  test("names the command to install the package with", () => {
    const own = { "Deno + libdbus": "deno add npm:", Bun: "bun add ", Node: "npm install " }[name];
    expect(failureOf([...program(), makeProgram("main.ts")])).toMatchObject({
      code: "missing_dependency",
      message: "The package @azure/msal-node-runtime is not installed",
      hint: expect.stringContaining(`Install it: ${own}@azure/msal-node-runtime`),
    });
  });

  test("finds the package above the program's main file", () => {
    const main = makeProgram("src/main.ts");
    const addon = install(join(dirname(main), "../node_modules", PACKAGE));
    const found = failureOf([...program(), main]);
    expect(found).toMatchObject({
      code: "missing_dependency",
      hint: expect.stringContaining("Install the package again"),
    });
    expect(found.message).toStartWith(`Cannot load MSALRuntime: ${addon} cannot be opened: `);
  });

  test("finds the nearest package", () => {
    const main = makeProgram("src/main.ts");
    install(join(dirname(main), "../node_modules", PACKAGE));
    const addon = install(join(dirname(main), "node_modules", PACKAGE));
    expect(failureOf([...program(), main]).message).toContain(`${addon} cannot be opened`);
  });

  test("finds no package in the folder that a program is started in: whose that is, nobody knows", () => {
    const cwd = dirname(makeProgram("main.ts"));
    install(join(cwd, "node_modules", PACKAGE));
    expect(failureOf([...program(), makeProgram("main.ts")], { cwd }).message).toContain("is not installed");
  });

  test("takes LATCHKEY_MSALRUNTIME for the package's folder, or for the addon", () => {
    const main = makeProgram("main.ts"), place = join(dirname(main), "elsewhere");
    install(join(dirname(main), "node_modules", PACKAGE));
    const addon = install(place);
    for (const named of [place, `${place}/`, addon]) {
      expect(failureOf([...program(), main], { place: named }).message).toContain(`${addon} cannot be opened`);
    }
  });

  test.each([
    ["is not absolute", "node_modules/@azure/msal-node-runtime", "configuration", "it is not an absolute path"],
    [
      "is not there",
      "/nowhere/msal-node-runtime",
      "missing_dependency",
      "there is no /nowhere/msal-node-runtime/dist/",
    ],
  ])("refuses a LATCHKEY_MSALRUNTIME that %s", (_, place, code, why) => {
    const error = failureOf([...program(), makeProgram("main.ts")], { place });
    expect(error).toMatchObject({ code, message: expect.stringContaining(`Cannot use LATCHKEY_MSALRUNTIME: ${why}`) });
    expect(error.hint).toMatch(/set it to/i);
  });
});

// Whatever had the package's name above the program was loaded, whoever could write there. As root the tests can make what
// is another user's; others run them in a container of their own.
describe.each(IS_BUILT ? runtimes : [])(
  "openMsalRuntime() on $name runs no addon that others can change",
  ({ program }) => {
    const NOBODY = 65_534;
    /** A program with the package above, and the folder of the program's that is above both. */
    function makeApp() {
      const main = makeProgram("src/main.ts"), app = dirname(dirname(main)), own = join(app, "node_modules", PACKAGE);
      return { main, app, own, addon: install(own) };
    }
    const exposed = (place: string, { isOwn = true } = {}) => ({
      code: "missing_dependency",
      message: `Cannot load MSALRuntime: others can change ${place}`,
      hint: expect.stringMatching(new RegExp(isOwn ? `run chmod go-w ${place}$` : "root and you can write$")),
    });
    const run = (main: string, options?: Parameters<typeof failureOf>[1]) => failureOf([...program(), main], options);

    test.each(
      [
        ["the addon itself", "addon", 0o666],
        ["the addon's folder", "own", 0o777],
        ["a folder that a group can write to", "own", 0o775],
        ["the folder that holds node_modules", "app", 0o777],
      ] as const,
    )("for its mode: %s", (_, which, mode) => {
      const app = makeApp();
      chmodSync(app[which], mode);
      expect(run(app.main)).toMatchObject(exposed(app[which]));
    });

    test.each(IS_ROOT ? ["addon", "own", "app"] as const : [])("for its owner: %s", (which) => {
      const app = makeApp();
      chownSync(app[which], NOBODY, NOBODY);
      expect(run(app.main)).toMatchObject(exposed(app[which], { isOwn: false }));
    });

    test("that a link leads to", () => {
      const { main, own } = makeApp(), elsewhere = mkdtempSync(join(folder, "elsewhere-"));
      chmodSync(elsewhere, 0o777);
      install(join(elsewhere, "package"));
      rmSync(own, { recursive: true });
      symlinkSync(join(elsewhere, "package"), own);
      expect(run(main)).toMatchObject(exposed(elsewhere));
      chmodSync(elsewhere, 0o1777); // as /tmp: others can add to it, and change nothing of ours
      expect(run(main).message).toContain("cannot be opened");
      if (!IS_ROOT) return;
      chownSync(join(elsewhere, "package"), NOBODY, NOBODY);
      expect(run(main)).toMatchObject(exposed(join(elsewhere, "package"), { isOwn: false }));
    });

    test("that LATCHKEY_MSALRUNTIME names", () => {
      const { main, own, addon } = makeApp();
      chmodSync(dirname(addon), 0o777);
      for (const place of [own, addon]) {
        expect(run(main, { place })).toMatchObject({
          code: "configuration",
          message: `Cannot use LATCHKEY_MSALRUNTIME: others can change ${dirname(addon)}`,
          hint: expect.stringContaining(`chmod go-w ${dirname(addon)}`),
        });
      }
    });
  },
);

// A program without a main file has one made up of the current folder on Deno; on Node its first argument stood for it.
describe.each(IS_BUILT ? runtimes : [])("openMsalRuntime() on $name, without a main file", ({ name, program }) => {
  const [runtime = ""] = program(), conditions = "--conditions=latchkey-source";
  const ways = {
    "Deno + libdbus": [[runtime, "eval", "--no-config", "--no-check", "--ext=ts"], [runtime, "run", "-A", "-"]],
    Bun: [[runtime, "--conditions", "latchkey-source", "-e"], [runtime, "run", "--conditions", "latchkey-source", "-"]],
    Node: [
      [runtime, conditions, "--input-type=module", "-e"],
      [runtime, conditions, "--input-type=module", "-"],
    ],
  }[name as "Bun" | "Node" | "Deno + libdbus"];

  test.each([0, 1])("looks for nothing in the current folder (%d)", (way) => {
    const cwd = mkdtempSync(join(folder, "cwd-"));
    install(join(cwd, "node_modules", PACKAGE));
    const code = PROGRAM.replace("LATCHKEY", latchkey), isInput = way === 1;
    const { stdout, stderr } = Bun.spawnSync([...ways[way]!, ...(isInput ? [] : [code]), join(cwd, "argument")], {
      cwd,
      env: { HOME: process.env.HOME!, NO_COLOR: "1" },
      stdin: isInput ? new TextEncoder().encode(code) : "ignore",
    });
    expect(`${stderr}`).toBe("");
    expect(JSON.parse(`${stdout}`).message).toContain("is not installed");
  });
});

describe.each(IS_BUILT ? ["Deno"] : [])("openMsalRuntime() on %s with few permissions", () => {
  const run = (main: string, ...flags: readonly string[]) =>
    failureOf([findTool("deno"), "run", "--no-config", "--no-check", ...flags, main]);

  test("names those that are missing, and asks for none", () => {
    const main = makeProgram("main.ts"), place = join(dirname(main), "node_modules", PACKAGE), addon = install(place);
    const missing = {
      code: "missing_dependency",
      message: "Deno may not open @azure/msal-node-runtime",
      hint: expect.stringContaining(`--allow-ffi=${addon} --allow-read=${place}`),
    };
    expect(run(main)).toMatchObject(missing);
    expect(run(main, `--allow-read=${place}`)).toMatchObject(missing);
  });

  // Who permits every addon has not said that this one is theirs.
  test("opens none that it may not look at, where every addon may be opened", () => {
    const main = makeProgram("main.ts"), addon = install(join(dirname(main), "node_modules", PACKAGE));
    for (const flags of [["--allow-read"], ["--allow-sys=uid"], [`--allow-read=${folder}`, "--allow-sys=uid"]]) {
      expect(run(main, "--allow-ffi", ...flags)).toMatchObject({
        message: "Deno may not open @azure/msal-node-runtime",
        hint: expect.stringContaining(`--allow-ffi=${addon}`),
      });
    }
    expect(run(main, "--allow-ffi", "--allow-read", "--allow-sys=uid").message).toContain("cannot be opened");
  });

  test("needs no more than to open the addon", () => {
    const main = makeProgram("main.ts"), addon = install(join(dirname(main), "node_modules", PACKAGE));
    expect(run(main, `--allow-ffi=${addon}`).message).toContain("cannot be opened");
    expect(run(main, `--allow-ffi=${addon}`, `--allow-read=${folder}`).message).toContain("cannot be opened");
  });
});

test.each([[1, "debug"], [2, "debug"], [3, "debug"], [4, "warn"], [5, "error"], [6, "error"], [0, "debug"]] as const)(
  "levelOf(%d) is %s",
  (level, name) => {
    expect(levelOf(level)).toBe(name);
  },
);

test("bestEffortLogger() passes lines on, and ignores the logger's errors", () => {
  const lines: string[] = [];
  const log = bestEffortLogger((level, message) => {
    lines.push(`${level} ${message}`);
    throw new Error("disk full");
  });
  log("debug", "a line");
  expect(lines).toEqual(["debug a line"]);
});

const UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n';
const RHEL = (version: string) =>
  `NAME="Red Hat Enterprise Linux"\nVERSION_ID="${version}"\nID="rhel"\nID_LIKE="fedora"\n`;
const ALMA = 'ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n';

test.each([
  ["win32", "x86_64", undefined, "dist\\windows\\x64\\msal-node-runtime.node"],
  ["win32", "aarch64", undefined, "dist\\windows\\arm64\\msal-node-runtime.node"],
  ["win32", "ia32", undefined, "dist\\windows\\x86\\msal-node-runtime.node"],
  ["darwin", "aarch64", undefined, "dist/macos/arm64/msal-node-runtime.node"],
  ["darwin", "x86_64", undefined, "dist/macos/x64/msal-node-runtime.node"],
  ["linux", "x86_64", UBUNTU, "dist/linux/ubuntu/x64/msal-node-runtime.node"],
  ["linux", "x86_64", undefined, "dist/linux/ubuntu/x64/msal-node-runtime.node"],
  ["linux", "x86_64", "ID=arch\n", "dist/linux/ubuntu/x64/msal-node-runtime.node"],
  ["linux", "x86_64", RHEL("8.10"), "dist/linux/rhel8_9/x64/msal-node-runtime.node"],
  ["linux", "x86_64", ALMA, "dist/linux/rhel8_9/x64/msal-node-runtime.node"],
  ["linux", "x86_64", RHEL("10.0"), "dist/linux/rhel10/x64/msal-node-runtime.node"],
])("addonBelowPackage() on %s, %s (%j) is %s", (system, arch, osRelease, path) => {
  expect(addonBelowPackage({ system, arch, osRelease })).toBe(path);
});

test.each([["linux", "aarch64"], ["freebsd", "x86_64"], ["darwin", "ia32"], ["win32", "arm"], ["", ""]])(
  "addonBelowPackage() on %s, %s says that Microsoft has none",
  (system, arch) => {
    const error = thrownBy(() => addonBelowPackage({ system, arch }));
    expect(error.code).toBe("broker_unavailable");
    expect(error.message).toBe(`Microsoft has no MSALRuntime for ${system} on ${arch}`);
    expect(error.hint).toContain("Windows");
  },
);

test.each([
  [
    "/app/node_modules/@azure/msal-node-runtime/dist/linux/ubuntu/x64/a.node",
    "/app/node_modules/@azure/msal-node-runtime",
  ],
  ["/opt/r/dist/macos/arm64/a.node", "/opt/r"],
  ["C:\\app\\r\\dist\\windows\\x64\\a.node", "C:\\app\\r"],
  ["/opt/dist/r/dist/linux/rhel10/x64/a.node", "/opt/dist/r"],
  ["/opt/copied/a.node", undefined],
  ["/dist/a.node", undefined],
])("packageOfAddon(%j) is %j", (path, folder) => {
  expect(packageOfAddon(path)).toBe(folder);
});

test.each(
  [
    ["Deno", 'deno add npm:@azure/msal-node-runtime, with "nodeModulesDir": "auto" in deno.json'],
    ["Bun", "bun add @azure/msal-node-runtime"],
    ["Node", "npm install @azure/msal-node-runtime"],
  ] as const,
)("howToInstall(%j) is its own command", (runtime, command) => {
  expect(howToInstall(runtime)).toBe(command);
});

describe("addonFailure() makes", () => {
  const PATH = "/app/a.node", install = "npm install @azure/msal-node-runtime";

  test.each<[system: string, said: string, code: LatchkeyErrorCode, message: string, hint: RegExp]>([
    [
      "linux",
      `libwebkit2gtk-4.1.so.0: cannot open shared object file: No such file or directory\n  path: ${PATH}`,
      "missing_dependency",
      "Cannot load MSALRuntime: libwebkit2gtk-4.1.so.0 is missing",
      /apt install libwebkit2gtk-4\.1-0 libgtk-3-0 libsoup-3\.0-0 libsecret-1-0/,
    ],
    [
      "linux",
      "Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /app/a.node)",
      "broker_unavailable",
      "Cannot load MSALRuntime: it needs glibc, and this system has musl",
      /glibc/,
    ],
    [
      "linux",
      `/lib/x86_64-linux-gnu/libc.so.6: version \`GLIBC_2.34' not found (required by ${PATH})`,
      "broker_unavailable",
      `Cannot load MSALRuntime: it needs a newer system (/lib/x86_64-linux-gnu/libc.so.6: version \`GLIBC_2.34' not found (required by ${PATH}))`,
      /Update the system/,
    ],
    [
      "linux",
      `${PATH}: invalid ELF header`,
      "missing_dependency",
      `Cannot load MSALRuntime: ${PATH} cannot be opened: ${PATH}: invalid ELF header`,
      /npm install @azure\/msal-node-runtime/,
    ],
    [
      "win32",
      "The specified module could not be found.\u001b[31m",
      "missing_dependency",
      `Cannot load MSALRuntime: ${PATH} cannot be opened: The specified module could not be found. [31m`,
      /npm install/,
    ],
  ])("of %s' %j the error %s", (system, said, code, message, hint) => {
    const error = addonFailure(said, { path: PATH, system, install });
    expect(error).toMatchObject({ code, message });
    expect(error.hint).toMatch(hint);
  });
});

function thrownBy(act: () => unknown): LatchkeyError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(LatchkeyError);
    return error as LatchkeyError;
  }
  throw new Error("it did not throw");
}
