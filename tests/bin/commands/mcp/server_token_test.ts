import { describe, expect, test } from "bun:test";
import { fetchWithToken, type ServerToken, type TokenReason } from "../../../../bin/commands/mcp/server_token.ts";
import { LatchkeyError } from "../../../../lib/errors.ts";
import { failure } from "../../../fixture.ts";

const SERVER = new URL("https://mcp.contoso.com/mcp"), MINUTE = 60_000, HOUR = 60 * MINUTE;

/** A server that answers by what is sent, and an app whose tokens are numbered. `pass` sets the clock forward. */
function play(
  answer: (authorization: string | null, init: RequestInit) => Response,
  lifetimeMs = HOUR,
  isEager = false,
) {
  let time = 0;
  const now = () => time, pass = (minutes: number) => void (time += minutes * MINUTE);
  const reasons: TokenReason["kind"][] = [], sent: (string | null)[] = [], told: string[] = [];
  const acquire = (reason: TokenReason): Promise<ServerToken> => {
    const authorization = `Bearer ${reasons.push(reason.kind)}`;
    return Promise.resolve({ authorization, expiresOn: new Date(time + lifetimeMs), scopes: ["a"] });
  };
  const fetch = (_url: string | URL, init: RequestInit = {}) => {
    const authorization = new Headers(init.headers).get("authorization");
    sent.push(authorization);
    return Promise.resolve(answer(authorization, init));
  };
  const options = { fetch, acquire, isEager, now, tell: (message: string) => void told.push(message) };
  return { send: fetchWithToken(SERVER, options), reasons, sent, told, options, pass };
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
      expect((await failure(send(other))).code).toBe("invalid_response");
    }
    expect(sent.length).toBe(1);
  });

  test("renews a token that expires soon, and uses it as long as it is good if that fails", async () => {
    const { options, pass } = play((authorization) => authorization ? ok() : refused(), 10 * MINUTE);
    let count = 0;
    const acquire: typeof options.acquire = (reason) =>
      count++ > 0 ? Promise.reject(new LatchkeyError("no_network", "x")) : options.acquire(reason);
    const send = fetchWithToken(SERVER, { ...options, acquire });
    for (const [minutes, calls] of [[0, 1], [4, 1], [2, 2], [0, 2], [2, 3]] as const) {
      pass(minutes);
      expect((await send(SERVER)).status).toBe(200);
      expect(count).toBe(calls); // after a failure, not at each request
    }
    pass(3);
    expect((await failure(send(SERVER))).code).toBe("no_network");
  });

  test("renews tokens that last a few minutes at half of them, and not at each request", async () => {
    const { send, reasons, pass } = play((authorization) => authorization ? ok() : refused(), 5 * MINUTE);
    for (let minutes = 0; minutes <= 5; minutes++) {
      await send(SERVER);
      pass(1);
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
    const stream = failure(send(SERVER, { method: "GET" })), message = send(SERVER, { method: "POST" });
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

  test("gets at most five new tokens in ten minutes for a server that refuses all", async () => {
    const { send, reasons, pass, told } = play(() => refused());
    for (let each = 0; each < 20; each++) expect((await send(SERVER)).status).toBe(401);
    expect(reasons).toEqual(["first", ...Array(4).fill("refused")]);
    expect(told.at(-1)).toBe("mcp.contoso.com asks for new tokens too often, or again for the same: it gets none");
    pass(9);
    await send(SERVER);
    expect(reasons.length).toBe(5);
    pass(1);
    await send(SERVER);
    expect(reasons.length).toBe(6);
  });

  // Only tokens that were refused in a row counted: one accepted token, and the next three were requested.
  test.each([
    ["refuses once, then accepts", ["refused"], 5],
    ["asks for other claims, more scopes and another token, then accepts", ["claims", "scopes", "refused"], 5],
  ])("gets at most five for a server that %s", async (_what, kinds, most) => {
    let step = 0, number = 0;
    const answers: Readonly<Record<string, () => Response>> = {
      refused: () => refused(),
      claims: () => refused(`Bearer claims="${btoa(`{"access_token":{"nbf":{"value":"${++number}"}}}`)}"`),
      scopes: () => refused(`Bearer error="insufficient_scope", scope="${++number}"`, 403),
    };
    const { send, reasons } = play(() => answers[kinds[step++]!]?.() ?? ok(), HOUR, true);
    for (let each = 0; each < 50; each++) {
      step = 0;
      await send(SERVER, { method: "POST" });
    }
    expect(reasons.length).toBe(most);
  });

  test.each([
    ["claims", refused(`Bearer claims="${btoa('{"id_token":{}}')}", error="insufficient_claims"`)],
    ["scopes", refused('Bearer error="insufficient_scope", scope="b"', 403)],
  ])("answers the same %s once only", async (kind, challenge) => {
    let isChallenged = true;
    const { send, reasons, pass } = play(() => isChallenged ? challenge.clone() : ok(), 1000 * HOUR, true);
    await send(SERVER);
    isChallenged = false;
    await send(SERVER);
    isChallenged = true;
    pass(60);
    expect((await send(SERVER)).status).toBe(challenge.status);
    expect(reasons.map(String)).toEqual(["first", kind]);
  });

  test("answers the same claims again if there was no token for them", async () => {
    const challenge = refused(`Bearer claims="${btoa('{"id_token":{}}')}", error="insufficient_claims"`);
    const { options } = play((authorization) => authorization === "Bearer 2" ? ok() : challenge.clone(), HOUR, true);
    let failures = 1;
    const acquire: typeof options.acquire = (reason) =>
      reason.kind === "claims" && failures-- > 0
        ? Promise.reject(new LatchkeyError("interaction_required", "x"))
        : options.acquire(reason);
    const send = fetchWithToken(SERVER, { ...options, acquire });
    expect((await failure(send(SERVER))).code).toBe("interaction_required");
    expect((await send(SERVER)).status).toBe(200);
  });

  test("lets the user be prompted once a minute, after the first sign-in", async () => {
    let number = 0;
    const { options, pass } = play((authorization) =>
      authorization ? refused(`Bearer error="insufficient_scope", scope="${++number}"`, 403) : refused()
    );
    const prompts: string[] = [];
    const acquire: typeof options.acquire = (reason) => {
      prompts.push(`${reason.kind} ${reason.mayPrompt}`);
      if (reason.mayPrompt) reason.onPrompt();
      return options.acquire(reason);
    };
    const send = fetchWithToken(SERVER, { ...options, acquire });
    await send(SERVER, { method: "POST" });
    expect(prompts.splice(0)).toEqual(["first true", "scopes true"]);
    await send(SERVER, { method: "POST" });
    expect(prompts.splice(0)).toEqual(["scopes false"]);
    pass(1);
    await send(SERVER, { method: "POST" });
    expect(prompts.splice(0)).toEqual(["scopes true"]);
  });

  test("lets a user who did not sign in be prompted again after a minute", async () => {
    const { options, pass } = play(() => refused()), prompts: boolean[] = [];
    const acquire = ({ mayPrompt, onPrompt }: TokenReason) => {
      prompts.push(mayPrompt);
      if (mayPrompt) onPrompt();
      return Promise.reject(new LatchkeyError("user_canceled", "x"));
    };
    const send = fetchWithToken(SERVER, { ...options, acquire });
    for (const minutes of [0, 0, 1, 0]) {
      pass(minutes);
      expect((await failure(send(SERVER, { method: "POST" }))).code).toBe("user_canceled");
    }
    expect(prompts).toEqual([true, false, true, false]);
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
