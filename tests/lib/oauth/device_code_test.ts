// Sign-in on another device at Microsoft Entra ID, played by a fake.
import { beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { parseAuthority } from "../../../lib/authority.ts";
import { type DeviceCode, pollDeviceCode, startDeviceCode } from "../../../lib/oauth/device_code.ts";
import type { HttpOptions } from "../../../lib/oauth/bounded_fetch.ts";
import { findProvider, type Provider } from "../../../lib/oauth/provider.ts";
import type { EntraRefusal, ScriptedAnswer } from "../../fakes/fake_entra.ts";
import { CLIENT_ID, expectNoSecret, failure, rejection, useEntra } from "../../fixture.ts";

const ANSWER = { device_code: "d", user_code: "A", expires_in: 900 };
const REQUEST = { clientId: CLIENT_ID, scopes: ["User.Read"] };

describe("lib/oauth/device_code with Entra", () => {
  const entra = useEntra();
  let provider: Provider, time: number, waited: number[];

  beforeAll(async () => {
    provider = await findProvider(parseAuthority("https://login.microsoftonline.com/common"), entra);
  });
  beforeEach(() => {
    time = Date.now();
    waited = [];
  });

  /** Time passes as fast as it is waited for, and `then` happens in the meantime. */
  const http = (then: (times: number) => void = () => {}): HttpOptions => ({
    fetch: entra.fetch,
    wait: (milliseconds) => {
      waited.push(milliseconds / 1000);
      time += milliseconds;
      then(waited.length);
      return Promise.resolve();
    },
  });

  async function start(): Promise<DeviceCode> {
    const code = await startDeviceCode(provider, REQUEST, http());
    entra.requests.length = 0;
    return code;
  }

  const pending: EntraRefusal = { error: "authorization_pending", number: 70016, text: "Not yet." };

  test("startDeviceCode() says what the person is to do, and hides its secret", async () => {
    const code = await startDeviceCode(provider, { ...REQUEST, claims: '{"access_token":{}}' }, http());
    expect(code).toMatchObject({ verificationUri: "https://microsoft.com/devicelogin", interval: 5 });
    expect(code.message).toBe(
      `To sign in, open https://microsoft.com/devicelogin in a browser and enter the code ${code.userCode}`,
    );
    expect(inspect(code)).not.toContain(code.deviceCode);
    const { url, parameters } = entra.requests[0]!;
    expect(url).toBe("login.microsoftonline.com/common/oauth2/v2.0/devicecode");
    expect(Object.fromEntries(parameters)).toEqual({
      ...{ client_id: CLIENT_ID, scope: "User.Read openid profile offline_access", claims: '{"access_token":{}}' },
    });
  });

  test("pollDeviceCode() asks in the server's interval until the person has signed in", async () => {
    const code = await start();
    const { result } = await pollDeviceCode(
      provider,
      code,
      http((times) => times === 3 && entra.approve(code.userCode)),
    );
    expect(waited).toEqual([5, 5, 5]);
    expect(result.account.username).toBe("jane@contoso.com");
    expect(entra.requests.map(({ headers }) => headers["client-request-id"])).toEqual(
      Array(3).fill(code.correlationId),
    );
  });

  test("pollDeviceCode() slows down when it is told to", async () => {
    const code = await start();
    entra.behaviour.answers = [pending, { ...pending, error: "slow_down" }, { ...pending, error: "slow_down" }];
    await pollDeviceCode(provider, code, http((times) => times === 4 && entra.approve(code.userCode)));
    expect(waited).toEqual([5, 5, 10, 15]);
  });

  test("pollDeviceCode() goes on, less and less often, when the server cannot be reached", async () => {
    const code = await start(), busy: ScriptedAnswer = { status: 503, body: "busy" };
    entra.behaviour.answers = [busy, busy, busy, busy, busy];
    await pollDeviceCode(provider, code, http((times) => times === 6 && entra.approve(code.userCode)));
    expect(waited).toEqual([5, 10, 20, 40, 60, 60]);
  });

  test("pollDeviceCode() ends when the code ends", async () => {
    const code = await start();
    const error = await failure(pollDeviceCode(provider, code, { ...http(), now: () => time }));
    expect(error).toMatchObject({ code: "timed_out", correlationId: code.correlationId });
    expect(waited.reduce((sum, seconds) => sum + seconds)).toBeCloseTo(900, 0);
    expectNoSecret(error, code.deviceCode);
  });

  test.each([
    ["authorization_declined", "user_canceled"],
    ["access_denied", "refused"], // with a number, it is no person's
    ["expired_token", "timed_out"],
    ["bad_verification_code", "refused"],
    ["invalid_grant", "interaction_required"],
    ["unauthorized_client", "configuration"],
  ])("pollDeviceCode() ends with %s as %s", async (error, code) => {
    const device = await start();
    entra.behaviour.answers = [{ error, number: 70000, text: device.deviceCode }];
    const made = await failure(pollDeviceCode(provider, device, http()));
    expect({ code: made.code as string, error: made.error }).toEqual({ code, error });
    expectNoSecret(made, device.deviceCode);
    expect(entra.requests).toHaveLength(1);
  });

  test("pollDeviceCode() tells that the tenant may forbid device codes", async () => {
    const code = await start();
    entra.behaviour.answers = [{ error: "access_denied", number: 53003, text: "Blocked." }];
    expect((await failure(pollDeviceCode(provider, code, http()))).hint).toContain("forbids device codes");
  });

  test("pollDeviceCode() ends at once when it is aborted while it waits", async () => {
    const code = await start(), controller = new AbortController(), reason = new Error("over");
    const call = pollDeviceCode(provider, code, { fetch: entra.fetch, signal: controller.signal });
    controller.abort(reason);
    expect(await rejection(call)).toBe(reason);
    expect(entra.requests).toEqual([]);
  });

  test.each([
    ["no code", { user_code: undefined }],
    ["control characters in the code", { user_code: "A\u001b[2JB" }],
    // The text of a code led people to the page of another authority.
    ["a sentence for a code", {
      user_code: "X. If that is down, open https://microsoft.com/devicelogin and enter B7K2",
    }],
    ["words for a code", { user_code: "go to microsoft com" }],
    ["no address", { verification_uri: undefined }],
    ["an address that is a program", { verification_uri: "javascript:alert(1)" }],
    ["no end", { expires_in: undefined }],
    ["an interval that is none", { interval: "often" }],
  ])("startDeviceCode() refuses an answer with %s", async (_what, change) => {
    const body = {
      device_code: "secret",
      user_code: "A",
      verification_uri: "https://microsoft.com/devicelogin",
      expires_in: 900,
    };
    entra.behaviour.answers = [{ body: { ...body, ...change } }];
    const error = await failure(startDeviceCode(provider, REQUEST, http()));
    expect(error.code).toBe("invalid_response");
    expectNoSecret(error, "secret");
  });

  // Keycloak refused every device code of a client that it demands PKCE of.
  test("startDeviceCode() sends PKCE's challenge where a provider demands it, and pollDeviceCode() the verifier", async () => {
    const elsewhere = providerOf("https://id.contoso.com/realms/main");
    const demand = { error: "invalid_request", error_description: "Missing parameter: code_challenge_method" };
    entra.behaviour.answers = [
      { status: 400, body: demand },
      { body: { ...ANSWER, verification_uri: "https://id.contoso.com/device" } },
    ];
    const code = await startDeviceCode(elsewhere, REQUEST, http());
    const [plain, withPkce] = entra.requests.map(({ parameters }) => Object.fromEntries(parameters));
    expect(Object.keys(plain!)).not.toContain("code_challenge");
    expect(withPkce).toEqual({
      ...plain,
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
    });
    entra.behaviour.answers = [{ status: 400, body: { error: "access_denied", error_description: code.codeVerifier } }];
    const error = await failure(pollDeviceCode(elsewhere, code, http()));
    const verifier = entra.requests.at(-1)!.parameters.get("code_verifier")!;
    expect(createHash("sha256").update(verifier).digest("base64url")).toBe(withPkce!.code_challenge!);
    expectNoSecret(error, verifier);
    expect(inspect(code)).not.toContain(verifier);
  });

  test("startDeviceCode() tells of what a provider refuses with PKCE, too, and asks Entra once", async () => {
    const refused = (error_description: string) => ({
      status: 400,
      body: { error: "invalid_request", error_description },
    });
    entra.behaviour.answers = [refused("first"), refused("second")];
    const error = await failure(startDeviceCode(providerOf("https://id.contoso.com"), REQUEST, http()));
    expect(error).toMatchObject({ code: "refused", errorDescription: "second" });
    entra.reset();
    entra.behaviour.answers = [refused("first")];
    expect((await failure(startDeviceCode(provider, REQUEST, http()))).errorDescription).toBe("first");
    expect(entra.requests).toHaveLength(1);
  });

  // A page without TLS could be anybody's, and so could what is typed there.
  test.each([
    ["http://id.contoso.com/device", false],
    ["http://localhost.contoso.com/device", false],
    ["http://127.0.0.1:8080/device", true],
    ["http://localhost:8080/device", true],
    ["https://id.contoso.com/device", true],
    ["https://notmicrosoft.com/device", true],
  ])(
    "startDeviceCode() at another provider takes %s as a place to type a code: %p",
    async (verification_uri, isTaken) => {
      entra.behaviour.answers = [{ body: { ...ANSWER, verification_uri } }];
      const code = startDeviceCode(providerOf("https://id.contoso.com"), REQUEST, http());
      if (isTaken) expect((await code).verificationUri).toBe(verification_uri);
      else expect((await failure(code)).code).toBe("invalid_response");
    },
  );

  /** Another provider, which the fake plays, too. */
  function providerOf(authority: string): Provider {
    const { issuer: _, ...server } = provider.server;
    return { authority: parseAuthority(authority), server: { ...server, issuer: authority } };
  }

  test("startDeviceCode() where there are no device codes is the configuration's fault", async () => {
    const { device_authorization_endpoint: _, ...server } = provider.server;
    expect((await failure(startDeviceCode({ ...provider, server }, REQUEST))).code).toBe("configuration");
  });
});
