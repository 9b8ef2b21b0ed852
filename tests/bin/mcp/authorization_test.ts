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
    const { send, reasons, options } = play((authorization) => authorization ? ok() : refused(), 60_000);
    await send(SERVER);
    await send(SERVER);
    expect(reasons).toEqual(["first", "expired"]);
    let count = 0;
    const acquire: typeof options.acquire = (reason) => {
      if (count++ > 0) return Promise.reject(new LatchkeyError("no_network", "x"));
      return play(ok, 60_000).options.acquire(reason);
    };
    const again = fetchWithToken(SERVER, { ...options, acquire });
    expect((await again(SERVER)).status).toBe(200);
    expect((await again(SERVER)).status).toBe(200);
    expect(count).toBe(2);
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
