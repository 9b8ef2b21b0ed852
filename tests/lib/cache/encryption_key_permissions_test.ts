// The key of the token cache on Deno, with no more permissions than it takes, and with fewer.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type PrivateBus, startPrivateBus } from "../../fakes/private_bus.ts";
import { addPrivateKeyring } from "../../fakes/private_keyring.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../tools/deno_command.ts";

let daemon: PrivateBus;
let folder: string;

beforeEach(async () => {
  daemon = await startPrivateBus();
  folder = join(daemon.directory, "cache");
  await addPrivateKeyring(daemon, "unlocked");
});

afterEach(() => daemon.stop());

/** Runs a program that opens the key, and may use the folder. */
async function openKey(...permissions: readonly string[]) {
  const [deno, ...args] = denoRun(), program = fileURLToPath(new URL("key_program.ts", import.meta.url));
  const files = [`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-sys=uid"];
  const { stdout } = await promisify(execFile)(deno!, [...args, ...files, ...permissions, program, folder], {
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: daemon.address },
  });
  return JSON.parse(stdout);
}

describe("openEncryptionKey() on Deno", () => {
  test("needs for the keyring what a broker needs", async () => {
    expect(await openKey(...LEAST_PERMISSIONS)).toMatchObject({ place: "secret-service" });
  });

  test.each(
    [
      ["the bus' address", [], "DBUS_SESSION_BUS_ADDRESS"],
      ["any way to the bus", ["--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR"], "Deno may not"],
    ] as const,
  )("puts the key into a file without %s, and says why", async (_, permissions, says) => {
    expect(await openKey(...permissions)).toMatchObject({ place: "file", why: expect.stringContaining(says) });
  });

  test("says which permission is missing for a key that is in the keyring", async () => {
    const { id } = await openKey(...LEAST_PERMISSIONS), failure = await openKey();
    expect(failure).toMatchObject({ code: "missing_dependency", hint: expect.stringContaining("--allow-ffi=") });
    expect(await openKey(...LEAST_PERMISSIONS)).toMatchObject({ id });
  });
});
