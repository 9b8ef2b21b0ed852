// What cannot be arranged on one machine: other distributions, and grants that are missing. Deno is played.
import { expect, test } from "bun:test";
import { findLibdbus } from "../../../lib/dbus/libdbus.ts";

interface Machine {
  readonly arch?: string;
  /** Libraries that are there. */
  readonly libraries?: readonly string[];
  /** Whether a permission is granted. @default all */
  readonly grants?: (permission: { name: string; path?: string }) => boolean;
  /** Text of the linker's cache, when there is one. */
  readonly linkerCache?: string;
}

/** Where libdbus is found on a machine, in which order it was looked for. */
async function find({ arch = "x86_64", libraries = [], grants = () => true, linkerCache }: Machine) {
  const tried: string[] = [];
  const deno = {
    build: { arch, os: "linux" },
    env: { get: () => undefined },
    permissions: {
      querySync: (permission: { name: string }) => ({ state: grants(permission) ? "granted" : "prompt" }),
    },
    readFileSync() {
      if (linkerCache === undefined) throw new Error("not there");
      return new TextEncoder().encode(linkerCache);
    },
    statSync(path: string) {
      if (!libraries.includes(path)) throw new Error("not there");
      return {};
    },
  } as unknown as typeof Deno;
  const open = (path: string) => {
    tried.push(path);
    if (!libraries.includes(path)) throw new Error(`cannot open ${path}`);
    return path;
  };
  try {
    return { found: await findLibdbus(deno, open), tried };
  } catch (error) {
    return { error, tried };
  }
}

test.each([
  ["x86_64", "/usr/lib/x86_64-linux-gnu/libdbus-1.so.3"],
  ["aarch64", "/usr/lib/aarch64-linux-gnu/libdbus-1.so.3"],
  ["x86_64", "/usr/lib64/libdbus-1.so.3"],
  ["x86_64", "/usr/lib/libdbus-1.so.3"],
  ["x86_64", "/run/current-system/sw/lib/libdbus-1.so.3"],
])("findLibdbus() on %s finds %s", async (arch, path) => {
  expect((await find({ arch, libraries: [path] })).found).toBe(path);
});

test("findLibdbus() opens nothing that was not granted", async () => {
  const [granted, other] = ["/usr/lib64/libdbus-1.so.3", "/usr/lib/x86_64-linux-gnu/libdbus-1.so.3"];
  const grants = ({ name, path }: { name: string; path?: string }) => name === "ffi" && path === granted;
  expect(await find({ libraries: [granted!, other!], grants })).toEqual({ found: granted, tried: [granted!] });
});

test("findLibdbus() looks into the linker's cache last", async () => {
  const path = "/opt/dbus/lib/libdbus-1.so.3";
  const linkerCache =
    `ld.so\0libdbus-1.so.3\0/opt/dbus/lib/libdbus-1.so.3.32\0${path}\0libdbus-1.so.3\0/x/notlibdbus-1.so.3\0`;
  const { found, tried } = await find({ libraries: [path], linkerCache });
  expect({ found, last: tried.at(-1) }).toEqual({ found: path, last: path });
  expect(tried.filter((path) => path.startsWith("/opt"))).toEqual([path]);
});

test("findLibdbus() says what to install when it is nowhere", async () => {
  expect((await find({})).error).toMatchObject({
    code: "missing_dependency",
    hint: expect.stringContaining("apt install libdbus-1-3"),
  });
});

test("findLibdbus() says what to permit when nothing is granted, and names the path that is there", async () => {
  const path = "/usr/lib64/libdbus-1.so.3";
  const hintWhere = async (grants: Machine["grants"]) => (await find({ libraries: [path], grants: grants! })).error;
  expect(await hintWhere(() => false)).toMatchObject({
    code: "missing_dependency",
    hint: "Run deno with --allow-ffi=/usr/lib/x86_64-linux-gnu/libdbus-1.so.3",
  });
  expect(await hintWhere(({ name }) => name === "read")).toMatchObject({ hint: `Run deno with --allow-ffi=${path}` });
});
