import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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
