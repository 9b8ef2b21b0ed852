import { describe, expect, test } from "bun:test";
import { fetchWithToken, type ServerToken, type TokenReason } from "../../../bin/mcp/authorization.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { failureOf } from "../../tools/failure_of.ts";

const SERVER = new URL("https://mcp.contoso.com/mcp"), HOUR = 3_600_000;

/** A server that answers by what is sent, and an app whose tokens are numbered. */
function play(
  answer: (authorization: string | null, init: RequestInit) => Response,
  lifetimeMs = HOUR,
  isEager = false,
) {
  const reasons: TokenReason["kind"][] = [], sent: (string | null)[] = [], told: string[] = [];
  const acquire = (reason: TokenReason): Promise<ServerToken> => {
    const authorization = `Bearer ${reasons.push(reason.kind)}`;
    return Promise.resolve({ authorization, expiresOn: new Date(Date.now() + lifetimeMs), scopes: ["a"] });
  };
  const fetch = (_url: string | URL, init: RequestInit = {}) => {
    const authorization = new Headers(init.headers).get("authorization");
    sent.push(authorization);
    return Promise.resolve(answer(authorization, init));
  };
  const options = { fetch, acquire, isEager, tell: (message: string) => void told.push(message) };
  return { send: fetchWithToken(SERVER, options), reasons, sent, told, options };
}
const refused = (challenge = 'Bearer error="invalid_token"', status = 401) =>
  new Response("", { status, headers: { "www-authenticate": challenge } });
const ok = () => new Response("ok");

describe("fetchWithToken()", () => {
  test("sends no token to a server that does not ask, and none of the caller's", async () => {
    const { send, sent } = play(ok);
    await send(SERVER, { headers: { authorization: "Bearer x" } });
    expect(sent).toEqual([null]);
  });

  test("gets one token for all requests that are challenged at once", async () => {
    const { send, reasons, sent } = play((authorization) => authorization ? ok() : refused());
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(SERVER)));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(reasons).toEqual(["first"]);
    expect(sent.filter(Boolean)).toEqual(Array(20).fill("Bearer 1"));
  });

  test("follows no redirect itself, and sends nothing to another origin", async () => {
    const { send, sent } = play((_authorization, { redirect }) => new Response(redirect));
    expect(await (await send(SERVER, { redirect: "follow" })).text()).toBe("manual");
    for (const other of ["https://mcp.contoso.com:444/mcp", "http://mcp.contoso.com/mcp", "https://contoso.com/mcp"]) {
      expect((await failureOf(send(other))).code).toBe("invalid_response");
    }
    expect(sent.length).toBe(1);
  });

  test("renews a token that expires soon, and uses it as long as it is good if that fails", async () => {
    const { options } = play((authorization) => authorization ? ok() : refused(), 10 * 60_000), { now } = Date;
    let count = 0;
    const acquire: typeof options.acquire = (reason) =>
      count++ > 0 ? Promise.reject(new LatchkeyError("no_network", "x")) : options.acquire(reason);
    const send = fetchWithToken(SERVER, { ...options, acquire });
    try {
      for (const [minutes, calls] of [[0, 1], [4, 1], [6, 2], [6, 2], [8, 3]] as const) {
        Date.now = () => now() + minutes * 60_000;
        expect((await send(SERVER)).status).toBe(200);
        expect(count).toBe(calls); // after a failure, not at each request
      }
      Date.now = () => now() + 11 * 60_000;
      expect((await failureOf(send(SERVER))).code).toBe("no_network");
    } finally {
      Date.now = now;
    }
  });

  test("renews tokens that last a few minutes at half of them, and not at each request", async () => {
    const { send, reasons } = play((authorization) => authorization ? ok() : refused(), 5 * 60_000), { now } = Date;
    try {
      for (const minutes of [0, 1, 2, 3, 4, 5]) {
        Date.now = () => now() + minutes * 60_000;
        await send(SERVER);
      }
    } finally {
      Date.now = now;
    }
    expect(reasons).toEqual(["first", "expired"]);
  });

  test("prompts for messages of the client only, not for a stream that is opened again", async () => {
    const { options } = play((authorization) => authorization ? ok() : refused()), prompts: boolean[] = [];
    const first = Promise.withResolvers<ServerToken>();
    const acquire: typeof options.acquire = (reason) => {
      prompts.push(reason.mayPrompt);
      return reason.mayPrompt ? options.acquire(reason) : first.promise;
    };
    const send = fetchWithToken(SERVER, { ...options, acquire });
    const stream = failureOf(send(SERVER, { method: "GET" })), message = send(SERVER, { method: "POST" });
    first.reject(new LatchkeyError("interaction_required", "x"));
    expect((await stream).code).toBe("interaction_required");
    expect((await message).status).toBe(200);
    expect(prompts).toEqual([false, true]);
  });

  test.each([
    ["a token that is refused", refused(), ["first", "refused"]],
    ["other claims", refused(`Bearer claims="${btoa("{}")}", error="insufficient_claims"`), ["first", "claims"]],
    ["more scopes", refused('Bearer error="insufficient_scope", scope="b"', 403), ["first", "scopes"]],
  ])("answers a challenge once a request: %s", async (_what, challenge, kinds) => {
    const { send, reasons, told } = play((authorization) => authorization ? challenge.clone() : refused());
    expect((await send(SERVER)).status).toBe(challenge.status);
    expect(reasons.map(String)).toEqual(kinds);
    expect(told.length).toBe(1);
  });

  test("gets no new tokens for a time after some were refused in a row", async () => {
    const { send, reasons } = play(() => refused());
    for (let each = 0; each < 20; each++) expect((await send(SERVER)).status).toBe(401);
    expect(reasons.length).toBeLessThan(6);
  });

  test("leaves a 403 without a challenge to the client", async () => {
    const { send, reasons } = play(() => new Response("", { status: 403 }));
    expect((await send(SERVER)).status).toBe(403);
    expect(reasons).toEqual([]);
  });

  test("sends the first request with a token if the scope is known", async () => {
    const { send, sent } = play(ok, HOUR, true);
    await send(SERVER);
    expect(sent).toEqual(["Bearer 1"]);
  });

  test("a request that is aborted waits for no token", async () => {
    const { options } = play(() => refused()), abort = new AbortController();
    const send = fetchWithToken(SERVER, { ...options, acquire: () => new Promise(() => {}) });
    const waiting = send(SERVER, { signal: abort.signal });
    abort.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
  });
});
