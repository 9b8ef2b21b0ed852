import { describe, expect, test } from "bun:test";
import {
  addonBelowPackage,
  addonFailure,
  howToInstall,
  packageOfAddon,
} from "../../../lib/broker/msalruntime_addon.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";

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
