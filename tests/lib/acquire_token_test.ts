// A token in one call: silently, and by the person where that is needed.
import { describe, expect } from "bun:test";
import { type AccountInfo, CONSOLE_WINDOW_HANDLE, type PublicClientApplication } from "../../mod.ts";
import type { Reply } from "../fakes/behaviour.ts";
import { limitedTest } from "../fakes/test_within_limits.ts";
import { CONTOSO, failure, JANE, JOE, useStage } from "../fixture.ts";

const test = limitedTest(import.meta.url);

const SCOPES = ["User.Read"];
const stage = useStage({ broker: {} }), { makeApp, behave, called, requestOf, steps } = stage;

const refusal = (status: number): Reply => ({ kind: "broker_error", status });
/** What a call is refused or let go with. */
const caught = (error: unknown) => error;

describe("acquireToken()", () => {
  const challenge = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}';
  const challenged: Reply = {
    kind: "text",
    text: JSON.stringify({
      brokerTokenResponse: {
        error: { context: "AADSTS50076", status: 2, subStatus: 0, subError: "basic_action", claims: challenge },
      },
    }),
  };

  async function accountOf(app: PublicClientApplication): Promise<AccountInfo> {
    return (await app.getAccounts())[0]!;
  }

  test("opens no window where none is needed", async () => {
    expect((await makeApp().acquireToken({ scopes: SCOPES })).account.username).toBe("jane@contoso.com");
    expect(await steps()).toEqual(["silently jane@contoso.com"]);
  });

  test("marks tokens with an agent's session by a claim, beside those of a challenge, and holds them apart", async () => {
    const app = makeApp({ clientCapabilities: ["cp1"] }), mark = { xms_cli_sid: { values: ["sess-456"] } };
    const ask = (more: object) => app.acquireToken({ scopes: SCOPES, username: "jane@contoso.com", ...more });
    const own = await ask({}), marked = await ask({ agentSession: "sess-456" });
    expect(marked.source).toBe("broker");
    expect((await ask({ agentSession: "sess-456" })).source).toBe("cache");
    expect(await ask({})).toMatchObject({ source: "cache", accessToken: own.accessToken });
    await ask({ agentSession: "sess-456", claims: challenge });
    const claims = (await called("acquireTokenSilently")).map(({ request }) => request.authParameters.decodedClaims);
    const cp1 = { xms_cc: { values: ["cp1"] } }, { acrs } = JSON.parse(challenge).access_token;
    expect(claims.map((each) => JSON.parse(each!).access_token)).toEqual([cp1, { ...cp1, ...mark }, {
      acrs,
      ...cp1,
      ...mark,
    }]);
  });

  // Wire statuses: interaction required, user switched, account unusable, removal required, account switch and not found.
  test.each(Array.from({ length: 22 }, (_, status) => [status] as const))(
    "opens a window after the status %d if a person can help",
    async (status) => {
      await behave({ replies: { acquireTokenSilently: refusal(status) } });
      const token = makeApp().acquireToken({ scopes: SCOPES });
      if ([2, 12, 13, 14, 16, 19].includes(status)) {
        expect((await token).account.username).toBe("jane@contoso.com");
        expect(await steps()).toEqual(["silently jane@contoso.com", "window"]);
      } else {
        await failure(token);
        expect(await steps()).toEqual(["silently jane@contoso.com"]);
      }
    },
  );

  // Microsoft's broker 2.5.2 tells the server's error in its text.
  const ROWS = [
    [{ status: 0, error: "invalid_grant" }, true],
    [{ status: 6, error: "interaction_required" }, true],
    [{ status: 2, subError: "token_expired" }, true],
    [{ status: 2, error: "invalid_client" }, false],
    [{ status: 2, error: "temporarily_unavailable" }, false],
    [{ status: 7, error: "invalid_grant" }, false],
  ] as const;
  test.each(
    (["acquireToken", "acquireTokenInteractive"] as const).flatMap((call) =>
      ROWS.map((row) => [call, ...row] as const)
    ),
  )("%s() opens a window after the server's error %j: %p", async (call, refusal, helps) => {
    await behave({ replies: { acquireTokenSilently: { kind: "broker_error", ...refusal } } });
    const token = makeApp()[call]({ scopes: SCOPES, parentWindowHandle: CONSOLE_WINDOW_HANDLE });
    if (helps) expect((await token).account.username).toBe("jane@contoso.com");
    else expect((await failure(token)).error).toBe("error" in refusal ? refusal.error : "invalid_grant");
    expect((await steps()).includes("window")).toBe(helps);
  });

  test("answers the refusal's challenge in the window, of the console unless another is given", async () => {
    await behave({ replies: { acquireTokenSilently: challenged } });
    await makeApp({ clientCapabilities: ["cp1"] }).acquireToken({ scopes: SCOPES, claims: '{"id_token":{}}' });
    const request = await requestOf("acquireTokenInteractively");
    expect(JSON.parse(request.authParameters.decodedClaims)).toEqual({
      access_token: { acrs: { essential: true, value: "c1" }, xms_cc: { values: ["cp1"] } },
    });
    expect(request.parentWindowHandle).toBe(0);
  });

  test("asks the caller's claims again where the refusal has none", async () => {
    await behave({ replies: { acquireTokenSilently: refusal(2) } });
    await makeApp().acquireToken({ scopes: SCOPES, claims: challenge, parentWindowHandle: 4711 });
    const request = await requestOf("acquireTokenInteractively");
    expect(request).toMatchObject({ parentWindowHandle: 4711, authParameters: { decodedClaims: challenge } });
  });

  test.each<[object]>([[{ interactive: "never" }], [{ prompt: "none" }]])(
    "throws what the silent step was refused with: %j",
    async (more) => {
      await behave({ replies: { acquireTokenSilently: challenged } });
      const error = await failure(makeApp().acquireToken({ scopes: SCOPES, ...more }));
      expect(error).toMatchObject({ code: "interaction_required", subError: "basic_action", errorCodes: [50076] });
      expect(error.claims).toBe(challenge);
      expect(await steps()).toEqual(["silently jane@contoso.com"]);
    },
  );

  test("always goes to the window at once, whatever is held", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), account = (await app.getAccounts())[1]!;
    const held = await app.acquireTokenSilent({ scopes: SCOPES, account });
    await stage.broker.forgetCalls();
    const result = await app.acquireToken({ scopes: SCOPES, account, interactive: "always" });
    expect(result.accessToken).not.toBe(held!.accessToken);
    expect(await steps()).toEqual(["window"]);
    expect((await requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      account: { ...JOE, clientInfo: expect.any(String) },
      username: "joe@contoso.com",
      authority: `https://login.microsoftonline.com/${CONTOSO}`,
    });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({
      accessToken: result.accessToken,
      source: "cache",
    });
  });

  test("always takes a user name to the window as the hint", async () => {
    await makeApp().acquireToken({ scopes: SCOPES, username: "joe@contoso.com", interactive: "always" });
    expect(await steps()).toEqual(["window"]);
    expect((await requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      account: null,
      isSignIn: true,
      username: "joe@contoso.com",
    });
  });

  test("does not take it when another person signs in, unless the person was to choose", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane, joe] = await app.getAccounts();
    const ofJoe = await app.acquireTokenSilent({ scopes: SCOPES, account: joe! });
    const clientInfo = btoa(JSON.stringify({ uid: joe!.localAccountId, utid: CONTOSO }));
    const { accessToken } = ofJoe!, brokerTokenResponse = { accessToken, clientInfo, expiresOn: Date.now() + 4e6 };
    await behave({
      replies: { acquireTokenInteractively: { kind: "text", text: JSON.stringify({ brokerTokenResponse }) } },
    });
    for (const whose of [{ account: jane! }, { username: "jane@contoso.com" }]) {
      const error = await failure(app.acquireToken({ scopes: SCOPES, ...whose, interactive: "always" }));
      expect(error).toMatchObject({ code: "interaction_required" });
    }
    const chosen = { username: "jane@contoso.com", prompt: "select_account" } as const;
    expect((await app.acquireToken({ scopes: SCOPES, ...chosen, interactive: "always" })).accessToken).toBe(
      accessToken,
    );
  });

  test("opens one window for equal calls, and another for others", async () => {
    const app = makeApp(), account = await accountOf(app);
    const always = { scopes: SCOPES, account, interactive: "always" } as const;
    const [one, same, other] = await Promise.all([
      app.acquireToken(always),
      app.acquireToken(always),
      app.acquireToken({ ...always, scopes: ["Mail.Read"] }),
    ]);
    expect(same!.accessToken).toBe(one!.accessToken);
    expect(other!.accessToken).not.toBe(one!.accessToken);
    expect(await steps()).toEqual(["window", "window"]);
    await stage.broker.forgetCalls();
    await behave({ replies: { acquireTokenSilently: refusal(2) } });
    await Promise.all([1, 2, 3].map(() => app.acquireToken({ scopes: ["Files.Read"], account })));
    expect(await steps()).toEqual(["silently jane@contoso.com", "window"]);
  });

  test("ends a window that several wait for when the last of them goes", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "hang" } } });
    const app = makeApp(), account = await accountOf(app), leaving = [1, 2].map(() => new AbortController());
    const gone = leaving.map(({ signal }) =>
      app.acquireToken({ scopes: SCOPES, account, interactive: "always", signal }).catch(caught)
    );
    await called("acquireTokenInteractively");
    leaving[0]!.abort("first");
    expect(await gone[0]).toBe("first");
    await app.getAccounts();
    expect(await stage.broker.calls("cancelInteractiveFlow")).toEqual([]);
    leaving[1]!.abort("second");
    expect(await gone[1]).toBe("second");
    expect(await called("cancelInteractiveFlow")).toHaveLength(1);
    expect(await steps()).toEqual(["window"]);
  });
});
