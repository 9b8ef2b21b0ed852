// A server whose responses are given, and a source of tokens that are numbered.
import { describe, expect, test } from "bun:test";
import { type Challenge, challengedFetch, ChallengeLimits, claimsIn } from "../../../lib/oauth/challenged_fetch.ts";

const CLAIMS = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}';
const OTHER_CLAIMS = '{"access_token":{"acrs":{"essential":true,"value":"c2"}}}';
const asks = (header: string, status = 401) => new Response("no", { status, headers: { "www-authenticate": header } });
const asksForClaims = (claims = CLAIMS, status = 401) =>
  asks(`Bearer error="insufficient_claims", claims="${btoa(claims)}"`, status);
const asksForScopes = (scope: string) => asks(`Bearer error="insufficient_scope", scope="${scope}"`, 403);
const ok = () => new Response("ok");

/** Sends a request to a server that gives these responses in turn. `answers` decides about each challenge. */
async function play(first: number | undefined, responses: readonly Response[], answers = (_: Challenge) => true) {
  const sent: (number | undefined)[] = [];
  const challenges: Challenge[] = [];
  const response = await challengedFetch<number | undefined>(first, {
    send(token) {
      sent.push(token);
      return Promise.resolve(responses[sent.length - 1]!);
    },
    answer(challenge, token = 0) {
      if (!answers(challenge)) return undefined;
      challenges.push(challenge);
      return Promise.resolve(token + 1);
    },
  });
  return { response, sent, challenges, kinds: challenges.map(({ kind }) => kind) };
}

describe("challengedFetch()", () => {
  test("answers each kind of challenge once, with a new token each time", async () => {
    const responses = [asks("Bearer"), asksForClaims(), asksForScopes("b a"), asks("Bearer"), asksForClaims()];
    const { response, sent, kinds } = await play(undefined, responses);
    expect(response).toBe(responses[4]!);
    expect(sent).toEqual([undefined, 1, 2, 3, 4]);
    expect(kinds).toEqual(["first", "claims", "scopes", "refused"]);
  });

  test("returns a challenge that is not to be answered, with its body", async () => {
    const { response, sent } = await play(1, [asksForClaims()], () => false);
    expect(sent).toEqual([1]);
    expect(await response.text()).toBe("no");
  });

  test("cancels the body of a response that is answered", async () => {
    let isCanceled = false;
    const body = new ReadableStream({ cancel: () => void (isCanceled = true) });
    const { response } = await play(1, [new Response(body, { status: 401 }), ok()]);
    expect(await response.text()).toBe("ok");
    expect(isCanceled).toBe(true);
  });

  test("throws the failure to acquire a token", async () => {
    const refused = new Error("refused");
    const request = { send: () => Promise.resolve(asks("Bearer")), answer: () => Promise.reject(refused) };
    await expect(challengedFetch(1, request)).rejects.toBe(refused);
  });

  test("reads the claims of a challenge, and its scopes in any order as one demand", async () => {
    const { challenges } = await play(1, [asksForClaims(CLAIMS, 403), asksForScopes("b a"), ok()]);
    expect(challenges).toMatchObject([{ claims: CLAIMS, demand: `claims ${CLAIMS}` }, { demand: "scopes a b" }]);
  });

  test.each([
    ["another status", asks("Bearer", 400)],
    ["a 403 without a reason", asks("Bearer", 403)],
    ["a redirect", asks("Bearer", 302)],
  ])("takes %s for no challenge", async (_, response) => {
    expect((await play(1, [response])).response).toBe(response);
  });

  test("takes claims for none if no token was sent: it could not have had them", async () => {
    expect((await play(undefined, [asksForClaims(), ok()])).kinds).toEqual(["first"]);
    const forbidden = asksForClaims(CLAIMS, 403);
    expect((await play(undefined, [forbidden])).response).toBe(forbidden);
  });
});

describe("claimsIn()", () => {
  test.each(["", "Bearer", 'Bearer claims="%%%"', 'Bearer claims="W10="'])("of %p are none", (header) => {
    expect(claimsIn(header)).toBeUndefined();
  });
});

describe("ChallengeLimits", () => {
  test("are five new tokens in ten minutes, and each demand once", () => {
    let now = 0;
    const limits = new ChallengeLimits(() => now);
    for (let count = 0; count < 5; count++) {
      expect(limits.isWithin()).toBe(true);
      limits.countRequest();
    }
    expect(limits.isWithin()).toBe(false);
    now = 10 * 60_000;
    expect(limits.isWithin(CLAIMS)).toBe(true);
    limits.addAnswered(CLAIMS);
    expect(limits.isWithin(CLAIMS)).toBe(false);
    expect(limits.isWithin(OTHER_CLAIMS)).toBe(true);
    limits.forgetAnswered();
    expect(limits.isWithin(CLAIMS)).toBe(true);
  });

  test("are a hundred demands", () => {
    const limits = new ChallengeLimits(() => 0);
    for (let count = 0; count < 100; count++) limits.addAnswered(`demand ${count}`);
    expect(limits.isWithin("one more")).toBe(false);
  });
});
