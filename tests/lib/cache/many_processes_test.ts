// Processes of all runtimes that read, renew and write one cache at the same time, with a real OpenID provider.
import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import process from "node:process";
import { type CacheStore, fileStore, plaintextStore, PublicClientApplication } from "../../../mod.ts";
import { RUNTIME_PATHS } from "../../runtimes/runtime_paths.ts";
import { browsingPerson } from "../../tools/browsing_person.ts";
import { useStage } from "../../fixture.ts";

const RUNTIMES = RUNTIME_PATHS.filter(({ client }) => client !== "dbus-next");
const PROCESSES = 5 * RUNTIMES.length;

const stage = useStage({ provider: true });

const STORES: Readonly<Record<string, (place: string) => CacheStore>> = {
  file: (place) => fileStore({ folder: place, keyLocation: "file" }),
  plaintext: plaintextStore,
};

for (const [kind, makeStore] of Object.entries(STORES)) {
  test(`${PROCESSES} processes with the ${kind} store send one renewal, and lose nothing`, async () => {
    const { clientId, url: authority, grants } = stage.provider,
      place = join(stage.folder, kind, "cache"),
      store = makeStore(place);
    const app = new PublicClientApplication({
      ...{ clientId, authority, cache: store },
      openBrowser: browsingPerson().openBrowser,
    });
    const { account } = await app.acquireToken({ scopes: ["api.read"] });
    // Its token has ended.
    await store.update(
      account.homeAccountId,
      (json) => json!.replaceAll(/"(expires_on|extended_expires_on)":"\d+"/g, '"$1":"1"'),
    );
    const before = grants.length;

    const names = Array.from({ length: PROCESSES }, (_, number) => `process-${number}`);
    const tokens = await Promise.all(names.map((name, index) => run(index, [clientId, authority, kind, place, name])));
    expect([...new Set(tokens)]).toHaveLength(1);
    expect(tokens[0]).not.toBe("");
    expect(grants.slice(before)).toEqual(["refresh_token"]);

    const documents = await makeStore(place).readAccounts();
    const known = documents.flatMap((json) => Object.values<{ username: string }>(JSON.parse(json).Account))
      .map(({ username }) => username);
    expect(known.toSorted()).toEqual([...names, account.username].toSorted());
  });
}

async function run(index: number, args: readonly string[]): Promise<string> {
  const program = RUNTIMES[index % RUNTIMES.length]!.program();
  const [command = "", ...words] = [...program, "tests/tools/renewing_program.ts", ...args];
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"], env: process.env });
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  expect(errors).toBe("");
  return output;
}
