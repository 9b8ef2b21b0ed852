// Prompts that clients of latchkey serve open, with a user who is played, and a clock.
import { expect, test } from "bun:test";
import { ClientPrompts, PROMPT_PAUSE_MS } from "../../../../bin/commands/serve/client_prompts.ts";
import { LatchkeyError } from "../../../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../../../lib/request.ts";
import type { AuthenticationResult } from "../../../../lib/token.ts";
import { failure, rejection } from "../../../fixture.ts";

const REQUEST: AcquireTokenRequest = {
  scopes: ["https://management.azure.com/.default"],
  username: "jane@contoso.com",
};
const TOKEN = { accessToken: "token" } as AuthenticationResult;
const CANCELED = new LatchkeyError("user_canceled", "The user closed the window");

interface Shown {
  readonly request: AcquireTokenRequest;
  readonly end: PromiseWithResolvers<AuthenticationResult>;
}

/** Plays an application without a sign-in, and shows each prompt to the test. */
function play() {
  const shown: Shown[] = [];
  const state = { isSignedIn: false, nowMs: 1_000_000 };
  const prompts = new ClientPrompts({
    now: () => state.nowMs,
    silently: () =>
      state.isSignedIn ? Promise.resolve(TOKEN) : Promise.reject(
        new LatchkeyError("interaction_required", "A sign-in is required", { error: "invalid_grant" }),
      ),
    withPrompt(request) {
      const end = Promise.withResolvers<AuthenticationResult>();
      request.signal?.addEventListener("abort", () => end.reject(request.signal?.reason));
      request.onBeforeLaunchingUi?.({ ui: "browser" });
      shown.push({ request, end });
      return end.promise;
    },
  });
  return { prompts, shown, state };
}

/** Waits until a number of prompts was shown. */
async function untilShown(shown: readonly Shown[], count: number): Promise<void> {
  while (shown.length < count) await Promise.resolve();
}

// A client that gave a request up after a second and repeated it opened the browser each time, as often as it liked.
test("ClientPrompts opens one prompt for a client that gives up and asks again", async () => {
  const { prompts, shown, state } = play();
  for (let count = 0; count < 6; count++) {
    const client = new AbortController();
    const answer = prompts.acquire({ ...REQUEST, signal: client.signal });
    await untilShown(shown, 1);
    client.abort(new Error("gone"));
    expect(await rejection(answer)).toBe(client.signal.reason);
  }
  expect(shown).toHaveLength(1);
  const answer = prompts.acquire(REQUEST);
  state.isSignedIn = true;
  shown[0]!.end.resolve(TOKEN);
  expect(await answer).toBe(TOKEN);
  expect(shown).toHaveLength(1);
});

test("ClientPrompts opens one prompt at a time, for other scopes as well", async () => {
  const { prompts, shown } = play();
  const first = prompts.acquire(REQUEST);
  const second = prompts.acquire({ ...REQUEST, scopes: ["https://vault.azure.net/.default"] });
  await untilShown(shown, 1);
  shown[0]!.end.resolve(TOKEN);
  expect(await first).toBe(TOKEN);
  await untilShown(shown, 2);
  expect(shown[1]!.request.scopes).toEqual(["https://vault.azure.net/.default"]);
  shown[1]!.end.resolve(TOKEN);
  expect(await second).toBe(TOKEN);
});

test("ClientPrompts opens none for ten minutes after a prompt without a sign-in, and says so", async () => {
  const { prompts, shown, state } = play();
  const first = prompts.acquire(REQUEST);
  const waiting = failure(prompts.acquire(REQUEST));
  await untilShown(shown, 1);
  state.nowMs += 300_000; // the prompt's own time
  shown[0]!.end.reject(CANCELED);
  expect(await failure(first)).toMatchObject({ code: "user_canceled" });
  const paused = {
    code: "interaction_required",
    error: "invalid_grant",
    message: "A sign-in is required, and no prompt opens, since the last one ended without a sign-in",
    hint: "Where latchkey serve runs, sign in: acquireTokenInteractive; or try again in 10 minutes",
  };
  expect(await waiting).toMatchObject(paused);
  state.nowMs += PROMPT_PAUSE_MS - 1;
  expect(await failure(prompts.acquire(REQUEST))).toMatchObject({ code: "interaction_required" });
  expect(shown).toHaveLength(1);
  state.nowMs++;
  const later = prompts.acquire(REQUEST);
  await untilShown(shown, 2);
  shown[1]!.end.resolve(TOKEN);
  expect(await later).toBe(TOKEN);
});

test("ClientPrompts gives a token in the pause if the user has signed in elsewhere", async () => {
  const { prompts, shown, state } = play();
  const first = failure(prompts.acquire(REQUEST));
  await untilShown(shown, 1);
  shown[0]!.end.reject(CANCELED);
  await first;
  state.isSignedIn = true;
  expect(await prompts.acquire(REQUEST)).toBe(TOKEN);
});

test("ClientPrompts makes no pause for a failure without a prompt, and passes other refusals on", async () => {
  const offline = new LatchkeyError("no_network", "There is no network");
  let asked = 0;
  const prompts = new ClientPrompts({
    silently: () => Promise.reject(new LatchkeyError("interaction_required", "A sign-in is required")),
    withPrompt: () => {
      asked++;
      return Promise.reject(offline);
    },
  });
  expect(await rejection(prompts.acquire(REQUEST))).toBe(offline);
  expect(await rejection(prompts.acquire(REQUEST))).toBe(offline);
  expect(asked).toBe(2);
  const refusing = new ClientPrompts({
    silently: () => Promise.reject(offline),
    withPrompt: () => expect.unreachable(),
  });
  expect(await rejection(refusing.acquire(REQUEST))).toBe(offline);
});

test("ClientPrompts prompts where a broker that cannot start is the cause of a missing sign-in", async () => {
  const cause = new LatchkeyError("interaction_required", "A sign-in is required");
  const prompts = new ClientPrompts({
    silently: () => Promise.reject(new LatchkeyError("broker_unavailable", "The broker cannot start", { cause })),
    withPrompt: () => Promise.resolve(TOKEN),
  });
  expect(await prompts.acquire(REQUEST)).toBe(TOKEN);
});

test("ClientPrompts ends an open prompt when the server ends", async () => {
  const { prompts, shown } = play();
  const answer = failure(prompts.acquire(REQUEST));
  await untilShown(shown, 1);
  prompts.close();
  expect(await answer).toMatchObject({ code: "user_canceled", message: "latchkey serve is ending" });
});
