/** An example as people run it from a clone, with no more permissions than a broker takes. */
import { fileURLToPath } from "node:url";
import { denoCommand } from "../tools/deno_command.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Runs an example to its end, on the bus of an address. */
export async function runExample(
  script: string,
  args: readonly string[],
  busAddress: string,
): Promise<{ stdout: string; stderr: string; status: number }> {
  const child = Bun.spawn([...denoCommand(`examples/${script}`), ...args], {
    cwd: root,
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: busAddress },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}
