import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DBusError } from "../../../lib/dbus/bus.ts";
import { unixSockets } from "../../../lib/dbus/socket.ts";
import { RUNTIME_PATHS } from "../../runtimes/runtime_paths.ts";

const PROGRAM = `import { openSessionBus } from "./lib/dbus/open.ts";
await openSessionBus().catch(({ code, hint }) => console.log(code, hint));
`;

test.each(RUNTIME_PATHS.filter(({ client }) => client === "dbus-next"))(
  "openSessionBus() names the package that is missing on $name",
  ({ name, program }) => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-alone-"));
    try {
      cpSync(fileURLToPath(new URL("../../../lib", import.meta.url)), join(folder, "lib"), { recursive: true });
      writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
      writeFileSync(join(folder, "program.ts"), PROGRAM);
      const [command = "", ...args] = [...program(), ...(name === "Bun" ? ["--no-install"] : []), "program.ts"];
      const { stdout, stderr } = Bun.spawnSync([command, ...args], {
        cwd: folder,
        env: { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nobody", HOME: process.env.HOME },
      });
      expect(`${stdout}${stderr}`).toMatch(
        /^missing_dependency .*npm install dbus-next@npm:@jellybrick\/dbus-next@\^0\.11\.3\n$/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  30_000, // Node takes its time to start from sources
);

const path = (name: string) => ({ kind: "path", name });

test.each([
  ["unix:path=/run/user/1000/bus", [path("/run/user/1000/bus")]],
  ["unix:guid=0123,path=/tmp/a%20b%3a%c3%a4", [path("/tmp/a b:ä")]],
  ["unix:abstract=/tmp/dbus-1,guid=0123", [{ kind: "abstract", name: "/tmp/dbus-1" }]],
  ["unix:path=/a;tcp:host=contoso.com,port=1;unix:path=/b;", [path("/a"), path("/b")]],
  ["autolaunch:;unix:path=/a", [path("/a")]],
])("unixSockets() reads %p", (address, sockets) => {
  expect<unknown>(unixSockets(address)).toEqual(sockets);
});

test.each([
  [""],
  ["nonsense"],
  ["unix"],
  [":path=/a"],
  ["unix:path"],
  ["unix:=a"],
  ["unix:path="],
  ["unix:path=/a b"],
  ["unix:path=/%zz"],
  ["unix:path=/%ff"],
  ["unix:runtime=yes"],
  ["unix:path=/a;nonsense"],
  ["tcp:host=contoso.com,port=1"],
  ["unixexec:path=/bin/false"],
])("unixSockets() refuses %p", (address) => {
  expect(() => unixSockets(address)).toThrow(DBusError);
});
