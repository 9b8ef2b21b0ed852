// Renewals that the command line is made to give up, at a real OpenID provider whose refresh tokens are good once. The request
// died with the program: the provider had taken the old refresh token, and the sign-in was lost.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { askEndpoint, startAsking } from "./ask_endpoint.ts";
import { type Home, openHome } from "../fixture.ts";
import { type ProviderStage, sourceOf, startProviderStage } from "./provider_stage.ts";
import { startLatchkey } from "./running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "./tested_latchkey.ts";

let provider: ProviderStage;
beforeAll(async () => {
  provider = await startProviderStage();
});
afterAll(() => provider[Symbol.asyncDispose]());

const RENEW = "token --interactive never --force-refresh", FRESH = { code: 0, source: "identity_provider" };

async function expectSignedIn(home: Home): Promise<void> {
  expect(sourceOf(await provider.token({ home }, "--interactive never --force-refresh"))).toEqual(FRESH);
}

describe.each(TESTED_PATHS)("latchkey token on $name", ({ program: programOf }) => {
  test.each([["SIGINT", 4], ["SIGTERM", 143], ["SIGHUP", 129]] as const)(
    "stores a renewal that is under way at %s",
    async (signal, code) => {
      using home = openHome();
      expect((await provider.login({ home })).code).toBe(0);
      const held = provider.holdAnswer(), { env } = home;
      const running = startLatchkey([...latchkeyBy(programOf()), ...provider.wordsOf(RENEW)], { env });
      await held.ready;
      running.signal(signal);
      await running.printed(signal === "SIGINT" ? /Given up/ : new RegExp(`Ended \\(${signal}\\)`)); // nobody waits for what is held back
      held.release();
      expect(await running.ended()).toMatchObject({ code, stdout: "" });
      await expectSignedIn(home);
    },
  );
});

describe("latchkey token", () => {
  // It printed the token and held the program for 25 s more: `$(…)`, git and kubectl got it when it was over.
  test("ends before its token does if the provider hangs, whether a long time is asked for or not", async () => {
    const homes = [openHome(), openHome()];
    const stores = homes.map(({ path }) => `--store plaintext --cache-file ${join(path, "cache.json")}`);
    for (const [index, home] of homes.entries()) {
      expect((await provider.login({ home }, stores[index])).code).toBe(0);
    }
    const expiresOn = Math.floor(Date.now() / 1000) + 12, soon = `"$1":"${expiresOn}"`;
    for (const { path } of homes) {
      const file = join(path, "cache.json");
      writeFileSync(file, readFileSync(file, "utf8").replaceAll(/"((?:extended_)?expires_on)":"\d+"/g, soon));
    }
    const held = homes.map(() => provider.holdAnswer());
    await Promise.all(["", "--min-ttl 3600"].map(async (more, index) => {
      const words = provider.wordsOf(`token --interactive never --format json ${stores[index]} ${more}`);
      const { code, stdout } = await startLatchkey([...LATCHKEY_ON_BUN, ...words], { env: homes[index]!.env }).ended();
      expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 0, token_source: "cache", expires_on: expiresOn });
      expect(Date.now()).toBeLessThan(expiresOn * 1000);
    }));
    for (const each of held) each.release();
    for (const home of homes) home[Symbol.dispose]();
  }, 60_000);

  test("stores a renewal that is under way when --timeout has passed", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    const held = provider.holdAnswer(), { env } = home;
    const words = provider.wordsOf(`${RENEW} --timeout 5`);
    const running = startLatchkey([...LATCHKEY_ON_BUN, ...words], { env });
    await held.ready;
    await running.printed(/longer than --timeout 5/);
    held.release();
    expect(await running.ended()).toMatchObject({ code: 4, stdout: "" });
    await expectSignedIn(home);
  });

  test("ends at once at the second signal", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    const held = provider.holdAnswer(), { env } = home;
    const running = startLatchkey([...LATCHKEY_ON_BUN, ...provider.wordsOf(RENEW)], { env });
    await held.ready;
    running.signal("SIGTERM");
    await running.printed(/Ended \(SIGTERM\)/);
    running.signal("SIGTERM");
    expect((await running.ended()).code).toBe(143);
    held.release();
  });
});

describe("latchkey serve", () => {
  test.each(["leaves", "is ended"])("stores a renewal that is under way when the client %s", async (how) => {
    using home = openHome();
    const { env } = home, file = join(home.path, "cache.json"), place = { socketPath: join(home.path, "identity") };
    const store = `--store plaintext --cache-file ${file}`;
    expect((await provider.login({ home }, store)).code).toBe(0);
    const ended = readFileSync(file, "utf8").replaceAll(/"((?:extended_)?expires_on)":"\d+"/g, '"$1":"1"');
    writeFileSync(file, ended);
    const words = provider.wordsOf(`serve --socket ${place.socketPath} --interactive never ${store}`);
    const server = startLatchkey([...LATCHKEY_ON_BUN, ...words], { env });
    await server.printed(/serving at /);
    const held = provider.holdAnswer(), asking = startAsking(place, "api.read");
    asking.answer.catch(() => {});
    await held.ready;
    if (how === "leaves") {
      asking.leave();
      await server.printed(/ 499 api\.read /);
      held.release();
      expect((await askEndpoint(place, "api.read")).status).toBe(200);
      server.signal("SIGTERM");
    } else {
      server.signal("SIGTERM");
      await server.printed(/ 503 api\.read /);
      held.release();
    }
    expect((await server.ended()).code).toBe(0);
    expect(sourceOf(await provider.token({ home }, `--interactive never ${store}`))).toEqual({
      code: 0,
      source: "cache",
    });
    expect(sourceOf(await provider.token({ home }, `--interactive never --force-refresh ${store}`))).toEqual(FRESH);
  });
});
